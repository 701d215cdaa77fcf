package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// errOpen refuses to take back an approval that has done its work.
func errOpen(e ledger.Entry) error {
	short := e.Request.Record.ID.Short()
	return &policy.Refusal{Code: policy.AlreadyOpen, Message: "request " + short + " is open: an approval can be withdrawn until then",
		Hint: "to end the access, run: jit revoke " + short + " -r REASON"}
}

// comes reports whether a part of what was asked for is neither open nor over.
func comes(d approve.Decision) bool {
	return !d.State.Settled() && slices.ContainsFunc(d.Grants, func(g approve.GrantDecision) bool {
		return g.State == approve.Pending || g.State == approve.Scheduled
	})
}

func newWithdrawCmd(app *App) *cobra.Command {
	return newVerbCmd(app, verb{
		use: "withdraw ID", group: groupDecide, kind: record.KindWithdrawal, what: "comment", asks: true,
		short: "Take back your approval, as long as access is not open",
		long: `Take back your own approval of a request. It works until access opens; after
that, revoke ends it. Of a bundle that opens in parts, it takes back what is not open
yet, and leaves open what is.`,
		states: []approve.State{approve.Pending, approve.Scheduled, approve.Active},
		judge: func(d *desk, e ledger.Entry) (string, error) {
			short := e.Request.Record.ID.Short()
			if err := e.MayWithdraw(d.me); err != nil {
				return "", err
			}
			switch {
			case e.State == approve.Active && !comes(e.Decision):
				return "", errOpen(e)
			case e.State.Settled():
				return over(e), nil
			}
			for _, s := range e.Decision.Approvals {
				if s.By == d.me && s.Why != policy.Withdrawn {
					return "", nil
				}
			}
			return "your approval of " + short + " is withdrawn already", nil
		},
		record: func(h record.Head, e ledger.Entry, text string) any {
			return approve.Withdrawal{Head: h, Request: e.Request.Record.ID, RequestDigest: e.Digest, Comment: text}
		},
		deed: "withdraws an approval of",
		done: func(_ *ledger.Ledger, e ledger.Entry) string {
			text := "withdrew your approval of " + e.Request.Record.ID.Short() + "; it is " + string(e.State)
			if open := openGrants(e); len(open) > 0 {
				text += ": " + grantsText(open) + " stays open"
			}
			return text
		},
	})
}

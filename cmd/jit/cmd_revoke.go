package main

import (
	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/revoke"
)

func newRevokeCmd(app *App) *cobra.Command {
	return newVerbCmd(app, verb{
		use: "revoke ID", group: groupDecide, kind: record.KindRevocation, what: "reason", wanted: true, asks: true,
		short: "End a request, open or not",
		long: `End a request, open or not. Anybody who may approve it can, and every admin.
A reconciler takes the access away as soon as it learns of it.`,
		states: []approve.State{approve.Active, approve.Scheduled, approve.Pending},
		judge: func(d *desk, e ledger.Entry) (string, error) {
			return over(e), revoke.MayRevoke(d.policy(), e.Request.Record, d.who())
		},
		record: func(h record.Head, e ledger.Entry, text string) any {
			return revoke.Revocation{Head: h, Request: e.Request.Record.ID, RequestDigest: e.Digest, Reason: text}
		},
		deed: "revokes",
		done: func(l *ledger.Ledger, e ledger.Entry) string {
			s := "revoked " + e.Request.Record.ID.Short() + ": " + askedFor(e.Request.Record)
			if len(e.Receipts) > 0 {
				s += "; the next run of the reconciler takes the access away"
			}
			return s + alsoOver(l, e, "jit revoke")
		},
	})
}

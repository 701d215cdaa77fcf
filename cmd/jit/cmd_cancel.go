package main

import (
	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/revoke"
)

func newCancelCmd(app *App) *cobra.Command {
	return newVerbCmd(app, verb{
		use: "cancel ID", aliases: []string{"drop"}, group: groupAsk, kind: record.KindCancellation, what: "comment",
		short: "Withdraw your request, or drop its access early",
		long: `Withdraw your own request, or drop the access that it gave before its time is
over. The next run of the reconciler takes it away.`,
		states: []approve.State{approve.Pending, approve.Scheduled, approve.Active},
		judge: func(d *desk, e ledger.Entry) (string, error) {
			return over(e), revoke.MayCancel(e.Request.Record, d.me)
		},
		record: newCancellation,
		deed:   "cancels",
		done:   cancelledText,
	})
}

func newCancellation(h record.Head, e ledger.Entry, text string) any {
	return revoke.Cancellation{Head: h, Request: e.Request.Record.ID, RequestDigest: e.Digest, Comment: text}
}

func cancelledText(l *ledger.Ledger, e ledger.Entry) string {
	s := "cancelled " + e.Request.Record.ID.Short() + ": " + grantsText(e.Request.Record.Grants)
	if len(e.Receipts) > 0 {
		s += "; the next run of the reconciler takes the access away"
	}
	return s + alsoOver(l, e, "jit cancel")
}

// alsoOver says what ends with e, and what e prolongs and so goes on.
func alsoOver(l *ledger.Ledger, e ledger.Entry, verb string) string {
	s := ""
	for _, id := range e.Extended {
		// What was over before does not end with it.
		if x, err := l.Request(id, e.Closed); err != nil || x.EndedBy == nil || e.EndedBy == nil || x.EndedBy.Record != e.EndedBy.Record {
			continue
		}
		s += "\n" + id.Short() + ", which prolongs it, ends with it"
	}
	if base := e.Before.Base; base != nil {
		if _, ends := base.Window(); ends.After(e.Closed) {
			s += "\nwhat it prolongs goes on; to end that too: " + verb + " " + e.Request.Record.Extends.Short()
		}
	}
	return s
}

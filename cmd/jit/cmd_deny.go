package main

import (
	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

func newDenyCmd(app *App) *cobra.Command {
	return newVerbCmd(app, verb{
		use: "deny ID", group: groupDecide, kind: record.KindDenial, what: "reason", wanted: true, asks: true,
		short: "Refuse a request",
		long: `Refuse a request. One denial by anybody who may approve it, or by an admin,
ends it. The reason is written into the store for everyone to read.`,
		states: []approve.State{approve.Pending, approve.Scheduled},
		judge: func(d *desk, e ledger.Entry) (string, error) {
			switch r := e.Request.Record; {
			case e.State == approve.Denied:
				return over(e), nil
			case e.State.Settled():
				return "", &policy.Refusal{Code: policy.AfterEnd, Message: over(e), Hint: "there is nothing left to deny; see: jit show " + r.ID.Short()}
			}
			return "", e.MayDeny(d.policy(), d.who())
		},
		record: func(h record.Head, e ledger.Entry, text string) any {
			return approve.Denial{Head: h, Request: e.Request.Record.ID, RequestDigest: e.Digest, Reason: text}
		},
		deed: "denies",
		done: func(_ *ledger.Ledger, e ledger.Entry) string {
			return "denied " + e.Request.Record.ID.Short() + ": " + askedFor(e.Request.Record)
		},
	})
}

package main

import (
	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

func newAckCmd(app *App) *cobra.Command {
	cmd := newVerbCmd(app, verb{
		use: "ack ID", group: groupDecide, kind: record.KindAcknowledgement, what: "comment", asks: true, among: unacknowledged,
		short: "Acknowledge an emergency: you have looked at it",
		long: `Acknowledge an emergency, by which you say that you have looked at it. It takes
nothing away: to end access that is still open, run jit revoke. Until somebody
whom the rule names has acknowledged it, everybody sees it, jit status fails, and
the person gets no other one unless the rule says so.`,
		judge: func(d *desk, e ledger.Entry) (string, error) {
			position, headAt := d.next()
			trial := approve.Placed[approve.Acknowledgement]{Position: position, HeadAt: headAt, Key: d.signer.Fingerprint()}
			trial.Record.By, trial.Record.Created = d.me, record.At(d.app.Now())
			if err := e.MayAcknowledge(d.rep.Ledger().Policies(), trial); err != nil {
				return "", err
			}
			short := e.Request.Record.ID.Short()
			switch {
			case e.Debt == nil:
				return "request " + short + " never opened; there is nothing to acknowledge", nil
			case !e.Debt.Open():
				return "request " + short + " is acknowledged already, by " + e.Debt.By, nil
			}
			return "", nil
		},
		record: func(h record.Head, e ledger.Entry, text string) any {
			return approve.Acknowledgement{Head: h, Request: e.Request.Record.ID, RequestDigest: e.Digest, Comment: text}
		},
		deed: "acknowledges the emergency of",
		done: func(_ *ledger.Ledger, e ledger.Entry) string {
			s := "acknowledged " + e.Request.Record.ID.Short() + ": " + askedFor(e.Request.Record)
			if e.State == approve.Active {
				s += "; it is open until " + app.FormatTime(e.Ends) + ", and to end it: jit revoke " + e.Request.Record.ID.Short() + " -r REASON"
			}
			return s
		},
	})
	cmd.ValidArgsFunction = app.completeEmergencies
	return cmd
}

// completeEmergencies completes the emergencies that nobody has acknowledged.
func (a *App) completeEmergencies(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completeFrom(func(rep *replica.Replica, _ Settings, args []string, typed string) []cobra.Completion {
		entries, err := unacknowledged(rep.Ledger(), a.Now())
		if err != nil {
			return nil
		}
		var out []cobra.Completion
		for _, e := range entries {
			r := e.Request.Record
			out = addID(out, r.ID, args, typed, "emergency of "+r.By+", "+grantsText(r.Grants))
		}
		return out
	})(cmd, args, typed)
}

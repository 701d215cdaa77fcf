package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/replica"
)

type syncOptions struct {
	app     *App
	out     outputFlags
	rebuild bool
}

type syncView struct {
	Head     string  `json:"head"`
	Position int     `json:"position"`
	Commits  int     `json:"commits"`
	Records  int     `json:"records"`
	SetAside int     `json:"setAside"`
	Sent     int     `json:"sent"`
	Waiting  int     `json:"waiting"`
	Healed   *string `json:"healed"`
}

func newSyncCmd(app *App) *cobra.Command {
	o := &syncOptions{app: app}
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Fetch and verify what is new, and send what waits here",
		Long: `Brings this machine's copy of the store up to date, and sends what was signed here
and waits. What the store answers and does not take is named with the reason; it
holds back nothing but what rests on it, and the exit code is not 0.

Where a push has put the history on a side branch, an admin's sync heals it: it
signs a commit that takes the history up again and brings in what the other side
added, and pushes it without force. Everybody else stays at what they have
verified until then, with exit code 4. What needs a person to decide is left to:
jit repair.`,
		GroupID: groupRun,
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&o.rebuild, "rebuild", false, "make the local index again from the copy of the store")
	o.out.add(cmd, []string{"head", "position", "commits", "records", "setAside", "sent", "waiting", "healed"})
	return cmd
}

func (o *syncOptions) run(ctx context.Context) (err error) {
	a := o.app
	rep, s, err := a.Open(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	if o.rebuild {
		if err := rep.Rebuild(ctx); err != nil {
			return err
		}
	}
	report, err := rep.SyncAndHeal(ctx, replica.Healer{Name: s.Name, Signer: a.Signer})
	if err != nil {
		return err
	}
	a.reportHealed(report.Healed)
	head, position := rep.Ledger().Head()
	v := syncView{Head: string(head), Position: position, Commits: report.Commits, Records: report.Records,
		SetAside: report.Aside, Sent: report.Sent, Waiting: report.Waiting}
	if h := report.Healed; h != nil {
		v.Healed = orNull(string(h.Commit))
	}
	a.reportWaiting(report)
	if err := a.reportRefused(rep); err != nil {
		return err
	}
	err = a.Print(o.out, v, func(w io.Writer) error {
		switch {
		case v.Commits == 0 && v.Sent == 0:
			fmt.Fprintln(w, "nothing new")
		case v.Commits == 0:
			fmt.Fprintf(w, "nothing new, %d sent\n", v.Sent)
		default:
			fmt.Fprintf(w, "%s, %s counted", count(v.Commits, "new commit"), count(v.Records, "record"))
			if v.Sent > 0 {
				fmt.Fprintf(w, ", %d sent", v.Sent)
			}
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "head %s\n", head)
		if v.Waiting > 0 {
			fmt.Fprintf(w, "%s here to be sent\n", count(v.Waiting, "submission")+" "+waits(v.Waiting))
		}
		writeAside(w, a.IO.OutStyle(), viewSetAside(report.SetAside), report.Aside)
		return nil
	})
	if err != nil {
		return err
	}
	return errStuck(report.Stuck)
}

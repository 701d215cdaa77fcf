package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"
)

type showOptions struct {
	app   *App
	id    string
	watch bool
	out   outputFlags
}

func newShowCmd(app *App) *cobra.Command {
	o := &showOptions{app: app}
	cmd := &cobra.Command{
		Use: "show ID", Aliases: []string{"view"}, Short: "The whole story of a request or policy version",
		Long: `Show where a request stands and why: its rule, who approved, what is missing
and who can give it, the window, what reconcile did, and how to use what is
open. A policy version is shown with what it changes.`,
		GroupID: groupLook, Args: exactly("ID"), ValidArgsFunction: app.completeRequests(),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.id = args[0]
			return app.watch(cmd.Context(), o.watch, o.run)
		},
	}
	cmd.Flags().BoolVar(&o.watch, "watch", false, "look again every few seconds")
	o.out.add(cmd, requestFields)
	return shows(cmd)
}

func (o *showOptions) run(ctx context.Context) (err error) {
	a := o.app
	rep, _, err := a.known(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	ref, err := resolveID(rep.Ledger(), o.id)
	if err != nil {
		return err
	}
	paged := func(write func(w io.Writer) error) func(io.Writer) error {
		return func(w io.Writer) error {
			if o.watch {
				return write(w)
			}
			return a.paged(ctx, write)
		}
	}
	if ref.Request == "" {
		return a.showApart(o.out, rep.Ledger(), ref)
	}
	if p, err := rep.Ledger().Proposal(ref.Request, a.Now()); err == nil {
		return a.Print(o.out, viewProposal(p), paged(func(w io.Writer) error { return a.showProposal(w, rep, p) }))
	}
	e, err := rep.Ledger().Request(ref.Request, a.Now())
	if err != nil {
		return err
	}
	h := rep.Ledger().Policies()
	return a.Print(o.out, viewRequest(h, e, a.Now()), paged(func(w io.Writer) error {
		if err := a.renderRequest(w, h, e, a.Now()); err != nil {
			return err
		}
		fields{w, a.styleOf(w)}.add("delegates", delegatesText(rep.Ledger(), e, a.Now()))
		return nil
	}))
}

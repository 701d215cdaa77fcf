package main

import (
	"bufio"
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

func newHookCmd(app *App) *cobra.Command {
	return parentOf(&cobra.Command{
		Use: "hook", GroupID: groupRun,
		Short: "Judge what is pushed, on a git host of one's own",
	}, newPreReceiveCmd(app))
}

func newPreReceiveCmd(app *App) *cobra.Command {
	o := &preReceiveOptions{app: app}
	cmd := &cobra.Command{
		Use:   "pre-receive",
		Short: "Turn away pushes that would not count",
		Long: `Turn away pushes that would not count: what deletes or rewrites the store's branch,
merges, changed or deleted files, and records that everybody would set aside.
Those who push are told why. git runs it before it takes a push, where the bare
repository's file hooks/pre-receive is

    #!/bin/sh
    exec /usr/bin/jit hook pre-receive --store-id ID --only

Nobody's safety rests on it: each machine judges the history by itself. It keeps
out noise, and what would have to be healed. See docs/hosting.md.`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&o.branch, "branch", "", "the store's `BRANCH`; the one that HEAD names when left out")
	cmd.Flags().StringVar(&o.store, "store-id", "", "the store's `ID`; the one that is there, or is pushed first, when left out")
	cmd.Flags().BoolVar(&o.only, "only", false, "turn away pushes to all other branches and tags too")
	return cmd
}

type preReceiveOptions struct {
	app           *App
	branch, store string
	only          bool
}

// maxUpdates bounds the refs of one push that are read: a store has one.
const maxUpdates = 10000

// maxTurned bounds what those who push are told of, in lines: a screenful.
const maxTurned = 20

func (o *preReceiveOptions) run(ctx context.Context) (err error) {
	a := o.app
	c := replica.GateConfig{Dir: a.Env("GIT_DIR"), Env: a.Env, Branch: o.branch, Only: o.only, Now: a.Now}
	if o.store != "" {
		if c.Identity, err = record.ParseStoreID(o.store); err != nil {
			return usageErr("see: jit status", "--store-id: %v", err)
		}
	}
	if c.Dir == "" {
		c.Dir = "." // git starts a hook in the repository
	}
	updates, err := readUpdates(a.IO.In)
	if err != nil {
		return err
	}
	gate, err := replica.OpenGate(ctx, c)
	if errors.Is(err, gitstore.ErrBadBare) {
		return failure(exitUsage, "bad-repository", "git runs it as hooks/pre-receive of a bare repository; see docs/hosting.md", "%v", err)
	}
	if err != nil {
		return err
	}
	defer closing(gate, &err)
	turned, err := gate.Judge(ctx, updates)
	if err != nil || len(turned) == 0 {
		return err
	}
	return o.refuse(turned)
}

// readUpdates reads what git tells a hook.
func readUpdates(in io.Reader) (updates []replica.RefUpdate, err error) {
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		u, err := replica.ParseRefUpdate(lines.Text())
		if err != nil {
			return nil, usageErr("git runs it; see: jit hook pre-receive --help", "%v", err)
		}
		if updates = append(updates, u); len(updates) > maxUpdates {
			return nil, usageErr("push fewer at once", "the push moves more than %d refs", maxUpdates)
		}
	}
	return updates, lines.Err()
}

// refuse tells those who push what is wrong, a line for each thing.
func (o *preReceiveOptions) refuse(turned []replica.Turned) error {
	for i, t := range turned {
		if i == maxTurned {
			o.app.Say("… and %d more", len(turned)-i)
			break
		}
		where := ""
		if t.Path != "" {
			where = t.Path + ": "
		} else if t.Commit != "" {
			where = string(t.Commit) + ": "
		}
		o.app.Say("refused %s%s: %s", clean(where), t.Reason, clean(t.Detail))
	}
	return failure(exitUntrusted, turned[0].Reason, "nothing was taken; jit's own commands push what counts", "the push was refused for %s", count(len(turned), "reason"))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/replica"
)

type repairOptions struct {
	app    *App
	out    outputFlags
	yes    bool
	dryRun bool
}

// repairView is what is wrong with the remote, and what is done about it.
type repairView struct {
	State    string         `json:"state"` // sound, damaged or repaired
	Damage   *string        `json:"damage"`
	Verified string         `json:"verified"`
	Remote   *string        `json:"remote"`
	Honest   *string        `json:"honest"`
	Restored []commitView   `json:"restored"`
	Theirs   []commitView   `json:"theirs"`
	Adds     []string       `json:"adds"`
	Keeps    []string       `json:"keeps"`
	LeftOut  []setAsideView `json:"leftOut"`
	Missing  []string       `json:"missing"`
	Heals    []string       `json:"heals"`
	Head     string         `json:"head"`
}

// commitView is a commit as git log shows it: what its maker wrote, which
// proves nothing.
type commitView struct {
	Commit  string `json:"commit"`
	Subject string `json:"subject"`
}

func newRepairCmd(app *App) *cobra.Command {
	o := &repairOptions{app: app}
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Put right what a push has done to the store",
		Long: `Compares the store with what this machine has verified, shows what is wrong and
what would be pushed, asks, and pushes it. It never pushes with force, and takes
nothing away.

  an older head, or no branch   what this machine has verified is pushed again
  a forced push, another root   a heal: a signed commit that goes on from what was
                                verified and brings in what the other side added
  a merge that swapped the past the same; jit sync of an admin and jit reconcile
                                do it by themselves
  changed or deleted files      they count all the same; they are put back

Admins only. With --dry-run it shows and pushes nothing, and anybody may. Another
store at the same address is never written over: exit code 4.`,
		GroupID: groupRun,
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().BoolVar(&o.yes, "yes", false, "repair without asking")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "show what is wrong, and change nothing")
	o.out.add(cmd, []string{"state", "damage", "verified", "remote", "honest", "restored", "theirs", "adds", "keeps", "leftOut",
		"missing", "heals", "head"})
	return cmd
}

func (o *repairOptions) run(ctx context.Context) (err error) {
	a := o.app
	if a.flags.offline {
		return usageErr("run it without --offline", "what is wrong with the store cannot be seen without it")
	}
	rep, s, err := a.Open(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	d, report, err := rep.Damage(ctx)
	if err != nil {
		return err
	}
	a.reportSync(report)
	v := viewDamage(d)
	if d.None() {
		v.State = "sound"
		return a.Print(o.out, v, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "nothing to repair\nhead %s\n", v.Head)
			return err
		})
	}
	if o.dryRun {
		return a.Print(o.out, v, func(w io.Writer) error { renderDamage(w, d); return nil })
	}
	renderDamage(a.IO.Err, d)
	if p := rep.Ledger().Policy(); p == nil || !p.IsAdmin(s.Name) {
		return failure(exitRefused, "not-admin", "ask an admin to run: jit repair", "%s is not an admin, and only admins repair the store", s.Name)
	}
	if !o.yes {
		ok, err := a.Confirm("Repair it like this?")
		if err != nil {
			return err
		}
		if !ok {
			return failure(exitRefused, "not-confirmed", "find out first who pushed that: whoever runs the git host can tell", "nothing was pushed")
		}
	}
	report, err = rep.Repair(ctx, d, replica.Healer{Name: s.Name, Signer: a.Signer})
	if err != nil {
		return err
	}
	a.reportSync(report)
	head, _ := rep.Ledger().Head()
	v.State, v.Head = "repaired", string(head)
	return a.Print(o.out, v, func(w io.Writer) error {
		fmt.Fprintf(w, "repaired; the head is %s\n", head)
		fmt.Fprintln(w, "Next: everybody's next command takes it from there. Whoever worked on the other side")
		fmt.Fprintln(w, "signs again what jit verify lists as healed-head. Protect the branch on the git host")
		_, err := fmt.Fprintln(w, "against forced pushes and deletion.")
		return err
	})
}

// damageOf names what is wrong in one sentence.
func damageOf(d replica.Damage) string {
	switch {
	case d.None():
		return ""
	case d.Gone:
		return "the branch is gone"
	case len(d.Missing) == 1:
		return "a file that counts was changed or deleted"
	case len(d.Missing) > 1:
		return fmt.Sprintf("%d files that count were changed or deleted", len(d.Missing))
	}
	switch d.Relation {
	case gitstore.Behind:
		return "the store shows an older head"
	case gitstore.OffChain:
		return "a merge put the history on a side branch"
	}
	return "the store shows another history: a forced push"
}

func viewDamage(d replica.Damage) repairView {
	v := repairView{State: "damaged", Damage: orNull(damageOf(d)), Verified: string(d.Checkpoint), Remote: orNull(string(d.Remote)),
		Honest: orNull(string(d.Honest)), Restored: viewLines(d.Restored), Theirs: viewLines(d.Theirs), Adds: []string{}, Keeps: []string{},
		LeftOut: []setAsideView{}, Missing: notNull(d.Missing), Heals: notNull(d.Heals), Head: string(d.Checkpoint)}
	if d.Plan == nil {
		return v
	}
	for _, f := range d.Plan.Added {
		v.Adds = append(v.Adds, f.Path)
	}
	for _, k := range d.Plan.Kept {
		v.Keeps = append(v.Keeps, k.Path)
	}
	for _, l := range d.Plan.LeftOut {
		v.LeftOut = append(v.LeftOut, setAsideView{Path: l.Path, Commit: string(d.Remote), Reason: string(l.Kind), Detail: l.Detail})
	}
	return v
}

func viewLines(lines []gitstore.Line) []commitView {
	views := make([]commitView, 0, len(lines))
	for _, l := range lines {
		subject, _, _ := strings.Cut(l.Message, "\n")
		views = append(views, commitView{string(l.Hash), subject})
	}
	return views
}

// maxShown is how many of a list a person is shown; -o json has all.
const maxShown = 12

// renderDamage shows what is wrong, and what would be done.
func renderDamage(w io.Writer, d replica.Damage) {
	fmt.Fprintf(w, "What is wrong: %s.\n", damageOf(d))
	if len(d.Missing) > 0 {
		fmt.Fprintln(w, "They count with their first bytes all the same. Put back by one commit:")
		shown(w, d.Missing)
		return
	}
	fmt.Fprintf(w, "  this machine has verified  %s\n", d.Checkpoint)
	if !d.Gone {
		fmt.Fprintf(w, "  the store shows            %s\n", d.Remote)
	}
	history := func(title string, lines []gitstore.Line, all int) {
		if all == 0 {
			return
		}
		fmt.Fprintf(w, "%s (%s; the words are their makers' and prove nothing):\n", title, count(all, "commit"))
		var rows []string
		for _, l := range viewLines(lines) {
			rows = append(rows, l.Commit[:min(10, len(l.Commit))]+" "+l.Subject)
		}
		shown(w, rows)
	}
	history("Restored", d.Restored, d.RestoredCount)
	history("In their place now", d.Theirs, d.TheirsCount)
	for _, h := range d.Heals {
		fmt.Fprintf(w, "There is a heal already that is not followed: %s\n", clean(h))
	}
	if d.Plan == nil {
		fmt.Fprintf(w, "Pushed, without force: %s, as it was. No commit is made.\n", d.Honest)
		return
	}
	fmt.Fprintf(w, "Pushed, without force: a heal signed by you, which goes on from %s.\n", d.Honest)
	v := viewDamage(d)
	files := func(title string, paths []string) {
		if len(paths) > 0 {
			fmt.Fprintf(w, "%s:\n", title)
			shown(w, paths)
		}
	}
	files("Added by the other side; what counts of it counts from the heal", v.Adds)
	files("Changed or deleted by the other side; these stay as they were", v.Keeps)
	var out []string
	for _, l := range v.LeftOut {
		out = append(out, strings.TrimSpace(l.Path+" ("+l.Reason+": "+l.Detail+")"))
	}
	files("Left out, for no store may hold it", out)
}

// shown lists the first of rows.
func shown(w io.Writer, rows []string) {
	for i, row := range rows {
		if i == maxShown {
			fmt.Fprintf(w, "  … and %d more\n", len(rows)-maxShown)
			return
		}
		fmt.Fprintf(w, "  %s\n", clean(strings.ReplaceAll(row, "\n", " ")))
	}
}

// reportHealed says in one line that the history was put back in order.
func (a *App) reportHealed(h *replica.Healed) {
	switch {
	case h == nil:
	case h.Made:
		a.Warn("a push had displaced the history; it was healed (commit %s, %s brought in)", h.Commit, count(h.Added, "file"))
	default:
		a.Warn("a push had displaced the history, and %s has healed it (commit %s): what was signed on the other side must be signed again; see: jit verify", clean(h.By), h.Commit)
	}
}

// rewrittenExit says for a head that does not extend what was verified what
// happens next.
func rewrittenExit(err error) *exitError {
	e := &exitError{Exit: exitUntrusted, Code: "rewritten", Message: err.Error(), Err: err}
	var rewrite *replica.RewriteError
	switch {
	case errors.As(err, &rewrite) && rewrite.Relation == gitstore.OffChain:
		e.Code = "displaced"
		e.Hint = "nothing was changed here, and nothing is taken from there. A reconciler or an admin heals it with their next run (admins: jit sync, or look first: jit repair --dry-run). Where nobody else had seen that commit nobody can: compare with an admin, and join anew with another JIT_HOME"
	default:
		e.Hint = "nothing was changed here, and nothing is taken from there. Compare with a colleague: jit status. Whoever runs the git host must explain it; an admin puts the history back with: jit repair. Where that finds nothing to repair, no admin's machine had seen the commit: see docs/reconcile.md, A commit that only this machine has seen"
	}
	return e
}

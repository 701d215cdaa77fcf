package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/trial"
)

// diffView is what a policy version changes in effect, as JSON shows it.
type diffView struct {
	Old       string         `json:"old"`
	New       string         `json:"new"`
	Gains     []trial.Change `json:"gains"`
	Loses     []trial.Change `json:"loses"`
	Terms     []trial.Change `json:"terms"`
	Meanings  []trial.Note   `json:"meanings"`
	Others    []trial.Note   `json:"others"`
	Ended     []endingView   `json:"ended"`
	Undecided []endingView   `json:"undecided"`
}

// endingView is a request that a policy version ends or puts back.
type endingView struct {
	trial.Ending
	ShortID string  `json:"shortId"`
	Ends    *string `json:"ends"`
}

var diffFields = []string{"old", "new", "gains", "loses", "terms", "meanings", "others", "ended", "undecided"}

type policyDiffOptions struct {
	app *App
	out outputFlags
}

func newPolicyDiffCmd(app *App) *cobra.Command {
	o := &policyDiffOptions{app: app}
	cmd := &cobra.Command{
		Use:   "diff [OLD] [NEW]",
		Short: "Say what a policy version changes in effect: who gains and loses what, and which access ends",
		Long: `Compares two policies by what they do, not by their text. OLD and NEW are each a
file or the id of a version. Without OLD it is the version in force; without both,
NEW is the version that waits for the admins' agreement. Two files are compared
without a store. Where the store is asked, the requests that would end are named.`,
		Example: `  jit policy diff
  jit policy diff policy.yaml
  jit policy diff old.yaml new.yaml -o json`,
		Args: atMost(2),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	o.out.add(cmd, diffFields)
	return shows(cmd)
}

func (o *policyDiffOptions) run(ctx context.Context, args []string) (err error) {
	a := o.app
	var c consequences
	if len(args) == 2 && isFile(args[0]) && isFile(args[1]) {
		if c, err = o.files(ctx, args); err != nil {
			return err
		}
	} else {
		rep, _, openErr := a.known(ctx)
		if openErr != nil {
			return openErr
		}
		defer closing(rep, &err)
		if c, err = o.versions(ctx, rep, args); err != nil {
			return err
		}
	}
	return a.Print(o.out, c.view(), func(w io.Writer) error {
		a.renderConsequences(w, a.IO.OutStyle(), c)
		return nil
	})
}

func isFile(arg string) bool {
	info, err := os.Stat(arg)
	return err == nil && info.Mode().IsRegular()
}

func (o *policyDiffOptions) files(ctx context.Context, args []string) (c consequences, err error) {
	c.oldName, c.newName = args[0], args[1]
	old, err := o.app.policyIn(ctx, args[0])
	if err != nil {
		return c, err
	}
	next, err := o.app.policyIn(ctx, args[1])
	if err != nil {
		return c, err
	}
	c.Effects = trial.Compare(old, next, o.app.Now())
	return c, nil
}

// versions compares with the help of the store.
func (o *policyDiffOptions) versions(ctx context.Context, rep *replica.Replica, args []string) (consequences, error) {
	l := rep.Ledger()
	old, oldName, newArg := l.Policy(), l.Policy().ID().Short(), ""
	if len(args) > 0 {
		newArg = args[len(args)-1]
	} else {
		id, err := waiting(l, o.app)
		if err != nil {
			return consequences{}, err
		}
		newArg = string(id)
	}
	if len(args) == 2 {
		var err error
		if old, oldName, err = o.either(ctx, l, args[0]); err != nil {
			return consequences{}, err
		}
	}
	next, newName, err := o.either(ctx, l, newArg)
	if err != nil {
		return consequences{}, err
	}
	c := consequences{oldName: oldName, newName: newName, Effects: trial.Compare(old, next, o.app.Now())}
	if old == l.Policy() {
		c.Endings, err = o.app.endings(rep, next)
	}
	return c, err
}

// waiting gives the one version that waits for the admins.
func waiting(l *ledger.Ledger, a *App) (record.ID, error) {
	all, err := l.Proposals(a.Now())
	if err != nil {
		return "", err
	}
	var ids []string
	for _, p := range all {
		if p.State == approve.Proposed {
			ids = append(ids, string(p.Policy.Record.ID))
		}
	}
	switch len(ids) {
	case 0:
		return "", usageErr("give a file: jit policy diff FILE", "no policy version waits for agreement")
	case 1:
		return record.ID(ids[0]), nil
	}
	return "", usageErr("give one: "+strings.Join(ids, ", "), "%d policy versions wait for agreement", len(ids))
}

// either gives the policy in a file, or a version by its id.
func (o *policyDiffOptions) either(ctx context.Context, l *ledger.Ledger, arg string) (*policy.Policy, string, error) {
	if isFile(arg) {
		p, err := o.app.policyIn(ctx, arg)
		return p, arg, err
	}
	ref, err := resolveID(l, arg)
	if err != nil {
		return nil, "", err
	}
	if ref.Kind != record.KindPolicy {
		return nil, "", usageErr("see: jit show "+arg, "%q is a %s, not a policy version", arg, ref.Kind)
	}
	for _, v := range l.Policies() {
		if v.ID() == ref.ID {
			return v.Policy, ref.ID.Short(), nil
		}
	}
	entry, err := l.Proposal(ref.ID, o.app.Now())
	if err != nil {
		return nil, "", err
	}
	p, err := policy.Compile(entry.Policy.Record, entry.Digest)
	return p, ref.ID.Short(), err
}

// consequences are the effects of a new version on people and on what is open.
type consequences struct {
	oldName, newName string
	trial.Effects
	trial.Endings
}

// consequences tells what a body would change of the version in force.
func (a *App) consequences(rep *replica.Replica, body *policy.Body) (consequences, error) {
	old := rep.Ledger().Policy()
	next, err := policy.Compile(policy.Document{Body: *body}, "")
	if err != nil {
		return consequences{}, err
	}
	c := consequences{oldName: old.ID().Short(), newName: "the new one", Effects: trial.Compare(old, next, a.Now())}
	c.Endings, err = a.endings(rep, next)
	return c, err
}

// endings tells what a version does to the requests that are not settled.
func (a *App) endings(rep *replica.Replica, next *policy.Policy) (trial.Endings, error) {
	entries, err := rep.Ledger().Requests(ledger.Filter{Open: true}, a.Now())
	if err != nil {
		return trial.Endings{}, err
	}
	var cases []approve.Case
	for _, e := range entries {
		cases = append(cases, e.Case)
	}
	_, position := rep.Ledger().Head()
	return trial.Ends(rep.Ledger().Policies(), next, position+1, cases, a.Now()), nil
}

func (c consequences) view() diffView {
	v := diffView{Old: c.oldName, New: c.newName, Gains: c.Gains, Loses: c.Loses, Terms: c.Terms, Meanings: c.Meanings, Others: c.Others,
		Ended: []endingView{}, Undecided: []endingView{}}
	put := func(list []trial.Ending, into *[]endingView) {
		for _, e := range list {
			*into = append(*into, endingView{Ending: e, ShortID: e.Request.Short(), Ends: timeOrNull(e.Ends)})
		}
	}
	put(c.Ended, &v.Ended)
	put(c.Undecided, &v.Undecided)
	return v
}

// maxChanges is the most changes of a kind that are shown; the rest is counted, so
// that nobody takes a part for the whole.
const maxChanges = 50

// renderConsequences writes the effects of a new version for somebody who decides
// about it: what gives more before what takes away, so that what is cut, where much
// changes, is what matters least.
func (a *App) renderConsequences(w io.Writer, st *Style, c consequences) {
	if c.Empty() && len(c.Ended)+len(c.Undecided) == 0 {
		fmt.Fprintln(w, "In effect nothing changes.")
		return
	}
	changes := func(title string, list []trial.Change, line func(trial.Change) string) {
		if len(list) == 0 {
			return
		}
		fmt.Fprintln(w, st.Title(title))
		for _, x := range list[:min(maxChanges, len(list))] {
			fmt.Fprintf(w, "  %s  %s\n", st.Bold(clean(x.Whom)), clean(x.What))
			if text := line(x); text != "" {
				fmt.Fprintf(w, "      %s\n", clean(text))
			}
			for _, d := range x.Differs {
				fmt.Fprintf(w, "      %s\n", clean(d))
			}
		}
		widen := 0
		for _, x := range list[min(maxChanges, len(list)):] {
			if x.Widens {
				widen++
			}
		}
		some := ""
		switch {
		case widen > 0 && widen == len(list)-maxChanges:
			some = ", all of which may give more"
		case widen > 0:
			some = fmt.Sprintf(", %d of which may give more", widen)
		}
		left(w, st, len(list), some)
	}
	changes("May ask, who could not", c.Gains, func(x trial.Change) string {
		return fmt.Sprintf("%s (rule %q)%s", x.New, x.NewRule, instead(x.Old, x.OldRule))
	})
	changes("May ask as before, on other terms", c.Terms, func(x trial.Change) string {
		if x.OldRule == x.NewRule {
			return fmt.Sprintf("rule %q", x.NewRule)
		}
		return fmt.Sprintf("rule %q instead of %q", x.NewRule, x.OldRule)
	})
	changes("May no longer ask", c.Loses, func(x trial.Change) string {
		text := x.New
		if x.NewRule != "" {
			text += fmt.Sprintf(" (rule %q)", x.NewRule)
		}
		return text + instead(x.Old, x.OldRule)
	})
	notes := func(title string, list []trial.Note) {
		if len(list) == 0 {
			return
		}
		fmt.Fprintln(w, st.Title(title))
		for _, n := range list[:min(maxChanges, len(list))] {
			fmt.Fprintf(w, "  %s  %s\n", st.Bold(clean(n.About)), clean(n.Text))
		}
		left(w, st, len(list), "")
	}
	notes("Means something else, or is new", c.Meanings)
	notes("Beside that", c.Others)
	endings := func(title string, list []trial.Ending) {
		if len(list) == 0 {
			return
		}
		fmt.Fprintln(w, st.Title(title))
		for _, e := range list[:min(maxChanges, len(list))] {
			fmt.Fprintf(w, "  %s  %s %s, %s: %s\n", e.Request.Short(), clean(e.By), clean(grantsText(e.Grants)), e.State, clean(e.Reason))
		}
		left(w, st, len(list), "")
	}
	endings("Ends at once", c.Ended)
	endings("Must be decided again", c.Undecided)
}

func instead(old, rule string) string {
	if rule == "" {
		return ""
	}
	return fmt.Sprintf("; until now: %s (rule %q)", old, rule)
}

// left counts what is not shown, and says some more of it.
func left(w io.Writer, st *Style, n int, some string) {
	if more := n - maxChanges; more > 0 {
		fmt.Fprintf(w, "  %s\n", st.Warn(fmt.Sprintf("and %d more%s; see all: jit policy diff -o json", more, some)))
	}
}

package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

// delegationView is a delegation as JSON shows it.
type delegationView struct {
	ID      string     `json:"id"`
	ShortID string     `json:"shortId"`
	State   string     `json:"state"`
	By      string     `json:"by"`
	To      string     `json:"to"`
	Start   string     `json:"start"`
	Until   string     `json:"until"`
	Reason  *string    `json:"reason"`
	EndedBy *endedView `json:"endedBy"`
	keptView
}

var delegationFields = []string{"id", "shortId", "state", "by", "to", "start", "until", "reason", "endedBy", "waiting"}

func viewDelegation(d ledger.DelegationEntry) delegationView {
	r := d.Record
	v := delegationView{ID: string(r.ID), ShortID: r.ID.Short(), State: string(d.State), By: r.By, To: r.To,
		Start: utc(r.Begins()), Until: utc(r.Until.Time), Reason: orNull(r.Reason)}
	if e := d.Ended; e != nil {
		v.EndedBy = &endedView{By: orNull(e.By), At: timeOrNull(e.At), Reason: orNull(e.Reason), Record: orNull(string(e.Record))}
	}
	return v
}

// delegationLine says a delegation in a line.
func delegationLine(v delegationView) string {
	from := ""
	if v.State == string(approve.DelegationComing) {
		from = " from " + v.Start
	}
	return fmt.Sprintf("%s to %s%s until %s (%s)", v.By, v.To, from, v.Until, v.ShortID)
}

// counts reports whether a delegation has, or will have, an effect.
func counts(d ledger.DelegationEntry) bool {
	return d.State == approve.DelegationActive || d.State == approve.DelegationComing
}

// viewDelegations gives the delegations that have, or will have, an effect.
func viewDelegations(l *ledger.Ledger, now time.Time) ([]delegationView, error) {
	all, err := l.Delegations(now)
	views := []delegationView{}
	for _, d := range all {
		if counts(d) {
			views = append(views, viewDelegation(d))
		}
	}
	return views, err
}

type delegateOptions struct {
	app          *App
	args         []string
	until, start string
	text         string
	set          bool // -r was given
	list, end    bool
	yes          bool
	out          outputFlags
}

func newDelegateCmd(app *App) *cobra.Command {
	o := &delegateOptions{app: app}
	cmd := &cobra.Command{
		Use:   "delegate PERSON --until TIME | --list | --end [ID]",
		Short: "Let somebody else decide in your place for a while",
		Long: `Let somebody else decide in your place for a while, where the policy allows it:
they approve, deny and revoke what you may. They decide no request of their own
by it, none of yours, and cannot give it on. It counts until the time that you
set, until it is ended, or until one of the two of you is locked or leaves.`,
		Example: `  jit delegate bob --until "2026-12-04 18:00" -r holiday
  jit delegate --list
  jit delegate --end`,
		GroupID: groupDecide, ValidArgsFunction: app.completeDelegate,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.args, o.set = args, cmd.Flags().Changed("reason")
			return o.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.until, "until", "", "when it ends, as a `time`: 18:00, \"2026-11-24 18:00\" or RFC 3339")
	f.StringVar(&o.start, "start", "", "when it begins, as a `time`; now where it is left out")
	f.StringVarP(&o.text, "reason", "r", "", `a reason, for everyone to read; "-" reads standard input`)
	o.app.insistFlag(cmd)
	f.BoolVar(&o.list, "list", false, "list all delegations, those that are over too")
	f.BoolVar(&o.end, "end", false, "end one: by ID, or the only one of yours")
	f.BoolVar(&o.yes, "yes", false, "sign without asking; with --end it takes the whole id only")
	o.out.add(cmd, delegationFields)
	return cmd
}

func (o *delegateOptions) run(ctx context.Context) error {
	switch {
	case o.list && o.end:
		return usageErr("give one of them", "--list and --end do not go together")
	case (o.list || o.end) && o.until+o.start != "":
		return usageErr("leave them out", "--until and --start are for a new delegation")
	case o.list && len(o.args) > 0 || len(o.args) > 1:
		return usageErr("see: jit delegate --help", "%q is one argument too many", o.args[len(o.args)-1])
	case o.list:
		return o.runList(ctx)
	case o.end:
		return o.runEnd(ctx)
	}
	var missing []string
	if len(o.args) == 0 {
		missing = append(missing, "PERSON")
	}
	if o.until == "" {
		missing = append(missing, "--until TIME")
	}
	if len(missing) > 0 {
		if !o.yes && !o.app.IO.CanAsk() {
			missing = append(missing, "--yes")
		}
		return missingErr(missing)
	}
	return o.runNew(ctx, o.args[0])
}

func (o *delegateOptions) runList(ctx context.Context) (err error) {
	a := o.app
	rep, _, err := a.known(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	all, err := rep.Ledger().Delegations(a.Now())
	if err != nil {
		return err
	}
	views := []delegationView{}
	var rows [][]string
	for _, d := range all {
		r := d.Record
		views = append(views, viewDelegation(d))
		why := r.Reason
		if e := d.Ended; e != nil {
			why = "ended"
			if e.By != "" {
				why += " by " + e.By
			}
			if e.Reason != "" {
				why += ": " + e.Reason
			}
		}
		rows = append(rows, []string{r.ID.Short(), string(d.State), r.By, r.To, a.FormatTime(r.Begins()), a.FormatTime(r.Until.Time), a.brief(why)})
	}
	return a.Print(o.out, views, func(w io.Writer) error {
		if len(rows) == 0 {
			a.Say("nobody has delegated anything")
			return nil
		}
		a.Table(w, []string{"id", "state", "by", "to", "from", "until", "reason"}, rows)
		return nil
	})
}

// runNew signs a delegation.
func (o *delegateOptions) runNew(ctx context.Context, to string) (err error) {
	a := o.app
	x := approve.Delegation{To: to}
	until, err := parseUntil(o.until, a.Now(), a.Local)
	if err != nil {
		return err
	}
	x.Until = record.At(until)
	if o.start != "" {
		start, err := parseUntil(o.start, a.Now(), a.Local)
		if err != nil {
			return err
		}
		if !start.Before(until) {
			return usageErr("give a later --until", "it would end before it begins")
		}
		at := record.At(start)
		x.Start = &at
	}
	if o.set {
		if x.Reason, err = a.Text(o.text, true, "reason", ""); err != nil {
			return err
		}
	}
	d, err := a.sitDown(ctx)
	if err != nil {
		return err
	}
	defer closing(d.rep, &err)
	l := d.rep.Ledger()
	if x.Head, err = d.head(record.KindDelegation); err != nil {
		return err
	}
	all, err := l.Delegations(a.Now())
	if err != nil {
		return err
	}
	for _, have := range all {
		r := have.Record
		if r.By == d.me && r.To == to && counts(have) && !r.Begins().After(x.Begins()) && !r.Until.Before(until) {
			return o.answer(have, "you have delegated to "+to+" already, until "+a.FormatTime(r.Until.Time))
		}
	}
	if err := approve.MayDelegate(d.policy(), x); err != nil {
		return err
	}
	if err := l.Refuse(to, ""); err != nil {
		return err
	}
	for _, have := range all {
		if err := have.Meets(x); err != nil {
			return err
		}
	}
	a.Say("%s decides in your place from %s until %s", to, a.FormatTime(x.Begins()), a.FormatTime(until))
	if err := d.confirmed(o.yes, "Delegate to "+to+" until "+a.FormatTime(until)+"?", x); err != nil {
		return err
	}
	d.refreshed(&x.Head)
	if err := d.send(ctx, letter{head: x.Head, record: x, subject: d.me + " delegates to " + to + " until " + utc(until)}); err != nil {
		return err
	}
	now := ledger.DelegationEntry{Delegated: approve.Delegated{Placed: approve.Placed[approve.Delegation]{Record: x}}}
	now.State = now.Delegated.State(d.policy(), a.Now())
	from := ""
	if x.Start != nil {
		from = "from " + a.FormatTime(x.Start.Time) + " "
	}
	return o.answer(now, to+" acts for you "+from+"until "+a.FormatTime(until)+" ("+x.ID.Short()+")\nto end it before, run: jit delegate --end "+x.ID.Short())
}

// runEnd ends one delegation.
func (o *delegateOptions) runEnd(ctx context.Context) (err error) {
	a := o.app
	if o.yes && len(o.args) > 0 {
		if err := wholeID(o.args[0]); err != nil {
			return err
		}
	}
	d, err := a.sitDown(ctx)
	if err != nil {
		return err
	}
	defer closing(d.rep, &err)
	have, err := o.meant(d)
	if err != nil || have == nil {
		return err
	}
	r := have.Record
	if isOver(*have, a.Now()) {
		return o.answer(*have, "the delegation of "+r.By+" to "+r.To+" is over already")
	}
	if err := have.MayEnd(d.policy(), d.me, a.Now().Truncate(time.Second)); err != nil {
		return err
	}
	x := approve.DelegationEnd{Delegation: r.ID}
	if o.set {
		if x.Reason, err = a.Text(o.text, true, "reason", ""); err != nil {
			return err
		}
	}
	if x.Head, err = d.head(record.KindDelegationEnd); err != nil {
		return err
	}
	if e := have.Ended; e != nil {
		a.Warn("it was ended already, but as of a time that is still to come, %s: what %s dated ahead to before that would count", a.FormatTime(e.At), r.To)
	} else {
		a.Say("%s acts for %s until %s", r.To, r.By, a.FormatTime(r.Until.Time))
	}
	if err := d.confirmed(o.yes, "End the delegation of "+r.By+" to "+r.To+"?", x); err != nil {
		return err
	}
	d.refreshed(&x.Head)
	if err := d.send(ctx, letter{head: x.Head, record: x, subject: d.me + " ends the delegation of " + r.By + " to " + r.To}); err != nil {
		return err
	}
	all, err := d.rep.Ledger().Delegations(a.Now())
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(all, func(e ledger.DelegationEntry) bool { return e.Record.ID == r.ID }); i >= 0 {
		*have = all[i]
	}
	return o.answer(*have, "ended the delegation of "+r.By+" to "+r.To)
}

// isOver reports whether there is nothing to end of a delegation: where a record that
// claims a time still to come has ended it, what is dated to before that counts yet.
func isOver(d ledger.DelegationEntry, now time.Time) bool {
	return !now.Before(d.Record.Until.Time) || d.Ended != nil && !now.Truncate(time.Second).Before(d.Ended.At)
}

// mayBeEnded reports whether an end of a delegation changes anything.
func mayBeEnded(d ledger.DelegationEntry, now time.Time) bool {
	return counts(d) || d.Ended != nil && !isOver(d, now)
}

// meant finds the delegation to end: the one that is named, or the only one that
// this person gave and that is not over. It is nil where there is none.
func (o *delegateOptions) meant(d *desk) (*ledger.DelegationEntry, error) {
	a, l := o.app, d.rep.Ledger()
	all, err := l.Delegations(a.Now())
	if err != nil {
		return nil, err
	}
	if len(o.args) > 0 {
		ref, err := resolveID(l, o.args[0])
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(all, func(e ledger.DelegationEntry) bool { return e.Record.ID == ref.ID }); i >= 0 {
			return &all[i], nil
		}
		return nil, usageErr("see: jit delegate --list", "%q is a %s, not a delegation", o.args[0], ref.Kind)
	}
	mine := slices.DeleteFunc(all, func(e ledger.DelegationEntry) bool { return e.Record.By != d.me || !mayBeEnded(e, a.Now()) })
	var options []string
	for _, e := range mine {
		options = append(options, e.Record.ID.Short()+" to "+e.Record.To+" until "+a.FormatTime(e.Record.Until.Time))
	}
	switch {
	case len(mine) == 0:
		a.Say("you have delegated nothing that still counts")
		return nil, nil //nolint:nilnil // there is nothing to end, and that is no error
	case len(mine) == 1:
		return &mine[0], nil
	case !a.IO.CanAsk():
		return nil, failure(exitUsage, "ambiguous-id", "give one of: "+strings.Join(options, "; "), "you have %d delegations", len(mine))
	}
	n, err := a.Choose("Which one?", "--end ID", options)
	if err != nil {
		return nil, err
	}
	return &mine[n], nil
}

func (o *delegateOptions) answer(d ledger.DelegationEntry, text string) error {
	v := viewDelegation(d)
	return o.app.Print(o.out, &v, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, cleanLines(text))
		return err
	})
}

// completeDelegate completes people, or with --end the delegations that count.
func (a *App) completeDelegate(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if end, err := cmd.Flags().GetBool("end"); err != nil || !end {
		return a.completeFirst(a.completePeople)(cmd, args, typed)
	}
	return a.completeFirst(a.completeFrom(func(rep *replica.Replica, _ Settings, args []string, typed string) []cobra.Completion {
		all, err := rep.Ledger().Delegations(a.Now())
		if err != nil {
			return nil
		}
		var out []cobra.Completion
		for _, d := range all {
			if mayBeEnded(d, a.Now()) {
				out = addID(out, d.Record.ID, args, typed, d.Record.By+" to "+d.Record.To)
			}
		}
		return out
	}))(cmd, args, typed)
}

// actsIn gives those in whose place a person's approval of e would count, were it
// signed now; none where it would count in their own name, or not at all.
func actsIn(l *ledger.Ledger, e ledger.Entry, me string, now time.Time) []string {
	acting := l.Acting(me, now)
	if len(acting) == 0 || !undecided(e.Decision) {
		return nil
	}
	_, at := l.Head()
	a := approve.Placed[approve.Approval]{Position: at + 1, HeadAt: at, Key: aKeyOf(l.Policy(), me)}
	a.Record.By, a.Record.Created = me, record.At(now)
	if e.MayApprove(l.Policies(), a, acting) != nil {
		return nil
	}
	if s := tried(l, e, a, acting, now); s.Counted {
		return s.For
	}
	return nil
}

// aKeyOf gives one of the keys of a person: for what is only imagined to be signed, any
// of them does. It is empty for others.
func aKeyOf(p *policy.Policy, name string) record.Fingerprint {
	if who, ok := p.Person(name); ok {
		return who.Keys[0]
	}
	return ""
}

// tried says what would become of an approval that came next.
func tried(l *ledger.Ledger, e ledger.Entry, a approve.Placed[approve.Approval], acting approve.Acts, now time.Time) approve.Standing {
	all := decidedWith(l, e, a, acting, now).Approvals
	return all[len(all)-1]
}

// decidedWith decides a request as if an approval came next.
func decidedWith(l *ledger.Ledger, e ledger.Entry, a approve.Placed[approve.Approval], acting approve.Acts, now time.Time) approve.Decision {
	a.Record.ID = "trial"
	c := e.Case
	c.Approvals = append(slices.Clip(c.Approvals), a)
	c.Acting = map[record.ID]approve.Acts{a.Record.ID: acting}
	maps.Copy(c.Acting, e.Acting)
	return l.Decide(c, now).Decision
}

// delegatesText says who acts for those who are waited for: "bob for alice".
func delegatesText(l *ledger.Ledger, e ledger.Entry, now time.Time) string {
	if l.Policy() == nil || !undecided(e.Decision) {
		return ""
	}
	all, err := l.Delegations(now)
	if err != nil {
		return ""
	}
	var texts []string
	for _, d := range all {
		r := d.Record
		if d.State != approve.DelegationActive || !slices.Contains(waitsFor(e.Decision), r.By) {
			continue
		}
		if text := r.To + " for " + r.By; slices.Contains(actsIn(l, e, r.To, now), r.By) && !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, ", ")
}

// approvedBy names who approved, and in whose place: "bob for alice".
func approvedBy(s approve.Standing) string {
	if len(s.For) == 0 {
		return s.By
	}
	return s.By + " for " + strings.Join(s.For, ", ")
}

// inPlaceOf is what a commit message says of an approval in others' places.
func inPlaceOf(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return ", for " + strings.Join(names, " and ")
}

// locked refuses to sign what would be set aside, since the signer is locked.
func (d *desk) locked(kind record.Kind) error {
	if kind == record.KindCancellation || kind == record.KindUnlock { // of an unlock, its own command judges
		return nil
	}
	err := d.rep.Ledger().Refuse(d.me, d.signer.Fingerprint())
	if policy.CodeOf(err) == policy.Locked {
		return fmt.Errorf("nothing that you sign counts: %w", err)
	}
	return err
}

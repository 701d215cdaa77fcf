package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/revoke"
)

// lockView is a lock as JSON shows it. Lifted is whether it holds nobody any more;
// Agreed are the admins who have agreed to lift it, of as many as Needed.
type lockView struct {
	ID      string   `json:"id"`
	ShortID string   `json:"shortId"`
	Person  *string  `json:"person"`
	Key     *string  `json:"key"`
	Owner   *string  `json:"owner"`
	By      string   `json:"by"`
	At      string   `json:"at"`
	Reason  string   `json:"reason"`
	Lifted  bool     `json:"lifted"`
	Agreed  []string `json:"agreed"`
	Needed  int      `json:"needed"`
	keptView
}

var lockFields = []string{"id", "shortId", "person", "key", "owner", "by", "at", "reason", "lifted", "agreed", "needed", "waiting"}

func viewLock(l *ledger.Ledger, h revoke.Held) lockView {
	v := lockView{ID: string(h.ID), ShortID: h.ID.Short(), Person: orNull(h.Person), Key: orNull(string(h.Key)), Owner: orNull(h.Owner),
		By: h.By, At: utc(h.At), Reason: h.Reason, Lifted: h.Lifted > 0, Agreed: []string{}}
	agreed, needed := l.Agreed(h.ID)
	v.Agreed, v.Needed = notNull(agreed), needed
	return v
}

// lockLine says a lock in a line.
func lockLine(v lockView) string {
	whom := ""
	switch {
	case v.Person != nil:
		whom = *v.Person
	case v.Key != nil && v.Owner != nil:
		whom = "key " + *v.Key + " of " + *v.Owner
	case v.Key != nil:
		whom = "key " + *v.Key
	}
	s := fmt.Sprintf("%s, by %s at %s (%s): %s", whom, v.By, v.At, v.ShortID, lineOf(v.Reason))
	if len(v.Agreed) > 0 {
		s += fmt.Sprintf("; %d of %d agree to lift it", len(v.Agreed), v.Needed)
	}
	return s
}

// viewLocks gives the locks that stand.
func viewLocks(l *ledger.Ledger) []lockView {
	views := []lockView{}
	for _, h := range l.Locks() {
		if h.Lifted == 0 {
			views = append(views, viewLock(l, h))
		}
	}
	return views
}

type lockOptions struct {
	app  *App
	whom string
	text string
	set  bool // -r was given
	yes  bool
	out  outputFlags
}

func (o *lockOptions) add(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&o.text, "reason", "r", "", `the reason, for everyone to read; "-" reads standard input`)
	o.app.insistFlag(cmd)
	cmd.Flags().BoolVar(&o.yes, "yes", false, "sign without asking")
	o.out.add(cmd, lockFields)
}

func newLockCmd(app *App) *cobra.Command {
	o := &lockOptions{app: app}
	cmd := &cobra.Command{
		Use:   "lock PERSON|FINGERPRINT",
		Short: "Shut out a person or a key at once",
		Long: `Shut out a person, or one key, at once. Any one admin can. All that the person
asked for ends, what they agreed to counts no more where it is not decided yet,
nobody acts in their place any more, and nothing that they sign counts until the
lock is lifted, but the cancelling of their own requests.

Lifting the lock takes as many admins as a change of the policy.`,
		Example: `  jit lock bob -r "laptop stolen"
  jit lock 9434AB099A4DFC84EC73BF29326312269C1E1491 -r "token lost"`,
		GroupID: groupAdmin, Args: atMost(1), ValidArgsFunction: app.completeFirst(app.completePeople),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.set = cmd.Flags().Changed("reason")
			if len(args) == 0 {
				return missingErr(append([]string{"PERSON|FINGERPRINT"}, o.lacks()...))
			}
			o.whom = args[0]
			return o.lock(cmd.Context())
		},
	}
	o.add(cmd)
	return cmd
}

func newUnlockCmd(app *App) *cobra.Command {
	o := &lockOptions{app: app}
	cmd := &cobra.Command{
		Use:   "unlock PERSON|FINGERPRINT|ID",
		Short: "Agree to lift a lock",
		Long: `Agree, as an admin, to lift a lock. It is lifted when as many admins have agreed
as a change of the policy takes; one whose own lock it is does not count. What
the lock ended stays ended, and must be asked for again.`,
		GroupID: groupAdmin, Args: atMost(1), ValidArgsFunction: app.completeLocked,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.set = cmd.Flags().Changed("reason")
			if len(args) == 0 {
				return missingErr(append([]string{"PERSON|FINGERPRINT|ID"}, o.lacks()...))
			}
			o.whom = args[0]
			return o.unlock(cmd.Context())
		},
	}
	o.add(cmd)
	return cmd
}

// lacks names what else is missing where nobody can be asked.
func (o *lockOptions) lacks() (missing []string) {
	if o.app.IO.CanAsk() {
		return nil
	}
	if !o.set {
		missing = append(missing, "-r REASON")
	}
	if !o.yes {
		missing = append(missing, "--yes")
	}
	return missing
}

// fingerprintIn reads a fingerprint as people copy it, in any case and in groups.
func fingerprintIn(s string) (record.Fingerprint, bool) {
	fpr, err := record.ParseFingerprint(strings.ToUpper(strings.ReplaceAll(s, " ", "")))
	return fpr, err == nil
}

// reason gives the text that the record holds.
func (o *lockOptions) reason(about string) (string, error) {
	if missing := o.lacks(); len(missing) > 1 {
		return "", missingErr(missing)
	}
	text, err := o.app.Text(o.text, o.set, "reason", about)
	if err == nil && strings.TrimSpace(text) == "" {
		err = failure(exitUsage, "reason-missing", "add: -r REASON", "the reason is blank")
	}
	return text, err
}

func (o *lockOptions) lock(ctx context.Context) (err error) {
	a := o.app
	d, err := a.sitDown(ctx)
	if err != nil {
		return err
	}
	defer closing(d.rep, &err)
	l := d.rep.Ledger()
	x := revoke.Lock{Head: record.Head{By: d.me, Created: record.At(a.Now())}, Person: o.whom}
	if fpr, ok := fingerprintIn(o.whom); ok {
		x.Person, x.Key = "", fpr
		if err := o.notASubkey(l, fpr); err != nil {
			return err
		}
	}
	if h := l.Locks().Counts(x.Person, x.Key, x.Created.Time); h != nil && policy.CodeOf(l.MayLock(x)) == policy.AlreadyLocked {
		return o.answer(l, *h, h.Whom()+" is locked already, by "+h.By+": "+lineOf(h.Reason))
	}
	if err := l.MayLock(x); err != nil {
		return err
	}
	if x.Reason, err = o.reason("why " + o.whom + " is locked"); err != nil {
		return err
	}
	if x.Head, err = d.head(record.KindLock); err != nil {
		return err
	}
	if h := l.Locks().On(x.Person, x.Key); h != nil && h.At.After(x.Created.Time) {
		a.Warn("%s is locked already, by %s, but as of a time that is still to come, %s: it takes no approval that takes effect before",
			h.Whom(), h.By, a.FormatTime(h.At))
	}
	if err := o.showEnds(d, x); err != nil {
		return err
	}
	if err := d.confirmed(o.yes, "Lock "+o.whom+"?", x); err != nil {
		return err
	}
	d.refreshed(&x.Head)
	if err := d.send(ctx, letter{head: x.Head, record: x, subject: d.me + " locks " + o.whom}); err != nil {
		return err
	}
	i := l.Locks().Find(x.ID)
	if i < 0 { // it waits to be sent
		return o.answer(l, revoke.Held{ID: x.ID, At: x.Created.Time, By: x.By, Reason: x.Reason, Person: x.Person, Key: x.Key}, "")
	}
	h := l.Locks()[i]
	return o.answer(l, h, fmt.Sprintf("locked %s (%s); reconcilers end the access with their next run\nto lift it, %d must run: jit unlock %s -r REASON",
		h.Whom(), h.ID.Short(), d.policy().Document().Admins.Threshold, h.ID.Short())+besideText(l, h))
}

// notASubkey refuses to lock a subkey: what it signs counts under its primary key, and
// would go on.
func (o *lockOptions) notASubkey(l *ledger.Ledger, fpr record.Fingerprint) error {
	ring, err := l.Keyring()
	if err != nil {
		return err
	}
	c := primaryOf(ring, fpr)
	if c == nil {
		return nil
	}
	of := ""
	if owner, ok := l.Policy().OwnerOf(c.Fingerprint()); ok {
		of = " of " + owner
	}
	return failure(exitUsage, "subkey", "lock the whole key: jit lock "+string(c.Fingerprint())+" -r REASON",
		"%s is a subkey of the key %s%s, and a lock of it would hold nobody back", fpr, c.Fingerprint(), of)
}

// showEnds tells what a lock would end, before it is signed.
func (o *lockOptions) showEnds(d *desk, x revoke.Lock) error {
	a, now := o.app, o.app.Now()
	open, err := d.rep.Ledger().Requests(ledger.Filter{Open: true}, now)
	if err != nil {
		return err
	}
	var rows, approved [][]string
	for _, e := range open {
		r := e.Request.Record
		row := []string{"  " + r.ID.Short(), r.By, grantsText(r.Grants), a.when(e)}
		switch {
		case r.By == x.Person || x.Key != "" && e.Request.Key == x.Key:
			rows = append(rows, row)
		case takesApproval(e, x):
			approved = append(approved, row)
		}
	}
	if len(rows)+len(approved) == 0 {
		a.Say("nothing is open or waiting that it would end")
	}
	for _, part := range []struct {
		rows [][]string
		what string
	}{{rows, "would end"}, {approved, "would lose an approval"}} {
		if len(part.rows) > 0 {
			a.Say("%s %s:", count(len(part.rows), "request"), part.what)
			a.Table(a.IO.Err, []string{"  id", "by", "grants", "when"}, part.rows)
		}
	}
	if x.Person == d.me {
		a.Warn("this is yourself: others must lift it")
	}
	return nil
}

// takesApproval reports whether a lock would take an approval from what is not decided:
// one that counts, or will when the time that it claims has come, and was given by who is
// locked or in their place.
func takesApproval(e ledger.Entry, x revoke.Lock) bool {
	if !slices.ContainsFunc(e.Grants, func(g approve.GrantDecision) bool { return g.State == approve.Pending }) {
		return false
	}
	for i, s := range e.Decision.Approvals {
		theirs := s.By == x.Person || x.Key != "" && e.Case.Approvals[i].Key == x.Key
		inTheirPlace := slices.ContainsFunc(e.Acting[s.ID], func(a approve.Acting) bool {
			of := a.Name == x.Person || x.Key != "" && slices.Contains(append(slices.Clone(a.Keys), a.Signed), x.Key)
			return of && (!s.Counted || slices.Contains(s.For, a.Name))
		})
		if (s.Counted || s.Why == policy.NotYet) && (theirs || inTheirPlace) {
			return true
		}
	}
	return false
}

func (o *lockOptions) unlock(ctx context.Context) (err error) {
	a := o.app
	d, err := a.sitDown(ctx)
	if err != nil {
		return err
	}
	defer closing(d.rep, &err)
	l := d.rep.Ledger()
	h, err := lockOf(l, o.whom)
	if err != nil {
		return err
	}
	if _, isKey := fingerprintIn(o.whom); o.yes && !isKey && o.whom != h.Person && o.whom != h.Owner {
		if err := wholeID(o.whom); err != nil {
			return err
		}
		// The record's id as the history shows it may be meant for the other.
		if others := l.Locks().WithIDOf(h); h.Record == "" && len(others) > 0 {
			return failure(exitUsage, "ambiguous-id", "name the person or the key, or run it without --yes",
				"the lock of %s has the id %s too, and is known by %s", others[0].Whom(), h.ID, others[0].ID)
		}
	}
	x := revoke.Unlock{Head: record.Head{By: d.me}, Lock: h.ID}
	agreed, _ := l.Agreed(h.ID)
	switch {
	case h.Lifted > 0:
		return o.answer(l, h, "the lock of "+h.Whom()+" is lifted already")
	case slices.Contains(agreed, d.me):
		return o.answer(l, h, "you have agreed already; "+unlockNeeds(l, h))
	}
	if err := l.MayUnlock(x, d.signer.Fingerprint()); err != nil {
		return err
	}
	if x.Reason, err = o.reason("why the lock of " + h.Whom() + " is lifted"); err != nil {
		return err
	}
	if x.Head, err = d.head(record.KindUnlock); err != nil {
		return err
	}
	a.Say("%s was locked by %s at %s: %s", clean(h.Whom()), h.By, a.FormatTime(h.At), clean(h.Reason))
	if err := d.confirmed(o.yes, "Agree to lift the lock of "+h.Whom()+"?", x); err != nil {
		return err
	}
	d.refreshed(&x.Head)
	if err := d.send(ctx, letter{head: x.Head, record: x, subject: d.me + " agrees to lift the lock of " + h.Whom()}); err != nil {
		return err
	}
	if i := l.Locks().Find(h.ID); i >= 0 {
		h = l.Locks()[i]
	}
	if h.Lifted > 0 {
		if beside := besideText(l, h); beside != "" {
			return o.answer(l, h, "lifted the lock "+h.ID.Short()+" of "+h.Whom()+beside)
		}
		return o.answer(l, h, "unlocked "+h.Whom()+"; what was ended stays so, and can be asked for again")
	}
	return o.answer(l, h, "agreed to lift the lock of "+h.Whom()+"; "+unlockNeeds(l, h)+besideText(l, h))
}

// besideText says which other locks hold the same person or key; empty where none does.
func besideText(l *ledger.Ledger, h revoke.Held) string {
	var ids []string
	for _, x := range l.Locks().Beside(h) {
		ids = append(ids, x.ID.Short()+" by "+x.By)
	}
	if len(ids) == 0 {
		return ""
	}
	return "\n" + h.Whom() + " stays locked until each of their locks is lifted: also " + listText(ids, "and")
}

// unlockNeeds says what is missing before a lock is lifted.
func unlockNeeds(l *ledger.Ledger, h revoke.Held) string {
	agreed, needed := l.Agreed(h.ID)
	var left []string
	for _, name := range l.Policy().Document().Admins.People {
		if !slices.Contains(agreed, name) && name != h.Person && name != h.Owner && l.Locks().On(name, "") == nil {
			left = append(left, name)
		}
	}
	return fmt.Sprintf("it has %d of %d, and waits for %s", len(agreed), needed, listText(left, "or"))
}

func (o *lockOptions) answer(l *ledger.Ledger, h revoke.Held, text string) error {
	v := viewLock(l, h)
	return o.app.Print(o.out, &v, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, cleanLines(text))
		return err
	})
}

// lockOf finds the lock that is meant by a person, a key or an id: one that stands,
// else the newest that was lifted.
func lockOf(l *ledger.Ledger, arg string) (revoke.Held, error) {
	fpr, isKey := fingerprintIn(arg)
	_, isPerson := l.Policy().Person(arg)
	var stands, keys, lifted []revoke.Held
	for _, h := range l.Locks() {
		switch named := isKey && h.Key == fpr || !isKey && h.Person == arg; {
		case named && h.Lifted == 0:
			stands = append(stands, h)
		case named:
			lifted = append(lifted, h)
		case !isKey && h.Owner == arg && h.Lifted == 0:
			keys = append(keys, h)
		}
	}
	if len(stands) == 0 {
		stands = keys
	}
	switch {
	case len(stands) == 1:
		return stands[0], nil
	case len(stands) > 1:
		var fit []string
		for _, h := range stands {
			fit = append(fit, h.ID.Short()+" ("+h.Whom()+")")
		}
		return revoke.Held{}, failure(exitUsage, "ambiguous-id", "give one of: "+strings.Join(fit, ", "), "%d locks of %s, or of their keys, stand", len(stands), arg)
	case len(lifted) > 0:
		return lifted[len(lifted)-1], nil
	case isKey || isPerson:
		return revoke.Held{}, &policy.Refusal{Code: policy.NotLocked, Message: arg + " is not locked", Hint: "who is: jit status"}
	}
	ref, err := resolveID(l, arg)
	if err != nil {
		return revoke.Held{}, err
	}
	i := l.Locks().Find(ref.ID)
	if i < 0 {
		return revoke.Held{}, usageErr("who is locked: jit status", "%q is a %s, not a lock", arg, ref.Kind)
	}
	return l.Locks()[i], nil
}

// showApart shows a record that belongs to no one request.
func (a *App) showApart(out outputFlags, l *ledger.Ledger, ref ledger.Ref) error {
	if i := l.Locks().Find(ref.ID); i >= 0 {
		v := viewLock(l, l.Locks()[i])
		return a.Print(out, v, func(w io.Writer) error {
			word := "lock of "
			if v.Lifted {
				word = "lifted lock of "
			}
			_, err := fmt.Fprintln(w, clean(word+lockLine(v)))
			return err
		})
	}
	all, err := l.Delegations(a.Now())
	if err != nil {
		return err
	}
	for _, d := range all {
		if d.Record.ID == ref.ID {
			v := viewDelegation(d)
			return a.Print(out, v, func(w io.Writer) error {
				_, err := fmt.Fprintln(w, "delegation of "+delegationLine(v)+": "+v.State)
				return err
			})
		}
	}
	return usageErr("see: jit verify "+ref.ID.Short(), "%q is of the kind %s, which has nothing to show beside its bytes", ref.ID.Short(), ref.Kind)
}

// completeFirst completes the first argument alone.
func (a *App) completeFirst(f cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f(cmd, args, typed)
	}
}

// completeLocked completes what is locked: people by name, and keys.
func (a *App) completeLocked(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completeFirst(a.completeFrom(func(rep *replica.Replica, _ Settings, _ []string, typed string) []cobra.Completion {
		var out []cobra.Completion
		for _, h := range rep.Ledger().Locks() {
			word := h.Person
			if h.Key != "" {
				word = string(h.Key)
			}
			if h.Lifted == 0 && strings.HasPrefix(word, typed) {
				out = append(out, cobra.CompletionWithDesc(word, oneLine([]string{"locked by " + h.By + ": " + h.Reason})[0]))
			}
		}
		return out
	}))(cmd, args, typed)
}

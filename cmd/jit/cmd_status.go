package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

type statusOptions struct {
	app *App
	out outputFlags
}

// statusView is what scripts and monitoring read.
type statusView struct {
	Store     string   `json:"store"`
	URL       string   `json:"url"`
	Transport string   `json:"transport"`
	Head      string   `json:"head"`
	Position  int      `json:"position"`
	Digest    string   `json:"digest"`
	Policy    *string  `json:"policy"`
	Reachable bool     `json:"reachable"`
	Problem   *string  `json:"problem"`
	Next      *string  `json:"next"`
	Fetched   *string  `json:"fetched"`
	Age       *int64   `json:"age"`
	AgeText   *string  `json:"ageText"`
	Spooled   []string `json:"spooled"`
	// Stuck are those of them that wait although the store answers, and why.
	Stuck   []string `json:"stuck"`
	Refused []string `json:"refused"`
	// SetAside is the newest of what is set aside, SetAsideCount how much there is.
	SetAside      []setAsideView `json:"setAside"`
	SetAsideCount int            `json:"setAsideCount"`
	Fresh         []freshView    `json:"fresh"`
	Join          string         `json:"join"`
	// Locks are those that stand; Delegations those that have, or will have, an
	// effect.
	Locks       []lockView       `json:"locks"`
	Delegations []delegationView `json:"delegations"`
	// Emergencies are those that nobody has acknowledged.
	Emergencies []emergencyStatus `json:"emergencies"`
}

// setAsideView is a record, or a change, that does not count.
type setAsideView struct {
	Path     string `json:"path"`
	Commit   string `json:"commit"`
	Position int    `json:"position"`
	Reason   string `json:"reason"`
	Detail   string `json:"detail"`
}

func viewSetAside(list []ledger.SetAside) []setAsideView {
	views := make([]setAsideView, 0, len(list))
	for _, s := range list {
		views = append(views, setAsideView{s.Path, string(s.Commit), s.Position, s.Reason, s.Detail})
	}
	return views
}

func newStatusCmd(app *App) *cobra.Command {
	o := &statusOptions{app: app}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "The store, its head, how fresh it is, and the line to join with",
		Long: `Shows the state of this machine's copy of the store, for people, scripts and
monitoring. The last line is for the next person: it pins the store's identity
and a recent head.

The exit code is 5 where the store could not be reached, and 4 where what it
shows cannot be trusted, that of jit sync where it does not take what waits here,
and else 9 while an emergency is not acknowledged; what
is known is printed all the same.`,
		GroupID: groupAdmin,
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	o.out.add(cmd, []string{"store", "url", "transport", "head", "position", "digest", "policy", "reachable", "problem", "next",
		"fetched", "age", "ageText", "spooled", "stuck", "refused", "setAside", "setAsideCount", "fresh", "join", "emergencies", "locks", "delegations"})
	return shows(cmd)
}

func (o *statusOptions) run(ctx context.Context) (err error) {
	a := o.app
	rep, s, err := a.Open(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	var problem error
	var report replica.Report
	if !a.flags.offline {
		report, problem = rep.Sync(ctx)
	}
	v, err := viewStatus(rep, s, a.Now(), problem)
	if err != nil {
		return err
	}
	for _, s := range report.Stuck {
		v.Stuck = append(v.Stuck, s.String())
	}
	stuck := errStuck(report.Stuck)
	if stuck != nil {
		v.Next = orNull(a.nextFor(stuck))
	}
	if problem != nil {
		v.Next = orNull(a.asExit(ctx, problem).Hint)
	}
	v.Reachable = !a.flags.offline && !isUnreachable(problem)
	if err := a.Print(o.out, v, func(w io.Writer) error { return a.renderStatus(w, v) }); err != nil {
		return err
	}
	if problem != nil {
		return problem
	}
	if stuck != nil {
		return stuck
	}
	return errUnacknowledged(v.Emergencies)
}

func viewStatus(rep *replica.Replica, s Settings, now time.Time, problem error) (v statusView, err error) {
	l := rep.Ledger()
	head, position := l.Head()
	v = statusView{Store: string(s.Store.Identity), URL: gitstore.Redact(s.Store.URL), Transport: rep.TransportInUse(),
		Head: string(head), Position: position, Digest: string(l.Digest()), Spooled: []string{}, Stuck: []string{}, Refused: []string{},
		Join: joinLine(s, head)}
	if p := l.Policies().Latest(); p != nil {
		v.Policy = orNull(string(p.ID()))
	}
	if problem != nil {
		v.Problem = orNull(problem.Error())
	}
	if t := rep.Freshness(); !t.IsZero() {
		age := int64(now.Sub(t) / time.Second)
		text := formatLeft(now, t)
		v.Fetched, v.Age, v.AgeText = timeOrNull(t), &age, &text
	}
	v.Locks, v.Delegations = []lockView{}, []delegationView{}
	if l.Policy() != nil {
		v.Locks = viewLocks(l)
		if v.Delegations, err = viewDelegations(l, now); err != nil {
			return v, err
		}
	}
	spool, err := rep.Spooled()
	if err != nil {
		return v, err
	}
	v.Spooled = append(v.Spooled, spool...)
	refused, err := rep.Refused()
	if err != nil {
		return v, err
	}
	v.Refused = append(v.Refused, refused...)
	if v.Fresh, err = viewFresh(l, "", "", now); err != nil {
		return v, err
	}
	aside, err := l.NewestAside()
	if err != nil {
		return v, err
	}
	v.SetAside = viewSetAside(aside)
	if _, v.SetAsideCount, err = l.Counts(); err != nil {
		return v, err
	}
	red, err := unacknowledged(l, now)
	v.Emergencies = statusOf(red, now)
	return v, err
}

// joinLine is what the next person types.
func joinLine(s Settings, head gitstore.Hash) string {
	line := "jit join " + shellWord(gitstore.Redact(s.Store.URL)) + " --as NAME --store-id " + string(s.Store.Identity)
	if head != "" {
		line += " --at " + string(head)
	}
	return line
}

func (a *App) renderStatus(w io.Writer, v statusView) error {
	st := a.IO.OutStyle()
	fmt.Fprintf(w, "store     %s\n", v.Store)
	fmt.Fprintf(w, "at        %s (%s)\n", clean(v.URL), v.Transport)
	fmt.Fprintf(w, "head      %s, %s\n", v.Head, count(v.Position, "commit"))
	fmt.Fprintf(w, "digest    %s\n", v.Digest)
	if v.Policy != nil {
		fmt.Fprintf(w, "policy    %s\n", *v.Policy)
	}
	switch {
	case v.Fetched == nil:
		fmt.Fprintf(w, "fetched   %s\n", st.Warn("never"))
	case v.Problem != nil:
		fmt.Fprintf(w, "fetched   %s, %s ago: %s\n", *v.Fetched, *v.AgeText, st.Bad("now it failed"))
	default:
		fmt.Fprintf(w, "fetched   %s, %s ago\n", *v.Fetched, *v.AgeText)
	}
	if v.Problem != nil {
		fmt.Fprintf(w, "problem   %s\n", clean(*v.Problem))
		if v.Next != nil {
			fmt.Fprintf(w, "          → %s\n", clean(*v.Next))
		}
	}
	a.renderFresh(w, v.Fresh)
	fmt.Fprintf(w, "waiting   %s to be sent\n", count(len(v.Spooled), "submission"))
	for _, line := range v.Spooled {
		fmt.Fprintf(w, "  %s\n", clean(line))
	}
	for _, line := range v.Stuck {
		fmt.Fprintf(w, "stuck     %s\n", st.Bad(clean(line)))
	}
	if len(v.Stuck) > 0 && v.Next != nil {
		fmt.Fprintf(w, "          → %s\n", clean(*v.Next))
	}
	for _, line := range v.Refused {
		fmt.Fprintf(w, "refused   %s\n", st.Warn(clean(line)))
	}
	if n := v.SetAsideCount; n > 0 {
		fmt.Fprintf(w, "set aside %s; see: jit verify\n", st.Warn(count(n, "record")))
	}
	for _, x := range v.Locks {
		fmt.Fprintf(w, "locked    %s\n", st.Bad(clean(lockLine(x))))
	}
	for i, x := range v.Locks {
		same := func(y lockView) bool { return text(x.Person) == text(y.Person) && text(x.Key) == text(y.Key) }
		if slices.ContainsFunc(v.Locks[i+1:], same) && !slices.ContainsFunc(v.Locks[:i], same) {
			fmt.Fprintf(w, "          → %s stays locked until each of their locks is lifted\n", clean(text(x.Person)+text(x.Key)))
		}
	}
	for _, x := range v.Delegations {
		fmt.Fprintf(w, "delegated %s\n", delegationLine(x))
	}
	for _, e := range v.Emergencies {
		word := "not acknowledged"
		if e.Overdue {
			word += ", overdue"
		}
		fmt.Fprintf(w, "EMERGENCY %s\n", st.Bad(fmt.Sprintf("%s of %s: %s, due %s", record.ID(e.ID).Short(), clean(e.By), word, e.Due)))
	}
	_, err := fmt.Fprintf(rawWriter(w), "join with\n  %s\n", clean(v.Join)) // one line, to be copied
	return err
}

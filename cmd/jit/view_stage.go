package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/request"
)

// grantView is one entitlement of a request. State and times are there where they
// are not those of the whole: in a bundle that opens in parts.
type grantView struct {
	request.Grant
	State *string `json:"state,omitempty"`
	Opens *string `json:"opens,omitempty"`
	Ends  *string `json:"ends,omitempty"`
}

func grantsOf(e ledger.Entry) []grantView {
	all := make([]grantView, 0, len(e.Request.Record.Grants))
	for i, g := range e.Request.Record.Grants {
		v := grantView{Grant: g}
		if i < len(e.Grants) && apart(e.Decision, e.Grants[i]) {
			d := e.Grants[i]
			v.State, v.Opens, v.Ends = orNull(string(d.State)), timeOrNull(d.Opens), timeOrNull(d.Ends)
		}
		all = append(all, v)
	}
	return all
}

// apart reports whether an entitlement stands elsewhere than its request.
func apart(d approve.Decision, g approve.GrantDecision) bool {
	return g.State != "" && (g.State != d.State || !g.Opens.Equal(d.Opens) || !g.Ends.Equal(d.Ends))
}

// needView is a stage that still lacks approvals; Rule says whose stage it is, and
// Grants for what, for a bundle may fall under several.
type needView struct {
	Stage  int      `json:"stage"`
	Count  int      `json:"count"`
	Have   []string `json:"have"`
	Who    []string `json:"who"`
	Rule   string   `json:"rule"`
	Wants  string   `json:"wants"`
	Grants []string `json:"grants"`
	// Escalates says when further people may decide the stage, and who; Expires
	// until when it must be met. Both are null where nothing of the kind comes, and
	// for a stage that has not begun.
	Escalates *escalationView `json:"escalates"`
	Expires   *string         `json:"expires"`

	// current says that it is this stage's turn.
	current bool
	next    *approve.EscalationDue
	expires time.Time
}

type escalationView struct {
	At string   `json:"at"`
	To []string `json:"to"`
}

// needsOf gives the stages that what is pending still lacks, each once.
func needsOf(d approve.Decision) []needView {
	needs := []needView{}
	for _, g := range d.Grants {
		if g.State != approve.Pending {
			continue
		}
		current := true
		for i, s := range g.Stages {
			if s.Missing() == 0 {
				continue
			}
			n := needView{Stage: i + 1, Count: s.Count, Have: notNull(s.Have), Who: notNull(s.Who), Rule: g.Rule, Wants: s.Wants,
				Grants: []string{g.Grant.String()}, Expires: timeOrNull(s.Expires), current: current, next: s.Next, expires: s.Expires}
			if s.Next != nil {
				n.Escalates = &escalationView{At: utc(s.Next.At), To: notNull(s.Next.To)}
			}
			current = false
			if k := slices.IndexFunc(needs, n.same); k >= 0 {
				needs[k].Grants = append(needs[k].Grants, n.Grants...)
				continue
			}
			needs = append(needs, n)
		}
	}
	return needs
}

// same reports whether two stages wait for the same: those of one rule do, unless
// it names people by the resource.
func (n needView) same(o needView) bool {
	later := func(d *approve.EscalationDue) (time.Time, []string) {
		if d == nil {
			return time.Time{}, nil
		}
		return d.At, d.To
	}
	at, to := later(n.next)
	otherAt, otherTo := later(o.next)
	return n.Rule == o.Rule && n.Stage == o.Stage && n.current == o.current && slices.Equal(n.Have, o.Have) && slices.Equal(n.Who, o.Who) &&
		n.expires.Equal(o.expires) && at.Equal(otherAt) && slices.Equal(to, otherTo)
}

// currentNeeds gives of needs those whose turn it is.
func currentNeeds(needs []needView) []needView {
	return slices.DeleteFunc(slices.Clone(needs), func(n needView) bool { return !n.current })
}

// waitsFor gives who can give the next approval, each once, in order.
func waitsFor(d approve.Decision) []string {
	var who []string
	for _, n := range currentNeeds(needsOf(d)) {
		who = append(who, n.Who...)
	}
	slices.Sort(who)
	return slices.Compact(who)
}

// undecided reports whether anything of a request is still to be decided.
func undecided(d approve.Decision) bool {
	return !d.State.Settled() && (d.State == approve.Pending || slices.ContainsFunc(d.Grants, func(g approve.GrantDecision) bool { return g.State == approve.Pending }))
}

// lapsesAt gives when what is pending lapses: with the request, or sooner with a
// stage that expires.
func lapsesAt(d approve.Decision) time.Time {
	if d.State == approve.Lapsed && !d.Closed.IsZero() {
		return d.Closed
	}
	at := d.Lapses
	for _, n := range currentNeeds(needsOf(d)) {
		if !n.expires.IsZero() && n.expires.Before(at) {
			at = n.expires
		}
	}
	return at
}

// laterText says who may decide from when on: "from 14:05 also carol", or nothing.
func (a *App) laterText(next *approve.EscalationDue) string {
	if next == nil || len(next.To) == 0 {
		return ""
	}
	return "from " + a.clock(next.At) + " also " + listText(next.To, "or")
}

// clock writes a time of today as people do, and another with its date.
func (a *App) clock(t time.Time) string {
	here, now := t.In(a.Local), a.Now().In(a.Local)
	form := "15:04"
	if t.Second() != 0 {
		form = "15:04:05"
	}
	if here.Format(time.DateOnly) != now.Format(time.DateOnly) {
		form = "2006-01-02 " + form
	}
	return here.Format(form)
}

// needText says in one line who can approve a stage, now and next, and until when.
func (a *App) needText(n needView) string {
	text := listText(n.Who, "or")
	if later := a.laterText(n.next); later != "" {
		text += "; " + later
	}
	if !n.expires.IsZero() {
		text += "; until " + a.clock(n.expires)
	}
	return fmt.Sprintf("%s (%d needed, rule %q)", text, n.Count, n.Rule)
}

// pendingGrants gives the entitlements of e that are still to be decided.
func pendingGrants(e ledger.Entry) []request.Grant {
	var grants []request.Grant
	for _, g := range e.Grants {
		if g.State == approve.Pending {
			grants = append(grants, g.Grant)
		}
	}
	return grants
}

package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/request"
)

// debtView is what is due after an emergency. By and Paid are null as long as
// nobody has acknowledged it.
type debtView struct {
	Due     string   `json:"due"`
	By      *string  `json:"by"`
	Paid    *string  `json:"paid"`
	Who     []string `json:"who"`
	Overdue bool     `json:"overdue"`
}

func debtOf(e ledger.Entry, now time.Time) *debtView {
	d := e.Debt
	if d == nil {
		return nil
	}
	return &debtView{Due: utc(d.Due), By: orNull(d.By), Paid: timeOrNull(d.Paid), Who: notNull(d.Who), Overdue: d.Overdue(now)}
}

// debtLine says what is due after an emergency, and from whom.
func (a *App) debtLine(e ledger.Entry, now time.Time) string {
	d := e.Debt
	switch {
	case d == nil:
		return "it never opened"
	case !d.Open():
		return "acknowledged by " + d.By + " at " + a.FormatTime(d.Paid)
	}
	s := "NOT ACKNOWLEDGED; due " + a.FormatTime(d.Due) + ", " + formatLeft(d.Due, now) + " from now"
	if d.Overdue(now) {
		s = "NOT ACKNOWLEDGED, and OVERDUE since " + a.FormatTime(d.Due)
	}
	return s + "; can acknowledge: " + listText(d.Who, "or")
}

// mark says of an emergency in a list that it is one, and what is due.
func (a *App) mark(e ledger.Entry, now time.Time) string {
	st := a.IO.OutStyle()
	switch d := e.Debt; {
	case !e.Request.Record.Emergency:
		return ""
	case d.Overdue(now):
		return st.Bad("EMERGENCY, not acknowledged, overdue for " + formatLeft(now, d.Due))
	case d.Open():
		return st.Bad("EMERGENCY, not acknowledged, due in " + formatLeft(d.Due, now))
	}
	return "emergency"
}

// unacknowledged gives the emergencies that nobody has acknowledged, newest first.
func unacknowledged(l *ledger.Ledger, now time.Time) ([]ledger.Entry, error) {
	return l.Requests(ledger.Filter{Unacknowledged: true}, now)
}

// emergencyTable lists emergencies that nobody has acknowledged, with what this
// person can do about it.
func (a *App) emergencyTable(w io.Writer, entries []ledger.Entry, me string) {
	var rows [][]string
	for _, e := range entries {
		r := e.Request.Record
		next := "waits for " + listText(e.Debt.Who, "or")
		if slices.Contains(e.Debt.Who, me) {
			next = "jit ack " + r.ID.Short()
		}
		rows = append(rows, []string{"  " + r.ID.Short(), r.By, grantsText(r.Grants), a.mark(e, a.Now()), a.brief(r.Reason), next})
	}
	a.Table(w, []string{"  id", "by", "grants", "due", "reason", "next"}, rows)
}

// warned shows loudly what an emergency means, and asks where there is a terminal.
// Where there is none, --emergency has said it.
func (o *requestOptions) warned(rep *replica.Replica, r request.Request) error {
	a := o.app
	st := a.IO.ErrStyle()
	who, within, bars := duesOf(rep.Ledger().Policy(), r)
	a.Say("%s %s opens at once, without anybody's approval, and everybody sees it.", st.Bad("EMERGENCY:"), grantsText(r.Grants))
	a.Say("%s must acknowledge it by %s, within %s.", listText(who, "or"), a.FormatTime(r.Created.Add(within)), record.Duration{Duration: within})
	if bars {
		a.Say("Until then you get no other emergency.")
	}
	if !a.asks(o.out) || o.asked { // then the whole is shown, and agreed to
		return nil
	}
	ok, err := a.Confirm("Take it now?")
	if err == nil && !ok {
		err = errNotSigned()
	}
	return err
}

// duesOf gives who may acknowledge an emergency, within what time, and whether it
// bars the next one until then.
func duesOf(p *policy.Policy, r request.Request) (who []string, within time.Duration, bars bool) {
	for _, g := range r.Grants {
		m, err := p.Match(r.By, g.Resource, g.Role, r.Created.Time)
		if err != nil || m.Rule.Emergency == nil {
			continue
		}
		who = append(who, p.Eligible(m.Rule, m.Rule.Acknowledgers(), policy.Concern{Requester: r.By, Resource: g.Resource, At: r.Created.Time})...)
		if w := m.Rule.Emergency.Acknowledge.Duration; within == 0 || w < within {
			within = w
		}
		bars = bars || !m.Rule.Emergency.Repeat
	}
	slices.Sort(who)
	return slices.Compact(who), within, bars
}

// emergencyStatus is an emergency in what monitoring reads.
type emergencyStatus struct {
	ID      string `json:"id"`
	By      string `json:"by"`
	Due     string `json:"due"`
	Overdue bool   `json:"overdue"`
}

func statusOf(entries []ledger.Entry, now time.Time) []emergencyStatus {
	all := make([]emergencyStatus, 0, len(entries))
	for _, e := range entries {
		all = append(all, emergencyStatus{string(e.Request.Record.ID), e.Request.Record.By, utc(e.Debt.Due), e.Debt.Overdue(now)})
	}
	return all
}

// errUnacknowledged makes monitoring fail while an emergency waits to be looked at.
func errUnacknowledged(all []emergencyStatus) error {
	if len(all) == 0 {
		return nil
	}
	var names []string
	overdue := 0
	for _, e := range all {
		names = append(names, record.ID(e.ID).Short()+" of "+e.By)
		if e.Overdue {
			overdue++
		}
	}
	late := ""
	if overdue > 0 {
		late = fmt.Sprintf(", %d of them overdue", overdue)
	}
	return failure(exitEmergency, "emergency-unacknowledged", "one who may acknowledge it can run: jit ack "+record.ID(all[0].ID).Short(),
		"%s not acknowledged%s: %s", map[bool]string{true: "an emergency is", false: fmt.Sprint(len(all), " emergencies are")}[len(all) == 1], late, strings.Join(names, ", "))
}

// renderFamily names what a request prolongs, and what prolongs it.
func (a *App) renderFamily(f fields, e ledger.Entry) {
	if id := e.Request.Record.Extends; id != "" {
		f.add("extends", id.Short()+a.endsWithout(e.Before.Base))
	}
	for _, id := range e.Extended {
		f.add("extended", "by "+id.Short()+"; see: jit show "+id.Short())
	}
}

// endsWithout says when what is prolonged ends without that: of a bundle that opened in
// parts, each.
func (a *App) endsWithout(base *request.Base) string {
	if base == nil || len(base.Parts) == 0 {
		return ""
	}
	_, first := base.Window()
	if !slices.ContainsFunc(base.Parts, func(p request.BasePart) bool { return !p.Ends.Equal(first) }) {
		return ", which ends at " + a.FormatTime(first) + " without this"
	}
	var parts []string
	for _, p := range base.Parts {
		parts = append(parts, p.Grant.String()+" ends at "+a.FormatTime(p.Ends))
	}
	return ", of which without this " + listText(parts, "and")
}

// windowText gives the window of an entitlement that opens by itself.
func (a *App) windowText(g approve.GrantDecision) string {
	if g.Opens.IsZero() {
		return ""
	}
	return ", " + a.FormatTime(g.Opens) + " to " + a.FormatTime(g.Ends)
}

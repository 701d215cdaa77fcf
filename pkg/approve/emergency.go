package approve

import (
	"fmt"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// Acknowledgement says that somebody has looked at an emergency afterwards.
type Acknowledgement struct {
	record.Head   `yaml:",inline"`
	Request       record.ID     `yaml:"request"`
	RequestDigest record.Digest `yaml:"requestDigest"`
	Comment       string        `yaml:"comment,omitempty"`
}

// DecodeAcknowledgement gives the acknowledgement in v.
func DecodeAcknowledgement(v record.Verified) (Acknowledgement, error) {
	a, err := record.Decode[Acknowledgement](v, record.KindAcknowledgement)
	if err != nil {
		return Acknowledgement{}, err
	}
	return a, request.CheckText("comment", a.Comment, false)
}

// EmergencyWithin is within what time of its signing an emergency opens. A signed
// one that somebody kept would be access in a drawer: whoever delivers it chooses
// when it opens. A quarter of an hour is more than a slow push and a run of the
// reconciler take.
const EmergencyWithin = 15 * time.Minute

// Debt is what is due after an emergency: that somebody else looks at it.
type Debt struct {
	// Due is until when; By is who acknowledged it, at Paid. By is empty and Paid
	// zero as long as nobody has.
	Due, Paid time.Time
	By        string
	// Who are those who may acknowledge it.
	Who []string
}

// Overdue reports whether nobody has acknowledged it in time.
func (d *Debt) Overdue(now time.Time) bool { return d != nil && d.By == "" && !now.Before(d.Due) }

// Open reports whether nobody has acknowledged it.
func (d *Debt) Open() bool { return d != nil && d.By == "" }

// acknowledgers gives those who may acknowledge an emergency at a time under a
// policy, in order: whom the rule named when it was taken, as far as they are there,
// and where none of them is left the admins, for what nobody could acknowledge would
// stay owed for ever. Never the requester, under no name.
func (c Case) acknowledgers(h policy.History, p *policy.Policy, at time.Time) []string {
	r, then := c.Request.Record, h.At(c.Request.Position)
	if then == nil || p == nil {
		return nil
	}
	requester := identities(p, r.By, c.Request.Key)
	var all []string
	add := func(names []string) {
		all = append(all, slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(requester[:], name) })...)
	}
	for _, g := range r.Grants {
		if m, err := then.Match(r.By, g.Resource, g.Role, r.Created.Time); err == nil && m.Rule.Emergency != nil {
			add(p.Eligible(m.Rule, m.Rule.Acknowledgers(), policy.Concern{Requester: r.By, Resource: g.Resource, At: at}))
		}
	}
	if len(all) == 0 {
		add(p.Document().Admins.People)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// MayAcknowledge judges who acknowledges an emergency at a place, under the history
// of policies up to there: see acknowledgers. They do so in their own name.
func (c Case) MayAcknowledge(h policy.History, a Placed[Acknowledgement]) error {
	r, by, p := c.Request.Record, a.Record.By, h.At(a.Position)
	refuse := func(code policy.Code, hint, format string, args ...any) error {
		return &policy.Refusal{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	if !r.Emergency {
		return refuse(policy.NoEmergency, "to agree to it, run: jit approve "+r.ID.Short(), "request %s is no emergency", r.ID.Short())
	}
	requester := identities(p, r.By, c.Request.Key)
	if slices.Contains(requester[:], by) || a.Key != "" && a.Key == c.Request.Key {
		return refuse(policy.OwnRequest, "somebody else must acknowledge it; see: jit show "+r.ID.Short(), "%s cannot acknowledge their own emergency", by)
	}
	if slices.Contains(c.acknowledgers(h, p, a.Record.Created.Time), by) {
		return nil
	}
	return refuse(policy.NotApprover, "see who can: jit show "+r.ID.Short(), "%s cannot acknowledge request %s", by, r.ID.Short())
}

// debt says what is due after an emergency, whether or not it is over.
func (v *verdict) debt(d *Decision) {
	var opened time.Time
	for _, g := range d.Grants {
		if !g.Opens.IsZero() && (opened.IsZero() || g.Opens.Before(opened)) {
			opened = g.Opens
		}
	}
	p := v.history.Latest()
	if opened.IsZero() || p == nil {
		return // it never opened
	}
	d.Debt = &Debt{}
	r := v.c.Request.Record
	for _, g := range r.Grants {
		m, err := v.history.At(v.c.Request.Position).Match(r.By, g.Resource, g.Role, r.Created.Time)
		if err != nil || m.Rule.Emergency == nil {
			continue
		}
		due := opened.Add(m.Rule.Emergency.Acknowledge.Duration)
		if d.Debt.Due.IsZero() || due.Before(d.Debt.Due) {
			d.Debt.Due = due
		}
	}
	for _, a := range v.c.Acks {
		if at := a.Record.Created.Time; !at.After(v.now) && !v.voided(a.keys(), last) {
			d.Debt.By, d.Debt.Paid = a.Record.By, at
			break
		}
	}
	if d.Debt.By == "" {
		d.Debt.Who = v.c.acknowledgers(v.history, p, v.now)
	}
}

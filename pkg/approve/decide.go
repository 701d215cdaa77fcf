package approve

import (
	"math"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// Skew is how far two honest clocks may lie apart.
const Skew = time.Hour

const timeForm = time.RFC3339

// State is where a request stands.
type State string

// The states.
const (
	Pending   State = "pending"   // waits for a decision
	Scheduled State = "scheduled" // is decided and opens later
	Active    State = "active"    // is open
	Expired   State = "expired"   // was open, and its window is over
	Denied    State = "denied"
	Cancelled State = "cancelled"
	Revoked   State = "revoked"
	Lapsed    State = "lapsed" // was not decided in time
)

// States are all states, in the order of a request's life.
var States = []State{Pending, Scheduled, Active, Expired, Denied, Cancelled, Revoked, Lapsed}

// Settled reports whether nothing that can still happen changes s.
func (s State) Settled() bool {
	switch s {
	case Pending, Scheduled, Active:
		return false
	}
	return true
}

// Decision is where a request stands and why. Times that do not apply are zero.
type Decision struct {
	State State
	// Duration is the window: what was asked for, or what the narrowest
	// approval left of it.
	Duration record.Duration
	// Decided is when the deciding approval was made; Opens and Ends bound the
	// window; Lapses is when a pending request lapses.
	Decided, Opens, Ends, Lapses time.Time
	// Closed is when the request ended, where it did.
	Closed time.Time
	// EndedBy says who ended it before its time, and why.
	EndedBy *EndedBy
	Grants  []GrantDecision
	// Approvals is every counted approval and what became of it.
	Approvals []Standing
	// Warnings say what an approver or the requester should know.
	Warnings []string
}

// EndedBy is what ended a request before its time.
type EndedBy struct {
	// By is a person, or empty where the policy did it.
	By string
	// Record is the id of the record that ended it.
	Record record.ID
	Reason string
}

// GrantDecision is where one entitlement of a request stands.
type GrantDecision struct {
	request.Grant
	// Rule is the name of the rule that decides, or empty where none does.
	Rule string
	// Auto says that the rule approves by itself.
	Auto    bool
	Granted bool
	Stages  []StageDecision
	// Meaning is what is opened.
	Meaning policy.Meaning
	// Refusal says why no rule decides.
	Refusal error `json:"-"`
}

// StageDecision is where one stage of a chain stands.
type StageDecision struct {
	// Count is how many must approve; Have are those who did; Who are those who
	// could still.
	Count int
	Have  []string
	Who   []string
}

// Missing gives how many approvals the stage still needs.
func (s StageDecision) Missing() int { return max(0, s.Count-len(s.Have)) }

// Standing is an approval and what became of it.
type Standing struct {
	ID       record.ID
	By       string
	At       time.Time
	Duration record.Duration
	Comment  string
	Counted  bool
	// Why says why it does not count.
	Why policy.Code
}

// Decide says where a request stands at now under the succession of policies.
// It is the only place where that is decided: the same case, history and time
// give the same answer everywhere.
func Decide(h policy.History, c Case, now time.Time) Decision {
	v := verdict{history: h, c: c, now: now}
	return v.decide()
}

// verdict is the work of one Decide.
type verdict struct {
	history policy.History
	c       Case
	now     time.Time
}

// outcome is what the approvals come to, seen from one place in the history.
type outcome struct {
	policy    *policy.Policy
	granted   bool
	position  int // of the record that decided
	decided   time.Time
	opens     time.Time
	ends      time.Time
	duration  record.Duration
	grants    []GrantDecision
	approvals []Standing
	bases     []policy.Basis
	keys      []record.Fingerprint // that the decision rests on
}

func (v verdict) decide() Decision {
	r := v.c.Request.Record
	o := v.resolve()
	d := Decision{State: Pending, Duration: o.duration, Lapses: r.Expires.Time, Grants: o.grants, Approvals: o.approvals}
	if o.granted {
		d.Decided, d.Opens, d.Ends = o.decided, o.opens, o.ends
		switch {
		case v.now.Before(o.opens):
			d.State = Scheduled
		case v.now.Before(o.ends):
			d.State = Active
		default:
			d.State, d.Closed = Expired, o.ends
		}
	} else if !v.now.Before(r.Expires.Time) {
		d.State, d.Closed = Lapsed, r.Expires.Time
	}
	for _, g := range o.grants {
		if g.Refusal != nil && !slices.Contains(d.Warnings, g.Refusal.Error()) {
			d.Warnings = append(d.Warnings, g.Refusal.Error())
		}
	}
	over := d.State.Settled() // by itself, at d.Closed
	if end, ok := v.ending(o); ok && !(over && end.at.After(d.Closed)) {
		d.State, d.Closed, d.EndedBy = end.state, end.at, &end.by
	}
	return d
}

// resolve follows the history: approvals and withdrawals in their order, and
// the policy under which each is judged.
func (v verdict) resolve() outcome {
	var events []place
	for _, a := range v.c.Approvals {
		events = append(events, place{a.Position, a.Order})
	}
	start := place{v.c.Request.Position, v.c.Request.Order}
	o := v.tally(start, v.history.At(start.position))
	if o.granted && v.holds(o) {
		return o
	}
	for _, at := range events {
		o = v.tally(at, v.history.At(at.position))
		if o.granted && v.holds(o) {
			return o
		}
	}
	// Nothing decides: say where it stands under the policy of today.
	o = v.tally(place{position: math.MaxInt}, v.history.Latest())
	o.granted = false
	return o
}

// holds reports whether what decided still stood when access opened: the rule
// and the role's meaning unchanged. Once open, a rule may change without effect;
// a change of meaning is an ending of its own.
func (v verdict) holds(o outcome) bool {
	r := v.c.Request.Record
	for _, later := range v.history.After(o.position) {
		if !later.Since.Before(o.opens) {
			continue
		}
		for i, g := range r.Grants {
			m, err := later.Match(r.By, g.Resource, g.Role)
			if err != nil || m.Basis != o.bases[i] {
				return false
			}
		}
	}
	return true
}

// tally counts the approvals up to a place in the history under one policy.
func (v verdict) tally(upTo place, p *policy.Policy) outcome {
	r := v.c.Request.Record
	o := outcome{policy: p, position: upTo.position, decided: r.Created.Time, duration: r.Duration, granted: true}
	if p == nil {
		o.granted = false
		return o
	}
	o.keys = append(o.keys, v.c.Request.Key)
	o.approvals = v.standings(upTo)
	var granting []int
	for _, g := range r.Grants {
		gd := GrantDecision{Grant: g}
		m, err := p.Match(r.By, g.Resource, g.Role)
		o.bases = append(o.bases, m.Basis)
		if err == nil {
			err = r.Allowed(p)
		}
		if err != nil {
			gd.Refusal = err
			o.granted = false
			o.grants = append(o.grants, gd)
			continue
		}
		gd.Rule, gd.Meaning, gd.Auto = m.Rule.Name, m.Meaning, m.Rule.Approve == policy.ApproveAuto
		var counted []int
		gd.Stages, counted = v.stages(p, m, g, o.approvals, upTo)
		granting = append(granting, counted...)
		gd.Granted = !slices.ContainsFunc(gd.Stages, func(s StageDecision) bool { return s.Missing() > 0 })
		o.granted = o.granted && gd.Granted
		o.grants = append(o.grants, gd)
	}
	for _, i := range granting {
		a := v.c.Approvals[i]
		o.approvals[i].Counted, o.approvals[i].Why = true, ""
		if a.Record.Created.After(o.decided) {
			o.decided = a.Record.Created.Time
		}
		if n := a.Record.Duration; !n.IsZero() && n.Duration < o.duration.Duration {
			o.duration = n
		}
		o.keys = append(o.keys, a.Key)
	}
	o.opens = o.decided
	if r.Start != nil && r.Start.After(o.opens) {
		o.opens = r.Start.Time
	}
	o.ends = o.opens.Add(o.duration.Duration)
	return o
}

// standings lists the approvals up to a place, each with why it may not count;
// an empty Why with Counted false means that no stage has taken it yet.
func (v verdict) standings(upTo place) []Standing {
	var all []Standing
	for _, a := range v.c.Approvals {
		s := Standing{ID: a.Record.ID, By: a.Record.By, At: a.Record.Created.Time, Duration: a.Record.Duration, Comment: a.Record.Comment}
		switch {
		case upTo.before(place{a.Position, a.Order}):
			s.Why = policy.NotYet
		case a.Record.Created.After(v.now):
			s.Why = policy.NotYet
		case v.voided(a.Key, upTo):
			s.Why = policy.KeyVoid
		case v.withdrawn(a, upTo):
			s.Why = policy.Withdrawn
		}
		all = append(all, s)
	}
	return all
}

func (p place) before(q place) bool {
	return p.position < q.position || p.position == q.position && p.order < q.order
}

// withdrawn reports whether the approver took a back before upTo. Whether a
// withdrawal came too late, after access had opened, shows by itself: resolve
// has then found the decision already, before the withdrawal's place.
func (v verdict) withdrawn(a Placed[Approval], upTo place) bool {
	return slices.ContainsFunc(v.c.Withdrawals, func(w Placed[Withdrawal]) bool {
		if w.Record.By != a.Record.By || w.before(place{a.Position, a.Order}) {
			return false
		}
		return w.before(upTo) || w.Record.Created.Before(v.opensAtEarliest(a))
	})
}

// opensAtEarliest is the first moment at which a decision that rests on a can
// open access.
func (v verdict) opensAtEarliest(a Placed[Approval]) time.Time {
	if s := v.c.Request.Record.Start; s != nil && s.After(a.Record.Created.Time) {
		return s.Time
	}
	return a.Record.Created.Time
}

// voided reports whether a key was revoked as compromised at upTo or before. A
// decision that was reached earlier is ended instead: see ending.
func (v verdict) voided(key record.Fingerprint, upTo place) bool {
	void, ok := v.c.Void[key]
	return ok && void.Position <= upTo.position
}

// stages fills the chain of one grant. Each approval is taken by the first
// stage that is not full at its place in the history, where its signer is
// eligible there; one person counts once over all stages.
func (v verdict) stages(p *policy.Policy, m policy.Match, g request.Grant, standings []Standing, upTo place) (chain []StageDecision, counted []int) {
	r := v.c.Request.Record
	for _, s := range m.Rule.Stages {
		chain = append(chain, StageDecision{Count: s.Count})
	}
	have := map[string]bool{}
	current := 0
	for i, a := range v.c.Approvals {
		if standings[i].Why != "" && standings[i].Why != policy.StageNotOpen && standings[i].Why != policy.BasisChanged && standings[i].Why != policy.CountedOnce {
			continue
		}
		if upTo.before(place{a.Position, a.Order}) || current == len(chain) {
			break
		}
		by := a.Record.By
		then, err := v.basisAt(a, g)
		switch {
		case err != nil || then != m.Basis:
			standings[i].Why = policy.BasisChanged
		case have[by]:
			standings[i].Why = policy.CountedOnce
		case !v.history.At(a.Position).MayApprove(m.Rule.Stages[current], by, r.By):
			standings[i].Why = policy.StageNotOpen
		default:
			have[by] = true
			chain[current].Have = append(chain[current].Have, by)
			counted = append(counted, i)
			if chain[current].Missing() == 0 {
				current++
			}
		}
	}
	for i := range chain {
		if chain[i].Missing() == 0 {
			continue
		}
		for _, name := range p.Eligible(m.Rule.Stages[i], r.By) {
			if !have[name] {
				chain[i].Who = append(chain[i].Who, name)
			}
		}
	}
	return chain, counted
}

// basisAt is what an approval rested on when it was signed, as far as it still
// was the same at its place in the history.
func (v verdict) basisAt(a Placed[Approval], g request.Grant) (policy.Basis, error) {
	r := v.c.Request.Record
	at := v.history.At(a.Position)
	m, err := at.Match(r.By, g.Resource, g.Role)
	if err != nil {
		return policy.Basis{}, err
	}
	seen := v.history.At(a.HeadAt)
	if seen == nil {
		return policy.Basis{}, &policy.Refusal{Code: policy.HeadTooOld, Message: "the approval was signed before there was a policy"}
	}
	was, err := seen.Match(r.By, g.Resource, g.Role)
	if err != nil {
		return policy.Basis{}, err
	}
	if was.Basis != m.Basis {
		return policy.Basis{}, &policy.Refusal{Code: policy.BasisChanged, Message: "the basis changed"}
	}
	return m.Basis, nil
}

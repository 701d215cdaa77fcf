package approve

import (
	"fmt"
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
	// Closed is when the request ended, where it did. An ending whose record
	// claims a time that has not come yet counts at once: Closed is then now.
	Closed time.Time
	// EndedBy says who ended it before its time, and why.
	EndedBy *EndedBy
	Grants  []GrantDecision
	// Approvals is every counted approval and what became of it.
	Approvals []Standing
	// Debt is what is due after an emergency; nil for others.
	Debt *Debt
	// Keys are the certificates on whose signatures access rests, and the subkeys that
	// made them.
	Keys []record.Fingerprint
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
	// State is where the entitlement stands, Opens and Ends bound its window, and
	// Closed is when it ended, where it did: those of the request, but for one that
	// opens apart from the others.
	State               State
	Opens, Ends, Closed time.Time
}

// StageDecision is where one stage of a chain stands.
type StageDecision struct {
	// Wants says in words who must approve.
	Wants string
	// Count is how many must approve, in the way that lacks the least where there
	// are several; Have are those who did; Who are those who
	// could still.
	Count int
	Have  []string
	Who   []string
	// Began is when the stage before was met, and Expires until when this one must
	// be; both are zero where that is not so.
	Began, Expires time.Time
	// Next is when further people may decide; nil where none follow.
	Next *EscalationDue
}

// EscalationDue is when further people may decide a stage, and who.
type EscalationDue struct {
	At time.Time
	To []string
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
	// For are those in whose place it counts; none where it does in the signer's own
	// name.
	For []string
	// Why says why it does not count; empty where no stage has need of it.
	Why policy.Code
}

// Decide says where a request stands at now under the succession of policies.
// It is the only place where that is decided: the same case, history and time
// give the same answer everywhere. A request that is settled at one time is
// settled at every later one.
//
// The order of the history decides, and not the times that records claim: the
// first place from which all stages are met and stay met until access opens.
// Claimed times can only take away. An approval has no effect before its own
// created, so a decision may wait for one that was signed ahead of time, and until
// then what takes away from it does so as if it stood before: see sight. Where
// another that stands later in the history claims to be earlier, it may have
// opened access meanwhile; both then count, and the one that ends sooner
// holds. So no clock, ahead or behind, reopens or lengthens a window.
func Decide(h policy.History, c Case, now time.Time) Decision {
	d := decideParts(h, c, now)
	if c.Request.Record.Emergency {
		v := verdict{history: h, c: c, now: now}
		v.debt(&d)
	}
	return d
}

func decideParts(h policy.History, c Case, now time.Time) Decision {
	var parts []Decision
	for _, unit := range c.units(h) {
		parts = append(parts, decideUnit(h, c, unit, now))
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return c.joined(parts)
}

// decideUnit decides what of a request opens together: the entitlements with these
// numbers.
func decideUnit(h policy.History, c Case, unit []int, now time.Time) Decision {
	d := newVerdict(h, c, unit, now).decide()
	for i := range d.Grants {
		g := &d.Grants[i]
		g.State, g.Opens, g.Ends, g.Closed = d.State, d.Opens, d.Ends, d.Closed
	}
	return d
}

func (v *verdict) decide() Decision {
	o, coming, known, decided, cut := v.outcome()
	if known {
		return v.standing(o)
	}
	// Nothing decides: say where it stands under the policy of today. What is decided
	// when what was taken back would have ended comes too late.
	for _, u := range v.undone {
		if u.ends.Before(v.lapse) {
			v.lapse = u.ends
		}
	}
	o = v.tally(sight{place: last, at: v.now}, v.history.Latest(), v.now, nil)
	o.granted = false
	for _, i := range coming {
		// What will decide waits for its time: a lock, say, that is dated to after that
		// does not take it.
		if s := &o.approvals[i]; s.At.After(v.now) {
			s.Why = policy.NotYet
		}
	}
	if !decided {
		o.left, o.cut = v.left, cut
	}
	return v.standing(o)
}

// outcome finds what decides. known says that it does by now, and decided that
// something does now or later, first by the approvals with the numbers in coming; cut is
// that of decidedAt, of all.
func (v *verdict) outcome() (best outcome, coming []int, known, decided, cut bool) {
	v.findLapse()
	var all []outcome
	var reach time.Time
	for _, e := range v.events() {
		o, ok, left := v.decidedAt(e)
		if len(all) == 0 {
			reach = v.reach
		}
		cut = cut || left
		if ok {
			all = append(all, o)
		}
	}
	// What was taken back anywhere in the history is known from here on.
	var first outcome
	var over time.Time
	for _, o := range all {
		if !v.keepWithin(&o) || first.granted && !o.decided.Before(first.decided) && !o.decided.Before(reach) {
			continue
		}
		if !first.granted {
			first = o
		}
		if o.known.After(v.now) {
			continue
		}
		if end := v.standing(o).over(); !known || end.Before(over) {
			best, over, known = o, end, true
		}
	}
	return best, first.counted, known, first.granted, cut
}

// keepWithin has what is decided after access may have been open already end when that
// would have ended; it reports false where that is over by then. An approval that is
// taken back, by a record that claims to be from before the opening, and given again,
// must not begin the window anew.
func (v *verdict) keepWithin(o *outcome) bool {
	for _, u := range v.undone {
		if o.decided.Before(u.opens) {
			continue
		}
		if !u.ends.After(o.opens) {
			return false
		}
		if u.ends.Before(o.ends) {
			o.ends = u.ends
		}
	}
	return true
}

// over is when access is, or will be, over.
func (d Decision) over() time.Time {
	if d.State.Settled() {
		return d.Closed
	}
	return d.Ends
}

// standing says where a request with this outcome stands now.
func (v *verdict) standing(o outcome) Decision {
	r := v.c.Request.Record
	for i := range o.approvals {
		// What came too late for the decision has taken effect by now.
		if s := &o.approvals[i]; s.Why == policy.NotYet && !s.At.After(v.now) {
			s.Why = ""
		}
	}
	d := Decision{State: Pending, Duration: o.duration, Lapses: r.Expires.Time, Grants: o.grants, Approvals: o.approvals}
	if o.granted {
		d.Decided, d.Opens, d.Ends, d.Keys = o.decided, o.opens, o.ends, o.keys
		switch {
		case v.now.Before(o.opens):
			d.State = Scheduled
		case v.now.Before(o.ends):
			d.State = Active
		default:
			d.State, d.Closed = Expired, o.ends
		}
	} else {
		if !v.now.Before(v.lapse) && !o.cut {
			d.State, d.Closed = Lapsed, v.lapse
		}
		v.whoIsLeft(&d, o)
	}
	byItself := d.State.Settled() // at d.Closed
	if end, ok := v.ending(o); ok && !(byItself && end.at.After(d.Closed)) {
		d.State, d.Closed, d.EndedBy = end.state, end.at, &end.by
	}
	return d
}

// whoIsLeft says who could still approve, now and next, and warns of what stands
// in the way.
func (v *verdict) whoIsLeft(d *Decision, o outcome) {
	warn := func(w string) {
		if !slices.Contains(d.Warnings, w) {
			d.Warnings = append(d.Warnings, w)
		}
	}
	if o.never != nil && o.policy != nil && len(d.Grants) > 0 {
		warn(o.never.Error())
	}
	for i := range d.Grants {
		g := &d.Grants[i]
		if g.Refusal != nil {
			warn(g.Refusal.Error())
			continue
		}
		for j := range g.Stages {
			s := &g.Stages[j]
			if s.Missing() == 0 {
				continue
			}
			s.Who, s.Next = o.chains[i].who(j, v.now, false), o.chains[i].next(j, v.now)
			if lacks := s.Missing() - len(o.chains[i].who(j, v.now, true)); lacks > 0 {
				warn(fmt.Sprintf("stage %d of rule %q lacks %d who have not approved already; one who was counted in another stage could withdraw, for somebody else to take the place",
					j+1, g.Rule, lacks))
			}
		}
	}
}

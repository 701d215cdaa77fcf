package approve

import (
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/request"
)

// sight is how much a decision takes into account of what takes approvals away. It
// falls at a place and at a time, the later of both: with an approval that was dated
// ahead, only when its time has come. So what stands at its place or before counts,
// whatever time it claims, and of what stands after it that which claims to be from
// before its time. Where at is zero it is the place alone.
type sight struct {
	place place
	at    time.Time
}

// sees reports whether something that takes away counts in sight.
func (v *verdict) sees(seen sight, x moment) bool {
	return v.happened(x.at, x.place) && (!seen.place.before(x.place) || v.ahead(seen.place, x, seen.at))
}

// ahead reports whether something that stands after a place, and claims a time, came
// before another time all the same: what stands at the place was dated ahead. Its
// claim is not believed where access had been opened on what stands there when it came:
// who dates back, or whose clock is behind, ends nothing that is open.
func (v *verdict) ahead(from place, x moment, until time.Time) bool {
	return x.at.Before(until) && !v.opened(from, x.place)
}

// opened reports whether, between two places, receipts say of all that is decided that
// it was opened.
func (v *verdict) opened(from, to place) bool {
	return !slices.ContainsFunc(v.grants(), func(g request.Grant) bool {
		for x := range v.c.ReceiptsOf(g) {
			if x.Record.Outcome == receipt.Applied && from.before(x.place()) && x.place().before(to) {
				return false
			}
		}
		return true
	})
}

// overtakes reports whether something came after an approval, and before the approval
// took effect: it counts as if it had stood there first.
func (v *verdict) overtakes(a Placed[Approval], x moment, seen sight) bool {
	return !seen.at.IsZero() && a.place().before(x.place) && v.ahead(a.place(), x, a.Record.Created.Time)
}

// lost reports whether the signer of an approval had lost their key before it took
// effect or, where a name is given, the delegation to act in that one's place.
func (v *verdict) lost(a Placed[Approval], of string, seen sight) bool {
	return slices.ContainsFunc(v.c.Lost, func(x Lost) bool {
		return x.Approval == a.Record.ID && x.For == of && v.overtakes(a, moment{x.At, x.place()}, seen)
	})
}

// under gives the versions by which an approval is judged: the one at its place, and
// those that came into force before it took effect.
func (v *verdict) under(a Placed[Approval], seen sight) []*policy.Policy {
	all := []*policy.Policy{v.history.At(a.Position)}
	for _, later := range v.history.After(a.Position) {
		if v.overtakes(a, moment{later.Since, placeOf(later)}, seen) {
			all = append(all, later.Policy)
		}
	}
	return all
}

// struck reports whether an outcome is another one in sight of what came before the
// time at which it is decided.
func (v *verdict) struck(o outcome, seen sight, p *policy.Policy, at time.Time, back map[int]bool) bool {
	if !o.decided.After(seen.at) || !v.takesBefore(o.decided) {
		return false
	}
	seen.at = o.decided
	then := v.tally(seen, p, at, back)
	return !then.granted || !slices.Equal(then.counted, o.counted) || !slices.Equal(then.keys, o.keys)
}

// takesBefore reports whether anything that stands after the request, and can take an
// approval away, claims to be from before a time.
func (v *verdict) takesBefore(at time.Time) bool {
	return slices.ContainsFunc(v.c.Locks, func(l Locked) bool { return l.At.Before(at) }) ||
		slices.ContainsFunc(v.c.Lost, func(x Lost) bool { return x.At.Before(at) }) ||
		slices.ContainsFunc(v.history.After(v.c.Request.Position), func(p policy.InForce) bool { return p.Since.Before(at) })
}

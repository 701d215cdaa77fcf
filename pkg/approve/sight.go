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
// whatever time it claims, and of what stands after it, up to another place, that which
// claims to be from before its time, or stands beside it. Where at is zero it is the place
// alone.
type sight struct {
	place place
	at    time.Time
	upTo  place
}

// reaches reports whether what stands at a place is in sight at all.
func (s sight) reaches(p place) bool { return !s.place.before(p) || !s.upTo.before(p) }

// taking is what takes approvals away: the time that it claims, where it stands, and from
// which position on up to there it stands beside the history; 0 for none.
type taking struct {
	at     time.Time
	place  place
	beside int
}

func (l Locked) taking() taking { return taking{l.At, l.place(), l.Beside} }

func (x Lost) taking() taking { return taking{x.At, x.place(), x.Beside} }

func takingOf(p policy.InForce) taking { return taking{p.Claimed, placeOf(p), p.Beside} }

func takingBy(w Placed[Withdrawal]) taking {
	return taking{w.Record.Created.Time, w.place(), w.Beside}
}

// besides reports whether neither stands before the other: a merge brought this beside what
// stands at a place. Who makes the merge, or a heal, chooses which of the two comes first.
func (x taking) besides(p place) bool {
	return x.beside > 0 && x.beside <= p.position && p.position < x.place.position
}

// sees reports whether something that takes away counts in sight.
func (v *verdict) sees(seen sight, x taking) bool {
	return v.happened(x.at, x.place) && (!seen.place.before(x.place) || seen.reaches(x.place) && v.ahead(seen.place, x, seen.at))
}

// ahead reports whether something that stands after a place came before what stands there
// all the same: it claims to be from before a time, to which that was dated ahead, or it
// stands beside that. It does not where access had been opened on what stands there when it
// came: who dates back, or whose clock is behind, ends nothing that is open.
func (v *verdict) ahead(from place, x taking, until time.Time) bool {
	return (x.at.Before(until) || x.besides(from)) && !v.opened(from, x.place, until)
}

// opened reports whether, between two places, receipts say of all that is decided that
// it was opened, when it had been decided or later.
func (v *verdict) opened(from, to place, decided time.Time) bool {
	return !slices.ContainsFunc(v.grants(), func(g request.Grant) bool {
		for x := range v.c.ReceiptsOf(g) {
			if x.Record.Outcome == receipt.Applied && from.before(x.place()) && x.place().before(to) && !x.Record.Created.Before(decided) {
				return false
			}
		}
		return true
	})
}

// overtakes reports whether something came after an approval, and before the approval
// took effect: it counts as if it had stood there first.
func (v *verdict) overtakes(a Placed[Approval], x taking, seen sight) bool {
	return !seen.at.IsZero() && seen.reaches(x.place) && a.place().before(x.place) && v.ahead(a.place(), x, a.Record.Created.Time)
}

// lost reports whether the signer of an approval had lost their key before it took
// effect or, where a name is given, the delegation to act in that one's place.
func (v *verdict) lost(a Placed[Approval], of string, seen sight) bool {
	return slices.ContainsFunc(v.c.Lost, func(x Lost) bool {
		return x.Approval == a.Record.ID && x.For == of && v.overtakes(a, x.taking(), seen)
	})
}

// under gives the versions by which an approval is judged: the one at its place, and
// those that came into force before it took effect.
func (v *verdict) under(a Placed[Approval], seen sight) []*policy.Policy {
	all := []*policy.Policy{v.history.At(a.Position)}
	for _, later := range v.history.After(a.Position) {
		if v.overtakes(a, takingOf(later), seen) {
			all = append(all, later.Policy)
		}
	}
	return all
}

// struck gives the sight in which an outcome is another one first, by what came before
// the time at which it is decided; ok is false where it stays the same in all of it. It
// looks at one after the other, in the order of the history: what each leaves has been
// decided until the next came, and bounds what is decided in its place.
func (v *verdict) struck(o outcome, seen sight, p *policy.Policy, at time.Time, back map[int]bool) (then sight, ok bool) {
	then = seen
	if o.decided.After(seen.at) {
		then.at = o.decided
	}
	for _, x := range v.takers(then) {
		if then.upTo.before(x) {
			then.upTo = x
		}
		if then == seen {
			continue
		}
		other := v.tally(then, p, at, back)
		if !other.granted || !slices.Equal(other.counted, o.counted) || !slices.Equal(other.keys, o.keys) {
			return then, true
		}
	}
	return seen, false
}

// takers are the places, in their order, at which stands what can take an approval away
// and claims to be from before a time, or was brought by a merge: of what stands at the place of a sight or before,
// that place alone.
func (v *verdict) takers(seen sight) []place {
	var all []place
	add := func(x taking) {
		if !x.at.Before(seen.at) && x.beside == 0 {
			return
		}
		if x.place.before(seen.place) {
			x.place = seen.place
		}
		all = append(all, x.place)
	}
	for _, l := range v.c.Locks {
		add(l.taking())
	}
	for _, x := range v.c.Lost {
		add(x.taking())
	}
	for _, x := range v.broughtBack(seen) {
		add(x) // of others see takenBack
	}
	for _, p := range v.history.After(v.c.Request.Position) {
		add(takingOf(p))
	}
	slices.SortFunc(all, place.compare)
	return slices.Compact(all)
}

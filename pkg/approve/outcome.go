package approve

import (
	"math"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// verdict is the work of one Decide.
type verdict struct {
	history policy.History
	c       Case
	now     time.Time
	// unit are the numbers of the entitlements that it decides, and base is what of
	// them the request prolongs.
	unit []int
	base *request.Base
	// lapse is when the request lapses where it is not decided before: see findLapse.
	lapse  time.Time
	views  map[*policy.Policy]*view
	rested [][]*rest // by approval and grant; nil for one that rests on nothing
	// left is the version that takes the request's signer, or their key, away; nil where
	// none does. leavers are those of all signers, as far as they are known.
	left    *policy.InForce
	leavers map[signature]*policy.InForce
	// undone are the windows of decisions that were taken back, by a withdrawal or by what
	// came before their time: they bound what is decided from their opening on.
	undone []window
	// reach is when the last was to be decided that came to nothing so by what came before
	// its time: what claims to be earlier than that bounds what is decided in its place, as
	// it would have bounded it.
	reach time.Time
	// outlived is the first word of the requester's that they take it for lapsed; nil
	// for none.
	outlived *Outlived
	// stands says whether what it prolongs was open: see founded; nil where nobody asked.
	stands *bool
	// until is the moment after which nothing counts; zero for none: see asOf.
	until moment
}

func newVerdict(h policy.History, c Case, unit []int, now time.Time) *verdict {
	v := &verdict{history: h, c: c, now: now, unit: unit, views: map[*policy.Policy]*view{}, leavers: map[signature]*policy.InForce{}}
	v.left = v.leaves(c.Request.Record.By, c.Request.Key, c.Request.Position)
	v.base = c.Before.Base.Of(v.grants())
	for i, x := range c.Outlived {
		if slices.Contains(v.grants(), x.Grant) && (v.outlived == nil || x.place().before(v.outlived.place())) {
			v.outlived = &c.Outlived[i]
		}
	}
	return v
}

// window is from when until when access is open.
type window struct{ opens, ends time.Time }

// grants are the entitlements that it decides.
func (v *verdict) grants() []request.Grant {
	var all []request.Grant
	for _, i := range v.unit {
		all = append(all, v.c.Request.Record.Grants[i])
	}
	return all
}

// view is the request as one policy version sees it.
type view struct {
	matches []policy.Match // by grant
	errs    []error        // why no rule matches, by grant
	fits    error          // why the rules that match refuse what is decided
}

func (v *verdict) view(p *policy.Policy) *view {
	if seen, ok := v.views[p]; ok {
		return seen
	}
	r := v.c.Request.Record
	seen := &view{fits: r.PartFits(p, v.c.Before, v.grants())}
	for _, g := range r.Grants {
		m, err := p.Match(r.By, g.Resource, g.Role, r.Created.Time)
		seen.matches, seen.errs = append(seen.matches, m), append(seen.errs, err)
	}
	v.views[p] = seen
	return seen
}

// event is a place in the history at which a decision can fall.
type event struct {
	place place
	// at is the time that the record there claims.
	at time.Time
	// approvals says that an approval stands there; where a policy does, a
	// decision cannot be older than that policy.
	approval bool
}

// last is a place after everything.
var last = place{position: math.MaxInt}

// events are the request itself, the approvals, and the policy versions that
// came into force since: a rule that approves by itself is judged again by each.
// Nothing is decided any more from the version on that takes the signer away, and from
// where the requester has said that it had lapsed.
func (v *verdict) events() []event {
	r := v.c.Request
	all := []event{{place: place{r.Position, r.Order}, at: r.Record.Created.Time}}
	for _, a := range v.c.Approvals {
		all = append(all, event{place: a.place(), at: a.Record.Created.Time, approval: true})
	}
	for _, p := range v.history.After(r.Position) {
		all = append(all, event{place: placeOf(p), at: p.Since})
	}
	slices.SortStableFunc(all, func(a, b event) int { return a.place.compare(b.place) })
	if v.left != nil {
		all = slices.DeleteFunc(all, func(e event) bool { return !e.place.before(placeOf(*v.left)) })
	}
	if v.outlived != nil {
		all = slices.DeleteFunc(all, func(e event) bool { return !e.place.before(v.outlived.place()) })
	}
	return all
}

// moments are the times at which the approvals up to e can come to a decision:
// that of e itself, and those of approvals before it that were signed ahead of
// their time.
func (v *verdict) moments(e event) []time.Time {
	all := []time.Time{e.at}
	for _, a := range v.c.Approvals {
		if created := a.Record.Created.Time; !e.place.before(a.place()) && created.After(e.at) {
			all = append(all, created)
		}
	}
	slices.SortFunc(all, time.Time.Compare)
	return slices.CompactFunc(all, time.Time.Equal)
}

// decidedAt gives the earliest decision that falls at e and stands until access
// opens. cut says that there is none since the signer, or their key, was taken away
// while it waited to open.
func (v *verdict) decidedAt(e event) (o outcome, ok, cut bool) {
	p := v.history.At(e.place.position)
	for _, at := range v.moments(e) {
		var back map[int]bool
		seen := sight{place: e.place}
		for {
			o = v.tally(seen, p, at, back)
			if !o.granted {
				break
			}
			if !e.approval && e.at.After(o.decided) {
				v.decideAt(&o, e.at)
			}
			n := len(back)
			then, struck := v.struck(o, seen, p, at, back)
			if struck {
				seen = then
			}
			if back = v.takenBack(o, back); len(back) > n || struck {
				if o.never == nil && o.decided.Before(v.lapse) {
					v.undo(o, struck)
				}
				continue // without what was taken back before it opened, or taken away before it was decided
			}
			if o.never == nil && o.decided.Before(v.lapse) {
				holds, left, late := v.holds(o)
				if holds {
					return o, true, false
				}
				if late {
					v.undo(o, true)
				}
				cut = cut || left
			}
			break
		}
	}
	return outcome{}, false, cut
}

// undo notes a decision that was taken back. Where late says that it was by what came when
// access may have been open, and claims another time or stands beside it, what its approvals
// narrowed stays so, for what is decided before too.
func (v *verdict) undo(o outcome, late bool) {
	w := window{o.opens, o.ends}
	if late {
		w.opens = time.Time{}
		if o.decided.After(v.reach) {
			v.reach = o.decided
		}
	}
	v.undone = append(v.undone, w)
}

// takenBack adds to back the approvals on which o rests and which were
// withdrawn between the decision and the opening, with all others that the same
// withdrawals take back: another by the same person would take the seat that the
// withdrawal made free, and decide at a time when nobody had withdrawn.
func (v *verdict) takenBack(o outcome, back map[int]bool) map[int]bool {
	for _, w := range v.c.Withdrawals {
		if !w.Record.Created.Before(o.opens) || !slices.ContainsFunc(o.counted, func(i int) bool { return takesBack(w, v.c.Approvals[i]) }) {
			continue
		}
		for i, a := range v.c.Approvals {
			if !takesBack(w, a) {
				continue
			}
			if back == nil {
				back = map[int]bool{}
			}
			back[i] = true
		}
	}
	return back
}

// holds reports whether what decided still stood when access opened: the rule
// and the role's meaning unchanged, and the signer there, with the key; left says that
// it stood until they were not, and late that the version came into force no earlier than
// that. Once open, a rule may change without effect, and a key be replaced; a change of
// meaning is an ending of its own.
func (v *verdict) holds(o outcome) (holds, left, late bool) {
	for _, later := range v.history.After(o.place.position) {
		late = !later.Since.Before(o.opens)
		if late && !v.ahead(o.place, takingOf(later), o.opens) {
			continue
		}
		if v.left != nil && later.Policy == v.left.Policy {
			return false, true, late
		}
		seen := v.view(later.Policy)
		for j, i := range v.unit {
			if seen.errs[i] != nil || seen.matches[i].Basis != o.bases[j] {
				return false, false, late
			}
		}
	}
	return true, false, false
}

// outcome is what the approvals come to, seen from one place in the history.
type outcome struct {
	policy    *policy.Policy
	granted   bool
	place     place     // of what decided
	known     time.Time // when the last approval on which it rests takes effect
	decided   time.Time
	opens     time.Time
	ends      time.Time
	duration  record.Duration
	grants    []GrantDecision
	approvals []Standing
	counted   []int // approvals on which it rests
	bases     []policy.Basis
	keys      []record.Fingerprint // on which it rests
	chains    []*chain             // as grants; nil where no rule decides
	never     error                // why it never opens
	// left is the version that ended it, since its signer, or their key, was taken away
	// before it opened; cut says that it was decided by then.
	left *policy.InForce
	cut  bool
}

// decideAt sets the time of the decision, and with it the window: from then or
// from the start that was asked for, within the hours of every rule. An extension
// goes on from where the other ends. An emergency keeps no hours.
func (v *verdict) decideAt(o *outcome, at time.Time) {
	r := v.c.Request.Record
	o.decided, o.opens, o.never = at, at, nil
	if s := r.Start; s != nil && s.After(at) {
		o.opens = s.Time
	}
	o.ends = o.opens.Add(o.duration.Duration)
	base := v.base
	var before time.Time // when it ends without an extension
	if base != nil {
		var opened time.Time
		opened, before = base.Window()
		o.ends = before.Add(o.duration.Duration)
		if !at.Before(before) {
			o.never = &policy.Refusal{Code: policy.NotExtendable, Message: "what it extends has ended"}
		}
		if at.Before(opened) {
			o.opens = opened
		}
		if !v.founded() {
			o.never = &policy.Refusal{Code: policy.NotExtendable, Message: "what it extends was not open when it was made"}
		}
	}
	if o.policy == nil || r.Emergency {
		return
	}
	var hours []*policy.Calendar
	for _, i := range v.unit {
		if use := v.view(o.policy).matches[i].Use(); use != nil {
			hours = append(hours, use)
		}
	}
	if len(hours) == 0 {
		return
	}
	opens, closes, ok := policy.Within(hours, o.opens)
	if !ok {
		o.never = &policy.Refusal{Code: policy.NeverOpen, Message: "the hours in which it may be used never come"}
		return
	}
	if base == nil {
		o.ends = opens.Add(o.duration.Duration)
	}
	o.opens = opens
	if closes.Before(o.ends) {
		o.ends = closes
	}
	if base != nil && (!o.ends.After(before) || o.opens.After(before)) {
		o.never = &policy.Refusal{Code: policy.NotExtendable, Message: "the hours in which it may be used do not go on when what it extends ends"}
	}
}

// tally counts, under one policy, the approvals that stand in sight and have taken
// effect at a time, without those in back.
func (v *verdict) tally(seen sight, p *policy.Policy, at time.Time, back map[int]bool) outcome {
	r := v.c.Request.Record
	o := outcome{policy: p, place: seen.place, duration: r.Duration, granted: p != nil && len(v.unit) > 0, keys: v.c.Request.keys()}
	if p == nil {
		return o
	}
	o.approvals = v.standings(seen, at, back)
	view := v.view(p)
	counts := make([]bool, len(o.approvals))
	for _, i := range v.unit {
		g, m := r.Grants[i], view.matches[i]
		gd := GrantDecision{Grant: g, Refusal: view.errs[i]}
		var c *chain
		if gd.Refusal == nil {
			gd.Refusal = view.fits
		}
		o.bases = append(o.bases, m.Basis)
		if gd.Refusal == nil {
			gd.Rule, gd.Meaning, gd.Auto = m.Rule.Name, m.Meaning, m.Rule.Approve == policy.ApproveAuto
			c = v.chain(p, i, o.approvals, seen, counts)
			gd.Stages, gd.Granted = c.decisions(), c.granted()
		}
		o.chains = append(o.chains, c)
		o.granted = o.granted && gd.Granted
		o.grants = append(o.grants, gd)
	}
	for _, c := range o.chains {
		o.keys = append(o.keys, c.delegations()...)
	}
	decided := r.Created.Time
	for i, a := range v.c.Approvals {
		if !counts[i] {
			continue
		}
		o.approvals[i].Counted, o.approvals[i].Why = true, ""
		o.counted = append(o.counted, i)
		o.keys = append(o.keys, a.keys()...)
		if a.Record.Created.After(o.known) {
			o.known = a.Record.Created.Time
		}
		if n := a.Record.Duration; !n.IsZero() && n.Duration < o.duration.Duration {
			o.duration = n
		}
	}
	if o.known.After(decided) {
		decided = o.known
	}
	v.decideAt(&o, decided)
	return o
}

// standings lists the approvals, each with why it does not count in sight of what
// stands and at a time.
func (v *verdict) standings(seen sight, at time.Time, back map[int]bool) []Standing {
	var all []Standing
	for i, a := range v.c.Approvals {
		s := Standing{ID: a.Record.ID, By: a.Record.By, At: a.Record.Created.Time, Duration: a.Record.Duration, Comment: a.Record.Comment}
		switch {
		case !v.happened(a.Record.Created.Time, a.place()):
			s.Why = policy.NotYet
		case v.voided(a.keys(), seen.place):
			s.Why = policy.KeyVoid
		case v.locked(a, seen):
			s.Why = policy.Locked
		case v.gone(a.Record.By, a.Key, a.Position, seen):
			s.Why = policy.SignerLeft
		case v.lost(a, "", seen):
			s.Why = policy.KeyRetired
		case back[i] || v.withdrawn(a, seen):
			s.Why = policy.Withdrawn
		case a.Record.Created.After(at):
			s.Why = policy.NotYet
		case !a.Record.Created.Before(v.c.Request.Record.Expires.Time):
			s.Why = policy.Lapsed
		}
		all = append(all, s)
	}
	return all
}

// withdrawn reports whether a was taken back at the place of a sight or before, or
// beside it. A withdrawal that came after access had opened shows by itself: a decision has
// then been found already, before the withdrawal's place.
func (v *verdict) withdrawn(a Placed[Approval], seen sight) bool {
	return slices.ContainsFunc(v.c.Withdrawals, func(w Placed[Withdrawal]) bool {
		x := takingBy(w)
		return takesBack(w, a) && v.happened(x.at, x.place) && (x.place.before(seen.place) || seen.reaches(x.place) && x.besides(seen.place) && !v.opened(seen.place, x.place, seen.at))
	})
}

// takesBack reports whether a withdrawal takes back an approval: of the same person,
// and either signed after it or standing after it in the history. So nobody
// brings an approval back to life who delivers the two in another order; and in
// one commit the withdrawal is read first.
func takesBack(w Placed[Withdrawal], a Placed[Approval]) bool {
	if w.Record.By != a.Record.By && (w.Key == "" || w.Key != a.Key) {
		return false
	}
	created := a.Record.Created.Time
	return w.Record.Created.After(created) || a.place().before(w.place()) ||
		w.Position == a.Position && !w.Record.Created.Before(created)
}

// voided reports whether one of the keys on which a signature rests was revoked as
// compromised at upTo or before. A decision that was reached earlier is ended instead:
// see ending.
func (v *verdict) voided(keys []record.Fingerprint, upTo place) bool {
	return slices.ContainsFunc(keys, func(key record.Fingerprint) bool {
		void, ok := v.c.Void[key]
		return ok && void.Position <= upTo.position && v.happened(void.At, void.place())
	})
}

// locked reports whether the signer of an approval, or their key, was locked after
// it and in sight. It must be given again when the lock is lifted.
func (v *verdict) locked(a Placed[Approval], seen sight) bool {
	return slices.ContainsFunc(v.c.Locks, func(l Locked) bool {
		return l.names(a.Record.By, a.Key) && v.between(a, l, seen)
	})
}

// between reports whether a lock came after an approval and in sight.
func (v *verdict) between(a Placed[Approval], l Locked, seen sight) bool {
	return a.place().before(l.place()) && v.sees(seen, l.taking())
}

// acting gives those in whose place the signer of an approval acted, without those
// who were locked or left after it, or whose delegation a key signed that was taken
// from them or found to be compromised, in sight, or which had ended before the approval took effect.
func (v *verdict) acting(a Placed[Approval], seen sight) Acts {
	return slices.DeleteFunc(slices.Clone(v.c.Acting[a.Record.ID]), func(x Acting) bool {
		return v.voided(x.keys(), seen.place) || v.lost(a, x.Name, seen) || v.gone(x.Name, x.Signed, a.Position, seen) || slices.ContainsFunc(v.c.Locks, func(l Locked) bool {
			return l.For == x.Name && v.between(a, l, seen)
		})
	})
}

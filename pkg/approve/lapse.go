package approve

import (
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// findLapse finds when the request lapses where nothing was decided before: when it
// says, or when a stage that had begun had not been met in its time. That is judged
// by what had happened until then, by the times that the records claim: what comes
// later, be it an approval, a withdrawal, a lock or another policy, brings back
// nothing that had lapsed.
func (v *verdict) findLapse() {
	v.lapse = v.c.Request.Record.Expires.Time
	if !v.mayExpire() {
		return
	}
	times := v.times()
	for i, from := range times {
		if !from.Before(v.lapse) {
			return
		}
		then := v.asOf(from)
		for _, p := range v.policiesAt(from) {
			if at, ok := then.stuck(p, from); ok && (i+1 == len(times) || !at.After(times[i+1])) && at.Before(v.lapse) {
				v.lapse = at // and nothing happened before
			}
		}
	}
}

// stuck gives when a stage that is not met by what had happened at a time can no longer
// be; ok is false where that never comes.
func (v *verdict) stuck(p *policy.Policy, from time.Time) (at time.Time, ok bool) {
	o := v.tally(last, p, from, nil)
	if o.granted {
		return at, false // it is decided, or never opens
	}
	for _, c := range o.chains {
		if c == nil || c.expires().IsZero() {
			continue
		}
		end := c.expires()
		if end.Before(from) {
			end = from // what had met the stage is gone, and its time is over
		}
		if !ok || end.Before(at) {
			at, ok = end, true
		}
	}
	return at, ok
}

// mayExpire reports whether any rule by which the request was to be decided has a
// stage that expires.
func (v *verdict) mayExpire() bool {
	expires := func(p *policy.Policy) bool {
		seen := v.view(p)
		return slices.ContainsFunc(v.unit, func(i int) bool {
			return seen.errs[i] == nil && slices.ContainsFunc(seen.matches[i].Rule.Stages, func(s policy.Stage) bool { return !s.Expire.IsZero() })
		})
	}
	if p := v.history.At(v.c.Request.Position); p == nil || expires(p) {
		return p != nil
	}
	return slices.ContainsFunc(v.history.After(v.c.Request.Position), func(p policy.InForce) bool { return expires(p.Policy) })
}

// times are those at which something may have changed what the approvals come to,
// from the request on, in order.
func (v *verdict) times() []time.Time {
	began := v.c.Request.Record.Created.Time
	all := []time.Time{began}
	add := func(t time.Time) {
		if t.After(began) {
			all = append(all, t)
		}
	}
	for _, a := range v.c.Approvals {
		add(a.Record.Created.Time)
		// Of all that take back one approval the first has done it.
		var first time.Time
		for _, w := range v.c.Withdrawals {
			if at := w.Record.Created.Time; takesBack(w, a) && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
		add(first)
	}
	for _, l := range v.c.Locks {
		add(l.At)
	}
	for _, x := range v.c.Void {
		add(x.At)
	}
	for _, p := range v.history.After(v.c.Request.Position) {
		add(p.Since)
	}
	slices.SortFunc(all, time.Time.Compare)
	return slices.CompactFunc(all, time.Time.Equal)
}

// policiesAt gives the versions that were in force at a time: those that came at that
// very time, one after another, or else the newest before.
func (v *verdict) policiesAt(at time.Time) []*policy.Policy {
	newest := v.history.At(v.c.Request.Position)
	var all []*policy.Policy
	for _, p := range v.history.After(v.c.Request.Position) {
		switch {
		case p.Since.Equal(at):
			all = append(all, p.Policy)
		case p.Since.Before(at):
			newest = p.Policy
		}
	}
	if len(all) == 0 {
		all = append(all, newest)
	}
	return all
}

// asOf gives the verdict without what takes away later than at a time.
func (v *verdict) asOf(at time.Time) *verdict {
	if v.rested == nil {
		v.rest()
	}
	then := *v
	then.asAt = at
	then.c.Withdrawals = slices.DeleteFunc(slices.Clone(v.c.Withdrawals), func(w Placed[Withdrawal]) bool { return w.Record.Created.After(at) })
	then.c.Locks = slices.DeleteFunc(slices.Clone(v.c.Locks), func(l Locked) bool { return l.At.After(at) })
	then.c.Void = nil
	for k, x := range v.c.Void {
		if x.At.After(at) {
			continue
		}
		if then.c.Void == nil {
			then.c.Void = map[record.Fingerprint]Void{}
		}
		then.c.Void[k] = x
	}
	return &then
}

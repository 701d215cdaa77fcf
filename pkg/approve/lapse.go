package approve

import (
	"cmp"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
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
	all := v.changes()
	for i, m := range all {
		if !m.at.Before(v.lapse) {
			return
		}
		at, ok := v.stuck(m)
		if ok && (i+1 == len(all) || !at.After(all[i+1].at)) && at.Before(v.lapse) {
			v.lapse = at // and nothing happened before
		}
	}
}

// stuck gives when a stage that is not met by what had happened at a moment can no
// longer be; ok is false where that never comes.
func (v *verdict) stuck(m moment) (at time.Time, ok bool) {
	o := v.asOf(m).tally(sight{place: last, at: m.at}, v.policyAt(m), m.at, nil)
	if o.granted {
		return at, false // it is decided, or never opens
	}
	for _, c := range o.chains {
		if c == nil || c.expires().IsZero() {
			continue
		}
		end := c.expires()
		if end.Before(m.at) {
			end = m.at // what had met the stage is gone, and its time is over
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

// moment is when something happened, by the time that it claims; of what claims one
// time, by its place.
type moment struct {
	at    time.Time
	place place
}

func (m moment) compare(n moment) int {
	return cmp.Or(m.at.Compare(n.at), m.place.compare(n.place))
}

// changes are the moments that may have changed what the approvals come to, from the
// request on, in order.
func (v *verdict) changes() []moment {
	r := v.c.Request
	began := moment{r.Record.Created.Time, r.place()}
	all := []moment{began}
	add := func(at time.Time, p place) {
		if m := (moment{at, p}); m.compare(began) > 0 {
			all = append(all, m)
		}
	}
	for _, a := range v.c.Approvals {
		add(a.Record.Created.Time, a.place())
		// Of all that take back one approval the first has done it.
		var first moment
		for _, w := range v.c.Withdrawals {
			if m := (moment{w.Record.Created.Time, w.place()}); takesBack(w, a) && (first == moment{} || m.compare(first) < 0) {
				first = m
			}
		}
		add(first.at, first.place)
	}
	for _, l := range v.c.Locks {
		add(l.At, l.place())
	}
	for _, x := range v.c.Void {
		add(x.At, x.place())
	}
	for _, p := range v.history.After(r.Position) {
		add(p.Since, placeOf(p))
	}
	slices.SortFunc(all, moment.compare)
	return slices.Compact(all)
}

// policyAt gives the version that was in force at a moment.
func (v *verdict) policyAt(m moment) *policy.Policy {
	newest := v.history.At(v.c.Request.Position)
	for _, p := range v.history.After(v.c.Request.Position) {
		if (moment{p.Since, placeOf(p)}).compare(m) <= 0 {
			newest = p.Policy
		}
	}
	return newest
}

// asOf gives the verdict without what happened after a moment.
func (v *verdict) asOf(m moment) *verdict {
	if v.rested == nil {
		v.rest()
	}
	then := *v
	then.until = m
	return &then
}

// happened reports whether what stands at a place and claims a time is within the
// moments that the verdict looks at.
func (v *verdict) happened(at time.Time, p place) bool {
	return v.until == moment{} || moment{at, p}.compare(v.until) <= 0
}

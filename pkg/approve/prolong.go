package approve

import (
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/request"
)

// founded reports whether what the request prolongs was open when it was made, by all
// that the history holds of it by now: an approval that is withdrawn, or another version
// of the policy, can still undo what had not opened yet then. What ended it afterwards is
// another matter, which the ledger notes at both.
func (v *verdict) founded() bool {
	if v.base == nil || v.c.Prolongs == nil {
		return true
	}
	if v.stands == nil {
		made := v.c.Request.Record.Created.Time
		stands := !slices.ContainsFunc(v.base.Parts, func(part request.BasePart) bool {
			opens, ends, ok := v.c.Prolongs.window(v.history, part.Grant, made)
			return !ok || opens.After(made) || !made.Before(ends)
		})
		v.stands = &stands
	}
	return *v.stands
}

// forever is after all that a record may claim.
var forever = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)

// AtLast is Decide by all that the history holds, whatever times its records claim.
func AtLast(h policy.History, c Case) Decision { return Decide(h, c, forever) }

// Window gives from when until when an entitlement is, was or will be open, whatever
// ends it before its time; ok is false where it is not decided.
func (c Case) Window(h policy.History, g request.Grant) (opens, ends time.Time, ok bool) {
	return c.window(h, g, forever)
}

// window is Window by what has taken effect at a time.
func (c Case) window(h policy.History, g request.Grant, now time.Time) (opens, ends time.Time, ok bool) {
	for _, unit := range c.units(h) {
		v := newVerdict(h, c, unit, now)
		if !slices.Contains(v.grants(), g) {
			continue
		}
		o, _, known, _, _ := v.outcome()
		return o.opens, o.ends, known
	}
	return opens, ends, false
}

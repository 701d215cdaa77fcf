package trial

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// weight is how much a change lets people have more; what weighs most stands first, so
// that no list is long enough to hide it.
type weight int

const (
	// narrows says that the change only takes away.
	narrows weight = iota
	// perhaps says that it gives more, or that nobody can tell: another pattern, other
	// approvers.
	perhaps
	// fewer says that fewer must agree, or that there are emergencies now.
	fewer
	// nobodyAgrees says that access opens without anybody's agreement, and did not.
	nobodyAgrees
)

// weigh judges a change from one set of terms to another.
func weigh(before, after *terms) weight {
	switch {
	case !after.gives():
		return narrows
	case after.needs() == 0 && (!before.gives() || before.needs() > 0):
		return nobodyAgrees
	case after.emergency && !before.emergency:
		return fewer
	case before.gives() && after.needs() < before.needs():
		return fewer
	case before.gives() && after.within(before):
		return narrows
	}
	return perhaps
}

// needs is how many people must agree at least.
func (t *terms) needs() int {
	n := 0
	for _, s := range t.rule.Stages {
		least := 0
		for i, way := range s.Ways() {
			sum := 0
			for _, q := range way {
				sum += q.Count
			}
			if i == 0 || sum < least {
				least = sum
			}
		}
		n += least
	}
	return n
}

// within reports whether whatever is had on these terms could be had on the others. It
// says so only where that is plain.
func (t *terms) within(was *terms) bool {
	is, old := t.rule, was.rule
	ceiling := func(old, is int64) bool { return old == 0 || is > 0 && is <= old } // 0 is none
	or := func(d record.Duration, other time.Duration) time.Duration {
		if d.IsZero() {
			return other
		}
		return d.Duration
	}
	added := func(names ...string) bool { // a demand that there was not, or the same
		return !slices.ContainsFunc(names, func(name string) bool {
			return was.text(name) != "" && was.text(name) != t.text(name)
		})
	}
	switch {
	case is.MaxDuration.Duration > old.MaxDuration.Duration,
		is.MaxTotal.Duration > old.MaxTotal.Duration,
		is.CoolingOff.Duration < old.CoolingOff.Duration,
		or(is.MaxAhead, policy.DefaultAhead) > or(old.MaxAhead, policy.DefaultAhead),
		or(is.Pending, policy.DefaultPending) > or(old.Pending, policy.DefaultPending),
		!ceiling(int64(old.MaxOpen), int64(is.MaxOpen)),
		!ceiling(int64(old.MaxOpenPerRole), int64(is.MaxOpenPerRole)),
		is.Partial && !old.Partial,
		!added("reason", "ticket", "asked during", "used during"):
		return false
	case slices.ContainsFunc(was.lines, func(l line) bool { return strings.HasPrefix(l.name, "input ") && !added(l.name) }),
		slices.ContainsFunc(old.Conditions, func(c policy.Condition) bool {
			return !slices.ContainsFunc(is.Conditions, func(x policy.Condition) bool { return x.Expr == c.Expr })
		}),
		slices.ContainsFunc(old.Exclude, func(x string) bool { return !slices.Contains(is.Exclude, x) }),
		t.emergency && t.text(termEmergency) != was.text(termEmergency):
		return false
	}
	return was.needs() == 0 || t.agreementWithin(was)
}

// agreementWithin reports whether those who agree would have been enough: the stages
// are the same, but for more who must agree in one, and the people are no others.
func (t *terms) agreementWithin(was *terms) bool {
	if len(t.rule.Stages) != len(was.rule.Stages) || len(t.approvers) != len(was.approvers) {
		return false
	}
	for i, s := range t.rule.Stages {
		old := was.rule.Stages[i]
		if s.Count < old.Count || len(except(t.approvers[i], was.approvers[i])) > 0 {
			return false
		}
		s.Count = old.Count
		if !reflect.DeepEqual(s, old) {
			return false
		}
	}
	return true
}

// weightier orders changes: what lets people have more before what does not, and of
// what weighs the same what fewer must agree to, and what more people see.
func weightier(a, b Change) int {
	return cmp.Or(
		cmp.Compare(b.weight, a.weight),
		cmp.Compare(a.needs, b.needs),
		cmp.Compare(len(b.People), len(a.People)),
		strings.Compare(a.Whom+" "+a.What, b.Whom+" "+b.What),
	)
}

package approve

import (
	"fmt"
	"math"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// signature is what somebody signed with a key at a position.
type signature struct {
	by       string
	key      record.Fingerprint
	position int
}

// left gives the first version, in force where something was signed or later, that
// does not give the key to the signer any more: it takes the key away, or the person.
// What a version after it gives back is for what is signed from then on.
func (s signature) left(h policy.History) *policy.InForce {
	from := h.From(s.position)
	for i := range from {
		if !from[i].Gives(s.key, s.by) {
			return &from[i]
		}
	}
	return nil
}

// left gives the version that takes the request's signer, or their key, away: what
// had not opened by then never does.
func (c Case) left(h policy.History) *policy.InForce {
	r := c.Request
	return signature{r.Record.By, r.Key, r.Position}.left(h)
}

// whyLeft says what a version took away of one who had signed with a key.
func whyLeft(p *policy.Policy, by string, key record.Fingerprint) string {
	if _, ok := p.Person(by); !ok {
		return fmt.Sprintf("the policy does not name %s any more", by)
	}
	return fmt.Sprintf("the policy does not give key %s to %s any more", key, by)
}

// placeOf is where a version begins to count: before all else that its commit holds.
func placeOf(p policy.InForce) place { return place{p.Position, math.MinInt} }

// leaves gives the version that takes a signer, or their key, away: see signature.left.
func (v *verdict) leaves(by string, key record.Fingerprint, position int) *policy.InForce {
	s := signature{by, key, position}
	first, known := v.leavers[s]
	if !known {
		first = s.left(v.history)
		v.leavers[s] = first
	}
	return first
}

// gone reports whether a version in sight takes one away who signed at a position, or
// their key. A decision that was reached earlier stays.
func (v *verdict) gone(by string, key record.Fingerprint, position int, seen sight) bool {
	first := v.leaves(by, key, position)
	return first != nil && v.sees(seen, takingOf(*first))
}

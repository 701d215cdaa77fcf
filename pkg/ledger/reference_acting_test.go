package ledger_test

import (
	"cmp"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/revoke"
)

// This is the part of the reference about delegations: who acts for whom.

func (r *reference) delegation(x *counted, d approve.Delegation, now *policy.Policy) (reason string) {
	terms := now.Document().Delegation
	if terms.Longest.IsZero() {
		return string(policy.NoDelegation)
	}
	if d.To == d.By {
		return string(policy.SelfDelegation)
	}
	if _, ok := now.Person(d.To); !ok {
		return string(policy.UnknownPerson)
	}
	if len(terms.To) > 0 && !now.Is(d.To, terms.To, policy.Concern{}) {
		return string(policy.NotDelegate)
	}
	if d.Until.Sub(d.Begins()) > terms.Longest.Duration {
		return string(policy.DelegationTooLong)
	}
	if r.isLocked(d.To, "") {
		return string(policy.Locked)
	}
	there := func(p *policy.Policy) bool {
		_, giver := p.Person(d.By)
		_, delegate := p.Person(d.To)
		return giver && delegate
	}
	if r.lockedAfter(x.headAt, d.To, "") || !r.stayed(x.headAt, there) {
		return string(policy.HeadTooOld)
	}
	for i, c := range r.counted {
		if x, ok := c.value.(approve.Delegation); ok && x.By == d.By && x.To == d.To && !r.over(i) && x.Begins().Before(d.Until.Time) && d.Begins().Before(x.Until.Time) {
			return string(policy.AlreadyDelegated)
		}
	}
	return ""
}

// over reports whether the delegation at a place in the list was ended: by a record,
// by a lock of one of the two or of the key that signed it, by the compromise of
// that key, or by a policy without one of the two or without that key.
func (r *reference) over(i int) bool {
	x := r.counted[i]
	d := x.value.(approve.Delegation)
	for _, c := range r.counted[i+1:] {
		switch v := c.value.(type) {
		case approve.DelegationEnd:
			if v.Delegation == d.ID {
				return true
			}
		case revoke.Lock:
			if v.Person == d.By || v.Person == d.To || slices.Contains(c.keys, x.Primary()) {
				return true
			}
		}
	}
	for _, p := range r.succession().After(x.position) {
		_, delegate := p.Person(d.To)
		if !delegate || !has(p.Policy, d.By, x.Primary()) {
			return true
		}
	}
	_, void := r.voidOf(x)
	return void
}

// endedAt gives the time as of which the delegation at a place in the list, which is over,
// has ended: what the first in the history to end it claims, and the ends that came since.
func (r *reference) endedAt(i int) time.Time {
	x := r.counted[i]
	d := x.value.(approve.Delegation)
	type event struct {
		position, order int
		at              time.Time
	}
	var all []event
	ends := func(c counted) bool {
		e, ok := c.value.(approve.DelegationEnd)
		return ok && e.Delegation == d.ID
	}
	for _, c := range r.counted[i+1:] {
		if l, ok := c.value.(revoke.Lock); ends(c) || ok && (l.Person == d.By || l.Person == d.To || slices.Contains(c.keys, x.Primary())) {
			all = append(all, event{c.position, c.order, c.Head().Created.Time})
		}
	}
	h, versions := r.forced()
	for k, version := range versions {
		if _, delegate := h[k].Person(d.To); version > i && (!delegate || !has(h[k].Policy, d.By, x.Primary())) {
			all = append(all, event{r.counted[version].position, r.counted[version].order, h[k].Since})
		}
	}
	if v, void := r.voidOf(x); void {
		all = append(all, event{v.Position, -1, v.At})
	}
	at := slices.MinFunc(all, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.position, b.position), cmp.Compare(a.order, b.order))
	}).at
	for _, c := range r.counted[i+1:] {
		if ends(c) && c.Head().Created.Before(at) {
			at = c.Head().Created.Time
		}
	}
	return at
}

// delegationState says where the delegation at a place in the list stands.
func (r *reference) delegationState(i int, now time.Time) approve.DelegationState {
	d := r.counted[i].value.(approve.Delegation)
	p := r.inForce()
	terms := p.Document().Delegation
	switch {
	case r.over(i):
		return approve.DelegationOver
	case !now.Before(d.Until.Time):
		return approve.DelegationExpired
	case d.Until.Sub(d.Begins()) > terms.Longest.Duration || len(terms.To) > 0 && !p.Is(d.To, terms.To, policy.Concern{}):
		return approve.DelegationBarred
	case now.Before(d.Begins()):
		return approve.DelegationComing
	}
	return approve.DelegationActive
}

// acting gives those in whose place a person acts here at a time.
func (r *reference) acting(person string, at time.Time) (acts approve.Acts) {
	for i, c := range r.counted {
		if d, ok := c.value.(approve.Delegation); ok && d.To == person && r.delegationState(i, at) == approve.DelegationActive {
			giver, _ := r.inForce().Person(d.By)
			acts = append(acts, approve.Acting{Name: d.By, Keys: giver.Keys, Signed: c.Primary(), Subkey: c.Subkey(), Under: d.ID})
		}
	}
	slices.SortFunc(acts, func(a, b approve.Acting) int { return cmp.Compare(a.Name, b.Name) })
	return acts
}

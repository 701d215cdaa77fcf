package ledger_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/revoke"
)

// This is the part of the reference about people's standing: who is locked, and who
// acts for whom.

// standing is what is decided about such a record at its place.
type standing struct {
	acting []string // of an approval
	lifts  bool     // of an unlock
	// of a lock: the keys of the person, or whose the key was
	keys  []record.Fingerprint
	owner string
}

// lifted reports whether a lock was lifted.
func (r *reference) lifted(lock record.ID) bool {
	return slices.ContainsFunc(r.counted, func(c counted) bool {
		u, ok := c.value.(revoke.Unlock)
		return ok && c.lifts && u.Lock == lock
	})
}

// isLocked reports whether a person, or a key, is locked here.
func (r *reference) isLocked(person string, key record.Fingerprint) bool {
	return slices.ContainsFunc(r.counted, func(c counted) bool {
		l, ok := c.value.(revoke.Lock)
		return ok && (l.Person != "" && l.Person == person || l.Key != "" && l.Key == key) && !r.lifted(l.ID)
	})
}

// lockedSince reports whether a lock from a place in the list on, and up to another,
// names one who signed with a key.
func (r *reference) lockedSince(from, upTo int, by string, key record.Fingerprint) bool {
	return slices.ContainsFunc(r.counted[from+1:upTo+1], func(c counted) bool {
		l, ok := c.value.(revoke.Lock)
		return ok && (l.Person == by || l.Key == key)
	})
}

// locksFrom gives the locks from a place in the list on, as a case has them, whether
// or not they concern it.
func (r *reference) locksFrom(from int) (all []approve.Locked) {
	for _, c := range r.counted[from:] {
		if l, ok := c.value.(revoke.Lock); ok {
			x := approve.Locked{ID: l.ID, Position: c.position, Order: c.order, At: l.Created.Time, By: l.By, Reason: l.Reason, Person: l.Person, Key: l.Key, For: l.Person}
			if l.Key != "" {
				x.For = c.owner
			}
			all = append(all, x)
		}
	}
	return all
}

// compromises gives, in the same form, from where nobody acts for one whose key was
// compromised and had signed a delegation.
func (r *reference) compromises() (all []approve.Locked) {
	for _, c := range r.counted {
		if d, ok := c.value.(approve.Delegation); ok {
			if v, ok := r.void(c.Primary()); ok {
				all = append(all, approve.Locked{Position: v.Position, Order: -1, At: v.At, For: d.By})
			}
		}
	}
	return all
}

// apart judges a record that belongs to no one request.
func (r *reference) apart(c *counted) (reason string) {
	now := r.inForce()
	switch c.Kind {
	case record.KindLock:
		l, err := revoke.DecodeLock(c.Verified)
		c.value = l
		if err != nil {
			return why(err)
		}
		return r.lock(c, l, now)
	case record.KindUnlock:
		u, err := revoke.DecodeUnlock(c.Verified)
		c.value = u
		if err != nil {
			return why(err)
		}
		return r.unlock(c, u, now)
	case record.KindDelegation:
		d, err := approve.DecodeDelegation(c.Verified)
		c.value = d
		if err != nil {
			return why(err)
		}
		return r.delegation(d, now)
	case record.KindDelegationEnd:
		e, err := approve.DecodeDelegationEnd(c.Verified)
		c.value = e
		if err != nil {
			return why(err)
		}
		i := slices.IndexFunc(r.counted, func(c counted) bool { return c.Kind == record.KindDelegation && c.ID == e.Delegation })
		switch {
		case i < 0:
			return string(policy.NoSuchRecord)
		case r.over(i):
			return string(policy.DelegationEnded)
		}
		d := r.counted[i].value.(approve.Delegation)
		if e.By != d.By && e.By != d.To && !now.IsAdmin(e.By) {
			return string(policy.NotAllowed)
		}
		return ""
	}
	return ledger.ReasonWrongPlace
}

func (r *reference) lock(c *counted, l revoke.Lock, now *policy.Policy) (reason string) {
	if !now.IsAdmin(l.By) {
		return string(policy.NotAdmin)
	}
	person, known := now.Person(l.Person)
	owner, owned := now.OwnerOf(l.Key)
	switch {
	case l.Person != "" && !known:
		return string(policy.UnknownPerson)
	case l.Key != "" && !owned && r.ring.Lookup(l.Key) == nil:
		return string(policy.NoSuchKey)
	case l.Person != "" && r.isLocked(l.Person, ""), l.Key != "" && r.isLocked("", l.Key):
		return string(policy.AlreadyLocked)
	}
	c.keys, c.owner = person.Keys, owner
	admins := now.Document().Admins
	before, after := 0, 0
	for _, name := range admins.People {
		admin, _ := now.Person(name)
		able := func(k record.Fingerprint) bool { return !r.isLocked(name, k) }
		if slices.ContainsFunc(admin.Keys, able) {
			before++
		}
		if name != l.Person && slices.ContainsFunc(admin.Keys, func(k record.Fingerprint) bool { return able(k) && k != l.Key }) {
			after++
		}
	}
	if after < before && after < admins.Threshold {
		return string(policy.LastAdmins)
	}
	return ""
}

func (r *reference) unlock(c *counted, u revoke.Unlock, now *policy.Policy) (reason string) {
	i := slices.IndexFunc(r.counted, func(c counted) bool { return c.Kind == record.KindLock && c.ID == u.Lock })
	if !now.IsAdmin(u.By) {
		return string(policy.NotAdmin)
	}
	if i < 0 {
		return string(policy.NoSuchRecord)
	}
	l := r.counted[i].value.(revoke.Lock)
	owns := func(name string) bool {
		owner, owned := now.OwnerOf(l.Key)
		return l.Person == name || l.Key != "" && (r.counted[i].owner == name || owned && owner == name)
	}
	var agree []string
	signed := func(by string, key record.Fingerprint) {
		if _, void := r.void(key); !void && now.IsAdmin(by) && !owns(by) && !r.isLocked(by, key) && !slices.Contains(agree, by) {
			agree = append(agree, by)
		}
	}
	again := false
	for _, x := range r.counted {
		if v, ok := x.value.(revoke.Unlock); ok && v.Lock == u.Lock {
			signed(v.By, x.Primary())
			_, void := r.void(x.Primary())
			again = again || v.By == u.By && !void
		}
	}
	signed(u.By, c.Primary())
	switch {
	case r.lifted(l.ID):
		return string(policy.NotLocked)
	case owns(u.By):
		return string(policy.OwnLock)
	case again:
		return string(policy.CountedOnce)
	}
	c.lifts = len(agree) >= now.Document().Admins.Threshold
	return ""
}

func (r *reference) delegation(d approve.Delegation, now *policy.Policy) (reason string) {
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
	return ""
}

// over reports whether the delegation at a place in the list was ended: by a record,
// by a lock of the one who gave it or of the key that signed it, by the compromise of
// that key, or by a policy without one of the two.
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
			if v.Person == d.By || v.Key == x.Primary() || slices.Contains(c.keys, x.Primary()) {
				return true
			}
		}
	}
	for _, p := range r.succession().After(x.position) {
		_, giver := p.Person(d.By)
		_, delegate := p.Person(d.To)
		if !giver || !delegate {
			return true
		}
	}
	_, void := r.void(x.Primary())
	return void
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
func (r *reference) acting(person string, at time.Time) (names []string) {
	for i, c := range r.counted {
		if d, ok := c.value.(approve.Delegation); ok && d.To == person && r.delegationState(i, at) == approve.DelegationActive {
			names = append(names, d.By)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// renderStanding writes down who is locked, and who acts for whom at some times.
func (r *reference) renderStanding(times []time.Time) (lines []string) {
	for i, c := range r.counted {
		switch v := c.value.(type) {
		case revoke.Lock:
			lines = append(lines, renderLock(v.ID, v.Person, v.Key, c.position, r.lifted(v.ID)))
		case approve.Delegation:
			for _, now := range times {
				lines = append(lines, renderDelegation(v.ID, now, r.delegationState(i, now)))
			}
		}
	}
	for _, now := range times {
		for _, name := range []string{"alice", "bob", "carol", "dave"} {
			lines = append(lines, fmt.Sprintf("at %s %s acts for %v", now.Format(time.RFC3339), name, r.acting(name, now)))
		}
	}
	slices.Sort(lines)
	return lines
}

func renderLock(id record.ID, person string, key record.Fingerprint, position int, lifted bool) string {
	return fmt.Sprintf("lock %s of %s%s at %d, lifted %t", id.Short(), person, key, position, lifted)
}

func renderDelegation(id record.ID, now time.Time, s approve.DelegationState) string {
	return fmt.Sprintf("delegation %s at %s: %s", id.Short(), now.Format(time.RFC3339), s)
}

// renderLedgerStanding is renderStanding of a ledger.
func renderLedgerStanding(l *ledger.Ledger, times []time.Time) (lines []string, err error) {
	for _, h := range l.Locks() {
		lines = append(lines, renderLock(h.ID, h.Person, h.Key, h.Position, h.Lifted > 0))
	}
	for _, now := range times {
		all, err := l.Delegations(now)
		if err != nil {
			return nil, err
		}
		for _, d := range all {
			lines = append(lines, renderDelegation(d.Record.ID, now, d.State))
		}
		for _, name := range []string{"alice", "bob", "carol", "dave"} {
			lines = append(lines, fmt.Sprintf("at %s %s acts for %v", now.Format(time.RFC3339), name, l.Acting(name, now)))
		}
	}
	slices.Sort(lines)
	return lines, nil
}

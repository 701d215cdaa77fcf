package ledger_test

import (
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// This is the part of the reference about people's standing: who is locked. Who acts for
// whom is in reference_acting_test.go.

// standing is what is decided about such a record at its place.
type standing struct {
	acting approve.Acts // of an approval
	// of a lock: the keys of the person, or the key and whose it was
	keys  []record.Fingerprint
	owner string
	known record.ID // what it is known by: its id, unless another lock is by then
}

// lifted reports whether a lock was lifted: at an unlock of it, or at a policy version,
// up to which enough had agreed.
func (r *reference) lifted(lock record.ID) bool {
	at := slices.IndexFunc(r.counted, func(c counted) bool { return c.Kind == record.KindLock && c.known == lock })
	h, versions := r.forced()
	for i := at + 1; i < len(r.counted); i++ {
		u, unlocks := r.counted[i].value.(revoke.Unlock)
		if !(unlocks && u.Lock == lock) && !slices.Contains(versions, i) {
			continue
		}
		then := h[0].Policy
		for k, version := range versions {
			if version <= i {
				then = h[k].Policy
			}
		}
		if len(r.agree(at, i, r.counted[i].position, then)) >= then.Document().Admins.Threshold {
			return true
		}
	}
	return false
}

// agree gives the admins of a policy who agree to lift the lock at a place in the list,
// up to another: not those who were locked since, whose key was found to be compromised,
// or who were no admins with that key meanwhile.
func (r *reference) agree(lock, upTo, position int, p *policy.Policy) (names []string) {
	h, versions := r.forced()
	for i := lock + 1; i <= upTo; i++ {
		c := r.counted[i]
		u, ok := c.value.(revoke.Unlock)
		if !ok || u.Lock != r.counted[lock].known || r.lockedSince(i, upTo, u.By, c.Primary()) || r.voidBy(c, position) {
			continue
		}
		stayed := true
		for k, version := range versions {
			if owner, _ := h[k].OwnerOf(c.Primary()); version > i && version <= upTo && (owner != u.By || !h[k].IsAdmin(u.By)) {
				stayed = false
			}
		}
		own := r.owns(lock, u.By, p) && !r.voidBy(r.counted[lock], position)
		if stayed && p.IsAdmin(u.By) && !own && !slices.Contains(names, u.By) {
			names = append(names, u.By)
		}
	}
	return names
}

// owns reports whether a lock is one of a person or of their key.
func (r *reference) owns(lock int, name string, p *policy.Policy) bool {
	c := r.counted[lock]
	l := c.value.(revoke.Lock)
	owner, owned := p.OwnerOf(l.Key)
	return l.Person == name || l.Key != "" && (c.owner == name || owned && owner == name)
}

// voidBy reports whether the key that signed a record was found to be compromised by a
// position.
func (r *reference) voidBy(c counted, position int) bool {
	v, ok := r.voidOf(c)
	return ok && v.Position <= position
}

// isLocked reports whether a person, or a key, is locked here.
func (r *reference) isLocked(person string, key record.Fingerprint) bool {
	return slices.ContainsFunc(r.counted, func(c counted) bool { return r.locks(c, person, key) })
}

// isLockedByOwner is isLocked without the locks that a compromised key has signed.
func (r *reference) isLockedByOwner(person string, key record.Fingerprint) bool {
	return slices.ContainsFunc(r.counted, func(c counted) bool { return r.locks(c, person, key) && !r.voidBy(c, r.position) })
}

// lockedEnough reports whether what a lock names is locked as of its time already, or by
// two that its signer has dated to later; a lock by a compromised key is none.
func (r *reference) lockedEnough(x revoke.Lock) bool {
	mine := 0
	for _, c := range r.counted {
		if !r.locks(c, x.Person, x.Key) || r.voidBy(c, r.position) {
			continue
		}
		if h := c.Head(); !h.Created.After(x.Created.Time) {
			return true
		} else if h.By == x.By {
			mine++
		}
	}
	return mine >= 2
}

func (r *reference) locks(c counted, person string, key record.Fingerprint) bool {
	l, ok := c.value.(revoke.Lock)
	return ok && (l.Person != "" && l.Person == person || l.Key != "" && l.Key == key) && !r.lifted(c.known)
}

// lockedOut gives the people who can sign nothing that counts here.
func (r *reference) lockedOut() (names []string) {
	for _, name := range r.inForce().People() {
		person, _ := r.inForce().Person(name)
		if !slices.ContainsFunc(person.Keys, func(k record.Fingerprint) bool { return !r.isLocked(name, k) }) {
			names = append(names, name)
		}
	}
	return names
}

// free parts those who are locked from others.
func (r *reference) free(names []string) (free, locked []string) {
	out := r.lockedOut()
	if len(out) == 0 {
		return names, nil
	}
	for _, name := range names {
		if slices.Contains(out, name) {
			locked = append(locked, name)
		} else {
			free = append(free, name)
		}
	}
	return free, locked
}

// decide says where a case stands, and names none who are locked as one who could decide.
func (r *reference) decide(c approve.Case, now time.Time) approve.Decision {
	d := approve.Decide(r.succession(), c, now)
	for _, g := range d.Grants {
		for j := range g.Stages {
			s := &g.Stages[j]
			var locked []string
			s.Who, locked = r.free(s.Who)
			if s.Next != nil {
				s.Next.To, _ = r.free(s.Next.To)
			}
			if lacks := s.Missing() - len(s.Who); lacks > 0 && len(locked) > 0 {
				w := fmt.Sprintf("stage %d of rule %q waits for %s, who cannot decide: locked", j+1, g.Rule, strings.Join(locked, ", "))
				if !slices.Contains(d.Warnings, w) {
					d.Warnings = append(d.Warnings, w)
				}
			}
		}
	}
	if d.Debt != nil {
		d.Debt.Who, _ = r.free(d.Debt.Who)
	}
	return d
}

// decidePolicy does so for a policy version.
func (r *reference) decidePolicy(old *policy.Policy, id record.ID) approve.ProposalDecision {
	d := approve.DecidePolicy(old, r.proposal(id))
	d.Old.Who, _ = r.free(d.Old.Who)
	d.New.Who, _ = r.free(d.New.Who)
	return d
}

// lockedSince reports whether a lock from a place in the list on, and up to another,
// names one who signed with a key.
func (r *reference) lockedSince(from, upTo int, by string, key record.Fingerprint) bool {
	return slices.ContainsFunc(r.counted[from+1:upTo+1], func(c counted) bool {
		l, ok := c.value.(revoke.Lock)
		return ok && (l.Person == by || slices.Contains(c.keys, key))
	})
}

// lockedAfter reports whether a person, or a key, was locked after a position, whatever
// has become of the lock.
func (r *reference) lockedAfter(position int, person string, key record.Fingerprint) bool {
	return r.lastLock(person, key) > position
}

// lastLock gives where a person, or a key, was last locked; 0 for nowhere.
func (r *reference) lastLock(person string, key record.Fingerprint) (position int) {
	for _, c := range r.counted {
		if l, ok := c.value.(revoke.Lock); ok && (l.Person != "" && l.Person == person || l.Key != "" && l.Key == key) {
			position = c.position
		}
	}
	return position
}

// stayed reports whether something is true of all versions that came into force after a
// position.
func (r *reference) stayed(position int, is func(p *policy.Policy) bool) bool {
	return !slices.ContainsFunc(r.succession(), func(v policy.InForce) bool { return v.Position > position && !is(v.Policy) })
}

// locksFrom gives the locks from a place in the list on, as a case has them, whether
// or not they concern it: of what was signed by some, and in the place of others.
func (r *reference) locksFrom(from int, signed []approve.Placed[record.Head], acting map[record.ID]approve.Acts) (all []approve.Locked) {
	for _, c := range r.counted[from:] {
		l, ok := c.value.(revoke.Lock)
		if !ok {
			continue
		}
		x := approve.Locked{ID: c.known, Position: c.position, Order: c.order, Beside: c.unseenFrom(), At: l.Created.Time, By: l.By, Reason: l.Reason}
		mine := x
		mine.Person, mine.Key = l.Person, l.Key
		all = append(all, mine)
		for _, s := range signed {
			// They may have had another name then.
			if l.Person != "" && slices.Contains(c.keys, s.Key) {
				mine.Person = s.Record.By
				all = append(all, mine)
			}
		}
		for _, acts := range acting {
			for _, a := range acts {
				if l.Person == a.Name || l.Key != "" && c.owner == a.Name || slices.ContainsFunc(append(slices.Clone(a.Keys), a.Signed), func(k record.Fingerprint) bool { return slices.Contains(c.keys, k) }) {
					x.For = a.Name
					all = append(all, x)
				}
			}
		}
	}
	return all
}

// floor gives the newest time that a reconciler which still may has written for one of
// some resources, with a key that is still its own and is neither locked nor compromised.
func (r *reference) floor(resources []string) (newest time.Time) {
	now := r.inForce()
	for _, c := range r.counted {
		var of []string
		switch v := c.value.(type) {
		case receipt.Receipt:
			of = []string{v.Resource}
		case receipt.Heartbeat:
			if then, ok := r.succession().At(c.position).Reconciler(v.By); ok {
				of = then.Resources
			}
		}
		by, _ := now.OwnerOf(c.Primary())
		if _, void := r.voidOf(c); void || r.isLocked(by, c.Primary()) {
			continue
		}
		for _, resource := range of {
			if at := c.Head().Created.Time; slices.Contains(resources, resource) && now.Reconciles(by, resource) && at.After(newest) {
				newest = at
			}
		}
	}
	return newest
}

// standsAt gives the time by which the standing of one who takes something away is read.
func (r *reference) standsAt(created time.Time, q request.Request) time.Time {
	var resources []string
	for _, g := range q.Grants {
		resources = append(resources, g.Resource)
	}
	for _, known := range []time.Time{q.Created.Time, r.floor(resources)} {
		if least := known.Add(-time.Hour); least.After(created) {
			created = least
		}
	}
	return created
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
		return r.delegation(c, d, now)
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
		case r.over(i) && !e.Created.Before(r.endedAt(i)):
			return string(policy.DelegationEnded)
		}
		d := r.counted[i].value.(approve.Delegation)
		if e.By != d.By && e.By != d.To && !now.IsAdmin(e.By) {
			return string(policy.NotAllowed)
		}
		mine := 0
		for _, c := range r.counted {
			if x, ok := c.value.(approve.DelegationEnd); ok && x.Delegation == d.ID && x.By == e.By {
				mine++
			}
		}
		if mine >= 2 {
			return string(policy.DelegationEnded)
		}
		if r.over(i) {
			r.again++
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
	case r.lockedEnough(l):
		return string(policy.AlreadyLocked)
	}
	c.keys, c.owner, c.known = person.Keys, owner, r.knownBy(l.ID, c.Digest())
	if l.Key != "" {
		c.keys = []record.Fingerprint{l.Key}
	}
	admins := now.Document().Admins
	tooFew := func(can func(*record.Certificate) error) bool {
		before, after := 0, 0
		for _, name := range admins.People {
			admin, _ := now.Person(name)
			able := func(k record.Fingerprint) bool {
				cert := r.ring.Lookup(k)
				return cert != nil && can(cert) == nil && !r.isLockedByOwner(name, k)
			}
			if slices.ContainsFunc(admin.Keys, able) {
				before++
			}
			if name != l.Person && slices.ContainsFunc(admin.Keys, func(k record.Fingerprint) bool { return able(k) && k != l.Key }) {
				after++
			}
		}
		return after < before && after < admins.Threshold
	}
	floor := r.floor(now.Resources())
	by := l.Created.Time
	if floor.After(by) {
		by = floor
	}
	if tooFew(func(c *record.Certificate) error { return c.CanSign(by) }) ||
		!floor.IsZero() && tooFew(func(c *record.Certificate) error { return c.CanSignFrom(floor) }) {
		return string(policy.LastAdmins)
	}
	if r.isLockedByOwner(l.Person, l.Key) {
		r.again++
	}
	return ""
}

// knownBy gives the id by which a lock is known.
func (r *reference) knownBy(id record.ID, digest record.Digest) record.ID {
	const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	known := id
	for slices.ContainsFunc(r.counted, func(c counted) bool { return c.Kind == record.KindLock && c.known == known }) {
		sum, err := hex.DecodeString(string(digest))
		if err != nil {
			panic(err)
		}
		known = id[:10] + record.ID(base32.NewEncoding(letters).EncodeToString(sum[:10]))
		digest = record.Sum(sum)
	}
	return known
}

// maySignUnlock reports whether one who signs an unlock is not locked, or only by what
// the same thief of a key may have locked.
func (r *reference) maySignUnlock(u revoke.Unlock, key record.Fingerprint) bool {
	i := slices.IndexFunc(r.counted, func(c counted) bool { return c.Kind == record.KindLock && c.known == u.Lock })
	if i >= 0 && r.voidBy(r.counted[i], r.position) {
		return !r.isLockedByOwner(u.By, key)
	}
	return !r.isLocked(u.By, key)
}

func (r *reference) unlock(x *counted, u revoke.Unlock, now *policy.Policy) (reason string) {
	i := slices.IndexFunc(r.counted, func(c counted) bool { return c.Kind == record.KindLock && c.known == u.Lock })
	switch {
	case !now.IsAdmin(u.By):
		return string(policy.NotAdmin)
	case i < 0:
		return string(policy.NoSuchRecord)
	case r.lifted(u.Lock):
		return string(policy.NotLocked)
	case r.owns(i, u.By, now) && !r.voidBy(r.counted[i], r.position):
		return string(policy.OwnLock)
	case slices.Contains(r.agree(i, len(r.counted)-1, r.position, now), u.By):
		return string(policy.CountedOnce)
	case !r.stayed(x.headAt, func(p *policy.Policy) bool {
		owner, _ := p.OwnerOf(x.Primary())
		return owner == u.By && p.IsAdmin(u.By)
	}):
		return string(policy.HeadTooOld)
	}
	return ""
}

// renderStanding writes down who is locked, and who acts for whom at some times.
func (r *reference) renderStanding(times []time.Time) (lines []string) {
	for i, c := range r.counted {
		switch v := c.value.(type) {
		case revoke.Lock:
			lines = append(lines, renderLock(c.known, v.Person, v.Key, c.position, r.lifted(c.known)))
		case approve.Delegation:
			for _, now := range times {
				lines = append(lines, renderDelegation(v.ID, now, r.delegationState(i, now)))
			}
		}
	}
	for _, now := range times {
		for _, name := range []string{"alice", "bob", "carol", "carla", "dave"} {
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
		for _, name := range []string{"alice", "bob", "carol", "carla", "dave"} {
			lines = append(lines, fmt.Sprintf("at %s %s acts for %v", now.Format(time.RFC3339), name, l.Acting(name, now)))
		}
	}
	slices.Sort(lines)
	return lines, nil
}

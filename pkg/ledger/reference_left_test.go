package ledger_test

import (
	"slices"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// This is the part of the reference about those who leave, and keys that are taken away.

// has reports whether a policy names somebody with a key.
func has(p *policy.Policy, name string, key record.Fingerprint) bool {
	person, ok := p.Person(name)
	return ok && slices.Contains(person.Keys, key)
}

// endedByLeaving reports whether a version took the signer of a request, or the key that
// signed it, away before it had opened: as if the history had ended there, nothing was
// open at the time that the version claims.
func (r *reference) endedByLeaving(id record.ID) bool {
	c, _ := r.request(id)
	q := c.Request
	for _, v := range r.succession() {
		if v.Position < q.Position || has(v.Policy, q.Record.By, q.Key) {
			continue
		}
		then := *r
		then.position = v.Position - 1
		then.counted = slices.DeleteFunc(slices.Clone(r.counted), func(c counted) bool { return c.position >= v.Position })
		then.taken = slices.DeleteFunc(slices.Clone(r.taken), func(t takenCert) bool { return t.position >= v.Position })
		c, there := then.request(id)
		if !there {
			return true // they came in one commit
		}
		for _, g := range approve.Decide(then.succession(), c, v.Since).Grants {
			if !g.Opens.IsZero() && !g.Opens.After(v.Since) {
				return false // a part of it at least
			}
		}
		return true
	}
	return false
}

// lastAway gives where the newest version came into force that did not name somebody with
// a key, where they are back; 0 for nowhere.
func (r *reference) lastAway(name string, key record.Fingerprint) (position int) {
	h := r.succession()
	if len(h) == 0 || !has(h.Latest(), name, key) {
		return 0
	}
	for _, v := range h[1:] {
		if !has(v.Policy, name, key) {
			position = v.Position
		}
	}
	return position
}

// lostSince gives, of the approvals of a request, those whose key, or subkey, was retired after they
// were counted, and those given under a delegation that a record has ended since, at
// times before the ones that they claim.
func (r *reference) lostSince(q approve.Case) (all []approve.Lost) {
	for _, a := range q.Approvals {
		for _, t := range r.taken {
			if kind, at := t.cert.Revocation(); kind == record.RevokedSoft && t.cert.Fingerprint() == a.Key && t.position > a.Position {
				all = append(all, approve.Lost{Approval: a.Record.ID, Position: t.position, Order: -1, At: at.UTC()})
			}
			for _, x := range t.cert.RevokedSubkeys() {
				if x.Kind == record.RevokedSoft && t.cert.Fingerprint() == a.Key && x.Subkey == a.Subkey && t.position > a.Position {
					all = append(all, approve.Lost{Approval: a.Record.ID, Position: t.position, Order: -1, At: x.At.UTC()})
				}
			}
		}
		for i, c := range r.counted {
			end, ok := c.value.(approve.DelegationEnd)
			if !ok {
				continue
			}
			for _, given := range r.counted[:i] {
				d, ok := given.value.(approve.Delegation)
				if ok && d.ID == end.Delegation && slices.ContainsFunc(r.counted[:i], func(c counted) bool {
					return c.ID == a.Record.ID && slices.ContainsFunc(c.acting, func(x approve.Acting) bool { return x.Under == d.ID })
				}) {
					all = append(all, approve.Lost{Approval: a.Record.ID, Position: c.position, Order: c.order, Beside: c.unseenFrom(), At: end.Created.Time, For: d.By})
				}
			}
		}
	}
	return all
}

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

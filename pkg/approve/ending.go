package approve

import (
	"fmt"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// ending is what ends a request before its time.
type ending struct {
	at    time.Time
	place place
	state State
	by    EndedBy
}

// ending gives what ended the request first in the history: a record that takes
// away, a key revoked as compromised on which the decision rests, a policy that
// takes the signer or their key away before it opens, or one that changes what is open. It counts from where it stands in the history,
// whatever time it claims.
func (v *verdict) ending(o outcome) (ending, bool) {
	var first ending
	found := false
	consider := func(e ending) {
		if began := v.c.Request.Record.Created.Time; e.at.Before(began) {
			e.at = began // nothing ends before it began, whatever is claimed
		}
		if e.at.After(v.now) {
			e.at = v.now // no clock that runs ahead puts off an ending
		}
		if !found || e.place.before(first.place) {
			first, found = e, true
		}
	}
	taken := func(h record.Head, at place, state State, reason string) {
		consider(ending{at: h.Created.Time, place: at, state: state, by: EndedBy{By: h.By, Record: h.ID, Reason: reason}})
	}
	for _, d := range v.c.Denials {
		state := Denied
		if o.granted && o.place.before(d.place()) && !d.Record.Created.Before(o.opens) {
			state = Revoked // it was open: the denial came after the decision
		}
		taken(d.Record.Head, d.place(), state, d.Record.Reason)
	}
	for _, x := range v.c.Cancellations {
		taken(x.Record.Head, x.place(), Cancelled, x.Record.Comment)
	}
	for _, x := range v.c.Revocations {
		taken(x.Record.Head, x.place(), Revoked, x.Record.Reason)
	}
	keys := o.keys
	if v.base != nil {
		keys = slices.Concat(keys, v.base.Keys)
	}
	for _, k := range keys {
		if void, ok := v.c.Void[k]; ok {
			consider(ending{at: void.At, place: void.place(), state: Revoked,
				by: EndedBy{Reason: v.c.called(k) + " was revoked as compromised"}})
		}
	}
	for _, l := range v.c.Locks {
		if l.names(v.c.Request.Record.By, v.c.Request.Key) {
			consider(ending{at: l.At, place: l.place(), state: Revoked, by: EndedBy{By: l.By, Record: l.ID, Reason: "locked: " + l.Reason}})
		}
	}
	if x := v.outlived; x != nil && !o.granted {
		consider(ending{at: x.At, place: x.place(), state: Lapsed,
			by: EndedBy{By: v.c.Request.Record.By, Record: x.By, Reason: "a later request by the same person claims a time by which it had lapsed"}})
	}
	if left := o.left; left != nil {
		r := v.c.Request
		consider(ending{at: left.Since, place: placeOf(*left), state: Revoked,
			by: EndedBy{Record: left.ID(), Reason: whyLeft(left.Policy, r.Record.By, r.Key)}})
	}
	if o.granted {
		for _, later := range v.history.After(o.place.position) {
			for j, g := range v.grants() {
				v.changed(later, g, o.bases[j].Meaning, consider)
			}
		}
	}
	if v.base != nil {
		for _, later := range v.history.After(v.c.Request.Position) {
			for _, part := range v.base.Parts {
				v.changed(later, part.Grant, part.Meaning, consider)
			}
		}
	}
	return first, found
}

// called says in words which key it is, and of a subkey whose: people know each other's
// primary keys.
func (c Case) called(key record.Fingerprint) string {
	var owner record.Fingerprint
	look := func(certificate, subkey record.Fingerprint) {
		if subkey == key {
			owner = certificate
		}
	}
	look(c.Request.Key, c.Request.Subkey)
	for _, a := range c.Approvals {
		look(a.Key, a.Subkey)
		for _, x := range c.Acting[a.Record.ID] {
			look(x.Signed, x.Subkey)
		}
	}
	switch {
	case owner != "":
		return fmt.Sprintf("subkey %s of key %s", key, owner)
	case c.Prolongs != nil:
		return c.Prolongs.called(key)
	}
	return fmt.Sprintf("key %s", key)
}

// changed considers a policy that came into force after access was decided, and
// changed, or took away, what is open: of the request itself or of what it prolongs.
func (v *verdict) changed(later policy.InForce, g request.Grant, was record.Digest, consider func(ending)) {
	m, err := later.Meaning(v.c.Request.Record.By, g.Resource, g.Role)
	if err == nil && m.Digest() == was {
		return
	}
	reason := "the policy changed what " + g.String() + " means"
	if err != nil {
		reason = "the policy changed: " + err.Error()
	}
	consider(ending{at: later.Since, place: placeOf(later), state: Revoked,
		by: EndedBy{Record: later.ID(), Reason: reason}})
}

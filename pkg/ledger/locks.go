package ledger

import (
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/revoke"
)

// standingSchema is the part of the index about people's standing: who is locked,
// and who acts for whom.
const standingSchema = `
CREATE TABLE IF NOT EXISTS locks (
	id BLOB PRIMARY KEY, position INTEGER NOT NULL, ord INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS delegations (
	id BLOB PRIMARY KEY, giver TEXT NOT NULL, delegate TEXT NOT NULL, key BLOB NOT NULL,
	until INTEGER NOT NULL, ended INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS delegations_delegate ON delegations (delegate, ended, until);
CREATE INDEX IF NOT EXISTS delegations_giver ON delegations (giver);
`

// Locks gives all locks, those that were lifted too, in the order of the history.
func (l *Ledger) Locks() revoke.Locks { return slices.Clone(l.locks) }

// Agreed gives the admins who agree so far to lift a lock that stands, and how many
// must.
func (l *Ledger) Agreed(lock record.ID) (names []string, of int) {
	i, p := l.locks.Find(lock), l.Policy()
	if i < 0 || p == nil {
		return nil, 0
	}
	return l.locks.Agreed(i, p, l.compromised), p.Document().Admins.Threshold
}

// MayUnlock judges one admin's agreement to lift a lock, were it signed now.
func (l *Ledger) MayUnlock(x revoke.Unlock) error {
	return l.locks.MayUnlock(l.Policy(), x, l.compromised)
}

// Refuse says why nothing counts that a person signs with a key; nil where no lock
// holds them back.
func (l *Ledger) Refuse(person string, key record.Fingerprint) error {
	return l.locks.Refuse(person, key)
}

// compromised reports whether a key was revoked as compromised.
func (s *state) compromised(key record.Fingerprint) bool {
	_, ok := s.void[key]
	return ok
}

// mayActHere refuses what is signed by one who is locked, but for the one thing
// that only takes away from themselves.
func (f *fold) mayActHere(h record.Head, key record.Fingerprint) error {
	if h.Kind == record.KindCancellation {
		return nil
	}
	return f.locks.Refuse(h.By, key)
}

// lock takes a lock: what the locked have signed and is not decided loses it, what
// they asked for ends, and nobody acts in their place any more.
func (f *fold) lock(v record.Verified) error {
	x, err := revoke.DecodeLock(v)
	if err != nil {
		return err
	}
	p := f.policies.Latest()
	cert, err := f.index.certificate(x.Key)
	if err != nil {
		return err
	}
	if err := f.locks.MayLock(p, x, func(record.Fingerprint) bool { return cert != nil }); err != nil {
		return err
	}
	held := revoke.Held{ID: x.ID, Position: f.position, Order: f.order, At: x.Created.Time, By: x.By, Reason: x.Reason, Person: x.Person, Key: x.Key}
	if held.Key != "" {
		held.Owner, _ = p.OwnerOf(held.Key)
	}
	f.locks = append(f.locks, held)
	if err := f.saveLock(held); err != nil {
		return err
	}
	names, keys := []string{x.Person}, []record.Fingerprint{x.Key}
	l := approve.Locked{ID: x.ID, Position: f.position, Order: f.order, At: x.Created.Time, By: x.By, Reason: x.Reason, Person: x.Person, Key: x.Key}
	l.For = x.Person
	if x.Person != "" {
		// What they signed under a name that they had before is theirs as well.
		person, _ := p.Person(x.Person)
		keys = person.Keys
	} else {
		names, l.For = nil, held.Owner
	}
	if err := f.shutOut(l, names, keys); err != nil {
		return err
	}
	over := approve.DelegationEnded{By: x.By, Record: x.ID, Position: f.position, At: x.Created.Time, Reason: "locked: " + x.Reason}
	return f.endDelegations(over, func(d approve.Delegated) bool {
		return x.Person != "" && (d.Record.By == x.Person || slices.Contains(keys, d.Key)) || x.Key != "" && d.Key == x.Key
	})
}

// shutOut notes a lock at everything that those with the names or keys have signed.
func (f *fold) shutOut(l approve.Locked, names []string, keys []record.Fingerprint) error {
	signed, err := f.signedBy(names, keys)
	if err != nil {
		return err
	}
	for _, r := range signed {
		x := l
		if x.Person != "" {
			x.Person = r.By
		}
		if r.Kind == record.KindPolicy || r.place.Policy {
			err = f.lockProposal(r.Request, x)
		} else {
			err = f.lockCase(r.Request, x, r.Kind == record.KindRequest)
		}
		if err != nil {
			return err
		}
	}
	return f.shutOutDelegates(l)
}

// signedBy gives the requests, approvals and policy versions by some names or keys,
// in the order of the history.
func (f *fold) signedBy(names []string, keys []record.Fingerprint) ([]row, error) {
	args := []any{string(record.KindRequest), string(record.KindApproval), string(record.KindPolicy)}
	for _, name := range names {
		args = append(args, name)
	}
	for _, k := range keys {
		args = append(args, k.Bytes())
	}
	marks := func(n int) string { return "(" + strings.TrimSuffix(strings.Repeat("?,", n), ",") + ")" }
	return f.rows(`WHERE r.kind IN (?, ?, ?) AND (r.signer IN `+marks(len(names))+` OR r.key IN `+marks(len(keys))+`)
		ORDER BY r.position, r.ord`, args...)
}

// lockCase notes a lock at a request, and at all that prolong it where it is the
// requester who is locked.
func (f *fold) lockCase(id record.ID, l approve.Locked, requester bool) error {
	c, err := f.kase(id)
	if err != nil {
		return err
	}
	note := func(c *approve.Case) {
		if requester {
			// What prolongs the request may be signed with another key.
			l.Person = c.Request.Record.By
		}
		if !slices.ContainsFunc(c.Locks, l.Same) {
			c.Locks = append(slices.Clip(c.Locks), l)
		}
	}
	if requester {
		return f.family(c, note)
	}
	note(&c)
	return f.keep(c)
}

// lockProposal takes the agreement of one who is locked from a proposal that is
// pending. A version in force stays.
func (f *fold) lockProposal(id record.ID, l approve.Locked) error {
	if slices.ContainsFunc(f.policies, func(p policy.InForce) bool { return p.ID() == id }) {
		return nil
	}
	p, err := f.proposal(id)
	if err != nil || slices.ContainsFunc(p.Locks, l.Same) {
		return err
	}
	p.Locks = append(p.Locks, l)
	return f.saveProposal(p, 0, time.Unix(0, 0))
}

// unlock takes one admin's agreement to lift a lock, and lifts it where enough have
// agreed.
func (f *fold) unlock(v record.Verified) error {
	x, err := revoke.DecodeUnlock(v)
	if err != nil {
		return err
	}
	p := f.policies.Latest()
	if err := f.locks.MayUnlock(p, x, f.compromised); err != nil {
		return err
	}
	f.locks = slices.Clone(f.locks) // others may hold the list as it was
	i := f.locks.Find(x.Lock)
	h := &f.locks[i]
	h.Unlocks = append(slices.Clip(h.Unlocks), revoke.Lift{ID: x.ID, Position: f.position, At: x.Created.Time, By: x.By, Reason: x.Reason, Key: v.Primary()})
	if len(f.locks.Agreed(i, p, f.compromised)) >= p.Document().Admins.Threshold {
		h.Lifted = f.position
	}
	return f.saveLock(*h)
}

func (x index) saveLock(h revoke.Held) error {
	body, err := json.Marshal(h)
	if err != nil {
		return err
	}
	_, err = x.Exec(`INSERT OR REPLACE INTO locks VALUES (?, ?, ?, ?)`, idBytes(h.ID), h.Position, h.Order, body)
	return err
}

func (x index) loadLocks(s *state) error {
	return x.each(`SELECT body FROM locks ORDER BY position, ord`, func(r *sql.Rows) error {
		var body []byte
		var h revoke.Held
		if err := r.Scan(&body); err != nil {
			return err
		}
		if err := json.Unmarshal(body, &h); err != nil {
			return err
		}
		s.locks = append(s.locks, h)
		return nil
	})
}

// shutOutDelegates notes at the requests that others approved in the place of one
// who is shut out that nobody acts in that place any more.
func (f *fold) shutOutDelegates(l approve.Locked) error {
	if l.For == "" {
		return nil
	}
	all, err := f.delegations(`WHERE giver = ?`, l.For)
	if err != nil {
		return err
	}
	delegates := map[string]bool{}
	for _, d := range all {
		delegates[d.Record.To] = true
	}
	signed, err := f.signedBy(slices.Sorted(maps.Keys(delegates)), nil)
	if err != nil {
		return err
	}
	l.Person, l.Key = "", ""
	for _, r := range signed {
		if r.Kind != record.KindApproval || r.place.Policy {
			continue
		}
		c, err := f.kase(r.Request)
		if err != nil {
			return err
		}
		if !slices.Contains(c.Acting[r.ID], l.For) {
			continue
		}
		if err := f.lockCase(r.Request, l, false); err != nil {
			return err
		}
	}
	return nil
}

// voidDelegations ends the delegations that a compromised key has signed, and with
// them what was approved under them and is not decided.
func (f *fold) voidDelegations(fpr record.Fingerprint, at time.Time) error {
	signed, err := f.delegations(`WHERE key = ?`, fpr.Bytes())
	if err != nil {
		return err
	}
	givers := map[string]bool{}
	for _, d := range signed {
		givers[d.Record.By] = true
	}
	for _, name := range slices.Sorted(maps.Keys(givers)) {
		l := approve.Locked{Position: f.position, Order: -1, At: at.UTC(), For: name, Reason: "key " + string(fpr) + " was revoked as compromised"}
		err = errors.Join(err, f.shutOutDelegates(l))
	}
	over := approve.DelegationEnded{Position: f.position, At: at.UTC(), Reason: "key " + string(fpr) + " was revoked as compromised"}
	return errors.Join(err, f.endDelegations(over, func(d approve.Delegated) bool { return d.Key == fpr }))
}

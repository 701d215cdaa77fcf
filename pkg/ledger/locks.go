package ledger

import (
	"database/sql"
	"encoding/json"
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
	begins INTEGER NOT NULL, until INTEGER NOT NULL, ended INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS delegations_delegate ON delegations (delegate, ended, until, begins);
CREATE INDEX IF NOT EXISTS delegations_going ON delegations (ended, giver, delegate, key);
CREATE TABLE IF NOT EXISTS acts (
	giver TEXT NOT NULL, key BLOB NOT NULL, request BLOB NOT NULL,
	PRIMARY KEY (giver, key, request)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS acts_key ON acts (key);
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
	return l.locks.Agreed(i, p, l.stolen), p.Document().Admins.Threshold
}

// MayLock judges a lock, were it signed now.
func (l *Ledger) MayLock(x revoke.Lock) error {
	if _, err := l.Keyring(); err != nil {
		return err
	}
	return l.mayLock(index{l.db}, l.Policy(), x)
}

func (s *state) mayLock(in index, p *policy.Policy, x revoke.Lock) error {
	cert, err := in.certificate(x.Key)
	if err != nil {
		return err
	}
	may := func(can func(*record.Certificate) error) error {
		return s.locks.MayLock(p, x, revoke.Keys{
			Known:       func(record.Fingerprint) bool { return cert != nil },
			Signs:       func(k record.Fingerprint) bool { c := s.keyring.Lookup(k); return c != nil && can(c) == nil },
			Compromised: s.stolen,
		})
	}
	// Whoever dates back does not let an admin seem able whose key has expired, and whoever
	// dates ahead none unable whose key has not. By what a reconciler wrote last a key may
	// not be made that is by now.
	floor := s.floor(p, p.Resources()...)
	err = may(func(c *record.Certificate) error { return c.CanSign(later(x.Created.Time, floor)) })
	if err != nil || floor.IsZero() {
		return err
	}
	return may(func(c *record.Certificate) error { return c.CanSignFrom(floor) })
}

// MayUnlock judges one admin's agreement, with a key, to lift a lock, were it signed
// now.
func (l *Ledger) MayUnlock(x revoke.Unlock, key record.Fingerprint) error {
	return l.locks.MayUnlock(l.Policy(), x, key, l.stolen)
}

// Refuse says why nothing counts that a person signs with a key; nil where no lock
// holds them back.
func (l *Ledger) Refuse(person string, key record.Fingerprint) error {
	return l.locks.Refuse(person, key)
}

// lockedOut gives the people of a policy none of whose keys signs what counts, since a
// lock holds them back, in order.
func (s *state) lockedOut(p *policy.Policy) (names []string) {
	if p == nil {
		return nil
	}
	for _, h := range s.locks {
		name := h.Person
		if h.Key != "" {
			name, _ = p.OwnerOf(h.Key)
		}
		if _, ok := p.Person(name); ok && h.Lifted == 0 && !s.locks.Free(p, name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// stolen reports whether the key that signed a lock was revoked as compromised.
func (s *state) stolen(h revoke.Held) bool { return s.compromised(h.Signed, h.Subkey) }

// mayActHere refuses what is signed by one who is locked, but for the one thing
// that only takes away from themselves.
func (f *fold) mayActHere(v record.Verified) error {
	switch h := v.Head(); h.Kind {
	case record.KindCancellation:
		return nil
	case record.KindUnlock:
		if x, err := revoke.DecodeUnlock(v); err == nil {
			return f.locks.MaySignUnlock(x, v.Primary(), f.stolen)
		}
	}
	return f.locks.Refuse(v.Head().By, v.Primary())
}

// lock takes a lock: what the locked have signed and is not decided loses it, what
// they asked for ends, and nobody acts in their place any more.
func (f *fold) lock(v record.Verified) error {
	x, err := revoke.DecodeLock(v)
	if err != nil {
		return err
	}
	p := f.policies.Latest()
	if err := f.mayLock(f.index, p, x); err != nil {
		return err
	}
	id := f.locks.IDFor(x.ID, v.Digest())
	held := revoke.Held{ID: id, Position: f.position, Order: f.order, At: x.Created.Time, By: x.By, Reason: x.Reason, Person: x.Person, Key: x.Key, Signed: v.Primary(), Subkey: v.Subkey()}
	if id != x.ID {
		held.Record = x.ID
	}
	if held.Key != "" {
		held.Owner, _ = p.OwnerOf(held.Key)
	}
	f.locks = append(f.locks, held)
	if err := f.saveLock(held); err != nil {
		return err
	}
	names, keys := []string{x.Person}, []record.Fingerprint{x.Key}
	l := approve.Locked{ID: id, Position: f.position, Order: f.order, Beside: f.unseenFrom, At: x.Created.Time, By: x.By, Reason: x.Reason, Person: x.Person, Key: x.Key}
	inPlaceOf := names
	if x.Person != "" {
		// What they signed under a name that they had before is theirs as well.
		person, _ := p.Person(x.Person)
		keys = person.Keys
	} else {
		names, inPlaceOf = nil, []string{held.Owner}
	}
	if err := f.shutOut(l, names, keys); err != nil {
		return err
	}
	if err := f.shutOutDelegates(l, inPlaceOf, keys); err != nil {
		return err
	}
	if err := f.dropAgreements(func(u revoke.Lift) bool { return slices.Contains(names, u.By) || slices.Contains(keys, u.Key) }); err != nil {
		return err
	}
	over := approve.DelegationEnded{By: x.By, Record: id, Position: f.position, At: x.Created.Time, Reason: "locked: " + x.Reason}
	return f.endDelegations(over, names, keys, "")
}

// dropAgreements takes back what some have agreed to about locks that stand: it must
// be given again.
func (f *fold) dropAgreements(gone func(revoke.Lift) bool) error {
	for i := range f.locks {
		lost := func(u revoke.Lift) bool { return !u.Lost && gone(u) }
		if f.locks[i].Lifted > 0 || !slices.ContainsFunc(f.locks[i].Unlocks, lost) {
			continue
		}
		h := f.lockAt(i)
		h.Unlocks = slices.Clone(h.Unlocks)
		for j := range h.Unlocks {
			h.Unlocks[j].Lost = h.Unlocks[j].Lost || gone(h.Unlocks[j])
		}
		if err := f.saveLock(*h); err != nil {
			return err
		}
	}
	return nil
}

// lockAt gives a lock to be changed. Others may hold the list as it was.
func (f *fold) lockAt(i int) *revoke.Held {
	f.locks = slices.Clone(f.locks)
	return &f.locks[i]
}

// liftAgreed lifts the locks that enough have agreed to lift, under the policy in force.
func (f *fold) liftAgreed() error {
	p := f.policies.Latest()
	for i := range f.locks {
		if f.locks[i].Lifted > 0 || len(f.locks.Agreed(i, p, f.stolen)) < p.Document().Admins.Threshold {
			continue
		}
		h := f.lockAt(i)
		h.Lifted = f.position
		if err := f.saveLock(*h); err != nil {
			return err
		}
	}
	return nil
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
	return nil
}

// marks are so many places for values in a query.
func marks(n int) string { return "(" + strings.TrimSuffix(strings.Repeat("?,", n), ",") + ")" }

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
	return f.saveProposal(p, policy.InForce{})
}

// unlock takes one admin's agreement to lift a lock, and lifts it where enough have
// agreed.
func (f *fold) unlock(v record.Verified, headAt int) error {
	x, err := revoke.DecodeUnlock(v)
	if err != nil {
		return err
	}
	p := f.policies.Latest()
	if err := f.locks.MayUnlock(p, x, v.Primary(), f.stolen); err != nil {
		return err
	}
	if err := f.stayed(headAt, "is an admin with that key", func(p *policy.Policy) bool { return isAdminWith(p, x.By, v.Primary()) }); err != nil {
		return err
	}
	h := f.lockAt(f.locks.Find(x.Lock))
	h.Unlocks = append(slices.Clip(h.Unlocks), revoke.Lift{ID: x.ID, Position: f.position, At: x.Created.Time, By: x.By, Reason: x.Reason, Key: v.Primary(), Subkey: v.Subkey()})
	if err := f.saveLock(*h); err != nil {
		return err
	}
	return f.liftAgreed()
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

// act notes for whom an approval of a request was given, so that it is found again.
func (f *fold) act(request record.ID, acting approve.Acts) error {
	for _, x := range acting {
		for _, k := range append([]record.Fingerprint{x.Signed}, x.Keys...) {
			if _, err := f.Exec(`INSERT OR IGNORE INTO acts VALUES (?, ?, ?)`, x.Name, k.Bytes(), idBytes(request)); err != nil {
				return err
			}
		}
	}
	return nil
}

// actedFor gives the requests that somebody approved in the place of those with some
// names or keys, or under a delegation that one of the keys signed.
func (f *fold) actedFor(names []string, keys []record.Fingerprint) (ids []record.ID, err error) {
	var args []any
	for _, name := range names {
		args = append(args, name)
	}
	for _, k := range keys {
		args = append(args, k.Bytes())
	}
	err = f.each(`SELECT DISTINCT request FROM acts WHERE giver IN `+marks(len(names))+` OR key IN `+marks(len(keys))+` ORDER BY request`, func(r *sql.Rows) error {
		var id []byte
		err := r.Scan(&id)
		ids = append(ids, idOf(id))
		return err
	}, args...)
	return ids, err
}

// shutOutDelegates notes at the requests that others approved in the place of those
// who are shut out, under whatever name, that nobody acts in that place any more.
func (f *fold) shutOutDelegates(l approve.Locked, names []string, keys []record.Fingerprint) error {
	ids, err := f.actedFor(names, keys)
	if err != nil {
		return err
	}
	l.Person, l.Key = "", ""
	for _, id := range ids {
		c, err := f.kase(id)
		if err != nil {
			return err
		}
		for _, a := range c.Approvals {
			for _, x := range c.Acting[a.Record.ID] {
				if !slices.Contains(names, x.Name) && !slices.ContainsFunc(append(x.Keys, x.Signed), func(k record.Fingerprint) bool { return slices.Contains(keys, k) }) {
					continue
				}
				l.For = x.Name
				if err := f.lockCase(id, l, false); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// voidDelegations ends the delegations that a compromised key has signed, and with
// them what rests on them.
func (f *fold) voidDelegations(k signingKey, at time.Time) error {
	keys := []record.Fingerprint{k.certificate}
	ids, err := f.actedFor(nil, keys)
	if err != nil {
		return err
	}
	for _, id := range ids {
		c, err := f.kase(id)
		if err != nil {
			return err
		}
		rests := false
		for _, acts := range c.Acting {
			rests = rests || slices.ContainsFunc(acts, func(x approve.Acting) bool { return k.signed(x.Signed, x.Subkey) })
		}
		if !rests {
			continue // it is only one of the keys of one who signed with another
		}
		if err := f.family(c, func(c *approve.Case) { c.Void = f.withVoid(c.Void, k) }); err != nil {
			return err
		}
	}
	over := approve.DelegationEnded{Position: f.position, At: at.UTC(), Reason: k.String() + " was revoked as compromised"}
	return f.endDelegations(over, nil, keys, k.subkey)
}

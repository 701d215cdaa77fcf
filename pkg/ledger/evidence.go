package ledger

import (
	"cmp"
	"database/sql"
	"encoding/binary"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// A machine that wants to know whether the store that it is shown is the true one
// signs a record and looks for one by another key that was signed with that record
// in sight. Whoever withholds the history cannot make one. What is needed to tell is
// kept a row for each key.

// sightSchema is the part of the index that evidence needs.
const sightSchema = `
CREATE TABLE IF NOT EXISTS sights (
	key BLOB NOT NULL, subkey BLOB NOT NULL, head INTEGER NOT NULL, position INTEGER NOT NULL, ord INTEGER NOT NULL,
	created INTEGER NOT NULL, PRIMARY KEY (key, subkey)) WITHOUT ROWID;
`

// Sight is what the counted records of one key tell.
type Sight struct {
	Key record.Fingerprint
	// Head is the position of the newest commit that a record by the key names as its
	// head; 0 where none is on this history.
	Head int
	// Position is where the newest record by the key stands, and Created the time that
	// it claims.
	Position int
	Created  time.Time
	order    int // of that record in its commit
}

// add takes the next record of the key.
func (s Sight) add(next Sight) Sight {
	next.Head = max(s.Head, next.Head)
	return next
}

// see notes what a counted record tells, to be written with the rest.
func (f *fold) see(v record.Verified, headAt int) {
	if f.sights == nil {
		f.sights, f.claims = map[signingKey]Sight{}, map[signingKey][]claim{}
	}
	key := signingKey{v.Primary(), v.Subkey()}
	if headAt >= f.position {
		headAt = 0 // it is not on this history before the record
	}
	f.sights[key] = f.sights[key].add(Sight{Key: key.certificate, Head: headAt, Position: f.position, Created: v.Head().Created.Time, order: f.order})
	f.claims[key] = withClaim(f.claims[key], claim{f.position, v.Head().Created.Time})
}

// writeSights writes what see has noted.
func (f *fold) writeSights() error {
	for key, s := range f.sights {
		if _, err := f.Exec(`INSERT INTO sights VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (key, subkey) DO UPDATE
			SET head = max(head, excluded.head), position = excluded.position, ord = excluded.ord, created = excluded.created`,
			key.certificate.Bytes(), key.subkey.Bytes(), s.Head, s.Position, s.order, s.Created.Unix()); err != nil {
			return err
		}
		if err := f.writeClaims(key); err != nil {
			return err
		}
	}
	clear(f.sights)
	clear(f.claims)
	return nil
}

// Sights gives what the records of each key tell, by key. Those that were signed with a
// subkey that is revoked as compromised tell nothing.
func (l *Ledger) Sights() (all []Sight, err error) {
	err = index{l.db}.each(`SELECT key, subkey, head, position, created FROM sights ORDER BY key, position, ord`, func(r *sql.Rows) error {
		var s Sight
		var key, subkey []byte
		var created int64
		if err := r.Scan(&key, &subkey, &s.Head, &s.Position, &created); err != nil {
			return err
		}
		s.Key, s.Created = fingerprintOf(key), time.Unix(created, 0).UTC()
		if sub := fingerprintOf(subkey); sub != "" && l.void[signingKey{s.Key, sub}] != (void{}) {
			return nil
		}
		if n := len(all) - 1; n >= 0 && all[n].Key == s.Key {
			all[n] = all[n].add(s)
			return nil
		}
		all = append(all, s)
		return nil
	})
	return all, err
}

// Seen gives the newest position that a counted record by another key than this one
// had seen; 0 for none. A key counts that belongs to somebody in the policy in force,
// is not revoked as compromised, and is not locked, nor is its owner.
func (l *Ledger) Seen(by record.Fingerprint) (position int, err error) {
	all, err := l.Sights()
	p := l.policies.Latest()
	for _, s := range all {
		if _, good := l.speaker(p, s.Key); good && s.Key != by {
			position = max(position, s.Head)
		}
	}
	return position, err
}

// speaker gives whose key it is in a policy, and whether what it signed newest is heard.
func (s *state) speaker(p *policy.Policy, key record.Fingerprint) (owner string, good bool) {
	if p == nil {
		return "", false
	}
	owner, known := p.OwnerOf(key)
	return owner, known && !s.compromised(key, "") && s.locks.Refuse(owner, key) == nil
}

// Word is the newest record of one person or reconciler: where it stands, and the time
// that it claims.
type Word struct {
	By       string
	Position int
	Created  time.Time
}

// Words gives the word of everybody in the policy in force but one, newest place first.
// A key that is revoked as compromised or locked, or whose owner is locked, has none.
func (l *Ledger) Words(but string) (all []Word, err error) {
	sights, err := l.Sights()
	p := l.policies.Latest()
	slices.SortStableFunc(sights, func(a, b Sight) int { return cmp.Compare(b.Position, a.Position) })
	heard := map[string]bool{but: true}
	for _, s := range sights {
		if owner, good := l.speaker(p, s.Key); good && !heard[owner] {
			heard[owner] = true
			all = append(all, Word{owner, s.Position, s.Created})
		}
	}
	return all, err
}

// Evidence is what the store tells about whether one key's machine is shown the
// true history. The times are those that the machine's own records claim; zero where
// there is no such record.
type Evidence struct {
	// Answered is when the machine signed the newest of its records that another key
	// had seen: the history that it is shown was the true one at that time or later.
	Answered time.Time
	// Last is when it signed its newest record.
	Last time.Time
}

// Evidence looks for the records that a key signed from one time to another, both
// included. It reads the records of that time alone.
func (l *Ledger) Evidence(key record.Fingerprint, from, to time.Time) (e Evidence, err error) {
	seen, err := l.Seen(key)
	if err != nil {
		return e, err
	}
	from, to = from.Truncate(time.Second), to.Truncate(time.Second)
	err = index{l.db}.each(`SELECT created, position FROM records WHERE id >= ? AND id < ? AND key = ?`, func(r *sql.Rows) error {
		var created int64
		var position int
		if err := r.Scan(&created, &position); err != nil {
			return err
		}
		at := time.Unix(created, 0).UTC()
		if at.Before(from) || at.After(to) {
			return nil
		}
		if at.After(e.Last) {
			e.Last = at
		}
		if position <= seen && at.After(e.Answered) {
			e.Answered = at
		}
		return nil
	}, firstID(from.Add(-record.MaxSkew)), firstID(to.Add(record.MaxSkew+time.Second)), key.Bytes())
	return e, err
}

// firstID gives the least bytes of an id of a time. An id is within
// [record.MaxSkew] of the time that its record claims.
func firstID(at time.Time) []byte {
	var b [16]byte
	if ms := at.UnixMilli(); ms > 0 {
		binary.BigEndian.PutUint64(b[:], uint64(ms)<<16)
	}
	return b[:]
}

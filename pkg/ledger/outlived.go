package ledger

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// A proposal says until when it may be agreed to, and an agreement says itself when it
// was given: who kept one, or dates it back, could bring it long after. That the time is
// past follows from what others have signed since.

// claimSchema is the part of the index that tells until when a key is known to have
// signed: the times that its counted records claim, but for those after which it claims
// as late a time again. So the first row of a key after a position is the latest time
// that it claims there.
const claimSchema = `
CREATE TABLE IF NOT EXISTS claims (
	key BLOB NOT NULL, subkey BLOB NOT NULL, position INTEGER NOT NULL, created INTEGER NOT NULL,
	PRIMARY KEY (key, subkey, position)) WITHOUT ROWID;
`

// claim is the time that a record claims, and where it stands.
type claim struct {
	position int
	created  time.Time
}

// withClaim adds the next record's claim to those of a key.
func withClaim(all []claim, next claim) []claim {
	for len(all) > 0 && !all[len(all)-1].created.After(next.created) {
		all = all[:len(all)-1]
	}
	if n := len(all); n > 0 && all[n-1].position == next.position {
		return all // which is later
	}
	return append(all, next)
}

// writeClaims writes those that see has noted for a key.
func (f *fold) writeClaims(key signingKey) error {
	for _, c := range f.claims[key] {
		if _, err := f.Exec(`DELETE FROM claims WHERE key = ? AND subkey = ? AND created <= ?`, key.certificate.Bytes(), key.subkey.Bytes(), c.created.Unix()); err != nil {
			return err
		}
		if _, err := f.Exec(`INSERT OR IGNORE INTO claims VALUES (?, ?, ?, ?)`, key.certificate.Bytes(), key.subkey.Bytes(), c.position, c.created.Unix()); err != nil {
			return err
		}
	}
	return nil
}

// claimsSince reports whether a counted record by a key, after a position, claims a time
// or a later one.
func (f *fold) claimsSince(key signingKey, position int, at time.Time) (bool, error) {
	since := func(c claim) bool { return c.position > position && !c.created.Before(at) }
	if slices.ContainsFunc(f.claims[key], since) {
		return true, nil
	}
	return f.atLeast(1, `SELECT 1 FROM (SELECT created FROM claims WHERE key = ? AND subkey = ? AND position > ? ORDER BY position LIMIT 1) WHERE created >= ?`,
		key.certificate.Bytes(), key.subkey.Bytes(), position, at.Unix())
}

// outlived refuses what stands after the end of a proposal, whatever time it claims.
//
// The end is past where as many admins of the version in force as must agree have each
// signed something since then that counts. Fewer show nothing: a clock that is ahead, or
// one admin who wants to stop the others, does not end what they decide, and as many
// could change the policy anyhow. What the proposer had seen shows nothing either: else
// clocks that were once a year ahead would let nobody propose anything for a year. A lock
// that came since takes nothing from what its admin had shown before, or one admin could
// bring back what had lapsed.
func (f *fold) outlived(p approve.Placed[policy.Document]) error {
	now, expires := f.policies.Latest(), p.Record.Expires.Time
	var since []string
	for _, name := range now.Document().Admins.People {
		admin, _ := now.Person(name)
		for _, key := range f.allKeys(admin.Keys) {
			if f.compromised(key.certificate, key.subkey) || slices.Contains(since, name) {
				continue
			}
			signed, err := f.claimsSince(key, p.HeadAt, expires)
			if err != nil {
				return err
			}
			if signed {
				since = append(since, name)
			}
		}
	}
	if len(since) < now.Document().Admins.Threshold {
		return nil
	}
	return &policy.Refusal{Code: policy.Lapsed, Hint: "propose it again: jit policy edit",
		Message: fmt.Sprintf("the proposal lapsed at %s: the history shows that this time is past, by what %s signed since",
			expires.Format(time.RFC3339), strings.Join(since, " and "))}
}

// allKeys gives the primary keys and the subkeys of some certificates.
func (s *state) allKeys(certificates []record.Fingerprint) (all []signingKey) {
	for _, k := range certificates {
		all = append(all, signingKey{certificate: k})
		if c := s.keyring.Lookup(k); c != nil {
			for _, sub := range c.Subkeys() {
				all = append(all, signingKey{k, sub})
			}
		}
	}
	return all
}

// exportClaims gives the rows of the index, in their order.
func (x index) exportClaims() (all []string, err error) {
	err = x.each(`SELECT key, subkey, position, created FROM claims ORDER BY key, subkey, position`, func(r *sql.Rows) error {
		var key, subkey []byte
		var position int
		var created int64
		err := r.Scan(&key, &subkey, &position, &created)
		all = append(all, fmt.Sprintf("%s at %d: %s", signingKey{fingerprintOf(key), fingerprintOf(subkey)}, position, time.Unix(created, 0).UTC().Format(time.RFC3339)))
		return err
	})
	return all, err
}

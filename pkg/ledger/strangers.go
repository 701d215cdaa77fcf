package ledger

import (
	"database/sql"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// Anybody who may push can lay certificates beside those of the people. Those of
// keys that no policy in force has ever named are strangers': they stand in the
// index and are read when one is asked for, so that no run costs more, in time or
// memory, for how many there are. Nor are their signatures verified: nobody's key counts
// for anything, be they right or not.

// strangerSchema finds the certificates that claim a subkey.
const strangerSchema = `
CREATE TABLE IF NOT EXISTS subkeys (
	subkey BLOB NOT NULL, fingerprint TEXT NOT NULL, PRIMARY KEY (subkey, fingerprint)) WITHOUT ROWID;
`

// maxClaims is how many certificates are tried for the signature of a store's first
// policy. A subkey may stand in as many as somebody likes to write, and honest ones in
// one.
const maxClaims = 4

// namedBy gives the keys that policies name, each once.
func namedBy(policies ...policy.InForce) []record.Fingerprint {
	keys := map[record.Fingerprint]bool{}
	for _, p := range policies {
		for _, person := range p.Document().People {
			for _, k := range person.Keys {
				keys[k] = true
			}
		}
		for _, r := range p.Document().Reconcilers {
			for _, k := range r.Keys {
				keys[k] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

// named reports whether a policy that is, or was, in force names the key.
func (s *state) named(fpr record.Fingerprint) bool {
	return slices.ContainsFunc(s.policies, func(p policy.InForce) bool {
		_, ok := p.OwnerOf(fpr)
		return ok
	})
}

// enforce puts a policy in force, and takes up the certificates of those whom it
// names first.
func (f *fold) enforce(v policy.InForce) error {
	f.policies = append(f.policies, v)
	keys := slices.DeleteFunc(namedBy(v), func(k record.Fingerprint) bool { return f.keyring.Lookup(k) != nil })
	certs, err := f.certificates(keys)
	if err != nil {
		return err
	}
	ring := f.keyring
	for _, c := range certs {
		if ring, err = ring.With(c); err != nil {
			return err
		}
	}
	f.setKeyring(ring)
	return f.loadVoids(f.void, keys)
}

// certificates gives what the index has of some keys.
func (x index) certificates(keys []record.Fingerprint) (certs []*record.Certificate, err error) {
	err = x.eachKey(`SELECT armor FROM certificates`, keys, intoCertificates(&certs))
	return certs, err
}

// intoCertificates reads rows of armoured certificates.
func intoCertificates(all *[]*record.Certificate) func(*sql.Rows) error {
	return func(r *sql.Rows) error {
		var armor []byte
		if err := r.Scan(&armor); err != nil {
			return err
		}
		c, err := record.ParseCertificate(armor)
		*all = append(*all, c)
		return err
	}
}

// loadVoids adds what the index knows of some certificates, or subkeys of theirs, that
// were revoked as compromised.
func (x index) loadVoids(voids map[signingKey]void, certificates []record.Fingerprint) error {
	return x.eachKey(`SELECT fingerprint, subkey, position, at FROM voids`, certificates, func(r *sql.Rows) error {
		var k signingKey
		var v void
		var at int64
		if err := r.Scan(&k.certificate, &k.subkey, &v.Position, &at); err != nil {
			return err
		}
		v.At = time.Unix(at, 0).UTC()
		voids[k] = v
		return nil
	})
}

// eachKey calls scan for the rows of some keys in a table that may have as many others as
// somebody likes to push.
func (x index) eachKey(selected string, keys []record.Fingerprint, scan func(*sql.Rows) error) error {
	list, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	return x.each(selected+` WHERE fingerprint IN (SELECT value FROM json_each(?))`, scan, string(list))
}

// certificate gives what the index knows of a key's certificate; nil for nothing.
func (x index) certificate(fpr record.Fingerprint) (*record.Certificate, error) {
	var armor []byte
	err := x.QueryRow(`SELECT armor FROM certificates WHERE fingerprint = ?`, string(fpr)).Scan(&armor)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return record.ParseCertificate(armor)
}

// saveCertificate keeps a certificate with all that is known of it.
func (x index) saveCertificate(c *record.Certificate, position int) error {
	fpr := c.Fingerprint()
	_, err := x.Exec(`INSERT INTO certificates VALUES (?, ?, ?) ON CONFLICT (fingerprint) DO UPDATE SET armor = excluded.armor`,
		string(fpr), c.Armor(), position)
	for _, sub := range c.Subkeys() {
		if err == nil {
			_, err = x.Exec(`INSERT OR IGNORE INTO subkeys VALUES (?, ?)`, sub.Bytes(), string(fpr))
		}
	}
	return err
}

// stranger judges a record whose key no policy names, and gives the reason for
// which it does not count. Neither it nor its signature is looked into: whatever it
// says, it says nothing here, and anybody may push as many as they like.
func (f *fold) stranger(asc gitstore.Hash, unknown error) error {
	sig, err := f.src.ReadBlob(asc, record.MaxSignatureSize)
	if err != nil {
		return err
	}
	issuer, _, err := record.InspectSignature(sig)
	if err != nil {
		return err
	}
	if known, err := f.publishes(issuer); err != nil || !known {
		return errors.Join(err, unless(err != nil, unknown))
	}
	return refuse(ReasonNotInPolicy, "key %s belongs to nobody in the policy in force", issuer)
}

// publishes reports whether the store has a certificate with a key.
func (x index) publishes(key record.Fingerprint) (known bool, err error) {
	err = x.QueryRow(`SELECT EXISTS (SELECT 1 FROM certificates WHERE fingerprint = ?) OR EXISTS (SELECT 1 FROM subkeys WHERE subkey = ?)`,
		string(key), key.Bytes()).Scan(&known)
	return known, err
}

// claiming gives the certificates of the index that have a key.
func (x index) claiming(key record.Fingerprint) (*record.Keyring, error) {
	var certs []*record.Certificate
	err := x.each(`SELECT armor FROM certificates WHERE fingerprint = ? UNION ALL
		SELECT armor FROM (SELECT fingerprint FROM subkeys WHERE subkey = ? ORDER BY fingerprint LIMIT ?) s
		CROSS JOIN certificates c ON c.fingerprint = s.fingerprint`, intoCertificates(&certs), string(key), key.Bytes(), maxClaims)
	if err != nil {
		return nil, err
	}
	return record.NewKeyring(certs...)
}

// Certificate gives what the store knows of a key's certificate, whoever's it is;
// nil where it has none. It is ErrDamaged where the index cannot be read.
func (l *Ledger) Certificate(fpr record.Fingerprint) (*record.Certificate, error) {
	if c := l.keyring.Lookup(fpr); c != nil {
		return c, nil
	}
	c, err := index{l.db}.certificate(fpr)
	if err != nil {
		return nil, unreadable(err)
	}
	return c, nil
}

// Enrolment is a certificate in the store that belongs to nobody in the policy
// in force.
type Enrolment struct {
	Fingerprint record.Fingerprint
	UserIDs     []string
	Position    int
}

// MaxEnrolments is how many certificates that wait to be admitted are shown: more
// than a person looks through. Any other can be named by its fingerprint.
const MaxEnrolments = 200

// Enrolments gives the certificates that wait to be admitted, newest first: the
// newest MaxEnrolments.
func (l *Ledger) Enrolments() ([]Enrolment, error) {
	var all []Enrolment
	p := l.policies.Latest()
	enough := errors.New("enough")
	err := index{l.db}.each(`SELECT fingerprint, position, armor FROM certificates ORDER BY position DESC, fingerprint`, func(r *sql.Rows) error {
		var e Enrolment
		var armor []byte
		if err := r.Scan(&e.Fingerprint, &e.Position, &armor); err != nil {
			return err
		}
		if p != nil {
			if _, known := p.OwnerOf(e.Fingerprint); known {
				return nil
			}
		}
		c, err := record.ParseCertificate(armor)
		if err != nil {
			return err
		}
		e.UserIDs = c.UserIDs()
		if all = append(all, e); len(all) == MaxEnrolments {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return all, err
}

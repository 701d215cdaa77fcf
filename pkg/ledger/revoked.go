package ledger

import (
	"database/sql"
	"errors"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/revoke"
)

// One commit may bring hundreds of certificates of one key, each with dozens of subkeys,
// and whoever may push can copy one that takes a key away as often as they like. So what a
// key has signed is looked through once a commit, for all that the commit's certificates
// say of it, and only where that takes more than was taken before.

// retiredSchema has the keys that their owners retired, with the earliest time that a
// retirement claims, and the first position beside which one stands.
const retiredSchema = `
CREATE TABLE IF NOT EXISTS retired (
	fingerprint TEXT NOT NULL, subkey TEXT NOT NULL, at INTEGER NOT NULL, beside INTEGER NOT NULL,
	PRIMARY KEY (fingerprint, subkey)) WITHOUT ROWID;
`

// retirement is what the retirements of a key take of what it has signed. The zero value
// takes all.
type retirement struct {
	at     int64 // in seconds of Unix time
	beside int
}

// takes reports whether what claims a time, and stands at a position, is taken.
func (r retirement) takes(created time.Time, position int) bool {
	return created.Unix() > r.at || position >= r.beside
}

// with gives what both take together.
func (r retirement) with(s retirement) retirement {
	return retirement{min(r.at, s.at), min(r.beside, s.beside)}
}

// retirement gives what is known of a key; one that takes nothing where that is nothing.
func (x index) retirement(k signingKey) (r retirement, err error) {
	err = x.QueryRow(`SELECT at, beside FROM retired WHERE fingerprint = ? AND subkey = ?`, string(k.certificate), string(k.subkey)).Scan(&r.at, &r.beside)
	if errors.Is(err, sql.ErrNoRows) {
		return retirement{math.MaxInt64, math.MaxInt}, nil
	}
	return r, err
}

// retireKey notes that a key's owner retired it: see takeRevoked.
func (f *fold) retireKey(k signingKey, at time.Time) {
	if !f.named(k.certificate) {
		return // it has signed nothing that counts
	}
	if f.retiring == nil {
		f.retiring = map[signingKey]time.Time{}
	}
	if have, ok := f.retiring[k]; !ok || at.Before(have) {
		f.retiring[k] = at
	}
}

// voidKey notes that a key was revoked as compromised: see takeRevoked.
func (f *fold) voidKey(k signingKey, at time.Time) error {
	if _, ok := f.void[k]; ok {
		return nil
	}
	named := f.named(k.certificate)
	if !named && k.subkey != "" {
		return nil // it has signed nothing that counts, nor will it, and strangers have many
	}
	if _, err := f.Exec(`INSERT OR IGNORE INTO voids VALUES (?, ?, ?, ?)`, string(k.certificate), string(k.subkey), f.position, at.Unix()); err != nil {
		return err
	}
	if !named {
		return nil // it has signed nothing that counts
	}
	f.void[k] = void{Position: f.position, At: at.UTC()}
	f.voiding = append(f.voiding, k)
	return nil
}

// takeRevoked takes what rests on the keys that certificates have revoked since it was
// called last.
func (f *fold) takeRevoked() error {
	voiding, retiring := f.voiding, f.retiring
	f.voiding, f.retiring = nil, nil
	for _, keys := range byCertificate(voiding) {
		if err := f.voidSigned(keys); err != nil {
			return err
		}
	}
	for _, keys := range byCertificate(slices.Collect(maps.Keys(retiring))) {
		if err := f.loseSigned(keys, retiring); err != nil {
			return err
		}
	}
	return nil
}

// byCertificate sorts keys, and gives those of one certificate together.
func byCertificate(keys []signingKey) (all [][]signingKey) {
	slices.SortFunc(keys, signingKey.compare)
	for len(keys) > 0 {
		n := slices.IndexFunc(keys, func(k signingKey) bool { return k.certificate != keys[0].certificate })
		if n < 0 {
			n = len(keys)
		}
		all, keys = append(all, keys[:n:n]), keys[n:]
	}
	return all
}

// onWhich gives those of some keys of one certificate, sorted, on which rests what it has
// signed with a subkey or none.
func onWhich(keys []signingKey, certificate, subkey record.Fingerprint) (found []signingKey) {
	for _, fpr := range slices.Compact([]record.Fingerprint{"", subkey}) {
		if i, ok := slices.BinarySearchFunc(keys, signingKey{certificate, fpr}, signingKey.compare); ok {
			found = append(found, keys[i])
		}
	}
	return found
}

// voidSigned takes what rests on keys of one certificate that were found to be compromised,
// in every open request that they signed for.
func (f *fold) voidSigned(keys []signingKey) error {
	certificate := keys[0].certificate
	signed, err := f.rows(`WHERE r.key = ? AND r.kind IN (?, ?, ?, ?) ORDER BY r.position, r.ord`, certificate.Bytes(),
		string(record.KindRequest), string(record.KindApproval), string(record.KindPolicy), string(record.KindAcknowledgement))
	if err != nil {
		return err
	}
	for _, r := range signed {
		for _, k := range onWhich(keys, r.Key, r.Subkey) {
			if r.Kind == record.KindPolicy || r.place.Policy {
				if err := f.voidProposal(r.Request, k); err != nil {
					return err
				}
				continue
			}
			kase, err := f.kase(r.Request)
			if err != nil {
				return err
			}
			if err := f.family(kase, func(c *approve.Case) { c.Void = f.withVoid(c.Void, k) }); err != nil {
				return err
			}
		}
	}
	if err := f.dropAgreements(func(u revoke.Lift) bool { return len(onWhich(keys, u.Key, u.Subkey)) > 0 }); err != nil {
		return err
	}
	given, err := f.delegations(`WHERE key = ? ORDER BY id`, certificate.Bytes())
	if err != nil {
		return err
	}
	var of []signingKey // of thousands of subkeys, those that have signed one
	for _, d := range given {
		of = append(of, onWhich(keys, d.Key, d.Subkey)...)
	}
	slices.SortFunc(of, signingKey.compare)
	for _, k := range slices.Compact(of) {
		if err := f.voidDelegations(k, f.void[k].At); err != nil {
			return err
		}
	}
	return nil
}

// loseSigned notes at the requests that keys of one certificate have approved that their
// owner retired them: what they have signed ahead of its time was signed with them in vain.
func (f *fold) loseSigned(keys []signingKey, at map[signingKey]time.Time) error {
	type change struct{ was, is retirement }
	changed := map[signingKey]change{}
	beside := f.position // nothing that is signed with it counts from here on
	if f.alongside > 0 {
		beside = f.alongside
	}
	for _, k := range keys {
		was, err := f.retirement(k)
		if err != nil {
			return err
		}
		is := was.with(retirement{at[k].Unix(), beside})
		if is == was {
			continue
		}
		changed[k] = change{was, is}
		if _, err := f.Exec(`INSERT OR REPLACE INTO retired VALUES (?, ?, ?, ?)`, string(k.certificate), string(k.subkey), is.at, is.beside); err != nil {
			return err
		}
	}
	if len(changed) == 0 {
		return nil
	}
	signed, err := f.rows(`WHERE r.key = ? AND r.kind = ? AND NOT r.policy ORDER BY r.position, r.ord`, keys[0].certificate.Bytes(), string(record.KindApproval))
	if err != nil {
		return err
	}
	type loss struct {
		request record.ID
		key     signingKey
	}
	noted := map[loss]bool{}
	for _, r := range signed {
		for _, k := range onWhich(keys, r.Key, r.Subkey) {
			c, ok := changed[k]
			if !ok || noted[loss{r.Request, k}] || c.was.takes(r.Created, r.Position) || !c.is.takes(r.Created, r.Position) {
				continue
			}
			noted[loss{r.Request, k}] = true
			lost := approve.Lost{Position: f.position, Order: beforeRecords, Beside: f.alongside, At: at[k].UTC()}
			if err := f.lose(r.Request, lost, func(a approve.Placed[approve.Approval]) bool { return k.signed(a.Key, a.Subkey) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// beforeRecords is the order of what a commit's certificates bring.
const beforeRecords = -1

// lose notes that some approvals of a request, of those which it can take, were signed with
// what was lost.
func (f *fold) lose(id record.ID, lost approve.Lost, with func(approve.Placed[approve.Approval]) bool) error {
	c, err := f.kase(id)
	if err != nil {
		return err
	}
	was := len(c.Lost)
	for _, a := range c.Approvals {
		lost.Approval = a.Record.ID
		if with(a) && lost.Takes(a) && !slices.ContainsFunc(c.Lost, lost.Same) {
			c.Lost = append(slices.Clip(c.Lost), lost)
		}
	}
	if len(c.Lost) == was {
		return nil
	}
	return f.keep(c)
}

// voidProposal takes a compromised key's agreement from a proposal that is
// pending. A version in force stays: the admins replace it.
func (f *fold) voidProposal(id record.ID, k signingKey) error {
	if slices.ContainsFunc(f.policies, func(p policy.InForce) bool { return p.ID() == id }) {
		return nil
	}
	p, err := f.proposal(id)
	if err != nil {
		return err
	}
	p.Void = f.withVoid(p.Void, k)
	return f.saveProposal(p, policy.InForce{})
}

package ledger

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/revoke"
)

// signingKey is a key that signs: a certificate's subkey, or with none the certificate
// itself, of which all keys then are meant. A subkey goes by its certificate: who claims
// that of another says nothing of what is signed with the other's.
type signingKey struct{ certificate, subkey record.Fingerprint }

// signed reports whether what a certificate has signed, with a subkey or none, rests on k.
func (k signingKey) signed(certificate, subkey record.Fingerprint) bool {
	return k.certificate == certificate && (k.subkey == "" || k.subkey == subkey)
}

// fingerprint gives that of the very key.
func (k signingKey) fingerprint() record.Fingerprint {
	if k.subkey != "" {
		return k.subkey
	}
	return k.certificate
}

// MarshalText writes it as one word, for what is exported.
func (k signingKey) MarshalText() ([]byte, error) {
	return []byte(strings.TrimSuffix(string(k.certificate)+"/"+string(k.subkey), "/")), nil
}

func (k signingKey) compare(other signingKey) int {
	return cmp.Or(cmp.Compare(k.certificate, other.certificate), cmp.Compare(k.subkey, other.subkey))
}

// String says which it is in words.
func (k signingKey) String() string {
	if k.subkey == "" {
		return "key " + string(k.certificate)
	}
	return "subkey " + string(k.subkey) + " of key " + string(k.certificate)
}

// compromised reports whether a certificate, or the subkey of it where one is given, was
// revoked as compromised.
func (s *state) compromised(certificate, subkey record.Fingerprint) bool {
	_, all := s.void[signingKey{certificate: certificate}]
	_, one := s.void[signingKey{certificate, subkey}]
	return all || one
}

// voids adds what is known of the keys that signed a record to a case's voids.
func (f *fold) voids(have map[record.Fingerprint]void, v record.Verified) map[record.Fingerprint]void {
	have = f.withVoid(have, signingKey{certificate: v.Primary()})
	return f.withVoid(have, signingKey{v.Primary(), v.Subkey()})
}

// withVoid adds what is known of a key to a case's voids.
func (f *fold) withVoid(have map[record.Fingerprint]void, k signingKey) map[record.Fingerprint]void {
	v, ok := f.void[k]
	if !ok {
		return have
	}
	if have == nil {
		have = map[record.Fingerprint]void{}
	}
	have[k.fingerprint()] = v
	return have
}

// certificate merges a certificate's file into what is known of its key, or says why
// it does not count.
func (f *fold) certificate(x certFile) (refused, err error) {
	data, err := f.src.ReadBlob(x.file.Blob, record.MaxCertificateSize)
	var cert *record.Certificate
	if err == nil {
		if !strings.HasPrefix(string(record.Sum(data)), x.sum) {
			err = refuse(ReasonWrongPlace, "its name is not the digest of its bytes")
		} else if cert, err = record.ParseCertificate(data); err == nil && cert.Fingerprint() != x.fpr {
			err = refuse(ReasonWrongPlace, "it is the certificate of %s", cert.Fingerprint())
		}
	}
	var merged *record.Certificate
	if err == nil {
		merged, err = f.merge(cert)
	}
	if reasonOf(err) != "" {
		return err, nil
	}
	if err != nil {
		return nil, err
	}
	if kind, at := merged.Revocation(); kind == record.RevokedHard {
		if err := f.voidKey(signingKey{certificate: x.fpr}, at); err != nil {
			return nil, err
		}
	}
	if kind, at := cert.Revocation(); kind == record.RevokedSoft {
		if err := f.retireKey(signingKey{certificate: x.fpr}, at); err != nil {
			return nil, err
		}
	}
	// By what this file says: of the union there may be no room for all subkeys.
	for _, sub := range cert.RevokedSubkeys() {
		take := f.retireKey
		if sub.Kind == record.RevokedHard {
			take = f.voidKey
		}
		if err := take(signingKey{x.fpr, sub.Subkey}, sub.At); err != nil {
			return nil, err
		}
	}
	return nil, f.hold(x.file.Path, x.file.Blob)
}

// merge adds a certificate to what is known of its key, and gives all that.
func (f *fold) merge(cert *record.Certificate) (*record.Certificate, error) {
	fpr := cert.Fingerprint()
	if f.named(fpr) {
		ring, err := f.keyring.With(cert)
		if err != nil {
			return nil, err
		}
		f.setKeyring(ring)
		cert = ring.Lookup(fpr)
	} else if have, err := f.index.certificate(fpr); err != nil {
		return nil, err
	} else if have != nil {
		if cert, _, err = have.Merge(cert); err != nil {
			return nil, err
		}
	}
	return cert, f.saveCertificate(cert, f.position)
}

// voidKey notes that a key was revoked as compromised, here and in every open
// request that it signed for.
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
	signed, err := f.rows(`WHERE r.key = ? AND r.kind IN (?, ?, ?, ?) ORDER BY r.position, r.ord`, k.certificate.Bytes(),
		string(record.KindRequest), string(record.KindApproval), string(record.KindPolicy), string(record.KindAcknowledgement))
	if err != nil {
		return err
	}
	for _, r := range signed {
		if !k.signed(r.Key, r.Subkey) {
			continue
		}
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
	if err := f.dropAgreements(func(u revoke.Lift) bool { return k.signed(u.Key, u.Subkey) }); err != nil {
		return err
	}
	return f.voidDelegations(k, at)
}

// retireKey notes at the requests that a key has approved that its owner retired it:
// what it has signed ahead of its time was signed with it in vain.
func (f *fold) retireKey(k signingKey, at time.Time) error {
	signed, err := f.rows(`WHERE r.key = ? AND r.kind = ? AND NOT r.policy ORDER BY r.position, r.ord`, k.certificate.Bytes(), string(record.KindApproval))
	if err != nil {
		return err
	}
	for _, r := range signed {
		lost := approve.Lost{Position: f.position, Order: beforeRecords, Beside: f.alongside, At: at.UTC()}
		if err := f.lose(r.Request, lost, func(a approve.Placed[approve.Approval]) bool { return k.signed(a.Key, a.Subkey) }); err != nil {
			return err
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

package ledger

import (
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/revoke"
)

// voids adds what is known of a key to a case's voids.
func (f *fold) voids(have map[record.Fingerprint]void, key record.Fingerprint) map[record.Fingerprint]void {
	v, ok := f.void[key]
	if !ok {
		return have
	}
	if have == nil {
		have = map[record.Fingerprint]void{}
	}
	have[key] = v
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
		if err := f.voidKey(x.fpr, at); err != nil {
			return nil, err
		}
	}
	if kind, at := cert.Revocation(); kind == record.RevokedSoft {
		if err := f.retireKey(x.fpr, at); err != nil {
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
func (f *fold) voidKey(fpr record.Fingerprint, at time.Time) error {
	if _, ok := f.void[fpr]; ok {
		return nil
	}
	if _, err := f.Exec(`INSERT OR IGNORE INTO voids VALUES (?, ?, ?)`, string(fpr), f.position, at.Unix()); err != nil {
		return err
	}
	if !f.named(fpr) {
		return nil // it has signed nothing that counts
	}
	f.void[fpr] = void{Position: f.position, At: at.UTC()}
	signed, err := f.rows(`WHERE r.key = ? AND r.kind IN (?, ?, ?, ?) ORDER BY r.position, r.ord`, fpr.Bytes(),
		string(record.KindRequest), string(record.KindApproval), string(record.KindPolicy), string(record.KindAcknowledgement))
	if err != nil {
		return err
	}
	for _, r := range signed {
		if r.Kind == record.KindPolicy || r.place.Policy {
			if err := f.voidProposal(r.Request, fpr); err != nil {
				return err
			}
			continue
		}
		kase, err := f.kase(r.Request)
		if err != nil {
			return err
		}
		if err := f.family(kase, func(c *approve.Case) { c.Void = f.voids(c.Void, fpr) }); err != nil {
			return err
		}
	}
	if err := f.dropAgreements(func(u revoke.Lift) bool { return u.Key == fpr }); err != nil {
		return err
	}
	return f.voidDelegations(fpr, at)
}

// retireKey notes at the requests that a key has approved that its owner retired it:
// what it has signed ahead of its time was signed with it in vain.
func (f *fold) retireKey(fpr record.Fingerprint, at time.Time) error {
	signed, err := f.rows(`WHERE r.key = ? AND r.kind = ? AND NOT r.policy ORDER BY r.position, r.ord`, fpr.Bytes(), string(record.KindApproval))
	if err != nil {
		return err
	}
	for _, r := range signed {
		lost := approve.Lost{Position: f.position, Order: beforeRecords, Beside: f.alongside, At: at.UTC()}
		if err := f.lose(r.Request, lost, func(a approve.Placed[approve.Approval]) bool { return a.Key == fpr }); err != nil {
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
func (f *fold) voidProposal(id record.ID, fpr record.Fingerprint) error {
	if slices.ContainsFunc(f.policies, func(p policy.InForce) bool { return p.ID() == id }) {
		return nil
	}
	p, err := f.proposal(id)
	if err != nil {
		return err
	}
	p.Void = f.voids(p.Void, fpr)
	return f.saveProposal(p, policy.InForce{})
}

package ledger

import (
	"cmp"
	"strings"

	"github.com/jitaccess/jit/pkg/record"
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
// it does not count. What it takes away is taken by takeRevoked.
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
		f.retireKey(signingKey{certificate: x.fpr}, at)
	}
	// By what this file says: of the union there may be no room for all subkeys.
	for _, sub := range cert.RevokedSubkeys() {
		k := signingKey{x.fpr, sub.Subkey}
		if sub.Kind == record.RevokedSoft {
			f.retireKey(k, sub.At)
		} else if err := f.voidKey(k, sub.At); err != nil {
			return nil, err
		}
	}
	return nil, f.hold(x.file.Path, x.file.Blob)
}

// merge adds a certificate to what is known of its key, and gives all that. Nothing is
// written where that is no more than before: whoever may push can lay copies with noise.
func (f *fold) merge(cert *record.Certificate) (*record.Certificate, error) {
	fpr := cert.Fingerprint()
	if f.named(fpr) {
		ring, err := f.keyring.With(cert)
		if err != nil || ring == f.keyring {
			return ring.Lookup(fpr), err
		}
		f.setKeyring(ring)
		cert = ring.Lookup(fpr)
	} else if have, err := f.index.certificate(fpr); err != nil {
		return nil, err
	} else if have != nil {
		merged, changed, err := have.Merge(cert)
		if err != nil || !changed {
			return merged, err
		}
		cert = merged
	}
	return cert, f.saveCertificate(cert, f.position)
}

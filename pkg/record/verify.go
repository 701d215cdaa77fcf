package record

import (
	"hash"
	"maps"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// MaxSkew is how far a signature's time, and that in an id, may lie from their
// record's created.
const MaxSkew = time.Minute

// Keyring is a set of certificates by the fingerprint of their primary keys.
// It does not change: [Keyring.With] gives another one. The nil Keyring knows
// no key. It may be used by many goroutines at once.
type Keyring struct {
	// recent holds what was added since base was made, so that adding costs
	// no copy of all there is.
	base, recent map[Fingerprint]*Certificate
	// Subkeys by their own fingerprint, with the certificates that claim
	// them, sorted.
	baseSub, recentSub map[Fingerprint][]*Certificate
}

// maxRecent is how many certificates are added before all are copied.
const maxRecent = 128

// NewKeyring makes a keyring. Certificates of the same key are merged.
func NewKeyring(certs ...*Certificate) (*Keyring, error) {
	k := &Keyring{
		base: make(map[Fingerprint]*Certificate, len(certs)), baseSub: make(map[Fingerprint][]*Certificate),
		recent: make(map[Fingerprint]*Certificate), recentSub: make(map[Fingerprint][]*Certificate),
	}
	for _, c := range certs {
		if have := k.base[c.fpr]; have != nil {
			merged, _, err := have.Merge(c)
			if err != nil {
				return nil, err
			}
			c = merged
		}
		k.base[c.fpr] = c
	}
	for _, c := range k.base {
		for _, s := range c.subkeys {
			k.baseSub[s.fpr] = claim(k.baseSub[s.fpr], c)
		}
	}
	return k, nil
}

// With gives a keyring that has cert too, merged with what k has of it. k
// stays as it is.
func (k *Keyring) With(cert *Certificate) (*Keyring, error) {
	if k == nil {
		return NewKeyring(cert)
	}
	if have := k.Lookup(cert.fpr); have != nil {
		merged, changed, err := have.Merge(cert)
		if err != nil {
			return nil, err
		}
		if !changed {
			return k, nil
		}
		cert = merged
	}
	if len(k.recent) >= maxRecent {
		all := maps.Clone(k.base)
		maps.Copy(all, k.recent)
		all[cert.fpr] = cert
		return NewKeyring(slices.Collect(maps.Values(all))...)
	}
	next := &Keyring{base: k.base, baseSub: k.baseSub, recent: maps.Clone(k.recent), recentSub: maps.Clone(k.recentSub)}
	next.recent[cert.fpr] = cert
	for _, s := range cert.subkeys {
		next.recentSub[s.fpr] = claim(k.claims(s.fpr), cert)
	}
	return next, nil
}

// claim gives a new list with c in place of another version of it.
func claim(list []*Certificate, c *Certificate) []*Certificate {
	list = slices.DeleteFunc(slices.Clone(list), func(o *Certificate) bool { return o.fpr == c.fpr })
	list = append(list, c)
	slices.SortFunc(list, func(a, b *Certificate) int {
		if a.fpr < b.fpr {
			return -1
		}
		return 1
	})
	return list
}

func (k *Keyring) claims(sub Fingerprint) []*Certificate {
	if list := k.recentSub[sub]; list != nil {
		return list
	}
	return k.baseSub[sub]
}

// Lookup gives the certificate with the primary key fpr, or nil.
func (k *Keyring) Lookup(fpr Fingerprint) *Certificate {
	if k == nil {
		return nil
	}
	if c := k.recent[fpr]; c != nil {
		return c
	}
	return k.base[fpr]
}

// Find gives the certificates that have the key fpr as their primary key or as
// a subkey, the former first.
func (k *Keyring) Find(fpr Fingerprint) []*Certificate {
	if k == nil {
		return nil
	}
	var found []*Certificate
	if c := k.Lookup(fpr); c != nil {
		found = append(found, c)
	}
	return append(found, k.claims(fpr)...)
}

// All gives the certificates, sorted by fingerprint.
func (k *Keyring) All() []*Certificate {
	if k == nil {
		return nil
	}
	all := maps.Clone(k.base)
	maps.Copy(all, k.recent)
	list := make([]*Certificate, 0, len(all))
	for _, fpr := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[fpr])
	}
	return list
}

// Verify holds the record data and its detached, armoured signature sig to
// every rule that needs no policy: the signature's strict form (see
// [InspectSignature]); a key of this keyring that may sign at the signature's
// time and is not revoked at all; the signature itself; the strict form of the
// record's head (see [DecodeHead]); and a signature time, and a time of the id,
// within [MaxSkew] of created. The document is not parsed before its signature is good. Every
// error is a [Refusal].
func (k *Keyring) Verify(data, sig []byte) (v Verified, err error) {
	defer contain(ReasonBadYAML, &err)
	by, err := k.VerifyBytes(data, sig)
	if err != nil {
		return Verified{}, err
	}
	root, head, err := parseHead(data)
	if err != nil {
		return Verified{}, err
	}
	if d := by.Signed.Sub(head.Created.Time).Abs(); d > MaxSkew {
		return Verified{}, refuse(ReasonSigTime, "the signature was made at %s, the record says %s",
			by.Signed.Format(time.RFC3339), head.Created.Format(time.RFC3339))
	}
	// Whoever signs chooses the id. Records are sought, and shown, by the time in it.
	if d := head.ID.Time().Sub(head.Created.Time).Abs(); d > MaxSkew {
		return Verified{}, refuse(ReasonIDTime, "the id is one of %s, the record says %s",
			head.ID.Time().Format(time.RFC3339), head.Created.Format(time.RFC3339))
	}
	return Verified{
		head: head, root: root, data: slices.Clone(data), digest: Sum(data),
		primary: by.Primary, signing: by.Signing, signed: by.Signed,
	}, nil
}

// Signature says who signed some bytes.
type Signature struct {
	// Primary is the certificate's fingerprint, Signing that of the very key.
	Primary, Signing Fingerprint
	// Signed is the time that the signature claims, in UTC.
	Signed time.Time
}

// VerifyBytes is the part of [Keyring.Verify] that does not look into data: it
// serves for signatures over what is no record. At most [MaxSize] bytes are
// taken.
func (k *Keyring) VerifyBytes(data, sig []byte) (by Signature, err error) {
	defer contain(ReasonSigPackets, &err)
	s, err := parseSignature(sig)
	if err != nil {
		return Signature{}, err
	}
	if len(data) > MaxSize {
		return Signature{}, refuse(ReasonTooLarge, "%d bytes are more than %d", len(data), MaxSize)
	}
	found := k.Find(s.issuer)
	if len(found) == 0 {
		return Signature{}, refuse(ReasonKeyUnknown, "no certificate here has the key %s", s.issuer)
	}
	var first error
	for _, c := range found {
		err := c.verify(s, data)
		if err == nil {
			return Signature{Primary: c.fpr, Signing: s.issuer, Signed: s.created}, nil
		}
		if first == nil {
			first = err
		}
	}
	return Signature{}, first
}

// verify reports why the signature s over data by a key of c does not count.
func (c *Certificate) verify(s *dataSignature, data []byte) error {
	for i := range c.keys {
		k := &c.keys[i]
		if k.fpr != s.issuer {
			continue
		}
		if k.weak != "" {
			return refuse(ReasonKeyWeak, "key %s is too weak: %s", k.fpr, k.weak)
		}
		if !longEnough(s.packet.Hash, k.pub) {
			return refuse(ReasonSigHash, "the signature's hash is shorter than the order of the curve of key %s", k.fpr)
		}
		// go-crypto and gpg pass over the two octets that begin the hash. They are
		// not signed: with others, one signature could be written in many ways.
		for _, check := range []func(hash.Hash, *packet.Signature) error{packet.VerifyHashTag, k.pub.VerifySignature} {
			h, err := s.packet.PrepareVerify()
			if err != nil {
				return refuse(ReasonSigHash, "the signature's hash function cannot be used").because(err)
			}
			h.Write(data)
			if err := check(h, s.packet); err != nil {
				return refuse(ReasonSigMismatch, "the signature is not one by key %s over these bytes", k.fpr).because(err)
			}
		}
		return c.usable(k, s.created)
	}
	return refuse(ReasonKeyUnknown, "certificate %s has no key %s", c.fpr, s.issuer)
}

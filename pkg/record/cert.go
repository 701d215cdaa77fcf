package record

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// RevocationKind says whether and how a key was taken back by its owner.
type RevocationKind int

const (
	// NotRevoked is a key that was not taken back.
	NotRevoked RevocationKind = iota
	// RevokedSoft is a key that its owner retired or replaced (RFC 9580,
	// section 5.2.3.31, codes 1 and 3).
	RevokedSoft
	// RevokedHard is a key that others may hold: one revoked as compromised,
	// without a reason, or with a reason that jit does not know.
	RevokedHard
)

// String gives a word for k.
func (k RevocationKind) String() string {
	switch k {
	case NotRevoked:
		return "not revoked"
	case RevokedSoft:
		return "retired"
	}
	return "compromised"
}

// Certificate is an OpenPGP public key with what its own valid signatures say
// of it: user ids, signing subkeys, expiry, revocations. Everything else that
// may stand in such a file is dropped when it is read. A Certificate does not
// change; its signatures were checked when it was made.
type Certificate struct {
	pub         *packet.PublicKey
	body        []byte
	fpr         Fingerprint
	direct      []selfSig // direct-key signatures
	revocations []selfSig
	users       []userID
	subkeys     []subkey

	// What follows from the above.
	keys  []keyState // the primary key first
	armor []byte
}

type userID struct {
	text               string
	certs, revocations []selfSig
}

type subkey struct {
	pub                   *packet.PublicKey
	body                  []byte
	fpr                   Fingerprint
	bindings, revocations []selfSig
}

// selfSig is a signature of the certificate's own key that was verified.
type selfSig struct {
	// id is the signed part: whatever differs outside of it, it is the same
	// statement.
	id   string
	body []byte
	sig  *packet.Signature
	// strong: by a hash that gpg takes, as is its back-signature, without an end of
	// its own and not made before the key. Another one gives nothing; it may take away.
	strong  bool
	created time.Time
}

// keyState is what a certificate says of one of its keys.
type keyState struct {
	fpr       Fingerprint
	pub       *packet.PublicKey
	expires   time.Time // zero: never
	signs     bool
	bound     bool // by a valid self-signature that is not revoked
	sha1      bool // bound by SHA-1 only
	weak      string
	revoked   RevocationKind
	revokedAt time.Time
}

// Fingerprint gives the fingerprint of the primary key.
func (c *Certificate) Fingerprint() Fingerprint { return c.fpr }

// Created gives the primary key's time of creation, in UTC.
func (c *Certificate) Created() time.Time { return c.pub.CreationTime.UTC() }

// Expires gives the end of the primary key, in UTC, and whether it has one.
func (c *Certificate) Expires() (time.Time, bool) {
	e := c.keys[0].expires
	return e, !e.IsZero()
}

// Revocation says whether the certificate was taken back, and since when by
// its own word. A hard revocation outweighs a soft one.
func (c *Certificate) Revocation() (RevocationKind, time.Time) {
	return c.keys[0].revoked, c.keys[0].revokedAt
}

// UserIDs gives the user ids that are not revoked and can be shown safely (see
// [CheckText]), sorted. They are the owner's claims; nobody has checked them.
func (c *Certificate) UserIDs() []string {
	var ids []string
	for _, u := range c.users {
		if u.current() != nil && CheckText(u.text) == nil && !strings.Contains(u.text, "\n") {
			ids = append(ids, u.text)
		}
	}
	return ids
}

// Algorithm names the primary key's algorithm and size: "Ed25519", "RSA 4096".
func (c *Certificate) Algorithm() string { return algorithmOf(c.pub) }

// Armor gives the certificate in its one canonical form, which
// [ParseCertificate] reads back to the same. The bytes must not be changed.
func (c *Certificate) Armor() []byte { return c.armor }

// SigningKeys gives the fingerprints of the keys that may sign at the time at.
func (c *Certificate) SigningKeys(at time.Time) []Fingerprint {
	var keys []Fingerprint
	for i := range c.keys {
		if c.usable(&c.keys[i], at) == nil {
			keys = append(keys, c.keys[i].fpr)
		}
	}
	return keys
}

// Subkeys gives the fingerprints of the subkeys, usable or not, sorted.
func (c *Certificate) Subkeys() []Fingerprint {
	var keys []Fingerprint
	for _, s := range c.subkeys {
		keys = append(keys, s.fpr)
	}
	return keys
}

// SubkeyRevocation says how, and since when by its word, a subkey was taken back.
type SubkeyRevocation struct {
	Subkey Fingerprint
	Kind   RevocationKind
	At     time.Time
}

// RevokedSubkeys gives the subkeys that were taken back, sorted by fingerprint. A hard
// revocation outweighs a soft one. A certificate may claim any subkey, so it says
// something only of what was signed with the subkey as one of this certificate.
func (c *Certificate) RevokedSubkeys() []SubkeyRevocation {
	var all []SubkeyRevocation
	for _, k := range c.keys[1:] {
		if k.revoked != NotRevoked {
			all = append(all, SubkeyRevocation{k.fpr, k.revoked, k.revokedAt})
		}
	}
	return all
}

// CanSign reports why no key of the certificate may sign at the time at, or
// nil when one may.
func (c *Certificate) CanSign(at time.Time) error {
	return c.canSign(func(k *keyState) error { return c.usable(k, at) })
}

// CanSignFrom is CanSign for the time at or later: a key that is not made by then counts
// as one that will be.
func (c *Certificate) CanSignFrom(at time.Time) error {
	return c.canSign(func(k *keyState) error { return c.usable(k, later(at, c.keys[0].pub.CreationTime, k.pub.CreationTime)) })
}

func later(at time.Time, than ...time.Time) time.Time {
	for _, t := range than {
		if t.After(at) {
			at = t
		}
	}
	return at
}

func (c *Certificate) canSign(usable func(*keyState) error) error {
	var first error
	for i := range c.keys {
		err := usable(&c.keys[i])
		if err == nil {
			return nil
		}
		// That one key is for another purpose says less than why the one for
		// signing is of no use.
		if first == nil || ReasonOf(first) == ReasonKeyNotSigning {
			first = err
		}
	}
	return first
}

// usable reports why the certificate's key k may not sign at the time at.
func (c *Certificate) usable(k *keyState, at time.Time) error {
	primary := &c.keys[0]
	owners := []*keyState{primary, k}
	if k == primary {
		owners = owners[:1]
	}
	for _, o := range owners {
		if o.revoked == RevokedHard {
			return refuse(ReasonKeyCompromised, "key %s was revoked as compromised", o.fpr)
		}
	}
	for _, o := range owners {
		switch {
		case o.revoked == RevokedSoft:
			return refuse(ReasonKeyRevoked, "key %s was revoked by its owner", o.fpr)
		case o.weak != "":
			return refuse(ReasonKeyWeak, "key %s is too weak: %s", o.fpr, o.weak)
		case o.sha1:
			return refuse(ReasonKeySHA1, "key %s is bound only by self-signatures that give nothing: with SHA-1 or another weak hash function, with an end of their own, or older than the key", o.fpr)
		case !o.bound:
			return refuse(ReasonKeyRevoked, "key %s has no user id that is not revoked", o.fpr)
		case at.Before(o.pub.CreationTime):
			return refuse(ReasonKeyNotYet, "key %s was created after %s", o.fpr, at.UTC().Format(time.RFC3339))
		}
	}
	if !k.signs {
		return refuse(ReasonKeyNotSigning, "key %s is not for signing", k.fpr)
	}
	for _, o := range owners {
		if !o.expires.IsZero() && !at.Before(o.expires) {
			return refuse(ReasonKeyExpired, "key %s expired on %s", o.fpr, o.expires.Format(time.RFC3339))
		}
	}
	return nil
}

// Merge gives what c and other, two versions of the same key's certificate,
// say together, and whether that is more than c says. The result does not
// depend on the order in which versions are merged. A revocation never goes
// away.
func (c *Certificate) Merge(other *Certificate) (merged *Certificate, changed bool, err error) {
	if other.fpr != c.fpr {
		return nil, false, refuse(ReasonCertOther, "certificate %s cannot be merged with %s", c.fpr, other.fpr)
	}
	m := &Certificate{pub: c.pub, body: c.body, fpr: c.fpr}
	m.direct = slices.Concat(c.direct, other.direct)
	m.revocations = slices.Concat(c.revocations, other.revocations)
	m.users = slices.Concat(c.users, other.users)
	m.subkeys = slices.Concat(c.subkeys, other.subkeys)
	m.settle()
	if bytes.Equal(m.armor, c.armor) {
		return c, false, nil
	}
	return m, true, nil
}

// How much of a certificate is kept: the newest self-signatures, the earliest
// revocations. What is kept of a union is the same whatever the order, and a
// thief of the key cannot crowd out its owner's revocation.
const (
	keepSigs    = 4
	keepUsers   = 32
	keepSubkeys = 64
)

// settle joins what is there twice, drops what has no effect, puts the rest in
// order, and computes what follows from it.
func (c *Certificate) settle() {
	c.direct = newest(c.direct)
	c.revocations = earliestRevocations(c.revocations)

	users := make(map[string]*userID)
	for _, u := range c.users {
		if have := users[u.text]; have != nil {
			have.certs = slices.Concat(have.certs, u.certs)
			have.revocations = slices.Concat(have.revocations, u.revocations)
		} else {
			users[u.text] = &userID{u.text, u.certs, u.revocations}
		}
	}
	c.users = nil
	for _, u := range users {
		u.certs, u.revocations = newest(u.certs), newest(u.revocations)
		c.users = append(c.users, *u)
	}
	slices.SortFunc(c.users, func(a, b userID) int { return strings.Compare(a.text, b.text) })
	c.users = c.users[:min(len(c.users), keepUsers)]

	subkeys := make(map[Fingerprint]*subkey)
	for _, s := range c.subkeys {
		if have := subkeys[s.fpr]; have != nil {
			have.bindings = slices.Concat(have.bindings, s.bindings)
			have.revocations = slices.Concat(have.revocations, s.revocations)
		} else {
			subkeys[s.fpr] = &s
		}
	}
	c.subkeys = nil
	for _, s := range subkeys {
		s.bindings, s.revocations = newest(s.bindings), earliestRevocations(s.revocations)
		c.subkeys = append(c.subkeys, *s)
	}
	slices.SortFunc(c.subkeys, func(a, b subkey) int { return cmp.Compare(a.fpr, b.fpr) })
	c.subkeys = c.subkeys[:min(len(c.subkeys), keepSubkeys)]

	c.keys = []keyState{c.primaryState()}
	for i := range c.subkeys {
		c.keys = append(c.keys, c.subkeys[i].state())
	}
	c.armor = c.write()
}

// unique sorts signatures by order and leaves one of each statement.
func unique(sigs []selfSig, order func(a, b selfSig) int) []selfSig {
	sigs = slices.Clone(sigs)
	slices.SortFunc(sigs, func(a, b selfSig) int {
		return cmp.Or(order(a, b), strings.Compare(a.id, b.id), bytes.Compare(a.body, b.body))
	})
	return slices.CompactFunc(sigs, func(a, b selfSig) bool { return a.id == b.id })
}

// newest keeps the newest self-signatures, and one by SHA-1 so that it can be
// said what is wrong with the key. Of two of the same second the one that
// gives the key less time comes first.
func newest(sigs []selfSig) []selfSig {
	sigs = unique(sigs, func(a, b selfSig) int {
		return cmp.Or(b.created.Compare(a.created), cmp.Compare(lifetime(a.sig), lifetime(b.sig)))
	})
	var kept []selfSig
	strong, weak := 0, 0
	for _, s := range sigs {
		if s.strong && strong < keepSigs {
			strong++
			kept = append(kept, s)
		} else if !s.strong && weak < 1 {
			weak++
			kept = append(kept, s)
		}
	}
	return kept
}

// earliestRevocations keeps the earliest revocation of each kind.
func earliestRevocations(sigs []selfSig) []selfSig {
	sigs = unique(sigs, func(a, b selfSig) int { return a.created.Compare(b.created) })
	var kept []selfSig
	seen := make(map[RevocationKind]bool)
	for _, s := range sigs {
		if k := revocationKind(s.sig); !seen[k] {
			seen[k] = true
			kept = append(kept, s)
		}
	}
	return kept
}

// endless is the lifetime of a key without end, in seconds: longer than all others.
const endless = 1 << 32

// lifetime gives the seconds that a self-signature gives the key.
func lifetime(s *packet.Signature) uint64 {
	if s.KeyLifetimeSecs == nil || *s.KeyLifetimeSecs == 0 {
		return endless
	}
	return uint64(*s.KeyLifetimeSecs)
}

func revocationKind(s *packet.Signature) RevocationKind {
	if r := s.RevocationReason; r != nil && (*r == packet.KeySuperseded || *r == packet.KeyRetired) {
		return RevokedSoft
	}
	return RevokedHard
}

// current gives the newest strong self-signature of the user id, or nil when
// there is none or a revocation is as new.
func (u *userID) current() *selfSig {
	for i := range u.certs {
		s := &u.certs[i]
		if !s.strong {
			continue
		}
		for _, r := range u.revocations {
			if !r.created.Before(s.created) {
				return nil
			}
		}
		return s
	}
	return nil
}

// primaryState gathers what the certificate says of its primary key: by the newest
// signatures over the key itself, and by the newest over its user ids. gpg lets the
// former go first, others the latter; here each only takes away from the other.
func (c *Certificate) primaryState() keyState {
	k := keyState{fpr: c.fpr, pub: c.pub, weak: weakness(c.pub)}
	var strong, all []*selfSig
	some := false
	for i := range c.users {
		u := &c.users[i]
		some = some || slices.ContainsFunc(u.certs, func(s selfSig) bool { return s.strong })
		if u.current() == nil {
			continue
		}
		k.bound = true
		strong = append(strong, latest(u.certs, true)...)
		all = append(all, latest(u.certs, false)...)
	}
	k.sha1 = !some && slices.ContainsFunc(c.users, func(u userID) bool { return len(u.certs) > 0 })
	k.hear(
		words{strong, all},
		words{latest(c.direct, true), latest(c.direct, false)},
	)
	k.revoke(c.revocations)
	return k
}

func (s *subkey) state() keyState {
	k := keyState{fpr: s.fpr, pub: s.pub, weak: weakness(s.pub)}
	strong := latest(s.bindings, true)
	k.bound, k.sha1 = len(strong) > 0, len(strong) == 0
	k.hear(words{strong, latest(s.bindings, false)})
	k.revoke(s.revocations)
	return k
}

// latest gives the newest self-signatures, several where they are of one second; of
// strong ones only, where that is asked.
func latest(sigs []selfSig, strong bool) []*selfSig {
	var found []*selfSig
	for i := range sigs { // the newest come first
		s := &sigs[i]
		if strong && !s.strong {
			continue
		}
		if len(found) > 0 && !found[0].created.Equal(s.created) {
			break
		}
		found = append(found, s)
	}
	return found
}

// words are what self-signatures of one sort say of a key: the strong ones give, and
// all of them, a weak one too, take away.
type words struct{ strong, all []*selfSig }

// hear takes in what is said of the key. It is for signing where somebody says so and
// nobody who speaks as late as he denies it; its end is the earliest.
func (k *keyState) hear(sorts ...words) {
	said, denied := false, false
	for _, w := range sorts {
		for i, list := range [][]*selfSig{w.strong, w.all} {
			var flags, end time.Time // when the newest was made that says this
			for _, s := range list {
				if s.sig.FlagsValid && s.created.After(flags) {
					flags = s.created
				}
				if lifetime(s.sig) < endless && s.created.After(end) {
					end = s.created
				}
			}
			for _, s := range list {
				if s.sig.FlagsValid && s.created.Equal(flags) {
					said, denied = said || i == 0 && s.sig.FlagSign, denied || !s.sig.FlagSign
				}
				if lifetime(s.sig) < endless && s.created.Equal(end) {
					if e := expiry(k.pub, s.sig); k.expires.IsZero() || e.Before(k.expires) {
						k.expires = e
					}
				}
			}
		}
	}
	k.signs = said && !denied
}

func (k *keyState) revoke(revocations []selfSig) {
	for _, r := range revocations {
		if kind := revocationKind(r.sig); kind > k.revoked {
			k.revoked, k.revokedAt = kind, r.created
		}
	}
}

func expiry(pub *packet.PublicKey, s *packet.Signature) time.Time {
	return pub.CreationTime.Add(time.Duration(*s.KeyLifetimeSecs) * time.Second).UTC()
}

// minRSA and maxRSA bound the size of RSA keys in bits: below, they are weak;
// above, they cost more than they give.
const (
	minRSA = 2048
	maxRSA = 8192
)

// weakness says why signatures by pub are not trusted, or "".
func weakness(pub *packet.PublicKey) string {
	if bits, err := pub.BitLength(); pub.PubKeyAlgo == packet.PubKeyAlgoRSA && (err != nil || bits < minRSA) {
		return fmt.Sprintf("RSA with %d bits, fewer than %d", bits, minRSA)
	}
	return ""
}

// verifiable reports whether signatures by pub are verified at all: those of an
// algorithm that one may sign with. Others cost a hundred times as much (Brainpool's
// curves, whose arithmetic here is the general one), or whatever the key's maker likes
// (DSA, whose numbers have no bound), and anybody may push a certificate.
func verifiable(pub *packet.PublicKey) bool {
	curve, _ := pub.Curve()
	switch pub.PubKeyAlgo {
	case packet.PubKeyAlgoRSA:
		return true
	case packet.PubKeyAlgoEdDSA:
		return curve == packet.Curve25519
	case packet.PubKeyAlgoECDSA:
		return curve == packet.CurveNistP256 || curve == packet.CurveNistP384 || curve == packet.CurveNistP521
	}
	return false
}

func algorithmOf(pub *packet.PublicKey) string {
	switch pub.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly, packet.PubKeyAlgoRSAEncryptOnly:
		bits, _ := pub.BitLength()
		return fmt.Sprintf("RSA %d", bits)
	case packet.PubKeyAlgoDSA:
		bits, _ := pub.BitLength()
		return fmt.Sprintf("DSA %d", bits)
	case packet.PubKeyAlgoEd25519:
		return "Ed25519"
	case packet.PubKeyAlgoEd448:
		return "Ed448"
	case packet.PubKeyAlgoECDSA, packet.PubKeyAlgoEdDSA:
		switch curve, _ := pub.Curve(); curve {
		case packet.Curve25519:
			return "Ed25519"
		case packet.Curve448:
			return "Ed448"
		default:
			return fmt.Sprintf("ECDSA %s", curve)
		}
	}
	return fmt.Sprintf("algorithm %d", pub.PubKeyAlgo)
}

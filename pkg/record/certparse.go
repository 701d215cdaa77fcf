package record

import (
	"bytes"
	"crypto"
	"crypto/sha1" //nolint:gosec // the fingerprint of version 4 is defined by it
	"encoding/binary"
	"errors"
	"slices"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Bounds of what reading one certificate may cost.
const (
	maxPackets    = 8192
	maxSelfChecks = 256 // signatures verified
	maxUserID     = 2048
)

// ParseCertificate reads one armoured OpenPGP certificate of at most
// [MaxCertificateSize] bytes. Only what the key's own valid signatures carry
// is kept; signatures by others, photographs, encryption subkeys and unknown
// packets are dropped. Secret keys are refused. A certificate that is weak,
// expired or revoked is read all the same: [Certificate.CanSign] says so.
func ParseCertificate(armoured []byte) (c *Certificate, err error) {
	defer contain(ReasonCertPackets, &err)
	if len(armoured) > MaxCertificateSize {
		return nil, refuse(ReasonCertTooLarge, "the certificate has %d bytes, more than %d", len(armoured), MaxCertificateSize)
	}
	raw, err := dearmor(armoured, armorPublicKey)
	if err != nil {
		return nil, refuse(ReasonCertArmor, "the certificate is not one plain armour block").because(err)
	}
	return parseCertificate(raw)
}

func parseCertificate(raw []byte) (*Certificate, error) {
	p, rest, err := nextPacket(raw)
	switch {
	case err != nil:
		return nil, refuse(ReasonCertPackets, "the certificate does not parse").because(err)
	case p.tag == tagSecretKey:
		return nil, refuse(ReasonCertPackets, "this is a secret key, not a certificate")
	case p.tag != tagPublicKey:
		return nil, refuse(ReasonCertPackets, "the certificate does not begin with a key")
	}
	pub, fpr, err := readKey(p)
	if err != nil {
		return nil, err
	}
	if !verifiable(pub) {
		return nil, refuse(ReasonKeyWeak, "the key %s is of an algorithm that is not accepted: %s", fpr, algorithmOf(pub))
	}
	r := certReader{c: &Certificate{pub: pub, body: bytes.Clone(p.body), fpr: fpr}}
	r.take = r.ofKey
	for n := 1; len(rest) > 0; n++ {
		if n >= maxPackets {
			return nil, refuse(ReasonCertLimits, "the certificate has more than %d packets", maxPackets)
		}
		if p, rest, err = nextPacket(rest); err != nil {
			return nil, refuse(ReasonCertPackets, "the certificate does not parse").because(err)
		}
		if err := r.next(p); err != nil {
			return nil, err
		}
	}
	r.keep()
	c := r.c
	signed := len(c.direct) + len(c.revocations)
	for _, u := range c.users {
		signed += len(u.certs)
	}
	if signed == 0 {
		return nil, refuse(ReasonCertSelfSig, "nothing in the certificate is validly signed by its own key %s", fpr)
	}
	c.settle()
	return c, nil
}

// readKey parses a public key or subkey packet and computes its fingerprint
// from the packet's own bytes.
func readKey(p rawPacket) (*packet.PublicKey, Fingerprint, error) {
	if len(p.body) == 0 || p.body[0] != 4 {
		return nil, "", refuse(ReasonCertVersion, "the key is of another version than 4, which gpg reads")
	}
	parsed, err := p.parse()
	if err != nil {
		return nil, "", refuse(ReasonCertPackets, "the key does not parse").because(err)
	}
	pub, ok := parsed.(*packet.PublicKey)
	if !ok {
		return nil, "", refuse(ReasonCertPackets, "the key does not parse")
	}
	// RFC 9580, section 5.5.4.
	h := sha1.New() //nolint:gosec // as above
	h.Write([]byte{0x99, byte(len(p.body) >> 8), byte(len(p.body))})
	h.Write(p.body)
	sum := h.Sum(nil)
	if !bytes.Equal(sum, pub.Fingerprint) {
		return nil, "", refuse(ReasonCertPackets, "the key is not written in its canonical form")
	}
	if bits, err := pub.BitLength(); err != nil || pub.PubKeyAlgo == packet.PubKeyAlgoRSA && bits > maxRSA {
		return nil, "", refuse(ReasonCertLimits, "the key is larger than %d bits", maxRSA)
	}
	return pub, fingerprintOf(sum), nil
}

// certReader takes the packets of a certificate one by one.
type certReader struct {
	c      *Certificate
	checks int
	user   *userID
	subkey *subkey
	// seen are the signatures over the component last read, each of which is
	// verified once.
	seen map[string]bool
	// take judges a signature over the component last read; nil drops it.
	take func(kind byte, s selfSig)
}

// next reads one packet. Packets that say nothing to jit are dropped.
func (r *certReader) next(p rawPacket) error {
	switch p.tag {
	case tagSignature:
		return r.signature(p)
	case tagTrust:
		return nil
	case tagPublicKey:
		return refuse(ReasonCertPackets, "there is more than one certificate")
	case tagSecretKey, tagSecretSubkey:
		return refuse(ReasonCertPackets, "there is a secret key in the certificate")
	}
	r.keep()
	switch p.tag {
	case tagUserID:
		if len(p.body) <= maxUserID {
			r.user = &userID{text: string(p.body)}
			r.take = r.ofUser
		}
	case tagPublicSubkey:
		pub, fpr, err := readKey(p)
		if err == nil && verifiable(pub) && pub.Version == r.c.pub.Version {
			r.subkey = &subkey{pub: pub, body: bytes.Clone(p.body), fpr: fpr}
			r.take = r.ofSubkey
		}
	}
	return nil
}

// keep ends the component last read: it stays when the key has spoken of it.
func (r *certReader) keep() {
	if u := r.user; u != nil && len(u.certs) > 0 {
		r.c.users = append(r.c.users, *u)
	}
	if s := r.subkey; s != nil && len(s.bindings)+len(s.revocations) > 0 {
		r.c.subkeys = append(r.c.subkeys, *s)
	}
	r.user, r.subkey, r.take, r.seen = nil, nil, nil, nil
}

func (r *certReader) ofKey(kind byte, s selfSig) {
	switch kind {
	case sigDirectKey:
		if s.sig.PubKeyAlgo == r.c.pub.PubKeyAlgo && r.c.pub.VerifyDirectKeySignature(s.sig) == nil {
			r.c.direct = append(r.c.direct, s)
		}
	case sigKeyRevoked:
		if r.c.pub.VerifyRevocationSignature(s.sig) == nil {
			r.c.revocations = append(r.c.revocations, s)
		}
	}
}

func (r *certReader) ofUser(kind byte, s selfSig) {
	if r.c.pub.VerifyUserIdSignature(r.user.text, r.c.pub, s.sig) != nil {
		return
	}
	switch {
	case kind >= sigCertGeneric && kind <= sigCertPositive:
		r.user.certs = append(r.user.certs, s)
	case kind == sigCertRevocation:
		r.user.revocations = append(r.user.revocations, s)
	}
}

func (r *certReader) ofSubkey(kind byte, s selfSig) {
	switch kind {
	case sigSubkeyBinding:
		// For a signing subkey this checks the back-signature too.
		if r.c.pub.VerifyKeySignature(r.subkey.pub, s.sig) == nil {
			r.subkey.bindings = append(r.subkey.bindings, s)
		}
	case sigSubkeyRevoked:
		if r.c.pub.VerifySubkeyRevocationSignature(s.sig, r.subkey.pub) == nil {
			r.subkey.revocations = append(r.subkey.revocations, s)
		}
	}
}

// signature takes a signature by the certificate's own key over the component
// last read, once it verifies.
func (r *certReader) signature(p rawPacket) error {
	if r.take == nil || len(p.body) == 0 || p.body[0] != byte(r.c.pub.Version) {
		return nil
	}
	raw, err := splitSignature(p.body)
	if err != nil || raw.algorithm != byte(r.c.pub.PubKeyAlgo) || !r.own(raw) {
		return nil //nolint:nilerr // what is not the key's own is noise, not a fault
	}
	switch {
	case raw.kind >= sigCertGeneric && raw.kind <= sigCertPositive, raw.kind == sigCertRevocation,
		raw.kind == sigSubkeyBinding, raw.kind == sigSubkeyRevoked, raw.kind == sigDirectKey, raw.kind == sigKeyRevoked:
	default:
		return nil
	}
	body := canonicalSignature(raw, r.c.fpr)
	if r.seen[string(body)] {
		return nil
	}
	if r.seen == nil {
		r.seen = map[string]bool{}
	}
	r.seen[string(body)] = true
	if r.checks++; r.checks > maxSelfChecks {
		return refuse(ReasonCertLimits, "more than %d signatures claim to be by the certificate's own key", maxSelfChecks)
	}
	parsed, err := rawPacket{tagSignature, body}.parse()
	if err != nil {
		return nil //nolint:nilerr // what cannot be parsed is noise, not a fault
	}
	sig, ok := parsed.(*packet.Signature)
	if !ok || hasCriticalNotation(sig) {
		return nil
	}
	s := selfSig{id: string(raw.head), body: body, sig: sig, created: sig.CreationTime.UTC(), strong: strong(sig, r.c.pub)}
	if e := sig.EmbeddedSignature; e != nil {
		if e.EmbeddedSignature != nil {
			return nil
		}
		s.strong = s.strong && (r.subkey == nil || strong(e, r.subkey.pub))
	}
	if r.subkey != nil {
		s.strong = s.strong && !s.created.Before(r.subkey.pub.CreationTime)
	}
	r.take(raw.kind, s)
	return nil
}

// own reports whether a signature names the certificate's primary key as its
// maker, so that the rest need not be verified.
func (r *certReader) own(raw rawSignature) bool {
	fpr := r.c.pub.Fingerprint
	named := false
	for _, sub := range slices.Concat(raw.hashed, raw.unhashed) {
		switch sub.kind {
		case subFingerprint:
			if len(sub.body) != 1+len(fpr) || !bytes.Equal(sub.body[1:], fpr) {
				return false
			}
			named = true
		case subIssuer:
			if !bytes.Equal(sub.body, fpr[12:]) {
				return false
			}
			named = true
		}
	}
	return named
}

// canonicalSignature writes a signature again with an unsigned part that holds
// no more than it needs: whoever carries a signature could change that part.
func canonicalSignature(raw rawSignature, fpr Fingerprint) []byte {
	var area []byte
	if !slices.ContainsFunc(raw.hashed, func(s subpacket) bool { return s.kind == subIssuer }) {
		area = append([]byte{9, subIssuer}, fpr.Bytes()[12:]...)
	}
	for _, s := range raw.unhashed {
		if s.kind == subEmbedded {
			area = append(area, 255)
			area = binary.BigEndian.AppendUint32(area, uint32(1+len(s.body)))
			area = append(append(area, subEmbedded), s.body...)
			break
		}
	}
	body := binary.BigEndian.AppendUint16(bytes.Clone(raw.head), uint16(len(area)))
	return append(append(body, area...), raw.tail...)
}

func hasCriticalNotation(s *packet.Signature) bool {
	return slices.ContainsFunc(s.Notations, func(n *packet.Notation) bool { return n.IsCritical })
}

// strong reports whether a signature by the key pub may give something.
func strong(s *packet.Signature, pub *packet.PublicKey) bool {
	switch s.Hash {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512:
	default:
		return false
	}
	return longEnough(s.Hash, pub) && s.SigLifetimeSecs == nil && !s.CreationTime.Before(pub.CreationTime)
}

// longEnough reports whether gpg takes a signature with this hash by pub: over an
// elliptic curve it may not be shorter than the curve's order, but for P-521, which
// is longer than every hash.
func longEnough(h crypto.Hash, pub *packet.PublicKey) bool {
	if pub.PubKeyAlgo != packet.PubKeyAlgoECDSA {
		return true
	}
	order := 256
	switch curve, _ := pub.Curve(); curve {
	case packet.CurveNistP384:
		order = 384
	case packet.CurveNistP521:
		order = 512
	}
	return 8*h.Size() >= order
}

// write gives the canonical armour.
func (c *Certificate) write() []byte {
	var b bytes.Buffer
	put := func(tag int, body []byte, sigs ...[]selfSig) {
		rawPacket{tag, body}.write(&b)
		for _, list := range sigs {
			for _, s := range list {
				rawPacket{tagSignature, s.body}.write(&b)
			}
		}
	}
	put(tagPublicKey, c.body, c.revocations, c.direct)
	for _, u := range c.users {
		put(tagUserID, []byte(u.text), u.revocations, u.certs)
	}
	for _, s := range c.subkeys {
		put(tagPublicSubkey, s.body, s.revocations, s.bindings)
	}
	return enarmor(b.Bytes(), armorPublicKey)
}

// withRevocation gives c with a revocation signature, in a packet of its own,
// merged in.
func (c *Certificate) withRevocation(sig rawPacket) (*Certificate, error) {
	var b bytes.Buffer
	rawPacket{tagPublicKey, c.body}.write(&b)
	sig.write(&b)
	bare, err := parseCertificate(b.Bytes())
	if err != nil {
		return nil, err
	}
	if len(bare.revocations) == 0 {
		return nil, errors.New("the signature is no revocation of this key")
	}
	merged, _, err := c.Merge(bare)
	return merged, err
}

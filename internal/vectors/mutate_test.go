package vectors

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
)

// attempt is one record, signature and certificate of the differential test, and what
// was done to them.
type attempt struct {
	class               string
	data, sig, certFile []byte
}

// signer is a key that signs, in its certificate.
type signer struct {
	name string
	key  *key  // signs
	main *key  // the primary key
	cert *cert // as it should be
}

// signers are the keys of the test: every kind that jit takes, by itself and as a
// subkey of another kind, and some that it does not.
func signers() []signer {
	at := seconds(keyTime)
	var all []signer
	for _, kind := range []string{"ed25519", "p256", "rsa2048", "p384", "rsa3072", "p521", "rsa4096", "rsa1024", "ed25519-27", "ed25519-v6"} {
		k := newKey("alice", kind, at)
		all = append(all, signer{kind, k, k, person(k)})
	}
	for i, kind := range []string{"ed25519", "p256", "rsa2048", "p384", "p521"} {
		main, sub := all[(i+1)%4].key, newKey("signing", kind, at)
		all = append(all, signer{all[(i+1)%4].name + " with subkey " + kind, sub, main, person(main).subkey(sub, flagSign)})
	}
	return all
}

// attempts gives n attempts that follow from a seed. Every class is made again and
// again, by other keys and at other places.
func attempts(seed uint64, n int) []attempt {
	m := &mutator{rnd: rand.New(rand.NewPCG(seed, 0)), signers: signers(), other: newKey("mallory", "ed25519", seconds(keyTime))}
	classes := append(m.packetClasses(), m.certClasses()...)
	classes = append(classes, m.shapeClasses()...)
	var all []attempt
	for i := 0; len(all) < n; i++ {
		c := classes[i%len(classes)]
		s := m.pick()
		a := attempt{class: c.name, data: plainRecord(), certFile: s.cert.armour()}
		a.sig = signature(s.key, a.data)
		c.make(s, &a)
		all = append(all, a)
	}
	return all
}

type mutator struct {
	rnd     *rand.Rand
	signers []signer
	other   *key
}

// pick gives a signer; the costly ones less often.
func (m *mutator) pick() signer {
	if m.rnd.IntN(3) > 0 {
		return m.signers[[]int{0, 1, 10, 11}[m.rnd.IntN(4)]]
	}
	return m.signers[m.rnd.IntN(len(m.signers))]
}

type class struct {
	name string
	make func(s signer, a *attempt)
}

// flip changes one bit of b from the octet from on, in a copy.
func (m *mutator) flip(b []byte, from int) []byte {
	b = bytes.Clone(b)
	if from < len(b) {
		b[from+m.rnd.IntN(len(b)-from)] ^= 1 << m.rnd.IntN(8)
	}
	return b
}

// packetClasses change the signature's packets and armour.
func (m *mutator) packetClasses() []class {
	raw := func(name string, f func(s signer, body []byte) []byte) class {
		return class{name, func(s signer, a *attempt) { a.sig = armour(blockSignature, f(s, signatureBody(s.key, a.data))) }}
	}
	text := func(name string, f func(text string) string) class {
		return class{name, func(_ signer, a *attempt) { a.sig = []byte(f(string(a.sig))) }}
	}
	sig := func(b []byte) []byte { return packet(tagSignature, b) }
	list := []class{
		{"as it should be", func(signer, *attempt) {}},
		raw("a bit of the packet", func(_ signer, b []byte) []byte { return m.flip(sig(b), 0) }),
		raw("a bit of the signed part", func(_ signer, b []byte) []byte { return sig(append(m.flip(b[:40], 0), b[40:]...)) }),
		raw("a bit of the numbers", func(_ signer, b []byte) []byte { return sig(m.flip(b, len(b)-64)) }),
		raw("a bit of the hash's beginning", func(s signer, b []byte) []byte {
			return sig(m.flip(signatureBody(s.key, plainRecord(), func(s *shape) { s.tagFlip = 1 << m.rnd.IntN(8) }), len(b)))
		}),
		raw("old header", func(_ signer, b []byte) []byte { return oldPacket(tagSignature, b, []int{1, 2, 4}[m.sized(b)]) }),
		raw("indefinite length", func(_ signer, b []byte) []byte { return oldPacket(tagSignature, b, 0) }),
		raw("partial length", func(_ signer, b []byte) []byte { return partialPacket(tagSignature, b) }),
		raw("long length", func(_ signer, b []byte) []byte { return longPacket(tagSignature, b) }),
		raw("two signatures", func(s signer, b []byte) []byte {
			return append(sig(b), sig(signatureBody(s.key, plainRecord(), m.after()))...)
		}),
		raw("another's signature beside it", func(_ signer, b []byte) []byte {
			o := sig(signatureBody(m.other, plainRecord()))
			if m.rnd.IntN(2) == 0 {
				return append(o, sig(b)...)
			}
			return append(sig(b), o...)
		}),
		raw("octets after the last field", func(s signer, _ []byte) []byte {
			return sig(signatureBody(s.key, plainRecord(), func(s *shape) { s.after = bytesOf("after", 1+m.rnd.IntN(8)) }))
		}),
		raw("octets after the packet", func(_ signer, b []byte) []byte {
			return append(sig(b), bytesOf(fmt.Sprint("junk", m.rnd.IntN(99)), 1+m.rnd.IntN(8))...)
		}),
		raw("a marker packet", func(_ signer, b []byte) []byte { return m.beside(packet(10, []byte("PGP")), sig(b)) }),
		raw("another packet", func(_ signer, b []byte) []byte {
			return m.beside(packet([]int{1, 4, 11, 12, 13, 17, 20, 21, 40, 60}[m.rnd.IntN(10)], []byte("Mallory")), sig(b))
		}),
		raw("the key beside it", func(s signer, b []byte) []byte { return m.beside(packet(tagPublicKey, s.main.body), sig(b)) }),
		raw("compressed", func(_ signer, b []byte) []byte { return packet(8, append([]byte{0}, sig(b)...)) }),
		raw("cut short", func(_ signer, b []byte) []byte { return sig(b)[:len(b)-m.rnd.IntN(len(b)/2)] }),
		raw("padded numbers", func(_ signer, b []byte) []byte { return sig(padNumber(b)) }),
	}
	list = append(list,
		text("a header in the armour", func(t string) string { return strings.Replace(t, "\n\n", "\nComment: approved\n\n", 1) }),
		text("text around the armour", func(t string) string {
			return []string{"hello\n" + t, t + "hello\n", t + "\n", "\n" + t, " " + t}[m.rnd.IntN(5)]
		}),
		text("line ends of two characters", func(t string) string { return strings.ReplaceAll(t, "\n", "\r\n") }),
		text("two blocks", func(t string) string { return t + t }),
		text("spaces in the armour", func(t string) string {
			return strings.Replace(t, "\n", []string{" \n", "\t\n"}[m.rnd.IntN(2)], 1+m.rnd.IntN(3))
		}),
		text("another kind of block", func(t string) string {
			return strings.ReplaceAll(t, "SIGNATURE", []string{"MESSAGE", "PUBLIC KEY BLOCK"}[m.rnd.IntN(2)])
		}),
		text("a character of the armour", func(t string) string { return string(m.flip([]byte(t), 0)) }),
		text("no checksum", func(t string) string { return t[:strings.LastIndex(t, "\n=")+1] + "-----END PGP SIGNATURE-----\n" }),
		text("a line broken", func(t string) string { at := 40 + m.rnd.IntN(60); return t[:at] + "\n" + t[at:] }),
		class{"a bit of the record", func(_ signer, a *attempt) { a.data = m.flip(a.data, len(headText)) }},
	)
	return list
}

// sized gives a place among the sizes of an old header that can hold b.
func (m *mutator) sized(b []byte) int {
	if len(b) > 255 {
		return 1 + m.rnd.IntN(2)
	}
	return m.rnd.IntN(3)
}

func (m *mutator) beside(p, q []byte) []byte {
	if m.rnd.IntN(2) == 0 {
		p, q = q, p
	}
	return append(bytes.Clone(p), q...)
}

// after makes a signature that was made some seconds later.
func (m *mutator) after() func(*shape) {
	at := seconds(signTime) + uint32(m.rnd.IntN(50))
	return func(s *shape) { without(subCreated)(s); hashed(sub{kind: subCreated, body: be32(at)})(s) }
}

// padNumber writes the last number with a zero octet before it.
func padNumber(b []byte) []byte {
	for _, size := range []int{32, 48, 66, 256, 384, 512, 31, 47, 65} {
		at := len(b) - size - 2
		if at < 0 {
			continue
		}
		if n := int(b[at])<<8 | int(b[at+1]); (n+7)/8 == size {
			n += 8
			return bytes.Join([][]byte{b[:at], {byte(n >> 8), byte(n), 0}, b[at+2:]}, nil)
		}
	}
	return b
}

// shapeClasses make other signatures by the same key.
func (m *mutator) shapeClasses() []class {
	shaped := func(name string, change func(s signer) []func(*shape)) class {
		return class{name, func(s signer, a *attempt) { a.sig = signature(s.key, a.data, change(s)...) }}
	}
	one := func(name string, change func(*shape)) class {
		return shaped(name, func(signer) []func(*shape) { return []func(*shape){change} })
	}
	unknown := func(critical bool) sub {
		return sub{kind: byte(100 + m.rnd.IntN(11)), critical: critical, body: []byte{1}}
	}
	return []class{
		one("another hash function", func(s *shape) {
			s.hash = []byte{hashMD5, hashSHA1, hashSHA224, hashSHA256, hashSHA384, hashSHA3}[m.rnd.IntN(6)]
		}),
		one("SHA-1", func(s *shape) { s.hash = hashSHA1 }),
		one("a wrong hash function named", func(s *shape) { s.hash = hashSHA256; s.tagFlip = 0xff }),
		one("version 3", func(s *shape) { s.version = 3 }),
		one("version 6 by a key of version 4", func(s *shape) { s.version = 6 }),
		one("version 5", func(s *shape) { s.version = 5 }),
		one("text mode", func(s *shape) { s.kind = sigText }),
		one("another type", func(s *shape) {
			s.kind = []byte{sigStandalone, 0x10, sigPositive, sigBinding, sigPrimaryKey, sigDirect, sigKeyRevoked, 0x40, 0x50}[m.rnd.IntN(9)]
		}),
		one("another algorithm named", func(s *shape) {
			s.algorithm = []byte{algoRSA, 3, 17, algoECDSA, algoEdDSA, algoEd25519, 28, 99}[m.rnd.IntN(8)]
		}),
		one("no fingerprint", without(subFingerprint)),
		one("fingerprint moved", moved(subFingerprint)),
		one("time moved", moved(subCreated)),
		one("no time", without(subCreated)),
		one("no short id", func(s *shape) { s.unhashed = nil }),
		one("short id signed", moveIn(subIssuer)),
		one("another's short id", func(s *shape) { s.unhashed = []sub{{kind: subIssuer, body: m.other.id()}} }),
		one("another's fingerprint", func(s *shape) {
			without(subFingerprint)(s)
			hashed(sub{kind: subFingerprint, body: append([]byte{4}, m.other.fpr...)})(s)
		}),
		one("made at another time", m.after()),
		one("made long before", func(s *shape) {
			without(subCreated)(s)
			hashed(sub{kind: subCreated, body: be32(seconds(keyTime) - 1)})(s)
		}),
		one("made later than now", func(s *shape) {
			without(subCreated)(s)
			hashed(sub{kind: subCreated, body: be32(seconds(askTime) + 3600)})(s)
		}),
		one("an end of its own", func(s *shape) { hashed(sub{kind: subExpires, body: be32(uint32(m.rnd.IntN(9999)))})(s) }),
		one("a notation", func(s *shape) { hashed(notation(false))(s) }),
		one("a critical notation", func(s *shape) { hashed(notation(true))(s) }),
		one("an unknown subpacket", func(s *shape) { hashed(unknown(false))(s) }),
		one("an unknown critical subpacket", func(s *shape) { hashed(unknown(true))(s) }),
		one("an unsigned subpacket", func(s *shape) { unhashed(unknown(m.rnd.IntN(2) == 0))(s) }),
		one("a known subpacket", func(s *shape) {
			kind := []byte{4, 5, 7, 9, 11, 12, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 34, 35}[m.rnd.IntN(19)]
			hashed(sub{kind: kind, critical: m.rnd.IntN(2) == 0, body: bytesOf("sub", 1+m.rnd.IntN(30))})(s)
		}),
		one("a subpacket twice", func(s *shape) { s.hashed = append(s.hashed, s.hashed[m.rnd.IntN(len(s.hashed))]) }),
		one("critical fields", func(s *shape) {
			for i := range s.hashed {
				s.hashed[i].critical = true
			}
		}),
		shaped("an embedded signature", func(s signer) []func(*shape) {
			e := sub{kind: subEmbedded, body: signatureBody(s.key, plainRecord())}
			if m.rnd.IntN(2) == 0 {
				return []func(*shape){hashed(e)}
			}
			return []func(*shape){unhashed(e)}
		}),
	}
}

// certClasses change the certificate. Its keys stay, so that the signature could be
// good.
func (m *mutator) certClasses() []class {
	const user = "Alice <alice@example.org>"
	of := func(name string, f func(s signer) *cert) class {
		return class{name, func(s signer, a *attempt) { a.certFile = f(s).armour() }}
	}
	// whole makes the certificate again, with changes of the self-signature and, where
	// there is a subkey, of its binding.
	whole := func(s signer, flags byte, self, binding []func(*shape)) *cert {
		c := newCert(s.main).user(user, flags, self...)
		if s.key != s.main {
			c.subkey(s.key, flagSign, binding...)
		}
		return c
	}
	// either changes the one or the other.
	either := func(s signer, f func(*shape)) *cert {
		if s.key != s.main && m.rnd.IntN(2) == 0 {
			return whole(s, flagCertify|flagSign, nil, []func(*shape){f})
		}
		return whole(s, flagCertify|flagSign, []func(*shape){f}, nil)
	}
	changed := func(name string, f func(*shape)) class {
		return of(name, func(s signer) *cert { return either(s, f) })
	}
	reasons := []byte{reasonNone, reasonSuperseded, reasonCompromised, reasonRetired, 32, 100}
	when := func() uint32 { return seconds(signTime) - 200 + uint32(m.rnd.IntN(400)) }
	return []class{
		{"a bit of the certificate", func(s signer, a *attempt) { a.certFile = armour(blockKey, m.flip(s.cert.raw(), 0)) }},
		{"a bit of the key", func(s signer, a *attempt) {
			c := &cert{packets: append([][]byte{m.flip(s.cert.packets[0], 2)}, s.cert.packets[1:]...)}
			a.certFile = c.armour()
		}},
		{"a bit of a self-signature", func(s signer, a *attempt) {
			c := &cert{packets: append([][]byte{}, s.cert.packets...)}
			at := 2 * (1 + m.rnd.IntN(len(c.packets)/2))
			c.packets[at] = m.flip(c.packets[at], 0)
			a.certFile = c.armour()
		}},
		of("a packet left out", func(s signer) *cert {
			at := m.rnd.IntN(len(s.cert.packets))
			return &cert{packets: append(append([][]byte{}, s.cert.packets[:at]...), s.cert.packets[at+1:]...)}
		}),
		of("packets in another order", func(s signer) *cert {
			c := &cert{packets: append([][]byte{}, s.cert.packets...)}
			i, j := m.rnd.IntN(len(c.packets)), m.rnd.IntN(len(c.packets))
			c.packets[i], c.packets[j] = c.packets[j], c.packets[i]
			return c
		}),
		of("a packet twice", func(s signer) *cert {
			at := m.rnd.IntN(len(s.cert.packets))
			return &cert{packets: append(append([][]byte{}, s.cert.packets[:at+1]...), s.cert.packets[at:]...)}
		}),
		of("revoked", func(s signer) *cert { return s.cert.revoked(when(), reasons[m.rnd.IntN(len(reasons))]) }),
		of("revoked by another", func(s signer) *cert {
			o := m.other.usual(sigKeyRevoked, when())
			o.hashed = append(o.hashed, revocation(reasonCompromised))
			c := &cert{packets: append([][]byte{s.cert.packets[0], packet(tagSignature, m.other.sign(o, s.main.keyContent()))}, s.cert.packets[1:]...)}
			return c
		}),
		of("user id revoked", func(s signer) *cert {
			r := s.main.usual(sigUserRevoked, seconds(keyTime)+uint32(m.rnd.IntN(2))*60)
			c := &cert{key: s.main, packets: append([][]byte{}, s.cert.packets[:2]...)}
			c.add(tagSignature, s.main.sign(r, userContent(s.main, user)))
			c.packets = append(c.packets, s.cert.packets[2:]...)
			return c
		}),
		of("subkey revoked", func(s signer) *cert {
			if s.key == s.main {
				return s.cert.revoked(when(), reasonSuperseded)
			}
			c := &cert{key: s.main, packets: append([][]byte{}, s.cert.packets...)}
			return c.revokeSubkey(s.key, when(), reasons[m.rnd.IntN(len(reasons))])
		}),
		changed("expires", func(s *shape) {
			// Not between the signing and the asking: of that jit says what was right
			// at the one, and gpg what is at the other.
			life := seconds(signTime) - seconds(keyTime) - uint32(m.rnd.IntN(400))
			if m.rnd.IntN(2) == 0 {
				life = seconds(askTime) - seconds(keyTime) + 1 + uint32(m.rnd.IntN(400))
			}
			hashed(sub{kind: subKeyExpires, body: be32(life)})(s)
		}),
		changed("self-signature by another hash", func(s *shape) {
			s.hash = []byte{hashMD5, hashSHA1, hashSHA224, hashSHA256, hashSHA384, hashSHA3}[m.rnd.IntN(6)]
		}),
		changed("self-signature ended", func(s *shape) { hashed(sub{kind: subExpires, body: be32(uint32(1 + m.rnd.IntN(year)))})(s) }),
		changed("self-signature of version 3", func(s *shape) { s.version = 3 }),
		changed("self-signature of another type", func(s *shape) {
			s.kind = []byte{0x10, 0x11, 0x12, sigBinding, sigDirect, sigUserRevoked}[m.rnd.IntN(6)]
		}),
		changed("critical notation in it", func(s *shape) { hashed(notation(true))(s) }),
		changed("critical subpacket in it", func(s *shape) { hashed(sub{kind: 101, critical: true, body: []byte{1}})(s) }),
		changed("flags moved", moved(subFlags)),
		changed("no flags", without(subFlags)),
		changed("back-signature moved", moved(subEmbedded)),
		changed("no back-signature", without(subEmbedded)),
		changed("no issuer", func(s *shape) { without(subFingerprint)(s); s.unhashed = nil }),
		changed("no fingerprint in it", without(subFingerprint)),
		changed("another issuer", func(s *shape) { s.unhashed = []sub{{kind: subIssuer, body: m.other.id()}} }),
		changed("made at another time", func(s *shape) {
			without(subCreated)(s)
			// None later than now: by and by gpg takes such a one, and jit has no clock here.
			hashed(sub{kind: subCreated, body: be32([]uint32{seconds(keyTime) - 60, seconds(keyTime) + 60, seconds(signTime) + 60}[m.rnd.IntN(3)])})(s)
		}),
		of("not for signing", func(s signer) *cert {
			if s.key == s.main {
				return newCert(s.main).user(user, []byte{0, flagCertify, flagEncrypt}[m.rnd.IntN(3)])
			}
			return newCert(s.main).user(user, flagCertify).subkey(s.key, []byte{0, flagCertify, flagEncrypt}[m.rnd.IntN(3)])
		}),
		of("two self-signatures that differ", func(s signer) *cert {
			c := newCert(s.main).user(user, flagCertify|flagSign)
			again := newCert(s.main).user(user, flagCertify, func(x *shape) {
				without(subCreated)(x)
				hashed(sub{kind: subCreated, body: be32(s.main.created + uint32(m.rnd.IntN(2)))}, sub{kind: subKeyExpires, body: be32(uint32(m.rnd.IntN(2)) * 3600)})(x)
			})
			c.packets = append(c.packets, again.packets[2])
			if s.key != s.main {
				c.subkey(s.key, flagSign)
			}
			return c
		}),
		of("a direct-key signature that differs", func(s signer) *cert {
			c := newCert(s.main).over(sigDirect, seconds(keyTime)+uint32(m.rnd.IntN(2)), []sub{
				{kind: subFlags, body: []byte{flagCertify}}, {kind: subFlags, body: []byte{flagCertify | flagSign}}, {kind: subKeyExpires, body: be32(3600)},
			}[m.rnd.IntN(3)])
			c.packets = append(c.packets, s.cert.packets[1:]...)
			return c
		}),
		of("no user id", func(s signer) *cert {
			c := newCert(s.main).over(sigDirect, seconds(keyTime), sub{kind: subFlags, body: []byte{flagCertify | flagSign}})
			if s.key != s.main {
				c.subkey(s.key, flagSign)
			}
			return c
		}),
		of("another's user id", func(s signer) *cert {
			c := newCert(s.main)
			c.packets = append(c.packets, person(m.other).packets[1:]...)
			return c
		}),
		of("another key's subkey", func(s signer) *cert {
			return person(m.other).subkey(s.key, flagSign, func(b *shape) {
				for i, h := range b.hashed {
					if h.kind == subEmbedded {
						b.hashed[i].body = s.key.sign(s.key.usual(sigPrimaryKey, s.key.created), append(s.main.keyContent(), s.key.keyContent()...))
					}
				}
			})
		}),
		{"the certificate's armour", func(s signer, a *attempt) {
			t := string(a.certFile)
			a.certFile = []byte([]string{strings.Replace(t, "\n\n", "\nVersion: x\n\n", 1), "x\n" + t, t + t, strings.ReplaceAll(t, "\n", "\r\n"), t[:len(t)/2]}[m.rnd.IntN(5)])
		}},
	}
}

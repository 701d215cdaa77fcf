package vectors

import (
	"bytes"
	"strings"
)

// alice is the key that most vectors are signed with.
func alice() *key { return newKey("alice", "ed25519", seconds(keyTime)) }

// algorithms: each kind of key and hash function.
func (m *maker) algorithms() {
	data := plainRecord()
	for _, c := range []struct{ kind, expect, gpg, why string }{
		{"ed25519", "ok", "good", "EdDSA over Ed25519, as gpg makes it"},
		{"p256", "ok", "good", "ECDSA over P-256"},
		{"p384", "ok", "good", "ECDSA over P-384"},
		{"p521", "ok", "good", "ECDSA over P-521"},
		{"rsa1024", "key-weak", "good", "RSA with 1024 bits"},
		{"rsa2048", "ok", "good", "RSA with 2048 bits"},
		{"rsa3072", "ok", "good", "RSA with 3072 bits"},
		{"rsa4096", "ok", "good", "RSA with 4096 bits"},
		{"ed25519-27", "key-weak", "error", "the algorithm 27 of RFC 9580, which gpg does not know"},
		{"ed25519-v6", "cert-version", "nothing", "a key and a signature of version 6, which gpg does not read"},
	} {
		k := newKey("alice", c.kind, seconds(keyTime))
		m.add("algorithm-"+c.kind, c.expect, c.gpg, c.why, data, signature(k, data), person(k).armour())
	}
	for _, c := range []struct {
		name        string
		hash        byte
		expect, gpg string
	}{
		{"md5", hashMD5, "sig-hash", "error"}, {"sha1", hashSHA1, "sig-hash", "good"}, {"sha224", hashSHA224, "sig-hash", "good"},
		{"sha256", hashSHA256, "ok", "good"}, {"sha384", hashSHA384, "ok", "good"}, {"sha3-512", hashSHA3, "sig-hash", "nothing"},
	} {
		k := alice()
		m.add("hash-"+c.name, c.expect, c.gpg, "a signature by the hash function "+c.name, data,
			signature(k, data, func(s *shape) { s.hash = c.hash }), person(k).armour())
	}
	large := alice()
	large.algorithm = algoRSA
	large.finish(append(mpi(bytesOf("a number of 8200 bits", 1025)), mpi([]byte{1, 0, 1})...))
	m.add("algorithm-rsa8200", "cert-limits", "no-key", "RSA with more than 8192 bits", data, signature(large, data), newCert(large).armour())
	ten := alice()
	v3 := newCert(ten)
	v3.packets[0] = packet(tagPublicKey, append([]byte{3, 0, 0, 0, 1, 0, 0}, ten.body[5:]...))
	m.add("algorithm-version-3", "cert-version", "no-key", "a key of version 3", data, signature(ten, data), v3.armour())
	for _, kind := range []string{"p384", "p521"} {
		k := newKey("alice", kind, seconds(keyTime))
		m.add("hash-short-"+kind, "sig-hash", "error", "a hash shorter than the curve's order", data,
			signature(k, data, func(s *shape) { s.hash = hashSHA256 }), person(k).armour())
	}
}

// without takes the subpackets of a kind away, in the signed part.
func without(kind byte) func(*shape) {
	return func(s *shape) {
		var left []sub
		for _, h := range s.hashed {
			if h.kind != kind {
				left = append(left, h)
			}
		}
		s.hashed = left
	}
}

func hashed(more ...sub) func(*shape) { return func(s *shape) { s.hashed = append(s.hashed, more...) } }

func unhashed(more ...sub) func(*shape) {
	return func(s *shape) { s.unhashed = append(s.unhashed, more...) }
}

// moved puts the subpackets of a kind from the signed part into the other.
func moved(kind byte) func(*shape) {
	return func(s *shape) {
		for _, h := range s.hashed {
			if h.kind == kind {
				s.unhashed = append(s.unhashed, h)
			}
		}
		without(kind)(s)
	}
}

// notation is a human-readable notation (RFC 9580, section 5.2.3.24).
func notation(critical bool) sub {
	const name, value = "note@example.org", "x"
	body := append([]byte{0x80, 0, 0, 0, 0, byte(len(name)), 0, byte(len(value))}, name+value...)
	return sub{kind: subNotation, critical: critical, body: body}
}

// signatures: what may and may not stand in a signature packet.
func (m *maker) signatures() {
	k, other := alice(), newKey("mallory", "ed25519", seconds(keyTime))
	data, cert := plainRecord(), person(alice()).armour()
	one := func(name, expect, gpg, why string, change ...func(*shape)) {
		m.add("sig-"+name, expect, gpg, why, data, signature(k, data, change...), cert)
	}
	one("version-3", "sig-version", "good", "a signature of version 3", func(s *shape) { s.version = 3 })
	one("text", "sig-type", "good", "over text, whose line ends do not count", func(s *shape) { s.kind = sigText })
	one("standalone", "sig-type", "error", "a signature over nothing but itself", func(s *shape) { s.kind = sigStandalone })
	one("certification", "sig-type", "error", "of a type that certifies", func(s *shape) { s.kind = sigPositive })
	one("no-fingerprint", "sig-issuer", "good", "names its key by the short id only", without(subFingerprint))
	one("moved-fingerprint", "sig-issuer", "good", "names its key's fingerprint where it is not signed", moved(subFingerprint))
	one("no-issuer", "ok", "good", "names its key by the fingerprint only", func(s *shape) { s.unhashed = nil })
	one("hashed-issuer", "ok", "good", "names its key by the short id in the signed part too", moveIn(subIssuer))
	one("two-issuers", "sig-issuer", "good", "names another short id in the signed part", hashed(sub{kind: subIssuer, body: other.id()}))
	one("another-issuer", "sig-extra", "good", "names another short id in the unsigned part",
		func(s *shape) { s.unhashed = []sub{{kind: subIssuer, body: other.id()}} })
	one("forged-issuer", "key-unknown", "no-key", "names a key that did not make it", without(subFingerprint), func(s *shape) {
		s.hashed = append(s.hashed, sub{kind: subFingerprint, body: append([]byte{4}, other.fpr...)})
		s.unhashed = []sub{{kind: subIssuer, body: other.id()}}
	})
	one("twice-fingerprint", "sig-extra", "good", "names its fingerprint twice", hashed(sub{kind: subFingerprint, body: append([]byte{4}, k.fpr...)}))
	one("no-time", "sig-time", "error", "does not say when it was made", without(subCreated))
	one("moved-time", "sig-time", "error", "says when it was made where it is not signed", moved(subCreated))
	one("twice-time", "sig-extra", "good", "says twice when it was made", hashed(sub{kind: subCreated, body: be32(seconds(signTime))}))
	one("expires", "sig-expires", "good", "ends by itself, later", hashed(sub{kind: subExpires, body: be32(3600)}))
	one("expired", "sig-expires", "expired-signature", "ended by itself", hashed(sub{kind: subExpires, body: be32(60)}))
	one("notation", "ok", "good", "carries a notation", hashed(notation(false)))
	one("notation-critical", "sig-critical", "bad", "carries a notation that must be understood", hashed(notation(true)))
	one("notation-unsigned", "sig-extra", "good", "carries a notation where it is not signed", unhashed(notation(false)))
	one("unknown", "ok", "good", "carries a subpacket that nobody knows", hashed(sub{kind: 101, body: []byte{1}}))
	one("unknown-critical", "sig-critical", "bad", "carries one that must be understood", hashed(sub{kind: 101, critical: true, body: []byte{1}}))
	one("signer", "ok", "good", "names the signer's user id", hashed(sub{kind: subSigner, body: []byte("alice@example.org")}))
	one("signer-critical", "sig-critical", "bad", "the same, as what must be understood", hashed(sub{kind: subSigner, critical: true, body: []byte("alice@example.org")}))
	embedded := sub{kind: subEmbedded, body: signatureBody(other, data)}
	one("embedded", "sig-extra", "good", "holds another signature", hashed(embedded))
	one("embedded-unsigned", "sig-extra", "good", "holds another signature where it is not signed", unhashed(embedded))
	one("hash-tag", "sig-mismatch", "good", "the two octets that begin the hash are others", func(s *shape) { s.tagFlip = 1 })
	one("trailing", "sig-extra", "good", "octets follow its last field", func(s *shape) { s.after = []byte{0, 1, 2} })
	one("wrong-algorithm", "sig-extra", "error", "says that it is by RSA", func(s *shape) { s.algorithm = algoRSA })

	body := signatureBody(k, data)
	raw := func(name, expect, gpg, why string, packets ...[]byte) {
		m.add("packets-"+name, expect, gpg, why, data, armour(blockSignature, bytes.Join(packets, nil)), cert)
	}
	good := packet(tagSignature, body)
	raw("old-form", "ok", "good", "its header is in the old form", oldPacket(tagSignature, body, 1))
	raw("old-form-4", "ok", "good", "its length takes four octets", oldPacket(tagSignature, body, 4))
	raw("indefinite", "sig-packets", "nothing", "its length is indefinite", oldPacket(tagSignature, body, 0))
	raw("long-length", "ok", "good", "its length takes five octets, in the new form", longPacket(tagSignature, body))
	raw("partial", "sig-packets", "nothing", "its length is partial", partialPacket(tagSignature, body))
	raw("two", "sig-packets", "good+good", "two signatures", good, good)
	raw("another-first", "sig-packets", "no-key+good", "another's signature before it", packet(tagSignature, signatureBody(other, data)), good)
	raw("marker", "sig-packets", "good", "a marker packet before it", packet(10, []byte("PGP")), good)
	raw("marker-after", "sig-packets", "good", "a marker packet after it", good, packet(10, []byte("PGP")))
	raw("padding", "sig-packets", "good", "a padding packet after it", good, packet(21, []byte{1, 2, 3}))
	raw("user-id", "sig-packets", "good, and fails", "a user id after it", good, packet(tagUserID, []byte("Mallory")))
	raw("junk-after", "sig-packets", "good, and fails", "octets after it that are no packet", good, []byte("junk"))
	raw("compressed", "sig-packets", "good", "a compressed packet that holds it, uncompressed", packet(8, append([]byte{0}, good...)))
	raw("key-first", "sig-packets", "nothing", "its key before it", packet(tagPublicKey, k.body), good)
	raw("cut", "sig-packets", "nothing", "its last octet is missing", good[:len(good)-1])
	raw("none", "sig-packets", "nothing", "no packet at all", []byte{0})
	m.add("sig-changed-record", "sig-mismatch", "bad", "one byte of the record is another", append(plainRecord(), ' '), signature(k, data), cert)
	crlf := []byte(strings.ReplaceAll(string(data), "\n", "\r\n"))
	m.add("sig-line-ends", "sig-mismatch", "bad", "the record's line ends are others", crlf, signature(k, data), cert)
	m.add("sig-text-line-ends", "sig-type", "good", "the same, and the signature is over text", crlf,
		signature(k, data, func(s *shape) { s.kind = sigText }), cert)
	m.add("sig-anothers", "key-unknown", "no-key", "by a key that the certificate does not hold", data, signature(other, data), cert)
	m.add("sig-time-apart", "sig-time", "good", "made two minutes before the record says", data,
		signature(k, data, without(subCreated), hashed(sub{kind: subCreated, body: be32(seconds(signTime) - 120)})), cert)
}

// moveIn moves an unsigned subpacket into the signed part.
func moveIn(kind byte) func(*shape) {
	return func(s *shape) {
		for _, u := range s.unhashed {
			if u.kind == kind {
				s.hashed = append(s.hashed, u)
			}
		}
		s.unhashed = nil
	}
}

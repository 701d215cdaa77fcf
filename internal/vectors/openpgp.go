package vectors

import (
	"bytes"
	"crypto"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
)

// Packet types, signature types, subpackets and hash functions (RFC 9580, sections
// 5, 5.2.1, 5.2.3.7 and 9.5) of which the vectors are made.
const (
	tagSignature = 2
	tagPublicKey = 6
	tagUserID    = 13
	tagSubkey    = 14

	sigBinary        = 0x00
	sigText          = 0x01
	sigStandalone    = 0x02
	sigPositive      = 0x13
	sigBinding       = 0x18
	sigPrimaryKey    = 0x19
	sigDirect        = 0x1f
	sigKeyRevoked    = 0x20
	sigSubkeyRevoked = 0x28
	sigUserRevoked   = 0x30

	subCreated     = 2
	subExpires     = 3
	subKeyExpires  = 9
	subIssuer      = 16
	subNotation    = 20
	subFlags       = 27
	subSigner      = 28
	subReason      = 29
	subEmbedded    = 32
	subFingerprint = 33

	hashMD5, hashSHA1, hashSHA256, hashSHA384, hashSHA512, hashSHA224, hashSHA3 = 1, 2, 8, 9, 10, 11, 14
)

var hashes = map[byte]crypto.Hash{
	hashMD5: crypto.MD5, hashSHA1: crypto.SHA1, hashSHA256: crypto.SHA256, hashSHA384: crypto.SHA384, hashSHA512: crypto.SHA512,
	hashSHA224: crypto.SHA224, hashSHA3: crypto.SHA3_512,
}

func digest(hash byte, data []byte) []byte {
	switch hash {
	case hashMD5:
		s := md5.Sum(data)
		return s[:]
	case hashSHA1:
		s := sha1.Sum(data)
		return s[:]
	case hashSHA224:
		s := sha256.Sum224(data)
		return s[:]
	case hashSHA256:
		s := sha256.Sum256(data)
		return s[:]
	case hashSHA384:
		s := sha512.Sum384(data)
		return s[:]
	case hashSHA3:
		s := sha3.Sum512(data)
		return s[:]
	default:
		s := sha512.Sum512(data)
		return s[:]
	}
}

// sub is one subpacket of a signature.
type sub struct {
	kind     byte
	critical bool
	body     []byte
}

func (s sub) bytes() []byte {
	kind := s.kind
	if s.critical {
		kind |= 0x80
	}
	return append(append(subLength(1+len(s.body)), kind), s.body...)
}

func subLength(n int) []byte {
	switch {
	case n < 192:
		return []byte{byte(n)}
	case n < 16320:
		return []byte{byte((n-192)>>8) + 192, byte(n - 192)}
	}
	return binary.BigEndian.AppendUint32([]byte{255}, uint32(n))
}

func area(subs []sub) []byte {
	var b []byte
	for _, s := range subs {
		b = append(b, s.bytes()...)
	}
	return b
}

func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// mpi writes a number with the count of its bits before it.
func mpi(b []byte) []byte {
	b = bytes.TrimLeft(b, "\x00")
	n := 0
	if len(b) > 0 {
		n = 8*len(b) - bits.LeadingZeros8(b[0])
	}
	return append([]byte{byte(n >> 8), byte(n)}, b...)
}

// shape is what a signature says besides what it signs.
type shape struct {
	version, kind, hash byte
	hashed, unhashed    []sub
	// algorithm is written in place of the key's own where it is not 0.
	algorithm byte
	// after is appended to the last field.
	after []byte
	// tagFlip changes the two octets that begin the hash.
	tagFlip byte
}

// usual is a signature as gpg makes it.
func (k *key) usual(kind byte, at uint32) shape {
	s := shape{version: k.version, kind: kind, hash: hashSHA512, hashed: []sub{
		{kind: subFingerprint, body: append([]byte{k.version}, k.fpr...)}, {kind: subCreated, body: be32(at)},
	}}
	if k.version == 4 {
		s.unhashed = []sub{{kind: subIssuer, body: k.id()}}
	}
	return s
}

// sign gives the body of a signature packet over content (RFC 9580, section 5.2.4).
func (k *key) sign(s shape, content []byte) []byte {
	algorithm := k.algorithm
	if s.algorithm != 0 {
		algorithm = s.algorithm
	}
	switch s.version {
	case 3:
		head := append([]byte{s.kind}, sigCreated(s)...)
		sum := digest(s.hash, append(bytes.Clone(content), head...))
		body := append([]byte{3, 5}, head...)
		body = append(append(body, k.id()...), algorithm, s.hash, sum[0]^s.tagFlip, sum[1])
		return append(append(body, k.secret(sum, hashes[s.hash])...), s.after...)
	case 6:
		head := append([]byte{6, s.kind, algorithm, s.hash}, be32(uint32(len(area(s.hashed))))...)
		head = append(head, area(s.hashed)...)
		salt := bytes.Repeat([]byte{7}, hashes[s.hash].Size()/2)
		sum := digest(s.hash, bytes.Join([][]byte{salt, content, head, {6, 0xff}, be32(uint32(len(head)))}, nil))
		body := append(head, be32(uint32(len(area(s.unhashed))))...)
		body = append(append(body, area(s.unhashed)...), sum[0]^s.tagFlip, sum[1], byte(len(salt)))
		return append(append(append(body, salt...), k.secret(sum, hashes[s.hash])...), s.after...)
	}
	hashed, unhashed := area(s.hashed), area(s.unhashed)
	head := append([]byte{s.version, s.kind, algorithm, s.hash, byte(len(hashed) >> 8), byte(len(hashed))}, hashed...)
	sum := digest(s.hash, bytes.Join([][]byte{content, head, {s.version, 0xff}, be32(uint32(len(head)))}, nil))
	body := append(head, byte(len(unhashed)>>8), byte(len(unhashed)))
	body = append(append(body, unhashed...), sum[0]^s.tagFlip, sum[1])
	return append(append(body, k.secret(sum, hashes[s.hash])...), s.after...)
}

func sigCreated(s shape) []byte {
	for _, h := range s.hashed {
		if h.kind == subCreated {
			return h.body
		}
	}
	return be32(0)
}

// keyContent is a key as signatures over keys take it in.
func (k *key) keyContent() []byte {
	if k.version == 6 {
		return append(append([]byte{0x9b}, be32(uint32(len(k.body)))...), k.body...)
	}
	return append([]byte{0x99, byte(len(k.body) >> 8), byte(len(k.body))}, k.body...)
}

func userContent(k *key, user string) []byte {
	return append(append(append(k.keyContent(), 0xb4), be32(uint32(len(user)))...), user...)
}

// packet writes a packet with a header in the new form.
func packet(tag int, body []byte) []byte {
	head := []byte{0xc0 | byte(tag)}
	switch n := len(body); {
	case n < 192:
		head = append(head, byte(n))
	case n < 8384:
		head = append(head, byte((n-192)>>8)+192, byte(n-192))
	default:
		head = append(append(head, 255), be32(uint32(n))...)
	}
	return append(head, body...)
}

// oldPacket writes a packet with a header in the old form, its length in size octets.
func oldPacket(tag int, body []byte, size int) []byte {
	n := uint32(len(body))
	form := map[int]byte{1: 0, 2: 1, 4: 2, 0: 3}[size]
	head := append([]byte{0x80 | byte(tag)<<2 | form}, be32(n)[4-size:]...)
	return append(head, body...)
}

// longPacket writes a length in five octets, where fewer would do.
func longPacket(tag int, body []byte) []byte {
	return bytes.Join([][]byte{{0xc0 | byte(tag), 255}, be32(uint32(len(body))), body}, nil)
}

// partialPacket writes the first 16 octets of the body as a part.
func partialPacket(tag int, body []byte) []byte {
	rest := packet(tag, body[16:])[1:]
	return bytes.Join([][]byte{{0xc0 | byte(tag), 0xe4}, body[:16], rest}, nil)
}

// armour writes an armour block, as gpg does.
func armour(kind string, raw []byte) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "-----BEGIN PGP %s-----\n\n", kind)
	for text := base64.StdEncoding.EncodeToString(raw); text != ""; {
		n := min(64, len(text))
		b.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	crc := uint32(0xb704ce) // RFC 9580, section 6.1.1
	for _, c := range raw {
		crc ^= uint32(c) << 16
		for range 8 {
			if crc <<= 1; crc&0x1000000 != 0 {
				crc ^= 0x1864cfb
			}
		}
	}
	fmt.Fprintf(&b, "=%s\n-----END PGP %s-----\n", base64.StdEncoding.EncodeToString([]byte{byte(crc >> 16), byte(crc >> 8), byte(crc)}), kind)
	return []byte(b.String())
}

const (
	blockSignature = "SIGNATURE"
	blockKey       = "PUBLIC KEY BLOCK"
)

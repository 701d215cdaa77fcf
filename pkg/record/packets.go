package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/bits"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// Packet types (RFC 9580, section 5).
const (
	tagSignature    = 2
	tagSecretKey    = 5
	tagPublicKey    = 6
	tagSecretSubkey = 7
	tagTrust        = 12
	tagUserID       = 13
	tagPublicSubkey = 14
)

// rawPacket is one packet's type and content.
type rawPacket struct {
	tag  int
	body []byte
}

// nextPacket splits the first packet off b. Lengths are definite: a partial or
// indeterminate one is an error (RFC 9580, section 4.2).
func nextPacket(b []byte) (p rawPacket, rest []byte, err error) {
	truncated := errors.New("a packet is cut short")
	if len(b) < 2 {
		return p, nil, truncated
	}
	if b[0]&0x80 == 0 {
		return p, nil, errors.New("there is no packet where one should begin")
	}
	var length uint64
	if b[0]&0x40 == 0 {
		p.tag = int(b[0]>>2) & 15
		size := 1 << (b[0] & 3)
		if size == 8 {
			return p, nil, errors.New("a packet has no definite length")
		}
		if len(b) < 1+size {
			return p, nil, truncated
		}
		for _, c := range b[1 : 1+size] {
			length = length<<8 | uint64(c)
		}
		b = b[1+size:]
	} else {
		p.tag = int(b[0]) & 63
		if c := b[1]; c >= 224 && c < 255 {
			return p, nil, errors.New("a packet has no definite length")
		}
		n, used := readLength(b[1:])
		if used == 0 {
			return p, nil, truncated
		}
		length, b = uint64(n), b[1+used:]
	}
	if length > uint64(len(b)) {
		return p, nil, truncated
	}
	p.body = b[:length]
	return p, b[length:], nil
}

// readLength reads the length of a packet or a subpacket in the new form; used
// is 0 when b is too short. For subpackets the first octet goes to 254 in the
// form of two octets (RFC 9580, section 5.2.3.7); packets never get there.
func readLength(b []byte) (length uint32, used int) {
	switch {
	case len(b) == 0:
		return 0, 0
	case b[0] < 192:
		return uint32(b[0]), 1
	case b[0] < 255:
		if len(b) < 2 {
			return 0, 0
		}
		return uint32(b[0]-192)<<8 + uint32(b[1]) + 192, 2
	}
	if len(b) < 5 {
		return 0, 0
	}
	return binary.BigEndian.Uint32(b[1:5]), 5
}

// write appends the packet with a header in the new form.
func (p rawPacket) write(w *bytes.Buffer) {
	w.WriteByte(0xc0 | byte(p.tag))
	switch n := len(p.body); {
	case n < 192:
		w.WriteByte(byte(n))
	case n < 8384:
		w.Write([]byte{byte((n-192)>>8) + 192, byte(n - 192)})
	default:
		w.WriteByte(255)
		w.Write(binary.BigEndian.AppendUint32(nil, uint32(n)))
	}
	w.Write(p.body)
}

// parse gives the packet to go-crypto.
func (p rawPacket) parse() (packet.Packet, error) {
	var b bytes.Buffer
	p.write(&b)
	r := bytes.NewReader(b.Bytes())
	parsed, err := packet.Read(r)
	if err != nil {
		return nil, err
	}
	if _, err := r.ReadByte(); err != io.EOF {
		return nil, errors.New("a packet is longer than what it holds")
	}
	return parsed, nil
}

// subpacket is one subpacket of a signature.
type subpacket struct {
	kind     byte
	critical bool
	body     []byte
}

// subpackets splits an area of a signature.
func subpackets(b []byte) ([]subpacket, error) {
	var all []subpacket
	for len(b) > 0 {
		n, used := readLength(b)
		if used == 0 || n == 0 || uint64(n) > uint64(len(b)-used) {
			return nil, errors.New("a subpacket is cut short")
		}
		b = b[used:]
		all = append(all, subpacket{kind: b[0] & 0x7f, critical: b[0]&0x80 != 0, body: b[1:n]})
		b = b[n:]
	}
	return all, nil
}

// rawSignature is a signature packet split into its fields (RFC 9580, section
// 5.2.3).
type rawSignature struct {
	version, kind, algorithm, hash byte
	hashed, unhashed               []subpacket
	// head is the body up to the end of its signed part, tail what follows
	// the unsigned part.
	head, tail []byte
}

// splitSignature splits the body of a signature packet of version 4, and makes
// sure that nothing follows its last field.
func splitSignature(b []byte) (s rawSignature, err error) {
	truncated := errors.New("the signature is cut short")
	whole := b
	if len(b) < 4 {
		return s, truncated
	}
	s.version, s.kind, s.algorithm, s.hash = b[0], b[1], b[2], b[3]
	b = b[4:]
	area := func() ([]subpacket, error) {
		if len(b) < 2 {
			return nil, truncated
		}
		n := int(binary.BigEndian.Uint16(b))
		b = b[2:]
		if n > len(b) {
			return nil, truncated
		}
		all, err := subpackets(b[:n])
		b = b[n:]
		return all, err
	}
	if s.hashed, err = area(); err != nil {
		return s, err
	}
	s.head = whole[:len(whole)-len(b)]
	if s.unhashed, err = area(); err != nil {
		return s, err
	}
	s.tail = b
	if len(b) < 2 {
		return s, truncated
	}
	b = b[2:] // the first two octets of the hash
	integers := 0
	switch packet.PublicKeyAlgorithm(s.algorithm) {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		integers = 1
	case packet.PubKeyAlgoDSA, packet.PubKeyAlgoECDSA, packet.PubKeyAlgoEdDSA:
		integers = 2
	default:
		return s, nil
	}
	for range integers {
		if len(b) < 2 {
			return s, truncated
		}
		size := int(binary.BigEndian.Uint16(b))
		n := (size + 7) / 8
		if len(b) < 2+n {
			return s, truncated
		}
		// RFC 9580, section 3.2: the count is exact. Else one signature could
		// be written in several ways.
		if n > 0 && bits.Len8(b[2]) != (size-1)%8+1 {
			return s, errors.New("the length of an integer in the signature is not exact")
		}
		b = b[2+n:]
	}
	if len(b) > 0 {
		return s, errTrailing
	}
	return s, nil
}

// errTrailing says that a signature holds more than its fields.
var errTrailing = errors.New("there are bytes after the signature's last field")

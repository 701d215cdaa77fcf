package record

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
)

// The kinds of armour that jit reads (RFC 9580, section 6.2).
const (
	armorSignature = "PGP SIGNATURE"
	armorPublicKey = "PGP PUBLIC KEY BLOCK"
)

// dearmor reads exactly one armour block of the given kind: no headers,
// nothing before it, nothing after it but one line feed, lines of base 64 all
// of one length but the last, and the checksum right, which only a certificate may
// leave out. Other readers
// allow more around a block; what they pass over could mislead a person.
func dearmor(data []byte, kind string) ([]byte, error) {
	text := strings.TrimSuffix(string(data), "\n")
	lines := strings.Split(text, "\n")
	if len(lines) < 4 || lines[0] != "-----BEGIN "+kind+"-----" {
		return nil, errors.New("it does not begin with -----BEGIN " + kind + "-----")
	}
	if lines[1] != "" {
		return nil, errors.New("it has armour headers, or no empty line after its first")
	}
	if lines[len(lines)-1] != "-----END "+kind+"-----" {
		return nil, errors.New("it does not end with -----END " + kind + "-----")
	}
	body := lines[2 : len(lines)-1]
	var sum []byte
	if last := body[len(body)-1]; len(last) == 5 && last[0] == '=' {
		s, err := base64.StdEncoding.Strict().DecodeString(last[1:])
		if err != nil {
			return nil, errors.New("its checksum is no base 64")
		}
		sum, body = s, body[:len(body)-1]
	}
	if len(body) == 0 {
		return nil, errors.New("it is empty")
	}
	// gpg is not always content without; a certificate is written anew for the store.
	if sum == nil && kind == armorSignature {
		return nil, errors.New("it has no checksum")
	}
	const longest = 76 // RFC 9580, section 6.2
	width := len(body[0])
	for i, line := range body {
		if line == "" || len(line) > longest || len(line) > width || i < len(body)-1 && len(line) != width {
			return nil, errors.New("its lines are of odd lengths")
		}
		if i < len(body)-1 && strings.HasSuffix(line, "=") {
			return nil, errors.New("its base 64 ends before its last line")
		}
		if strings.Contains(line, "\r") {
			return nil, errors.New("its lines end in carriage returns")
		}
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(strings.Join(body, ""))
	if err != nil {
		return nil, errors.New("it is no base 64")
	}
	if sum != nil && !bytes.Equal(sum, crc24(raw)) {
		return nil, errors.New("its checksum is wrong")
	}
	return raw, nil
}

// enarmor writes what dearmor reads, as gpg does: lines of 64 characters, a
// checksum, no headers.
func enarmor(raw []byte, kind string) []byte {
	var b bytes.Buffer
	b.WriteString("-----BEGIN " + kind + "-----\n\n")
	for text := base64.StdEncoding.EncodeToString(raw); text != ""; {
		n := min(64, len(text))
		b.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	b.WriteString("=" + base64.StdEncoding.EncodeToString(crc24(raw)) + "\n-----END " + kind + "-----\n")
	return b.Bytes()
}

// crc24 is the checksum of RFC 9580, section 6.1.1.
func crc24(data []byte) []byte {
	crc := uint32(0xb704ce)
	for _, c := range data {
		crc ^= uint32(c) << 16
		for range 8 {
			if crc <<= 1; crc&0x1000000 != 0 {
				crc ^= 0x1864cfb
			}
		}
	}
	return []byte{byte(crc >> 16), byte(crc >> 8), byte(crc)}
}

package doctest

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"
)

// dissect lists the bytes of a version 4 signature beside what they mean. It is
// written from the page and RFC 9580 alone, and shares no code with the parser
// that it explains.
func dissect(t *testing.T, armour string) string {
	t.Helper()
	var text strings.Builder
	for line := range strings.Lines(armour) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '-' && line[0] != '=' {
			text.WriteString(line)
		}
	}
	data, err := base64.StdEncoding.DecodeString(text.String())
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	at := 0
	take := func(n int, format string, args ...any) []byte {
		part := data[at : at+n]
		hex := fmt.Sprintf("% x", part)
		if n > 8 {
			hex = fmt.Sprintf("% x …", part[:7])
		}
		fmt.Fprintf(&out, "%3d  %-24s %s\n", at, hex, fmt.Sprintf(format, args...))
		at += n
		return part
	}
	take(1, "packet of type 2 (signature), length in the new form")
	take(1, "%d bytes follow", data[at])
	take(1, "version 4")
	take(1, "type 0x00: over binary data")
	take(1, "public-key algorithm %d (EdDSA)", data[at])
	take(1, "hash function %d (SHA-512)", data[at])
	n := binary.BigEndian.Uint16(take(2, "bytes of the hashed area: %d", binary.BigEndian.Uint16(data[at:])))
	for end := at + int(n); at < end; {
		size := int(take(1, "a subpacket of %d bytes", data[at])[0])
		critical := ""
		if data[at]&0x80 != 0 {
			critical = ", critical"
		}
		switch kind := data[at] & 0x7f; kind {
		case 2:
			take(1, "2%s: when it was made", critical)
			take(size-1, "%s", time.Unix(int64(binary.BigEndian.Uint32(data[at:])), 0).UTC().Format(time.RFC3339))
		case 16:
			take(1, "16%s: the key's short id", critical)
			take(size-1, "the last 8 bytes of the fingerprint")
		case 33:
			take(1, "33%s: the key's full fingerprint", critical)
			take(1, "a key of version 4")
			take(size-2, "%X", data[at:at+size-2])
		default:
			take(1, "%d%s", kind, critical)
			take(size-1, "its content")
		}
	}
	take(2, "bytes of the unhashed area: %d", binary.BigEndian.Uint16(data[at:]))
	take(2, "the first two bytes of the hash")
	for _, name := range []string{"R", "S"} {
		bits := int(binary.BigEndian.Uint16(take(2, "%s has %d bits", name, binary.BigEndian.Uint16(data[at:]))))
		take((bits+7)/8, "%s", name)
	}
	if at != len(data) {
		t.Fatalf("%d bytes are left of the example signature", len(data)-at)
	}
	return out.String()
}

package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"
	"time"
)

// packetsOf takes a certificate apart.
func packetsOf(t *testing.T, c *Certificate) (all []rawPacket) {
	t.Helper()
	rest, err := dearmor(c.Armor(), armorPublicKey)
	for err == nil && len(rest) > 0 {
		var p rawPacket
		if p, rest, err = nextPacket(rest); err == nil {
			all = append(all, p)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What reading one certificate may cost is bounded, each at its limit and one beyond.
func TestCertificateLimits(t *testing.T) {
	t.Parallel()
	k, err := GenerateKey("alice", "alice@example.com", time.Now().Add(-time.Hour), 0)
	if err != nil {
		t.Fatal(err)
	}
	parts := packetsOf(t, k.Certificate()) // the key, then what it says of itself
	said := parts[len(parts)-1]
	with := func(more func(i int) rawPacket, n int) []byte {
		var b bytes.Buffer
		for _, p := range parts {
			p.write(&b)
		}
		for i := range n {
			more(i).write(&b)
		}
		return b.Bytes()
	}
	each := func(p rawPacket) func(int) rawPacket { return func(int) rawPacket { return p } }
	forged := func(i int) rawPacket {
		body := bytes.Clone(said.body)
		binary.BigEndian.PutUint32(body[len(body)-4:], uint32(i))
		return rawPacket{said.tag, body}
	}
	for name, c := range map[string]struct {
		raw  []byte
		want Reason
	}{
		"packets":             {with(each(rawPacket{tagTrust, nil}), maxPackets-len(parts)), ""},
		"too many packets":    {with(each(rawPacket{tagTrust, nil}), maxPackets-len(parts)+1), ReasonCertLimits},
		"signatures":          {with(forged, maxSelfChecks-len(parts)), ""},
		"too many signatures": {with(forged, maxSelfChecks+1), ReasonCertLimits},
		"one over and over":   {with(each(said), maxSelfChecks+1), ""},
		"a long user id":      {with(each(rawPacket{tagUserID, bytes.Repeat([]byte("a"), maxUserID+1)}), 1), ""},
		"a large key":         {rsaKey(maxRSA + 8), ReasonCertLimits},
	} {
		if _, err := parseCertificate(c.raw); ReasonOf(err) != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// rsaKey writes a public key packet of so many bits.
func rsaKey(bits int) []byte {
	body := []byte{4, 0x60, 0, 0, 0, 1, byte(bits >> 8), byte(bits)}
	n := bytes.Repeat([]byte{0xff}, bits/8)
	body = append(append(body, n...), 0, 17, 1, 0, 1)
	var b bytes.Buffer
	rawPacket{tagPublicKey, body}.write(&b)
	return b.Bytes()
}

// Of what a key's owner says without end, so much is kept.
func TestCertificateKeeps(t *testing.T) {
	t.Parallel()
	k, err := GenerateKey("alice", "alice@example.com", time.Now().Add(-time.Hour), 0)
	if err != nil {
		t.Fatal(err)
	}
	c := *k.Certificate()
	said := append(append([]selfSig{}, c.direct...), c.users[0].certs...)[0]
	var many []selfSig
	for i := range 3 * keepSigs {
		s := said
		s.id = fmt.Sprint(i)
		many = append(many, s)
	}
	if n := len(newest(many)); n != keepSigs {
		t.Errorf("%d signatures are kept, want %d", n, keepSigs)
	}
	for i := range keepUsers + 5 {
		c.users = append(c.users, userID{text: fmt.Sprintf("b%03d", i), certs: c.users[0].certs})
	}
	for i := range keepSubkeys + 5 {
		c.subkeys = append(c.subkeys, subkey{pub: c.pub, body: c.body, fpr: Fingerprint(fmt.Sprintf("%040d", i)), bindings: c.users[0].certs})
	}
	c.settle()
	if len(c.users) != keepUsers || len(c.subkeys) != keepSubkeys {
		t.Errorf("%d user ids and %d subkeys are kept", len(c.users), len(c.subkeys))
	}
}

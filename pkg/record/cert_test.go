package record

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/jitaccess/jit/internal/testenv"
)

// What stands in a certificate counts only where the key signed it.
func TestCertificateForgeries(t *testing.T) {
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	key, _, ring := signer(t, now)
	own := parts(t, key.Certificate())
	renamed := bytes.Replace(own, []byte("Alice"), []byte("Mally"), 1)
	if _, err := ParseCertificate(enarmor(renamed, armorPublicKey)); ReasonOf(err) != ReasonCertSelfSig {
		t.Errorf("another user id under the same signature: %v", err)
	}

	// A stranger's certificate that claims somebody's signing subkey: the
	// binding is not the stranger's, and the subkey stays its owner's.
	g := testenv.GPGHome(t)
	fpr := g.MakeKey("Dave", "dave@example.org", "ed25519", "")
	sub := Fingerprint(g.AddSubkey(fpr, "ed25519", "sign", ""))
	owner, err := ParseCertificate(g.Export(fpr))
	if err != nil {
		t.Fatal(err)
	}
	tail := parts(t, owner)
	for tail[0]&63 != tagPublicSubkey {
		if _, tail, err = nextPacket(tail); err != nil {
			t.Fatal(err)
		}
	}
	thief, err := ParseCertificate(enarmor(append(bytes.Clone(own), tail...), armorPublicKey))
	if err != nil {
		t.Fatal(err)
	}
	if ring, err = ring.With(thief); err != nil {
		t.Fatal(err)
	}
	if found := ring.Find(sub); len(found) != 0 {
		t.Errorf("the stranger's certificate has the subkey")
	}
	if ring, err = ring.With(owner); err != nil {
		t.Fatal(err)
	}
	if found := ring.Find(sub); len(found) != 1 || found[0].Fingerprint() != Fingerprint(fpr) {
		t.Errorf("subkey found in %v", found)
	}
}

// A certificate says which of its subkeys were taken back, and how; a revocation stays
// whatever it is merged with.
func TestRevokedSubkeys(t *testing.T) {
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	at := func(minute int) *packet.Config {
		return &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Time: func() time.Time { return now.Add(time.Duration(minute) * time.Minute) }}
	}
	key, err := GenerateKey("Alice", "alice@example.org", now, 0)
	if err != nil {
		t.Fatal(err)
	}
	e := key.entity
	var want []SubkeyRevocation
	var bare *Certificate
	reasons := [][]packet.ReasonForRevocation{nil, {packet.KeyRetired}, {packet.KeySuperseded}, {packet.KeyCompromised}, {packet.NoReason}, {packet.KeyRetired, packet.KeyCompromised}}
	for range reasons {
		if err := e.AddSigningSubkey(at(0)); err != nil {
			t.Fatal(err)
		}
	}
	if bare, err = certificateOf(e); err != nil {
		t.Fatal(err)
	}
	for i, all := range reasons {
		x := SubkeyRevocation{Subkey: fingerprintOf(e.Subkeys[i].PublicKey.Fingerprint)}
		for _, reason := range all {
			sub := &e.Subkeys[i]
			before := sub.Revocations
			sub.Revocations = nil // go-crypto revokes nothing twice
			if err := sub.Revoke(reason, "over", at(i)); err != nil {
				t.Fatal(err)
			}
			sub.Revocations = append(sub.Revocations, before...)
			x.Kind, x.At = RevokedSoft, now.Add(time.Duration(i)*time.Minute)
			if reason == packet.KeyCompromised || reason == packet.NoReason {
				x.Kind = RevokedHard
			}
		}
		if x.Kind != NotRevoked {
			want = append(want, x)
		}
	}
	slices.SortFunc(want, func(a, b SubkeyRevocation) int { return bytes.Compare(a.Subkey.Bytes(), b.Subkey.Bytes()) })
	revoked, err := certificateOf(e)
	if err != nil {
		t.Fatal(err)
	}
	one, _, err := bare.Merge(revoked)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := revoked.Merge(bare)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*Certificate{"as read": revoked, "merged into the old": one, "the old merged into it": other} {
		if got := c.RevokedSubkeys(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := bare.RevokedSubkeys(); got != nil {
		t.Errorf("before: %v", got)
	}
}

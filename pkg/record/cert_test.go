package record

import (
	"bytes"
	"testing"
	"time"

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

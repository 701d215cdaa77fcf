package main

import (
	"testing"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/record"
)

// TestPrimaryOf: of a subkey's fingerprint the key is found that a policy, or a lock,
// must name instead; of all else nothing is said.
func TestPrimaryOf(t *testing.T) {
	t.Parallel()
	g := testenv.GPGHome(t)
	primary := g.MakeKey("carol", "carol@example.com", "ed25519", "")
	sub := g.AddSubkey(primary, "ed25519", "sign", "")
	cert, err := record.ParseCertificate(g.Run(nil, "--batch", "--armor", "--no-comments", "--export", primary))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := record.NewKeyring(cert)
	if err != nil {
		t.Fatal(err)
	}
	if c := primaryOf(ring, record.Fingerprint(sub)); c == nil || string(c.Fingerprint()) != primary {
		t.Errorf("the subkey %s is of %v", sub, c)
	}
	for _, fpr := range []string{primary, "00000000000000000000000000000000000000AB"} {
		if c := primaryOf(ring, record.Fingerprint(fpr)); c != nil {
			t.Errorf("%s is a subkey of %s", fpr, c.Fingerprint())
		}
	}
}

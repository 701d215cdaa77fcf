package record

import (
	"context"
	"sync"
	"testing"
	"time"
)

func TestKeyringGrows(t *testing.T) {
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	var all []*Certificate
	var ring *Keyring
	for range 3 * maxRecent {
		key, err := GenerateKey("A", "", now, 0)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, key.Certificate())
		if ring, err = ring.With(key.Certificate()); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range all {
		if ring.Lookup(c.Fingerprint()) != c {
			t.Fatalf("%s is lost", c.Fingerprint())
		}
	}
	list := ring.All()
	if len(list) != len(all) {
		t.Fatalf("%d certificates, want %d", len(list), len(all))
	}
	for i := 1; i < len(list); i++ {
		if list[i-1].Fingerprint() >= list[i].Fingerprint() {
			t.Fatal("not sorted")
		}
	}
	if same, err := ring.With(all[0]); err != nil || same != ring {
		t.Errorf("adding what is there makes another keyring (%v)", err)
	}
}

func TestVerifyConcurrently(t *testing.T) {
	ring, data, sig, _ := fixed(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if _, err := ring.Verify(data, sig); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkVerify(b *testing.B) {
	ring, data, sig, _ := fixed(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ring.Verify(data, sig); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	_, s, _ := signer(b, time.Now())
	for b.Loop() {
		if _, err := s.Sign(context.Background(), []byte("data")); err != nil {
			b.Fatal(err)
		}
	}
}

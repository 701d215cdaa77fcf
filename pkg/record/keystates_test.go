package record

import (
	"bytes"
	"context"
	"testing"
	"time"
)

func TestKeyStates(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	key, s, ring := signer(t, now)
	for _, tt := range []struct {
		at     time.Time
		reason Reason
	}{{now.Add(-2 * time.Hour), ReasonKeyNotYet}, {now, ""}, {now.Add(23*time.Hour - time.Second), ""}, {now.Add(23 * time.Hour), ReasonKeyExpired}} {
		data := makeRecord(t, tt.at)
		sig, err := key.Signer(func() time.Time { return tt.at }).Sign(ctx, data)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ring.Verify(data, sig); ReasonOf(err) != tt.reason {
			t.Errorf("at %v: reason %q (%v), want %q", tt.at, ReasonOf(err), err, tt.reason)
		}
		if got := ReasonOf(key.Certificate().CanSign(tt.at)); got != tt.reason {
			t.Errorf("at %v: can sign %q, want %q", tt.at, got, tt.reason)
		}
		from := tt.reason
		if from == ReasonKeyNotYet {
			from = ""
		}
		if got := ReasonOf(key.Certificate().CanSignFrom(tt.at)); got != from {
			t.Errorf("from %v on: can sign %q, want %q", tt.at, got, from)
		}
	}
	data := makeRecord(t, now)
	sig, err := s.Sign(ctx, data)
	if err != nil {
		t.Fatal(err)
	}
	var versions []*Certificate
	for kind, reason := range map[RevocationKind]Reason{RevokedSoft: ReasonKeyRevoked, RevokedHard: ReasonKeyCompromised} {
		armoured, err := RevokeKey(s, kind, "why", now.Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		c, err := ParseCertificate(armoured)
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, c)
		revoked, err := ring.With(c)
		if err != nil {
			t.Fatal(err)
		}
		// Whatever time is claimed.
		if _, err := revoked.Verify(data, sig); ReasonOf(err) != reason {
			t.Errorf("%v: reason %q (%v), want %q", kind, ReasonOf(err), err, reason)
		}
		if _, err := ring.Verify(data, sig); err != nil {
			t.Errorf("the keyring before changed: %v", err)
		}
		// An old copy does not undo it.
		again, err := revoked.With(key.Certificate())
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := again.Lookup(key.Certificate().Fingerprint()).Revocation(); got != kind {
			t.Errorf("after an old copy: %v, want %v", got, kind)
		}
	}
	versions = append(versions, key.Certificate())
	var want []byte
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {0, 2, 1}} {
		m := versions[order[0]]
		for _, i := range order[1:] {
			if m, _, err = m.Merge(versions[i]); err != nil {
				t.Fatal(err)
			}
		}
		if want == nil {
			want = m.Armor()
		}
		if !bytes.Equal(m.Armor(), want) {
			t.Errorf("order %v gives another certificate", order)
		}
		if got, _ := m.Revocation(); got != RevokedHard {
			t.Errorf("merged: %v", got)
		}
		back, err := ParseCertificate(m.Armor())
		if err != nil || !bytes.Equal(back.Armor(), m.Armor()) {
			t.Errorf("the canonical form does not read back to itself: %v", err)
		}
	}
	stranger, _, _ := signer(t, now)
	if _, _, err := key.Certificate().Merge(stranger.Certificate()); ReasonOf(err) != ReasonCertOther {
		t.Errorf("merge with another's: %v", err)
	}
}

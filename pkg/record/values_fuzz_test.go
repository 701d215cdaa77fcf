package record

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// FuzzKeyring reads two certificates, each by anybody, and merges them with an honest
// key's: in whatever order they come, the keyring is the same, what was revoked stays
// so, nothing grows without end, and the honest key's signatures still count unless
// its own revocation is among them.
func FuzzKeyring(f *testing.F) {
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	ring, data, sig, cert := fixed(f)
	honest, err := dearmor(cert, armorPublicKey)
	if err != nil {
		f.Fatal(err)
	}
	key, s, _ := signer(f, now)
	other, err := dearmor(key.Certificate().Armor(), armorPublicKey)
	if err != nil {
		f.Fatal(err)
	}
	for _, kind := range []RevocationKind{RevokedSoft, RevokedHard} {
		armoured, err := RevokeKey(s, kind, "why", now)
		if err != nil {
			f.Fatal(err)
		}
		revoked, err := dearmor(armoured, armorPublicKey)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(revoked, other)
		f.Add(other, revoked)
	}
	f.Add(honest, other)
	f.Add(honest, honest[:len(honest)-100])
	f.Fuzz(func(t *testing.T, a, b []byte) {
		one, errOne := ParseCertificate(enarmor(a, armorPublicKey))
		two, errTwo := ParseCertificate(enarmor(b, armorPublicKey))
		if errOne != nil || errTwo != nil {
			return
		}
		left := with(t, with(t, ring, one), two)
		right := with(t, with(t, ring, two), one)
		for i, c := range left.All() {
			if o := right.All()[i]; !bytes.Equal(c.Armor(), o.Armor()) {
				t.Errorf("%s and %s: the order in which they came matters", c.Fingerprint(), o.Fingerprint())
			}
			if len(c.Armor()) > 2*MaxCertificateSize {
				t.Errorf("a certificate of %d bytes", len(c.Armor()))
			}
			was, _ := one.Revocation()
			if is, _ := c.Revocation(); c.Fingerprint() == one.Fingerprint() && is < was {
				t.Errorf("%v became %v", was, is)
			}
		}
		if again := with(t, with(t, left, one), two); again != left {
			t.Error("what is there already makes another keyring")
		}
		if _, err := left.Verify(data, sig); err != nil && ReasonOf(err) != ReasonKeyRevoked && ReasonOf(err) != ReasonKeyCompromised {
			t.Errorf("the honest signature is refused: %v", err)
		}
	})
}

func with(t *testing.T, k *Keyring, c *Certificate) *Keyring {
	t.Helper()
	next, err := k.With(c)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// FuzzValues: what is read of a single value is written as it was read, so that
// nothing can be written in two ways; a duration's meaning survives.
func FuzzValues(f *testing.F) {
	for _, s := range []string{"1w2d3h4m5s", "90m", "0s", "99999999999h", "2026-11-24T09:00:00Z", "2026-02-30T09:00:00Z", "2026-11-24T09:00:00+01:00", testID, testStore, strings.Repeat("A", 40), "", "\x00", "a\u202eb", "x\nz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDuration(s); err == nil {
			again, err := ParseDuration(d.String())
			if err != nil || again != d || d.Duration <= 0 || d.Duration > MaxDuration {
				t.Errorf("%q is %v, and then %v: %v", s, d, again, err)
			}
		}
		if ts, err := ParseTimestamp(s); err == nil {
			if out, err := ts.MarshalYAML(); err == nil && out.(*yaml.Node).Value != s {
				t.Errorf("%q is read as %v", s, out)
			}
		}
		if id, err := ParseID(s); err == nil && (string(id) != s || id.Time().IsZero() || len(id.Day()) != len("2026/11/24")) {
			t.Errorf("%q is read as %s of %s", s, id, id.Day())
		}
		if d, err := ParseDigest(s); err == nil && string(d) != s {
			t.Errorf("%q is read as %s", s, d)
		}
		if d, err := ParseStoreID(s); err == nil && string(d) != s {
			t.Errorf("%q is read as %s", s, d)
		}
		if fpr, err := ParseFingerprint(s); err == nil && (string(fpr) != s || fingerprintOf(fpr.Bytes()) != fpr) {
			t.Errorf("%q is read as %s", s, fpr)
		}
	})
}

// FuzzColons reads what gpg lists. Its user ids are anybody's text.
func FuzzColons(f *testing.F) {
	f.Add("sec:u:255:22:AAAAAAAAAAAAAAAA:1764000000:1864000000::u:::scESC:::+::ed25519:::0:\n" +
		"fpr:::::::::" + strings.Repeat("A", 40) + ":\nuid:u::::1764000000::X::a\\x3ab <c>::::::::::0:\n" +
		"ssb:u:255:22:BBBBBBBBBBBBBBBB:1764000000::::::s:::+::ed25519::\nfpr:::::::::" + strings.Repeat("B", 40) + ":\n")
	f.Add("fpr:::::::::\nuid:r::::::::\\x1b[0m:\nsec:::::::::::::::\n")
	f.Fuzz(func(t *testing.T, out string) {
		keys := parseColons(out)
		if len(keys) > strings.Count(out, "sec:") {
			t.Errorf("%d keys", len(keys))
		}
		for _, k := range keys {
			for _, id := range k.UserIDs {
				if CheckText(id) != nil {
					t.Errorf("%q would be shown", id)
				}
			}
			for _, fpr := range append([]Fingerprint{}, k.secrets...) {
				if _, err := ParseFingerprint(string(fpr)); err != nil {
					t.Error(err)
				}
			}
			if k.CanSign != (len(k.secrets) > 0) {
				t.Errorf("%+v", k)
			}
		}
	})
}

// FuzzSecretKey opens a key file. What opens can sign for its own certificate.
func FuzzSecretKey(f *testing.F) {
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	key, _, _ := signer(f, now)
	for _, passphrase := range []string{"", "horse"} {
		secret, err := key.SecretArmor([]byte(passphrase))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(secret)
		f.Add(secret[:len(secret)/2])
	}
	f.Add(key.Certificate().Armor())
	data := makeRecord(f, now)
	f.Fuzz(func(t *testing.T, armoured []byte) {
		if len(armoured) > MaxCertificateSize {
			return // no such file is read
		}
		s, err := OpenKey(armoured, func() time.Time { return now })
		if err != nil {
			return
		}
		cert, err := s.Certificate(t.Context())
		if err != nil || cert.Fingerprint() != s.Fingerprint() {
			t.Fatalf("%v %v", cert, err)
		}
		if _, v, err := SignRecord(t.Context(), s, data, now); err == nil && v.Primary() != s.Fingerprint() {
			t.Errorf("signed as %s", v.Primary())
		}
	})
}

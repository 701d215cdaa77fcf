package record

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
)

// makeRecord gives a comment record created at the time at.
func makeRecord(t testing.TB, at time.Time) []byte {
	t.Helper()
	id, err := NewID(at, strings.NewReader("as good as random"))
	if err != nil {
		t.Fatal(err)
	}
	return makeRecordWith(t, at, id)
}

func makeRecordWith(t testing.TB, at time.Time, id ID) []byte {
	t.Helper()
	data, err := Encode(testRecord{
		Head: Head{APIVersion: APIVersion, Kind: KindComment, ID: id, Store: testStore, Created: At(at), By: "alice"}, Text: "a comment",
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func gpgOptions(g *testenv.GPG, fpr string) GPGOptions {
	return GPGOptions{Home: g.Home, Fingerprint: Fingerprint(fpr)}
}

// gpgVerify has gpg judge a signature.
func gpgVerify(t *testing.T, g *testenv.GPG, data, sig []byte) error {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string][]byte{"r.yaml": data, "r.yaml.asc": sig} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, messages, err := g.Try(nil, "--batch", "--verify", filepath.Join(dir, "r.yaml.asc"), filepath.Join(dir, "r.yaml"))
	if err == nil && !strings.Contains(messages, "Good signature") {
		t.Errorf("gpg said\n%s", messages)
	}
	return err
}

func TestGPGSigner(t *testing.T) {
	g := testenv.GPGHome(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	ed := g.MakeKey("Alice", "alice@example.org", "ed25519", "correct horse")
	rsa := g.MakeKey("Bob: Builder", "bob@example.org", "rsa2048", "")
	p256 := g.MakeKey("Carol", "carol@example.org", "nistp256", "battery")
	multi := g.MakeKey("Dave", "dave@example.org", "ed25519", "staple")
	sub := g.AddSubkey(multi, "ed25519", "sign", "staple")
	g.AddSubkey(multi, "cv25519", "encr", "staple")

	for _, tt := range []struct{ name, fpr, signing, algorithm string }{
		{"Ed25519 with a passphrase", ed, ed, "Ed25519"}, {"RSA", rsa, rsa, "RSA 2048"},
		{"P-256", p256, p256, "ECDSA P256"}, {"signing subkey", multi, sub, "Ed25519"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := NewGPG(gpgOptions(g, tt.fpr))
			if err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			data := makeRecord(t, now)
			sig, v, err := SignRecord(ctx, s, data, now)
			if err != nil {
				t.Fatal(err)
			}
			if v.Primary() != Fingerprint(tt.fpr) || v.SigningKey() != Fingerprint(tt.signing) || v.Digest() != Sum(data) || v.IsZero() {
				t.Errorf("verified as %s by %s, want %s by %s", v.Primary(), v.SigningKey(), tt.fpr, tt.signing)
			}
			if err := gpgVerify(t, g, data, sig); err != nil {
				t.Errorf("gpg refuses the signature: %v", err)
			}
			c, err := ParseCertificate(g.Export(tt.fpr))
			if err != nil {
				t.Fatal(err)
			}
			if c.Algorithm() != tt.algorithm || c.Fingerprint() != Fingerprint(tt.fpr) {
				t.Errorf("certificate %s %q", c.Fingerprint(), c.Algorithm())
			}
			// Someone else's gpg, with nothing but the store's certificate.
			other := testenv.GPGHome(t)
			other.Run(c.Armor(), "--batch", "--import")
			if err := gpgVerify(t, other, data, sig); err != nil {
				t.Errorf("gpg refuses the signature with the canonical certificate: %v", err)
			}
			if err := gpgVerify(t, other, append(data, '\n'), sig); err == nil {
				t.Error("gpg takes changed bytes")
			}
		})
	}

	keys, err := ListGPGSecretKeys(ctx, gpgOptions(g, ""))
	if err != nil || len(keys) != 4 {
		t.Fatalf("keys %+v, %v", keys, err)
	}
	if k := keys[1]; k.Fingerprint != Fingerprint(rsa) || len(k.UserIDs) != 1 || k.UserIDs[0] != "Bob: Builder <bob@example.org>" || !k.CanSign || !k.Expires.IsZero() {
		t.Errorf("key %+v", k)
	}

	t.Run("problems", func(t *testing.T) {
		problem := func(err error) SignProblem {
			var e *SignError
			if !errors.As(err, &e) {
				t.Errorf("not a SignError: %v", err)
				return ""
			}
			return e.Problem
		}
		if _, err := NewGPG(GPGOptions{Home: g.Home, Fingerprint: Fingerprint(strings.Repeat("A", 40))}); problem(err) != SignNoKey {
			t.Errorf("unknown key: %v", err)
		}
		if _, err := NewGPG(GPGOptions{Program: filepath.Join(t.TempDir(), "gpg"), Home: g.Home, Fingerprint: Fingerprint(ed)}); problem(err) != SignNoProgram {
			t.Errorf("no gpg: %v", err)
		}
		s, err := NewGPG(gpgOptions(g, ed))
		if err != nil {
			t.Fatal(err)
		}
		g.Forget()
		if _, err := s.Sign(ctx, []byte("x")); problem(err) != SignNoTerminal {
			t.Errorf("nobody to ask: %v (%s)", err, problem(err))
		}
		g.Preset(ed, "correct horse")
		if _, err := s.Sign(ctx, []byte("x")); err != nil {
			t.Errorf("with the passphrase again: %v", err)
		}
	})

	t.Run("refused forms", func(t *testing.T) {
		data := makeRecord(t, time.Now())
		c, err := ParseCertificate(g.Export(rsa))
		if err != nil {
			t.Fatal(err)
		}
		ring, err := NewKeyring(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			name   string
			reason Reason
			args   []string
		}{
			{"text mode", ReasonSigType, []string{"--textmode", "--armor", "--detach-sign"}},
			{"comment in the armour", ReasonSigArmor, []string{"--comment", "hello", "--armor", "--detach-sign"}},
			{"binary", ReasonSigArmor, []string{"--detach-sign"}},
			{"clear text", ReasonSigArmor, []string{"--clear-sign"}},
			{"whole message", ReasonSigArmor, []string{"--armor", "--sign"}},
			{"SHA-1", ReasonSigHash, []string{"--digest-algo", "SHA1", "--armor", "--detach-sign"}},
			{"an end of its own", ReasonSigExpires, []string{"--default-sig-expire", "1y", "--armor", "--detach-sign"}},
			{"critical notation", ReasonSigCritical, []string{"--sig-notation", "!a@example.org=b", "--armor", "--detach-sign"}},
			{"two signers", ReasonSigPackets, []string{"--local-user", ed, "--armor", "--detach-sign"}},
			{"another's key", ReasonKeyUnknown, []string{"--armor", "--detach-sign", "--default-key", ed}},
		} {
			args := append([]string{"--batch", "--yes"}, tt.args...)
			if tt.reason != ReasonKeyUnknown {
				args = append([]string{"--local-user", rsa}, args...)
			}
			sig := g.Run(data, args...)
			if _, err := ring.Verify(data, sig); ReasonOf(err) != tt.reason {
				t.Errorf("%s: reason %q (%v), want %q", tt.name, ReasonOf(err), err, tt.reason)
			}
		}
		sig := g.Run(data, "--batch", "--local-user", rsa, "--sig-notation", "a@example.org=b", "--armor", "--detach-sign")
		if _, err := ring.Verify(data, sig); err != nil {
			t.Errorf("plain notation: %v", err)
		}
	})

	t.Run("revocation", func(t *testing.T) {
		g.Preset(p256, "battery")
		before, err := ParseCertificate(g.Export(p256))
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []RevocationKind{RevokedSoft, RevokedHard} {
			armoured, err := RevokeGPG(ctx, gpgOptions(g, p256), kind, "moved on")
			if err != nil {
				t.Fatal(err)
			}
			c, err := ParseCertificate(armoured)
			if err != nil {
				t.Fatal(err)
			}
			if got, at := c.Revocation(); got != kind || time.Since(at) > time.Hour {
				t.Errorf("revocation %v at %v, want %v", got, at, kind)
			}
			if got, _ := before.Revocation(); got != NotRevoked {
				t.Errorf("the certificate before is %v", got)
			}
			other := testenv.GPGHome(t)
			other.Run(armoured, "--batch", "--import")
			if list := string(other.Run(nil, "--batch", "--with-colons", "--list-keys")); !strings.Contains(list, "pub:r:") {
				t.Errorf("gpg does not see the revocation:\n%s", list)
			}
		}
	})
}

func TestKeyFile(t *testing.T) {
	ctx := context.Background()
	key, err := GenerateKey("Reconciler", "r@example.org", time.Now().Add(-time.Hour), 365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := key.Certificate().Expires(); !ok || time.Until(e) < 364*24*time.Hour {
		t.Errorf("expires %v %v", e, ok)
	}
	g := testenv.GPGHome(t)
	for _, passphrase := range []string{"", "horse"} {
		secret, err := key.SecretArmor([]byte(passphrase))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "key.asc")
		if err := os.WriteFile(path, secret, 0o644); err != nil {
			t.Fatal(err)
		}
		ask := func() ([]byte, error) { return []byte("horse"), nil }
		var e *SignError
		if _, err := OpenKeyFile(path, ask, time.Now); !errors.As(err, &e) || e.Problem != SignFile || !strings.Contains(e.Hint, "chmod 600") {
			t.Errorf("readable by others: %v", err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		if passphrase != "" {
			if _, err := OpenKeyFile(path, func() ([]byte, error) { return []byte("wrong"), nil }, time.Now); !errors.As(err, &e) || e.Problem != SignPassphrase {
				t.Errorf("wrong passphrase: %v", err)
			}
			if _, err := OpenKeyFile(path, nil, time.Now); !errors.As(err, &e) || e.Problem != SignPassphrase {
				t.Errorf("no passphrase: %v", err)
			}
		}
		s, err := OpenKeyFile(path, ask, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		data := makeRecord(t, now)
		sig, _, err := SignRecord(ctx, s, data, now)
		if err != nil {
			t.Fatal(err)
		}
		// gpg takes the secret key, the certificate and the signature.
		g.Run(secret, "--batch", "--pinentry-mode", "loopback", "--passphrase", passphrase, "--import")
		g.Run(key.Certificate().Armor(), "--batch", "--import")
		if err := gpgVerify(t, g, data, sig); err != nil {
			t.Errorf("gpg refuses: %v", err)
		}
	}
	if _, err := OpenKeyFile(t.TempDir(), nil, time.Now); err == nil {
		t.Error("opened a folder")
	}
	if _, err := GenerateKey("a <b>", "", time.Now(), 0); ReasonOf(err) != ReasonBadValue {
		t.Errorf("brackets: %v", err)
	}
	old, err := GenerateKey("Old", "", time.Now().Add(-48*time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := old.SecretArmor(nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "old.asc")
	if err := os.WriteFile(path, secret, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeyFile(path, nil, time.Now); ReasonOf(err) != ReasonKeyExpired {
		t.Errorf("expired key: %v", err)
	}
}

// signer gives a new key, its signer with a fixed clock, and a keyring.
func signer(t testing.TB, now time.Time) (*GeneratedKey, Signer, *Keyring) {
	t.Helper()
	key, err := GenerateKey("Alice", "alice@example.org", now.Add(-time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := NewKeyring(key.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	return key, key.Signer(func() time.Time { return now }), ring
}

func TestVerify(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	key, s, ring := signer(t, now)
	data := makeRecord(t, now)
	sig, err := s.Sign(ctx, data)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ring.Verify(data, sig)
	if err != nil {
		t.Fatal(err)
	}
	if v.Head().By != "alice" || !bytes.Equal(v.Bytes(), data) || !v.Signed().Equal(now) {
		t.Errorf("verified %+v", v)
	}
	if _, err := Decode[testRecord](v, KindComment); err != nil {
		t.Error(err)
	}
	text := string(sig)
	signed := func(data []byte) []byte {
		b, err := s.Sign(ctx, data)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	other := func(at time.Time) []byte { return signed(makeRecord(t, at)) }
	var foreign [][]byte // with ids of other times
	for _, at := range []time.Time{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), now.Add(2 * time.Minute)} {
		id, err := NewID(at, strings.NewReader("as good as random"))
		if err != nil {
			t.Fatal(err)
		}
		foreign = append(foreign, makeRecordWith(t, now, id))
	}
	for _, tt := range []struct {
		name   string
		data   []byte
		sig    string
		reason Reason
	}{
		{"no signature", data, "", ReasonSigMissing},
		{"one space more", append(bytes.Clone(data), ' '), text, ReasonSigMismatch},
		{"other line ends", bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n")), text, ReasonSigMismatch},
		{"another record's signature", data, string(other(now.Add(time.Second))), ReasonSigMismatch},
		{"an id of the year 9999", foreign[0], string(signed(foreign[0])), ReasonIDTime},
		{"an id of two minutes later", foreign[1], string(signed(foreign[1])), ReasonIDTime},
		{"two minutes apart", makeRecord(t, now.Add(2*time.Minute)), string(other(now.Add(2 * time.Minute))), ReasonSigTime},
		{"text before", data, "hello\n" + text, ReasonSigArmor},
		{"text after", data, text + "hello\n", ReasonSigArmor},
		{"empty line after", data, text + "\n", ReasonSigArmor},
		{"carriage returns", data, strings.ReplaceAll(text, "\n", "\r\n"), ReasonSigArmor},
		{"header", data, strings.Replace(text, "\n\n", "\nComment: hi\n\n", 1), ReasonSigArmor},
		{"twice", data, text + text, ReasonSigArmor},
		{"checksum", data, strings.Replace(text, "\n=", "\n=A", 1)[:len(text)], ReasonSigArmor},
		{"too large", data, text + strings.Repeat("\n", MaxSignatureSize), ReasonSigTooLarge},
		{"public key in place", data, string(key.Certificate().Armor()), ReasonSigArmor},
	} {
		if _, err := ring.Verify(tt.data, []byte(tt.sig)); ReasonOf(err) != tt.reason {
			t.Errorf("%s: reason %q (%v), want %q", tt.name, ReasonOf(err), err, tt.reason)
		}
	}
	raw, err := dearmor(sig, armorSignature)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		raw    []byte
		reason Reason
	}{
		"two packets":        {append(bytes.Clone(raw), raw...), ReasonSigPackets},
		"marker before":      {append([]byte{0xca, 3, 'P', 'G', 'P'}, raw...), ReasonSigPackets},
		"bytes after fields": {append(append([]byte{raw[0], raw[1] + 1}, raw[2:]...), 0), ReasonSigExtra},
		"partial length":     {append([]byte{raw[0], 0xe0}, raw[2:]...), ReasonSigPackets},
		"version 3":          {append([]byte{raw[0], raw[1], 3}, raw[3:]...), ReasonSigVersion},
		"cut short":          {raw[:len(raw)-1], ReasonSigPackets},
	} {
		if _, err := ring.Verify(data, enarmor(tt.raw, armorSignature)); ReasonOf(err) != tt.reason {
			t.Errorf("%s: reason %q (%v), want %q", name, ReasonOf(err), err, tt.reason)
		}
	}
	var none *Keyring
	if _, err := none.Verify(data, sig); ReasonOf(err) != ReasonKeyUnknown {
		t.Errorf("nil keyring: %v", err)
	}
	// Every changed byte of the packet is refused: as another signature or as none.
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		if v, err := ring.Verify(data, enarmor(bad, armorSignature)); err == nil {
			t.Errorf("byte %d changed: verified as %v", i, v.Primary())
		}
	}
	// Signed well, but no record.
	junk := []byte("apiVersion: jit/v2\n")
	if sig, err = s.Sign(ctx, junk); err != nil {
		t.Fatal(err)
	}
	if _, err := ring.Verify(junk, sig); ReasonOf(err) != ReasonBadVersion {
		t.Errorf("other version: %v", err)
	}
}

func TestGPGCertificates(t *testing.T) {
	g := testenv.GPGHome(t)
	data := makeRecord(t, time.Now())
	sign := func(fpr string, extra ...string) []byte {
		return g.Run(data, append([]string{"--batch", "--yes", "--local-user", fpr, "--armor", "--detach-sign"}, extra...)...)
	}
	read := func(fpr string) *Certificate {
		t.Helper()
		c, err := ParseCertificate(g.Export(fpr))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	verify := func(c *Certificate, sig []byte) Reason {
		t.Helper()
		ring, err := NewKeyring(c)
		if err != nil {
			t.Fatal(err)
		}
		_, err = ring.Verify(data, sig)
		return ReasonOf(err)
	}
	weak := g.MakeKey("Weak", "weak@example.org", "rsa1024", "")
	if got := verify(read(weak), sign(weak)); got != ReasonKeyWeak {
		t.Errorf("RSA 1024: %q", got)
	}
	dsa := g.MakeKey("Dsa", "dsa@example.org", "dsa2048", "")
	// These are not looked into at all: see verifiable.
	for _, k := range []string{dsa, g.MakeKey("Pool", "pool@example.org", "brainpoolP512r1", ""), g.MakeKey("Bit", "bit@example.org", "secp256k1", "")} {
		if _, err := ParseCertificate(g.Run(nil, "--batch", "--armor", "--no-comments", "--export", k)); ReasonOf(err) != ReasonKeyWeak {
			t.Errorf("%s: %v", k, err)
		}
	}
	g.Run(nil, "--batch", "--pinentry-mode", "loopback", "--passphrase", "", "--cert-digest-algo", "SHA1",
		"--quick-generate-key", "Sha <sha@example.org>", "ed25519", "sign", "never")
	sha := g.Run(nil, "--batch", "--with-colons", "--list-keys", "sha@example.org")
	_, rest, _ := strings.Cut(string(sha), "\nfpr:::::::::")
	shaFpr, _, _ := strings.Cut(rest, ":")
	if got := verify(read(shaFpr), sign(shaFpr)); got != ReasonKeySHA1 {
		t.Errorf("bound by SHA-1: %q", got)
	}
	g.Run(nil, "--batch", "--pinentry-mode", "loopback", "--passphrase", "", "--quick-generate-key", "Cert <cert@example.org>", "ed25519", "cert", "never")
	certOnly := g.Run(nil, "--batch", "--with-colons", "--list-keys", "cert@example.org")
	_, rest, _ = strings.Cut(string(certOnly), "\nfpr:::::::::")
	certFpr, _, _ := strings.Cut(rest, ":")
	if err := read(certFpr).CanSign(time.Now()); ReasonOf(err) != ReasonKeyNotSigning {
		t.Errorf("certifying key: %v", err)
	}

	// A newer end, and others' signatures, in a later copy.
	k := g.MakeKey("Alice", "alice@example.org", "ed25519", "")
	first := read(k)
	g.Run(nil, "--batch", "--faked-system-time", "20400101T000000!", "--quick-set-expire", k, "1y")
	later := read(k)
	e, ok := later.Expires()
	if !ok || e.Year() < 2040 {
		t.Errorf("newer end %v %v", e, ok)
	}
	if m, changed, err := first.Merge(later); err != nil || !changed {
		t.Errorf("merge: %v %v", changed, err)
	} else if got, _ := m.Expires(); !got.Equal(e) {
		t.Errorf("merged end %v", got)
	}
	size := len(read(k).Armor())
	g.Run(nil, "--batch", "--yes", "--local-user", dsa, "--quick-sign-key", k)
	if c := read(k); len(c.Armor()) != size {
		t.Errorf("another's signature was kept: %d bytes, were %d", len(c.Armor()), size)
	}
	for name, tt := range map[string]struct {
		data   []byte
		reason Reason
	}{
		"empty":       {nil, ReasonCertArmor},
		"too large":   {bytes.Repeat([]byte("a"), MaxCertificateSize+1), ReasonCertTooLarge},
		"two keys":    {g.Run(nil, "--batch", "--armor", "--no-comments", "--export", k, weak), ReasonCertPackets},
		"signature":   {sign(k), ReasonCertArmor},
		"no selfsigs": {enarmor(bare(t, first), armorPublicKey), ReasonCertSelfSig},
		"another's user id": {enarmor(append(bare(t, first), parts(t, read(weak))[len(bare(t, read(weak))):]...), armorPublicKey),
			ReasonCertSelfSig},
	} {
		if _, err := ParseCertificate(tt.data); ReasonOf(err) != tt.reason {
			t.Errorf("%s: reason %q (%v), want %q", name, ReasonOf(err), err, tt.reason)
		}
	}
}

func parts(t *testing.T, c *Certificate) []byte {
	t.Helper()
	raw, err := dearmor(c.Armor(), armorPublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// bare gives the key's packet alone.
func bare(t *testing.T, c *Certificate) []byte {
	t.Helper()
	raw := parts(t, c)
	_, rest, err := nextPacket(raw)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(raw[:len(raw)-len(rest)])
}

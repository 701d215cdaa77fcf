package record

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// fileSigner signs with a secret key in memory.
type fileSigner struct {
	cert    *Certificate
	primary *packet.PrivateKey // nil or a stub when only a subkey's secret is there
	signing *packet.PrivateKey
	now     func() time.Time
	mu      sync.Mutex // go-crypto's private keys make no promise to many goroutines
}

// OpenKeyFile opens an armoured OpenPGP secret key. The file must be regular,
// belong to root or to whom jit runs as, and be closed to its group and to others. passphrase is called when the key is
// encrypted; it may be nil when it is known not to be. It signs by the clock now; a
// key that could not sign then is refused with a [SignError].
func OpenKeyFile(path string, passphrase func() ([]byte, error), now func() time.Time) (Signer, error) {
	fail := func(err error, hint, format string, args ...any) (Signer, error) {
		return nil, &SignError{Problem: SignFile, Detail: fmt.Sprintf(format, args...), Hint: hint, Err: err}
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return fail(err, "", "open the key file")
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return fail(err, "", "look at the key file")
	case !info.Mode().IsRegular():
		return fail(nil, "", "key file %q is not a regular file", path)
	case info.Mode().Perm()&0o077 != 0:
		return fail(nil, fmt.Sprintf("chmod 600 %q", path), "key file %q can be read by others (mode %04o)", path, info.Mode().Perm())
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fail(nil, "use a key that nobody else can have written", "key file %q belongs to somebody else", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxCertificateSize+1))
	if err != nil {
		return fail(err, "", "read the key file %q", path)
	}
	if len(data) > MaxCertificateSize {
		return fail(nil, "", "key file %q is larger than %d bytes", path, MaxCertificateSize)
	}
	s, err := openSecret(data, passphrase, now)
	var signErr *SignError
	if errors.As(err, &signErr) {
		signErr.Detail = fmt.Sprintf("key file %q: %s", path, signErr.Detail)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// OpenKey opens an armoured OpenPGP secret key without a passphrase, for a
// signer that signs by the clock now. A key that could not sign then is refused
// with a [SignError].
func OpenKey(armoured []byte, now func() time.Time) (Signer, error) {
	s, err := openSecret(armoured, nil, now)
	if err != nil {
		return nil, err // not a nil pointer in an interface
	}
	return s, nil
}

// openSecret reads an armoured secret key and picks the key that signs: the
// first that may, the primary key before its subkeys, of those whose secret is
// there.
func openSecret(armoured []byte, passphrase func() ([]byte, error), now func() time.Time) (s *fileSigner, err error) {
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, &SignError{Problem: SignFile, Detail: fmt.Sprintf("the key does not parse: %v", p)}
		}
	}()
	entities, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(armoured))
	if err != nil {
		return nil, &SignError{Problem: SignFile, Detail: "the key does not parse", Err: err}
	}
	if len(entities) != 1 || entities[0].PrivateKey == nil {
		return nil, &SignError{Problem: SignFile, Detail: "there is not exactly one secret key"}
	}
	e := entities[0]
	cert, err := certificateOf(e)
	if err != nil {
		return nil, &SignError{Problem: SignFile, Detail: "the key's certificate is refused", Err: err}
	}
	if err := cert.CanSign(now()); err != nil {
		return nil, &SignError{Problem: SignUnusable, Detail: "the key is of no use", Err: err}
	}
	s = &fileSigner{cert: cert, primary: e.PrivateKey, now: now}
	usable := cert.SigningKeys(now())
	for _, k := range secretKeys(e) {
		if s.signing == nil && !k.Dummy() && slices.Contains(usable, fingerprintOf(k.Fingerprint)) {
			s.signing = k
		}
	}
	if s.signing == nil {
		return nil, &SignError{Problem: SignNoKey, Detail: "the secret part of no signing key is there"}
	}
	if s.signing.Encrypted {
		if passphrase == nil {
			return nil, &SignError{Problem: SignPassphrase, Detail: "the key needs a passphrase"}
		}
		secret, err := passphrase()
		if err != nil {
			return nil, &SignError{Problem: SignPassphrase, Detail: "no passphrase was given", Err: err}
		}
		for _, k := range secretKeys(e) {
			if (k == s.signing || k == e.PrivateKey) && k.Encrypted && !k.Dummy() {
				if err := k.Decrypt(secret); err != nil {
					return nil, &SignError{Problem: SignPassphrase, Detail: "the passphrase does not open the key"}
				}
			}
		}
	}
	return s, nil
}

func secretKeys(e *openpgp.Entity) []*packet.PrivateKey {
	keys := []*packet.PrivateKey{e.PrivateKey}
	for _, sub := range e.Subkeys {
		if sub.PrivateKey != nil {
			keys = append(keys, sub.PrivateKey)
		}
	}
	return keys
}

func certificateOf(e *openpgp.Entity) (*Certificate, error) {
	var b bytes.Buffer
	if err := e.Serialize(&b); err != nil {
		return nil, fmt.Errorf("write the certificate: %w", err)
	}
	return ParseCertificate(enarmor(b.Bytes(), armorPublicKey))
}

// Fingerprint implements [Signer].
func (s *fileSigner) Fingerprint() Fingerprint { return s.cert.fpr }

// Certificate implements [Signer].
func (s *fileSigner) Certificate(context.Context) (*Certificate, error) { return s.cert, nil }

// plain is how signatures are made: nothing in them but what must be.
var plain = &packet.Config{NonDeterministicSignaturesViaNotation: packet.BoolPointer(false)}

// Sign implements [Signer].
func (s *fileSigner) Sign(ctx context.Context, data []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sig := newSignature(s.signing, packet.SigTypeBinary, s.now())
	h, err := sig.PrepareSign(plain)
	if err != nil {
		return nil, &SignError{Problem: SignFailed, Err: err}
	}
	h.Write(data)
	if err := sig.Sign(h, s.signing, plain); err != nil {
		return nil, &SignError{Problem: SignFailed, Err: err}
	}
	var b bytes.Buffer
	if err := sig.Serialize(&b); err != nil {
		return nil, &SignError{Problem: SignFailed, Err: err}
	}
	out := enarmor(b.Bytes(), armorSignature)
	if _, err := parseSignature(out); err != nil {
		return nil, &SignError{Problem: SignFailed, Detail: "the signature just made is not in jit's form", Err: err}
	}
	return out, nil
}

func newSignature(key *packet.PrivateKey, kind packet.SignatureType, now time.Time) *packet.Signature {
	return &packet.Signature{
		Version: key.Version, SigType: kind, PubKeyAlgo: key.PubKeyAlgo, Hash: crypto.SHA512, CreationTime: now, IssuerKeyId: &key.KeyId,
	}
}

// GeneratedKey is a new secret key.
type GeneratedKey struct {
	entity *openpgp.Entity
	cert   *Certificate
}

// GenerateKey makes an Ed25519 key of version 4 that signs and certifies, for
// the user id "name <email>", valid from now for the time expires, or without
// end when expires is 0. gpg 2.2 and later can use it.
func GenerateKey(name, email string, now time.Time, expires time.Duration) (*GeneratedKey, error) {
	for _, part := range []struct{ what, text string }{{"name", name}, {"email", email}} {
		if part.text == "" && part.what == "email" {
			continue
		}
		if err := checkLine(part.what, part.text, 256); err != nil {
			return nil, err
		}
		if bytes.ContainsAny([]byte(part.text), "()<>") {
			return nil, refuse(ReasonBadValue, "%s %q holds a bracket, which a user id cannot", part.what, part.text)
		}
	}
	if expires < 0 || expires/time.Second > 1<<32-1 {
		return nil, refuse(ReasonBadValue, "a key cannot be valid for %s", expires)
	}
	e, err := openpgp.NewEntity(name, "", email, &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, Curve: packet.Curve25519, DefaultHash: crypto.SHA512,
		KeyLifetimeSecs: uint32(expires / time.Second), Time: func() time.Time { return now.Truncate(time.Second) },
		NonDeterministicSignaturesViaNotation: packet.BoolPointer(false),
	})
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	e.Subkeys = nil // jit never encrypts
	cert, err := certificateOf(e)
	if err != nil {
		return nil, fmt.Errorf("check the new key: %w", err)
	}
	return &GeneratedKey{entity: e, cert: cert}, nil
}

// Certificate gives the public part.
func (g *GeneratedKey) Certificate() *Certificate { return g.cert }

// SecretArmor gives the secret key in armour, encrypted with passphrase unless
// that is empty.
func (g *GeneratedKey) SecretArmor(passphrase []byte) ([]byte, error) {
	var b bytes.Buffer
	if err := g.entity.SerializePrivateWithoutSigning(&b, nil); err != nil {
		return nil, fmt.Errorf("write the secret key: %w", err)
	}
	if len(passphrase) > 0 {
		// Encrypted in a copy: encrypting locks the key itself.
		e, err := openpgp.ReadEntity(packet.NewReader(&b))
		if err != nil {
			return nil, fmt.Errorf("copy the secret key: %w", err)
		}
		if err := e.EncryptPrivateKeys(passphrase, &packet.Config{DefaultCipher: packet.CipherAES256}); err != nil {
			return nil, fmt.Errorf("encrypt the secret key: %w", err)
		}
		b.Reset()
		if err := e.SerializePrivateWithoutSigning(&b, nil); err != nil {
			return nil, fmt.Errorf("write the secret key: %w", err)
		}
	}
	var out bytes.Buffer
	w, err := armor.Encode(&out, openpgp.PrivateKeyType, nil)
	if err != nil {
		return nil, fmt.Errorf("armour the secret key: %w", err)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return nil, fmt.Errorf("armour the secret key: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("armour the secret key: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// Signer gives a signer with the new key and the clock now.
func (g *GeneratedKey) Signer(now func() time.Time) Signer {
	return &fileSigner{cert: g.cert, primary: g.entity.PrivateKey, signing: g.entity.PrivateKey, now: now}
}

// RevokeKey gives the certificate of a signer from a key file with a
// revocation of it at now, armoured as [Certificate.Armor] gives it. text says
// why, for people. The secret part of the primary key must be there.
func RevokeKey(secret Signer, reason RevocationKind, text string, now time.Time) ([]byte, error) {
	s, ok := secret.(*fileSigner)
	if !ok {
		return nil, &SignError{Problem: SignFile, Detail: "only a key from a key file can be revoked here"}
	}
	if s.primary == nil || s.primary.Dummy() || s.primary.Encrypted {
		return nil, &SignError{Problem: SignNoKey, Detail: "the secret part of the primary key is not there"}
	}
	if err := CheckText(text); err != nil {
		return nil, fmt.Errorf("reason of the revocation: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sig := newSignature(s.primary, packet.SigTypeKeyRevocation, now)
	code := packet.KeyRetired
	switch reason {
	case RevokedSoft:
	case RevokedHard:
		code = packet.KeyCompromised
	default:
		return nil, refuse(ReasonBadValue, "a revocation is %s or %s", RevokedSoft, RevokedHard)
	}
	sig.RevocationReason, sig.RevocationReasonText = &code, text
	if err := sig.RevokeKey(&s.primary.PublicKey, s.primary, plain); err != nil {
		return nil, &SignError{Problem: SignFailed, Detail: "sign the revocation", Err: err}
	}
	var b bytes.Buffer
	if err := sig.Serialize(&b); err != nil {
		return nil, &SignError{Problem: SignFailed, Detail: "write the revocation", Err: err}
	}
	p, _, err := nextPacket(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("read the revocation back: %w", err)
	}
	revoked, err := s.cert.withRevocation(p)
	if err != nil {
		return nil, fmt.Errorf("merge the revocation: %w", err)
	}
	return revoked.Armor(), nil
}

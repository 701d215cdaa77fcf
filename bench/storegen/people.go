package storegen

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/rand/v2"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/jitaccess/jit/pkg/record"
)

// rsaBits is the size of the RSA keys: the smallest that jit takes, as gpg made
// them for years.
const rsaBits = 2048

// dice gives the same bytes for the same seed and purpose, on every machine.
func dice(seed uint64, purpose string) *rand.ChaCha8 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	copy(key[8:], purpose)
	return rand.NewChaCha8(key)
}

// person is somebody, or a machine, with a key.
type person struct {
	name   string
	secret []byte // armoured, without a passphrase
	cert   *record.Certificate
}

// newPerson makes a person whose key follows from the seed and the name.
func newPerson(seed uint64, name string, rsa bool, born time.Time) (*person, error) {
	source := dice(seed, "key of "+name)
	config := &packet.Config{
		Rand: source, Algorithm: packet.PubKeyAlgoEdDSA, Curve: packet.Curve25519, DefaultHash: crypto.SHA512,
		Time: func() time.Time { return born }, NonDeterministicSignaturesViaNotation: packet.BoolPointer(false),
	}
	if rsa {
		config.Algorithm, config.RSABits = packet.PubKeyAlgoRSA, rsaBits
		p, q := prime(source, rsaBits/2), prime(source, rsaBits/2)
		config.RSAPrimes = []*big.Int{p, q, p, q} // twice: for a subkey that is dropped below
	}
	e, err := openpgp.NewEntity(name, "", name+"@example.com", config)
	if err != nil {
		return nil, fmt.Errorf("a key for %s: %w", name, err)
	}
	e.Subkeys = nil
	var secret, public bytes.Buffer
	for _, part := range []struct {
		into *bytes.Buffer
		kind string
		put  func(*bytes.Buffer) error
	}{
		{&secret, openpgp.PrivateKeyType, func(b *bytes.Buffer) error { return e.SerializePrivateWithoutSigning(b, nil) }},
		{&public, openpgp.PublicKeyType, func(b *bytes.Buffer) error { return e.Serialize(b) }},
	} {
		var raw bytes.Buffer
		if err := part.put(&raw); err != nil {
			return nil, err
		}
		w, err := armor.Encode(part.into, part.kind, nil)
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(raw.Bytes()); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		part.into.WriteByte('\n')
	}
	cert, err := record.ParseCertificate(public.Bytes())
	if err != nil {
		return nil, fmt.Errorf("the certificate of %s: %w", name, err)
	}
	return &person{name: name, secret: secret.Bytes(), cert: cert}, nil
}

// prime gives the first prime of so many bits that a source leads to. The
// standard library's does not give the same one twice on purpose.
func prime(source *rand.ChaCha8, bits int) *big.Int {
	data := make([]byte, bits/8)
	for {
		_, _ = source.Read(data) // never fails
		data[0] |= 0xc0          // so that the product of two has twice the bits
		data[len(data)-1] |= 1
		if p := new(big.Int).SetBytes(data); p.ProbablyPrime(20) {
			return p
		}
	}
}

// signer signs as one person, at the time that it is told.
type signer struct {
	record.Signer
	now time.Time
}

func (p *person) signer(now time.Time) (*signer, error) {
	s := &signer{now: now}
	var err error
	s.Signer, err = record.OpenKey(p.secret, func() time.Time { return s.now })
	return s, err
}

package vectors

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"math/big"
)

// Public-key algorithms (RFC 9580, section 9.1).
const (
	algoRSA     = 1
	algoECDSA   = 19
	algoEdDSA   = 22
	algoEd25519 = 27
)

// key is a secret key that its seed alone determines, so that every run makes the
// same vectors. Nobody uses such a key for anything else.
type key struct {
	version, algorithm byte
	created            uint32
	body, fpr          []byte
	// secret gives the last fields of a signature of a digest.
	secret func(sum []byte, hash crypto.Hash) []byte
}

// id is the short key id, of version 4.
func (k *key) id() []byte { return k.fpr[len(k.fpr)-8:] }

// bytesOf gives n bytes that follow from a seed.
func bytesOf(seed string, n int) []byte {
	var out []byte
	for i := 0; len(out) < n; i++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "jit vectors %d %s", i, seed))
		out = append(out, sum[:]...)
	}
	return out[:n]
}

// newKey makes a key of a kind: ed25519, p256, p384, p521, rsa1024, rsa2048, rsa3072,
// rsa4096, ed25519-27 (the algorithm of RFC 9580) or ed25519-v6.
func newKey(seed, kind string, created uint32) *key {
	k := &key{version: 4, created: created}
	seed = kind + " " + seed
	switch kind {
	case "ed25519":
		k.eddsa(seed)
	case "ed25519-27":
		k.ed25519(seed)
	case "ed25519-v6":
		k.version = 6
		k.ed25519(seed)
	case "p256":
		k.ecdsa(seed, elliptic.P256(), []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7})
	case "p384":
		k.ecdsa(seed, elliptic.P384(), []byte{0x2b, 0x81, 4, 0, 0x22})
	case "p521":
		k.ecdsa(seed, elliptic.P521(), []byte{0x2b, 0x81, 4, 0, 0x23})
	default:
		var size int
		if _, err := fmt.Sscanf(kind, "rsa%d", &size); err != nil {
			panic("vectors: no kind of key " + kind)
		}
		k.rsa(seed, size)
	}
	return k
}

// finish writes the key's packet and its fingerprint (RFC 9580, section 5.5.4).
func (k *key) finish(material []byte) {
	k.body = binary.BigEndian.AppendUint32([]byte{k.version}, k.created)
	k.body = append(k.body, k.algorithm)
	if k.version == 6 {
		k.body = append(append(k.body, be32(uint32(len(material)))...), material...)
		sum := sha256.Sum256(k.keyContent())
		k.fpr = sum[:]
		return
	}
	k.body = append(k.body, material...)
	sum := sha1.Sum(k.keyContent())
	k.fpr = sum[:]
}

func (k *key) eddsa(seed string) {
	k.algorithm = algoEdDSA
	private := ed25519.NewKeyFromSeed(bytesOf(seed, ed25519.SeedSize))
	k.secret = func(sum []byte, _ crypto.Hash) []byte {
		s := ed25519.Sign(private, sum)
		return append(mpi(s[:32]), mpi(s[32:])...)
	}
	oid := []byte{0x2b, 6, 1, 4, 1, 0xda, 0x47, 0x0f, 1}
	k.finish(bytes.Join([][]byte{{byte(len(oid))}, oid, mpi(append([]byte{0x40}, private.Public().(ed25519.PublicKey)...))}, nil))
}

func (k *key) ed25519(seed string) {
	k.algorithm = algoEd25519
	private := ed25519.NewKeyFromSeed(bytesOf(seed, ed25519.SeedSize))
	k.secret = func(sum []byte, _ crypto.Hash) []byte { return ed25519.Sign(private, sum) }
	k.finish(private.Public().(ed25519.PublicKey))
}

func (k *key) ecdsa(seed string, curve elliptic.Curve, oid []byte) {
	k.algorithm = algoECDSA
	size := (curve.Params().BitSize + 7) / 8
	scalar := bytesOf(seed, size)
	scalar[0] = 0 // below the order of the curve, for all of them
	private, err := ecdsa.ParseRawPrivateKey(curve, scalar)
	if err != nil {
		panic("vectors: " + err.Error())
	}
	public, err := private.PublicKey.Bytes()
	if err != nil {
		panic("vectors: " + err.Error())
	}
	k.secret = func(sum []byte, hash crypto.Hash) []byte {
		der, err := private.Sign(nil, sum, hash) // without randomness: RFC 6979
		if err != nil {
			panic("vectors: " + err.Error())
		}
		var s struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &s); err != nil {
			panic("vectors: " + err.Error())
		}
		return append(mpi(s.R.Bytes()), mpi(s.S.Bytes())...)
	}
	k.finish(bytes.Join([][]byte{{byte(len(oid))}, oid, mpi(public)}, nil))
}

func (k *key) rsa(seed string, size int) {
	k.algorithm = algoRSA
	p, q := prime(seed+" p", size/2), prime(seed+" q", size/2)
	one := big.NewInt(1)
	n := new(big.Int).Mul(p, q)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	const e = 65537
	private := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: e}, D: new(big.Int).ModInverse(big.NewInt(e), phi), Primes: []*big.Int{p, q}}
	private.Precompute()
	k.secret = func(sum []byte, hash crypto.Hash) []byte {
		s, err := rsa.SignPKCS1v15(nil, private, hash, sum)
		if err != nil {
			panic("vectors: " + err.Error())
		}
		return mpi(s)
	}
	k.finish(append(mpi(n.Bytes()), mpi(big.NewInt(e).Bytes())...))
}

// primeAt is how far after the number of its seed a prime was found, to save the
// search. Without it, the same is found.
var primeAt = map[string]int{
	"rsa1024 alice p":   228,
	"rsa1024 alice q":   30,
	"rsa2048 alice p":   368,
	"rsa2048 alice q":   138,
	"rsa3072 alice p":   424,
	"rsa3072 alice q":   210,
	"rsa4096 alice p":   5592,
	"rsa4096 alice q":   2134,
	"rsa2048 signing p": 450,
	"rsa2048 signing q": 2450,
}

// prime gives the first prime after a number that follows from the seed. crypto/rsa
// makes other keys in each run.
func prime(seed string, size int) *big.Int {
	start := new(big.Int).SetBytes(bytesOf(seed, size/8))
	start.SetBit(start, size-1, 1).SetBit(start, size-2, 1).SetBit(start, 0, 1)
	const reach = 1 << 16
	composite := make([]bool, reach)
	small := make([]bool, 1<<14)
	for f := 3; f < len(small); f += 2 {
		if small[f] {
			continue
		}
		for m := f * f; m < len(small); m += 2 * f {
			small[m] = true
		}
		rest := int(new(big.Int).Mod(start, big.NewInt(int64(f))).Int64())
		for at := (f - rest) % f; at < reach; at += f {
			composite[at] = true
		}
	}
	e := big.NewInt(65537)
	for at := primeAt[seed]; at < reach; at += 2 {
		if composite[at] {
			continue
		}
		p := new(big.Int).Add(start, big.NewInt(int64(at)))
		if p.ProbablyPrime(0) && new(big.Int).Mod(new(big.Int).Sub(p, big.NewInt(1)), e).Sign() != 0 {
			return p
		}
	}
	panic("vectors: no prime near " + seed)
}

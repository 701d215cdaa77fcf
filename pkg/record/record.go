// Package record owns the signed record: its envelope, the strict codec, its
// place in a store, OpenPGP certificates, signing and verifying.
//
// It imports no other package of jit and knows nothing of git, of policy or of
// what a record means. Bytes come in; a [Verified] comes out, and only the
// verifier in this package can make one.
package record

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"gopkg.in/yaml.v3"
)

// APIVersion is the only record format that this version of jit reads and
// writes. It is checked before anything else in a record.
const APIVersion = "jit/v1"

// MaxSize is the most bytes that a record may have. A policy for ten thousand
// people is under a mebibyte; all other kinds are under four kibibytes.
const MaxSize = 4 << 20

// MaxSignatureSize is the most bytes that a detached signature may have.
const MaxSignatureSize = 16 << 10

// MaxCertificateSize is the most bytes that one certificate file may have.
const MaxCertificateSize = 256 << 10

// Kind says what a record is. Each kind's fields are defined by the package
// that owns its meaning.
type Kind string

// The kinds of record.
const (
	KindPolicy       Kind = "policy"
	KindRequest      Kind = "request"
	KindApproval     Kind = "approval"
	KindDenial       Kind = "denial"
	KindWithdrawal   Kind = "withdrawal"
	KindCancellation Kind = "cancellation"
	KindRevocation   Kind = "revocation"
	KindComment      Kind = "comment"
	KindReceipt      Kind = "receipt"
	KindHeartbeat    Kind = "heartbeat"

	KindAcknowledgement Kind = "acknowledgement"
	KindDelegation      Kind = "delegation"
	KindDelegationEnd   Kind = "delegation-end"
	KindLock            Kind = "lock"
	KindUnlock          Kind = "unlock"
)

// TakesAway reports whether a record of kind k only ever ends or prevents
// access. Such a record counts whatever history its signer had seen.
func (k Kind) TakesAway() bool {
	switch k {
	case KindDenial, KindWithdrawal, KindCancellation, KindRevocation, KindLock, KindDelegationEnd:
		return true
	}
	return false
}

// StoreID is the identity of a store: the lower-case hexadecimal sha256 of its
// first policy's bytes. It is empty in that first policy alone.
type StoreID string

// Head is what every record begins with, in this order.
type Head struct {
	APIVersion string  `yaml:"apiVersion"`
	Kind       Kind    `yaml:"kind"`
	ID         ID      `yaml:"id"`
	Store      StoreID `yaml:"store,omitempty"`
	// Head is the newest commit of the store that the signer had verified, as
	// lower-case hexadecimal. It is empty in a store's first policy alone.
	Head    string    `yaml:"head,omitempty"`
	Created Timestamp `yaml:"created"`
	// By is the name of the signer in the policy.
	By string `yaml:"by"`
}

// Timestamp is an instant in UTC with the precision of a second, written as
// RFC 3339 with a Z: 2026-11-24T09:00:00Z. Nothing else is read.
type Timestamp struct{ time.Time }

// At gives t as a Timestamp: in UTC, cut to the second.
func At(t time.Time) Timestamp { return Timestamp{t.UTC().Truncate(time.Second)} }

// Digest is the lower-case hexadecimal sha256 of some bytes.
type Digest string

// Sum gives the digest of data.
func Sum(data []byte) Digest {
	s := sha256.Sum256(data)
	return Digest(hex.EncodeToString(s[:]))
}

// Fingerprint is the full fingerprint of an OpenPGP key of version 4: 40
// upper-case hexadecimal digits. No other form is ever accepted.
type Fingerprint string

// Verified is a record whose exact bytes carry a valid signature by a key of a
// known certificate. Only [Keyring.Verify] makes one; the zero value holds
// nothing and is refused by every decoder.
//
// Verified says who signed. Whether that key belongs to the person named in
// By, and whether the record counts, is judged by the ledger.
type Verified struct {
	head    Head
	root    *yaml.Node // of the document, for decoding it
	data    []byte
	digest  Digest
	primary Fingerprint
	signing Fingerprint
	signed  time.Time
}

// Head gives the record's common head.
func (v Verified) Head() Head { return v.head }

// Bytes gives the record's exact bytes. They must not be changed.
func (v Verified) Bytes() []byte { return v.data }

// Digest gives the sha256 of the record's exact bytes.
func (v Verified) Digest() Digest { return v.digest }

// Primary gives the fingerprint of the certificate (its primary key) that
// signed.
func (v Verified) Primary() Fingerprint { return v.primary }

// SigningKey gives the fingerprint of the very key or subkey that signed.
func (v Verified) SigningKey() Fingerprint { return v.signing }

// Subkey gives the fingerprint of the subkey that signed; empty where it was the
// primary key.
func (v Verified) Subkey() Fingerprint {
	if v.signing == v.primary {
		return ""
	}
	return v.signing
}

// Signed gives the time that the signature claims, in UTC.
func (v Verified) Signed() time.Time { return v.signed }

// IsZero reports whether v holds nothing.
func (v Verified) IsZero() bool { return v.data == nil }

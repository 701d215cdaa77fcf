package record

import (
	"context"
	"fmt"
	"time"
)

// Signer signs with one person's or machine's key.
type Signer interface {
	// Fingerprint gives the primary key's fingerprint.
	Fingerprint() Fingerprint
	// Certificate gives the public part.
	Certificate(ctx context.Context) (*Certificate, error)
	// Sign gives a detached, armoured signature over data's exact bytes, in
	// the form that [InspectSignature] takes, made now.
	Sign(ctx context.Context, data []byte) (sig []byte, err error)
}

// SignError says why a signer could not sign, and what to do about it.
type SignError struct {
	// Problem is a stable code.
	Problem SignProblem
	// Detail says what happened, Hint what to do next; either may be empty.
	Detail, Hint string
	// Err is the cause, or nil.
	Err error
}

// SignProblem is a stable code for what keeps a signer from signing.
type SignProblem string

// What keeps a signer from signing.
const (
	SignNoProgram  SignProblem = "no-gpg"         // the program gpg is not there
	SignNoKey      SignProblem = "no-secret-key"  // gpg does not have the secret key
	SignNoAgent    SignProblem = "no-agent"       // gpg's agent does not answer
	SignNoTerminal SignProblem = "no-terminal"    // the agent has nowhere to ask for the passphrase
	SignCancelled  SignProblem = "cancelled"      // the person closed the passphrase prompt, or let it time out
	SignPassphrase SignProblem = "bad-passphrase" // wrong, or needed and not given
	SignUnusable   SignProblem = "unusable-key"   // expired, revoked or not for signing
	SignFile       SignProblem = "key-file"       // missing, readable by others, or no secret key
	SignFailed     SignProblem = "failed"         // anything else
)

// Error gives what happened and the cause.
func (e *SignError) Error() string {
	s := "cannot sign: " + e.Detail
	if e.Detail == "" {
		s = "cannot sign: " + string(e.Problem)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *SignError) Unwrap() error { return e.Err }

// SignRecord signs the record data with s and verifies the result against the
// signer's own certificate, as everyone else will: a signature that would be
// refused never leaves. The record's created must be within [MaxSkew] of the
// signer's clock, and the key must be good at the time at.
func SignRecord(ctx context.Context, s Signer, data []byte, at time.Time) (sig []byte, v Verified, err error) {
	if _, err := DecodeHead(data); err != nil {
		return nil, Verified{}, fmt.Errorf("record to sign: %w", err)
	}
	cert, err := s.Certificate(ctx)
	if err != nil {
		return nil, Verified{}, err
	}
	if err := cert.CanSign(at); err != nil {
		return nil, Verified{}, &SignError{Problem: SignUnusable, Detail: "the key is of no use", Err: err}
	}
	sig, err = s.Sign(ctx, data)
	if err != nil {
		return nil, Verified{}, err
	}
	ring, err := NewKeyring(cert)
	if err != nil {
		return nil, Verified{}, err
	}
	v, err = ring.Verify(data, sig)
	if err != nil {
		return nil, Verified{}, fmt.Errorf("check of the signature just made: %w", err)
	}
	return sig, v, nil
}

package record

import (
	"errors"
	"fmt"
	"strings"
)

// Reason is a stable code that says why something was refused. It is what
// reports, tests and other programs compare; the words around it may change.
type Reason string

// Why a document is not a record.
const (
	ReasonTooLarge       Reason = "too-large"        // more bytes, lines deep or nodes than allowed
	ReasonNotUTF8        Reason = "not-utf8"         // bytes that are no valid UTF-8
	ReasonBOM            Reason = "bom"              // a byte order mark
	ReasonNotOneDocument Reason = "not-one-document" // none, several, or a marker or directive
	ReasonBadYAML        Reason = "bad-yaml"         // does not parse
	ReasonAlias          Reason = "alias"            // an anchor, an alias or a merge key
	ReasonTag            Reason = "tag"              // an explicit tag
	ReasonYAMLComment    Reason = "yaml-comment"     // a comment of YAML, in a record
	ReasonDuplicateKey   Reason = "duplicate-key"
	ReasonUnknownKey     Reason = "unknown-key"
	ReasonMissingField   Reason = "missing-field"
	ReasonBadValue       Reason = "bad-value"
	ReasonBadNumber      Reason = "bad-number" // any number but a plain decimal integer
	ReasonBadTime        Reason = "bad-time"
	ReasonBadVersion     Reason = "bad-version"
	ReasonBadKind        Reason = "bad-kind"
	ReasonBadID          Reason = "bad-id"
	ReasonIDTime         Reason = "id-time" // an id of another time than created
	ReasonBadFingerprint Reason = "bad-fingerprint"
	ReasonUnsafeText     Reason = "unsafe-text" // see [CheckText]
	ReasonBadPath        Reason = "bad-path"
	ReasonNotVerified    Reason = "not-verified" // the zero [Verified]
)

// Why a signature does not count.
const (
	ReasonSigMissing  Reason = "sig-missing" // empty
	ReasonSigTooLarge Reason = "sig-too-large"
	ReasonSigArmor    Reason = "sig-armor"    // not exactly one plain armour block
	ReasonSigExtra    Reason = "sig-extra"    // an embedded signature, or bytes after the last field
	ReasonSigPackets  Reason = "sig-packets"  // not exactly one well-framed signature packet
	ReasonSigType     Reason = "sig-type"     // not a signature over binary data
	ReasonSigHash     Reason = "sig-hash"     // weaker than SHA-256, shorter than the key's curve, or unknown to gpg
	ReasonSigVersion  Reason = "sig-version"  // not version 4
	ReasonSigIssuer   Reason = "sig-issuer"   // no full issuer fingerprint in the signed part
	ReasonSigExpires  Reason = "sig-expires"  // carries an end of its own
	ReasonSigTime     Reason = "sig-time"     // no time, or further than a minute from created
	ReasonSigMismatch Reason = "sig-mismatch" // not over these bytes by this key
	ReasonSigCritical Reason = "sig-critical" // a critical part that jit does not know
)

// Why a key does not count.
const (
	ReasonKeyUnknown     Reason = "key-unknown"
	ReasonKeyExpired     Reason = "key-expired"
	ReasonKeyNotYet      Reason = "key-not-yet" // created after the signature
	ReasonKeyRevoked     Reason = "key-revoked" // retired or superseded
	ReasonKeyCompromised Reason = "key-compromised"
	ReasonKeyNotSigning  Reason = "key-not-signing"
	ReasonKeyWeak        Reason = "key-weak"
	ReasonKeySHA1        Reason = "key-sha1" // bound only by self-signatures with SHA-1 or another unfit hash
)

// Why a certificate is not taken.
const (
	ReasonCertTooLarge Reason = "cert-too-large"
	ReasonCertArmor    Reason = "cert-armor"
	ReasonCertPackets  Reason = "cert-packets" // broken framing, a secret key, or not exactly one primary key
	ReasonCertLimits   Reason = "cert-limits"  // more packets than a person's certificate has
	ReasonCertVersion  Reason = "cert-version" // a key not of version 4
	ReasonCertSelfSig  Reason = "cert-selfsig" // nothing in it is signed by its own key
	ReasonCertOther    Reason = "cert-other"   // two certificates of different keys cannot be merged
)

// Refusal is the error for everything that this package turns down.
type Refusal struct {
	Reason Reason
	// Line and Column are where in the document, counted from 1; 0 when the
	// refusal is not about one place.
	Line, Column int
	// Detail says what was found, quoted where it is somebody's text.
	Detail string
	// Err is the cause, or nil.
	Err error
}

// Error gives what was refused, where, and the cause.
func (r *Refusal) Error() string {
	var b strings.Builder
	if r.Line > 0 {
		fmt.Fprintf(&b, "line %d", r.Line)
		if r.Column > 0 {
			fmt.Fprintf(&b, ", column %d", r.Column)
		}
		b.WriteString(": ")
	}
	if r.Detail != "" {
		b.WriteString(r.Detail)
	} else {
		b.WriteString(string(r.Reason))
	}
	if r.Err != nil {
		fmt.Fprintf(&b, ": %v", r.Err)
	}
	return b.String()
}

// Unwrap gives the cause.
func (r *Refusal) Unwrap() error { return r.Err }

// ReasonOf gives the reason of the first [Refusal] in err's chain, or "" when
// there is none.
func ReasonOf(err error) Reason {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}

func refuse(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

func (r *Refusal) at(line, column int) *Refusal {
	r.Line, r.Column = line, column
	return r
}

func (r *Refusal) because(err error) *Refusal {
	r.Err = err
	return r
}

// contain turns a panic of a parser into a refusal: whatever the bytes, the
// caller goes on with the next record.
func contain(reason Reason, err *error) {
	if p := recover(); p != nil {
		*err = refuse(reason, "the parser gave up: %v", p)
	}
}

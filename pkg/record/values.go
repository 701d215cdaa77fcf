package record

import (
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// timeLayout is the only form of a time in a record.
const timeLayout = "2006-01-02T15:04:05Z"

// ParseTimestamp reads the one form of a time: 2026-11-24T09:00:00Z, from 1970
// to 9999. The reason of a refusal is [ReasonBadTime].
func ParseTimestamp(s string) (Timestamp, error) {
	t, ok := parseTime(s)
	if !ok {
		return Timestamp{}, refuse(ReasonBadTime, "%q is no time: write it in UTC like 2026-11-24T09:00:00Z", clip(s))
	}
	return Timestamp{t}, nil
}

// parseTime reads the one form of a time. It reads digits by itself, for a
// store has many times, and one form needs no layout.
func parseTime(s string) (t time.Time, ok bool) {
	if len(s) != len(timeLayout) {
		return t, false
	}
	var parts [6]int // year, month, day, hour, minute, second
	part := 0
	for i := range len(s) {
		switch c, like := s[i], timeLayout[i]; {
		case digit(like):
			if !digit(c) {
				return t, false
			}
			parts[part] = 10*parts[part] + int(c-'0')
		case c != like:
			return t, false
		default:
			part++
		}
	}
	t = time.Date(parts[0], time.Month(parts[1]), parts[2], parts[3], parts[4], parts[5], 0, time.UTC)
	// What is out of its range, Date carries over.
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	return t, parts == [6]int{year, int(month), day, hour, minute, second} && t.Unix() >= 0
}

// MarshalYAML writes the one form of a time. A zero time, a fraction of a
// second and a year past 9999 are errors.
func (t Timestamp) MarshalYAML() (any, error) {
	u := t.UTC()
	s := u.Format(timeLayout)
	if back, err := ParseTimestamp(s); err != nil || t.IsZero() || !back.Time.Equal(u) {
		return nil, refuse(ReasonBadTime, "cannot write the time %s", u.Format(time.RFC3339Nano))
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!timestamp", Value: s}, nil
}

// UnmarshalYAML reads the one form of a time.
func (t *Timestamp) UnmarshalYAML(n *yaml.Node) error {
	return scalar(n, func(s string) (err error) { *t, err = ParseTimestamp(s); return })
}

// UnmarshalYAML reads a canonical id.
func (id *ID) UnmarshalYAML(n *yaml.Node) error {
	return scalar(n, func(s string) (err error) { *id, err = ParseID(s); return })
}

// UnmarshalYAML reads a kind that this version knows.
func (k *Kind) UnmarshalYAML(n *yaml.Node) error {
	return scalar(n, func(s string) error {
		*k = Kind(s)
		if !k.known() {
			return refuse(ReasonBadKind, "%q is no kind of record that this version of jit knows", clip(s))
		}
		return nil
	})
}

func (k Kind) known() bool {
	switch k {
	case KindPolicy, KindRequest, KindApproval, KindDenial, KindWithdrawal, KindCancellation,
		KindRevocation, KindComment, KindReceipt, KindHeartbeat, KindAcknowledgement, KindDelegation,
		KindDelegationEnd, KindLock, KindUnlock:
		return true
	}
	return false
}

// ParseStoreID reads a store's identity.
func ParseStoreID(s string) (StoreID, error) {
	if len(s) != 64 || !isHex(s) {
		return "", refuse(ReasonBadValue, "%q is no store identity: that is 64 lower-case hexadecimal digits", clip(s))
	}
	return StoreID(s), nil
}

// UnmarshalYAML reads a store's identity.
func (id *StoreID) UnmarshalYAML(n *yaml.Node) error {
	return scalar(n, func(s string) (err error) { *id, err = ParseStoreID(s); return })
}

// ParseDigest reads a sha256 in lower-case hexadecimal.
func ParseDigest(s string) (Digest, error) {
	if len(s) != 64 || !isHex(s) {
		return "", refuse(ReasonBadValue, "%q is no sha256: that is 64 lower-case hexadecimal digits", clip(s))
	}
	return Digest(s), nil
}

// UnmarshalYAML reads a sha256.
func (d *Digest) UnmarshalYAML(n *yaml.Node) error {
	return scalar(n, func(s string) (err error) { *d, err = ParseDigest(s); return })
}

// ParseFingerprint reads a full fingerprint of a version 4 key in upper-case
// hexadecimal, without spaces: no other keys count. The reason of a refusal is [ReasonBadFingerprint].
func ParseFingerprint(s string) (Fingerprint, error) {
	if len(s) != 40 || strings.ToUpper(s) != s || !isHex(strings.ToLower(s)) {
		return "", refuse(ReasonBadFingerprint, "%q is no full fingerprint: that is 40 upper-case hexadecimal digits", clip(s))
	}
	return Fingerprint(s), nil
}

// UnmarshalYAML reads a full fingerprint.
func (f *Fingerprint) UnmarshalYAML(n *yaml.Node) error {
	return scalar(n, func(s string) (err error) { *f, err = ParseFingerprint(s); return })
}

// Bytes gives the fingerprint's twenty bytes, or nil when f is no fingerprint.
func (f Fingerprint) Bytes() []byte {
	b, err := hex.DecodeString(string(f))
	if err != nil {
		return nil
	}
	return b
}

// Grouped gives the fingerprint in groups of four digits, for people to
// compare.
func (f Fingerprint) Grouped() string {
	var b strings.Builder
	for i := 0; i < len(f); i += 4 {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(string(f[i:min(i+4, len(f))]))
	}
	return b.String()
}

func fingerprintOf(b []byte) Fingerprint {
	return Fingerprint(strings.ToUpper(hex.EncodeToString(b)))
}

// scalar gives the text of n to set, and its place to what set refuses.
func scalar(n *yaml.Node, set func(string) error) error {
	if n.Kind != yaml.ScalarNode {
		return refuse(ReasonBadValue, "a single value is needed here").at(n.Line, n.Column)
	}
	err := set(n.Value)
	if r := (*Refusal)(nil); errors.As(err, &r) {
		return r.at(n.Line, n.Column)
	}
	return err
}

package approve

import (
	"testing"

	"github.com/jitaccess/jit/pkg/record"
)

// FuzzDecodeDelegation: whatever is signed, what is taken for a delegation begins before
// it ends, not before it was made, and names somebody; it and the end of one come back
// as they were when they are written; and what is refused has a reason.
func FuzzDecodeDelegation(f *testing.F) {
	for _, s := range []string{
		"to: carol\nuntil: 2026-11-25T09:00:00Z\n", "to: carol\nstart: 2026-11-24T10:00:00Z\nuntil: 2026-11-25T09:00:00Z\nreason: holiday\n",
		"delegation: 01M86CT8K00C000003000000R0\nreason: back\n", "to: carol\nuntil: tomorrow\n", "to: {a: b}\n", "start: ~\n", "",
		"to: carol\nuntil: 2026-11-24T09:00:00Z\n", "to: carol\nuntil: 2026-11-24T08:00:00Z\n", "until: 2026-11-25T09:00:00Z\n",
		"to: carol\nstart: 2026-11-24T08:00:00Z\nuntil: 2026-11-25T09:00:00Z\n", "to: carol\nstart: 2026-11-26T08:00:00Z\nuntil: 2026-11-25T09:00:00Z\n",
	} {
		f.Add(s)
	}
	desk := newSigning(f)
	f.Fuzz(func(t *testing.T, fields string) {
		if d, ok := decoded(t, desk, record.KindDelegation, fields, DecodeDelegation); ok {
			if d.To == "" || !d.Until.After(d.Begins()) || d.Begins().Before(d.Created.Time) {
				t.Errorf("%q was taken: %+v", fields, d)
			}
			var again Delegation
			rewritten(t, d, &again)
			if again.To != d.To || !again.Until.Equal(d.Until.Time) || !again.Begins().Equal(d.Begins()) || again.Reason != d.Reason {
				t.Errorf("%q came back as %+v", fields, again)
			}
		}
		if e, ok := decoded(t, desk, record.KindDelegationEnd, fields, DecodeDelegationEnd); ok {
			var again DelegationEnd
			rewritten(t, e, &again)
			if again != e {
				t.Errorf("%q came back as %+v", fields, again)
			}
		}
	})
}

// decoded signs a record, verifies it and decodes it; ok is false where it is refused,
// which must have a reason.
func decoded[T any](t *testing.T, s *signing, kind record.Kind, fields string, decode func(record.Verified) (T, error)) (x T, ok bool) {
	v, err := s.verified(t, kind, fields)
	if err == nil {
		x, err = decode(v)
	}
	if err != nil && record.ReasonOf(err) == "" {
		t.Errorf("no reason: %v", err)
	}
	return x, err == nil
}

// rewritten writes a record and reads it again.
func rewritten(t *testing.T, x, again any) {
	out, err := record.Encode(x)
	if err == nil {
		err = record.DecodeStrict(out, again)
	}
	if err != nil {
		t.Errorf("%+v cannot be written: %v", x, err)
	}
}

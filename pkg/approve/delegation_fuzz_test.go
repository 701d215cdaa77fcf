package approve

import (
	"testing"

	"github.com/jitaccess/jit/pkg/record"
)

// FuzzDecodeDelegation: whatever is read as a delegation, or as the end of one, comes
// back as it was when it is written, and begins before it ends or is refused.
func FuzzDecodeDelegation(f *testing.F) {
	const head = "apiVersion: jit/v1\nkind: delegation\nid: 01M86CT8K00C000003000000R0\ncreated: 2026-11-24T09:00:00Z\nby: bob\n"
	for _, s := range []string{
		"to: carol\nuntil: 2026-11-25T09:00:00Z\n", "to: carol\nstart: 2026-11-24T10:00:00Z\nuntil: 2026-11-25T09:00:00Z\nreason: holiday\n",
		"delegation: 01M86CT8K00C000003000000R0\nreason: back\n", "to: carol\nuntil: tomorrow\n", "to: {a: b}\n", "start: ~\n", "",
	} {
		f.Add([]byte(head + s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var d, again Delegation
		if err := record.DecodeStrict(data, &d); err == nil {
			if out, err := record.Encode(d); err == nil {
				if err := record.DecodeStrict(out, &again); err != nil || again.To != d.To || !again.Until.Equal(d.Until.Time) || !again.Begins().Equal(d.Begins()) || again.Reason != d.Reason {
					t.Errorf("%q came back as %q: %v", data, out, err)
				}
			}
		} else if record.ReasonOf(err) == "" {
			t.Errorf("no reason: %v", err)
		}
		var e, back DelegationEnd
		if err := record.DecodeStrict(data, &e); err == nil {
			if out, err := record.Encode(e); err == nil {
				if err := record.DecodeStrict(out, &back); err != nil || back != e {
					t.Errorf("%q came back as %q: %v", data, out, err)
				}
			}
		} else if record.ReasonOf(err) == "" {
			t.Errorf("no reason: %v", err)
		}
	})
}

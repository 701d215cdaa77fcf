package approve

import (
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// signing is a key with which documents are signed.
type signing struct {
	record.Signer
	ring *record.Keyring
}

func newSigning(t testing.TB) *signing {
	t.Helper()
	k, err := record.GenerateKey("Bob", "bob@example.org", at(-60), 0)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := record.NewKeyring(k.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	return &signing{k.Signer(func() time.Time { return at(0) }), ring}
}

// verified signs a document with a new key and verifies it.
func verified(t *testing.T, kind record.Kind, fields string) record.Verified {
	t.Helper()
	v, err := newSigning(t).verified(t, kind, fields)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// verified signs a document and verifies it.
func (s *signing) verified(t *testing.T, kind record.Kind, fields string) (v record.Verified, err error) {
	t.Helper()
	data := []byte("apiVersion: jit/v1\nkind: " + string(kind) + "\nid: 01M86CH3M00C000003000000R0\ncreated: 2026-11-24T09:00:00Z\nby: bob\n" + fields)
	sig, err := s.Sign(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	return s.ring.Verify(data, sig)
}

const about = "request: 01M86CT8K00C000003000000R0\nrequestDigest: " + "a000000000000000000000000000000000000000000000000000000000000000\n"

// Each decoder takes its own kind with its own fields, and nothing else.
func TestDecoders(t *testing.T) {
	decoders := map[record.Kind]func(record.Verified) error{
		record.KindApproval:     func(v record.Verified) error { _, err := DecodeApproval(v); return err },
		record.KindDenial:       func(v record.Verified) error { _, err := DecodeDenial(v); return err },
		record.KindWithdrawal:   func(v record.Verified) error { _, err := DecodeWithdrawal(v); return err },
		record.KindCancellation: func(v record.Verified) error { _, err := revoke.DecodeCancellation(v); return err },
		record.KindRevocation:   func(v record.Verified) error { _, err := revoke.DecodeRevocation(v); return err },
		record.KindComment:      func(v record.Verified) error { _, err := request.DecodeComment(v); return err },
		record.KindRequest:      func(v record.Verified) error { _, err := request.Decode(v); return err },
		record.KindReceipt:      func(v record.Verified) error { _, err := receipt.Decode(v); return err },

		record.KindLock:          func(v record.Verified) error { _, err := revoke.DecodeLock(v); return err },
		record.KindUnlock:        func(v record.Verified) error { _, err := revoke.DecodeUnlock(v); return err },
		record.KindDelegation:    func(v record.Verified) error { _, err := DecodeDelegation(v); return err },
		record.KindDelegationEnd: func(v record.Verified) error { _, err := DecodeDelegationEnd(v); return err },
	}
	ask := "grants: [{resource: db, role: read}]\nduration: 1h\nreason: x\nexpires: 2026-11-25T09:00:00Z\n"
	told := about + "resource: db\nrole: read\naccount: bob\nledger: " + "a000000000000000000000000000000000000000000000000000000000000000\n"
	for _, c := range []struct {
		name   string
		kind   record.Kind
		fields string
		want   record.Reason
	}{
		{"approval", record.KindApproval, about + "duration: 30m\ncomment: fine\n", ""},
		{"approval of another role", record.KindApproval, about + "role: root\n", record.ReasonUnknownKey},
		{"approval for no time", record.KindApproval, about + "duration: 0m\n", record.ReasonBadValue},
		{"denial", record.KindDenial, about + "reason: not now\n", ""},
		{"denial without a reason", record.KindDenial, about, record.ReasonBadValue},
		{"withdrawal", record.KindWithdrawal, about, ""},
		{"cancellation", record.KindCancellation, about + "comment: done\n", ""},
		{"revocation", record.KindRevocation, about + "reason: enough\n", ""},
		{"revocation without a reason", record.KindRevocation, about + "reason: \" \"\n", record.ReasonBadValue},
		{"comment", record.KindComment, about + "comment: hm\n", ""},
		{"comment without words", record.KindComment, about, record.ReasonBadValue},
		{"request", record.KindRequest, ask, ""},
		{"request for nothing", record.KindRequest, "duration: 1h\nreason: x\nexpires: 2026-11-25T09:00:00Z\n", record.ReasonBadValue},
		{"request that lapsed as it was made", record.KindRequest, "grants: [{resource: db, role: read}]\nduration: 1h\nreason: x\nexpires: 2026-11-24T09:00:00Z\n", record.ReasonBadValue},
		{"receipt", record.KindReceipt, told + "outcome: applied\nends: 2026-11-24T10:00:00Z\n", ""},
		{"lock of a person", record.KindLock, "person: bob\nreason: lost\n", ""},
		{"lock of a key", record.KindLock, "key: 000000000000000000000000000000000000000A\nreason: lost\n", ""},
		{"lock of half a key", record.KindLock, "key: \"0000000000000001\"\nreason: lost\n", record.ReasonBadFingerprint},
		{"lock of both", record.KindLock, "person: bob\nkey: 000000000000000000000000000000000000000A\nreason: lost\n", record.ReasonBadValue},
		{"lock of nobody", record.KindLock, "reason: lost\n", record.ReasonBadValue},
		{"lock of a long name", record.KindLock, "person: " + strings.Repeat("b", 129) + "\nreason: lost\n", record.ReasonBadValue},
		{"lock without a reason", record.KindLock, "person: bob\n", record.ReasonBadValue},
		{"lock with an end", record.KindLock, "person: bob\nreason: lost\nuntil: 2026-11-25T09:00:00Z\n", record.ReasonUnknownKey},
		{"unlock", record.KindUnlock, "lock: 01M86CT8K00C000003000000R0\nreason: found\n", ""},
		{"unlock without a reason", record.KindUnlock, "lock: 01M86CT8K00C000003000000R0\n", record.ReasonBadValue},
		{"delegation", record.KindDelegation, "to: carol\nuntil: 2026-11-25T09:00:00Z\n", ""},
		{"delegation to begin later", record.KindDelegation, "to: carol\nstart: 2026-11-24T10:00:00Z\nuntil: 2026-11-25T09:00:00Z\nreason: holiday\n", ""},
		{"delegation to nobody", record.KindDelegation, "until: 2026-11-25T09:00:00Z\n", record.ReasonBadValue},
		{"delegation to a long name", record.KindDelegation, "to: " + strings.Repeat("b", 129) + "\nuntil: 2026-11-25T09:00:00Z\n", record.ReasonBadValue},
		{"delegation without an end", record.KindDelegation, "to: carol\n", record.ReasonBadValue},
		{"delegation for no time", record.KindDelegation, "to: carol\nuntil: 2026-11-24T09:00:00Z\n", record.ReasonBadValue},
		{"delegation that ends before it begins", record.KindDelegation, "to: carol\nstart: 2026-11-24T11:00:00Z\nuntil: 2026-11-24T10:00:00Z\n", record.ReasonBadValue},
		{"delegation that began before", record.KindDelegation, "to: carol\nstart: 2026-11-24T08:00:00Z\nuntil: 2026-11-24T10:00:00Z\n", record.ReasonBadValue},
		{"end of a delegation", record.KindDelegationEnd, "delegation: 01M86CT8K00C000003000000R0\nreason: back\n", ""},
		{"end of a delegation by a word", record.KindDelegationEnd, "delegation: mine\n", record.ReasonBadID},
		{"receipt of another outcome", record.KindReceipt, told + "outcome: perhaps\n", record.ReasonBadValue},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := verified(t, c.kind, c.fields)
			if err := decoders[c.kind](v); record.ReasonOf(err) != c.want || (err == nil) != (c.want == "") {
				t.Errorf("got %v, want %q", err, c.want)
			}
			for kind, decode := range decoders {
				if kind != c.kind && record.ReasonOf(decode(v)) != record.ReasonBadKind {
					t.Errorf("read as a %s", kind)
				}
			}
			if c.want == "" && record.ReasonOf(decoders[c.kind](record.Verified{})) != record.ReasonNotVerified {
				t.Error("read unverified")
			}
		})
	}
}

package ledger_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// decoders read each kind of record, as the fold does.
var decoders = map[record.Kind]func(record.Verified) (any, error){
	record.KindPolicy: decoder(func(v record.Verified) (policy.Document, error) {
		return record.Decode[policy.Document](v, record.KindPolicy)
	}),
	record.KindRequest:         decoder(request.Decode),
	record.KindApproval:        decoder(approve.DecodeApproval),
	record.KindDenial:          decoder(approve.DecodeDenial),
	record.KindWithdrawal:      decoder(approve.DecodeWithdrawal),
	record.KindCancellation:    decoder(revoke.DecodeCancellation),
	record.KindRevocation:      decoder(revoke.DecodeRevocation),
	record.KindComment:         decoder(request.DecodeComment),
	record.KindReceipt:         decoder(receipt.Decode),
	record.KindHeartbeat:       decoder(receipt.DecodeHeartbeat),
	record.KindAcknowledgement: decoder(approve.DecodeAcknowledgement),
	record.KindDelegation:      decoder(approve.DecodeDelegation),
	record.KindDelegationEnd:   decoder(approve.DecodeDelegationEnd),
	record.KindLock:            decoder(revoke.DecodeLock),
	record.KindUnlock:          decoder(revoke.DecodeUnlock),
}

func decoder[T any](f func(record.Verified) (T, error)) func(record.Verified) (any, error) {
	return func(v record.Verified) (any, error) { return f(v) }
}

// recordSeeds are one record of each kind, less the head.
var recordSeeds = map[record.Kind]string{
	record.KindPolicy:  "admins: {people: [ann], threshold: 1}\npeople:\n  ann: {keys: [\"0000000000000000000000000000000000000001\"]}\nresources: {}\nrules: []\n",
	record.KindRequest: "grants:\n  - resource: db\n    role: read\nduration: 1h30m\nreason: |\n  a\n  b\ninputs: {rows: \"10\"}\nexpires: 2026-11-25T09:00:00Z\n",
	record.KindApproval: "request: 01M86CT8K00C000003000000R1\nrequestDigest: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n" +
		"duration: 30m\n",
	record.KindDenial:          "request: 01M86CT8K00C000003000000R1\nrequestDigest: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\nreason: no\n",
	record.KindWithdrawal:      "request: 01M86CT8K00C000003000000R1\nrequestDigest: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n",
	record.KindCancellation:    "request: 01M86CT8K00C000003000000R1\nrequestDigest: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\ncomment: done\n",
	record.KindRevocation:      "request: 01M86CT8K00C000003000000R1\nrequestDigest: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\nreason: gone\n",
	record.KindComment:         "request: 01M86CT8K00C000003000000R1\nrequestDigest: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\ncomment: hm\n",
	record.KindAcknowledgement: "request: 01M86CT8K00C000003000000R1\nrequestDigest: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n",
	record.KindReceipt: "request: 01M86CT8K00C000003000000R1\nrequestDigest: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n" +
		"resource: db\nrole: read\naccount: ann\noutcome: ended\ncause: expired\nsessionsEnded: 2\nleft: [\"a session\"]\nledger: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n",
	record.KindHeartbeat:     "",
	record.KindDelegation:    "to: carol\nuntil: 2026-11-25T09:00:00Z\nreason: holiday\n",
	record.KindDelegationEnd: "delegation: 01M86CT8K00C000003000000R1\nreason: back\n",
	record.KindLock:          "person: dan\nreason: lost\n",
	record.KindUnlock:        "lock: 01M86CT8K00C000003000000R1\nreason: found\n",
}

// FuzzRecords reads well signed records of every kind, whose text anybody with a key
// may choose. What is taken means the same when it is written and read again, and
// writing it twice gives the same bytes; what is not has a reason.
func FuzzRecords(f *testing.F) {
	if len(decoders) != len(recordSeeds) {
		f.Fatalf("%d kinds, %d seeds", len(decoders), len(recordSeeds))
	}
	for kind, body := range recordSeeds {
		f.Add([]byte("apiVersion: jit/v1\nkind: " + string(kind) + "\nid: 01M86CT8K00C000003000000R0\nhead: 0123456789012345678901234567890123456789\ncreated: 2026-11-24T09:00:00Z\nby: ann\n" + body))
	}
	var now time.Time
	key, err := record.GenerateKey("Ann", "", time.Unix(0, 0), 0)
	if err != nil {
		f.Fatal(err)
	}
	ring, err := record.NewKeyring(key.Certificate())
	if err != nil {
		f.Fatal(err)
	}
	signer := key.Signer(func() time.Time { return now })
	read := func(t *testing.T, data []byte) (any, error) {
		h, err := record.DecodeHead(data)
		if err != nil {
			return nil, err
		}
		if now = h.Created.Time; now.Unix() < 0 || now.Unix() > 1<<32-1 {
			return nil, &record.Refusal{Reason: record.ReasonSigTime} // no signature can say that time
		}
		sig, err := signer.Sign(context.Background(), data)
		if err != nil {
			t.Fatal(err)
		}
		v, err := ring.Verify(data, sig)
		if err != nil {
			return nil, err
		}
		return decoders[h.Kind](v)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		first, err := read(t, data)
		if err != nil {
			if record.ReasonOf(err) == "" && policy.CodeOf(err) == "" {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		out, err := record.Encode(first)
		if err != nil {
			return // text that cannot be kept is refused, not changed
		}
		again, err := read(t, out)
		var refused *record.Refusal
		if errors.As(err, &refused) && refused.Reason == record.ReasonTooLarge {
			return // written in full it takes more room
		}
		if err != nil {
			t.Fatalf("what was read from %q is written as %q, and refused: %v", data, out, err)
		}
		a, _ := json.Marshal(first)
		if b, _ := json.Marshal(again); string(a) != string(b) {
			t.Errorf("%s came back as %s", a, b)
		}
		if twice, err := record.Encode(again); err != nil || string(twice) != string(out) {
			t.Errorf("%q is written again as %q: %v", out, twice, err)
		}
	})
}

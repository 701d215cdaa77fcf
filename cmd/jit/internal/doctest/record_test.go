package doctest

import (
	"path/filepath"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// TestRecordExamples reads the example records that the store of the pages does not
// hold as every ledger reads records, and writes each of them anew: the keys must be
// those of the kind, and stand in the order in which jit writes them.
func TestRecordExamples(t *testing.T) {
	seen := map[record.Kind]bool{}
	for _, page := range pages(t) {
		for _, example := range blocks(read(t, page), "yaml record example") {
			head, err := record.DecodeHead([]byte(example))
			if err != nil {
				t.Errorf("%s: %v\n%s", filepath.Base(page), err, example)
				continue
			}
			seen[head.Kind] = true
			again, err := rewrite(head.Kind, []byte(example))
			if err != nil || string(again) != example {
				t.Errorf("%s: a %s is written as\n%s(%v), and the page has\n%s", filepath.Base(page), head.Kind, again, err, example)
			}
			id, err := ulid.ParseStrict(string(head.ID))
			if err != nil || !ulid.Time(id.Time()).Equal(head.Created.Time) {
				t.Errorf("%s: the id %s is not of the time %s (%v)", filepath.Base(page), head.ID, head.Created, err)
			}
		}
	}
	for _, kind := range []record.Kind{
		record.KindRequest, record.KindAcknowledgement, record.KindDelegation, record.KindDelegationEnd,
		record.KindLock, record.KindUnlock, record.KindHeartbeat,
	} {
		if !seen[kind] {
			t.Errorf("no page has an example of a %s", kind)
		}
	}
}

// rewrite decodes a record of a kind and encodes it again.
func rewrite(kind record.Kind, data []byte) ([]byte, error) {
	switch kind {
	case record.KindRequest:
		var r request.Request
		if err := record.DecodeStrict(data, &r); err != nil {
			return nil, err
		}
		if err := r.Check(); err != nil {
			return nil, err
		}
		return record.Encode(r)
	case record.KindAcknowledgement:
		return decoded[approve.Acknowledgement](data)
	case record.KindDelegation:
		return decoded[approve.Delegation](data)
	case record.KindDelegationEnd:
		return decoded[approve.DelegationEnd](data)
	case record.KindLock:
		return decoded[revoke.Lock](data)
	case record.KindUnlock:
		return decoded[revoke.Unlock](data)
	}
	return decoded[receipt.Heartbeat](data)
}

func decoded[T any](data []byte) ([]byte, error) {
	var v T
	if err := record.DecodeStrict(data, &v); err != nil {
		return nil, err
	}
	return record.Encode(v)
}

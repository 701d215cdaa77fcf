package ledger

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// TestDictionary: what requests have in common is not kept with each. Below some level the
// compressor takes a dictionary and passes over it.
func TestDictionary(t *testing.T) {
	t.Parallel()
	at := record.Timestamp{Time: time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)}
	var c approve.Case
	c.Request.Record = request.Request{Grants: []request.Grant{{Resource: "db", Role: "readonly"}}, Reason: "invoice 4711", Expires: at}
	c.Request.Record.By, c.Request.Record.Created = "alice", at
	c.Approvals = make([]approve.Placed[approve.Approval], 1)
	kept, err := pack(c)
	if err != nil {
		t.Fatal(err)
	}
	text, err := unpackText(kept)
	if err != nil {
		t.Fatal(err)
	}
	var bare bytes.Buffer
	w, err := flate.NewWriter(&bare, packLevel)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if len(kept) > bare.Len()/2 {
		t.Errorf("a request of %d bytes is kept in %d, and in %d without a dictionary: it is not used", len(text), len(kept), bare.Len())
	}
	var again approve.Case
	if err := unpack(kept, &again); err != nil {
		t.Fatal(err)
	}
	if whole, err := json.Marshal(again); err != nil || !bytes.Equal(whole, text) {
		t.Errorf("kept %s, got back %s (%v)", text, whole, err)
	}
}

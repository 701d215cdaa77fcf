package replica_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/revoke"
)

// turnAway makes the host refuse whatever brings a path, until it is called again
// with "".
func (w *world) turnAway(path string) {
	w.t.Helper()
	hook := filepath.Join(w.url, "hooks", "pre-receive")
	if path == "" {
		w.must(os.Remove(hook))
		return
	}
	text := fmt.Sprintf("#!/bin/sh\nread old new ref\necho push >> pushes\nif git diff --name-only $old $new | grep -q %q; then echo not that >&2; exit 1; fi\n", path)
	w.must(os.WriteFile(hook, []byte(text), 0o755))
}

// TestStuckHoldsBackNothing: what the host does not take stays, with what rests on
// it; all else goes out, in order, also what is signed later.
func TestStuckHoldsBackNothing(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	bob := w.machine()
	w.must(os.Rename(w.url, w.url+".away"))
	submit := func(subject string, out replica.Outgoing) {
		t.Helper()
		if res, err := bob.Submit(ctx, replica.Message{Subject: subject}, out); err != nil || !res.Spooled {
			t.Fatalf("%+v %v", res, err)
		}
	}
	cancel := func(of replica.Outgoing) replica.Outgoing {
		t.Helper()
		h, err := bob.NewHead(record.KindCancellation, "bob", w.now)
		w.must(err)
		out, err := bob.Prepare(ctx, w.signers["bob"], revoke.Cancellation{Head: h, Request: of.Head.ID, RequestDigest: record.Sum(of.Data)}, w.now, of.Head.ID, false)
		w.must(err)
		return out
	}
	var asked []replica.Outgoing
	for i := range 5 {
		out, _ := w.request(bob, "bob")
		asked = append(asked, out)
		submit(fmt.Sprint("request ", i), out)
	}
	submit("cancels 1", cancel(asked[1]))
	submit("cancels 2", cancel(asked[2]))
	w.must(os.Rename(w.url+".away", w.url))
	w.turnAway(string(asked[1].Head.ID))
	stuck := func(report replica.Report, sent int, want ...string) {
		t.Helper()
		var got []string
		for _, s := range report.Stuck {
			got = append(got, s.Subject)
			if !errors.Is(s.Cause, gitstore.ErrRefused) || !strings.Contains(s.Cause.Error(), "not that") {
				t.Errorf("%s: %v", s.Subject, s.Cause)
			}
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") || report.Sent != sent || report.Refused != 0 || report.Waiting != len(want) {
			t.Errorf("stuck are %q, %d sent, %d refused, %d wait", got, report.Sent, report.Refused, report.Waiting)
		}
	}
	stuck(w.sync(bob), 5, "request 1", "cancels 1")
	// What comes now is sent, and is told apart from what is stuck.
	w.ask(bob)
	again, err := bob.Submit(ctx, replica.Message{Subject: "cancels 1 again"}, cancel(asked[1]))
	if err != nil || !again.Spooled || !errors.Is(again.Cause, gitstore.ErrRefused) {
		t.Errorf("%+v %v", again, err)
	}
	stuck(w.sync(bob), 0, "request 1", "cancels 1", "cancels 1 again")
	w.turnAway("")
	stuck(w.sync(bob), 3)
	cold := w.machine()
	for i, out := range asked {
		if _, err := cold.Ledger().Request(out.Head.ID, w.now); err != nil {
			t.Errorf("request %d: %v", i, err)
		}
	}
	if aside, err := cold.Ledger().SetAside(); err != nil || len(aside) > 0 {
		t.Errorf("%+v %v", aside, err)
	}
}

// TestHostThatTakesNothing: it is not asked once for each that waits.
func TestHostThatTakesNothing(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	bob := w.machine()
	w.must(os.Rename(w.url, w.url+".away"))
	for range 20 {
		out, _ := w.request(bob, "bob")
		if res, err := bob.Submit(ctx, replica.Message{Subject: "bob asks"}, out); err != nil || !res.Spooled {
			t.Fatalf("%+v %v", res, err)
		}
	}
	w.must(os.Rename(w.url+".away", w.url))
	w.turnAway("requests")
	if report := w.sync(bob); len(report.Stuck) != 20 || report.Waiting != 20 || report.Sent != 0 {
		t.Errorf("%+v", report)
	}
	data, err := os.ReadFile(filepath.Join(w.url, "pushes"))
	w.must(err)
	if n := strings.Count(string(data), "push"); n < 2 || n > 24 {
		t.Errorf("the host was asked %d times", n)
	}
}

package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jitaccess/jit/bench/storegen"
	"github.com/jitaccess/jit/pkg/ledger"
)

// maxSpamHeap bounds what a run holds that brings the spam of this test, in MiB: half
// of it is what may be read ahead, the rest SQLite's and the parsers' own. The junk
// itself has more.
const maxSpamHeap = 128

// heap calls f and gives the most that lived on the heap meanwhile, in MiB.
func heap(f func() error) (float64, error) {
	runtime.GC()
	var most atomic.Uint64
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), m.HeapAlloc))
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	err := f()
	close(stop)
	<-done
	return float64(most.Load()) / (1 << 20), err
}

// In a store that somebody fills with junk the honest request is opened by the run
// that brings the junk, and ended; every sort of junk is set aside for its own
// reason; and memory stays bounded.
func TestSpam(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := newSpammed(ctx, dir, 20)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.reconcile(ctx); err != nil {
		t.Fatal(err)
	}
	o := storegen.SpamOptions{Files: 2000, Certificates: 200, Commits: 20, Seed: 1}
	if err := s.made.Spam(ctx, o); err != nil {
		t.Fatal(err)
	}
	cancel, err := s.honest(ctx)
	if err != nil {
		t.Fatal(err)
	}
	mib, err := heap(func() error { return s.reconcile(ctx) })
	if err != nil {
		t.Fatal(err)
	}
	if mib > maxSpamHeap {
		t.Errorf("%.0f MiB on the heap, %d are allowed", mib, maxSpamHeap)
	}
	if err := s.expect(true, "in the run that brings the spam"); err != nil {
		t.Error(err)
	}
	if err := cancel(); err != nil {
		t.Fatal(err)
	}
	if err := s.reconcile(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.expect(false, "after the cancellation"); err != nil {
		t.Error(err)
	}

	l, err := ledger.Open(filepath.Join(s.options.Config.State, "store", "ledger.db"), s.made.Identity)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	all, err := l.SetAside()
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[string]int{}
	for _, x := range all {
		reasons[x.Reason]++
	}
	for _, want := range storegen.SpamReasons() {
		if reasons[want] == 0 {
			t.Errorf("nothing is set aside as %q: %v", want, reasons)
		}
		delete(reasons, want)
	}
	if len(reasons) > 0 {
		t.Errorf("set aside for other reasons too: %v", reasons)
	}
	ring, err := l.Keyring()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(ring.All()); n != 33 {
		t.Errorf("%d certificates in memory, and 33 are named by the policy", n)
	}
}

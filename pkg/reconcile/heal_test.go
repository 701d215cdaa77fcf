package reconcile

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

// git runs the git program as somebody who may push.
func (w *world) git(dir string, args ...string) string {
	w.t.Helper()
	return testenv.Git(w.t, dir, args...)
}

// swap pushes a merge whose first parent is a side branch from rev.
func (w *world) swap(rev string) {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "clone")
	w.git(w.t.TempDir(), "clone", "-q", w.store.URL, dir)
	w.git(dir, "checkout", "-q", "-b", "side", rev)
	w.git(dir, "commit", "-q", "--allow-empty", "-m", "side")
	w.git(dir, "merge", "-q", "--no-ff", "-m", "Merge branch 'main'", "origin/main")
	w.git(dir, "push", "-q", "origin", "HEAD:main")
}

func (w *world) tip() string { w.t.Helper(); return w.git(w.store.URL, "rev-parse", "main") }

func TestHealsBeforeItPlans(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(0)
	r := w.store.Granted("bob", time.Hour, "db:read")
	w.run(0)
	w.wantAccess("bob", "readers", true)
	second := w.store.Granted("carol", time.Hour, "db:write")
	w.swap("main~3") // before what the reconciler has verified
	swapped := w.tip()

	w.o.DryRun = true
	res := w.run(4)
	if !res.WouldHeal || res.Healed != nil || w.tip() != swapped {
		t.Errorf("a dry run: %+v", res)
	}
	w.o.DryRun = false
	signer := w.o.Signer
	w.o.Signer = nil // and no key file: it cannot sign
	res = w.run(4)
	if res.WouldHeal || res.Healed != nil || w.tip() != swapped {
		t.Errorf("without a key: %+v", res)
	}
	w.o.Signer = signer
	res = w.run(0)
	if h := res.Healed; h == nil || !h.Made || h.By != w.o.Config.Name {
		t.Errorf("%+v", res.Healed)
	}
	w.wantAccess("bob", "readers", true)
	w.wantAccess("carol", "writers", true)
	w.wantReceipts(r.ID, "applied db:read")
	w.wantReceipts(second.ID, "applied db:write")
	if res := w.run(0); res.Healed != nil {
		t.Errorf("healed twice: %+v", res.Healed)
	}
}

// TestWhatOpenedOnTheOtherSideEnds: a reconciler that came when the past was
// swapped follows the heal, and what rests on what was healed away ends.
func TestWhatOpenedOnTheOtherSideEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	people := w.store.Machine
	before := w.store.Request("bob", time.Hour, "db:read")
	w.swap("main~1")

	// Everybody but alice comes anew, and works on.
	open := func() *replica.Replica {
		r, err := replica.Open(t.Context(), replica.Config{Dir: t.TempDir(), URL: w.store.URL, Identity: w.store.Identity, Now: w.store.Now})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	w.store.Machine = open()
	w.store.Approve("carol", before.ID)
	w.run(0)
	w.wantAccess("bob", "readers", true)
	// A receipt is signed and could not be handed over.
	second := w.store.Granted("carol", time.Hour, "web:read")
	f := &faultyBook{submit: errTest}
	w.faulty(f)
	w.run(6)
	f.submit = nil

	alice := replica.Healer{Name: "alice", Signer: func(context.Context) (record.Signer, error) { return w.store.Signer("alice"), nil }}
	if report, err := people.SyncAndHeal(t.Context(), alice); err != nil || report.Healed == nil {
		t.Fatalf("%+v, %v", report.Healed, err)
	}
	res := w.run(0)
	if h := res.Healed; h == nil || h.Made || h.By != "alice" {
		t.Errorf("%+v", res.Healed)
	}
	w.wantAccess("bob", "readers", false)
	if w.targets["web"].has("carol", "readers") {
		t.Error("what was asked on the other side is open still")
	}
	w.wantReceipts(before.ID, "ended db:read changed")
	if _, err := w.store.Machine.Ledger().Request(second.ID, w.store.Now()); err == nil {
		t.Error("the request from the other side counts")
	}
	if err := w.store.Machine.Close(); err != nil {
		t.Error(err)
	}
	w.store.Machine = people
}

// TestReceiptOfTheOtherSideIsSignedAnew: a receipt that was signed before the
// heal and not handed over is signed again, and not dropped.
func TestReceiptOfTheOtherSideIsSignedAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	people := w.store.Machine
	r := w.store.Granted("bob", time.Hour, "db:read")
	w.swap("main~1") // after the request: the approval counts from the merge
	f := &faultyBook{submit: errTest}
	w.faulty(f)
	w.run(6)
	w.wantAccess("bob", "readers", true)
	f.submit = nil
	alice := replica.Healer{Name: "alice", Signer: func(context.Context) (record.Signer, error) { return w.store.Signer("alice"), nil }}
	if report, err := people.SyncAndHeal(t.Context(), alice); err != nil || report.Healed == nil {
		t.Fatalf("%+v, %v", report.Healed, err)
	}
	w.run(0)
	w.wantAccess("bob", "readers", true)
	w.wantReceipts(r.ID, "applied db:read")
}

// TestReceiptOfALostHeadIsSignedAnew: so is one that is in the journal alone, signed on a
// commit that the host has lost, once the reconciler was told to believe what is there now.
func TestReceiptOfALostHeadIsSignedAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.store.Granted("bob", time.Hour, "db:read")
	dir := filepath.Join(t.TempDir(), "clone")
	w.git(t.TempDir(), "clone", "-q", w.store.URL, dir)
	w.git(dir, "commit", "-q", "--allow-empty", "-m", "to be lost")
	w.git(dir, "push", "-q", "origin", "HEAD:main")
	f := &faultyBook{submit: errTest}
	w.faulty(f)
	w.run(6)
	w.wantAccess("bob", "readers", true)
	f.submit = nil
	w.git(w.store.URL, "update-ref", "refs/heads/main", "main~1")
	store := filepath.Join(w.o.Config.State, storeName)
	if err := os.Rename(store, store+".lost"); err != nil {
		t.Fatal(err)
	}
	w.run(0)
	w.wantAccess("bob", "readers", true)
	w.wantReceipts(r.ID, "applied db:read")
}

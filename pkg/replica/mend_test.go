package replica_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/replica"
)

// TestLostMirror: what a disk has lost of the mirror is fetched again by the run that
// needs it, and not before the host shows all of it; the checkpoint stays.
func TestLostMirror(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	home := t.TempDir()
	r := w.open(home)
	w.sync(r)
	_, asked := w.ask(r)
	w.sync(r)
	want := w.export(r)
	checkpoint, err := r.Checkpoint()
	w.must(err)
	w.must(r.Close())
	// The index is lost with all objects but those of the head.
	for _, end := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(filepath.Join(home, "ledger.db"+end)) // the latter two may be gone
	}
	objects := filepath.Join(home, "mirror.git", "objects")
	w.must(filepath.WalkDir(objects, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(filepath.Dir(path))+d.Name() == string(checkpoint) {
			return err
		}
		return os.Remove(path)
	}))
	w.must(os.WriteFile(filepath.Join(w.url, "info", "grafts"), []byte(string(checkpoint)+"\n"), 0o600))
	again := w.open(home)
	if _, err := again.Sync(ctx); !errors.Is(err, gitstore.ErrIncomplete) || !errors.Is(err, gitstore.ErrBadRemote) {
		t.Fatalf("of a host that lacks it too: %v", err)
	}
	if _, err := again.Mend(ctx, true); !errors.Is(err, gitstore.ErrIncomplete) {
		t.Errorf("looked at alone: %v", err)
	}
	w.must(os.Remove(filepath.Join(w.url, "info", "grafts")))
	w.sync(again)
	if w.export(again) != want {
		t.Error("another ledger")
	}
	if _, err := again.Ledger().Request(asked.ID, w.now); err != nil {
		t.Error(err)
	}
	if now, err := again.Checkpoint(); err != nil || now != checkpoint {
		t.Errorf("the checkpoint is %s, %v", now, err)
	}
	if mended, err := again.Mend(ctx, false); mended || err != nil {
		t.Errorf("it was not whole: %v", err)
	}
}

// TestHeadWithoutItsPast: nothing of such a head is believed or kept, and what is asked
// meanwhile goes out with the next honest answer.
func TestHeadWithoutItsPast(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	r := w.machine()
	other := w.machine()
	w.ask(other)
	w.ask(other)
	head := w.git(w.url, "rev-parse", "main")
	before, err := r.Checkpoint()
	w.must(err)
	grafts := filepath.Join(w.url, "info", "grafts")
	w.must(os.WriteFile(grafts, []byte(head+"\n"), 0o600))
	for range 2 {
		if _, err := r.Sync(ctx); !errors.Is(err, gitstore.ErrIncomplete) || !errors.Is(err, gitstore.ErrBadRemote) {
			t.Fatalf("%v", err)
		}
	}
	out, _ := w.request(r, "bob")
	if _, err := r.Submit(ctx, replica.Message{Subject: "bob asks"}, out); err != nil && !errors.Is(err, gitstore.ErrBadRemote) {
		t.Errorf("%v", err)
	}
	if now, err := r.Checkpoint(); err != nil || now != before {
		t.Errorf("the checkpoint is %s, %v", now, err)
	}
	w.must(os.Remove(grafts))
	w.sync(r)
	w.sync(other)
	w.sync(r)
	if w.export(r) != w.export(other) {
		t.Error("they differ")
	}
}

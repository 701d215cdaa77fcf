package replica_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/replica"
)

// TestHalfAnIndex: an index whose making was stopped is finished when it is
// opened, also while the remote is away.
func TestHalfAnIndex(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	home := t.TempDir()
	r := w.open(home)
	w.sync(r)
	half, _ := r.Ledger().Head()
	_, req := w.ask(r)
	want := w.export(r)
	w.must(r.Close())
	index := filepath.Join(home, "ledger.db")
	for _, end := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(index + end); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	store, err := gitstore.Open(ctx, gitstore.Options{Dir: home, URL: w.url})
	w.must(err)
	l, err := ledger.Open(index, w.identity)
	w.must(err)
	_, err = l.Fold(ctx, store, half)
	w.must(err)
	w.must(errors.Join(l.Close(), store.Close()))
	w.must(os.Rename(w.url, w.url+".away"))
	r = w.open(home)
	if got := w.export(r); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if _, err := r.Ledger().Request(req.ID, w.now); err != nil {
		t.Error(err)
	}
	w.must(os.Rename(w.url+".away", w.url))
}

// TestDamagedPage: whichever page of the index is lost, it is opened and brought
// up to date, made anew where that page was needed.
func TestDamagedPage(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	home := t.TempDir()
	r := w.open(home)
	w.sync(r)
	for range 30 {
		w.ask(r)
	}
	w.must(r.Close())
	index := filepath.Join(home, "ledger.db")
	whole, err := os.ReadFile(index)
	w.must(err)
	const page = 4096 // SQLite's, where nothing else is asked for
	if len(whole) < 15*page {
		t.Fatalf("the index has %d bytes: too few pages to show anything", len(whole))
	}
	for at := page; at < len(whole); at += page {
		data := slices.Clone(whole)
		clear(data[at : at+page])
		w.must(os.WriteFile(index, data, 0o600))
		again, err := replica.Open(ctx, replica.Config{Dir: home, URL: w.url, Identity: w.identity})
		if err != nil {
			t.Errorf("page %d: %v", at/page+1, err)
			continue
		}
		if _, err := again.Sync(ctx); err != nil {
			t.Errorf("page %d: %v", at/page+1, err)
		}
		w.must(again.Close())
	}
}

package gitstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// whatIsIn lists a folder's files with their times and sizes.
func whatIsIn(t *testing.T, dir string) string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		all = append(all, path+" "+fs.FormatFileInfo(info)+" "+info.ModTime().String())
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

// TestInMemory: what is new is read like everything else, held to the checkpoint, and
// nothing is written, whether there is a mirror already or not.
func TestInMemory(t *testing.T) {
	remotes(t, func(t *testing.T, bare string, o Options) {
		ctx := testContext(t)
		alice, root := initStore(t, o)
		o.Dir = t.TempDir()
		bob := openStore(t, o)
		mustFetch(t, bob)
		if err := errors.Join(bob.SetCheckpoint(root), bob.Close()); err != nil {
			t.Fatal(err)
		}
		head := mustAppend(t, alice, "requests/2026/11/24/A/request.yaml", "one\n").Commit
		o.InMemory = true
		for _, dir := range []string{o.Dir, filepath.Join(t.TempDir(), "missing", "store")} {
			o := o
			o.Dir = dir
			before := whatIsIn(t, dir)
			s := openStore(t, o)
			for range 2 {
				if got := mustFetch(t, s); got != head || s.Tip() != head {
					t.Errorf("fetched %s, tip %s, want %s", got, s.Tip(), head)
				}
			}
			from, err := s.Checkpoint()
			if want := (map[bool]Hash{true: root})[dir == bob.o.Dir]; err != nil || from != want {
				t.Errorf("checkpoint %q, %v", from, err)
			}
			if got := events(t, s, root, head); got != "+ requests/2026/11/24/A/request.yaml" {
				t.Errorf("read %s", got)
			}
			if err := s.SetCheckpoint(head); err != nil {
				t.Error(err)
			}
			if at, err := s.Checkpoint(); err != nil || at != head {
				t.Errorf("checkpoint %q, %v", at, err)
			}
			if err := s.SetCheckpoint(root); !errors.Is(err, ErrNotForward) {
				t.Errorf("set back: %v", err)
			}
			if _, err := s.Append(ctx, add("b", "2"), nil); !errors.Is(err, ErrInMemory) {
				t.Errorf("append: %v", err)
			}
			if err := errors.Join(s.Maintain(ctx), s.Close()); err != nil {
				t.Error(err)
			}
			if after := whatIsIn(t, dir); after != before {
				t.Errorf("the folder was\n%s\nand is\n%s", before, after)
			}
		}
		if _, err := os.Stat(filepath.Join(bob.mirror, "config")); err != nil {
			t.Error(err)
		}
	})
}

// TestPartOfAHeadInMemory: a head without its past is refused there too, and nothing of it
// is taken for history in the same run.
func TestPartOfAHeadInMemory(t *testing.T) {
	t.Parallel()
	path := bare(t)
	alice, root := initStore(t, Options{URL: path, Isolated: true})
	mustAppend(t, alice, "requests/2026/11/24/A/request.yaml", "one\n")
	head := mustAppend(t, alice, "requests/2026/11/24/B/request.yaml", "two\n").Commit
	o := Options{URL: path, Isolated: true, Dir: t.TempDir()}
	bob := openStore(t, o)
	grafts := filepath.Join(path, "info", "grafts")
	if err := errors.Join(os.MkdirAll(filepath.Dir(grafts), 0o700), os.WriteFile(grafts, []byte(string(head)+"\n"), 0o600), bob.Close()); err != nil {
		t.Fatal(err)
	}
	o.InMemory = true
	s := openStore(t, o)
	for range 2 {
		if _, err := s.Fetch(testContext(t)); !errors.Is(err, ErrIncomplete) || !errors.Is(err, ErrBadRemote) || s.Tip() != "" || s.Has(head) {
			t.Errorf("%v; the tip is %q", err, s.Tip())
		}
	}
	if err := os.Remove(grafts); err != nil {
		t.Fatal(err)
	}
	if got := mustFetch(t, s); got != head {
		t.Errorf("fetched %s, want %s", got, head)
	}
	if _, err := s.commit(root); err != nil {
		t.Error(err)
	}
}

// TestTooMuchForMemory: what is new has a bound, and what is beyond it is no word about the
// remote.
func TestTooMuchForMemory(t *testing.T) {
	t.Parallel()
	o := Options{URL: bare(t), Isolated: true}
	initStore(t, o)
	o.InMemory = true
	s := openStore(t, o)
	s.memory.held = maxHeld - 100
	if _, err := s.Fetch(testContext(t)); !errors.Is(err, ErrInMemory) || errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
}

// TestNoRoom: by what git prints.
func TestNoRoom(t *testing.T) {
	for said, want := range map[string]bool{
		"fatal: write error: No space left on device": true, "error: file write error: Disk quota exceeded": true,
		"fatal: unable to write file: File too large": true, "fatal: early EOF": false, "": false,
	} {
		if got := noRoom(said) != nil; got != want {
			t.Errorf("%q: %v", said, got)
		}
	}
}

package reconcile

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/replica"
)

// withoutRoom are ways for the state folder of a world to take nothing: fill makes it so, and
// free gives it room again.
var withoutRoom = map[string]func(t *testing.T, w *world) (fill, free func()){
	"the disk is full": func(t *testing.T, w *world) (fill, free func()) {
		if err := os.MkdirAll(w.o.Config.State, 0o700); err != nil {
			t.Fatal(err)
		}
		fill, free, ok := testenv.SmallDisk(t, w.o.Config.State)
		if !ok {
			t.Log("only root can mount a small disk; without it the errors are tried")
			return nil, nil
		}
		return fill, free
	},
	"the mirror takes nothing": errorsOf(syscall.ENOSPC),
	"a quota":                  errorsOf(syscall.EDQUOT),
	"a broken disk":            errorsOf(syscall.EIO),
	"an index without room":    errorsOf(ledger.ErrUnwritable),
}

// remedies are what a run says is to be done, where that is not to make room.
var remedies = map[string]string{"a broken disk": "jit doctor --config"}

// errorsOf has each bringing up to date of the copy on the disk fail.
func errorsOf(cause error) func(t *testing.T, w *world) (fill, free func()) {
	return func(_ *testing.T, w *world) (fill, free func()) {
		f := &faultyBook{}
		w.faulty(f)
		return func() { f.sync = fmt.Errorf("fetch: %w", cause) }, func() { f.sync = nil }
	}
}

// TestRevokesOnAFullDisk: who fills the disk of the reconciler keeps nothing that is revoked,
// and nothing that is over. Nothing opens, it is said what is full, and with room again the
// receipts come.
func TestRevokesOnAFullDisk(t *testing.T) {
	t.Parallel()
	for name, leave := range withoutRoom {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			fill, free := leave(t, w)
			if fill == nil {
				return
			}
			over := w.store.Granted("bob", 30*time.Minute, "db:read")
			revoked := w.store.Granted("carol", 8*time.Hour, "db:write")
			stays := w.store.Granted("bob", 8*time.Hour, "web:read")
			w.run(0)
			w.wantAccess("carol", "writers", true)
			fill()
			w.store.Revoke("alice", revoked.ID)
			w.store.Granted("carol", 8*time.Hour, "db:read")
			w.at(time.Hour)
			commits := w.store.Commits()
			for range 2 {
				res := w.run(6)
				if res.SyncErr != nil || res.ReceiptsWritten != 0 || !res.Wake.After(w.store.Now()) {
					t.Errorf("%+v", res)
				}
				if !slices.ContainsFunc(res.Problems, func(err error) bool {
					return strings.Contains(err.Error(), "cannot be used") && strings.Contains(err.Error(), cmp.Or(remedies[name], "make room there")) && strings.Contains(err.Error(), w.o.Config.State)
				}) {
					t.Errorf("problems %q", res.Problems)
				}
				w.wantAccess("bob", "readers", false)
				w.wantAccess("carol", "writers", false)
				w.wantAccess("carol", "readers", false)
				if !w.targets["web"].has("bob", "readers") {
					t.Error("what is not over has ended")
				}
			}
			if got := w.store.Commits(); got != commits {
				t.Errorf("%d commits were made", got-commits)
			}
			free()
			w.run(0)
			w.wantAccess("carol", "readers", true)
			w.wantReceipts(over.ID, "applied db:read", "ended db:read expired")
			w.wantReceipts(revoked.ID, "applied db:write", "ended db:write revoked")
			w.wantReceipts(stays.ID, "applied web:read")
			w.run(0)
			w.want()
		})
	}
}

// TestCheckpointOnAFullDisk: what does not extend the checkpoint is not believed in memory
// either, and an older head ends nothing but what is over.
func TestCheckpointOnAFullDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fill, _ := errorsOf(syscall.ENOSPC)(t, w)
	git := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(testenv.Need(t, "git", "git"), append([]string{"--git-dir=" + w.store.URL}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	stays := w.store.Granted("bob", 8*time.Hour, "db:read")
	older := git("rev-parse", "refs/heads/main")
	w.run(0)
	w.store.Granted("carol", time.Hour, "db:write")
	root := func() string { return git("commit-tree", "-m", "another root", "refs/heads/main^{tree}") }
	granted := root()
	w.store.Revoke("alice", stays.ID)
	revoked := root()
	git("update-ref", "refs/heads/main", granted)
	fill()
	for range 2 {
		if res := w.run(4); !errors.Is(res.SyncErr, replica.ErrRewritten) {
			t.Errorf("%v", res.SyncErr)
		}
		w.wantAccess("bob", "readers", true)
		w.wantAccess("carol", "writers", false)
		git("update-ref", "refs/heads/main", older)
	}
	// What takes away counts wherever it stands.
	git("update-ref", "refs/heads/main", revoked)
	w.run(4)
	w.wantAccess("bob", "readers", false)
}

// TestCarriedInOnAFullDisk: a revocation that is brought by hand has its effect, in each run,
// and stays until it can be kept.
func TestCarriedInOnAFullDisk(t *testing.T) {
	t.Parallel()
	for _, away := range []bool{true, false} {
		w := newWorld(t)
		fill, free := errorsOf(syscall.ENOSPC)(t, w)
		r := w.store.Granted("bob", 8*time.Hour, "db:read")
		w.run(0)
		fill()
		out := w.revokes("alice", r)
		names := w.bring(out)
		back := func() {}
		if away {
			back = w.away()
		}
		for range 2 {
			if res := w.run(6); len(res.Carried) != 1 {
				t.Errorf("carried %q", res.Carried)
			}
			w.wantAccess("bob", "readers", false)
			for _, name := range names {
				if _, err := os.Stat(name); err != nil {
					t.Errorf("what could not be kept is gone: %v", err)
				}
			}
		}
		back()
		free()
		w.run(0)
		w.wantReceipts(r.ID, "applied db:read", "ended db:read revoked")
		if left, _ := filepath.Glob(filepath.Join(w.o.Config.State, carriedFolder, "*")); away && w.store.Entry(r.ID).EndedBy.Record != out.Head.ID {
			t.Errorf("it was not sent: %+v, left %q", w.store.Entry(r.ID).EndedBy, left)
		}
	}
}

// TestOthersFolderOnAFullDisk: nor where the copy that is thrown away has no room.
func TestOthersFolderOnAFullDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fill, _ := errorsOf(syscall.ENOSPC)(t, w)
	r := w.store.Granted("bob", 8*time.Hour, "db:read")
	w.run(0)
	state := w.o.Config.State
	journal, err := os.ReadFile(filepath.Join(state, journalName))
	givenAway(t, state)
	if err := errors.Join(err, os.WriteFile(filepath.Join(state, journalName), journal, 0o600)); err != nil {
		t.Fatal(err)
	}
	w.store.Revoke("alice", r.ID)
	fill()
	w.run(6)
	w.wantAccess("bob", "readers", false)
}

// TestNoCopyYetOnAFullDisk: where there is no copy at all the whole store is read.
func TestNoCopyYetOnAFullDisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.o.Config.Store.Transport = "git" // which would write
	if err := os.MkdirAll(w.o.Config.State, 0o700); err != nil {
		t.Fatal(err)
	}
	fill, free, ok := testenv.SmallDisk(t, w.o.Config.State)
	if !ok {
		t.Log("only root can mount a small disk")
		return
	}
	r := w.store.Granted("bob", time.Hour, "db:read")
	fill()
	if res := w.run(6); res.SyncErr != nil || res.Opened != 0 {
		t.Errorf("%+v", res)
	}
	if found, _ := filepath.Glob(filepath.Join(w.o.Config.State, storeName, "mirror.git", "config")); len(found) > 0 {
		t.Errorf("a mirror was made: %q", found)
	}
	free()
	w.run(0)
	w.wantReceipts(r.ID, "applied db:read")
}

// TestNoMemoryForOthersFaults: what the store is at fault for is what it was.
func TestNoMemoryForOthersFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for cause, exit := range map[error]int{
		gitstore.ErrUnreachable: 5, gitstore.ErrBadRemote: 5, gitstore.ErrRefused: 5, replica.ErrNoStore: 1,
		replica.ErrRewritten: 4, replica.ErrForked: 4, replica.ErrIdentity: 4,
		fmt.Errorf("%w: %w", gitstore.ErrUnreachable, os.ErrPermission): 5, // of an identity file
	} {
		w.faulty(&faultyBook{sync: cause})
		if res := w.run(exit); !errors.Is(res.SyncErr, cause) || len(res.Problems) > 0 {
			t.Errorf("%v: %+v", cause, res)
		}
	}
}

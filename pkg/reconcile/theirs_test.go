package reconcile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/owned"
)

// nobody is the user to whom a test gives what somebody else owns; only root can.
const nobody = 65534

// givenAway makes the folder of the state folder somebody else's, who has put another state
// folder in its place; where the test is not root, one that all may write to.
func givenAway(t *testing.T, state string) {
	t.Helper()
	parent := filepath.Dir(state)
	err := errors.Join(os.Rename(state, state+".away"), os.Mkdir(state, 0o755))
	if os.Geteuid() == 0 {
		err = errors.Join(err, os.Chown(parent, nobody, nobody), os.Chown(state, nobody, nobody))
	} else {
		err = errors.Join(err, os.Chmod(parent, 0o777), os.Chmod(state, 0o777))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// names lists a folder.
func names(t *testing.T, folder string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// TestStateFolderOfAnother: whoever can put another state folder in the place of the
// reconciler's, and lays there what a run would wait for, keeps nothing open, has nothing
// written, and is told of.
func TestStateFolderOfAnother(t *testing.T) {
	t.Parallel()
	pipe := func(name string) func(*testing.T, string) {
		return func(t *testing.T, state string) {
			if err := syscall.Mkfifo(filepath.Join(state, name), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	held := func(t *testing.T, state string) {
		f, err := os.OpenFile(filepath.Join(state, lockName), os.O_RDWR|os.O_CREATE, 0o666)
		if err == nil {
			err = tryLock(f)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
	}
	for name, lay := range map[string]func(t *testing.T, state string){
		"the lock is held":          held,
		"the lock is a pipe":        pipe(lockName),
		"the clock is a pipe":       pipe(clockName),
		"the journal is a pipe":     pipe(journalName),
		"the store is a pipe":       pipe(storeName),
		"the counters are a pipe":   pipe(talliesName),
		"what is brought is a pipe": pipe(carriedFolder),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.o.Config.Metrics = filepath.Join(t.TempDir(), "jit.prom")
			over := w.store.Granted("bob", 30*time.Minute, "db:read")
			w.run(0)
			w.wantAccess("bob", "readers", true)
			w.store.Granted("carol", 8*time.Hour, "db:write")
			state := w.o.Config.State
			givenAway(t, state)
			lay(t, state)
			before := names(t, state)
			w.at(time.Hour)
			res := w.within(6)
			if err, ok := errors.AsType[*UnsafeError](res.Problems[0]); !ok || err.Hint == "" || err.Reason != owned.Foreign && err.Reason != owned.Writable {
				t.Errorf("the first problem is %v", res.Problems[0])
			}
			w.want("ended db:read for bob: expired (request " + over.ID.Short() + ")")
			w.wantAccess("bob", "readers", false)
			w.wantAccess("carol", "writers", false)
			if after := names(t, state); !slices.Equal(after, before) {
				t.Errorf("the folder of another holds %q, and held %q", after, before)
			}
		})
	}
}

// within is run, which must come to its end by itself, whatever is laid in its way.
func (w *world) within(exit int) Result {
	w.t.Helper()
	done := make(chan Result, 1)
	var err error
	w.lines = nil
	go func() {
		var res Result
		res, err = Run(context.WithoutCancel(w.t.Context()), w.o)
		done <- res
	}()
	select {
	case res := <-done:
		if err != nil || res.ExitCode() != exit {
			w.t.Fatalf("%v, exit code %d, want %d: %+v\n%s", err, res.ExitCode(), exit, res, w.log)
		}
		return res
	case <-time.After(time.Minute): // no measure: it hangs
		w.t.Fatal("the run hangs")
	}
	return Result{}
}

// TestNoFileInItsPlace: what is no file, in the reconciler's own folder, is not waited for.
// Nothing opens, it is said why, and what is over ends.
func TestNoFileInItsPlace(t *testing.T) {
	t.Parallel()
	for _, name := range []string{lockName, clockName, journalName} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.store.Granted("bob", 30*time.Minute, "db:read")
			w.run(0)
			w.store.Granted("carol", 8*time.Hour, "db:write")
			path := filepath.Join(w.o.Config.State, name)
			if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
				t.Fatal(err)
			}
			w.at(time.Hour)
			res := w.within(6)
			found := slices.ContainsFunc(res.Problems, func(err error) bool {
				e, ok := errors.AsType[*UnsafeError](err)
				return ok && e.Reason == owned.Kind && e.Path == path
			})
			if !found {
				t.Errorf("problems %v", res.Problems)
			}
			w.wantAccess("bob", "readers", false)
			w.wantAccess("carol", "writers", false)
		})
	}
}

// TestConfigurationInAFolderOfAnother: who may write to a folder on the way could put
// another configuration there.
func TestConfigurationInAFolderOfAnother(t *testing.T) {
	t.Parallel()
	path := writeConfig(t, goodConfig, 0o600)
	if err := os.Chmod(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := LoadConfig(path, nil)
	if e, ok := errors.AsType[*UnsafeError](err); !ok || e.Reason != owned.Writable || !strings.Contains(fmt.Sprint(err), "others may put another in its place") {
		t.Errorf("%v", err)
	}
	if e, ok := errors.AsType[*ConfigError](err); !ok || e.Hint == "" {
		t.Errorf("%v", err)
	}
}

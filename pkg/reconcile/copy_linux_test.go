package reconcile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
)

// spoilt is a world before a revocation, of which each case damages the state folder.
type spoilt struct {
	*world
	saved   string
	members map[string]bool
}

func newSpoilt(t *testing.T) *spoilt {
	s := &spoilt{world: newWorld(t), saved: filepath.Join(t.TempDir(), "saved")}
	revoked := s.store.Granted("carol", 8*time.Hour, "db:write")
	s.store.Granted("bob", 8*time.Hour, "web:read")
	s.run(0)
	s.wantAccess("carol", "writers", true)
	s.copies(t, s.o.Config.State, s.saved)
	s.members = maps.Clone(s.targets["db"].members)
	s.store.Revoke("alice", revoked.ID)
	s.store.Granted("carol", 8*time.Hour, "db:read")
	return s
}

func (s *spoilt) copies(t *testing.T, from, to string) {
	t.Helper()
	// What a case has made unwritable goes too.
	out, err := exec.Command("sh", "-c", `test ! -e "$2" || chmod -R u+rwX "$2"; rm -rf "$2" && cp -a "$1" "$2"`, "sh", from, to).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// try damages the state folder, has a run, and says what that came to. Revoked access ends
// in it, and what is not revoked stays; unless it mends the folder nothing opens.
func (s *spoilt) try(t *testing.T, damage func(store string) error, mends bool) Result {
	t.Helper()
	state := s.o.Config.State
	s.copies(t, s.saved, state)
	s.targets["db"].members = maps.Clone(s.members)
	if err := damage(filepath.Join(state, storeName)); err != nil {
		t.Fatal(err)
	}
	if faults := CheckCopy(t.Context(), s.o.Config); len(faults) == 0 {
		t.Error("jit doctor would find nothing")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	res, err := Run(ctx, s.o)
	if err != nil {
		t.Fatalf("the run: %v", err)
	}
	want := 6
	if mends {
		want = 0
	}
	if res.ExitCode() != want || res.SyncErr != nil {
		t.Errorf("exit %d, want %d: %+v", res.ExitCode(), want, res)
	}
	db := s.targets["db"]
	if db.has("carol", "writers") || db.has("carol", "readers") != mends || !s.targets["web"].has("bob", "readers") {
		t.Errorf("open are %v and %v", db.members, s.targets["web"].members)
	}
	return res
}

func replaced(path string, by func(path string) error) error {
	return errors.Join(os.RemoveAll(path), by(path))
}

func pipe(path string) error { return syscall.Mkfifo(path, 0o600) }

func file(path string) error { return os.WriteFile(path, []byte("x\n"), 0o600) }

func pipeAt(name string) func(string) error {
	return func(store string) error { return replaced(filepath.Join(store, name), pipe) }
}

func fileAt(name string) func(string) error {
	return func(store string) error { return replaced(filepath.Join(store, name), file) }
}

func bytesAt(name string, change func([]byte) []byte) func(string) error {
	return func(store string) error {
		path := filepath.Join(store, name)
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, change(data), 0o600)
	}
}

// moved has the mirror be of another address.
func moved(store string) error {
	return bytesAt("mirror.git/config", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("url = \""), []byte("url = \"/elsewhere")) })(store)
}

// mirrored replaces what a pattern finds in the mirror.
func mirrored(pattern string, by func(path string) error) func(string) error {
	return func(store string) error {
		names, err := filepath.Glob(filepath.Join(store, "mirror.git", pattern))
		if len(names) == 0 {
			err = errors.Join(err, fmt.Errorf("nothing is like %s", pattern))
		}
		for _, name := range names {
			err = errors.Join(err, replaced(name, by))
		}
		return err
	}
}

// damage is one to a copy of the store.
type damage struct {
	name string
	do   func(store string) error
	say  string // of the problem
}

// damages are those that no run can mend.
func damages() []damage {
	empty := func([]byte) []byte { return nil }
	return []damage{
		{"checkpoint empty", bytesAt("checkpoint", empty), "holds no commit"},
		{"checkpoint cut", bytesAt("checkpoint", func(b []byte) []byte { return b[:20] }), "holds no commit"},
		{"checkpoint nul", bytesAt("checkpoint", func(b []byte) []byte { return make([]byte, len(b)) }), "holds no commit"},
		{"checkpoint a folder", func(store string) error {
			return replaced(filepath.Join(store, "checkpoint"), func(p string) error { return os.Mkdir(p, 0o700) })
		}, "not a regular file"},
		{"checkpoint without end", func(store string) error {
			return replaced(filepath.Join(store, "checkpoint"), func(p string) error { return os.Symlink("/dev/zero", p) })
		}, "symbolic link"},
		{"checkpoint large", func(store string) error { return os.Truncate(filepath.Join(store, "checkpoint"), 3<<30) }, "larger than"},
		{"checkpoint a pipe", pipeAt("checkpoint"), "not a regular file"},
		{"lock a pipe", pipeAt("lock"), "not a regular file"},
		{"replica.lock a pipe", pipeAt("replica.lock"), "not a regular file"},
		{"checkpoint.lock a pipe", pipeAt("checkpoint.lock"), "not a regular file"},
		{"spool a pipe", func(store string) error {
			return errors.Join(os.MkdirAll(filepath.Join(store, "spool"), 0o700), pipeAt("spool/x.json")(store))
		}, "not a regular file"},
		{"configuration a pipe", pipeAt("mirror.git/config"), "not a regular file"},
		{"moved, checkpoint lost", func(store string) error {
			return errors.Join(moved(store), os.Remove(filepath.Join(store, "checkpoint")))
		}, "mirror of another remote"},
		{"moved, checkpoint damaged", func(store string) error {
			return errors.Join(moved(store), bytesAt("checkpoint", empty)(store))
		}, "mirror of another remote"},
		{"configuration empty", bytesAt("mirror.git/config", empty), "mirror of another remote"},
		{"configuration garbage", bytesAt("mirror.git/config", func([]byte) []byte { return []byte("\x00\xff") }), "mirror of another remote"},
		{"grafts", fileAt("mirror.git/info/grafts"), "info/grafts"},
		{"shallow", fileAt("mirror.git/shallow"), "shallow"},
		{"alternates", fileAt("mirror.git/objects/info/alternates"), "objects/info/alternates"},
		{"objects a file", fileAt("mirror.git/objects"), "not a directory"},
		{"mirror a file", fileAt("mirror.git"), "not a directory"},
		{"store a file", fileAt(""), "not a directory"},
	}
}

// TestRevokesWithADamagedCopy: whatever lies in the state folder in the place of the copy of
// the store, or in it, keeps nothing that is revoked, and is never waited for; where the disk
// takes nothing neither.
func TestRevokesWithADamagedCopy(t *testing.T) {
	t.Parallel()
	s := newSpoilt(t)
	disk := s.o.openBook
	for _, d := range damages() {
		t.Run(d.name, func(t *testing.T) {
			s.o.openBook = disk
			res := s.try(t, d.do, false)
			if !slices.ContainsFunc(res.Problems, func(err error) bool { return strings.Contains(err.Error(), d.say) }) {
				t.Errorf("problems %q, want one of %q", res.Problems, d.say)
			}
			s.o.openBook = func(context.Context, Config, func() time.Time, *slog.Logger) (book, error) {
				return nil, syscall.ENOSPC
			}
			s.try(t, d.do, false)
		})
	}
}

// TestMendsTheCopy: what can be made again is.
func TestMendsTheCopy(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(store string) error{
		"objects pipes":  mirrored("objects/??/*", pipe),
		"index a pipe":   pipeAt("ledger.db"),
		"its log a pipe": pipeAt("ledger.db-journal"),
		"fetched a pipe": pipeAt("fetched"),
		"a pack a pipe": func(store string) error {
			return errors.Join(pipeAt("mirror.git/objects/pack/pack-1.idx")(store), pipeAt("mirror.git/objects/pack/pack-1.pack")(store))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			newSpoilt(t).try(t, do, true)
		})
	}
}

// TestRevokesWithoutPermission: nor does what jit may not read or write. Root passes over
// modes, so the test runs again without that.
func TestRevokesWithoutPermission(t *testing.T) {
	t.Parallel()
	const obeys = "JIT_TEST_OBEYS_MODES"
	if os.Geteuid() == 0 && os.Getenv(obeys) == "" {
		const caps = "-dac_override,-dac_read_search"
		cmd := exec.Command(testenv.Need(t, "setpriv", "util-linux"), "--inh-caps="+caps, "--bounding-set="+caps, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), obeys+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()+"/") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	modes := func(args ...string) func(string) error {
		return func(store string) error {
			for i, name := range args[1:] {
				args[i+1] = filepath.Join(store, name)
			}
			out, err := exec.Command("chmod", append([]string{"-R"}, args...)...).CombinedOutput()
			if err != nil {
				err = fmt.Errorf("%w: %s", err, out)
			}
			return err
		}
	}
	closedAt := func(name string) func(string) error {
		return func(store string) error { return os.Chmod(filepath.Join(store, name), 0) }
	}
	s := newSpoilt(t)
	for name, do := range map[string]func(store string) error{
		"state": modes("a-w", ".."),
		"store": modes("a-w", "."),
		"index and its folder": func(store string) error {
			return errors.Join(os.Chmod(filepath.Join(store, "ledger.db"), 0o444), os.Chmod(store, 0o500))
		},
		"objects":                modes("a-w", "mirror.git/objects"),
		"objects, unreadable":    closedAt("mirror.git/objects"),
		"refs":                   modes("a-w", "mirror.git/refs/jit"),
		"checkpoint, unreadable": modes("a-rw", "checkpoint"),
		"lock, unreadable":       modes("a-rw", "lock"),
		"replica.lock":           modes("a-rw", "replica.lock"),
		"mirror, unreadable":     closedAt("mirror.git"),
		"configuration":          modes("a-rw", "mirror.git/config"),
		"store, unreadable":      closedAt("."),
	} {
		t.Run(name, func(t *testing.T) {
			res := s.try(t, do, false)
			if !strings.Contains(fmt.Sprint(res.Problems), "permission denied") {
				t.Errorf("problems %q", res.Problems)
			}
		})
	}
	t.Run("the index alone", func(t *testing.T) { s.try(t, modes("a-w", "ledger.db"), true) })
}

// TestStopsThoughTheDiskHangs: a run that is told to stop does, whatever the copy of the
// store waits for.
func TestStopsThoughTheDiskHangs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.o.openBook = func(context.Context, Config, func() time.Time, *slog.Logger) (book, error) { select {} }
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		_, err := Run(ctx, w.o)
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	case <-time.After(6 * graceful):
		t.Fatal("it does not stop")
	}
}

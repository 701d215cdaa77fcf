package postgres_test

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jitaccess/jit/pkg/target"
	"github.com/jitaccess/jit/pkg/target/postgres"
)

// listenAs listens on a socket as another user would.
func listenAs(t *testing.T, uid int, path string) net.Listener {
	t.Helper()
	type made struct {
		net.Listener
		err error
	}
	done := make(chan made)
	go func() {
		runtime.LockOSThread() // which ends with this function, and is nobody else's
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			done <- made{err: errno}
			return
		}
		l, err := net.Listen("unix", path)
		done <- made{l, err}
	}()
	m := <-done
	if m.err != nil {
		t.Fatal(m.err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// TestSocketOfAnotherUser: who listens there is told nothing but by root, jit or the owner of
// the folder.
func TestSocketOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("not root: nobody else can be played here")
		return
	}
	for name, c := range map[string]struct {
		owner, listens int
		reason         target.Reason // Unreachable: it was asked
	}{
		"the owner":                 {65534, 65534, target.Unreachable},
		"root":                      {65534, 0, target.Unreachable},
		"another":                   {65534, 65533, target.Unsafe},
		"another, in one of root's": {0, 65534, target.Unsafe},
	} {
		t.Run(name, func(t *testing.T) {
			above, err := os.MkdirTemp("/tmp", "jitpg") // a socket's path must be short
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(above) })
			dir := filepath.Join(above, "s")
			// Open for a while, as its access list may have it.
			for _, err := range []error{os.Chmod(above, 0o755), os.Mkdir(dir, 0o755), os.Chmod(dir, 0o777)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			l := listenAs(t, c.listens, filepath.Join(dir, ".s.PGSQL.5432"))
			for _, err := range []error{os.Chown(dir, c.owner, -1), os.Chmod(dir, 0o755), os.Chmod(filepath.Join(dir, ".s.PGSQL.5432"), 0o777)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			told := make(chan error, 1)
			go func() {
				conn, err := l.Accept()
				if err != nil {
					told <- err
					return
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
				_, err = io.ReadFull(conn, make([]byte, 8))
				told <- err
			}()
			d, err := postgres.New(t.Context(), target.Config{Settings: map[string]string{"host": dir, "user": "jit"}})
			if err != nil {
				t.Fatal(err)
			}
			err = d.Ping(t.Context())
			if target.ReasonOf(err) != c.reason || target.HintOf(err) == "" {
				t.Errorf("%v", err)
			}
			if err := <-told; c.reason == target.Unsafe && !errors.Is(err, io.EOF) || c.reason != target.Unsafe && err != nil {
				t.Errorf("what was told: %v", err)
			}
		})
	}
}

// Package testenv starts the real programs that tests speak to (sshd, git over
// http, a database server) in temporary folders and on the loopback interface,
// and stops them when the test ends.
//
// It is used by tests alone and imports no other package of the project. A
// program that is missing fails the test: nothing is ever skipped.
package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"sync"
	"syscall"
	"testing"
)

// extraDirs are folders outside an ordinary user's PATH in which Debian
// installs servers. Globs are allowed; the last match wins, so that the newest
// PostgreSQL is taken.
var extraDirs = []string{"/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/lib/postgresql/*/bin", "/usr/lib/git-core"}

// Alone keeps this test apart from others that name the same thing, in all
// processes of this user on this machine, until the test ends.
func Alone(t testing.TB, thing string) {
	t.Helper()
	share(t, thing, syscall.LOCK_EX)
	alone.Store(t, thing)
	t.Cleanup(func() { alone.Delete(t) })
}

// Among keeps this test apart from those that are [Alone] with a thing, and not from each
// other. A test that is alone with it already stays so.
func Among(t testing.TB, thing string) {
	t.Helper()
	if held, _ := alone.Load(t); held != thing {
		share(t, thing, syscall.LOCK_SH)
	}
}

// alone are the tests that are, with what.
var alone sync.Map

func share(t testing.TB, thing string, how int) {
	t.Helper()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("jit-test-%d-%s.lock", os.Getuid(), thing))
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatalf("a lock between tests: %v", err)
	}
	// The kernel drops it with the file, however the test ends.
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		t.Fatalf("a lock between tests: %v", err)
	}
	t.Cleanup(func() { _ = f.Close() })
}

// Need gives the path of program. Where it is not installed the test fails, and
// the message names debianPackage, which contains it.
func Need(t testing.TB, program, debianPackage string) string {
	t.Helper()
	if path, err := exec.LookPath(program); err == nil {
		if abs, err := filepath.Abs(path); err == nil {
			return abs
		}
		return path
	}
	for _, pattern := range extraDirs {
		found, err := filepath.Glob(filepath.Join(pattern, program))
		if err != nil {
			t.Fatalf("looking for %q: %v", program, err)
		}
		sort.Strings(found)
		for i := len(found) - 1; i >= 0; i-- {
			if info, err := os.Stat(found[i]); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return found[i]
			}
		}
	}
	t.Fatalf("this test needs the program %q: install it with `apt-get install %s`", program, debianPackage)
	return ""
}

// Package testenv starts the real programs that tests speak to (sshd, git over
// http, a database server) in temporary folders and on the loopback interface,
// and stops them when the test ends.
//
// It is used by tests alone and imports no other package of the project. A
// program that is missing fails the test: nothing is ever skipped.
package testenv

import (
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"testing"
)

// extraDirs are folders outside an ordinary user's PATH in which Debian
// installs servers. Globs are allowed; the last match wins, so that the newest
// PostgreSQL is taken.
var extraDirs = []string{"/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/lib/postgresql/*/bin", "/usr/lib/git-core"}

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

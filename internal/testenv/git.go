package testenv

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Git runs the git program in dir as somebody who may push and is nobody in the
// store, by no configuration but the repository's own, and gives what it prints.
// That it fails fails the test.
func Git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(Need(t, "git", "git"), args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=eve", "GIT_AUTHOR_EMAIL=eve@example.com", "GIT_COMMITTER_NAME=eve", "GIT_COMMITTER_EMAIL=eve@example.com"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

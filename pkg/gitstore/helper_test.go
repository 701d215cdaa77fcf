package gitstore

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
)

// testPatience bounds what a test waits for; nothing takes nearly as long.
const testPatience = 2 * time.Minute

var day = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testPatience)
	t.Cleanup(cancel)
	return ctx
}

// git runs the git program with nothing of the user's configuration.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command(testenv.Need(t, "git", "git"), args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=eve", "GIT_AUTHOR_EMAIL=eve@example.com", "GIT_COMMITTER_NAME=eve", "GIT_COMMITTER_EMAIL=eve@example.com"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func bare(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.git")
	if err := CreateBare(path, ""); err != nil {
		t.Fatal(err)
	}
	return path
}

func add(path, text string) Append {
	return Append{Files: []NewFile{{Path: path, Data: []byte(text)}}, Message: "adds " + path, Author: "alice", Email: "alice@example.com", When: day}
}

func initStore(t testing.TB, o Options) (*Store, Hash) {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, root, err := Init(testContext(t), o, add("policy/P/policy.yaml", "first\n"))
	if err != nil {
		t.Fatalf("init: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, root
}

func openStore(t testing.TB, o Options) *Store {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	s, err := Open(testContext(t), o)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func mustFetch(t testing.TB, s *Store) Hash {
	t.Helper()
	tip, err := s.Fetch(testContext(t))
	if err != nil {
		t.Fatalf("fetch: %v", err)
	}
	return tip.Hash
}

func mustAppend(t testing.TB, s *Store, path, text string) Result {
	t.Helper()
	r, err := s.Append(testContext(t), add(path, text), nil)
	if err != nil {
		t.Fatalf("append %s: %v", path, err)
	}
	return r
}

// walk writes down what Walk reports, a line each.
func walk(t testing.TB, s *Store, from, to Hash, o WalkOptions) []string {
	t.Helper()
	var lines []string
	err := s.Walk(testContext(t), from, to, o, func(c Commit) error {
		for _, f := range c.Inserted {
			lines = append(lines, fmt.Sprintf("%.7s + %s %.7s %d", c.Hash, f.Path, f.Blob, f.Size))
		}
		for _, v := range c.Violations {
			lines = append(lines, fmt.Sprintf("%.7s ! %s: %s", c.Hash, v.Path, v.Kind))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("walk: %v", err)
	}
	return lines
}

// chain lists the commits that a walk gives.
func chain(t testing.TB, s *Store, from, to Hash) (list []Hash) {
	t.Helper()
	total := 0
	err := s.Walk(testContext(t), from, to, WalkOptions{Total: func(n int) { total = n }}, func(c Commit) error {
		list = append(list, c.Hash)
		return nil
	})
	if err != nil || total != len(list) {
		t.Fatalf("walk: %d commits, %d told, %v", len(list), total, err)
	}
	return list
}

// events is walk without the commits and the blobs.
func events(t testing.TB, s *Store, from, to Hash) string {
	t.Helper()
	var short []string
	for _, line := range walk(t, s, from, to, WalkOptions{}) {
		line = line[8:]
		if strings.HasPrefix(line, "+") {
			line = strings.Join(strings.Fields(line)[:2], " ")
		}
		short = append(short, line)
	}
	return strings.Join(short, "\n")
}

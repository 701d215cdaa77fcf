package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jitaccess/jit/internal/testenv"
)

// hooked puts the hook before the store of a company, as docs/hosting.md says.
func hooked(s *company, flags string) {
	s.t.Helper()
	text := fmt.Sprintf("#!/bin/sh\nexec %s hook pre-receive %s\n", s.bin, flags)
	if err := os.WriteFile(filepath.Join(s.store, "hooks", "pre-receive"), []byte(text), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// TestHookOverTheWire: over ssh and http the hook lets work through, and those who
// push with git are told why not.
func TestHookOverTheWire(t *testing.T) {
	git := testenv.Need(t, "git", "git")
	for _, o := range outposts {
		if o.name == "path" {
			continue // that is what the scripts hook_*.txtar do
		}
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			at := ""
			s := pair(t, func(t *testing.T, s *company) (url string, gone, back func()) {
				hooked(s, "") // the first push makes the store
				url, gone, back = o.serve(t, s)
				at = url
				return url, gone, back
			})
			hooked(s.company, "--store-id "+s.status("alice").Store+" --only")
			one := s.ask("one")
			s.jit("alice", "approve", one, "--yes")

			clone := filepath.Join(s.dir, "clone")
			s.env = append(s.env, "GIT_CONFIG_GLOBAL=/dev/null")
			run := func(args ...string) (string, int) {
				t.Helper()
				_, said, code := s.run("", git, append([]string{"-c", "user.name=eve", "-c", "user.email=eve@example.com"}, args...)...)
				return said, code
			}
			must := func(args ...string) {
				t.Helper()
				if said, code := run(args...); code != 0 {
					t.Fatalf("git %s: %s", strings.Join(args, " "), said)
				}
			}
			must("clone", "-q", at, clone)
			must("-C", clone, "rm", "-q", "-r", "requests")
			must("-C", clone, "commit", "-q", "-m", "nothing to see here")
			before := s.commits()
			said, code := run("-C", clone, "push", "origin", "HEAD:main")
			if code == 0 || !strings.Contains(said, "remote: refused requests/") || !strings.Contains(said, ": deleted: ") {
				t.Errorf("deleting is not turned away (%d):\n%s", code, said)
			}
			said, code = run("-C", clone, "push", "origin", "HEAD:refs/heads/mine")
			if code == 0 || !strings.Contains(said, "remote: refused other-ref: ") {
				t.Errorf("another branch is not turned away (%d):\n%s", code, said)
			}
			if now := s.commits(); len(now) != len(before) {
				t.Errorf("the branch has moved: %q", now)
			}
			s.jit("bob", "cancel", one)
			s.wantOnce("one")
		})
	}
}

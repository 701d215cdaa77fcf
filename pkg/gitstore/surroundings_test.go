package gitstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestPipeInPlaceOfARef: whoever has the folder of a store could put a pipe in the
// place of its branch, and keep a reader waiting for ever.
func TestPipeInPlaceOfARef(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, sub := range []string{"objects", "refs/heads"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "refs/heads/main"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Store{url: remoteURL{scheme: schemePath, path: dir}, ref: "refs/heads/main"}
	done := make(chan bool, 1)
	go func() {
		_, ok := s.peekPath()
		done <- ok
	}()
	select {
	case ok := <-done:
		if ok {
			t.Error("a pipe was read as a ref")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for the pipe")
	}
}

// TestIsolatedRunsFixedPrograms: what PATH says is not looked at.
func TestIsolatedRunsFixedPrograms(t *testing.T) {
	fake := t.TempDir()
	if err := os.WriteFile(filepath.Join(fake, "git"), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", fake)
	if path, err := findGit("", true); err != nil || strings.HasPrefix(path, fake) {
		t.Errorf("found %q, %v", path, err)
	}
	if path, err := findGit("", false); err != nil || !strings.HasPrefix(path, fake) {
		t.Errorf("a person's own PATH is not followed: %q, %v", path, err)
	}
	s := &Store{o: Options{Isolated: true, Env: []string{"PATH=" + fake, "LD_PRELOAD=x", "GIT_DIR=y"}}}
	for _, kv := range s.environment() {
		if strings.Contains(kv, fake) || strings.HasPrefix(kv, "LD_") || strings.HasPrefix(kv, "GIT_DIR") {
			t.Errorf("a program is given %q", kv)
		}
	}
}

// TestRelativePathIsSaid: what stands in a folder that PATH names by a relative name is
// not run, and the reason is said.
func TestRelativePathIsSaid(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "git"), []byte("#!/bin/sh\ntouch ran\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for path, want := range map[string]error{".": ErrRelativePath, ".:/usr/bin": ErrRelativePath, ":/usr/bin": ErrRelativePath, filepath.Join(dir, "none"): ErrNoGit} {
		t.Setenv("PATH", path)
		_, err := Open(t.Context(), Options{URL: filepath.Join(dir, "store"), Dir: filepath.Join(dir, "mirror"), Transport: Git})
		if !errors.Is(err, want) {
			t.Errorf("PATH=%s: %v, want %v", path, err, want)
		}
	}
	if _, err := os.Stat("ran"); err == nil {
		t.Error("a program of a relative folder was run")
	}
}

package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
)

// TestRemoteRefuses: the remote is there and does not let bob in, or does not take
// what he sends. What he signed waits, he reads why, and it goes out when the
// cause is gone.
func TestRemoteRefuses(t *testing.T) {
	m := &matrix{}
	t.Run("all", func(t *testing.T) {
		for _, c := range []struct {
			name  string
			words string
			// code and status are the exit codes of the request, and of a look at the store
			// meanwhile.
			code, status int
			serve        func(t *testing.T, s *company) (url string, refuse, relent func())
		}{
			{"a pre-receive hook refuses", "push refused by the server: pre-receive hook declined: closed for today", 5, 5, refusingHook},
			{"another host key", "host key verification failed", 0, 5, otherHostKey},
			{"credentials that have expired", "access denied by the remote", 0, 5, expiredCredentials},
		} {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				s := pair(t, c.serve)
				s.gone()
				s.says("bob", c.code, c.words, "request", "db:one", "--for", "1h", "-r", "one")
				if out, _, code := s.run("bob", s.bin, "status"); code != c.status || !strings.Contains(out, "waiting   1 submission to be sent") {
					t.Errorf("status: exit %d, want %d: %s", code, c.status, out)
				}
				s.back()
				s.says("bob", 0, "sent 1 submission that waited here", "list")
				s.wantOnce("one")
				m.add("remote: request", c.name, "waits, said; the next sends it")
			})
		}
	})
	m.print(t)
}

func refusingHook(t *testing.T, s *company) (string, func(), func()) {
	hook := filepath.Join(s.store, "hooks", "pre-receive")
	return s.store, func() {
			if err := os.WriteFile(hook, []byte("#!/bin/sh\necho closed for today >&2\nexit 1\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, func() {
			if err := os.Remove(hook); err != nil {
				t.Fatal(err)
			}
		}
}

func otherHostKey(t *testing.T, s *company) (string, func(), func()) {
	d := testenv.StartSSHD(t, testenv.SSHDOptions{HideAuthInfo: true})
	line := testenv.StartLine(t, d.Addr)
	s.sshThrough(d, line)
	known := filepath.Join(s.dir, "known_hosts")
	right, err := os.ReadFile(known)
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ := strings.Cut(string(right), " ")
	client := strings.Join(strings.Fields(d.ClientPub)[:2], " ") // any other key
	return "ssh://" + d.User + "@" + line.Addr + s.store,
		func() { s.write("known_hosts", host+" "+client+"\n") }, func() { s.write("known_hosts", string(right)) }
}

func expiredCredentials(t *testing.T, s *company) (string, func(), func()) {
	var expired atomic.Bool
	at := testenv.StartGitHTTP(t, filepath.Dir(s.store), testenv.GitHTTPOptions{User: "bob", Password: "secret", Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if expired.Load() {
				r.SetBasicAuth("bob", "another")
			}
			next.ServeHTTP(w, r)
		})
	}})
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=true")
	return fmt.Sprintf("http://bob:secret@%s/%s", u.Host, filepath.Base(s.store)), func() { expired.Store(true) }, func() { expired.Store(false) }
}

// TestDiskFull: bob's disk has room for a part of what a request writes, less and
// less.
func TestDiskFull(t *testing.T) {
	s := byPath(t)
	j := &faultJob{company: s, name: "disk full", who: "bob", args: []string{"request", "db:one", "--for", "1h", "-r", "one"}}
	j.t = t
	home := s.people["bob"].home
	limit := smallDisk(t, home)
	m := &matrix{}
	for _, room := range []int{0, 1, 4, 16, 48, 96, 160, 240, 512} {
		role := fmt.Sprintf("r%d", room)
		before := len(s.commits())
		args := limit(room, append([]string{s.bin}, "request", "db:one", "--for", "1h", "-r", role))
		out, said, code := s.run("bob", args[0], args[1:]...)
		j.words(fmt.Sprintf("%d KiB left", room), code, out+said, false)
		limit(-1, nil)
		j.clean("bob", "sync")
		s.jit("bob", "request", "db:one", "--for", "1h", "-r", role)
		j.whole("bob")
		if n := len(s.commits()) - before; n != 1 {
			t.Errorf("%d KiB left: %d commits for one request: exit %d\n%s", room, n, code, said)
		}
		result := fmt.Sprintf("exit %d; the next is clean", code)
		m.add("request: disk full", fmt.Sprintf("%d KiB", room), result)
		id := strings.TrimSpace(s.jit("bob", "list", "--state", "pending", "--template", "{{(index . 0).id}}"))
		s.jit("bob", "cancel", id)
	}
	m.print(t)
}

// TestReconcilerDiskFull: the disk of a reconciler's state has room for less and less. What
// is revoked, and what is over, ends all the same, it is said what is full, and the first run
// with room again is clean.
func TestReconcilerDiskFull(t *testing.T) {
	j := machine(t, "1h")
	j.t, j.name = t, "reconciler's disk full"
	j.clean("web", j.args...)
	limit := smallDisk(t, filepath.Join(j.dir, "machine"))
	small := func(room int, args []string) []string {
		return append([]string{"sh", "-c", fmt.Sprintf(`ulimit -f %d; exec "$@"`, room), "sh"}, args...)
	}
	m := &matrix{}
	try := func(kind string, room int, limit func(int, []string) []string, duration string) {
		t.Helper()
		if j.open() == 0 {
			j.jit("bob", "request", "web:login", "--for", duration, "-r", "again")
			j.jit("alice", "approve", strings.TrimSpace(j.jit("alice", "list", "--state", "pending", "--template", "{{(index . 0).id}}")), "--yes")
			j.clean("web", j.args...)
		}
		if j.open() != 1 {
			t.Fatal("it did not open: the machine is too slow for this test")
		}
		if duration == "1h" {
			j.jit("alice", "revoke", strings.TrimSpace(j.jit("alice", "list", "--state", "active", "--template", "{{(index . 0).id}}")), "-r", "enough", "--yes")
		} else {
			time.Sleep(5 * time.Second)
		}
		args := limit(room, append([]string{j.bin}, j.args...))
		out, said, code := j.run("web", args[0], args[1:]...)
		where := fmt.Sprintf("%s, %s, %d", kind, duration, room)
		j.words(where, code, out+said, false)
		if j.open() != 0 {
			t.Errorf("%s: exit %d, and it is open:\n%s%s", where, code, out, said)
		}
		if code != 0 && code != 6 || room == 0 && code == 0 {
			t.Errorf("%s: exit %d:\n%s%s", where, code, out, said)
		}
		limit(-1, nil)
		j.quiet(0)
		m.add("reconcile: "+where, "", fmt.Sprintf("exit %d; the next is clean", code))
	}
	for _, room := range []int{0, 1, 4, 16, 64, 160, 320} {
		try("KiB left", room, limit, "1h")
	}
	try("KiB left", 0, limit, "5s")
	for _, blocks := range []int{0, 1, 4, 64} {
		try("ulimit -f", blocks, small, "1h")
	}
	m.print(t)
}

// smallDisk puts a folder on a disk of 8 MiB and gives what leaves so many KiB of
// it free, -1 for all, and how to run a program then. Where nobody may mount, the
// size of each file is limited instead, which breaks writing as well.
func smallDisk(t *testing.T, dir string) func(room int, args []string) []string {
	t.Helper()
	moved := dir + ".moved"
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=8m,mode=0700")
	if errors.Is(err, syscall.EPERM) {
		if err := errors.Join(os.Remove(dir), os.Rename(moved, dir)); err != nil {
			t.Fatal(err)
		}
		return func(room int, args []string) []string {
			return append([]string{"sh", "-c", fmt.Sprintf(`ulimit -f %d; exec "$@"`, max(room, 0)*2), "sh"}, args...)
		}
	}
	if err != nil {
		t.Fatalf("a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("the small disk: %v", err)
		}
	})
	if out, err := exec.Command("cp", "-a", moved+"/.", dir).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	ballast := filepath.Join(dir, "ballast")
	return func(room int, args []string) []string {
		if err := os.RemoveAll(ballast); err != nil {
			t.Fatal(err)
		}
		if room < 0 {
			return args
		}
		var free syscall.Statfs_t
		if err := syscall.Statfs(dir, &free); err != nil {
			t.Fatal(err)
		}
		size := int64(free.Bavail)*free.Bsize - int64(room)<<10
		if err := os.WriteFile(ballast, make([]byte, max(size, 0)), 0o600); err != nil {
			t.Fatal(err)
		}
		return args
	}
}

// TestTwoAtOnce: several commands of one person at once, on one copy.
func TestTwoAtOnce(t *testing.T) {
	s := byPath(t)
	roles := []string{"one", "two", "three", "four"}
	var all sync.WaitGroup
	for _, role := range roles {
		all.Go(func() {
			if _, errs, code := s.run("bob", s.bin, "request", "db:"+role, "--for", "1h", "-r", role); code != 0 {
				t.Errorf("%s: exit %d: %s", role, code, errs)
			}
		})
	}
	all.Wait()
	s.wantOnce(roles...)
}

package authorizedkeys_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/target"
)

// verbTime is what a target has for one ending.
const verbTime = 5 * time.Second

func revoke(t *testing.T, d target.Driver, g target.Grant, remaining ...target.Grant) (target.Ending, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), verbTime)
	defer cancel()
	type answer struct {
		target.Ending
		error
	}
	answers := make(chan answer, 1)
	go func() {
		e, err := d.Revoke(ctx, g, remaining)
		answers <- answer{e, err}
	}()
	select {
	case a := <-answers:
		if ctx.Err() != nil {
			t.Error("it took all of the target's time")
		}
		return a.Ending, a.error
	case <-time.After(verbTime + 5*time.Second):
		t.Fatal("it hangs")
		panic("unreachable")
	}
}

func ends(t *testing.T, s interface{ Alive() bool }) bool {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); s.Alive() && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
	}
	return !s.Alive()
}

// with is the same host for who has another key.
func (h host) with(key string) host {
	server := *h.SSHD
	server.ClientKey = key
	h.SSHD = &server
	return h
}

// secondKey makes another key for the host's user.
func secondKey(t *testing.T) (private, public string) {
	t.Helper()
	private = filepath.Join(t.TempDir(), "other")
	if out, err := exec.Command(testenv.Need(t, "ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", private).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return private, read(t, private+".pub")
}

// TestNothingNamedHoldsAnEnding: what a process of a session says of the file with the keys
// neither holds jit up nor is believed where it is not sshd's.
func TestNothingNamedHoldsAnEnding(t *testing.T) {
	h := start(t, testenv.SSHDOptions{})
	otherKey, otherPub := secondKey(t)
	d := open(t, h.file)
	a, b := grantOf(h.ClientPub, h.params), grantOf(otherPub, h.params)
	for _, g := range []target.Grant{a, b} {
		if err := d.Grant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	// A file that says the other's key opened the session, of sshd's name in a /tmp that only
	// the session has, and where no sshd puts one.
	forged := "publickey " + strings.Join(strings.Fields(otherPub)[:2], " ")
	elsewhere := filepath.Join(dir, "sshauth.000000000000000")
	write(t, elsewhere, forged+"\n")
	const own = "/tmp/sshauth.000000000000000"
	mine := []session{
		h.runs(t, "SSH_USER_AUTH=/proc/kmsg sleep 60 & echo in; wait"),
		h.runs(t, "SSH_USER_AUTH="+pipe+" sleep 60 & echo in; wait"),
		h.runs(t, "SSH_USER_AUTH="+elsewhere+" sleep 60 & echo in; wait"),
	}
	if os.Geteuid() == 0 {
		mine = append(mine, h.runs(t, `unshare -m --propagation private sh -c 'if mount -t tmpfs none /tmp; then echo "`+forged+`" >`+own+
			`; SSH_USER_AUTH=`+own+` sleep 60 & fi; echo in; wait; sleep 60' || { echo in; sleep 60; }`))
	} else {
		t.Log("only root can mount a /tmp of its own everywhere")
	}
	others := h.with(otherKey).runs(t, "echo in; sleep 60; :")

	e, err := revoke(t, d, b, a)
	if err != nil || e.SessionsEnded != 1 || len(e.Left) != 0 {
		t.Errorf("the other's ending: %+v, %v", e, err)
	}
	if !ends(t, others) {
		t.Error("the other's session lives on")
	}
	for i, s := range mine {
		if !s.Alive() {
			t.Errorf("session %d was ended by what it said itself", i)
		}
	}
	e, err = revoke(t, d, a)
	if err != nil || e.SessionsEnded != len(mine) || len(e.Left) != 0 {
		t.Errorf("the ending: %+v, %v", e, err)
	}
	for i, s := range mine {
		if !ends(t, s) {
			t.Errorf("session %d lives on", i)
		}
	}
	if got := read(t, h.file); got != "" {
		t.Errorf("the file is %q", got)
	}
}

// TestSessionsEndWhateverCameOfTheLine: where the line can be struck out it is, and where it
// cannot be the ending fails, and yet nobody stays.
func TestSessionsEndWhateverCameOfTheLine(t *testing.T) {
	h := start(t, testenv.SSHDOptions{})
	otherKey, otherPub := secondKey(t)
	dir := filepath.Dir(h.file)
	mount := func(t *testing.T, path string, more uintptr) error {
		t.Helper()
		if err := syscall.Mount(path, path, "", syscall.MS_BIND, ""); err != nil {
			return err
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		if more == 0 {
			return nil
		}
		return syscall.Mount("", path, "", syscall.MS_BIND|syscall.MS_REMOUNT|more, "")
	}
	for name, c := range map[string]struct {
		spoil  func(t *testing.T) error
		struck bool
		reason target.Reason
	}{
		"a mount on the file": {struck: true, spoil: func(t *testing.T) error { return mount(t, h.file, 0) }},
		"a read-only folder with a mount on the file": {struck: true, spoil: func(t *testing.T) error {
			_ = os.Remove(filepath.Join(dir, ".managed.jit-lock"))
			if err := mount(t, dir, syscall.MS_RDONLY); err != nil {
				return err
			}
			// Its own mount is not read-only.
			if err := mount(t, h.file, syscall.MS_RDONLY); err != nil {
				return err
			}
			return syscall.Mount("", h.file, "", syscall.MS_BIND|syscall.MS_REMOUNT, "")
		}},
		"a read-only file system": {reason: target.Failed, spoil: func(t *testing.T) error { return mount(t, dir, syscall.MS_RDONLY) }},
		"a hard link": {reason: target.Unsafe, spoil: func(t *testing.T) error {
			t.Cleanup(func() { _ = os.Remove(h.file + "-2") })
			return os.Link(h.file, h.file+"-2")
		}},
		"a folder that others can write": {reason: target.Unsafe, spoil: func(t *testing.T) error {
			t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
			return os.Chmod(dir, 0o777)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d := open(t, h.file)
			a, b := grantOf(h.ClientPub, h.params), grantOf(otherPub, h.params)
			for _, g := range []target.Grant{a, b} {
				if err := d.Grant(t.Context(), g); err != nil {
					t.Fatal(err)
				}
			}
			before := read(t, h.file)
			t.Cleanup(func() {
				for _, g := range []target.Grant{a, b} {
					if _, err := d.Revoke(context.WithoutCancel(t.Context()), g, nil); err != nil {
						t.Errorf("when all is well again: %v", err)
					}
				}
			})
			if err := c.spoil(t); errors.Is(err, syscall.EPERM) {
				t.Log("only root can mount")
				return
			} else if err != nil {
				t.Fatal(err)
			}
			mine := h.runs(t, "echo in; sleep 60; :")
			others := h.with(otherKey).runs(t, "echo in; sleep 60; :")
			e, err := revoke(t, d, a, b)
			if target.ReasonOf(err) != c.reason || e.SessionsEnded != 1 || len(e.Left) != 0 || e.Standing {
				t.Errorf("%+v, %v", e, err)
			}
			if !ends(t, mine) || !others.Alive() {
				t.Errorf("of the two sessions live: the ended key's %v, the other's %v", mine.Alive(), others.Alive())
			}
			got := read(t, h.file)
			if struck := strings.Contains(got, "#jit:ended ") && len(got) == len(before); struck != c.struck || !struck && got != before {
				t.Errorf("the file is %q, and was %q", got, before)
			}
			if c.struck {
				if e, err := revoke(t, d, a, b); err != nil || len(e.Left) != 0 {
					t.Errorf("once more: %+v, %v", e, err)
				}
				if err := h.canUse(t); err == nil {
					t.Error("the key is still let in")
				}
			}
		})
	}
}

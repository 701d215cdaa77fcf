package authorizedkeys

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/target"
)

// A session whose connection came after the first look cannot be one of the
// key's: its lines were gone by then.
func TestConnected(t *testing.T) {
	t.Parallel()
	sshd := func(pid, parent int, start string) process {
		return process{pid: pid, parent: parent, name: "sshd", start: start}
	}
	of := func(list ...process) map[int]process {
		all := map[int]process{}
		for _, p := range list {
			all[p.pid] = p
		}
		return all
	}
	listener, monitor := sshd(10, 1, "a"), sshd(20, 10, "b")
	first := of(process{pid: 1, name: "init", start: "0"}, listener, monitor)
	for name, c := range map[string]struct {
		session process
		more    []process
		want    bool
	}{
		"was there":                       {session: monitor, want: true},
		"its monitor was there":           {session: sshd(30, 20, "c"), want: true},
		"came later":                      {session: sshd(30, 10, "c")},
		"came later, with its monitor":    {session: sshd(30, 25, "d"), more: []process{sshd(25, 10, "c")}},
		"another process with the number": {session: sshd(20, 10, "c")},
	} {
		now := of(append([]process{first[1], listener, monitor, c.session}, c.more...)...)
		if got := connected(first, now, c.session); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestAccountThatIsGone: its sessions are looked for under the user id that it had, and where
// that is not known the ending says so.
func TestAccountThatIsGone(t *testing.T) {
	t.Parallel()
	proc := fakeProc(t.TempDir())
	proc.add(t, process{pid: 10, parent: 1, name: "sshd", title: "sshd: /usr/sbin/sshd [listener]"}, program, time.Minute)
	proc.add(t, process{pid: 20, parent: 10, name: "sshd", title: "sshd: deploy [priv]"}, program, time.Minute)
	proc.add(t, process{pid: 21, parent: 20, uid: 4711, name: "sshd", title: "sshd: deploy@notty"}, program, time.Minute)
	made, err := New(t.Context(), target.Config{Resource: "web", Settings: map[string]string{"file": filepath.Join(t.TempDir(), "%u")}})
	must(t, err)
	d := made.(*driver)
	accounts := map[string]int{"deploy": 4711}
	d.proc, d.lookup = string(proc), func(account string) (int, error) {
		if uid, ok := accounts[account]; ok {
			return uid, nil
		}
		return -1, nil
	}
	grant := func(id, account string) target.Grant {
		return target.Grant{
			ID: "01JD000000000000000000000" + id + "-0", Resource: "web", Role: "shell", Params: map[string]string{"account": account}, Person: "alice",
			Account: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB2x5kRjPzYf7oR4e1xkM3nI4x0o9pQ2l0oS8d0qWm7d", Opens: time.Now(), Ends: time.Now().Add(time.Hour),
		}
	}
	g := grant("1", "deploy")
	must(t, d.Grant(t.Context(), g))
	seen, err := d.Check(t.Context(), g, nil)
	if err != nil || !seen.Present || seen.Identity != "4711" {
		t.Errorf("%+v, %v", seen, err)
	}
	delete(accounts, "deploy")
	accounts["deploy2"] = 4711
	if again, err := d.Check(t.Context(), g, nil); err != nil || again.Present || again.Identity != "" {
		t.Errorf("when it is gone: %+v, %v", again, err)
	}
	const unknown, unseen = "1 sessions", "which user id it had is not known"
	for name, c := range map[string]struct {
		identity  string
		remaining []target.Grant
		left      string
	}{
		"not known": {left: unseen},
		"no number": {identity: "x", left: unseen},
		"known":     {identity: seen.Identity, left: unknown},
		"the key is let in there by another grant": {identity: seen.Identity, remaining: []target.Grant{grant("2", "deploy2")}},
		"and by one for another account":           {identity: seen.Identity, remaining: []target.Grant{grant("2", "deploy3")}, left: unknown},
	} {
		g := g
		g.Identity = c.identity
		e, err := d.Revoke(t.Context(), g, c.remaining)
		if err != nil || len(e.Left) > 1 || (len(e.Left) == 1) != (c.left != "") || !strings.Contains(strings.Join(e.Left, ""), c.left) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
}

// TestKillKeepsItsTime: a person can have the kernel keep back what it says of many
// processes. All of them are signalled all the same, and nobody waits for each.
func TestKillKeepsItsTime(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	var tree []process
	for range 60 {
		c := exec.Command("sleep", "600")
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		must(t, c.Start())
		pid := c.Process.Pid
		ended := make(chan struct{})
		go func() {
			_ = c.Wait()
			_ = os.Remove(filepath.Join(proc, strconv.Itoa(pid), "status"))
			close(ended)
		}()
		t.Cleanup(func() { _ = c.Process.Kill(); <-ended })
		dir := filepath.Join(proc, strconv.Itoa(pid))
		must(t, os.Mkdir(dir, 0o700))
		must(t, os.WriteFile(filepath.Join(dir, "status"), []byte("Name:\tsleep\nPPid:\t1\nUid:\t4712\t0\t0\t0\n"), 0o600))
		stat := filepath.Join(dir, "stat")
		must(t, syscall.Mkfifo(stat, 0o600))
		t.Cleanup(func() {
			if h, err := os.OpenFile(stat, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
				h.Close()
			}
		})
		tree = append(tree, process{pid: pid, parent: 1, uid: 4712, name: "sleep", start: "4711"})
	}
	d := &driver{proc: proc}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.kill(over, 4712, slices.Clone(tree)); err == nil || len(d.living(tree, 4712)) != len(tree) {
		t.Errorf("when its time is over: %v, and %d of %d live", err, len(d.living(tree, 4712)), len(tree))
	}
	began := time.Now()
	if err := d.kill(t.Context(), 4712, slices.Clone(tree)); err != nil {
		t.Error(err)
	}
	// One wait for each would be more than 12 seconds.
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %v", took)
	}
}

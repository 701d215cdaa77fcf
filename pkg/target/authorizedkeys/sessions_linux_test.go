package authorizedkeys

import (
	"path/filepath"
	"strings"
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

package authorizedkeys

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
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

// TestOpenedSeesTheSessionsOwnFiles: the file that a session's SSH_USER_AUTH names
// lies below the /tmp that the session sees, which is not that of a service with a
// private one.
func TestOpenedSeesTheSessionsOwnFiles(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	write := func(path, text string) string {
		t.Helper()
		path = filepath.Join(proc, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const here = "/tmp/sshauth.of-nobody-on-this-machine"
	write("7/environ", "HOME=/\x00SSH_USER_AUTH="+here+"\x00")
	write("7/root"+here, "publickey ssh-ed25519 AAAA\n")
	if got := opened(proc, 7); !slices.Equal(got, []string{"ssh-ed25519 AAAA"}) {
		t.Errorf("the keys of the session are %q", got)
	}
	// Where its root cannot be looked into, the path is tried as it stands.
	plain := write("auth", "publickey ssh-ed25519 BBBB\n")
	write("8/environ", "SSH_USER_AUTH="+plain+"\x00")
	if got := opened(proc, 8); !slices.Equal(got, []string{"ssh-ed25519 BBBB"}) {
		t.Errorf("the keys of the other session are %q", got)
	}
}

package authorizedkeys

import "testing"

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

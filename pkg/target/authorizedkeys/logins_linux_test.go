package authorizedkeys

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jitaccess/jit/pkg/target"
)

// fakeProc is a /proc in which processes are as a test says.
type fakeProc string

// add makes a process that runs a file, and began before the test by age.
func (proc fakeProc) add(t *testing.T, p process, exe string, age time.Duration) {
	t.Helper()
	dir := filepath.Join(string(proc), strconv.Itoa(p.pid))
	must(t, os.MkdirAll(dir, 0o755))
	var boot unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_BOOTTIME, &boot))
	start := (time.Duration(boot.Nano()) - age) / (time.Second / ticks)
	for name, text := range map[string]string{
		"status":  fmt.Sprintf("Name:\t%s\nPPid:\t%d\nUid:\t%d\t0\t0\t0\n", p.name, p.parent, p.uid),
		"stat":    fmt.Sprintf("%d (%s) S %d 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 %d 0", p.pid, p.name, p.parent, start),
		"cmdline": strings.ReplaceAll(p.title, " ", "\x00") + "\x00\x00",
		"environ": "",
	} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	_ = os.Remove(filepath.Join(dir, "exe"))
	must(t, os.Symlink(exe, filepath.Join(dir, "exe")))
}

const program = "/usr/sbin/sshd"

// TestSessionsOf: what of sshd's processes serves an account, and what is under way. The
// listener is never a session: whatever runs below one is ended with it.
func TestSessionsOf(t *testing.T) {
	t.Parallel()
	proc := fakeProc(t.TempDir())
	add := func(pid, parent, uid int, title string) {
		t.Helper()
		name, _, _ := strings.Cut(title, ":")
		exe := program
		if name == "sshd" && strings.HasPrefix(title, "sshd: imitated") {
			exe = "/usr/bin/sudo"
		}
		proc.add(t, process{pid: pid, parent: parent, uid: uid, name: filepath.Base(name), title: title}, exe, time.Minute)
	}
	const deploy = 4711 // not who runs the test, whose files these are
	add(1, 0, 0, "init")
	add(10, 1, 0, "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups")
	add(11, 1, 0, "sshd: /usr/sbin/sshd -p 2222 -o Banner=/a@b [listener] 1 of 10-100 startups")
	add(13, 1, 0, "sshd: sshd -o Banner=/a@b [listener] 1 of 10-100 startups")
	add(12, 1, 0, "sshd") // one that says nothing of itself, with a session
	// Sessions of root's, whatever is above.
	add(20, 10, 0, "sshd: root@pts/0")
	add(21, 1, 0, "sshd: root@notty")
	add(22, 21, 0, "sshd: root@notty") // a part of it
	add(23, 1, 0, "sshd-session: root [priv]")
	add(24, 12, 0, "sshd: root@pts/1,pts/2")
	// Of the account's.
	add(30, 10, 0, "sshd: deploy [priv]")
	add(31, 30, deploy, "sshd: deploy@notty")
	add(32, 1, 0, "sshd: deploy [priv]")
	add(33, 32, deploy, "sshd: deploy@notty")
	add(34, 1, deploy, "sshd: deploy@pts/3") // its monitor is gone
	// Logins under way.
	add(40, 10, 0, "sshd: root [priv]")
	add(41, 40, 102, "sshd: root [net]")
	add(42, 1, 0, "sshd-session: root [priv]")
	add(43, 42, 102, "sshd-auth: root [net]")
	add(44, 10, 0, "sshd: deploy [priv]")
	add(45, 44, 102, "sshd: deploy [net]")
	add(46, 44, 0, "sshd: deploy [pam]")
	add(47, 1, 0, "sshd: alias [priv]") // after its second factor; it might be root's by another name
	// Of nobody whose key sshd has looked for, or of others.
	add(50, 10, 0, "sshd: [accepted]")
	add(51, 50, 102, "sshd: [net]")
	add(52, 10, 0, "sshd: unknown [priv]")
	add(53, 52, 102, "sshd: unknown [net]")
	add(54, 10, 0, "sshd: other [priv]")
	add(55, 54, 102, "sshd: other [net]")
	// A program of root's that a person has called sshd.
	add(60, 1, 0, "sshd: imitated [priv]")
	add(61, 1, 0, "sshd: imitated@pts/0")

	lookup := func(name string) (int, error) {
		switch name {
		case "root":
			return 0, nil
		case "deploy", "alias", "imitated":
			return deploy, nil
		case "other":
			return 4712, nil
		}
		return -1, nil
	}
	for account, want := range map[string]struct{ sessions, logins []int }{
		"root":   {[]int{20, 21, 22, 23, 24, 47}, []int{40, 42}},
		"deploy": {[]int{31, 33, 34}, []int{44, 47}},
	} {
		uid, _ := lookup(account)
		all, err := processes(string(proc), uid)
		must(t, err)
		var got []int
		for _, s := range sessions(all, uid) {
			got = append(got, s.pid)
		}
		slices.Sort(got)
		if !slices.Equal(got, want.sessions) {
			t.Errorf("%s: the sessions are %v, want %v", account, got, want.sessions)
		}
		l := loginsIn(all, logins{proc: string(proc), account: account, uid: uid, lookup: lookup}, filepath.Join(t.TempDir(), "none"))
		if got := slices.Sorted(maps.Keys(l.open)); !slices.Equal(got, want.logins) {
			t.Errorf("%s: under way are %v, want %v", account, got, want.logins)
		}
	}
}

// TestStrangersHoldNothingUp: whoever begins logins to the account without a key that is let
// in can hold up an ending for moments once, and none that is tried again later.
func TestStrangersHoldNothingUp(t *testing.T) {
	t.Parallel()
	proc := fakeProc(t.TempDir())
	proc.add(t, process{pid: 10, parent: 1, name: "sshd", title: "sshd: /usr/sbin/sshd [listener]"}, program, 2*time.Hour)
	proc.add(t, process{pid: 20, parent: 10, name: "sshd", title: "sshd: deploy [priv]"}, program, time.Hour)
	path := filepath.Join(t.TempDir(), "deploy")
	must(t, os.WriteFile(path, nil, 0o600))
	d := &driver{proc: string(proc), pattern: path, lookup: func(string) (int, error) { return 4711, nil }}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	for range 10 {
		var e target.Ending
		if err := d.endSessions(ctx, "deploy", 4711, []string{"ssh-ed25519 AAAA"}, &e); target.ReasonOf(err) != target.Failed || !strings.Contains(err.Error(), "1 logins") {
			t.Fatalf("%+v, %v", e, err)
		}
	}
	if waited := time.Duration(d.waited.Load()); waited < loginPatience || waited > 3*loginPatience {
		t.Errorf("ten endings of one run have waited for %v", waited)
	}
	l := logins{proc: string(proc), account: "deploy", uid: 4711, lookup: d.lookup}
	all, err := processes(string(proc), 4711)
	must(t, err)
	for age, want := range map[time.Duration]bool{time.Minute: true, time.Hour: true, time.Hour + time.Minute: false} {
		if got := l.began(all[20], age); got != want {
			t.Errorf("the file was changed %v ago, and the login an hour old is of before: %v", age, got)
		}
	}
}

// TestEnvironmentOfSSHD: a listener that was started in a session has that one's environment,
// and so has all of sshd that it starts. It says nothing of who was let in by it.
func TestEnvironmentOfSSHD(t *testing.T) {
	t.Parallel()
	proc := fakeProc(t.TempDir())
	tmp := filepath.Join(string(proc), "20", "root", "tmp")
	const name = "sshauth.000000000000000"
	monitor := process{pid: 20, parent: 1, uid: os.Geteuid(), name: "sshd", title: "sshd: me@notty"}
	proc.add(t, monitor, program, time.Minute)
	must(t, os.MkdirAll(tmp, 0o755))
	must(t, os.WriteFile(filepath.Join(tmp, name), []byte("publickey ssh-ed25519 AAAA\n"), 0o600))
	proc.add(t, process{pid: 21, parent: 20, uid: monitor.uid, name: "sh"}, "/bin/sh", time.Minute)
	if os.Geteuid() != 0 {
		t.Log("without root jit looks below its own /tmp")
		return
	}
	for pid, want := range map[int]int{20: 0, 21: 1} {
		for _, p := range []int{20, 21} {
			text := ""
			if p == pid {
				text = "SSH_USER_AUTH=/tmp/" + name + "\x00"
			}
			must(t, os.WriteFile(filepath.Join(string(proc), strconv.Itoa(p), "environ"), []byte(text), 0o600))
		}
		all, err := processes(string(proc), monitor.uid)
		must(t, err)
		list := sessionsBefore(all, all, monitor.uid)
		if len(list) != 1 {
			t.Fatalf("%d sessions", len(list))
		}
		if got := opened(string(proc), all, monitor.uid, list)[0]; len(got) != want {
			t.Errorf("in the environment of process %d: %q", pid, got)
		}
	}
}

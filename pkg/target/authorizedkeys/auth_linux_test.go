package authorizedkeys

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func folderOf(t testing.TB, dir string) int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestAuthName: jit opens no path that a person chooses.
func TestAuthName(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"/tmp/sshauth.XXXXXXXXXa0Z9bc":               "sshauth.XXXXXXXXXa0Z9bc",
		"/tmp/sshauth.XXXXXXXXXa0Z9b":                "",
		"/tmp/sshauth.XXXXXXXXXa0Z9bcd":              "",
		"/tmp/sshauth.XXXXXXXXXa0Z9bc\n":             "",
		"/tmp/sshauth./../../etc/pass":               "",
		"/tmp/sshauth.../XXXXXXXXXXXX":               "",
		"/tmp/x/sshauth.XXXXXXXXXa0Z9bc":             "",
		"/tmp/../tmp/sshauth.XXXXXXXXXa0Z9bc":        "",
		"//tmp/sshauth.XXXXXXXXXa0Z9bc":              "",
		"/home/a/sshauth.XXXXXXXXXa0Z9bc":            "",
		"/proc/kmsg":                                 "",
		"tmp/sshauth.XXXXXXXXXa0Z9bc":                "",
		"":                                           "",
		"/tmp/sshauth.XXXXXXXXXa0Z9é":                "",
		"/proc/self/root/tmp/sshauth.XXXXXXXXXa0Z9b": "",
	} {
		if got := authName([]byte("A=b\x00XSSH_USER_AUTH=/tmp/sshauth.000000000000000\x00SSH_USER_AUTH=" + value + "\x00")); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
}

// TestReadsOnlyWhatSSHDWrites: a small regular file of the account's, and nothing that is
// mounted over one.
func TestReadsOnlyWhatSSHDWrites(t *testing.T) {
	t.Parallel()
	const key = "ssh-ed25519 AAAA"
	for name, c := range map[string]struct {
		make func(path string) error
		root bool // only root can make it
		want []string
	}{
		"sshd's": {make: func(path string) error { return os.WriteFile(path, []byte("publickey "+key+"\n"), 0o600) }, want: []string{key}},
		"several pages": {make: func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("password\n", 4000)+"publickey "+key+"\n"), 0o600)
		}, want: []string{key}},
		"nothing": {make: func(path string) error { return nil }},
		"empty":   {make: func(path string) error { return os.WriteFile(path, nil, 0o600) }},
		"too large": {make: func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("publickey "+key+"\n", 4000)), 0o600)
		}},
		"link": {make: func(path string) error {
			return errors.Join(os.WriteFile(path+"2", []byte("publickey "+key+"\n"), 0o600), os.Symlink(path+"2", path))
		}},
		"pipe":   {make: func(path string) error { return syscall.Mkfifo(path, 0o600) }},
		"folder": {make: func(path string) error { return os.Mkdir(path, 0o700) }},
		"another's": {root: true, make: func(path string) error {
			return errors.Join(os.WriteFile(path, []byte("publickey "+key+"\n"), 0o600), os.Chown(path, 65534, 65534))
		}},
		"a device": {root: true, make: func(path string) error { return syscall.Mknod(path, syscall.S_IFCHR|0o600, 5<<8) }},
		"mounted": {root: true, make: func(path string) error {
			err := errors.Join(os.WriteFile(path, nil, 0o600), os.WriteFile(path+"2", []byte("publickey "+key+"\n"), 0o600))
			if err == nil {
				err = syscall.Mount(path+"2", path, "", syscall.MS_BIND, "")
			}
			if err == nil {
				t.Cleanup(func() { must(t, syscall.Unmount(path, syscall.MNT_DETACH)) })
			}
			return err
		}},
	} {
		dir := t.TempDir()
		err := c.make(filepath.Join(dir, "sshauth.0"))
		if c.root && errors.Is(err, syscall.EPERM) {
			t.Logf("%s: only root can make that", name)
			continue
		}
		must(t, err)
		if got := keysOf(folderOf(t, dir), "sshauth.0", os.Geteuid()); !slices.Equal(got, c.want) {
			t.Errorf("%s: the keys are %q", name, got)
		}
	}
}

// TestSSHDsTmp: /tmp is looked at as the nearest sshd of root's sees it, and never as a
// process of the account does.
func TestSSHDsTmp(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	all := map[int]process{}
	add := func(pid, parent, uid int, name, exe string) process {
		t.Helper()
		dir := filepath.Join(proc, strconv.Itoa(pid))
		tmp := filepath.Join(dir, "root", "tmp")
		must(t, os.MkdirAll(tmp, 0o755))
		must(t, os.WriteFile(filepath.Join(tmp, "of"), []byte(strconv.Itoa(pid)), 0o600))
		must(t, os.WriteFile(filepath.Join(dir, "stat"), fmt.Appendf(nil, "%d (%s) S %d 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 %d0", pid, name, parent, pid), 0o600))
		must(t, os.WriteFile(filepath.Join(dir, "status"), fmt.Appendf(nil, "Name:\t%s\nPPid:\t%d\nUid:\t%d\t0\t0\t0\n", name, parent, uid), 0o600))
		must(t, os.Symlink(exe, filepath.Join(dir, "exe")))
		p, ok := process{pid: pid, start: "?"}.again(proc, uid)
		if !ok {
			t.Fatalf("process %d cannot be read", pid)
		}
		all[pid] = p
		return p
	}
	add(1, 0, 0, "init", "/sbin/init")
	add(10, 1, 0, "sshd", "/usr/sbin/sshd")
	add(20, 10, 0, "sshd", "/usr/sbin/sshd (deleted)")
	plain := add(21, 20, 1000, "sshd", "/usr/sbin/sshd")
	add(22, 21, 1000, "sh", "/bin/sh")
	add(23, 22, 1000, "sshd", "/home/a/sshd")
	imitated := add(24, 23, 1000, "sshd", "/usr/sbin/sshd")
	add(30, 10, 0, "sshd-session", "/usr/lib/openssh/sshd-session")
	split := add(31, 30, 1000, "sshd-session", "/usr/lib/openssh/sshd-session")
	add(40, 1, 0, "sshd", "/opt/other")
	foreign := add(41, 40, 1000, "sshd", "/usr/sbin/sshd")
	for name, c := range map[string]struct {
		session process
		want    string
	}{
		"its monitor":             {plain, "20"},
		"of a program of its own": {split, "30"},
		"imitated":                {imitated, "20"},
		"no sshd above":           {foreign, ""},
	} {
		if os.Geteuid() != 0 {
			t.Log("without root jit looks below its own /tmp")
			break
		}
		tmp, err := sshdsTmp(proc, all, c.session)
		if err != nil {
			if c.want != "" {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		h, err := unix.Openat(tmp, "of", unix.O_RDONLY, 0)
		must(t, err)
		got := make([]byte, 8)
		n, err := unix.Read(h, got)
		must(t, errors.Join(err, unix.Close(h), unix.Close(tmp)))
		if string(got[:n]) != c.want {
			t.Errorf("%s: /tmp is that of %q, want %q", name, got[:n], c.want)
		}
	}
	// The number is another's by now.
	gone := all[20]
	gone.start = "earlier"
	if tmp, err := tmpOf(proc, gone); err == nil {
		unix.Close(tmp)
		t.Error("the /tmp of a process that is gone was opened")
	}
}

// TestEnvironmentThatHangs: it costs what is known of its process, a while once, and no
// other account anything. A pipe that nobody writes to stands for it here.
func TestEnvironmentThatHangs(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	const name = "sshauth.000000000000000"
	add := func(pid int, hangs bool) process {
		t.Helper()
		path := filepath.Join(proc, strconv.Itoa(pid), "environ")
		must(t, os.Mkdir(filepath.Dir(path), 0o700))
		if hangs {
			must(t, syscall.Mkfifo(path, 0o600))
			t.Cleanup(func() {
				if h, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
					h.Close()
				}
			})
		} else {
			must(t, os.WriteFile(path, []byte("SSH_USER_AUTH=/tmp/"+name+"\x00"), 0o600))
		}
		return process{pid: pid, uid: 1000}
	}
	r := newReads()
	list := []process{add(1, true), add(2, false), add(3, true)}
	if got := r.each(proc, "environ", 1000, map[int][]process{1: list}, authName); len(got) != 1 || got[2] != name {
		t.Errorf("beside what hangs: %v", got)
	}
	began := time.Now()
	if got := r.each(proc, "environ", 1000, map[int][]process{1: list}, authName); len(got) != 1 || got[2] != name {
		t.Errorf("the second time: %v", got)
	}
	if took := time.Since(began); took >= readPatience {
		t.Errorf("what hangs was waited for again: %v", took)
	}
	many := map[int][]process{1: {add(99, false)}}
	for pid := range 2 * maxHeld {
		session := 2 + pid/(2*maxHeldOfOne)
		many[session] = append(many[session], add(100+pid, true))
	}
	if got := r.each(proc, "environ", 1001, map[int][]process{1: many[1], 2: many[2]}, authName); got[99] != name {
		t.Errorf("another session's: %v", got)
	}
	held := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.held)
	}
	if held() != 2+maxHeldOfOne {
		t.Errorf("%d reads are under way for one session", held()-2)
	}
	r.each(proc, "environ", 1001, many, authName)
	if held() > 2+maxHeld {
		t.Errorf("%d reads are under way for one account", held()-2)
	}
	if got := r.each(proc, "environ", 1002, map[int][]process{1: list[1:2]}, authName); got[2] != name {
		t.Errorf("another account's: %v", got)
	}
}

// TestStatThatHangs: the kernel may keep it back like an environment. The others are seen.
func TestStatThatHangs(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	for _, p := range []process{
		{pid: 10, parent: 1, uid: 0, name: "sshd"}, {pid: 20, parent: 10, uid: 0, name: "sshd"}, {pid: 21, parent: 20, uid: 4711, name: "sshd"}, {pid: 22, parent: 21, uid: 4711, name: "sh"}, {pid: 23, parent: 22, uid: 4711, name: "held"},
	} {
		dir := filepath.Join(proc, strconv.Itoa(p.pid))
		must(t, os.Mkdir(dir, 0o700))
		must(t, os.WriteFile(filepath.Join(dir, "status"), fmt.Appendf(nil, "Name:\t%s\nPPid:\t%d\nUid:\t%d\t0\t0\t0\n", p.name, p.parent, p.uid), 0o600))
		stat := filepath.Join(dir, "stat")
		if p.name == "held" {
			must(t, syscall.Mkfifo(stat, 0o600))
			t.Cleanup(func() {
				if h, err := os.OpenFile(stat, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
					h.Close()
				}
			})
			continue
		}
		must(t, os.WriteFile(stat, fmt.Appendf(nil, "%d (%s) S 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 %d0", p.pid, p.name, p.pid), 0o600))
	}
	for range 2 {
		all, err := processes(proc, 4711)
		must(t, err)
		if len(all) != 5 || all[23].start != "" || all[22].start != "220" || all[20].start != "200" {
			t.Errorf("%+v", all)
		}
		if now, ok := all[23].again(proc, 4711); !ok || !now.same(all[23]) {
			t.Errorf("what hangs is another: %+v", now)
		}
	}
}

// TestSlotsAreForgotten: a daemon sees sessions without end.
func TestSlotsAreForgotten(t *testing.T) {
	t.Parallel()
	proc := t.TempDir()
	r := newReads()
	lists := map[int][]process{}
	for pid := 1; pid <= 50; pid++ {
		must(t, os.Mkdir(filepath.Join(proc, strconv.Itoa(pid)), 0o700))
		must(t, os.WriteFile(filepath.Join(proc, strconv.Itoa(pid), "stat"), nil, 0o600))
		lists[pid] = []process{{pid: pid}}
	}
	stat := filepath.Join(proc, "50", "stat")
	must(t, os.Remove(stat))
	must(t, syscall.Mkfifo(stat, 0o600))
	there := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.slots)
	}
	for range 3 {
		r.each(proc, "stat", 1000, lists, func([]byte) string { return "seen" })
	}
	if got := there(); got != 2 {
		t.Errorf("with one that hangs there are %d slots, want its session's and its account's", got)
	}
	h, err := os.OpenFile(stat, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	must(t, err)
	h.Close()
	for deadline := time.Now().Add(10 * time.Second); there() > 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
	}
	if got := there(); got != 0 {
		t.Errorf("when all is read there are %d slots", got)
	}
}

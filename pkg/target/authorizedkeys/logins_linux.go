package authorizedkeys

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jitaccess/jit/pkg/target"
)

// sshd looks for the key in the file before it is done with a login: a second factor may
// follow, and PAM. Whoever's key it has accepted by the time that the line goes is let in
// afterwards. So a login of the account that was under way then is waited for.
//
// What tells such a login is the monitor's title, which the sshd of root's that talks to a
// client (sshd-session since OpenSSH 9.8) sets to "sshd: NAME [priv]" when it is told the
// name, before it looks for any key. Anybody who reaches sshd can have one: a login is
// waited for briefly, and in the next runs only while it is older than the file.

var (
	privTitle = regexp.MustCompile(`^sshd(?:-session)?: (.+) \[priv\]$`)
	// ownTitle is of a session: "sshd: NAME@pts/0". A listener has its absolute path there.
	ownTitle = regexp.MustCompile(`^sshd(?:-session)?: [^/\[].*@`)
)

// titleIn gives the arguments as ps shows them.
func titleIn(cmdline []byte) string {
	return string(bytes.ReplaceAll(bytes.TrimRight(cmdline, "\x00"), []byte{0}, []byte{' '}))
}

func (p process) listens() bool { return strings.Contains(p.title, " [listener]") }

// beforeLogin: a part of sshd that ends before there is a session (OpenSSH 10 has a program
// of its own for that).
func (p process) beforeLogin() bool {
	return p.name == "sshd-auth" || p.isSSHD() && (strings.HasSuffix(p.title, " [net]") || strings.HasSuffix(p.title, " [pam]"))
}

// runsSSHD reports whether a process runs a file of sshd's name, as far as that can be seen:
// what a process is called itself a person can choose, for a set-user-id program too.
func runsSSHD(proc string, pid int) bool {
	exe, err := os.Readlink(filepath.Join(proc, strconv.Itoa(pid), "exe"))
	return errors.Is(err, fs.ErrPermission) || err == nil && isSSHDFile(exe)
}

// isSSHDFile takes what the kernel says of a program; an update leaves old processes with
// one that is gone.
func isSSHDFile(exe string) bool {
	return process{name: filepath.Base(strings.TrimSuffix(exe, " (deleted)"))}.isSSHD()
}

// closed reports whether the kernel keeps a process's own user out of it, as it does of one
// that was root's and has become the user's: not of an sshd that a person starts.
func closed(proc string, p process) bool {
	info, err := os.Lstat(filepath.Join(proc, strconv.Itoa(p.pid), "environ"))
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) != p.uid
}

// logins are those of an account that are under way.
type logins struct {
	proc    string
	account string
	uid     int
	lookup  func(account string) (int, error)
	names   map[string]bool // whether a name is the account's
	open    map[int]process // the monitors
}

// loginsIn finds the account's logins that were under way at a look. Those that began after
// the file was last changed have never seen the key's lines.
func loginsIn(all map[int]process, l logins, path string) *logins {
	l.names, l.open = map[string]bool{}, map[int]process{}
	age, known := sinceChange(path)
	children := childrenOf(all)
	for _, p := range all {
		if p.uid != 0 && os.Geteuid() == 0 || !p.isSSHD() || !l.mine(p.title) || l.letIn(p, children) {
			continue
		}
		if (!known || l.began(p, age)) && runsSSHD(l.proc, p.pid) {
			l.open[p.pid] = p
		}
	}
	return &l
}

// mine reports whether a title is that of a monitor for the account, under whatever name.
func (l *logins) mine(title string) bool {
	found := privTitle.FindStringSubmatch(title)
	if found == nil {
		return false
	}
	name := found[1]
	is, asked := l.names[name]
	if !asked {
		uid, err := l.lookup(name)
		is = name == l.account || uid == l.uid || err != nil
		l.names[name] = is
	}
	return is
}

// letIn reports whether a monitor has a session, which is judged like all others then.
// For root it is the session itself, as soon as what talked to the client before is gone.
func (l *logins) letIn(monitor process, children map[int][]process) bool {
	below := 0
	for _, c := range children[monitor.pid] {
		if !c.isSSHD() && !c.beforeLogin() {
			continue
		}
		below++
		if l.uid != 0 && c.uid == l.uid && !c.beforeLogin() {
			return true
		}
	}
	return l.uid == 0 && below == 0
}

// look forgets the logins that have come to an end, one way or the other.
func (l *logins) look(all map[int]process) {
	children := childrenOf(all)
	for pid, p := range l.open {
		now, there := all[pid]
		if !there || !now.same(p) || now.title != "" && !l.mine(now.title) || l.letIn(now, children) {
			delete(l.open, pid)
		}
	}
}

// maxNamed bounds how many monitors an error names.
const maxNamed = 5

func (l *logins) error() error {
	var named []string
	for _, pid := range slices.Sorted(maps.Keys(l.open)) {
		if len(named) < maxNamed {
			named = append(named, strconv.Itoa(pid))
		}
	}
	return &target.Error{
		Reason: target.Failed, Detail: fmt.Sprintf("%d logins to account %q were under way when the key's lines had gone, and may still be let in by it", len(l.open), l.account),
		Hint: "the next run looks again; sshd gives up a login after its LoginGraceTime, and one that hangs in PAM ends with its process: " + strings.Join(named, ", "),
	}
}

// loginPatience bounds the waiting for logins under way, for all the endings of a driver,
// which lives for one run.
const loginPatience = 2 * time.Second

// changeSlack is what the time of a file's change may be wrong by: the kernel's clock for
// files is coarse, and of a file that is renamed not every file system keeps the time.
const changeSlack = 10 * time.Second

// sinceChange says how long ago a file was last changed or taken away.
func sinceChange(path string) (time.Duration, bool) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		info, err = os.Lstat(filepath.Dir(path))
	}
	if err != nil {
		return 0, false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return time.Since(time.Unix(st.Ctim.Unix())), true
}

// ticks is how often a second the kernel counts in /proc (proc(5), USER_HZ), everywhere
// that Go runs.
const ticks = 100

// began reports whether a login may have begun before what was age ago.
func (l *logins) began(p process, age time.Duration) bool {
	start, err := strconv.ParseInt(p.start, 10, 64)
	var now unix.Timespec
	if err != nil || unix.ClockGettime(unix.CLOCK_BOOTTIME, &now) != nil {
		return true
	}
	return time.Duration(now.Nano())-time.Duration(start)*(time.Second/ticks) >= age-changeSlack
}

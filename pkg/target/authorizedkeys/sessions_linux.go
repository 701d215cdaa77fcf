package authorizedkeys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jitaccess/jit/pkg/target"
)

// process is one of /proc. Its start tells it from a later one with the same number; it
// is empty where it was not asked for, or could not be read in time.
type process struct {
	pid, parent, uid int
	name, start      string
	title            string // what sshd says of itself in its arguments; of others it is not asked for
	alone            bool   // sshd by more than its name, and without an sshd above it
}

// same reports whether two looks at one number saw the same process. A person can keep
// its start from being read; then its owner has to do.
func (p process) same(q process) bool {
	if p.start == "" || q.start == "" {
		return p.pid == q.pid && p.uid == q.uid
	}
	return p.pid == q.pid && p.start == q.start
}

// processes reads all that the system shows, and the start of those that matter to the
// account uid: sshd's, with their titles, and what runs below the account's sessions.
func processes(proc string, uid int) (map[int]process, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	all := map[int]process{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// One that has ended meanwhile is none.
		if p, ok := readStatus(proc, pid); ok {
			all[pid] = p
		}
	}
	ask := map[int][]process{}
	for _, p := range all {
		if p.isSSHD() && (p.uid == 0 || p.uid == uid) {
			ask[p.pid] = []process{p}
		}
	}
	titles := map[int][]process{}
	for pid := range ask {
		p := all[pid]
		runs := runsSSHD(proc, pid)
		p.alone = runs && !all[p.parent].isSSHD() && (p.uid == 0 || closed(proc, p))
		if runs && p.uid == 0 {
			// The memory of root's sshd is nobody's to hold up, and a login must not be missed.
			p.title = titleIn(readSome(filepath.Join(proc, strconv.Itoa(pid), "cmdline")))
		} else {
			titles[pid] = ask[pid]
		}
		all[pid] = p
	}
	for pid, title := range reads.each(proc, "cmdline", uid, titles, titleIn) {
		p := all[pid]
		p.title = title
		all[pid] = p
	}
	children := childrenOf(all)
	for _, s := range sessions(all, uid) {
		ask[s.pid] = append(ask[s.pid], below(children, s.pid)...)
	}
	for pid, start := range reads.each(proc, "stat", uid, ask, startIn) {
		p := all[pid]
		p.start = start
		all[pid] = p
	}
	return all, nil
}

// readStatus reads what the kernel gives of every process without waiting for it: stat,
// which ps reads, is not such.
func readStatus(proc string, pid int) (process, bool) {
	p := process{pid: pid, parent: -1, uid: -1}
	status, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "status"))
	if err != nil {
		return p, false
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		fields := strings.Fields(value)
		switch {
		case name == "Name":
			p.name = strings.TrimSpace(value)
		case len(fields) == 0:
		case name == "State" && (fields[0] == "Z" || fields[0] == "X"):
			return p, false
		case name == "PPid":
			p.parent, err = strconv.Atoi(fields[0])
		case name == "Uid":
			p.uid, err = strconv.Atoi(fields[0])
		}
		if err != nil {
			return p, false
		}
	}
	return p, p.parent >= 0 && p.uid >= 0
}

// again looks once more at a process. A start that was not seen is not asked for.
func (p process) again(proc string, uid int) (process, bool) {
	now, ok := readStatus(proc, p.pid)
	if ok && p.start != "" {
		now.start = reads.each(proc, "stat", uid, map[int][]process{p.pid: {now}}, startIn)[p.pid]
	}
	return now, ok
}

// startIn finds when a process began in its stat; empty where it does not say.
func startIn(stat []byte) string {
	// proc(5): "pid (comm) state ppid … starttime …"; comm may hold brackets.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return ""
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}

// isSSHD: since OpenSSH 9.8 a session is a program of its own.
func (p process) isSSHD() bool { return p.name == "sshd" || p.name == "sshd-session" }

// sessions are the sshd processes that serve the account: those with its user id, below
// another sshd or alone. The one above may be gone: a person's monitor that was killed, or
// root's listener, which was restarted or never was (inetd).
func sessions(all map[int]process, uid int) []process {
	monitors := map[int]bool{}
	for _, p := range all {
		if p.isSSHD() || p.beforeLogin() {
			monitors[p.parent] = true
		}
	}
	var found []process
	for _, p := range all {
		switch {
		case !p.isSSHD() || p.uid != uid || p.listens() || p.beforeLogin() || !all[p.parent].isSSHD() && !p.alone:
		case uid != 0 || p.servesRoot(all, monitors[p.pid]):
			found = append(found, p)
		}
	}
	return found
}

// servesRoot tells a session of root's from the listener and the monitors of other accounts'
// sessions, which have the same id: monitors have an sshd below them, and a session says whose
// it is, or does when it has begun.
func (p process) servesRoot(all map[int]process, monitor bool) bool {
	switch {
	case privTitle.MatchString(p.title):
		return !monitor
	case ownTitle.MatchString(p.title):
		return true
	}
	return !monitor && all[p.parent].isSSHD()
}

// connected reports whether the session's connection was there at the first
// look: its own process, or the monitor that let it in.
func connected(first, now map[int]process, session process) bool {
	before := func(p process) bool {
		earlier, ok := first[p.pid]
		return ok && earlier.same(p)
	}
	monitor := now[session.parent]
	switch {
	case before(session):
		return true
	case !monitor.isSSHD():
		return session.uid != 0 // its monitor is gone, and nobody knows since when; root's is its own
	}
	return before(monitor) && (now[monitor.parent].isSSHD() || privTitle.MatchString(monitor.title))
}

func childrenOf(all map[int]process) map[int][]process {
	children := map[int][]process{}
	for _, p := range all {
		children[p.parent] = append(children[p.parent], p)
	}
	return children
}

// below lists the processes that descend from pid, the nearest first.
func below(children map[int][]process, pid int) []process {
	var found []process
	for queue, seen := []int{pid}, map[int]bool{pid: true}; len(queue) > 0; queue = queue[1:] {
		for _, p := range children[queue[0]] {
			if !seen[p.pid] {
				seen[p.pid] = true
				found = append(found, p)
				queue = append(queue, p.pid)
			}
		}
	}
	return found
}

// session is one that serves an account: its sshd first, then what runs below it.
type session []process

// sessionsBefore are the account's sessions whose connections were there at the first look.
func sessionsBefore(first, all map[int]process, uid int) []session {
	children := childrenOf(all)
	var found []session
	for _, s := range sessions(all, uid) {
		if connected(first, all, s) { // the key's lines were gone before others came
			found = append(found, append(session{s}, below(children, s.pid)...))
		}
	}
	return found
}

// opened gives for each session the keys that opened it; none where they cannot be seen.
func opened(proc string, all map[int]process, uid int, list []session) [][]string {
	ask := map[int][]process{}
	for _, s := range list {
		for _, p := range s {
			// A listener that was started in a session, and all of sshd below it, has the
			// environment of that one.
			if !p.isSSHD() {
				ask[s[0].pid] = append(ask[s[0].pid], p)
			}
		}
	}
	names := reads.each(proc, "environ", uid, ask, authName)
	keys := make([][]string, len(list))
	for i, s := range list {
		keys[i] = s.keys(proc, all, uid, names)
	}
	return keys
}

func (s session) keys(proc string, all map[int]process, uid int, names map[int]string) []string {
	tmp, err := sshdsTmp(proc, all, s[0])
	if err != nil {
		return nil
	}
	defer unix.Close(tmp)
	var keys []string
	asked := map[string]bool{} // most processes of a session name the same file
	for _, p := range s {
		if name := names[p.pid]; name != "" && !asked[name] {
			asked[name] = true
			keys = append(keys, keysOf(tmp, name, uid)...)
		}
	}
	return keys
}

// Bounds on the looking for sessions and the waiting for their end.
const (
	lookPatience = time.Second
	lookPoll     = 50 * time.Millisecond
	termPatience = 2 * time.Second
	killPatience = 5 * time.Second
	// searchPatience bounds all of it, where the target's own time does not end before.
	searchPatience = 5 * time.Minute
)

// endSessions ends the account's sessions that one of keys opened, and says of
// how many it could not see by which key they were. It fails while a login is under way
// that the key may have begun. What takes too long is left to the next run before ctx
// ends, so that other endings have their turn in this one.
func (d *driver) endSessions(whole context.Context, account string, uid int, keys []string, ending *target.Ending) error {
	ctx, cancel := most(whole, searchPatience)
	defer cancel()
	late := func() error {
		if err := whole.Err(); err != nil {
			return err
		}
		return &target.Error{
			Reason: target.Failed, Detail: fmt.Sprintf("the sessions of account %q that the key opened are not all ended: it took too long", account),
			Hint: "the next run goes on; see which processes of the account do not end", Err: ctx.Err(),
		}
	}
	var (
		first    map[int]process
		underWay *logins
		stuck    = map[int]bool{} // told already
	)
	// A login that was let in just before has no process to ask yet: it is given time, in
	// which nothing else was done.
	for waited := time.Duration(0); ; {
		began := time.Now()
		all, err := processes(d.proc, uid)
		if err != nil {
			ending.Left = append(ending.Left, fmt.Sprintf("jit cannot see the processes of this machine (%v): sessions of account %q that the key opened live on", err, account))
			return nil
		}
		if first == nil {
			first = all
			underWay = loginsIn(all, logins{proc: d.proc, account: account, uid: uid, lookup: d.lookup}, pathOf(d.pattern, account))
		} else {
			underWay.look(all)
		}
		unknown, gone := 0, map[int]bool{}
		before := ending.SessionsEnded
		list := sessionsBefore(first, all, uid)
		openedBy := opened(d.proc, all, uid, list)
		looked := time.Since(began)
		for i, by := range openedBy {
			switch {
			case stuck[list[i][0].pid]:
			case len(by) == 0:
				unknown++
			case slices.ContainsFunc(by, func(k string) bool { return slices.Contains(keys, k) }):
				err := d.kill(ctx, uid, slices.Clone(list[i]))
				switch {
				case err != nil && ctx.Err() != nil:
					return late()
				case err != nil:
					stuck[list[i][0].pid] = true
					ending.Left = append(ending.Left, fmt.Sprintf("session %d of account %q could not be ended: %v", list[i][0].pid, account, err))
				case !slices.ContainsFunc(list[i], func(p process) bool { return gone[p.pid] }):
					ending.SessionsEnded++ // where all run as one user, a monitor and what is below it are one
				}
				for _, p := range list[i] {
					gone[p.pid] = true
				}
			}
		}
		if len(underWay.open) > 0 || ending.SessionsEnded > before {
			waited = 0
		}
		switch {
		case len(underWay.open) > 0:
			if d.waited.Load() >= int64(loginPatience) {
				return underWay.error()
			}
			d.waited.Add(int64(looked + lookPoll))
		case unknown == 0:
			return nil
		case waited >= lookPatience:
			ending.Left = append(ending.Left, fmt.Sprintf("%d sessions of account %q do not show which key opened them and live on: "+
				"set ExposeAuthInfo yes in sshd_config, and run jit reconcile as root", unknown, account))
			return nil
		}
		waited += looked + lookPoll
		select {
		case <-ctx.Done():
			return late()
		case <-time.After(lookPoll):
		}
	}
}

// kill ends the processes, the session's sshd first so that it starts nothing
// new, and waits until they are gone.
func (d *driver) kill(ctx context.Context, uid int, tree []process) error {
	for _, step := range []struct {
		signal   unix.Signal
		patience time.Duration
	}{{unix.SIGTERM, termPatience}, {unix.SIGKILL, killPatience}} {
		for some := range slices.Chunk(tree, maxSignalled) {
			if err := d.signal(ctx, some, uid, step.signal); err != nil {
				return err
			}
		}
		for deadline := time.Now().Add(step.patience); time.Now().Before(deadline); {
			if tree = d.living(tree, uid); len(tree) == 0 {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(lookPoll):
			}
		}
	}
	return fmt.Errorf("%d processes did not end", len(tree))
}

// maxSignalled bounds how many processes are looked at together before they are signalled,
// each of which is a descriptor meanwhile.
const maxSignalled = 256

// signal reaches exactly the processes in list: the descriptors are taken first, and then
// it is seen whether the numbers still mean the same. What hangs costs them all one wait.
func (d *driver) signal(ctx context.Context, list []process, uid int, s unix.Signal) error {
	fds := make(map[int]int, len(list))
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	for _, p := range list {
		fd, err := unix.PidfdOpen(p.pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return err
		}
		fds[p.pid] = fd
	}
	for _, p := range d.living(list, uid) {
		if err := ctx.Err(); err != nil {
			return err
		}
		fd, ok := fds[p.pid]
		if !ok {
			continue
		}
		if err := unix.PidfdSendSignal(fd, s, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// living are those of a session's processes that are still there. They are looked at
// together: where the kernel keeps back what it says of one, nobody waits for each.
func (d *driver) living(list []process, uid int) []process {
	var ask, there []process
	now := map[int]process{}
	for _, p := range list {
		n, ok := readStatus(d.proc, p.pid)
		if !ok {
			continue
		}
		now[p.pid] = n
		if p.start != "" {
			ask = append(ask, n)
		}
	}
	var starts map[int]string
	if len(ask) > 0 {
		starts = reads.each(d.proc, "stat", uid, map[int][]process{list[0].pid: ask}, startIn)
	}
	for _, p := range list {
		if n, ok := now[p.pid]; ok {
			n.start = starts[p.pid]
			if n.same(p) {
				there = append(there, p)
			}
		}
	}
	return there
}

package authorizedkeys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/jitaccess/jit/internal/owned"
	"github.com/jitaccess/jit/pkg/target"
)

// sshd tells a session by which key it was opened in a file that SSH_USER_AUTH
// names (sshd_config(5), ExposeAuthInfo). jit reads that variable from the
// processes below the session's sshd, and so sees an honest session's key. A
// person can hide from it, who then still has no new login.

// process is one line of /proc. Its start tells it from a later one with the
// same number.
type process struct {
	pid, parent, uid int
	name, start      string
}

// processes reads all that the system shows.
func processes(proc string) (map[int]process, error) {
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
		if p, ok := readProcess(proc, pid); ok {
			all[pid] = p
		}
	}
	return all, nil
}

func readProcess(proc string, pid int) (process, bool) {
	p := process{pid: pid}
	dir := filepath.Join(proc, strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return p, false
	}
	// proc(5): "pid (comm) state ppid … starttime …"; comm may hold brackets.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return p, false
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return p, false
	}
	p.name, p.start = string(stat[open+1:end]), fields[19]
	if p.parent, err = strconv.Atoi(fields[1]); err != nil {
		return p, false
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return p, false
	}
	_, after, _ := strings.Cut(string(status), "\nUid:")
	ids := strings.Fields(after)
	if len(ids) == 0 {
		return p, false
	}
	p.uid, err = strconv.Atoi(ids[0])
	return p, err == nil
}

// isSSHD: since OpenSSH 9.8 a session is a program of its own.
func (p process) isSSHD() bool { return p.name == "sshd" || p.name == "sshd-session" }

// sessions are the sshd processes that serve the account: those with its user
// id, below another sshd. For root, that one's listener and the monitors of
// other accounts' sessions have the same id; monitors have an sshd below them.
func sessions(all map[int]process, uid int) []process {
	monitors := map[int]bool{}
	for _, p := range all {
		if p.isSSHD() {
			monitors[p.parent] = true
		}
	}
	var found []process
	for _, p := range all {
		if p.isSSHD() && p.uid == uid && all[p.parent].isSSHD() && (uid != 0 || !monitors[p.pid]) {
			found = append(found, p)
		}
	}
	return found
}

// connected reports whether the session's connection was there at the first
// look: its own process, or the monitor that let it in.
func connected(first, now map[int]process, session process) bool {
	same := func(p process) bool { return first[p.pid].start == p.start }
	monitor := now[session.parent]
	return same(session) || same(monitor) && now[monitor.parent].isSSHD()
}

// below lists the processes that descend from pid.
func below(all map[int]process, pid int) []process {
	var found []process
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		for _, p := range all {
			if p.parent == queue[0] && p.pid != queue[0] {
				found = append(found, p)
				queue = append(queue, p.pid)
			}
		}
	}
	return found
}

// maxAuth bounds what is read of a process's environment and of the file that
// it names: both are the person's to write.
const maxAuth = 256 << 10

func readSome(path string) ([]byte, error) {
	h, err := owned.Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return io.ReadAll(io.LimitReader(h, maxAuth))
}

// opened gives the keys ("type base64") that opened a process's session; none
// where it cannot be seen.
func opened(proc string, pid int) []string {
	environ, err := readSome(filepath.Join(proc, strconv.Itoa(pid), "environ"))
	if err != nil {
		return nil
	}
	for v := range bytes.SplitSeq(environ, []byte{0}) {
		path, ok := strings.CutPrefix(string(v), "SSH_USER_AUTH=")
		if !ok || !filepath.IsAbs(path) {
			continue
		}
		// As the session sees it: sshd writes the file below /tmp, and jit may have
		// another one (PrivateTmp=, a container).
		data, err := readSome(filepath.Join(proc, strconv.Itoa(pid), "root", path))
		if err != nil {
			data, err = readSome(path)
		}
		if err != nil {
			return nil
		}
		var keys []string
		for line := range strings.Lines(string(data)) {
			if f := strings.Fields(line); len(f) >= 3 && f[0] == "publickey" {
				keys = append(keys, f[1]+" "+f[2])
			}
		}
		return keys
	}
	return nil
}

// Bounds on the looking for sessions and the waiting for their end.
const (
	lookPatience = time.Second
	lookPoll     = 50 * time.Millisecond
	termPatience = 2 * time.Second
	killPatience = 5 * time.Second
)

// endSessions ends the account's sessions that one of keys opened, and says of
// how many it could not see by which key they were.
func (d *driver) endSessions(ctx context.Context, account string, uid int, keys []string, ending *target.Ending) error {
	var first map[int]process
	// A login that was let in just before has no process to ask yet.
	for deadline := time.Now().Add(lookPatience); ; {
		all, err := processes(d.proc)
		if err != nil {
			ending.Left = append(ending.Left, fmt.Sprintf("jit cannot see the processes of this machine (%v): sessions of account %q that the key opened live on", err, account))
			return nil
		}
		if first == nil {
			first = all
		}
		unknown := 0
		for _, s := range sessions(all, uid) {
			if !connected(first, all, s) {
				continue // the key's lines were gone before it came
			}
			tree := append([]process{s}, below(all, s.pid)...)
			var by []string
			for _, p := range tree {
				by = append(by, opened(d.proc, p.pid)...)
			}
			switch {
			case len(by) == 0:
				unknown++
			case slices.ContainsFunc(by, func(k string) bool { return slices.Contains(keys, k) }):
				if err := d.kill(ctx, tree); err != nil {
					ending.Left = append(ending.Left, fmt.Sprintf("session %d of account %q could not be ended: %v", s.pid, account, err))
					continue
				}
				ending.SessionsEnded++
			}
		}
		switch {
		case unknown == 0:
			return nil
		case time.Now().After(deadline):
			ending.Left = append(ending.Left, fmt.Sprintf("%d sessions of account %q do not show which key opened them and live on: "+
				"set ExposeAuthInfo yes in sshd_config, and run jit reconcile as root", unknown, account))
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookPoll):
		}
	}
}

// kill ends the processes, the session's sshd first so that it starts nothing
// new, and waits until they are gone.
func (d *driver) kill(ctx context.Context, tree []process) error {
	for _, step := range []struct {
		signal   unix.Signal
		patience time.Duration
	}{{unix.SIGTERM, termPatience}, {unix.SIGKILL, killPatience}} {
		for _, p := range tree {
			if err := d.signal(p, step.signal); err != nil {
				return err
			}
		}
		for deadline := time.Now().Add(step.patience); time.Now().Before(deadline); {
			tree = slices.DeleteFunc(tree, func(p process) bool {
				now, ok := readProcess(d.proc, p.pid)
				return !ok || now.start != p.start
			})
			if len(tree) == 0 {
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

// signal reaches exactly p: the descriptor is taken first, and then it is seen
// whether the number still means the same process.
func (d *driver) signal(p process, s unix.Signal) error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if now, ok := readProcess(d.proc, p.pid); !ok || now.start != p.start {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, s, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
)

// The tests here run the real program, break one system call of it (or of the git
// programs that it starts), and look at what is left: nothing lost, nothing
// doubled, no access beyond its end, a clear word, and a next run that is clean.

// matrix collects what became of each fault, a line each, for all tests here.
type matrix struct {
	mu   sync.Mutex
	rows [][3]string
}

func (m *matrix) add(point, fault, result string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows = append(m.rows, [3]string{point, fault, result})
}

// print shows the table, rows that are alike once, with their number.
func (m *matrix) print(t *testing.T) {
	t.Helper()
	count := map[[3]string]int{}
	for _, r := range m.rows {
		count[r]++
	}
	rows := make([][3]string, 0, len(count))
	for r := range count {
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b [3]string) int { return slices.Compare(a[:], b[:]) })
	var b strings.Builder
	fmt.Fprintf(&b, "%d runs\n%-66s %-28s %5s  %s\n", len(m.rows), "POINT", "FAULT", "TIMES", "RESULT")
	for _, r := range rows {
		fmt.Fprintf(&b, "%-66s %-28s %5d  %s\n", r[0], r[1], count[r], r[2])
	}
	t.Log(b.String())
}

// syscalls are the calls that write, sync, rename, remove and make, in groups that
// break alike. Those that not every machine has begin with "?".
var syscalls = []struct {
	names  string
	faults []string
}{
	{"write", []string{"EIO", "ENOSPC", "killed"}},
	{"pwrite64", []string{"EIO", "ENOSPC", "killed"}},
	{"fsync,fdatasync", []string{"EIO", "killed"}},
	{"?rename,renameat,?renameat2,?link,linkat", []string{"EIO", "killed"}},
	{"?unlink,unlinkat", []string{"EIO", "killed"}},
	{"ftruncate", []string{"EIO"}},
	{"?mkdir,mkdirat", []string{"ENOSPC"}},
}

// places are which of a thread's calls of a group breaks: the first
// three, then a spread, until a run comes to its end unharmed.
var places = []int{1, 2, 3, 5, 9}

// job is a command in a state of the world to which it is put back before each
// fault.
type faultJob struct {
	*company
	name string
	// who runs args.
	who  string
	args []string
	// check judges what is there after the broken run, which ended with code, and
	// runs what comes next. It gives the result for the table.
	check func(code int, said string) string

	kept string // a copy of the folder
}

// keep remembers the world as it is.
func (j *faultJob) keep() {
	j.t.Helper()
	j.kept = filepath.Join(j.t.TempDir(), "kept")
	j.copy(j.dir, j.kept)
}

// restore puts the world back.
func (j *faultJob) restore() {
	j.t.Helper()
	if err := os.RemoveAll(j.dir); err != nil {
		j.t.Fatal(err)
	}
	j.copy(j.kept, j.dir)
}

func (j *faultJob) copy(from, to string) {
	j.t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		j.t.Fatalf("cp: %v\n%s", err, out)
	}
}

// injected is a line of strace about a call that it broke, whose beginning may
// stand in another, unfinished; began is one about a program that begins.
var (
	injected   = regexp.MustCompile(`^(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)(?:\(INJECTED\)|= \?$)`)
	unfinished = regexp.MustCompile(`^(\d+) +\w+\((.*)<unfinished`)
	began      = regexp.MustCompile(`^(\d+) +execve\("([^"]*)"(?:, \["[^"]*"(?:, "([^"]*)")?)?`)
	namePart   = regexp.MustCompile(`<([^<>]*)>|"([^"]*)"`)
)

// breakOne runs the command with the n-th call of each thread broken, and gives
// the places that were hit.
func (j *faultJob) breakOne(names, fault string, n int) (points []string, code int, said string) {
	j.t.Helper()
	inject := "error=" + fault
	if fault == "killed" {
		inject = "signal=KILL"
	}
	log := filepath.Join(j.t.TempDir(), "strace")
	args := []string{"-f", "-y", "--quiet=attach,exit,personality", "-o", log, "-e", "trace=execve," + names, "-e", "signal=none",
		"-e", fmt.Sprintf("inject=%s:%s:when=%d", names, inject, n)}
	if fault != "killed" {
		args = append(args, "--seccomp-bpf") // faster; but then strace sends no signal
	}
	args = append(append(args, j.bin), j.args...)
	stdout, stderr, code := j.run(j.who, testenv.Need(j.t, "strace", "strace"), args...)
	data, err := os.ReadFile(log)
	if err != nil {
		j.t.Fatal(err)
	}
	program, begun := map[string]string{}, map[string]string{}
	for line := range strings.SplitSeq(string(data), "\n") {
		if m := began.FindStringSubmatch(line); m != nil {
			program[m[1]] = filepath.Base(m[2])
			if program[m[1]] == "git" {
				program[m[1]] += " " + m[3]
			}
		}
		if m := unfinished.FindStringSubmatch(line); m != nil {
			begun[m[1]] = m[2]
		}
		m := injected.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if m[3] == "" {
			m[3], m[4] = m[2], begun[m[1]]
		}
		who := program[m[1]]
		if who == "" || strings.HasPrefix(who, "jit") {
			who = "jit" // a thread of it
		}
		points = append(points, who+" "+m[3]+" "+j.place(m[4]))
	}
	return points, code, stdout + stderr
}

// changing is what differs in paths from run to run: object names, stores, ids,
// temporary files.
var changing = regexp.MustCompile(`[0-9A-HJKMNP-TV-Z]{26}|tmp_\w+(-\w+)?(/[0-9a-f]{2})?|-\w{6}\b(/[0-9a-f]{2})?|\b[0-9a-f]{16,}\b|/[0-9a-f]{2}\b|[0-9]{5,}`)

// place names what a call was about, without what differs from run to run.
func (j *faultJob) place(args string) string {
	last := "?"
	for _, m := range namePart.FindAllStringSubmatch(args, -1) {
		name := m[1] + m[2]
		if m[1] == "" && !strings.HasPrefix(name, "/") && last != "?" {
			continue // bytes that were written
		}
		last = name
	}
	switch {
	case strings.HasPrefix(last, "pipe:"):
		return "a pipe"
	case strings.HasPrefix(last, "socket:"), strings.HasPrefix(last, "UNIX"), strings.HasPrefix(last, "TCP"):
		return "a socket"
	case strings.HasPrefix(last, "anon_inode"):
		return "the runtime's own"
	}
	last = strings.TrimPrefix(last, j.dir+"/")
	return changing.ReplaceAllString(last, "*")
}

// all breaks the command in every way.
func (j *faultJob) all(m *matrix) {
	j.t.Helper()
	for _, group := range syscalls {
		for _, fault := range group.faults {
			for _, n := range places {
				j.restore()
				points, code, said := j.breakOne(group.names, fault, n)
				if len(points) == 0 {
					if code != 0 {
						j.t.Errorf("%s: unharmed, and exit %d: %s", j.name, code, said)
					}
					break
				}
				where := j.name + ": " + points[0]
				// A call of the runtime's own takes the program down, and what breaks
				// the words' own way out cannot be told.
				mute := strings.Contains(strings.Join(points, "\n"), "the runtime's own") || slices.Contains(points, "jit write a pipe")
				j.words(where+" "+fault, code, said, fault == "killed" || mute)
				m.add(where, fault, j.check(code, said))
			}
		}
	}
}

// clearWord is a sentence, not only a number of problems or the name of an errno.
var clearWord = regexp.MustCompile(`(?m)^(jit:|warning:|failed) \S+ \S+ .{10,}`)

// words wants a clear word of what failed, and no panic.
func (j *faultJob) words(where string, code int, said string, mute bool) {
	j.t.Helper()
	switch {
	case mute:
	case strings.Contains(said, "panic") || strings.Contains(said, "goroutine ") || strings.Contains(said, "internal error"),
		code < 0,
		code != 0 && !clearWord.MatchString(said):
		j.t.Errorf("%s: exit %d, and no clear word:\n%s", where, code, said)
	}
}

// clean wants a command to succeed, once the fault is over.
func (j *faultJob) clean(who string, args ...string) string {
	j.t.Helper()
	out, errs, code := j.run(who, j.bin, args...)
	if code != 0 {
		j.t.Errorf("%s: the next run is not clean: %s$ jit %s: exit %d\n%s%s", j.name, who, strings.Join(args, " "), code, out, errs)
	}
	return out
}

// whole wants the store to be sound, and nothing set aside or waiting.
func (j *faultJob) whole(who string) {
	j.t.Helper()
	git := testenv.Need(j.t, "git", "git")
	if out, errs, code := j.run("", git, "--git-dir="+j.store, "-c", "safe.directory=*", "fsck", "--strict", "--no-dangling"); code != 0 {
		j.t.Errorf("%s: git fsck: %s%s", j.name, out, errs)
	}
	if got := strings.TrimSpace(j.clean(who, "status", "--template", "{{len .setAside}} {{len .spooled}} {{len .refused}}")); got != "0 0 0" {
		j.t.Errorf("%s: set aside, waiting, refused: %s", j.name, got)
	}
}

// TestFaults breaks each call that writes, in the commands that matter.
func TestFaults(t *testing.T) {
	testenv.Need(t, "strace", "strace")
	m := &matrix{}
	t.Run("all", func(t *testing.T) {
		for name, job := range map[string]func(*testing.T) *faultJob{
			"request": faultyRequest, "sync": faultySync, "opening": faultyOpening, "ending": faultyEnding,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				j := job(t)
				j.t, j.name = t, name
				j.keep()
				j.all(m)
			})
		}
	})
	m.print(t)
}

func byPath(t *testing.T) *company { return pair(t, outposts[0].serve).company }

// faultyRequest asks for access.
func faultyRequest(t *testing.T) *faultJob {
	j := &faultJob{company: byPath(t), who: "bob", args: []string{"request", "db:one", "--for", "1h", "-r", "one"}}
	base := len(j.commits())
	j.check = func(code int, said string) string {
		waits := len(j.glob("bob/state/stores/*/spool/*.json"))
		j.clean("bob", "sync")
		after := len(j.commits()) - base
		if code == 0 && after != 1 {
			j.t.Errorf("%s: it said that all is well, and %d requests are there:\n%s", j.name, after, said)
		}
		// Asked again, it is there once.
		j.clean("bob", j.args...)
		j.wantOnce("one")
		j.whole("bob")
		if n := len(j.commits()) - base; n != 1 {
			j.t.Errorf("%s: %d commits for one request", j.name, n)
		}
		switch {
		case code == 0 && waits > 0 && strings.Contains(said, "waits on this machine"):
			return "waits, said; the next sends it"
		case code == 0:
			return "sent"
		case killed(code) && after == 0:
			return "killed, nothing written"
		case killed(code):
			return "killed, and yet sent or kept"
		case after == 0:
			return fmt.Sprintf("exit %d, nothing written", code)
		}
		return fmt.Sprintf("exit %d, and yet sent: %s", code, lineOf(said))
	}
	return j
}

// killed reports whether a program ended by a signal, or a shell's word for it.
func killed(code int) bool { return code < 0 || code == 137 }

func (s *company) glob(pattern string) []string {
	s.t.Helper()
	found, err := filepath.Glob(filepath.Join(s.dir, pattern))
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// faultySync brings in what others wrote, and sends what waits.
func faultySync(t *testing.T) *faultJob {
	s := pair(t, outposts[0].serve)
	ids := []string{s.ask("one"), s.ask("two")}
	s.gone()
	s.says("bob", 0, "waits on this machine", "request", "db:three", "--for", "1h", "-r", "three")
	s.back()
	for _, id := range ids {
		s.jit("alice", "approve", id, "--yes")
	}
	before := len(s.commits())
	j := &faultJob{company: s.company, who: "bob", args: []string{"sync"}}
	j.check = func(code int, said string) string {
		j.clean("bob", "sync")
		j.wantOnce("one", "two", "three")
		j.whole("bob")
		if n := len(j.commits()) - before; n != 1 {
			j.t.Errorf("%s: what waited made %d commits", j.name, n)
		}
		switch {
		case code == 0:
			return "done"
		case killed(code):
			return "killed; the next goes on"
		}
		return fmt.Sprintf("exit %d; the next goes on", code)
	}
	return j
}

const machinePolicy = `admins:
  people: [alice]
  threshold: 1
people:
  alice: {keys: [%s]}
  bob:
    keys: [%s]
    accounts: {authorized-keys: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO3K1ph21++Hy+xNmkkzkHQYYo5yQKZ7lSuBRLBmPAib}
reconcilers:
  web: {keys: [%s], resources: [web]}
resources:
  web: {driver: authorized-keys, roles: {login: {parameters: {account: %s}}}}
rules:
  - {name: all, resources: ["*"], roles: ["*"], requesters: ["*"], maxDuration: 4h, stages: [{approvers: [alice], count: 1}]}
`

// machine is a reconciler of a file of keys, and bob's access to it for a time.
func machine(t *testing.T, duration string) *faultJob {
	t.Helper()
	s := byPath(t)
	s.people["web"] = &member{home: filepath.Join(s.dir, "web")}
	store := s.status("alice").Store
	s.jit("web", "join", s.store, "--as", "web", "--generate-key", "--store-id", store)
	key := func(name string) string {
		return strings.TrimSpace(s.jit(name, "whoami", "--template", "{{.key}}"))
	}
	s.jit("alice", "policy", "propose", "--yes", s.write("policy.yaml", fmt.Sprintf(machinePolicy, key("alice"), key("bob"), key("web"), demoAccount)))
	s.config = s.write("reconcile.yaml", fmt.Sprintf("name: web\nkey: %s\nstate: %s\nstore: {url: %s, identity: %s}\ntargets:\n  web: {settings: {file: %s}}\n",
		filepath.Join(s.people["web"].home, "keys", key("web")+".asc"), filepath.Join(s.dir, "machine"), s.store, store, filepath.Join(s.dir, "accounts", "%u")))
	if err := os.Mkdir(filepath.Join(s.dir, "accounts"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.jit("bob", "request", "web:login", "--for", duration, "-r", "one")
	id := strings.TrimSpace(s.jit("alice", "list", "--template", "{{(index . 0).id}}"))
	s.jit("alice", "approve", id, "--yes")
	return &faultJob{company: s, who: "web", args: []string{"reconcile", "--config", s.config}}
}

// open counts the keys of jit in the managed file that let somebody in.
func (j *faultJob) open() int {
	j.t.Helper()
	n := 0
	for _, file := range j.glob("accounts/*") {
		data, err := os.ReadFile(file)
		if err != nil {
			j.t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if !strings.HasPrefix(line, "#") {
				n += strings.Count(line, "ssh-ed25519 ")
			}
		}
	}
	return n
}

// quiet wants a reconciler that has nothing left to do.
func (j *faultJob) quiet(open int) {
	j.t.Helper()
	j.clean("web", j.args...)
	before := len(j.commits())
	if out := j.clean("web", j.args...); out != "" || len(j.commits()) != before {
		j.t.Errorf("%s: the second run still had something to do: %s", j.name, out)
	}
	if n := j.open(); n != open {
		j.t.Errorf("%s: %d keys are open at last, want %d", j.name, n, open)
	}
	j.whole("alice")
}

func faultyOpening(t *testing.T) *faultJob {
	j := machine(t, "1h")
	base := len(j.commits())
	j.check = func(code int, said string) string {
		now := j.open()
		if code == 0 && now != 1 {
			j.t.Errorf("%s: all is well, it said, and %d keys are open", j.name, now)
		}
		j.quiet(1)
		if n := len(j.commits()) - base; n < 1 || n > 2 {
			j.t.Errorf("%s: %d commits for one opening", j.name, n)
		}
		return told(code, now, "open", "not open")
	}
	return j
}

func faultyEnding(t *testing.T) *faultJob {
	j := machine(t, "5s")
	j.clean("web", j.args...)
	if j.open() != 1 {
		t.Fatal("it did not open: the machine is too slow for this test")
	}
	time.Sleep(5 * time.Second) // the shortest access is over
	base := len(j.commits())
	j.check = func(code int, said string) string {
		now := j.open()
		if code == 0 && now != 0 {
			j.t.Errorf("%s: all is well, it said, and %d keys are open beyond their end:\n%s", j.name, now, said)
		}
		j.quiet(0)
		// Where it failed at first there is a receipt of that too.
		if n := len(j.commits()) - base; n < 1 || n > 2 {
			j.t.Errorf("%s: %d commits for one ending", j.name, n)
		}
		return told(code, 1-now, "ended", "not ended")
	}
	return j
}

func told(code, done int, yes, no string) string {
	word := yes
	if done == 0 {
		word = no
	}
	if killed(code) {
		return "killed, " + word + "; the next is clean"
	}
	return fmt.Sprintf("exit %d, %s; the next is clean", code, word)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests here run the real program with output that nobody reads: what it is there
// for must happen all the same, and it must come to its end.

// deaf are the kinds of pipe to which a write never gets through.
var deaf = []struct {
	name string
	pipe func(t *testing.T) *os.File
}{
	{"closed", func(t *testing.T) *os.File {
		r, w := newPipe(t)
		_ = r.Close()
		return w
	}},
	{"full", func(t *testing.T) *os.File {
		_, w := newPipe(t)
		size, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		return w
	}},
}

func newPipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

// started is a program that runs.
type started struct {
	t   *testing.T
	cmd *exec.Cmd
}

// start runs jit as somebody, with these streams; nil is one that is read. A run that
// hangs is ended, and seen by its exit code.
func (s *company) start(who string, out, errs *os.File, args ...string) *started {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	s.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, s.bin, args...)
	cmd.WaitDelay = time.Second
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "JIT_HOME=" + s.people[who].home, "LC_ALL=C.UTF-8"}, s.env...)
	if out != nil {
		cmd.Stdout = out
	}
	if errs != nil {
		cmd.Stderr = errs
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	return &started{s.t, cmd}
}

// end waits for the program and gives its exit code, -1 where a signal ended it.
func (p *started) end() int {
	p.t.Helper()
	err := p.cmd.Wait()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		p.t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// deafStreams are which of a program's streams nobody reads.
type deafStreams struct {
	name      string
	out, errs bool
}

var (
	bothDeaf = []deafStreams{{"both", true, true}}
	anyDeaf  = append([]deafStreams{{"stdout", true, false}, {"stderr", false, true}}, bothDeaf...)
)

// eachDeaf runs test with every pipe of deaf in each of these places.
func eachDeaf(t *testing.T, places []deafStreams, test func(t *testing.T, out, errs *os.File)) {
	for _, kind := range deaf {
		for _, at := range places {
			t.Run(kind.name+"/"+at.name, func(t *testing.T) {
				var out, errs *os.File
				pipe := kind.pipe(t)
				if at.out {
					out = pipe
				}
				if at.errs {
					errs = pipe
				}
				test(t, out, errs)
			})
		}
	}
}

const rolesPolicy = `admins:
  people: [alice]
  threshold: 1
people:
  alice: {keys: [%[1]s]}
  bob:
    keys: [%[2]s]
    accounts: {authorized-keys: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO3K1ph21++Hy+xNmkkzkHQYYo5yQKZ7lSuBRLBmPAib}
reconcilers:
  web: {keys: [%[3]s], resources: [web]}
resources:
  web:
    driver: authorized-keys
    roles:
      one: {parameters: {account: %[4]s}}
      two: {parameters: {account: %[4]s, options: pty}}
      three: {parameters: {account: %[4]s, options: agent-forwarding}}
      auto: {parameters: {account: %[4]s, options: port-forwarding}}
rules:
  - {name: auto, resources: [web], roles: [auto], requesters: ["*"], maxDuration: 4h, approve: auto}
  - {name: all, resources: [web], roles: ["*"], requesters: ["*"], maxDuration: 4h, stages: [{approvers: [alice], count: 1}]}
`

// opened is a machine on which bob has these roles, and the ids of his requests.
func opened(t *testing.T, roles ...string) (*faultJob, []string) {
	t.Helper()
	j := machine(t, "1h")
	key := func(name string) string {
		return strings.TrimSpace(j.jit(name, "whoami", "--template", "{{.key}}"))
	}
	j.jit("bob", "cancel", strings.TrimSpace(j.jit("bob", "list", "--template", "{{(index . 0).id}}")))
	j.jit("alice", "policy", "propose", "--yes", j.write("roles.yaml", fmt.Sprintf(rolesPolicy, key("alice"), key("bob"), key("web"), demoAccount)))
	var ids []string
	for _, role := range roles {
		id := strings.TrimSpace(j.jit("bob", "request", "web:"+role, "--for", "1h", "-r", role, "--template", "{{.id}}"))
		j.jit("alice", "approve", id, "--yes")
		ids = append(ids, id)
	}
	j.jit("web", j.args...)
	if n := j.open(); n != len(roles) {
		t.Fatalf("%d keys are open, want %d", n, len(roles))
	}
	return j, ids
}

// TestUnreadRun: a run with two endings and a revocation, and with an opening, whose
// output nobody reads.
func TestUnreadRun(t *testing.T) {
	t.Parallel()
	j, ids := opened(t, "one", "two", "three")
	j.jit("bob", "cancel", ids[0])
	j.jit("alice", "revoke", ids[1], "--yes", "-r", "leaves")
	j.jit("bob", "cancel", ids[2])
	j.jit("bob", "request", "web:auto", "--for", "1h", "-r", "auto")
	j.keep()
	for form, places := range map[string][]deafStreams{formatText: anyDeaf, formatJSON: bothDeaf} {
		t.Run(form, func(t *testing.T) {
			eachDeaf(t, places, func(t *testing.T, out, errs *os.File) {
				j.t = t
				j.restore()
				code := j.start("web", out, errs, append(slices.Clone(j.args), "-o", form, "--log", "text")...).end()
				// The work was done, and not all could be said.
				if code != exitUnexpected {
					t.Errorf("exit %d, want %d", code, exitUnexpected)
				}
				if n := j.open(); n != 1 {
					t.Errorf("%d keys are open, want that of auto alone", n)
				}
				before := len(j.commits())
				j.quiet(1)
				if n := len(j.commits()) - before; n != 0 {
					t.Errorf("the next run still had something to do: %d commits", n)
				}
			})
		})
	}
}

// TestUnreadResult: what a run came to is its exit code, also where it cannot be said.
func TestUnreadResult(t *testing.T) {
	t.Parallel()
	j, _ := opened(t, "one")
	if err := os.Rename(j.store, j.store+".away"); err != nil {
		t.Fatal(err)
	}
	eachDeaf(t, anyDeaf, func(t *testing.T, out, errs *os.File) {
		j.t = t
		if code := j.start("web", out, errs, append(slices.Clone(j.args), "-o", "json")...).end(); code != exitUnreachable {
			t.Errorf("exit %d, want %d", code, exitUnreachable)
		}
	})
}

// TestUnreadDaemon: a daemon whose output nobody reads, from its first line on, opens,
// ends, and stops when it is told to.
func TestUnreadDaemon(t *testing.T) {
	t.Parallel()
	j, ids := opened(t, "one", "two")
	j.keep()
	eachDeaf(t, bothDeaf, func(t *testing.T, out, errs *os.File) {
		j.t = t
		j.restore()
		daemon := j.start("web", out, errs, append(slices.Clone(j.args), "--daemon", "--every", "1s", "-o", "json", "--log", "text")...)
		j.jit("alice", "revoke", ids[0], "--yes", "-r", "leaves")
		j.until("the revocation is applied", func() bool { return j.open() == 1 })
		j.jit("bob", "request", "web:auto", "--for", "1h", "-r", "auto")
		j.until("it opens", func() bool { return j.open() == 2 })
		j.jit("bob", "cancel", ids[1])
		j.until("the cancellation is applied", func() bool { return j.open() == 1 })
		if err := daemon.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if code := daemon.end(); code != exitUnexpected {
			t.Errorf("exit %d, want %d", code, exitUnexpected)
		}
		j.quiet(1)
	})
}

// TestUnreadVerbs: what a person does is done where nobody reads what is said of it.
func TestUnreadVerbs(t *testing.T) {
	t.Parallel()
	j, ids := opened(t, "one", "two")
	asked := strings.TrimSpace(j.jit("bob", "request", "web:three", "--for", "1h", "-r", "three", "--template", "{{.id}}"))
	j.keep()
	for _, c := range []struct {
		who, id, state string
		args           []string
	}{
		{"alice", ids[0], "revoked", []string{"revoke", ids[0], "--yes", "-r", "leaves"}},
		{"bob", ids[1], "cancelled", []string{"cancel", ids[1]}},
		{"alice", asked, "active", []string{"approve", asked, "--yes"}},
		{"alice", asked, "denied", []string{"deny", asked, "--yes", "-r", "no"}},
	} {
		t.Run(c.args[0], func(t *testing.T) {
			eachDeaf(t, bothDeaf, func(t *testing.T, out, errs *os.File) {
				j.t = t
				j.restore()
				if code := j.start(c.who, out, errs, c.args...).end(); code != exitUnexpected {
					t.Errorf("exit %d, want %d", code, exitUnexpected)
				}
				if got := strings.TrimSpace(j.clean("alice", "show", c.id, "--template", "{{.state}}")); got != c.state {
					t.Errorf("the request is %s, want %s", got, c.state)
				}
			})
		})
	}
}

// TestUnreadShow: a command that only shows ends as others do where its pipe is closed,
// and waits for who reads slowly.
func TestUnreadShow(t *testing.T) {
	t.Parallel()
	j, _ := opened(t, "one")
	out := deaf[0].pipe(t)
	list := j.start("bob", out, nil, "list")
	if code := list.end(); code != -1 || list.cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGPIPE {
		t.Errorf("list into a closed pipe: %v", list.cmd.ProcessState)
	}
	r, w := newPipe(t)
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize()); err != nil {
		t.Fatal(err)
	}
	schema := j.start("bob", w, nil, "policy", "schema")
	_ = w.Close()
	time.Sleep(lastPatience + time.Second) // longer than anybody else waits
	got := 0
	for buf := make([]byte, 1<<16); ; {
		n, err := r.Read(buf)
		got += n
		if err != nil {
			break
		}
	}
	if want := len(j.jit("bob", "policy", "schema")); schema.end() != 0 || got != want || want <= os.Getpagesize() {
		t.Errorf("read late: %d bytes of %d", got, want)
	}
}

// TestGivenBack: the access that a command was given is dropped, whatever ends jit, as
// far as a program can see to it.
func TestGivenBack(t *testing.T) {
	t.Parallel()
	// Who runs the tests may have had them ignore hangup, and so all that they start; what a
	// program catches its children do not ignore.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(caught) })
	j, _ := opened(t)
	running := filepath.Join(j.dir, "running")
	ask := func(reason string, command ...string) []string {
		return append([]string{"request", "web:auto", "--for", "1h", "-r", reason, "--"}, command...)
	}
	state := func(reason string) string {
		return strings.TrimSpace(j.clean("bob", "list", "--mine", "--template", "{{range .}}{{if eq .reason \""+reason+"\"}}{{.state}}{{end}}{{end}}"))
	}
	given := func(t *testing.T, reason string) {
		t.Helper()
		if got := state(reason); got != "cancelled" {
			t.Errorf("the request is %q, want cancelled", got)
		}
		j.clean("web", j.args...)
		if n := j.open(); n != 0 {
			t.Errorf("%d keys are open", n)
		}
	}
	asked := func(reason string) { j.until("it is asked for", func() bool { return state(reason) == "active" }) }
	loop := []string{"sh", "-c", "ulimit -c 0; touch " + running + "; while :; do sleep 0.1; done"}
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT} {
		t.Run(unix.SignalName(s), func(t *testing.T) {
			j.t = t
			reason := "told " + unix.SignalName(s)
			p := j.start("bob", nil, nil, ask(reason, loop...)...)
			asked(reason)
			j.clean("web", j.args...)
			j.until("the command runs", func() bool { _, err := os.Stat(running); return err == nil })
			if err := errors.Join(os.Remove(running), p.cmd.Process.Signal(s)); err != nil {
				t.Fatal(err)
			}
			if code := p.end(); code != 128+int(s) {
				t.Errorf("exit %d, want %d: the command was ended by the signal", code, 128+int(s))
			}
			given(t, reason)
		})
		t.Run(unix.SignalName(s)+" while it waits", func(t *testing.T) {
			j.t = t
			reason := "waits " + unix.SignalName(s)
			p := j.start("bob", nil, nil, ask(reason, loop...)...)
			asked(reason)
			if err := p.cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			if code := p.end(); code != exitInterrupted {
				t.Errorf("exit %d, want %d", code, exitInterrupted)
			}
			given(t, reason)
		})
	}
	t.Run("ignored", func(t *testing.T) {
		// As by nohup, or in the background of a script: it waits on, and the command runs.
		j.t = t
		reason, bin := "ignores signals", j.bin
		j.bin = j.write("ignoring", "#!/bin/sh\ntrap '' HUP INT\nexec "+bin+" \"$@\"\n")
		if err := os.Chmod(j.bin, 0o700); err != nil {
			t.Fatal(err)
		}
		p := j.start("bob", nil, nil, ask(reason, "true")...)
		j.bin = bin
		asked(reason)
		for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT} {
			if err := p.cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
		}
		j.clean("web", j.args...)
		if code := p.end(); code != exitDone {
			t.Errorf("exit %d, want %d", code, exitDone)
		}
		given(t, reason)
	})
	t.Run("unread", func(t *testing.T) {
		eachDeaf(t, anyDeaf, func(t *testing.T, out, errs *os.File) {
			j.t = t
			reason := t.Name()
			p := j.start("bob", out, errs, ask(reason, "true")...)
			asked(reason)
			j.clean("web", j.args...)
			if code := p.end(); code != exitUnexpected && !(code == exitDone && errs == nil) {
				t.Errorf("exit %d, want %d", code, exitUnexpected)
			}
			given(t, reason)
		})
	})
}

// TestStoppedRunLeavesNoLock: a push that jit was told to stop in the middle of lets the
// next one through; what a killed git left is named, with what to do.
func TestStoppedRunLeavesNoLock(t *testing.T) {
	t.Parallel()
	j, ids := opened(t, "one")
	holds, hook := filepath.Join(j.dir, "holds"), filepath.Join(j.store, "hooks", "reference-transaction")
	script := "#!/bin/sh\ntest \"$1\" = prepared || exit 0\ntouch " + holds + "\nwhile test -e " + holds + "; do sleep 0.05; done\n"
	if err := errors.Join(os.MkdirAll(filepath.Dir(hook), 0o755), os.WriteFile(hook, []byte(script), 0o755)); err != nil {
		t.Fatal(err)
	}
	p := j.start("bob", nil, nil, "cancel", ids[0])
	j.until("git holds the locks", func() bool { _, err := os.Stat(holds); return err == nil })
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.end()
	if err := errors.Join(os.Remove(hook), os.Remove(holds)); err != nil {
		t.Fatal(err)
	}
	j.clean("bob", "sync")
	if got := strings.TrimSpace(j.clean("alice", "show", ids[0], "--template", "{{.state}}")); got != "cancelled" {
		t.Errorf("the request is %s, want cancelled", got)
	}
	lock := filepath.Join(j.store, "HEAD.lock")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	j.says("bob", exitUnreachable, "have its owner remove it", "request", "web:auto", "--for", "1h", "-r", "locked")
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	j.clean("bob", "sync")
	j.whole("bob")
}

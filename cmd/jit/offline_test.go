package main

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/gitstore"
)

// away is a store behind something that can be taken away.
type away struct {
	*company
	gone, back func()
}

// outposts are the ways to a store, each with a line that the test can break.
var outposts = []struct {
	name  string
	serve func(t *testing.T, s *company) (url string, gone, back func())
}{
	{"path", func(t *testing.T, s *company) (string, func(), func()) {
		move := func(from, to string) func() {
			return func() {
				t.Helper()
				if err := os.Rename(from, to); err != nil {
					t.Fatal(err)
				}
			}
		}
		return s.store, move(s.store, s.store+".away"), move(s.store+".away", s.store)
	}},
	{"ssh", func(t *testing.T, s *company) (string, func(), func()) {
		d := testenv.StartSSHD(t, testenv.SSHDOptions{HideAuthInfo: true})
		line := testenv.StartLine(t, d.Addr)
		s.sshThrough(d, line)
		return "ssh://" + d.User + "@" + line.Addr + s.store, func() { line.Set(testenv.Fault{Away: true}) }, func() { line.Set(testenv.Fault{}) }
	}},
	{"http", func(t *testing.T, s *company) (string, func(), func()) {
		u, err := url.Parse(testenv.StartGitHTTP(t, filepath.Dir(s.store), testenv.GitHTTPOptions{}))
		if err != nil {
			t.Fatal(err)
		}
		line := testenv.StartLine(t, u.Host)
		return "http://" + line.Addr + "/" + filepath.Base(s.store), func() { line.Set(testenv.Fault{Away: true}) }, func() { line.Set(testenv.Fault{}) }
	}},
}

// sshThrough lets everybody's git log in to d over line, whatever this machine's
// own ssh is set to.
func (s *company) sshThrough(d *testenv.SSHD, line *testenv.Line) {
	host, port, _ := strings.Cut(line.Addr, ":")
	known := s.write("known_hosts", fmt.Sprintf("[%s]:%s %s\n", host, port, d.HostKey))
	s.env = append(s.env, "GIT_SSH_COMMAND=ssh -F /dev/null -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none -o LogLevel=ERROR"+
		" -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null -o UserKnownHostsFile="+known+" -i "+d.ClientKey)
}

// pair is alice, who decides, and bob, who asks, with key files.
func pair(t *testing.T, serve func(*testing.T, *company) (string, func(), func())) *away {
	t.Helper()
	s := &company{t: t, dir: t.TempDir(), bin: builtJit(t), people: map[string]*member{}}
	s.store = filepath.Join(s.dir, "access.git")
	if err := gitstore.CreateBare(s.store, ""); err != nil {
		t.Fatal(err)
	}
	a := &away{company: s}
	var at string
	at, a.gone, a.back = serve(t, s)
	for _, name := range []string{"alice", "bob"} {
		s.people[name] = &member{home: filepath.Join(s.dir, name)}
	}
	key := func(name string) string {
		var v struct{ Key string }
		if err := json.Unmarshal([]byte(s.jit(name, "whoami", "-o", "json")), &v); err != nil {
			t.Fatal(err)
		}
		return v.Key
	}
	s.jit("alice", "init", at, "--as", "alice", "--generate-key")
	pin := s.status("alice")
	s.jit("bob", "join", at, "--as", "bob", "--generate-key", "--store-id", pin.Store, "--at", pin.Head)
	s.jit("alice", "policy", "propose", "--yes", s.write("policy.yaml", fmt.Sprintf(pairPolicy, key("alice"), key("bob"))))
	s.jit("bob", "sync")
	return a
}

const pairPolicy = `admins:
  people: [alice]
  threshold: 1
people:
  alice: {keys: [%s]}
  bob: {keys: [%s]}
resources:
  db:
    driver: postgres
    roles:
      one: {parameters: {grant: one}}
      two: {parameters: {grant: two}}
      three: {parameters: {grant: three}}
      four: {parameters: {grant: four}}
rules:
  - {name: all, resources: ["*"], roles: ["*"], requesters: ["*"], maxDuration: 4h, stages: [{approvers: [alice], count: 1}]}
`

// says runs jit and wants an exit code and words on the error stream.
func (s *company) says(who string, code int, words string, args ...string) (stdout string) {
	s.t.Helper()
	stdout, stderr, got := s.run(who, s.bin, args...)
	if got != code || !strings.Contains(stderr, words) {
		s.t.Fatalf("%s$ jit %s: exit %d, want %d, and on stderr %q:\n%s%s", who, strings.Join(args, " "), got, code, words, stdout, stderr)
	}
	return stdout
}

// ask makes a request for a role and gives its id; the role is the reason too.
func (s *company) ask(role string) string {
	s.t.Helper()
	return strings.TrimSpace(s.jit("bob", "request", "db:"+role, "--for", "1h", "-r", role, "--template", "{{.id}}"))
}

// commits lists the subjects of the store's commits, newest first.
func (s *company) commits() []string {
	s.t.Helper()
	out, errs, code := s.run("", testenv.Need(s.t, "git", "git"), "--git-dir="+s.store, "-c", "safe.directory=*", "log", "--format=%s", "main")
	if code != 0 {
		s.t.Fatal(errs)
	}
	return strings.Split(strings.TrimSpace(out), "\n")
}

// wantOnce wants a request to be counted, once, for somebody who sees the store
// for the first time.
func (s *company) wantOnce(reasons ...string) {
	s.t.Helper()
	out := s.jit("alice", "list", "--template", "{{range .}}{{.reason}}\n{{end}}")
	for _, r := range reasons {
		if n := strings.Count("\n"+out, "\n"+r+"\n"); n != 1 {
			s.t.Errorf("%q is there %d times:\n%s", r, n, out)
		}
	}
	if bad := s.jit("alice", "status", "--template", "{{len .setAside}} {{len .spooled}}"); strings.TrimSpace(bad) != "0 0" {
		s.t.Errorf("set aside, and waiting: %s", bad)
	}
}

// TestOffline: what is signed while the store is away waits, is said, and goes
// out with the next command, once and in one commit.
func TestOffline(t *testing.T) {
	for _, o := range outposts {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			s := pair(t, o.serve)
			one, two := s.ask("one"), s.ask("two")
			s.jit("alice", "sync")

			s.gone()
			for _, role := range []string{"three", "four"} {
				s.says("bob", 0, "waits on this machine", "request", "db:"+role, "--for", "1h", "-r", role)
			}
			s.says("alice", 0, "waits on this machine", "approve", one, "--yes")
			s.says("alice", 0, "waits on this machine", "approve", two, "--yes")
			if text := s.says("bob", 5, "store unreachable", "status"); !strings.Contains(text, "waiting   2 submissions to be sent\n  bob asks for db:three") {
				t.Errorf("status: %s", text)
			}
			var seen struct {
				Reachable bool
				Problem   string
				Spooled   []string
			}
			if err := json.Unmarshal([]byte(s.says("bob", 5, `"exit":5`, "status", "-o", "json")), &seen); err != nil {
				t.Fatal(err)
			}
			if seen.Reachable || seen.Problem == "" || len(seen.Spooled) != 2 || !strings.HasPrefix(seen.Spooled[0], "bob asks for db:three") {
				t.Errorf("status: %+v", seen)
			}

			s.back()
			before := len(s.commits())
			s.says("bob", 0, "sent 2 submissions that waited here", "list")
			if now := s.commits(); len(now) != before+1 || !strings.HasSuffix(now[0], ", and 1 more") {
				t.Errorf("two that waited made %d commits: %s", len(now)-before, now[0])
			}
			// bob is faster with the second: the approval of it is refused by now.
			s.jit("bob", "cancel", two)
			s.says("alice", 0, "refused when it could be sent: alice approves bob's request", "inbox")
			if text := s.jit("alice", "status"); !strings.Contains(text, "refused   alice approves bob's request") {
				t.Errorf("status: %s", text)
			}
			if state := s.jit("alice", "show", one, "--template", "{{.state}}"); strings.TrimSpace(state) != "active" {
				t.Errorf("the first is %s", state)
			}
			if state := s.jit("alice", "show", two, "--template", "{{.state}}"); strings.TrimSpace(state) != "cancelled" {
				t.Errorf("the second is %s", state)
			}
			before = len(s.commits())
			s.jit("bob", "sync")
			s.jit("alice", "sync")
			if now := s.commits(); len(now) != before {
				t.Errorf("something was sent again: %q", now[:len(now)-before])
			}
			s.wantOnce("one", "two", "three", "four")
		})
	}
}

// TestAnswerLost: the server takes the push, and dies before it says so.
func TestAnswerLost(t *testing.T) {
	for _, o := range outposts {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			s := pair(t, o.serve)
			hook := filepath.Join(s.store, "hooks", "post-receive")
			if err := os.WriteFile(hook, []byte("#!/bin/sh\nkill -9 $PPID\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			before := len(s.commits())
			s.ask("one")
			if err := os.Remove(hook); err != nil {
				t.Fatal(err)
			}
			s.jit("bob", "list")
			s.jit("bob", "sync")
			if now := len(s.commits()); now != before+1 {
				t.Errorf("%d commits for one request", now-before)
			}
			s.wantOnce("one")
		})
	}
}

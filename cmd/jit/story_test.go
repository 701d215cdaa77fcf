package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
)

// company is a small company on one machine: people with a home and a gpg key
// each, a store, and a reconciler beside a database and an ssh server.
type company struct {
	t      *testing.T
	dir    string
	bin    string
	store  string
	people map[string]*member
	config string // the reconciler's
	env    []string
}

// member is one person: JIT_HOME, GNUPGHOME, and their gpg key; gpg is nil for
// who has a key file.
type member struct {
	home string
	gpg  *testenv.GPG
	fpr  string
}

// run runs a program as somebody, and gives stdout, stderr and the exit code.
func (s *company) run(who, program string, args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "LC_ALL=C.UTF-8"}, s.env...)
	if m := s.people[who]; m != nil {
		cmd.Env = append(cmd.Env, "JIT_HOME="+m.home)
		if m.gpg != nil {
			cmd.Env = append(cmd.Env, "GNUPGHOME="+m.gpg.Home)
		}
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil && cmd.ProcessState == nil {
		s.t.Fatalf("%s: %v", program, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// jit runs jit as somebody and wants it to succeed.
func (s *company) jit(who string, args ...string) string {
	s.t.Helper()
	stdout, stderr, code := s.run(who, s.bin, args...)
	if code != 0 {
		s.t.Fatalf("%s$ jit %s: exit %d\n%s%s", who, strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// reconcile runs the reconciler as cron would, and gives its exit code and text.
func (s *company) reconcile() (string, int) {
	s.t.Helper()
	stdout, stderr, code := s.run("", s.bin, "reconcile", "--config", s.config)
	return stdout + stderr, code
}

func (s *company) write(name, text string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// statusSeen is the part of "jit status" that the story needs.
type statusSeen struct {
	Store, Head, Digest string
	Position            int
}

func (s *company) status(who string, args ...string) (v statusSeen) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.jit(who, append([]string{"status", "-o", "json"}, args...)...)), &v); err != nil {
		s.t.Fatal(err)
	}
	return v
}

// until repeats what is cheap until it holds.
func (s *company) until(what string, holds func() bool) {
	s.t.Helper()
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if holds() {
			return
		}
	}
	s.t.Fatalf("never: %s", what)
}

const storyPolicy = `admins:
  people: [alice]
  threshold: 1
people:
  alice: {name: Alice, email: alice@example.com, keys: [%s]}
  bob: {name: Bob, email: bob@example.com, keys: [%s], accounts: {postgres: bob, authorized-keys: "%s"}}
  carol: {name: Carol, email: carol@example.com, keys: [%s]}
reconcilers:
  db1: {keys: [%s], resources: [orders-db, web1]}
resources:
  orders-db:
    driver: postgres
    roles:
      readonly: {parameters: {grant: orders_readonly}, usage: "psql -h db1 orders"}
  web1:
    driver: authorized-keys
    roles:
      shell: {parameters: {account: %s, allow-root: "true", options: "pty"}, usage: ssh web1}
rules:
  - name: one-colleague
    resources: ["*"]
    roles: ["*"]
    requesters: ["*"]
    maxDuration: 1h
    stages: [{approvers: [carol, alice], count: 1}]
`

// newCompany makes the store, and lets everybody in, by the commands alone.
func newCompany(t *testing.T, keysFile string, pg *testenv.Postgres, sshd *testenv.SSHD) *company {
	s := &company{t: t, dir: t.TempDir(), bin: builtJit(t), people: map[string]*member{}}
	s.store = filepath.Join(s.dir, "access.git")
	for _, name := range []string{"alice", "bob", "carol"} {
		m := &member{home: filepath.Join(s.dir, name), gpg: testenv.GPGHome(t)}
		m.fpr = m.gpg.MakeKey(name, name+"@example.com", "ed25519", "the passphrase of "+name)
		s.people[name] = m
	}
	s.jit("alice", "init", s.store, "--as", "alice", "--gpg", s.people["alice"].fpr)
	pin := s.status("alice")
	for _, name := range []string{"bob", "carol"} {
		s.jit(name, "join", s.store, "--as", name, "--gpg", s.people[name].fpr, "--store-id", pin.Store, "--at", pin.Head)
		s.jit("alice", "admit", name, "--fingerprint", s.people[name].fpr, "--yes")
	}
	// The reconciler's key is a file, made and published on its machine.
	rec := &member{home: filepath.Join(s.dir, "db1"), gpg: s.people["alice"].gpg}
	s.people["db1"] = rec
	s.jit("db1", "join", s.store, "--as", "db1", "--generate-key", "--store-id", pin.Store)
	var who struct{ Key string }
	if err := json.Unmarshal([]byte(s.jit("db1", "whoami", "-o", "json")), &who); err != nil {
		t.Fatal(err)
	}
	keys, err := filepath.Glob(filepath.Join(rec.home, "keys", "*.asc"))
	if err != nil || len(keys) != 1 {
		t.Fatalf("the reconciler's key: %v %v", keys, err)
	}
	pub := strings.Join(strings.Fields(sshd.ClientPub)[:2], " ")
	s.jit("alice", "policy", "propose", "--yes", s.write("policy.yaml", fmt.Sprintf(storyPolicy,
		s.people["alice"].fpr, s.people["bob"].fpr, pub, s.people["carol"].fpr, who.Key, sshd.User)))
	s.config = s.write("reconcile.yaml", fmt.Sprintf(`name: db1
key: %s
state: %s
store: {url: %s, identity: %s}
targets:
  orders-db:
    settings: {host: %s, port: "%d", database: postgres, user: jit}
  web1:
    settings: {file: %s}
`, keys[0], filepath.Join(s.dir, "state"), s.store, pin.Store, pg.SocketDir, pg.Port, keysFile))
	return s
}

// builtJit builds the program as it is shipped.
func builtJit(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "jit")
	cmd := exec.Command("go", "build", "-o", bin, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// TestStory is the main job end to end: three people with gpg keys under
// passphrases, a reconciler with a key file, a real database and a real ssh
// server.
func TestStory(t *testing.T) {
	testenv.Alone(t, "ssh-sessions")
	keysDir, err := os.MkdirTemp("", "jitkeys")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(keysDir) })
	keysFile := filepath.Join(keysDir, "authorized_keys")
	sshd := testenv.StartSSHD(t, testenv.SSHDOptions{AuthorizedKeysFile: keysFile})
	pg := testenv.StartPostgres(t)
	pg.Exec(`CREATE ROLE jit LOGIN CREATEROLE; GRANT pg_signal_backend TO jit;
		CREATE ROLE orders_readonly; CREATE TABLE orders (id int); INSERT INTO orders VALUES (7);
		GRANT SELECT ON orders TO orders_readonly; CREATE ROLE bob LOGIN;`)
	s := newCompany(t, keysFile, pg, sshd)

	read := func() bool {
		out, _, code := s.run("", "psql", "-X", "-A", "-t", "-d", pg.DSN("bob", "postgres"), "-c", "SELECT id FROM orders")
		return code == 0 && strings.TrimSpace(out) == "7"
	}
	login := func() bool {
		_, _, code := s.run("", "ssh", append(sshd.SSHArgs(sshd.ClientKey), "true")...)
		return code == 0
	}
	if read() || login() {
		t.Fatal("bob has access before he asked")
	}

	// Ask for both in one request; nothing opens before it is approved.
	s.jit("bob", "request", "orders-db:readonly", "web1:shell", "--for", "12s", "-r", "look at order 7")
	if text, code := s.reconcile(); code != 0 {
		t.Fatalf("reconcile: exit %d\n%s", code, text)
	}
	if read() || login() {
		t.Fatal("access opened without approval")
	}
	var list []struct{ ID, State string }
	if err := json.Unmarshal([]byte(s.jit("carol", "list", "-o", "json")), &list); err != nil || len(list) != 1 {
		t.Fatalf("list: %v %v", list, err)
	}
	s.jit("carol", "approve", list[0].ID, "--yes")
	if text, code := s.reconcile(); code != 0 || !strings.Contains(text, "opened") {
		t.Fatalf("reconcile: exit %d\n%s", code, text)
	}
	if !read() || !login() {
		t.Fatal("access did not open")
	}
	opened := s.status("alice")
	if text, code := s.reconcile(); code != 0 || strings.Contains(text, "opened") {
		t.Fatalf("a second reconcile: exit %d\n%s", code, text)
	}
	if again := s.status("alice"); again.Head != opened.Head {
		t.Error("a reconcile with nothing new made a commit")
	}

	// Live sessions that would go on reading are cut at the end.
	db := exec.CommandContext(t.Context(), "psql", "-X", "-q", "-d", pg.DSN("bob", "postgres"))
	hold, err := db.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintln(hold, `SET ROLE orders_readonly; SELECT pg_sleep(3600);`); err != nil {
		t.Fatal(err)
	}
	shell := exec.CommandContext(t.Context(), "ssh", append(sshd.SSHArgs(sshd.ClientKey), "sleep 3600")...)
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	cut := make(chan string, 2)
	go func() { _ = db.Wait(); cut <- "psql" }()
	go func() { _ = shell.Wait(); cut <- "ssh" }()

	// The end needs no remote: it is away.
	away := s.store + ".away"
	if err := os.Rename(s.store, away); err != nil {
		t.Fatal(err)
	}
	s.until("the window ends", func() bool {
		text, code := s.reconcile()
		if code != 5 {
			t.Fatalf("reconcile with the store away: exit %d, want 5\n%s", code, text)
		}
		return strings.Contains(text, "ended")
	})
	if read() || login() {
		t.Fatal("bob still has access after the end")
	}
	for range 2 {
		select {
		case <-cut:
		case <-time.After(30 * time.Second):
			t.Fatal("a live session outlived the access")
		}
	}
	// It is back: the receipts that waited are pushed, once.
	if err := os.Rename(away, s.store); err != nil {
		t.Fatal(err)
	}
	if text, code := s.reconcile(); code != 0 {
		t.Fatalf("reconcile: exit %d\n%s", code, text)
	}
	ended := s.status("alice")
	if text, code := s.reconcile(); code != 0 || s.status("alice").Head != ended.Head {
		t.Errorf("a reconcile with nothing new: exit %d\n%s", code, text)
	}
	if log := s.jit("alice", "log", list[0].ID); strings.Count(log, "\treceipt\t") != 4 {
		t.Errorf("two grants make four receipts:\n%s", log)
	}
	if state := s.jit("bob", "show", list[0].ID, "--json", "state"); !strings.Contains(state, "expired") {
		t.Errorf("state: %s", state)
	}
	s.checkable()
	s.agreeing()
}

// checkable proves every record with stock git and gpg, from the store alone.
func (s *company) checkable() {
	s.t.Helper()
	clone := filepath.Join(s.dir, "clone")
	if _, text, code := s.run("", "git", "clone", "-q", s.store, clone); code != 0 {
		s.t.Fatal(text)
	}
	auditor := testenv.GPGHome(s.t)
	records := 0
	for _, pattern := range []string{"keys/*/*.asc"} {
		files, err := filepath.Glob(filepath.Join(clone, pattern))
		if err != nil || len(files) < 4 {
			s.t.Fatalf("certificates: %v %v", files, err)
		}
		for _, f := range files {
			auditor.Run(nil, "--batch", "--import", f)
		}
	}
	err := filepath.WalkDir(clone, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".yaml") {
			return err
		}
		records++
		auditor.Run(nil, "--batch", "--trust-model", "always", "--verify", path+".asc", path)
		return nil
	})
	if err != nil || records < 9 {
		s.t.Errorf("gpg verified %d records: %v", records, err)
	}
	log, _, _ := s.run("", "git", "-C", clone, "log", "--reverse", "--format=%s")
	at := 0
	for _, words := range []string{"alice makes the store", "admit", "bob asks for orders-db:readonly", "carol approves", "opened", "ended"} {
		i := strings.Index(log[at:], words)
		if i < 0 {
			s.t.Errorf("the log does not tell %q after the rest:\n%s", words, log)
			continue
		}
		at += i
	}
}

// agreeing shows that ledgers made in different ways are the same.
func (s *company) agreeing() {
	s.t.Helper()
	want := s.status("alice")
	views := func(who string) string {
		return s.jit(who, "list", "-o", "json") + s.jit(who, "verify", "--counted", "-o", "json")
	}
	before := views("alice")
	s.jit("alice", "sync", "--rebuild")
	if after := views("alice"); after != before {
		s.t.Errorf("the ledger made from nothing differs:\n%s\n%s", before, after)
	}
	for _, name := range []string{"bob", "carol"} {
		s.jit(name, "sync")
		if got := s.status(name); got != want {
			s.t.Errorf("%s is at %+v, alice at %+v", name, got, want)
		}
		if views(name) != before {
			s.t.Errorf("%s sees another state", name)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jitaccess/jit/pkg/record"
)

// demoNames are those who have a key: three people and a machine.
var demoNames = []string{"alice", "bob", "carol", "web1"}

// stepPatience bounds one step of the demo.
const stepPatience = time.Minute

// longestTemp is the longest path of a folder in which gpg's agent can still
// have its socket: such a path has about a hundred bytes.
const longestTemp = 40

// stage is the temporary folder in which the demo plays.
type stage struct {
	app     *App
	dir     string
	keys    map[string]string // fingerprints
	parts   sceneParts
	join    string // what follows jit join in the line to join with
	store   string // its identity
	request record.ID
}

// openStage makes the folder, and a bin in it where jit is this very program.
func openStage(a *App, shared bool) (*stage, error) {
	for _, program := range []string{"git", "gpg", "gpgconf", "sh"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, usageErr("install git and gnupg", "the demo needs %s: %v", program, err)
		}
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	base := os.TempDir()
	if len(base) > longestTemp {
		base = "/tmp"
	}
	dir, err := os.MkdirTemp(base, "jit-demo-")
	if err != nil {
		return nil, err
	}
	s := &stage{app: a, dir: dir, keys: map[string]string{}}
	err = os.Mkdir(s.path("bin"), 0o755)
	if err == nil {
		err = os.Symlink(self, s.path("bin/jit"))
	}
	for _, p := range demoNames {
		err = errors.Join(err, os.MkdirAll(s.path(p+"/gpg"), 0o700))
	}
	if shared { // the server's own user must reach its folder
		err = errors.Join(err, os.Chmod(dir, 0o711)) //nolint:gosec // its folders are closed each by itself
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

// close stops what the demo started, and removes the folder unless it is kept.
func (s *stage) close(sc scene, keep bool) error {
	if keep {
		return sc.close(s)
	}
	err := sc.close(s)
	for _, p := range append([]string{"auditor"}, demoNames...) {
		home := s.path(p + "/gpg")
		if _, e := os.Stat(home); e != nil {
			continue
		}
		// No agent outlives the demo, also where it was interrupted.
		if out, e := exec.Command("gpgconf", "--homedir", home, "--kill", "all").CombinedOutput(); e != nil {
			err = errors.Join(err, fmt.Errorf("gpgconf --kill all: %w: %s", e, bytes.TrimSpace(out)))
		}
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *stage) say(format string, args ...any) {
	fmt.Fprintf(s.app.IO.Out, "%s\n", fmt.Sprintf(format, args...))
}

// chapter begins a part of the story.
func (s *stage) chapter(title string) {
	s.say("\n%s", s.app.IO.OutStyle().Title("## "+title))
}

// write makes a file of the demo.
func (s *stage) write(name, text string, mode os.FileMode) error {
	return os.WriteFile(s.path(name), []byte(text), mode)
}

// as shows a command as a person types it, and runs it for them.
func (s *stage) as(ctx context.Context, who, line string) error {
	s.prompt(who, line)
	return s.shell(ctx, who, line, streamOf(s.app.IO.Out), streamOf(s.app.IO.Out))
}

// captured is as, and gives what was printed too.
func (s *stage) captured(ctx context.Context, who, line string) (string, error) {
	s.prompt(who, line)
	var out bytes.Buffer
	err := s.shell(ctx, who, line, io.MultiWriter(streamOf(s.app.IO.Out), &out), streamOf(s.app.IO.Out))
	return out.String(), err
}

// quiet runs a command that only the demo itself needs, and gives what it
// printed.
func (s *stage) quiet(ctx context.Context, who, line string) (string, error) {
	var out, messages bytes.Buffer
	err := s.shell(ctx, who, line, &out, &messages)
	if err != nil {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(messages.Bytes()))
	}
	return out.String(), err
}

func (s *stage) prompt(who, line string) {
	st := s.app.IO.OutStyle()
	s.say("%s %s", st.Faint(who+"$"), st.Bold(line))
}

// refused is as for a command that must fail.
func (s *stage) refused(ctx context.Context, who, line string) error {
	s.prompt(who, line)
	err := s.shell(ctx, who, line, streamOf(s.app.IO.Out), streamOf(s.app.IO.Out))
	if err == nil {
		return fmt.Errorf("%s was not refused: %s", who, line)
	}
	if _, ran := errors.AsType[*exec.ExitError](err); !ran {
		return err
	}
	return nil
}

// shell runs a command line with a person's environment.
func (s *stage) shell(ctx context.Context, who, line string, out, messages io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, stepPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = s.dir, s.environment(who), out, messages
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s$ %s: %w", who, line, err)
	}
	return nil
}

// environment is this process's own, without what would lead jit, gpg or psql
// out of the folder.
func (s *stage) environment(who string) []string {
	var env []string
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "JIT_") || strings.HasPrefix(name, "PG") || strings.HasPrefix(name, "GIT_") ||
			name == "GNUPGHOME" || name == "GPG_TTY" || name == "PAGER" || name == "PATH" {
			continue
		}
		env = append(env, kv)
	}
	return append(env, "PATH="+s.path("bin")+":"+os.Getenv("PATH"), "PAGER=cat", "GIT_PAGER=cat", "LC_ALL=C.UTF-8",
		"JIT_HOME="+s.path(who), "GNUPGHOME="+s.path(who+"/gpg"))
}

// policyText is the body of the demo's policy.
func (s *stage) policyText() string {
	accounts := ""
	if s.parts.accounts != "" {
		accounts = "\n    accounts:\n      " + s.parts.accounts
	}
	return fmt.Sprintf(`admins:
  people: [carol]
  threshold: 1
people:
  alice:
    keys: [%s]%s
  bob:
    keys: [%s]
    teams: [approvers]
  carol:
    keys: [%s]
reconcilers:
  web1:
    keys: [%s]
    resources: [%s]
resources:
  %s
rules:
  - name: one-approver
    resources: ["*"]
    roles: ["*"]
    requesters: ["*"]
    maxDuration: 1h
    stages:
      - approvers: [team:approvers]
        count: 1
`, s.keys["alice"], accounts, s.keys["bob"], s.keys["carol"], s.keys["web1"], s.parts.resource, s.parts.policy)
}

// reconcilerText is the machine's configuration.
func (s *stage) reconcilerText() string {
	return fmt.Sprintf(`name: web1
key: keys/%s.asc
state: reconciler
store:
  url: %s
  identity: %s
targets:
  %s:
    settings:
      %s
`, s.keys["web1"], s.path("store.git"), s.store, s.parts.resource, s.parts.settings)
}

// demoAccount is there on every system, and nobody is logged in to it: of
// sessions that do not tell their key the reconciler would have to say that it
// left them.
const demoAccount = "nobody"

// accountScene is an account of this machine that ssh would log in to: a line in
// an authorized_keys file, in the demo's own folder.
type accountScene struct{ file, key string }

func (c *accountScene) prepare(ctx context.Context, s *stage) (sceneParts, error) {
	public, err := newSSHKey(s.path("alice/id_ed25519"))
	if err != nil {
		return sceneParts{}, err
	}
	c.key = strings.Fields(public)[1]
	c.file = "web1/authorized_keys.d/" + demoAccount
	if err := os.MkdirAll(filepath.Dir(s.path(c.file)), 0o755); err != nil {
		return sceneParts{}, err
	}
	return sceneParts{
		resource: "web1", role: "login", reason: "roll back release 42",
		policy: fmt.Sprintf(`web1:
    driver: authorized-keys
    roles:
      login:
        usage: ssh %s@web1
        parameters:
          account: %s
          options: restrict,pty`, demoAccount, demoAccount),
		accounts: "authorized-keys: " + public,
		settings: "file: " + s.path("web1/authorized_keys.d/%u"),
	}, nil
}

// try looks for alice's key in the file that sshd would read.
func (c *accountScene) try(ctx context.Context, s *stage, open bool) error {
	line := "cat " + c.file
	if _, err := os.Stat(s.path(c.file)); err != nil {
		line = "ls -A " + filepath.Dir(c.file)
	}
	if err := s.as(ctx, "web1", line); err != nil {
		return err
	}
	data, err := os.ReadFile(s.path(c.file))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if found := strings.Contains(string(data), c.key); found != open {
		return fmt.Errorf("alice's key is in %s: %t, and should be: %t", c.file, found, open)
	}
	if !open {
		s.say("(no line: alice's key opens nothing)")
	}
	return nil
}

func (c *accountScene) close(*stage) error { return nil }

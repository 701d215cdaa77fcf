package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jitaccess/jit/internal/testenv"
)

// terminal is a store with one admin and a resource, and a jit program for
// another process to run.
type terminal struct {
	t   *testing.T
	dir string
	env []string
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	// The test binary is jit where it is called so: see TestMain.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(bin, "jit")); err != nil {
		t.Fatal(err)
	}
	e := &terminal{t: t, dir: dir, env: []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + dir, "JIT_HOME=" + filepath.Join(dir, "alice"),
		"GNUPGHOME=" + filepath.Join(dir, "gnupg"), "TERM=xterm", "GORACE=" + gorace, "LC_ALL=C.UTF-8",
	}}
	if err := os.Mkdir(filepath.Join(dir, "gnupg"), 0o700); err != nil {
		t.Fatal(err)
	}
	policy := filepath.Join(dir, "policy.yaml")
	if err := os.WriteFile(policy, []byte(terminalPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	key := e.jit("key", "generate", "--template", "{{.fingerprint}} {{.where}}")
	fpr, file, _ := strings.Cut(strings.TrimSpace(key), " ")
	if err := os.WriteFile(policy, fmt.Appendf(nil, terminalPolicy, fpr), 0o600); err != nil {
		t.Fatal(err)
	}
	e.jit("init", filepath.Join(dir, "store"), "--as", "alice", "--key", file, "--policy", policy)
	return e
}

const terminalPolicy = `admins:
  people: [alice]
  threshold: 1
people:
  alice: {keys: [%s]}
resources:
  orders-db:
    driver: postgres
    roles:
      readonly: {description: read the orders, parameters: {grant: orders_readonly}}
      readwrite: {parameters: {grant: orders_readwrite}}
rules:
  - {name: all, resources: ["*"], roles: ["*"], requesters: ["*"], maxDuration: 2h, approve: auto}
`

func (e *terminal) jit(args ...string) string {
	e.t.Helper()
	cmd := exec.CommandContext(e.t.Context(), filepath.Join(e.dir, "bin", "jit"), args...)
	cmd.Env = e.env
	var messages strings.Builder
	cmd.Stderr = &messages
	out, err := cmd.Output()
	if err != nil {
		e.t.Fatalf("jit %s: %v\n%s", strings.Join(args, " "), err, messages.String())
	}
	return string(out)
}

// expect runs a script of expect(1). In it "want TEXT" waits for a text and
// fails the script where it does not come.
func (e *terminal) expect(script string) {
	e.t.Helper()
	file := filepath.Join(e.dir, "script.exp")
	head := `set timeout 20
set stty_init "columns 200"
proc want {text} {
    expect {
        -ex $text { }
        timeout { puts "\nNEVER: $text"; exit 1 }
        eof { puts "\nENDED BEFORE: $text"; exit 1 }
    }
}
`
	if err := os.WriteFile(file, []byte(head+script), 0o600); err != nil {
		e.t.Fatal(err)
	}
	cmd := exec.CommandContext(e.t.Context(), testenv.Need(e.t, "expect", "expect"), "-f", file)
	cmd.Env, cmd.Dir = e.env, e.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		e.t.Fatalf("%v\n%s", err, out)
	}
}

// TestBashCompletes presses Tab in a real bash, with the package
// bash-completion and without it. bash splits words at colons, which
// RESOURCE:ROLE must survive.
func TestBashCompletes(t *testing.T) {
	testenv.Need(t, "bash", "bash")
	const library = "/usr/share/bash-completion/bash_completion"
	if _, err := os.Stat(library); err != nil {
		t.Fatalf("this test needs %s: install it with `apt-get install bash-completion`", library)
	}
	e := newTerminal(t)
	e.jit("request", "orders-db:readonly", "--for", "1h", "-r", "look at an order")
	id := strings.TrimSpace(e.jit("list", "--template", "{{range .}}{{.shortId}}{{end}}"))
	for name, load := range map[string]string{"with bash-completion": ". " + library, "alone": ":"} {
		t.Run(name, func(t *testing.T) {
			sub := *e
			sub.t = t
			sub.expect(fmt.Sprintf(`spawn bash --norc --noprofile -i
send "PS1='READY> '; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'; %s; . <(jit completion bash); echo load''ed\r"
want "loaded"
want "READY> "
send "echo marker; jit requ\t"
want "jit request "
send "ord\t"
want "orders-db:read"
send "o\t"
want "only "
send "\025jit request orders-db:read\t\t"
want "(read the orders, at most 2h)"
want "(at most 2h)"
send "\025jit show %s\t"
want "%s"
send "\025exit\r"
expect eof
`, load, id[:3], id))
		})
	}
}

// TestJoinAsks types at a real terminal: which key, and the digits of the
// identity, once wrong.
func TestJoinAsks(t *testing.T) {
	e := newTerminal(t)
	identity := strings.TrimSpace(e.jit("status", "--template", "{{.store}}"))
	for i, v := range e.env {
		if strings.HasPrefix(v, "JIT_HOME=") {
			e.env[i] = "JIT_HOME=" + filepath.Join(e.dir, "bob")
		}
	}
	e.expect(fmt.Sprintf(`spawn jit join %s --as bob
want "identity  %s"
want "first 8 digits of the identity:"
send "00000000\r"
want "That is not what the identity begins with."
want "first 8 digits of the identity:"
send "%s\r"
want "a new key, in a file"
send "1\r"
want "empty for none):"
send "secret\r"
want "The same again:"
send "secret\r"
want "jit admit bob --fingerprint"
expect eof
`, filepath.Join(e.dir, "store"), identity, identity[:8]))
	if who := e.jit("whoami", "--template", "{{.name}} {{.inPolicy}}"); who != "bob false\n" {
		t.Errorf("whoami after joining: %q", who)
	}
}

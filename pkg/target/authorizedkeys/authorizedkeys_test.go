package authorizedkeys_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/target"
	"github.com/jitaccess/jit/pkg/target/authorizedkeys"
	"github.com/jitaccess/jit/pkg/target/conformance"
)

func open(t *testing.T, file string) target.Driver {
	t.Helper()
	d, err := authorizedkeys.New(t.Context(), target.Config{Resource: "web", Settings: map[string]string{"file": file}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var count atomic.Int64

func grantOf(keys string, params map[string]string) target.Grant {
	now := time.Now().UTC()
	return target.Grant{
		ID: fmt.Sprintf("01JD%022d-0", count.Add(1)), Resource: "web", Role: "shell", Params: params,
		Person: "alice", Account: keys, Opens: now, Ends: now.Add(time.Hour).Truncate(time.Second),
	}
}

// host is a real sshd that reads one managed file.
type host struct {
	*testenv.SSHD
	file   string
	params map[string]string
}

func start(t *testing.T, o testenv.SSHDOptions) host {
	t.Helper()
	testenv.Alone(t, "ssh-sessions")
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	h := host{file: filepath.Join(dir, "managed")}
	o.AuthorizedKeysFile = h.file
	h.SSHD = testenv.StartSSHD(t, o)
	h.params = map[string]string{"account": h.User, "options": `restrict,pty,environment="A=b,c\"d"`}
	if os.Geteuid() == 0 {
		h.params["allow-root"] = "true"
	}
	return h
}

func (h host) canUse(*testing.T) error {
	out, err := exec.Command("ssh", append(h.SSHArgs(h.ClientKey), "true")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// session is a command that runs on the host and says that it does.
type session struct{ ended chan struct{} }

func (s session) Alive() bool {
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

func (h host) session(t *testing.T) conformance.Session {
	t.Helper()
	return h.runs(t, "echo in; exec sleep 600")
}

// runs starts a session whose command says "in" and goes on.
func (h host) runs(t *testing.T, command string) session {
	t.Helper()
	cmd := exec.Command("ssh", append(h.SSHArgs(h.ClientKey), command)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatalf("no session: %v", err)
	}
	s := session{make(chan struct{})}
	go func() { _ = cmd.Wait(); close(s.ended) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-s.ended })
	return s
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// others is a file as people write them: a comment, CRLF, no end of the last
// line, and a line that only looks like jit's.
const others = "# jit:01JD0000000000000000000000-0:x\r\n\n  # two\nssh-rsa AAAA jit:x:y\r\nssh-ed25519 AAAAlast"

func TestConformance(t *testing.T) {
	h := start(t, testenv.SSHDOptions{})
	write(t, h.file, others)
	key := h.ClientPub
	with := func(account string) target.Grant {
		return grantOf(key, map[string]string{"account": account, "allow-root": "true"})
	}
	conformance.Run(t, conformance.Target{
		New:           func(t *testing.T) target.Driver { return open(t, h.file) },
		Grant:         func(*testing.T) target.Grant { return grantOf(key, h.params) },
		CanUse:        h.canUse,
		OpenSession:   h.session,
		AddForeign:    func(t *testing.T) { write(t, h.file, read(t, h.file)+"\n"+key) },
		RemoveForeign: func(t *testing.T) { write(t, h.file, strings.TrimSuffix(read(t, h.file), "\n"+key)) },
		Lists:         true,
		Protected: map[string]target.Grant{
			"root":         grantOf(key, map[string]string{"account": "root"}),
			"end of jit's": grantOf(key, map[string]string{"account": h.User, "options": `expiry-time="2099"`}),
			"authority":    grantOf(key, map[string]string{"account": h.User, "options": "cert-authority"}),
		},
		Hostile: map[string]target.Grant{
			"path": with("../../etc/passwd"), "option": with("-rf"), "newline": with("a\nb"), "missing": with("nobody-here"),
			"dots": with(".."), "empty": with(""), "percent": with("%u"), "zero": with("a\x00"),
			"key with options": grantOf(`command="x" `+key, h.params), "not a key": grantOf("alice", h.params),
			"key and more": grantOf(key+"\nssh-ed25519 AAAA", h.params),
		},
		Unharmed: func(t *testing.T) {
			if got := read(t, h.file); got != others {
				t.Errorf("the file is %q", got)
			}
		},
	})
	if got := read(t, h.file); got != others {
		t.Errorf("other lines were changed: %q", got)
	}
}

// sshd itself refuses the key after the end, though jit never ran again.
func TestBackstop(t *testing.T) {
	h := start(t, testenv.SSHDOptions{})
	d, g := open(t, h.file), grantOf(h.ClientPub, h.params)
	if err := d.Grant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if err := h.canUse(t); err != nil {
		t.Fatal(err)
	}
	line := read(t, h.file)
	write(t, h.file, strings.Replace(line, g.Ends.Format("20060102150405Z"), g.Opens.Add(-time.Second).Format("20060102150405Z"), 1))
	if err := h.canUse(t); err == nil {
		t.Error("the key is let in after its end")
	}
	seen, err := d.Check(t.Context(), g, nil)
	if err != nil || seen.Present || seen.Detail == "" {
		t.Errorf("a changed line: %+v, %v", seen, err)
	}
	if err := d.Grant(t.Context(), g); err != nil || read(t, h.file) != line {
		t.Errorf("a changed line is not mended: %v", err)
	}
}

// Without ExposeAuthInfo jit does not guess: it says what it left.
func TestSaysWhatItCannotEnd(t *testing.T) {
	h := start(t, testenv.SSHDOptions{HideAuthInfo: true})
	d, g := open(t, h.file), grantOf(h.ClientPub, h.params)
	if err := d.Grant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	s := h.session(t)
	e, err := d.Revoke(t.Context(), g, nil)
	if err != nil || e.SessionsEnded != 0 || len(e.Left) != 1 || !strings.Contains(e.Left[0], "ExposeAuthInfo") {
		t.Errorf("%+v, %v", e, err)
	}
	if !s.Alive() {
		t.Error("a session was ended whose key jit could not see")
	}
}

// Another key's session of the same account lives on.
func TestEndsSessionsOfOneKeyOnly(t *testing.T) {
	h := start(t, testenv.SSHDOptions{})
	other := filepath.Join(t.TempDir(), "other")
	if out, err := exec.Command(testenv.Need(t, "ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", other).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	d := open(t, h.file)
	a, b := grantOf(h.ClientPub, h.params), grantOf(read(t, other+".pub"), h.params)
	for _, g := range []target.Grant{a, b} {
		if err := d.Grant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	mine := h.session(t)
	h.ClientKey = other
	others := h.session(t)
	e, err := d.Revoke(t.Context(), a, []target.Grant{b})
	if err != nil || e.SessionsEnded != 1 || len(e.Left) != 0 {
		t.Errorf("%+v, %v", e, err)
	}
	for deadline := time.Now().Add(15 * time.Second); mine.Alive() && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
	}
	if mine.Alive() || !others.Alive() {
		t.Errorf("of the two sessions live: the ended key's %v, the other's %v", mine.Alive(), others.Alive())
	}
}

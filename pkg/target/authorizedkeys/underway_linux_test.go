package authorizedkeys_test

import (
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/target"
)

// another gives an account that is not root's, and has a shell: PostgreSQL's.
func another(t *testing.T) (account string, ok bool) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Log("only root lets others in")
		return "", false
	}
	if _, err := user.Lookup("postgres"); err != nil {
		t.Fatalf("%v: install postgresql", err)
	}
	return "postgres", true
}

// startFor is start for an account: the test's own where it is empty.
func startFor(t *testing.T, account string, o testenv.SSHDOptions) host {
	t.Helper()
	if account != "" {
		o.Users = []string{account}
	}
	h := start(t, o)
	if account == "" {
		return h
	}
	server := *h.SSHD
	server.User = account
	h.SSHD = &server
	h.params = map[string]string{"account": account, "options": "restrict"}
	// The account's own sshd reads the file.
	if err := os.Chmod(filepath.Dir(filepath.Dir(h.file)), 0o755); err != nil {
		t.Fatal(err)
	}
	return h
}

// signer signs with a key, after it was told to go on where goOn is not nil.
type signer struct {
	ssh.Signer
	reached chan<- struct{}
	goOn    <-chan struct{}
}

func (s signer) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	if s.goOn != nil {
		close(s.reached)
		<-s.goOn
	}
	return s.Signer.Sign(rand, data)
}

func signs(t *testing.T, file string) signer {
	t.Helper()
	key, err := ssh.ParsePrivateKey([]byte(read(t, file)))
	if err != nil {
		t.Fatal(err)
	}
	return signer{Signer: key}
}

// login begins a login with two keys, as one with a second factor, and stops before it shows
// the second one. What comes of it is a session, over where it was not let in.
func (h host) login(t *testing.T, first, second string) (goOn func(), in <-chan session) {
	t.Helper()
	reached, wait := make(chan struct{}), make(chan struct{})
	late := signs(t, second)
	late.reached, late.goOn = reached, wait
	answer := make(chan session, 1)
	keys := ssh.PublicKeys(signs(t, first), late)
	go func() {
		s := session{make(chan struct{})}
		if !h.dial(t, s, keys) {
			close(s.ended)
		}
		answer <- s
	}()
	select {
	case <-reached:
	case <-answer:
		t.Fatalf("it did not come to the second key:\n%s", h.Log())
	case <-time.After(20 * time.Second):
		t.Fatalf("the login hangs:\n%s", h.Log())
	}
	goOn = sync.OnceFunc(func() { close(wait) })
	t.Cleanup(goOn)
	return goOn, answer
}

// dial logs in and runs a command, until whose end s lives.
func (h host) dial(t *testing.T, s session, keys ssh.AuthMethod) bool {
	known, _, _, _, err := ssh.ParseAuthorizedKey([]byte(h.HostKey))
	if err != nil {
		t.Error(err)
		return false
	}
	c, err := ssh.Dial("tcp", h.Addr, &ssh.ClientConfig{User: h.User, Auth: []ssh.AuthMethod{keys}, HostKeyCallback: ssh.FixedHostKey(known)})
	if err != nil {
		return false
	}
	t.Cleanup(func() { c.Close() })
	run, err := c.NewSession()
	if err != nil {
		return false
	}
	out, err := run.StdoutPipe()
	if err != nil || run.Start("echo in; exec sleep 600") != nil {
		return false
	}
	if _, err := io.ReadFull(out, make([]byte, 3)); err != nil {
		return false
	}
	go func() { _ = run.Wait(); close(s.ended) }()
	return true
}

// forAccounts runs a test for the account of who runs it, and for another where it may.
func forAccounts(t *testing.T, test func(t *testing.T, account string)) {
	t.Helper()
	accounts := map[string]string{"own": ""}
	if account, ok := another(t); ok {
		accounts["another"] = account
	}
	for name, account := range accounts {
		t.Run(name, func(t *testing.T) { test(t, account) })
	}
}

// twoKeys is a host that asks for two keys, of which a grant gives one.
func twoKeys(t *testing.T, account string) (h host, g target.Grant, second string) {
	t.Helper()
	h = startFor(t, account, testenv.SSHDOptions{Config: []string{"AuthenticationMethods publickey,publickey"}})
	second, public := secondKey(t)
	write(t, h.file, public)
	g = grantOf(h.ClientPub, h.params)
	if err := open(t, h.file).Grant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	return h, g, second
}

// TestLoginUnderWay: sshd has accepted the key before its line goes, and lets the login in
// afterwards. The ending is not done before that has ended too.
func TestLoginUnderWay(t *testing.T) {
	forAccounts(t, func(t *testing.T, account string) {
		h, g, second := twoKeys(t, account)
		goOn, in := h.login(t, h.ClientKey, second)
		e, err := revoke(t, open(t, h.file), g)
		if target.ReasonOf(err) != target.Failed || !strings.Contains(err.Error(), "1 logins to account") || target.HintOf(err) == "" {
			t.Errorf("with a login under way: %+v, %v", e, err)
		}
		if got := read(t, h.file); strings.Contains(got, g.ID) {
			t.Errorf("the line is there: %q", got)
		}
		goOn()
		s := <-in
		if !s.Alive() {
			t.Fatalf("sshd did not let the login in, which this test is about:\n%s", h.Log())
		}
		e, err = revoke(t, open(t, h.file), g)
		if err != nil || e.SessionsEnded != 1 || len(e.Left) != 0 {
			t.Errorf("once more: %+v, %v", e, err)
		}
		if !ends(t, s) {
			t.Error("the session lives on")
		}
	})
}

// TestLetInMeanwhile: a login that comes to its end while jit looks has no session when the
// ending is done.
func TestLetInMeanwhile(t *testing.T) {
	forAccounts(t, func(t *testing.T, account string) {
		h, g, second := twoKeys(t, account)
		goOn, in := h.login(t, h.ClientKey, second)
		time.AfterFunc(200*time.Millisecond, goOn)
		e, err := revoke(t, open(t, h.file), g)
		if err != nil || e.SessionsEnded != 1 || len(e.Left) != 0 {
			t.Errorf("%+v, %v", e, err)
		}
		if !ends(t, <-in) {
			t.Error("the session lives on")
		}
	})
}

// TestSessionsWithoutListener: sshd was restarted, or is started for each connection.
func TestSessionsWithoutListener(t *testing.T) {
	forAccounts(t, func(t *testing.T, account string) {
		h := startFor(t, account, testenv.SSHDOptions{})
		otherKey, otherPub := secondKey(t)
		d := open(t, h.file)
		a, b := grantOf(h.ClientPub, h.params), grantOf(otherPub, h.params)
		for _, g := range []target.Grant{a, b} {
			if err := d.Grant(t.Context(), g); err != nil {
				t.Fatal(err)
			}
		}
		mine, others := h.session(t), h.with(otherKey).session(t)
		h.Kill(t)
		e, err := revoke(t, d, a, b)
		if err != nil || e.SessionsEnded != 1 || len(e.Left) != 0 {
			t.Errorf("%+v, %v", e, err)
		}
		if !ends(t, mine) || !others.Alive() {
			t.Errorf("of the two sessions live: the ended key's %v, the other's %v", mine.Alive(), others.Alive())
		}
		if e, err := revoke(t, d, b); err != nil || e.SessionsEnded != 1 || len(e.Left) != 0 || !ends(t, others) {
			t.Errorf("the other's: %+v, %v", e, err)
		}
	})
}

// TestSessionWithoutMonitor: who may have the sshd of root's above a session killed keeps
// the session, and not for longer than the access.
func TestSessionWithoutMonitor(t *testing.T) {
	account, ok := another(t)
	if !ok {
		return
	}
	h := startFor(t, account, testenv.SSHDOptions{})
	d, g := open(t, h.file), grantOf(h.ClientPub, h.params)
	if err := d.Grant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	s := h.session(t)
	killed := 0
	for _, pid := range h.Children(t) {
		killed++
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if killed != 1 || !s.Alive() {
		t.Fatalf("of %d monitors lives the session: %v", killed, s.Alive())
	}
	e, err := revoke(t, d, g)
	if err != nil || e.SessionsEnded != 1 || len(e.Left) != 0 {
		t.Errorf("%+v, %v", e, err)
	}
	if !ends(t, s) {
		t.Error("the session lives on")
	}
}

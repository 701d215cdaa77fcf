package testenv

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// sshdPatience bounds the waiting for a server to start or to stop. It is far
// above what either takes, so that a busy machine does not fail the test.
const sshdPatience = 20 * time.Second

// SSHDOptions says how [StartSSHD] configures the server. The zero value is a
// server that lets the current user in with [SSHD.ClientKey].
type SSHDOptions struct {
	// AuthorizedKeysFile is the absolute path that the server reads keys from.
	// "" means a file in the server's own folder that holds ClientKey.
	AuthorizedKeysFile string
	// ForceCommand is what every session runs in place of what it asked for.
	// "" runs what was asked for.
	ForceCommand string
	// TrustedUserCAKeys is a file of certificate authorities. "" means none.
	TrustedUserCAKeys string
	// HideAuthInfo keeps sessions from telling the key that opened them. Such a
	// session disturbs every test that ends this user's sessions, which is [Alone]
	// with "ssh-sessions"; this server is [Among] them.
	HideAuthInfo bool
	// Users can log in too. sshd then asks PAM for everybody: without, it refuses an
	// account without a password.
	Users []string
	// Config holds further lines for sshd_config.
	Config []string
}

// SSHD is a running OpenSSH server on the loopback interface.
type SSHD struct {
	Addr string // host:port
	Host string
	Port int
	Pid  int    // of the listener; each session has processes of its own below it
	User string // who runs the test, and can log in as nobody else can but SSHDOptions.Users

	Dir        string // the server's folder
	HostKey    string // the host's public key: "ssh-ed25519 AAAA…"
	KnownHosts string // a known_hosts file that holds HostKey for Addr
	ClientKey  string // a private key file without a passphrase
	ClientPub  string // its public key: "ssh-ed25519 AAAA… client"

	log *logBuffer
}

// Log gives what the server has written so far.
func (s *SSHD) Log() string { return s.log.String() }

// SSHArgs gives the arguments with which ssh reaches this server and nothing
// of the caller's own configuration is read; the destination comes last, and a
// command may be appended.
func (s *SSHD) SSHArgs(identity string) []string {
	return []string{
		"-F", "/dev/null", "-p", strconv.Itoa(s.Port), "-i", identity,
		"-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes",
		"-o", "UserKnownHostsFile=" + s.KnownHosts, "-o", "GlobalKnownHostsFile=/dev/null",
		"-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR",
		s.User + "@" + s.Host,
	}
}

// StartSSHD starts a real sshd with its own host key and configuration in a
// temporary folder, and stops it and its sessions when the test ends.
func StartSSHD(t testing.TB, o SSHDOptions) *SSHD {
	t.Helper()
	sshd := Need(t, "sshd", "openssh-server")
	keygen := Need(t, "ssh-keygen", "openssh-client")
	me, err := user.Current()
	if err != nil {
		t.Fatalf("who runs this test: %v", err)
	}
	if os.Geteuid() == 0 {
		// Compiled into Debian's sshd, which as root refuses to start without it.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatalf("sshd's empty folder: %v", err)
		}
	}
	if o.HideAuthInfo {
		Among(t, "ssh-sessions")
	}
	dir := t.TempDir()
	s := &SSHD{Host: "127.0.0.1", User: me.Username, Dir: dir, log: &logBuffer{}}
	hostKey := filepath.Join(dir, "host_ed25519")
	s.ClientKey = filepath.Join(dir, "client_ed25519")
	generateKey(t, keygen, hostKey, "host")
	generateKey(t, keygen, s.ClientKey, "client")
	s.HostKey = strings.Join(strings.Fields(readFile(t, hostKey+".pub"))[:2], " ")
	s.ClientPub = strings.TrimSpace(readFile(t, s.ClientKey+".pub"))
	if o.AuthorizedKeysFile == "" {
		o.AuthorizedKeysFile = filepath.Join(dir, "authorized_keys")
		writeFile(t, o.AuthorizedKeysFile, s.ClientPub+"\n")
	}

	config := []string{
		"ListenAddress " + s.Host,
		"HostKey " + hostKey,
		"AuthorizedKeysFile " + o.AuthorizedKeysFile,
		"PidFile none",
		// The temporary folder is below /tmp, which everybody may write to.
		"StrictModes no",
		"UsePAM " + map[bool]string{true: "no", false: "yes"}[len(o.Users) == 0],
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"PermitRootLogin prohibit-password",
		"AllowUsers " + strings.Join(append([]string{s.User}, o.Users...), " "),
		"PrintMotd no",
		"LogLevel VERBOSE",
		"MaxStartups 200:30:400",
		"MaxSessions 200",
		"UseDNS no",
	}
	if o.TrustedUserCAKeys != "" {
		config = append(config, "TrustedUserCAKeys "+o.TrustedUserCAKeys)
	}
	if o.ForceCommand != "" {
		config = append(config, "ForceCommand "+o.ForceCommand)
	}
	if !o.HideAuthInfo {
		config = append(config, "ExposeAuthInfo yes")
	}
	config = append(config, o.Config...)

	// sshd cannot choose a free port by itself, and one that was free may be
	// taken before it listens: then another is tried.
	for range 5 {
		s.Port = freePort(t)
		s.Addr = net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
		file := filepath.Join(dir, "sshd_config")
		writeFile(t, file, fmt.Sprintf("Port %d\n%s\n", s.Port, strings.Join(config, "\n")))
		if s.start(t, sshd, file) {
			s.KnownHosts = filepath.Join(dir, "known_hosts")
			writeFile(t, s.KnownHosts, fmt.Sprintf("[%s]:%d %s\n", s.Host, s.Port, s.HostKey))
			return s
		}
	}
	t.Fatalf("sshd did not start:\n%s", s.Log())
	return nil
}

// start runs the server and waits for its greeting. It gives false when the
// server ended first.
func (s *SSHD) start(t testing.TB, sshd, config string) bool {
	t.Helper()
	// sshd runs itself again for every connection: it wants an absolute path.
	cmd := exec.Command(sshd, "-D", "-e", "-f", config)
	cmd.Stderr = s.log
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting sshd: %v", err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	for deadline := time.Now().Add(sshdPatience); time.Now().Before(deadline); {
		select {
		case <-ended:
			return false
		default:
		}
		if greets(s.Addr) {
			s.Pid = cmd.Process.Pid
			t.Cleanup(func() { stopTree(s.Pid, ended) })
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	stopTree(cmd.Process.Pid, ended)
	return false
}

// Kill ends the listener alone. Its sessions live on, until the test ends.
func (s *SSHD) Kill(t testing.TB) {
	t.Helper()
	for _, pid := range s.Children(t) {
		t.Cleanup(func() { stopBelow(pid) })
	}
	if err := syscall.Kill(s.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	// Who waits for it here does so at the end; its children have another parent by now.
	for deadline := time.Now().Add(sshdPatience); len(s.Children(t)) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the listener does not end")
		}
	}
}

// Children lists the processes that the listener has for each connection.
func (s *SSHD) Children(t testing.TB) []int {
	t.Helper()
	return children()[s.Pid]
}

// stopBelow ends a process after those that descend from it.
func stopBelow(pid int) {
	for _, child := range append(descendants(pid), pid) {
		_ = syscall.Kill(child, syscall.SIGTERM)
	}
}

// stopTree ends the process pid and, first, all that descend from it: sshd's
// sessions outlive the listener otherwise.
func stopTree(pid int, ended <-chan struct{}) {
	for _, child := range descendants(pid) {
		_ = syscall.Kill(child, syscall.SIGTERM)
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(sshdPatience):
		_ = syscall.Kill(pid, syscall.SIGKILL)
		<-ended
	}
}

// descendants lists the processes below pid, from /proc; where there is no
// /proc the list is empty.
func descendants(pid int) []int {
	children := children()
	var below []int
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		below = append(below, children[queue[0]]...)
		queue = append(queue, children[queue[0]]...)
	}
	return below
}

// children lists processes by their parent.
func children() map[int][]int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		// proc(5): "pid (comm) state ppid …"; comm may hold spaces and brackets.
		end := bytes.LastIndexByte(data, ')')
		if end < 0 {
			continue
		}
		fields := strings.Fields(string(data[end+1:]))
		if len(fields) < 2 {
			continue
		}
		child, err1 := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parent, err2 := strconv.Atoi(fields[1])
		if err1 == nil && err2 == nil {
			children[parent] = append(children[parent], child)
		}
	}
	return children
}

// greets reports whether an SSH server answers at addr.
func greets(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return false
	}
	greeting := make([]byte, 4)
	_, err = conn.Read(greeting)
	return err == nil && string(greeting) == "SSH-"
}

// freePort gives a TCP port of the loopback interface that is free just now.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("looking for a free port: %v", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func generateKey(t testing.TB, keygen, path, comment string) {
	t.Helper()
	out, err := exec.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path).CombinedOutput()
	if err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// logBuffer collects what a server writes while the test reads it.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

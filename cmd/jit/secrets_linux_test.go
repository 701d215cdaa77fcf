package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/jitaccess/jit/internal/testenv"
)

// secrets are texts and bytes that must stay where they are, by what they are.
type secrets map[string][]byte

// in names what of it stands in data, as it is or as strace writes what is not ASCII.
func (s secrets) in(data []byte) (found []string) {
	for name, secret := range s {
		var hex strings.Builder
		for _, b := range secret {
			fmt.Fprintf(&hex, `\x%02x`, b)
		}
		if bytes.Contains(data, secret) || bytes.Contains(data, []byte(hex.String())) {
			found = append(found, name)
		}
	}
	return found
}

// addKey adds what is secret of a key file: its armour, line by line, and the bytes of the
// key itself.
func (s secrets) addKey(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range regexp.MustCompile(`(?m)^[A-Za-z0-9+/]{40,}$`).FindAll(data, -1) {
		s[fmt.Sprintf("line %d of the key file", i+1)] = line
	}
	block, err := armor.Decode(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	first, err := packet.NewOpaqueReader(block.Body).Next()
	if err != nil {
		t.Fatal(err)
	}
	// A version 4 key without a passphrase ends with its secret and two bytes of a
	// checksum (RFC 9580, 5.5.3).
	const checksum, part = 2, 24
	end := len(first.Contents) - checksum
	s["the secret key"] = first.Contents[end-part : end]
	if len(s) < 3 {
		t.Fatalf("only %d secrets are known of %s: the search is broken", len(s), path)
	}
}

// TestSecretsOfAReconciler looks with strace at all that a reconciler and what it starts
// are given, read, write and send, while it opens, fails and ends on a real server under a
// password: neither that nor the key leaves the files that hold them.
func TestSecretsOfAReconciler(t *testing.T) {
	strace := testenv.Need(t, "strace", "strace")
	pg := testenv.StartPostgres(t)
	dir := t.TempDir()
	s := unitCompany(t, dir, pg)
	const password, wrong = "Zaunkoenig77hush", "Rotkehlchen88hush"
	pg.Exec(`SET password_encryption = 'scram-sha-256'; CREATE ROLE one; CREATE ROLE bob LOGIN;
		CREATE ROLE jit LOGIN CREATEROLE PASSWORD '` + password + `'; GRANT pg_signal_backend TO jit; GRANT one TO jit WITH ADMIN OPTION`)
	hba := "local all jit scram-sha-256\nlocal all all trust\n"
	if err := os.WriteFile(filepath.Join(pg.SocketDir, "data", "pg_hba.conf"), []byte(hba), 0o600); err != nil {
		t.Fatal(err)
	}
	pg.Exec(`SELECT pg_reload_conf()`)

	passwordFile := s.write("password", password+"\n")
	config, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	metrics := filepath.Join(dir, "jit.prom")
	s.write("reconcile.yaml", strings.Replace(string(config), "user: jit}", "user: jit, password-file: "+passwordFile+"}", 1)+"metrics: "+metrics+"\n")
	temp := filepath.Join(dir, "temp")
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "TMPDIR="+temp, "PGPASSWORD="+wrong)
	key := regexp.MustCompile(`key: (\S+)`).FindSubmatch(config)
	hidden := secrets{"the password": []byte(password), "a password of the environment": []byte(wrong)}
	hidden.addKey(t, string(key[1]))

	var told bytes.Buffer
	reconcile := func(log string, code int, want string) {
		t.Helper()
		trace := filepath.Join(t.TempDir(), "trace")
		out, said, got := s.run("", strace, "-f", "-y", "-v", "-x", "-s", "65535", "--quiet=attach,exit,personality", "--seccomp-bpf", "-o", trace,
			"-e", "signal=none", "-e", "trace=execve,read,pread64,recvfrom,write,writev,pwrite64,sendto,sendmsg,openat,rename,renameat,link,symlink",
			s.bin, "reconcile", "--config", s.config, "--log", log)
		if got != code || !strings.Contains(out, want) {
			t.Fatalf("exit %d, want %d and %q:\n%s%s", got, code, want, out, said)
		}
		told.WriteString(out + said)
		data, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		checkTrace(t, data, hidden, string(key[1]), passwordFile)
	}
	id := s.ask("one")
	s.jit("alice", "approve", id, "--yes")
	reconcile("json", 0, "opened db:one for bob")
	// The server takes another password now: the ending fails, and says so everywhere.
	pg.Exec(`ALTER ROLE jit PASSWORD 'another'`)
	s.jit("bob", "cancel", id)
	reconcile("text", 6, "failed to end db:one for bob")
	pg.Exec(`ALTER ROLE jit PASSWORD '` + password + `'`)
	reconcile("json", 0, "ended db:one for bob: cancelled")

	// Nor do they stand in anything that was said or is left.
	s.run("", testenv.Need(t, "git", "git"), "clone", "-q", s.store, filepath.Join(dir, "seen"))
	for name, text := range map[string][]byte{"what was printed and logged": told.Bytes(), "the server's log": []byte(pg.Log())} {
		if found := hidden.in(text); len(found) > 0 {
			t.Errorf("%s: %q", name, found)
		}
	}
	looked := 0
	for _, place := range []string{"state", "temp", "seen", "access.git", "jit.prom"} {
		err := filepath.WalkDir(filepath.Join(dir, place), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			looked++
			data, err := os.ReadFile(path)
			if found := hidden.in(data); len(found) > 0 {
				t.Errorf("%s: %q", path, found)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if looked < 20 {
		t.Errorf("only %d files were looked at", looked)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left in the folder of temporary files: %v, %v", left, err)
	}
}

// tracedCall is the beginning of a line of strace: who, which call, and of which file.
var tracedCall = regexp.MustCompile(`^\d+ +(\w+)\((?:\d+<([^>]*)>)?`)

// checkTrace wants each secret to be read from its file, and in no other call. The first
// call is the start of the reconciler itself, with the environment of the test.
func checkTrace(t *testing.T, trace []byte, hidden secrets, files ...string) {
	t.Helper()
	read, calls := map[string]bool{}, map[string]int{}
	_, trace, _ = bytes.Cut(trace, []byte("\n"))
	for line := range bytes.Lines(trace) {
		m := tracedCall.FindSubmatch(line)
		if m == nil {
			if found := hidden.in(line); len(found) > 0 {
				t.Errorf("%q in a part of a call: %.300s", found, line)
			}
			continue
		}
		calls[string(m[1])]++
		for _, name := range hidden.in(line) {
			from := string(m[2])
			if call := string(m[1]); call != "read" && call != "pread64" || from != files[0] && from != files[1] {
				t.Errorf("%s in %s of %q: %.300s", name, call, from, line)
			}
			read[name] = true
		}
	}
	for name := range hidden {
		// The armour is read as it is; the key itself is never read, nor what the environment had.
		if want := name == "the password" || strings.HasPrefix(name, "line "); read[name] != want {
			t.Errorf("%s was read: %v, want %v", name, read[name], want)
		}
	}
	// It has seen the run whole: programs that begin, the store written, the server spoken to.
	if calls["execve"] < 1 || calls["openat"] < 10 || calls["write"] < 10 || calls["read"] < 10 {
		t.Errorf("strace saw only %v", calls)
	}
}

package authorizedkeys

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/jitaccess/jit/pkg/target"
)

func sshLine(f *testing.F, seed byte) string {
	f.Helper()
	private := ed25519.NewKeyFromSeed(slices.Repeat([]byte{seed}, ed25519.SeedSize))
	key, err := ssh.NewPublicKey(private.Public())
	if err != nil {
		f.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

// FuzzKeys reads a person's account: every key that is taken is one line's two words,
// without options, that reads back to itself.
func FuzzKeys(f *testing.F) {
	a := sshLine(f, 1)
	for _, s := range []string{a, a + " me@box\n" + sshLine(f, 2), "command=\"x\" " + a, "ssh-rsa " + a, a + "\r\n", strings.Repeat(a+"\n", 20), "", "# " + a} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := parseKeys(text)
		if err != nil {
			return
		}
		if len(keys) == 0 || len(keys) > maxKeys {
			t.Errorf("%d keys", len(keys))
		}
		for _, k := range keys {
			if strings.ContainsAny(k, "\r\n\x00\t") || len(strings.Split(k, " ")) != 2 {
				t.Errorf("%q", k)
			}
		}
		if again, err := parseKeys(strings.Join(keys, "\n")); err != nil || !slices.Equal(again, keys) {
			t.Errorf("%q came back as %q: %v", keys, again, err)
		}
	})
}

// FuzzOptions puts a role's options before a key, as the driver does, and has another
// reader of such lines take them apart: one line, that key, our end, nothing more.
func FuzzOptions(f *testing.F) {
	key := sshLine(f, 1)
	for _, s := range []string{
		"restrict,pty", `from="10.0.0.0/8",command="a \"b\" c"`, `command="x`, `expiry-time="2999"`, "cert-authority", "restrict\nssh-rsa x", `command="a",,pty`,
		`command="\\"`, `environment="A=b",environment="C=d"`, "RESTRICT", " ", `from=""`, `command="a\"`,
	} {
		f.Add(s)
	}
	ends := time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, options string) {
		if checkOptions(options) != "" {
			return
		}
		g := target.Grant{ID: "01JDZZZZZZZZZZZZZZZZZZZZZA-0", Person: "ann", Ends: ends}
		lines := wanted(g, params{account: "x", options: options}, []string{key})
		if len(lines) != 1 || strings.Count(lines[0], "\n") != 1 || idOf(lines[0]) != g.ID || !holds(lines[0], key) {
			t.Fatalf("%q", lines)
		}
		got, comment, read, rest, err := ssh.ParseAuthorizedKey([]byte(lines[0]))
		if err != nil || len(rest) != 0 || comment != "jit:"+g.ID+":ann" || strings.TrimSpace(string(ssh.MarshalAuthorizedKey(got))) != key {
			t.Fatalf("%q is read as %q %q: %v", lines[0], read, comment, err)
		}
		if n := len(read); n == 0 || read[n-1] != `expiry-time="20261124100000Z"` {
			t.Errorf("%q: the options are %q", lines[0], read)
		}
		if expiries := strings.Count(strings.ToLower(strings.Join(read, "\n")), "\nexpiry-time="); len(read) > 1 && expiries != 1 {
			t.Errorf("%q has %d ends", lines[0], expiries)
		}
	})
}

// FuzzLines changes a managed file, whatever stands in it: every line that is not the
// grant's keeps its bytes and its order, and doing it twice is doing it once.
func FuzzLines(f *testing.F) {
	key := sshLine(f, 1)
	const id = "01JDZZZZZZZZZZZZZZZZZZZZZA-0"
	g := target.Grant{ID: id, Person: "ann", Ends: time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC)}
	mine := wanted(g, params{account: "x", options: "restrict"}, []string{key})
	bare, _, _ := strings.Cut(mine[0], " jit:")
	for _, s := range []string{"", key + " other\n", mine[0], mine[0] + "# end", struckMark + mine[0] + mine[0], bare, bare + " mine\n" + mine[0], "\r\n\n" + mine[0] + key, strings.ReplaceAll(mine[0], "A-0", "B-0"), "x jit:" + id + ":"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := split(data)
		if strings.Join(lines, "") != string(data) {
			t.Fatalf("%q", lines)
		}
		keys := []string{key}
		others := without(lines, g, keys)
		bare := len(slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return !unmarked(l, g, keys) }))
		if len(others)+len(of(lines, id))+bare != len(lines) || len(of(others, id)) != 0 {
			t.Errorf("%q without the grant's: %q", lines, others)
		}
		if gone, only := takenOut(lines, others); !only || len(gone) != len(lines)-len(others) {
			t.Errorf("of %q, %q are taken out: %v", lines, gone, only)
		}
		added := with(lines, g, keys, mine)
		if _, only := takenOut(others, added); only {
			t.Errorf("from %q to %q nothing is added", others, added)
		}
		if again := with(split([]byte(strings.Join(added, ""))), g, keys, mine); !slices.Equal(again, added) {
			t.Errorf("%q, then %q", added, again)
		}
		if back := without(split([]byte(strings.Join(added, ""))), g, keys); !slices.Equal(back, others) {
			t.Errorf("other lines changed: %q, then %q", others, back)
		}
		for _, l := range unstruck(lines) {
			if !slices.Contains(lines, l) || strings.HasPrefix(l, "#jit:") && strings.HasPrefix(l, struckMark) {
				t.Errorf("%q is struck out in %q", l, lines)
			}
		}
		for _, l := range lines {
			if at := expiryOf(l); !at.IsZero() && !strings.Contains(l, at.Format(expiryForm)) {
				t.Errorf("%q ends at %v", l, at)
			}
		}
	})
}

// FuzzProcess reads what the system says of a process, whose name, environment and
// file of keys are the person's own.
func FuzzProcess(f *testing.F) {
	f.Add([]byte("7 (sshd) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345 1 1"), []byte("Name:\tsshd\nState:\tS (sleeping)\nPPid:\t1\nUid:\t1000\t1000\t1000\t1000\n"), []byte("publickey ssh-ed25519 AAAA\n"))
	f.Add([]byte("7 (a) b) (c) Z 1"), []byte("\nPPid:\nUid:\n"), []byte("publickey\n\x00"))
	f.Add([]byte(")("), []byte(""), []byte("password\npublickey a b c d\n"))
	dir := f.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "7"), 0o700); err != nil {
		f.Fatal(err)
	}
	const auth = "sshauth.AbCdEfGhI012345"
	tmp := folderOf(f, dir)
	f.Fuzz(func(t *testing.T, stat, status, keys []byte) {
		for name, data := range map[string][]byte{"7/stat": stat, "7/status": status, "7/environ": []byte("A=b\x00SSH_USER_AUTH=/tmp/" + auth + "\x00"), auth: keys} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if p, ok := (process{pid: 7, start: "?"}).again(dir, 7); ok && (p.pid != 7 || p.uid < 0 || p.parent < 0 || !strings.Contains(string(stat), p.start)) {
			t.Errorf("%+v", p)
		}
		name := authName(readSome(filepath.Join(dir, "7", "environ")))
		if name != auth {
			t.Errorf("the environment names %q", name)
		}
		for _, k := range keysOf(tmp, name, os.Geteuid()) {
			if len(strings.Fields(k)) != 2 || !strings.Contains(string(keys), "publickey") {
				t.Errorf("%q", k)
			}
		}
	})
}

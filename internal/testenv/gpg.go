package testenv

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// GPG is a gpg with a home folder of its own and an agent that ends with the
// test.
type GPG struct {
	// Home is the folder for GNUPGHOME.
	Home string

	t       testing.TB
	program string
	preset  string
}

// GPGHome makes a home folder for gpg. Its path is short, for the agent's
// socket lies in it and such a path has about a hundred bytes at most.
func GPGHome(t testing.TB) *GPG {
	t.Helper()
	g := &GPG{t: t, program: Need(t, "gpg", "gnupg")}
	conf := Need(t, "gpgconf", "gnupg")
	Need(t, "gpg-agent", "gpg-agent")
	libexec, err := exec.Command(conf, "--list-dirs", "libexecdir").Output()
	if err != nil {
		t.Fatalf("gpgconf --list-dirs: %v", err)
	}
	g.preset = filepath.Join(strings.TrimSpace(string(libexec)), "gpg-preset-passphrase")
	if _, err := os.Stat(g.preset); err != nil {
		t.Fatalf("this test needs %q: install it with `apt-get install gpg-agent`", g.preset)
	}
	home, err := os.MkdirTemp("", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	g.Home = home
	t.Cleanup(func() {
		cmd := exec.Command(conf, "--homedir", home, "--kill", "all")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("gpgconf --kill all: %v\n%s", err, out)
		}
		if err := os.RemoveAll(home); err != nil {
			t.Errorf("remove gpg's home: %v", err)
		}
	})
	// No pinentry: a test that would wait for a person fails at once.
	for name, text := range map[string]string{
		"gpg-agent.conf": "allow-preset-passphrase\npinentry-program /bin/false\nmax-cache-ttl 86400\ndefault-cache-ttl 86400\n",
		"gpg.conf":       "trust-model always\n",
	} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// Run runs gpg with args and stdin and gives its standard output. It fails the
// test when gpg fails.
func (g *GPG) Run(stdin []byte, args ...string) []byte {
	g.t.Helper()
	out, messages, err := g.Try(stdin, args...)
	if err != nil {
		g.t.Fatalf("gpg %s: %v\n%s", strings.Join(args, " "), err, messages)
	}
	return out
}

// Try runs gpg with args and stdin and gives what it wrote and how it ended.
func (g *GPG) Try(stdin []byte, args ...string) (stdout []byte, stderr string, err error) {
	var out, messages bytes.Buffer
	cmd := exec.Command(g.program, append([]string{"--homedir", g.Home, "--no-tty"}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &messages
	err = cmd.Run()
	return out.Bytes(), messages.String(), err
}

// MakeKey makes a key that signs for "name <email>" and gives its full
// fingerprint. algo is gpg's name for it: "ed25519", "rsa3072", "nistp256". The
// key is locked with passphrase, unless that is empty, and the agent is told
// it, so that nobody is asked.
func (g *GPG) MakeKey(name, email, algo, passphrase string) string {
	g.t.Helper()
	g.Run(nil, "--batch", "--pinentry-mode", "loopback", "--passphrase", passphrase,
		"--quick-generate-key", name+" <"+email+">", algo, "sign", "never")
	fpr := g.fingerprints(email)[0]
	g.Preset(fpr, passphrase)
	return fpr
}

// AddSubkey gives the key fpr a subkey for usage ("sign") and gives the
// subkey's full fingerprint.
func (g *GPG) AddSubkey(fpr, algo, usage, passphrase string) string {
	g.t.Helper()
	g.Run(nil, "--batch", "--pinentry-mode", "loopback", "--passphrase", passphrase, "--quick-add-key", fpr, algo, usage, "never")
	all := g.fingerprints(fpr)
	g.Preset(fpr, passphrase)
	return all[len(all)-1]
}

// Preset tells the agent the passphrase of the key fpr and of its subkeys.
func (g *GPG) Preset(fpr, passphrase string) {
	g.t.Helper()
	if passphrase == "" {
		return
	}
	list := g.Run(nil, "--batch", "--with-colons", "--with-keygrip", "--list-secret-keys", fpr)
	for line := range strings.Lines(string(list)) {
		f := strings.Split(line, ":")
		if f[0] != "grp" {
			continue
		}
		cmd := exec.Command(g.preset, "--preset", "--passphrase", passphrase, f[9])
		cmd.Env = append(os.Environ(), "GNUPGHOME="+g.Home)
		if out, err := cmd.CombinedOutput(); err != nil {
			g.t.Fatalf("gpg-preset-passphrase: %v\n%s", err, out)
		}
	}
}

// Forget makes the agent forget all passphrases.
func (g *GPG) Forget() {
	g.t.Helper()
	cmd := exec.Command("gpgconf", "--homedir", g.Home, "--reload", "gpg-agent")
	if out, err := cmd.CombinedOutput(); err != nil {
		g.t.Fatalf("gpgconf --reload: %v\n%s", err, out)
	}
}

// Export gives the armoured certificate of the key fpr.
func (g *GPG) Export(fpr string) []byte {
	g.t.Helper()
	return g.Run(nil, "--batch", "--armor", "--no-comments", "--no-emit-version", "--export", fpr)
}

// fingerprints gives those of a key and its subkeys, in gpg's order.
func (g *GPG) fingerprints(key string) []string {
	g.t.Helper()
	var all []string
	for line := range strings.Lines(string(g.Run(nil, "--batch", "--with-colons", "--list-secret-keys", key))) {
		if f := strings.Split(line, ":"); f[0] == "fpr" {
			all = append(all, f[9])
		}
	}
	if len(all) == 0 {
		g.t.Fatalf("gpg has no key %q", key)
	}
	return all
}

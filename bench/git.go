package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// git runs the git program by a configuration and with a key of its own.
type git struct {
	env []string
	key string // by which gpg finds it
}

// newGit makes the configuration and the key in dir.
func newGit(dir, name string) (*git, error) {
	g := &git{key: name + "@example.com"}
	home := filepath.Join(dir, "gnupg")
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "gitconfig")
	g.env = append(os.Environ(), "GNUPGHOME="+home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+config, "JIT_HOME=")
	text := "[user]\n\tname = " + name + "\n\temail = " + g.key + "\n\tsigningKey = " + g.key + "\n[gc]\n\tauto = 0\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return g, g.run(dir, "gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", name+" <"+g.key+">", "ed25519", "sign", "never")
}

// stopAgent ends the agent that gpg started for the key.
func (g *git) stopAgent() { _ = g.run("/", "gpgconf", "--kill", "gpg-agent") }

func (g *git) run(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, g.env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w\n%s", name, args, err, out)
	}
	return nil
}

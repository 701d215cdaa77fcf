package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
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

// reading gives the processor time that the git program takes to find what each
// commit adds and to read it.
func (g *git) reading(dir string) (time.Duration, error) {
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Env = dir, g.env
		return cmd
	}
	log := command("log", "--first-parent", "--raw", "-r", "--no-abbrev", "--no-renames", "--format=")
	list, err := log.Output()
	if err != nil {
		return 0, fmt.Errorf("git log --raw: %w", err)
	}
	var blobs bytes.Buffer
	for line := range bytes.Lines(list) {
		if fields := bytes.Fields(line); len(fields) > 3 { // :modes, names before and after, letter and path
			blobs.Write(append(fields[3], '\n'))
		}
	}
	cat := command("cat-file", "--batch")
	cat.Stdin = &blobs
	if err := cat.Run(); err != nil {
		return 0, fmt.Errorf("git cat-file --batch: %w", err)
	}
	var took time.Duration
	for _, cmd := range []*exec.Cmd{log, cat} {
		took += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	return took, nil
}

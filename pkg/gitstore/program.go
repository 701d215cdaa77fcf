package gitstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// killDelay is how long a program that was told to end may take, and how long its pipes
// are still read.
const killDelay = 2 * time.Second

// environment is what programs are run with.
func (s *Store) environment() []string {
	env := s.o.Env
	if env == nil && !s.o.Isolated {
		env = os.Environ()
	}
	isolated := s.o.Isolated
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		if isolated {
			return name == "PATH" || strings.HasPrefix(name, "GIT_") || strings.HasPrefix(name, "LD_") || strings.HasPrefix(name, "SSH_ASKPASS")
		}
		return slices.Contains(repositoryVariables, name)
	})
	// The words of errors are read: they must be the ones in the source.
	env = append(env, "LC_ALL=C", "GIT_NO_REPLACE_OBJECTS=1", "GIT_OPTIONAL_LOCKS=0", "GIT_PROTOCOL=")
	if isolated {
		env = append(env, "PATH="+SafePath, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=true")
	}
	if command := s.sshCommand(); command != "" {
		env = append(env, "GIT_SSH_COMMAND="+command, "GIT_SSH_VARIANT=ssh")
	}
	return env
}

// repositoryVariables would point git at another repository than the one it is
// asked to use: `git rev-parse --local-env-vars`, and what replaces its parts.
var repositoryVariables = []string{
	"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE",
	"GIT_INDEX_FILE", "GIT_INTERNAL_SUPER_PREFIX", "GIT_NAMESPACE", "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY",
	"GIT_PREFIX", "GIT_QUARANTINE_PATH", "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE", "GIT_PROTOCOL", "LC_ALL",
	"GIT_CONFIG", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT",
}

// sshCommand is the ssh that the git program calls; "" leaves it to git.
func (s *Store) sshCommand() string {
	o := s.o.SSH
	if !s.o.Isolated && o.IdentityFile == "" && len(o.KnownHosts) == 0 {
		return ""
	}
	args := []string{"ssh"}
	if s.o.Isolated {
		args = append(args, "-F", "/dev/null", "-o", "BatchMode=yes")
	}
	if len(o.KnownHosts) > 0 {
		// ssh splits the value at spaces unless each file is quoted.
		quoted := make([]string, len(o.KnownHosts))
		for i, file := range o.KnownHosts {
			quoted[i] = `"` + file + `"`
		}
		args = append(args, "-o", "UserKnownHostsFile="+strings.Join(quoted, " "), "-o", "GlobalKnownHostsFile=/dev/null")
	}
	if s.o.Isolated || len(o.KnownHosts) > 0 {
		args = append(args, "-o", "StrictHostKeyChecking=yes")
	}
	if o.IdentityFile != "" {
		args = append(args, "-i", o.IdentityFile, "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none")
	}
	for i, a := range args {
		args[i] = shellQuote(a)
	}
	return strings.Join(args, " ")
}

// shellQuote quotes one word for a POSIX shell.
func shellQuote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }

// command prepares a run of the git program in the mirror's folder.
func (s *Store) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.git, args...)
	cmd.Dir = s.o.Dir
	if s.o.InMemory {
		cmd.Dir = "/" // the other need not be there
	}
	cmd.Env = s.environment()
	cmd.WaitDelay = killDelay
	// A git that is killed leaves its lock files behind, in the remote's folder too, and
	// no git pushes there any more. Told to end it takes them away.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd
}

// program is a conversation with one of git's server programs on this machine.
type program struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   io.ReadCloser
	talk  said
	asked bool
	once  sync.Once
}

// dialPath runs the server's side for a folder: git's own program, so that the
// repository's hooks and its configuration hold as they do for everyone.
func (s *Store) dialPath(ctx context.Context, service string) (conversation, error) {
	if s.git == "" {
		return nil, errors.New("a store in a folder needs the git program: install git")
	}
	if _, err := os.Stat(s.url.path); err != nil {
		return nil, err
	}
	p := &program{cmd: s.command(ctx, strings.TrimPrefix(service, "git-"), s.url.path)}
	p.cmd.Stderr = &p.talk
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if p.out, err = p.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("running %q: %w", service, err)
	}
	return p, nil
}

func (p *program) advertised() io.Reader { return p.out }

func (p *program) said() string { return p.talk.String() }

func (p *program) request(body func(io.Writer) error) (io.Reader, error) {
	p.asked = true
	if err := body(p.in); err != nil {
		// Without an end of its input the program would wait for more, and close
		// for the program.
		_ = p.in.Close()
		return nil, err
	}
	return p.out, p.in.Close()
}

func (p *program) close() {
	p.once.Do(func() {
		if !p.asked {
			_, _ = io.WriteString(p.in, "0000")
			_ = p.in.Close()
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(p.out, maxReport))
		// One that has more to say than anybody listens to must not wait for it.
		_ = p.out.Close()
		_ = p.cmd.Wait()
	})
}

// peekPath reads the branch's head from the files of a repository in a folder.
// ok is false where that cannot be told without git: no folder, another ref
// format, a symbolic ref.
func (s *Store) peekPath() (head Hash, ok bool) {
	if s.url.scheme != schemePath {
		return "", false
	}
	for _, dir := range []string{filepath.Join(s.url.path, ".git"), s.url.path} {
		if _, err := os.Stat(filepath.Join(dir, "objects")); err != nil {
			continue
		}
		data, err := readRegular(filepath.Join(dir, filepath.FromSlash(s.ref)))
		if err == nil && len(data) >= 40 && isHash(string(data[:40])) {
			return Hash(data[:40]), true
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", false
		}
		packed, err := readRegular(filepath.Join(dir, "packed-refs"))
		if err != nil {
			return "", false
		}
		for line := range strings.Lines(string(packed)) {
			h, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			if name == s.ref && isHash(h) {
				return Hash(h), true
			}
		}
		return "", false
	}
	return "", false
}

// maxRefs bounds what is read of a folder's refs, in bytes: some hundred thousand of
// them. Where there are more, git is asked.
const maxRefs = 32 << 20

// readRegular reads a file of a repository that belongs to somebody else: a pipe in
// its place would keep its reader waiting for ever.
func readRegular(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxRefs {
		return nil, fmt.Errorf("%q is no file of refs", path)
	}
	return io.ReadAll(io.LimitReader(f, maxRefs))
}

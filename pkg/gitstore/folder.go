package gitstore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/jitaccess/jit/internal/owned"
)

// guardedRemote is a remote in a folder of this machine, asked by a store that is isolated.
// The hooks there, and the programs that its configuration names, run as whoever pushes:
// where others could have put one there, nothing is run.
type guardedRemote struct {
	remote
	s *Store
}

func (g guardedRemote) fetch(ctx context.Context, whole []Hash) (Hash, error) {
	if err := g.s.checkFolder("fetch"); err != nil {
		return "", err
	}
	return g.remote.fetch(ctx, whole)
}

func (g guardedRemote) openPush(ctx context.Context) (pushSession, error) {
	if err := g.s.checkFolder("push"); err != nil {
		return nil, err
	}
	return g.remote.openPush(ctx)
}

// checkFolder is ErrNotOurs where others may change what git runs in the remote's folder, and
// what says so: it, a folder that leads to it, its configuration, its hooks. git itself
// refuses a repository of another owner, and no other.
func (s *Store) checkFolder(op string) error {
	kind := []error{ErrUnreachable}
	err := checkRepository(s.url.path)
	if _, others := errors.AsType[*owned.Error](err); others {
		kind = append(kind, ErrNotOurs)
	}
	if err != nil {
		return &RemoteError{Op: op, URL: s.url.identity(), Kind: kind, Err: err}
	}
	return nil
}

// errNoRepository means that a folder holds no repository. git would look for one with
// another name.
var errNoRepository = errors.New("there is no repository in it")

// checkRepository looks at the repository in a folder, or in the .git in it.
func checkRepository(path string) error {
	path, err := owned.Folder(path)
	if err != nil {
		return err
	}
	switch inner, err := owned.Folder(filepath.Join(path, ".git")); {
	case err == nil:
		path = inner
	case !errors.Is(err, fs.ErrNotExist):
		return err // with a file it would lead to another one
	}
	if _, err := os.Stat(filepath.Join(path, "objects")); err != nil {
		return errors.Join(errNoRepository, err)
	}
	if at := filepath.Join(path, "commondir"); exists(at) {
		return &owned.Error{Path: at, Reason: owned.Kind, Detail: "leads to another repository", Hint: "name that one"}
	}
	for _, name := range []string{"config", "config.worktree", "objects", "hooks"} {
		if _, err := owned.Closed(filepath.Join(path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, name := range []string{"config", "config.worktree"} {
		if err := staysInside(filepath.Join(path, name)); err != nil {
			return err
		}
	}
	hooks, err := os.ReadDir(filepath.Join(path, "hooks"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range hooks {
		if _, err := owned.Closed(filepath.Join(path, "hooks", e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// elsewhere are the words by which a repository's configuration names files or programs
// outside of it, which may be anybody's.
var elsewhere = []string{"hookspath", "[include", "alternaterefscommand", "fsmonitor"}

// staysInside refuses a configuration that has git read, or run, what lies elsewhere.
func staysInside(config string) error {
	data, err := os.ReadFile(config)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	text := strings.ToLower(string(data))
	for _, word := range elsewhere {
		if strings.Contains(text, word) {
			return &owned.Error{Path: config, Reason: owned.Kind, Detail: "names files or programs elsewhere (" + strings.TrimPrefix(word, "[") + ")", Hint: "put the hooks into the repository"}
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

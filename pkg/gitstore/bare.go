package gitstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/jitaccess/jit/pkg/gitstore/internal/odb"
)

// ErrBadBare means that a folder is no bare repository that can be read in place, or
// that the environment names objects that are not its own.
var ErrBadBare = errors.New("not a bare repository that can be read in place")

// Bare is a repository on the host itself, read in place: as a hook sees it, with
// what a push has brought and git has not taken yet. It only reads.
type Bare struct {
	dir string
	s   *Store // of which only what reads objects is used
}

// OpenBare opens the bare repository in dir for a hook that git has started with
// the environment env. Of that only the objects in quarantine are taken
// (git-receive-pack(1), QUARANTINE ENVIRONMENT), and only where they lie in this
// very repository: nothing may lend it objects. Else the error is ErrBadBare.
func OpenBare(dir string, env func(string) string) (*Bare, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadBare, err)
	}
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return nil, fmt.Errorf("%w: %q has no %s", ErrBadBare, dir, name)
		}
	}
	for _, name := range historyChangers {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return nil, fmt.Errorf("%w: %q has a file %q, which would change what its history is", ErrBadBare, dir, name)
		}
	}
	objects := filepath.Join(dir, "objects")
	dirs, err := quarantine(objects, env)
	if err != nil {
		return nil, err
	}
	return &Bare{dir: dir, s: &Store{db: odb.Open(append(dirs, objects)...)}}, nil
}

// historyChangers are files of a repository that lend it objects or change what a
// commit's parents are.
var historyChangers = []string{"objects/info/alternates", "objects/info/http-alternates", "shallow", "info/grafts"}

// quarantine gives the folder of the objects that a push has brought, as the
// environment names it; none where git has taken them already.
func quarantine(objects string, env func(string) string) ([]string, error) {
	incoming := env("GIT_OBJECT_DIRECTORY")
	if q := env("GIT_QUARANTINE_PATH"); incoming == "" || q != "" && !sameFolder(q, incoming) {
		if q != "" {
			return nil, fmt.Errorf("%w: GIT_QUARANTINE_PATH is %q, and GIT_OBJECT_DIRECTORY %q", ErrBadBare, q, incoming)
		}
		if lent := env("GIT_ALTERNATE_OBJECT_DIRECTORIES"); lent != "" {
			return nil, fmt.Errorf("%w: GIT_ALTERNATE_OBJECT_DIRECTORIES is %q without a quarantine", ErrBadBare, lent)
		}
		return nil, nil
	}
	// git writes one folder there, its own objects; quoted only where it must be.
	if lent := env("GIT_ALTERNATE_OBJECT_DIRECTORIES"); lent != "" && !sameFolder(unquoted(lent), objects) {
		return nil, fmt.Errorf("%w: GIT_ALTERNATE_OBJECT_DIRECTORIES is %q, and not this repository's objects", ErrBadBare, lent)
	}
	if sameFolder(incoming, objects) {
		return nil, nil
	}
	if !sameFolder(filepath.Dir(incoming), objects) {
		return nil, fmt.Errorf("%w: GIT_OBJECT_DIRECTORY is %q, which does not lie in it", ErrBadBare, incoming)
	}
	for _, name := range historyChangers[:2] {
		if _, err := os.Lstat(filepath.Join(filepath.Dir(incoming), strings.Replace(name, "objects", filepath.Base(incoming), 1))); err == nil {
			return nil, fmt.Errorf("%w: the push brings a file %q", ErrBadBare, name)
		}
	}
	return []string{incoming}, nil
}

func sameFolder(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// unquoted takes away the quotes that git puts around a path with a colon.
func unquoted(path string) string {
	if plain, err := strconv.Unquote(path); err == nil {
		return plain
	}
	return path
}

// Close releases what is held open.
func (b *Bare) Close() error { return b.s.db.Close() }

// Dir gives the repository's folder, without symbolic links.
func (b *Bare) Dir() string { return b.dir }

// HeadBranch gives the full name of the branch that HEAD names.
func (b *Bare) HeadBranch(ctx context.Context) (string, error) {
	return b.git(ctx, "symbolic-ref", "HEAD")
}

// Means gives the ref that is written where a name is: another one where the name is a
// symbolic ref, be there something yet or not.
func (b *Bare) Means(ctx context.Context, name string) (string, error) {
	to, err := b.git(ctx, "symbolic-ref", "-q", name)
	var failed *exec.ExitError
	if errors.As(err, &failed) && failed.ExitCode() == 1 { // it is none
		return name, nil
	}
	return to, err
}

// Ref gives where a ref stands now; "" where there is none.
func (b *Bare) Ref(ctx context.Context, name string) (Hash, error) {
	out, err := b.git(ctx, "for-each-ref", "--format=%(objectname)", "--", name)
	if err != nil || out == "" {
		return "", err
	}
	first, _, _ := strings.Cut(out, "\n")
	return ParseHash(first)
}

// git asks the git program, which knows in what form a host keeps its refs.
func (b *Bare) git(ctx context.Context, args ...string) (string, error) {
	path, err := exec.LookPath("git")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"--git-dir=" + b.dir}, args...)...)
	cmd.Dir = b.dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "LC_ALL=C"}
	out, err := cmd.Output()
	if err != nil {
		var failed *exec.ExitError
		if errors.As(err, &failed) {
			err = fmt.Errorf("%w: %s", err, plain(string(failed.Stderr)))
		}
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// Walk is [Store.Walk].
func (b *Bare) Walk(ctx context.Context, from, to Hash, o WalkOptions, fn func(Commit) error) error {
	return b.s.Walk(ctx, from, to, o, fn)
}

// Count is [Store.Count].
func (b *Bare) Count(ctx context.Context, from, to Hash, most int) (int, error) {
	return b.s.Count(ctx, from, to, most)
}

// ReadBlob is [Store.ReadBlob].
func (b *Bare) ReadBlob(h Hash, limit int64) ([]byte, error) { return b.s.ReadBlob(h, limit) }

// CommitSignature is [Store.CommitSignature].
func (b *Bare) CommitSignature(h Hash) (payload, signature []byte, err error) {
	return b.s.CommitSignature(h)
}

// Aside is [Store.Aside].
func (b *Bare) Aside(side Hash, onChain func(Hash) (bool, error)) (Hash, []Hash, error) {
	return b.s.Aside(side, onChain)
}

// Beside is [Store.Beside].
func (b *Bare) Beside(side Hash, passed func(Hash) (bool, error)) ([]Hash, error) {
	return b.s.Beside(side, passed)
}

// Adds is [Store.Adds].
func (b *Bare) Adds(ctx context.Context, h Hash, wanted func(path string) bool) ([]File, error) {
	return b.s.Adds(ctx, h, wanted)
}

// Merges is [Store.Merges].
func (b *Bare) Merges(tip Hash, known func(Hash) (bool, error)) ([]Merge, Hash, error) {
	return b.s.Merges(tip, known)
}

// Relation is [Store.Relation].
func (b *Bare) Relation(checkpoint, tip Hash) (Relation, error) { return b.s.Relation(checkpoint, tip) }

// ChainContains is [Store.ChainContains].
func (b *Bare) ChainContains(tip, h Hash) (bool, error) { return b.s.ChainContains(tip, h) }

// Reaches reports whether h can be reached from tip over any parents.
func (b *Bare) Reaches(tip, h Hash) (bool, error) {
	if tip == "" || h == "" {
		return false, nil
	}
	return b.s.reaches(tip, h)
}

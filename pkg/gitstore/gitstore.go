// Package gitstore owns the append-only store in git: a local bare mirror of
// one branch of a remote, reading what is new on it commit by commit, appending
// files by an ordinary push that the server compares and swaps, the checkpoint
// (the last head that was verified) and the lock between processes.
//
// It knows nothing of what the files hold. It imports no other package of jit,
// no YAML and no OpenPGP, and never the parts of go-git that need a worktree or
// read the whole history to push.
package gitstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/jitaccess/jit/internal/owned"
	"github.com/jitaccess/jit/pkg/gitstore/internal/odb"
)

// Transport says who speaks to the remote.
type Transport string

const (
	// Auto takes Git for ssh and http(s) remotes of a person who has the git
	// program, for then ProxyJump, IdentityFile, credential helpers and
	// insteadOf do what they do for every other repository. It takes Builtin
	// for a folder, for an isolated store, and where there is no git program.
	Auto Transport = "auto"
	// Builtin speaks the protocol in this process; of git's own programs only
	// the server's side runs, and that only for a folder.
	Builtin Transport = "builtin"
	// Git uses the git program for fetch and push.
	Git Transport = "git"
)

// DefaultBranch is the branch that holds the store where none is named.
const DefaultBranch = "main"

// DefaultTimeout is how long a remote may be silent.
const DefaultTimeout = 60 * time.Second

// SSHOptions says how the in-process ssh logs in, and, where set, with which
// options the git program calls ssh.
type SSHOptions struct {
	// KnownHosts lists the files of host keys. None means ~/.ssh/known_hosts
	// and /etc/ssh/ssh_known_hosts. A host that they do not name is refused.
	KnownHosts []string
	// IdentityFile is a private key without a passphrase. "" means the agent
	// that SSH_AUTH_SOCK names.
	IdentityFile string
	// User is used where the URL names none. "" means "git".
	User string
}

// Options says which store to open and how to reach it.
type Options struct {
	// Dir is the folder for the mirror, the lock and the checkpoint. It is made
	// where missing, for this user alone.
	Dir string
	// URL is the remote: a folder, file://, ssh://, user@host:path, http(s)://.
	URL string
	// Branch is the branch's short name. "" means DefaultBranch.
	Branch string
	// Transport is who speaks to the remote. "" means Auto.
	Transport Transport
	// Git is the git program: a path, or a name looked up once in PATH. ""
	// means "git".
	Git string
	// Env is the environment for programs. nil means this process's, or, for an
	// isolated store, nothing but PATH. Variables that point git at another
	// repository are dropped in any case.
	Env []string
	// SSH says how to log in over ssh.
	SSH SSHOptions
	// Isolated means that git reads no configuration of the system or the
	// user, runs no hook or credential helper of theirs and never asks. A remote in a
	// folder that others may change is not asked either.
	Isolated bool
	// InMemory means that nothing is written to Dir: what is there is read, and what is
	// new is held in memory until the store is closed, a checkpoint too. Nothing can be
	// appended. Builtin speaks to the remote, for the git program writes what it fetches.
	// A mirror that cannot be used is none; see [Store.Unusable].
	InMemory bool
	// Afresh, with InMemory, has nothing of the mirror be read: all of the store is
	// fetched. The checkpoint, which is beside the mirror, counts.
	Afresh bool
	// Timeout is how long a remote may be silent. 0 means DefaultTimeout.
	Timeout time.Duration
	// Progress, where set, is told what a long fetch is at: what it does, how
	// much of it is done, and of how much.
	Progress func(what string, done, total int)
	// Logger hears of retries and maintenance. nil means nobody does.
	Logger *slog.Logger
}

// Store is an open store. Its methods may be called by several goroutines.
type Store struct {
	o      Options
	url    remoteURL
	ref    string // refs/heads/BRANCH, on the remote
	mirror string // the bare repository
	git    string // absolute path of the git program, "" where there is none
	log    *slog.Logger
	remote remote

	db      database            // reads objects
	objMu   sync.Mutex          // go-git's object storage is not safe for concurrent use
	objects *filesystem.Storage // writes objects
	turn    chan struct{}       // one goroutine of this process at a time takes the lock
	turns   turns
	longest time.Duration // for tests: see giveUp

	// moved says that the mirror was made from another address; see [Store.settle].
	moved bool

	memory overlay
	// unusable says why a store in memory uses no mirror, where there is something in its
	// place.
	unusable error
}

// Refs of the mirror. Each says that all that its commit needs is there, which is what
// git takes any ref for; so there are no others while a remote is asked, see
// [Store.trusted]. The second keeps the checkpoint's objects alive whatever becomes of
// the branch.
//
// Before a head was looked through, refs/jit/tip said where the branch is. Nothing
// reads that: what it names may lack its past.
const (
	trackedRef    = "refs/jit/whole"
	checkpointRef = "refs/jit/checkpoint"
)

// mirrorConfig is the whole configuration of a mirror. Nothing may run or be
// looked up from it: no hooks, no automatic maintenance, no other repository's
// objects.
const mirrorConfig = `[core]
	repositoryformatversion = 0
	filemode = true
	bare = true
	hooksPath = /dev/null
	logAllRefUpdates = false
[gc]
	auto = 0
[maintenance]
	auto = false
[transfer]
	fsckObjects = true
	bundleURI = false
[fetch]
	recurseSubmodules = false
[jit]
	url = %s
	branch = %s
`

// Open opens the store whose mirror is in o.Dir, and makes the mirror where it
// is missing. It does not speak to the remote. A folder that holds the mirror of
// another branch is ErrOtherURL, and so is that of another remote while it has no
// checkpoint, to which what the new address shows could be held; a URL that is not
// allowed is ErrBadURL.
func Open(ctx context.Context, o Options) (*Store, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	u, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Branch == "" {
		o.Branch = DefaultBranch
	}
	if err := plumbing.NewBranchReferenceName(o.Branch).Validate(); err != nil || strings.HasPrefix(o.Branch, "-") {
		return nil, fmt.Errorf("%w: %q is no branch name", ErrBadURL, o.Branch)
	}
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Dir == "" {
		return nil, errors.New("the store's folder is not named")
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, fmt.Errorf("the store's folder: %w", err)
	}
	if o.InMemory {
		o.Transport = Builtin
	}
	s := &Store{
		o: o, url: u, ref: "refs/heads/" + o.Branch,
		mirror: filepath.Join(o.Dir, "mirror.git"),
		log:    o.Logger,
		turn:   make(chan struct{}, 1),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.git, err = findGit(o.Git, o.Isolated); err != nil {
		return nil, err
	}
	if s.remote, err = s.newRemote(); err != nil {
		return nil, err
	}
	if err := s.openMirror(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// SafePath is where an isolated store looks for git, and git for ssh: where the
// system and its administrator install programs. The PATH that the process was given
// could lead to others.
const SafePath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// findGit gives the absolute path of the git program, or "" when none was
// asked for by name and there is none.
func findGit(name string, isolated bool) (string, error) {
	asked := name != ""
	if !asked {
		name = "git"
	}
	look := []string{name}
	if isolated && !strings.Contains(name, "/") {
		look = nil
		for _, dir := range filepath.SplitList(SafePath) {
			look = append(look, filepath.Join(dir, name))
		}
	}
	var missing error
	for _, name := range look {
		path, err := exec.LookPath(name)
		if err == nil {
			return filepath.Abs(path)
		}
		missing = err
	}
	if !asked {
		return "", nil
	}
	return "", fmt.Errorf("the git program %q: %w", name, missing)
}

// noGit says why no git program was found.
func (s *Store) noGit() error {
	if !s.o.Isolated {
		if _, err := exec.LookPath("git"); errors.Is(err, exec.ErrDot) {
			return ErrRelativePath
		}
	}
	return ErrNoGit
}

// openMirror opens the bare repository, under the lock where it must be made.
func (s *Store) openMirror(ctx context.Context) error {
	if !s.o.InMemory {
		if err := os.MkdirAll(s.o.Dir, 0o700); err != nil {
			return fmt.Errorf("the store's folder: %w", err)
		}
	}
	err := s.useMirror(ctx)
	if err != nil && !s.o.InMemory {
		return err
	}
	if !s.o.InMemory {
		s.objects = filesystem.NewStorageWithOptions(osfs.New(s.mirror), cache.NewObjectLRU(cacheBytes), filesystem.Options{})
	}
	dirs := []string{filepath.Join(s.mirror, "objects")}
	if s.unusable = err; err != nil || s.o.Afresh {
		s.o.Afresh, dirs = true, nil
	}
	s.memory.db = odb.Open(dirs...)
	s.db = s.memory.db
	return nil
}

// Unusable says why a store in memory uses nothing of the mirror, or is held to no
// checkpoint, though there is something in its place; nil where there is no such cause.
func (s *Store) Unusable() error {
	_, err := s.checkpointFile()
	return errors.Join(err, s.unusable)
}

// useMirror makes the mirror where it is missing, and refuses one that is not this store's.
func (s *Store) useMirror(ctx context.Context) error {
	config := filepath.Join(s.mirror, "config")
	want := s.mirrorConfigOf(quoteConfig(s.url.identity()))
	have, err := owned.ReadFile(config, maxSmall)
	switch {
	case errors.Is(err, os.ErrNotExist) && s.o.InMemory:
		have, err = []byte(want), nil // there is nothing to read
	case errors.Is(err, os.ErrNotExist):
		unlock, lockErr := s.lock(ctx)
		if lockErr != nil {
			return lockErr
		}
		defer unlock()
		if have, err = owned.ReadFile(config, maxSmall); errors.Is(err, os.ErrNotExist) {
			have, err = []byte(want), makeBare(s.mirror, want)
		}
	}
	if err != nil {
		return fmt.Errorf("the store's mirror: %w", err)
	}
	if string(have) != want && s.onlyMoved(string(have)) {
		s.moved = true
	} else if string(have) != want {
		return fmt.Errorf("%w: %q holds another store than %s (branch %q), or its configuration was edited: use another folder, or delete it, for it is fetched again (the checkpoint beside it stays, and refuses an older head)",
			ErrOtherURL, s.mirror, s.url.identity(), s.o.Branch)
	}
	for _, name := range historyChangers {
		if _, err := os.Lstat(filepath.Join(s.mirror, name)); err == nil {
			return fmt.Errorf("%w: the mirror %q has a file %q, which would change what its history is: delete the mirror", ErrCorrupt, s.mirror, name)
		}
	}
	return nil
}

// mirrorConfigOf gives what the mirror's configuration says for an address, as it is
// quoted in it.
func (s *Store) mirrorConfigOf(quoted string) string {
	return fmt.Sprintf(mirrorConfig, quoted, quoteConfig(s.o.Branch))
}

// onlyMoved reports whether a mirror's configuration differs in nothing but the
// address, and there is a checkpoint: then whatever the new address shows is held to
// that, as what the old one showed was.
func (s *Store) onlyMoved(have string) bool {
	const key = "\turl = "
	_, rest, _ := strings.Cut(have, key)
	url, _, _ := strings.Cut(rest, "\n")
	if have != s.mirrorConfigOf(url) {
		return false
	}
	checkpoint, err := s.Checkpoint()
	return err == nil && checkpoint != ""
}

// settle makes the address the mirror's own, once the history there has extended the
// checkpoint. Until then each head that it shows is held to the checkpoint all the
// same: what the mirror's configuration says protects from a mistake and from nothing
// else.
func (s *Store) settle(head Hash) error {
	if !s.moved || s.o.InMemory {
		return nil
	}
	checkpoint, err := s.Checkpoint()
	if err != nil {
		return err
	}
	relation, err := s.Relation(checkpoint, head)
	if err != nil || relation != Same && relation != Ahead {
		return err
	}
	s.log.Info("the store is read from another address from now on", "url", s.url.identity())
	if err := writeFileSync(filepath.Join(s.mirror, "config"), []byte(s.mirrorConfigOf(quoteConfig(s.url.identity())))); err != nil {
		return fmt.Errorf("the mirror: %w", err)
	}
	s.moved = false
	return nil
}

// cacheBytes bounds go-git's cache of objects, for the packs that it indexes.
const cacheBytes = 16 * cache.MiByte

// makeBare makes a bare repository for what is fetched.
func makeBare(path, config string) error {
	for _, dir := range []string{"objects/info", "objects/pack", "refs/heads", "refs/jit", "info"} {
		if err := os.MkdirAll(filepath.Join(path, dir), 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(path, "HEAD"), []byte("ref: refs/heads/none\n"), 0o600); err != nil {
		return err
	}
	// The configuration comes last: its presence says that all is there.
	return writeFileSync(filepath.Join(path, "config"), []byte(config))
}

// quoteConfig writes a value as git-config(1) reads it.
func quoteConfig(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value) + `"`
}

// Close releases what the store holds open.
func (s *Store) Close() error {
	s.objMu.Lock()
	defer s.objMu.Unlock()
	if s.objects == nil {
		return s.db.Close()
	}
	return errors.Join(s.objects.Close(), s.db.Close())
}

// TransportInUse says who speaks to the remote, for people: "builtin" or "git",
// with the kind of address.
func (s *Store) TransportInUse() string { return s.remote.name() + " over " + string(s.url.scheme) }

// URL gives the remote's address without credentials.
func (s *Store) URL() string { return s.url.identity() }

// Tip gives the branch's head as it was when the remote was last asked; ""
// when it never answered or was empty. It needs no network.
func (s *Store) Tip() Hash {
	h, err := s.readRef(trackedRef)
	if err != nil {
		return ""
	}
	return h
}

// readRef gives what a ref of the mirror points to; "" where it does not exist.
func (s *Store) readRef(name string) (Hash, error) {
	if h, ok := s.memory.ref(name); ok || s.o.Afresh {
		return h, nil
	}
	return readRefIn(s.mirror, name)
}

func readRefIn(repository, name string) (Hash, error) {
	data, err := owned.ReadFile(filepath.Join(repository, filepath.FromSlash(name)), maxSmall)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(string(data), "\n")
	if !isHash(text) {
		return "", fmt.Errorf("%w: the mirror's %s is no object name", ErrCorrupt, name)
	}
	return Hash(text), nil
}

// writeRef moves a ref of the mirror. Refs are loose files always: nothing here
// packs them.
func (s *Store) writeRef(name string, h Hash) error {
	if s.o.InMemory {
		s.memory.setRef(name, h)
		return nil
	}
	path := filepath.Join(s.mirror, filepath.FromSlash(name))
	if h == "" {
		err := os.Remove(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	}
	return writeFile(path, []byte(string(h)+"\n"), false)
}

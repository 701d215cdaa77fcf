package gitstore

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/jitaccess/jit/pkg/gitstore/internal/odb"
)

// Hash is the name of a git object: 40 lower-case hexadecimal digits. The zero
// value "" means none.
type Hash string

// ParseHash reads a full object name.
func ParseHash(text string) (Hash, error) {
	if !isHash(text) {
		return "", fmt.Errorf("%q is not a commit: 40 lower-case hexadecimal digits are", text)
	}
	return Hash(text), nil
}

func isHash(text string) bool {
	if len(text) != 40 {
		return false
	}
	for i := range len(text) {
		if c := text[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func (h Hash) git() plumbing.Hash { return plumbing.NewHash(string(h)) }

func fromGit(h plumbing.Hash) Hash {
	if h.IsZero() {
		return ""
	}
	return Hash(h.String())
}

// Bounds on objects that are read into memory.
const (
	// maxCommitBytes: a commit holds a message, two names and perhaps a
	// signature; those that jit makes are under 4 KiB.
	maxCommitBytes = 1 << 20
	// maxTreeBytes is a folder of roughly half a million entries. A store's
	// folders hold one day, so an honest one is a thousandth of that.
	maxTreeBytes = 32 << 20
)

// object reads an object of the mirror after checking its type and its size,
// and checks that its bytes are the ones that its name stands for. The bytes
// must not be changed.
func (s *Store) object(typ odb.Type, h Hash, limit int64) ([]byte, error) {
	name, err := nameOf(h)
	if err != nil {
		return nil, err
	}
	is, data, err := s.db.Read(name, limit)
	switch {
	case errors.Is(err, odb.ErrNotFound):
		return nil, fmt.Errorf("%w: %s %s", ErrNotFound, typ, h)
	case errors.Is(err, odb.ErrTooLarge):
		return nil, fmt.Errorf("%w: %s %w", ErrTooLarge, typ, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %s %w", ErrCorrupt, typ, err)
	case is != typ:
		return nil, &kindError{h, is, typ}
	}
	return data, nil
}

// kindError is an ErrCorrupt: an object of another kind than what names it needs.
type kindError struct {
	h        Hash
	is, want odb.Type
}

func (e *kindError) Error() string {
	return fmt.Sprintf("%v: %s is a %s, not a %s", ErrCorrupt, e.h, e.is, e.want)
}

func (e *kindError) Unwrap() error { return ErrCorrupt }

func nameOf(h Hash) (n odb.Name, err error) {
	if !isHash(string(h)) {
		return n, fmt.Errorf("%w: %q is no object name", ErrNotFound, h)
	}
	_, err = hex.Decode(n[:], []byte(h))
	return n, err
}

// ReadBlob gives a file's bytes. A blob of more than limit bytes is
// ErrTooLarge and is not read. The bytes are checked against h.
func (s *Store) ReadBlob(h Hash, limit int64) ([]byte, error) {
	return s.object(odb.Blob, h, limit)
}

// Has reports whether the mirror holds the object h.
func (s *Store) Has(h Hash) bool {
	_, err := s.Size(h)
	return err == nil
}

// Size gives the size of the object h in bytes without reading it.
func (s *Store) Size(h Hash) (int64, error) {
	name, err := nameOf(h)
	if err != nil {
		return 0, err
	}
	size, err := s.db.Size(name)
	if errors.Is(err, odb.ErrNotFound) {
		return 0, fmt.Errorf("%w: %s", ErrNotFound, h)
	}
	return size, err
}

// commitObject is what jit reads of a commit.
type commitObject struct {
	tree    Hash
	parents []Hash
	message string
}

// commit reads a commit.
func (s *Store) commit(h Hash) (commitObject, error) {
	data, err := s.object(odb.Commit, h, maxCommitBytes)
	if err != nil {
		return commitObject{}, err
	}
	c, err := parseCommit(data)
	if err != nil {
		return commitObject{}, fmt.Errorf("%w: commit %s: %w", ErrCorrupt, h, err)
	}
	return c, nil
}

// parseCommit reads a commit as git's own parse_commit_buffer does: the first
// line is the tree, the parents follow it directly, and a "tree" or "parent"
// further down means nothing. So the two never see different histories, and what git
// takes in a push stops nobody: git asks for no author, and takes digits of either case.
func parseCommit(data []byte) (commitObject, error) {
	var c commitObject
	tree, rest, ok := hashLine(data, "tree ")
	if !ok {
		return c, errors.New("it does not begin with its tree")
	}
	c.tree = tree
	// git looks no further where there is no room for a whole line.
	for len(rest) > len("parent ")+40 && bytes.HasPrefix(rest, []byte("parent ")) {
		parent, after, ok := hashLine(rest, "parent ")
		if !ok {
			return c, errors.New("a parent is no object name")
		}
		c.parents = append(c.parents, parent)
		rest = after
	}
	// The empty line may follow the links directly.
	links := len(data) - len(rest)
	if _, message, found := bytes.Cut(data[links-1:], []byte("\n\n")); found {
		c.message = string(message)
	}
	return c, nil
}

// hashLine reads "PREFIX<40 hex>\n" from the beginning of data. The hash has
// lower-case digits, whatever they are there.
func hashLine(data []byte, prefix string) (h Hash, rest []byte, ok bool) {
	n := len(prefix) + 40
	if len(data) <= n || !bytes.HasPrefix(data, []byte(prefix)) || data[n] != '\n' {
		return "", data, false
	}
	// Only A to F have such a lower case: other letters that have one stay what they are.
	text := strings.ToLower(string(data[len(prefix):n]))
	if !isHash(text) {
		return "", data, false
	}
	return Hash(text), data[n+1:], true
}

// Modes of tree entries, as git writes them: octal, without leading zeros.
const (
	modeFile = "100644"
	modeDir  = "40000"
)

// treeEntry is one entry of a tree. Its parts point into the tree's bytes.
type treeEntry struct {
	mode string
	name string
	hash string // 20 raw bytes
}

func (e treeEntry) isDir() bool { return e.mode == modeDir }

func (e treeEntry) object() Hash { return Hash(hex.EncodeToString([]byte(e.hash))) }

// key is what git sorts a tree's entries by: folders as if their names ended
// with a slash.
func (e treeEntry) key() string {
	if e.isDir() {
		return e.name + "/"
	}
	return e.name
}

// compare orders entries by their keys.
func (e treeEntry) compare(o treeEntry) int {
	n := min(len(e.name), len(o.name))
	if c := strings.Compare(e.name[:n], o.name[:n]); c != 0 {
		return c
	}
	next := func(e treeEntry) int {
		switch {
		case len(e.name) > n:
			return int(e.name[n])
		case e.isDir():
			return '/'
		}
		return -1
	}
	if c := cmp.Compare(next(e), next(o)); c != 0 || len(e.name) == len(o.name) {
		return c
	}
	return strings.Compare(e.key(), o.key()) // a name with a slash in it, which no honest tree has
}

// tree reads a folder's entries in the order in which they stand. The hash of
// the empty tree needs no object.
func (s *Store) tree(h Hash) ([]treeEntry, error) { return s.treeUpTo(h, maxTreeBytes) }

// treeUpTo is tree for a folder of no more bytes than limit.
func (s *Store) treeUpTo(h Hash, limit int64) ([]treeEntry, error) {
	if h == "" || h == emptyTree {
		return nil, nil
	}
	data, err := s.object(odb.Tree, h, limit)
	if err != nil {
		return nil, err
	}
	entries, err := parseTree(data)
	if err != nil {
		return nil, fmt.Errorf("%w: tree %s: %w", ErrCorrupt, h, err)
	}
	return entries, nil
}

// emptyTree is the name of the tree without entries.
const emptyTree Hash = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"

// parseTree reads a tree object: "MODE NAME\0" and 20 bytes for each entry.
func parseTree(data []byte) ([]treeEntry, error) {
	text := string(data)
	entries := make([]treeEntry, 0, len(text)/40+1)
	for len(text) > 0 {
		space := strings.IndexByte(text[:min(len(text), 8)], ' ')
		if space < 1 {
			return nil, errors.New("an entry has no mode")
		}
		nul := strings.IndexByte(text, 0)
		if nul <= space+1 {
			return nil, errors.New("an entry has no name")
		}
		if len(text) < nul+21 {
			return nil, errors.New("it ends within an entry")
		}
		mode := text[:space]
		for i := range len(mode) {
			if mode[i] < '0' || mode[i] > '7' {
				return nil, fmt.Errorf("an entry has the mode %q", mode)
			}
		}
		entries = append(entries, treeEntry{mode: mode, name: text[space+1 : nul], hash: text[nul+1 : nul+21]})
		text = text[nul+21:]
	}
	return entries, nil
}

// encodeTree writes entries, which must be sorted by key.
func encodeTree(entries []treeEntry) []byte {
	var b bytes.Buffer
	for _, e := range entries {
		b.WriteString(e.mode)
		b.WriteByte(' ')
		b.WriteString(e.name)
		b.WriteByte(0)
		b.WriteString(e.hash)
	}
	return b.Bytes()
}

package gitstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/jitaccess/jit/pkg/gitstore/internal/odb"
)

// database is where objects are read from.
type database interface {
	Read(n odb.Name, limit int64) (odb.Type, []byte, error)
	Size(n odb.Name) (int64, error)
	Refresh() error
	Close() error
}

// incoming is what a remote has sent, apart from the mirror until all that its head
// needs is known to be there. The mirror takes all of it or nothing: what stayed of a
// refused pack would look like history that is here, and would fill the disk by as much
// as a host likes to send. The caller holds the store's lock.
type incoming struct {
	s     *Store
	whole []Hash
	held  *memory.Storage // a small pack
	dir   string          // a folder that holds the folder "objects" of a larger one
}

// incomingDirs are what incoming writes to in the store's folder.
var incomingDirs = []string{".incoming-*", ".pack-*"}

// newIncoming takes what builds on the history of whole. What a process that was killed
// has left of such is taken away.
func (s *Store) newIncoming(whole []Hash) *incoming {
	s.dropIncoming()
	return &incoming{s: s, whole: whole}
}

// objects makes the folder of what comes, and gives it.
func (in *incoming) objects() (string, error) {
	if in.dir == "" {
		dir, err := os.MkdirTemp(in.s.o.Dir, incomingDirs[0])
		if err != nil {
			return "", err
		}
		in.dir = dir
	}
	objects := filepath.Join(in.dir, "objects")
	return objects, os.MkdirAll(filepath.Join(objects, "pack"), 0o700)
}

func (s *Store) dropIncoming() {
	for _, pattern := range incomingDirs {
		old, _ := filepath.Glob(filepath.Join(s.o.Dir, pattern)) // the pattern is a good one
		for _, path := range old {
			if err := os.RemoveAll(path); err != nil {
				s.log.Warn("what was left of a fetch stays", "error", err)
			}
		}
	}
}

// drop takes away what the mirror has not taken.
func (in *incoming) drop() {
	if in.dir == "" {
		return
	}
	if err := os.RemoveAll(in.dir); err != nil {
		in.s.log.Warn("what was left of a fetch stays", "error", err)
	}
}

// take gives the mirror what has come, if head is complete with it; else it is
// ErrIncomplete, and the mirror is as it was.
func (in *incoming) take(ctx context.Context, head Hash) error {
	var upper database = heldObjects{in.held}
	if in.held == nil {
		upper = odb.Open(filepath.Join(in.dir, "objects"))
	}
	both := &Store{db: layers{upper, in.s.db}, o: Options{Progress: in.s.o.Progress}}
	_, err := upper.Size(mustName(head))
	if errors.Is(err, odb.ErrNotFound) {
		err = fmt.Errorf("%w: the pack does not hold %s", ErrBadRemote, head)
	}
	if err == nil {
		err = both.complete(ctx, head, in.whole, shallowly)
	}
	if err = errors.Join(err, upper.Close()); err != nil {
		return err
	}
	if in.held != nil {
		err = in.keepHeld(head)
	} else {
		err = in.keepFiles()
	}
	if err != nil {
		return fmt.Errorf("the mirror: %w", err)
	}
	return nil
}

// mustName gives the name of what a remote has advertised, which is a hash.
func mustName(h Hash) odb.Name {
	n, err := nameOf(h)
	if err != nil {
		panic(err)
	}
	return n
}

// keepHeld stores a small pack as single objects: files, folders, commits, and last the
// head.
func (in *incoming) keepHeld(head Hash) error {
	var order []plumbing.EncodedObject
	for _, typ := range []plumbing.ObjectType{plumbing.BlobObject, plumbing.TreeObject, plumbing.CommitObject, plumbing.TagObject} {
		iter, err := in.held.IterEncodedObjects(typ)
		if err != nil {
			return err
		}
		if err := iter.ForEach(func(o plumbing.EncodedObject) error { order = append(order, o); return nil }); err != nil {
			return err
		}
	}
	if i := slices.IndexFunc(order, func(o plumbing.EncodedObject) bool { return fromGit(o.Hash()) == head }); i >= 0 {
		order = append(slices.Delete(slices.Clone(order), i, i+1), order[i])
	}
	if in.s.o.InMemory {
		return in.s.holdAll(order)
	}
	return in.s.put(order)
}

// put writes single objects into the mirror. One that is there in a file that cannot be
// read, as a crash leaves it, makes way.
func (s *Store) put(order []plumbing.EncodedObject) error {
	s.objMu.Lock()
	defer s.objMu.Unlock()
	for _, o := range order {
		name := fromGit(o.Hash())
		path := s.looseFile(name)
		if _, err := os.Lstat(path); err == nil {
			if _, _, err := s.db.Read(mustName(name), maxObject); damaged(err) {
				if err := os.Remove(path); err != nil {
					return err
				}
			}
		}
		if _, err := s.objects.SetEncodedObject(o); err != nil {
			return err
		}
	}
	return nil
}

// looseFile is where the mirror holds a single object.
func (s *Store) looseFile(h Hash) string {
	return filepath.Join(s.mirror, "objects", string(h[:2]), string(h[2:]))
}

// keepFiles moves what was stored in files into the mirror. An index comes after its
// pack: by it a pack is found.
func (in *incoming) keepFiles() error {
	from := filepath.Join(in.dir, "objects")
	var files []string
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if dir := filepath.Dir(rel); dir == "pack" && strings.HasPrefix(d.Name(), "pack-") || len(dir) == 2 {
			files = append(files, rel)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(files, func(a, b string) int {
		rank := map[bool]int{true: 1}
		return rank[filepath.Ext(a) == ".idx"] - rank[filepath.Ext(b) == ".idx"]
	})
	for _, rel := range files {
		to := filepath.Join(in.s.mirror, "objects", rel)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(from, rel), to); err != nil {
			return err
		}
	}
	return nil
}

// layers are objects of which the mirror lacks some.
type layers struct{ upper, lower database }

func (l layers) Read(n odb.Name, limit int64) (odb.Type, []byte, error) {
	typ, data, err := l.upper.Read(n, limit)
	if errors.Is(err, odb.ErrNotFound) {
		return l.lower.Read(n, limit)
	}
	return typ, data, err
}

func (l layers) Size(n odb.Name) (int64, error) {
	size, err := l.upper.Size(n)
	if errors.Is(err, odb.ErrNotFound) {
		return l.lower.Size(n)
	}
	return size, err
}

func (l layers) Refresh() error { return l.lower.Refresh() }

func (l layers) Close() error { return nil }

// heldObjects are the objects of a small pack, in memory. Their names were made of
// their bytes.
type heldObjects struct{ held *memory.Storage }

var heldTypes = map[plumbing.ObjectType]odb.Type{
	plumbing.CommitObject: odb.Commit, plumbing.TreeObject: odb.Tree, plumbing.BlobObject: odb.Blob, plumbing.TagObject: odb.Tag,
}

func (m heldObjects) Read(n odb.Name, limit int64) (odb.Type, []byte, error) {
	o, ok := m.held.Objects[plumbing.Hash(n)]
	if !ok {
		return 0, nil, odb.ErrNotFound
	}
	if o.Size() > limit {
		return 0, nil, fmt.Errorf("%w: %d bytes, %d are allowed", odb.ErrTooLarge, o.Size(), limit)
	}
	data, err := contentOf(o)
	return heldTypes[o.Type()], data, err
}

func contentOf(o plumbing.EncodedObject) (data []byte, err error) {
	r, err := o.Reader()
	if err != nil {
		return nil, err
	}
	data = make([]byte, o.Size())
	_, err = io.ReadFull(r, data)
	return data, errors.Join(err, r.Close())
}

func (m heldObjects) Size(n odb.Name) (int64, error) {
	o, ok := m.held.Objects[plumbing.Hash(n)]
	if !ok {
		return 0, odb.ErrNotFound
	}
	return o.Size(), nil
}

func (m heldObjects) Refresh() error { return nil }

func (m heldObjects) Close() error { return nil }

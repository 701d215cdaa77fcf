package gitstore

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/memory"
)

// newObjects are the objects that an append adds, in the order in which they
// must reach a disk: what is pointed to comes first.
type newObjects struct {
	order []plumbing.Hash
	store *memory.Storage
	// held are objects that the mirror holds and the server may lack. Only a
	// remote that makes its packs in this process looks at them.
	held []heldObject
}

func (n *newObjects) add(typ plumbing.ObjectType, data []byte) (Hash, error) {
	if n.store == nil {
		n.store = memory.NewStorage()
	}
	obj := n.store.NewEncodedObject()
	obj.SetType(typ)
	w, err := obj.Writer()
	if err != nil {
		return "", err
	}
	if _, err := w.Write(data); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	if n.store.HasEncodedObject(obj.Hash()) == nil {
		return fromGit(obj.Hash()), nil
	}
	h, err := n.store.SetEncodedObject(obj)
	if err != nil {
		return "", err
	}
	n.order = append(n.order, h)
	return fromGit(h), nil
}

// encode writes the objects as a pack, without deltas.
func (n *newObjects) encode(w io.Writer) error {
	_, err := packfile.NewEncoder(w, n.store, false).Encode(n.order, 0)
	return err
}

// save writes the objects into the mirror, what is pointed to first.
func (s *Store) save(n *newObjects) error {
	var order []plumbing.EncodedObject
	for _, h := range n.order {
		obj, err := n.store.EncodedObject(plumbing.AnyObject, h)
		if err != nil {
			return err
		}
		order = append(order, obj)
	}
	if err := s.put(order); err != nil {
		return fmt.Errorf("the mirror: %w", err)
	}
	return nil
}

// folder is a tree in which entries are set. Its zero value is not usable: see
// openFolder.
type folder struct {
	hash    Hash
	entries []treeEntry
	byName  map[string]int
	folded  map[string]string // names by what they are without regard to case
	changed bool
}

func (s *Store) openFolder(h Hash) (*folder, error) {
	entries, err := s.tree(h)
	if err != nil {
		return nil, err
	}
	f := &folder{hash: h}
	f.take(entries)
	return f, nil
}

// openOrEmpty gives a folder without entries for one that is too large to be read:
// so Walk has it, and nothing could be added to such a one.
func (s *Store) openOrEmpty(h Hash) (*folder, error) {
	f, err := s.openFolder(h)
	if errors.Is(err, ErrTooLarge) {
		f, err = &folder{changed: true}, nil
		f.take(nil)
	}
	return f, err
}

// take makes entries the folder's.
func (f *folder) take(entries []treeEntry) {
	f.entries = entries
	f.byName, f.folded = make(map[string]int, len(entries)), make(map[string]string, len(entries))
	for i, e := range entries {
		f.byName[e.name] = i
		f.folded[strings.ToLower(e.name)] = e.name
	}
}

// at gives the entry with a name, and whether there is one.
func (f *folder) at(name string) (treeEntry, bool) {
	i, there := f.byName[name]
	if !there {
		return treeEntry{}, false
	}
	return f.entries[i], true
}

// twin gives another name that differs from this one only in case, where no
// entry has this one; "" where there is none.
func (f *folder) twin(name string) string {
	if _, there := f.byName[name]; there {
		return ""
	}
	return f.folded[strings.ToLower(name)]
}

// twins gives the entries whose names differ from this one only in case.
func (f *folder) twins(name string) (all []treeEntry) {
	folded := strings.ToLower(name)
	if _, some := f.folded[folded]; !some {
		return nil
	}
	for _, e := range f.entries {
		if e.name != name && strings.ToLower(e.name) == folded {
			all = append(all, e)
		}
	}
	return all
}

// drop takes entries away.
func (f *folder) drop(gone []treeEntry) {
	if len(gone) == 0 {
		return
	}
	f.changed = true
	f.take(slices.DeleteFunc(slices.Clone(f.entries), func(e treeEntry) bool { return slices.Contains(gone, e) }))
}

// set puts an entry in the place of the one with its name, or beside the others.
func (f *folder) set(e treeEntry) {
	f.changed = true
	if i, there := f.byName[e.name]; there {
		f.entries[i] = e
		return
	}
	f.byName[e.name] = len(f.entries)
	f.folded[strings.ToLower(e.name)] = e.name
	f.entries = append(f.entries, e)
}

// write gives the tree with all that was set: the same where nothing was.
func (f *folder) write(into *newObjects) (Hash, error) {
	if !f.changed {
		return f.hash, nil
	}
	slices.SortStableFunc(f.entries, treeEntry.compare)
	return into.add(plumbing.TreeObject, encodeTree(f.entries))
}

// nextGroup splits off the files that begin with the same part.
func nextGroup(files []pendingFile) (name string, group, rest []pendingFile) {
	name = files[0].parts[0]
	n := 1
	for n < len(files) && files[n].parts[0] == name {
		n++
	}
	return name, files[:n], files[n:]
}

// builder makes trees out of a parent's tree and new files.
type builder struct {
	s     *Store
	new   *newObjects
	holds Holds
	// written counts the files that were not there with the same bytes.
	written int
}

type pendingFile struct {
	path  string // whole, for errors
	parts []string
	blob  Hash
}

// insert gives the tree h of the folder dir with files added. A file that is there
// with the same bytes is passed over. What stands in the way of one gives way, or,
// where it counts, is ErrExists.
func (b *builder) insert(dir string, h Hash, files []pendingFile) (Hash, error) {
	into, err := b.open(h)
	if err != nil {
		return "", err
	}
	for len(files) > 0 {
		var name string
		var group []pendingFile
		name, group, files = nextGroup(files)
		have, there := into.at(name)
		entry := treeEntry{mode: modeFile, name: name}
		if len(group) == 1 && len(group[0].parts) == 1 {
			if entry.hash = rawHash(group[0].blob); there && have == entry {
				continue
			}
			b.written++
		} else {
			entry.mode = modeDir
		}
		if err := b.makeWay(dir, into, entry, group[0].path); err != nil {
			return "", err
		}
		if entry.isDir() {
			var sub Hash
			if there && have.isDir() {
				sub = have.object()
			}
			below := make([]pendingFile, len(group))
			for i, f := range group {
				if len(f.parts) == 1 {
					return "", fmt.Errorf("%w: %q is both a file and a folder, or named twice", ErrBadPath, f.path)
				}
				below[i] = pendingFile{path: f.path, parts: f.parts[1:], blob: f.blob}
			}
			tree, err := b.insert(join(dir, name), sub, below)
			if err != nil {
				return "", err
			}
			if tree == sub {
				continue
			}
			entry.hash = rawHash(tree)
		}
		into.set(entry)
	}
	return into.write(b.new)
}

func (b *builder) open(h Hash) (*folder, error) {
	if b.holds == nil {
		return b.s.openFolder(h)
	}
	return b.s.openOrEmpty(h)
}

// makeWay takes out of a folder what stands where an entry is to be set, or what
// would make that a twin, which Walk passes over. What counts stays: it is
// ErrExists, as all is where nobody tells what counts.
func (b *builder) makeWay(dir string, into *folder, entry treeEntry, path string) error {
	have, there := into.at(entry.name)
	if there && have.isDir() && entry.isDir() {
		return nil
	}
	gone := []treeEntry{}
	if there {
		gone = append(gone, have)
	}
	if !there || have.isDir() != entry.isDir() {
		gone = append(gone, into.twins(entry.name)...)
	}
	for _, e := range gone {
		full := join(dir, e.name)
		held := b.holds == nil
		if !held {
			var err error
			if held, err = b.holds(full, e.isDir()); err != nil {
				return err
			}
		}
		switch {
		case !held:
		case e.name != entry.name:
			return fmt.Errorf("%w: %q differs only in case from %q", ErrExists, path, e.name)
		case entry.isDir():
			return fmt.Errorf("%w: %q lies below a file", ErrExists, path)
		default:
			return fmt.Errorf("%w: %q", ErrExists, path)
		}
	}
	into.drop(gone)
	return nil
}

func rawHash(h Hash) string {
	raw, err := hex.DecodeString(string(h))
	if err != nil {
		// Every Hash that reaches here was made by this package.
		panic(fmt.Sprintf("gitstore: %q is no object name", h))
	}
	return string(raw)
}

// build makes the objects of a commit that adds a's files to parent. No commit
// ("") means that all of them are there already.
func (s *Store) build(a Append, parent Hash) (Hash, *newObjects, error) {
	objects := &newObjects{}
	files := make([]pendingFile, 0, len(a.Files))
	for _, f := range a.Files {
		if err := CheckPath(f.Path); err != nil {
			return "", nil, err
		}
		files = append(files, pendingFile{path: f.Path, parts: strings.Split(f.Path, "/"), blob: gitBlob(f.Data)})
	}
	// Sorted by parts, so that the files of a folder stand together.
	sort.Slice(files, func(i, j int) bool {
		return strings.ReplaceAll(files[i].path, "/", "\x00") < strings.ReplaceAll(files[j].path, "/", "\x00")
	})
	for i := 1; i < len(files); i++ {
		if files[i].path == files[i-1].path {
			return "", nil, fmt.Errorf("%w: %q is named twice", ErrBadPath, files[i].path)
		}
	}
	for _, f := range a.Files {
		if _, err := objects.add(plumbing.BlobObject, f.Data); err != nil {
			return "", nil, err
		}
	}
	var base Hash
	if parent != "" {
		c, err := s.commit(parent)
		if err != nil {
			return "", nil, err
		}
		base = c.tree
	}
	b := &builder{s: s, new: objects, holds: a.Holds}
	tree, err := b.insert("", base, files)
	if err != nil {
		return "", nil, err
	}
	if b.written == 0 {
		return "", nil, nil
	}
	data, err := encodeCommit(a, tree, parent)
	if err != nil {
		return "", nil, err
	}
	h, err := objects.add(plumbing.CommitObject, data)
	return h, objects, err
}

// encodeCommit writes a commit, signed where a.Sign is given. The signature
// covers the commit without its own header, as git-commit(1) has it. A parent
// "" is none.
func encodeCommit(a Append, tree Hash, parents ...Hash) ([]byte, error) {
	who := func(text string) (string, error) {
		if strings.ContainsAny(text, "<>\n\x00") {
			return "", fmt.Errorf("%q has no place in a commit's author", text)
		}
		return strings.TrimSpace(text), nil
	}
	name, err := who(a.Author)
	if err != nil {
		return nil, err
	}
	email, err := who(a.Email)
	if err != nil {
		return nil, err
	}
	if strings.Contains(a.Message, "\x00") {
		return nil, errors.New("a commit's message holds no zero byte")
	}
	if name == "" {
		name = "jit"
	}
	when := a.When.UTC()
	if when.Before(time.Unix(0, 0)) {
		when = time.Unix(0, 0).UTC()
	}
	person := fmt.Sprintf("%s <%s> %d +0000", name, email, when.Unix())
	var head strings.Builder
	fmt.Fprintf(&head, "tree %s\n", tree)
	for _, parent := range parents {
		if parent != "" {
			fmt.Fprintf(&head, "parent %s\n", parent)
		}
	}
	fmt.Fprintf(&head, "author %s\ncommitter %s\n", person, person)
	body := "\n" + strings.TrimRight(a.Message, "\n") + "\n"
	if a.Sign == nil {
		return []byte(head.String() + body), nil
	}
	sig, err := a.Sign([]byte(head.String() + body))
	if err != nil {
		return nil, fmt.Errorf("signing the commit: %w", err)
	}
	lines := strings.Split(strings.TrimRight(string(sig), "\n"), "\n")
	return []byte(head.String() + "gpgsig " + strings.Join(lines, "\n ") + "\n" + body), nil
}

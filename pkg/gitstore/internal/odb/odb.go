// Package odb reads the objects of a git repository: single files and packs
// with an index of version 2 (gitformat-pack(5)). Files are mapped, not read,
// so that opening a repository of millions of objects costs nothing, and each
// object costs what it is.
//
// It exists since go-git reads a pack's whole index into memory before the first
// object, a hundred megabytes for a large store. It writes no file, knows nothing of
// refs or history, and imports no other package of jit but the one that opens files.
package odb

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// Type is an object's type, as packs number it.
type Type byte

// The types of objects.
const (
	Commit Type = 1
	Tree   Type = 2
	Blob   Type = 3
	Tag    Type = 4
)

var typeNames = [...]string{Commit: "commit", Tree: "tree", Blob: "blob", Tag: "tag"}

// String gives git's name of the type.
func (t Type) String() string {
	if int(t) < len(typeNames) && typeNames[t] != "" {
		return typeNames[t]
	}
	return "type " + strconv.Itoa(int(t))
}

var (
	// ErrNotFound means that no file or pack holds the object.
	ErrNotFound = errors.New("object not found")
	// ErrTooLarge means that the object is larger than the caller allows, or
	// rests on a base that is.
	ErrTooLarge = errors.New("object too large")
	// ErrCorrupt means that the bytes on the disk are not an object, or not the
	// one that its name says.
	ErrCorrupt = errors.New("object is corrupt")
)

// Name is an object's name: twenty bytes.
type Name [sha1.Size]byte

// String gives the name in hexadecimal.
func (n Name) String() string { return hex.EncodeToString(n[:]) }

// DB is the objects of one repository. It may be used by several goroutines.
type DB struct {
	dirs []string // objects/, and those that lend it theirs

	mu    sync.RWMutex // held for writing when packs are opened and closed
	packs []*pack      // none before the first object is looked for
	bases bases

	holding sync.RWMutex
	held    map[Name]object
}

// object is one that is held in memory.
type object struct {
	typ  Type
	data []byte
}

// Open gives the objects in dirs, a repository's folder "objects" and others of
// that form that are looked in after it. Nothing is read before the first object
// is asked for.
func Open(dirs ...string) *DB { return &DB{dirs: dirs} }

// Close releases the mapped files.
func (db *DB) Close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	var errs []error
	for _, p := range db.packs {
		errs = append(errs, p.close())
	}
	db.packs = nil
	db.bases.clear()
	return errors.Join(errs...)
}

// Refresh looks again which packs there are. Another process may have added
// some, or joined several into one.
func (db *DB) Refresh() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.load()
}

func (db *DB) load() error {
	var names []string
	for _, dir := range db.dirs {
		found, err := filepath.Glob(filepath.Join(dir, "pack", "*.idx"))
		if err != nil {
			return err
		}
		names = append(names, found...)
	}
	open := map[string]*pack{}
	for _, p := range db.packs {
		open[p.path] = p
	}
	db.packs = nil
	var errs []error
	for _, name := range names {
		path := strings.TrimSuffix(name, ".idx")
		if p := open[path]; p != nil {
			db.packs = append(db.packs, p)
			delete(open, path)
			continue
		}
		p, err := openPack(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // it was joined with others meanwhile, or is not whole yet
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		db.packs = append(db.packs, p)
	}
	for _, gone := range open {
		errs = append(errs, gone.close())
	}
	return errors.Join(errs...)
}

// Hold adds an object that is in memory alone, and that nobody changes any more.
func (db *DB) Hold(typ Type, data []byte) {
	db.holding.Lock()
	defer db.holding.Unlock()
	if db.held == nil {
		db.held = map[Name]object{}
	}
	db.held[nameOf(typ, data)] = object{typ, data}
}

// holds gives an object that is in memory.
func (db *DB) holds(n Name) (object, bool) {
	db.holding.RLock()
	defer db.holding.RUnlock()
	o, ok := db.held[n]
	return o, ok
}

// inPack calls f with a pack that holds the object, which stays mapped until f
// returns. Where that copy is damaged the next one is tried. It gives false where no
// pack that is known holds the object.
func (db *DB) inPack(n Name, f func(p *pack, at int64) error) (found bool, err error) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	for _, p := range db.packs {
		at, ok := p.find(n)
		if !ok {
			continue
		}
		found = true
		if err = f(p, at); !errors.Is(err, ErrCorrupt) {
			break
		}
	}
	return found, err
}

// Read gives an object of at most limit bytes. Its bytes are checked against its
// name.
func (db *DB) Read(n Name, limit int64) (typ Type, data []byte, err error) {
	if o, ok := db.holds(n); ok {
		if size := int64(len(o.data)); size > limit {
			return 0, nil, fmt.Errorf("%s: %w: %d bytes, %d are allowed", n, ErrTooLarge, size, limit)
		}
		return o.typ, o.data, nil
	}
	own := func(err error) error {
		if err == nil && nameOf(typ, data) != n {
			err = fmt.Errorf("%w: the bytes of this %s are not its own", ErrCorrupt, typ)
		}
		return err
	}
	read := func(p *pack, at int64) (err error) {
		typ, data, err = db.unpack(p, at, limit)
		return own(err)
	}
	found, err := db.look(n, read, func() error {
		typ, data, err = db.readLoose(n, limit)
		return own(err)
	})
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("%s: %w", n, err)
	case !found:
		return 0, nil, fmt.Errorf("%w: %s", ErrNotFound, n)
	}
	return typ, data, nil
}

// Size gives an object's size in bytes without reading all of it.
func (db *DB) Size(n Name) (size int64, err error) {
	if o, ok := db.holds(n); ok {
		return int64(len(o.data)), nil
	}
	found, err := db.look(n, func(p *pack, at int64) (err error) {
		size, err = p.size(at)
		return err
	}, func() error {
		size, err = db.looseSize(n)
		return err
	})
	if err == nil && !found {
		err = ErrNotFound
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", n, err)
	}
	return size, nil
}

// look finds an object in a pack, else as a single file, else in a pack that has
// come since. A damaged copy is what it gives only where there is no good one.
func (db *DB) look(n Name, packed func(p *pack, at int64) error, loose func() error) (bool, error) {
	found, err := db.inPack(n, packed)
	if found && !errors.Is(err, ErrCorrupt) {
		return true, err
	}
	damaged := err
	if err := loose(); err == nil || !errors.Is(err, os.ErrNotExist) && !errors.Is(err, ErrCorrupt) {
		return err == nil, err
	} else if damaged == nil && errors.Is(err, ErrCorrupt) {
		damaged = err
	}
	// One pack that cannot be opened hides none of the others.
	unread := db.Refresh()
	if found, err = db.inPack(n, packed); found && !errors.Is(err, ErrCorrupt) {
		return true, err
	}
	return found, errors.Join(damaged, err, unread)
}

// nameOf gives the name of an object with these bytes.
func nameOf(t Type, data []byte) Name {
	h := sha1.New()
	head := make([]byte, 0, 32)
	head = append(append(head, t.String()...), ' ')
	head = append(strconv.AppendInt(head, int64(len(data)), 10), 0)
	h.Write(head)
	h.Write(data)
	var n Name
	h.Sum(n[:0])
	return n
}

// openFile opens the single file that holds an object.
func (db *DB) openFile(n Name) (f *os.File, err error) {
	text := n.String()
	for _, dir := range db.dirs {
		if f, err = open(filepath.Join(dir, text[:2], text[2:])); !errors.Is(err, os.ErrNotExist) {
			break
		}
	}
	return f, err
}

// maxLooseHead is the longest "TYPE SIZE\0" of a single file.
const maxLooseHead = 32

// openLoose opens a single file and reads its head.
func (db *DB) openLoose(n Name) (f *os.File, r io.Reader, typ Type, size int64, err error) {
	f, err = db.openFile(n)
	if err != nil {
		return nil, nil, 0, 0, err
	}
	fail := func(err error) (*os.File, io.Reader, Type, int64, error) {
		_ = f.Close()
		return nil, nil, 0, 0, fmt.Errorf("%w: its file: %w", ErrCorrupt, err)
	}
	z, err := zlib.NewReader(f)
	if err != nil {
		return fail(err)
	}
	var head [maxLooseHead]byte
	got, err := io.ReadFull(z, head[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fail(err)
	}
	text, rest, ok := bytes.Cut(head[:got], []byte{0})
	name, digits, spaced := strings.Cut(string(text), " ")
	if !ok || !spaced {
		return fail(errors.New("it has no head"))
	}
	for t, known := range typeNames {
		if known == name && known != "" {
			typ = Type(t)
		}
	}
	size, err = strconv.ParseInt(digits, 10, 64)
	if err != nil || typ == 0 || size < 0 {
		return fail(fmt.Errorf("its head is %q", text))
	}
	return f, io.MultiReader(bytes.NewReader(rest), z), typ, size, nil
}

func (db *DB) readLoose(n Name, limit int64) (Type, []byte, error) {
	f, r, typ, size, err := db.openLoose(n)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	if size > limit {
		return 0, nil, fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooLarge, size, limit)
	}
	data := make([]byte, size)
	if _, err := io.ReadFull(r, data); err != nil {
		return 0, nil, fmt.Errorf("%w: its file: %w", ErrCorrupt, err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1)); !errors.Is(err, io.EOF) {
		return 0, nil, fmt.Errorf("%w: its file is longer than it says, or its checksum is wrong", ErrCorrupt)
	}
	return typ, data, nil
}

func (db *DB) looseSize(n Name) (int64, error) {
	f, _, _, size, err := db.openLoose(n)
	if err != nil {
		return 0, err
	}
	return size, f.Close()
}

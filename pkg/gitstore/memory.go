package gitstore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/jitaccess/jit/pkg/gitstore/internal/odb"
)

// Where the disk takes nothing, what is new can be held in memory: see Options.InMemory.

// Bounds on what is held in memory, in bytes.
const (
	// maxHeldPack bounds what one fetch brings, as it comes. Of the largest store that is
	// measured it is an eighth; what is new since the last fetch is far less.
	maxHeldPack = 64 << 20
	// maxHeld bounds what that makes when it is unpacked, of all fetches together, each
	// object with what it takes beside its bytes.
	maxHeld = 256 << 20
	perHeld = 256
)

// ErrInMemory means that a store that writes nothing was asked to append something, or
// that what is new is too much to hold.
var ErrInMemory = errors.New("the copy of the store is held in memory")

// overlay is what a store that writes nothing knows beside what is on the disk.
type overlay struct {
	mu   sync.Mutex
	refs map[string]Hash
	held int64   // the bytes of objects
	db   *odb.DB // which has them, beside those of the disk
}

func (m *overlay) ref(name string) (Hash, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, ok := m.refs[name]
	return h, ok
}

func (m *overlay) setRef(name string, h Hash) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.refs == nil {
		m.refs = map[string]Hash{}
	}
	m.refs[name] = h
}

// take reports whether there is room for more objects, and counts them.
func (m *overlay) take(bytes int64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if bytes > maxHeld-m.held {
		return false
	}
	m.held += bytes
	return true
}

// hold is receive for a store that writes nothing.
func (in *incoming) hold(r io.Reader) error {
	pack, err := io.ReadAll(io.LimitReader(r, maxHeldPack+1))
	if err != nil {
		return fmt.Errorf("%w: %w", errStream, err)
	}
	if len(pack) > maxHeldPack {
		return fmt.Errorf("%w: what is new has more than %d bytes", ErrInMemory, maxHeldPack)
	}
	objects, total, _, err := surveyPack(bytes.NewReader(pack))
	if err != nil {
		return fmt.Errorf("%w: the pack: %w", ErrBadRemote, err)
	}
	if !in.s.memory.take(total + int64(objects)*perHeld) {
		return fmt.Errorf("%w: what is new has more than %d bytes when it is unpacked", ErrInMemory, maxHeld)
	}
	in.held = memory.NewStorage()
	if err := packfile.UpdateObjectStorage(in.held, bytes.NewReader(pack)); err != nil {
		return fmt.Errorf("%w: the pack: %w", ErrBadRemote, err)
	}
	return nil
}

// holdAll is put for a store that writes nothing.
func (s *Store) holdAll(order []plumbing.EncodedObject) error {
	for _, o := range order {
		data, err := contentOf(o)
		if err != nil {
			return err
		}
		s.memory.db.Hold(heldTypes[o.Type()], data)
	}
	return nil
}

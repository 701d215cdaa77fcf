package gitstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/jitaccess/jit/internal/owned"
)

// writeFileSync replaces a file so that after a crash either the old or the new
// bytes are there: a temporary file beside it, synced, renamed, and the folder
// synced.
func writeFileSync(path string, data []byte) error { return writeFile(path, data, true) }

func writeFile(path string, data []byte, sync bool) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if sync {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	if !sync {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// lockPoll is how often a taken lock is tried again: short beside a push,
// long beside the system call.
const lockPoll = 5 * time.Millisecond

// lock takes the mirror's lock against other goroutines and processes, and
// waits for it until ctx ends. The kernel drops it with its holder.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the store's lock: %w", ctx.Err())
	}
	if s.o.InMemory {
		return func() { <-s.turn }, nil // nothing is written that others read
	}
	release, err := owned.Lock(ctx, filepath.Join(s.o.Dir, "lock"), lockPoll)
	if err != nil {
		<-s.turn
		return nil, err
	}
	return func() { _ = release(); <-s.turn }, nil
}

// Checkpoint gives the last head that was verified on this machine; "" where
// there is none yet. It is kept apart from the mirror, which can be rebuilt.
//
// To a store in memory one that cannot be read is none: what is read there is believed
// for nothing but what takes away.
func (s *Store) Checkpoint() (Hash, error) {
	if h, ok := s.memory.ref(checkpointRef); ok {
		return h, nil
	}
	h, err := s.checkpointFile()
	if err != nil && s.o.InMemory {
		s.log.Warn("what the store shows is held to no checkpoint", "cause", err)
		return "", nil
	}
	return h, err
}

// maxSmall bounds the files beside the mirror that hold a line or a few, in bytes: what is
// larger, or has no end, is none of them.
const maxSmall = 64 << 10

// checkpointFile reads the file of the checkpoint.
func (s *Store) checkpointFile() (Hash, error) {
	path := filepath.Join(s.o.Dir, "checkpoint")
	data, err := owned.ReadFile(path, maxSmall)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("the checkpoint: %w", err)
	}
	if len(data) != 41 || data[40] != '\n' || !isHash(string(data[:40])) {
		// An unreadable checkpoint must not pass for none: that would accept any
		// history.
		return "", fmt.Errorf("%w: the checkpoint %q holds no commit: put back what a backup has of it; where there is none, compare the head in a colleague's jit status with the store's, and delete it", ErrCorrupt, path)
	}
	return Hash(data[:40]), nil
}

// CheckpointIn gives the checkpoint of a store whose folder is not opened: "" where there is
// none.
func CheckpointIn(dir string) (Hash, error) {
	return (&Store{o: Options{Dir: dir}}).Checkpoint()
}

// SetCheckpoint records that head was verified. A head that does not extend the
// present checkpoint along the first parents is ErrNotForward, and nothing
// changes. It is on disk when SetCheckpoint returns.
func (s *Store) SetCheckpoint(head Hash) error {
	return s.moveCheckpoint(head, func(old Hash) error {
		r, err := s.Relation(old, head)
		if err != nil {
			return err
		}
		if r != Same && r != Ahead {
			return fmt.Errorf("%w: %s is %s of %s", ErrNotForward, head, r, old)
		}
		return nil
	})
}

// ReplaceCheckpoint moves the checkpoint from old to head wherever head lies:
// for following a heal, and for repair by a person. It fails with ErrNotForward
// when the checkpoint is not old any more.
func (s *Store) ReplaceCheckpoint(old, head Hash) error {
	return s.moveCheckpoint(head, func(have Hash) error {
		if have != old {
			return fmt.Errorf("%w: it is %s by now, not %s", ErrNotForward, have, old)
		}
		return nil
	})
}

func (s *Store) moveCheckpoint(head Hash, allowed func(old Hash) error) error {
	if _, err := s.commit(head); err != nil {
		return fmt.Errorf("the checkpoint: %w", err)
	}
	if !s.o.InMemory {
		// A lock of its own, for callers move it while they hold the other.
		ctx, cancel := context.WithTimeout(context.Background(), DefaultTimeout)
		defer cancel()
		release, err := owned.Lock(ctx, filepath.Join(s.o.Dir, "checkpoint.lock"), lockPoll)
		if err != nil {
			return err
		}
		defer func() { _ = release() }()
	}
	old, err := s.Checkpoint()
	if err != nil {
		return err
	}
	if old == head {
		return nil
	}
	if old != "" {
		if err := allowed(old); err != nil {
			return err
		}
	}
	if err := s.writeRef(checkpointRef, head); err != nil {
		return fmt.Errorf("the checkpoint: %w", err)
	}
	if s.o.InMemory {
		return nil
	}
	if err := writeFileSync(filepath.Join(s.o.Dir, "checkpoint"), []byte(string(head)+"\n")); err != nil {
		return fmt.Errorf("the checkpoint: %w", err)
	}
	return nil
}

package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jitaccess/jit/internal/owned"
)

// UnsafeError says that somebody else may change, or has made, what the reconciler
// keeps for itself. Nothing opens then; what is over ends.
type UnsafeError = owned.Error

// A state folder that others own, may write to, or may put another in the place of is
// theirs: what lies there may be made to stop a run. It ends what is over all the same. It
// waits for the lock no longer than for a moment, writes nothing there, and reads the store
// into a folder of its own, which it throws away.

// storeName is the folder of the copy of the store, in the state folder.
const storeName = "store"

// CheckStateFolder refuses a state folder that others may change, or may put another in the
// place of, with an [*UnsafeError], and a link, which jit does not make. The error is
// [fs.ErrNotExist] where there is none, and those that lead to it are good so far.
func CheckStateFolder(path string) error {
	if err := owned.Check(path); err != nil {
		return err
	}
	_, err := owned.Folder(path)
	return err
}

// checkState closes openings where others could have written the journal, what waits
// to be sent, or the copy of the store.
func (r *run) checkState() {
	state := r.o.Config.State
	unsafe := func(err error) bool {
		if err != nil {
			r.problem(fmt.Errorf("nothing new opens: %w", err))
		}
		return err != nil
	}
	r.theirs = unsafe(CheckStateFolder(state))
	r.theirs = unsafe(owned.Check(filepath.Join(state, storeName))) || r.theirs
	for _, name := range []string{journalName, clockName} {
		unsafe(owned.Check(filepath.Join(state, name)))
	}
}

// lockName is the file in the state folder that a run holds locked.
const lockName = "run.lock"

// lockPatience is how long a run waits for a lock that others can hold: another run has
// its turn in that time, and whoever wants to keep access open gains no more.
const lockPatience = 2 * time.Second

// lockPoll is how often it is tried meanwhile.
const lockPoll = 50 * time.Millisecond

// lock keeps other runs away from the state folder. Where the folder is not there, or is
// others', the run goes on without, for it still must end what is over. Two runs at once
// are safe then: neither opens anything nor writes into the folder, and ending what has
// ended changes nothing.
func (r *run) lock(ctx context.Context) error {
	path := filepath.Join(r.o.Config.State, lockName)
	if _, err := os.Lstat(r.o.Config.State); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(r.o.Config.State, 0o700); err != nil {
			r.problem(fmt.Errorf("the state folder: %w", err))
			return nil
		}
	}
	r.checkState()
	if r.theirs {
		r.lockTheirs(ctx, path)
		return nil
	}
	f, err := owned.Open(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		r.problem(fmt.Errorf("lock the state folder: %w", err))
		return nil
	}
	r.cleanup = append(r.cleanup, func() error { return unlock(f) })
	switch err := tryLock(f); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return fmt.Errorf("%w in %q", ErrBusy, r.o.Config.State)
	case err != nil:
		r.problem(fmt.Errorf("lock the state folder: %w", err))
	}
	return nil
}

func tryLock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// unlock gives the lock back at once: a program that is being started still has the file
// open for a moment after it is closed here.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

// lockTheirs waits a while for a lock that others may hold. Without it the run goes on.
func (r *run) lockTheirs(ctx context.Context, path string) {
	f, err := owned.Open(path, os.O_RDWR, 0)
	if err != nil {
		return // nobody holds it, or it is no lock
	}
	r.cleanup = append(r.cleanup, func() error { return unlock(f) })
	for tries := lockPatience / lockPoll; tryLock(f) != nil && tries > 0 && ctx.Err() == nil; tries-- {
		time.Sleep(lockPoll)
	}
}

// copyOfStore says where the copy of the store is kept: in a state folder of others, nowhere.
// What waits there to be sent waits on.
func (r *run) copyOfStore() (Config, error) {
	c := r.o.Config
	if !r.theirs {
		return c, nil
	}
	dir, err := os.MkdirTemp("", "jit-reconcile-")
	if err != nil {
		return c, fmt.Errorf("a folder for a copy of the store: %w", err)
	}
	r.cleanup = append(r.cleanup, func() error { return os.RemoveAll(dir) })
	c.State = dir
	return c, nil
}

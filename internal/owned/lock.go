package owned

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// Lock takes the lock between processes that a regular file stands for, which it makes where
// it is missing, and waits for it until ctx ends, asking every poll. The kernel drops it with
// its holder.
func Lock(ctx context.Context, path string, poll time.Duration) (unlock func() error, err error) {
	f, err := Open(path, os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		made := err
		f, err = Open(path, os.O_RDONLY, 0) // which is enough but on NFS
		if errors.Is(err, fs.ErrNotExist) {
			err = made
		}
	}
	if err != nil {
		return nil, fmt.Errorf("the lock: %w", err)
	}
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
		case err == nil:
			return func() error { return giveBack(f) }, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return nil, errors.Join(fmt.Errorf("the lock %q: %w", path, err), f.Close())
		}
		t := time.NewTimer(poll)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, errors.Join(fmt.Errorf("the lock %q: %w", path, ctx.Err()), f.Close())
		}
	}
}

// LockInTurn is Lock on a file that is there, for as long as it takes, which is for good where
// somebody who may read it keeps a lock of theirs: nothing ends the call. The kernel keeps the
// order of those who wait so. Who asked again and again would get it by luck.
func LockInTurn(path string) (unlock func() error, err error) {
	f, err := Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("the lock: %w", err)
	}
	for {
		switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); {
		case err == nil:
			return func() error { return giveBack(f) }, nil
		case !errors.Is(err, syscall.EINTR):
			return nil, errors.Join(fmt.Errorf("the lock %q: %w", path, err), f.Close())
		}
	}
}

// giveBack unlocks a file before it is closed: a program that is being started still has it
// open for a moment after that.
func giveBack(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

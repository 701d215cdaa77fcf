package gitstore

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// queueAt gives a store in a folder, and the file on which its writers queue, locked by a
// reader.
func queueAt(t *testing.T) (s *Store, reader *os.File) {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("git", "init", "-q", "--bare", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	reader, err := os.Open(filepath.Join(dir, "HEAD"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	if err := syscall.Flock(int(reader.Fd()), syscall.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	return &Store{url: remoteURL{scheme: schemePath, path: dir}}, reader
}

// asking counts the calls that wait in the kernel.
func asking() int {
	all := make([]byte, 4<<20)
	return strings.Count(string(all[:runtime.Stack(all, true)]), "owned.LockInTurn(")
}

// TestQueueThatNobodyLeaves: whoever may read the store can hold its lock for good, and
// appends that give up waiting leave no more than one call behind. When the lock is free
// again it is had.
func TestQueueThatNobodyLeaves(t *testing.T) {
	s, reader := queueAt(t)
	for range 50 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		leave, first := s.queue(ctx)
		leave()
		cancel()
		if first {
			t.Fatal("two have the lock")
		}
	}
	if n := asking(); n != 1 {
		t.Errorf("%d calls wait", n)
	}
	if err := syscall.Flock(int(reader.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		leave, first := s.queue(t.Context())
		if !first {
			t.Error("the lock is free, and was not had")
		}
		leave()
	}
	for deadline := time.Now().Add(10 * time.Second); asking() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a call waits for nobody")
		}
	}
	if err := syscall.Flock(int(reader.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Errorf("the lock was not given back: %v", err)
	}
}

// TestQueueWithinAProcess: those who wait here have it one after another, whoever else leaves,
// and a file that is gone keeps nobody waiting.
func TestQueueWithinAProcess(t *testing.T) {
	s, reader := queueAt(t)
	var within, had, gone atomic.Int32
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			ctx, cancel := t.Context(), context.CancelFunc(func() {})
			if i%3 == 0 {
				ctx, cancel = context.WithTimeout(ctx, time.Duration(i)*time.Millisecond)
			}
			defer cancel()
			leave, first := s.queue(ctx)
			switch {
			case !first:
				gone.Add(1)
				if ctx.Err() == nil {
					t.Error("gave up")
				}
			case within.Add(1) > 1:
				t.Error("two have the lock")
				fallthrough
			default:
				had.Add(1)
				time.Sleep(time.Millisecond)
				within.Add(-1)
			}
			leave()
		})
	}
	time.Sleep(20 * time.Millisecond)
	if err := syscall.Flock(int(reader.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	if had.Load() < 20 || had.Load()+gone.Load() != 30 {
		t.Errorf("%d had it, %d left", had.Load(), gone.Load())
	}
	path := filepath.Join(t.TempDir(), "none")
	for range 3 {
		if got := <-lines.join(path); !errors.Is(got.err, os.ErrNotExist) {
			t.Errorf("%v", got.err)
		}
	}
}

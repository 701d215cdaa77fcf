package gitstore

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/jitaccess/jit/internal/owned"
)

// queuePatience bounds the waiting in a queue that is only a courtesy, since the
// head last moved: whoever holds the place may be stopped.
const queuePatience = 3 * time.Second

// queue lets the writers to a folder on this machine go one after another, by a
// lock on a file that its repository has anyway: racing pushes would each start
// several processes only to lose. What is pushed is right without it, by the
// server's compare and swap; so where it cannot be had in time, none is held (first is false).
func (s *Store) queue(ctx context.Context) (leave func(), first bool) {
	leave = func() {}
	if s.url.scheme != schemePath {
		return leave, false
	}
	for _, dir := range []string{filepath.Join(s.url.path, ".git"), s.url.path} {
		head := filepath.Join(dir, "HEAD")
		if _, err := os.Stat(head); err == nil {
			return s.waitInQueue(ctx, head)
		}
	}
	return leave, false
}

// waitInQueue takes the lock on a file in its turn.
func (s *Store) waitInQueue(ctx context.Context, path string) (leave func(), first bool) {
	mine := lines.join(path)
	last, _ := s.peekPath()
	since := time.Now()
	for {
		select {
		case t := <-mine:
			if t.err != nil {
				return func() {}, false
			}
			return func() { _ = t.unlock() }, true
		case <-time.After(queuePatience / 10):
		case <-ctx.Done():
		}
		head, _ := s.peekPath()
		if head != last {
			last, since = head, time.Now()
		}
		if ctx.Err() != nil || time.Since(since) > queuePatience {
			lines.quit(path, mine)
			return func() {}, false
		}
	}
}

// queues are the lines of this process, each at the file that stands for a queue.
//
// However many wait in a line, and however many have left it, one call waits in the kernel
// for them all, and takes a thread and a descriptor: it cannot be taken back, and whoever may
// read the file can hold the lock for good.
type queues struct {
	mu    sync.Mutex
	lines map[string][]chan turn // a file is there while a call waits for it
}

var lines = queues{lines: map[string][]chan turn{}}

// turn is the lock on the file, for one of a line; or why it cannot be had.
type turn struct {
	unlock func() error
	err    error
}

// join goes to the end of a line.
func (q *queues) join(path string) chan turn {
	mine := make(chan turn, 1)
	q.mu.Lock()
	defer q.mu.Unlock()
	line, asked := q.lines[path]
	q.lines[path] = append(line, mine)
	if !asked {
		go q.ask(path)
	}
	return mine
}

// quit leaves a line. What it gave meanwhile is given on.
func (q *queues) quit(path string, mine chan turn) {
	q.mu.Lock()
	if line, ok := q.lines[path]; ok {
		q.lines[path] = slices.DeleteFunc(line, func(c chan turn) bool { return c == mine })
	}
	q.mu.Unlock()
	select {
	case t := <-mine:
		if t.err == nil {
			_ = t.unlock()
		}
	default:
	}
}

// ask waits for the lock and gives it to the first of a line, until nobody is left there.
func (q *queues) ask(path string) {
	for more := true; more; {
		var t turn
		t.unlock, t.err = owned.LockInTurn(path)
		more = q.give(path, t)
	}
}

// give gives a turn to the first of a line, or back where all have left. It reports whether
// others wait.
func (q *queues) give(path string, t turn) (more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	line := q.lines[path]
	if len(line) > 0 {
		line[0] <- t
		line = line[1:]
	} else if t.err == nil {
		_ = t.unlock()
	}
	if len(line) == 0 {
		delete(q.lines, path)
		return false
	}
	q.lines[path] = line
	return true
}

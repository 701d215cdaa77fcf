package gitstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// How long a remote is waited for. One that says nothing for Options.Timeout is
// given up. One that goes on sending may take longer, but not for ever, since a
// lock is held meanwhile: least where a reconciler has access to end.
const (
	// slowest is how many times the timeout an operation may take that brings
	// what is new.
	slowest = 5
	// firstFetch is how long the first fetch of a store may take, and
	// firstFetchIsolated a reconciler's.
	firstFetch         = 2 * time.Hour
	firstFetchIsolated = 15 * time.Minute
)

// Why a remote was waited for no longer; any other cause is the caller's.
var (
	errSilent = errors.New("the remote is silent")
	errSlow   = errors.New("the remote takes too long in all")
)

// stopped says why a remote was waited for no longer, under a context that is over.
func (s *Store) stopped(ctx context.Context) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errSilent):
		return fmt.Errorf("no answer within %v: %w", s.o.Timeout, ctx.Err())
	case errors.Is(cause, errSlow):
		return fmt.Errorf("%w: %w", errSlow, ctx.Err())
	default:
		return fmt.Errorf("no answer yet: %w", ctx.Err())
	}
}

// patience is a context that ends when the remote is silent for too long, or
// takes too long in all.
type patience struct {
	context.Context
	cancel context.CancelFunc
	timer  *time.Timer
	idle   time.Duration
}

// patience waits for one operation; with first, for all of a store to come.
func (s *Store) patience(ctx context.Context, first bool) *patience {
	most := slowest * s.o.Timeout
	switch {
	case !first:
	case s.o.Isolated:
		most = max(most, firstFetchIsolated)
	default:
		most = max(most, firstFetch)
	}
	ctx, stop := context.WithTimeoutCause(ctx, most, errSlow)
	ctx, cancel := context.WithCancelCause(ctx)
	p := &patience{Context: ctx, idle: s.o.Timeout}
	p.timer = time.AfterFunc(p.idle, func() { cancel(errSilent) })
	p.cancel = func() { p.timer.Stop(); cancel(nil); stop() }
	return p
}

// heard says that the remote is there.
func (p *patience) heard() {
	if p.Err() == nil {
		p.timer.Reset(p.idle)
	}
}

// listen gives a reader through which the remote is heard.
func (p *patience) listen(r io.Reader) io.Reader { return &listener{p, r} }

type listener struct {
	p *patience
	r io.Reader
}

func (l *listener) Read(b []byte) (int, error) {
	n, err := l.r.Read(b)
	if n > 0 {
		l.p.heard()
	}
	return n, err
}

// ticker reads the progress that git prints, and keeps what else it says.
type ticker struct {
	said
	line   strings.Builder
	heard  func()
	report func(what string, done, total int)
}

// Write implements io.Writer. git ends a line of progress with a carriage
// return.
func (t *ticker) Write(b []byte) (int, error) {
	if t.heard != nil {
		t.heard()
	}
	for _, c := range b {
		if c != '\r' && c != '\n' {
			if t.line.Len() < maxSaid {
				t.line.WriteByte(c)
			}
			continue
		}
		line := t.line.String()
		t.line.Reset()
		if what, done, total, ok := progressOf(line); ok {
			if t.report != nil && what != "" {
				t.report(what, done, total)
			}
		} else if _, err := t.said.Write([]byte(line + "\n")); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// String gives what was said beside the progress.
func (t *ticker) String() string { return t.said.String() + t.line.String() }

// progressOf reads "Receiving objects:  45% (1188/2640), 12.00 MiB | …".
func progressOf(line string) (what string, done, total int, ok bool) {
	line = strings.TrimPrefix(line, "remote: ")
	what, rest, found := strings.Cut(line, ": ")
	_, rest, percent := strings.Cut(rest, "% (")
	numbers, _, closed := strings.Cut(rest, ")")
	a, b, slash := strings.Cut(numbers, "/")
	if !found || !percent || !closed || !slash {
		return "", 0, 0, false
	}
	var errA, errB error
	done, errA = strconv.Atoi(a)
	total, errB = strconv.Atoi(b)
	switch what {
	case "Receiving objects", "Resolving deltas", "Indexing objects", "Unpacking objects":
	default:
		return "", 0, 0, errA == nil && errB == nil // counted, and of no interest
	}
	return what, done, total, errA == nil && errB == nil
}

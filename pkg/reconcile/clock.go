package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/jitaccess/jit/internal/owned"
	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
)

// ClockReason is why the clock of this machine cannot be right.
type ClockReason string

// The reasons.
const (
	// ClockBeforeRun: an earlier run was later.
	ClockBeforeRun ClockReason = "before-run"
	// ClockSetBack: it was set back while the run was under way.
	ClockSetBack ClockReason = "set-back"
	// ClockBehind: what others signed newest is of a time still to come.
	ClockBehind ClockReason = "behind"
)

// ClockError says that the clock of this machine is wrong. Nothing new opens then, for a
// window that is over would seem to be open; what is over ends.
type ClockError struct {
	Reason ClockReason
	// Now is what the clock says, and Other the later time that speaks against it.
	Now, Other time.Time
	// Who signed at Other (ClockBehind).
	Who []string
	// Path is the file to delete when the clock is right (ClockBeforeRun).
	Path string
}

// Error gives both times, and what to do.
func (e *ClockError) Error() string {
	now, other := e.Now.UTC().Format(timeForm), e.Other.UTC().Format(timeForm)
	switch e.Reason {
	case ClockSetBack:
		return fmt.Sprintf("the clock says %s, and was set back in the middle of the run: it is %s by what has passed since; set the clock", now, other)
	case ClockBehind:
		return fmt.Sprintf("the clock says %s, and the newest records of %s are of %s or later: set the clock, or, when it is right, see to theirs",
			now, strings.Join(e.Who, " and "), other)
	}
	return fmt.Sprintf("the clock says %s, and an earlier run was at %s: set the clock, or, when it is right now, delete %q", now, other, e.Path)
}

// clockName is the file in the state folder of the newest time that a run has seen, and
// maxClock bounds what is read of it: one time.
const (
	clockName = "clock"
	maxClock  = 64
)

// clockStep is how far apart the times are that are written down: each is synced to the
// disk, which costs more than all else of a run with nothing new, and a clock counts as set
// back from approve.Skew on, which is many steps.
const clockStep = 5 * time.Minute

// readClock compares the clock with the newest time that a run has seen.
func (r *run) readClock(context.Context) error {
	path := filepath.Join(r.o.Config.State, clockName)
	now := r.o.Now()
	data, err := owned.ReadFile(path, maxClock)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		// The first run, or an operator says that the clock is right.
	case err == nil && r.newest.UnmarshalText(data) == nil:
	default:
		if err != nil {
			r.problem(fmt.Errorf("the newest time of an earlier run: %w", err))
		}
		r.journal.view(func(s *journalState) { r.newest = s.newest })
	}
	if r.newest.Sub(now) > approve.Skew {
		r.closeOpenings(&ClockError{Reason: ClockBeforeRun, Now: now, Other: r.newest, Path: path})
		return nil
	}
	if now.Sub(r.newest) >= clockStep && !r.o.DryRun && !r.theirs {
		text, err := now.UTC().MarshalText()
		if err == nil {
			err = writeWhole(path, text)
		}
		if err != nil {
			r.closeOpenings(fmt.Errorf("keep the time of this run: %w", err))
		}
	}
	return nil
}

func writeWhole(path string, data []byte) error {
	f, err := replaceFile(path, data)
	if err != nil {
		return err
	}
	return f.Close()
}

// now is the time by which access ends: that of the clock, or, where the clock was set back
// since the run began, what has passed since then. One that was far behind already is not
// followed: what was over once does not begin again.
func (r *run) now() time.Time {
	now := r.o.Now()
	// Without their readings of the monotonic clock the two are compared by the wall.
	passed := r.began.Round(0).Add(now.Sub(r.began))
	if now = now.Round(0); passed.After(now) {
		now = passed
	}
	if r.newest.Sub(now) > approve.Skew {
		return r.newest
	}
	return now
}

// witnesses is how many others are asked by checkClock: those whose records are newest.
// Two of the three decide, for one alone, be it wrong or a rogue, must hold up nobody.
const witnesses = 3

// checkClock opens nothing where the clock was set back in the middle of the run, or lies
// behind what others have signed newest: a machine that comes up with a wrong clock and
// an empty state folder has nothing else to tell it. It is told beside what else keeps
// openings closed, which may come of it: the own key seems to be of a time to come.
func (r *run) checkClock(mayOpen bool) {
	if _, told := errors.AsType[*ClockError](r.closed); told || !mayOpen {
		return
	}
	now := r.o.Now()
	if by := r.now(); by.Sub(now) > approve.Skew {
		r.closeOpenings(&ClockError{Reason: ClockSetBack, Now: now, Other: by})
		return
	}
	words, err := r.book.Words(r.o.Config.Name)
	if err != nil {
		r.closeOpenings(fmt.Errorf("the ledger cannot be read: %w", err))
	} else if err := CheckClock(words, now); err != nil {
		r.closeOpenings(err)
	}
}

// CheckClock says that a clock lies behind what others have signed newest, with a
// [*ClockError], or is nil. The words are those of a ledger, newest first.
func CheckClock(words []ledger.Word, now time.Time) error {
	e := ClockError{Reason: ClockBehind, Now: now}
	for _, w := range words[:min(len(words), witnesses)] {
		if w.Created.Sub(now) <= approve.Skew {
			continue
		}
		e.Who = append(e.Who, w.By)
		if e.Other.IsZero() || w.Created.Before(e.Other) {
			e.Other = w.Created
		}
	}
	if len(e.Who) <= witnesses/2 {
		return nil
	}
	return &e
}

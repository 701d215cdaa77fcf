package reconcile

import (
	"context"
	"errors"
	"time"
)

// DefaultEvery is how often a daemon runs where it is not told otherwise: what a host
// is asked for each day, 1,440 times, is little, and a revocation waits no longer.
const DefaultEvery = time.Minute

const (
	// leastPause lies between two runs, so that an ending that fails, and is overdue
	// from then on, is tried again without keeping the machine busy with nothing else.
	leastPause = time.Second
	// longestSleep is how long a daemon sleeps without looking at the clock: a machine
	// that was suspended, or whose clock was set, is late by no more.
	longestSleep = 5 * time.Second
)

// Daemon makes runs one after another: one in every Every, and one when something that
// is open ends by itself.
type Daemon struct {
	Options
	// Every is the longest time between two runs; 0 is DefaultEvery.
	Every time.Duration
	// Done is called after each run with what it came to, and with the error of [Run].
	Done func(Result, error)

	// run is Run but in tests.
	run func(context.Context, Options) (Result, error)
}

// Loop makes runs until the context is done. A run that is under way is interrupted
// then, which it can be anywhere, and is not told of by Done.
func (d Daemon) Loop(ctx context.Context) {
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Every <= 0 {
		d.Every = DefaultEvery
	}
	if d.run == nil {
		d.run = Run
	}
	if d.metrics == nil {
		d.metrics = newMetricsWriter()
	}
	for ctx.Err() == nil {
		res, err := d.run(ctx, d.Options)
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return
		}
		d.Done(res, err)
		d.sleep(ctx, d.next(res))
	}
}

// next says how long to wait after a run.
func (d Daemon) next(res Result) time.Duration {
	pause := d.Every
	if !res.Wake.IsZero() {
		pause = min(pause, res.Wake.Sub(d.Now()))
	}
	return max(pause, min(leastPause, d.Every))
}

// sleep waits for a while, by the wall clock or by the one that only goes on, whichever
// says first that it is over.
func (d Daemon) sleep(ctx context.Context, pause time.Duration) {
	began, until := time.Now(), d.Now().Round(0).Add(pause)
	for {
		left := min(pause-time.Since(began), until.Sub(d.Now().Round(0)))
		if left <= 0 {
			return
		}
		t := time.NewTimer(min(left, longestSleep))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

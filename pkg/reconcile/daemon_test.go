package reconcile

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestDaemonWakesForEndings: it runs when something ends, in every minute otherwise, and
// stops when it is told to.
func TestDaemonWakesForEndings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		began := time.Now()
		wakes := []time.Duration{0, 10 * time.Second, 10*time.Second + time.Millisecond, 10 * time.Second, 10 * time.Minute, 75*time.Second + time.Nanosecond}
		var at []time.Duration
		d := Daemon{Every: time.Minute, Done: func(Result, error) {
			if len(at) == len(wakes)+1 {
				stop()
			}
		}}
		d.run = func(context.Context, Options) (Result, error) {
			at = append(at, time.Since(began))
			var res Result
			if n := len(at) - 1; n < len(wakes) && wakes[n] > 0 {
				res.Wake = began.Add(wakes[n]) // of access that ends then
			}
			return res, errTest
		}
		d.Loop(ctx)
		want := []time.Duration{
			0,
			time.Minute,      // nothing is open
			61 * time.Second, // the ending is overdue: it failed
			62 * time.Second, 63 * time.Second,
			123 * time.Second, // long before the ending
			124 * time.Second,
		}
		if !slices.Equal(at, want) {
			t.Errorf("runs at %v, want %v", at, want)
		}
	})
}

// TestDaemonIsExact: an ending is met to the moment.
func TestDaemonIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		ends := time.Now().Add(17*time.Second + 250*time.Millisecond)
		runs := 0
		d := Daemon{Done: func(Result, error) {}}
		d.run = func(context.Context, Options) (Result, error) {
			if runs++; runs == 2 {
				if now := time.Now(); !now.Equal(ends) {
					t.Errorf("at %s, want %s", now, ends)
				}
				stop()
			}
			return Result{Wake: ends}, nil
		}
		d.Loop(ctx)
	})
}

// TestDaemonAndTheClock: a machine that slept, or whose clock was set forward, is late by
// seconds only; one that was set back waits no longer for it.
func TestDaemonAndTheClock(t *testing.T) {
	for _, c := range []struct {
		name string
		jump time.Duration // after ten seconds
		most time.Duration
	}{
		{"forward", time.Hour, 15 * time.Second},
		{"back", -time.Hour, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := context.WithCancel(t.Context())
				began := time.Now()
				clock := func() time.Time {
					now := time.Now().Round(0)
					if now.Sub(began) >= 10*time.Second {
						now = now.Add(c.jump)
					}
					return now
				}
				runs := 0
				d := Daemon{Options: Options{Now: clock}, Done: func(Result, error) {}}
				d.run = func(context.Context, Options) (Result, error) {
					if runs++; runs == 2 {
						if took := time.Since(began); took > c.most {
							t.Errorf("after %s", took)
						}
						stop()
					}
					return Result{}, nil
				}
				d.Loop(ctx)
			})
		})
	}
}

// TestDaemonStops: in the middle of a run, and between two.
func TestDaemonStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		told := 0
		d := Daemon{Done: func(Result, error) { told++ }}
		d.run = func(ctx context.Context, _ Options) (Result, error) {
			if told == 2 {
				stop()
				return Result{}, fmt.Errorf("the run was interrupted: %w", ctx.Err())
			}
			return Result{}, ErrBusy
		}
		d.Loop(ctx)
		if told != 2 {
			t.Errorf("told of %d runs", told)
		}
		ctx, stop = context.WithCancel(t.Context())
		d.Done = func(_ Result, err error) {
			if !errors.Is(err, ErrBusy) {
				t.Error(err)
			}
			time.AfterFunc(3*time.Second, stop)
		}
		told = 0
		began := time.Now()
		d.Loop(ctx)
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("stopped after %s", took)
		}
	})
}

// TestDaemonEndsAndOpens: with real runs.
func TestDaemonEndsAndOpens(t *testing.T) {
	t.Parallel()
	w := measuredWorld(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r := w.store.Granted("bob", time.Hour, "db:read")
	runs := 0
	d := Daemon{Options: w.o, Every: time.Millisecond, Done: func(res Result, err error) {
		switch runs++; {
		case err != nil || res.ExitCode() != exitDone:
			t.Error(res, err)
			stop()
		case runs == 1:
			w.wantAccess("bob", "readers", true)
			if !res.Wake.Equal(start.Add(time.Hour)) {
				t.Errorf("wakes at %s", res.Wake)
			}
			w.at(time.Hour)
		case runs == 2:
			w.wantAccess("bob", "readers", false)
			w.wantMetrics(map[string]float64{`jit_reconcile_runs_total{exit_code="0"}`: 2, `jit_grants_open{resource="db"}`: 0})
			stop()
		}
	}}
	d.Loop(ctx)
	if runs != 2 {
		t.Errorf("%d runs", runs)
	}
	w.wantReceipts(r.ID, "applied db:read", "ended db:read expired")
}

package reconcile

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/jitaccess/jit/pkg/replica"
)

// Whoever may push decides how long it takes to fetch and to judge what is new, and so
// how long a run takes. No ending waits for that.
const (
	// lookEvery is how often a run looks for what has become due while it works on its
	// copy of the store.
	lookEvery = time.Second
	// againEvery is after how long such a run tries again what could not be ended.
	againEvery = time.Minute
	// graceful is how long work may go on when the run is to stop. A disk that hangs does
	// not hear of that.
	graceful = 10 * time.Second
)

// meanwhile does work, which touches nothing of the run, and ends what becomes due until
// it is done. What does not stop with the run is left behind.
func meanwhile[T any](ctx context.Context, r *run, work func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := work()
		done <- result{value, err}
	}()
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() { time.AfterFunc(graceful, func() { close(stopped) }) })()
	look, again := time.NewTicker(lookEvery), time.NewTicker(againEvery)
	defer look.Stop()
	defer again.Stop()
	for {
		select {
		case got := <-done:
			return got.value, got.err
		case <-stopped:
			r.left = true
			var none T
			return none, fmt.Errorf("the work on the copy of the store does not stop: %w", ctx.Err())
		case <-again.C:
			r.forgetFailures()
		case <-look.C:
			_ = r.endOverdue(ctx) // it has no error
		}
	}
}

// forgetFailures lets the run try once more what it could not end. What it has ended
// comes up no more.
func (r *run) forgetFailures() {
	if r.o.DryRun {
		return // it ends nothing, and has said so
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.tried, func(_ string, a Action) bool { return a == End })
}

// attended is a book whose long work does not keep a run from its endings.
type attended struct {
	book
	run *run
}

func (a attended) Sync(ctx context.Context, h *replica.Healer) (replica.Report, error) {
	return meanwhile(ctx, a.run, func() (replica.Report, error) { return a.book.Sync(ctx, h) })
}

func (a attended) Ahead(ctx context.Context) error {
	_, err := meanwhile(ctx, a.run, func() (struct{}, error) { return struct{}{}, a.book.Ahead(ctx) })
	return err
}

func (a attended) Rebuild(ctx context.Context) error {
	_, err := meanwhile(ctx, a.run, func() (struct{}, error) { return struct{}{}, a.book.Rebuild(ctx) })
	return err
}

func (a attended) Submit(ctx context.Context, subject string, trailers [][2]string, out []outgoing) (waiting, err error) {
	return meanwhile(ctx, a.run, func() (error, error) { return a.book.Submit(ctx, subject, trailers, out) })
}

func (a attended) TakeShown(ctx context.Context, rewrite *replica.RewriteError) ([]string, error) {
	return meanwhile(ctx, a.run, func() ([]string, error) { return a.book.TakeShown(ctx, rewrite) })
}

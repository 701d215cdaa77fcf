package reconcile

import (
	"context"
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
)

// meanwhile does work, which touches nothing of the run, and ends what becomes due until
// it is done.
func (r *run) meanwhile(ctx context.Context, work func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	look, again := time.NewTicker(lookEvery), time.NewTicker(againEvery)
	defer look.Stop()
	defer again.Stop()
	for {
		select {
		case <-done:
			return
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

func (a attended) Sync(ctx context.Context, h *replica.Healer) (report replica.Report, err error) {
	a.run.meanwhile(ctx, func() { report, err = a.book.Sync(ctx, h) })
	return report, err
}

func (a attended) Ahead(ctx context.Context) (err error) {
	a.run.meanwhile(ctx, func() { err = a.book.Ahead(ctx) })
	return err
}

func (a attended) Rebuild(ctx context.Context) (err error) {
	a.run.meanwhile(ctx, func() { err = a.book.Rebuild(ctx) })
	return err
}

func (a attended) Submit(ctx context.Context, subject string, trailers [][2]string, out []outgoing) (waiting, err error) {
	a.run.meanwhile(ctx, func() { waiting, err = a.book.Submit(ctx, subject, trailers, out) })
	return waiting, err
}

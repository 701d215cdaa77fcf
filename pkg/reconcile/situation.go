package reconcile

import (
	"context"
	"errors"
	"fmt"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
)

// situation gathers what a plan follows from.
func (r *run) situation() (s situation, err error) {
	journal := append(r.snapshot(), r.recalled...)
	s = situation{now: r.now(), me: r.o.Config.Name, policy: r.policy, journal: journal, reach: map[string]bool{}, synced: r.synced,
		leases: r.leases(), lost: r.lost}
	for name := range r.o.Config.Targets {
		s.reach[name] = true
	}
	if s.known, err = known(r.book, journal, s.now); err != nil {
		return s, err
	}
	if s.active, err = r.book.Requests(ledger.Filter{Open: true, States: []approve.State{approve.Active}}, s.now); err != nil {
		return s, err
	}
	if s.brought, err = r.brought(s.active); err != nil {
		return s, err
	}
	if s.traces, s.unproven = r.traces(journal); s.unproven == nil {
		s.answered, s.unproven = r.evidence(s.now)
	}
	if r.named() {
		s.barred = r.book.Standing(s.me, r.signer.Fingerprint(), r.o.Now())
	}
	return s, nil
}

// survey finds out where all stands. Where the journal does not tell all, what it does
// not tell is recalled first. tasks is what is over and was not known to be open.
func (r *run) survey() (s situation, tasks []task, err error) {
	if r.lost {
		if tasks, err = r.recall(); err != nil {
			return s, nil, err
		}
	}
	s, err = r.situation()
	return s, tasks, err
}

// surveyed is survey, with an index that turns out to be damaged made again.
func (r *run) surveyed(ctx context.Context) (situation, []task, error) {
	s, tasks, err := r.survey()
	if cause := errors.Join(err, s.unproven, s.barred); errors.Is(cause, ledger.ErrDamaged) {
		r.log.Warn("the local index is made again", "cause", cause)
		if again := r.book.Rebuild(ctx); again != nil {
			r.note(fmt.Errorf("the local index could not be made again: %w", again))
			return s, tasks, err
		}
		r.policy = r.book.Policy()
		s, tasks, err = r.survey()
	}
	return s, tasks, err
}

// planned gives what is to be done, as far as it may be.
func (r *run) planned(s situation) []task {
	r.active = s.active
	mayOpen := r.synced || len(s.brought) > 0
	r.checkStanding(s, mayOpen)
	r.checkClock(mayOpen)
	if s.unproven != nil {
		r.closeOpenings(fmt.Errorf("the evidence in the ledger cannot be read: %w", s.unproven))
	} else {
		r.renew(&s)
	}
	tasks := plan(s)
	if r.closed != nil {
		tasks = endings(tasks)
	}
	return tasks
}

func endings(tasks []task) []task {
	var some []task
	for _, t := range tasks {
		if t.action == End {
			some = append(some, t)
		}
	}
	return some
}

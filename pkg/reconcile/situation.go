package reconcile

import (
	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
)

// situation gathers what a plan follows from.
func (r *run) situation() (s situation, err error) {
	journal := r.snapshot()
	s = situation{now: r.now(), me: r.o.Config.Name, policy: r.policy, journal: journal, reach: map[string]bool{}, synced: r.synced, leases: r.leases()}
	for name := range r.o.Config.Targets {
		s.reach[name] = true
	}
	if s.known, err = known(r.book, journal, s.now); err != nil {
		return s, err
	}
	if s.active, err = r.book.Requests(ledger.Filter{Open: true, States: []approve.State{approve.Active}}, s.now); err != nil {
		return s, err
	}
	if s.traces, err = r.traces(journal); err == nil && r.synced {
		s.answered, err = r.evidence(s.now)
	}
	return s, err
}

// planned gives what is to be done, as far as it may be.
func (r *run) planned(s situation) []task {
	r.active = s.active
	if r.synced {
		r.checkStanding()
		r.renew(&s)
	}
	tasks := plan(s)
	if !r.synced || r.closed != nil {
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

package reconcile

import (
	"fmt"
	"maps"
	"time"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// What this machine signs is a question to everybody else: a record by another key
// that was signed with it in sight shows that the store is the true one, and was when
// the question was signed. A policy may ask for that, by resource, for access to
// open (freshness) and to stay open (lease).

// lease is how long access to a resource may stay open without evidence.
type lease struct {
	// Since is the time of the newest evidence, or of when the lease first applied to
	// what was open already.
	Since time.Time     `json:"since"`
	For   time.Duration `json:"for"`
}

// lapsed reports whether the lease has run out. Evidence of a time that is still to
// come is none: the clock was wrong then.
func (l lease) lapsed(now time.Time) bool {
	since := now.Sub(l.Since)
	return since >= l.For || since < -l.For
}

// StaleError says why nothing opens on a resource whose policy asks for evidence.
type StaleError struct {
	// Since is when this machine signed the newest record that another key had seen;
	// zero when there is none to speak of.
	Since time.Time
	// Limit is how old that may be.
	Limit time.Duration
}

func (e *StaleError) Error() string {
	if e.Since.IsZero() {
		return fmt.Sprintf("not fresh: no other key has answered yet what this machine signed, and the policy asks for an answer within %s; another reconciler, or anybody who signs a record, gives it", e.Limit)
	}
	return fmt.Sprintf("not fresh since %s: that is when this machine signed what another key has answered last, and the policy asks for an answer within %s; see whether the others reach the store",
		e.Since.UTC().Format(timeForm), e.Limit)
}

// Stale says why nothing may open at now on a resource, a machine's newest record that
// others have answered being of another time; nil where it may, or where the resource
// asks for no evidence. It is of type [*StaleError].
func Stale(res policy.Resource, answered, now time.Time) error {
	fresh, lease, age := res.Freshness.Duration, res.Lease.Duration, now.Sub(answered)
	if fresh > 0 && age > fresh || lease > 0 && age >= lease {
		return &StaleError{Since: answered, Limit: res.Evidence()}
	}
	return nil
}

// remembered is how far back evidence is looked for beyond what the policy asks
// for, so that people can be told how old it is.
const remembered = 24 * time.Hour

// evidencer is what tells of evidence: a ledger.
type evidencer interface {
	Evidence(key record.Fingerprint, from, to time.Time) (ledger.Evidence, error)
}

// Answered gives when the machine that signs with a key signed the newest of its
// records that others have answered, as far back as is of use where the policy asks for
// an answer within limit; zero where there is none.
func Answered(of evidencer, key record.Fingerprint, limit time.Duration, now time.Time) (time.Time, error) {
	e, err := of.Evidence(key, now.Add(-limit-remembered), now)
	return e.Answered, err
}

// stale says why nothing may open on the resource for want of evidence, or is nil.
func (s situation) stale(resource string) error {
	if s.policy == nil {
		return nil
	}
	res, _ := s.policy.Resource(resource)
	if err := Stale(res, s.answered, s.now); err != nil {
		return err
	}
	if s.lapsed(resource) {
		return &StaleError{Since: s.leases[resource].Since, Limit: res.Evidence()}
	}
	return nil
}

// lapsed reports whether the lease of a resource has run out.
func (s situation) lapsed(resource string) bool {
	l, ok := s.leases[resource]
	return ok && l.lapsed(s.now)
}

// reaches reports whether the configuration names the resource.
func (r *run) reaches(resource string) bool {
	_, ok := r.o.Config.Targets[resource]
	return ok
}

// resource gives a resource of the policy in force.
func (r *run) resource(name string) (res policy.Resource, ok bool) {
	if r.policy != nil {
		res, ok = r.policy.Resource(name)
	}
	return res, ok
}

// evidence gives when this machine signed the newest record that another key had
// seen; zero where nothing of this reconciler's asks for it, or there is none.
func (r *run) evidence(now time.Time) (time.Time, error) {
	if r.policy == nil || r.signer == nil || r.policy.Evidence(r.o.Config.Name, r.reaches) == 0 {
		return time.Time{}, nil
	}
	longest := time.Duration(0)
	for name := range r.o.Config.Targets {
		res, _ := r.policy.Resource(name)
		longest = max(longest, res.Freshness.Duration, res.Lease.Duration)
	}
	return Answered(r.book, r.signer.Fingerprint(), longest, now)
}

// renewedLeases gives the leases as the policy and the evidence have them now. What was
// open when its resource came under a lease has the length of one for the first evidence,
// unless the journal that would tell since when is lost. A time that is still to come
// counts for nothing: the clock was wrong then.
func (s situation) renewedLeases() map[string]lease {
	all := map[string]lease{}
	opened := map[string]bool{}
	for _, k := range s.journal {
		opened[k.Grant.Resource] = opened[k.Grant.Resource] || k.mayBeOpen()
	}
	for _, name := range s.policy.Resources() {
		res, _ := s.policy.Resource(name)
		if res.Lease.IsZero() || !opened[name] && !s.reach[name] {
			continue
		}
		l := lease{Since: s.answered, For: res.Lease.Duration}
		was, known := s.leases[name]
		switch {
		case known && was.Since.After(s.answered) && !was.Since.After(s.now):
			l.Since = was.Since
		case !known && !s.lost && opened[name]:
			l.Since = s.now
		}
		if known || s.lost || !l.Since.IsZero() {
			all[name] = l
		}
	}
	return all
}

// renew writes the leases down, so that they run out by the journal alone.
func (r *run) renew(s *situation) {
	if r.policy == nil {
		return
	}
	s.leases = s.renewedLeases()
	if r.o.DryRun || maps.Equal(s.leases, r.leases()) {
		return
	}
	if err := r.record(event{Kind: renewed, Leases: s.leases}); err != nil {
		r.closeOpenings(fmt.Errorf("keep how long the leases last: %w", err))
	}
}

// leases gives the leases in the journal.
func (r *run) leases() (all map[string]lease) {
	r.journal.view(func(s *journalState) { all = maps.Clone(s.leases) })
	return all
}

// noteWake says when what is open ends by the journal alone.
func (r *run) noteWake() {
	r.journal.view(func(s *journalState) {
		soonest := func(t time.Time) {
			if r.result.Wake.IsZero() || t.Before(r.result.Wake) {
				r.result.Wake = t.UTC()
			}
		}
		for _, k := range s.grants {
			if !k.mayBeOpen() || r.untoldEnds[k.Grant.ID] {
				continue // to end it once more there is time until the next run comes anyway
			}
			soonest(k.Grant.Ends)
			if l, ok := s.leases[k.Grant.Resource]; ok && !l.Since.IsZero() {
				soonest(l.Since.Add(l.For))
			}
		}
	})
}

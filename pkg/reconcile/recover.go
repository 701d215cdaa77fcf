package reconcile

import (
	"context"
	"errors"
	"fmt"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/receipt"
)

// forgotten gives what is over by the ledger, and open by this reconciler's own
// receipts, and not in its journal: what a lost or damaged journal would leave
// open. That it is over is the ledger's word; the receipts only say where to
// look.
func (r *run) forgotten() (tasks []task, err error) {
	err = r.book.Cases(func(c approve.Case) error {
		last := map[string]receipt.Outcome{}
		open := false
		for _, p := range c.Receipts {
			if rec := p.Record; rec.By == r.o.Config.Name && rec.Outcome != receipt.Failed {
				last[rec.Resource+":"+rec.Role] = rec.Outcome
			}
		}
		// An intent may have been followed by the opening whose receipt is lost.
		mayBeOpen := func(o receipt.Outcome) bool { return o == receipt.Applied || o == receipt.Intended }
		for _, outcome := range last {
			open = open || mayBeOpen(outcome)
		}
		if !open {
			return nil
		}
		e := r.book.Decide(c, r.now())
		for i, g := range e.Grants {
			w := wishOf(e, i)
			cause := causeOf(e, w.Grant.ID)
			if cause == "" || !stateOf(e, w.Grant.ID).Settled() {
				continue
			}
			if k := r.kept(w.Grant.ID); mayBeOpen(last[g.String()]) && k.stage == untouched {
				tasks = append(tasks, task{wish: w, action: End, cause: cause, adopt: true})
			}
		}
		return nil
	})
	return tasks, err
}

// tidy makes the journal whole and short: damaged lines are moved to a file
// beside it once all that could be learnt without them is known again, and what
// is done with is dropped. That is access that is over, its end past beyond any
// doubt about clocks, and its receipts in the ledger.
func (r *run) tidy(context.Context) error {
	if r.o.DryRun || !r.synced || !r.recovered || r.journal.err() != nil {
		return nil //nolint:nilerr // a journal that cannot be written is noted already, and stays as it is
	}
	if err := r.journal.setDamageAside(); err != nil {
		r.note(err)
		return nil
	}
	if r.fresh {
		if err := r.record(event{Kind: began}); err != nil {
			r.note(err)
		}
	}
	if r.closed != nil {
		return nil //nolint:nilerr // what keeps openings closed is noted already
	}
	now := r.now()
	err := r.journal.compact(compactAt, func(k *kept) bool {
		if k.mayBeOpen() || len(k.owed) > 0 || now.Sub(k.Grant.Ends) < approve.Skew {
			return false
		}
		for _, id := range k.told {
			if there, err := r.book.Has(id); err != nil || !there {
				return false
			}
		}
		return true
	})
	if err != nil {
		r.note(err)
	}
	return nil
}

// setDamageAside appends the damaged lines to a file of their own, for people
// to look at, and rewrites the journal without them.
func (j *journal) setDamageAside() error {
	j.mu.Lock()
	damaged := j.damaged
	j.mu.Unlock()
	if len(damaged) == 0 {
		return nil
	}
	path := j.path + ".damaged"
	if err := appendSynced(path, damaged); err != nil {
		return fmt.Errorf("set damaged lines of the journal aside: %w", err)
	}
	if err := j.compact(0, func(*kept) bool { return false }); err != nil {
		return err
	}
	j.mu.Lock()
	j.damaged = nil
	j.mu.Unlock()
	return nil
}

func appendSynced(path string, lines [][]byte) error {
	f, err := openAppend(path)
	if err != nil {
		return err
	}
	var all []byte
	for _, line := range lines {
		all = append(append(all, line...), '\n')
	}
	return errors.Join(writeSynced(f, all), f.Close())
}

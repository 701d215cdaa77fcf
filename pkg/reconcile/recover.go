package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/target"
)

// recall makes up for a lost or damaged journal: what this reconciler's own receipts say
// to be open, and the journal does not know of. What is over by the ledger is given back,
// to be ended. The rest is written down as access that may be open before anything is
// planned, so that it ends with its lease and at its end, even if it is not taken up
// again for want of evidence. The receipts only say where to look: that something is
// over, or is not, is the ledger's word.
func (r *run) recall() (tasks []task, err error) {
	r.recalled = nil
	err = r.book.Cases(func(c approve.Case) error {
		open := r.openByReceipts(c.Receipts)
		if len(open) == 0 {
			return nil
		}
		e := r.book.Decide(c, r.now())
		for i, g := range e.Grants {
			w := wishOf(e, i)
			rec, ok := open[g.String()]
			if !ok || w.Driver == "" || !r.untold(w.Grant.ID) {
				continue
			}
			t := task{wish: w, action: End, cause: causeOf(e, w.Grant.ID), standing: rec.Standing, adopt: true}
			switch {
			case t.cause != "" && stateOf(e, w.Grant.ID).Settled():
				tasks = append(tasks, t)
			case r.adopt(t) != nil:
				r.recalled = append(r.recalled, &kept{wish: w, stage: maybeOpen, standing: rec.Standing})
			}
		}
		return nil
	})
	return tasks, err
}

// openByReceipts gives, by entitlement, the newest of this reconciler's own receipts
// where it says that access is, or may be, open.
func (r *run) openByReceipts(all []approve.Placed[receipt.Receipt]) map[string]receipt.Receipt {
	last := map[string]receipt.Receipt{}
	for _, p := range all {
		rec := p.Record
		switch what := rec.Resource + ":" + rec.Role; {
		case rec.By != r.o.Config.Name || rec.Outcome == receipt.Failed:
		case rec.Outcome == receipt.Intended && r.synced && p.Position > r.shown:
			// It has only been sent just now: nothing was opened on it yet.
		case rec.Outcome == receipt.Ended:
			delete(last, what)
		default:
			// An intent may have been followed by the opening whose receipt is lost.
			last[what] = rec
		}
	}
	return last
}

// recognise makes up for a lost or damaged journal at one target: what is open there of
// what the ledger gives, by no other grant that is known and by no other means, is
// written down as access that may be open.
func (r *run) recognise(ctx context.Context, s *site) {
	for _, e := range r.active {
		for _, w := range wishes(e) {
			if w.Grant.Resource != s.resource || !r.reconciles(r.policy, s.resource) || !r.untold(w.Grant.ID) || s.validate(w) != nil {
				continue
			}
			d, err := s.driver(ctx, w.Driver)
			if err != nil {
				r.unseen()
				return
			}
			look, others := w.Grant, r.remaining(task{wish: w}, nil)
			seen, err := ask(ctx, s, func(ctx context.Context) (target.Observation, error) { return d.Check(ctx, look, others) })
			if err != nil {
				r.unseen()
				continue // one account may be refused; a target that is away answers for no other either
			}
			same := func(g target.Grant) bool { return g.Who() == look.Who() && maps.Equal(g.Params, look.Params) }
			if seen.Present && !seen.Foreign && !slices.ContainsFunc(others, same) {
				_ = r.adopt(task{wish: w}) // what keeps the journal from being written is told
			}
		}
	}
}

// untold reports whether the journal may have lost that a grant was opened. Where it has
// no damaged line it tells all of a grant that it tells anything of.
func (r *run) untold(id string) bool {
	k := r.kept(id)
	return k.stage == untouched && (len(k.events) == 0 || r.damaged)
}

// unseen notes that a target did not say what is open there.
func (r *run) unseen() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blind = true
}

// tidy makes the journal whole and short: damaged lines are moved to a file
// beside it once all that could be learnt without them is known again, from the store
// and from every target, and what
// is done with is dropped. That is access that is over, its end past beyond any
// doubt about clocks, and its receipts in the ledger or refused.
func (r *run) tidy(context.Context) error {
	if r.o.DryRun || !r.synced || !r.recovered || r.lost && r.blind || r.journal.err() != nil {
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
	// What waits to be sent is in the ledger, or refused for good, when nothing waits.
	if r.closed != nil || r.waiting || r.result.ReceiptsSpooled > 0 {
		return nil //nolint:nilerr // what keeps openings closed is noted already
	}
	now := r.now()
	err := r.journal.compact(compactAt, func(k *kept) bool {
		return !k.mayBeOpen() && len(k.owed) == 0 && now.Sub(k.Grant.Ends) >= approve.Skew
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

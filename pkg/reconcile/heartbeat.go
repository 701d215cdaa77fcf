package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
)

// beat signs a heartbeat where this machine needs an answer, or another reconciler
// needs one from it. It comes after the receipts, for each of them asks and answers
// as well. A run makes at most one, and none while something waits to be sent: it
// would only be one more; and none where the state folder is that of others, or takes nothing.
func (r *run) beat(ctx context.Context) error {
	if r.o.DryRun || !r.synced || r.signer == nil || r.policy == nil || r.barred != nil || r.keepsNothing() || r.waiting || r.result.ReceiptsSpooled > 0 {
		return nil //nolint:nilerr // why nothing counts that is signed is noted already
	}
	name, key := r.o.Config.Name, r.signer.Fingerprint()
	if owner, ok := r.policy.OwnerOf(key); !ok || owner != name {
		return nil // said already
	}
	due, err := r.beatDue(key)
	if err != nil {
		r.note(fmt.Errorf("the ledger cannot be read: %w", err))
		return nil
	}
	if !due {
		return nil
	}
	now := r.o.Now()
	head, err := r.book.Head(record.KindHeartbeat, name, now)
	if err != nil {
		r.note(fmt.Errorf("a heartbeat: %w", err))
		return nil
	}
	out, err := r.book.Prepare(ctx, r.signer, receipt.Heartbeat{Head: head}, head.Created.Time, "")
	if err != nil {
		r.note(fmt.Errorf("a heartbeat: %w", err))
		return nil
	}
	reach("beating")
	waiting, err := r.book.Submit(ctx, name+" is there", [][2]string{{"Jit-Kind", string(record.KindHeartbeat)}, {"Jit-By", name}}, []outgoing{out})
	switch {
	case err != nil:
		r.note(fmt.Errorf("a heartbeat could not be handed over: %w", err))
	case waiting != nil:
		r.log.Warn("a heartbeat waits for the store", "error", waiting)
		if r.result.SyncErr == nil {
			r.result.SyncErr = waiting
		}
	default:
		r.result.Beat = true
	}
	return nil
}

// beatDue reports whether somebody needs a heartbeat of this machine.
func (r *run) beatDue(key record.Fingerprint) (bool, error) {
	now := r.o.Now() // by which the records are signed, even if it was set back
	if limit := r.policy.Evidence(r.o.Config.Name, r.reaches); limit > 0 {
		e, err := r.book.Evidence(key, now.Add(-limit), now)
		if err != nil || asks(e, limit, now) {
			return err == nil, err
		}
	}
	sights, err := r.book.Sights()
	if err != nil {
		return false, err
	}
	for _, s := range sights {
		owner, _ := r.policy.OwnerOf(s.Key)
		limit := r.policy.Evidence(owner, nil)
		// An answer that comes too late is no use; but the clocks may differ.
		if s.Key == key || limit == 0 || now.Sub(s.Created) >= limit+approve.Skew {
			continue
		}
		seen, err := r.book.Seen(s.Key)
		if err != nil {
			return false, err
		}
		if s.Position <= seen {
			continue
		}
		e, err := r.book.Evidence(s.Key, s.Created.Add(-limit), s.Created)
		if err != nil {
			return false, err
		}
		if asked(e, limit) {
			return true, nil
		}
	}
	return false, nil
}

// asked reports whether the newest record of a machine is a question: it is not
// answered, and far enough from the newest one that is. What a machine signs to
// answer somebody comes soon after its own question was answered, or is answered
// with it, and needs no answer itself: so two of them do not go on for ever.
func asked(e ledger.Evidence, limit time.Duration) bool {
	return e.Last.After(e.Answered) && e.Last.Sub(e.Answered) >= limit/4
}

// asks reports whether a machine must sign something to have it answered: half of
// the time is over for which the last answer is good, and it has not asked since, or
// so long ago that an answer would be of little use.
func asks(e ledger.Evidence, limit time.Duration, now time.Time) bool {
	if now.Sub(e.Answered) < limit/2 {
		return false
	}
	return !asked(e, limit) || now.Sub(e.Last) >= limit/2
}

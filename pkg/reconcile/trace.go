package reconcile

import (
	"context"
	"fmt"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// Where the policy requires a trace, access opens only when the reconciler's signed
// intent has come back from the store: whoever withholds what this machine sends
// keeps access closed, and cannot have it open in silence.

// trace is where the intent to open a grant stands.
type trace int

const (
	untraced trace = iota // no intent is signed, or it was lost on the way
	onItsWay              // it is signed, and was not seen to be in the store yet
	returned              // the store has shown it
)

// traced reports whether the policy requires a trace for the resource.
func (s situation) traced(resource string) bool {
	if s.policy == nil {
		return false
	}
	res, _ := s.policy.Resource(resource)
	return res.Trace == policy.TraceRequired
}

// traces says where the intents of the journalled grants stand, that are not open.
func (r *run) traces(journal []*kept) (map[string]trace, error) {
	all := map[string]trace{}
	for _, k := range journal {
		switch {
		case k.mayBeOpen():
		case k.trace != "":
			t, err := r.traceOf(k.trace)
			if err != nil {
				return nil, err
			}
			if t == untraced && k.announcing() {
				t = onItsWay
			}
			all[k.Grant.ID] = t
		case k.announcing():
			all[k.Grant.ID] = onItsWay
		}
	}
	return all, nil
}

// traceOf says where one signed intent stands. That this machine has sent it says
// nothing: what counts is what the store showed when it was asked.
func (r *run) traceOf(id record.ID) (trace, error) {
	position, err := r.book.Position(id)
	switch {
	case err != nil:
		return untraced, err
	case position > 0 && position <= r.shown:
		return returned, nil
	case position > 0 || r.waiting:
		return onItsWay, nil
	}
	return untraced, nil
}

// announce writes down that a grant is to open once that is on record. Its receipt
// goes with those of the run.
func (r *run) announce(s *site, t task) error {
	if err := s.validate(t.wish); err != nil {
		return err
	}
	w := t.wish
	if err := r.record(event{Kind: announced, Grant: t.Grant.ID, Wish: &w}); err != nil {
		return fmt.Errorf("note the intent: %w", err)
	}
	reach("announced")
	return nil
}

// openTraced asks the store once more where intents were handed over in this run, and
// opens what may open now. What does not come back yet opens in a later run.
func (r *run) openTraced(ctx context.Context) error {
	if !r.announced || r.closed != nil {
		return nil //nolint:nilerr // why nothing new opens is noted already
	}
	report, err := r.book.Sync(ctx, nil)
	if err != nil {
		r.log.Warn("the store could not be asked again; what is announced opens in a later run", "error", err)
		return nil
	}
	r.shown, r.waiting, r.policy = report.Shown, report.Waiting > 0, r.book.Policy()
	s, err := r.situation()
	if err != nil {
		r.closeOpenings(fmt.Errorf("the ledger cannot be read: %w", err))
		return nil
	}
	r.apply(ctx, r.planned(s), nil)
	return r.writeReceipts(ctx)
}

package reconcile

import (
	"fmt"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/target"
)

// The causes for which access ends.
const (
	causeExpired   = "expired"
	causeCancelled = "cancelled"
	causeRevoked   = "revoked"
	causeDenied    = "denied"
	// causeChanged: the policy, or this reconciler's configuration, no longer
	// gives the access, or gives another.
	causeChanged = "changed"
	causeLease   = receipt.CauseLease
)

// task is one action of a plan.
type task struct {
	wish
	action   Action
	cause    string
	standing bool
	// held says why it is not done, or is nil.
	held error
	// adopt says that the journal does not have the grant open.
	adopt bool
	// refused is why it is not done, and failed at once.
	refused error
}

// situation is all that a plan follows from.
type situation struct {
	now    time.Time
	me     string
	policy *policy.Policy // in force; nil where there is none
	// reach are the resources of the configuration.
	reach map[string]bool
	// active are the requests that are open at now; known are those of the
	// journalled grants that may be open, whatever their state.
	active []ledger.Entry
	known  map[record.ID]ledger.Entry
	// synced says that the ledger is what the store says now. Only then does
	// the absence of a request mean something, and only then is anything
	// opened, but for what is in brought.
	synced  bool
	journal []*kept
	// answered is the time of the newest evidence that the store is the true one, leases
	// what rests on it, and traces are the intents of grants that are not open.
	answered time.Time
	leases   map[string]lease
	traces   map[string]trace
	// brought are the emergencies that were carried in, and may open though synced is
	// not so.
	brought map[record.ID]bool
	// unproven is why answered and traces are not known, or nil.
	unproven error
	// barred is why nothing counts that this reconciler signs, or nil.
	barred error
	// lost says that the journal did not tell all when it was read.
	lost bool
}

// plan says what to do: what ends, in the order in which it was opened, then
// what opens. It looks at nothing but the situation.
func plan(s situation) []task {
	wanted := map[string]wish{}
	late := map[string]error{}
	var order []wish
	for _, e := range s.active {
		for _, w := range wishes(e) {
			if s.mine(w.Grant.Resource) && w.Grant.Ends.After(s.now) {
				wanted[w.Grant.ID] = w
				late[w.Grant.ID] = s.tooLate(e, w)
				order = append(order, w)
			}
		}
	}
	var tasks []task
	have := map[string]*kept{}
	ending := map[string]bool{}
	for _, k := range s.journal {
		have[k.Grant.ID] = k
		if cause := s.over(k, wanted); k.mayBeOpen() && cause != "" {
			ending[k.Grant.ID] = true
			tasks = append(tasks, task{wish: k.wish, action: End, cause: cause, standing: k.standing})
		}
	}
	for _, w := range order {
		k := have[w.Grant.ID]
		switch {
		case !s.synced && !s.brought[w.Request]:
			// What the store would say now is not known.
		case k == nil || k.stage == untouched:
			tasks = s.opening(tasks, task{wish: w, action: Open, refused: late[w.Grant.ID]})
		case k.suspended():
			tasks = s.opening(tasks, task{wish: w, action: Resume})
		case ending[w.Grant.ID], k.stage == over:
			// What ended once stays so, whatever the clock or the
			// configuration says later.
		case k.stage == maybeOpen:
			tasks = append(tasks, task{wish: k.wish, action: Open, standing: k.standing, held: s.stale(k.Grant.Resource)})
		case s.stale(k.Grant.Resource) != nil:
			// It is open; what has gone is not given anew.
		default:
			tasks = append(tasks, task{wish: k.wish, action: Restore, standing: k.standing})
		}
	}
	return tasks
}

// tooLate says why an emergency does not open any more, where this reconciler has not
// opened it yet: only its own receipts tell of that when the journal was lost.
func (s situation) tooLate(e ledger.Entry, w wish) error {
	r := e.Request.Record
	if !r.Emergency || s.now.Sub(r.Created.Time) <= approve.EmergencyWithin {
		return nil
	}
	for _, p := range e.Receipts {
		if rec := p.Record; rec.By == s.me && rec.Resource == w.Grant.Resource && rec.Role == w.Grant.Role && rec.Outcome == receipt.Applied {
			return nil
		}
	}
	return fmt.Errorf("the emergency was signed at %s, and opens only within %s of that: %s must ask again, and somebody should ask why it came late",
		r.Created.UTC().Format(timeForm), record.Duration{Duration: approve.EmergencyWithin}, r.By)
}

// opening adds what is to be done for a grant that is to open and is not.
func (s situation) opening(tasks []task, t task) []task {
	if t.refused != nil {
		return append(tasks, t)
	}
	switch t.held = s.stale(t.Grant.Resource); {
	case t.held != nil || !s.traced(t.Grant.Resource):
	case s.traces[t.Grant.ID] == onItsWay:
		return tasks
	case s.traces[t.Grant.ID] == untraced:
		t.action = Intend
	}
	return append(tasks, t)
}

// mine reports whether the resource is this reconciler's by the policy and by
// the configuration.
func (s situation) mine(resource string) bool {
	return s.policy != nil && s.policy.Reconciles(s.me, resource) && s.reach[resource]
}

// over says why a journalled grant must end, or "" where it need not.
func (s situation) over(k *kept, wanted map[string]wish) string {
	if !k.Grant.Ends.After(s.now) {
		return causeExpired
	}
	if cause := s.dropped(k, wanted); cause != "" {
		return cause
	}
	if s.lapsed(k.Grant.Resource) {
		return causeLease
	}
	return ""
}

// dropped says why the ledger no longer gives a journalled grant, or "" where it
// does, or is not known to give it no longer.
func (s situation) dropped(k *kept, wanted map[string]wish) string {
	e, ok := s.known[k.Request]
	switch {
	case !ok && s.synced, ok && e.Digest != k.Digest:
		return causeChanged
	case !ok:
		return ""
	}
	if cause := causeOf(e, k.Grant.ID); cause != "" {
		return cause
	}
	if w, ok := wanted[k.Grant.ID]; !ok || !w.same(k.wish) {
		return causeChanged
	}
	return ""
}

// causeOf says why a grant of a request ends, or "" where it is open. A part of a
// bundle may open and end apart from the others.
func causeOf(e ledger.Entry, grant string) string {
	switch stateOf(e, grant) {
	case approve.Active:
		return ""
	case approve.Expired:
		return causeExpired
	case approve.Cancelled:
		return causeCancelled
	case approve.Denied:
		return causeDenied
	case approve.Revoked:
		if e.EndedBy != nil && e.EndedBy.By == "" && e.EndedBy.Record != "" {
			return causeChanged // by a policy version
		}
		return causeRevoked
	}
	return causeChanged
}

func stateOf(e ledger.Entry, grant string) approve.State {
	if _, i, ok := requestOf(grant); ok && i < len(e.Grants) && e.Grants[i].State != "" {
		return e.Grants[i].State
	}
	return e.State
}

// wishes gives the grants of a request, as they are decided.
func wishes(e ledger.Entry) []wish {
	all := make([]wish, 0, len(e.Grants))
	for i, g := range e.Grants {
		if g.State == approve.Active {
			all = append(all, wishOf(e, i))
		}
	}
	return all
}

func wishOf(e ledger.Entry, i int) wish {
	r, d := e.Request.Record, e.Grants[i]
	return wish{
		Request: r.ID, Digest: e.Digest, Driver: d.Meaning.Driver,
		Grant: target.Grant{
			ID: fmt.Sprintf("%s-%d", r.ID, i), Resource: d.Resource, Role: d.Role, Params: d.Meaning.Parameters,
			Person: r.By, Account: d.Meaning.Account, Opens: d.Opens.UTC(), Ends: d.Ends.UTC(),
		},
	}
}

// requestOf gives the request in a grant's id.
func requestOf(grant string) (record.ID, int, bool) {
	text, number, ok := strings.Cut(grant, "-")
	if !ok || target.CheckID(grant) != nil {
		return "", 0, false
	}
	id, err := record.ParseID(text)
	var n int
	_, scanErr := fmt.Sscanf(number, "%d", &n)
	return id, n, err == nil && scanErr == nil && fmt.Sprint(n) == number
}

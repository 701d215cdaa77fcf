package ledger_test

import (
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// lockedAndFreed locks somebody and lifts that lock again.
func (w *world) lockedAndFreed(name string) {
	w.Helper()
	w.counted(w.push(w.lock("erin", name)...), 1)
	all := w.l.Locks()
	for _, by := range []string{"erin", "carol"} {
		w.counted(w.push(w.unlockOf(all[len(all)-1].ID, by)...), 1)
	}
	if w.l.Refuse(name, "") != nil {
		w.Fatalf("%s is locked", name)
	}
}

// removedAndBack takes somebody from the policy, as an admin or altogether, and puts the
// policy in force again that there was before.
func (w *world) removedAndBack(change func(*policy.Document)) {
	w.Helper()
	body := w.body
	for _, f := range []func(*policy.Document){change, func(d *policy.Document) { d.Body = body }} {
		doc, files := w.proposal("erin", f)
		w.counted(w.push(files...), 1)
		w.counted(w.push(w.policyApproval(doc, files[0], "carol")...), 1)
		if w.l.Policy().ID() != doc.ID {
			w.Fatal("the policy did not come into force")
		}
	}
}

// TestKeptOverALock: what somebody signed before they were locked, or left, and what
// would have been lost by that, does not count either when it comes after they are back.
// Signed again it does. What takes away, and what a machine tells, counts.
func TestKeptOverALock(t *testing.T) {
	t.Parallel()
	twoAdmins := func(d *policy.Document) { d.Admins.People = []string{"erin", "carol"} }
	locked := func(name string) func(*world) { return func(w *world) { w.lockedAndFreed(name) } }
	for name, c := range map[string]struct {
		// signed gives what lays the record, once it has laid what that needs.
		signed  func(w *world) func() []file
		between func(w *world)
		counts  bool
	}{
		"an approval": {signed: func(w *world) func() []file {
			r, d := w.asked()
			return func() []file { return w.approval(r, d, "alice") }
		}, between: locked("alice")},
		"an approval, with a key that was locked": {signed: func(w *world) func() []file {
			r, d := w.asked()
			return func() []file { return w.approval(r, d, "alice") }
		}, between: func(w *world) {
			w.counted(w.push(w.lockKey("erin", "alice")...), 1)
			w.counted(w.push(w.unlock("erin")...), 1)
			w.counted(w.push(w.unlock("carol")...), 1)
		}},
		"an approval, where another was locked": {signed: func(w *world) func() []file {
			r, d := w.asked()
			return func() []file { return w.approval(r, d, "carol") }
		}, between: locked("alice"), counts: true},
		"a request": {signed: func(w *world) func() []file {
			return func() []file { _, f := w.request(); return f }
		}, between: locked("bob")},
		"a policy version": {signed: func(w *world) func() []file {
			return func() []file { _, f := w.proposal("alice", nil); return f }
		}, between: locked("alice")},
		"an agreement to a policy version": {signed: func(w *world) func() []file {
			doc, f := w.proposal("erin", nil)
			w.counted(w.push(f...), 1)
			return func() []file { return w.policyApproval(doc, f[0], "alice") }
		}, between: locked("alice")},
		"an agreement to lift a lock": {signed: func(w *world) func() []file {
			w.counted(w.push(w.lock("erin", "bob")...), 1)
			return func() []file { return w.unlock("alice") }
		}, between: locked("alice")},
		"an agreement to lift a lock, by one who was no admin for a while": {signed: func(w *world) func() []file {
			w.counted(w.push(w.lock("erin", "bob")...), 1)
			return func() []file { return w.unlock("alice") }
		}, between: func(w *world) { w.removedAndBack(twoAdmins) }},
		"a delegation": {signed: func(w *world) func() []file {
			return func() []file { return w.delegation("alice", "bob") }
		}, between: locked("alice")},
		"a delegation to one who was locked": {signed: func(w *world) func() []file {
			return func() []file { return w.delegation("alice", "bob") }
		}, between: locked("bob")},
		"a delegation to one who was not there for a while": {signed: func(w *world) func() []file {
			return func() []file { return w.delegation("alice", "bob") }
		}, between: func(w *world) {
			w.removedAndBack(func(d *policy.Document) {
				people := d.People
				d.People = map[string]policy.Person{}
				for name, p := range people {
					if name != "bob" {
						d.People[name] = p
					}
				}
			})
		}},
		"a comment": {signed: func(w *world) func() []file {
			r, d := w.asked()
			return func() []file {
				x := request.Comment{Head: w.head(record.KindComment, "alice"), Request: r.ID, RequestDigest: d, Comment: "well"}
				return w.signed(x, "alice", record.PathOf(x.Head, r.ID, false))
			}
		}, between: locked("alice")},
		"a revocation": {signed: func(w *world) func() []file {
			r, d := w.asked()
			return func() []file {
				x := revoke.Revocation{Head: w.head(record.KindRevocation, "alice"), Request: r.ID, RequestDigest: d, Reason: "enough"}
				return w.signed(x, "alice", record.PathOf(x.Head, r.ID, false))
			}
		}, between: locked("alice"), counts: true},
		"a heartbeat": {signed: func(w *world) func() []file {
			return func() []file { return w.heartbeat("robot") }
		}, between: func(w *world) {
			w.counted(w.push(w.lockKey("erin", "robot")...), 1)
			w.counted(w.push(w.unlock("erin")...), 1)
			w.counted(w.push(w.unlock("carol")...), 1)
		}, counts: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.body.Delegation.Longest.Duration = 24 * time.Hour
			w.threeAdmins()
			sign := c.signed(w)
			kept := sign()
			from := len(w.commits)
			c.between(w)
			if c.counts {
				w.counted(w.push(kept...), 1)
			} else {
				w.refused(w.push(kept...), string(policy.HeadTooOld))
				w.counted(w.push(sign()...), 1)
			}
			w.same(from)
		})
	}
}

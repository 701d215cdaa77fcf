package ledger_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// freed locks a person, or the key of one, and lifts that lock again.
func (w *world) freed(lock []file) {
	w.Helper()
	w.counted(w.push(lock...), 1)
	all := w.l.Locks()
	for _, by := range []string{"erin", "carol"} {
		w.counted(w.push(w.unlockOf(all[len(all)-1].ID, by)...), 1)
	}
	if all = w.l.Locks(); all[len(all)-1].Lifted == 0 {
		w.Fatal("the lock is not lifted")
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
	for name, c := range map[string]struct {
		// sign gives what lays records, some of which lose their effect by what comes
		// between, once it has laid what they need.
		sign    func(w *world) (lose, stay func() [][]file)
		between func(w *world)
	}{
		"a person": {sign: func(w *world) (lose, stay func() [][]file) {
			r, d := w.asked()
			other, e := w.askedBy("carol")
			doc, f := w.proposal("erin", nil)
			w.counted(w.push(append(f, w.lockKey("erin", "mallory")...)...), 2)
			return func() [][]file {
					_, version := w.proposal("alice", nil)
					_, asks := w.request(func(r *request.Request) { r.By = "alice" })
					says := request.Comment{Head: w.head(record.KindComment, "alice"), Request: r.ID, RequestDigest: d, Comment: "well"}
					return [][]file{
						version, asks, w.approval(r, d, "alice"), w.policyApproval(doc, f[0], "alice"), w.unlock("alice"),
						w.delegation("alice", "bob"), w.signed(says, "alice", record.PathOf(says.Head, r.ID, false)),
					}
				}, func() [][]file {
					x := revoke.Revocation{Head: w.head(record.KindRevocation, "alice"), Request: other.ID, RequestDigest: e, Reason: "enough"}
					return [][]file{w.signed(x, "alice", record.PathOf(x.Head, other.ID, false)), w.approval(r, d, "carol")}
				}
		}, between: func(w *world) { w.freed(w.lock("erin", "alice")) }},
		"a key, and the one to whom something is given": {sign: func(w *world) (lose, stay func() [][]file) {
			r, d := w.askedBy("carol")
			return func() [][]file { return [][]file{w.approval(r, d, "alice"), w.delegation("erin", "bob")} },
				func() [][]file { return [][]file{w.heartbeat("robot")} }
		}, between: func(w *world) {
			w.freed(w.lockKey("erin", "alice"))
			w.freed(w.lockKey("erin", "robot"))
			w.freed(w.lock("erin", "bob"))
		}},
		"one who had another key meanwhile": {sign: func(w *world) (lose, stay func() [][]file) {
			r, d := w.askedBy("carol")
			other, e := w.askedBy("carol")
			return func() [][]file {
					_, asks := w.request(func(r *request.Request) { r.By = "alice" })
					says := request.Comment{Head: w.head(record.KindComment, "alice"), Request: r.ID, RequestDigest: d, Comment: "well"}
					return [][]file{asks, w.approval(r, d, "alice"), w.delegation("alice", "bob"), w.signed(says, "alice", record.PathOf(says.Head, r.ID, false))}
				}, func() [][]file {
					x := revoke.Revocation{Head: w.head(record.KindRevocation, "alice"), Request: other.ID, RequestDigest: e, Reason: "enough"}
					return [][]file{w.signed(x, "alice", record.PathOf(x.Head, other.ID, false))}
				}
		}, between: func(w *world) { w.removedAndBack(hasKeyOf(w, "alice", "mallory")) }},
		"those who were away": {sign: func(w *world) (lose, stay func() [][]file) {
			w.counted(w.push(w.lockKey("erin", "mallory")...), 1)
			return func() [][]file { return [][]file{w.unlock("alice"), w.delegation("alice", "bob")} },
				func() [][]file { return [][]file{w.delegation("alice", "erin")} }
		}, between: func(w *world) {
			w.removedAndBack(func(d *policy.Document) {
				d.Admins.People = []string{"erin", "carol"}
				d.People = maps.Clone(d.People)
				delete(d.People, "bob")
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.body.Delegation.Longest.Duration = 24 * time.Hour
			w.threeAdmins()
			lose, stay := c.sign(w)
			kept, counts := lose(), stay()
			c.between(w)
			for _, files := range kept {
				w.refused(w.push(files...), string(policy.HeadTooOld))
			}
			again := lose()
			w.counted(w.push(slices.Concat(slices.Concat(counts...), slices.Concat(again...))...), len(counts)+len(again))
			w.same()
		})
	}
}

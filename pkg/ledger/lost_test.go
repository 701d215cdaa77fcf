package ledger_test

import (
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// TestApprovedAhead: an approval that was signed by a clock that is ahead opens nothing when
// its time has come, where its signer has lost meanwhile what they signed it with.
func TestApprovedAhead(t *testing.T) {
	for name, c := range map[string]struct {
		by   string
		lose func(w *world)
		why  policy.Code
	}{
		"a lock":             {"carol", func(w *world) { w.counted(w.push(w.lock("alice", "carol")...), 1) }, policy.Locked},
		"a lock of a key":    {"carol", func(w *world) { w.counted(w.push(w.lockKey("alice", "carol")...), 1) }, policy.Locked},
		"the key is taken":   {"carol", func(w *world) { w.changed(hasKeyOf(w, "carol", "mallory")) }, policy.SignerLeft},
		"the key is retired": {"carol", func(w *world) { w.push(w.revoked("carol", record.RevokedSoft)) }, policy.KeyRetired},
		"the delegation is ended": {"bob", func(w *world) {
			w.counted(w.push(w.endOf(w.delegations()[0].Record.ID, "carol")...), 1)
		}, policy.StageNotOpen},
		"the one in whose place it was given is locked": {"bob", func(w *world) { w.counted(w.push(w.lock("alice", "carol")...), 1) }, policy.StageNotOpen},
	} {
		t.Run(name, func(t *testing.T) {
			w := lending(t)
			w.changed(func(d *policy.Document) {
				d.Rules[0].Stages = []policy.Stage{{Approvers: []string{"carol", "erin"}, Count: 1}}
			})
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			open, od := w.askedBy("zoe")
			w.counted(w.push(w.approval(open, od, c.by)...), 1)
			r, d := w.askedBy("zoe")
			now := w.now
			w.now = now.Add(time.Hour)
			w.counted(w.push(w.approval(r, d, c.by)...), 1)
			w.now = now.Add(time.Minute)
			c.lose(w)
			w.state(open.ID, approve.Active)
			w.now = now.Add(time.Hour)
			w.state(r.ID, approve.Pending)
			if s := w.why(r.ID); s.Counted || s.Why != c.why {
				t.Errorf("counted %t, %q", s.Counted, s.Why)
			}
			w.counted(w.push(w.approval(r, d, "erin")...), 1)
			w.state(r.ID, approve.Active)
			w.same(2, 5, 7)
		})
	}
}

// TestLockDatedBack: a lock that claims to be from before what it names was approved ends
// nothing that was opened on it.
func TestLockDatedBack(t *testing.T) {
	w := newWorld(t)
	r, d := w.asked()
	w.later(10 * time.Minute)
	w.counted(w.push(w.approval(r, d, "carol")...), 1)
	w.counted(w.push(w.receipt(r, d, "robot")...), 1)
	w.later(-5 * time.Minute)
	w.counted(w.push(w.lock("alice", "carol")...), 1)
	w.later(5 * time.Minute)
	w.state(r.ID, approve.Active)
	w.same(1, 3)
}

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

// TestLockDatedAhead: a lock that claims a time to come keeps out no honest one, which takes
// what the locked have dated to before that time; both must be lifted.
func TestLockDatedAhead(t *testing.T) {
	w := newWorld(t)
	w.threeAdmins()
	r, d := w.asked()
	now := w.now
	at := func(ahead time.Duration, do func()) {
		w.now = now.Add(ahead)
		defer func() { w.now = now }()
		do()
	}
	at(10*time.Minute, func() { w.counted(w.push(w.approval(r, d, "carol")...), 1) })
	for _, hours := range []time.Duration{300, 299} {
		at(hours*time.Hour, func() { w.counted(w.push(w.lock("erin", "carol")...), 1) })
	}
	at(298*time.Hour, func() { w.refused(w.push(w.lock("erin", "carol")...), string(policy.AlreadyLocked)) })
	// It waits for its time, whatever the locks that stand are to take then.
	if s := w.why(r.ID); s.Counted || s.Why != policy.NotYet {
		t.Errorf("before: counted %t, %q", s.Counted, s.Why)
	}
	w.counted(w.push(w.lock("alice", "carol")...), 1)
	w.refused(w.push(w.lock("alice", "carol")...), string(policy.AlreadyLocked))
	if s := w.why(r.ID); s.Counted || s.Why != policy.Locked {
		t.Errorf("after: counted %t, %q", s.Counted, s.Why)
	}
	w.later(time.Hour)
	w.state(r.ID, approve.Pending)
	locks := w.l.Locks()
	for i, h := range locks {
		if err := w.l.Refuse("carol", w.key("carol")); policy.CodeOf(err) != policy.Locked {
			t.Errorf("with %d of %d locks lifted: %v", i, len(locks), err)
		}
		w.counted(w.push(w.unlockOf(h.ID, "alice")...), 1)
		w.counted(w.push(w.unlockOf(h.ID, "erin")...), 1)
	}
	if err := w.l.Refuse("carol", w.key("carol")); err != nil {
		t.Error(err)
	}
	w.state(r.ID, approve.Pending)
	w.same(2, 5, 7)
}

// TestDelegationEndDatedAhead: an end of a delegation that claims a time to come keeps out
// no honest one, which takes what was approved under it and dated to before that time.
func TestDelegationEndDatedAhead(t *testing.T) {
	w := lending(t)
	w.counted(w.push(w.delegation("carol", "bob")...), 1)
	id := w.delegations()[0].Record.ID
	r, d := w.askedBy("zoe")
	now := w.now
	at := func(ahead time.Duration, do func()) {
		w.now = now.Add(ahead)
		defer func() { w.now = now }()
		do()
	}
	ends := func(by, reason string) func() {
		return func() {
			if reason != "" {
				w.refused(w.push(w.endOf(id, by)...), reason)
				return
			}
			w.counted(w.push(w.endOf(id, by)...), 1)
		}
	}
	at(10*time.Minute, func() { w.counted(w.push(w.approval(r, d, "bob")...), 1) })
	at(3*time.Hour, ends("bob", ""))
	at(3*time.Hour, ends("carol", string(policy.DelegationEnded)))
	at(2*time.Hour, ends("bob", ""))
	at(time.Hour, ends("bob", string(policy.DelegationEnded)))
	at(time.Hour, ends("zoe", string(policy.NotAllowed)))
	at(0, ends("carol", ""))
	at(time.Minute, ends("carol", string(policy.DelegationEnded)))
	if e := w.delegations()[0].Ended; e == nil || e.By != "carol" || !e.At.Equal(now) {
		t.Errorf("ended by %+v", e)
	}
	w.later(time.Hour)
	w.state(r.ID, approve.Pending)
	if s := w.why(r.ID); s.Counted {
		t.Errorf("counted: %+v", s)
	}
	w.same(2, 5, 7)
}

// TestDelegationEndedAgain: that a delegation which is over is ended as of an earlier time
// takes what was approved under it, and nothing that was under the next one.
func TestDelegationEndedAgain(t *testing.T) {
	w := lending(t)
	w.changed(func(d *policy.Document) { d.Rules[0].Stages[0].Approvers = []string{"carol", "erin"} })
	w.counted(w.push(w.delegation("carol", "bob")...), 1)
	first := w.delegations()[0].Record.ID
	before, bd := w.askedBy("zoe")
	after, ad := w.askedBy("zoe")
	w.ahead(20*time.Minute, func() { w.counted(w.push(w.approval(before, bd, "bob")...), 1) })
	w.ahead(40*time.Minute, func() { w.counted(w.push(w.endOf(first, "carol")...), 1) })
	w.later(time.Minute)
	w.counted(w.push(w.delegation("carol", "bob")...), 1)
	w.ahead(20*time.Minute, func() { w.counted(w.push(w.approval(after, ad, "bob")...), 1) })
	w.counted(w.push(w.endOf(first, "bob")...), 1)
	w.later(time.Hour)
	w.state(before.ID, approve.Pending)
	w.state(after.ID, approve.Active)
	w.same(2, 6, 8)
}

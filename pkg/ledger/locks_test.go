package ledger_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// apart signs a record that belongs to no one request.
func (w *world) apart(v any, h record.Head) []file {
	w.Helper()
	return w.signed(v, h.By, record.PathOf(h, "", false))
}

func (w *world) lock(by, person string, change ...func(*revoke.Lock)) []file {
	w.Helper()
	l := revoke.Lock{Head: w.head(record.KindLock, by), Person: person, Reason: "laptop lost"}
	for _, f := range change {
		f(&l)
	}
	return w.apart(l, l.Head)
}

func (w *world) lockKey(by, of string) []file {
	w.Helper()
	return w.lock(by, "", func(l *revoke.Lock) { l.Key = w.certs[of].Fingerprint() })
}

// unlock agrees to lift the lock that stands longest.
func (w *world) unlock(by string) []file {
	w.Helper()
	for _, h := range w.l.Locks() {
		if h.Lifted == 0 {
			u := revoke.Unlock{Head: w.head(record.KindUnlock, by), Lock: h.ID, Reason: "found again"}
			return w.apart(u, u.Head)
		}
	}
	w.Fatal("nothing is locked")
	return nil
}

// changed puts another policy in force, by alice and erin.
func (w *world) changed(change func(*policy.Document)) {
	w.Helper()
	doc, f := w.proposal("alice", change)
	w.counted(w.push(f...), 1)
	w.body = doc.Body
	if w.l.Policy().ID() != doc.ID {
		w.counted(w.push(w.policyApproval(doc, f[0], "erin")...), 1)
	}
	if w.l.Policy().ID() != doc.ID {
		w.Fatal("the policy did not come into force")
	}
}

// threeAdmins makes carol an admin as well, and two of the three must agree.
func (w *world) threeAdmins() {
	w.Helper()
	w.changed(func(d *policy.Document) { d.Admins = policy.Admins{People: []string{"alice", "erin"}, Threshold: 2} })
	w.changed(func(d *policy.Document) { d.Admins.People = []string{"alice", "erin", "carol"} })
}

func (w *world) approved() (request.Request, record.Digest) {
	w.Helper()
	r, d := w.asked()
	w.counted(w.push(w.approval(r, d, "carol")...), 1)
	return r, d
}

// why gives what became of the only approval of a request.
func (w *world) why(id record.ID) approve.Standing {
	w.Helper()
	e, err := w.l.Request(id, w.now)
	w.must(err)
	return e.Decision.Approvals[0]
}

func TestLockEndsWhatTheLockedAskedFor(t *testing.T) {
	for name, lock := range map[string]func(w *world) []file{
		"the person": func(w *world) []file { return w.lock("alice", "bob") },
		"the key":    func(w *world) []file { return w.lockKey("alice", "bob") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			open, _ := w.approved()
			waits, digest := w.asked()
			w.counted(w.push(lock(w)...), 1)
			w.state(open.ID, approve.Revoked)
			w.state(waits.ID, approve.Revoked)
			e, err := w.l.Request(open.ID, w.now)
			w.must(err)
			if e.EndedBy == nil || e.EndedBy.By != "alice" || e.EndedBy.Reason != "locked: laptop lost" || e.EndedBy.Record == "" {
				t.Errorf("ended by %+v", e.EndedBy)
			}
			w.refused(w.push(w.approval(waits, digest, "carol")...), string(policy.AfterEnd))
			_, f := w.request()
			w.refused(w.push(f...), string(policy.Locked))
			// What is over stays so when the lock is lifted, and what is new counts.
			w.counted(w.push(w.unlock("erin")...), 1)
			w.state(open.ID, approve.Revoked)
			w.state(waits.ID, approve.Revoked)
			again, _ := w.approved()
			w.state(again.ID, approve.Active)
			w.same(0, 1, 2, 4, 5)
		})
	}
}

func TestLockTakesAgreementFromWhatIsNotDecided(t *testing.T) {
	w := newWorld(t)
	w.changed(func(d *policy.Document) { d.Rules[0].Stages[0].Count = 2 })
	r, d := w.asked()
	w.counted(w.push(w.approval(r, d, "carol")...), 1)
	w.counted(w.push(w.lock("alice", "carol")...), 1)
	if s := w.why(r.ID); s.Counted || s.Why != policy.Locked {
		t.Errorf("carol's approval: %+v", s)
	}
	w.refused(w.push(w.approval(r, d, "carol")...), string(policy.Locked))
	w.counted(w.push(w.approval(r, d, "alice")...), 1)
	w.state(r.ID, approve.Pending)
	w.counted(w.push(w.unlock("erin")...), 1)
	w.state(r.ID, approve.Pending)
	w.counted(w.push(w.approval(r, d, "carol")...), 1)
	w.state(r.ID, approve.Active)
	w.same(3, 4)
}

// TestLockLeavesWhatIsDecided: an approver's lock ends no access that was given.
func TestLockLeavesWhatIsDecided(t *testing.T) {
	w := newWorld(t)
	r, _ := w.approved()
	w.counted(w.push(w.lock("alice", "carol")...), 1)
	w.state(r.ID, approve.Active)
}

// TestLockEndsWhatProlongs: what extends a request ends with it, also where another
// key of the same person has signed it.
func TestLockEndsWhatProlongs(t *testing.T) {
	w := newWorld(t)
	key, err := record.GenerateKey("bob", "bob@example.com", noon.Add(-48*time.Hour), 0)
	w.must(err)
	w.signers["bob.2"] = key.Signer(func() time.Time { return w.now })
	w.push(certFile(key.Certificate().Armor()))
	w.changed(func(d *policy.Document) {
		d.Rules[0].MaxTotal.Duration = 8 * time.Hour
		bob := d.People["bob"]
		bob.Keys = append(bob.Keys[:1:1], key.Certificate().Fingerprint())
		d.People["bob"] = bob
	})
	r, _ := w.approved()
	more, _ := w.request(func(x *request.Request) { x.Extends, x.Expires = r.ID, record.At(noon.Add(time.Hour)) })
	f := w.signed(more, "bob.2", record.PathOf(more.Head, "", false))
	w.counted(w.push(f...), 1)
	w.counted(w.push(w.approval(more, record.Sum([]byte(f[0].data)), "carol")...), 1)
	w.state(more.ID, approve.Active)
	w.counted(w.push(w.lockKey("alice", "bob")...), 1)
	w.state(r.ID, approve.Revoked)
	w.state(more.ID, approve.Revoked)
	w.same(2, 5)
}

func TestUnlockTakesTheThreshold(t *testing.T) {
	w := newWorld(t)
	w.threeAdmins()
	w.counted(w.push(w.lock("erin", "bob")...), 1)
	w.counted(w.push(w.unlock("alice")...), 1)
	_, f := w.request()
	w.refused(w.push(f...), string(policy.Locked))
	if names, of := w.l.Agreed(w.l.Locks()[0].ID); len(names) != 1 || names[0] != "alice" || of != 2 {
		t.Errorf("%v of %d", names, of)
	}
	w.refused(w.push(w.unlock("alice")...), string(policy.CountedOnce))
	w.counted(w.push(w.unlock("carol")...), 1)
	w.asked()
	if h := w.l.Locks()[0]; h.Lifted == 0 || len(h.Unlocks) != 2 {
		t.Errorf("%+v", h)
	}
	w.same(1, 3)
}

// TestUnlockOfTheLockedCountsNothing: what an admin agreed to who is locked now is
// no agreement any more.
func TestUnlockOfTheLockedCountsNothing(t *testing.T) {
	w := newWorld(t)
	w.threeAdmins()
	w.counted(w.push(w.lock("erin", "bob")...), 1)
	w.counted(w.push(w.unlock("alice")...), 1)
	w.counted(w.push(w.lock("erin", "alice")...), 1)
	w.counted(w.push(w.unlock("carol")...), 1)
	if w.l.Locks()[0].Lifted != 0 {
		t.Error("lifted with the agreement of one who is locked")
	}
	w.counted(w.push(w.unlock("erin")...), 1)
	if w.l.Locks()[0].Lifted == 0 {
		t.Error("not lifted")
	}
}

func TestLockedAdminAgreesToNoPolicy(t *testing.T) {
	w := newWorld(t)
	w.threeAdmins()
	doc, f := w.proposal("alice", nil)
	w.counted(w.push(f...), 1)
	w.counted(w.push(w.lock("erin", "alice")...), 1)
	w.counted(w.push(w.policyApproval(doc, f[0], "erin")...), 1)
	p, err := w.l.Proposal(doc.ID, w.now)
	w.must(err)
	if p.State != approve.Proposed || len(p.Old.Have) != 1 {
		t.Errorf("%s, agreed by %v", p.State, p.Old.Have)
	}
	w.refused(w.push(w.policyApproval(doc, f[0], "alice")...), string(policy.Locked))
	w.counted(w.push(w.unlock("erin")...), 1)
	w.counted(w.push(w.unlock("carol")...), 1)
	if w.l.Policy().ID() == doc.ID {
		t.Fatal("lifting the lock put a policy in force")
	}
	w.counted(w.push(w.policyApproval(doc, f[0], "alice")...), 1)
	if w.l.Policy().ID() != doc.ID {
		t.Error("alice may agree again")
	}
	w.same(2, 4, 6)
}

func TestLockedMayCancelOnly(t *testing.T) {
	w := newWorld(t)
	r, d := w.asked()
	w.counted(w.push(w.lock("alice", "bob")...), 1)
	c := request.Comment{Head: w.head(record.KindComment, "bob"), Request: r.ID, RequestDigest: d, Comment: "but"}
	w.refused(w.push(w.signed(c, "bob", record.PathOf(c.Head, r.ID, false))...), string(policy.Locked))
	x := revoke.Cancellation{Head: w.head(record.KindCancellation, "bob"), Request: r.ID, RequestDigest: d}
	w.counted(w.push(w.signed(x, "bob", record.PathOf(x.Head, r.ID, false))...), 1)
}

func TestLockRefusals(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		files        func(w *world) []file
	}{
		{"by no admin", string(policy.NotAdmin), func(w *world) []file { return w.lock("carol", "bob") }},
		{"of nobody", string(policy.UnknownPerson), func(w *world) []file { return w.lock("alice", "zoe") }},
		{"of no key", string(policy.NoSuchKey), func(w *world) []file {
			return w.lock("alice", "", func(l *revoke.Lock) { l.Key = record.Fingerprint(strings.Repeat("A", 40)) })
		}},
		{"of neither", "bad-value", func(w *world) []file { return w.lock("alice", "") }},
		{"of both", "bad-value", func(w *world) []file {
			return w.lock("alice", "bob", func(l *revoke.Lock) { l.Key = w.certs["bob"].Fingerprint() })
		}},
		{"without a reason", "bad-value", func(w *world) []file { return w.lock("alice", "bob", func(l *revoke.Lock) { l.Reason = " " }) }},
		{"again", string(policy.AlreadyLocked), func(w *world) []file {
			w.counted(w.push(w.lock("alice", "bob")...), 1)
			return w.lock("erin", "bob")
		}},
		{"of the last admins", string(policy.LastAdmins), func(w *world) []file {
			w.counted(w.push(w.lock("alice", "erin")...), 1)
			return w.lock("alice", "alice")
		}},
		{"of the last admin's key", string(policy.LastAdmins), func(w *world) []file {
			w.counted(w.push(w.lockKey("alice", "erin")...), 1)
			return w.lockKey("alice", "alice")
		}},
		{"by one who is locked", string(policy.Locked), func(w *world) []file {
			w.counted(w.push(w.lock("alice", "erin")...), 1)
			return w.lock("erin", "alice")
		}},
		{"beside a request", ledger.ReasonWrongPlace, func(w *world) []file {
			r, _ := w.asked()
			l := revoke.Lock{Head: w.head(record.KindLock, "alice"), Person: "bob", Reason: "x"}
			return w.signed(l, "alice", record.PathOf(l.Head, r.ID, false))
		}},
		{"a machine's receipt", string(policy.Locked), func(w *world) []file {
			r, d := w.asked()
			w.counted(w.push(w.lockKey("alice", "robot")...), 1)
			return w.receipt(r, d, "robot")
		}},
		{"lifting by no admin", string(policy.NotAdmin), func(w *world) []file {
			w.counted(w.push(w.lock("alice", "bob")...), 1)
			return w.unlock("carol")
		}},
		{"lifting one's own", string(policy.Locked), func(w *world) []file {
			w.counted(w.push(w.lock("alice", "erin")...), 1)
			return w.unlock("erin")
		}},
		{"lifting that of one's other key", string(policy.OwnLock), func(w *world) []file {
			key, err := record.GenerateKey("erin", "erin@example.com", noon.Add(-48*time.Hour), 0)
			w.must(err)
			w.push(certFile(key.Certificate().Armor()))
			w.changed(func(d *policy.Document) {
				erin := d.People["erin"]
				erin.Keys = append(erin.Keys[:1:1], key.Certificate().Fingerprint())
				d.People["erin"] = erin
			})
			w.counted(w.push(w.lock("alice", "", func(l *revoke.Lock) { l.Key = key.Certificate().Fingerprint() })...), 1)
			return w.unlock("erin")
		}},
		{"lifting twice", string(policy.NotLocked), func(w *world) []file {
			w.counted(w.push(w.lock("alice", "bob")...), 1)
			again := w.unlock("alice")
			w.counted(w.push(w.unlock("erin")...), 1)
			return again
		}},
		{"lifting what is no lock", string(policy.NoSuchRecord), func(w *world) []file {
			u := revoke.Unlock{Head: w.head(record.KindUnlock, "alice"), Lock: w.id(), Reason: "x"}
			return w.apart(u, u.Head)
		}},
		{"lifting from an unknown head", ledger.ReasonUnknownHead, func(w *world) []file {
			w.counted(w.push(w.lock("alice", "bob")...), 1)
			u := revoke.Unlock{Head: w.head(record.KindUnlock, "alice"), Lock: w.l.Locks()[0].ID, Reason: "x"}
			u.Head.Head = strings.Repeat("f", 40)
			return w.apart(u, u.Head)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.refused(w.push(c.files(w)...), c.reason)
			w.same()
		})
	}
}

// TestLockCountsWhateverItsHead: whoever withholds a history from an admin does not
// keep a lock from counting.
func TestLockCountsWhateverItsHead(t *testing.T) {
	w := newWorld(t)
	r, _ := w.approved()
	report := w.push(w.lock("alice", "bob", func(l *revoke.Lock) { l.Head.Head = strings.Repeat("f", 40) })...)
	if report.Records != 1 || report.Forks != 1 || len(report.SetAside) != 1 || report.SetAside[0].Reason != ledger.ReasonHeadNoted {
		t.Errorf("%+v", report)
	}
	w.state(r.ID, approve.Revoked)
}

// TestLockAndWhatComesWithIt: in one commit the lock is taken first.
func TestLockAndWhatComesWithIt(t *testing.T) {
	w := newWorld(t)
	_, f := w.request()
	report := w.push(append(f, w.lock("alice", "bob")...)...)
	if report.Records != 1 || len(report.SetAside) != 1 || report.SetAside[0].Reason != string(policy.Locked) {
		t.Errorf("%+v", report)
	}
}

// TestLockedHealsNothing: one who is locked is not in good standing.
func TestLockedHealsNothing(t *testing.T) {
	w := newWorld(t)
	if _, err := w.l.MayHeal(w.certs["erin"].Fingerprint(), 1); err != nil {
		t.Fatal(err)
	}
	w.counted(w.push(w.lock("alice", "erin")...), 1)
	if _, err := w.l.MayHeal(w.certs["erin"].Fingerprint(), 1); policy.CodeOf(err) != policy.Locked {
		t.Errorf("%v", err)
	}
}

package ledger_test

import (
	"slices"
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

// unlockOf agrees to lift one lock.
func (w *world) unlockOf(id record.ID, by string) []file {
	w.Helper()
	u := revoke.Unlock{Head: w.head(record.KindUnlock, by), Lock: id, Reason: "found again"}
	return w.apart(u, u.Head)
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

// TestAgreementIsGivenAgain: what an admin agreed to before they were locked, or ceased
// to be an admin, is lost, and they can agree again.
func TestAgreementIsGivenAgain(t *testing.T) {
	for name, gone := range map[string]func(w *world){
		"locked and freed": func(w *world) {
			w.counted(w.push(w.lock("erin", "alice")...), 1)
			id := w.l.Locks()[1].ID
			for _, by := range []string{"erin", "carol"} {
				w.counted(w.push(w.unlockOf(id, by)...), 1)
			}
		},
		"removed and back": func(w *world) {
			for _, admins := range [][]string{{"erin", "carol"}, {"alice", "erin", "carol"}} {
				doc, f := w.proposal("erin", func(d *policy.Document) { d.Admins.People = admins })
				w.counted(w.push(f...), 1)
				w.counted(w.push(w.policyApproval(doc, f[0], "carol")...), 1)
				if w.l.Policy().ID() != doc.ID {
					w.Fatal("the policy did not come into force")
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.threeAdmins()
			w.counted(w.push(w.lock("erin", "bob")...), 1)
			w.counted(w.push(w.unlock("alice")...), 1)
			gone(w)
			id := w.l.Locks()[0].ID
			if names, _ := w.l.Agreed(id); len(names) != 0 || w.l.Locks()[0].Lifted != 0 {
				t.Fatalf("%v agree, lifted at %d", names, w.l.Locks()[0].Lifted)
			}
			w.counted(w.push(w.unlockOf(id, "alice")...), 1)
			w.counted(w.push(w.unlockOf(id, "erin")...), 1)
			if w.l.Locks()[0].Lifted == 0 {
				t.Error("not lifted")
			}
			w.same(2, 5)
		})
	}
}

// TestThresholdThatIsReachedByAPolicy: a lock is lifted when a version comes into force
// under which enough have agreed.
func TestThresholdThatIsReachedByAPolicy(t *testing.T) {
	w := newWorld(t)
	w.threeAdmins()
	w.counted(w.push(w.lock("erin", "bob")...), 1)
	w.counted(w.push(w.unlock("alice")...), 1)
	w.changed(func(d *policy.Document) { d.Admins.Threshold = 1 })
	if w.l.Locks()[0].Lifted == 0 {
		t.Error("not lifted")
	}
	w.asked()
	w.same(2, 5)
}

// TestLocksByAStolenKey: a thief of one admin's key who locks others leaves enough of
// them to lift what the thief has locked, and no lock falls by itself.
func TestLocksByAStolenKey(t *testing.T) {
	w := newWorld(t)
	w.threeAdmins() // alice, erin, carol; two must agree
	w.counted(w.push(w.lock("carol", "erin")...), 1)
	w.counted(w.push(w.lock("carol", "bob")...), 1)
	erins, bobs := w.l.Locks()[0].ID, w.l.Locks()[1].ID
	w.refused(w.push(w.unlockOf(erins, "erin")...), string(policy.Locked))
	w.push(w.revoked("carol", record.RevokedHard))
	if w.l.Locks()[0].Lifted != 0 {
		t.Fatal("a lock fell with the key that signed it")
	}
	_, f := w.proposal("erin", nil)
	w.refused(w.push(f...), string(policy.Locked))
	w.counted(w.push(w.unlockOf(erins, "alice")...), 1)
	w.counted(w.push(w.unlockOf(erins, "erin")...), 1)
	if w.l.Locks()[0].Lifted == 0 {
		t.Fatal("erin is locked still")
	}
	w.counted(w.push(w.unlockOf(bobs, "erin")...), 1)
	w.counted(w.push(w.unlockOf(bobs, "alice")...), 1)
	w.asked()
	w.same(2, 4, 6)
}

// TestLockedByAThiefAgreesToNothingElse: they can be locked again, and lift no lock that
// an honest key has signed.
func TestLockedByAThiefAgreesToNothingElse(t *testing.T) {
	w := newWorld(t)
	w.changed(func(d *policy.Document) { d.Admins.People = []string{"alice", "erin", "carol"} }) // one must agree
	w.counted(w.push(w.lock("carol", "erin")...), 1)
	w.push(w.revoked("carol", record.RevokedHard))
	w.counted(w.push(w.lock("alice", "bob")...), 1)
	w.refused(w.push(w.unlockOf(w.l.Locks()[1].ID, "erin")...), string(policy.Locked))
	again := w.unlockOf(w.l.Locks()[0].ID, "erin")
	w.counted(w.push(w.lock("alice", "erin")...), 1)
	w.refused(w.push(again...), string(policy.Locked))
	w.same(2, 4)
}

// TestLockedAreNotNamed: who is locked is not named as one who could decide, and where
// nobody else could, a request is refused when it is made.
func TestLockedAreNotNamed(t *testing.T) {
	w := newWorld(t)
	r, d := w.asked()
	doc, f := w.proposal("erin", func(d *policy.Document) { d.Admins.Threshold = 2 })
	w.counted(w.push(f...), 1)
	waits := func(want ...string) {
		t.Helper()
		e, err := w.l.Request(r.ID, w.now)
		w.must(err)
		all, err := w.l.Requests(ledger.Filter{Open: true}, w.now)
		w.must(err)
		for _, e := range []ledger.Entry{e, all[0]} {
			if s := e.Grants[0].Stages[0]; !slices.Equal(s.Who, want) || (len(want) == 0) != slices.ContainsFunc(e.Warnings, func(s string) bool { return strings.Contains(s, "locked") }) {
				t.Errorf("waits for %v, want %v; %q", s.Who, want, e.Warnings)
			}
		}
	}
	waits("alice", "carol")
	w.counted(w.push(w.lock("erin", "carol")...), 1)
	waits("alice")
	_, f = w.request()
	w.counted(w.push(f...), 1)
	w.changed(func(d *policy.Document) { d.Rules[0].Stages[0].Approvers = []string{"carol"} })
	waits()
	next, f := w.request()
	before, err := w.l.Before(next)
	w.must(err)
	if err := next.Allowed(w.l.Policy(), before); policy.CodeOf(err) != policy.NobodyCanApprove || !strings.Contains(err.Error(), "locked") {
		t.Errorf("%v", err)
	}
	w.refused(w.push(f...), string(policy.NobodyCanApprove))
	w.counted(w.push(w.unlock("erin")...), 1)
	waits("carol")
	_, f = w.request()
	w.counted(w.push(f...), 1)
	w.counted(w.push(w.approval(r, d, "carol")...), 1)
	w.counted(w.push(w.lock("erin", "alice")...), 1)
	p, err := w.l.Proposal(doc.ID, w.now)
	w.must(err)
	if slices.Contains(p.New.Who, "alice") {
		t.Errorf("%v could agree", p.New.Who)
	}
	w.same(2, 4, 6)
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

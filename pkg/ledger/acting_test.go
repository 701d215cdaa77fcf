package ledger_test

import (
	"slices"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

func (w *world) delegation(by, to string, change ...func(*approve.Delegation)) []file {
	w.Helper()
	d := approve.Delegation{Head: w.head(record.KindDelegation, by), To: to, Until: record.At(w.now.Add(4 * time.Hour)), Reason: "holiday"}
	for _, f := range change {
		f(&d)
	}
	return w.apart(d, d.Head)
}

func (w *world) endOf(id record.ID, by string) []file {
	w.Helper()
	e := approve.DelegationEnd{Head: w.head(record.KindDelegationEnd, by), Delegation: id}
	return w.apart(e, e.Head)
}

// lending is a world in which carol, who approves, may delegate for a day; zoe asks.
func lending(t testing.TB) *world {
	w := newWorld(t)
	key, err := record.GenerateKey("zoe", "zoe@example.com", noon.Add(-48*time.Hour), 0)
	w.must(err)
	w.signers["zoe"], w.certs["zoe"] = key.Signer(func() time.Time { return w.now }), key.Certificate()
	w.push(certFile(key.Certificate().Armor()))
	w.changed(func(d *policy.Document) {
		d.People["zoe"] = policy.Person{Keys: []record.Fingerprint{key.Certificate().Fingerprint()}}
		d.Delegation.Longest.Duration = 24 * time.Hour
		d.Rules[0].Stages[0].Approvers = []string{"carol"}
		d.Rules = append([]policy.Rule{}, d.Rules...)
	})
	return w
}

// askedBy is a request of somebody that stands in the history.
func (w *world) askedBy(by string) (request.Request, record.Digest) {
	w.Helper()
	r, f := w.request(func(r *request.Request) { r.By = by })
	w.counted(w.push(f...), 1)
	return r, record.Sum([]byte(f[0].data))
}

func (w *world) delegations() []ledger.DelegationEntry {
	w.Helper()
	all, err := w.l.Delegations(w.now)
	w.must(err)
	return all
}

func TestDelegateDecides(t *testing.T) {
	w := lending(t)
	r, d := w.askedBy("zoe")
	w.refused(w.push(w.approval(r, d, "bob")...), string(policy.NotApprover))
	w.counted(w.push(w.delegation("carol", "bob")...), 1)
	if acts := w.l.Acting("bob", w.now); !slices.Equal(acts.Names(), []string{"carol"}) || w.l.Acting("zoe", w.now) != nil {
		t.Errorf("bob acts for %v", acts)
	}
	w.counted(w.push(w.approval(r, d, "bob")...), 1)
	w.state(r.ID, approve.Active)
	if s := w.why(r.ID); !s.Counted || !slices.Equal(s.For, []string{"carol"}) {
		t.Errorf("%+v", s)
	}
	// A delegate denies and revokes as well.
	other, od := w.askedBy("zoe")
	deny := approve.Denial{Head: w.head(record.KindDenial, "bob"), Request: other.ID, RequestDigest: od, Reason: "no"}
	w.counted(w.push(w.signed(deny, "bob", record.PathOf(deny.Head, other.ID, false))...), 1)
	w.state(other.ID, approve.Denied)
	w.counted(w.push(revocation(w, r, d, "bob")...), 1)
	w.state(r.ID, approve.Revoked)
	w.same(1, 3)
}

// TestDelegateNeverDecides: in one's own matter, in that of the one in whose place
// one acts, at another time, or by a delegation that was given on.
func TestDelegateNeverDecides(t *testing.T) {
	for _, c := range []struct {
		name   string
		reason policy.Code
		files  func(w *world) []file
	}{
		{"their own request", policy.OwnRequest, func(w *world) []file {
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			r, d := w.asked()
			return w.approval(r, d, "bob")
		}},
		{"one by the one in whose place they act", policy.NotApprover, func(w *world) []file {
			w.changed(func(d *policy.Document) { d.Rules[0].Stages[0].Approvers = []string{"carol", "alice"} })
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			r, d := w.askedBy("carol")
			return w.approval(r, d, "bob")
		}},
		{"by what was given on", policy.NotApprover, func(w *world) []file {
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			w.counted(w.push(w.delegation("bob", "erin")...), 1)
			r, d := w.askedBy("zoe")
			return w.approval(r, d, "erin")
		}},
		{"after its end", policy.NotApprover, func(w *world) []file {
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			w.now = w.now.Add(4 * time.Hour)
			r, d := w.askedBy("zoe")
			return w.approval(r, d, "bob")
		}},
		{"before its beginning", policy.NotApprover, func(w *world) []file {
			w.counted(w.push(w.delegation("carol", "bob", func(d *approve.Delegation) {
				start := record.At(w.now.Add(time.Hour))
				d.Start = &start
			})...), 1)
			r, d := w.askedBy("zoe")
			return w.approval(r, d, "bob")
		}},
		{"in the place of one who is no approver", policy.NotApprover, func(w *world) []file {
			r, d := w.askedBy("zoe")
			w.counted(w.push(w.delegation("erin", "bob")...), 1)
			return w.approval(r, d, "bob")
		}},
		{"when it was ended", policy.NotApprover, func(w *world) []file {
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			w.counted(w.push(w.endOf(w.delegations()[0].Record.ID, "carol")...), 1)
			r, d := w.askedBy("zoe")
			return w.approval(r, d, "bob")
		}},
		{"when the policy does not allow it any more", policy.NotApprover, func(w *world) []file {
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			w.changed(func(d *policy.Document) { d.Delegation.Longest.Duration = time.Hour })
			r, d := w.askedBy("zoe")
			return w.approval(r, d, "bob")
		}},
		{"when the rule bars delegates", policy.NotApprover, func(w *world) []file {
			w.changed(func(d *policy.Document) { d.Rules[0].Exclude = []string{policy.ExcludeDelegates} })
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			r, d := w.askedBy("zoe")
			return w.approval(r, d, "bob")
		}},
		{"by acknowledging an emergency", policy.NotApprover, func(w *world) []file {
			w.changed(func(d *policy.Document) {
				d.Rules[0].Emergency = &policy.Emergency{Requesters: []string{"zoe"}, MaxDuration: record.Duration{Duration: time.Hour}, Acknowledge: record.Duration{Duration: time.Hour}}
			})
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			r, f := w.request(func(r *request.Request) { r.By, r.Emergency = "zoe", true })
			w.counted(w.push(f...), 1)
			return w.ack(r, record.Sum([]byte(f[0].data)), "bob")
		}},
		{"when the one who gave it was locked", policy.NotApprover, func(w *world) []file {
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			w.counted(w.push(w.lock("alice", "carol")...), 1)
			w.counted(w.push(w.unlock("erin")...), 1)
			r, d := w.askedBy("zoe")
			return w.approval(r, d, "bob")
		}},
		{"when the one who has it was locked", policy.NotApprover, func(w *world) []file {
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			w.counted(w.push(w.lock("alice", "bob")...), 1)
			w.counted(w.push(w.unlock("erin")...), 1)
			r, d := w.askedBy("zoe")
			return w.approval(r, d, "bob")
		}},
		{"when the key was locked that signed it", policy.NotApprover, func(w *world) []file {
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			r, d := w.askedBy("zoe")
			w.counted(w.push(w.lockKey("alice", "carol")...), 1)
			return w.approval(r, d, "bob")
		}},
		{"when the key was compromised that signed it", policy.NotApprover, func(w *world) []file {
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			armor, err := record.RevokeKey(w.signers["carol"], record.RevokedHard, "stolen", w.now)
			w.must(err)
			w.push(certFile(armor))
			r, d := w.askedBy("zoe")
			return w.approval(r, d, "bob")
		}},
		{"when one of the two was gone meanwhile", policy.NotApprover, func(w *world) []file {
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			bob := w.body.People["bob"]
			w.changed(func(d *policy.Document) { delete(d.People, "bob") })
			w.changed(func(d *policy.Document) { d.People["bob"] = bob })
			r, d := w.askedBy("zoe")
			return w.approval(r, d, "bob")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := lending(t)
			w.refused(w.push(c.files(w)...), string(c.reason))
			w.same(1, 3)
		})
	}
}

// TestDelegationCountsFromItsPlace: within one commit the approvals are read first.
func TestDelegationCountsFromItsPlace(t *testing.T) {
	w := lending(t)
	r, d := w.askedBy("zoe")
	report := w.push(append(w.delegation("carol", "bob"), w.approval(r, d, "bob")...)...)
	if report.Records != 1 || len(report.SetAside) != 1 || report.SetAside[0].Reason != string(policy.NotApprover) {
		t.Errorf("%+v", report)
	}
	w.counted(w.push(w.approval(r, d, "bob")...), 1)
}

// TestLockTakesAgreementInTheirPlace: what a delegate approved and is not decided
// counts no more when the one in whose place they acted is locked, or their key is
// found to be compromised.
func TestLockTakesAgreementInTheirPlace(t *testing.T) {
	for name, shut := range map[string]func(w *world) []file{
		"the person": func(w *world) []file { return w.lock("alice", "carol") },
		"the key":    func(w *world) []file { return w.lockKey("alice", "carol") },
		"a compromise": func(w *world) []file {
			armor, err := record.RevokeKey(w.signers["carol"], record.RevokedHard, "stolen", w.now)
			w.must(err)
			return []file{certFile(armor)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := lending(t)
			w.changed(func(d *policy.Document) {
				d.Rules[0].Stages = []policy.Stage{{Approvers: []string{"carol"}, Count: 1}, {Approvers: []string{"alice"}, Count: 1}}
			})
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			r, d := w.askedBy("zoe")
			w.counted(w.push(w.approval(r, d, "bob")...), 1)
			if s := w.why(r.ID); !s.Counted {
				t.Fatalf("%+v", s)
			}
			w.push(shut(w)...)
			if s := w.why(r.ID); s.Counted {
				t.Errorf("%+v", s)
			}
			w.counted(w.push(w.approval(r, d, "alice")...), 1)
			w.state(r.ID, approve.Pending)
			w.same(2, 5)
		})
	}
}

func TestDelegationRefusals(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		files        func(w *world) []file
	}{
		{"where the policy allows none", string(policy.NoDelegation), func(w *world) []file {
			w.changed(func(d *policy.Document) { d.Delegation = policy.Delegation{} })
			return w.delegation("carol", "bob")
		}},
		{"to oneself", string(policy.SelfDelegation), func(w *world) []file { return w.delegation("carol", "carol") }},
		{"to nobody", string(policy.UnknownPerson), func(w *world) []file { return w.delegation("carol", "yves") }},
		{"to one to whom it may not be", string(policy.NotDelegate), func(w *world) []file {
			w.changed(func(d *policy.Document) { d.Delegation.To = []string{"erin", "alice"} })
			return w.delegation("carol", "bob")
		}},
		{"for too long", string(policy.DelegationTooLong), func(w *world) []file {
			return w.delegation("carol", "bob", func(d *approve.Delegation) { d.Until = record.At(w.now.Add(25 * time.Hour)) })
		}},
		{"while another lasts", string(policy.AlreadyDelegated), func(w *world) []file {
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			w.now = w.now.Add(3 * time.Hour)
			return w.delegation("carol", "bob")
		}},
		{"to one who is locked", string(policy.Locked), func(w *world) []file {
			w.counted(w.push(w.lock("alice", "bob")...), 1)
			return w.delegation("carol", "bob")
		}},
		{"that ends before it begins", "bad-value", func(w *world) []file {
			return w.delegation("carol", "bob", func(d *approve.Delegation) { d.Until = d.Created })
		}},
		{"that begins before it is made", "bad-value", func(w *world) []file {
			return w.delegation("carol", "bob", func(d *approve.Delegation) {
				start := record.At(w.now.Add(-time.Hour))
				d.Start = &start
			})
		}},
		{"beside a request", ledger.ReasonWrongPlace, func(w *world) []file {
			r, _ := w.asked()
			d := approve.Delegation{Head: w.head(record.KindDelegation, "carol"), To: "bob", Until: record.At(w.now.Add(time.Hour))}
			return w.signed(d, "carol", record.PathOf(d.Head, r.ID, false))
		}},
		{"an end by another", string(policy.NotAllowed), func(w *world) []file {
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			return w.endOf(w.delegations()[0].Record.ID, "zoe")
		}},
		{"an end of nothing", string(policy.NoSuchRecord), func(w *world) []file { return w.endOf(w.id(), "alice") }},
		{"an end twice", string(policy.DelegationEnded), func(w *world) []file {
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			id := w.delegations()[0].Record.ID
			w.counted(w.push(w.endOf(id, "bob")...), 1)
			return w.endOf(id, "alice")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := lending(t)
			w.refused(w.push(c.files(w)...), c.reason)
			w.same()
		})
	}
}

func TestDelegationStates(t *testing.T) {
	w := lending(t)
	start := record.At(w.now.Add(time.Hour))
	w.counted(w.push(w.delegation("carol", "bob", func(d *approve.Delegation) { d.Start = &start })...), 1)
	w.counted(w.push(w.delegation("alice", "bob")...), 1)
	states := func(at time.Duration) string {
		all, err := w.l.Delegations(noon.Add(at))
		w.must(err)
		s := map[string]approve.DelegationState{}
		for _, d := range all {
			s[d.Record.By] = d.State
		}
		return string(s["carol"] + " " + s["alice"])
	}
	for at, want := range map[time.Duration]string{
		0: "scheduled active", time.Hour - time.Second: "scheduled active", time.Hour: "active active",
		4*time.Hour - time.Second: "active active", 4 * time.Hour: "expired expired",
	} {
		if got := states(at); got != want {
			t.Errorf("after %s: %s, want %s", at, got, want)
		}
	}
	for _, d := range w.delegations() {
		if d.Record.By == "alice" {
			w.counted(w.push(w.endOf(d.Record.ID, "erin")...), 1)
		}
	}
	if got := states(2 * time.Hour); got != "active ended" {
		t.Errorf("ended: %s", got)
	}
	to := w.body.Delegation
	for _, bars := range []func(*policy.Document){
		func(d *policy.Document) { d.Delegation.To = []string{"zoe"} },
		func(d *policy.Document) { d.Delegation.Longest.Duration = time.Hour },
	} {
		w.changed(bars)
		if got := states(2 * time.Hour); got != "not-allowed ended" {
			t.Errorf("barred: %s", got)
		}
		if acts := w.l.Acting("bob", w.now.Add(2*time.Hour)); acts != nil {
			t.Errorf("bob acts for %v", acts)
		}
		w.changed(func(d *policy.Document) { d.Delegation = to })
		if got := states(2 * time.Hour); got != "active ended" {
			t.Errorf("allowed again: %s", got)
		}
	}
	w.changed(func(d *policy.Document) { d.Delegation.To = []string{"zoe"} })
	if names := w.l.Acting("bob", w.now.Add(2*time.Hour)); names != nil {
		t.Errorf("bob acts for %v", names)
	}
}

// TestStolenDelegation: what is open under a delegation that a stolen key signed ends
// with the key, as what the key approved itself, and with it all that prolongs it.
func TestStolenDelegation(t *testing.T) {
	w := lending(t)
	w.changed(func(d *policy.Document) { d.Rules[0].MaxTotal.Duration = 8 * time.Hour })
	w.counted(w.push(w.delegation("carol", "bob")...), 1)
	r, d := w.askedBy("zoe")
	w.counted(w.push(w.approval(r, d, "bob")...), 1)
	w.state(r.ID, approve.Active)
	more, f := w.request(func(x *request.Request) { x.By, x.Extends, x.Expires = "zoe", r.ID, record.At(w.now.Add(time.Hour)) })
	w.counted(w.push(f...), 1)
	w.changed(func(d *policy.Document) { d.Rules[0].Stages[0].Approvers = []string{"carol", "alice"} })
	other, od := w.askedBy("zoe")
	w.counted(w.push(w.approval(other, od, "alice")...), 1)
	w.counted(w.push(w.approval(more, record.Sum([]byte(f[0].data)), "alice")...), 1)
	w.state(more.ID, approve.Active)
	w.push(w.revoked("carol", record.RevokedHard))
	w.state(r.ID, approve.Revoked)
	w.state(more.ID, approve.Revoked)
	w.state(other.ID, approve.Active)
	w.same(1, 4, 6)
}

// TestLockUnderAnotherName: a lock takes what was approved in somebody's place also
// where they had another name, and other keys, then.
func TestLockUnderAnotherName(t *testing.T) {
	for name, lock := range map[string]func(w *world) []file{
		"the person": func(w *world) []file { return w.lock("alice", "carla") },
		"the key":    func(w *world) []file { return w.lockKey("alice", "carol") },
	} {
		t.Run(name, func(t *testing.T) {
			w := lending(t)
			w.changed(func(d *policy.Document) {
				d.Rules[0].Stages = []policy.Stage{{Approvers: []string{"car*"}, Count: 1}, {Approvers: []string{"alice"}, Count: 1}}
			})
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			r, d := w.askedBy("zoe")
			w.counted(w.push(w.approval(r, d, "bob")...), 1)
			w.changed(func(d *policy.Document) {
				d.People["carla"] = d.People["carol"]
				delete(d.People, "carol")
			})
			w.counted(w.push(lock(w)...), 1)
			w.changed(func(d *policy.Document) {
				d.People["carol"] = d.People["carla"]
				delete(d.People, "carla")
			})
			w.counted(w.push(w.approval(r, d, "alice")...), 1)
			w.state(r.ID, approve.Pending)
			w.same(2, 5)
		})
	}
}

// TestPastDutyTakesNothingAway: who has lost what lets them deny and revoke does not have
// it again by claiming an earlier time; an admin, or one who is named, may claim what they like.
func TestPastDutyTakesNothingAway(t *testing.T) {
	deny := func(w *world, r request.Request, d record.Digest, by string, at time.Time) []file {
		now := w.now
		w.now = at
		defer func() { w.now = now }()
		x := approve.Denial{Head: w.head(record.KindDenial, by), Request: r.ID, RequestDigest: d, Reason: "no"}
		return w.signed(x, by, record.PathOf(x.Head, r.ID, false))
	}
	revoke := func(w *world, r request.Request, d record.Digest, by string, at time.Time) []file {
		now := w.now
		w.now = at
		defer func() { w.now = now }()
		return revocation(w, r, d, by)
	}
	for name, takes := range map[string]func(*world, request.Request, record.Digest, string, time.Time) []file{"denial": deny, "revocation": revoke} {
		t.Run(name+" by one whose delegation is over", func(t *testing.T) {
			w := lending(t)
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			during := w.now.Add(time.Minute)
			w.later(8 * time.Hour)
			r, d := w.askedBy("zoe")
			w.refused(w.push(takes(w, r, d, "bob", w.now)...), map[string]string{"denial": string(policy.NotApprover), "revocation": string(policy.NotAllowed)}[name])
			w.refused(w.push(takes(w, r, d, "bob", during)...), map[string]string{"denial": string(policy.NotApprover), "revocation": string(policy.NotAllowed)}[name])
			w.state(r.ID, approve.Pending)
			w.counted(w.push(takes(w, r, d, "carol", during)...), 1)
			w.same(1, 3)
		})
		t.Run(name+" by one whose delegation has ended since", func(t *testing.T) {
			w := lending(t)
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			r, d := w.askedBy("zoe")
			during := w.now.Add(time.Minute)
			w.later(6 * time.Hour)
			w.counted(w.push(w.heartbeat("robot")...), 1)
			w.refused(w.push(takes(w, r, d, "bob", during)...), map[string]string{"denial": string(policy.NotApprover), "revocation": string(policy.NotAllowed)}[name])
			w.counted(w.push(takes(w, r, d, "erin", during)...), 1)
			w.same(1, 3)
		})
		t.Run(name+" by one whose watch is over", func(t *testing.T) {
			w := lending(t)
			w.changed(func(d *policy.Document) {
				d.Rosters = map[string][]policy.Shift{"watch": {{People: []string{"bob"}, From: record.At(w.now.Add(-time.Hour)), Until: record.At(w.now.Add(time.Hour))}}}
				d.Rules[0].Stages[0].Approvers = []string{"carol", "roster:watch"}
			})
			during := w.now
			w.later(4 * time.Hour)
			r, d := w.askedBy("zoe")
			w.refused(w.push(takes(w, r, d, "bob", during)...), map[string]string{"denial": string(policy.NotApprover), "revocation": string(policy.NotAllowed)}[name])
			w.counted(w.push(takes(w, r, d, "alice", during)...), 1)
			w.same(1, 3)
		})
		t.Run(name+" in time, by a clock that is behind", func(t *testing.T) {
			w := lending(t)
			w.counted(w.push(w.delegation("carol", "bob")...), 1)
			w.later(3 * time.Hour)
			r, d := w.askedBy("zoe")
			w.counted(w.push(takes(w, r, d, "bob", w.now.Add(-30*time.Minute))...), 1)
		})
	}
}

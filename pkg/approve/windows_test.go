package approve

import (
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// hours lets a rule be used during some hours of a day, in UTC. The tests begin on a
// Tuesday at 09:00.
func hours(rule int, spans ...string) func(*policy.Body) {
	return func(b *policy.Body) {
		if b.Schedules == nil {
			b.Schedules = map[string]policy.Schedule{}
		}
		name := strings.NewReplacer(":", "", " ", "").Replace("h" + strings.Join(spans, "-"))
		b.Schedules[name] = policy.Schedule{Zone: "UTC", Hours: spans}
		b.Rules[rule].UseDuring = name
	}
}

func TestUseHours(t *testing.T) {
	for name, c := range map[string]struct {
		policy []func(*policy.Body)
		do     func(*timeline)
	}{
		"the window ends with the hours": {[]func(*policy.Body){hours(0, "08:00-09:30")}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 10).state(29, Active).window(10, 10, 30).state(30, Expired)
		}},
		"and not before": {[]func(*policy.Body){hours(0, "08:00-18:00")}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 10).window(10, 10, 70)
		}},
		"decided outside them it waits for them": {[]func(*policy.Body){hours(0, "11:00-12:00")}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 10).state(119, Scheduled).window(10, 120, 180).state(120, Active).state(179, Active).state(180, Expired)
		}},
		"decided after them it waits for tomorrow's": {[]func(*policy.Body){hours(0, "08:00-09:30")}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 40).window(40, 23*60, 24*60)
		}},
		"withdrawn while it waits for them": {[]func(*policy.Body){hours(0, "11:00-12:00")}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 10).withdraw("bob", 100).state(101, Pending).state(130, Pending)
		}},
		"a start outside them": {[]func(*policy.Body){hours(0, "08:00-09:30")}, func(tl *timeline) {
			tl.request(startAt(45), "read").approve("bob", 10).window(10, 23*60, 24*60)
		}},
		"what two rules have in common": {[]func(*policy.Body){hours(0, "09:00-12:00"), hours(2, "10:30-13:00")}, func(tl *timeline) {
			tl.request(nil, "read", "look").approve("bob", 10).window(10, 90, 150).state(89, Scheduled).state(90, Active)
		}},
		"the first end of two": {[]func(*policy.Body){hours(0, "08:00-09:40"), hours(2, "08:00-13:00")}, func(tl *timeline) {
			tl.request(nil, "read", "look").approve("bob", 10).window(10, 10, 40)
		}},
		"no hours for one of two": {[]func(*policy.Body){hours(2, "08:00-09:40")}, func(tl *timeline) {
			tl.request(nil, "read", "look").approve("bob", 10).window(10, 10, 40)
		}},
		"a rule that approves by itself": {[]func(*policy.Body){hours(2, "10:00-11:00")}, func(tl *timeline) {
			tl.request(nil, "look").state(0, Scheduled).window(0, 60, 120)
		}},
	} {
		t.Run(name, func(t *testing.T) { c.do(newTimeline(t, c.policy...)) })
	}
	t.Run("never", func(t *testing.T) {
		tl := newTimeline(t, hours(0, "09:00-10:00"), hours(2, "10:00-11:00"))
		r := request.Request{Head: tl.head(record.KindRequest, "alice", 0), Duration: minutes(60), Reason: "to look", Expires: record.At(at(300)),
			Grants: []request.Grant{{Resource: "db", Role: "read"}, {Resource: "db", Role: "look"}}}
		if err := r.Allowed(tl.h.Latest(), request.Before{}); policy.CodeOf(err) != policy.NeverOpen {
			t.Errorf("asked for: %v", err)
		}
		// It cannot be granted either, whoever agrees.
		tl.c = Case{Request: placed(tl, r, "alice")}
		tl.approve("bob", 10).state(20, Pending).state(299, Pending).state(300, Lapsed)
		if w := tl.decide(20).Warnings; len(w) != 1 || !strings.Contains(w[0], "never come") {
			t.Errorf("warned: %q", w)
		}
	})
}

// partial lets rules open what they give apart from the rest of a bundle.
func partial(rules ...int) func(*policy.Body) {
	return func(b *policy.Body) {
		for _, i := range rules {
			b.Rules[i].Partial = true
		}
	}
}

// maxOpen lets rules ask for what was open, so that it is known.
func maxOpen(b *policy.Body) {
	for i := range b.Rules {
		b.Rules[i].MaxOpen = 9
	}
}

// parts asserts where each entitlement stands at a minute.
func (tl *timeline) parts(minute int, want ...State) *timeline {
	tl.t.Helper()
	for i, g := range tl.decide(minute).Grants {
		if g.State != want[i] {
			tl.t.Errorf("at minute %d %s is %s, want %s", minute, g.Grant, g.State, want[i])
		}
	}
	return tl
}

func TestPartialBundles(t *testing.T) {
	for name, c := range map[string]struct {
		policy []func(*policy.Body)
		do     func(*timeline)
	}{
		"together where no rule says otherwise": {nil, func(tl *timeline) {
			tl.request(nil, "read", "write").approve("bob", 5).state(5, Pending).parts(5, Pending, Pending)
		}},
		"one is open while the other waits": {[]func(*policy.Body){partial(0)}, func(tl *timeline) {
			tl.request(nil, "read", "write").approve("bob", 5).state(5, Active).parts(5, Active, Pending).window(5, 5, 65).
				parts(65, Expired, Pending).state(65, Pending).approve("dave", 100).parts(100, Expired, Active).state(100, Active).window(100, 100, 160).
				state(160, Expired).parts(160, Expired, Expired)
		}},
		"one is open, and the other lapses": {[]func(*policy.Body){partial(0)}, func(tl *timeline) {
			tl.request(nil, "read", "write").approve("bob", 290).parts(300, Active, Lapsed).state(300, Active).state(350, Expired).parts(350, Expired, Lapsed)
		}},
		"a denial ends all": {[]func(*policy.Body){partial(0)}, func(tl *timeline) {
			tl.request(nil, "read", "write").approve("bob", 5).deny("dave", 10).parts(10, Revoked, Denied)
			if d := tl.decide(10); !d.State.Settled() || d.EndedBy == nil || d.EndedBy.By != "dave" {
				tl.t.Errorf("%s: %+v", d.State, d.EndedBy)
			}
		}},
		"a revocation ends all": {[]func(*policy.Body){partial(0, 1)}, func(tl *timeline) {
			tl.request(nil, "read", "write").approve("bob", 5).revoke("erin", 10).parts(10, Revoked, Revoked).state(10, Revoked)
		}},
		"a change of meaning ends the one": {[]func(*policy.Body){partial(0)}, func(tl *timeline) {
			tl.request(nil, "read", "write").approve("bob", 5).approve("dave", 6).parts(6, Active, Active)
			tl.policy(10, partial(0), otherMeaning)
			tl.parts(11, Revoked, Active).state(11, Active)
		}},
		"the others open together": {[]func(*policy.Body){partial(0)}, func(tl *timeline) {
			tl.request(nil, "write", "look", "read").parts(1, Pending, Pending, Pending).approve("bob", 5).parts(5, Pending, Pending, Active).
				approve("dave", 6).parts(6, Active, Active, Active).state(6, Active)
		}},
		"a narrower approval is one of its own part": {[]func(*policy.Body){partial(0)}, func(tl *timeline) {
			tl.request(nil, "read", "look").approve("bob", 5, narrow(10))
			d := tl.decide(5)
			if !d.Grants[0].Ends.Equal(at(15)) || !d.Grants[1].Ends.Equal(at(60)) {
				tl.t.Errorf("until %s and %s", d.Grants[0].Ends, d.Grants[1].Ends)
			}
		}},
		"what the rule said when it was asked decides": {[]func(*policy.Body){partial(0)}, func(tl *timeline) {
			tl.request(nil, "read", "look").parts(1, Pending, Active)
			tl.policy(2)
			tl.parts(3, Pending, Active).approve("bob", 5).parts(5, Active, Active)
		}},
		"each part is one of the whole: the inputs that the others ask for": {[]func(*policy.Body){partial(0), func(b *policy.Body) {
			b.Rules[0].Requires.Inputs = map[string]policy.Input{"rows": {Type: policy.InputNumber}}
			b.Rules[1].Requires.Inputs = map[string]policy.Input{"change": {Type: policy.InputText}}
		}}, func(tl *timeline) {
			tl.request(func(r *request.Request) { r.Inputs = map[string]string{"rows": "1", "change": "x"} }, "read", "write").approve("bob", 1).parts(1, Active, Pending).
				approve("dave", 2).parts(2, Active, Active)
		}},
		"each part is one of the whole: what a later version keeps apart": {[]func(*policy.Body){partial(0, 1), maxOpen}, func(tl *timeline) {
			tl.request(nil, "read", "write")
			tl.policy(1, partial(0, 1), maxOpen, func(b *policy.Body) {
				b.Conflicts = []policy.Conflict{{Name: "apart", Between: []string{"db:read", "db:write"}}}
			})
			tl.approve("bob", 2).approve("dave", 3).parts(4, Pending, Pending)
			if w := tl.decide(4).Warnings; len(w) == 0 || !strings.Contains(w[0], "cannot be held at once") {
				tl.t.Errorf("warned: %q", w)
			}
		}},
		"what refuses one part does not hold up the other": {[]func(*policy.Body){partial(0, 1)}, func(tl *timeline) {
			tl.request(nil, "read", "write")
			tl.policy(1, partial(0, 1), func(b *policy.Body) { b.Rules[1].MaxDuration = minutes(30) })
			tl.approve("bob", 2).approve("dave", 3).parts(4, Active, Pending)
		}},
		"access rests on the keys of all parts": {[]func(*policy.Body){partial(0, 1)}, func(tl *timeline) {
			tl.request(nil, "read", "write").approve("carol", 5).approve("dave", 6).parts(6, Active, Active)
			if k := tl.decide(6).Keys; len(k) != 3 {
				tl.t.Errorf("keys %v", k)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) { c.do(newTimeline(t, c.policy...)) })
	}
}

// extension makes alice's extension of what was open from one minute to another, in
// parts of their own where more are given: opens, ends, opens, ends.
func (tl *timeline) extension(minute int, roles []string, windows ...int) *timeline {
	tl.t.Helper()
	base := &request.Base{Keys: []record.Fingerprint{keysOf["carol"][0]}}
	last := at(windows[1])
	for i, role := range roles {
		w := windows[:2]
		if len(windows) >= 2*i+2 {
			w = windows[2*i : 2*i+2]
		}
		if at(w[1]).Before(last) {
			last = at(w[1])
		}
		m, err := tl.h.Latest().Meaning("alice", "db", role)
		if err != nil {
			tl.t.Fatal(err)
		}
		base.Parts = append(base.Parts, request.BasePart{Grant: request.Grant{Resource: "db", Role: role}, Opens: at(w[0]), Ends: at(w[1]), Meaning: m.Digest()})
	}
	r := request.Request{Head: tl.head(record.KindRequest, "alice", minute), Duration: minutes(60), Reason: "to look on", Expires: record.At(last), Extends: "base"}
	r.Grants = base.Grants()
	before := request.Before{Base: base}
	if err := r.Allowed(tl.h.Latest(), before); err != nil {
		tl.t.Fatal(err)
	}
	tl.c = Case{Request: placed(tl, r, "alice"), Digest: record.Sum([]byte(r.ID)), Before: before}
	return tl
}

func total(n int) func(*policy.Body) {
	return func(b *policy.Body) {
		for i := range b.Rules {
			b.Rules[i].MaxTotal = minutes(n)
		}
	}
}

func TestExtensions(t *testing.T) {
	for name, c := range map[string]struct {
		policy []func(*policy.Body)
		do     func(*timeline)
	}{
		"goes on from where the other ends": {nil, func(tl *timeline) {
			tl.extension(50, []string{"read"}, 10, 70).state(50, Pending).approve("bob", 60).state(60, Active).window(60, 60, 130).state(130, Expired)
		}},
		"decided too late": {nil, func(tl *timeline) {
			tl.extension(50, []string{"read"}, 10, 70).approve("bob", 69).state(69, Active)
			tl.extension(50, []string{"read"}, 10, 70).state(70, Lapsed)
			if err := tl.tryApprove("bob", 70); policy.CodeOf(err) != policy.Lapsed {
				tl.t.Errorf("approved after the end: %v", err)
			}
		}},
		"a rule that approves by itself": {nil, func(tl *timeline) {
			tl.extension(50, []string{"look"}, 10, 70).state(50, Active).window(50, 50, 130)
		}},
		"by less": {nil, func(tl *timeline) {
			tl.extension(50, []string{"read"}, 10, 70).approve("bob", 60, narrow(10)).window(60, 60, 80)
		}},
		"what it extends is ended by a policy": {nil, func(tl *timeline) {
			tl.extension(50, []string{"read"}, 10, 70)
			tl.policy(55, total(240), otherMeaning)
			tl.state(56, Revoked).approve("bob", 60).state(60, Revoked).state(100, Revoked)
			if d := tl.decide(60); d.EndedBy == nil || !d.Closed.Equal(at(55)) {
				tl.t.Errorf("ended at %s by %+v", d.Closed, d.EndedBy)
			}
		}},
		"the key on which the first rests is compromised": {nil, func(tl *timeline) {
			tl.extension(50, []string{"read"}, 10, 70).approve("bob", 60).compromise(keysOf["carol"][0], 65).state(66, Revoked)
		}},
		"cancelled": {nil, func(tl *timeline) {
			tl.extension(50, []string{"read"}, 10, 70).approve("bob", 60).cancel(65).state(65, Cancelled)
		}},
		"the hours end it": {[]func(*policy.Body){hours(0, "08:00-10:30")}, func(tl *timeline) {
			tl.extension(50, []string{"read"}, 10, 70).approve("bob", 60).window(60, 60, 90)
		}},
		"the hours go on only after what it extends ends": {[]func(*policy.Body){hours(2, "10:50-18:00")}, func(tl *timeline) {
			tl.extension(50, []string{"read", "look"}, 10, 70, 10, 120).approve("bob", 60).state(60, Pending).state(110, Lapsed)
			if w := tl.decide(60).Warnings; len(w) != 1 || !strings.Contains(w[0], "do not go on") {
				tl.t.Errorf("warned: %q", w)
			}
		}},
		"parts of a bundle from where each ends": {[]func(*policy.Body){partial(0, 2)}, func(tl *timeline) {
			tl.extension(50, []string{"read", "look"}, 10, 70, 0, 60).parts(50, Pending, Active).approve("bob", 55).parts(55, Active, Active)
			d := tl.decide(55)
			if !d.Grants[0].Ends.Equal(at(130)) || !d.Grants[1].Ends.Equal(at(120)) {
				tl.t.Errorf("until %s and %s", d.Grants[0].Ends, d.Grants[1].Ends)
			}
		}},
		"parts that open together now end with the first": {nil, func(tl *timeline) {
			tl.extension(50, []string{"read", "look"}, 10, 70, 0, 60).approve("bob", 55).window(55, 55, 120)
		}},
	} {
		t.Run(name, func(t *testing.T) { c.do(newTimeline(t, append(c.policy, total(240))...)) })
	}
}

// emergencyRule lets alice take db:read at once, for less, to be acknowledged within
// two hours by the approvers.
func emergencyRule(change ...func(*policy.Emergency)) func(*policy.Body) {
	return func(b *policy.Body) {
		e := &policy.Emergency{Requesters: []string{"alice"}, MaxDuration: minutes(60), Acknowledge: minutes(120)}
		for _, f := range change {
			f(e)
		}
		b.Rules[0].Emergency = e
	}
}

func asEmergency(r *request.Request) { r.Emergency = true }

// tryAck judges an acknowledgement and keeps it where it counts.
func (tl *timeline) tryAck(by string, minute int) error {
	a := placed(tl, Acknowledgement{Head: tl.head(record.KindAcknowledgement, by, minute)}, by)
	err := tl.c.MayAcknowledge(tl.h, a)
	if err == nil {
		tl.c.Acks = append(tl.c.Acks, a)
	}
	return err
}

// debt asserts what is due at a minute: by whom it was acknowledged, and until when.
func (tl *timeline) debt(minute int, by string, due int, overdue bool) *timeline {
	tl.t.Helper()
	d := tl.decide(minute).Debt
	if d == nil {
		tl.t.Fatalf("at minute %d there is no debt", minute)
	}
	if d.By != by || !d.Due.Equal(at(due)) || d.Overdue(at(minute)) != overdue || d.Open() != (by == "") {
		tl.t.Errorf("at minute %d: %+v, want by %q, due %d, overdue %t", minute, d, by, due, overdue)
	}
	return tl
}

func TestEmergencies(t *testing.T) {
	for name, c := range map[string]struct {
		policy []func(*policy.Body)
		do     func(*timeline)
	}{
		"opens at once, and is due": {[]func(*policy.Body){emergencyRule()}, func(tl *timeline) {
			tl.request(asEmergency, "read").state(0, Active).window(0, 0, 60).debt(0, "", 120, false).debt(119, "", 120, false).debt(120, "", 120, true).
				state(60, Expired).debt(10000, "", 120, true)
			if who := strings.Join(tl.decide(5).Debt.Who, " "); who != "bob carol dave" {
				tl.t.Errorf("can acknowledge: %s", who)
			}
		}},
		"keeps no hours": {[]func(*policy.Body){emergencyRule(), hours(0, "11:00-12:00"), func(b *policy.Body) { b.Rules[0].AskDuring = b.Rules[0].UseDuring }}, func(tl *timeline) {
			tl.request(asEmergency, "read").state(0, Active).window(0, 0, 60)
		}},
		"acknowledged": {[]func(*policy.Body){emergencyRule()}, func(tl *timeline) {
			tl.request(asEmergency, "read")
			if err := tl.tryAck("bob", 30); err != nil {
				tl.t.Fatal(err)
			}
			tl.debt(29, "", 120, false).debt(30, "bob", 120, false).debt(500, "bob", 120, false).state(40, Active)
			if err := tl.tryAck("carol", 40); err != nil { // the first is named
				tl.t.Fatal(err)
			}
			tl.debt(50, "bob", 120, false)
		}},
		"acknowledged with a key that was compromised": {[]func(*policy.Body){emergencyRule()}, func(tl *timeline) {
			tl.request(asEmergency, "read")
			if err := tl.tryAck("bob", 30); err != nil {
				tl.t.Fatal(err)
			}
			tl.compromise(keysOf["bob"][0], 50).debt(60, "", 120, false)
		}},
		"who may not": {[]func(*policy.Body){emergencyRule()}, func(tl *timeline) {
			tl.request(asEmergency, "read")
			for by, want := range map[string]policy.Code{"alice": policy.OwnRequest, "erin": policy.NotApprover} {
				if err := tl.tryAck(by, 10); policy.CodeOf(err) != want {
					tl.t.Errorf("%s acknowledges: %v, want %s", by, err, want)
				}
			}
			tl.request(nil, "read")
			if err := tl.tryAck("bob", 10); policy.CodeOf(err) != policy.NoEmergency {
				tl.t.Errorf("what is no emergency: %v", err)
			}
		}},
		"others may than those who approve": {[]func(*policy.Body){emergencyRule(func(e *policy.Emergency) { e.Acknowledgers = []string{"erin"} })}, func(tl *timeline) {
			tl.request(asEmergency, "read")
			if err := tl.tryAck("bob", 10); policy.CodeOf(err) != policy.NotApprover {
				tl.t.Errorf("bob acknowledges: %v", err)
			}
			if err := tl.tryAck("erin", 10); err != nil {
				tl.t.Error(err)
			}
		}},
		"no approval is needed, and none is taken": {[]func(*policy.Body){emergencyRule()}, func(tl *timeline) {
			tl.request(asEmergency, "read").refused("bob", 5, policy.AlreadyOpen)
		}},
		"the rule of its time says who may, whatever became of it": {[]func(*policy.Body){emergencyRule()}, func(tl *timeline) {
			tl.request(asEmergency, "read")
			tl.policy(70) // no emergency any more
			if who := strings.Join(tl.decide(80).Debt.Who, " "); who != "bob carol dave" {
				tl.t.Errorf("can acknowledge: %s", who)
			}
			if err := tl.tryAck("erin", 80); policy.CodeOf(err) != policy.NotApprover {
				tl.t.Errorf("erin acknowledges: %v", err)
			}
			if err := tl.tryAck("bob", 81); err != nil {
				tl.t.Error(err)
			}
			tl.debt(82, "bob", 120, false)
		}},
		"its requester left": {[]func(*policy.Body){emergencyRule()}, func(tl *timeline) {
			tl.request(asEmergency, "read")
			tl.policy(70, func(b *policy.Body) { delete(b.People, "alice") })
			if err := tl.tryAck("bob", 80); err != nil {
				tl.t.Error(err)
			}
			tl.debt(82, "bob", 120, false)
		}},
		"an admin, where none of them is left": {[]func(*policy.Body){emergencyRule(func(e *policy.Emergency) { e.Acknowledgers = []string{"bob"} })}, func(tl *timeline) {
			tl.request(asEmergency, "read")
			tl.policy(70, func(b *policy.Body) {
				delete(b.People, "bob")
				b.Rules[0].Stages[0].Approvers = []string{"carol"}
				b.Groups["first"] = []string{"carol"}
			})
			if who := strings.Join(tl.decide(80).Debt.Who, " "); who != "erin" {
				tl.t.Errorf("can acknowledge: %s", who)
			}
			if err := tl.tryAck("carol", 80); policy.CodeOf(err) != policy.NotApprover {
				tl.t.Errorf("carol acknowledges: %v", err)
			}
			if err := tl.tryAck("erin", 81); err != nil {
				tl.t.Error(err)
			}
		}},
		"ended, and due all the same": {[]func(*policy.Body){emergencyRule()}, func(tl *timeline) {
			tl.request(asEmergency, "read").revoke("erin", 5).state(5, Revoked).debt(10, "", 120, false)
			tl.request(asEmergency, "read").cancel(5).state(5, Cancelled).debt(10, "", 120, false)
			tl.request(asEmergency, "read").deny("bob", 5).state(5, Revoked).debt(10, "", 120, false)
			if err := revoke.MayRevoke(tl.h.Latest(), tl.c.Request.Record, revoke.Who{By: "bob", At: at(1)}); err != nil {
				tl.t.Error(err)
			}
		}},
		"a bundle in parts has one debt, the sooner": {[]func(*policy.Body){emergencyRule(), partial(0, 1), func(b *policy.Body) {
			b.Rules[1].Emergency = &policy.Emergency{Requesters: []string{"*"}, MaxDuration: minutes(60), Acknowledge: minutes(90), Acknowledgers: []string{"erin"}}
		}}, func(tl *timeline) {
			tl.request(asEmergency, "read", "write").parts(0, Active, Active).debt(0, "", 90, false)
			if who := strings.Join(tl.decide(5).Debt.Who, " "); who != "bob carol dave erin" {
				tl.t.Errorf("can acknowledge: %s", who)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) { c.do(newTimeline(t, c.policy...)) })
	}
	var none *Debt
	if none.Open() || none.Overdue(time.Now()) {
		t.Error("no debt is open")
	}
}

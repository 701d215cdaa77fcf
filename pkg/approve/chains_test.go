package approve

import (
	"slices"
	"strings"
	"testing"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/revoke"
)

// stages gives the rule of db:read these stages.
func stages(all ...policy.Stage) func(*policy.Body) {
	return func(b *policy.Body) { b.Rules[0].Stages = all }
}

func quorum(n int, approvers ...string) policy.Quorum {
	return policy.Quorum{Approvers: approvers, Count: n}
}

func one(n int, approvers ...string) policy.Stage {
	return policy.Stage{Approvers: approvers, Count: n}
}

// escalating is a stage of bob, to which steps of minutes and people are added.
func escalating(expire int, steps ...policy.Escalation) policy.Stage {
	s := one(1, "bob")
	s.Escalate, s.Expire = steps, minutes(expire)
	return s
}

// expiring is a stage of one of the approvers, to be met within some minutes.
func expiring(n int, approvers ...string) policy.Stage {
	s := one(1, approvers...)
	s.Expire = minutes(n)
	return s
}

func after(n int, to ...string) policy.Escalation {
	return policy.Escalation{After: minutes(n), To: to}
}

// person changes one of the people.
func person(name string, change func(*policy.Person)) func(*policy.Body) {
	return func(b *policy.Body) {
		p := b.People[name]
		change(&p)
		b.People[name] = p
	}
}

func manages(manager string, reports ...string) func(*policy.Body) {
	return func(b *policy.Body) {
		for _, name := range reports {
			person(name, func(p *policy.Person) { p.Manager = manager })(b)
		}
	}
}

func exclude(words ...string) func(*policy.Body) {
	return func(b *policy.Body) { b.Rules[0].Exclude = words }
}

// who asserts who can approve the n-th stage of the first grant at a minute, and from
// when others can, -1 for no others.
func (tl *timeline) who(minute, n int, now string, from int, next string) *timeline {
	tl.t.Helper()
	s := tl.decide(minute).Grants[0].Stages[n]
	if got := strings.Join(s.Who, " "); got != now {
		tl.t.Errorf("at minute %d stage %d waits for %q, want %q", minute, n, got, now)
	}
	switch {
	case from < 0 && s.Next != nil:
		tl.t.Errorf("at minute %d stage %d escalates: %+v", minute, n, s.Next)
	case from >= 0 && (s.Next == nil || !s.Next.At.Equal(at(from)) || strings.Join(s.Next.To, " ") != next):
		tl.t.Errorf("at minute %d stage %d escalates to %+v, want %q at %d", minute, n, s.Next, next, from)
	}
	return tl
}

// refused asserts that an approval is not counted at its place.
func (tl *timeline) refused(by string, minute int, want policy.Code) *timeline {
	tl.t.Helper()
	if err := tl.tryApprove(by, minute); policy.CodeOf(err) != want {
		tl.t.Errorf("approval by %s at minute %d: %v, want %q", by, minute, err, want)
	}
	return tl
}

func TestChains(t *testing.T) {
	dba := func(b *policy.Body) {
		b.Groups["dba"], b.Groups["owners"] = []string{"bob", "carol"}, []string{"bob", "dave"}
	}
	all := policy.Stage{AllOf: []policy.Quorum{quorum(1, "group:dba"), quorum(1, "group:owners")}}
	other := policy.Stage{AnyOf: []policy.Quorum{quorum(2, "bob", "carol"), quorum(1, "dave")}}
	for name, c := range map[string]struct {
		policy []func(*policy.Body)
		do     func(*timeline)
	}{
		// bob could fill either seat: he is moved to the one that the other leaves.
		"all of, and the first could sit on either side": {[]func(*policy.Body){dba, stages(all)}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).who(5, 0, "carol dave", -1, "").approve("carol", 6).state(6, Active).why(6, 0, "").why(6, 1, "")
		}},
		"all of, the other way round": {[]func(*policy.Body){dba, stages(all)}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).approve("dave", 6).state(6, Active)
		}},
		"all of, without the one in both": {[]func(*policy.Body){dba, stages(all)}, func(tl *timeline) {
			tl.request(nil, "read").approve("carol", 5).state(5, Pending).who(5, 0, "bob dave", -1, "").approve("dave", 6).state(6, Active)
		}},
		"all of, a third is not needed": {[]func(*policy.Body){dba, stages(policy.Stage{AllOf: []policy.Quorum{quorum(2, "group:dba"), quorum(1, "dave")}})}, func(tl *timeline) {
			tl.request(nil, "read").approve("carol", 5).approve("bob", 6).state(6, Pending).who(6, 0, "dave", -1, "").approve("dave", 7).state(7, Active)
		}},
		"three seats and three people, of whom each has one place only": {[]func(*policy.Body){func(b *policy.Body) {
			b.Groups["a"], b.Groups["b"], b.Groups["c"] = []string{"bob", "carol", "dave"}, []string{"bob", "carol"}, []string{"bob"}
		}, stages(policy.Stage{AllOf: []policy.Quorum{quorum(1, "group:c"), quorum(1, "group:b"), quorum(1, "group:a")}})}, func(tl *timeline) {
			tl.request(nil, "read").approve("carol", 1).approve("bob", 2).approve("dave", 3).state(3, Active)
		}},
		"any of, the one way": {[]func(*policy.Body){stages(other)}, func(tl *timeline) {
			tl.request(nil, "read").approve("dave", 5).state(5, Active)
		}},
		"any of, the other way": {[]func(*policy.Body){stages(other)}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).state(5, Pending).who(5, 0, "carol dave", -1, "").approve("carol", 6).state(6, Active)
		}},
		"any of: who was not needed can count in the next stage": {[]func(*policy.Body){stages(other, one(1, "bob"))}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).approve("dave", 6).state(6, Pending).why(6, 1, "").who(6, 1, "bob", -1, "").
				approve("bob", 7).state(7, Active).why(7, 2, "")
			if s := tl.decide(7).Approvals[0]; s.Counted || s.Why != "" {
				tl.t.Errorf("the first approval: %+v", s)
			}
		}},
		"any of: who was needed cannot": {[]func(*policy.Body){stages(other, one(1, "bob", "erin"))}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).approve("carol", 6).approve("bob", 7).state(7, Pending).why(7, 2, policy.CountedOnce).who(7, 1, "erin", -1, "")
		}},

		"not escalated yet": {[]func(*policy.Body){stages(escalating(0, after(30, "carol")))}, func(tl *timeline) {
			tl.request(nil, "read").who(0, 0, "bob", 30, "carol").approve("carol", 29).state(31, Pending).why(31, 0, policy.EscalationNotDue).
				who(31, 0, "bob carol", -1, "")
		}},
		"escalated": {[]func(*policy.Body){stages(escalating(0, after(30, "carol")))}, func(tl *timeline) {
			tl.request(nil, "read").approve("carol", 30).state(30, Active).window(30, 30, 90)
		}},
		"the earlier stay eligible": {[]func(*policy.Body){stages(escalating(0, after(30, "carol")))}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 100).state(100, Active)
		}},
		"silence approves nothing": {[]func(*policy.Body){stages(escalating(0, after(30, "carol"), after(60, "dave")))}, func(tl *timeline) {
			tl.request(nil, "read").state(100, Pending).state(299, Pending).state(300, Lapsed)
		}},
		"several steps": {[]func(*policy.Body){stages(escalating(0, after(30, "carol"), after(60, "bob", "dave")))}, func(tl *timeline) {
			// bob could decide before: the step is named with whom it adds.
			tl.request(nil, "read").who(10, 0, "bob", 30, "carol").who(30, 0, "bob carol", 60, "dave").who(60, 0, "bob carol dave", -1, "").
				approve("dave", 59).why(70, 0, policy.EscalationNotDue).approve("dave", 61).state(61, Active)
		}},
		"counted from when the stage began": {[]func(*policy.Body){stages(one(1, "carol"), escalating(0, after(30, "dave")))}, func(tl *timeline) {
			tl.request(nil, "read").who(10, 1, "bob", -1, "").approve("carol", 50).who(50, 1, "bob", 80, "dave").
				approve("dave", 79).state(79, Pending).why(79, 1, policy.EscalationNotDue).approve("dave", 80).state(80, Active)
		}},
		"a step's people fill a quorum of two": {[]func(*policy.Body){stages(policy.Stage{Approvers: []string{"bob"}, Count: 2, Escalate: []policy.Escalation{after(30, "carol")}})}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).approve("carol", 31).state(31, Active)
			if w := tl.decide(10).Warnings; len(w) > 0 {
				tl.t.Errorf("warned: %q", w)
			}
		}},
		"too few, and one to whom it escalates later": {[]func(*policy.Body){stages(one(1, "bob", "carol"), escalating(0, after(30, "carol")))}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5)
			if w := tl.decide(6).Warnings; len(w) != 0 {
				tl.t.Errorf("warned: %q", w)
			}
		}},
		"too few, and nobody else to come": {[]func(*policy.Body){stages(one(1, "bob", "carol"), escalating(0, after(30, "bob")))}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5)
			if w := tl.decide(6).Warnings; len(w) != 1 || !strings.Contains(w[0], "stage 2 of rule \"one\" lacks 1") {
				tl.t.Errorf("warned: %q", w)
			}
		}},

		"a stage that expires": {[]func(*policy.Body){stages(escalating(60, after(30, "carol")))}, func(tl *timeline) {
			tl.request(nil, "read").state(59, Pending).state(60, Lapsed).refused("bob", 60, policy.Lapsed).state(62, Lapsed)
			if d := tl.decide(200); !d.Closed.Equal(at(60)) {
				tl.t.Errorf("closed %s", d.Closed)
			}
		}},
		"a second stage that expires": {[]func(*policy.Body){stages(one(1, "carol"), escalating(60))}, func(tl *timeline) {
			tl.request(nil, "read").state(100, Pending).approve("carol", 100).state(159, Pending).state(160, Lapsed).state(400, Lapsed)
			if s := tl.decide(120).Grants[0].Stages[1]; !s.Began.Equal(at(100)) || !s.Expires.Equal(at(160)) {
				tl.t.Errorf("%+v", s)
			}
		}},
		"lapsed, though the first approval was signed ahead of its time": {[]func(*policy.Body){stages(one(1, "bob", "dave"), expiring(60, "bob", "carol"))}, func(tl *timeline) {
			tl.request(nil, "read").approve("dave", 200).approve("bob", 10).state(10, Pending).state(69, Pending)
			for _, minute := range []int{70, 199, 200, 230, 260, 1000} {
				tl.state(minute, Lapsed)
			}
			if d := tl.decide(300); !d.Closed.Equal(at(70)) {
				tl.t.Errorf("closed %s", d.Closed)
			}
		}},
		"lapsed, and what met the stage before is withdrawn": {[]func(*policy.Body){stages(one(1, "bob"), expiring(60, "carol"))}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 10).state(69, Pending).state(70, Lapsed).withdraw("bob", 80).state(81, Lapsed).
				refused("bob", 82, policy.Lapsed).refused("carol", 83, policy.Lapsed).state(84, Lapsed)
		}},
		"withdrawn in time it begins anew": {[]func(*policy.Body){stages(one(1, "bob"), expiring(60, "carol"))}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 10).withdraw("bob", 20).state(70, Pending).approve("bob", 75).state(134, Pending).state(135, Lapsed)
		}},
		"lapsed, and a later policy knows no such time": {[]func(*policy.Body){stages(expiring(60, "bob"))}, func(tl *timeline) {
			tl.request(nil, "read").state(60, Lapsed)
			tl.policy(80)
			tl.state(60, Lapsed).state(81, Lapsed).refused("bob", 82, policy.Lapsed).state(90, Lapsed)
		}},
		"lapsed, and a later policy of the same time": {[]func(*policy.Body){stages(escalating(2, after(1, "carol")), one(1, "dave"))}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 1).withdraw("bob", 2).state(2, Lapsed)
			tl.policy(2)
			tl.state(2, Lapsed).refused("bob", 2, policy.Lapsed)
		}},
		"a policy comes in the very minute, and then a withdrawal": {[]func(*policy.Body){stages(escalating(2, after(1, "carol")), one(1, "dave"))}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 1).policy(2)
			tl.withdraw("bob", 2).state(2, Pending).approve("carol", 2).state(2, Active)
		}},
		"lapsed, and what met the stage before is withdrawn at that time": {[]func(*policy.Body){stages(one(1, "bob"), expiring(60, "carol"), one(1, "dave"))}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 10).approve("carol", 20).state(90, Pending).withdraw("carol", 90).state(90, Lapsed).withdraw("bob", 90).state(90, Lapsed).state(100, Lapsed)
		}},
		"one part lapses, the other does not": {[]func(*policy.Body){stages(expiring(60, "bob")), partial(0)}, func(tl *timeline) {
			tl.request(nil, "read", "write").parts(60, Lapsed, Pending).approve("bob", 65).approve("dave", 66).parts(70, Lapsed, Active).why(70, 0, "").state(200, Expired).
				parts(200, Lapsed, Expired)
			if d := tl.decide(200); !d.Grants[0].Closed.Equal(at(60)) || !d.Grants[1].Closed.Equal(at(126)) {
				tl.t.Errorf("closed %s and %s", d.Grants[0].Closed, d.Grants[1].Closed)
			}
		}},
		"who was not needed does not move the beginning of the next": {[]func(*policy.Body){
			stages(policy.Stage{AnyOf: []policy.Quorum{quorum(2, "bob", "carol"), quorum(1, "dave")}}, expiring(60, "erin"))}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 200).approve("dave", 10).state(70, Lapsed)
			if s := tl.decide(20).Grants[0].Stages[1]; !s.Began.Equal(at(10)) {
				tl.t.Errorf("began %s", s.Began)
			}
			if s := tl.decide(210).Grants[0].Stages[1]; !s.Began.Equal(at(10)) {
				tl.t.Errorf("began %s", s.Began)
			}
		}},
		"met just before it expires": {[]func(*policy.Body){stages(escalating(60))}, func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 59).state(59, Active).state(100, Active)
		}},

		"the manager": {[]func(*policy.Body){stages(one(1, "manager")), manages("bob", "alice")}, func(tl *timeline) {
			tl.request(nil, "read").who(0, 0, "bob", -1, "").refused("carol", 1, policy.NotApprover).approve("bob", 2).state(2, Active)
		}},
		"the manager's manager": {[]func(*policy.Body){stages(one(1, "managers-manager")), manages("bob", "alice"), manages("carol", "bob")}, func(tl *timeline) {
			tl.request(nil, "read").who(0, 0, "carol", -1, "").refused("bob", 1, policy.NotApprover).approve("carol", 2).state(2, Active)
		}},
		"a team's lead": {[]func(*policy.Body){stages(one(1, "team-lead")), person("alice", func(p *policy.Person) { p.Teams = []string{"dev"} }),
			func(b *policy.Body) { b.Teams = map[string]policy.Team{"dev": {Leads: []string{"alice", "dave"}}} }}, func(tl *timeline) {
			tl.request(nil, "read").who(0, 0, "dave", -1, "").refused("bob", 1, policy.NotApprover).approve("dave", 2).state(2, Active)
		}},
		"the owner": {[]func(*policy.Body){stages(one(1, "owner")), func(b *policy.Body) {
			r := b.Resources["db"]
			r.Owners = []string{"group:second"}
			b.Resources["db"] = r
		}}, func(tl *timeline) {
			tl.request(nil, "read").who(0, 0, "carol dave", -1, "").refused("bob", 1, policy.NotApprover).approve("carol", 2).state(2, Active)
		}},
		"a department": {[]func(*policy.Body){stages(one(1, "department:ops")), person("dave", func(p *policy.Person) { p.Department = "ops" })}, func(tl *timeline) {
			tl.request(nil, "read").who(0, 0, "dave", -1, "").refused("bob", 1, policy.NotApprover).approve("dave", 2).state(2, Active)
		}},
		"a roster, at the time of the approval": {[]func(*policy.Body){stages(one(1, "roster:duty")), func(b *policy.Body) {
			b.Rosters = map[string][]policy.Shift{"duty": {
				{From: record.At(at(-60)), Until: record.At(at(60)), People: []string{"bob"}}, {From: record.At(at(60)), Until: record.At(at(120)), People: []string{"carol"}}}}
		}}, func(tl *timeline) {
			tl.request(nil, "read").who(10, 0, "bob", -1, "").who(60, 0, "carol", -1, "").
				refused("carol", 59, policy.NotApprover).refused("bob", 60, policy.NotApprover).approve("carol", 60).state(60, Active)
		}},

		"who reports to the requester is kept out": {[]func(*policy.Body){exclude(policy.ExcludeReports), manages("alice", "bob"), manages("bob", "carol")}, func(tl *timeline) {
			tl.request(nil, "read").who(0, 0, "dave", -1, "").refused("bob", 1, policy.Excluded).refused("carol", 1, policy.Excluded).approve("dave", 2).state(2, Active)
		}},
		"to whom the requester reports is kept out": {[]func(*policy.Body){exclude(policy.ExcludeManagers), manages("bob", "alice"), manages("carol", "bob")}, func(tl *timeline) {
			tl.request(nil, "read").who(0, 0, "dave", -1, "").refused("bob", 1, policy.Excluded).refused("carol", 1, policy.Excluded).approve("dave", 2).state(2, Active)
		}},
		"who is kept out by the rule may deny nothing either": {[]func(*policy.Body){exclude(policy.ExcludeManagers), manages("bob", "alice")}, func(tl *timeline) {
			tl.request(nil, "read")
			if err := tl.c.MayDeny(tl.h.Latest(), revoke.Who{By: "bob", At: at(1)}); policy.CodeOf(err) != policy.NotApprover {
				tl.t.Errorf("bob denies: %v", err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) { c.do(newTimeline(t, c.policy...)) })
	}
}

// approveFor is an approval by one who acts for others.
func (tl *timeline) approveFor(by string, minute int, others ...string) error {
	a := placed(tl, Approval{Head: tl.head(record.KindApproval, by, minute), Request: tl.c.Request.Record.ID, RequestDigest: tl.c.Digest}, by)
	var acts Acts
	for _, name := range others {
		acts = append(acts, Acting{Name: name, Keys: keysOf[name], Signed: keysOf[name][0]})
	}
	if err := tl.c.MayApprove(tl.h, a, acts); err != nil {
		return err
	}
	tl.c.Approvals = append(tl.c.Approvals, a)
	if tl.c.Acting == nil {
		tl.c.Acting = map[record.ID]Acts{}
	}
	tl.c.Acting[a.Record.ID] = acts
	return nil
}

func TestChainsAndDelegates(t *testing.T) {
	t.Run("counts for the other", func(t *testing.T) {
		tl := newTimeline(t, stages(one(1, "bob")))
		tl.request(nil, "read")
		if err := tl.approveFor("erin", 5, "bob"); err != nil {
			t.Fatal(err)
		}
		tl.state(5, Active).why(5, 0, "")
	})
	t.Run("both are one", func(t *testing.T) {
		tl := newTimeline(t, stages(one(1, "bob"), one(1, "bob", "carol")))
		tl.request(nil, "read")
		if err := tl.approveFor("erin", 5, "bob"); err != nil {
			t.Fatal(err)
		}
		tl.approve("bob", 6).state(6, Pending).why(6, 1, policy.CountedOnce).approve("carol", 7).state(7, Active)
	})
	t.Run("the rule keeps delegates out", func(t *testing.T) {
		tl := newTimeline(t, stages(one(1, "bob")), exclude(policy.ExcludeDelegates))
		tl.request(nil, "read")
		if err := tl.approveFor("erin", 5, "bob"); policy.CodeOf(err) != policy.NotApprover {
			t.Errorf("erin approves for bob: %v", err)
		}
	})
	t.Run("not for the requester", func(t *testing.T) {
		tl := newTimeline(t, stages(one(1, "alice", "bob")))
		tl.request(nil, "read")
		if err := tl.approveFor("erin", 5, "alice"); policy.CodeOf(err) != policy.NotApprover {
			t.Errorf("erin approves for alice what alice asks for: %v", err)
		}
		if err := tl.approveFor("alice", 5, "bob"); policy.CodeOf(err) != policy.OwnRequest {
			t.Errorf("alice approves their own request for bob: %v", err)
		}
	})
}

func TestStageInWords(t *testing.T) {
	for want, s := range map[string]policy.Stage{
		"2 of bob, group:dba":   one(2, "bob", "group:dba"),
		"1 of dba and 1 of own": {AllOf: []policy.Quorum{quorum(1, "dba"), quorum(1, "own")}},
		"1 of dba or 2 of own":  {AnyOf: []policy.Quorum{quorum(1, "dba"), quorum(2, "own")}},
	} {
		if got := s.Describe(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	tl := newTimeline(t, stages(policy.Stage{AllOf: []policy.Quorum{quorum(1, "bob"), quorum(1, "carol")}}))
	tl.request(nil, "read").approve("bob", 5)
	if s := tl.decide(5).Grants[0].Stages[0]; s.Wants != "1 of bob and 1 of carol" || s.Count != 2 || !slices.Equal(s.Have, []string{"bob"}) {
		t.Errorf("%+v", s)
	}
}

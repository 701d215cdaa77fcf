package approve

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/revoke"
)

// actsFor asserts in whose place the n-th approval counts.
func (tl *timeline) actsFor(minute, n int, want ...string) *timeline {
	tl.t.Helper()
	if s := tl.decide(minute).Approvals[n]; !s.Counted || !slices.Equal(s.For, want) {
		tl.t.Errorf("at minute %d: approval %d by %s: counted %t, %q, for %v; want for %v", minute, n, s.By, s.Counted, s.Why, s.For, want)
	}
	return tl
}

// lock shuts somebody out at a minute.
func (tl *timeline) lock(person string, minute int) *timeline {
	tl.pos++
	tl.c.Locks = append(tl.c.Locks, Locked{ID: "L", Position: tl.pos, Beside: tl.beside, At: at(minute), By: "erin", Reason: "lost", Person: person, For: person})
	return tl
}

// renamed is a request that two of bob, bobby and carol must approve; toBobby makes bobby
// of bob.
func renamed(tl *timeline) {
	keysOf["bobby"] = keysOf["bob"]
	tl.t.(*testing.T).Cleanup(func() { delete(keysOf, "bobby") })
	tl.policy(-1, withoutOne("bobby"))
	tl.request(nil, "read")
}

func toBobby(b *policy.Body) { withoutOne("bob")(b) }

// withoutOne is that policy without bob or without bobby.
func withoutOne(not string) func(*policy.Body) {
	return func(b *policy.Body) {
		stages(policy.Stage{Approvers: []string{"group:two"}, Count: 2})(b)
		delete(b.People, not)
		b.Groups["first"] = []string{"carol"}
		b.Groups["two"] = []string{"carol", "bob"}
		if not == "bob" {
			b.Groups["two"] = []string{"carol", "bobby"}
		}
	}
}

func TestActing(t *testing.T) {
	onlyBob := stages(policy.Stage{Approvers: []string{"bob"}, Count: 1})
	for name, story := range map[string]func(*timeline){
		"in another's place": func(tl *timeline) {
			tl.policy(-1, onlyBob)
			tl.request(nil, "read")
			if err := tl.approveFor("dave", 5); policy.CodeOf(err) != policy.NotApprover {
				t.Errorf("in their own name: %v", err)
			}
			if err := tl.approveFor("dave", 5, "bob"); err != nil {
				t.Error(err)
			}
			tl.state(5, Active).actsFor(5, 0, "bob")
		},
		"their own name comes first": func(tl *timeline) {
			tl.policy(-1, stages(policy.Stage{Approvers: []string{"bob", "dave"}, Count: 2}))
			tl.request(nil, "read")
			_ = tl.approveFor("dave", 5, "bob")
			tl.actsFor(5, 0).approve("bob", 6).state(6, Active)
		},
		"one approval is one, whoever's places they have": func(tl *timeline) {
			tl.policy(-1, stages(policy.Stage{Approvers: []string{"bob", "carol"}, Count: 2}))
			tl.request(nil, "read")
			_ = tl.approveFor("dave", 5, "bob", "carol")
			_ = tl.approveFor("dave", 6, "bob", "carol")
			tl.state(6, Pending).actsFor(6, 0, "bob").why(6, 1, policy.CountedOnce)
		},
		"the one in whose place it counted does not count again": func(tl *timeline) {
			tl.policy(-1, stages(policy.Stage{Approvers: []string{"bob", "carol"}, Count: 2}))
			tl.request(nil, "read")
			_ = tl.approveFor("dave", 5, "bob")
			tl.approve("bob", 6).state(6, Pending).why(6, 1, policy.CountedOnce).approve("carol", 7).state(7, Active)
		},
		"nor somebody else in the same place": func(tl *timeline) {
			tl.policy(-1, stages(policy.Stage{Approvers: []string{"bob", "carol"}, Count: 2}))
			tl.request(nil, "read").approve("bob", 5)
			_ = tl.approveFor("dave", 6, "bob")
			_ = tl.approveFor("erin", 7, "bob")
			tl.state(7, Pending).why(7, 1, policy.CountedOnce).why(7, 2, policy.CountedOnce)
			_ = tl.approveFor("erin", 8, "bob", "carol")
			tl.state(8, Active).actsFor(8, 3, "carol")
		},
		"nor in a later stage": func(tl *timeline) {
			tl.policy(-1, stages(policy.Stage{Approvers: []string{"bob"}, Count: 1}, policy.Stage{Approvers: []string{"bob", "carol"}, Count: 1}))
			tl.request(nil, "read")
			_ = tl.approveFor("dave", 5, "bob")
			tl.approve("bob", 6).state(6, Pending).approve("carol", 7).state(7, Active)
		},
		"one seat is not taken with the right of another": func(tl *timeline) {
			tl.policy(-1, stages(policy.Stage{AllOf: []policy.Quorum{quorum(1, "dave", "erin"), quorum(2, "bob", "carol")}}))
			tl.request(nil, "read")
			_ = tl.approveFor("dave", 5, "bob")
			tl.actsFor(5, 0).approve("bob", 6)
			_ = tl.tryApprove("erin", 7)
			tl.state(7, Pending).approve("carol", 8).state(8, Active)
		},
		"the requester in their own place": func(tl *timeline) {
			tl.policy(-1, onlyBob)
			tl.request(nil, "read")
			if err := tl.approveFor("alice", 5, "bob"); policy.CodeOf(err) != policy.OwnRequest {
				t.Errorf("alice for bob: %v", err)
			}
		},
		"in the requester's place": func(tl *timeline) {
			tl.policy(-1, stages(policy.Stage{Approvers: []string{"alice", "bob"}, Count: 1}))
			tl.request(nil, "read")
			if err := tl.approveFor("dave", 5, "alice"); policy.CodeOf(err) != policy.NotApprover {
				t.Errorf("dave for alice: %v", err)
			}
		},
		"where the rule bars delegates": func(tl *timeline) {
			tl.policy(-1, onlyBob, func(b *policy.Body) { b.Rules[0].Exclude = []string{policy.ExcludeDelegates} })
			tl.request(nil, "read")
			if err := tl.approveFor("dave", 5, "bob"); policy.CodeOf(err) != policy.NotApprover {
				t.Errorf("dave for bob: %v", err)
			}
		},
		"one whom the rule keeps out": func(tl *timeline) {
			tl.policy(-1, onlyBob, func(b *policy.Body) {
				b.Rules[0].Exclude = []string{policy.ExcludeReports}
				dave := b.People["dave"]
				dave.Manager = "alice"
				b.People["dave"] = dave
			})
			tl.request(nil, "read")
			if err := tl.approveFor("dave", 5, "bob"); policy.CodeOf(err) != policy.Excluded {
				t.Errorf("dave for bob: %v", err)
			}
		},
		"a lock of the one in whose place": func(tl *timeline) {
			tl.policy(-1, stages(policy.Stage{Approvers: []string{"bob"}, Count: 1}, policy.Stage{Approvers: []string{"carol"}, Count: 1}))
			tl.request(nil, "read")
			_ = tl.approveFor("dave", 5, "bob")
			tl.lock("bob", 6)
			_ = tl.tryApprove("carol", 7)
			tl.state(7, Pending)
		},
		"their key is found compromised, before it is decided": func(tl *timeline) {
			tl.policy(-1, stages(policy.Stage{Approvers: []string{"bob"}, Count: 1}, policy.Stage{Approvers: []string{"carol"}, Count: 1}))
			tl.request(nil, "read")
			_ = tl.approveFor("dave", 5, "bob")
			tl.compromise(key(2), 6)
			_ = tl.tryApprove("carol", 7)
			tl.state(7, Pending)
		},
		"their key is found compromised, when it is open": func(tl *timeline) {
			tl.policy(-1, onlyBob)
			tl.request(nil, "read")
			_ = tl.approveFor("dave", 5, "bob")
			tl.state(6, Active).compromise(key(2), 7).state(7, Revoked)
			if d := tl.decide(7); d.EndedBy == nil || !strings.Contains(d.EndedBy.Reason, string(key(2))) || !slices.Contains(d.Keys, key(2)) {
				t.Errorf("%+v", d)
			}
		},
		"the subkey is found compromised with which they signed": func(tl *timeline) {
			tl.policy(-1, onlyBob)
			tl.request(nil, "read")
			_ = tl.approveFor("dave", 5, "bob")
			tl.c.Acting[tl.c.Approvals[0].Record.ID][0].Subkey = key(90)
			tl.state(6, Active).compromise(key(90), 7).state(7, Revoked)
			if d := tl.decide(7); d.EndedBy == nil || !strings.Contains(d.EndedBy.Reason, "subkey "+string(key(90))) {
				t.Errorf("%+v", d)
			}
		},
		"another key of theirs, or one that nothing was counted under": func(tl *timeline) {
			tl.policy(-1, onlyBob)
			tl.request(nil, "read")
			_ = tl.approveFor("dave", 5, "bob", "carol")
			tl.compromise(key(12), 7).compromise(key(3), 7).state(7, Active)
		},
		"under a name that they had, and then in their own": func(tl *timeline) {
			renamed(tl)
			_ = tl.approveFor("dave", 1, "bob")
			tl.policy(2, toBobby)
			_ = tl.tryApprove("bobby", 3)
			tl.state(3, Pending).why(3, 0, policy.StageNotOpen).why(3, 1, "").approve("carol", 4).state(4, Active)
		},
		"in their own name, and then under another": func(tl *timeline) {
			renamed(tl)
			tl.approve("bob", 1)
			tl.policy(2, toBobby)
			_ = tl.approveFor("dave", 3, "bobby")
			tl.state(3, Pending).why(3, 0, policy.SignerLeft).why(3, 1, "")
		},
		"in the place of the requester, under another name": func(tl *timeline) {
			renamed(tl)
			tl.c.Request.Key = key(12) // bob's second key, which becomes bobby's
			tl.policy(2, toBobby)
			if err := tl.approveFor("dave", 3, "bobby"); policy.CodeOf(err) != policy.AfterEnd {
				t.Errorf("dave for bobby: %v", err)
			}
		},
		"a lock after the decision": func(tl *timeline) {
			tl.policy(-1, onlyBob)
			tl.request(nil, "read")
			_ = tl.approveFor("dave", 5, "bob")
			tl.lock("bob", 6).lock("dave", 7).state(8, Active)
		},
	} {
		t.Run(name, func(t *testing.T) { story(newTimeline(t)) })
	}
}

func TestLocks(t *testing.T) {
	for name, story := range map[string]func(*timeline){
		"of the requester, while it waits": func(tl *timeline) {
			tl.request(nil, "read").lock("alice", 5).state(5, Revoked)
			if err := tl.tryApprove("bob", 6); policy.CodeOf(err) != policy.AfterEnd {
				t.Errorf("approved afterwards: %v", err)
			}
			if d := tl.decide(6); d.EndedBy == nil || d.EndedBy.By != "erin" || d.EndedBy.Reason != "locked: lost" || !d.Closed.Equal(at(5)) {
				t.Errorf("%+v", d)
			}
		},
		"of the requester, while it is open": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).lock("alice", 10).state(10, Revoked).state(100, Revoked)
		},
		"of the requester, when it is over": func(tl *timeline) { tl.request(nil, "read").approve("bob", 5).lock("alice", 80).state(90, Expired) },
		"of an approver, while it waits": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5).lock("bob", 6).approve("dave", 7).state(7, Pending).why(7, 0, policy.Locked)
		},
		"of an approver, who approves again": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5).lock("bob", 6).approve("bob", 7).approve("dave", 8).state(8, Active)
		},
		"of an approver, when it is decided": func(tl *timeline) { tl.request(nil, "read").approve("bob", 5).lock("bob", 6).state(7, Active) },
		"of an approver, when it will be opened": func(tl *timeline) {
			tl.request(startAt(60), "read").approve("bob", 5).lock("bob", 6).state(7, Scheduled).state(60, Active)
		},
		"that claims a time to come": func(tl *timeline) { tl.request(nil, "read").approve("bob", 5).lock("alice", 5000).state(7, Revoked) },
		"of somebody else":           func(tl *timeline) { tl.request(nil, "read").approve("bob", 5).lock("carol", 6).state(7, Active) },
	} {
		t.Run(name, func(t *testing.T) { story(newTimeline(t)) })
	}
}

// TestDelegateHintIsBounded: a hint does not name everybody.
func TestDelegateHintIsBounded(t *testing.T) {
	p := newTimeline(t, func(b *policy.Body) {
		b.Delegation.Longest = minutes(60)
		for i := range 30 {
			name := fmt.Sprintf("p%02d", i)
			b.People[name] = policy.Person{Keys: []record.Fingerprint{key(100 + i)}}
			b.Delegation.To = append(b.Delegation.To, name)
		}
	}).h.Latest()
	err := MayDelegate(p, Delegation{Head: record.Head{By: "bob", Created: record.At(at(0))}, To: "carol", Until: record.At(at(1))})
	var refused *policy.Refusal
	if !errors.As(err, &refused) || refused.Hint != "those who may: p00, p01, p02, p03, p04, p05, p06, p07 and 22 more" {
		t.Errorf("%v: %+v", err, refused)
	}
}

// TestDelegationMeets: no two by one person to another at the same time.
func TestDelegationMeets(t *testing.T) {
	lasts := func(by, to string, from, until int) Delegation {
		start := record.At(at(from))
		return Delegation{Head: record.Head{By: by, Created: record.At(at(0))}, To: to, Start: &start, Until: record.At(at(until))}
	}
	have := Delegated{Placed: Placed[Delegation]{Record: lasts("bob", "carol", 10, 20)}}
	for _, c := range []struct {
		x    Delegation
		want policy.Code
	}{
		{lasts("bob", "carol", 10, 20), policy.AlreadyDelegated}, {lasts("bob", "carol", 0, 11), policy.AlreadyDelegated},
		{lasts("bob", "carol", 19, 30), policy.AlreadyDelegated}, {lasts("bob", "carol", 0, 30), policy.AlreadyDelegated},
		{lasts("bob", "carol", 12, 13), policy.AlreadyDelegated}, {lasts("bob", "carol", 0, 10), ""}, {lasts("bob", "carol", 20, 30), ""},
		{lasts("bob", "dave", 10, 20), ""}, {lasts("dave", "carol", 10, 20), ""}, {lasts("carol", "bob", 10, 20), ""},
	} {
		if err := have.Meets(c.x); policy.CodeOf(err) != c.want {
			t.Errorf("%s to %s from %s until %s: %v, want %q", c.x.By, c.x.To, c.x.Begins(), c.x.Until, err, c.want)
		}
	}
	have.Ended = &DelegationEnded{}
	if err := have.Meets(lasts("bob", "carol", 10, 20)); err != nil {
		t.Errorf("one that has ended: %v", err)
	}
}

func TestMayDelegate(t *testing.T) {
	p := newTimeline(t, func(b *policy.Body) {
		b.Delegation = policy.Delegation{Longest: minutes(60), To: []string{"group:first", "erin"}}
	}).h.Latest()
	for _, c := range []struct {
		to     string
		lasts  int
		starts int
		want   policy.Code
	}{
		{"carol", 60, 0, ""}, {"erin", 1, 0, ""}, {"carol", 160, 100, ""},
		{"carol", 61, 0, policy.DelegationTooLong}, {"carol", 161, 100, policy.DelegationTooLong},
		{"dave", 10, 0, policy.NotDelegate}, {"zoe", 10, 0, policy.UnknownPerson}, {"bob", 10, 0, policy.SelfDelegation},
	} {
		d := Delegation{Head: record.Head{By: "bob", Created: record.At(at(0))}, To: c.to, Until: record.At(at(c.lasts))}
		if c.starts > 0 {
			start := record.At(at(c.starts))
			d.Start = &start
		}
		if err := MayDelegate(p, d); policy.CodeOf(err) != c.want {
			t.Errorf("%+v: %v", c, err)
		}
	}
	none := newTimeline(t).h.Latest()
	if err := MayDelegate(none, Delegation{Head: record.Head{By: "bob"}, To: "carol", Until: record.At(at(1))}); policy.CodeOf(err) != policy.NoDelegation {
		t.Errorf("%v", err)
	}
}

// A delegate who may revoke in their own name or another's, and who may not.
func TestActingRevokes(t *testing.T) {
	tl := newTimeline(t, stages(policy.Stage{Approvers: []string{"bob", "alice"}, Count: 1}))
	tl.request(nil, "read")
	for _, c := range []struct {
		by     string
		acting []string
		want   bool
	}{
		{"dave", nil, false}, {"dave", []string{"carol"}, false}, {"dave", []string{"carol", "bob"}, true},
		{"dave", []string{"alice"}, false}, {"alice", []string{"bob"}, false},
	} {
		if err := tl.c.MayDeny(tl.h.Latest(), revoke.Who{By: c.by, Acting: c.acting}); (err == nil) != c.want {
			t.Errorf("%s for %v: %v", c.by, c.acting, err)
		}
	}
}

// TestExcludedDelegates: whom a rule keeps out decides nothing about the request in
// another's place either.
func TestExcludedDelegates(t *testing.T) {
	tl := newTimeline(t, stages(one(1, "bob", "dave")), exclude(policy.ExcludeReports), manages("alice", "dave"))
	tl.request(nil, "read")
	for _, c := range []struct {
		by     string
		acting []string
		want   bool
	}{{"dave", nil, false}, {"dave", []string{"bob"}, false}, {"carol", []string{"bob"}, true}, {"carol", []string{"dave"}, false}, {"erin", nil, true}} {
		who := revoke.Who{By: c.by, At: at(1), Acting: c.acting}
		if err := tl.c.MayDeny(tl.h.Latest(), who); (err == nil) != c.want {
			t.Errorf("%s denies for %v: %v", c.by, c.acting, err)
		}
		if err := revoke.MayRevoke(tl.h.Latest(), tl.c.Request.Record, who); (err == nil) != c.want {
			t.Errorf("%s revokes for %v: %v", c.by, c.acting, err)
		}
	}
}

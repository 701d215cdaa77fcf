package approve

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// others are those who may be approvers in a random policy.
var others = []string{"bob", "carol", "dave", "erin"}

func drawQuorum(rt *rapid.T) policy.Quorum {
	who := rapid.SliceOfNDistinct(rapid.SampledFrom(append([]string{"alice"}, others...)), 1, 4, rapid.ID).Draw(rt, "approvers")
	return policy.Quorum{Approvers: who, Count: rapid.SampledFrom([]int{1, 1, 1, 2}).Draw(rt, "count")}
}

// drawStage makes a stage of any form, which may wait for nobody who can come.
func drawStage(rt *rapid.T) policy.Stage {
	var s policy.Stage
	several := func() (all []policy.Quorum) {
		for range rapid.IntRange(2, 3).Draw(rt, "quorums") {
			all = append(all, drawQuorum(rt))
		}
		return all
	}
	switch rapid.SampledFrom([]string{"plain", "plain", "all", "any"}).Draw(rt, "form") {
	case "all":
		s.AllOf = several()
	case "any":
		s.AnyOf = several()
	default:
		q := drawQuorum(rt)
		s.Approvers, s.Count = q.Approvers, q.Count
	}
	after := 0
	for range rapid.SampledFrom([]int{0, 0, 1, 2}).Draw(rt, "steps") {
		after += rapid.IntRange(1, 120).Draw(rt, "after")
		s.Escalate = append(s.Escalate, policy.Escalation{After: minutes(after), To: []string{rapid.SampledFrom(others).Draw(rt, "to")}})
	}
	if rapid.IntRange(0, 4).Draw(rt, "expires") == 0 {
		s.Expire = minutes(after + rapid.IntRange(1, 150).Draw(rt, "expire"))
	}
	return s
}

// drawRules gives the two rules of db:read and db:write stages of any form.
func drawRules(rt *rapid.T) func(*policy.Body) {
	var chains [2][]policy.Stage
	var partial [2]bool
	for i := range chains {
		for range rapid.IntRange(1, 3).Draw(rt, "stages") {
			chains[i] = append(chains[i], drawStage(rt))
		}
		partial[i] = rapid.Bool().Draw(rt, "partial")
	}
	return func(b *policy.Body) {
		for i := range chains {
			b.Rules[i].Stages, b.Rules[i].Partial = chains[i], partial[i]
		}
	}
}

// drawAny makes a request under a random policy, with random approvals of it; nil
// where nobody could approve it.
func drawAny(rt *rapid.T, t *testing.T) *timeline {
	tl := newTimeline(t, drawRules(rt))
	roles := rapid.SampledFrom([][]string{{"read"}, {"write"}, {"read", "write"}, {"read", "look"}}).Draw(rt, "roles")
	r := request.Request{Head: tl.head("request", "alice", 0), Duration: minutes(60), Reason: "to look"}
	r.Expires.Time = at(300)
	for _, role := range roles {
		r.Grants = append(r.Grants, request.Grant{Resource: "db", Role: role})
	}
	if r.Allowed(tl.h.Latest(), request.Before{}) != nil {
		return nil
	}
	tl.c = Case{Request: placed(tl, r, "alice"), Digest: "d"}
	for range rapid.IntRange(0, 10).Draw(rt, "approvals") {
		drawApproval(rt, tl)
	}
	return tl
}

// fillable reports whether the approvals that counted can be given places, so that
// all stages are met and each person has one: by trying every way. A person may have
// approved twice, and in a bundle one approval count for one part, one for another.
func fillable(stages []policy.Stage, counted []Placed[Approval], used map[string]bool) bool {
	if len(stages) == 0 {
		return true
	}
	for _, way := range stages[0].Ways() {
		var places []policy.Quorum
		for _, q := range way {
			for range q.Count {
				places = append(places, q)
			}
		}
		if fillPlaces(stages, places, counted, used) {
			return true
		}
	}
	return false
}

func fillPlaces(stages []policy.Stage, places []policy.Quorum, counted []Placed[Approval], used map[string]bool) bool {
	if len(places) == 0 {
		return fillable(stages[1:], counted, used)
	}
	for _, a := range counted {
		by := a.Record.By
		if used[by] || by == "alice" {
			continue
		}
		may := slices.Contains(places[0].Approvers, by)
		for _, e := range stages[0].Escalate {
			// A stage begins with the request or later.
			may = may || slices.Contains(e.To, by) && !a.Record.Created.Before(at(0).Add(e.After.Duration))
		}
		if !may {
			continue
		}
		used[by] = true
		ok := fillPlaces(stages, places[1:], counted, used)
		used[by] = false
		if ok {
			return true
		}
	}
	return false
}

func TestAnyPolicyNeedsEveryStage(t *testing.T) {
	opened, parts := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		tl := drawAny(rt, t)
		if tl == nil {
			return
		}
		everyMoment(func(minute int) {
			d := tl.decide(minute)
			for i, g := range d.Grants {
				if !slices.Contains([]State{Scheduled, Active, Expired}, g.State) {
					continue
				}
				opened++
				if g.State != d.State {
					parts++
				}
				m, err := tl.h.Latest().Match("alice", g.Resource, g.Role, at(0))
				if err != nil {
					rt.Fatal(err)
				}
				var counted []Placed[Approval]
				for j, s := range d.Approvals {
					if s.Counted {
						counted = append(counted, tl.c.Approvals[j])
					}
				}
				if !fillable(m.Rule.Stages, counted, map[string]bool{}) {
					rt.Fatalf("at minute %d grant %d is %s, and its stages are not met: %+v", minute, i, g.State, d)
				}
				if g.Ends.Sub(g.Opens) > time.Hour {
					rt.Fatalf("at minute %d it is open for longer than was asked for: %+v", minute, d)
				}
			}
		})
	})
	if enough := opened > 0 && parts > 0; !enough && !testenv.Raced {
		t.Errorf("the random histories opened %d times, parts of bundles %d times", opened, parts)
	}
}

func TestAnyPolicyMoreApprovalsNeverWiden(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tl := drawAny(rt, t)
		if tl == nil {
			return
		}
		before := *tl
		before.c.Approvals = slices.Clone(tl.c.Approvals)
		drawApproval(rt, tl)
		everyMoment(func(minute int) {
			b, a := before.decide(minute), tl.decide(minute)
			for i, was := range b.Grants {
				is := a.Grants[i]
				if slices.Contains([]State{Scheduled, Active, Expired}, was.State) && is.Ends.After(was.Ends) {
					rt.Fatalf("one approval more made the end of %s %s of %s at minute %d", is.Grant, is.Ends, was.Ends, minute)
				}
			}
		})
	})
}

// drawMore adds what else may come of a request: approvals, withdrawals, other
// policies. when gives the time that each claims.
func drawMore(rt *rapid.T, tl *timeline, when func() int) {
	by := rapid.SampledFrom(others).Draw(rt, "by")
	switch kind := rapid.IntRange(0, 12).Draw(rt, "kind"); {
	case kind < 7:
		_ = tl.tryApprove(by, when())
	case kind < 11:
		if len(tl.c.Approvals) > 0 {
			by = tl.c.Approvals[rapid.IntRange(0, len(tl.c.Approvals)-1).Draw(rt, "taken back")].Record.By
			tl.withdraw(by, when())
		}
	default:
		tl.policy(when(), drawRules(rt))
	}
}

func TestAnyPolicySettledStaysSettled(t *testing.T) {
	lapsed := 0
	rapid.Check(t, func(rt *rapid.T) {
		tl := drawAny(rt, t)
		if tl == nil {
			return
		}
		for range rapid.IntRange(0, 6).Draw(rt, "more") {
			drawMore(rt, tl, func() int { return rapid.IntRange(-30, 330).Draw(rt, "when") })
		}
		settled := make([]State, len(tl.c.Request.Record.Grants))
		for minute := -30; minute < 420; minute += 7 {
			d := tl.decide(minute)
			for i, g := range d.Grants {
				if settled[i] != "" && g.State != settled[i] {
					rt.Fatalf("%s was %s, and is %s at minute %d: %+v", g.Grant, settled[i], g.State, minute, d)
				}
				if g.State.Settled() {
					settled[i] = g.State
				}
				if g.State == Lapsed && g.Closed.Before(at(300)) {
					lapsed++
				}
			}
		}
	})
	if lapsed == 0 && !testenv.Raced {
		t.Error("no stage expired")
	}
}

// TestAnyPolicyLapsedForGood lets a history grow by records of people whose clocks are
// right: what has lapsed once is brought back by none of them.
func TestAnyPolicyLapsedForGood(t *testing.T) {
	early := 0
	rapid.Check(t, func(rt *rapid.T) {
		tl := drawAny(rt, t)
		if tl == nil {
			return
		}
		tl.c.Approvals = nil
		lapsed, minute := make([]time.Time, len(tl.c.Request.Record.Grants)), 0
		for range rapid.IntRange(1, 14).Draw(rt, "records") {
			minute += rapid.IntRange(0, 60).Draw(rt, "later")
			look := func() {
				for i, g := range tl.decide(minute).Grants {
					if !lapsed[i].IsZero() && (g.State != Lapsed || !g.Closed.Equal(lapsed[i])) {
						rt.Fatalf("%s had lapsed at %s, and is %s at minute %d", g.Grant, lapsed[i], g.State, minute)
					}
					if g.State == Lapsed {
						lapsed[i] = g.Closed
						if minute < 300 {
							early++
						}
					}
				}
			}
			look()
			drawMore(rt, tl, func() int { return minute })
			look()
		}
	})
	if early == 0 && !testenv.Raced {
		t.Error("no stage expired")
	}
}

func TestAnyPolicyDenialEnds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tl := drawAny(rt, t)
		if tl == nil {
			return
		}
		by := rapid.SampledFrom(append([]string{"alice"}, others...)).Draw(rt, "denier")
		who := revoke.Who{By: by, At: at(10)}
		eligible := tl.h.Latest().IsAdmin(by)
		for _, g := range tl.c.Request.Record.Grants {
			m, err := tl.h.Latest().Match("alice", g.Resource, g.Role, at(0))
			if err != nil {
				rt.Fatal(err)
			}
			for _, s := range m.Rule.Stages {
				eligible = eligible || by != "alice" && slices.Contains(s.Deciders(), by)
			}
		}
		if err := tl.c.MayDeny(tl.h.Latest(), who); (err == nil) != eligible {
			rt.Fatalf("%s may deny: %t, and it is said: %v", by, eligible, err)
		}
		if !eligible {
			return
		}
		tl.deny(by, rapid.IntRange(-30, 330).Draw(rt, "when"))
		drawApproval(rt, tl)
		everyMoment(func(minute int) {
			d := tl.decide(minute)
			for _, g := range d.Grants {
				if !d.State.Settled() || !g.State.Settled() {
					rt.Fatalf("at minute %d it is %s, %s: %+v", minute, d.State, fmt.Sprint(g.State), d)
				}
			}
		})
	})
}

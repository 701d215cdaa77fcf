package approve

import (
	"flag"
	"os"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

func TestMain(m *testing.M) {
	flag.Parse()
	testenv.RapidChecks(100, 15)
	os.Exit(m.Run())
}

// changes are what a policy of a random history may change.
var changes = map[string][]func(*policy.Body){
	"none": nil, "terms": {otherRule}, "meaning": {otherMeaning}, "count": {twoOf}, "groups": {func(b *policy.Body) { b.Groups["first"] = []string{"dave"} }},
	"auto":   {func(b *policy.Body) { b.Rules[0].Approve, b.Rules[0].Stages = policy.ApproveAuto, nil }},
	"nobody": {func(b *policy.Body) { delete(b.People, "alice") }}, "key": {keys("alice", 31)}, "other": {keys("bob", 12), keys("carol", 33)},
}

// draw makes a random history of one request, as the ledger would keep it. The
// times that records claim are in no order.
func draw(rt *rapid.T, t *testing.T) *timeline {
	tl := newTimeline(t)
	if rapid.Bool().Draw(rt, "two") {
		tl.policy(-300, twoOf)
	}
	var change func(*request.Request)
	if rapid.Bool().Draw(rt, "scheduled") {
		change = startAt(rapid.IntRange(0, 400).Draw(rt, "start"))
	}
	roles := rapid.SampledFrom([][]string{{"read"}, {"write"}, {"look"}, {"read", "write"}, {"read", "look"}}).Draw(rt, "roles")
	tl.request(change, roles...)
	for range rapid.IntRange(0, 12).Draw(rt, "records") {
		drawRecord(rt, tl)
	}
	return tl
}

func drawRecord(rt *rapid.T, tl *timeline) {
	by := rapid.SampledFrom([]string{"alice", "bob", "carol", "dave", "erin"}).Draw(rt, "by")
	when := rapid.IntRange(-30, 330).Draw(rt, "when")
	switch kind := rapid.IntRange(0, 40).Draw(rt, "kind"); {
	case kind < 28:
		drawApproval(rt, tl)
	case kind < 33:
		if tl.c.MayWithdraw(by) == nil {
			tl.withdraw(by, when)
		}
	case kind < 38:
		tl.policy(when, changes[rapid.SampledFrom([]string{"none", "none", "terms", "meaning", "count", "groups", "auto", "nobody", "key", "other"}).Draw(rt, "change")]...)
	default:
		drawEnd(rt, tl)
	}
}

func drawApproval(rt *rapid.T, tl *timeline) {
	by := rapid.SampledFrom([]string{"alice", "bob", "carol", "dave", "erin"}).Draw(rt, "by")
	n := rapid.SampledFrom([]int{0, 0, 0, 10, 30, 90}).Draw(rt, "narrow")
	k := rapid.SampledFrom(keysOf[by]).Draw(rt, "key")
	lag := rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(rt, "lag")
	_ = tl.tryApprove(by, rapid.IntRange(-80, 330).Draw(rt, "when"), narrow(n), withKey(k), func(a *Placed[Approval]) { a.HeadAt = a.Position - lag })
}

// drawEnd adds what ends the request for good; it reports whether it could.
func drawEnd(rt *rapid.T, tl *timeline) bool {
	by := rapid.SampledFrom([]string{"bob", "carol", "dave", "erin"}).Draw(rt, "by")
	when := rapid.IntRange(-30, 330).Draw(rt, "when")
	switch rapid.SampledFrom([]string{"deny", "cancel", "revoke", "compromise"}).Draw(rt, "end") {
	case "deny":
		if tl.c.MayDeny(tl.h.Latest(), revoke.Who{By: by}) != nil {
			return false
		}
		tl.deny(by, when)
	case "cancel":
		tl.cancel(when)
	case "revoke":
		tl.revoke("erin", when)
	default:
		tl.compromise(keysOf["alice"][0], when)
	}
	return true
}

// moments at which the properties are looked at: all that the histories name.
func everyMoment(check func(minute int)) {
	for minute := -90; minute < 800; minute += 5 {
		check(minute)
	}
}

// granted reports whether access was granted, whatever came of it.
func granted(d Decision) bool { return !d.Decided.IsZero() }

func TestNothingOpensUnmet(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tl := draw(rt, t)
		everyMoment(func(minute int) {
			d := tl.decide(minute)
			if !reflect.DeepEqual(d, tl.decide(minute)) {
				rt.Fatal("two answers to one question")
			}
			if d.State == Active && (at(minute).Before(d.Opens) || !at(minute).Before(d.Ends)) {
				rt.Fatalf("open outside its window: %+v", d)
			}
			if !granted(d) {
				if slices.Contains([]State{Scheduled, Active, Expired}, d.State) {
					rt.Fatalf("%s without a decision", d.State)
				}
				return
			}
			if r := tl.c.Request.Record; d.Ends.Sub(d.Opens) > r.Duration.Duration || d.Opens.Before(r.Created.Time) || r.Start != nil && d.Opens.Before(r.Start.Time) {
				rt.Fatalf("more than was asked for: %+v", d)
			}
			for i, g := range d.Grants {
				if !g.Granted || g.Refusal != nil {
					rt.Fatalf("granted without %s", g)
				}
				met(rt, tl, minute, i, d)
			}
		})
	})
}

// met checks that each stage of the i-th grant has enough people, all of them
// distinct, eligible where their approval stands, and not the requester.
func met(rt *rapid.T, tl *timeline, minute, i int, d Decision) {
	seen := map[string]bool{"alice": true}
	g := d.Grants[i]
	if g.Auto == (len(g.Stages) > 0) {
		rt.Fatalf("%s: auto and stages", g)
	}
	for n, s := range g.Stages {
		if len(s.Have) < s.Count || s.Count < 1 {
			rt.Fatalf("%s: stage %d has %q of %d", g, n, s.Have, s.Count)
		}
		for _, by := range s.Have {
			if seen[by] {
				rt.Fatalf("%s: %s counts twice, or is the requester", g, by)
			}
			seen[by] = true
			if !slices.ContainsFunc(tl.c.Approvals, func(a Placed[Approval]) bool {
				m, err := tl.h.At(a.Position).Match("alice", g.Resource, g.Role, tl.c.Request.Record.Created.Time)
				if err != nil || a.Record.By != by || a.Record.Created.After(at(minute)) || n >= len(m.Rule.Stages) {
					return false
				}
				return m.Rule.Name == g.Rule && m.Meaning.Digest() == g.Meaning.Digest() && tl.h.At(a.Position).MayApprove(m.Rule, m.Rule.Stages[n].Approvers, by, policy.Concern{Requester: "alice"})
			}) {
				rt.Fatalf("%s: nothing makes %s count for stage %d at minute %d", g, by, n, minute)
			}
		}
	}
}

func TestSettledStaysSettled(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tl := draw(rt, t)
		var settled Decision
		opened := false
		everyMoment(func(minute int) {
			d := tl.decide(minute)
			if settled.State != "" && !d.State.Settled() {
				rt.Fatalf("%s became %s at minute %d:\n%+v\n%+v", settled.State, d.State, minute, settled, d)
			}
			if d.State.Settled() {
				settled = d
			}
			if opened && !d.State.Settled() && d.State != Active {
				rt.Fatalf("open, then %s at minute %d", d.State, minute)
			}
			opened = opened || d.State == Active
		})
	})
}

func TestMoreApprovalsNeverWiden(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tl := draw(rt, t)
		before := *tl
		before.c.Approvals = slices.Clone(tl.c.Approvals)
		drawApproval(rt, tl)
		everyMoment(func(minute int) {
			b, a := before.decide(minute), tl.decide(minute)
			switch {
			case b.State == Lapsed:
				// An approval signed in time and delivered late still counts;
				// the ledger refuses one that claims a time long past.
			case b.State.Settled() && !a.State.Settled():
				rt.Fatalf("one approval more made %s of %s at minute %d:\n%+v\n%+v", a.State, b.State, minute, b, a)
			case granted(b) && (!granted(a) || a.Ends.After(b.Ends)):
				rt.Fatalf("one approval more made the end %s of %s at minute %d", a.Ends, b.Ends, minute)
			}
		})
	})
}

// TestWithdrawingNeverOpens: nothing is open after a withdrawal, whatever time it claims,
// that had not been decided without it. How long it is open can follow another approval.
func TestWithdrawingNeverOpens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tl := draw(rt, t)
		before := *tl
		before.c.Withdrawals = slices.Clone(tl.c.Withdrawals)
		by := rapid.SampledFrom([]string{"bob", "carol", "dave", "erin"}).Draw(rt, "withdraws")
		if tl.c.MayWithdraw(by) != nil {
			return
		}
		tl.withdraw(by, rapid.IntRange(-30, 330).Draw(rt, "withdrawn"))
		everyMoment(func(minute int) {
			b, a := before.decide(minute), tl.decide(minute)
			if a.State == Active && (!granted(b) || b.Opens.After(at(minute))) {
				rt.Fatalf("a withdrawal by %s made %s of %s at minute %d:\n%+v\n%+v", by, a.State, b.State, minute, b, a)
			}
		})
	})
}

func TestEndsAlwaysEnd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tl := draw(rt, t)
		if !drawEnd(rt, tl) {
			return
		}
		drawApproval(rt, tl) // no effect any more
		everyMoment(func(minute int) {
			if d := tl.decide(minute); !d.State.Settled() {
				rt.Fatalf("still %s at minute %d: %+v", d.State, minute, d)
			}
		})
	})
}

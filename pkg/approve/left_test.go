package approve

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// keys gives somebody these keys and no others.
func keys(name string, numbers ...int) func(*policy.Body) {
	return func(b *policy.Body) {
		p := b.People[name]
		p.Keys = nil
		for _, n := range numbers {
			p.Keys = append(p.Keys, key(n))
		}
		b.People[name] = p
	}
}

// gone takes somebody out of the policy, with what names them.
func gone(name string) func(*policy.Body) {
	return func(b *policy.Body) {
		delete(b.People, name)
		is := func(x string) bool { return x == name }
		for g := range b.Groups {
			b.Groups[g] = slices.DeleteFunc(b.Groups[g], is)
		}
	}
}

// leftBy asserts which version ended the request at a minute, and in which words.
func (tl *timeline) leftBy(minute int, p *policy.Policy, words string) *timeline {
	tl.t.Helper()
	d := tl.decide(minute)
	if d.State != Revoked || d.EndedBy == nil || d.EndedBy.Record != p.ID() || d.EndedBy.By != "" || !strings.Contains(d.EndedBy.Reason, words) {
		tl.t.Errorf("at minute %d: %s, %+v", minute, d.State, d.EndedBy)
	}
	return tl
}

// TestLeft: a version that takes a person, or the key that they signed with, away ends
// what has not opened by then, and takes approvals from what is not decided; coming
// back changes nothing.
func TestLeft(t *testing.T) {
	noAlice, newKey := gone("alice"), keys("alice", 31)
	for name, story := range map[string]func(*timeline){
		"a person, while it waits": func(tl *timeline) {
			tl.request(nil, "read")
			p := tl.policy(10, noAlice)
			tl.leftBy(11, p, "does not name alice").policy(20)
			tl.leftBy(21, p, "does not name alice").leftBy(400, p, "")
			if err := tl.tryApprove("bob", 22); policy.CodeOf(err) != policy.AfterEnd {
				tl.t.Errorf("approved afterwards: %v", err)
			}
			if d := tl.decide(30); !d.Closed.Equal(at(10)) {
				tl.t.Errorf("closed at %s", d.Closed)
			}
		},
		"a key, while it waits": func(tl *timeline) {
			tl.request(nil, "read")
			p := tl.policy(10, newKey)
			tl.leftBy(11, p, "key "+string(key(1))).policy(20)
			tl.leftBy(21, p, "key "+string(key(1)))
			if err := tl.tryApprove("bob", 22); policy.CodeOf(err) != policy.AfterEnd {
				tl.t.Errorf("approved afterwards: %v", err)
			}
		},
		"a key that is another's now": func(tl *timeline) {
			tl.request(nil, "read")
			tl.leftBy(11, tl.policy(10, newKey, keys("dave", 4, 1)), "key "+string(key(1)))
		},
		"one key more takes nothing": func(tl *timeline) {
			tl.request(nil, "read").policy(10, keys("alice", 31, 1))
			tl.approve("bob", 11).state(11, Active)
		},
		"a person, while it is scheduled": func(tl *timeline) {
			tl.request(startAt(60), "read").approve("bob", 5).state(6, Scheduled)
			p := tl.policy(10, noAlice)
			tl.policy(20)
			tl.leftBy(30, p, "").leftBy(60, p, "").leftBy(500, p, "")
		},
		"a key, while it is scheduled": func(tl *timeline) {
			tl.request(startAt(60), "read").approve("bob", 5)
			p := tl.policy(10, newKey)
			tl.policy(20)
			tl.leftBy(60, p, "")
		},
		"scheduled for later than it would have lapsed": func(tl *timeline) {
			tl.request(startAt(400), "read").approve("bob", 5)
			p := tl.policy(350, newKey)
			tl.leftBy(200, p, "").leftBy(320, p, "").leftBy(500, p, "")
		},
		"lapsed before that": func(tl *timeline) {
			tl.request(nil, "read").policy(310, newKey)
			tl.state(320, Lapsed).state(400, Lapsed)
		},
		"changed before that, and lapsed undecided": func(tl *timeline) {
			tl.request(startAt(400), "read").approve("bob", 5).policy(10, otherRule)
			tl.policy(350, otherRule, newKey)
			tl.state(360, Lapsed).state(450, Lapsed)
		},
		"approved by itself": func(tl *timeline) {
			tl.request(startAt(60), "look").state(1, Scheduled)
			p := tl.policy(10, newKey)
			tl.policy(20)
			tl.leftBy(30, p, "").leftBy(60, p, "")
		},
		"approved by itself later": func(tl *timeline) {
			tl.request(nil, "read").policy(10, newKey)
			tl.policy(20, changes["auto"]...)
			tl.state(30, Revoked)
		},
		"a key, when it is open": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).policy(5, newKey)
			tl.state(6, Active).window(6, 5, 65).state(65, Expired).policy(70)
			tl.state(71, Expired)
		},
		"a person, when it is open": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5)
			p := tl.policy(10, noAlice)
			tl.policy(20)
			tl.leftBy(30, p, "alice")
		},
		"before an approval that waits for its time": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 50).state(20, Pending)
			p := tl.policy(40, newKey)
			tl.leftBy(45, p, "").leftBy(50, p, "")
		},
		"after an approval that waits for its time": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 50).policy(60, newKey)
			tl.state(20, Pending).state(50, Active).state(110, Expired)
		},
		"in the commit of the request": func(tl *timeline) {
			tl.request(nil, "look")
			tl.pos--
			tl.leftBy(1, tl.policy(0, newKey), "")
		},
		"of a bundle what is open stays": func(tl *timeline) {
			tl.policy(-1, partial(0))
			tl.request(nil, "read", "write").approve("bob", 5).parts(6, Active, Pending).policy(10, partial(0), newKey)
			tl.parts(11, Active, Revoked).state(11, Active).parts(70, Expired, Revoked)
		},
		"an emergency is open at once": func(tl *timeline) {
			b := emergencyRule(func(e *policy.Emergency) { e.Requesters = []string{"*"} })
			tl.policy(-1, b)
			tl.request(asEmergency, "read").policy(1, b, newKey)
			tl.state(2, Active).policy(3, b, noAlice)
			tl.state(4, Revoked)
		},
		"an approver, before it is decided": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5).policy(10, keys("bob", 12))
			tl.policy(20)
			tl.why(21, 0, policy.SignerLeft).approve("dave", 22).state(22, Pending).approve("bob", 23).approve("dave", 24).state(24, Active)
		},
		"an approver who is not named any more": func(tl *timeline) {
			tl.policy(-1, byGroup, twoOf)
			tl.request(nil, "read").approve("bob", 5).policy(10, byGroup, twoOf, gone("bob"), func(b *policy.Body) { b.Groups["first"] = append(b.Groups["first"], "erin") })
			tl.policy(20, byGroup, twoOf)
			tl.approve("carol", 21).state(21, Pending).why(21, 0, policy.SignerLeft).approve("bob", 22).state(22, Active)
		},
		"an approver's other key": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5).policy(10, keys("bob", 2))
			tl.approve("dave", 11).state(11, Active)
		},
		"an approver, after it is decided": func(tl *timeline) {
			tl.request(startAt(60), "read").approve("bob", 5).policy(10, keys("bob", 12))
			tl.state(11, Scheduled).state(60, Active)
		},
		"one in whose place somebody approved": func(tl *timeline) {
			onlyBob := stages(policy.Stage{Approvers: []string{"bob"}, Count: 1}, policy.Stage{Approvers: []string{"carol"}, Count: 1})
			tl.policy(-1, onlyBob)
			tl.request(nil, "read")
			_ = tl.approveFor("dave", 5, "bob")
			if s := tl.decide(6).Approvals[0]; !s.Counted {
				tl.t.Errorf("%+v", s)
			}
			tl.policy(10, onlyBob, keys("bob", 12))
			tl.policy(20, onlyBob)
			tl.approve("carol", 21).state(21, Pending)
			if s := tl.decide(21).Approvals[0]; s.Counted {
				tl.t.Errorf("%+v", s)
			}
		},
		"a stage that was met, and whose time is over": func(tl *timeline) {
			two := stages(policy.Stage{Approvers: []string{"bob"}, Count: 1, Expire: minutes(10)}, policy.Stage{Approvers: []string{"carol"}, Count: 1})
			tl.policy(-1, two)
			tl.request(nil, "read").approve("bob", 5).policy(30, two, keys("bob", 12))
			tl.state(29, Pending).state(30, Lapsed)
		},
	} {
		t.Run(name, func(t *testing.T) { story(newTimeline(t)) })
	}
}

// someMoments are enough of them to tell two histories apart.
var someMoments = []int{-60, 0, 20, 60, 100, 150, 200, 250, 290, 310, 350, 420, 500, 700}

// before gives the history without all that a position, or what is later, brings.
func (tl *timeline) before(position int) *timeline {
	then := *tl
	then.h = slices.DeleteFunc(slices.Clone(tl.h), func(p policy.InForce) bool { return p.Position >= position })
	then.c.Approvals = earlier(tl.c.Approvals, position)
	then.c.Denials = earlier(tl.c.Denials, position)
	then.c.Withdrawals = earlier(tl.c.Withdrawals, position)
	then.c.Cancellations = earlier(tl.c.Cancellations, position)
	then.c.Revocations = earlier(tl.c.Revocations, position)
	then.c.Void = map[record.Fingerprint]Void{}
	for k, x := range tl.c.Void {
		if x.Position < position {
			then.c.Void[k] = x
		}
	}
	return &then
}

func earlier[T any](all []Placed[T], position int) []Placed[T] {
	return slices.DeleteFunc(slices.Clone(all), func(x Placed[T]) bool { return x.Position >= position })
}

// takes gives the first version after a position in which somebody has a key no more.
func (tl *timeline) takes(position int, by string, k record.Fingerprint) (policy.InForce, bool) {
	for _, p := range tl.h {
		if person, ok := p.Document().People[by]; p.Position > position && (!ok || !slices.Contains(person.Keys, k)) {
			return p, true
		}
	}
	return policy.InForce{}, false
}

// drawLeaving makes a random history in which a version with a change comes.
func drawLeaving(rt *rapid.T, t *testing.T, kinds ...string) *timeline {
	tl := draw(rt, t)
	tl.policy(rapid.IntRange(-30, 330).Draw(rt, "leaves"), changes[rapid.SampledFrom(kinds).Draw(rt, "change")]...)
	for range rapid.IntRange(0, 8).Draw(rt, "more") {
		drawRecord(rt, tl)
	}
	return tl
}

// TestNothingOpensForOneWhoLeft: what is not open, by what the history held before a
// version that takes its signer's key or person, is settled whatever comes.
func TestNothingOpensForOneWhoLeft(t *testing.T) {
	seen := 0
	rapid.Check(t, func(rt *rapid.T) {
		tl := drawLeaving(rt, t, "nobody", "key")
		p, ok := tl.takes(tl.c.Request.Position, "alice", key(1))
		if !ok {
			return
		}
		minute := int(p.Since.Sub(t0).Minutes())
		if d := tl.before(p.Position).decide(minute); granted(d) && !d.Opens.After(p.Since) {
			return
		}
		seen++
		for _, m := range someMoments {
			if d := tl.decide(m); !d.State.Settled() || granted(d) {
				rt.Fatalf("%s at minute %d, after version %s of minute %d: %+v", d.State, m, p.ID(), minute, d)
			}
		}
	})
	if seen == 0 && !testenv.Raced {
		t.Error("nobody left")
	}
}

// everGranted reports whether access was granted by what the history held before a
// position, or an earlier one: a decision that was taken back leaves its mark.
func (tl *timeline) everGranted(position int) bool {
	for ; position > tl.c.Request.Position; position-- {
		then := tl.before(position)
		if slices.ContainsFunc(someMoments, func(m int) bool { return granted(then.decide(m)) }) {
			return true
		}
	}
	return false
}

// TestApprovalsOfThoseWhoLeft: where nothing was decided before a version that takes an
// approver or their key, all is as if they had not approved.
func TestApprovalsOfThoseWhoLeft(t *testing.T) {
	seen := 0
	rapid.Check(t, func(rt *rapid.T) {
		tl := drawLeaving(rt, t, "other")
		for i, a := range tl.c.Approvals {
			p, ok := tl.takes(a.Position, a.Record.By, a.Key)
			if !ok {
				continue
			}
			without := *tl
			without.c.Approvals = slices.Delete(slices.Clone(tl.c.Approvals), i, i+1)
			if tl.everGranted(p.Position) || without.everGranted(p.Position) {
				continue // decided before, or it would have been: one more may take a seat from others
			}
			seen++
			for _, m := range someMoments {
				d, want := tl.decide(m), without.decide(m)
				d.Approvals, want.Approvals = nil, nil
				if !reflect.DeepEqual(stripped(d), stripped(want)) {
					rt.Fatalf("at minute %d with what %s approved:\n%+v\nand without it:\n%+v", m, a.Record.By, d, want)
				}
			}
		}
	})
	if seen == 0 && !testenv.Raced {
		t.Error("nobody left")
	}
}

// stripped is what tells two decisions apart.
func stripped(d Decision) []any {
	return []any{d.State, d.Opens, d.Ends, d.Closed, d.Decided, d.Duration, d.Keys, d.EndedBy}
}

package approve

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/jitaccess/jit/pkg/policy"
)

// TestDatedAhead: an approval that has not taken effect has decided nothing, and what
// takes away meanwhile takes it away as what waits; what is dated back undoes nothing
// that is open.
func TestDatedAhead(t *testing.T) {
	noBob := stages(policy.Stage{Approvers: []string{"group:first"}, Count: 1})
	for name, story := range map[string]func(*timeline){
		"a lock meanwhile": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 60).lock("bob", 30).state(40, Pending).state(60, Pending).state(100, Pending).
				why(40, 0, policy.Locked).why(70, 0, policy.Locked).approve("carol", 70).state(70, Active).window(70, 70, 120)
		},
		"a lock when it has taken effect": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 60).lock("bob", 61).state(60, Active).state(119, Active).window(70, 60, 120)
		},
		"a lock of the same second": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 60).lock("bob", 60).state(60, Active)
		},
		"a lock of one who waits for another": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5).approve("dave", 60).lock("bob", 30).state(60, Pending).why(60, 0, policy.Locked)
		},
		"a lock, and one who had approved too": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 60).approve("carol", 70).lock("bob", 30).state(60, Pending).state(70, Active).window(70, 70, 120)
		},
		"a lock, and it is approved by the same person again": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 60).lock("bob", 30).approve("bob", 50).state(50, Active).why(50, 0, policy.Locked).why(50, 1, "")
		},
		"a lock that is dated back ends nothing that was opened": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).opened(6).lock("bob", 4).state(7, Active).window(7, 5, 65).state(70, Expired)
		},
		"nor does a version": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).opened(6).policy(4, keys("bob", 12))
			tl.state(7, Active).window(7, 5, 65)
		},
		"an opening that is told of afterwards shows nothing": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 60).lock("bob", 30).opened(31).state(60, Pending)
		},
		"a part that was opened shows nothing of the others": func(tl *timeline) {
			tl.request(nil, "read", "write").approve("bob", 60).approve("carol", 60)
			tl.opened(60).lock("bob", 30)
			tl.state(60, Active)
			tl.c.Receipts = tl.c.Receipts[:1]
			tl.state(60, Pending)
		},
		"a receipt from before the decision shows nothing": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 60).opened(59).lock("bob", 30).state(60, Pending)
		},
		"a version that comes when all is over, and claims to be from before, begins nothing anew": func(tl *timeline) {
			tl.request(nil, "look").state(10, Active).state(61, Expired)
			tl.policy(100, otherRule)
			tl.h[len(tl.h)-1].Claimed = at(-10)
			tl.state(101, Lapsed).state(159, Lapsed)
		},
		"a version that was agreed to before, and comes after, leaves the end": func(tl *timeline) {
			tl.request(nil, "look").state(10, Active).policy(20, otherRule)
			tl.h[len(tl.h)-1].Claimed = at(-10)
			tl.state(59, Active).window(59, 20, 60).state(60, Expired)
		},
		"a lock that is dated back, and an approval again, do not begin anew": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).state(6, Active).lock("bob", 4).approve("carol", 50).state(50, Active).window(50, 50, 65).state(65, Expired)
		},
		"a lock that is dated back, of one who had approved for less": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).approve("carol", 5, narrow(10)).lock("bob", 4).approve("bob", 4).window(5, 5, 15).
				lock("carol", 4).window(5, 4, 15).state(15, Expired)
		},
		"a lock of one in whose place it was approved": func(tl *timeline) {
			tl.policy(-1, stages(policy.Stage{Approvers: []string{"bob"}, Count: 1}))
			tl.request(nil, "read")
			if err := tl.approveFor("dave", 60, "bob"); err != nil {
				tl.t.Fatal(err)
			}
			tl.lock("bob", 30).state(60, Pending)
		},
		"a version without the signer": func(tl *timeline) {
			tl.policy(-1, noBob)
			tl.request(nil, "read").approve("bob", 60).policy(30, noBob, gone("bob"))
			tl.state(60, Pending).why(40, 0, policy.SignerLeft).why(60, 0, policy.SignerLeft).policy(40, noBob)
			tl.state(60, Pending)
		},
		"a version without the key": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 60).policy(30, keys("bob", 12))
			tl.state(60, Pending).why(60, 0, policy.SignerLeft)
		},
		"a version without the one in whose place it was approved": func(tl *timeline) {
			onlyBob := stages(policy.Stage{Approvers: []string{"bob"}, Count: 1})
			tl.policy(-1, onlyBob)
			tl.request(nil, "read")
			if err := tl.approveFor("dave", 60, "bob"); err != nil {
				tl.t.Fatal(err)
			}
			tl.policy(30, onlyBob, keys("bob", 12))
			tl.state(60, Pending)
		},
		"a version when it has taken effect": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 60).policy(61, keys("bob", 12))
			tl.state(62, Active)
		},
		"a version without the signer in the group": func(tl *timeline) {
			tl.policy(-1, noBob)
			tl.request(nil, "read").approve("bob", 60).policy(30, noBob, func(b *policy.Body) { b.Groups["first"] = []string{"carol"} })
			tl.state(60, Pending).why(60, 0, policy.StageNotOpen).approve("carol", 61).state(61, Active)
		},
		"a key that is retired meanwhile": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 60).loses(0, 30, "").state(60, Pending).why(60, 0, policy.KeyRetired).
				approve("bob", 61, withKey(key(12))).state(61, Active).window(61, 61, 120)
		},
		"a key that is retired when it has taken effect": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5).loses(0, 30, "").approve("dave", 60).state(60, Active)
		},
		"a retirement that is dated back": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).opened(6).loses(0, 4, "").state(7, Active).window(7, 5, 65)
		},
		"a delegation that is ended meanwhile": func(tl *timeline) {
			tl.policy(-1, stages(policy.Stage{Approvers: []string{"bob"}, Count: 1}))
			tl.request(nil, "read")
			for _, minute := range []int{60, 20} {
				if err := tl.approveFor("dave", minute, "bob"); err != nil {
					tl.t.Fatal(err)
				}
			}
			tl.loses(0, 30, "carol").state(20, Active).loses(1, 10, "bob").state(20, Pending).state(60, Active).loses(0, 30, "bob").state(60, Pending)
		},
		"a group that was left when it was open": func(tl *timeline) {
			tl.policy(-1, noBob)
			tl.request(nil, "read").approve("bob", 5).opened(6).policy(4, noBob, func(b *policy.Body) { b.Groups["first"] = []string{"carol"} })
			tl.state(7, Active).window(7, 5, 65)
		},
		"a group that was left while it waits, in effect": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5).policy(30, func(b *policy.Body) { b.Groups["first"] = []string{"carol"} })
			tl.approve("dave", 31).state(31, Active)
		},
	} {
		t.Run(name, func(t *testing.T) { story(newTimeline(t)) })
	}
}

// merged has a merge bring what comes next, which rests on a position.
func (tl *timeline) merged(fork int) *timeline {
	tl.beside = fork
	if fork > 0 {
		tl.beside++
	}
	return tl
}

// fork gives the position of what was laid last, for a merge to rest on.
func (tl *timeline) fork() int { return tl.pos }

// TestBesides: whoever makes a merge does not choose that an approval came before what takes
// it away, and undoes nothing that was opened by then.
func TestBesides(t *testing.T) {
	noBob := stages(policy.Stage{Approvers: []string{"group:first"}, Count: 1})
	for name, story := range map[string]func(tl *timeline, fork int){
		"a lock": func(tl *timeline, fork int) {
			tl.approve("bob", 5).merged(fork).lock("bob", 30).state(7, Pending).why(40, 0, policy.Locked)
		},
		"a lock of one who had approved for longer": func(tl *timeline, fork int) {
			tl.approve("bob", 5, narrow(10)).merged(fork).lock("bob", 30).merged(0).approve("carol", 7).window(7, 7, 15)
		},
		"a lock of what was opened": func(tl *timeline, fork int) {
			tl.approve("bob", 5).opened(6).merged(fork).lock("bob", 30).state(7, Active)
		},
		"a lock that its side had seen it before": func(tl *timeline, fork int) {
			tl.approve("bob", 5)
			tl.merged(tl.fork()).lock("bob", 30).state(7, Active)
		},
		"a withdrawal": func(tl *timeline, fork int) {
			tl.approve("bob", 5).merged(fork).withdraw("bob", 30).state(7, Pending).why(40, 0, policy.Withdrawn)
		},
		"a withdrawal of what was opened": func(tl *timeline, fork int) {
			tl.approve("bob", 5).opened(6).merged(fork).withdraw("bob", 30).state(7, Active)
		},
		"a withdrawal of another's": func(tl *timeline, fork int) {
			tl.approve("bob", 5).approve("carol", 5).merged(fork).withdraw("bob", 30).state(7, Active)
		},
		"a key that is retired": func(tl *timeline, fork int) {
			tl.approve("bob", 5).merged(fork).loses(0, 30, "").state(7, Pending).why(40, 0, policy.KeyRetired)
		},
		"a version without the signer": func(tl *timeline, fork int) {
			tl.approve("bob", 5).merged(fork).policy(30, keys("bob", 12))
			tl.state(7, Pending).why(40, 0, policy.SignerLeft)
		},
		"a version without the signer in the group": func(tl *timeline, fork int) {
			tl.h = nil
			tl.policy(-600, noBob)
			tl.approve("bob", 5).merged(fork).policy(30, noBob, func(b *policy.Body) { b.Groups["first"] = []string{"carol"} })
			tl.state(7, Pending).why(40, 0, policy.StageNotOpen)
		},
		"a version with another rule": func(tl *timeline, fork int) {
			tl.approve("bob", 5).merged(fork).policy(30, twoOf)
			tl.state(7, Pending)
		},
		"a version without the requester": func(tl *timeline, fork int) {
			tl.approve("bob", 5).merged(fork).policy(30, gone("alice"))
			tl.state(7, Revoked)
		},
		"a version after what was opened": func(tl *timeline, fork int) {
			tl.approve("bob", 5).opened(6).merged(fork).policy(30, twoOf)
			tl.state(7, Active)
		},
	} {
		t.Run(name, func(t *testing.T) {
			tl := newTimeline(t).request(nil, "read")
			story(tl, tl.fork())
		})
	}
}

// TestClaimedFirst: a version takes what is dated ahead by the earliest time that anybody
// claims who made it: the last to agree, who dates ahead, puts nothing off.
func TestClaimedFirst(t *testing.T) {
	version := func(tl *timeline, change func(*policy.Body)) {
		tl.policy(500, change)
		tl.h[len(tl.h)-1].Claimed = at(10)
	}
	tl := newTimeline(t).request(nil, "read").approve("bob", 60)
	version(tl, keys("bob", 12))
	tl.state(60, Pending).why(70, 0, policy.SignerLeft)

	tl = newTimeline(t).request(startAt(60), "read").approve("bob", 5)
	version(tl, keys("alice", 31))
	tl.state(60, Revoked)

	tl = newTimeline(t).request(startAt(60), "read").approve("bob", 5).opened(60)
	version(tl, keys("alice", 31))
	tl.state(61, Active)
}

// loses notes that what the n-th approval was signed with was lost.
func (tl *timeline) loses(n, minute int, of string) *timeline {
	tl.pos++
	tl.c.Lost = append(tl.c.Lost, Lost{Approval: tl.c.Approvals[n].Record.ID, Position: tl.pos, Beside: tl.beside, At: at(minute), For: of})
	return tl
}

// drawLock makes a random history with locks of approvers, and keys that they retire, in
// no order of their times.
func drawLock(rt *rapid.T, t *testing.T) *timeline {
	tl := draw(rt, t)
	for range rapid.IntRange(0, 2).Draw(rt, "locks") {
		drawTaking(rt, tl)
		drawRecord(rt, tl)
	}
	return tl
}

// drawTaking locks an approver, or has them lose a key with which they approved, and says so.
// Sometimes a merge brings it.
func drawTaking(rt *rapid.T, tl *timeline) string {
	when := rapid.IntRange(-30, 330).Draw(rt, "when")
	if rapid.IntRange(0, 3).Draw(rt, "merged") == 0 {
		tl.merged(rapid.IntRange(1, tl.pos).Draw(rt, "fork"))
		defer tl.merged(0)
	}
	if n := len(tl.c.Approvals); n > 0 && rapid.IntRange(0, 3).Draw(rt, "taking") == 0 {
		i := rapid.IntRange(0, n-1).Draw(rt, "approval")
		lost := Lost{Position: tl.pos + 1, Beside: tl.beside, At: at(when)}
		if a := tl.c.Approvals[i]; lost.Takes(a) {
			tl.loses(i, when, "")
			return "the loss of a key of " + a.Record.By
		}
	}
	who := rapid.SampledFrom(others).Draw(rt, "locked")
	tl.lock(who, when)
	return "a lock of " + who
}

// TestTakingNeverOpens: nothing is open after a lock or the loss of a key, whatever time it
// claims, that was not to be open without it, nor for longer.
func TestTakingNeverOpens(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tl := drawLock(rt, t)
		before := *tl
		before.c.Locks, before.c.Lost = slices.Clone(tl.c.Locks), slices.Clone(tl.c.Lost)
		what := drawTaking(rt, tl)
		everyMoment(func(minute int) {
			b, a := before.decide(minute), tl.decide(minute)
			if a.State == Active && (!granted(b) || b.Opens.After(at(minute)) || a.Ends.After(b.Ends)) {
				rt.Fatalf("%s made %s of %s at minute %d:\n%+v\n%+v", what, a.State, b.State, minute, b, a)
			}
		})
	})
}

// TestNothingRestsOnTheLocked: no decision rests on what somebody approved who was
// locked, or left, before the time at which it was decided.
func TestNothingRestsOnTheLocked(t *testing.T) {
	histories, ahead := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		histories++
		tl := drawLock(rt, t)
		for _, m := range someMoments {
			d := tl.decide(m)
			for i, s := range d.Approvals {
				a := tl.c.Approvals[i]
				if !granted(d) || !s.Counted {
					continue
				}
				for _, l := range tl.c.Locks {
					if a.place().before(l.place()) && l.names(a.Record.By, a.Key) {
						ahead++
						if l.At.Before(d.Decided) {
							rt.Fatalf("at minute %d it rests on %s, locked at %s: %+v", m, s.By, l.At, d)
						}
					}
				}
				if p, ok := tl.takes(a.Position, a.Record.By, a.Key); ok && p.Since.Before(d.Decided) {
					rt.Fatalf("at minute %d it rests on %s, who left at %s: %+v", m, s.By, p.Since, d)
				}
			}
		}
	})
	if histories >= 1000 && ahead == 0 {
		t.Error("nobody who had approved was locked")
	}
}

// TestLockedSettledStaysSettled is TestSettledStaysSettled where people are locked.
func TestLockedSettledStaysSettled(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tl := drawLock(rt, t)
		var settled State
		opened := false
		everyMoment(func(minute int) {
			d := tl.decide(minute)
			if settled != "" && !d.State.Settled() || opened && !d.State.Settled() && d.State != Active {
				rt.Fatalf("settled as %q, opened %t, and %s at minute %d: %+v", settled, opened, d.State, minute, d)
			}
			if d.State.Settled() {
				settled = d.State
			}
			opened = opened || d.State == Active
		})
	})
}

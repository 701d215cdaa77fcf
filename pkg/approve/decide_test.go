package approve

import (
	"slices"
	"strings"
	"testing"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// role changes a role of db.
func role(name string, change func(*policy.Role)) func(*policy.Body) {
	return func(b *policy.Body) {
		r := b.Resources["db"].Roles[name]
		change(&r)
		b.Resources["db"].Roles[name] = r
	}
}

// otherRule changes the terms of every rule, not what roles mean.
func otherRule(b *policy.Body) {
	for i := range b.Rules {
		b.Rules[i].MaxDuration = minutes(200)
	}
}

func otherMeaning(b *policy.Body) {
	role("read", func(r *policy.Role) { r.Parameters = map[string]string{"role": "owner"} })(b)
	role("look", func(r *policy.Role) { r.Parameters = map[string]string{"role": "owner"} })(b)
}

func rename(from, to string) func(*policy.Body) {
	return func(b *policy.Body) {
		b.People[to] = b.People[from]
		delete(b.People, from)
		for _, members := range b.Groups {
			for i := range members {
				if members[i] == from {
					members[i] = to
				}
			}
		}
		for _, r := range b.Rules {
			for _, s := range r.Stages {
				for i := range s.Approvers {
					if s.Approvers[i] == from {
						s.Approvers[i] = to
					}
				}
			}
		}
	}
}

// twoOf makes rule one ask for two of its approvers.
func twoOf(b *policy.Body) { b.Rules[0].Stages[0].Count = 2 }

// byGroup makes rule one mean its approvers by a group.
func byGroup(b *policy.Body) { b.Rules[0].Stages[0].Approvers = []string{"group:first"} }

func TestLife(t *testing.T) {
	for name, story := range map[string]func(*timeline){
		"pending, then lapsed": func(tl *timeline) {
			tl.request(nil, "read").state(0, Pending).state(299, Pending).state(300, Lapsed).state(100000, Lapsed)
			if d := tl.decide(300); !d.Closed.Equal(at(300)) || !d.Lapses.Equal(at(300)) || !d.Opens.IsZero() || d.EndedBy != nil {
				t.Errorf("lapsed: %+v", d)
			}
		},
		"the window runs from the approval": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 50).state(50, Active).state(109, Active).state(110, Expired).window(50, 50, 110).why(50, 0, "")
			if d := tl.decide(120); !d.Closed.Equal(at(110)) || !d.Decided.Equal(at(50)) {
				t.Errorf("expired: %+v", d)
			}
		},
		"stages in their order": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5).state(5, Pending).approve("dave", 7).state(7, Active).window(7, 7, 67)
		},
		"too early for its stage, and again": func(tl *timeline) {
			tl.request(nil, "write").approve("dave", 5).why(5, 0, policy.StageNotOpen).approve("bob", 6).state(6, Pending).
				why(6, 0, policy.StageNotOpen).approve("dave", 8).state(8, Active).window(8, 8, 68)
		},
		"one person once over all stages": func(tl *timeline) {
			tl.request(nil, "write").approve("carol", 5).approve("carol", 6).state(6, Pending).why(6, 0, "").why(6, 1, policy.CountedOnce).
				approve("dave", 7).state(7, Active)
		},
		"two keys are one person": func(tl *timeline) {
			tl.policy(-1, twoOf)
			tl.request(nil, "read").approve("bob", 5).approve("bob", 6, withKey(key(12))).state(6, Pending).why(6, 1, policy.CountedOnce).
				approve("carol", 7).state(7, Active)
		},
		"a new name is no second person": func(tl *timeline) {
			// The rule means people by their group, so it does not change.
			tl.policy(-1, twoOf, byGroup)
			tl.request(nil, "read").approve("bob", 5)
			keysOf["robert"] = keysOf["bob"]
			tl.policy(6, rename("bob", "robert"), twoOf, byGroup)
			tl.approve("robert", 7, withKey(key(12)))
			delete(keysOf, "robert")
			tl.state(7, Pending).why(7, 0, policy.SignerLeft).why(7, 1, "")
		},
		"no effect before its created": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 90).state(10, Pending).why(10, 0, policy.NotYet).state(89, Pending).state(90, Active).window(90, 90, 150)
		},
		"a withdrawal before its stage is full": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5).withdraw("bob", 6).state(6, Pending).why(6, 0, policy.Withdrawn).
				approve("dave", 7).state(7, Pending).approve("bob", 8).state(8, Pending).approve("dave", 9).state(9, Active)
		},
		"a withdrawal before opening": func(tl *timeline) {
			tl.request(startAt(120), "read").approve("bob", 5).state(5, Scheduled).window(5, 120, 180).
				withdraw("bob", 100).state(100, Pending).state(130, Pending).why(100, 0, policy.Withdrawn).
				approve("carol", 110).state(110, Scheduled).state(120, Active).window(110, 120, 180)
		},
		"a withdrawal before opening leaves the others": func(tl *timeline) {
			tl.request(startAt(120), "read").approve("bob", 5).approve("carol", 6).withdraw("bob", 100).state(100, Scheduled).why(100, 1, "")
		},
		"a withdrawal after opening": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).withdraw("bob", 6).state(6, Active).state(70, Expired)
		},
		"a withdrawal after a scheduled opening": func(tl *timeline) {
			tl.request(startAt(20), "read").approve("bob", 5).withdraw("bob", 20).state(21, Active)
		},
		"one withdraws what waits for another's future approval": func(tl *timeline) {
			tl.policy(-1, twoOf)
			tl.request(nil, "read").approve("bob", 90).approve("carol", 10).withdraw("carol", 30).state(40, Pending).state(100, Pending)
		},
		"a withdrawal of before the opening, and an approval again": func(tl *timeline) {
			tl.policy(-1, twoOf)
			tl.request(nil, "read").approve("bob", 5).approve("carol", 10).window(10, 10, 70).withdraw("bob", 7).state(40, Pending).
				approve("bob", 40).state(40, Active).window(40, 40, 70).withdraw("bob", 39).state(69, Pending).state(70, Lapsed)
			if err := tl.tryApprove("bob", 80); policy.CodeOf(err) != policy.Lapsed {
				t.Errorf("an approval after it lapsed: %v", err)
			}
		},
		"a withdrawal of before the opening, and one who signed ahead before it": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 62).approve("carol", 0).state(10, Active).withdraw("carol", -1).
				state(10, Pending).state(59, Pending).state(60, Lapsed).state(62, Lapsed).state(70, Lapsed)
		},
		"a withdrawal gives nobody a seat in the past": func(tl *timeline) {
			// Carol has the first seat, with dave's for later; with her first approval
			// alone taken back, bob and her second one would have decided at once.
			tl.request(nil, "write").approve("carol", 1).approve("dave", 40).approve("bob", 2).approve("carol", 3).state(10, Pending).
				withdraw("carol", 20).state(10, Pending).state(30, Pending).why(30, 0, policy.Withdrawn).why(30, 3, policy.Withdrawn).state(50, Pending)
		},
		"a denial before it is decided": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5).deny("dave", 6).state(6, Denied).state(1000, Denied)
			if d := tl.decide(6); d.EndedBy == nil || d.EndedBy.By != "dave" || d.EndedBy.Reason != "no" || !d.Closed.Equal(at(6)) {
				t.Errorf("%+v", d.EndedBy)
			}
		},
		"a denial of what is scheduled": func(tl *timeline) {
			tl.request(startAt(120), "read").approve("bob", 5).deny("carol", 10).state(10, Denied).state(130, Denied)
		},
		"a denial of what is open revokes": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).deny("carol", 10).state(10, Revoked).state(100, Revoked)
		},
		"a denial signed ahead of time counts at once": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).deny("carol", 500).state(10, Revoked)
			if d := tl.decide(10); !d.Closed.Equal(at(10)) {
				t.Errorf("closed %s", d.Closed)
			}
		},
		"a denial over an approval signed ahead of time": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 90).deny("carol", 10).state(10, Denied).state(95, Denied)
		},
		"cancelled before and after opening": func(tl *timeline) {
			tl.request(nil, "read").cancel(3).state(3, Cancelled)
		},
		"dropped early": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).cancel(20).state(20, Cancelled)
			if d := tl.decide(500); d.State != Cancelled || !d.Closed.Equal(at(20)) {
				t.Errorf("%+v", d)
			}
		},
		"revoked": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).revoke("erin", 20).state(20, Revoked)
		},
		"a revocation after the end changes nothing": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).revoke("erin", 70).state(80, Expired)
		},
		"what ends first in the history ends it": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).revoke("erin", 20).cancel(10).state(30, Revoked)
		},
		"an ending cannot lie before the beginning": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).revoke("erin", -500).state(30, Revoked)
			if d := tl.decide(30); !d.Closed.Equal(at(0)) {
				t.Errorf("closed %s", d.Closed)
			}
		},
		"a scheduled start, and the rule changes before it": func(tl *timeline) {
			tl.request(startAt(120), "read").approve("bob", 5)
			tl.policy(50, otherRule)
			tl.state(60, Pending).state(130, Pending).why(60, 0, policy.BasisChanged).approve("bob", 70).state(70, Scheduled).window(70, 120, 180)
		},
		"a rule that changes and changes back": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5)
			tl.policy(6, otherRule)
			tl.policy(7)
			tl.state(8, Pending).why(8, 0, policy.BasisChanged).approve("dave", 9).state(9, Pending).
				approve("bob", 10).approve("dave", 11).state(11, Active)
		},
		"a rule that changes and changes back before a scheduled start": func(tl *timeline) {
			tl.request(startAt(120), "read").approve("bob", 5)
			tl.policy(50, otherRule)
			tl.policy(60)
			tl.state(130, Pending).why(130, 0, policy.BasisChanged).approve("bob", 70).state(130, Active)
		},
		"a rule that changes and changes back between head and place": func(tl *timeline) {
			tl.request(nil, "read")
			seen := tl.pos
			tl.policy(50, otherRule)
			tl.policy(51)
			if err := tl.tryApprove("bob", 52, headAt(seen)); policy.CodeOf(err) != policy.BasisChanged {
				t.Errorf("got %v", err)
			}
		},
		"a meaning that changes and changes back": func(tl *timeline) {
			tl.request(startAt(120), "read").approve("bob", 5)
			tl.policy(50, otherMeaning)
			tl.policy(60)
			tl.state(130, Pending).why(130, 0, policy.BasisChanged)
		},
		"the rule changes back once it is open": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5)
			tl.policy(20, otherRule)
			tl.policy(30)
			tl.state(40, Active).window(40, 5, 65)
		},
		"the rule changes after it opened": func(tl *timeline) {
			tl.request(startAt(20), "read").approve("bob", 5)
			tl.policy(50, otherRule)
			tl.state(60, Active).window(60, 20, 80)
			// Another approval, narrower, is no part of what was decided.
			tl.approve("carol", 61, narrow(5)).state(70, Active).window(70, 20, 80)
		},
		"the meaning changes before it opens": func(tl *timeline) {
			tl.request(startAt(120), "read").approve("bob", 5)
			tl.policy(50, otherMeaning)
			tl.state(60, Pending).approve("carol", 70).state(120, Active)
		},
		"the meaning changes while it is open": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5)
			p := tl.policy(50, otherMeaning)
			tl.state(51, Revoked).state(300, Revoked)
			if d := tl.decide(51); d.EndedBy.Record != p.ID() || !strings.Contains(d.EndedBy.Reason, "db:read") || d.Grants[0].Meaning.Parameters["role"] != "reader" {
				t.Errorf("%+v of %+v", d.EndedBy, d.Grants[0])
			}
			// Nor does another approval bring it back, even one signed before.
			tl.approve("carol", 52).state(53, Revoked).approve("dave", 4).state(54, Revoked)
		},
		"only the meaning of another role changes": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5).approve("dave", 6)
			tl.policy(50, otherMeaning)
			tl.state(51, Active)
		},
		"the account changes": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5)
			tl.policy(50, func(b *policy.Body) {
				b.People["alice"] = policy.Person{Keys: keysOf["alice"], Accounts: map[string]string{"postgres": "root"}}
			})
			tl.state(51, Revoked)
		},
		"the person is removed": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5)
			tl.policy(50, func(b *policy.Body) { delete(b.People, "alice") })
			tl.state(51, Revoked)
			tl.policy(52)
			tl.state(53, Revoked)
		},
		"the role is removed": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5)
			tl.policy(50, func(b *policy.Body) { delete(b.Resources["db"].Roles, "read") })
			tl.state(51, Revoked)
		},
		"the resource is removed before it is decided": func(tl *timeline) {
			tl.request(nil, "read")
			tl.policy(50, func(b *policy.Body) { b.Resources = nil })
			tl.state(51, Pending)
			if d := tl.decide(51); len(d.Warnings) != 1 || policy.CodeOf(d.Grants[0].Refusal) != policy.UnknownResource {
				t.Errorf("%q, %v", d.Warnings, d.Grants[0].Refusal)
			}
		},
		"the rule changes between head and place": func(tl *timeline) {
			tl.request(nil, "read")
			tl.policy(50, otherRule)
			if err := tl.tryApprove("bob", 51, headAt(tl.pos-1)); policy.CodeOf(err) != policy.BasisChanged {
				t.Errorf("got %v", err)
			}
			tl.approve("bob", 52).state(53, Active)
		},
		"the rule changes between two approvals": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5)
			tl.policy(6, otherRule)
			tl.approve("dave", 7).state(8, Pending).why(8, 0, policy.BasisChanged).why(8, 1, policy.StageNotOpen).
				approve("bob", 9).approve("dave", 10).state(10, Active)
		},
		"a shorter limit refuses what waits": func(tl *timeline) {
			tl.request(nil, "read")
			tl.policy(5, func(b *policy.Body) { b.Rules[0].MaxDuration = minutes(30) })
			tl.approve("bob", 6).state(7, Pending)
			if d := tl.decide(7); policy.CodeOf(d.Grants[0].Refusal) != policy.TooLong || len(d.Warnings) != 1 {
				t.Errorf("%v %q", d.Grants[0].Refusal, d.Warnings)
			}
		},
		"an approver is removed after approving": func(tl *timeline) {
			tl.policy(-1, twoOf, byGroup)
			tl.request(nil, "read").approve("bob", 5)
			tl.policy(6, twoOf, byGroup, func(b *policy.Body) { b.Groups["first"] = []string{"carol"} })
			// bob's approval is judged at its place; nobody else could be second.
			tl.approve("carol", 7).state(7, Active)
		},
		"a removed approver cannot backdate": func(tl *timeline) {
			tl.request(nil, "write")
			tl.policy(6, func(b *policy.Body) { b.Groups["first"] = []string{"carol"} })
			if err := tl.tryApprove("bob", 5, headAt(2)); policy.CodeOf(err) != policy.NotApprover {
				t.Errorf("got %v", err)
			}
		},
		"a key compromised before the decision": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5).compromise(key(2), 6).approve("dave", 7).state(8, Pending).why(8, 0, policy.KeyVoid).
				why(8, 1, policy.StageNotOpen).approve("carol", 9).approve("dave", 10).state(10, Active)
		},
		"a key compromised after the decision": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5).approve("dave", 7).state(8, Active).compromise(key(2), 9).state(9, Revoked)
			if d := tl.decide(9); !strings.Contains(d.EndedBy.Reason, string(key(2))) || d.EndedBy.By != "" {
				t.Errorf("%+v", d.EndedBy)
			}
		},
		"a key compromised while it is scheduled": func(tl *timeline) {
			tl.request(startAt(100), "read").approve("bob", 5).compromise(key(2), 9).state(9, Revoked).state(110, Revoked)
		},
		"a subkey compromised before the decision": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5, withSubkey(key(90))).compromise(key(90), 6).approve("dave", 7).state(8, Pending).why(8, 0, policy.KeyVoid).
				approve("bob", 9, withSubkey(key(91))).approve("dave", 10).state(10, Active)
		},
		"a subkey compromised after the decision": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5, withSubkey(key(90))).approve("dave", 7).state(8, Active).compromise(key(90), 9).state(9, Revoked)
			if d := tl.decide(9); d.EndedBy == nil || d.EndedBy.Reason != "subkey "+string(key(90))+" of key "+string(key(2))+" was revoked as compromised" || !slices.Contains(d.Keys, key(90)) {
				tl.t.Errorf("ended by %+v, rests on %s", d.EndedBy, d.Keys)
			}
		},
		"another subkey of the same key is compromised": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5, withSubkey(key(90))).compromise(key(91), 9).state(10, Active)
		},
		"the key of the subkey is compromised": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5, withSubkey(key(90))).compromise(key(2), 9).state(10, Revoked)
		},
		"the requester's subkey is compromised": func(tl *timeline) {
			tl.request(nil, "read")
			tl.c.Request.Subkey = key(90)
			tl.compromise(key(90), 4).state(5, Revoked)
		},
		"a compromised key on which nothing rests": func(tl *timeline) {
			tl.request(nil, "read").approve("carol", 5).approve("bob", 6).compromise(key(2), 9).state(10, Active)
		},
		"the requester's key is compromised": func(tl *timeline) {
			tl.request(nil, "read").compromise(key(1), 4).state(5, Revoked)
		},
		"the requester's key is compromised while it is open": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).compromise(key(1), 9).state(10, Revoked)
		},
		"by itself": func(tl *timeline) {
			tl.request(nil, "look").state(0, Active).state(60, Expired).window(0, 0, 60)
			if d := tl.decide(0); !d.Grants[0].Auto || !d.Grants[0].Granted || d.Grants[0].Rule != "auto" {
				t.Errorf("%+v", d.Grants[0])
			}
		},
		"by itself, later, judged again by a new rule": func(tl *timeline) {
			tl.request(startAt(120), "look").state(0, Scheduled)
			tl.policy(50, otherRule)
			tl.state(51, Scheduled).state(120, Active).window(120, 120, 180)
		},
		"by itself, until a new rule wants people": func(tl *timeline) {
			staged := func(b *policy.Body) {
				b.Rules[2].Approve, b.Rules[2].Stages = "", []policy.Stage{{Approvers: []string{"bob"}, Count: 1}}
			}
			tl.request(startAt(120), "look")
			tl.policy(50, staged)
			tl.state(51, Pending).approve("bob", 60).state(61, Scheduled)
		},
		"a new rule approves by itself what waited": func(tl *timeline) {
			tl.request(nil, "read")
			tl.policy(50, func(b *policy.Body) { b.Rules[0].Approve, b.Rules[0].Stages = policy.ApproveAuto, nil })
			tl.state(51, Active).window(51, 50, 110)
		},
		"a new rule comes after the lapse": func(tl *timeline) {
			tl.request(nil, "read")
			tl.policy(300, func(b *policy.Body) { b.Rules[0].Approve, b.Rules[0].Stages = policy.ApproveAuto, nil })
			tl.state(301, Lapsed)
		},
		"the narrowest window holds": func(tl *timeline) {
			tl.request(nil, "write").approve("bob", 5, narrow(40)).approve("dave", 6, narrow(30)).window(6, 6, 36).state(35, Active).state(36, Expired)
			if d := tl.decide(6); d.Duration != minutes(30) {
				t.Errorf("duration %s", d.Duration)
			}
		},
		"one too many narrows nothing": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5).approve("carol", 6, narrow(10)).window(7, 5, 65)
			if s := tl.decide(7).Approvals[1]; s.Counted || s.Why != "" {
				t.Errorf("%+v", s)
			}
		},
		"a bundle under two rules": func(tl *timeline) {
			tl.request(nil, "read", "write", "look").approve("bob", 5).state(5, Pending)
			if d := tl.decide(5); !d.Grants[0].Granted || d.Grants[1].Granted || !d.Grants[2].Granted || !slices.Equal(d.Grants[1].Stages[1].Who, []string{"carol", "dave"}) {
				t.Errorf("%+v", d.Grants)
			}
			tl.approve("dave", 6).state(6, Active).why(6, 0, "").why(6, 1, "").window(6, 6, 66)
			tl.policy(7, otherMeaning)
			tl.state(8, Revoked) // one part ends all
		},
		"a bundle counts an approval for the part that it is for": func(tl *timeline) {
			tl.request(nil, "read", "write").approve("dave", 5).state(5, Pending).why(5, 0, "")
			tl.approve("bob", 6).state(6, Pending).approve("carol", 7).state(7, Active)
		},
		"an approver is needed twice": func(tl *timeline) {
			tl.policy(-1, func(b *policy.Body) { b.Groups["second"] = []string{"carol"} })
			tl.request(nil, "write").approve("carol", 5).state(5, Pending)
			if d := tl.decide(5); len(d.Warnings) != 1 || !strings.Contains(d.Warnings[0], "withdraw") {
				t.Errorf("warnings %q", d.Warnings)
			}
			tl.withdraw("carol", 6).approve("bob", 7).approve("carol", 8).state(8, Active)
		},
		"a clock ahead does not reopen": func(tl *timeline) {
			// bob signs for minute 200; carol and dave decide at once.
			tl.policy(-1, twoOf)
			tl.request(nil, "read").approve("bob", 200).approve("carol", 10).state(11, Pending).approve("dave", 12).
				state(13, Active).window(13, 12, 72).state(72, Expired).state(200, Expired).state(250, Expired)
		},
		"a clock ahead can shorten": func(tl *timeline) {
			tl.policy(-1, twoOf)
			tl.request(func(r *request.Request) { r.Duration = minutes(240) }, "read").
				approve("bob", 100, narrow(10)).approve("carol", 10).approve("dave", 12).state(50, Active).state(105, Active).state(110, Expired).state(200, Expired)
		},
		"a clock behind does not lengthen": func(tl *timeline) {
			tl.policy(-1, twoOf)
			tl.request(nil, "read").approve("bob", 0).approve("carol", 30, narrow(10)).state(35, Active).state(40, Expired).
				approve("dave", 10).state(45, Expired).state(65, Expired)
		},
		"a withdrawal delivered before its approval": func(tl *timeline) {
			tl.request(startAt(100), "read").approve("bob", 5)
			a := tl.c.Approvals[0]
			tl.c.Approvals = nil
			tl.c.Withdrawals = append(tl.c.Withdrawals, placed(tl, Withdrawal{Head: tl.head(record.KindWithdrawal, "bob", 6)}, "bob"))
			tl.pos++
			a.Position = tl.pos
			tl.c.Approvals = append(tl.c.Approvals, a)
			tl.state(10, Pending).why(10, 0, policy.Withdrawn)
		},
		"a withdrawal in the approval's own commit": func(tl *timeline) {
			tl.request(nil, "read").approve("bob", 5)
			tl.c.Approvals[0].Order = 1
			w := placed(tl, Withdrawal{Head: tl.head(record.KindWithdrawal, "bob", 5)}, "bob")
			w.Position = tl.c.Approvals[0].Position
			tl.c.Withdrawals = append(tl.c.Withdrawals, w)
			tl.state(10, Pending)
		},
	} {
		t.Run(name, func(t *testing.T) { story(newTimeline(t)) })
	}
}

func TestMayApprove(t *testing.T) {
	for name, c := range map[string]struct {
		by     string
		minute int
		change []approvalChange
		want   policy.Code
	}{
		"an approver":              {by: "bob", minute: 5},
		"the last second":          {by: "bob", minute: 299},
		"a clock a little behind":  {by: "bob", minute: -60},
		"as long as asked":         {by: "bob", minute: 5, change: []approvalChange{narrow(60)}},
		"the requester":            {by: "alice", minute: 5, want: policy.OwnRequest},
		"the requester's key":      {by: "bob", minute: 5, change: []approvalChange{withKey(key(1))}, want: policy.OwnRequest},
		"no approver":              {by: "erin", minute: 5, want: policy.NotApprover},
		"before the request":       {by: "bob", minute: -61, want: policy.Backdated},
		"as it lapses":             {by: "bob", minute: 300, want: policy.Lapsed},
		"longer than asked":        {by: "bob", minute: 5, change: []approvalChange{narrow(61)}, want: policy.Widens},
		"had not seen the request": {by: "bob", minute: 5, change: []approvalChange{headAt(1)}, want: policy.HeadTooOld},
		"before any policy":        {by: "bob", minute: 5, change: []approvalChange{func(a *Placed[Approval]) { a.Position = 0 }}, want: policy.NotApprover},
	} {
		t.Run(name, func(t *testing.T) {
			tl := newTimeline(t).request(nil, "read")
			if err := tl.tryApprove(c.by, c.minute, c.change...); policy.CodeOf(err) != c.want || (err == nil) != (c.want == "") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	t.Run("after an end", func(t *testing.T) {
		for _, end := range []func(*timeline){
			func(tl *timeline) { tl.deny("carol", 4) }, func(tl *timeline) { tl.cancel(4) }, func(tl *timeline) { tl.revoke("erin", 4) },
		} {
			tl := newTimeline(t).request(nil, "read")
			end(tl)
			if err := tl.tryApprove("bob", 5); policy.CodeOf(err) != policy.AfterEnd {
				t.Errorf("got %v", err)
			}
		}
	})
	t.Run("under another name", func(t *testing.T) {
		tl := newTimeline(t).request(nil, "read")
		tl.policy(4, rename("alice", "alicia"), func(b *policy.Body) { b.Rules[0].Stages[0].Approvers = []string{"*"} })
		keysOf["alicia"] = []record.Fingerprint{key(31)}
		defer delete(keysOf, "alicia")
		if err := tl.tryApprove("alicia", 5); policy.CodeOf(err) != policy.OwnRequest {
			t.Errorf("got %v", err)
		}
	})
	t.Run("without end", func(t *testing.T) {
		tl := newTimeline(t).request(nil, "write")
		for i := range MaxApprovals {
			tl.approve("dave", i)
		}
		if err := tl.tryApprove("dave", MaxApprovals); policy.CodeOf(err) != policy.CountedOnce {
			t.Errorf("got %v", err)
		}
		tl.approve("bob", 20)
	})
}

func TestWhoMayEnd(t *testing.T) {
	tl := newTimeline(t).request(nil, "write")
	p := tl.h.Latest()
	for by, ok := range map[string]bool{"bob": true, "dave": true, "erin": true, "alice": false, "mallory": false} {
		if err := tl.c.MayDeny(p, revoke.Who{By: by}); (err == nil) != ok {
			t.Errorf("denial by %s: %v", by, err)
		} else if err != nil && policy.CodeOf(err) != policy.NotApprover {
			t.Errorf("denial by %s: %v", by, err)
		}
	}
	if err := tl.c.MayWithdraw("bob"); policy.CodeOf(err) != policy.NoSuchRecord {
		t.Errorf("got %v", err)
	}
	if err := tl.approve("bob", 5).c.MayWithdraw("bob"); err != nil {
		t.Error(err)
	}
	if err := tl.c.Names(tl.c.Request.Record.ID, tl.c.Digest); err != nil {
		t.Error(err)
	}
	if err := tl.c.Names("other", tl.c.Digest); policy.CodeOf(err) != policy.NoSuchRecord {
		t.Errorf("got %v", err)
	}
	if err := tl.c.Names(tl.c.Request.Record.ID, record.Sum(nil)); policy.CodeOf(err) != policy.WrongDigest {
		t.Errorf("got %v", err)
	}
}

// A case that no ledger would make is answered with pending, not with a panic.
func TestNothingToDecide(t *testing.T) {
	if d := Decide(nil, Case{}, at(0)); d.State != Lapsed || d.Grants != nil {
		t.Errorf("%+v", d)
	}
	tl := newTimeline(t).request(nil, "read").approve("bob", 5)
	if d := Decide(nil, tl.c, at(6)); d.State != Pending {
		t.Errorf("without a policy: %+v", d)
	}
	late := slices.Clone(tl.h)
	late[0].Position = 100 // all records stand before the first policy
	if d := Decide(late, tl.c, at(6)); d.State != Pending {
		t.Errorf("before the first policy: %+v", d)
	}
	tl.c.Request.Record.Grants = nil
	if d := tl.decide(6); d.State != Pending {
		t.Errorf("without grants: %+v", d)
	}
}

func TestSettled(t *testing.T) {
	open := 0
	for _, s := range States {
		if !s.Settled() {
			open++
		}
	}
	if open != 3 || Pending.Settled() || Scheduled.Settled() || Active.Settled() {
		t.Error("pending, scheduled and active are open, and nothing else")
	}
}

func BenchmarkDecide(b *testing.B) {
	tl := newTimeline(b).request(nil, "read", "write").approve("bob", 5).approve("dave", 6)
	b.ReportAllocs()
	for b.Loop() {
		if tl.decide(7).State != Active {
			b.Fatal("not active")
		}
	}
}

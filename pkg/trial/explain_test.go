package trial

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

var (
	t0     = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	drawn  = []string{"ann", "ben", "cat", "dan", "eve"}
	things = []request.Grant{{Resource: "db", Role: "read"}, {Resource: "db", Role: "write"}, {Resource: "web", Role: "deploy"}, {Resource: "log", Role: "read"}}
)

func hours(n int) record.Duration { return record.Duration{Duration: time.Duration(n) * time.Hour} }

// drawPolicy makes a policy of a few rules of every kind.
func drawPolicy(rt *rapid.T, label string) *policy.Policy {
	b := policy.Body{Admins: policy.Admins{People: []string{"ann"}, Threshold: 1}, People: map[string]policy.Person{},
		Groups:  map[string][]string{"g": rapid.SliceOfNDistinct(rapid.SampledFrom(drawn), 1, 3, rapid.ID).Draw(rt, label+"group")},
		Rosters: map[string][]policy.Shift{"r": {{From: record.At(t0.Add(-time.Hour)), Until: record.At(t0.Add(time.Hour)), People: []string{"cat"}}}},
		Resources: map[string]policy.Resource{
			"db":  {Driver: "postgres", Labels: map[string]string{"tier": "prod"}, Owners: []string{"dan"}, Roles: map[string]policy.Role{"read": {}, "write": {}}},
			"web": {Driver: "ssh", Labels: map[string]string{"tier": "prod"}, Roles: map[string]policy.Role{"deploy": {}}},
			"log": {Driver: "postgres", Roles: map[string]policy.Role{"read": {}}},
		},
		Conflicts: []policy.Conflict{{Name: "x", Between: []string{"db:write", "web:deploy"}}},
	}
	for i, name := range drawn {
		p := policy.Person{Keys: []record.Fingerprint{record.Fingerprint(fmt.Sprintf("%040X", i+1))}, Teams: []string{[]string{"red", "blue"}[i%2]}}
		if i > 0 {
			p.Manager = drawn[(i-1)/2]
		}
		b.People[name] = p
	}
	who := func(what string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"*", "ann", "ben", "cat", "group:g", "team:red", "roster:r", "d*"}), 1, 3, rapid.ID).Draw(rt, label+what)
	}
	for i := range rapid.IntRange(1, 6).Draw(rt, label+"rules") {
		r := policy.Rule{Name: fmt.Sprintf("rule-%d", i), Requesters: who("requesters"),
			Resources: []string{rapid.SampledFrom([]string{"*", "db", "web", "l*"}).Draw(rt, label+"resource")},
			Roles:     []string{rapid.SampledFrom([]string{"*", "read", "w*"}).Draw(rt, label+"role")}}
		if rapid.IntRange(0, 3).Draw(rt, label+"labelled") == 0 {
			r.Labels = map[string]string{"tier": "p*"}
		}
		switch rapid.SampledFrom([]string{"auto", "deny", "stages", "stages", "stages"}).Draw(rt, label+"kind") {
		case "deny":
			r.Approve, r.Message = policy.ApproveDeny, "no"
			b.Rules = append(b.Rules, r)
			continue
		case "auto":
			r.Approve = policy.ApproveAuto
		default:
			for range rapid.IntRange(1, 2).Draw(rt, label+"stages") {
				s := policy.Stage{Approvers: append(who("approvers"), "manager", "owner"), Count: rapid.IntRange(1, 2).Draw(rt, label+"count")}
				if rapid.Bool().Draw(rt, label+"escalates") {
					s.Escalate = []policy.Escalation{{After: hours(1), To: who("to")}}
				}
				r.Stages = append(r.Stages, s)
			}
		}
		r.MaxDuration = hours(rapid.IntRange(1, 3).Draw(rt, label+"longest"))
		r.MaxOpen = rapid.IntRange(0, 1).Draw(rt, label+"open")
		if rapid.IntRange(0, 2).Draw(rt, label+"ticket") == 0 {
			r.Requires.Ticket = "T-[0-9]+"
		}
		if rapid.IntRange(0, 2).Draw(rt, label+"emergency") == 0 {
			r.Emergency = &policy.Emergency{Requesters: who("urgent"), MaxDuration: hours(1), Acknowledge: hours(8), Acknowledgers: []string{"eve"}}
		}
		if rapid.Bool().Draw(rt, label+"partial") {
			r.Partial = true
		}
		b.Rules = append(b.Rules, r)
	}
	p, err := policy.Compile(policy.Document{Body: b}, record.Sum([]byte(label)))
	if err != nil {
		rt.Fatal(err)
	}
	return p
}

func drawRequest(rt *rapid.T) request.Request {
	r := request.Request{Duration: hours(rapid.IntRange(1, 3).Draw(rt, "for")), Reason: "to look",
		Grants:    rapid.SliceOfNDistinct(rapid.SampledFrom(things), 1, 2, rapid.ID).Draw(rt, "asks"),
		Ticket:    rapid.SampledFrom([]string{"T-1", "T-1", "x"}).Draw(rt, "ticket"),
		Emergency: rapid.IntRange(0, 3).Draw(rt, "emergency") == 0}
	r.By, r.Created = rapid.SampledFrom(append([]string{"zoe"}, drawn...)).Draw(rt, "who"), record.At(t0)
	return r
}

func TestExplainAgreesWithWhatDecides(t *testing.T) {
	refused, agreed := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		p, r := drawPolicy(rt, ""), drawRequest(rt)
		var holds []Hold
		if rapid.Bool().Draw(rt, "holds") {
			holds = []Hold{{Who: r.By, Grants: []Entitlement{{rapid.SampledFrom(things).Draw(rt, "held")}}, From: &Moment{after: -time.Hour}, Until: &Moment{after: time.Hour}}}
		}
		b, err := Holds(p, r.By, holds, t0)
		if err != nil {
			rt.Fatal(err)
		}
		e, err := Explain(p, r, b)
		if err != nil {
			rt.Fatal(err)
		}
		allowed := e.Request.Allowed(p, b)
		if policy.CodeOf(allowed) != policy.CodeOf(e.Refusal) || (allowed == nil) != (e.Refusal == nil) {
			rt.Fatalf("allowed: %v, explained: %v", allowed, e.Refusal)
		}
		for _, g := range e.Grants {
			m, err := p.Match(r.By, g.Resource, g.Role, t0)
			switch {
			case (err == nil) != (g.Rule != nil):
				rt.Fatalf("%s: matched: %v, explained: %v", g.Grant, err, g.Rule)
			case err == nil && (m.Rule != g.Rule || g.Considered[len(g.Considered)-1].Rule != m.Rule):
				rt.Fatalf("%s: rule %q decides, and %q is explained", g.Grant, m.Rule.Name, g.Rule.Name)
			}
		}
		if e.Refusal != nil {
			refused++
			return
		}
		c := approve.Case{Request: approve.Placed[request.Request]{Record: e.Request, Position: 2, HeadAt: 1}, Before: b}
		if d := approve.Decide(policy.History{{Policy: p, Position: 1}}, c, t0); d.State != e.Decision.State || !slices.Equal(Rules(d), Rules(e.Decision)) || !slices.Equal(Needs(d), Needs(e.Decision)) {
			rt.Fatalf("decided: %+v, explained: %+v", d, e.Decision)
		}
		if e.Agreed != nil {
			agreed++
			for _, g := range e.Agreed.Grants {
				if !g.Granted && g.State != approve.Active && e.Agreed.State != approve.Active {
					rt.Fatalf("all agreed, and %s is %s", g.Grant, g.State)
				}
			}
		}
	})
	if refused == 0 || agreed == 0 {
		t.Errorf("%d were refused, to %d all agreed", refused, agreed)
	}
}

// TestCompareAgreesWithMatch holds the parts into which a comparison divides people
// against the rule that matches for each of them.
func TestCompareAgreesWithMatch(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		old, next := drawPolicy(rt, "old "), drawPolicy(rt, "new ")
		e := Compare(old, next, t0)
		said := map[string]string{}
		for kind, list := range map[string][]Change{"gains": e.Gains, "loses": e.Loses, "terms": e.Terms} {
			for _, x := range list {
				for _, who := range x.People {
					for _, what := range x.Entitlements {
						if said[who+" "+what] != "" {
							rt.Fatalf("%s %s is said twice", who, what)
						}
						said[who+" "+what] = kind
						if kind == "terms" && (x.OldRule == "" || x.NewRule == "") {
							rt.Fatalf("%s %s: other terms of no rule: %+v", who, what, x)
						}
					}
				}
			}
		}
		for _, g := range things {
			for _, who := range drawn {
				was, is := gives(old, who, g), gives(next, who, g)
				want := map[[2]bool]string{{false, true}: "gains", {true, false}: "loses"}[[2]bool{was != nil, is != nil}]
				if got := said[who+" "+g.String()]; want != "" && got != want || want == "" && got != "" && got != "terms" || was == nil && is == nil && got != "" {
					rt.Fatalf("%s %s: %q is said, and it %q", who, g, got, want)
				}
				if was != nil && is != nil && was.MaxDuration != is.MaxDuration && said[who+" "+g.String()] != "terms" {
					rt.Fatalf("%s %s: the longest time changed without a word", who, g)
				}
			}
		}
		if e := Compare(old, old, t0); !e.Empty() {
			rt.Fatalf("a policy differs from itself: %+v", e)
		}
	})
}

func gives(p *policy.Policy, who string, g request.Grant) *policy.Rule {
	m, err := p.Match(who, g.Resource, g.Role, t0)
	if err != nil || m.Rule.Approve == policy.ApproveDeny {
		return nil
	}
	return m.Rule
}

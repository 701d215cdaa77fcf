package trial

import (
	"fmt"
	"maps"
	"reflect"
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
		Schedules: map[string]policy.Schedule{"morning": {Zone: "UTC", Hours: []string{"06:00-12:00"}}, "evening": {Zone: "UTC", Hours: []string{"18:00-20:00"}},
			"never": {Zone: "UTC", Freeze: []policy.Freeze{{From: "2026-01-01", Until: "9999-12-31"}}}},
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
		drawTexts(rt, label, &r)
		times := []string{"", "", "", "", "", "", "morning", "morning", "evening", "never"}
		r.AskDuring, r.UseDuring = rapid.SampledFrom(times).Draw(rt, label+"asked"), rapid.SampledFrom(times).Draw(rt, label+"used")
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

// drawTexts draws what a rule wants to be said, and conditions about it and other
// things: each that is about a text can be met by what [said] says.
func drawTexts(rt *rapid.T, label string, r *policy.Rule) {
	one := func(of int, what string) bool { return rapid.IntRange(0, of-1).Draw(rt, label+what) == 0 }
	if one(3, "reason") {
		r.Requires.Reason = "INC-[0-9]+.*"
	}
	if one(3, "ticket") {
		r.Requires.Ticket = "T-[0-9]+"
	}
	conditions := []string{`request.duration <= duration("1h")`, `size(open) == 0`, `request.reason.contains("INC")`, `requester.name != "ben"`,
		`request.ticket == "T-1" || request.duration <= duration("1h")`, `request.emergency || request.reason != "to look"`}
	if one(2, "inputs") {
		low, high := int64(1), int64(9)
		r.Requires.Inputs = map[string]policy.Input{"rows": {Type: policy.InputNumber, Min: &low, Max: &high}, "note": {Type: policy.InputText, Optional: true}}
		conditions = append(conditions, "inputs.rows < 5", `!has(inputs.note) || inputs.note == "x"`, `has(inputs.note) || inputs.rows > 2`, "has(inputs.note)")
	}
	for _, expr := range rapid.SliceOfNDistinct(rapid.SampledFrom(conditions), 0, 2, rapid.ID).Draw(rt, label+"conditions") {
		r.Conditions = append(r.Conditions, policy.Condition{Expr: expr, Message: "no"})
	}
}

// said gives a request that says what it left to say.
func said(r request.Request, left []string) request.Request {
	for _, what := range left {
		switch what {
		case "reason":
			r.Reason = "INC-1"
		case "ticket":
			r.Ticket = "T-1"
		case "input rows":
			r.Inputs = maps.Clone(r.Inputs)
			if r.Inputs == nil {
				r.Inputs = map[string]string{}
			}
			r.Inputs["rows"] = "3"
		}
	}
	return r
}

func drawRequest(rt *rapid.T) request.Request {
	r := request.Request{Duration: hours(rapid.IntRange(1, 3).Draw(rt, "for")), Reason: rapid.SampledFrom([]string{"", "", "INC-1", "INC-2", "to look"}).Draw(rt, "reason"),
		Grants:    rapid.SliceOfNDistinct(rapid.SampledFrom(things), 1, 2, rapid.ID).Draw(rt, "asks"),
		Ticket:    rapid.SampledFrom([]string{"", "T-1", "T-1", "T-2", "x"}).Draw(rt, "ticket"),
		Emergency: rapid.IntRange(0, 3).Draw(rt, "emergency") == 0}
	for _, i := range [][]string{{"note", "", "", "", "", "", "x", "y"}, {"rows", "", "", "", "", "3", "8", "99"}} {
		if value := rapid.SampledFrom(i[1:]).Draw(rt, i[0]); value != "" {
			if r.Inputs == nil {
				r.Inputs = map[string]string{}
			}
			r.Inputs[i[0]] = value
		}
	}
	r.By, r.Created = rapid.SampledFrom(append([]string{"zoe"}, drawn...)).Draw(rt, "who"), record.At(t0)
	return r
}

// TestExplainAgreesWithWhatDecides holds an explanation against the deciding of the
// request that says what was left to say.
func TestExplainAgreesWithWhatDecides(t *testing.T) {
	refused, tried, agreed, left := map[policy.Code]int{}, 0, 0, 0
	explain := func(rt *rapid.T, p *policy.Policy) {
		r := drawRequest(rt)
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
		full := said(e.Request, e.Left)
		if allowed := full.Allowed(p, b); !reflect.DeepEqual(allowed, e.Refusal) {
			rt.Fatalf("left to say: %q\nallowed: %v\nexplained: %v", e.Left, allowed, e.Refusal)
		}
		if asIs := e.Request.Allowed(p, b); len(e.Left) > 0 && asIs == nil && len(e.Grants) > 0 {
			rt.Fatalf("%q is left to say, and nothing asks for it", e.Left)
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
			refused[policy.CodeOf(e.Refusal)]++
			if len(e.Left) > 0 {
				refused["and something is left to say"]++
			}
			return
		}
		c := approve.Case{Request: approve.Placed[request.Request]{Record: full, Position: 2, HeadAt: 1, Key: p.Document().People[r.By].Keys[0]}, Before: b}
		if d := approve.Decide(policy.History{{Policy: p, Position: 1}}, c, t0); d.State != e.Decision.State || !slices.Equal(Rules(d), Rules(e.Decision)) || !slices.Equal(Needs(d), Needs(e.Decision)) {
			rt.Fatalf("decided: %+v, explained: %+v", d, e.Decision)
		}
		if len(e.Left) > 0 {
			left++
		}
		if e.Agreed != nil {
			agreed++
			for _, g := range e.Agreed.Grants {
				if !g.Granted && g.State != approve.Active && e.Agreed.State != approve.Active {
					rt.Fatalf("all agreed, and %s is %s", g.Grant, g.State)
				}
			}
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		p := drawPolicy(rt, "")
		for range 20 {
			tried++
			explain(rt, p)
		}
	})
	for _, code := range []policy.Code{policy.ConditionFailed, policy.NeverOpen, policy.OutsideHours, "and something is left to say"} {
		if refused[code] == 0 && (code != policy.NeverOpen || tried >= 20000) { // which is one in a thousand
			t.Errorf("none was refused: %s", code)
		}
	}
	t.Logf("refused: %v; all agreed to %d; left to say was something of %d", refused, agreed, left)
	if left == 0 || agreed == 0 {
		t.Errorf("to %d all agreed, and %d had something left to say", agreed, left)
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

// TestExplainLooksPastWhatIsLeftToSay has one request each of what is refused
// whatever will be said, and of what is left open.
func TestExplainLooksPastWhatIsLeftToSay(t *testing.T) {
	p, err := compileText(`admins: {people: [ann], threshold: 1}
people:
  ann: {keys: ["0000000000000000000000000000000000000001"]}
  ben: {keys: ["0000000000000000000000000000000000000002"], manager: ann}
resources:
  db: {driver: postgres, roles: {read: {}, write: {}, never: {}}}
schedules:
  gone: {zone: UTC, freeze: [{from: "2026-01-01", until: "9999-12-31"}]}
rules:
  - name: short
    resources: [db]
    roles: [read]
    requesters: ["*"]
    maxDuration: 8h
    stages: [{approvers: [ann], count: 1}]
    conditions:
      - {expr: 'request.reason.contains("INC")', message: name the incident}
      - {expr: 'request.duration <= duration("2h")', message: two hours at most}
  - {name: texts, resources: [db], roles: [write], requesters: ["*"], maxDuration: 8h, stages: [{approvers: [ann], count: 1}], requires: {reason: "INC-[0-9]+.*", ticket: "T-[0-9]+"}}
  - {name: never, resources: [db], roles: [never], requesters: ["*"], maxDuration: 8h, useDuring: gone, stages: [{approvers: [ann], count: 1}]}
`)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		role, reason, ticket string
		hours                int
		left                 string
		refused              policy.Code
	}{
		"a condition about what is said":        {"read", "", "", 8, "[reason]", policy.ConditionFailed},
		"a condition about what is not":         {"read", "", "", 1, "[reason]", ""},
		"a reason that does not fit":            {"write", "because", "", 1, "[ticket]", policy.ReasonPattern},
		"a ticket that does not fit":            {"write", "", "x", 1, "[reason]", policy.TicketPattern},
		"hours that never come":                 {"never", "", "", 1, "[reason]", policy.NeverOpen},
		"hours that never come, all being said": {"never", "because", "", 1, "[]", policy.NeverOpen},
	} {
		t.Run(name, func(t *testing.T) {
			r := request.Request{Duration: hours(c.hours), Reason: c.reason, Ticket: c.ticket, Grants: []request.Grant{{Resource: "db", Role: c.role}}}
			r.By, r.Created = "ben", record.At(t0)
			b, err := Holds(p, "ben", nil, t0)
			if err != nil {
				t.Fatal(err)
			}
			e, err := Explain(p, r, b)
			if err != nil || fmt.Sprint(e.Left) != c.left || policy.CodeOf(e.Refusal) != c.refused || e.Refusal == nil && e.Decision.State != approve.Pending {
				t.Errorf("%v: left %q, refused %v, %s", err, e.Left, e.Refusal, e.Decision.State)
			}
		})
	}
}

// TestExplainAsksForEveryPart: of a bundle that opens in parts one is scheduled, and
// those are asked all the same by whom the other one waits.
func TestExplainAsksForEveryPart(t *testing.T) {
	p, err := compileText(`admins: {people: [ann], threshold: 1}
people:
  ann: {keys: ["0000000000000000000000000000000000000001"]}
  ben: {keys: ["0000000000000000000000000000000000000002"]}
  cat: {keys: ["0000000000000000000000000000000000000003"]}
resources:
  db: {driver: postgres, roles: {read: {}, write: {}}}
schedules:
  evening: {zone: UTC, hours: ["18:00-20:00"]}
rules:
  - {name: apart, resources: [db], roles: [write], requesters: ["*"], maxDuration: 1h, useDuring: evening, partial: true, stages: [{approvers: [ann], count: 1}]}
  - {name: other, resources: [db], roles: [read], requesters: ["*"], maxDuration: 1h, stages: [{approvers: [ben], count: 1}]}
`)
	if err != nil {
		t.Fatal(err)
	}
	r := request.Request{Duration: hours(1), Reason: "both", Grants: []request.Grant{{Resource: "db", Role: "write"}, {Resource: "db", Role: "read"}}}
	r.By, r.Created = "cat", record.At(t0)
	b, err := Holds(p, "cat", nil, t0)
	if err != nil {
		t.Fatal(err)
	}
	e, err := Explain(p, r, b)
	if err != nil || e.Agreed == nil {
		t.Fatalf("%v, %+v", err, e)
	}
	if got := []approve.State{e.Agreed.Grants[0].State, e.Agreed.Grants[1].State}; !slices.Equal(got, []approve.State{approve.Scheduled, approve.Active}) {
		t.Errorf("all agreed, and they are %v", got)
	}
}

package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/record"
)

// bigBody makes the policy of a large company, the same one for the same numbers:
// a tree of managers, teams of fifty in departments of twenty teams, groups across
// them, rosters, a third as many resources as rules with owners and labels, and
// rules of every form. It has no problem.
func bigBody(rules, people int) *Body {
	g := &company{r: rand.New(rand.NewPCG(uint64(rules), uint64(people))), names: make([]string, people)}
	b := &Body{
		Admins: Admins{Threshold: 2},
		People: map[string]Person{}, Groups: map[string][]string{}, Teams: map[string]Team{}, Rosters: map[string][]Shift{},
		Reconcilers: map[string]Reconciler{}, Resources: map[string]Resource{},
		Delegation: Delegation{Longest: record.Duration{Duration: 30 * 24 * time.Hour}},
	}
	for i := range people {
		g.names[i] = fmt.Sprintf("p%05d", i)
	}
	for i, name := range g.names {
		team := fmt.Sprintf("t%03d", i/bigTeam)
		p := Person{Name: "Person " + name, Email: name + "@example.com", Keys: []record.Fingerprint{key(100000 + i), key(200000 + i)},
			Teams: []string{team}, Department: fmt.Sprintf("d%02d", i/bigTeam/20)}
		// The first of a team leads it; the others report to the first, and the
		// firsts to the one at a tenth of their place.
		switch {
		case i%bigTeam != 0:
			p.Manager = g.names[i-i%bigTeam]
		case i > 0:
			p.Manager = g.names[i/bigTeam/10*bigTeam]
		}
		b.People[name] = p
		if i%bigTeam == 0 {
			b.Teams[team] = Team{Leads: []string{name}}
		}
	}
	b.Admins.People = g.some(min(5, people))
	for i := range max(2, rules/5) {
		b.Groups[fmt.Sprintf("g%03d", i)] = g.some(min(20, people))
	}
	for i := range max(1, rules/50) {
		var shifts []Shift
		for week := range 52 {
			from := time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC).AddDate(0, 0, 7*week)
			shifts = append(shifts, Shift{From: record.At(from), Until: record.At(from.AddDate(0, 0, 7)), People: g.some(min(2, people))})
		}
		b.Rosters[fmt.Sprintf("duty%02d", i)] = shifts
	}
	g.resources(b, max(2, rules/3))
	for i := range rules {
		b.Rules = append(b.Rules, g.rule(b, i))
	}
	return b
}

// bigTeam is how many people a team has.
const bigTeam = 50

type company struct {
	r     *rand.Rand
	names []string
}

// some gives n different people.
func (g *company) some(n int) []string {
	people := map[string]bool{}
	var list []string
	for len(list) < n {
		if name := g.names[g.r.IntN(len(g.names))]; !people[name] {
			people[name] = true
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

func (g *company) resources(b *Body, n int) {
	for i := range n {
		name := fmt.Sprintf("%s-%03d", []string{"db", "web", "queue"}[i%3], i)
		b.Resources[name] = Resource{
			Driver: "postgres", Description: "one of many",
			Labels: map[string]string{"sensitivity": []string{"low", "high"}[i%2], "area": fmt.Sprintf("a%02d", i%20)},
			Owners: []string{g.team(), g.group(b)},
			Roles: map[string]Role{
				"read":  {Parameters: map[string]string{"grant": "r"}, Usage: "psql"},
				"write": {Parameters: map[string]string{"grant": "w"}}, "admin": {Parameters: map[string]string{"grant": "a"}},
			},
		}
		machine := fmt.Sprintf("box%02d", i/20)
		r := b.Reconcilers[machine]
		r.Keys, r.Resources = []record.Fingerprint{key(300000 + i/20)}, append(r.Resources, name)
		b.Reconcilers[machine] = r
	}
}

func (g *company) team() string {
	return fmt.Sprintf("team:t%03d", g.r.IntN((len(g.names)+bigTeam-1)/bigTeam))
}

func (g *company) group(b *Body) string { return fmt.Sprintf("group:g%03d", g.r.IntN(len(b.Groups))) }

func (g *company) roster(b *Body) string {
	return fmt.Sprintf("roster:duty%02d", g.r.IntN(len(b.Rosters)))
}

// rule makes one of the forms. The last one is for what no other matches.
func (g *company) rule(b *Body, i int) Rule {
	one := fmt.Sprintf("%s-%03d", []string{"db", "web", "queue"}[i%3], i%len(b.Resources))
	if _, ok := b.Resources[one]; !ok {
		one = "db-000"
	}
	r := Rule{Name: fmt.Sprintf("rule-%04d", i), Resources: []string{one}, Roles: []string{"read"}, Requesters: []string{g.team()},
		MaxDuration: hours(8), Requires: Requires{Ticket: "OPS-[0-9]+"}}
	switch i % 8 {
	case 0:
		r.Approve, r.Requires = ApproveAuto, Requires{}
	case 1:
		r.Requires.Inputs = map[string]Input{"rows": {Type: "number"}}
		r.Conditions = []Condition{{Expr: fmt.Sprintf("inputs.rows < %d || request.duration <= duration('2h')", 100+i), Message: "fewer rows, or two hours at most"}}
		r.Stages = []Stage{{Approvers: []string{WhoManager}, Count: 1, Escalate: []Escalation{{After: hours(1), To: []string{WhoManagersManager, g.group(b)}}}}}
	case 2:
		r.Roles = []string{"*"}
		r.Stages = []Stage{{Approvers: []string{WhoOwner}, Count: 1}, {Approvers: []string{g.group(b), g.team()}, Count: 2}}
		r.Exclude = []string{ExcludeManagers}
	case 3:
		r.Requesters, r.Roles = []string{g.group(b), g.roster(b)}, []string{"write", "admin"}
		r.Stages = []Stage{{AnyOf: []Quorum{{Approvers: []string{g.group(b)}, Count: 1}, {Approvers: []string{WhoTeamLead, g.team()}, Count: 2}}}}
		r.Exclude = []string{ExcludeReports}
	case 4:
		r.Roles, r.Labels = []string{"admin"}, map[string]string{"sensitivity": "high"}
		r.Resources, r.Requesters = []string{"db-*", one}, []string{"department:" + b.People[g.names[g.r.IntN(len(g.names))]].Department}
		r.Stages = []Stage{{AllOf: []Quorum{{Approvers: []string{g.group(b)}, Count: 1}, {Approvers: []string{g.group(b), WhoOwner}, Count: 1}}}}
		r.Emergency = &Emergency{Requesters: []string{g.roster(b)}, MaxDuration: hours(1), Acknowledge: hours(24)}
	case 5:
		r.Conditions = []Condition{
			{Expr: fmt.Sprintf("open.size() < %d", 3+i), Message: "you have enough open"},
			{Expr: "resource.labels['area'] != 'a00' || 'ops' in requester.groups", Message: "ask somebody of ops"},
		}
		r.Requesters = g.some(min(3, len(g.names)))
		r.Stages = []Stage{{Approvers: []string{g.team()}, Count: 1}}
	case 6:
		r.Approve, r.Message, r.MaxDuration, r.Requires = ApproveDeny, "ask the owners for a copy", record.Duration{}, Requires{}
		r.Roles, r.Requesters = []string{"admin"}, []string{fmt.Sprintf("p%03d*", g.r.IntN((len(g.names)+99)/100))}
	case 7:
		r.Stages = []Stage{{Approvers: []string{"*"}, Count: 2}}
	}
	return r
}

func TestBigBody(t *testing.T) {
	sizes := [][2]int{{1, 10}, {30, 100}, {1000, 10000}}
	if testenv.Raced {
		sizes = sizes[:2]
	}
	for _, size := range sizes {
		b := bigBody(size[0], size[1])
		if problems := Check(b); len(problems) > 0 {
			t.Errorf("%d rules, %d people: %v", size[0], size[1], problems[:min(5, len(problems))])
		}
		if len(b.Rules) != size[0] || len(b.People) != size[1] {
			t.Errorf("%d rules, %d people", len(b.Rules), len(b.People))
		}
		if digestOf(b) != digestOf(bigBody(size[0], size[1])) {
			t.Error("the same numbers made another policy")
		}
	}
	if data, err := record.Encode(*bigBody(1000, 10000)); err != nil || len(data) > record.MaxSize {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

func BenchmarkCheck(b *testing.B) {
	body := bigBody(1000, 10000)
	for b.Loop() {
		if problems := Check(body); len(problems) > 0 {
			b.Fatal(problems[0])
		}
	}
}

// BenchmarkLint is what `jit policy lint` does once the file is read.
func BenchmarkLint(b *testing.B) {
	body := bigBody(1000, 10000)
	now := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	for b.Loop() {
		if problems := Check(body); len(problems) > 0 {
			b.Fatal(problems[0])
		}
		Lint(body, now)
	}
}

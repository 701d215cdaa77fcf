// Package bigpolicy makes policies of the size of a large company, for
// benchmarks and for tests of what must stay fast. The same size gives the same
// policy.
//
// It is used by tests alone, and imports the policy and record packages only.
package bigpolicy

import (
	"fmt"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// Size says how large a policy is.
type Size struct{ Rules, People, Resources int }

// Company is the size for which the project names figures.
var Company = Size{Rules: 1000, People: 10000, Resources: 300}

const (
	departments = 20
	teams       = 200
	managers    = 100 // one in so many people leads others
)

var roles = []string{"readonly", "readwrite", "admin"}

// Body makes a policy: people in departments and teams, with managers; resources
// of three roles with labels; and rules of every kind, most of which are about
// one resource and one team, so that a request is decided by one far down.
func Body(s Size) policy.Body {
	b := policy.Body{
		Admins: policy.Admins{People: []string{Person(0), Person(1), Person(2)}, Threshold: 2},
		People: map[string]policy.Person{}, Groups: map[string][]string{}, Teams: map[string]policy.Team{},
		Resources: map[string]policy.Resource{},
	}
	for i := range s.People {
		p := policy.Person{Keys: []record.Fingerprint{record.Fingerprint(fmt.Sprintf("%040X", i+1))},
			Teams: []string{team(i % teams)}, Department: department(i % departments)}
		if i > 0 {
			p.Manager = Person(i / managers)
			if p.Manager == Person(i) {
				p.Manager = Person(0)
			}
		}
		b.People[Person(i)] = p
	}
	for i := range min(teams, s.People) {
		b.Teams[team(i)] = policy.Team{Leads: []string{Person(i)}}
		b.Groups[fmt.Sprintf("approvers-%03d", i)] = []string{Person(i), Person((i + 7) % s.People), Person((i + 31) % s.People)}
	}
	for i := range s.Resources {
		r := policy.Resource{Driver: "postgres", Roles: map[string]policy.Role{}, Owners: []string{Person(i % s.People)},
			Labels: map[string]string{"sensitivity": []string{"low", "medium", "high"}[i%3], "site": fmt.Sprintf("site-%d", i%10)}}
		for _, role := range roles {
			r.Roles[role] = policy.Role{Parameters: map[string]string{"grant": fmt.Sprintf("db%03d_%s", i, role)}}
		}
		b.Resources[Resource(i)] = r
	}
	for i := range s.Rules {
		b.Rules = append(b.Rules, rule(i, s))
	}
	return b
}

func rule(i int, s Size) policy.Rule {
	hours := func(n int) record.Duration { return record.Duration{Duration: time.Duration(n) * time.Hour} }
	r := policy.Rule{Name: fmt.Sprintf("rule-%04d", i), Resources: []string{Resource(i % s.Resources)}, Roles: roles[:1+i%3],
		Requesters: []string{"team:" + team(i%teams%s.People), fmt.Sprintf("group:approvers-%03d", (i+1)%min(teams, s.People))}, MaxDuration: hours(1 + i%8),
		Stages: []policy.Stage{{Approvers: []string{fmt.Sprintf("group:approvers-%03d", i%min(teams, s.People)), "manager"}, Count: 1}}}
	switch {
	case i == s.Rules-1: // the one that takes what no other did
		r.Resources, r.Roles, r.Requesters = []string{"*"}, []string{"*"}, []string{"*"}
		r.Stages = append(r.Stages, policy.Stage{Approvers: []string{"owner", "department:" + department(0)}, Count: 1})
	case i%10 == 3:
		r.Resources, r.Labels = []string{"db-*"}, map[string]string{"sensitivity": "high", "site": fmt.Sprintf("site-%d", i/10%10)}
		r.Requires.Ticket = `[A-Z]+-[0-9]+`
		r.Stages = append(r.Stages, policy.Stage{AllOf: []policy.Quorum{{Approvers: []string{"owner"}, Count: 1}, {Approvers: []string{"team-lead"}, Count: 1}}})
	case i%10 == 5:
		r.Approve, r.Stages = policy.ApproveAuto, nil
		r.Roles = roles[:1]
	case i%50 == 7:
		r.Resources, r.Requesters = []string{fmt.Sprintf("*-%02d", i%100)}, []string{"department:" + department(i%departments%s.People)}
	}
	return r
}

// Person gives the name of the i-th person.
func Person(i int) string { return fmt.Sprintf("person-%05d", i) }

// Resource gives the name of the i-th resource.
func Resource(i int) string { return fmt.Sprintf("db-%03d", i) }

func team(i int) string       { return fmt.Sprintf("team-%03d", i) }
func department(i int) string { return fmt.Sprintf("department-%02d", i) }

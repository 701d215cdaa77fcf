package request

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// lintBody makes a small policy of every form that tells people apart.
func lintBody(t *rapid.T) *policy.Body {
	names := []string{"ann", "bea", "bob", "cyd", "dan", "eve", "fay", "gus", "hal", "ida", "jim", "kay"}
	some := func(what string, from []string) []string {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(from), 1, 2, rapid.ID[string]).Draw(t, what)
	}
	b := &policy.Body{Admins: policy.Admins{People: []string{"ann"}, Threshold: 1}, People: map[string]policy.Person{},
		Groups: map[string][]string{"g": some("g", names), "h": some("h", names)},
		Teams:  map[string]policy.Team{"t": {Leads: some("leads of t", names)}}}
	for i, name := range names {
		p := policy.Person{Keys: []record.Fingerprint{record.Fingerprint(fmt.Sprintf("%040X", i+1))}}
		if i == 0 || rapid.Bool().Draw(t, "in a team") {
			p.Teams = []string{rapid.SampledFrom([]string{"t", "u"}).Draw(t, "team")}
		}
		if i > 0 && rapid.IntRange(0, 3).Draw(t, "managed") > 0 {
			p.Manager = names[rapid.IntRange(0, i-1).Draw(t, "manager")]
		}
		p.Department = "d"
		b.People[name] = p
	}
	b.People["ann"] = withTeams(b.People["ann"], "t", "u")
	principals := append([]string{"*", "b*", "group:g", "group:h", "team:t", "team:u", "department:d"}, names[:4]...)
	b.Resources = map[string]policy.Resource{
		"db-1": {Driver: "d", Labels: map[string]string{"l": "x"}, Owners: some("owners of db-1", principals), Roles: map[string]policy.Role{"r": {}, "w": {}}},
		"db-2": {Driver: "d", Labels: map[string]string{"l": "y"}, Owners: some("owners of db-2", principals), Roles: map[string]policy.Role{"r": {}}},
		"web":  {Driver: "d", Roles: map[string]policy.Role{"w": {}}},
	}
	approvers := append([]string{policy.WhoManager, policy.WhoManagersManager, policy.WhoTeamLead, policy.WhoOwner}, principals...)
	quorum := func() policy.Quorum {
		return policy.Quorum{Approvers: some("approvers", approvers), Count: rapid.IntRange(1, 2).Draw(t, "count")}
	}
	for i := range rapid.IntRange(1, 5).Draw(t, "rules") {
		r := policy.Rule{Name: fmt.Sprintf("r%d", i), Resources: some("resources", []string{"*", "db-*", "db-1", "web"}), Roles: some("roles", []string{"*", "r", "w"}),
			Requesters: some("requesters", principals), MaxDuration: record.Duration{Duration: time.Hour}}
		if rapid.IntRange(0, 3).Draw(t, "labelled") == 0 {
			r.Labels = map[string]string{"l": rapid.SampledFrom([]string{"x", "*", "z"}).Draw(t, "label")}
		}
		if rapid.Bool().Draw(t, "excludes") {
			r.Exclude = some("exclude", []string{policy.ExcludeManagers, policy.ExcludeReports})
		}
		for range rapid.IntRange(0, 2).Draw(t, "stages") {
			var s policy.Stage
			switch rapid.IntRange(0, 2).Draw(t, "form") {
			case 0:
				q := quorum()
				s.Approvers, s.Count = q.Approvers, q.Count
			case 1:
				s.AllOf = []policy.Quorum{quorum(), quorum()}
			case 2:
				s.AnyOf = []policy.Quorum{quorum(), quorum()}
			}
			if rapid.IntRange(0, 3).Draw(t, "escalates") == 0 {
				s.Escalate = []policy.Escalation{{After: record.Duration{Duration: time.Hour}, To: some("to", approvers)}}
			}
			r.Stages = append(r.Stages, s)
		}
		if len(r.Stages) == 0 {
			r.Approve = policy.ApproveAuto
		}
		b.Rules = append(b.Rules, r)
	}
	return b
}

func withTeams(p policy.Person, teams ...string) policy.Person {
	p.Teams = teams
	return p
}

// TestLintAgrees holds what lint says of rules against asking for everything as
// everybody: which rules decide, which resources are reached, and for whom a chain
// of stages cannot be met, as a request would be refused for it.
func TestLintAgrees(t *testing.T) {
	overlap := regexp.MustCompile(`^rules "(.*)" and "(.*)" overlap: (\w+) on ([\w-]+):(\w+) is decided`)
	unfilled := regexp.MustCompile(`nobody can meet stage (\d+) for (?:anybody who may ask, such as )?(\w+)`)
	at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		b := lintBody(t)
		p, err := policy.Compile(policy.Document{Body: *b}, record.Sum(nil))
		if err != nil {
			t.Fatal(err)
		}
		decides, stuck, reached := map[string]bool{}, map[string]map[string]int{}, map[string]bool{}
		for _, resource := range p.Resources() {
			for role := range b.Resources[resource].Roles {
				for _, person := range p.People() {
					m, err := p.Match(person, resource, role, at)
					if err != nil {
						continue
					}
					decides[m.Rule.Name], reached[resource], reached[resource+":"+role] = true, true, true
					if stage, _ := Unfillable(p, m.Rule, m.Rule.Stages, policy.Concern{Requester: person, Resource: resource, At: at}); stage > 0 {
						if stuck[m.Rule.Name] == nil {
							stuck[m.Rule.Name] = map[string]int{}
						}
						stuck[m.Rule.Name][fmt.Sprint(stage, " ", person)]++
					}
				}
			}
		}
		for _, f := range policy.Lint(b, at) {
			name := ""
			if i := 0; len(f.Path) > 6 && f.Path[:6] == "rules[" {
				if _, err := fmt.Sscanf(f.Path, "rules[%d]", &i); err == nil {
					name = b.Rules[i].Name
				}
			}
			switch f.Code {
			case policy.ProblemNeverDecides, policy.ProblemMatchesNothing:
				if decides[name] {
					t.Fatalf("%s decides: %s", name, f)
				}
				decides[name] = true // seen
			case policy.ProblemUnreached:
				if resource := f.Path[len("resources."):]; reached[resource] {
					t.Fatalf("it is reached: %s", f)
				}
			case policy.ProblemUnfillable:
				m := unfilled.FindStringSubmatch(f.Message)
				if m == nil || stuck[name][m[1]+" "+m[2]] == 0 {
					t.Fatalf("%s: %v", f, stuck[name])
				}
				delete(stuck, name)
			case policy.ProblemOverlap:
				m := overlap.FindStringSubmatch(f.Message)
				got, err := p.Match(m[3], m[4], m[5], at)
				later := slices.IndexFunc(b.Rules, func(r policy.Rule) bool { return r.Name == m[2] })
				if err != nil || got.Rule.Name != m[1] || name != m[2] || p.Misses(&b.Rules[later], m[3], m[4], m[5], at) != "" {
					t.Fatalf("%s: %v, %v", f, got.Rule, err)
				}
			}
		}
		for _, r := range b.Rules {
			if !decides[r.Name] {
				t.Fatalf("lint says nothing of %s, which never decides", r.Name)
			}
		}
		for name, people := range stuck {
			t.Fatalf("lint says nothing of %s, which nobody can approve for %v", name, people)
		}
	})
}

package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/jitaccess/jit/pkg/record"
)

var lintNow = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// quiet is a policy of which Lint has nothing to say.
func quiet() *Body {
	b := &Body{
		Admins: Admins{People: []string{"alice", "bob", "carol"}, Threshold: 2},
		People: map[string]Person{}, Groups: map[string][]string{"dba": {"alice", "bob", "carol"}},
		Reconcilers: map[string]Reconciler{"box": {Keys: []record.Fingerprint{key(99)}, Resources: []string{"db", "web"}}},
		Resources: map[string]Resource{
			"db":  {Driver: "postgres", Labels: map[string]string{"area": "shop"}, Roles: map[string]Role{"read": {}, "write": {}}},
			"web": {Driver: "postgres", Owners: []string{"bob", "carol"}, Roles: map[string]Role{"shell": {}}},
		},
		Conflicts: []Conflict{{Name: "both", Between: []string{"db:write", "web:*"}}},
		Rosters:   map[string][]Shift{"duty": {shift(-10, -3, "alice"), shift(-3, 4, "dora", "erik")}},
	}
	for i, name := range []string{"alice", "bob", "carol", "dora", "erik"} {
		b.People[name] = Person{Keys: []record.Fingerprint{key(i + 1)}, Teams: []string{"shop"}, Manager: "alice"}
	}
	alice := b.People["alice"]
	alice.Manager = ""
	b.People["alice"] = alice
	b.Rules = []Rule{
		rule("reading", "db", "read", "team:shop", 1, "group:dba"), // narrow before wide: an exception
		rule("writing", "db", "*", "*", 2, "group:dba"),
		rule("web", "w*", "shell", "*", 1, "owner"),
	}
	return b
}

func shift(from, until int, people ...string) Shift {
	return Shift{From: record.At(lintNow.AddDate(0, 0, from)), Until: record.At(lintNow.AddDate(0, 0, until)), People: people}
}

func rule(name, resource, role, requester string, count int, approvers ...string) Rule {
	return Rule{Name: name, Resources: []string{resource}, Roles: []string{role}, Requesters: []string{requester}, MaxDuration: hours(1),
		Stages: []Stage{{Approvers: approvers, Count: count}}}
}

// team gives a person other teams and another manager.
func team(b *Body, name, manager string, teams ...string) {
	p := b.People[name]
	p.Manager, p.Teams = manager, append(teams, "shop")
	b.People[name] = p
}

// account gives a person an account of postgres.
func account(b *Body, name, text string) {
	p := b.People[name]
	p.Accounts = map[string]string{"postgres": text}
	b.People[name] = p
}

func TestLint(t *testing.T) {
	if problems := Lint(quiet(), lintNow); len(problems) > 0 {
		t.Fatalf("a good policy has warnings: %v", problems)
	}
	secondKey := func(b *Body, names ...string) {
		for i, name := range names {
			p := b.People[name]
			p.Keys = append(p.Keys, key(50+i))
			b.People[name] = p
		}
	}
	for name, c := range map[string]struct {
		change   func(*Body)
		severity Severity
		code     ProblemCode // "" for nothing to say
		path     string
		text     string
	}{
		"one admin decides":       {func(b *Body) { b.Admins.Threshold = 1 }, SeverityWarning, ProblemOneAdmin, "admins.threshold", "one admin"},
		"no admin to spare":       {func(b *Body) { b.Admins.Threshold = 3 }, SeverityWarning, ProblemAdminsSpare, "admins.threshold", "the one key of alice, bob, carol is lost"},
		"admins with second keys": {func(b *Body) { b.Admins.Threshold = 3; secondKey(b, "alice", "bob", "carol") }, "", "", "", ""},
		"one admin with one key":  {func(b *Body) { b.Admins.Threshold = 3; secondKey(b, "alice", "bob") }, SeverityWarning, ProblemAdminsSpare, "admins.threshold", "of carol is lost"},

		"one account":    {func(b *Body) { account(b, "dora", "x"); account(b, "erik", "x") }, SeverityWarning, ProblemSharedAccount, "people.erik.accounts.postgres", "dora, erik have one account"},
		"another's name": {func(b *Body) { account(b, "dora", "erik") }, SeverityWarning, ProblemSharedAccount, "people.dora.accounts.postgres", "dora, erik have one account"},
		"one key, and another comment": {func(b *Body) {
			account(b, "dora", "ssh-ed25519 "+strings.Repeat("A", 68)+" dora\nssh-ed25519 "+strings.Repeat("B", 68)+"\n")
			account(b, "erik", "ssh-ed25519 "+strings.Repeat("B", 68)+" erik@laptop\n")
		}, SeverityWarning, ProblemSharedAccount, "people.erik.accounts.postgres", "dora, erik have one account"},
		"keys of their own": {func(b *Body) {
			account(b, "dora", "ssh-ed25519 "+strings.Repeat("A", 68)+" a\nssh-ed25519 "+strings.Repeat("A", 68)+" a\n")
			account(b, "erik", "ssh-ed25519 "+strings.Repeat("B", 68)+" a\n")
		}, "", "", "", ""},
		"one account of a driver that no resource has": {func(b *Body) {
			for _, name := range []string{"dora", "erik"} {
				p := b.People[name]
				p.Accounts = map[string]string{"other": "x"}
				b.People[name] = p
			}
		}, "", "", "", ""},

		"a roster that is over": {func(b *Body) { b.Rosters["duty"] = b.Rosters["duty"][:1] }, SeverityInfo, ProblemRosterOver, "rosters.duty", `"duty"`},
		"a roster to come":      {func(b *Body) { b.Rosters["duty"] = []Shift{shift(5, 6, "alice")} }, "", "", "", ""},
		"a shift ends now":      {func(b *Body) { b.Rosters["duty"] = []Shift{shift(-5, 0, "alice")} }, SeverityInfo, ProblemRosterOver, "rosters.duty", ""},

		"nothing opens it": {func(b *Body) { b.Reconcilers["box"] = Reconciler{Resources: []string{"db"}} }, SeverityWarning, ProblemUnopened, "resources.web", "no reconciler opens web"},
		"nothing opens":    {func(b *Body) { b.Reconcilers = nil }, SeverityWarning, ProblemUnopened, "resources", "no reconcilers"},
		"nobody reaches it": {func(b *Body) { b.Rules = b.Rules[:2] }, SeverityWarning, ProblemUnreached, "resources.web",
			"no rule lets anybody ask for web"},
		"nobody reaches a role": {func(b *Body) { b.Rules[1].Roles[0] = "read" }, SeverityInfo, ProblemUnreachedRole, "resources.db.roles.write", "db:write"},
		"nobody is meant": {func(b *Body) { b.Rules[2].Requesters[0] = "z*" }, SeverityWarning, ProblemUnreached, "resources.web",
			"no rule lets anybody ask for web"},
		"all else is denied to all": {func(b *Body) {
			b.Rules[2] = Rule{Name: "no", Resources: []string{"*"}, Roles: []string{"*"}, Requesters: []string{"*"}, Approve: ApproveDeny, Message: "no"}
		}, SeverityWarning, ProblemUnreached, "resources.web", "no rule lets anybody ask for web"},
		"a role is denied with all else": {func(b *Body) {
			b.Rules[1].Roles[0] = "read"
			b.Rules[1].Resources[0] = "d*"
			b.Rules[0].Requesters[0] = "dora"
			b.Rules = append(b.Rules, Rule{Name: "no", Resources: []string{"*"}, Roles: []string{"*"}, Requesters: []string{"*"}, Approve: ApproveDeny, Message: "no"})
		}, SeverityInfo, ProblemUnreachedRole, "resources.db.roles.write", "no rule lets anybody ask for db:write"},
		"more quorums than are looked at": {func(b *Body) {
			q := make([]Quorum, maxQuorums+1)
			for i := range q {
				q[i] = Quorum{Approvers: []string{"group:dba"}, Count: 1}
			}
			b.Rules[2].Stages = []Stage{{AnyOf: q}}
		}, SeverityInfo, ProblemNotJudged, "rules[2].stages", `rule "web"`},
		"it is denied to all": {func(b *Body) {
			b.Rules[2] = Rule{Name: "no", Resources: []string{"web"}, Roles: []string{"*"}, Requesters: []string{"*"}, Approve: ApproveDeny, Message: "no"}
		}, "", "", "", ""},

		"a conflict with nothing": {func(b *Body) { b.Conflicts[0].Between[0] = "db:owner" }, SeverityWarning, ProblemConflictNothing, "conflicts[0].between[0]", "nothing like db:owner"},

		"a name mistyped": {func(b *Body) { b.Rules = append(b.Rules, rule("x", "wep", "*", "*", 1, "*")) }, SeverityWarning, ProblemMatchesNothing, "rules[3].resources", `rule "x"`},
		"no such role":    {func(b *Body) { b.Rules = append(b.Rules, rule("x", "web", "read", "*", 1, "*")) }, SeverityWarning, ProblemMatchesNothing, "rules[3].resources", "and one of its roles"},
		"no such label": {func(b *Body) {
			r := rule("x", "db", "read", "*", 1, "*")
			r.Labels = map[string]string{"area": "books"}
			b.Rules = slices.Insert(b.Rules, 0, r)
		}, SeverityWarning, ProblemMatchesNothing, "rules[0].labels", "these labels"},
		"the label is there": {func(b *Body) {
			r := rule("x", "db", "read", "*", 1, "group:dba")
			r.Labels = map[string]string{"area": "s*"}
			b.Rules = slices.Insert(b.Rules, 0, r)
			b.Rules = slices.Delete(b.Rules, 1, 2)
		}, "", "", "", ""},
		"nobody": {func(b *Body) { b.Rules = slices.Insert(b.Rules, 0, rule("x", "db", "read", "z*", 1, "*")) }, SeverityWarning, ProblemMatchesNothing, "rules[0].requesters", "nobody is meant"},

		"the same again": {func(b *Body) { b.Rules = append(b.Rules, rule("x", "db", "read", "alice", 1, "*")) }, SeverityWarning, ProblemNeverDecides, "rules[3]",
			`rule "x" never decides: what it matches is taken by "reading"`},
		"taken by several together": {func(b *Body) { b.Rules = append(b.Rules, rule("x", "*", "*", "*", 1, "*")) }, SeverityWarning, ProblemNeverDecides, "rules[3]", `taken by "reading", "writing", "web"`},
		"not quite all taken": {func(b *Body) {
			b.Rules[0].Requesters[0] = "dora"
			b.Rules[1].Requesters[0] = "erik"
			b.Rules[1].Roles[0] = "write"
		}, "", "", "", ""},
		"a roster takes nothing": {func(b *Body) { b.Rules[0].Requesters[0] = "roster:duty" }, "", "", "", ""},
		"a roster's people are taken": {func(b *Body) { b.Rules = append(b.Rules, rule("x", "db", "*", "roster:duty", 1, "*")) }, SeverityWarning, ProblemNeverDecides, "rules[3]",
			`taken by "reading", "writing"`},

		"they cross": {func(b *Body) {
			b.Rules[0].Requesters[0], b.Rules[0].Roles[0] = "dora", "*"
			b.Rules[1].Roles[0] = "read"
		}, SeverityWarning, ProblemOverlap, "rules[1]",
			`rules "reading" and "writing" overlap: dora on db:read is decided by the first (1 of group:dba), not by the second (2 of group:dba)`},
		"the stricter decides": {func(b *Body) {
			b.Rules[0] = Rule{Name: "reading", Resources: []string{"db"}, Roles: []string{"*"}, Requesters: []string{"dora"}, Approve: ApproveDeny, Message: "no"}
			b.Rules[1].Roles[0] = "read"
		}, SeverityInfo, ProblemOverlap, "rules[1]", "(denied), not by the second (2 of group:dba)"},
		"it would be denied": {func(b *Body) {
			b.Rules[0].Roles[0] = "*"
			b.Rules[1] = Rule{Name: "no", Resources: []string{"*b"}, Roles: []string{"read"}, Requesters: []string{"*"}, Approve: ApproveDeny, Message: "no"}
			b.Rules[0].Requesters[0] = "a*"
		}, SeverityWarning, ProblemOverlap, "rules[1]", "alice on db:read is decided by the first (1 of group:dba), not by the second (denied)"},
		"a roster's people cross at times": {func(b *Body) {
			b.Rules[0].Requesters, b.Rules[0].Roles[0] = []string{"roster:duty", "erik"}, "*"
			b.Rules[1].Roles[0] = "read"
		}, SeverityWarning, ProblemOverlap, "rules[1]", "erik on db:read"},
		"they cross with one outcome": {func(b *Body) {
			b.Rules[0].Requesters[0], b.Rules[0].Roles[0] = "dora", "*"
			b.Rules[1].Roles[0], b.Rules[1].Stages[0].Count = "read", 1
		}, "", "", "", ""},

		"nobody else": {func(b *Body) { b.Rules[2].Stages[0] = Stage{Approvers: []string{"dora", "manager"}, Count: 2} }, SeverityWarning, ProblemUnfillable, "rules[2].stages[0]",
			"nobody can meet stage 1 for alice, nor for 1 other: 1 person is missing"},
		"nobody at all": {func(b *Body) { b.Rules[2].Stages[0].Approvers[0] = "z*" }, SeverityWarning, ProblemUnfillable, "rules[2].stages[0]", "for anybody who may ask, such as alice: 1 person is missing"},
		"an owner's own": {func(b *Body) {
			web := b.Resources["web"]
			web.Owners = []string{"bob"}
			b.Resources["web"] = web
		}, SeverityWarning, ProblemUnfillable, "rules[2].stages[0]", "for bob (on web): 1 person is missing"},
		"once over all stages": {func(b *Body) {
			b.Rules[2].Stages = []Stage{{Approvers: []string{"dora", "erik"}, Count: 1}, {Approvers: []string{"erik", "dora"}, Count: 1}}
		}, SeverityWarning, ProblemUnfillable, "rules[2].stages[1]", "stage 2 for dora, nor for 1 other: 1 person is missing"},
		"others move over": {func(b *Body) {
			b.Rules[2].Stages = []Stage{{AllOf: []Quorum{{Approvers: []string{"dora", "erik", "bob"}, Count: 1}, {Approvers: []string{"erik", "dora", "carol"}, Count: 2}}}}
		}, "", "", "", ""},
		"escalation helps": {func(b *Body) {
			b.Rules[2].Stages[0] = Stage{Approvers: []string{"dora"}, Count: 1, Escalate: []Escalation{{After: hours(1), To: []string{"erik"}}}}
		}, "", "", "", ""},
		"another way": {func(b *Body) {
			b.Rules[2].Stages[0] = Stage{AnyOf: []Quorum{{Approvers: []string{"dora"}, Count: 1}, {Approvers: []string{"erik"}, Count: 1}}}
		}, "", "", "", ""},
		"no manager above": {func(b *Body) { b.Rules[2].Stages[0].Approvers = []string{"manager"} }, SeverityWarning, ProblemUnfillable, "rules[2].stages[0]", "for alice: 1 person is missing"},
		// dora and erik differ only in who their managers are.
		"the manager is the other approver too": {func(b *Body) {
			team(b, "dora", "carol", "x")
			team(b, "erik", "bob", "x")
			b.Rules[2].Requesters[0] = "team:x"
			b.Rules[2].Stages[0] = Stage{AllOf: []Quorum{{Approvers: []string{"manager"}, Count: 1}, {Approvers: []string{"bob"}, Count: 1}}}
		}, SeverityWarning, ProblemUnfillable, "rules[2].stages[0]", "for erik: 1 person is missing"},
		// The same, in that one's manager leads the team.
		"the manager is the lead": {func(b *Body) {
			b.Teams = map[string]Team{"y": {Leads: []string{"carol"}}}
			b.Resources["web"] = Resource{Driver: "postgres", Owners: []string{"alice"}, Roles: b.Resources["web"].Roles}
			team(b, "dora", "bob", "x", "y")
			team(b, "erik", "carol", "x", "y")
			b.Rules[2].Requesters[0] = "team:x"
			b.Rules[2].Stages[0] = Stage{AllOf: []Quorum{{Approvers: []string{"manager"}, Count: 1}, {Approvers: []string{"team-lead"}, Count: 1}}}
		}, SeverityWarning, ProblemUnfillable, "rules[2].stages[0]", "for erik: 1 person is missing"},
		"the managers kept out": {func(b *Body) {
			b.Rules[2].Stages[0].Approvers, b.Rules[2].Exclude = []string{"alice", "dora"}, []string{ExcludeManagers}
		}, SeverityWarning, ProblemUnfillable, "rules[2].stages[0]", "for dora: 1 person"},
		"the reports kept out": {func(b *Body) {
			b.Rules[2].Stages[0].Approvers, b.Rules[2].Exclude = []string{"bob", "dora"}, []string{ExcludeReports}
		}, SeverityWarning, ProblemUnfillable, "rules[2].stages[0]", "for alice: 1 person"},
		"the roster's later people": {func(b *Body) { b.Rules[2].Stages[0].Approvers = []string{"roster:duty"} }, "", "", "", ""},

		"one key lost": {func(b *Body) {
			b.Rules[2].Requesters = []string{"alice"}
			b.Rules[2].Stages[0] = Stage{Approvers: []string{"dora", "erik"}, Count: 2}
		}, SeverityWarning, ProblemStageSpare, "rules[2].stages[0]", "if the one key of dora, erik is lost"},
		"keys to spare": {func(b *Body) {
			b.Rules[2].Requesters = []string{"alice"}
			b.Rules[2].Stages[0] = Stage{Approvers: []string{"dora", "erik"}, Count: 2}
			secondKey(b, "dora", "erik")
		}, "", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := quiet()
			c.change(b)
			problems := Lint(b, lintNow)
			if c.code == "" {
				if len(problems) > 0 {
					t.Errorf("%v", problems)
				}
				return
			}
			if !slices.ContainsFunc(problems, func(p Problem) bool {
				return p.Path == c.path && p.Code == c.code && p.Severity == c.severity && strings.Contains(p.Message, c.text) && p.Hint != ""
			}) {
				t.Errorf("no %s %s at %s with %q: %+v", c.severity, c.code, c.path, c.text, problems)
			}
			for range 10 {
				if again := Lint(b, lintNow); !slices.Equal(again, problems) {
					t.Fatalf("another order:\n%v\n%v", problems, again)
				}
			}
		})
	}
}

// TestProblemCodes holds codes to their form, and all of Check's problems to having
// one.
func TestProblemCodes(t *testing.T) {
	form := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	broken := good()
	broken.Admins.Threshold, broken.Groups["dba"] = 9, nil
	for _, p := range append(Check(broken), CheckParameters(broken, func(string, map[string]string) error { return fmt.Errorf("no") })...) {
		if !form.MatchString(string(p.Code)) || p.Severity != SeverityError {
			t.Errorf("%+v", p)
		}
	}
}

// TestCircles finds who reports to themselves, in chains that are long.
func TestCircles(t *testing.T) {
	people := map[string]Person{"a": {Manager: "b"}, "b": {Manager: "c"}, "c": {Manager: "b"}, "d": {Manager: "d"}, "e": {Manager: "zoe"}, "f": {}}
	for i := range 20000 {
		people[fmt.Sprint(i)] = Person{Manager: fmt.Sprint(i + 1)}
	}
	if got := slices.Sorted(maps.Keys(inCircles(people))); !slices.Equal(got, []string{"b", "c", "d"}) {
		t.Errorf("%q", got)
	}
}

// TestMissing holds the flow against trying every assignment.
func TestMissing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wants := make([]want, rapid.IntRange(1, 4).Draw(t, "quorums"))
		for i := range wants {
			wants[i] = want{1 << i, rapid.IntRange(1, 3).Draw(t, "count")}
		}
		var have []group
		var people []uint64
		for range rapid.IntRange(0, 4).Draw(t, "groups") {
			g := group{rapid.Uint64Range(0, 1<<len(wants)-1).Draw(t, "mask"), rapid.IntRange(0, 2).Draw(t, "n")}
			have = append(have, g)
			for range g.n {
				people = append(people, g.mask)
			}
		}
		var best func(i int, left []int) int
		best = func(i int, left []int) int {
			if i == len(people) {
				return 0
			}
			most := best(i+1, left)
			for q, w := range wants {
				if people[i]&w.bit != 0 && left[q] > 0 {
					left[q]--
					most = max(most, 1+best(i+1, left))
					left[q]++
				}
			}
			return most
		}
		total := 0
		var left []int
		for _, w := range wants {
			total += w.n
			left = append(left, w.n)
		}
		if got, need := missing(have, wants), total-best(0, left); got != need {
			t.Fatalf("%v of %v: %d missing, not %d", have, wants, got, need)
		}
	})
}

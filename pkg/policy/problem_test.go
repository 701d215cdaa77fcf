package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jitaccess/jit/pkg/record"
)

// said is how many bytes the problems have.
func said(problems []Problem) int {
	n := 0
	for _, p := range problems {
		n += len(p.String())
	}
	return n
}

// TestProblemsAreBounded shows that a file cannot make much of its mistakes: neither by
// long names that all below them repeat, nor by many.
func TestProblemsAreBounded(t *testing.T) {
	long := strings.Repeat("a", 100<<10)
	for name, c := range map[string]struct {
		change  func(*Body)
		n       int
		path    string
		message string
	}{
		"a long name": {func(b *Body) {
			p := Person{Keys: []record.Fingerprint{key(90)}}
			for range 1000 {
				p.Teams = append(p.Teams, "A")
			}
			b.People[long] = p
		}, 1, "people." + strings.Repeat("a", maxShown) + "...", "not allowed"},
		"a long name of a roster":     {func(b *Body) { b.Rosters = map[string][]Shift{long: make([]Shift, 1000)} }, 1, "rosters.aaa", "not allowed"},
		"a long name of a group":      {func(b *Body) { b.Groups[long] = make([]string, 1000) }, 1, "groups.aaa", "not allowed"},
		"a long name of a team":       {func(b *Body) { b.Teams = map[string]Team{long: {Leads: make([]string, 1000)}} }, 1, "teams.aaa", "not allowed"},
		"a long name of a schedule":   {func(b *Body) { b.Schedules = map[string]Schedule{long: {Days: make([]string, 1000)}} }, 1, "schedules.aaa", "not allowed"},
		"a long name of a reconciler": {func(b *Body) { b.Reconcilers[long] = Reconciler{Resources: make([]string, 1000)} }, 1, "reconcilers.aaa", "not allowed"},
		"a long name of a resource": {func(b *Body) {
			roles := map[string]Role{}
			for i := range 1000 {
				roles[fmt.Sprintf("R%d", i)] = Role{}
			}
			b.Resources[long] = Resource{Driver: "x", Roles: roles}
		}, 1, "resources.aaa", "not allowed"},
		"a long name of a role": {func(b *Body) { b.Resources["orders-db"].Roles[long] = Role{} }, 1, "resources.orders-db.roles.aaa", "not allowed"},
		"a long name of an input": {func(b *Body) {
			b.Rules[1].Requires.Inputs = map[string]Input{long: {Type: InputChoice, Choices: make([]string, 90)}}
		}, 1, "rules[1].requires.inputs.aaa", "not allowed"},
		"a long unknown name":   {func(b *Body) { b.Groups["dba"] = append(b.Groups["dba"], long) }, 1, "groups.dba[", "is not one of the people"},
		"a long glob":           {func(b *Body) { b.Rules[1].Roles = []string{long} }, 1, "rules[1].roles[0]", "not a name or glob"},
		"a long role in a word": {func(b *Body) { b.Rules[1].Approve = long }, 1, "rules[1].approve", "not a way to approve"},
		"many mistakes": {func(b *Body) {
			for i := range 10 * MaxProblems {
				b.Groups["dba"] = append(b.Groups["dba"], fmt.Sprintf("nobody-%d", i))
			}
		}, MaxProblems + 1, "groups.dba[", ""},
		"many names": {func(b *Body) {
			for i := range 10 * MaxProblems {
				b.Groups[fmt.Sprintf("G%d", i)] = nil
			}
		}, MaxProblems + 1, "groups.G", "not allowed"},
		"many expressions": {func(b *Body) {
			for i := range 10 {
				b.Rules[1].Conditions = append(b.Rules[1].Conditions, Condition{Expr: fmt.Sprintf("nobody == %d", i), Message: "m"})
			}
		}, 1, "rules[1].conditions[0].expr", "undeclared reference"},
	} {
		t.Run(name, func(t *testing.T) {
			b := good()
			c.change(b)
			var problems []Problem
			if took := allocated(func() { problems = Check(b) }); took > 32<<20 {
				t.Errorf("checking took %d bytes", took)
			}
			if len(problems) != c.n {
				t.Fatalf("%d problems, want %d; the first is %s", len(problems), c.n, problems[0])
			}
			if p := problems[0]; !strings.HasPrefix(p.Path, c.path) || !strings.Contains(p.Message, c.message) || said(problems) > 1000*c.n {
				t.Errorf("%d bytes: %+v", said(problems), p)
			}
			if last := problems[c.n-1]; (last.Code == ProblemMore) != (c.n > MaxProblems) {
				t.Errorf("the last is %+v", last)
			}
			_, err := Compile(Document{Body: *b}, "")
			if r := refusal(t, err); r.Code != BadPolicy || len(r.Message) > 1000*c.n {
				t.Errorf("%d bytes: %.100s", len(r.Message), r.Message)
			}
		})
	}
}

func TestReadable(t *testing.T) {
	for s, want := range map[string]string{
		"":                           "",
		" a\n b\t":                   "a b",
		"\x1b[2J\u202e\u200b\x00":    `\x1b[2J\u202e\u200b\x00`,
		"e\u0301 \"x\" \\":           `e\u0301 "x" \`,
		"\u0928\u093f \u0301":        "\u0928\u093f" + ` \u0301`,
		"\xff":                       `\ufffd`,
		"naïve \"x\" \\":             `naïve "x" \`,
		strings.Repeat("ü", 2000):    strings.Repeat("ü", maxTold) + "...",
		strings.Repeat("ü", maxTold): strings.Repeat("ü", maxTold),
	} {
		if got := readable(s); got != want && !(s == "\xff" && record.CheckText(got) == nil) {
			t.Errorf("%+q: %+q, want %+q", s, got, want)
		}
	}
}

// TestWhoIsBounded refuses what would make it long to find out whom somebody means.
func TestWhoIsBounded(t *testing.T) {
	chain := func(n int) func(*Body) {
		return func(b *Body) {
			for i := range n {
				b.People[fmt.Sprintf("up-%03d", i)] = Person{Keys: []record.Fingerprint{key(1000 + i)}, Manager: fmt.Sprintf("up-%03d", i+1)}
			}
			b.People[fmt.Sprintf("up-%03d", n)] = Person{Keys: []record.Fingerprint{key(1000 + n)}}
		}
	}
	for name, c := range map[string]struct {
		change func(*Body)
		path   string
		code   ProblemCode
	}{
		"the longest chain of managers": {chain(MaxManagers), "", ""},
		"one longer":                    {chain(MaxManagers + 1), "people.up-000.manager", ProblemManagers},
		"a principal twice":             {func(b *Body) { b.Rules[1].Requesters = []string{"alice", "bob", "alice"} }, "rules[1].requesters[2]", ProblemTwice},
		"an owner twice":                {func(b *Body) { b.Rules[1].Stages[0].Approvers = []string{WhoOwner, WhoOwner} }, "rules[1].stages[0].approvers[1]", ProblemTwice},
		"a team twice":                  {person("alice", func(p *Person) { p.Teams = []string{"web", "web"} }), "people.alice.teams[1]", ProblemTwice},
	} {
		b := good()
		c.change(b)
		problems := Check(b)
		if c.path == "" && len(problems) == 0 {
			continue
		}
		if len(problems) != 1 || problems[0].Path != c.path || problems[0].Code != c.code {
			t.Errorf("%s: %v", name, problems)
		}
	}
}

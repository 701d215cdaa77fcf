package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/record"
)

var day = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

func key(n int) record.Fingerprint { return record.Fingerprint(fmt.Sprintf("%040X", n)) }

func hours(n int) record.Duration { return record.Duration{Duration: time.Duration(n) * time.Hour} }

// good is a policy without a problem.
func good() *Body {
	return &Body{
		Admins: Admins{People: []string{"alice", "bob"}, Threshold: 2},
		People: map[string]Person{
			"alice": {Keys: []record.Fingerprint{key(1)}, Teams: []string{"web"}, Accounts: map[string]string{"postgres": "al"}},
			"bob":   {Keys: []record.Fingerprint{key(2), key(12)}, Teams: []string{"web", "ops"}},
			"carol": {Keys: []record.Fingerprint{key(3)}},
		},
		Groups:      map[string][]string{"dba": {"bob", "carol"}},
		Reconcilers: map[string]Reconciler{"box": {Keys: []record.Fingerprint{key(9)}, Resources: []string{"orders-db"}}},
		Resources: map[string]Resource{
			"orders-db": {Driver: "postgres", Roles: map[string]Role{"read": {Parameters: map[string]string{"role": "r"}}, "write": {}}},
			"web-1":     {Driver: "authorized-keys", Roles: map[string]Role{"shell": {}}},
		},
		Rules: []Rule{
			{Name: "dba", Resources: []string{"*-db"}, Roles: []string{"*"}, Requesters: []string{"group:dba"}, MaxDuration: hours(8), Approve: ApproveAuto},
			{Name: "read", Resources: []string{"orders-*"}, Roles: []string{"re*d"}, Requesters: []string{"a*"}, MaxDuration: hours(4),
				Stages: []Stage{{Approvers: []string{"group:dba"}, Count: 1}}},
			{Name: "web", Resources: []string{"web-1"}, Roles: []string{"shell"}, Requesters: []string{"team:web"}, MaxDuration: hours(1),
				Stages: []Stage{{Approvers: []string{"team:ops", "carol"}, Count: 2}}},
		},
	}
}

func compile(t testing.TB, change ...func(*Body)) *Policy {
	t.Helper()
	b := good()
	for _, f := range change {
		f(b)
	}
	p, err := Compile(Document{Body: *b}, record.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func person(name string, change func(*Person)) func(*Body) {
	return func(b *Body) {
		p := b.People[name]
		change(&p)
		b.People[name] = p
	}
}

func TestCheck(t *testing.T) {
	if problems := Check(good()); len(problems) > 0 {
		t.Fatalf("a good policy has problems: %v", problems)
	}
	for name, c := range map[string]struct {
		change func(*Body)
		path   string
		text   string
		hint   string
	}{
		"no admins":                {func(b *Body) { b.Admins = Admins{Threshold: 1} }, "admins.people", "there are no admins", "at least one"},
		"threshold of nobody":      {func(b *Body) { b.Admins.Threshold = 0 }, "admins.threshold", "threshold 0", "at least 1"},
		"negative threshold":       {func(b *Body) { b.Admins.Threshold = -1 }, "admins.threshold", "threshold -1", ""},
		"threshold out of reach":   {func(b *Body) { b.Admins.Threshold = 3 }, "admins.threshold", "never be reached by 2", ""},
		"an admin twice":           {func(b *Body) { b.Admins.People = []string{"bob", "bob"} }, "admins.people[1]", `"bob" is named twice`, "once"},
		"an admin nobody knows":    {func(b *Body) { b.Admins.People[1] = "bop" }, "admins.people[1]", `"bop" is not one of the people`, "did you mean bob?"},
		"a person without keys":    {person("carol", func(p *Person) { p.Keys = nil }), "people.carol.keys", "carol has no key", "fingerprint"},
		"a short fingerprint":      {person("carol", func(p *Person) { p.Keys = []record.Fingerprint{"ABCD"} }), "people.carol.keys[0]", "full fingerprint", "40"},
		"a lower-case fingerprint": {person("carol", func(p *Person) { p.Keys[0] = record.Fingerprint(strings.Repeat("ab", 20)) }), "people.carol.keys[0]", "full fingerprint", ""},
		"one key, two people":      {person("carol", func(p *Person) { p.Keys[0] = key(12) }), "people.carol.keys[0]", "already belongs to person bob", "one key"},
		"one key, twice":           {person("carol", func(p *Person) { p.Keys = append(p.Keys, p.Keys[0]) }), "people.carol.keys[1]", "already belongs to person carol", ""},
		"a reconciler's key":       {func(b *Body) { b.Reconcilers["box"].Keys[0] = key(1) }, "reconcilers.box.keys[0]", "already belongs to person alice", ""},
		"an odd name":              {func(b *Body) { b.People["Carol"] = Person{Keys: []record.Fingerprint{key(33)}} }, "people.Carol", `"Carol" is not allowed`, "a to z"},
		"a name with a colon":      {func(b *Body) { b.People["group:dba"] = Person{Keys: []record.Fingerprint{key(33)}} }, "people.group:dba", "not allowed", ""},
		"a glob for a name":        {func(b *Body) { b.People["*"] = Person{Keys: []record.Fingerprint{key(33)}} }, "people.*", "not allowed", ""},
		"a look-alike":             {func(b *Body) { b.People["сarol"] = Person{Keys: []record.Fingerprint{key(33)}} }, "people.сarol", "not allowed", ""},
		"a name with a line":       {func(b *Body) { b.People["bob\n"] = Person{Keys: []record.Fingerprint{key(33)}} }, "people.bob\n", "not allowed", ""},
		"a long name":              {func(b *Body) { b.People[strings.Repeat("x", 64)] = Person{Keys: []record.Fingerprint{key(33)}} }, "people." + strings.Repeat("x", 64), "not allowed", ""},
		"an odd team":              {person("carol", func(p *Person) { p.Teams = []string{"-"} }), "people.carol.teams[0]", "team's name", ""},
		"a blank account":          {person("carol", func(p *Person) { p.Accounts = map[string]string{"postgres": " "} }), "people.carol.accounts.postgres", "blank", "own name"},
		"an odd driver's account":  {person("carol", func(p *Person) { p.Accounts = map[string]string{"Pg": "x"} }), "people.carol.accounts.Pg", "driver's name", ""},
		"an empty group":           {func(b *Body) { b.Groups["dba"] = nil }, "groups.dba", "empty", ""},
		"an odd group":             {func(b *Body) { b.Groups["A B"] = []string{"bob"} }, "groups.A B", "group's name", ""},
		"a member nobody knows":    {func(b *Body) { b.Groups["dba"] = []string{"bob", "zoe"} }, "groups.dba[1]", `"zoe"`, "known are alice, bob, carol"},
		"a reconciler's name":      {func(b *Body) { b.Reconcilers["BOX"] = b.Reconcilers["box"]; delete(b.Reconcilers, "box") }, "reconcilers.BOX", "not allowed", ""},
		"a machine and a person":   {func(b *Body) { b.Reconcilers["bob"] = b.Reconcilers["box"]; delete(b.Reconcilers, "box") }, "reconcilers.bob", "also one of the people", ""},
		"a reconciler for nothing": {func(b *Body) { b.Reconcilers["box"] = Reconciler{Keys: []record.Fingerprint{key(9)}} }, "reconcilers.box.resources", "no resources", ""},
		"a keyless reconciler":     {func(b *Body) { b.Reconcilers["box"] = Reconciler{Resources: []string{"web-1"}} }, "reconcilers.box.keys", "no key", ""},
		"a resource unknown to it": {func(b *Body) { b.Reconcilers["box"].Resources[0] = "order-db" }, "reconcilers.box.resources[0]", `"order-db"`, "did you mean orders-db?"},
		"an odd resource":          {func(b *Body) { b.Resources["a/b"] = b.Resources["web-1"] }, "resources.a/b", "not allowed", ""},
		"no driver":                {func(b *Body) { b.Resources["x"] = Resource{Roles: map[string]Role{"r": {}}} }, "resources.x.driver", "driver's name", ""},
		"no roles":                 {func(b *Body) { b.Resources["x"] = Resource{Driver: "d"} }, "resources.x.roles", "no roles", ""},
		"an odd role":              {func(b *Body) { b.Resources["web-1"].Roles["a:b"] = Role{} }, "resources.web-1.roles.a:b", "not allowed", ""},
		"no rules":                 {func(b *Body) { b.Rules = nil }, "rules", "no rules", ""},
		"a rule without a name":    {func(b *Body) { b.Rules[0].Name = "" }, "rules[0].name", "not allowed", ""},
		"two rules of one name":    {func(b *Body) { b.Rules[2].Name = "dba" }, "rules[2].name", `two rules are named "dba"`, ""},
		"rule for no resource":     {func(b *Body) { b.Rules[1].Resources = nil }, "rules[1].resources", "empty", `"*"`},
		"rule for no role":         {func(b *Body) { b.Rules[1].Roles = nil }, "rules[1].roles", "empty", ""},
		"rule for nobody":          {func(b *Body) { b.Rules[1].Requesters = nil }, "rules[1].requesters", "empty", ""},
		"an odd glob":              {func(b *Body) { b.Rules[1].Resources[0] = "orders-[a-z]" }, "rules[1].resources[0]", "not a name or glob", ""},
		"an escape in a glob":      {func(b *Body) { b.Rules[1].Roles[0] = `re\*d` }, "rules[1].roles[0]", "not a name or glob", ""},
		"an odd glob of people":    {func(b *Body) { b.Rules[1].Requesters[0] = "A*" }, "rules[1].requesters[0]", "not a name or glob", ""},
		"a person unknown to it":   {func(b *Body) { b.Rules[1].Requesters[0] = "alise" }, "rules[1].requesters[0]", `"alise"`, "did you mean alice?"},
		"an unknown group":         {func(b *Body) { b.Rules[0].Requesters[0] = "group:dbas" }, "rules[0].requesters[0]", `no group "dbas"`, "did you mean dba?"},
		"an unknown team":          {func(b *Body) { b.Rules[2].Requesters[0] = "team:sales" }, "rules[2].requesters[0]", `nobody is in team "sales"`, ""},
		"another kind":             {func(b *Body) { b.Rules[2].Requesters[0] = "role:web" }, "rules[2].requesters[0]", `"role" is not a kind`, ""},
		"no longest window":        {func(b *Body) { b.Rules[1].MaxDuration = record.Duration{} }, "rules[1].maxDuration", "for how long", "4h"},
		"a negative window":        {func(b *Body) { b.Rules[1].MaxDuration = hours(-1) }, "rules[1].maxDuration", "for how long", ""},
		"waits for years":          {func(b *Body) { b.Rules[1].Pending = hours(91 * 24) }, "rules[1].pending", "may not wait for 91d", "90d"},
		"a broken reason":          {func(b *Body) { b.Rules[1].Requires.Reason = "(" }, "rules[1].requires.reason", "missing closing", "RE2"},
		"a reason out of bounds":   {func(b *Body) { b.Rules[1].Requires.Reason = "a)|(?:b" }, "rules[1].requires.reason", "unexpected )", ""},
		"a broken ticket":          {func(b *Body) { b.Rules[1].Requires.Ticket = "a**" }, "rules[1].requires.ticket", "repetition", ""},
		"a long pattern":           {func(b *Body) { b.Rules[1].Requires.Ticket = strings.Repeat("a", 1001) }, "rules[1].requires.ticket", "too long", "1000"},
		"another way to approve":   {func(b *Body) { b.Rules[0].Approve = "always" }, "rules[0].approve", `"always"`, "auto"},
		"auto and stages":          {func(b *Body) { b.Rules[1].Approve = ApproveAuto }, "rules[1].stages", "by itself and has stages", ""},
		"neither":                  {func(b *Body) { b.Rules[1].Stages = nil }, "rules[1]", "does not say who approves", "auto"},
		"a stage of nobody":        {func(b *Body) { b.Rules[1].Stages[0].Approvers = nil }, "rules[1].stages[0].approvers", "empty", ""},
		"an approver unknown":      {func(b *Body) { b.Rules[2].Stages[0].Approvers[1] = "carl" }, "rules[2].stages[0].approvers[1]", `"carl"`, "carol"},
		"a count of nobody":        {func(b *Body) { b.Rules[1].Stages[0].Count = 0 }, "rules[1].stages[0].count", "count 0", "at least 1"},
		"a count out of reach":     {func(b *Body) { b.Rules[1].Stages[0].Count = 4 }, "rules[1].stages[0].count", "never be reached by 3", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := good()
			c.change(b)
			problems := Check(b)
			if !slices.ContainsFunc(problems, func(p Problem) bool {
				return p.Path == c.path && strings.Contains(p.Message, c.text) && strings.Contains(p.Hint, c.hint)
			}) {
				t.Errorf("no problem at %s with %q (%q): %v", c.path, c.text, c.hint, problems)
			}
			for range 20 { // maps have no order, problems do
				if again := Check(b); !slices.Equal(again, problems) {
					t.Fatalf("another order:\n%v\n%v", problems, again)
				}
			}
			_, err := Compile(Document{Body: *b}, "")
			if CodeOf(err) != BadPolicy || !strings.Contains(err.Error(), c.path) {
				t.Errorf("compiled: %v", err)
			}
		})
	}
}

func TestProblem(t *testing.T) {
	if s := (Problem{Path: "a[1]", Message: "is bad", Hint: "mend it"}).String(); s != "a[1]: is bad (mend it)" {
		t.Error(s)
	}
	if s := (Problem{Path: "a", Message: "is bad"}).String(); s != "a: is bad" {
		t.Error(s)
	}
}

func TestCheckParameters(t *testing.T) {
	problems := CheckParameters(good(), func(driver string, parameters map[string]string) error {
		if driver == "postgres" && parameters["role"] == "" {
			return errors.New("role is missing")
		}
		return nil
	})
	if len(problems) != 1 || problems[0].Path != "resources.orders-db.roles.write.parameters" || problems[0].Message != "role is missing" {
		t.Errorf("%v", problems)
	}
}

func TestMatch(t *testing.T) {
	p := compile(t)
	for _, c := range []struct {
		person, resource, role string
		rule                   string
		code                   Code
		hint                   string
	}{
		{"bob", "orders-db", "read", "dba", "", ""},      // by group; the first rule that matches
		{"carol", "orders-db", "write", "dba", "", ""},   // glob over all roles
		{"alice", "orders-db", "read", "read", "", ""},   // globs in all three
		{"alice", "web-1", "shell", "web", "", ""},       // by team
		{"alice", "orders-db", "write", "", NoRule, ""},  // default deny
		{"carol", "web-1", "shell", "", NoRule, ""},      // not in the team
		{"bob", "web-1", "shell", "web", "", ""},         // a group's rule for *-db does not reach here
		{"zoe", "web-1", "shell", "", UnknownPerson, ""}, // never by a glob
		{"", "web-1", "shell", "", UnknownPerson, ""},
		{"box", "orders-db", "read", "", UnknownPerson, ""}, // a reconciler asks for nothing
		{"alice", "order-db", "read", "", UnknownResource, "did you mean orders-db?"},
		{"alice", "*-db", "read", "", UnknownResource, "orders-db"},
		{"alice", "orders-db", "reed", "", UnknownRole, "did you mean read?"},
		{"alice", "orders-db", "*", "", UnknownRole, "known are read, write"},
		{"alice", "orders-db", "Read", "", UnknownRole, "did you mean read?"},
	} {
		m, err := p.Match(c.person, c.resource, c.role, day)
		if CodeOf(err) != c.code || (err == nil) != (c.code == "") {
			t.Errorf("%s %s:%s: %v, want %q", c.person, c.resource, c.role, err, c.code)
			continue
		}
		if err == nil && m.Rule.Name != c.rule {
			t.Errorf("%s %s:%s: rule %q, want %q", c.person, c.resource, c.role, m.Rule.Name, c.rule)
		}
		var r *Refusal
		if errors.As(err, &r) && !strings.Contains(r.Hint, c.hint) {
			t.Errorf("%s %s:%s: hint %q, want %q", c.person, c.resource, c.role, r.Hint, c.hint)
		}
	}
}

// TestNamesThatLookAlike wants that a name with letters that only look like ASCII is
// told with their numbers, and never in words that one could type again.
func TestNamesThatLookAlike(t *testing.T) {
	p := compile(t)
	for name, err := range map[string]error{
		"resource": second(p.Role("orders-db\u0430", "read")),
		"role":     second(p.Role("orders-db", "re\u0430d")),
		"person":   second(p.Match("\u0430lice", "orders-db", "read", day)),
	} {
		var r *Refusal
		if !errors.As(err, &r) || !strings.Contains(r.Message, `\u0430`) || strings.Contains(r.Message+r.Hint, "\u0430") {
			t.Errorf("%s: %v, with the hint %q; the letter that is not ASCII is not marked", name, err, r.Hint)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestMeaning(t *testing.T) {
	p := compile(t)
	m, err := p.Meaning("alice", "orders-db", "read")
	if err != nil || m.Driver != "postgres" || m.Account != "al" || m.Parameters["role"] != "r" {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := p.Meaning("alice", "web-1", "shell"); err != nil || m.Account != "alice" {
		t.Errorf("an account of another driver: %+v, %v", m, err)
	}
}

func TestBasis(t *testing.T) {
	match := func(change ...func(*Body)) Basis {
		m, err := compile(t, change...).Match("alice", "orders-db", "read", day)
		if err != nil {
			t.Fatal(err)
		}
		return m.Basis
	}
	was := match()
	if was != match() || was.Rule == "" || was.Meaning == "" || was.Rule == was.Meaning {
		t.Fatalf("basis %+v", was)
	}
	role := func(change func(*Role)) func(*Body) {
		return func(b *Body) {
			r := b.Resources["orders-db"].Roles["read"]
			change(&r)
			b.Resources["orders-db"].Roles["read"] = r
		}
	}
	for name, c := range map[string]struct {
		change        func(*Body)
		rule, meaning bool
	}{
		"the longest window":    {func(b *Body) { b.Rules[1].MaxDuration = hours(5) }, true, false},
		"how many":              {func(b *Body) { b.Rules[1].Stages[0].Count = 2 }, true, false},
		"who":                   {func(b *Body) { b.Rules[1].Stages[0].Approvers = []string{"carol"} }, true, false},
		"how long it waits":     {func(b *Body) { b.Rules[1].Pending = hours(1) }, true, false},
		"a ticket":              {func(b *Body) { b.Rules[1].Requires.Ticket = ".*" }, true, false},
		"another rule before":   {func(b *Body) { b.Rules[0].Requesters = []string{"*"} }, true, false},
		"a parameter":           {role(func(r *Role) { r.Parameters = map[string]string{"role": "w"} }), false, true},
		"a parameter more":      {role(func(r *Role) { r.Parameters = map[string]string{"role": "r", "x": ""} }), false, true},
		"the driver":            {func(b *Body) { r := b.Resources["orders-db"]; r.Driver = "mysql"; b.Resources["orders-db"] = r }, false, true},
		"the account":           {person("alice", func(p *Person) { p.Accounts = map[string]string{"postgres": "root"} }), false, true},
		"the words for it":      {role(func(r *Role) { r.Description, r.Usage = "x", "y" }), false, false},
		"no parameters, said":   {role(func(r *Role) { r.Parameters = map[string]string{} }), false, true},
		"somebody else":         {func(b *Body) { b.People["zoe"] = Person{Keys: []record.Fingerprint{key(40)}} }, false, false},
		"who is in the group":   {func(b *Body) { b.Groups["dba"] = []string{"carol"} }, false, false},
		"another rule after":    {func(b *Body) { b.Rules = b.Rules[:2] }, false, false},
		"a key of theirs":       {person("alice", func(p *Person) { p.Keys[0] = key(41) }), false, false},
		"another driver's name": {person("alice", func(p *Person) { p.Accounts["mysql"] = "x" }), false, false},
	} {
		is := match(c.change)
		if (is.Rule != was.Rule) != c.rule || (is.Meaning != was.Meaning) != c.meaning {
			t.Errorf("%s: rule changed %t, meaning changed %t", name, is.Rule != was.Rule, is.Meaning != was.Meaning)
		}
	}
}

// A policy that is written again by a program means what it meant.
func TestEmptyIsAbsent(t *testing.T) {
	basis := func(stages []Stage, parameters map[string]string) Basis {
		m, err := compile(t, func(b *Body) {
			b.Rules[0].Stages = stages
			b.Resources["orders-db"].Roles["write"] = Role{Parameters: parameters}
		}).Match("bob", "orders-db", "write", day)
		if err != nil {
			t.Fatal(err)
		}
		return m.Basis
	}
	if a, b := basis(nil, nil), basis([]Stage{}, map[string]string{}); a != b {
		t.Errorf("%v, %v", a, b)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"orders-db", "orders-cache", "web-1", "web-2", "web-3", "web-4", "x"}
	for name, want := range map[string][]string{
		"order-db": {"orders-db"}, "orders": {"orders-db", "orders-cache"}, "web": {"web-1", "web-2", "web-3"}, "wbe-1": {"web-1"},
		"web-12": {"web-1", "web-2", "web-3"}, "zzzzzz": nil, "": {"x"}, "y": {"x"}, strings.Repeat("x", 200): nil,
	} {
		if got := Nearest(name, known); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	if h := nearest("a", nil); h != "there are none yet" {
		t.Error(h)
	}
	if h := nearest("qqqqqq", []string{"a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9", "b1"}); !strings.HasSuffix(h, "a8 and 2 more") {
		t.Error(h)
	}
}

func TestCheckTexts(t *testing.T) {
	p := compile(t, func(b *Body) { b.Rules[1].Requires = Requires{Reason: "fix|look.*", Ticket: "[A-Z]+-[0-9]+"} })
	m, err := p.Match("alice", "orders-db", "read", day)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason, ticket string
		want           Code
	}{
		{"fix", "OPS-1", ""}, {"look here", "OPS-1", ""}, {" ", "OPS-1", ReasonMissing}, {"fix it", "OPS-1", ReasonPattern},
		{"a fix", "OPS-1", ReasonPattern}, {"fix", "", TicketPattern}, {"fix", "OPS-1 ", TicketPattern}, {"fix\n", "OPS-1", ReasonPattern},
		{"fix", "evil\nOPS-1", TicketPattern},
	} {
		err := m.CheckTexts(c.reason, c.ticket)
		if CodeOf(err) != c.want || (err == nil) != (c.want == "") {
			t.Errorf("%q, %q: %v, want %q", c.reason, c.ticket, err, c.want)
		}
		var r *Refusal
		if errors.As(err, &r) && r.Rule != "read" {
			t.Errorf("rule %q", r.Rule)
		}
	}
	if m, _ := p.Match("bob", "orders-db", "read", day); m.CheckTexts("x", "") != nil {
		t.Error("a rule without patterns asks for more than a reason")
	}
}

func TestPendingFor(t *testing.T) {
	p := compile(t, func(b *Body) { b.Rules[0].Pending = hours(3) })
	if m, _ := p.Match("bob", "orders-db", "read", day); m.PendingFor() != 3*time.Hour {
		t.Error(m.PendingFor())
	}
	if m, _ := p.Match("alice", "orders-db", "read", day); m.PendingFor() != DefaultPending {
		t.Error(m.PendingFor())
	}
}

func TestPrincipals(t *testing.T) {
	p := compile(t)
	for list, want := range map[string]string{
		"*": "alice bob carol", "a*": "alice", "*o*": "bob carol", "bob": "bob", "group:dba": "bob carol", "team:web": "alice bob",
		"team:ops": "bob", "carol,team:ops": "bob carol", "group:*": "", "team:*": "", "group:bob": "", "zoe": "", "box": "",
	} {
		if got := strings.Join(p.Members(strings.Split(list, ","), Concern{}), " "); got != want {
			t.Errorf("%s: %q, want %q", list, got, want)
		}
	}
	s := Stage{Approvers: []string{"group:dba"}, Count: 1}
	if got := p.Eligible(&Rule{}, s.Approvers, Concern{Requester: "bob"}); !slices.Equal(got, []string{"carol"}) {
		t.Errorf("%q", got)
	}
	if p.MayApprove(&Rule{}, s.Approvers, "bob", Concern{Requester: "bob"}) || !p.MayApprove(&Rule{}, s.Approvers, "carol", Concern{Requester: "bob"}) || p.MayApprove(&Rule{}, s.Approvers, "alice", Concern{Requester: "bob"}) || p.MayApprove(&Rule{}, s.Approvers, "zoe", Concern{Requester: "bob"}) {
		t.Error("who may approve")
	}
	if p.Is("zoe", []string{"*"}, Concern{}) {
		t.Error("a stranger is everyone")
	}
}

func TestAsked(t *testing.T) {
	p := compile(t)
	if who, ok := p.OwnerOf(key(12)); !ok || who != "bob" {
		t.Errorf("%q, %t", who, ok)
	}
	if who, ok := p.OwnerOf(key(9)); !ok || who != "box" {
		t.Errorf("%q, %t", who, ok)
	}
	if who, ok := p.OwnerOf(key(99)); ok || who != "" {
		t.Errorf("%q, %t", who, ok)
	}
	if !p.IsAdmin("alice") || p.IsAdmin("carol") || p.IsAdmin("") {
		t.Error("admins")
	}
	if !p.Reconciles("box", "orders-db") || p.Reconciles("box", "web-1") || p.Reconciles("bob", "orders-db") {
		t.Error("reconcilers")
	}
	if _, ok := p.Reconciler("box"); !ok || !slices.Equal(p.Resources(), []string{"orders-db", "web-1"}) {
		t.Error("resources")
	}
	people := p.People()
	people[0] = "mallory"
	if !slices.Equal(p.People(), []string{"alice", "bob", "carol"}) {
		t.Errorf("people can be changed from outside: %q", p.People())
	}
}

func TestHistory(t *testing.T) {
	var none History
	if none.At(5) != nil || none.Latest() != nil || none.After(0) != nil {
		t.Error("an empty history has a policy")
	}
	a, b := compile(t), compile(t)
	h := History{{Policy: a, Position: 3}, {Policy: b, Position: 7}}
	for position, want := range map[int]*Policy{0: nil, 2: nil, 3: a, 6: a, 7: b, 100: b} {
		if h.At(position) != want {
			t.Errorf("position %d", position)
		}
	}
	for position, want := range map[int]int{0: 2, 2: 2, 3: 1, 6: 1, 7: 0} {
		if got := len(h.After(position)); got != want {
			t.Errorf("after %d: %d, want %d", position, got, want)
		}
	}
	if h.Latest() != b {
		t.Error("latest")
	}
}

func TestCodeOf(t *testing.T) {
	if CodeOf(nil) != "" || CodeOf(errors.New("x")) != "" || CodeOf(fmt.Errorf("x: %w", &Refusal{Code: NoRule})) != NoRule {
		t.Error("codes")
	}
}

func BenchmarkMatch(b *testing.B) {
	p := compile(b)
	for b.Loop() {
		if _, err := p.Match("alice", "orders-db", "read", day); err != nil {
			b.Fatal(err)
		}
	}
}

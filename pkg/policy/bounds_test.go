package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/record"
)

// giant is more than any list, map or text may have, these ten times as much.
const giant = 2500

// giants gives v once for each text, list and map in it, with something enormous in
// its place.
func giants(v reflect.Value, path string, each func(path string)) {
	switch v.Kind() {
	case reflect.Pointer:
		giants(v.Elem(), path, each)
	case reflect.Struct:
		for f, x := range v.Fields() {
			if key, _ := keyOf(f); x.CanSet() && key != "" {
				giants(x, strings.TrimPrefix(path+"."+key, "."), each)
			}
		}
	case reflect.String:
		had := v.String()
		v.SetString(strings.Repeat("a", 10*giant))
		each(path)
		v.SetString(had)
	case reflect.Slice:
		had := reflect.ValueOf(v.Interface())
		if had.Len() == 0 {
			return
		}
		long := reflect.MakeSlice(v.Type(), giant, giant)
		for i := range long.Len() {
			long.Index(i).Set(had.Index(0))
		}
		v.Set(long)
		each(path)
		v.Set(had)
		giants(v.Index(0), path+"[0]", each)
	case reflect.Map:
		had := reflect.ValueOf(v.Interface())
		x := reflect.New(v.Type().Elem()).Elem()
		x.Set(had.MapIndex(reflect.ValueOf("x")))
		wide := reflect.MakeMap(v.Type())
		for i := range giant {
			wide.SetMapIndex(reflect.ValueOf(fmt.Sprintf("x%d", i)), x)
		}
		v.Set(wide)
		each(path)
		v.Set(had)
		giants(x, path+".x", func(path string) {
			v.SetMapIndex(reflect.ValueOf("x"), x)
			each(path)
		})
		v.SetMapIndex(reflect.ValueOf("x"), x)
	}
}

// TestEverythingHasABound puts something enormous into each text, list and map of the
// document, so that none is left without a bound because nobody thought of it.
func TestEverythingHasABound(t *testing.T) {
	// These are what a policy is for: as many as the file has room for. What is gone
	// through for a request is bounded apart: see TestReading.
	free := []string{"people", "groups", "groups.x", "teams", "rosters", "reconcilers", "resources", "rules", "reconcilers.x.resources"}
	bound := map[string]bool{}
	for _, change := range []func(r *Rule){
		// Where a field is of no use beside another, it is not looked at.
		func(r *Rule) { r.Requires.Inputs["x"] = Input{Type: InputText, Pattern: "x"} },
		func(r *Rule) { r.Requires.Inputs["x"] = Input{Type: InputChoice, Choices: []string{"x"}} },
		func(r *Rule) { r.Stages = []Stage{{Approvers: []string{"x"}, Count: 1}} },
		func(*Rule) {},
	} {
		b := &Body{}
		setAll(reflect.ValueOf(b).Elem())
		change(&b.Rules[0])
		before := Check(b)
		giants(reflect.ValueOf(b).Elem(), "", func(path string) {
			bound[path] = bound[path] || slices.Contains(free, path) || slices.ContainsFunc(Check(b), func(p Problem) bool {
				return strings.HasPrefix(p.Path, path) && !slices.Contains(before, p)
			})
		})
	}
	for path, is := range bound {
		if !is {
			t.Errorf("%s has no bound", path)
		}
	}
	if len(bound) < 90 {
		t.Errorf("only %d texts, lists and maps were found: the search is broken", len(bound))
	}
}

// ruled gives a policy with rules of which each is for a role of its own.
func ruled(n int, change func(i int, r *Rule)) *Body {
	b := good()
	res := b.Resources["web-1"]
	res.Roles = map[string]Role{}
	for i := range n {
		role := fmt.Sprintf("role-%d", i)
		res.Roles[role] = Role{}
		r := Rule{Name: fmt.Sprintf("r%d", i), Resources: []string{"web-1"}, Roles: []string{role}, Requesters: []string{"*"}, Approve: ApproveAuto, MaxDuration: hours(1)}
		change(i, &r)
		b.Rules = append(b.Rules, r)
	}
	b.Resources["web-1"] = res
	return b
}

// costly is a policy whose patterns are as costly as they may be, for each of as many
// rules as a request can have.
func costly() *Body {
	return ruled(MaxBundle, func(i int, r *Rule) {
		r.Requires.Reason = fmt.Sprintf("(?:.*a){9}%02d", i)
		r.Requires.Ticket = fmt.Sprintf("(?:.*a){8}%02d", i)
	})
}

func TestMatching(t *testing.T) {
	inputs := func(pattern string) map[string]Input {
		m := map[string]Input{}
		for i := range MaxInputs {
			m[fmt.Sprintf("n%d", i)] = Input{Type: InputText, Pattern: fmt.Sprintf(pattern, i)}
		}
		return m
	}
	for name, c := range map[string]struct {
		body *Body
		at   string // of the only problem, or none
	}{
		"as costly as may be":        {costly(), ""},
		"one long reason":            {ruled(1, func(_ int, r *Rule) { r.Requires.Reason = ".{20,1000}" }), ""},
		"the same for many":          {ruled(200, func(_ int, r *Rule) { r.Requires = Requires{Reason: ".{20,500}", Ticket: ".{20,500}"} }), ""},
		"many that no request meets": {ruled(1000, func(i int, r *Rule) { r.Requires.Reason = fmt.Sprintf("OPS-%d: .+", i) }), ""},
		"small inputs":               {ruled(20, func(int, *Rule) {}), ""},
		"reasons":                    {ruled(20, func(i int, r *Rule) { r.Requires.Reason = fmt.Sprintf(".{20,1%02d}", 20-i) }), "rules[3].requires.reason"},
		"tickets":                    {ruled(2, func(i int, r *Rule) { r.Requires.Ticket = fmt.Sprintf(".{%d,1000}", i) }), "rules[3].requires.ticket"},
		"inputs":                     {ruled(20, func(i int, r *Rule) { r.Requires.Inputs = inputs(fmt.Sprintf("[a-c%d]{40}%%d", i)) }), "rules[10].requires.inputs.n10.pattern"},
	} {
		problems := Check(c.body)
		if c.at == "" && len(problems) > 0 || c.at != "" && (len(problems) != 1 || problems[0].Code != ProblemCostly || problems[0].Hint == "") {
			t.Errorf("%s: %v", name, problems[:min(3, len(problems))])
		} else if c.at != "" && problems[0].Path != c.at {
			t.Errorf("%s: at %s, want %s", name, problems[0].Path, c.at)
		}
	}
}

// TestLooksOnce counts what patterns look at, for a request that asks for all that
// twenty rules have, twice.
func TestLooksOnce(t *testing.T) {
	p := compiled(t, costly())
	var l Looked
	reason, ticket := strings.Repeat("a", MaxReason), strings.Repeat("a", MaxReason)
	for range 2 {
		for i := range MaxBundle {
			m, err := p.Match("alice", "web-1", fmt.Sprintf("role-%d", i), day)
			if err != nil {
				t.Fatal(err)
			}
			if m = m.By(&l); CodeOf(m.CheckReason(reason)) != ReasonPattern || CodeOf(m.CheckTicket(ticket)) != TicketPattern {
				t.Fatal("the texts fit")
			}
		}
	}
	if want := 2 * MaxBundle * MaxReason; l.characters != want {
		t.Errorf("%d characters were looked at, want %d", l.characters, want)
	}
	// An input is looked at for the rule and again for its conditions.
	b := ruled(1, func(_ int, r *Rule) {
		r.Requires.Inputs = map[string]Input{"x": {Type: InputText, Pattern: "a+"}}
		r.Conditions = []Condition{{Expr: "true", Message: "m"}}
	})
	m, err := compiled(t, b).Match("alice", "web-1", "role-0", day)
	if err != nil {
		t.Fatal(err)
	}
	l = Looked{}
	values := map[string]string{"x": "aaa"}
	for range MaxBundle {
		if m = m.By(&l); m.CheckInputs(values) != nil || m.CheckConditions(Scene{Requester: "alice", Resource: "web-1", Role: "role-0", At: day, Inputs: values}) != nil {
			t.Fatal("they do not fit")
		}
	}
	if l.characters != 3 {
		t.Errorf("%d characters were looked at, want 3", l.characters)
	}
}

func compiled(t testing.TB, b *Body) *Policy {
	t.Helper()
	p, err := Compile(Document{Body: *b}, record.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestReading bounds what is gone through to find a rule, and those who approve.
func TestReading(t *testing.T) {
	roster := func(shifts int) []Shift {
		var all []Shift
		for i := range shifts {
			from := day.Add(time.Duration(i) * time.Hour)
			all = append(all, Shift{From: record.At(from), Until: record.At(from.Add(time.Hour)), People: []string{"alice"}})
		}
		return all
	}
	names := func(n int) []string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf("x%d-*", i))
		}
		return all
	}
	onDuty := func(rules int) *Body {
		b := ruled(rules, func(_ int, r *Rule) { r.Requesters = []string{"roster:duty"} })
		b.Rosters = map[string][]Shift{"duty": roster(1000)}
		return b
	}
	for name, c := range map[string]struct {
		body *Body
		text string // of the only problem, or none
	}{
		"a roster of many shifts": {onDuty(25), ""},
		"in many rules":           {onDuty(35), "more than 60000 names, globs and shifts would be read"},
		"long lists":              {ruled(50, func(_ int, r *Rule) { r.Requesters = names(MaxListed) }), ""},
		"many long lists":         {ruled(61, func(_ int, r *Rule) { r.Requesters = names(MaxListed) }), "more than 60000 names, globs and shifts would be read"},
		"approvers by many globs": {func() *Body {
			b := bigBody(8, 1000)
			b.Rules[7].Stages[0].Approvers = names(200)
			return b
		}(), "to find its approvers"},
	} {
		problems := Check(c.body)
		if c.text == "" && len(problems) > 0 || c.text != "" && (len(problems) != 1 || problems[0].Code != ProblemTooMany || !strings.Contains(problems[0].Message, c.text) || problems[0].Hint == "") {
			t.Errorf("%s: %v", name, problems[:min(3, len(problems))])
		}
	}
}

// TestMatchGlob has globs that take long where each star is tried at every place.
func TestMatchGlob(t *testing.T) {
	for _, c := range []struct {
		glob, name string
		want       bool
	}{
		{"*", "", true}, {"*", "db", true}, {"**", "db", true}, {"db", "db", true}, {"db", "db-1", false}, {"db-*", "db-1", true}, {"*-db", "a-db", true},
		{"a*a", "a", false}, {"a*a", "aa", true}, {"*a*", "bab", true}, {"*ab*b", "ab", false}, {"*ab*b", "abb", true}, {"a*b*c", "a-c-b-c", true},
		{strings.Repeat("*a", 60) + "*b", strings.Repeat("a", 63), false}, {strings.Repeat("*a", 60) + "*b", strings.Repeat("a", 62) + "b", true},
	} {
		if got := matchGlob(c.glob, c.name); got != c.want {
			t.Errorf("%q and %q: %v", c.glob, c.name, got)
		}
	}
}

// BenchmarkWorstTexts judges the texts of a request by twenty rules with patterns as
// costly as they may be: see maxMatching.
func BenchmarkWorstTexts(b *testing.B) {
	p := compiled(b, costly())
	text := strings.Repeat("a", MaxReason)
	for b.Loop() {
		var l Looked
		for i := range MaxBundle {
			m, err := p.Match("alice", "web-1", fmt.Sprintf("role-%d", i), day)
			if err != nil {
				b.Fatal(err)
			}
			m = m.By(&l)
			if m.CheckReason(text) == nil || m.CheckTicket(text) == nil {
				b.Fatal("it fits")
			}
		}
	}
}

// BenchmarkWorstReading finds the rule of an entitlement where all is as long as it
// may be.
func BenchmarkWorstReading(b *testing.B) {
	bodies := map[string]*Body{
		"globs": ruled(9, func(i int, r *Rule) {
			r.Requesters = nil
			for j := range MaxListed {
				r.Requesters = append(r.Requesters, fmt.Sprintf("%s*%d-%d", strings.Repeat("*a", 20), i, j))
			}
			r.Roles = []string{"*"}
		}),
		"many": ruled(2, func(_ int, r *Rule) { r.Requesters = []string{"bob"} }),
	}
	for i := range 8000 {
		r := bodies["many"].Rules[4]
		r.Name = fmt.Sprintf("x%d", i)
		bodies["many"].Rules = append(bodies["many"].Rules, r)
	}
	for name, body := range bodies {
		b.Run(name, func(b *testing.B) {
			p := compiled(b, body)
			for b.Loop() {
				if _, err := p.Match("alice", "web-1", "role-1", day); CodeOf(err) != NoRule {
					b.Fatal(err)
				}
			}
		})
	}
}

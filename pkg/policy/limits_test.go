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

// TestDenyHasNoTerms sets each field of a rule that denies, so that none is left
// unchecked because nobody looks at it.
func TestDenyHasNoTerms(t *testing.T) {
	has := []string{"Name", "Resources", "Roles", "Labels", "Requesters", "Approve", "Message"}
	for f := range reflect.TypeFor[Rule]().Fields() {
		b := good()
		b.Rules = append(b.Rules, Rule{Name: "no", Resources: []string{"*"}, Roles: []string{"*"}, Requesters: []string{"*"}, Approve: ApproveDeny, Message: "no"})
		if problems := Check(b); len(problems) > 0 {
			t.Fatal(problems)
		}
		if slices.Contains(has, f.Name) {
			continue
		}
		setAll(reflect.ValueOf(&b.Rules[len(b.Rules)-1]).Elem().FieldByName(f.Name))
		key, _ := keyOf(f)
		problems := Check(b)
		if len(problems) != 1 || problems[0].Code != ProblemDeny || !strings.Contains(problems[0].Hint, key) {
			t.Errorf("%s: %v", f.Name, problems)
		}
	}
	// Nothing of what it may not have is compiled: this pattern would take a gigabyte.
	b := good()
	b.Rules = append(b.Rules, Rule{Name: "no", Resources: []string{"*"}, Roles: []string{"*"}, Requesters: []string{"*"}, Approve: ApproveDeny, Message: "no",
		Requires: Requires{Reason: "(?:" + strings.Repeat("ab", 1500) + "){1000}"}})
	if c := check(b); len(c.problems) != 1 || c.patterns[b.Rules[len(b.Rules)-1].Requires.Reason].Regexp != nil {
		t.Error(c.problems)
	}
}

// setAll fills v with something that is not empty.
func setAll(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		setAll(v.Elem())
	case reflect.Struct:
		for _, x := range v.Fields() {
			if x.CanSet() {
				setAll(x)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		setAll(v.Index(0))
	case reflect.Map:
		x := reflect.New(v.Type().Elem()).Elem()
		setAll(x)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("x"), x)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	}
}

// empties gives v twice for each list and map in it: with none in its place, and with
// an empty one.
func empties(v reflect.Value, path string, each func(path string)) {
	switch v.Kind() {
	case reflect.Pointer:
		empties(v.Elem(), path, each)
	case reflect.Struct:
		for f, x := range v.Fields() {
			empties(x, path+"."+f.Name, each)
		}
	case reflect.Slice:
		had := reflect.ValueOf(v.Interface())
		v.Set(reflect.Zero(v.Type()))
		each(path + " none")
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		each(path + " empty")
		v.Set(had)
		empties(v.Index(0), path, each)
	case reflect.Map:
		had := reflect.ValueOf(v.Interface())
		v.Set(reflect.Zero(v.Type()))
		each(path + " none")
		v.Set(reflect.MakeMap(v.Type()))
		each(path + " empty")
		v.Set(had)
		x := reflect.New(v.Type().Elem()).Elem()
		x.Set(v.MapIndex(reflect.ValueOf("x")))
		empties(x, path, func(path string) {
			v.SetMapIndex(reflect.ValueOf("x"), x)
			each(path)
		})
		v.SetMapIndex(reflect.ValueOf("x"), x)
	}
}

// TestDigestOfEmpty shows that an empty list, wherever it stands in a rule or a
// schedule, is none, and that one which is not empty is something else.
func TestDigestOfEmpty(t *testing.T) {
	for _, x := range []any{&Rule{}, &Schedule{}, &Meaning{}} {
		v := reflect.ValueOf(x).Elem()
		setAll(v)
		full, n := digestOf(x), 0
		var none record.Digest
		empties(v, "", func(path string) {
			n++
			switch d := digestOf(x); {
			case d == full:
				t.Errorf("%T%s: the same digest as with an entry", x, path)
			case strings.HasSuffix(path, " none"):
				none = d
			case d != none:
				t.Errorf("%T%s: another digest than where it is left out", x, path)
			}
		})
		if n == 0 || digestOf(x) != full {
			t.Errorf("%T: %d lists", x, n)
		}
	}
}

// TestWorkOfAPolicy bounds what the patterns and the conditions of a policy take
// together.
func TestWorkOfAPolicy(t *testing.T) {
	rules := func(n int, change func(i int, r *Rule)) *Body {
		b := good()
		for i := range n {
			r := Rule{Name: fmt.Sprintf("r%d", i), Resources: []string{"*"}, Roles: []string{"*"}, Requesters: []string{"*"}, Approve: ApproveAuto, MaxDuration: hours(1)}
			change(i, &r)
			b.Rules = append(b.Rules, r)
		}
		return b
	}
	for name, c := range map[string]struct {
		body *Body
		text string // of the only problem, or none
	}{
		"a pattern for each of a thousand rules": {rules(1000, func(i int, r *Rule) {
			r.Requires = Requires{Reason: fmt.Sprintf("[A-Z][a-z ]+ %d (for|because of) .+", i), Ticket: fmt.Sprintf("OPS-%d-[0-9]{1,6}", i)}
		}), ""},
		"the same large pattern everywhere": {rules(1000, func(_ int, r *Rule) { r.Requires = Requires{Reason: ".{500}", Ticket: ".{500}"} }), ""},
		"large patterns": {rules(300, func(i int, r *Rule) {
			r.Requires = Requires{Reason: fmt.Sprintf(".{1000}.{1000}%d", i), Ticket: fmt.Sprintf(".{1000}.{1000}x%d", i)}
		}), "patterns of the policy are too much"},
		"long patterns": {rules(300, func(i int, r *Rule) { r.Requires.Reason = fmt.Sprint(strings.Repeat("a", 990), i) }), "patterns of the policy are too much"},
		"large patterns of inputs": {rules(300, func(i int, r *Rule) {
			r.Requires.Inputs = map[string]Input{"x": {Type: InputText, Pattern: fmt.Sprintf(".{1000}.{1000}%d", i)}}
		}), "patterns of the policy are too much"},
		"large patterns in conditions": {rules(300, func(i int, r *Rule) {
			r.Conditions = []Condition{{Expr: fmt.Sprintf("role.matches('.{1000}.{1000}%d')", i), Message: "m"}}
		}), "patterns of the policy are too much"},
		"classes of Unicode":     {rules(20, func(i int, r *Rule) { r.Requires.Reason = fmt.Sprint("[", strings.Repeat(`\pL\PL`, 100), "]", i) }), "patterns of the policy are too much"},
		"spans that ignore case": {rules(1, func(_ int, r *Rule) { r.Requires.Reason = "(?i)[" + strings.Repeat(`B-\x{10FFFF}`, 70) + "]" }), "patterns of the policy are too much"},
		"spans that ignore case, by flag": {rules(1, func(_ int, r *Rule) {
			r.Requires.Reason = "(?sU-m)(?si-U:[" + strings.Repeat("B-\U0010FFFF", 70) + "])"
		}), "patterns of the policy are too much"},
		"a span that ignores case": {rules(1, func(_ int, r *Rule) { r.Requires.Reason = "(?i)[a-z\u00e0-\u00ff]+" }), ""},
		"conditions": {rules(250, func(i int, r *Rule) {
			r.Conditions = []Condition{{Expr: fmt.Sprint(strings.Repeat(" ", 900), i, " == 1"), Message: "m"}}
		}), "conditions of the policy are too much"},
		"conditions of many calls": {rules(600, func(i int, r *Rule) {
			r.Conditions = []Condition{{Expr: strings.Repeat("(", 20) + fmt.Sprint(i) + strings.Repeat(")", 20) + " == 1", Message: "m"}}
		}), "conditions of the policy are too much"},
		"conditions over other inputs": {rules(2000, func(i int, r *Rule) {
			r.Requires.Inputs = map[string]Input{fmt.Sprintf("x%d", i): {Type: InputNumber}}
			r.Conditions = []Condition{{Expr: "true", Message: "m"}}
		}), "conditions of the policy are too much"},
		"schedules": {func() *Body {
			b := good()
			b.Schedules = map[string]Schedule{}
			for i := range MaxSchedules + 1 {
				b.Schedules[fmt.Sprintf("s%d", i)] = Schedule{Zone: "UTC"}
			}
			return b
		}(), "1001 schedules"},
		"admins": {func() *Body {
			b := good()
			b.Admins.People = make([]string, MaxAdmins+1)
			return b
		}(), "101 admins"},
	} {
		problems := Check(c.body)
		if c.text == "" && len(problems) > 0 || c.text != "" && (len(problems) != 1 || problems[0].Code != ProblemTooMany || !strings.Contains(problems[0].Message, c.text) || problems[0].Hint == "") {
			t.Errorf("%s: %v", name, problems[:min(3, len(problems))])
		}
	}
}

// worstBodies are policies that can be used, each at the limit of something.
func worstBodies() map[string]*Body {
	rule := func(i int) Rule {
		return Rule{Name: fmt.Sprintf("r%d", i), Resources: []string{"*"}, Roles: []string{"*"}, Requesters: []string{"*"}, Approve: ApproveAuto, MaxDuration: hours(1)}
	}
	some := func(n int, change func(i int, r *Rule)) *Body {
		b := good()
		for i := range n {
			r := rule(i)
			change(i, &r)
			b.Rules = append(b.Rules, r)
		}
		return b
	}
	frozen := func(schedules, freezes int, hours ...string) *Body {
		b := good()
		b.Schedules = map[string]Schedule{}
		for i := range schedules {
			s := Schedule{Zone: "America/Argentina/Buenos_Aires", Hours: hours}
			for j := range freezes {
				d := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, 2*j).Format(time.DateOnly)
				s.Freeze = append(s.Freeze, Freeze{From: d, Until: d})
			}
			b.Schedules[fmt.Sprintf("s%d", i)] = s
		}
		for i := range 8000 {
			r := rule(i)
			r.AskDuring, r.UseDuring = fmt.Sprintf("s%d", i%schedules), fmt.Sprintf("s%d", (i+1)%schedules)
			b.Rules = append(b.Rules, r)
		}
		return b
	}
	// A condition bounds for itself what it matches.
	matching := func(pattern string) func(i int, r *Rule) {
		return func(i int, r *Rule) {
			r.Conditions = []Condition{{Expr: fmt.Sprintf("role.matches('"+pattern+"')", i), Message: "m"}}
		}
	}
	nest := "true"
	for range 8 {
		nest = "recent.exists(a, " + nest + ")"
	}
	return map[string]*Body{
		"patterns of many steps":   some(38, matching("(?:a|b){990}%d")),
		"patterns of many letters": some(95, matching(strings.Repeat("ab", 480)+"%d")),
		"classes of Unicode":       some(9, func(i int, r *Rule) { r.Requires.Reason = fmt.Sprint("[", strings.Repeat(`\pL\PL`, 10), "]", i) }),
		"spans that ignore case":   some(4, func(i int, r *Rule) { r.Requires.Reason = fmt.Sprintf(`(?i)[B-\x{10FFFF}]%d`, i) }),
		"conditions in conditions": some(550, func(i int, r *Rule) {
			r.Conditions = []Condition{{Expr: fmt.Sprintf("%s || %d == 1", nest, i), Message: "m"}}
		}),
		"conditions of many values": some(190, func(i int, r *Rule) {
			r.Conditions = []Condition{{Expr: fmt.Sprintf("%d in [%s1]", i, strings.Repeat("1,", 470)), Message: "m"}}
		}),
		"conditions of many calls": some(110, func(i int, r *Rule) {
			r.Conditions = []Condition{{Expr: fmt.Sprintf("%d == 1%s", i, strings.Repeat(`||now.getHours("UTC")>1`, 40)), Message: "m"}}
		}),
		"conditions of many words": some(190, func(i int, r *Rule) {
			r.Conditions = []Condition{{Expr: fmt.Sprintf("%d == 1%s", i, strings.Repeat("||role==role", 80)), Message: "m"}}
		}),
		"conditions over inputs": some(1600, func(i int, r *Rule) {
			r.Requires.Inputs = map[string]Input{fmt.Sprintf("x%d", i): {Type: InputNumber}}
			r.Conditions = []Condition{{Expr: "true", Message: "m"}}
		}),
		"schedules of many freezes": frozen(40, MaxFreezes),
		"many schedules":            frozen(MaxSchedules, 0, "00:00-12:00", "12:00-24:00"),
		"many rules":                some(8000, func(int, *Rule) {}),
	}
}

// BenchmarkCompileWorst reads, checks and compiles policies at the limits, and one of a
// large company.
func BenchmarkCompileWorst(b *testing.B) {
	bodies := worstBodies()
	bodies["company"] = bigBody(1000, 10000)
	for name, body := range bodies {
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			data, err := record.Encode(*body)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				var read Body
				if err := record.DecodeStrict(data, &read); err != nil {
					b.Fatal(err)
				}
				if _, err := Compile(Document{Body: read}, record.Sum(data)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

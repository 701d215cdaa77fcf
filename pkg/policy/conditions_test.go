package policy

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/record"
)

// asking gives the good policy with conditions and inputs for alice's rule.
func asking(t testing.TB, inputs map[string]Input, exprs ...string) Match {
	t.Helper()
	p := compile(t, func(b *Body) {
		b.Rules[1].Requires.Inputs = inputs
		b.Groups["web-ops"] = []string{"alice", "bob"}
		b.Groups["app"] = []string{"alice"}
		res := b.Resources["orders-db"]
		res.Labels = map[string]string{"sensitivity": "high", "data-class": "pii"}
		b.Resources["orders-db"] = res
		alice := b.People["alice"]
		alice.Department, alice.Manager = "retail", "bob"
		b.People["alice"] = alice
		for i, x := range exprs {
			b.Rules[1].Conditions = append(b.Rules[1].Conditions, Condition{Expr: x, Message: fmt.Sprintf("message %d", i+1)})
		}
	})
	m, err := p.Match("alice", "orders-db", "read", day)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func refusal(t testing.TB, err error) *Refusal {
	t.Helper()
	var r *Refusal
	if !errors.As(err, &r) {
		t.Fatalf("no refusal: %v", err)
	}
	return r
}

// scene is alice's request of Tuesday morning.
func scene() Scene {
	start := day.Add(2 * time.Hour)
	return Scene{
		Requester: "alice", Resource: "orders-db", Role: "read", At: day, Duration: 90 * time.Minute, Start: &start,
		Reason: "see why ORD-7 fails", Ticket: "OPS-12", Inputs: map[string]string{"rows": "100", "dry": "true", "2-env": "prod"}, Extend: true,
		Open: []Held{
			{Request: "R1", Resource: "web-1", Role: "shell", State: "active", Since: day.Add(-time.Hour), Until: day.Add(time.Hour)},
			{Request: "R2", Resource: "orders-db", Role: "write", State: "pending"},
		},
		Recent: []Held{
			{Request: "R3", Resource: "orders-db", Role: "read", State: "expired", Since: day.Add(-5 * time.Hour), Until: day.Add(-3 * time.Hour)},
			{Request: "R4", Resource: "orders-db", Role: "write", State: "denied"},
		},
	}
}

func sceneInputs() map[string]Input {
	return map[string]Input{
		"rows": {Type: InputNumber}, "dry": {Type: InputBoolean}, "2-env": {Type: InputChoice, Choices: []string{"prod", "test"}},
		"note": {Type: InputText, Optional: true},
	}
}

// TestConditionVariables asks about each variable what is true of the scene.
func TestConditionVariables(t *testing.T) {
	for _, expr := range []string{
		`request.duration == duration("90m")`,
		`request.duration <= duration("2h") && request.duration > duration("1h")`,
		`has(request.start) && request.start - now == duration("2h")`,
		`request.reason.startsWith("see") && request.reason.matches("ORD-[0-9]+")`,
		`request.ticket == "OPS-12"`,
		`!request.emergency`,
		`request.extension`,
		`requester.name == "alice"`,
		`"web" in requester.teams && size(requester.teams) == 1`,
		`requester.groups == ["app", "web-ops"]`,
		`requester.department == "retail" && requester.manager == "bob"`,
		`resource.name == "orders-db" && resource.driver == "postgres"`,
		`resource.labels.sensitivity == "high" && resource.labels["data-class"] == "pii"`,
		`"sensitivity" in resource.labels && !("team" in resource.labels) && has(resource.labels.sensitivity) && !has(resource.labels.team)`,
		`role == "read" && role in ["read", "write"]`,
		`inputs.rows + 1 == 101 && inputs.rows < 1000`,
		`inputs.dry`,
		`inputs["2-env"] == "prod" && inputs["rows"] == 100`,
		`!has(inputs.note) && !has(inputs["note"]) && has(inputs["2-env"])`,
		`now == timestamp("2026-11-24T09:00:00Z")`,
		`now.getHours() == 9 && now.getHours("Europe/Berlin") == 10 && now.getHours("+02:00") == 11`,
		`now.getDayOfWeek("Europe/Berlin") in [1, 2, 3, 4, 5]`,
		`string(now) == "2026-11-24T09:00:00Z" && string(request.start) == "2026-11-24T11:00:00Z"`,
		`size(open) == 2 && open.exists(o, o.resource == "web-1" && o.role == "shell" && o.state == "active" && o.request == "R1")`,
		`open[0].since == now - duration("1h") && open[0].until > now`,
		`open.exists(o, !has(o.since) && !has(o.until))`,
		`open.all(o, o.state in ["active", "pending"]) && open.exists_one(o, o.state == "active")`,
		`!recent.exists(r, r.role == role && has(r.until) && now - r.until < duration("3h"))`,
		`recent.filter(r, r.role == role).map(r, r.request) == ["R3"]`,
		`open[0].request != open[1].request && open[0].request in open.map(o, o.request) && !(recent[0].request in open.map(o, o.request))`,
		"request.duration\n  <= duration(\"2h\")\n  // a comment\n",
		`request.emergency ? request.duration < duration("1h") : true`,
		`size(open.filter(o, o.resource == resource.name)) + size(recent) <= 3`,
		`requester.name + "@" + requester.department == "alice@retail"`,
	} {
		if err := asking(t, sceneInputs(), expr).CheckConditions(scene()); err != nil {
			t.Errorf("%s: %v", expr, err)
		}
	}
}

// TestConditionTime shows that the answer is the same whatever zone a time was
// read in, and that what is absent is not there.
func TestConditionTime(t *testing.T) {
	m := asking(t, nil, `now.getHours() == 9 && string(now) == "2026-11-24T09:00:00Z"`, `!has(request.start)`, `open.all(o, string(o.since).endsWith("Z"))`)
	s := Scene{Requester: "alice", Resource: "orders-db", Role: "read", At: day, Open: []Held{{Since: day}}}
	for _, zone := range []*time.Location{time.UTC, time.FixedZone("east", 5*3600+1800), time.FixedZone("west", -9*3600)} {
		s.At, s.Open[0].Since = s.At.In(zone), s.Open[0].Since.In(zone)
		if err := m.CheckConditions(s); err != nil {
			t.Errorf("%s: %v", zone, err)
		}
	}
}

// TestConditionZonesAreThePrograms shows that a machine whose zones are wrong, by what
// its environment says, gives the same answers and refuses the same policies.
func TestConditionZonesAreThePrograms(t *testing.T) {
	const child = "TEST_WRONG_ZONES"
	if os.Getenv(child) == "" {
		zones := t.TempDir()
		wrong, ok := zoneFiles()["Pacific/Auckland"]
		if !ok {
			t.Fatal("there is no Pacific/Auckland")
		}
		r, err := wrong.Open()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"Europe/Berlin", "Here/Only"} {
			file := filepath.Join(zones, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, data, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		// The time package reads ZONEINFO once in a process.
		cmd := exec.Command(os.Args[0], "-test.run=^TestConditionZonesAreThePrograms$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=yes", "ZONEINFO="+zones)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("where the zones are wrong: %v\n%s", err, out)
		}
		return
	}
	if berlin, err := time.LoadLocation("Europe/Berlin"); err != nil || day.In(berlin).Hour() == 10 {
		t.Fatalf("the zones of this machine are not wrong: %v", err)
	}
	for _, expr := range []string{
		`now.getHours("Europe/Berlin") == 10 && now.getMinutes("Asia/Kathmandu") == 45 && now.getSeconds("+00:30") == 0`,
		`now.getFullYear("Pacific/Kiritimati") == 2026 && now.getMonth("Europe/Berlin") == 10 && now.getDate("Pacific/Kiritimati") == 24`,
		`now.getDayOfMonth("-12:00") == 22 && now.getDayOfYear("UTC") == 327 && now.getDayOfWeek("-12:00") == 1 && now.getMilliseconds("UTC") == 0`,
	} {
		if err := asking(t, nil, expr).CheckConditions(Scene{Requester: "alice", Resource: "orders-db", Role: "read", At: day}); err != nil {
			t.Errorf("%s: %v", expr, err)
		}
	}
	if _, err := newCompiler(&patternWork{}).compile(`now.getHours("Here/Only") == 1`, nil); err == nil {
		t.Error("a zone that only this machine has is taken")
	}
}

func TestConditionProblems(t *testing.T) {
	for name, c := range map[string]struct {
		expr, text, hint string
	}{
		"a field nobody knows":      {`request.durration < duration("1h")`, `1:8: undefined field 'durration'`, "did you mean duration?"},
		"a variable nobody knows":   {`requestr.name == "x"`, `undeclared reference to 'requestr'`, "did you mean request"},
		"a function nobody knows":   {`role.startWith("r")`, `undeclared reference to 'startWith'`, "did you mean startsWith?"},
		"a field of an item":        {`open.all(o, o.roll == "x")`, `undefined field 'roll'`, "did you mean role"},
		"an input nobody defined":   {`inputs.row < 3`, `undefined field 'row'`, "did you mean rows?"},
		"one in brackets":           {`inputs["row"] < 3`, `undefined field 'row'`, "did you mean rows?"},
		"one by a name not known":   {`inputs[role] == "x"`, `no matching overload`, ""},
		"an input of another type":  {`inputs.rows == "3"`, `no matching overload for '_==_' applied to '(int, string)'`, ""},
		"a text compared":           {`request.duration < "1h"`, `no matching overload`, ""},
		"no truth":                  {`request.duration`, `1:1: it gives duration, not true or false`, "compare it"},
		"a number":                  {`1 + 1`, `it gives int`, ""},
		"the second line":           {"role == \"x\" &&\n  rol == 1", `2:3: undeclared reference to 'rol'`, "role"},
		"no syntax":                 {`role ==`, `Syntax error`, "it can ask about request, requester,"},
		"unfinished text":           {`role == "x`, `Syntax error`, ""},
		"a bad pattern":             {`role.matches("(")`, `1:13: error parsing regexp: missing closing )`, "RE2"},
		"a large pattern":           {`role.matches("((a{30}){33}){1}((b{30}){33}){1}((c{30}){33}){1}((d{30}){33}){1}((e{30}){33}){1}")`, `1:13: the pattern has `, ""},
		"a pattern from elsewhere":  {`role.matches(request.reason)`, `1:13: a pattern must be written out`, "in quotes"},
		"a pattern put together":    {`matches(role, "a" + "b")`, `a pattern must be written out`, ""},
		"a pattern by another name": {`.matches(role, request.reason)`, `1:9: a pattern must be written out`, "in quotes"},
		"and put together":          {`.matches(role, "a" + "b")`, `a pattern must be written out`, ""},
		"and large":                 {`.matches(role, "((a{30}){33}){1}((b{30}){33}){1}((c{30}){33}){1}((d{30}){33}){1}((e{30}){33}){1}")`, `the pattern has `, ""},
		"a pattern that is chosen":  {`role.matches(request.emergency ? "a" : "b")`, `a pattern must be written out`, ""},
		"one of a list":             {`["a", "b"].all(p, role.matches(p))`, `a pattern must be written out`, ""},
		"one that is converted":     {`role.matches(string(1))`, `a pattern must be written out`, ""},
		"one of no known type":      {`role.matches([].map(a, a.b)[0])`, `a pattern must be written out`, ""},
		"a text of no known type":   {`[].map(a, a.b)[0].matches("x")`, `of no use here`, ""},
		"a zone by another name":    {`.getHours(now, request.reason) > 8`, `no matching overload`, ""},
		"objects compared":          {`open[0] == open[1]`, `1:9: objects and maps cannot be compared`, "open.exists("},
		"objects told apart":        {`resource != resource`, `objects and maps cannot be compared`, ""},
		"an object in a list":       {`open[0] in open`, `objects and maps cannot be compared`, ""},
		"lists of objects":          {`open == recent`, `objects and maps cannot be compared`, ""},
		"labels compared":           {`resource.labels == resource.labels`, `objects and maps cannot be compared`, ""},
		"objects of no known type":  {`(request.emergency ? resource : [].map(a, a.b)[0]) == [].map(a, a.b)[0]`, `a value of type dyn is of no use here`, "has(x)"},
		"lists of no known type":    {`[resource, [].map(a, a.b)[0]] == [[].map(a, a.b)[0], resource]`, `expected type`, ""},
		"objects that may be null":  {`(request.emergency ? null : resource) == (request.emergency ? null : resource)`, `of no use here`, ""},
		"a list with nothing in it": {`[null, resource] == [null, resource]`, `expected type`, ""},
		"nothing":                   {`open[0] == null`, `objects and maps cannot be compared`, ""},
		"no time":                   {`request.start == null`, `a value of type null_type is of no use here`, "has(x)"},
		"bytes":                     {`b"a" == b"a"`, `a value of type bytes is of no use here`, ""},
		"lists in lists in lists":   {"[[[[[[[[[[[1]]]]]]]]]]]" + strings.Repeat(".map(a,[[[[[[a]]]]]])", 44) + " == []", `the expression makes more than 40 lists`, "two conditions"},
		"lists that macros make":    {"[1]" + strings.Repeat(".map(a,[a])", 40) + " == []", `the expression makes more than 40 lists`, ""},
		"a control character":       {`resource.labels == "\u001b[2J" || inputs["\u001b[2J\u202e"] == "x"`, `undefined field '\x1b[2J\u202e'`, ""},
		"a bad duration":            {`request.duration < duration("1 hour")`, `invalid duration argument`, ""},
		"a bad time":                {`now < timestamp("2026-13-01T00:00:00Z")`, `invalid timestamp argument`, ""},
		"a zone nobody knows":       {`now.getHours("Europe/Berlim") > 8`, `this is no time zone`, "IANA"},
		"the machine's zone":        {`now.getHours("Local") > 8`, `this is no time zone`, ""},
		"the zone of the files":     {`now.getHours("localtime") > 8`, `this is no time zone`, ""},
		"a zone of some machines":   {`now.getHours("right/Europe/Berlin") > 8`, `this is no time zone`, ""},
		"the rules of POSIX":        {`now.getHours("posixrules") > 8`, `this is no time zone`, ""},
		"the zone of nowhere":       {`now.getHours("Factory") > 8`, `this is no time zone`, ""},
		"a zone without summer":     {`now.getHours("EST") > 8`, `this is no time zone`, ""},
		"a zone of the sea":         {`now.getHours("Etc/GMT+5") > 8`, `this is no time zone`, ""},
		"no zone":                   {`now.getHours("") > 8`, `this is no time zone`, ""},
		"an offset too large":       {`now.getHours("+25:00") > 8`, `this is no time zone`, ""},
		"a zone from elsewhere":     {`now.getHours(request.reason) > 8`, `this is no time zone`, ""},
		"a clock":                   {`now() > now`, `undeclared reference to 'now'`, ""},
		"a map":                     {`{"a": 1}["a"] == 1`, `1:1: maps and objects cannot be written`, "compare with each"},
		"a message":                 {`google.protobuf.Value{number_value: 1.0} == 1.0`, `maps and objects cannot be written`, ""},
		"going through a map":       {`resource.labels.all(k, k != "x")`, `only a list can be gone through`, "resource.labels"},
		"mixed list":                {`role in ["a", 1]`, `expected type 'string' but found 'int'`, ""},
		"joined lists":              {`(open + recent).all(o, o.role == role)`, `lists cannot be joined`, "one list after the other"},
		"lists in lists":            {`[open, recent].all(l, size(l) < 3)`, `a list of lists is not allowed`, ""},
		"doubled types":             {`[1].map(a, {a: a}).map(b, {b: b}).map(c, {c: c}).map(d, {d: d}) == []`, `maps and objects cannot be written`, ""},
		"dyn":                       {`dyn(role) == 1`, `undeclared reference to 'dyn'`, ""},
		"a type":                    {`type(role) == string`, `undeclared reference to 'type'`, ""},
		"too deep":                  {strings.Repeat("(", 200) + "true" + strings.Repeat(")", 200), `recursion limit`, ""},
		"only an input's name":      {`inputs.rows > 1 || inputs`, `expected type 'bool' but found 'inputs'`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := good()
			b.Rules[2].Requires.Inputs = sceneInputs()
			b.Rules[2].Conditions = []Condition{{Expr: "true", Message: "m"}, {Expr: c.expr, Message: "m"}}
			problems := Check(b)
			if len(problems) != 1 || problems[0].Path != "rules[2].conditions[1].expr" ||
				!strings.Contains(problems[0].Message, c.text) || !strings.Contains(problems[0].Hint, c.hint) {
				t.Errorf("%+q", problems)
			}
			if _, err := Compile(Document{Body: *b}, record.Sum(nil)); CodeOf(err) != BadPolicy {
				t.Errorf("it compiles: %v", err)
			}
		})
	}
}

func TestConditionDefinitions(t *testing.T) {
	many := func(b *Body) {
		for range MaxConditions + 1 {
			b.Rules[0].Conditions = append(b.Rules[0].Conditions, Condition{Expr: "true", Message: "m"})
		}
	}
	for name, c := range map[string]struct {
		change     func(*Body)
		path, text string
	}{
		"no message": {func(b *Body) { b.Rules[0].Conditions = []Condition{{Expr: "true", Message: " "}} }, "rules[0].conditions[0].message", "without a word"},
		"a long message": {func(b *Body) {
			b.Rules[0].Conditions = []Condition{{Expr: "true", Message: strings.Repeat("ü", MaxSaid+1)}}
		}, "rules[0].conditions[0].message", "too long"},
		"no expression": {func(b *Body) { b.Rules[0].Conditions = []Condition{{Expr: " \n", Message: "m"}} }, "rules[0].conditions[0].expr", "no expression"},
		"too long": {func(b *Body) {
			b.Rules[0].Conditions = []Condition{{Expr: `role != "` + strings.Repeat("x", MaxExpression) + `"`, Message: "m"}}
		}, "rules[0].conditions[0].expr", "too long"},
		"too many": {many, "rules[0].conditions", "21 conditions"},
		"on what denies": {func(b *Body) {
			b.Rules[0] = Rule{Name: "no", Resources: []string{"*"}, Roles: []string{"*"}, Requesters: []string{"*"}, Approve: ApproveDeny, Message: "never",
				Conditions: []Condition{{Expr: "nonsense", Message: "m"}}}
		}, "rules[0]", "denies whatever"},
	} {
		t.Run(name, func(t *testing.T) {
			b := good()
			c.change(b)
			if problems := Check(b); len(problems) != 1 || problems[0].Path != c.path || !strings.Contains(problems[0].Message, c.text) {
				t.Errorf("%+q", problems)
			}
		})
	}
}

func TestConditionRefusals(t *testing.T) {
	long := scene()
	for range MaxRecent {
		long.Recent = append(long.Recent, Held{Request: "R", Resource: "orders-db", Role: "read", State: "expired", Since: day, Until: day})
	}
	bad := scene()
	bad.Inputs = map[string]string{"rows": "many"}
	none := scene()
	none.Start = nil
	wordy := scene()
	wordy.Reason = strings.Repeat("w", 2000)
	longWordy := long
	longWordy.Reason = wordy.Reason
	const loops = `[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20].all(x, recent.all(r, r.request != ""))`
	for name, c := range map[string]struct {
		scene      Scene
		exprs      []string
		code       Code
		text, hint string
	}{
		"all true":                {scene(), []string{"true", `role == "read"`}, "", "", ""},
		"the second false":        {scene(), []string{"true", "role\n == \"write\"", "false"}, ConditionFailed, `rule "read": message 2`, `ask so that this is true: role == "write"`},
		"a false before an error": {scene(), []string{"false", "resource.labels.team == role"}, ConditionFailed, "message 1", ""},
		"no such label":           {scene(), []string{`resource.labels.team == "x"`}, ConditionError, `condition 1 of rule "read" could not be judged: no such key: team`, "ask an admin"},
		"no start":                {none, []string{`request.start > now`}, ConditionError, "request has no start", ""},
		"no input":                {scene(), []string{`inputs.note == "x"`}, ConditionError, "inputs has no note", ""},
		"still waiting":           {scene(), []string{`open.all(o, o.until > now)`}, ConditionError, "entitlement has no until", ""},
		"beyond the list":         {scene(), []string{`open[7].role == role`}, ConditionError, "index", ""},
		"divided by zero":         {scene(), []string{`inputs.rows / (inputs.rows - 100) == 1`}, ConditionError, "division by zero", ""},
		"too large":               {scene(), []string{`inputs.rows + 9223372036854775807 > 1`}, ConditionError, "overflow", ""},
		"a bad input":             {bad, []string{`inputs.rows > 1`}, InputBad, `"many" is not a whole number`, ""},
		"a long text":             {wordy, []string{`resource.labels[request.reason] == role`}, ConditionError, strings.Repeat("w", 100), ""},
		"characters of long texts": {wordy, []string{`open.all(a, open.all(b, recent.all(c, recent.all(d, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].all(e, [0, 1, 2, 3].all(f, size(request.reason) > 0))))))`},
			ConditionError, "cost limit exceeded", ""},
		"lists compared":   {long, []string{`recent.all(a, [0, 1, 2].all(b, recent.map(r, r.role) == recent.map(r, r.role)))`}, ConditionError, "cost limit exceeded", ""},
		"nested loops":     {long, []string{`recent.all(a, recent.all(b, a.role == b.role || a.request != b.request))`}, ConditionError, "cost limit exceeded", ""},
		"one loop is fine": {long, []string{`recent.all(a, a.role in ["read", "write"] && a.resource == resource.name)`}, "", "", ""},
		"two lists, twenty open": {func() Scene { s := long; s.Open = long.Recent[2:22]; return s }(),
			[]string{`open.all(o, recent.all(r, o.resource == r.resource))`}, "", "", ""},
		"long texts compared": {longWordy, []string{`[request.reason + request.reason].all(x, recent.all(a, x == x))`}, ConditionError, "cost limit exceeded", ""},
		"long texts in lists": {longWordy, []string{`[request.reason + request.reason].all(x, recent.all(a, [x] == [x]))`}, ConditionError, "cost limit exceeded", ""},
		"long texts read":     {longWordy, []string{`[request.reason + request.reason].all(x, recent.all(a, duration(x) > duration("1s") || true))`}, ConditionError, "cost limit exceeded", ""},
		"long texts sought":   {longWordy, []string{`[request.reason + request.reason].all(x, recent.all(a, role.contains(x) || true))`}, ConditionError, "cost limit exceeded", ""},
		"a control character": {scene(), []string{`resource.labels["\u001b[2J"] == "x"`}, ConditionError, `no such key: \x1b[2J`, ""},
		"a long text matched": {wordy, []string{`request.reason.matches("(w?){400}(w){400}$")`}, ConditionError, "the text is too long for the pattern", ""},
		"a shorter one":       {scene(), []string{`!request.reason.matches("(w?){400}(w){400}$")`}, "", "", ""},
		"much":                {long, []string{loops}, "", "", ""},
		"too much together":   {long, slices.Repeat([]string{loops}, MaxConditions), ConditionError, "it and those before it take too much work", ""},
		"texts that grow":     {scene(), []string{`[request.reason]` + strings.Repeat(`.map(a, a + a)`, 18) + `.all(a, a != "")`}, ConditionError, "cost limit exceeded", ""},
		"zones in a loop":     {long, []string{strings.Repeat(`recent.all(a, now.getHours("Europe/Berlin") == 10) && `, 10) + "true"}, ConditionError, "cost limit exceeded", ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := asking(t, sceneInputs(), c.exprs...)
			began := time.Now()
			err := m.CheckConditions(c.scene)
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("it took %s", took)
			}
			if CodeOf(err) != c.code {
				t.Fatalf("%v", err)
			}
			if err == nil {
				return
			}
			r := refusal(t, err)
			if len(r.Message) > 400 {
				t.Errorf("%d bytes of message", len(r.Message))
			}
			if r.Rule != "read" || !strings.Contains(r.Message, c.text) || !strings.Contains(r.Hint, c.hint) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestConditionsAsWritten reads inputs and conditions as people write them.
func TestConditionsAsWritten(t *testing.T) {
	var rule Rule
	text := `name: read
resources: [orders-db]
roles: [read]
requesters: [alice]
maxDuration: 4h
requires:
  inputs:
    rows: {type: number, description: how many rows, min: 1, max: 1000}
    env: {type: choice, choices: [prod, test]}
    change: {type: text, optional: true, pattern: "CHG-[0-9]+"}
    dry: {type: boolean, optional: true}
conditions:
  - expr: inputs.env == "test" || has(inputs.change)
    message: production wants a change
  - expr: |
      inputs.rows <= 100 ||
      request.duration <= duration("1h")
    message: ask for an hour at most
approve: auto
`
	if err := record.DecodeStrict([]byte(text), &rule); err != nil {
		t.Fatal(err)
	}
	p := compile(t, func(b *Body) { b.Rules[1] = rule })
	m, err := p.Match("alice", "orders-db", "read", day)
	if err != nil {
		t.Fatal(err)
	}
	s := Scene{Requester: "alice", Resource: "orders-db", Role: "read", At: day, Duration: 2 * time.Hour, Inputs: map[string]string{"rows": "500", "env": "prod", "change": "CHG-1"}}
	if err := m.CheckInputs(s.Inputs); err != nil {
		t.Error(err)
	}
	if r := refusal(t, m.CheckConditions(s)); r.Code != ConditionFailed || r.Message != `rule "read": ask for an hour at most` ||
		r.Hint != `ask so that this is true: inputs.rows <= 100 || request.duration <= duration("1h")` {
		t.Errorf("%+v", r)
	}
}

// TestCompilerFault shows that a fault inside of the library refuses an expression,
// and does not end the program.
func TestCompilerFault(t *testing.T) {
	c := newCompiler(&patternWork{})
	c.environments[""] = nil
	if _, err := c.compile("true", nil); err == nil || !strings.Contains(err.Error(), "the expression could not be checked: ") {
		t.Errorf("%v", err)
	}
}

// TestConditionsShared asks one policy from several goroutines at once.
func TestConditionsShared(t *testing.T) {
	m := asking(t, sceneInputs(), `inputs.rows < 1000 && recent.exists(r, r.role == role)`, `"app" in requester.groups && resource.labels.sensitivity == "high"`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if err := m.CheckConditions(scene()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestCompileAtOnce compiles policies in several goroutines, which share what their
// environments have in common.
func TestCompileAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				b := good()
				name := fmt.Sprintf("n%d-%d", i, j)
				b.Rules[1].Requires.Inputs = map[string]Input{name: {Type: InputNumber}}
				b.Rules[1].Conditions = []Condition{{Expr: fmt.Sprintf(`inputs[%q] > 1 && now.getHours("Europe/Berlin") > 1`, name), Message: "m"}}
				b.Rules[2].Conditions = []Condition{{Expr: `size(open) < 3`, Message: "m"}}
				if problems := Check(b); len(problems) > 0 {
					t.Error(problems)
				}
			}
		})
	}
	wg.Wait()
}

// TestConditionsOfEachRule shows that rules whose inputs have the same names but
// other types are judged by their own.
func TestConditionsOfEachRule(t *testing.T) {
	p := compile(t, func(b *Body) {
		for i, typ := range []string{InputNumber, InputText} {
			b.Rules[i].Requires.Inputs = map[string]Input{"n": {Type: typ}}
		}
		b.Rules[0].Conditions = []Condition{{Expr: `inputs.n == 1`, Message: "m"}}
		b.Rules[1].Conditions = []Condition{{Expr: `inputs.n == "1"`, Message: "m"}, {Expr: `role == "read"`, Message: "m"}}
		b.Rules[2].Conditions = []Condition{{Expr: `role == "read"`, Message: "m"}}
	})
	for _, c := range []struct {
		person, resource, role string
		code                   Code
	}{{"bob", "orders-db", "read", ""}, {"alice", "orders-db", "read", ""}, {"alice", "web-1", "shell", ConditionFailed}} {
		m, err := p.Match(c.person, c.resource, c.role, day)
		if err != nil {
			t.Fatal(err)
		}
		s := Scene{Requester: c.person, Resource: c.resource, Role: c.role, At: day, Inputs: map[string]string{"n": "1"}}
		if err := m.CheckConditions(s); CodeOf(err) != c.code {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestConditionIsPartOfTheRule shows that an approval does not survive a changed
// condition or input.
func TestConditionIsPartOfTheRule(t *testing.T) {
	base := asking(t, sceneInputs(), "true").Basis.Rule
	other := sceneInputs()
	other["rows"] = Input{Type: InputNumber, Optional: true}
	for name, m := range map[string]Match{
		"condition": asking(t, sceneInputs(), "true || false"), "one more": asking(t, sceneInputs(), "true", "true"), "input": asking(t, other, "true"),
	} {
		if m.Basis.Rule == base {
			t.Errorf("%s: the rule is the same", name)
		}
	}
	if asking(t, maps.Clone(sceneInputs()), "true").Basis.Rule != base {
		t.Error("the same rule is another")
	}
}

func BenchmarkCondition(b *testing.B) {
	long := scene()
	for range MaxRecent {
		long.Recent = append(long.Recent, Held{Request: "R", Resource: "orders-db", Role: "read", State: "expired", Since: day, Until: day})
	}
	for _, c := range []struct {
		name, expr string
		code       Code
	}{
		{"duration", `request.duration <= duration("2h")`, ""},
		{"label", `resource.labels.sensitivity != "high" || request.ticket.matches("^OPS-[0-9]+$")`, ""},
		{"recent200", `recent.all(r, !has(r.until) || now - r.until < duration("48h"))`, ""},
		{"limit", `recent.all(a, recent.all(b, a.role == b.role || a.request != b.request))`, ConditionError},
	} {
		b.Run(c.name, func(b *testing.B) {
			m := asking(b, sceneInputs(), c.expr)
			b.ReportAllocs()
			for b.Loop() {
				if err := m.CheckConditions(long); CodeOf(err) != c.code {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkConditionsCompile checks a policy of a thousand rules with a condition
// each; all are different.
func BenchmarkConditionsCompile(b *testing.B) {
	body := good()
	rule := body.Rules[1]
	body.Rules = nil
	for i := range 1000 {
		r := rule
		r.Name = fmt.Sprintf("r%d", i)
		r.Conditions = []Condition{{Expr: fmt.Sprintf(`request.duration <= duration("%dm") || "dba" in requester.groups`, i+1), Message: "m"}}
		body.Rules = append(body.Rules, r)
	}
	for b.Loop() {
		if problems := Check(body); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}

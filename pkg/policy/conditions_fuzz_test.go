package policy

import (
	"errors"
	"runtime"
	"strings"
	"testing"

	"cel.dev/cel-go/common/types"

	"github.com/jitaccess/jit/pkg/record"
)

// fuzzMemory is the most bytes that checking one expression may take from the heap,
// or judging by one. Work that gets out of hand writes types, texts or lists out again
// and again: this says so on any machine, however busy.
const fuzzMemory = 64 << 20

// allocated gives how many bytes f takes from the heap.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzCondition compiles and judges by any expression, over texts that a requester
// chose. Neither ends the program, or takes much memory; what is said of it can be
// read; and asking twice gives the same.
func FuzzCondition(f *testing.F) {
	for _, expr := range []string{
		"true", "", "(", `request.duration <= duration("2h")`, `has(request.start) && request.start > now`,
		`request.reason.matches("[a-z]{2,3}") || request.ticket.contains("x")`, `resource.labels.sensitivity == "high"`,
		`inputs.rows / 0 == 1`, `inputs["2-env"] in ["prod"]`, `now.getHours("Europe/Berlin") > 8`, `matches()`, `inputs[1]`, `[][0]`,
		`open.exists(o, o.role == role) ? recent.all(r, has(r.until)) : false`, `recent.all(a, recent.all(b, open.all(c, recent.all(d, a == d))))`,
		`[request.reason].map(a, a + a).map(a, a + a).exists(a, a.startsWith("s"))`, `[1].map(a, {a: a}).map(b, {b: b}) == []`,
		`[[]].exists(a, [a + a].exists(b, b == b))`, `-9223372036854775808 / -1 == 1`, `duration("9223372036s") + duration("9223372036s") > duration("1s")`,
		`timestamp("9999-12-31T23:59:59Z") + duration("1h") > now`, `int(request.reason) > 1`, `double(inputs.rows) / 3.0 > 1e300`, `role == "\u202e"`,
		`google.protobuf.Value{} == null`, `open.map(o, o.since)[1] > now`, `string(now) < string(1.5)`, "`x`", "a.?b", "msg{}", `"a" in {}`,
		`.matches(role, request.reason)`, `.matches(role, "r+")`, `[].map(a, a.b)[0] == resource`, `recent.all(a, recent.all(b, resource == resource))`,
		`role.matches(request.emergency ? "a" : "b")`, `request.reason.matches("(w?){400}(w){400}$")`, `inputs["\x1b[2J"] == "x"`, `resource.labels["\u001b\u202e"] == "x"`, `inputs["e\u0301"] == "x"`, `resource.labels["e\u0301"] == "x"`,
		"[[[[[[[[[[[1]]]]]]]]]]]" + strings.Repeat(".map(a,[[[[[[a]]]]]])", 44) + " == []", strings.Repeat("[", 45) + "1" + strings.Repeat("]", 45) + " == []",
	} {
		f.Add(expr, "see why", "100")
		f.Add(expr, strings.Repeat("aa ", 500), "")
	}
	f.Fuzz(func(t *testing.T, expr, reason, rows string) {
		if len(expr) > 4*MaxExpression || len(reason) > 8000 {
			return
		}
		b := good()
		b.Rules[1].Requires.Inputs = sceneInputs()
		b.Rules[1].Conditions = []Condition{{Expr: expr, Message: "m"}}
		var problems []Problem
		if took := allocated(func() { problems = Check(b) }); took > fuzzMemory {
			t.Errorf("checking took %d bytes", took)
		}
		for _, p := range problems {
			if p.Path != "rules[1].conditions[0].expr" || p.Message == "" || !oneLine(p.Message) || !oneLine(p.Hint) {
				t.Errorf("%+q", p)
			}
		}
		if len(problems) > 0 {
			return
		}
		m := asking(t, sceneInputs(), expr)
		s := scene()
		s.Reason = reason
		if rows != "" {
			s.Inputs["rows"] = rows
		}
		for len(s.Recent) < MaxRecent {
			s.Recent = append(s.Recent, s.Recent[len(s.Recent)%2])
		}
		var err error
		if took := allocated(func() { err = m.CheckConditions(s) }); took > fuzzMemory {
			t.Errorf("judging took %d bytes", took)
		}
		if r := new(Refusal); errors.As(err, &r) && r.Code != InputBad && (!oneLine(r.Message) || !oneLine(r.Hint)) {
			t.Errorf("%+q, %+q", r.Message, r.Hint)
		}
		if code := CodeOf(err); err != nil && code != ConditionFailed && code != ConditionError && code != InputBad {
			t.Errorf("%v", err)
		}
		if again := m.CheckConditions(s); CodeOf(again) != CodeOf(err) || err != nil && again.Error() != err.Error() {
			t.Errorf("first %v, then %v", err, again)
		}
	})
}

// oneLine reports whether a text is one line that a record could hold.
func oneLine(s string) bool { return record.CheckText(s) == nil && !strings.Contains(s, "\n") }

// FuzzInputs judges any value by each type. What is accepted is a value that a
// condition can use, and no other text gives the same number or boolean.
func FuzzInputs(f *testing.F) {
	for _, v := range []string{"", "1", "-1", "007", "+1", "true", "TRUE", "prod", " ", "9223372036854775808", "\xff", "1\n", "٣"} {
		f.Add(v, int64(-5), int64(1000))
	}
	f.Fuzz(func(t *testing.T, value string, low, high int64) {
		for _, i := range []Input{{Type: InputText}, {Type: InputNumber, Min: &low, Max: &high}, {Type: InputChoice, Choices: []string{"prod"}}, {Type: InputBoolean}} {
			v, err := i.check(value, func(string) bool { return true })
			if (v == nil) == (err == nil) {
				t.Fatalf("%s %q: %v %v", i.Type, value, v, err)
			}
			if err != nil {
				continue
			}
			if text := v.ConvertToType(types.StringType); text != types.String(value) {
				t.Errorf("%s %q is read as %v", i.Type, value, text)
			}
			if n, ok := v.(types.Int); ok && (int64(n) < low || int64(n) > high) {
				t.Errorf("%d is not from %d to %d", n, low, high)
			}
		}
	})
}

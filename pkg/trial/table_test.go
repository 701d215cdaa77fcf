package trial

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/request"
)

const smallPolicy = `admins: {people: [ann], threshold: 1}
people:
  ann: {keys: ["0000000000000000000000000000000000000001"]}
  ben: {keys: ["0000000000000000000000000000000000000002"], manager: ann}
  cat: {keys: ["0000000000000000000000000000000000000003"]}
resources:
  db: {driver: postgres, roles: {read: {parameters: {grant: r}}, write: {parameters: {grant: w}}}}
delegation: {longest: 7d}
rules:
  - {name: read, resources: [db], roles: [read], requesters: ["*"], maxDuration: 2h, stages: [{approvers: [ann, ben], count: 1}]}
`

func small(t testing.TB) *policy.Policy {
	t.Helper()
	p, err := compileText(smallPolicy)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tableOf makes a table of one case of ben, who asks for db:read at nine.
func tableOf(rest string) string {
	return "at: 2026-11-24T09:00:00Z\ncases:\n  - {name: x, who: ben, asks: [\"db:read\"], " + rest + "}\n"
}

func TestCaseFails(t *testing.T) {
	for name, c := range map[string]struct{ rest, failure string }{
		"another state":          {"expect: {state: active}", "state: expected active, came pending"},
		"another rule":           {"expect: {state: pending, rule: write}", "rule: expected write, came read"},
		"not refused":            {"expect: {refused: too-long}", "refused: expected too-long, came no refusal: it is pending"},
		"refused":                {"for: 3h, expect: {state: pending}", "refused: expected it to be pending, came too-long"},
		"refused for another":    {"for: 3h, expect: {refused: no-rule}", "refused: expected no-rule, came too-long"},
		"refused in other words": {"for: 3h, expect: {refused: too-long, message: never}", `message: expected "never" in it, came 3h is longer`},
		"other people":           {"expect: {state: pending, needs: [cat]}", "needs: expected cat, came ann"},
		"nobody":                 {"expect: {state: pending, needs: []}", "needs: expected nobody, came ann"},
		"opens":                  {"decisions: [{by: ann, after: 5m}], expect: {state: active, opens: 6m}", "opens: expected 2026-11-24T09:06:00Z, came 2026-11-24T09:05:00Z"},
		"never ends":             {"expect: {state: pending, ends: 1h}", "ends: expected 2026-11-24T10:00:00Z, came never"},
		"lapses":                 {"expect: {state: pending, lapses: 2h}", "lapses: expected 2026-11-24T11:00:00Z, came 2026-11-25T09:00:00Z"},
		"closed":                 {"decisions: [{by: ann, does: deny}], expect: {state: denied, closed: 2m}", "closed: expected 2026-11-24T09:02:00Z, came 2026-11-24T09:01:00Z"},
		"no escalation":          {"expect: {state: pending, escalates: {at: 1h}}", "escalates: expected 2026-11-24T10:00:00Z, came never"},
		"no emergency":           {"expect: {state: pending, overdue: true}", "overdue: expected true, came false"},
		"no warning":             {"expect: {state: pending, warning: beware}", `warning: expected one with "beware", came nothing`},
		"a part":                 {"expect: {state: pending, grants: {\"db:read\": active}}", "db:read: expected active, came pending"},
		"does not count":         {"decisions: [{by: cat}], expect: {state: pending}", "what cat does at 2026-11-24T09:01:00Z (approve): expected that it counts, came that it does not: not-approver"},
		"counts":                 {"decisions: [{by: ann, refused: not-approver}], expect: {state: active}", "expected that it does not: not-approver, came that it counts"},
		"cannot cancel":          {"decisions: [{by: ann, does: cancel}], expect: {state: pending}", "not-requester"},
		"cannot withdraw":        {"decisions: [{by: ann, does: withdraw}], expect: {state: pending}", "no-such-record"},
		"cannot deny":            {"decisions: [{by: cat, does: deny}], expect: {state: pending}", "not-approver"},
		"cannot revoke":          {"decisions: [{by: cat, does: revoke}], expect: {state: pending}", "not-allowed"},
		"cannot acknowledge":     {"decisions: [{by: ann, does: acknowledge}], expect: {state: pending}", "no-emergency"},
	} {
		t.Run(name, func(t *testing.T) {
			tb, err := Parse([]byte(tableOf(c.rest)))
			if err != nil {
				t.Fatal(err)
			}
			results, err := tb.RunAll(small(t))
			if err != nil {
				t.Fatal(err)
			}
			if r := results[0]; len(r.Failures) != 1 || !strings.Contains(r.Failures[0], c.failure) {
				t.Errorf("%q", r.Failures)
			}
		})
	}
}

func TestCasePasses(t *testing.T) {
	for name, rest := range map[string]string{
		"absolute and relative": "decisions: [{by: ann, at: 2026-11-24T10:30:00+01:00}], expect: {state: active, opens: 30m, ends: 2026-11-24T10:30:00Z}",
		"a minute after":        "decisions: [{by: ann}], expect: {state: active, opens: 1m}",
		"for another":           "decisions: [{by: cat, as: ann}], expect: {state: active}",
		"withdrawn, and again":  "decisions: [{by: ann, does: deny}], expect: {state: denied}",
		"inputs of any kind":    "inputs: {rows: 3, sure: true, env: x}, expect: {refused: input-unknown}",
	} {
		t.Run(name, func(t *testing.T) {
			tb, err := Parse([]byte(tableOf(rest)))
			if err != nil {
				t.Fatal(err)
			}
			if name == "inputs of any kind" { // how they are judged is the policy's matter
				if in := tb.Cases[0].Inputs; in["rows"] != "3" || in["sure"] != "true" || in["env"] != "x" {
					t.Errorf("%v", in)
				}
				return
			}
			results, err := tb.RunAll(small(t))
			if err != nil || !results[0].OK() {
				t.Errorf("%v %q", err, results[0].Failures)
			}
		})
	}
}

var badTables = map[string]string{
	"cases: []\n":                                           "there are no cases",
	"at: 2026-11-24\ncases: []\n":                           "neither a time",
	"cases: [{who: ben}]\n":                                 "cases[0] has no name",
	tableOf("colour: red, expect: {}"):                      "colour",
	tableOf("expect: {}"):                                   "what must come of it",
	tableOf("expect: {state: opne}"):                        `"opne" is no state`,
	tableOf("expect: {state: active, refused: x}"):          "keep one of them",
	tableOf("decisions: [{by: ann}], expect: {refused: x}"): "leave out decisions",
	tableOf("decisions: [{by: ann, after: 5m}, {by: ben, after: 4m}], expect: {state: active}"):                     "order of their times",
	tableOf("decisions: [{by: ann, after: 5m, at: 5m}], expect: {state: active}"):                                   "keep one of at and after",
	tableOf("decisions: [{after: 5m}], expect: {state: active}"):                                                    "add: by",
	tableOf("decisions: [{by: ann, does: nod}], expect: {state: active}"):                                           `nobody can "nod"`,
	tableOf("decisions: [{by: ann, after: -5m}], expect: {state: active}"):                                          "-5m",
	tableOf("holds: [{who: ben, grants: [\"db:read\"], from: -1h}], expect: {state: active}"):                       "stand together",
	tableOf("holds: [{who: ben}], expect: {state: active}"):                                                         "who holds which",
	tableOf("expect: {refused: too-long, opens: 5m}"):                                                               "what is refused has no opens",
	tableOf("expect: {refused: too-long, needs: [ann], rule: read, message: x}"):                                    "what is refused has no needs",
	tableOf("expect: {refused: too-long, needs: []}"):                                                               "what is refused has no needs",
	tableOf("expect: {refused: too-long, escalates: {at: 1h}}"):                                                     "what is refused has no escalates",
	tableOf("expect: {refused: too-long, overdue: false}"):                                                          "what is refused has no overdue",
	tableOf("expect: {refused: too-long, warning: x}"):                                                              "what is refused has no warning",
	tableOf("expect: {refused: too-long, grants: {\"db:read\": active}}"):                                           "what is refused has no grants",
	tableOf("expect: {state: pending, message: x}"):                                                                 "message is that of a refusal",
	tableOf("now: 5m, expect: {refused: too-long}"):                                                                 "leave out now",
	tableOf("holds: [{who: ben, grants: [\"db:read\"], from: -1h, until: -1h}], expect: {state: active}"):           "until is not after from",
	tableOf("expect: {state: active, grants: {\"db:write\": active}}"):                                              "is not asked for",
	"at: 2026-11-24T09:00:00Z\ncases:\n  - {name: x, who: ben, asks: [db], expect: {state: active}}\n":              "not RESOURCE:ROLE",
	"cases:\n  - {name: x, who: ben, asks: [\"db:read\"], expect: {state: active}}\n":                               "add: at",
	"at: 1h\ncases:\n  - {name: x, who: ben, asks: [\"db:read\"], expect: {state: active}}\n":                       "is no time",
	"at: 2026-11-24T09:00:00Z\ncases:\n  - {name: x, who: ben, expect: {state: active}}\n":                          "add: asks",
	"at: 2026-11-24T09:00:00Z\ncases:\n  - {name: x, asks: [\"db:read\"], expect: {state: active}}\n":               "add: who",
	tableOf("expect: {state: pending}") + "  - {name: x, who: ben, asks: [\"db:read\"], expect: {state: active}}\n": `two cases are named "x"`,
}

func TestBadTables(t *testing.T) {
	for text, want := range badTables {
		if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v, want %q", text, err, want)
		}
	}
}

// TestHoldsInOrder gives what is held in the order in which it was asked for, whatever
// the order in which it is written, and what has ended newest first.
func TestHoldsInOrder(t *testing.T) {
	at := func(d time.Duration) *Moment { return &Moment{after: d} }
	hold := func(role string, from, until *Moment) Hold {
		return Hold{Who: "ben", Grants: []Entitlement{{request.Grant{Resource: "db", Role: role}}}, From: from, Until: until}
	}
	b, err := Holds(small(t), "ben", []Hold{
		hold("waits", nil, nil), hold("open", at(-time.Hour), at(time.Hour)), hold("first", at(-9*time.Hour), at(-2*time.Hour)),
		hold("last", at(-8*time.Hour), at(-7*time.Hour)), hold("later", at(-8*time.Hour), at(-7*time.Hour)), hold("longer open", at(-2*time.Hour), at(time.Hour)),
	}, t0)
	if err != nil {
		t.Fatal(err)
	}
	roles := func(list []policy.Held) (all []string) {
		for _, h := range list {
			all = append(all, h.Role)
		}
		return all
	}
	if got := fmt.Sprint(roles(b.Past.Open), roles(b.Past.Recent)); got != "[longer open open waits] [later last first]" {
		t.Error(got)
	}
}

func TestWhatCannotBePlayed(t *testing.T) {
	tb, err := Parse([]byte(tableOf("start: -1h, expect: {state: pending}")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tb.RunAll(small(t)); err == nil || !strings.Contains(err.Error(), "start") {
		t.Errorf("%v", err)
	}
}

// FuzzTable plays whatever reads as a table: no table makes the program fail.
func FuzzTable(f *testing.F) {
	for text := range badTables {
		f.Add(text)
	}
	for _, name := range examples {
		data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "policies", name, "test.yaml"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	p := small(f)
	f.Fuzz(func(t *testing.T, text string) {
		tb, err := Parse([]byte(text))
		if err != nil || len(tb.Cases) > 20 {
			return
		}
		results, err := tb.RunAll(p)
		if err != nil {
			return
		}
		for _, r := range results {
			if r.Refusal == nil && !slices.ContainsFunc(r.Decision.Grants, func(g approve.GrantDecision) bool { return g.Resource != "" }) {
				t.Errorf("nothing was decided: %+v", r)
			}
		}
	})
}

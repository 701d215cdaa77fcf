package request

import (
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// conditioned makes a policy whose rules for db:read and db:write ask for inputs.
func conditioned(t testing.TB, conditions ...string) *policy.Policy {
	t.Helper()
	doc := *compile(t, []policy.Stage{{Approvers: []string{"bob"}, Count: 1}}).Document()
	optional := policy.Input{Type: policy.InputText, Optional: true}
	read, write := &doc.Rules[0], &doc.Rules[1]
	read.Requires.Inputs = map[string]policy.Input{"rows": {Type: policy.InputNumber}, "env": optional}
	write.Requires.Inputs = map[string]policy.Input{"change": {Type: policy.InputText, Pattern: "CHG-[0-9]+"}, "env": optional}
	for _, expr := range conditions {
		read.Conditions = append(read.Conditions, policy.Condition{Expr: expr, Message: "not like this"})
	}
	p, err := policy.Compile(doc, record.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestInputsOfABundle(t *testing.T) {
	p := conditioned(t)
	read, write := Grant{"db", "read"}, Grant{"db", "write"}
	for name, c := range map[string]struct {
		grants []Grant
		inputs map[string]string
		code   policy.Code
		text   string
	}{
		"one":                        {[]Grant{read}, map[string]string{"rows": "1"}, "", ""},
		"with what both may be told": {[]Grant{read}, map[string]string{"rows": "1", "env": "x"}, "", ""},
		"none":                       {[]Grant{read}, nil, policy.InputMissing, "rows"},
		"bad":                        {[]Grant{read}, map[string]string{"rows": "x"}, policy.InputBad, `"x"`},
		"the other's":                {[]Grant{read}, map[string]string{"rows": "1", "change": "CHG-1"}, policy.InputUnknown, `no input "change"`},
		"both":                       {[]Grant{read, write}, map[string]string{"rows": "1", "change": "CHG-1", "env": "x"}, "", ""},
		"both, other order":          {[]Grant{write, read}, map[string]string{"rows": "1", "change": "CHG-1"}, "", ""},
		"both, one missing":          {[]Grant{read, write}, map[string]string{"rows": "1"}, policy.InputMissing, "change"},
		"both, one bad":              {[]Grant{read, write}, map[string]string{"rows": "1", "change": "1"}, policy.InputBad, `"change"`},
		"both, one unknown":          {[]Grant{read, write}, map[string]string{"rows": "1", "change": "CHG-1", "x": "y"}, policy.InputUnknown, `no input "x"`},
	} {
		t.Run(name, func(t *testing.T) {
			r := good()
			r.Grants, r.Inputs, r.Duration = c.grants, c.inputs, hours(1)
			err := r.Fits(p, Before{})
			if policy.CodeOf(err) != c.code || err != nil && !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	held := []policy.Held{{Request: "R", Resource: "db", Role: "write", State: "active", Since: t0.Add(-time.Hour), Until: t0.Add(time.Hour)}}
	for name, c := range map[string]struct {
		expr string
		past *policy.Past
		code policy.Code
	}{
		"true":            {`request.duration == duration("2h") && inputs.rows == 7 && role == "read" && resource.name == "db" && requester.name == "alice"`, &policy.Past{}, ""},
		"the texts":       {`request.reason == "to look" && request.ticket == "T-1" && !request.emergency && !request.extension`, &policy.Past{}, ""},
		"the times":       {`now == timestamp("2026-11-24T09:00:00Z") && request.start - now == duration("1h")`, &policy.Past{}, ""},
		"what is open":    {`open.exists(o, o.role == "write") && size(recent) == 0`, &policy.Past{Open: held}, ""},
		"what was":        {`recent.exists(o, o.role == "write") && size(open) == 0`, &policy.Past{Recent: held}, ""},
		"false":           {`open.all(o, o.role != "write")`, &policy.Past{Open: held}, policy.ConditionFailed},
		"not judged":      {`resource.labels.x == "y"`, &policy.Past{}, policy.ConditionError},
		"without history": {`true`, nil, policy.PastUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			p := conditioned(t, c.expr)
			r := good()
			start := record.At(t0.Add(time.Hour))
			r.Inputs, r.Start, r.Ticket = map[string]string{"rows": "7"}, &start, " T-1 "
			if needed, _ := r.NeedsPast(p); !needed {
				t.Error("it needs no history")
			}
			if err := r.Fits(p, Before{Past: c.past}); policy.CodeOf(err) != c.code {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestTextsAreLookedAtOnce shows that the patterns look at a text once, however many
// entitlements it is asked for with, and that a policy bounds as many of them as a
// request can have.
func TestTextsAreLookedAtOnce(t *testing.T) {
	if policy.MaxReason != MaxText || policy.MaxBundle != MaxGrants {
		t.Errorf("a policy bounds %d texts of %d characters, and a request has %d of %d", policy.MaxBundle, policy.MaxReason, MaxGrants, MaxText)
	}
	doc := *compile(t, []policy.Stage{{Approvers: []string{"bob"}, Count: 1}}).Document()
	r := good()
	r.Grants, r.Duration, r.Ticket, r.Inputs = many(MaxGrants), hours(1), "OPS-1", map[string]string{"x": "12"}
	db := doc.Resources["db"]
	db.Roles = map[string]policy.Role{}
	for _, g := range r.Grants {
		db.Roles[g.Role] = policy.Role{}
	}
	doc.Resources = map[string]policy.Resource{"db": db}
	rule := doc.Rules[0]
	rule.Roles = []string{"r*"}
	rule.Requires = policy.Requires{Reason: ".{1,100}", Ticket: "OPS-[0-9]+", Inputs: map[string]policy.Input{"x": {Type: policy.InputText, Pattern: "[0-9]+"}}}
	rule.Conditions = []policy.Condition{{Expr: "inputs.x != ''", Message: "m"}}
	other := rule
	rule.Name, rule.Roles = "some", []string{"r1*"}
	doc.Rules = []policy.Rule{rule, other}
	p, err := policy.Compile(doc, record.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	kept := newTable(p, r)
	if err := kept.judge(Before{Past: &policy.Past{}}, r.Grants); err != nil {
		t.Fatal(err)
	}
	if want := len(r.Reason + r.Ticket + "12"); kept.looked.Characters() != want {
		t.Errorf("%d characters were looked at, want %d", kept.looked.Characters(), want)
	}
}

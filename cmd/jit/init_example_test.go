package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/trial"
	"github.com/jitaccess/jit/testdata/policies"
)

// TestExamplesAlone holds what is left of an example with one person against the
// whole: it can be used, and whoever comes later is given nothing that the whole
// does not give, and on no other stages.
func TestExamplesAlone(t *testing.T) {
	at := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	for _, name := range policies.Names {
		for me, called := range map[string]string{"alice": "Me Myself", "tess": "Ash, Ann", "ulrike": "Bob #1: the \"first\"", "keys": "'x", "jonas": "[a] {b}",
			"123": "null", "on": "- on", "null": "1.5", "0x1f": "& *", "2026-11-24": "é \\ line", "1e3": "# one"} {
			t.Run(name+" as "+me, func(t *testing.T) {
				e, err := readExample(name, me)
				if err != nil {
					t.Fatal(err)
				}
				var whole policy.Body
				if err := record.DecodeStrict([]byte(e.text.Policy), &whole); err != nil {
					t.Fatal(err)
				}
				if problems := checkedBody("", nil, &whole); len(problems) > 0 {
					t.Fatalf("the whole: %v", problems)
				}
				whole.People["newcomer"] = policy.Person{Keys: []record.Fingerprint{"0000000000000000000000000000000000000999"}}
				fpr := record.Fingerprint("ABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCD")
				e.adopt(me, policy.Person{Name: called, Email: "me@here.example", Keys: []record.Fingerprint{fpr}})
				if !strings.Contains(e.text.Policy, string(fpr)) || !strings.Contains(e.text.Policy, "me@here.example") {
					t.Error("the text does not have the person's key and address")
				}
				var written policy.Body
				if err := record.DecodeStrict([]byte(e.text.Policy), &written); err != nil {
					t.Fatal(err)
				}
				if p := written.People[me]; p.Name != called || p.Email != "me@here.example" || len(written.People) != len(whole.People)-1 {
					t.Errorf("written is %+v of %d people", p, len(written.People))
				}
				tb, err := trial.Parse([]byte(e.text.Test))
				if err != nil {
					t.Fatal(err)
				}
				results, err := tb.RunAll(compiled(t, written))
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range results {
					if !r.OK() {
						t.Errorf("%s: %v", r.Name, r.Failures)
					}
				}
				if problems := checkedBody("", nil, e.body); len(problems) > 0 {
					t.Fatalf("alone: %v", problems)
				}
				if len(e.body.People) != 1 || !slices.Equal(e.body.Admins.People, []string{me}) || placeholderKeys(e.body) != nil {
					t.Errorf("%+v", e.body.Admins)
				}
				for who, p := range whole.People {
					if who != me {
						p.Manager = ""
						e.body.People[who] = p
					}
				}
				all, alone := compiled(t, whole), compiled(t, *e.body)
				for _, who := range alone.People() {
					if who == me {
						continue // alone on every roster
					}
					for _, resource := range alone.Resources() {
						res, _ := alone.Resource(resource)
						for role := range res.Roles {
							m, err := alone.Match(who, resource, role, at)
							if err != nil || m.Rule.Approve == policy.ApproveDeny {
								continue
							}
							// Who is on a roster in the whole is not alone: they ask instead.
							n, err := all.Match(who, resource, role, at)
							asks := err == nil && n.Rule.Approve == policy.ApproveAuto && len(m.Rule.Stages) > 0
							if err != nil || !asks && (n.Rule.Name != m.Rule.Name || len(n.Rule.Stages) != len(m.Rule.Stages) || n.Rule.Approve != m.Rule.Approve) {
								t.Errorf("%s gets %s:%s by %q, and in the whole by %+v: %v", who, resource, role, m.Rule.Name, n.Rule, err)
							}
						}
					}
				}
			})
		}
	}
}

func compiled(t *testing.T, body policy.Body) *policy.Policy {
	t.Helper()
	p, err := policy.Compile(policy.Document{Body: body}, "")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestRulesNeedPeople closes a rule that one person cannot approve as it is meant.
func TestRulesNeedPeople(t *testing.T) {
	e := &example{body: &policy.Body{
		Admins: policy.Admins{People: []string{"me"}, Threshold: 1},
		People: map[string]policy.Person{"me": {}, "you": {}},
		Rules: []policy.Rule{
			{Name: "two", Requesters: []string{"*"}, Stages: []policy.Stage{{Approvers: []string{"*"}, Count: 2}}},
			{Name: "other", Requesters: []string{"*"}, Stages: []policy.Stage{{Approvers: []string{"you"}, Count: 1}}},
			{Name: "all", Requesters: []string{"*"}, Stages: []policy.Stage{{AllOf: []policy.Quorum{{Approvers: []string{"me"}, Count: 1}, {Approvers: []string{"you"}, Count: 1}}}}},
			{Name: "any", Requesters: []string{"*"}, Stages: []policy.Stage{{AnyOf: []policy.Quorum{{Approvers: []string{"me", "you"}, Count: 1}, {Approvers: []string{"you"}, Count: 1}}}}},
			{Name: "yours", Requesters: []string{"you"}, Stages: []policy.Stage{{Approvers: []string{"me"}, Count: 1}}},
			{Name: "urgent", Requesters: []string{"me"}, Approve: policy.ApproveAuto, Emergency: &policy.Emergency{Requesters: []string{"me"}, Acknowledgers: []string{"you"}}},
		},
	}}
	e.alone("me", policy.Person{})
	if !slices.Equal(e.closed, []string{"two", "other", "all"}) || !slices.Equal(e.out, []string{"yours"}) {
		t.Errorf("closed %v, out %v", e.closed, e.out)
	}
	for _, r := range e.body.Rules {
		if closed := slices.Contains(e.closed, r.Name); closed != (r.Approve == policy.ApproveDeny) || closed != (r.Message != "") {
			t.Errorf("%+v", r)
		}
	}
	if any := e.body.Rules[3].Stages[0].AnyOf; len(any) != 1 || !slices.Equal(any[0].Approvers, []string{"me"}) {
		t.Errorf("%+v", any)
	}
	if e.body.Rules[4].Emergency != nil {
		t.Error("an emergency at which nobody could look")
	}
}

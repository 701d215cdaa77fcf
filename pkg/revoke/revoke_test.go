package revoke

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

func compile(t *testing.T, rules ...policy.Rule) *policy.Policy {
	t.Helper()
	b := policy.Body{
		Admins: policy.Admins{People: []string{"erin"}, Threshold: 1}, People: map[string]policy.Person{},
		Resources: map[string]policy.Resource{"db": {Driver: "postgres", Roles: map[string]policy.Role{"read": {}, "write": {}}}},
		Rules:     rules,
	}
	for i, name := range []string{"alice", "bob", "carol", "dave", "erin"} {
		b.People[name] = policy.Person{Keys: []record.Fingerprint{record.Fingerprint(fmt.Sprintf("%040X", i+1))}}
	}
	p, err := policy.Compile(policy.Document{Body: b}, "")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func rule(role string, stages ...policy.Stage) policy.Rule {
	r := policy.Rule{Name: role, Resources: []string{"db"}, Roles: []string{role}, Requesters: []string{"alice", "erin"},
		MaxDuration: record.Duration{Duration: time.Hour}, Stages: stages}
	if len(stages) == 0 {
		r.Approve = policy.ApproveAuto
	}
	return r
}

func stage(approvers ...string) policy.Stage { return policy.Stage{Approvers: approvers, Count: 1} }

func TestMayRevoke(t *testing.T) {
	staged := compile(t, rule("read", stage("alice", "bob"), stage("carol")), rule("write", stage("dave")))
	auto := compile(t, rule("read"))
	for _, c := range []struct {
		p        *policy.Policy
		by, from string
		roles    string
		ok       bool
	}{
		{staged, "bob", "alice", "read", true},
		{staged, "carol", "alice", "read", true}, // whatever the stage
		{staged, "dave", "alice", "read", false}, // of another role's rule
		{staged, "dave", "alice", "read write", true},
		{staged, "erin", "alice", "read", true}, // an admin
		{staged, "erin", "erin", "read", true},
		{staged, "alice", "alice", "read", false}, // an approver, but not of their own
		{staged, "mallory", "alice", "read", false},
		{auto, "bob", "alice", "read", false},
		{auto, "erin", "alice", "read", true},
		{auto, "bob", "alice", "gone", false}, // what no rule covers
		{auto, "erin", "alice", "gone", true},
	} {
		r := request.Request{Head: record.Head{By: c.from, ID: "01M86CT8K00C000003000000R0"}}
		for role := range strings.FieldsSeq(c.roles) {
			r.Grants = append(r.Grants, request.Grant{Resource: "db", Role: role})
		}
		err := MayRevoke(c.p, r, Who{By: c.by})
		if (err == nil) != c.ok || !c.ok && policy.CodeOf(err) != policy.NotAllowed {
			t.Errorf("%s revokes %s of %s: %v", c.by, c.roles, c.from, err)
		}
	}
}

func TestMayCancel(t *testing.T) {
	r := request.Request{Head: record.Head{By: "alice"}}
	if err := MayCancel(r, "alice"); err != nil {
		t.Error(err)
	}
	for _, by := range []string{"bob", "erin", ""} {
		if err := MayCancel(r, by); policy.CodeOf(err) != policy.NotRequester {
			t.Errorf("%q: %v", by, err)
		}
	}
}

func TestDecodersRefuseWhatIsNotVerified(t *testing.T) {
	if _, err := DecodeCancellation(record.Verified{}); record.ReasonOf(err) != record.ReasonNotVerified {
		t.Errorf("cancellation: %v", err)
	}
	if _, err := DecodeRevocation(record.Verified{}); record.ReasonOf(err) != record.ReasonNotVerified {
		t.Errorf("revocation: %v", err)
	}
}

package policy

import (
	"testing"

	"github.com/jitaccess/jit/pkg/record"
)

const bodySeed = `admins: {people: [alice], threshold: 1}
people:
  alice: {keys: ["0000000000000000000000000000000000000001"], teams: [web], accounts: {postgres: al}}
  bob: {name: Bob, keys: ["0000000000000000000000000000000000000002"]}
groups: {dba: [bob]}
reconcilers: {box: {keys: ["0000000000000000000000000000000000000009"], resources: [db]}}
resources:
  db:
    driver: postgres
    roles: {read: {parameters: {role: reader}, usage: psql}, look: {parameters: {}}}
rules:
  - name: read
    resources: ["d*"]
    roles: [read]
    requesters: ["team:web", "group:dba", "*"]
    maxDuration: 4h
    pending: 2d
    requires: {reason: ".+", ticket: "[A-Z]+"}
    stages: [{approvers: ["group:dba"], count: 1}]
`

// FuzzBody reads a policy as people write it. What Check lets through can be
// compiled, asked, written and read again with the same meaning.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		bodySeed, "", "{}", "rules: []\n", "admins: {people: [alice, alice], threshold: 0}\npeople: {}\nrules: []\n",
		"people: {alice: {keys: [abc]}}\n", "rules: [{name: x, maxDuration: 1, requires: {reason: \"(\"}}]\n", bodySeed + "  - {name: l, resources: [db], roles: [look], requesters: [\"*\"], maxDuration: 1h, approve: auto, stages: []}\n", "rules: [{stages: [{count: 99999999999}]}]\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var b Body
		if err := record.DecodeStrict(data, &b); err != nil {
			if record.ReasonOf(err) == "" {
				t.Errorf("no reason: %v", err)
			}
			return
		}
		p, err := Compile(Document{Body: b}, record.Sum(data))
		if problems := Check(&b); (err == nil) != (len(problems) == 0) {
			t.Fatalf("check says %v, compile says %v", problems, err)
		}
		if err != nil {
			if CodeOf(err) != BadPolicy {
				t.Errorf("no code: %v", err)
			}
			return
		}
		out, err := record.Encode(b)
		if err != nil {
			return // text that cannot be kept is refused, not changed
		}
		var back Body
		if err := record.DecodeStrict(out, &back); err != nil {
			t.Fatal(err)
		}
		again, err := Compile(Document{Body: back}, record.Sum(out))
		if err != nil {
			t.Fatal(err)
		}
		ask(t, p, again)
	})
}

// ask puts every question to two forms of one policy.
func ask(t *testing.T, p, again *Policy) {
	for _, person := range p.People() {
		if p.IsAdmin(person) != again.IsAdmin(person) {
			t.Errorf("admin %q", person)
		}
		for _, resource := range p.Resources() {
			res, _ := p.Resource(resource)
			for role := range res.Roles {
				m, err := p.Match(person, resource, role, day)
				n, err2 := again.Match(person, resource, role, day)
				if CodeOf(err) != CodeOf(err2) || m.Basis != n.Basis || err == nil && m.Rule.Name != n.Rule.Name {
					t.Errorf("%s %s:%s: %v %v, %v %v", person, resource, role, m, err, n, err2)
				}
				if err != nil {
					continue
				}
				for _, s := range m.Rule.Stages {
					for _, by := range p.Eligible(m.Rule, s.Deciders(), Concern{Requester: person, Resource: resource, At: day}) {
						if by == person || !p.MayApprove(m.Rule, s.Deciders(), by, Concern{Requester: person, Resource: resource, At: day}) {
							t.Errorf("%q may approve %q", by, person)
						}
					}
				}
			}
		}
	}
}

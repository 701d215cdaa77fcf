package trial

import (
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/bigpolicy"
	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// big compiles a policy of the size of a company, with changes.
func big(t testing.TB, change ...func(*policy.Body)) *policy.Policy {
	t.Helper()
	b := bigpolicy.Body(bigpolicy.Company)
	for _, f := range change {
		f(&b)
	}
	p, err := policy.Compile(policy.Document{Body: b}, record.Sum(nil))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// BenchmarkDecide is what one request costs under a large policy that has been
// asked before: whether it is allowed, and where it stands with an approval of
// each stage.
func BenchmarkDecide(b *testing.B) {
	p := big(b)
	h := policy.History{{Policy: p, Position: 1}}
	at := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	var cases []approve.Case
	asked, approvals := 0, 0
	for i := range 1000 {
		r := request.Request{Grants: []request.Grant{{Resource: bigpolicy.Resource(i * 7 % 300), Role: "readonly"}},
			Duration: record.Duration{Duration: time.Hour}, Reason: "to look", Ticket: "OPS-1"}
		r.By, r.Created, r.Expires = bigpolicy.Person(3000+i), record.At(at), record.At(at.Add(time.Hour))
		s := newScene(p)
		r.ID, _ = record.NewID(at, zeros(i))
		s.open(r, request.Before{})
		asked++
		if s.agree(at) {
			approvals += len(s.c.Approvals)
			cases = append(cases, s.c)
		}
	}
	if len(cases) < asked*9/10 || approvals < len(cases) {
		b.Fatalf("%d of %d requests can be agreed to, with %d approvals", len(cases), asked, approvals)
	}
	for _, c := range cases { // warm: each policy is asked for the first time once
		approve.Decide(h, c, at)
	}
	b.Run("granted", func(b *testing.B) {
		for i := range b.N {
			decideOne(b, p, h, cases[i%len(cases)], at.Add(2*time.Minute), approve.Active)
		}
	})
	b.Run("pending", func(b *testing.B) {
		for i := range b.N {
			c := cases[i%len(cases)]
			c.Approvals = nil
			if d := approve.Decide(h, c, at); len(Rules(d)) == 0 {
				b.Fatal(d)
			}
		}
	})
}

func decideOne(b *testing.B, p *policy.Policy, h policy.History, c approve.Case, now time.Time, want approve.State) {
	if err := c.Request.Record.Allowed(p, request.Before{}); err != nil {
		b.Fatal(err)
	}
	if d := approve.Decide(h, c, now); d.State != want {
		b.Fatal(d)
	}
}

// BenchmarkDiff is what it costs to tell what a new version of a large policy
// changes: people who move, a group with another member, rules with other terms,
// and a rule near the top that is about all of them.
func BenchmarkDiff(b *testing.B) {
	old, changed := big(b), big(b, func(body *policy.Body) {
		for i := range 50 {
			p := body.People[bigpolicy.Person(201*i+9)]
			p.Teams = []string{"team-000"}
			body.People[bigpolicy.Person(201*i+9)] = p
		}
		delete(body.People, bigpolicy.Person(9999))
		body.Groups["approvers-003"] = body.Groups["approvers-003"][1:]
		for i := range 100 {
			body.Rules[7*i].MaxDuration.Duration *= 2
		}
		body.Rules = append(body.Rules[:2:2], append([]policy.Rule{{Name: "new", Resources: []string{"db-01*"}, Roles: []string{"*"},
			Requesters: []string{"department:department-03"}, Approve: policy.ApproveDeny, Message: "not these"}}, body.Rules[2:]...)...)
	})
	at := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	b.Run("compare", func(b *testing.B) {
		for range b.N {
			if e := Compare(old, changed, at); len(e.Loses) == 0 || len(e.Terms) == 0 {
				b.Fatal(e)
			}
		}
	})
	b.Run("from bytes", func(b *testing.B) {
		data, err := record.Encode(changed.Document().Body)
		if err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		for range b.N {
			var body policy.Body
			if err := record.DecodeStrict(data, &body); err != nil {
				b.Fatal(err)
			}
			p, err := policy.Compile(policy.Document{Body: body}, "")
			if err != nil {
				b.Fatal(err)
			}
			if e := Compare(old, p, at); len(e.Loses) == 0 {
				b.Fatal(e)
			}
		}
	})
}

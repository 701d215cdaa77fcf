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

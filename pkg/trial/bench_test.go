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
	for i := range 1000 {
		r := request.Request{Grants: []request.Grant{{Resource: bigpolicy.Resource(i * 7 % 300), Role: "readonly"}},
			Duration: record.Duration{Duration: time.Hour}, Reason: "to look", Ticket: "OPS-1"}
		r.By, r.Created, r.Expires = bigpolicy.Person(3000+i), record.At(at), record.At(at.Add(time.Hour))
		r.ID, _ = record.NewID(at, zeros(i))
		c := approve.Case{Request: approve.Placed[request.Request]{Record: r, Position: 2, HeadAt: 1}}
		for n, by := range approversOf(b, h, c, at) {
			a := approve.Approval{Request: r.ID}
			a.By, a.Created = by, record.At(at.Add(time.Minute))
			a.ID, _ = record.NewID(at, zeros(100000*(n+1)+i))
			c.Approvals = append(c.Approvals, approve.Placed[approve.Approval]{Record: a, Position: 3 + n, HeadAt: 2 + n})
		}
		cases = append(cases, c)
	}
	b.ResetTimer()
	for i := range b.N {
		c := cases[i%len(cases)]
		if err := c.Request.Record.Allowed(p, request.Before{}); err != nil {
			b.Fatal(err)
		}
		if d := approve.Decide(h, c, at.Add(2*time.Minute)); d.State != approve.Active {
			b.Fatal(d)
		}
	}
}

// approversOf gives one who can approve after another, until it is enough.
func approversOf(b *testing.B, h policy.History, c approve.Case, at time.Time) []string {
	d := approve.Decide(h, c, at)
	var all []string
	for _, g := range d.Grants {
		for _, s := range g.Stages {
			for _, who := range s.Who {
				if len(all) == 0 || all[len(all)-1] != who {
					all = append(all, who)
					break
				}
			}
			if s.Count > 1 {
				all = append(all, s.Who[len(s.Who)-1])
			}
		}
	}
	return all
}

func zeros(n int) source { return source(n) }

type source int

func (s source) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(int(s) >> (8 * (i % 4)))
	}
	return len(p), nil
}

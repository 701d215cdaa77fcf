package ledger

import (
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// Whoever asks says when, and their limits are judged as of then. A request that is dated
// ahead would be judged as if what waits had lapsed, though that can still be approved:
// so people are taken at their word, and what others have open is looked at once more
// where a request is approved.

// takeAtWord notes at what a person has waiting that it had lapsed by the time that their
// new request claims, where that is judged by what they have open.
func (f *fold) takeAtWord(r request.Request) error {
	if needed, _ := r.NeedsPast(f.policies.Latest()); !needed && r.Extends == "" {
		return nil
	}
	var waiting []record.ID
	err := f.each(`SELECT id FROM waiting WHERE person = ? ORDER BY id`, func(rows *sql.Rows) error {
		var id []byte
		err := rows.Scan(&id)
		waiting = append(waiting, idOf(id))
		return err
	}, r.By)
	if err != nil {
		return err
	}
	for _, id := range waiting {
		c, err := f.kase(id)
		if err != nil {
			return err
		}
		noted := len(c.Outlived)
		for _, g := range approve.Decide(f.policies, c, r.Created.Time).Grants {
			known := slices.ContainsFunc(c.Outlived, func(x approve.Outlived) bool { return x.Grant == g.Grant })
			if g.State == approve.Lapsed && !known {
				c.Outlived = append(c.Outlived, approve.Outlived{Grant: g.Grant, By: r.ID, Position: f.position, Order: f.order, At: r.Created.Time})
			}
		}
		if len(c.Outlived) == noted {
			continue
		}
		if err := f.keep(c); err != nil {
			return err
		}
	}
	return nil
}

// roomInRole refuses an approval of what as many others have open, or will have, as the
// rule allows at once. Where all clocks are right, that was seen when it was asked for.
// An extension is refused that already then: it opens nothing beside what it extends, but
// others may have what it would go on to take.
func (f *fold) roomInRole(c approve.Case, approved time.Time) error {
	r := c.Request.Record
	for _, g := range r.Grants {
		m, err := f.policies.Latest().Match(r.By, g.Resource, g.Role, r.Created.Time)
		if err != nil || m.Rule.MaxOpenPerRole == 0 {
			continue
		}
		if err := f.findable(); err != nil {
			return err
		}
		// What an extension prolongs has its room up to the end of that.
		base, _ := c.Before.Base.Part(g)
		p := &pastOf{index: f.index, history: f.policies, r: r, at: later(approved, base.Ends)}
		n, err := p.taken(g)
		if err != nil {
			return err
		}
		if n >= m.Rule.MaxOpenPerRole {
			return &policy.Refusal{Code: policy.TooManyInRole, Rule: m.Rule.Name, Hint: "approve it when one has ended; see: jit list",
				Message: fmt.Sprintf("%d others have %s open, or will have, and rule %q allows %d", n, g, m.Rule.Name, m.Rule.MaxOpenPerRole)}
		}
	}
	return nil
}

// taken counts the other requests by which an entitlement is open, or will be, before r
// could be over.
func (p *pastOf) taken(g request.Grant) (int, error) {
	base := map[record.ID]record.ID{}
	other := func(c approve.Case) bool {
		return c.Request.Record.ID != p.r.ID && slices.Contains(c.Request.Record.Grants, g)
	}
	err := p.decided(openOfAll, other, func(c approve.Case, d approve.Decision) error {
		if p.takes(c, d, g) {
			base[c.Request.Record.ID] = c.Request.Record.Extends
		}
		return nil
	}, p.at.Unix())
	n := 0
	for _, extends := range base {
		if _, both := base[extends]; !both {
			n++ // else it goes on with what is counted already
		}
	}
	return n, err
}

// takes reports whether by a request that stands so an entitlement is open, or will be,
// before r could be over.
func (p *pastOf) takes(c approve.Case, d approve.Decision, g request.Grant) bool {
	for _, x := range d.Grants {
		if x.Grant == g && !x.State.Settled() {
			opens, ends, ok := c.Window(p.history, g)
			return ok && ends.After(p.at) && opens.Before(latestEnd(p.r))
		}
	}
	return false
}

// latestEnd is when a request is over at the latest, hours apart in which it may be used.
func latestEnd(r request.Request) time.Time {
	until := r.Expires.Time
	if r.Start != nil && r.Start.After(until) {
		until = r.Start.Time
	}
	return until.Add(r.Duration.Duration)
}

package ledger

import (
	"database/sql"
	"errors"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// past gives what the person who makes a request has open and had, and what is open
// of all, when it is made, under a succession of policies, but for what nothing asks
// for.
func (x index) past(h policy.History, r request.Request, unread policy.Unread) (*policy.Past, error) {
	p := &pastOf{index: x, history: h, r: r, at: r.Created.Time, Past: policy.Past{Unread: unread}}
	err := p.open()
	if err == nil && !unread.Last {
		err = p.last()
	}
	if err == nil && !unread.Recent {
		err = p.recent()
	}
	return &p.Past, err
}

// pastOf is the work of past.
type pastOf struct {
	index
	history policy.History
	r       request.Request
	at      time.Time
	policy.Past
}

// decided calls fn for the requests of which the query names some, decided then.
func (p *pastOf) decided(query string, wanted func(approve.Case) bool, fn func(approve.Case, approve.Decision) error, args ...any) error {
	return p.each(query, func(rows *sql.Rows) error {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			return err
		}
		var c approve.Case
		if err := unpack(body, &c); err != nil {
			return err
		}
		if !wanted(c) {
			return nil
		}
		return fn(c, approve.Decide(p.history, c, p.at))
	}, args...)
}

// The order of a CROSS JOIN is the one that is written.
const (
	// What is known to be settled may not have been yet at that time.
	openOfAll = `SELECT body FROM (SELECT id FROM requests WHERE state IS NULL UNION ALL SELECT id FROM requests WHERE quiet >= ?) few
		CROSS JOIN requests r ON r.id = few.id ORDER BY r.position, r.ord`
	// of one person
	openOfOne = `SELECT body FROM (SELECT id FROM requests WHERE person = ?1 AND quiet IS NULL UNION ALL SELECT id FROM requests WHERE person = ?1 AND quiet >= ?2) few
		CROSS JOIN requests r ON r.id = few.id ORDER BY r.position, r.ord`
	// what had ended of one person, newest first, without what is known to have been nothing
	endedOfOne = `SELECT body FROM requests WHERE person = ?1 AND (had IS NULL OR had OR quiet >= ?2) ORDER BY position DESC, ord DESC`
)

// open looks for what is open or waits: of the person, and of all where a rule asks
// how many there are.
func (p *pastOf) open() error {
	type pending struct {
		approve.Case
		grants []approve.GrantDecision // that are not settled
	}
	open := map[record.ID]pending{}
	var order []record.ID
	query, args := openOfOne, []any{p.r.By, p.at.Unix()}
	if !p.Unread.InRole {
		query, args = openOfAll, args[1:]
		p.InRole = map[string]int{}
	}
	all := func(approve.Case) bool { return true }
	err := p.decided(query, all, func(c approve.Case, d approve.Decision) error {
		id := c.Request.Record.ID
		// What somebody else says they have made later than this is not there yet, else
		// whoever dates a request ahead would take the place of all; but where it is
		// decided, and opens before this could be over.
		ahead := c.Request.Record.By != p.r.By && c.Request.Record.Created.Sub(p.at) > approve.Skew
		if d.Debt.Open() && c.Request.Record.By == p.r.By {
			p.Debts = append(p.Debts, id)
		}
		q := pending{Case: c}
		for _, g := range d.Grants {
			if !d.State.Settled() && !g.State.Settled() && (!ahead || p.takes(c, d, g.Grant)) {
				q.grants = append(q.grants, g)
			}
		}
		if len(q.grants) > 0 {
			open[id], order = q, append(order, id)
		}
		return nil
	}, args...)
	if err != nil {
		return err
	}
	for _, id := range order {
		q := open[id]
		if _, both := open[q.Request.Record.Extends]; both {
			continue // it goes on with what is counted already
		}
		for _, g := range q.grants {
			if p.InRole != nil {
				p.InRole[g.Grant.String()]++
			}
			if q.Request.Record.By == p.r.By {
				p.Open = append(p.Open, held(q.Case, g))
			}
		}
	}
	return nil
}

// last looks for the access to what is asked for that ended last.
func (p *pastOf) last() error {
	wanted := func(c approve.Case) bool {
		return slices.ContainsFunc(c.Request.Record.Grants, func(g request.Grant) bool { return slices.Contains(p.r.Grants, g) })
	}
	last, since := map[request.Grant]policy.Held{}, p.at.Add(-policy.MaxCoolingOff)
	err := p.decided(openOfOne, wanted, func(c approve.Case, d approve.Decision) error {
		for _, x := range ended(p.history, c, d) {
			g := request.Grant{Resource: x.Resource, Role: x.Role}
			if x.Until.After(since) && x.Until.After(last[g].Until) {
				last[g] = x
			}
		}
		return nil
	}, p.r.By, since.Unix())
	for _, g := range p.r.Grants {
		if x, ok := last[g]; ok {
			p.Last = append(p.Last, x)
		}
	}
	return err
}

// recent looks for what ended, newest first.
func (p *pastOf) recent() error {
	enough := errors.New("enough")
	err := p.decided(endedOfOne, func(approve.Case) bool { return true }, func(c approve.Case, d approve.Decision) error {
		p.Recent = append(p.Recent, ended(p.history, c, d)...)
		if len(p.Recent) >= policy.MaxRecent {
			p.Recent = p.Recent[:policy.MaxRecent]
			return enough
		}
		return nil
	}, p.r.By, p.at.Unix())
	if errors.Is(err, enough) {
		return nil
	}
	return err
}

// ended gives what a person had by a request and has no more, or was refused, where it
// stands as d says. What they gave up before it opened they never had.
//
// From when until when is told by all that the history holds: who dates the next request
// to before what took this one from them had it all the same. So had who dates that back
// to before the opening, where a reconciler has written that it was open.
func ended(h policy.History, c approve.Case, d approve.Decision) (all []policy.Held) {
	var last []approve.GrantDecision
	for i, g := range d.Grants {
		if !g.State.Settled() {
			continue
		}
		if last == nil {
			last = approve.AtLast(h, c).Grants
		}
		old := held(c, g)
		old.Since, old.Until = last[i].Opens, last[i].Ends
		if closed := last[i].Closed; closed.Before(old.Until) {
			old.Until = closed
		}
		had := old.Until.After(old.Since)
		if from, to, ok := seenOpen(c, g.Grant); ok && !had {
			old.Since, old.Until, had = from, to, true
		} else if ok {
			old.Until = later(old.Until, earlier(to, last[i].Ends))
		}
		if !had {
			if g.State == approve.Cancelled || g.State == approve.Lapsed {
				continue
			}
			old.Since, old.Until = time.Time{}, time.Time{}
		}
		all = append(all, old)
	}
	return all
}

// seenOpen gives when a reconciler first wrote that an entitlement was open, and when one
// last wrote that it was, or was no more.
func seenOpen(c approve.Case, g request.Grant) (from, to time.Time, ok bool) {
	for r := range c.ReceiptsOf(g) {
		x := r.Record
		switch at := x.Created.Time; {
		case x.Outcome == receipt.Applied && !ok:
			from, to, ok = at, at, true
		case x.Outcome == receipt.Applied:
			from, to = earlier(from, at), later(to, at)
		case x.Outcome == receipt.Ended && ok:
			to = later(to, at)
		}
	}
	return from, to, ok
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func held(c approve.Case, g approve.GrantDecision) policy.Held {
	return policy.Held{Request: c.Request.Record.ID, Resource: g.Resource, Role: g.Role, State: string(g.State), Since: g.Opens, Until: g.Ends}
}

package ledger_test

import (
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// This is the part of the reference that knows what a request has to do with others:
// what it prolongs, and what its person had open.

// prolonged gives the requests that a request prolongs, one after the other.
func (r *reference) prolonged(id record.ID) (all []record.ID) {
	for i := len(r.counted) - 1; i >= 0; i-- {
		if q, ok := r.counted[i].value.(request.Request); ok && q.ID == id && q.Extends != "" {
			all, id = append(all, q.Extends), q.Extends
		}
	}
	return all
}

// withVoid adds to voids those of the keys that signed a record on which access rests,
// or the delegations under which it was signed.
func (r *reference) withVoid(voids map[record.Fingerprint]approve.Void, x counted) map[record.Fingerprint]approve.Void {
	if !slices.Contains([]record.Kind{record.KindRequest, record.KindApproval, record.KindAcknowledgement}, x.Kind) {
		return voids
	}
	keys := [][2]record.Fingerprint{{x.Primary(), x.Subkey()}}
	for _, a := range x.acting {
		keys = append(keys, [2]record.Fingerprint{a.Signed, a.Subkey})
	}
	add := func(key record.Fingerprint, void approve.Void, ok bool) {
		if ok && voids == nil {
			voids = map[record.Fingerprint]approve.Void{}
		}
		if ok {
			voids[key] = void
		}
	}
	for _, k := range keys {
		void, ok := r.void(k[0])
		add(k[0], void, ok)
		void, ok = r.voidSubkey(k[0], k[1])
		add(k[1], void, ok)
	}
	return voids
}

// lockedBy lets the locks of the keys that signed what a request prolongs be locks of
// the person.
func (r *reference) lockedBy(person string, locks []approve.Locked, prolonged []record.ID) []approve.Locked {
	for i, l := range locks {
		for _, x := range r.counted {
			if x.Kind == record.KindRequest && slices.Contains(prolonged, x.ID) && l.Key == x.Primary() {
				locks[i].Person = person
			}
		}
	}
	return locks
}

// before gives what a request is judged by beside the policy.
func (r *reference) before(q request.Request) (b request.Before, err error) {
	if q.Extends != "" {
		if b.Base, err = r.base(q); err != nil {
			return b, err
		}
	}
	if needed, unread := q.NeedsPast(r.inForce()); needed {
		b.Past = r.past(q)
		b.Past.Unread = unread
		if unread.InRole {
			b.Past.InRole = nil
		}
		if unread.Recent {
			b.Past.Recent = nil
		}
		if unread.Last {
			b.Past.Last = nil
		}
	}
	return b, nil
}

func (r *reference) base(q request.Request) (*request.Base, error) {
	first, ok := r.request(q.Extends)
	d := approve.Decide(r.succession(), first, q.Created.Time)
	switch {
	case !ok:
		return nil, &policy.Refusal{Code: policy.NoSuchRecord}
	case first.Request.Record.By != q.By:
		return nil, &policy.Refusal{Code: policy.NotRequester}
	case d.State != approve.Active:
		return nil, &policy.Refusal{Code: policy.NotExtendable}
	}
	times := 0
	for _, id := range r.ids(record.KindRequest) {
		other, _ := r.request(id)
		if other.Request.Record.Extends == q.Extends {
			times++
		}
		if other.Request.Record.Extends == q.Extends && !approve.Decide(r.succession(), other, q.Created.Time).State.Settled() {
			return nil, &policy.Refusal{Code: policy.ExtendsAlready}
		}
	}
	if times >= 50 {
		return nil, &policy.Refusal{Code: policy.ExtendsTooOften}
	}
	b := &request.Base{Keys: d.Keys, Extensions: len(r.prolonged(q.Extends))}
	for _, g := range d.Grants {
		if g.State != approve.Active {
			continue
		}
		if seen := written(first, g.Grant, receipt.Applied, receipt.Ended); len(seen) > 0 {
			if x := seen[len(seen)-1]; x.Outcome == receipt.Ended && !q.Created.After(x.Created.Time) {
				return nil, &policy.Refusal{Code: policy.NotExtendable}
			}
		}
		part := request.BasePart{Grant: g.Grant, Opens: g.Opens, Ends: g.Ends, Meaning: g.Meaning.Digest()}
		if earlier := first.Before.Base; earlier != nil {
			for _, p := range earlier.Parts {
				if p.Grant == g.Grant {
					part.Opens = p.Opens
				}
			}
		}
		b.Parts = append(b.Parts, part)
	}
	if earlier := first.Before.Base; earlier != nil {
		b.Keys = slices.Concat(b.Keys, earlier.Keys)
	}
	slices.Sort(b.Keys)
	b.Keys = slices.Compact(b.Keys)
	return b, nil
}

// past gives what all have open when q is made, and its person had.
func (r *reference) past(q request.Request) *policy.Past {
	past := &policy.Past{InRole: map[string]int{}}
	var ids []record.ID // in the order of the history
	for _, x := range r.counted {
		if x.Kind == record.KindRequest {
			ids = append(ids, x.ID)
		}
	}
	decided := map[record.ID]approve.Decision{}
	for _, id := range ids {
		c, _ := r.request(id)
		decided[id] = approve.Decide(r.succession(), c, q.Created.Time)
	}
	counts := map[record.ID][]approve.GrantDecision{}
	for _, id := range ids {
		c, _ := r.request(id)
		x := c.Request.Record
		ahead := x.By != q.By && x.Created.After(q.Created.Add(time.Hour))
		for _, g := range decided[id].Grants {
			if !g.State.Settled() && (!ahead || r.takes(c, g, q, q.Created.Time)) {
				counts[id] = append(counts[id], g)
			}
		}
	}
	for _, id := range ids {
		c, _ := r.request(id)
		x, d := c.Request.Record, decided[id]
		if x.By == q.By && d.Debt != nil && d.Debt.By == "" {
			past.Debts = append(past.Debts, id)
		}
		if len(counts[x.Extends]) > 0 {
			continue
		}
		for _, g := range counts[id] {
			past.InRole[g.Grant.String()]++
			if x.By == q.By {
				past.Open = append(past.Open, policy.Held{Request: id, Resource: g.Resource, Role: g.Role, State: string(g.State), Since: g.Opens, Until: g.Ends})
			}
		}
	}
	last := map[request.Grant]policy.Held{}
	for _, id := range slices.Backward(ids) {
		c, _ := r.request(id)
		for _, g := range decided[id].Grants {
			if c.Request.Record.By != q.By || !g.State.Settled() {
				continue
			}
			h := policy.Held{Request: id, Resource: g.Resource, Role: g.Role, State: string(g.State)}
			since, until, opened := r.had(c, g.Grant)
			if opened {
				h.Since, h.Until = since, until
			}
			if opened || g.State != approve.Cancelled && g.State != approve.Lapsed {
				past.Recent = append(past.Recent, h)
			}
			if was, ok := last[g.Grant]; opened && until.After(q.Created.AddDate(0, 0, -90)) && (!ok || !until.Before(was.Until)) {
				last[g.Grant] = h // of two that ended at one time the older
			}
		}
	}
	for _, g := range q.Grants {
		if h, ok := last[g]; ok {
			past.Last = append(past.Last, h)
		}
	}
	return past
}

// written gives the receipts of an entitlement with some outcomes, in order.
func written(c approve.Case, g request.Grant, outcomes ...receipt.Outcome) (all []receipt.Receipt) {
	for _, x := range c.Receipts {
		if (request.Grant{Resource: x.Record.Resource, Role: x.Record.Role}) == g && slices.Contains(outcomes, x.Record.Outcome) {
			all = append(all, x.Record)
		}
	}
	return all
}

// had gives from when until when somebody had an entitlement: by the window, as it ends in
// the end, and by what the reconcilers have seen.
func (r *reference) had(c approve.Case, g request.Grant) (since, until time.Time, ok bool) {
	for _, d := range approve.Decide(r.succession(), c, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)).Grants {
		if d.Grant != g {
			continue
		}
		since, until = d.Opens, d.Ends
		if d.Closed.Before(until) {
			until = d.Closed
		}
		ok = since.Before(until)
		seen := written(c, g, receipt.Applied, receipt.Ended)
		for len(seen) > 0 && seen[0].Outcome == receipt.Ended {
			seen = seen[1:]
		}
		if len(seen) == 0 {
			break
		}
		var first, last time.Time
		for _, x := range seen {
			if x.Outcome == receipt.Applied && (first.IsZero() || x.Created.Before(first)) {
				first = x.Created.Time
			}
			if x.Created.After(last) {
				last = x.Created.Time
			}
		}
		if !ok {
			return first, last, true
		}
		if last.After(d.Ends) {
			last = d.Ends
		}
		if last.After(until) {
			until = last
		}
	}
	return since, until, ok
}

// outlives is an entitlement of an earlier request by the same person, which had lapsed
// by the time that a later one claims.
type outlives struct {
	id    record.ID
	grant request.Grant
}

// latest is when a request is over at the latest.
func latest(q request.Request) time.Time {
	at := q.Expires.Time
	if q.Start != nil && q.Start.After(at) {
		at = q.Start.Time
	}
	return at.Add(q.Duration.Duration)
}

// seeOver notes which requests of a person the reconcilers have seen to be over.
func (r *reference) seeOver(person string) {
	var all []string
	for _, p := range r.succession() {
		for name := range p.Document().Resources {
			all = append(all, name)
		}
	}
	seen := r.floor(all)
	for _, id := range r.ids(record.KindRequest) {
		if c, _ := r.request(id); c.Request.Record.By == person && !latest(c.Request.Record).After(seen.Add(-time.Hour)) {
			if r.seenOver == nil {
				r.seenOver = map[record.ID]bool{}
			}
			r.seenOver[id] = true
		}
	}
}

// outlivedBy gives what the person who makes a request had asked for, and has not any
// more by what they say themselves.
func (r *reference) outlivedBy(q request.Request) (all []outlives) {
	if needed, _ := q.NeedsPast(r.inForce()); !needed && q.Extends == "" {
		return nil
	}
	for _, id := range r.ids(record.KindRequest) {
		c, _ := r.request(id)
		if c.Request.Record.By != q.By || r.seenOver[id] || c.Over() {
			continue
		}
		for _, g := range approve.Decide(r.succession(), c, q.Created.Time).Grants {
			if g.State == approve.Lapsed && !slices.ContainsFunc(c.Outlived, func(x approve.Outlived) bool { return x.Grant == g.Grant }) {
				all = append(all, outlives{id, g.Grant})
			}
		}
	}
	return all
}

// takes reports whether a case opens an entitlement at a time or later, before q could be
// over.
func (r *reference) takes(c approve.Case, g approve.GrantDecision, q request.Request, at time.Time) bool {
	opens, ends, ok := c.Window(r.succession(), g.Grant)
	return ok && !g.State.Settled() && at.Before(ends) && opens.Before(latest(q))
}

// roomInRole judges whether as many others as the rule allows have what is approved.
func (r *reference) roomInRole(q request.Request, base *request.Base, at time.Time) error {
	for _, g := range q.Grants {
		m, err := r.inForce().Match(q.By, g.Resource, g.Role, q.Created.Time)
		if err != nil || m.Rule.MaxOpenPerRole == 0 {
			continue
		}
		from := at
		if q.Extends != "" {
			for _, p := range base.Parts {
				if p.Grant == g && p.Ends.After(from) {
					from = p.Ends
				}
			}
		}
		with := map[record.ID]bool{}
		for _, id := range r.ids(record.KindRequest) {
			c, _ := r.request(id)
			for _, d := range approve.Decide(r.succession(), c, from).Grants {
				if id != q.ID && d.Grant == g && r.takes(c, d, q, from) {
					with[id] = true
				}
			}
		}
		n := len(with)
		for id := range with {
			if c, _ := r.request(id); with[c.Request.Record.Extends] {
				n--
			}
		}
		if n >= m.Rule.MaxOpenPerRole {
			return &policy.Refusal{Code: policy.TooManyInRole}
		}
	}
	return nil
}

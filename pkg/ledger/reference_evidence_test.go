package ledger_test

import (
	"cmp"
	"maps"
	"slices"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
)

// sights finds what the counted records of each key tell.
func (r *reference) sights() []ledger.Sight {
	found := map[record.Fingerprint]ledger.Sight{}
	for _, c := range r.counted {
		if _, void := r.voidSubkey(c.Primary(), c.Subkey()); c.locked || void {
			continue
		}
		head := found[c.Primary()].Head
		found[c.Primary()] = ledger.Sight{Key: c.Primary(), Head: max(head, c.headAt), Position: c.position, Created: c.Head().Created.UTC()}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b ledger.Sight) int { return cmp.Compare(a.Key, b.Key) })
}

// evidence finds the newest position that others than a key had seen, and what that
// says of the records that the key signed until its newest one.
func (r *reference) evidence(s ledger.Sight) (seen int, e ledger.Evidence) {
	now := r.inForce()
	for _, c := range r.counted {
		owner, known := now.OwnerOf(c.Primary())
		_, void := r.voidOf(c)
		if c.Primary() != s.Key && known && !void && !c.locked && !r.isLocked(owner, c.Primary()) {
			seen = max(seen, c.headAt)
		}
	}
	for _, c := range r.counted {
		at := c.Head().Created.UTC()
		if c.Primary() != s.Key || at.After(s.Created) {
			continue
		}
		if at.After(e.Last) {
			e.Last = at
		}
		if c.position <= seen && at.After(e.Answered) {
			e.Answered = at
		}
	}
	return seen, e
}

// hasTarget reports whether there is what a record names, where it takes away from a record.
func (r *reference) hasTarget(c counted) bool {
	if !c.Head().Kind.TakesAway() || c.Policy {
		return true
	}
	if c.Kind == record.KindDelegationEnd {
		e, err := approve.DecodeDelegationEnd(c.Verified)
		return err != nil || slices.ContainsFunc(r.counted, func(x counted) bool { return x.Kind == record.KindDelegation && x.ID == e.Delegation })
	}
	if c.Request == "" {
		return true
	}
	if c.Kind == record.KindWithdrawal {
		return r.approves(c, func(counted) bool { return true })
	}
	return slices.ContainsFunc(r.counted, func(x counted) bool { return x.Kind == record.KindRequest && x.ID == c.Request })
}

// approves reports whether whoever signed a record approved its request, in a way.
func (r *reference) approves(c counted, is func(counted) bool) bool {
	return slices.ContainsFunc(r.counted, func(x counted) bool {
		return x.Kind == record.KindApproval && !x.Policy && x.Request == c.Request && x.Head().By == c.Head().By && is(x)
	})
}

// meetEarly judges, once, what came before what it names, at the commit that brings that.
func (r *reference) meetEarly() {
	var now []counted
	r.early = slices.DeleteFunc(r.early, func(c counted) bool {
		if !r.hasTarget(c) || c.Kind == record.KindWithdrawal && !r.approves(c, func(a counted) bool { return a.headAt < c.position }) {
			return false
		}
		now = append(now, c)
		return true
	})
	what := func(c counted) record.ID {
		if e, err := approve.DecodeDelegationEnd(c.Verified); err == nil {
			return e.Delegation
		}
		return c.Request
	}
	slices.SortFunc(now, func(a, b counted) int {
		return cmp.Or(cmp.Compare(what(a), what(b)), cmp.Compare(a.position, b.position), cmp.Compare(a.path, b.path))
	})
	for _, c := range now {
		if r.judgeBytes(c.Place, c.blob, c.asc) == "" {
			r.met++
		}
	}
}

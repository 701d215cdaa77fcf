package ledger_test

import (
	"cmp"
	"maps"
	"slices"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
)

// sights finds what the counted records of each key tell.
func (r *reference) sights() []ledger.Sight {
	found := map[record.Fingerprint]ledger.Sight{}
	for _, c := range r.counted {
		if c.locked {
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
		_, void := r.void(c.Primary())
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

package approve

import (
	"slices"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// units gives the parts of a bundle that open apart from each other, as the numbers
// of their entitlements: each one whose rule opens it by itself, and the others
// together. What the policy said where the request stands decides, for good.
func (c Case) units(h policy.History) [][]int {
	r := c.Request.Record
	p := h.At(c.Request.Position)
	var apart [][]int
	var together []int
	for i, g := range r.Grants {
		if p != nil && len(r.Grants) > 1 {
			if m, err := p.Match(r.By, g.Resource, g.Role, r.Created.Time); err == nil && m.Rule.Partial {
				apart = append(apart, []int{i})
				continue
			}
		}
		together = append(together, i)
	}
	if len(together) > 0 || len(apart) == 0 {
		apart = append(apart, together)
	}
	return apart
}

// joined makes one decision of those of the parts. The request stands where the
// part does that is the furthest in its life; its window spans those of all.
func (c Case) joined(parts []Decision) Decision {
	order := []State{Active, Scheduled, Pending, Expired}
	rank := func(d Decision) int {
		if i := slices.Index(order, d.State); i >= 0 {
			return i
		}
		return len(order)
	}
	d := slices.MinFunc(parts, func(a, b Decision) int { return rank(a) - rank(b) })
	all := map[request.Grant]GrantDecision{}
	approvals := slices.Clone(parts[0].Approvals)
	d.Warnings = nil
	var keys []record.Fingerprint
	for _, part := range parts {
		for _, g := range part.Grants {
			all[g.Grant] = g
		}
		for i, s := range part.Approvals {
			// What one part has no need of, another may refuse: that is told.
			if s.Counted || !approvals[i].Counted && approvals[i].Why == "" {
				approvals[i] = s
			}
		}
		for _, w := range part.Warnings {
			if !slices.Contains(d.Warnings, w) {
				d.Warnings = append(d.Warnings, w)
			}
		}
		for _, k := range part.Keys {
			if !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
		}
		if part.State != d.State {
			continue
		}
		if !part.Opens.IsZero() && part.Opens.Before(d.Opens) {
			d.Opens = part.Opens
		}
		if part.Ends.After(d.Ends) {
			d.Ends = part.Ends
		}
		if part.Closed.After(d.Closed) {
			d.Closed = part.Closed
		}
	}
	d.Grants, d.Approvals, d.Keys = nil, approvals, keys
	for _, g := range c.Request.Record.Grants {
		d.Grants = append(d.Grants, all[g])
	}
	return d
}

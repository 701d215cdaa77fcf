package approve

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// TestOpensAgrees holds what is found of all who are eligible against what is found
// of each: the one is only the faster way.
func TestOpensAgrees(t *testing.T) {
	yes := 0
	rapid.Check(t, func(rt *rapid.T) {
		tl := drawAny(rt, t)
		if tl == nil {
			return
		}
		minute := rapid.IntRange(0, 300).Draw(rt, "minute")
		var chains []*chain
		for _, unit := range tl.c.units(tl.h) {
			chains = append(chains, newVerdict(tl.h, tl.c, unit, at(minute)).tally(sight{place: last}, tl.h.Latest(), at(minute), nil).chains...)
		}
		for _, c := range chains {
			if c == nil {
				continue
			}
			for i, s := range c.stages {
				opens := c.opens(s, at(minute))
				for _, name := range tl.h.Latest().People() {
					want, as := c.openTo(c.p, s, []string{name}, at(minute))
					got, _ := opens(name)
					if !reflect.DeepEqual(got, want) {
						rt.Fatalf("stage %d, %s: %v, want %v", i+1, name, got, want)
					}
					if as != "" {
						yes++
					}
				}
			}
		}
	})
	if yes == 0 {
		t.Error("nobody was eligible")
	}
}

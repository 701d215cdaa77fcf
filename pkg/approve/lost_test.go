package approve

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestLostOnce: an approval that has lost what it was signed with loses nothing more by what
// comes later in the history, whatever time that claims, and whether a merge brings it.
func TestLostOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		tl := drawLock(rt, t)
		if len(tl.c.Approvals) == 0 {
			rt.Skip("nobody approves")
		}
		i := rapid.IntRange(0, len(tl.c.Approvals)-1).Draw(rt, "approval")
		loses := func(what string) bool {
			when := rapid.IntRange(-30, 330).Draw(rt, what)
			if rapid.Bool().Draw(rt, "merged") {
				tl.merged(rapid.IntRange(1, tl.pos).Draw(rt, "fork"))
				defer tl.merged(0)
			}
			lost := Lost{Position: tl.pos + 1, Beside: tl.beside, At: at(when)}
			if !lost.Takes(tl.c.Approvals[i]) {
				return false
			}
			tl.loses(i, when, "")
			return true
		}
		if rapid.Bool().Draw(rt, "opened before") {
			tl.opened(rapid.IntRange(0, 300).Draw(rt, "opened"))
		}
		if !loses("first") {
			rt.Skip("it loses nothing")
		}
		drawRecord(rt, tl)
		if rapid.Bool().Draw(rt, "opened between") {
			tl.opened(rapid.IntRange(0, 300).Draw(rt, "opened"))
		}
		before := *tl
		before.c.Lost = slices.Clone(tl.c.Lost)
		if !loses("second") {
			return
		}
		if x, y := tl.c.Lost[len(before.c.Lost)], before.c.Lost[len(before.c.Lost)-1]; !x.Same(y) {
			rt.Fatalf("%+v is not the same as %+v", x, y)
		}
		drawRecord(rt, tl)
		before.c, before.h = tl.c, tl.h
		before.c.Lost = slices.Delete(slices.Clone(tl.c.Lost), len(tl.c.Lost)-1, len(tl.c.Lost))
		for _, m := range someMoments {
			if b, a := before.decide(m), tl.decide(m); !reflect.DeepEqual(b, a) {
				rt.Fatalf("at minute %d it was\n%+v\nand is\n%+v", m, b, a)
			}
		}
	})
}

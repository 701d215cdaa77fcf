package main

import (
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestDiffIsWhole holds that a diff loses and invents no line: what was kept and
// removed is the old text, what was kept and added the new one.
func TestDiffIsWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", ""}), 0, 12)
		old, next := lines.Draw(t, "old"), lines.Draw(t, "new")
		var before, after []string
		for _, e := range diffLines(old, next) {
			if e.op != '+' {
				before = append(before, e.text)
			}
			if e.op != '-' {
				after = append(after, e.text)
			}
		}
		if strings.Join(before, "\n") != strings.Join(old, "\n") || len(before) != len(old) {
			t.Fatalf("the old lines are %q in the diff, and %q", before, old)
		}
		if strings.Join(after, "\n") != strings.Join(next, "\n") || len(after) != len(next) {
			t.Fatalf("the new lines are %q in the diff, and %q", after, next)
		}
	})
}

func TestShowDiffCountsWhatItLeavesOut(t *testing.T) {
	old := strings.Repeat("same\n", 20) + "old\n"
	var b strings.Builder
	if !showDiff(&b, newStyle(io.Discard, false), old, strings.Repeat("same\n", 20)+"new\n") {
		t.Fatal("no change was seen")
	}
	want := "  … 17 lines as before\n    same\n    same\n    same\n  - old\n  + new\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	if showDiff(&b, newStyle(io.Discard, false), old, old) {
		t.Error("a change was seen between the same texts")
	}
}

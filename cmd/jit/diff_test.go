package main

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/jitaccess/jit/pkg/trial"
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

// TestConsequencesThatAreCut holds that what gives more stands before what takes away,
// and that of what is left out is said how much may give more.
func TestConsequencesThatAreCut(t *testing.T) {
	var c consequences
	for i := range maxChanges + 10 {
		c.Terms = append(c.Terms, trial.Change{Whom: "carol", What: fmt.Sprintf("db:r%d", i), Widens: i < maxChanges+3})
		c.Loses = append(c.Loses, trial.Change{Whom: "carol", What: fmt.Sprintf("web:r%d", i)})
	}
	var b strings.Builder
	(&App{}).renderConsequences(&b, newStyle(io.Discard, false), c)
	terms, loses, ok := strings.Cut(b.String(), "May no longer ask")
	if !ok || !strings.Contains(terms, "and 10 more, 3 of which may give more; see all") {
		t.Errorf("of the terms is said:\n%s", terms)
	}
	if !strings.Contains(loses, "and 10 more; see all") {
		t.Errorf("of what is lost is said:\n%s", loses)
	}
}

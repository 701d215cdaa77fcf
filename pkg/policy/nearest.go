package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jitaccess/jit/pkg/record"
)

// Nearest gives those of known that look most like name, closest first, at most
// three: for saying "did you mean". The answer may be empty. What is too long for a
// name is near to nothing: the search costs the product of the lengths.
func Nearest(name string, known []string) []string {
	if len(name) > record.MaxName {
		return nil
	}
	type scored struct {
		name  string
		score int
	}
	var near []scored
	most := max(1, len(name)/3)
	for _, k := range known {
		if len(k) > record.MaxName {
			continue
		}
		begins := strings.HasPrefix(k, name) && name != "" || strings.HasPrefix(name, k)
		if !begins && max(len(k)-len(name), len(name)-len(k)) > most {
			continue // as many edits at least
		}
		d := distance(name, k)
		switch {
		case begins:
			d = min(d, 1)
		case d > most:
			continue
		}
		near = append(near, scored{k, d})
	}
	slices.SortStableFunc(near, func(a, b scored) int { return a.score - b.score })
	var names []string
	for _, n := range near[:min(3, len(near))] {
		names = append(names, n.name)
	}
	return names
}

// nearest is a hint made of Nearest; without any, the known names are listed.
func nearest(name string, known []string) string {
	if near := Nearest(name, known); len(near) > 0 {
		return fmt.Sprintf("did you mean %s?", strings.Join(near, ", "))
	}
	if len(known) == 0 {
		return "there are none yet"
	}
	if len(known) > 8 {
		return fmt.Sprintf("known are %s and %d more", strings.Join(known[:8], ", "), len(known)-8)
	}
	return "known are " + strings.Join(known, ", ")
}

// distance is the number of edits from a to b: a letter changed, added, left
// out, or two neighbours swapped (optimal string alignment).
func distance(a, b string) int {
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			change := row[j]
			if a[i] != b[j] {
				change++
			}
			next[j+1] = min(change, row[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}

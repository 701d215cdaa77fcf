package main

import (
	"fmt"
	"io"
	"strings"
)

// edit is one line of a diff: kept (' '), removed ('-') or added ('+').
type edit struct {
	op   byte
	text string
}

// diffLines gives the lines of a and b with what was removed and added: a
// shortest edit, by the longest common subsequence of what lies between the
// common beginning and the common end.
func diffLines(a, b []string) []edit {
	start := 0
	for start < len(a) && start < len(b) && a[start] == b[start] {
		start++
	}
	end := 0
	for end < len(a)-start && end < len(b)-start && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	var out []edit
	keep := func(lines []string) {
		for _, l := range lines {
			out = append(out, edit{' ', l})
		}
	}
	keep(a[:start])
	out = append(out, diffMiddle(a[start:len(a)-end], b[start:len(b)-end])...)
	keep(a[len(a)-end:])
	return out
}

// maxTable bounds the table of diffMiddle; past it everything counts as
// replaced, which is true, if not short.
const maxTable = 16 << 20

func diffMiddle(a, b []string) []edit {
	var out []edit
	if len(a) > 0 && len(b) > maxTable/max(1, len(a)) {
		for _, l := range a {
			out = append(out, edit{'-', l})
		}
		for _, l := range b {
			out = append(out, edit{'+', l})
		}
		return out
	}
	// common[i][j] is the length of the longest common subsequence of a[i:] and b[j:].
	common := make([][]int32, len(a)+1)
	for i := range common {
		common[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, edit{' ', a[i]})
			i, j = i+1, j+1
		case j == len(b) || i < len(a) && common[i+1][j] >= common[i][j+1]:
			out = append(out, edit{'-', a[i]})
			i++
		default:
			out = append(out, edit{'+', b[j]})
			j++
		}
	}
	return out
}

// diffContext is how many unchanged lines are shown around a change.
const diffContext = 3

// showDiff writes the changes from old to new, and reports whether there are
// any. Left out lines are counted, so that nobody takes a part for the whole.
func showDiff(w io.Writer, st *Style, old, new string) (changed bool) {
	edits := diffLines(splitLines(old), splitLines(new))
	near := make([]bool, len(edits))
	for i, e := range edits {
		if e.op == ' ' {
			continue
		}
		changed = true
		for j := max(0, i-diffContext); j <= min(len(edits)-1, i+diffContext); j++ {
			near[j] = true
		}
	}
	if !changed {
		return false
	}
	skipped := 0
	flush := func() {
		if skipped > 0 {
			fmt.Fprintf(w, "  %s\n", st.Faint(fmt.Sprintf("… %s as before", count(skipped, "line"))))
		}
		skipped = 0
	}
	for i, e := range edits {
		if !near[i] {
			skipped++
			continue
		}
		flush()
		line := "  " + string(e.op) + " " + e.text
		switch e.op {
		case '-':
			line = st.Bad(line)
		case '+':
			line = st.Good(line)
		}
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}
	flush()
	return true
}

func splitLines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

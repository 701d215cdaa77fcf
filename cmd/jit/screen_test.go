package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// shownOn is what a terminal of so many columns is sent for some writes.
func shownOn(columns int, writes ...string) []string {
	var out strings.Builder
	s := &screen{w: &out, columns: func() int { return columns }}
	for _, text := range writes {
		if n, err := s.Write([]byte(text)); n != len(text) || err != nil {
			panic("a write was cut short")
		}
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

func TestScreenBreaksLines(t *testing.T) {
	pad := strings.Repeat(" ", 100)
	for name, c := range map[string]struct {
		writes []string
		want   []string
	}{
		"short":             {[]string{"a  b   c\n"}, []string{"a  b   c"}},
		"below its value":   {[]string{"  reason     one two three four five six\n"}, []string{"  reason     one two three", "             four five six"}},
		"without a label":   {[]string{"one two three four five six seven\n"}, []string{"one two three four five six", "      seven"}},
		"within a frame":    {[]string{"  │ reason: one two three four five six\n"}, []string{"  │ reason: one two three", "  ┆         four five six"}},
		"padded":            {[]string{"  reason     x" + pad + "Grants" + pad + "│ a\n"}, []string{"  reason     x Grants │ a"}},
		"padded from afar":  {[]string{"x" + pad + "Grants\n"}, []string{"x", "      Grants"}},
		"blanks at the end": {[]string{"  reason     x" + pad + "\n"}, []string{"  reason     x"}},
		"one long word":     {[]string{"  reason     " + strings.Repeat("x", 40) + "\n"}, []string{"  reason     " + strings.Repeat("x", 16), "             " + strings.Repeat("x", 16), "             " + strings.Repeat("x", 8)}},
		"wide":              {[]string{"  reason     " + strings.Repeat("漢", 12) + "\n"}, []string{"  reason     " + strings.Repeat("漢", 8), "             " + strings.Repeat("漢", 4)}},
		"maybe wide":        {[]string{"  reason     " + strings.Repeat("я", 12) + "\n"}, []string{"  reason     " + strings.Repeat("я", 8), "             " + strings.Repeat("я", 4)}},
		"in pieces":         {[]string{"  reason  ", "   one two ", "three four", " five\n", "next\n"}, []string{"  reason     one two three", "             four five", "next"}},
		"colour":            {[]string{"  \x1b[2mreason   \x1b[0m  one two three \x1b[1mfour\x1b[0m\n"}, []string{"  \x1b[2mreason   \x1b[0m  one two three \x1b[1m", "             four\x1b[0m"}},
		"begins anew":       {[]string{"\r\x1b[Kone two three four", "\r\x1b[Kone two three\n"}, []string{"\r\x1b[Kone two three four\r\x1b[Kone two three"}},
		"question":          {[]string{"Approve it? [y/N] "}, []string{"Approve it? [y/N] "}},
	} {
		t.Run(name, func(t *testing.T) {
			got := shownOn(30, c.writes...)
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("shown:\n%q\nwant:\n%q", got, c.want)
			}
		})
	}
}

// TestScreenIsNeverTooWide shows lines of all lengths in terminals of all widths: no
// row is as wide as the terminal, and none but the first begins where jit's do.
func TestScreenIsNeverTooWide(t *testing.T) {
	const text = "fix  the漢字cart│🙂 duration:   5m "
	for columns := minColumns + 1; columns < 130; columns++ {
		for _, begins := range []string{"", "  ", frame, "  reason     ", "jit: "} {
			rows := shownOn(columns, begins+strings.Repeat(text, 8)+"\n")
			for i, row := range rows {
				if cellsOf(row) >= columns {
					t.Fatalf("%d columns: row %q takes %d", columns, row, cellsOf(row))
				}
				if i > 0 && !strings.HasPrefix(row, "      ") && !strings.HasPrefix(row, "  ┆   ") {
					t.Fatalf("%d columns: row %q begins where a line of jit's may", columns, row)
				}
			}
		}
	}
}

// TestJSONOnATerminal: what is shown differs, the data does not.
func TestJSONOnATerminal(t *testing.T) {
	before := map[string]string{"reason": `a  "b   \" c\\`, `  k" :  `: " x "}
	data, err := json.MarshalIndent(before, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	shown := visibleBlanks(data)
	for line := range strings.Lines(string(shown)) {
		if strings.Contains(strings.TrimLeft(line, " "), "  ") {
			t.Errorf("a run of blanks does not show: %s", line)
		}
	}
	var after map[string]string
	if err := json.Unmarshal(shown, &after); err != nil || len(after) != len(before) {
		t.Fatalf("%s: %v", shown, err)
	}
	for k, v := range before {
		if after[k] != v {
			t.Errorf("%q became %q", v, after[k])
		}
	}
}

// TestLinesOfOthers: what a server or a record says on several lines begins none where
// jit's begin.
func TestLinesOfOthers(t *testing.T) {
	var shown strings.Builder
	a := &App{IO: &Streams{Err: &shown}}
	const text = "no\nGrants FORGED\n  │ duration: 5m FORGED"
	a.printError(&exitError{Message: text, Hint: text}, false)
	a.Warn("%s", text)
	a.Say("%s", clean(text))
	fields{&shown, a.IO.ErrStyle()}.add("reason", text)
	lines := strings.Split(shown.String(), "\n")
	if len(lines) < 12 {
		t.Fatalf("only %q was shown", lines)
	}
	for _, line := range lines {
		if strings.Contains(line, "FORGED") && !strings.HasPrefix(line, strings.Repeat(" ", hang)) {
			t.Errorf("a line that seems to be jit's own: %q", line)
		}
	}
}

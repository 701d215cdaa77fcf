package main

import (
	"io"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/width"
)

// A terminal goes on at its first column where a line is longer than it is wide. What
// others wrote could so be laid out, by padding, as if jit itself had written the next
// lines. So jit breaks the lines that it shows: what goes on stands further in than
// anything that jit begins a line with, and marked where it goes on within a frame.

const (
	// hang is how much further in a broken line goes on than it began: no line of
	// jit's own begins there.
	hang = 6
	// maxHang is the furthest in that a line goes on below its value.
	maxHang = 30
	// minColumns is the narrowest width that lines are broken for: below, there is no
	// room to the right of a hang.
	minColumns = 16
	// frame is what the lines of a shown document begin with, and frameOn what they go
	// on with, which stands where no line of a document begins.
	frame   = "  │ "
	frameOn = "  ┆         "
)

// screen writes to a terminal and breaks the lines that are longer than it is wide.
// Within a broken line runs of blanks become one: they are no means of layout.
type screen struct {
	w       io.Writer
	columns func() int

	mu     sync.Mutex
	line   strings.Builder // of the line being written, what is shown of it
	column int             // of the terminal, in cells from 0
	broken bool            // it has been broken
	blanks int             // seen, and not yet written
}

// rawWriter gives what w writes to, for data, which is not broken.
func rawWriter(w io.Writer) io.Writer {
	if s, ok := w.(*screen); ok {
		return s.w
	}
	return w
}

// streamOf gives the stream that w leads to, for a program that jit starts.
func streamOf(w io.Writer) io.Writer {
	w = rawWriter(w)
	if o, ok := w.(*outlet); ok {
		return o.to
	}
	return w
}

// begun is told that the person's own line end began a new line.
func (s *screen) begun() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begin()
}

func (s *screen) begin() {
	s.line.Reset()
	s.column, s.broken, s.blanks = 0, false, 0
}

// Write implements [io.Writer].
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit := s.columns() - 1 // the last column is left free: some terminals go on at once
	var out strings.Builder
	for line := range strings.Lines(string(p)) {
		text, ended := strings.CutSuffix(line, "\n")
		// What goes back to the beginning, as progress does, begins anew.
		for {
			before, after, back := strings.Cut(text, "\r")
			s.put(&out, before, limit)
			if !back {
				break
			}
			out.WriteByte('\r')
			s.begin()
			text = after
		}
		if ended {
			out.WriteByte('\n')
			s.begin()
		} else {
			s.flush(&out, limit)
		}
	}
	if _, err := io.WriteString(s.w, out.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// put writes a part of a line.
func (s *screen) put(out *strings.Builder, text string, limit int) {
	if limit < minColumns {
		out.WriteString(text)
		return
	}
	tokens := tokensOf(text)
	total := s.column + s.blanks
	var whole strings.Builder
	whole.WriteString(s.line.String())
	for _, t := range tokens {
		total += t.cells
		if t.kind != escape {
			whole.WriteString(t.text)
		}
	}
	s.broken = s.broken || total > limit
	on := goesOn(whole.String(), limit)
	for _, t := range tokens {
		switch t.kind {
		case escape:
			s.flush(out, limit)
			out.WriteString(t.text)
			continue
		case blanks:
			s.blanks += t.cells
			if s.broken && s.column >= cellsOf(on) {
				s.blanks = min(s.blanks, 1)
			}
			s.line.WriteString(t.text)
			continue
		}
		if s.column+s.blanks+t.cells > limit && s.column+s.blanks > cellsOf(on) {
			s.next(out, on)
		}
		s.flush(out, limit)
		for _, r := range t.text {
			n := cells(r)
			if s.column+n > limit { // longer than a row
				s.next(out, on)
			}
			out.WriteRune(r)
			s.column += n
		}
		s.line.WriteString(t.text)
	}
}

// next goes on in the row below.
func (s *screen) next(out *strings.Builder, on string) {
	out.WriteString("\n" + on)
	s.column, s.blanks = cellsOf(on), 0
}

// flush writes the blanks that stand before what comes next. Those that would be past
// the end of the row show nothing.
func (s *screen) flush(out *strings.Builder, limit int) {
	n := s.blanks
	if limit >= minColumns {
		n = min(n, max(limit-s.column, 0))
	}
	out.WriteString(strings.Repeat(" ", n))
	s.column, s.blanks = s.column+n, 0
}

// goesOn is what the rows begin with in which a line goes on: below its value, where
// it has a label that two blanks or more set apart, else further in than it begins.
func goesOn(line string, limit int) string {
	if strings.HasPrefix(line, frame) {
		return frameOn
	}
	text := strings.TrimLeft(line, " ")
	lead := len(line) - len(text)
	in := lead + hang
	if label, rest, ok := strings.Cut(text, "  "); ok {
		value := lead + cellsOf(label) + 2 + len(rest) - len(strings.TrimLeft(rest, " "))
		if value >= lead+hang && value <= maxHang {
			in = value
		}
	}
	return strings.Repeat(" ", min(in, max(limit/2, hang)))
}

type tokenKind int

const (
	word tokenKind = iota
	blanks
	escape // a terminal's own sequence, which takes no room
)

type token struct {
	kind  tokenKind
	text  string
	cells int
}

// tokensOf cuts a line where it may be broken.
func tokensOf(s string) []token {
	var all []token
	for s != "" {
		n, kind := 0, word
		switch s[0] {
		case '\x1b':
			n, kind = escapeLen(s), escape
		case ' ':
			n, kind = len(s)-len(strings.TrimLeft(s, " ")), blanks
		default:
			if n = strings.IndexAny(s, " \x1b"); n < 0 {
				n = len(s)
			}
		}
		t := token{kind: kind, text: s[:n]}
		if kind != escape {
			t.cells = cellsOf(t.text)
		}
		all, s = append(all, t), s[n:]
	}
	return all
}

// escapeLen is the length of the control sequence with which s begins: those that jit
// writes are ESC [ and what ends with a letter.
func escapeLen(s string) int {
	if len(s) < 2 || s[1] != '[' {
		return 1
	}
	for i := 2; i < len(s); i++ {
		if s[i] >= 0x40 && s[i] <= 0x7e {
			return i + 1
		}
	}
	return len(s)
}

// cellsOf is the most cells that a terminal takes to show s.
func cellsOf(s string) int {
	n := 0
	for _, r := range s {
		n += cells(r)
	}
	return n
}

// firstPictograph is where the blocks of pictures begin, of which terminals disagree
// which are wide.
const firstPictograph = 0x1f000

// cells is the most cells that a terminal takes to show r. East Asian terminals show
// characters of ambiguous width wide, and marks may stand by themselves: a row that is
// broken too early does no harm, one that a terminal breaks itself does.
func cells(r rune) int {
	if r < utf8.RuneSelf {
		return 1
	}
	if r >= firstPictograph {
		return 2
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth, width.EastAsianAmbiguous:
		return 2
	}
	return 1
}

package record

import (
	"bytes"
	"fmt"
	"iter"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// CheckText reports whether s may stand in a record, where people will read
// it. It may hold letters, marks, digits, punctuation, symbols, the space and
// the line feed, in Unicode's composed form (NFC). Everything that can hide,
// reorder or forge what is seen is refused with [ReasonUnsafeText]: control
// characters (the tab too), bidirectional and other format characters,
// zero-width and other invisible characters, marks that stand on nothing or on
// another script's character, spaces other than U+0020, line and paragraph
// separators, private, unassigned and surrogate code points.
//
// Line and Column of the refusal count from the start of s.
func CheckText(s string) error {
	if !utf8.ValidString(s) {
		return refuse(ReasonNotUTF8, "text is not valid UTF-8")
	}
	return checkText([]byte(s))
}

// checkText is CheckText for bytes that are known to be valid UTF-8.
func checkText(b []byte) error {
	ascii := true
	var on marks
	for i := 0; i < len(b); {
		if c := b[i]; c < utf8.RuneSelf {
			if c < 0x20 && c != '\n' || c == 0x7f {
				line, column := position(b, i)
				return refuse(ReasonUnsafeText, "control character U+%04X", c).at(line, column)
			}
			i, on.base, on.stack = i+1, rune(c), 0
			if c == ' ' || c == '\n' {
				on.base = 0
			}
			continue
		}
		ascii = false
		r, size := utf8.DecodeRune(b[i:])
		why := unsafe(r)
		if why == "" {
			why = on.unfit(r)
		}
		if why != "" {
			line, column := position(b, i)
			return refuse(ReasonUnsafeText, "%s U+%04X", why, r).at(line, column)
		}
		i += size
	}
	if !ascii && !norm.NFC.IsNormal(b) {
		n := norm.NFC.QuickSpan(b)
		line, column := position(b, min(n, len(b)))
		return refuse(ReasonUnsafeText, "text is not in composed form (NFC)").at(line, column)
	}
	return nil
}

// blank are the assigned characters of harmless categories that show nothing or an
// empty space and that no property of Unicode tells apart: they are named so in its
// code charts.
var blank = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x2800, Hi: 0x2800, Stride: 1}, // braille pattern blank
		{Lo: 0x2d7f, Hi: 0x2d7f, Stride: 1}, // Tifinagh consonant joiner
		{Lo: 0xfffc, Hi: 0xfffc, Stride: 1}, // object replacement character
	},
	R32: []unicode.Range32{
		{Lo: 0x1107f, Hi: 0x1107f, Stride: 1}, // Brahmi number joiner
		{Lo: 0x13441, Hi: 0x13442, Stride: 1}, // Egyptian hieroglyph full and half blank
		{Lo: 0x16fe4, Hi: 0x16fe4, Stride: 1}, // Khitan small script filler
		{Lo: 0x1d159, Hi: 0x1d159, Stride: 1}, // musical symbol null notehead
	},
}

// unsafe says why the non-ASCII rune r is refused, or "". The properties are those of
// the Unicode version of Go's own tables ([unicode.Version]). Default_Ignorable_Code_Point
// is derived there: it is the two properties named here and format characters (UAX #44).
func unsafe(r rune) string {
	switch {
	case unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector, blank):
		return "invisible character"
	case unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S):
		return ""
	case unicode.Is(unicode.Cc, r):
		return "control character"
	case unicode.Is(unicode.Cf, r):
		return "format character"
	case unicode.Is(unicode.Z, r):
		return "unusual space or separator"
	}
	return "unassigned or private character"
}

// maxMarks is the most marks that one character carries: the scripts that stack most,
// such as Tibetan and pointed Hebrew, write fewer, and a longer stack reaches into the
// lines above and below.
const maxMarks = 8

// dottedCircle is what Unicode shows a mark on that has no base of its own.
const dottedCircle = '\u25cc'

// marks judges each mark of a text by what it stands on: one without a base, or on a
// base of a script in which it is not written, shows as nothing or on its neighbour.
type marks struct {
	base  rune // what the next mark stands on; 0 where there is nothing
	stack int
}

// unfit takes the next rune and says why it is refused, or "".
func (m *marks) unfit(r rune) string {
	if !unicode.Is(unicode.M, r) {
		m.base, m.stack = r, 0
		return ""
	}
	m.stack++
	switch {
	case m.base == 0:
		return "mark without a character to stand on,"
	case m.stack > maxMarks:
		return "too many marks on one character,"
	case m.base == dottedCircle:
		return ""
	}
	if script := scriptOfMark()[r]; script != nil && !unicode.Is(script, m.base) {
		return "mark on a character of another script,"
	}
	return ""
}

// scriptOfMark gives the script of each mark; nil for those that many scripts share.
var scriptOfMark = sync.OnceValue(func() map[rune]*unicode.RangeTable {
	all := map[rune]*unicode.RangeTable{}
	for name, script := range unicode.Scripts {
		if name == "Inherited" || name == "Common" {
			continue
		}
		for r := range runesOf(script) {
			if unicode.Is(unicode.M, r) {
				all[r] = script
			}
		}
	}
	return all
})

// runesOf gives the runes of a table.
func runesOf(table *unicode.RangeTable) iter.Seq[rune] {
	return func(yield func(rune) bool) {
		for _, x := range table.R16 {
			for r := rune(x.Lo); r <= rune(x.Hi); r += rune(x.Stride) {
				if !yield(r) {
					return
				}
			}
		}
		for _, x := range table.R32 {
			for r := rune(x.Lo); r <= rune(x.Hi); r += rune(x.Stride) {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// position gives the line and column, from 1 and in characters, of the byte
// offset in b.
func position(b []byte, offset int) (line, column int) {
	start := bytes.LastIndexByte(b[:offset], '\n') + 1
	return bytes.Count(b[:offset], []byte{'\n'}) + 1, utf8.RuneCount(b[start:offset]) + 1
}

// checkLine is CheckText for a name or another short text on one line.
func checkLine(what, s string, most int) error {
	switch {
	case s == "":
		return refuse(ReasonMissingField, "%s is empty", what)
	case len(s) > most:
		return refuse(ReasonTooLarge, "%s has %d bytes, more than %d", what, len(s), most)
	case strings.ContainsRune(s, '\n'):
		return refuse(ReasonUnsafeText, "%s has more than one line", what)
	case strings.TrimSpace(s) != s:
		return refuse(ReasonUnsafeText, "%s begins or ends with a space", what)
	}
	if err := CheckText(s); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

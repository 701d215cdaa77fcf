package record

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// CheckText reports whether s may stand in a record, where people will read
// it. It may hold letters, marks, digits, punctuation, symbols, the space and
// the line feed, in Unicode's composed form (NFC). Everything that can hide,
// reorder or forge what is seen is refused with [ReasonUnsafeText]: control
// characters (the tab too), bidirectional and other format characters,
// zero-width and other invisible characters, spaces other than U+0020, line
// and paragraph separators, private, unassigned and surrogate code points.
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
	for i := 0; i < len(b); {
		if c := b[i]; c < utf8.RuneSelf {
			if c < 0x20 && c != '\n' || c == 0x7f {
				line, column := position(b, i)
				return refuse(ReasonUnsafeText, "control character U+%04X", c).at(line, column)
			}
			i++
			continue
		}
		ascii = false
		r, size := utf8.DecodeRune(b[i:])
		if why := unsafe(r); why != "" {
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

// invisible are assigned characters of harmless categories that show nothing
// or an empty space.
var invisible = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x034f, Hi: 0x034f, Stride: 1}, // combining grapheme joiner
		{Lo: 0x115f, Hi: 0x1160, Stride: 1}, // Hangul fillers
		{Lo: 0x17b4, Hi: 0x17b5, Stride: 1}, // Khmer inherent vowels
		{Lo: 0x180b, Hi: 0x180f, Stride: 1}, // Mongolian selectors
		{Lo: 0x2800, Hi: 0x2800, Stride: 1}, // blank braille pattern
		{Lo: 0x3164, Hi: 0x3164, Stride: 1}, // Hangul filler
		{Lo: 0xfe00, Hi: 0xfe0f, Stride: 1}, // variation selectors
		{Lo: 0xffa0, Hi: 0xffa0, Stride: 1}, // halfwidth Hangul filler
	},
	R32: []unicode.Range32{
		{Lo: 0xe0100, Hi: 0xe01ef, Stride: 1}, // variation selectors supplement
	},
}

// unsafe says why the non-ASCII rune r is refused, or "".
func unsafe(r rune) string {
	switch {
	case unicode.Is(invisible, r):
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

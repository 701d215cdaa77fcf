package record

import (
	"bytes"
	"errors"
	"math/rand"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	testID    = "01JDF3YH0G5C8M2Q4R6T8V0W1X"
	testStore = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	testHead  = "apiVersion: jit/v1\nkind: request\nid: " + testID + "\nstore: " + testStore +
		"\nhead: 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ncreated: 2026-11-24T09:00:00Z\nby: alice\n"
)

type testGrant struct {
	Resource string `yaml:"resource"`
	Role     string `yaml:"role"`
}

type testRecord struct {
	Head      `yaml:",inline"`
	Grants    []testGrant    `yaml:"grants,omitempty"`
	Text      string         `yaml:"text,omitempty"`
	Count     int            `yaml:"count,omitempty"`
	Yes       bool           `yaml:"flag,omitempty"`
	At        *Timestamp     `yaml:"at,omitempty"`
	Params    map[string]any `yaml:"params,omitempty"`
	Extra     Digest         `yaml:"extra,omitempty"`
	unexposed int            //nolint:unused // no key may reach it
}

func TestDecodeStrictRefuses(t *testing.T) {
	tests := []struct {
		name   string
		body   string
		reason Reason
		line   int
	}{
		{"duplicate key", "text: a\ntext: b\n", ReasonDuplicateKey, 9},
		{"duplicate nested", "params: {a: 1, a: 2}\n", ReasonDuplicateKey, 8},
		{"duplicate through quotes", "text: a\n\"text\": b\n", ReasonDuplicateKey, 9},
		{"unknown key", "txet: a\n", ReasonUnknownKey, 8},
		{"unknown nested key", "grants:\n  - resource: a\n    role: b\n    rule: c\n", ReasonUnknownKey, 11},
		{"unexported field", "unexposed: 1\n", ReasonUnknownKey, 8},
		{"inline field name", "head2: 1\n", ReasonUnknownKey, 8},
		{"alias", "params: {a: &x 1, b: *x}\n", ReasonAlias, 8},
		{"anchor alone", "text: &x a\n", ReasonAlias, 8},
		{"merge key", "params:\n  <<: {a: 1}\n", ReasonAlias, 9},
		{"tag", "text: !!str 1\n", ReasonTag, 8},
		{"own tag", "text: !x a\n", ReasonTag, 8},
		{"bare tag", "text: ! 12\n", ReasonTag, 8},
		{"bare tag after wide text", "params: {\"é\": ! 12}\n", ReasonTag, 8},
		{"binary tag", "text: !!binary aGk=\n", ReasonTag, 8},
		{"second document", "---\ntext: a\n", ReasonNotOneDocument, 8},
		{"end marker", "...\n", ReasonNotOneDocument, 8},
		{"directive", "%YAML 1.1\n", ReasonNotOneDocument, 8},
		{"null", "text: null\n", ReasonBadValue, 8},
		{"tilde", "text: ~\n", ReasonBadValue, 8},
		{"empty", "text:\n", ReasonBadValue, 8},
		{"float", "count: 1.0\n", ReasonBadNumber, 8},
		{"exponent", "count: 1e3\n", ReasonBadNumber, 8},
		{"infinity", "count: .inf\n", ReasonBadNumber, 8},
		{"not a number", "text: .nan\n", ReasonBadNumber, 8},
		{"hexadecimal", "count: 0x10\n", ReasonBadNumber, 8},
		{"octal", "count: 0o17\n", ReasonBadNumber, 8},
		{"old octal", "count: 017\n", ReasonBadNumber, 8},
		{"binary", "count: 0b11\n", ReasonBadNumber, 8},
		{"underscores", "count: 1_000\n", ReasonBadNumber, 8},
		{"plus", "count: +1\n", ReasonBadNumber, 8},
		{"too large a number", "count: 99999999999999999999999\n", ReasonBadNumber, 8},
		{"number past its type", "count: 9223372036854775808\n", ReasonBadValue, 0},
		{"base sixty", "text: 1:30\n", ReasonBadNumber, 8},
		{"number as text", "text: 12\n", ReasonBadValue, 8},
		{"text as number", "count: \"12\"\n", ReasonBadValue, 8},
		{"yes", "flag: yes\n", ReasonBadValue, 8},
		{"Norway", "text: NO\n", ReasonBadValue, 8},
		{"True", "flag: True\n", ReasonBadValue, 8},
		{"text as truth", "flag: \"true\"\n", ReasonBadValue, 8},
		{"key that is no text", "params: {1: a}\n", ReasonBadValue, 8},
		{"old truth as key", "params: {on: a}\n", ReasonBadValue, 8},
		{"list as key", "params: {[a]: b}\n", ReasonBadValue, 8},
		{"list for text", "text: [a]\n", ReasonBadValue, 8},
		{"text for list", "grants: a\n", ReasonBadValue, 8},
		{"map for list", "grants: {resource: a, role: b}\n", ReasonBadValue, 8},
		{"tab", "text: \"a\tb\"\n", ReasonUnsafeText, 8},
		{"carriage return", "text: a\r\n", ReasonUnsafeText, 8},
		{"escape for a control character", "text: \"a\\x1b[31m\"\n", ReasonUnsafeText, 8},
		{"escape for an override", "text: \"a\\u202eb\"\n", ReasonUnsafeText, 8},
		{"escape in a key", "params: {\"a\\u200b\": 1}\n", ReasonUnsafeText, 8},
		{"override", "text: a\u202eb\n", ReasonUnsafeText, 8},
		{"override in a comment", "text: a # \u2066b\n", ReasonUnsafeText, 8},
		{"zero width", "text: a\u200bb\n", ReasonUnsafeText, 8},
		{"next line", "text: a\u0085b\n", ReasonUnsafeText, 8},
		{"line separator", "text: a\u2028b\n", ReasonUnsafeText, 8},
		{"not composed", "text: e\u0301\n", ReasonUnsafeText, 8},
		{"bad time", "at: 2026-11-24T09:00:00+01:00\n", ReasonBadTime, 8},
		{"fraction of a second", "at: 2026-11-24T09:00:00.5Z\n", ReasonBadTime, 8},
		{"date alone", "at: 2026-11-24\n", ReasonBadTime, 8},
		{"no such day", "at: 2026-02-30T09:00:00Z\n", ReasonBadTime, 8},
		{"bad digest", "extra: " + strings.ToUpper(testStore) + "\n", ReasonBadValue, 8},
		{"nested too deep", "params: {a: " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "}\n", ReasonTooLarge, 8},
		{"nested much too deep", "params: " + strings.Repeat("[", 100000) + "\n", ReasonBadYAML, 0},
		{"unclosed", "params: {a: [\n", ReasonBadYAML, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r testRecord
			err := DecodeStrict([]byte(testHead+tt.body), &r)
			if got := ReasonOf(err); got != tt.reason {
				t.Fatalf("reason %q (%v), want %q", got, err, tt.reason)
			}
			var refusal *Refusal
			errors.As(err, &refusal)
			if tt.line > 0 && refusal.Line != tt.line {
				t.Errorf("line %d (%v), want %d", refusal.Line, err, tt.line)
			}
		})
	}
}

func TestDecodeStrictBytes(t *testing.T) {
	tests := []struct {
		name   string
		data   string
		reason Reason
	}{
		{"empty", "", ReasonNotOneDocument},
		{"comment only", "# nothing\n", ReasonNotOneDocument},
		{"scalar", "a\n", ReasonBadValue},
		{"list", "- a\n", ReasonBadValue},
		{"byte order mark", "\ufeff" + testHead, ReasonBOM},
		{"UTF-16", "\xff\xfea\x00", ReasonBOM},
		{"Latin-1", testHead + "text: caf\xe9\n", ReasonNotUTF8},
		{"NUL", testHead + "text: \x00\n", ReasonUnsafeText},
		{"too large", testHead + "text: " + strings.Repeat("a", MaxSize), ReasonTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r testRecord
			if err := DecodeStrict([]byte(tt.data), &r); ReasonOf(err) != tt.reason {
				t.Fatalf("reason %q (%v), want %q", ReasonOf(err), err, tt.reason)
			}
		})
	}
	if err := DecodeStrict([]byte(testHead), testRecord{}); err == nil {
		t.Error("decoded into a value that is no pointer")
	}
	var many strings.Builder
	many.WriteString("a: [")
	for range maxNodes {
		many.WriteString("b,")
	}
	many.WriteString("]\n")
	if err := DecodeStrict([]byte(many.String()), &map[string]any{}); ReasonOf(err) != ReasonTooLarge {
		t.Errorf("many nodes: %v", err)
	}
}

func TestDecodeStrictAccepts(t *testing.T) {
	body := "grants:\n  - {resource: a, role: b} # why\ntext: \"12\"\ncount: -3\nflag: true\nat: 2026-12-24T00:00:00Z\n" +
		"params: {day: 2026-12-24, t: \"1:30\", num: 0, list: [x, \"no\"]}\n"
	var r testRecord
	if err := DecodeStrict([]byte(testHead+body), &r); err != nil {
		t.Fatal(err)
	}
	if r.Count != -3 || !r.Yes || r.Text != "12" || r.By != "alice" || len(r.Grants) != 1 || r.At == nil || r.At.Year() != 2026 {
		t.Errorf("decoded %+v", r)
	}
	if day, ok := r.Params["day"].(string); !ok || day != "2026-12-24" {
		t.Errorf("a date in free parameters is %T %v, want its text", r.Params["day"], r.Params["day"])
	}
}

func TestDecodeHead(t *testing.T) {
	h, err := DecodeHead([]byte(testHead + "anything: [1, 2]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if h.ID != testID || h.Kind != KindRequest || h.By != "alice" || !h.Created.Time.Equal(time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)) {
		t.Errorf("head %+v", h)
	}
	replace := func(old, new string) string {
		s := strings.Replace(testHead, old, new, 1)
		if s == testHead {
			t.Fatalf("%q is not in the head", old)
		}
		return s
	}
	tests := []struct {
		name   string
		data   string
		reason Reason
	}{
		{"no version", replace("apiVersion: jit/v1\n", ""), ReasonBadVersion},
		{"other version", replace("jit/v1", "jit/v2"), ReasonBadVersion},
		{"other version before all else", "apiVersion: jit/v2\nkind: zzz\n", ReasonBadVersion},
		{"unknown kind", replace("request", "requests"), ReasonBadKind},
		{"lower-case id", replace(testID, strings.ToLower(testID)), ReasonBadID},
		{"short id", replace(testID, testID[1:]), ReasonBadID},
		{"upper-case store", replace(testStore, strings.ToUpper(testStore)), ReasonBadValue},
		{"empty store", replace(testStore, `""`), ReasonBadValue},
		{"short head", replace("4b825dc642cb6eb9a060e54bf8d69288fbee4904", "4b825dc"), ReasonBadValue},
		{"no time", replace("created: 2026-11-24T09:00:00Z\n", ""), ReasonMissingField},
		{"no name", replace("by: alice", `by: ""`), ReasonMissingField},
		{"name of two lines", replace("by: alice", `by: "a\nb"`), ReasonUnsafeText},
		{"name with spaces around", replace("by: alice", `by: " alice"`), ReasonUnsafeText},
		{"long name", replace("by: alice", "by: "+strings.Repeat("a", 200)), ReasonTooLarge},
		{"no by", replace("by: alice\n", ""), ReasonMissingField},
		{"out of order", replace("kind: request\nid: "+testID, "id: "+testID+"\nkind: request"), ReasonBadValue},
		{"body before head", replace("by: alice", "x: y\nby: alice"), ReasonBadValue},
		{"too large for its kind", testHead + "text: " + strings.Repeat("a", maxSmall), ReasonTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := DecodeHead([]byte(tt.data)); ReasonOf(err) != tt.reason {
				t.Fatalf("reason %q (%v), want %q", ReasonOf(err), err, tt.reason)
			}
		})
	}
	policy := strings.Replace(testHead, "kind: request", "kind: policy", 1) + "text: " + strings.Repeat("a", maxSmall)
	if _, err := DecodeHead([]byte(policy)); err != nil {
		t.Errorf("large policy: %v", err)
	}
}

func TestEncodeRoundTrip(t *testing.T) {
	head := Head{APIVersion: APIVersion, Kind: KindComment, ID: testID, Store: testStore, Created: At(time.Unix(1764000000, 5)), By: "alice"}
	for _, text := range []string{
		"plain", "two\nlines", "two\nlines\n", "  indented\nthen not", "ends\n\n", "trailing \nspace", " ",
		"yes", "null", "12", "1:30", "0x1f", "2026-11-24", "~", "# no comment", "a: b", "- a", "&a", "*a", "!a", "%a", "---", "'", `"`, "a\n---\nb",
		"日本語 ünïcödé", "🚀", strings.Repeat("long ", 200) + "end", "<<", "=", "a #b", "{", "|", ">", "@", "`", "...",
	} {
		out, err := Encode(testRecord{Head: head, Text: text})
		if err != nil {
			t.Errorf("encode %q: %v", text, err)
			continue
		}
		var back testRecord
		if err := DecodeStrict(out, &back); err != nil || back.Text != text || back.Created != head.Created {
			t.Errorf("%q came back as %q (%v) from\n%s", text, back.Text, err, out)
		}
		if !bytes.HasPrefix(out, []byte("apiVersion: jit/v1\nkind: comment\nid: "+testID+"\nstore: "+testStore+"\ncreated: 2025-11-24T16:00:00Z\nby: alice\n")) {
			t.Errorf("head is written as\n%s", out)
		}
	}
	refused := []struct {
		name   string
		record any
		reason Reason
	}{
		{"control character", testRecord{Head: head, Text: "a\x1b"}, ReasonUnsafeText},
		{"tab", testRecord{Head: head, Text: "a\tb"}, ReasonUnsafeText},
		{"override", testRecord{Head: head, Text: "a\u202e"}, ReasonUnsafeText},
		{"empty first line", testRecord{Head: head, Text: "\nstarts"}, ReasonBadValue},
		{"no id", testRecord{Head: Head{APIVersion: APIVersion, Kind: KindComment, Created: head.Created, By: "a"}}, ReasonBadID},
		{"no time", testRecord{Head: Head{APIVersion: APIVersion, Kind: KindComment, ID: testID, By: "a"}}, ReasonBadTime},
		{"float", struct{ A float64 }{1.5}, ReasonBadNumber},
		{"null", struct{ A *int }{}, ReasonBadValue},
	}
	for _, tt := range refused {
		if out, err := Encode(tt.record); ReasonOf(err) != tt.reason || out != nil {
			t.Errorf("%s: reason %q (%v), want %q", tt.name, ReasonOf(err), err, tt.reason)
		}
	}
}

func TestDecodeNeedsVerified(t *testing.T) {
	if _, err := Decode[testRecord](Verified{}, KindRequest); ReasonOf(err) != ReasonNotVerified {
		t.Errorf("zero Verified: %v", err)
	}
	root, head, err := parseHead([]byte(testHead))
	if err != nil {
		t.Fatal(err)
	}
	head.Kind = KindRequest
	v := Verified{head: head, root: root, data: []byte(testHead)}
	if _, err := Decode[testRecord](v, KindApproval); ReasonOf(err) != ReasonBadKind {
		t.Errorf("other kind: %v", err)
	}
	if r, err := Decode[testRecord](v, KindRequest); err != nil || r.By != "alice" {
		t.Errorf("decode: %+v %v", r, err)
	}
}

func TestCheckText(t *testing.T) {
	for _, s := range []string{"", "plain", "two\nlines", "ünï", "日本", "🚀", "العربية", "עברית", "½ ≤ €"} {
		if err := CheckText(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, r := range []rune{0, 7, '\t', '\r', 0x1b, 0x7f, 0x85, 0xa0, 0xad, 0x34f, 0x61c, 0x115f, 0x180e, 0x2003, 0x200b, 0x200c, 0x200d, 0x200e,
		0x200f, 0x2028, 0x2029, 0x202a, 0x202e, 0x2060, 0x2066, 0x2069, 0x2800, 0x3000, 0x3164, 0xe000, 0xfdd0, 0xfe0f, 0xfeff, 0xfffe, 0xe0041, 0xe0101, 0x10ffff} {
		s := "ab\nc" + string(r) + "d"
		err := CheckText(s)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Reason != ReasonUnsafeText || refusal.Line != 2 || refusal.Column != 2 {
			t.Errorf("U+%04X: %v", r, err)
		}
	}
	if err := CheckText("a\xff"); ReasonOf(err) != ReasonNotUTF8 {
		t.Errorf("bad UTF-8: %v", err)
	}
}

// TestCheckTextMarks: a mark counts by what it stands on.
func TestCheckTextMarks(t *testing.T) {
	for _, s := range []string{
		"x\u0304", "q\u0323\u0307", "\u25cc\u1039", "1\u20e3", "м\u0301", // shared marks, and one shown by itself
		"မန္တလေး", "ភាសាខ្មែរ", "हिन्दी", "தமிழ்", "ภาษาไทยที่นี่", "བོད་སྐད་", "שָׁלוֹם", "العَرَبِيَّة", "বাংলা", "ދިވެހި", "ሰላም", "ᄀ",
	} {
		if err := CheckText(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for name, s := range map[string]string{
		"at the beginning": "\u0304x", "after a blank": "a \u0304", "after a line end": "a\n\u0304", "after a mark without one": "\u0304\u0304",
		"of another script": "a\u1039b", "Khmer coeng": "a\u17d2b", "Duployan selector": "a\U0001bc9db", "a tower": "x" + strings.Repeat("\u0304", maxMarks+1),
	} {
		if err := CheckText(s); ReasonOf(err) != ReasonUnsafeText {
			t.Errorf("%s: %q: %v", name, s, err)
		}
	}
	if err := CheckText("x" + strings.Repeat("\u0304", maxMarks)); err != nil {
		t.Errorf("the most marks: %v", err)
	}
}

// TestCheckTextInvisible looks at every code point there is, between two letters: what
// shows nothing by its properties or by its name is refused.
func TestCheckTextInvisible(t *testing.T) {
	named := []rune{0x1d159, 0x16fe4, 0x13441, 0x13442, 0xfffc, 0x2d7f, 0x2800, 0x1107f, 0x13430, 0x1343f, 0x1bca0, 0x1bca3, 0x1d173, 0x1d17a, 0xfff9, 0xfffb, 0xe0001, 0x2065, 0x206a, 0x180b, 0x180f, 0xffa0}
	if unicode.Version != "15.0.0" {
		t.Errorf("the texts that may stand in a record are now those of Unicode %s: say so in docs/store-format.md", unicode.Version)
	}
	for _, r := range named {
		for _, s := range []string{string(r), "a" + string(r) + "b", "a " + string(r)} {
			if err := CheckText(s); ReasonOf(err) != ReasonUnsafeText {
				t.Errorf("U+%04X in %q: %v", r, s, err)
			}
		}
	}
	for r := rune(0x80); r <= unicode.MaxRune; r++ {
		switch {
		case !utf8.ValidRune(r):
			continue
		case r == 0x40000 || r == 0xe2000: // to the next plane with anything in it, to the end
			r = map[rune]rune{0x40000: 0xe0000, 0xe2000: 0x10fff0}[r]
		}
		err := CheckText("a" + string(r) + "b")
		switch ignorable := unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector); {
		case err == nil && (ignorable || !unicode.IsGraphic(r) || unicode.IsSpace(r)):
			t.Errorf("U+%04X is taken", r)
		case err == nil && unicode.Is(unicode.M, r) && !unicode.In(r, unicode.Inherited, unicode.Common, unicode.Latin):
			t.Errorf("U+%04X, of another script, is taken on a letter", r)
		case err != nil && ReasonOf(err) != ReasonUnsafeText:
			t.Errorf("U+%04X: %v", r, err)
		case err != nil && unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S) && !ignorable && !unicode.Is(blank, r) && norm.NFC.IsNormalString("a"+string(r)+"b"):
			t.Errorf("U+%04X, which shows, is refused: %v", r, err)
		}
	}
}

func TestID(t *testing.T) {
	now := time.Date(2026, 11, 23, 23, 59, 59, 0, time.FixedZone("", -3600))
	id, err := NewID(now, rand.New(rand.NewSource(1)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseID(string(id)); err != nil || got != id {
		t.Errorf("ParseID(%q) = %q, %v", id, got, err)
	}
	if !id.Time().Equal(now) || id.Day() != "2026/11/24" || id.Short() != strings.ToLower(string(id[20:])) {
		t.Errorf("time %v, day %s, short %s", id.Time(), id.Day(), id.Short())
	}
	for _, s := range []string{"", string(id[1:]), string(id) + "0", strings.ToLower(string(id)), "8" + string(id[1:]), "7ZZZZZZZZZ" + string(id[10:]),
		string(id[:25]) + "U", string(id[:25]) + "I", string(id[:25]) + "-", strings.Repeat("é", 13)} {
		if _, err := ParseID(s); ReasonOf(err) != ReasonBadID {
			t.Errorf("ParseID(%q): %v", s, err)
		}
	}
	if _, err := NewID(time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), rand.New(rand.NewSource(1))); err == nil {
		t.Error("made an id of the year 10000")
	}
	if _, err := NewID(time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC), rand.New(rand.NewSource(1))); err == nil {
		t.Error("made an id from before 1970")
	}
	if _, err := NewID(now, strings.NewReader("short")); err == nil {
		t.Error("made an id from too little randomness")
	}
}

func TestParseFingerprint(t *testing.T) {
	good := strings.Repeat("0A", 20)
	if f, err := ParseFingerprint(good); err != nil || string(f) != good || len(f.Bytes()) != 20 {
		t.Errorf("%v", err)
	}
	// The last is the length of a key of version 6, none of which counts.
	for _, s := range []string{"", good[24:], good[:39], strings.ToLower(good), "0x" + good[2:], good[:36] + " 0A0", strings.Repeat("0A", 32)} {
		if _, err := ParseFingerprint(s); ReasonOf(err) != ReasonBadFingerprint {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestPlaces(t *testing.T) {
	const other = "01JDF3YH0G5C8M2Q4R6T8V0W2Y"
	day := ID(testID).Day()
	for _, p := range []struct {
		path string
		want Place
	}{
		{"requests/" + day + "/" + testID + "/request.yaml", Place{Kind: KindRequest, ID: testID, Request: testID}},
		{"requests/" + day + "/" + testID + "/request.yaml.asc", Place{Kind: KindRequest, ID: testID, Request: testID, Signature: true}},
		{"requests/" + day + "/" + testID + "/" + other + ".approval.yaml", Place{Kind: KindApproval, ID: other, Request: testID}},
		{"policy/" + testID + "/policy.yaml", Place{Kind: KindPolicy, ID: testID, Request: testID, Policy: true}},
		{"policy/" + testID + "/" + other + ".approval.yaml.asc", Place{Kind: KindApproval, ID: other, Request: testID, Policy: true, Signature: true}},
		{"records/" + day + "/" + testID + ".comment.yaml", Place{Kind: KindComment, ID: testID}},
	} {
		got, err := ParsePath(p.path)
		if err != nil || got != p.want {
			t.Errorf("ParsePath(%q) = %+v, %v", p.path, got, err)
		}
		path := PathOf(Head{Kind: p.want.Kind, ID: p.want.ID}, p.want.Request, p.want.Policy)
		if p.want.Signature {
			path = SignaturePath(path)
		}
		if path != p.path {
			t.Errorf("PathOf = %q, want %q", path, p.path)
		}
	}
	for _, path := range []string{
		"", "request.yaml", "requests/2026/01/01/" + testID + "/request.yaml", "requests/" + day + "/" + testID + "/request.yml",
		"requests/" + day + "/" + testID + "/policy.yaml", "requests/" + day + "/" + testID + "/" + other + ".request.yaml",
		"requests/" + day + "/" + testID + "/" + other + ".thing.yaml", "requests/" + day + "/" + testID + "/" + strings.ToLower(other) + ".approval.yaml",
		"requests/" + day + "/../" + testID + "/request.yaml", "/requests/" + day + "/" + testID + "/request.yaml", "requests/" + day + "/" + testID + "/request.yaml.asc.asc",
		"requests//" + day[2:] + "/" + testID + "/request.yaml", "policy/" + testID + "/request.yaml", "records/" + day + "/" + testID + ".yaml",
		"Requests/" + day + "/" + testID + "/request.yaml", "requests/" + day + "/" + testID + "/request.yaml\n", strings.Repeat("a/", 500),
		"records/" + day + "/" + testID + "." + "policy.yaml",
	} {
		if p, err := ParsePath(path); ReasonOf(err) != ReasonBadPath {
			t.Errorf("ParsePath(%q) = %+v, %v", path, p, err)
		}
	}
	fpr := Fingerprint(strings.Repeat("AB", 20))
	path := CertificatePath(fpr, []byte("x"))
	if got, sum, err := ParseCertificatePath(path); err != nil || got != fpr || sum != "2d711642b726b044" {
		t.Errorf("ParseCertificatePath(%q) = %v %v %v", path, got, sum, err)
	}
	for _, bad := range []string{"", "keys/" + strings.ToLower(string(fpr)) + "/2d711642b726b044.asc", "keys/" + string(fpr) + "/2D711642B726B044.asc",
		"keys/" + string(fpr) + "/2d711642b726b04.asc", "keys/" + string(fpr[1:]) + "/2d711642b726b044.asc", "keys/" + string(fpr) + "/2d711642b726b044"} {
		if _, _, err := ParseCertificatePath(bad); ReasonOf(err) != ReasonBadPath {
			t.Errorf("ParseCertificatePath(%q): %v", bad, err)
		}
	}
}

package record

import (
	"bytes"
	"errors"
	"testing"

	"gopkg.in/yaml.v3"
)

func TestNoCommentsInRecords(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body         string
		line, column int
	}{
		"behind a value":             {"text: 1h # only for 5 minutes\n", 8, 10},
		"on a line of its own":       {"# approved already\ntext: a\n", 8, 1},
		"indented":                   {"grants:\n  # b\n  - {resource: a, role: b}\n", 9, 3},
		"at the end":                 {"text: a\n# b", 9, 1},
		"behind a key":               {"grants: # b\n  - {resource: a, role: b}\n", 8, 9},
		"behind an item's dash":      {"grants:\n  - # b\n    resource: a\n    role: b\n", 9, 5},
		"behind a double quote":      {"text: \"a # \\\" # b\"#c\n", 8, 19},
		"behind a single quote":      {"text: 'a # '' # b'#c\n", 8, 19},
		"behind wide text":           {"text: \"é\" #c\n", 8, 11},
		"in a list":                  {"params: {a: [1,#c\n 2]}\n", 8, 16},
		"behind a list":              {"params: {a: [1]}#c\n", 8, 17},
		"at a block":                 {"text: |-#c\n  a\n", 8, 9},
		"at a block, apart":          {"text: > # c\n  a\n", 8, 9},
		"behind a block":             {"text: |\n  # a\n  b\n # c\n", 11, 2},
		"behind a block of one line": {"text: |1\n   # a\n# c\nflag: true\n", 10, 1},
		"behind folded lines":        {"text: a#b\n  c#d #e\n", 9, 7},
	} {
		_, err := DecodeHead([]byte(testHead + c.body))
		if r := (*Refusal)(nil); !errors.As(err, &r) || r.Reason != ReasonYAMLComment || r.Line != c.line || r.Column != c.column {
			t.Errorf("%s: %v, want a comment at line %d, column %d", name, err, c.line, c.column)
		}
		// Files that people write may have comments.
		if err := DecodeStrict([]byte(testHead+c.body), new(testRecord)); ReasonOf(err) == ReasonYAMLComment {
			t.Errorf("%s: no comment in a file: %v", name, err)
		}
	}
	for _, body := range []string{
		"text: a#b\n", "text: \"# a\"\n", "text: '# a'\n", "text: |\n  # a\n   # b\n\n  c # d\n", "text: |1\n   # a\n # b\n", "text: >\n  a\n  # b\n",
		"text: a,#b\n", "text: a\n  b#c\n", "params: {a: \"#\", b: '#'}\n", "text: \"a\n  # b\"\n", "\"params\":\n  \"a # b\": 1\n", "text: é#é\n",
	} {
		if _, err := DecodeHead([]byte(testHead + body)); err != nil {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// What is refused as a comment is part of no value, and where the library has seen
// one, one is refused.
func FuzzNoComments(f *testing.F) {
	for _, s := range append(documentSeeds, plainSeeds...) {
		f.Add([]byte(s))
	}
	for _, s := range []string{
		"a: 1 # b\n", "a: |2\n    # b\n  # c\n# d\n", "a: \"#\"#\n", "a: '#'#\n", "a: [b,#c\n d#e]#f\n", "? a # b\n: c#d\n", "- a\n#b\n", "a: >-#b\n  c\n",
		"a: b\n  #c\n", "a:\n- b #c\n-\n  d: \"é\" #e\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		root, err := parseStrict(data)
		if err != nil {
			return
		}
		err = checkNoComments(data, root)
		if err == nil {
			if hasComment(root) {
				t.Errorf("a comment came through: %q", data)
			}
			return
		}
		var r *Refusal
		if !errors.As(err, &r) || r.Reason != ReasonYAMLComment {
			t.Fatalf("%q: %v", data, err)
		}
		lines := bytes.Split(data, []byte{'\n'})
		line := []rune(string(lines[r.Line-1]))
		// It stays a comment, of other words: without it what is indented below could go on
		// with a text.
		lines[r.Line-1] = []byte(string(line[:r.Column-1]) + "#other")
		other, err := parseStrict(bytes.Join(lines, []byte{'\n'}))
		if err != nil || outline(other) != outline(root) {
			t.Errorf("%q was refused for what is no comment, at line %d, column %d: %v", data, r.Line, r.Column, err)
		}
	})
}

func hasComment(n *yaml.Node) bool {
	if n.HeadComment+n.LineComment+n.FootComment != "" {
		return true
	}
	for _, c := range n.Content {
		if hasComment(c) {
			return true
		}
	}
	return false
}

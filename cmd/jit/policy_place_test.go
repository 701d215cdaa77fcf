package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jitaccess/jit/pkg/record"
)

const placedText = `# comment
admins: {people: [alice, "b\"ö", 'it''s'], threshold: 2}
people:
  a.b:
    keys:
      - ABC  # her only one
    name: Ä Ö
  a: {name: |
      two
      lines
    }
  "q[1]": {name: x}
rules:
  - name: first   
    stages:
      - approvers: ["*", manager]
  - {name: second}
`

// TestPlaces resolves paths to what they name, or to the nearest that is there.
func TestPlaces(t *testing.T) {
	text := strings.ReplaceAll(placedText, "name: |\n      two\n      lines\n    }", "name: one}")
	p := newLocator([]byte(text))
	for path, want := range map[string]string{
		"admins.threshold":                   "2:44-2:56 threshold: 2",
		"admins":                             "2:1-2:7 admins",
		"admins.people[0]":                   "2:19-2:24 alice",
		"admins.people[1]":                   `2:26-2:32 "b\"ö"`,
		"admins.people[2]":                   "2:34-2:41 'it''s'",
		"admins.people[3]":                   "2:10-2:16 people", // there is none
		"admins.people[x]":                   "2:10-2:16 people",
		"people.a.b.keys[0]":                 "6:9-6:12 ABC",
		"people.a.b.name":                    "7:5-7:14 name: Ä Ö",
		"people.a.b.email":                   "4:3-4:6 a.b",
		"people.a.name":                      "8:7-8:16 name: one",
		"people.a.department":                "8:3-8:4 a",
		"people.zoe":                         "3:1-3:7 people",
		"people.q[1].name":                   "9:12-9:19 name: x",
		"rules[0]":                           "11:5-11:16 name: first",
		"rules[0].name":                      "11:5-11:16 name: first",
		"rules[0].stages[0]":                 `13:9-13:34 approvers: ["*", manager]`,
		"rules[0].stages[0].approvers[1]":    "13:26-13:33 manager",
		"rules[0].stages[0].count":           `13:9-13:34 approvers: ["*", manager]`,
		"rules[1]":                           "14:5-14:19 {name: second}",
		"rules[1].maxDuration":               "14:5-14:19 {name: second}",
		"rules[2].name":                      "10:1-10:6 rules",
		"":                                   "2:1-2:57 " + strings.Split(text, "\n")[1],
		"nothing":                            "2:1-2:57 " + strings.Split(text, "\n")[1],
		"rules[99999999999999999999].stages": "10:1-10:6 rules",
	} {
		at := p.of(path)
		line := []rune(strings.Split(text, "\n")[at.Line-1])
		got := fmt.Sprintf("%d:%d-%d:%d %s", at.Line, at.Column, at.EndLine, at.EndColumn, string(line[at.Column-1:at.EndColumn-1]))
		if got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if at := (&locator{}).of("admins"); at != (place{}) {
		t.Errorf("a place without a file: %v", at)
	}
	// What goes on over lines ends with its first.
	block := newLocator([]byte("name: |\n  two\n  lines\nother: \"a\n  b\"\n"))
	for path, want := range map[string]place{"name": {1, 1, 1, 8}, "other": {4, 1, 4, 10}} {
		if at := block.of(path); at != want {
			t.Errorf("%s: %v, want %v", path, at, want)
		}
	}
}

// FuzzPlaces never panics, and gives places in a file that can be read.
func FuzzPlaces(f *testing.F) {
	for _, path := range []string{"admins.people[1]", "people.a.b.keys[0]", "rules[0].stages[0]", "", "a[", "[]]..[", "people.q[1].name"} {
		f.Add([]byte(placedText), path)
		f.Add([]byte(`{"a": ["b`), path)
	}
	f.Fuzz(func(t *testing.T, data []byte, path string) {
		p := newLocator(data)
		at := p.of(path)
		var plain map[string]any
		if p.root == nil || record.DecodeStrict(data, &plain) != nil {
			return // such a file has no places
		}
		if at.Line < 1 || at.Line > len(p.lines) || at.EndLine < at.Line || at.Column < 1 || at.EndLine == at.Line && at.EndColumn < at.Column {
			t.Errorf("%v of %d lines", at, len(p.lines))
		}
	})
}

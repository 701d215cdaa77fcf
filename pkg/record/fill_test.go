package record

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

type fillInner struct {
	People map[string]fillPerson `yaml:"people"`
}

type fillPerson struct {
	Keys     []string          `yaml:"keys"`
	Accounts map[string]string `yaml:"accounts,omitempty"`
}

type fillDoc struct {
	Name      string `yaml:"name"`
	fillInner `yaml:",inline"`
	*FillMore `yaml:",inline"`
	Rules     []fillPerson   `yaml:"rules,omitempty"`
	Pair      [2]int8        `yaml:"pair,flow,omitempty"`
	Any       any            `yaml:"any,omitempty"`
	Wait      time.Duration  `yaml:"wait,omitempty"`
	At        *Timestamp     `yaml:"at,omitempty"`
	Rest      map[string]int `yaml:",inline"`
}

// FillMore is exported, for the library sets no other pointer.
type FillMore struct {
	On   bool    `yaml:"on"`
	Most *uint16 `yaml:"most,omitempty"`
}

// TestFillAsTheLibrary reads documents of every shape, and holds the result to what the
// YAML library makes of them.
func TestFillAsTheLibrary(t *testing.T) {
	for _, text := range []string{
		"name: x\n", "name: \"\"\npeople: {}\nrules: []\n",
		"people: {a: {keys: [a, b]}, b: {keys: [], accounts: {x: z}}}\nrules: [{keys: [c]}, {accounts: {}}]\n",
		"pair: [1, -3]\nany: {a: [1, x, true, {b: []}], c: 18446744073709551615}\n",
		"any: text\nwait: 1h30m\nat: 2026-01-02T03:04:05Z\nmore: 4\nless: -5\n",
		"\"on\": true\nmost: 65535\n",
	} {
		root, err := parseStrict([]byte(text))
		if err != nil {
			t.Fatal(text, err)
		}
		var got, want fillDoc
		if err := DecodeStrict([]byte(text), &got); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if err := root.Decode(&want); err != nil {
			t.Fatal(text, err)
		}
		if !reflect.DeepEqual(got, want) {
			a, _ := json.Marshal(got)
			b, _ := json.Marshal(want)
			t.Errorf("%s: %s, and the library makes of it %s", text, a, b)
		}
	}
	for _, text := range []string{
		"pair: [1]\n", "pair: [1, 2, 3]\n", "pair: [1, 128]\n", "most: 65536\n", "most: -1\n", "wait: soon\n", "at: soon\n", "more: many\n",
		"rules: [{keyz: []}]\n", "people: {a: {keys: [1]}}\n", "people: {a: {accounts: {a: b, a: c}}}\n", "people: {\"" + strings.Repeat("a", maxKey+1) + "\": {keys: []}}\n",
	} {
		if err := DecodeStrict([]byte(text), &fillDoc{}); ReasonOf(err) == "" {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestLargeMaps reads a map of as many entries as a document can have, inside of others.
// Where each key is compared with each other, this takes a quarter of an hour.
func TestLargeMaps(t *testing.T) {
	const n = 190_000
	var b strings.Builder
	b.WriteString("rules:\n  - accounts:\n")
	for i := range n {
		fmt.Fprintf(&b, "      k%06d: v\n", i)
	}
	var doc fillDoc
	if err := DecodeStrict([]byte(b.String()), &doc); err != nil || len(doc.Rules[0].Accounts) != n {
		t.Errorf("%d entries: %v", n, err)
	}
}

// BenchmarkLargeMap reads as many people as a large company has.
func BenchmarkLargeMap(b *testing.B) {
	doc := fillDoc{Name: "x", fillInner: fillInner{map[string]fillPerson{}}}
	for i := range 10000 {
		doc.People[fmt.Sprintf("p%d", i)] = fillPerson{Keys: []string{"k"}}
	}
	data, err := yaml.Marshal(doc)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := DecodeStrict(data, &fillDoc{}); err != nil {
			b.Fatal(err)
		}
	}
}

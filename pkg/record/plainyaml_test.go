package record

import (
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// plainSeeds are documents as jit writes them, and ones that look like it.
var plainSeeds = []string{
	"apiVersion: jit/v1\nkind: request\nid: 01GP2Y2XT0AWT23AKR8R26HXGQ\nstore: 0204842e24619e488fb0692d6aa17c57e865a1d86ea0fa79fc6d00b83ebc6dfe\n" +
		"created: 2023-01-06T07:00:24Z\nby: person26\ngrants:\n  - resource: db-05\n    role: readonly\n  - resource: web1\n    role: shell\nduration: 17m\n" +
		"reason: correct invoice 81497, which the customer reported\nticket: OPS-4501\nexpires: 2023-01-07T07:00:24Z\n",
	"left:\n  - two words\n  - x\nsessionsEnded: 3\nstanding: maybe\nparameters:\n  grant: a\n  deep:\n    er: 1h30m\n",
	"a: 12e5\nb: 0x1f\nc: 0b1\n", "a: 2026-11-24\n", "a: yes\n", "y: 1\n", "a: b: c\n", "a: b:\n", "a: b #c\n", "a: b  c\n", "a:\n  - - b\n",
	"a:\n- b\n", "a: b\n  c\n", "a:\nb: c\n", "a: 1:30\n", "a: 1_000\n", "a: 0777\n", "a: -1\n", "a: ~\n", "a:  b\n", " a: b\n", "a: b\n\nc: d\n",
	"a: 0\nb: 00\nc: 9223372036854775808\n", "a: 1.\nb: .5\nc: e\nd: 1e\n", "a: [b]\n", "a: 'b'\n", "null: a\n", "a: null\n", "a: NaN\n", "a: 0o7\n", "a: 0a\n",
	"a:\n    b: c\n", "a:\n  b: c\n d: e\n", "a: 2023-13-45T07:00:24Z\n", "a: 2023-01-06t07:00:24Z\n", "a: b?\nb: ? c\n", "a:\n  - b: c\n    d:\n      - e\n  - f\n",
}

func FuzzParsePlain(f *testing.F) {
	for _, s := range plainSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if checkBytes(data) != nil {
			return
		}
		plain := parsePlain(data)
		if plain == nil {
			return
		}
		want, err := parseYAML(data)
		if err != nil {
			t.Fatalf("the library refuses what was read: %v", err)
		}
		if got, want := outline(plain), outline(want); got != want {
			t.Errorf("read as\n%s\nand by the library as\n%s", got, want)
		}
	})
}

// outline writes a tree with all that its readers look at.
func outline(n *yaml.Node) string {
	var b strings.Builder
	var walk func(n *yaml.Node, depth int)
	walk = func(n *yaml.Node, depth int) {
		b.WriteString(strings.Repeat(" ", depth))
		b.WriteString(strings.Join([]string{string(rune('0' + n.Kind)), n.Tag, n.Value, string(rune('0' + n.Style)), n.Anchor}, "|"))
		b.WriteString(strings.Repeat("/", n.Line) + strings.Repeat("\\", n.Column) + "\n")
		for _, c := range n.Content {
			walk(c, depth+1)
		}
	}
	walk(n, 0)
	return b.String()
}

// What jit writes takes the short way.
func TestWrittenIsPlain(t *testing.T) {
	t.Parallel()
	for _, s := range plainSeeds[:2] {
		if parsePlain([]byte(s)) == nil {
			t.Errorf("not read: %s", s)
		}
	}
	for _, v := range []string{"0a2b", "17m", "a", "01GP2Y2XT0AWT23AKR8R26HXGQ", "orders-db:read", "a, b (c) 50%"} {
		if tag := plainTag(v); tag != "!!str" {
			t.Errorf("%q has the tag %q", v, tag)
		}
	}
	for _, v := range []string{"yes", "1e5", "0x1", "1:30", "1_0", "2026-11-24", "a: b", "a #b", "a ", "a:", "-a", "ä", "0777"} {
		if tag := plainTag(v); tag != "" {
			t.Errorf("%q has the tag %q", v, tag)
		}
	}
}

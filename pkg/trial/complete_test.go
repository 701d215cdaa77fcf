package trial

import (
	"strconv"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/jitaccess/jit/pkg/record"
)

// TestNoChangeGoesByWithoutAWord changes every value of the examples, one at a time,
// and wants something to be said of each that can be used.
func TestNoChangeGoesByWithoutAWord(t *testing.T) {
	for _, name := range examples {
		t.Run(name, func(t *testing.T) {
			text := readExample(t, name, "policy.yaml")
			old, err := compileText(text)
			if err != nil {
				t.Fatal(err)
			}
			var doc yaml.Node
			if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
				t.Fatal(err)
			}
			tried := 0
			var visit func(n *yaml.Node, path string)
			visit = func(n *yaml.Node, path string) {
				for i, child := range n.Content {
					at := path
					if n.Kind == yaml.MappingNode {
						if i%2 == 0 {
							continue
						}
						at += "." + n.Content[i-1].Value
					} else {
						at += "[" + strconv.Itoa(i) + "]"
					}
					visit(child, at)
				}
				if n.Kind != yaml.ScalarNode {
					return
				}
				was := *n
				defer func() { *n = was }()
				left := 2 // that can be used are enough for one value
				for _, value := range substitutes(was) {
					if value == was.Value || left == 0 {
						continue
					}
					n.Value = value
					data, err := yaml.Marshal(&doc)
					if err != nil {
						t.Fatal(err)
					}
					next, err := compileText(string(data))
					if err != nil {
						continue // nobody could propose it
					}
					tried, left = tried+1, left-1
					if Compare(old, next, t0).Empty() {
						t.Errorf("%s: %q became %q without a word", path, was.Value, value)
					}
				}
			}
			visit(&doc, "")
			if tried < 100 {
				t.Errorf("only %d changes were tried", tried)
			}
		})
	}
}

// substitutes gives values that could stand in the place of one.
func substitutes(n yaml.Node) []string {
	if n.ShortTag() == "!!int" {
		i, _ := strconv.Atoi(n.Value)
		return []string{strconv.Itoa(i + 1), strconv.Itoa(i - 1)}
	}
	if n.ShortTag() == "!!bool" {
		return []string{"true", "false"}[map[string]int{"true": 1}[n.Value]:][:1]
	}
	if d, err := record.ParseDuration(n.Value); err == nil {
		return []string{record.Duration{Duration: d.Duration / 2}.String(), record.Duration{Duration: d.Duration * 2}.String()}
	}
	return []string{n.Value + "x", "group:change-board", "team:sre", "team:engineering", "jonas", "dora", "quinn", "mon", "07:00-20:00", "2026-12-31", "UTC", "manager", "reports"}
}

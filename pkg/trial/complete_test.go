package trial

import (
	"reflect"
	"strconv"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/jitaccess/jit/pkg/policy"
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
			tried := 0
			each(parsed(t, text), "", 2, func(n *yaml.Node, path, was string, next *policy.Policy) {
				tried++
				if Compare(old, next, t0).Empty() {
					t.Errorf("%s: %q became %q without a word", path, was, n.Value)
				}
			})
			if tried < 100 {
				t.Errorf("only %d changes were tried", tried)
			}
		})
	}
}

// each changes every value below a path of a policy, one at a time, and visits it with
// the policy of each change that can be used: of a few, which are enough for one value.
func each(doc *yaml.Node, below string, few int, visit func(n *yaml.Node, path, was string, next *policy.Policy)) {
	var walk func(n *yaml.Node, path string)
	walk = func(n *yaml.Node, path string) {
		for i, child := range n.Content {
			at := path
			switch {
			case n.Kind == yaml.MappingNode && i%2 == 0:
				continue
			case n.Kind == yaml.MappingNode:
				at += "." + n.Content[i-1].Value
			case n.Kind == yaml.SequenceNode:
				at += "[" + strconv.Itoa(i) + "]"
			}
			walk(child, at)
		}
		if n.Kind != yaml.ScalarNode || !strings.HasPrefix(path, below) {
			return
		}
		was := *n
		defer func() { *n = was }()
		left := few
		for _, value := range substitutes(was) {
			if value == was.Value || left == 0 {
				continue
			}
			n.Value = value
			next, err := compileNode(doc)
			if err != nil {
				continue // nobody could propose it
			}
			left--
			visit(n, path, was.Value, next)
		}
	}
	walk(doc, "")
}

func compileNode(doc *yaml.Node) (*policy.Policy, error) {
	data, err := yaml.Marshal(doc)
	if err != nil {
		return nil, err
	}
	return compileText(string(data))
}

// TestNoAdditionGoesByWithoutAWord adds to each example a thing of each kind, made like
// one that is there, and wants all that it says to be said: whatever is changed of it
// changes what is said.
func TestNoAdditionGoesByWithoutAWord(t *testing.T) {
	kinds := map[string]int{}
	for _, name := range examples {
		t.Run(name, func(t *testing.T) {
			text := readExample(t, name, "policy.yaml") + "\nreconcilers:\n  node: {keys: [\"" + strings.Repeat("B", 40) + "\"], resources: [" + aResource[name] + "]}\n"
			old, err := compileText(text)
			if err != nil {
				t.Fatal(err)
			}
			for kind, n := range addable(t, text) {
				if kind != "rules" {
					n = min(n, 2)
				}
				for i := range n {
					doc, path := withAdded(t, text, kind, i)
					with, err := compileNode(doc)
					if err != nil {
						t.Fatalf("%s: %v", path, err)
					}
					said := Compare(old, with, t0)
					if said.Empty() {
						t.Errorf("%s came without a word", path)
					}
					each(doc, path, 1, func(n *yaml.Node, path, was string, next *policy.Policy) {
						kinds[kind]++
						if reflect.DeepEqual(Compare(old, next, t0), said) {
							t.Errorf("%s: nothing tells %q from %q", path, was, n.Value)
						}
					})
				}
			}
		})
	}
	for _, kind := range []string{"people", "groups", "rosters", "schedules", "resources", "rules", "conflicts", "reconcilers", "roles"} {
		if kinds[kind] == 0 {
			t.Errorf("nothing was changed of what is added to %s: %v", kind, kinds)
		}
	}
}

// aResource is one of each example: none has reconcilers of its own.
var aResource = map[string]string{"startup": "web", "bank": "core-host", "on-call": "prod-db"}

// addable counts what there is of each kind of things that have names.
func addable(t *testing.T, text string) map[string]int {
	all := map[string]int{}
	root := parsed(t, text).Content[0]
	for i := 0; i < len(root.Content); i += 2 {
		kind, list := root.Content[i].Value, root.Content[i+1]
		switch kind {
		case "people", "groups", "rosters", "schedules", "resources", "reconcilers":
			all[kind] = len(list.Content) / 2
		case "rules", "conflicts":
			all[kind] = len(list.Content)
		}
	}
	all["roles"] = all["resources"]
	return all
}

// withAdded adds to a policy a thing made like the i-th of its kind, and gives its path.
func withAdded(t *testing.T, text, kind string, i int) (doc *yaml.Node, path string) {
	doc = parsed(t, text)
	like := parsed(t, text) // of which a part is taken
	in := func(n *yaml.Node, key string) *yaml.Node {
		for i := 0; i < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i+1]
			}
		}
		return nil
	}
	at, from := doc.Content[0], like.Content[0]
	path = "." + kind
	if kind == "roles" {
		resources := in(at, "resources")
		path = ".resources." + resources.Content[2*i].Value + ".roles"
		at, from, i = resources.Content[2*i+1], in(from, "resources").Content[2*i+1], 0
	}
	at, from = in(at, kind), in(from, kind)
	if at.Kind == yaml.SequenceNode {
		added := from.Content[i]
		in(added, "name").Value = "added"
		at.Content = append(at.Content, added)
		return doc, path + "[" + strconv.Itoa(len(at.Content)-1) + "]"
	}
	added := from.Content[2*i+1]
	if kind == "people" || kind == "reconcilers" {
		in(added, "keys").Content[0].Value = strings.Repeat("A", 40)
	}
	at.Content = append(at.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "added"}, added)
	return doc, path + ".added"
}

func parsed(t *testing.T, text string) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	return &doc
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
	if _, err := record.ParseFingerprint(n.Value); err == nil {
		return []string{strings.Repeat("C", len(n.Value))}
	}
	return []string{n.Value + "x", "group:change-board", "team:sre", "team:engineering", "jonas", "dora", "quinn", "mon", "07:00-20:00", "2026-12-31", "UTC", "manager", "reports"}
}

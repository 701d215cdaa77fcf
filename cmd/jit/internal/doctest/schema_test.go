package doctest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// TestExamplesFitTheSchema holds the policies on the pages to the schema that is
// published beside them, as an editor would.
func TestExamplesFitTheSchema(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(docs(t), "policy.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("policy.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("policy.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, page := range pages(t) {
		for _, example := range blocks(read(t, page), "yaml policy example") {
			n++
			var v any
			if err := yaml.Unmarshal([]byte(example), &v); err != nil {
				t.Fatal(err)
			}
			data, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if v, err = jsonschema.UnmarshalJSON(bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(v); err != nil {
				t.Errorf("%s: %v\n%s", filepath.Base(page), err, example)
			}
		}
	}
	if n == 0 {
		t.Error("no page has an example policy")
	}
}

// TestProblemCodesAreExplained looks for the code of every problem in the tables of
// docs/policy-lint.md, and explains none that is not there.
func TestProblemCodesAreExplained(t *testing.T) {
	page := read(t, filepath.Join(docs(t), "policy-lint.md"))
	all := map[string]bool{}
	for name, code := range codes(t, "../../../../pkg/policy", "ProblemCode", "") {
		all[code] = true
		if !strings.Contains(page, "`"+code+"`") {
			t.Errorf("policy.%s: the code %q is not explained", name, code)
		}
	}
	if len(all) < 40 {
		t.Errorf("only %d codes were found: the search is broken", len(all))
	}
	_, tables, _ := strings.Cut(page, "## What it looks for")
	for line := range strings.Lines(tables) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
			if !all[m[1]] {
				t.Errorf("the code %q is explained and does not exist", m[1])
			}
		}
	}
}

package doctest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/trial"
)

// TestCaseExamples plays the tables of cases on the pages against the example
// policies that they name.
func TestCaseExamples(t *testing.T) {
	n := 0
	for _, page := range pages(t) {
		for _, example := range blocks(read(t, page), "yaml cases example") {
			n++
			table, err := trial.Parse([]byte(example))
			if err != nil {
				t.Errorf("%s: %v\n%s", filepath.Base(page), err, example)
				continue
			}
			text := read(t, filepath.Join(docs(t), "..", "testdata", "policies", table.Policy))
			var body policy.Body
			if err := record.DecodeStrict([]byte(text), &body); err != nil {
				t.Fatal(err)
			}
			p, err := policy.Compile(policy.Document{Body: body}, record.Sum([]byte(text)))
			if err != nil {
				t.Fatal(err)
			}
			results, err := table.RunAll(p)
			if err != nil {
				t.Errorf("%s: %v\n%s", filepath.Base(page), err, example)
			}
			for _, r := range results {
				for _, f := range r.Failures {
					t.Errorf("%s: %s: %s", filepath.Base(page), r.Name, f)
				}
			}
		}
	}
	if n == 0 {
		t.Error("no page has a table of cases")
	}
}

// TestPartsOfExamplePolicies holds what the pages show of the example policies
// against the files.
func TestPartsOfExamplePolicies(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(docs(t), "..", "testdata", "policies", "*", "policy.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no example policies: %v", err)
	}
	for _, file := range files {
		name, n := filepath.Base(filepath.Dir(file)), 0
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, page := range pages(t) {
			for _, part := range blocks(read(t, page), "yaml from "+name) {
				n++
				if !strings.Contains(string(whole), part) {
					t.Errorf("%s shows what %s does not have:\n%s", filepath.Base(page), file, part)
				}
			}
		}
		if n == 0 {
			t.Errorf("no page shows anything of the example %s", name)
		}
	}
}

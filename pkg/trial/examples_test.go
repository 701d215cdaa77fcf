package trial

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// examples are the policies that the project shows, and begins stores with.
var examples = []string{"startup", "bank", "on-call"}

func readExample(t testing.TB, name, file string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "testdata", "policies", name, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func compileText(text string) (*policy.Policy, error) {
	var body policy.Body
	if err := record.DecodeStrict([]byte(text), &body); err != nil {
		return nil, err
	}
	return policy.Compile(policy.Document{Body: body}, record.Sum([]byte(text)))
}

func table(t testing.TB, name string) Table {
	t.Helper()
	tb, err := Parse([]byte(readExample(t, name, "test.yaml")))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return tb
}

func TestExamples(t *testing.T) {
	for _, name := range examples {
		t.Run(name, func(t *testing.T) {
			tb := table(t, name)
			if len(tb.Cases) < 25 {
				t.Errorf("%d cases are too few", len(tb.Cases))
			}
			p, err := compileText(readExample(t, name, "policy.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			results, err := tb.RunAll(p)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range results {
				for _, f := range r.Failures {
					t.Errorf("%s: %s", r.Name, f)
				}
			}
			everyRuleDecides(t, p, results)
		})
	}
}

// everyRuleDecides wants each rule to decide in some case: one that none reaches
// could be changed without a case that fails.
func everyRuleDecides(t *testing.T, p *policy.Policy, results []Result) {
	for _, r := range p.Document().Rules {
		found := false
		for _, x := range results {
			found = found || slices.Contains(strings.Split(ruleOf(x.Outcome), ", "), r.Name)
		}
		if !found {
			t.Errorf("no case is decided by rule %q", r.Name)
		}
	}
}

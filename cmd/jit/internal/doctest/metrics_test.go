package doctest

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/jitaccess/jit/pkg/reconcile"
)

// TestMetricsAreExplained compares the table of metrics with the program's, row by row,
// and looks for each that the rules for alerts name.
func TestMetricsAreExplained(t *testing.T) {
	page := read(t, filepath.Join(docs(t), "reconcile.md"))
	rows := regexp.MustCompile("(?m)^\\| `(jit_[a-z_]+)` \\| (.*) \\|$").FindAllStringSubmatch(page, -1)
	known := map[string]bool{}
	for i, m := range reconcile.Metrics() {
		known[m.Name] = true
		labels := ""
		for _, l := range m.Labels {
			labels += " `" + l + "`"
		}
		if want := string(m.Type) + " |" + labels + " | " + m.Help; i >= len(rows) || rows[i][1] != m.Name || rows[i][2] != want {
			t.Errorf("the table should say, in this order: | `%s` | %s |", m.Name, want)
		}
	}
	if len(rows) != len(known) {
		t.Errorf("%d metrics are in the table, and there are %d", len(rows), len(known))
	}
	for _, m := range regexp.MustCompile(`\bjit_[a-z_]+`).FindAllString(page, -1) {
		if !known[m] {
			t.Errorf("%s is named, and does not exist", m)
		}
	}
	examples := blocks(page, "yaml prometheus example")
	if len(examples) == 0 {
		t.Fatal("there are no rules for alerts")
	}
	for _, text := range examples {
		var file struct {
			Groups []struct {
				Name  string
				Rules []struct {
					Alert, Expr, For    string
					Labels, Annotations map[string]string
				}
			}
		}
		d := yaml.NewDecoder(strings.NewReader(text))
		d.KnownFields(true)
		if err := d.Decode(&file); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		for _, g := range file.Groups {
			for _, r := range g.Rules {
				if !strings.Contains(r.Expr, "jit_") || !strings.HasPrefix(r.Alert, "Jit") || r.Annotations["summary"] == "" {
					t.Errorf("%s: %+v", g.Name, r)
				}
			}
		}
	}
}

package policy

import (
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/record"
)

func TestEvidence(t *testing.T) {
	d := func(minutes int) record.Duration {
		return record.Duration{Duration: time.Duration(minutes) * time.Minute}
	}
	p := &Policy{}
	p.doc.Resources = map[string]Resource{"none": {}, "fresh": {Freshness: d(60)}, "lease": {Lease: d(15)}, "both": {Freshness: d(20), Lease: d(30)}}
	p.doc.Reconcilers = map[string]Reconciler{"a": {Resources: []string{"none", "fresh", "lease", "both"}}, "b": {Resources: []string{"none"}}}
	for name, want := range map[string]int{"none": 0, "fresh": 60, "lease": 15, "both": 20} {
		if got := p.doc.Resources[name].Evidence(); got != d(want).Duration {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, c := range []struct {
		who  string
		also func(string) bool
		want int
	}{
		{"a", nil, 15}, {"b", nil, 0}, {"nobody", nil, 0},
		{"a", func(r string) bool { return r != "lease" }, 20},
		{"a", func(r string) bool { return r == "none" }, 0},
	} {
		if got := p.Evidence(c.who, c.also); got != d(c.want).Duration {
			t.Errorf("%s: %s, want %d minutes", c.who, got, c.want)
		}
	}
}

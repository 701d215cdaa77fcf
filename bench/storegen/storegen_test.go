package storegen

import (
	"path/filepath"
	"testing"

	"github.com/jitaccess/jit/pkg/replica"
)

// An honest store counts whole: nothing is set aside, every request has run its
// course, and the same options give the same head.
func TestGenerate(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{"plain": {Requests: 43, Seed: 7}, "signed": {Requests: 23, Seed: 7, SignCommits: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Generate(t.Context(), filepath.Join(t.TempDir(), "store.git"), o)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Generate(t.Context(), filepath.Join(t.TempDir(), "store.git"), o)
			if err != nil || again.Head != s.Head || again.Identity != s.Identity {
				t.Fatalf("the same options made %s and %s: %v", s.Head, again.Head, err)
			}
			r, err := replica.Open(t.Context(), replica.Config{Dir: t.TempDir(), URL: s.Dir, Identity: s.Identity})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}()
			report, err := r.Sync(t.Context())
			if err != nil || len(report.SetAside) > 0 || report.Commits != s.Commits || report.Records != s.Records {
				t.Fatalf("%d of %d commits, %d of %d records, set aside %v: %v", report.Commits, s.Commits, report.Records, s.Records, report.SetAside, err)
			}
			if want := 1 + 2*(versions-1) + 4*o.Requests; s.Records != want {
				t.Errorf("%d records, want %d", s.Records, want)
			}
			if n := len(r.Ledger().Policies()); n != versions {
				t.Errorf("%d policy versions came into force", n)
			}
		})
	}
}

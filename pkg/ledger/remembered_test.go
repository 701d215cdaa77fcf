package ledger_test

import (
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// TestRequestsAreRemembered: what is remembered of settled requests changes no
// answer, whatever is asked, in which order, and how the clock goes.
func TestRequestsAreRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begin := w.now
	for i := range 9 {
		r, d := w.asked()
		switch i % 3 {
		case 1:
			w.push(w.approval(r, d, "carol")...)
		case 2:
			w.push(revocation(w, r, d, "erin")...)
		}
		w.now = w.now.Add(20 * time.Minute)
	}
	filters := map[string]ledger.Filter{
		"all": {}, "two": {Limit: 2}, "named": {Named: "0"}, "named, two": {Named: "1", Limit: 2}, "named whole": {Named: "01J", Open: true}, "open": {Open: true}, "bob's": {By: "bob"}, "nobody's": {By: "carol"},
		"revoked": {States: []approve.State{approve.Revoked}}, "pending or active": {States: []approve.State{approve.Pending, approve.Active}},
		"one that is over": {States: []approve.State{approve.Expired, approve.Lapsed}, Limit: 1}, "expired": {States: []approve.State{approve.Expired}}, "of db": {Resource: "db", Limit: 4}, "of other": {Resource: "other"},
	}
	fresh := func(f ledger.Filter, now time.Time) []ledger.Entry {
		l := w.ledger()
		_, err := l.Fold(t.Context(), w, w.tip())
		w.must(err)
		all, err := l.Requests(f, now)
		w.must(err)
		return all
	}
	compare := func(when string, now time.Time) {
		t.Helper()
		for name, f := range filters {
			got, err := w.l.Requests(f, now)
			w.must(err)
			want := fresh(f, now)
			if len(got) != len(want) {
				t.Errorf("%s, %s: %d requests, want %d", when, name, len(got), len(want))
				continue
			}
			for i := range got {
				if got[i].State != want[i].State || got[i].Request.Record.ID != want[i].Request.Record.ID {
					t.Errorf("%s, %s: %s is %s, want %s to be %s", when, name, got[i].Request.Record.ID, got[i].State, want[i].Request.Record.ID, want[i].State)
				}
			}
		}
	}
	compare("midway", begin.Add(70*time.Minute))
	compare("after all", begin.Add(24*time.Hour))
	compare("the clock set back", begin.Add(30*time.Minute))
	// A rule that approves by itself, from now on or from a time that is long
	// over, decides nothing that had lapsed by then.
	for _, since := range []time.Time{w.now, begin.Add(time.Hour)} {
		w.now = since
		_, files := w.proposal("alice", func(d *policy.Document) { d.Rules[0].Approve, d.Rules[0].Stages = policy.ApproveAuto, nil })
		w.counted(w.push(files...), 1)
		compare("another policy", begin.Add(24*time.Hour))
		compare("another policy, the clock set back", begin.Add(90*time.Minute))
	}
	// One whose signer had not seen what was decided since stands beside that.
	since := w.now
	w.now = since.Add(30 * time.Hour)
	_, files := w.proposal("alice", func(d *policy.Document) { d.Rules[0].MaxDuration = record.Duration{Duration: 3 * time.Hour} })
	w.now = since
	w.asked()
	compare("over by itself", since.Add(29*time.Hour))
	w.counted(w.push(files...), 1)
	compare("another policy beside it", since.Add(31*time.Hour))
}

package ledger_test

import (
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// TestClaimedDuty shows what the threat model says of rosters: they go by the time
// that a request claims, and what bounds that are its window and the receipts of its
// resource.
func TestClaimedDuty(t *testing.T) {
	onDuty := func(t *testing.T) *world {
		w := newWorld(t)
		w.changed(func(d *policy.Document) {
			d.Rosters = map[string][]policy.Shift{"duty": {{From: record.At(noon.Add(-40 * time.Hour)), Until: record.At(noon.Add(-20 * time.Hour)), People: []string{"bob"}}}}
			d.Rules[0].Requesters, d.Rules[0].Stages, d.Rules[0].Approve = []string{"roster:duty"}, nil, policy.ApproveAuto
		})
		return w
	}
	// claim asks by a clock that shows a time of the duty.
	claim := func(w *world, change ...func(*request.Request)) (request.Request, []file) {
		now := w.now
		defer func() { w.now = now }()
		w.now = noon.Add(-30 * time.Hour)
		return w.request(change...)
	}
	startNow := func(r *request.Request) {
		start := record.At(noon)
		r.Start = &start
	}
	t.Run("the duty is over", func(t *testing.T) {
		w := onDuty(t)
		_, files := w.request()
		w.refused(w.push(files...), string(policy.NoRule))
	})
	t.Run("the window that it claims is over too", func(t *testing.T) {
		w := onDuty(t)
		r, files := claim(w)
		w.counted(w.push(files...), 1)
		w.state(r.ID, approve.Expired)
	})
	t.Run("but for a start that lies ahead", func(t *testing.T) {
		w := onDuty(t)
		r, files := claim(w, startNow)
		w.counted(w.push(files...), 1)
		w.state(r.ID, approve.Active)
	})
	t.Run("which the rule bounds", func(t *testing.T) {
		w := onDuty(t)
		w.changed(func(d *policy.Document) { d.Rules[0].MaxAhead = record.Duration{Duration: time.Hour} })
		_, files := claim(w, startNow)
		w.refused(w.push(files...), string(policy.TooFarAhead))
	})
}

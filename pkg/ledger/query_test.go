package ledger_test

import (
	"testing"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
)

// TestFirstVersionKeepsItsThreshold: that the first version has all agreements it
// needed does not change with the versions after it.
func TestFirstVersionKeepsItsThreshold(t *testing.T) {
	w := newWorld(t)
	first := w.l.Policy().ID()
	two, f := w.proposal("alice", func(d *policy.Document) { d.Admins.Threshold = 2 })
	w.counted(w.push(f...), 1)
	w.counted(w.push(w.policyApproval(two, f[0], "erin")...), 1)
	p, err := w.l.Proposal(first, w.now)
	w.must(err)
	if p.State != approve.Accepted || !p.Reached || p.Changes || p.Old.Count != 1 {
		t.Errorf("%s, %+v", p.State, p.ProposalDecision)
	}
}

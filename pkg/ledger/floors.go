package ledger

import (
	"fmt"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// notBackdated refuses a claimed time that lies before what stands earlier in
// the history: the newest receipt for a resource of the request, or heartbeat, by a
// reconciler that still may write one.
func (f *fold) notBackdated(r request.Request, created time.Time) error {
	for _, g := range r.Grants {
		newest := f.floor(f.policies.Latest(), g.Resource)
		if newest.Sub(created) > approve.Skew && !newest.IsZero() {
			return &policy.Refusal{Code: policy.Backdated, Message: fmt.Sprintf("it claims %s, and a reconciler of %[3]s wrote at %[2]s what stands before it in the history",
				created.Format(time.RFC3339), newest.Format(time.RFC3339), g.Resource)}
		}
	}
	return nil
}

// floor gives the newest time that a reconciler which still may has written for one of
// some resources; zero for none.
func (s *state) floor(p *policy.Policy, resources ...string) (newest time.Time) {
	for _, resource := range resources {
		for by, at := range s.floors[resource] {
			if p.Reconciles(by, resource) {
				newest = later(newest, at)
			}
		}
	}
	return newest
}

func (f *fold) mayReceipt(kase approve.Case, x approve.Placed[receipt.Receipt]) error {
	r := x.Record
	if err := kase.Names(r.Request, r.RequestDigest); err != nil {
		return err
	}
	if !f.policies.Latest().Reconciles(r.By, r.Resource) {
		return refuse(ReasonNotReconciler, "%s may not write receipts for %q", r.By, r.Resource)
	}
	asked := false
	for _, g := range kase.Request.Record.Grants {
		asked = asked || g.Resource == r.Resource && g.Role == r.Role
	}
	if !asked {
		return &policy.Refusal{Code: policy.NoSuchRecord, Message: fmt.Sprintf("request %s does not ask for %s:%s", kase.Request.Record.ID.Short(), r.Resource, r.Role)}
	}
	return f.raise(r.Resource, r.By, r.Created.Time)
}

// heartbeat takes what a reconciler says of nothing but itself: that it was there,
// and when.
func (f *fold) heartbeat(v record.Verified) error {
	h, err := receipt.DecodeHeartbeat(v)
	if err != nil {
		return err
	}
	reconciler, _ := f.policies.Latest().Reconciler(h.By)
	for _, resource := range reconciler.Resources {
		if err := f.raise(resource, h.By, h.Created.Time); err != nil {
			return err
		}
	}
	return nil
}

// raise notes the newest time that a reconciler has written for a resource.
func (f *fold) raise(resource, by string, at time.Time) error {
	if !at.After(f.floors[resource][by]) {
		return nil
	}
	f.setFloor(resource, by, at)
	_, err := f.Exec(`INSERT OR REPLACE INTO floors VALUES (?, ?, ?)`, resource, by, at.Unix())
	return err
}

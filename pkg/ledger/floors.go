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
	p := f.policies.Latest()
	for _, g := range r.Grants {
		newest, key := f.newest(p, g.Resource)
		if newest.Sub(created) > approve.Skew && !newest.IsZero() {
			by, _ := p.OwnerOf(key.certificate)
			return &policy.Refusal{Code: policy.Backdated,
				Message: fmt.Sprintf("it claims %s, and the reconciler %s of %s wrote at %s, with the key %s, what stands before it in the history",
					created.Format(time.RFC3339), by, g.Resource, newest.Format(time.RFC3339), key.certificate),
				Hint: fmt.Sprintf("set the clock that is wrong. Where it was that of %[1]s, an admin sets its word aside: jit lock %[2]s -r REASON; its machine goes on with a new key: jit admit %[1]s --reconciler",
					by, key.certificate)}
		}
	}
	return nil
}

// floor gives the newest time that a reconciler which still may has written for one of
// some resources; zero for none.
func (s *state) floor(p *policy.Policy, resources ...string) time.Time {
	newest, _ := s.newest(p, resources...)
	return newest
}

// newest is floor with the key that wrote it: one that the policy gives to a reconciler of
// the resource, and that is heard. So what a wrong clock has written does not outlive its key.
func (s *state) newest(p *policy.Policy, resources ...string) (newest time.Time, key signingKey) {
	for _, resource := range resources {
		for k, at := range s.floors[resource] {
			if at.Before(newest) || at.Equal(newest) && k.compare(key) >= 0 {
				continue // what is asked next costs more
			}
			if by, heard := s.speaker(p, k.certificate); heard && !s.compromised(k.certificate, k.subkey) && p.Reconciles(by, resource) {
				newest, key = at, k
			}
		}
	}
	return newest, key
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
	return f.raise(r.Resource, signingKey{x.Key, x.Subkey}, r.Created.Time)
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
		if err := f.raise(resource, signingKey{v.Primary(), v.Subkey()}, h.Created.Time); err != nil {
			return err
		}
	}
	return nil
}

// raise notes the newest time that the key of a reconciler has written for a resource.
func (f *fold) raise(resource string, key signingKey, at time.Time) error {
	if !at.After(f.floors[resource][key]) {
		return nil
	}
	f.setFloor(resource, key, at)
	_, err := f.Exec(`INSERT OR REPLACE INTO floors VALUES (?, ?, ?, ?)`, resource, key.certificate.Bytes(), key.subkey.Bytes(), at.Unix())
	return err
}

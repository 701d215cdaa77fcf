// Package revoke owns what ends a request before its time: the cancellation by
// the person who asked, and the revocation by one who could have refused.
//
// It imports only the request, policy and record packages.
package revoke

import (
	"fmt"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// Cancellation withdraws a request, or drops its access early. Only the one who
// asked can sign it.
type Cancellation struct {
	record.Head   `yaml:",inline"`
	Request       record.ID     `yaml:"request"`
	RequestDigest record.Digest `yaml:"requestDigest"`
	Comment       string        `yaml:"comment,omitempty"`
}

// Revocation ends a request, open or not, and says why. An approver of it or an
// admin signs it.
type Revocation struct {
	record.Head   `yaml:",inline"`
	Request       record.ID     `yaml:"request"`
	RequestDigest record.Digest `yaml:"requestDigest"`
	Reason        string        `yaml:"reason"`
}

// DecodeCancellation gives the cancellation in v.
func DecodeCancellation(v record.Verified) (Cancellation, error) {
	c, err := record.Decode[Cancellation](v, record.KindCancellation)
	if err != nil {
		return Cancellation{}, err
	}
	return c, request.CheckText("comment", c.Comment, false)
}

// DecodeRevocation gives the revocation in v.
func DecodeRevocation(v record.Verified) (Revocation, error) {
	r, err := record.Decode[Revocation](v, record.KindRevocation)
	if err != nil {
		return Revocation{}, err
	}
	return r, request.CheckText("reason", r.Reason, true)
}

// MayCancel judges who cancels r.
func MayCancel(r request.Request, by string) error {
	if by != r.By {
		return &policy.Refusal{Code: policy.NotRequester,
			Message: fmt.Sprintf("request %s is by %s; only they can cancel it", r.ID.Short(), r.By),
			Hint:    "an approver or admin can run: jit revoke " + r.ID.Short() + " -r REASON"}
	}
	return nil
}

// Who is a person who takes something away, and those for whom they act. At is the time
// by which rosters and delegations are read: in a store no earlier than what stands
// before it there proves, for the signer chooses what a record claims.
type Who struct {
	By     string
	At     time.Time
	Acting []string
}

// MayRevoke judges who revokes r under a policy: an admin, or anybody who may
// approve or acknowledge a part of it.
func MayRevoke(p *policy.Policy, r request.Request, w Who) error {
	by := w.By
	if p.IsAdmin(by) {
		return nil
	}
	for _, g := range r.Grants {
		m, err := p.Match(r.By, g.Resource, g.Role, r.Created.Time)
		if err != nil || p.Excludes(m.Rule, by, r.By) {
			continue // what no rule covers any more, only an admin revokes
		}
		deciders := m.Rule.Acknowledgers()
		for _, s := range m.Rule.Stages {
			deciders = append(deciders, s.Deciders()...)
		}
		c := policy.Concern{Requester: r.By, Resource: g.Resource, At: w.At}
		for _, name := range append([]string{by}, w.Acting...) {
			if p.MayApprove(m.Rule, deciders, name, c) {
				return nil
			}
		}
	}
	hint := "ask an admin"
	if by == r.By {
		hint = "to drop your own access, run: jit cancel " + r.ID.Short()
	}
	return &policy.Refusal{Code: policy.NotAllowed,
		Message: fmt.Sprintf("%s is neither an admin nor an approver of request %s", by, r.ID.Short()), Hint: hint}
}

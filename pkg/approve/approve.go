// Package approve owns the decisions about a request and about a policy
// version: approval, denial, withdrawal, and the one function that says where a
// request stands.
//
// It knows no clock: the time is a parameter. It imports only the revoke,
// request, receipt, policy and record packages.
package approve

import (
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// Approval agrees to a request, or to a policy version, whose exact bytes it
// names.
type Approval struct {
	record.Head `yaml:",inline"`
	// Request is the id of the request or policy version.
	Request       record.ID     `yaml:"request"`
	RequestDigest record.Digest `yaml:"requestDigest"`
	// Duration narrows the window; zero leaves it as asked.
	Duration record.Duration `yaml:"duration,omitempty"`
	Comment  string          `yaml:"comment,omitempty"`
}

// Denial refuses a request and ends it.
type Denial struct {
	record.Head   `yaml:",inline"`
	Request       record.ID     `yaml:"request"`
	RequestDigest record.Digest `yaml:"requestDigest"`
	Reason        string        `yaml:"reason"`
}

// Withdrawal takes back the signer's own approvals of a request, as long as
// access is not open.
type Withdrawal struct {
	record.Head   `yaml:",inline"`
	Request       record.ID     `yaml:"request"`
	RequestDigest record.Digest `yaml:"requestDigest"`
	Comment       string        `yaml:"comment,omitempty"`
}

// DecodeApproval gives the approval in v.
func DecodeApproval(v record.Verified) (Approval, error) {
	a, err := record.Decode[Approval](v, record.KindApproval)
	if err != nil {
		return Approval{}, err
	}
	return a, request.CheckText("comment", a.Comment, false)
}

// DecodeDenial gives the denial in v.
func DecodeDenial(v record.Verified) (Denial, error) {
	d, err := record.Decode[Denial](v, record.KindDenial)
	if err != nil {
		return Denial{}, err
	}
	return d, request.CheckText("reason", d.Reason, true)
}

// DecodeWithdrawal gives the withdrawal in v.
func DecodeWithdrawal(v record.Verified) (Withdrawal, error) {
	w, err := record.Decode[Withdrawal](v, record.KindWithdrawal)
	if err != nil {
		return Withdrawal{}, err
	}
	return w, request.CheckText("comment", w.Comment, false)
}

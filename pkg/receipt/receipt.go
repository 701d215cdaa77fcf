// Package receipt owns what reconcilers sign: the receipt, which tells that one
// grant is to be opened, was opened or ended, or that this failed; and the
// heartbeat, which tells what the reconciler had seen.
//
// A receipt is evidence and never authority. What should be open follows from
// policy, approvals and time alone.
//
// It imports only the record package.
package receipt

import (
	"fmt"

	"github.com/jitaccess/jit/pkg/record"
)

// Outcome is what became of a grant.
type Outcome string

// The outcomes.
const (
	Intended Outcome = "intended" // access is to open once this is seen to be on record
	Applied  Outcome = "applied"  // access is open and can be used
	Ended    Outcome = "ended"    // access was taken away
	Failed   Outcome = "failed"   // the target refused or could not be reached
)

// CauseLease is the cause for which access ends when nothing has shown for too long
// that the store is the true one. It opens again when something does.
const CauseLease = "lease"

// Receipt is a reconciler's word on one grant of a request.
type Receipt struct {
	record.Head   `yaml:",inline"`
	Request       record.ID     `yaml:"request"`
	RequestDigest record.Digest `yaml:"requestDigest"`
	Resource      string        `yaml:"resource"`
	Role          string        `yaml:"role"`
	Account       string        `yaml:"account"`
	Outcome       Outcome       `yaml:"outcome"`
	// Ends is when access will end (intended, applied).
	Ends *record.Timestamp `yaml:"ends,omitempty"`
	// Cause says why it ended: expired, cancelled, revoked, denied, changed,
	// or [CauseLease].
	Cause string `yaml:"cause,omitempty"`
	// Standing says that the access was there before jit, and was left.
	Standing bool `yaml:"standing,omitempty"`
	// SessionsEnded counts the live sessions that were cut.
	SessionsEnded int `yaml:"sessionsEnded,omitempty"`
	// Left names what could not be ended or checked.
	Left []string `yaml:"left,omitempty"`
	// Detail says what went wrong (failed).
	Detail string `yaml:"detail,omitempty"`
	// Ledger is the running digest over all records that the reconciler had
	// counted, so that two machines that disagree are seen.
	Ledger record.Digest `yaml:"ledger"`
}

// Decode gives the receipt in v.
func Decode(v record.Verified) (Receipt, error) {
	r, err := record.Decode[Receipt](v, record.KindReceipt)
	if err != nil {
		return Receipt{}, err
	}
	switch r.Outcome {
	case Intended, Applied, Ended, Failed:
		return r, nil
	}
	return Receipt{}, &record.Refusal{Reason: "bad-value", Detail: fmt.Sprintf("outcome %q is not intended, applied, ended or failed", r.Outcome)}
}

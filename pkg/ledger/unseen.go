package ledger

import (
	"fmt"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// A lock, or leaving the policy, ends what somebody has signed, and so does the loss of
// the key: when they, or it, are back, they must sign it again. Who keeps a signed record
// back until then must gain nothing by it. What it was signed after is in its head.

// keptBack refuses what somebody signed before they were locked or left, or before the
// key was taken from them, but for what takes away and what a machine tells.
func (f *fold) keptBack(h record.Head, key record.Fingerprint, headAt int) error {
	if h.Kind.TakesAway() || h.Kind == record.KindReceipt || h.Kind == record.KindHeartbeat {
		return nil
	}
	if err := f.locks.RefuseUnseen(h.By, key, headAt); err != nil {
		return err
	}
	return f.stayed(headAt, "gives its key to "+h.By, func(p *policy.Policy) bool { return p.Gives(key, h.By) })
}

// stayed refuses what rests on something that a version which its signer had not seen
// took away, even where a later one gave it back.
func (f *fold) stayed(headAt int, what string, is func(*policy.Policy) bool) error {
	for _, p := range f.policies.After(headAt) {
		if !is(p.Policy) {
			return &policy.Refusal{Code: policy.HeadTooOld, Hint: "run: jit sync, and sign it again",
				Message: fmt.Sprintf("it was signed before policy version %s came into force, which no longer %s", p.ID().Short(), what)}
		}
	}
	return nil
}

// isAdminWith reports whether somebody is an admin under a policy, and has a key.
func isAdminWith(p *policy.Policy, name string, key record.Fingerprint) bool {
	return p.Gives(key, name) && p.IsAdmin(name)
}

package approve

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// Placed is a counted record with its place in the history.
type Placed[T any] struct {
	Record T
	// Position is the number of the commit that brought the record, and Order
	// its place among the records of that commit. HeadAt is the position of
	// the commit that its signer had seen.
	Position, Order, HeadAt int
	// Beside is, of what takes away or changes the policy, the first position of which its
	// signer, or the side that a merge brought it from, knew nothing; 0 where nothing lies
	// between that and its own, and for others.
	Beside int `json:",omitempty"`
	// Key is the certificate that signed, and Subkey the subkey of it that did; empty
	// where it was the primary key.
	Key    record.Fingerprint
	Subkey record.Fingerprint `json:",omitempty"`
}

// keys gives those on which the record rests.
func (p Placed[T]) keys() []record.Fingerprint { return signedWith(p.Key, p.Subkey) }

// signedWith gives the keys on which rests what a certificate has signed with a subkey, or
// with its primary key, the certificate first: where one of them is compromised, it counts
// for nothing.
func signedWith(certificate, subkey record.Fingerprint) []record.Fingerprint {
	if subkey == "" {
		return []record.Fingerprint{certificate}
	}
	return []record.Fingerprint{certificate, subkey}
}

func (p Placed[T]) place() place { return place{p.Position, p.Order} }

// place is where a record stands in the history.
type place struct{ position, order int }

func (p place) compare(q place) int {
	return cmp.Or(cmp.Compare(p.position, q.position), cmp.Compare(p.order, q.order))
}

func (p place) before(q place) bool { return p.compare(q) < 0 }

// Case is all that the ledger counts about one request, each kind in the order
// of the history.
type Case struct {
	Request       Placed[request.Request]
	Digest        record.Digest
	Approvals     []Placed[Approval]            `json:",omitempty"`
	Denials       []Placed[Denial]              `json:",omitempty"`
	Withdrawals   []Placed[Withdrawal]          `json:",omitempty"`
	Cancellations []Placed[revoke.Cancellation] `json:",omitempty"`
	Revocations   []Placed[revoke.Revocation]   `json:",omitempty"`
	Comments      []Placed[request.Comment]     `json:",omitempty"`
	Receipts      []Placed[receipt.Receipt]     `json:",omitempty"`
	Acks          []Placed[Acknowledgement]     `json:",omitempty"`
	// Before is what the history held when the request was made.
	Before request.Before `json:",omitzero"`
	// Acting says for whom the signers of approvals acted, by the approval's id.
	Acting map[record.ID]Acts `json:",omitempty"`
	// Locks are those of the requester, of an approver, or of one in whose place an
	// approver acted, or of their keys, that came after what they signed.
	Locks []Locked `json:",omitempty"`
	// Lost is what the signers of approvals have lost since they signed.
	Lost []Lost `json:",omitempty"`
	// Extended are the requests that prolong this one: what takes it away takes
	// them away.
	Extended []record.ID `json:",omitempty"`
	// Prolongs is the request that this one prolongs, as it stands: where that was not
	// open when this one was made, there is nothing to prolong. It is nil for others, and
	// for one that is only imagined.
	Prolongs *Case `json:",omitempty"`
	// Outlived says from where the requester has said themselves that what they asked
	// for had lapsed undecided.
	Outlived []Outlived `json:",omitempty"`
	// Void names the certificates and the subkeys among the signers, of the delegations
	// under which approvals were given too, that were revoked as compromised.
	Void map[record.Fingerprint]Void `json:",omitempty"`
}

// Outlived is a later request by the same person, which claims a time at which an
// entitlement of the earlier one had lapsed undecided, and was judged by that: what they
// asked for earlier is not decided any more, be that time past or still to come.
type Outlived struct {
	Grant           request.Grant
	By              record.ID
	Position, Order int
	// At is the time that the later request claims.
	At time.Time
}

func (x Outlived) place() place { return place{x.Position, x.Order} }

// Void says from where a compromised key's requests and approvals count for
// nothing, and the time that the revocation claims.
type Void struct {
	Position int
	At       time.Time
}

// place is before the records of the commit, and after a version of the policy.
func (x Void) place() place { return place{x.Position, -1} }

// Locked is a lock of a person or a key, where it stands in the history.
type Locked struct {
	ID              record.ID
	Position, Order int
	// Beside is that of [Placed].
	Beside int `json:",omitempty"`
	// At is the time that it claims; By the admin who set it.
	At         time.Time
	By, Reason string
	// Person or Key is what is locked.
	Person string             `json:",omitempty"`
	Key    record.Fingerprint `json:",omitempty"`
	// For is the one in whose place nobody acts any more from there, by the name that
	// they had when an approval was given in it.
	For string `json:",omitempty"`
}

// Lost is what the signer of an approval could sign it with, and no more: the key or the
// subkey, which its owner has retired, or a delegation, which was ended. What takes effect before that
// keeps what it has.
type Lost struct {
	Approval        record.ID
	Position, Order int
	// Beside is that of [Placed].
	Beside int `json:",omitempty"`
	// At is the time that the revocation, or the end of the delegation, claims.
	At time.Time
	// For is the one in whose place they acted; empty where it is the key.
	For string `json:",omitempty"`
}

func (x Lost) place() place { return place{x.Position, x.Order} }

// Takes reports whether an approval can lose it: one that stands before it, and that claims
// a later time, or that it stands beside.
func (x Lost) Takes(a Placed[Approval]) bool {
	return a.place().before(x.place()) && (a.Record.Created.After(x.At) || x.taking().besides(a.place()))
}

// Same reports whether an approval loses the same by both, whatever times they claim. What
// takes it does so wherever it is in sight and access was not opened before it: by the first
// in the history it is lost, and another takes nothing more.
func (x Lost) Same(y Lost) bool { return x.Approval == y.Approval && x.For == y.For }

func (l Locked) place() place { return place{l.Position, l.Order} }

// Same reports whether two are one lock of one person or key.
func (l Locked) Same(m Locked) bool {
	l.At, m.At = time.Time{}, time.Time{}
	return l == m
}

func (l Locked) names(person string, key record.Fingerprint) bool {
	return l.Person != "" && l.Person == person || l.Key != "" && l.Key == key
}

// Names refuses a record about another request, or about other bytes of it.
func (c Case) Names(id record.ID, digest record.Digest) error {
	if id != c.Request.Record.ID {
		return &policy.Refusal{Code: policy.NoSuchRecord, Message: fmt.Sprintf("it is about request %s", id)}
	}
	if digest != c.Digest {
		return &policy.Refusal{Code: policy.WrongDigest,
			Message: fmt.Sprintf("it is about other bytes than those of request %s", id)}
	}
	return nil
}

// MaxApprovals is how often one person may approve one request. Once is enough
// until a stage opens, a rule changes or an approval was withdrawn; a bound
// keeps one approver from making every reading of the store slow.
const MaxApprovals = 16

// MayApprove judges an approval as it is counted at its place, under the
// history of policies up to there. acting are those for whom its signer acts
// there. What depends on time is judged by [Decide].
func (c Case) MayApprove(h policy.History, a Placed[Approval], acting Acts) error {
	r := c.Request.Record
	refuse := func(code policy.Code, hint, format string, args ...any) error {
		return &policy.Refusal{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	by := a.Record.By
	now := h.At(a.Position)
	if now == nil || h.At(a.HeadAt) == nil {
		return refuse(policy.NotApprover, "", "there is no policy")
	}
	requester := identities(now, r.By, c.Request.Key)
	if slices.Contains(requester[:], by) || a.Key != "" && a.Key == c.Request.Key {
		return refuse(policy.OwnRequest, "somebody else must approve it; see: jit show "+r.ID.Short(), "%s cannot approve their own request", by)
	}
	if a.HeadAt < c.Request.Position {
		return refuse(policy.HeadTooOld, "run: jit sync, and approve again", "the approval was signed before its signer had seen the request")
	}
	if !a.Record.Created.Before(r.Expires.Time) {
		return refuse(policy.Lapsed, "ask for it again", "the request lapsed at %s", r.Expires.Format(timeForm))
	}
	if a.Record.Created.Before(r.Created.Time) && r.Created.Sub(a.Record.Created.Time) > Skew {
		return refuse(policy.Backdated, "set the clock", "the approval claims a time before its request")
	}
	if d := a.Record.Duration; !d.IsZero() && d.Duration > r.Duration.Duration {
		return refuse(policy.Widens, "approve without --for, or for less", "%s is longer than the %s that was asked for", d, r.Duration)
	}
	if ended := c.endedBefore(a.place()); ended != "" {
		return refuse(policy.AfterEnd, "ask for it again", "the request was %s already", ended)
	}
	if left := c.left(h); left != nil {
		return refuse(policy.AfterEnd, "ask for it again", "the request takes no approvals any more: %s", whyLeft(left.Policy, r.By, c.Request.Key))
	}
	if d := Decide(h, c, a.Record.Created.Time); d.State == Lapsed {
		why := ""
		if d.EndedBy != nil {
			why = ": " + d.EndedBy.Reason
		}
		return refuse(policy.Lapsed, "ask for it again", "the request lapsed at %s%s", d.Closed.Format(timeForm), why)
	}
	earlier := 0
	for _, x := range c.Approvals {
		if x.Record.By == by {
			earlier++
		}
	}
	if earlier >= MaxApprovals {
		return refuse(policy.CountedOnce, "ask for it again", "%s has approved request %s %d times already", by, r.ID.Short(), earlier)
	}
	inPlaceOf := acting.without(now, requester[:]...).Names()
	eligible, same, kept := false, false, false
	for _, g := range r.Grants {
		m, err := now.Match(r.By, g.Resource, g.Role, r.Created.Time)
		if err != nil {
			continue
		}
		if now.Excludes(m.Rule, by, r.By) {
			kept = true
			continue
		}
		rests, ok := restsOn(h, a.HeadAt, func(p *policy.Policy) (policy.Match, error) {
			return p.Match(r.By, g.Resource, g.Role, r.Created.Time)
		})
		unchanged := ok && (rests.changed == nil || rests.changed.Position > a.Position)
		concern := policy.Concern{Requester: r.By, Resource: g.Resource, At: a.Record.Created.Time}
		names := []string{by}
		if !slices.Contains(m.Rule.Exclude, policy.ExcludeDelegates) {
			names = append(names, inPlaceOf...)
		}
		for _, s := range m.Rule.Stages {
			if slices.ContainsFunc(names, func(name string) bool { return now.MayApprove(m.Rule, s.Deciders(), name, concern) }) {
				eligible = true
				same = same || unchanged
			}
		}
	}
	switch {
	case r.Emergency:
		return refuse(policy.AlreadyOpen, "acknowledge it: jit ack "+r.ID.Short(), "request %s is an emergency, which opens without approval", r.ID.Short())
	case !eligible && kept:
		return refuse(policy.Excluded, "see who can: jit show "+r.ID.Short(), "the rule keeps %s from approving what %s asks for", by, r.By)
	case !eligible:
		return refuse(policy.NotApprover, "see who can: jit show "+r.ID.Short(), "%s is not an approver of request %s", by, r.ID.Short())
	case !same:
		return refuse(policy.BasisChanged, "approve it again: jit approve "+r.ID.Short(), "the rule or the meaning of the role changed since the approval was signed")
	}
	return nil
}

// MayDeny judges a denial as it is counted at its place: by anybody who may
// approve a part of the request, or an admin.
func (c Case) MayDeny(p *policy.Policy, w revoke.Who) error {
	if err := revoke.MayRevoke(p, c.Request.Record, w); err != nil {
		return &policy.Refusal{Code: policy.NotApprover,
			Message: fmt.Sprintf("%s is not an approver of request %s", w.By, c.Request.Record.ID.Short()),
			Hint:    "see who can: jit show " + c.Request.Record.ID.Short()}
	}
	return nil
}

// MayWithdraw judges a withdrawal: there must be an approval to take back.
func (c Case) MayWithdraw(by string) error {
	for _, a := range c.Approvals {
		if a.Record.By == by {
			return nil
		}
	}
	return &policy.Refusal{Code: policy.NoSuchRecord, Message: fmt.Sprintf("%s has not approved request %s", by, c.Request.Record.ID.Short()),
		Hint: "to refuse it, run: jit deny " + c.Request.Record.ID.Short() + " -r REASON"}
}

// ReceiptsOf gives the receipts of one entitlement, in the order of the history.
func (c Case) ReceiptsOf(g request.Grant) iter.Seq[Placed[receipt.Receipt]] {
	return func(yield func(Placed[receipt.Receipt]) bool) {
		for _, x := range c.Receipts {
			if x.Record.Resource == g.Resource && x.Record.Role == g.Role && !yield(x) {
				return
			}
		}
	}
}

// Over reports that something ended the request for good, or that all of it was ended
// by a reconciler's word: it waits for nothing.
func (c Case) Over() bool {
	ended := func(g request.Grant) bool {
		for x := range c.ReceiptsOf(g) {
			if x.Record.Outcome == receipt.Ended {
				return true
			}
		}
		return false
	}
	return len(c.Denials)+len(c.Cancellations)+len(c.Revocations) > 0 ||
		slices.ContainsFunc(c.Locks, func(l Locked) bool { return l.names(c.Request.Record.By, c.Request.Key) }) ||
		!slices.ContainsFunc(c.Request.Record.Grants, func(g request.Grant) bool { return !ended(g) })
}

// endedBefore gives the word for what ended the request at an earlier place in
// the history, or "".
func (c Case) endedBefore(at place) string {
	for _, d := range c.Denials {
		if d.place().before(at) {
			return string(Denied)
		}
	}
	for _, x := range c.Cancellations {
		if x.place().before(at) {
			return string(Cancelled)
		}
	}
	for _, x := range c.Revocations {
		if x.place().before(at) {
			return string(Revoked)
		}
	}
	for _, l := range c.Locks {
		if l.names(c.Request.Record.By, c.Request.Key) && l.place().before(at) {
			return string(Revoked)
		}
	}
	return ""
}

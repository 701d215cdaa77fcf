package ledger

import (
	"errors"
	"fmt"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/revoke"
)

// MaxProposal is the longest that a proposed policy version may wait.
const MaxProposal = 30 * 24 * time.Hour

// first takes the store's first policy. It is trusted for being the one that
// the identity names, and by nothing else.
func (f *fold) first(v record.Verified, c candidate) error {
	h := v.Head()
	if h.Kind != record.KindPolicy || f.position != 1 {
		return refuse(ReasonNotInPolicy, "there is no policy yet")
	}
	if h.Store != "" || h.Head != "" {
		return refuse(ReasonWrongStore, "a store's first policy names no store and no head")
	}
	identity := record.StoreID(v.Digest())
	if f.identity != "" && f.identity != identity {
		return refuse(ReasonWrongStore, "it is the first policy of store %s, not of %s", identity, f.identity)
	}
	doc, err := record.Decode[policy.Document](v, record.KindPolicy)
	if err != nil {
		return err
	}
	p, err := policy.Compile(doc, v.Digest())
	if err != nil {
		return err
	}
	if owner, ok := p.OwnerOf(v.Primary()); !ok || owner != h.By || !p.IsAdmin(h.By) {
		return &policy.Refusal{Code: policy.NotAdmin, Message: "it is not signed by one of its admins"}
	}
	f.identity = identity
	version := policy.InForce{Policy: p, Position: f.position, Since: h.Created.Time, Claimed: h.Created.Time}
	if err := f.enforce(version); err != nil {
		return err
	}
	proposal := approve.Proposal{Policy: placed(f, v, doc, 0), Digest: v.Digest()}
	if err := f.saveProposal(proposal, version); err != nil {
		return err
	}
	f.see(v, 0)
	return f.count(v, c)
}

// propose takes a policy version that is put forward.
//
// A version costs every machine more than any other record does, and decides what all
// others mean. So only admins of the one in force put one forward, and nothing is read
// of what others write.
func (f *fold) propose(v record.Verified, headAt int) error {
	now := f.policies.Latest()
	if by := v.Head().By; !now.IsAdmin(by) {
		return &policy.Refusal{Code: policy.NotAdmin, Message: by + " is not an admin, and only admins propose a policy version",
			Hint: "give the file to one of the admins, to run: jit policy propose FILE"}
	}
	doc, err := record.Decode[policy.Document](v, record.KindPolicy)
	if err != nil {
		return err
	}
	switch {
	case doc.Replaces != now.Digest():
		return &policy.Refusal{Code: policy.NotReplacing, Message: "it replaces a version that is not in force here"}
	case doc.Expires == nil || !doc.Expires.After(doc.Created.Time) || doc.Expires.Sub(doc.Created.Time) > MaxProposal:
		return &policy.Refusal{Code: policy.PendingTooLong, Message: fmt.Sprintf("a proposal must expire within %s", record.Duration{Duration: MaxProposal})}
	}
	version := placed(f, v, doc, headAt)
	if err := f.outlived(version); err != nil {
		return err
	}
	if err := f.roomToPropose(v.Head().By); err != nil {
		return err
	}
	p, err := policy.Compile(doc, v.Digest())
	if err != nil {
		return err
	}
	if err := approve.MayPropose(now, doc); err != nil {
		return err
	}
	return f.weigh(approve.Proposal{Policy: version, Digest: v.Digest()}, func() (*policy.Policy, error) { return p, nil })
}

// weigh keeps a proposal, and puts it in force where all have agreed.
func (f *fold) weigh(proposal approve.Proposal, compile func() (*policy.Policy, error)) error {
	d := approve.DecidePolicy(f.policies.Latest(), proposal)
	if !d.Reached {
		return f.saveProposal(proposal, policy.InForce{})
	}
	p, err := compile()
	if err != nil {
		return err
	}
	version := policy.InForce{Policy: p, Position: f.position, Beside: f.unseenFrom, Since: d.At, Claimed: d.Claimed}
	if err := f.enforce(version); err != nil {
		return err
	}
	if err := f.forget(version); err != nil {
		return err
	}
	if err := f.endForGone(version); err != nil {
		return err
	}
	if err := f.dropAgreements(func(u revoke.Lift) bool { return !isAdminWith(p, u.By, u.Key) }); err != nil {
		return err
	}
	if err := f.liftAgreed(); err != nil {
		return err
	}
	return f.saveProposal(proposal, version)
}

func (f *fold) approvePolicy(v record.Verified, c candidate, headAt int) error {
	a, err := approve.DecodeApproval(v)
	if err != nil {
		return err
	}
	proposal, err := f.proposal(c.place.Request)
	if errors.Is(err, ErrNotFound) {
		return refuse(ReasonNoSuchRequest, "there is no policy version %s", c.place.Request)
	}
	if err != nil {
		return err
	}
	if a.Request != c.place.Request {
		return &policy.Refusal{Code: policy.NoSuchRecord, Message: "it approves " + string(a.Request)}
	}
	if a.RequestDigest != proposal.Digest {
		return &policy.Refusal{Code: policy.WrongDigest, Message: "it approves other bytes than those of policy version " + string(c.place.Request)}
	}
	for _, p := range f.policies {
		if p.ID() == c.place.Request {
			return &policy.Refusal{Code: policy.AlreadyInForce, Message: "that policy version was in force already"}
		}
	}
	x := placed(f, v, a, headAt)
	if err := proposal.MayApprovePolicy(f.policies.Latest(), x); err != nil {
		return err
	}
	if err := f.outlived(proposal.Policy); err != nil {
		return err
	}
	if err := roomBeside(proposal.Approvals, v.Head().Kind, x.Key); err != nil {
		return err
	}
	proposal.Approvals = append(proposal.Approvals, x)
	// It compiled when it came, and compiling it may be long work: not for each
	// approval again.
	return f.weigh(proposal, func() (*policy.Policy, error) { return policy.Compile(proposal.Policy.Record, proposal.Digest) })
}

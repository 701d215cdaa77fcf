package ledger

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// MaxProposal is the longest that a proposed policy version may wait.
const MaxProposal = 30 * 24 * time.Hour

// judge counts a candidate, or says why not.
func (f *fold) judge(c candidate) error {
	v, err := f.verify(c)
	if err != nil {
		return err
	}
	h := v.Head()
	switch {
	case h.Kind != c.place.Kind || h.ID != c.place.ID:
		return refuse(ReasonWrongPlace, "it is %s %s", h.Kind, h.ID)
	case f.policies.Latest() == nil:
		return f.first(v, c)
	case h.Store != f.identity:
		return refuse(ReasonWrongStore, "it was signed for store %s", orNone(string(h.Store)))
	}
	if other, err := f.record(h.ID); err != nil {
		return err
	} else if len(other) > 0 {
		return refuse(ReasonDuplicateID, "its id is that of %s", other[0].Path)
	}
	if err := f.standing(v); err != nil {
		return err
	}
	headAt, err := f.place(gitstore.Hash(h.Head))
	if err != nil {
		return err
	}
	// A head on this history is that of an earlier commit.
	off := headAt == 0 || headAt >= f.position
	var unseen error
	if off {
		if unseen = f.offLine(v, c); reasonOf(unseen) == "" || !h.Kind.TakesAway() {
			return unseen
		}
	}
	// What one who is locked may still sign shows nothing: it may be the thief's.
	shut := f.locks.Refuse(h.By, v.Primary()) != nil
	if err := f.admit(v, c, headAt); err != nil {
		return err
	}
	if off {
		if err := f.noteOffLine(c, reasonOf(unseen), h.Head); err != nil {
			return err
		}
	}
	if !shut {
		f.see(v, headAt)
	}
	return f.count(v, c)
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

// verify reads a candidate's bytes and checks its signature.
func (f *fold) verify(c candidate) (v record.Verified, err error) {
	if c.blob == "" {
		return v, refuse(ReasonNoSuchRequest, "there is a signature and no record")
	}
	if c.asc == "" {
		return v, refuse(ReasonNoSignature, "there is no signature beside it")
	}
	if w, ok := f.ahead[c.path]; ok && w.blob == c.blob && w.asc == c.asc && w.keyring == f.keyring {
		v, err = w.verified, w.err
	} else {
		v, err = verify(f.src, f.keyring, c.blob, c.asc)
	}
	switch {
	case record.ReasonOf(err) != record.ReasonKeyUnknown:
		return v, err
	case f.policies.Latest() != nil:
		return v, f.stranger(c.blob, c.asc, err)
	}
	// Before the first policy all are strangers.
	return f.verifyFirst(c, err)
}

// verifyFirst verifies what may be the store's first policy.
func (f *fold) verifyFirst(c candidate, unknown error) (v record.Verified, err error) {
	sig, err := f.src.ReadBlob(c.asc, record.MaxSignatureSize)
	if err != nil {
		return v, err
	}
	issuer, _, err := record.InspectSignature(sig)
	if err != nil {
		return v, err
	}
	ring, err := f.claiming(issuer)
	if err != nil || len(ring.Find(issuer)) == 0 {
		return v, errors.Join(err, unless(err != nil, unknown))
	}
	return verify(f.src, ring, c.blob, c.asc)
}

// verify reads a record and its signature and checks the one by the other.
func verify(src Source, keyring *record.Keyring, blob, asc gitstore.Hash) (v record.Verified, err error) {
	data, err := src.ReadBlob(blob, record.MaxSize)
	if err != nil {
		return v, err
	}
	sig, err := src.ReadBlob(asc, record.MaxSignatureSize)
	if err != nil {
		return v, err
	}
	return keyring.Verify(data, sig)
}

// standing judges whether the signer is who By names, under the policy in force
// here.
func (f *fold) standing(v record.Verified) error {
	h, p := v.Head(), f.policies.Latest()
	owner, ok := p.OwnerOf(v.Primary())
	switch {
	case !ok:
		return refuse(ReasonNotInPolicy, "key %s belongs to nobody in the policy in force", v.Primary())
	case owner != h.By:
		return refuse(ReasonWrongSigner, "it says that it is by %q, and is signed with a key of %s", h.By, owner)
	}
	_, person := p.Person(h.By)
	if machine := h.Kind == record.KindReceipt || h.Kind == record.KindHeartbeat; machine == person {
		return refuse(ReasonNotReconciler, "%s cannot sign a %s", h.By, h.Kind)
	}
	return f.mayActHere(v)
}

// admit judges a record by what it means, and gives it its effect.
func (f *fold) admit(v record.Verified, c candidate, headAt int) error {
	switch h := v.Head(); h.Kind {
	case record.KindPolicy:
		return f.propose(v, headAt)
	case record.KindRequest:
		return f.request(v, headAt)
	case record.KindApproval:
		if c.place.Policy {
			return f.approvePolicy(v, c, headAt)
		}
	case record.KindHeartbeat:
		if c.place.Request == "" {
			return f.heartbeat(v)
		}
	}
	if !c.place.Policy && c.place.Request == "" {
		return f.apart(v, headAt)
	}
	if c.place.Policy {
		return refuse(ReasonWrongPlace, "a %s does not belong there", v.Head().Kind)
	}
	return f.beside(v, c, headAt)
}

// apart takes a record that belongs to no one request.
func (f *fold) apart(v record.Verified, headAt int) error {
	switch v.Head().Kind {
	case record.KindLock:
		return f.lock(v)
	case record.KindUnlock:
		return f.unlock(v)
	case record.KindDelegation:
		return f.delegate(v, headAt)
	case record.KindDelegationEnd:
		return f.endDelegation(v)
	}
	return refuse(ReasonWrongPlace, "a %s does not belong there", v.Head().Kind)
}

// placed puts a record at its place.
func placed[T any](f *fold, v record.Verified, x T, headAt int) approve.Placed[T] {
	return approve.Placed[T]{Record: x, Position: f.position, Order: f.order, HeadAt: headAt, Key: v.Primary()}
}

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
	if err := f.enforce(policy.InForce{Policy: p, Position: f.position, Since: h.Created.Time}); err != nil {
		return err
	}
	proposal := approve.Proposal{Policy: placed(f, v, doc, 0), Digest: v.Digest()}
	if err := f.saveProposal(proposal, f.position, h.Created.Time); err != nil {
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
	if err := f.roomToPropose(v.Head().By); err != nil {
		return err
	}
	p, err := policy.Compile(doc, v.Digest())
	if err != nil {
		return err
	}
	return f.weigh(approve.Proposal{Policy: placed(f, v, doc, headAt), Digest: v.Digest()}, func() (*policy.Policy, error) { return p, nil })
}

// weigh keeps a proposal, and puts it in force where all have agreed.
func (f *fold) weigh(proposal approve.Proposal, compile func() (*policy.Policy, error)) error {
	d := approve.DecidePolicy(f.policies.Latest(), proposal)
	if !d.Reached {
		return f.saveProposal(proposal, 0, time.Unix(0, 0))
	}
	p, err := compile()
	if err != nil {
		return err
	}
	if err := f.enforce(policy.InForce{Policy: p, Position: f.position, Since: d.At}); err != nil {
		return err
	}
	if err := f.forget(d.At); err != nil {
		return err
	}
	if err := f.endForGone(f.policies[len(f.policies)-1]); err != nil {
		return err
	}
	if err := f.dropAgreements(func(u revoke.Lift) bool { owner, _ := p.OwnerOf(u.Key); return owner != u.By || !p.IsAdmin(u.By) }); err != nil {
		return err
	}
	if err := f.liftAgreed(); err != nil {
		return err
	}
	return f.saveProposal(proposal, f.position, d.At)
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
	if err := roomBeside(proposal.Approvals, v.Head().Kind, x.Key); err != nil {
		return err
	}
	proposal.Approvals = append(proposal.Approvals, x)
	// It compiled when it came, and compiling it may be long work: not for each
	// approval again.
	return f.weigh(proposal, func() (*policy.Policy, error) { return policy.Compile(proposal.Policy.Record, proposal.Digest) })
}

func (f *fold) request(v record.Verified, headAt int) error {
	r, err := request.Decode(v)
	if err != nil {
		return err
	}
	if err := f.roomToAsk(r); err != nil {
		return err
	}
	before, err := f.before(r)
	if err != nil {
		return err
	}
	if err := r.Allowed(f.policies.Latest(), before); err != nil {
		return err
	}
	before.Locked = nil
	if err := f.notBackdated(r, r.Created.Time); err != nil {
		return err
	}
	if err := f.prolongs(r); err != nil {
		return err
	}
	if err := f.wait(r); err != nil {
		return err
	}
	return f.keep(approve.Case{Request: placed(f, v, r, headAt), Digest: v.Digest(), Before: before, Void: f.voids(nil, v.Primary())})
}

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

// voids adds what is known of a key to a case's voids.
func (f *fold) voids(have map[record.Fingerprint]void, key record.Fingerprint) map[record.Fingerprint]void {
	v, ok := f.void[key]
	if !ok {
		return have
	}
	if have == nil {
		have = map[record.Fingerprint]void{}
	}
	have[key] = v
	return have
}

// beside takes a record that belongs to a request.
func (f *fold) beside(v record.Verified, c candidate, headAt int) error {
	kase, err := f.kase(c.place.Request)
	if errors.Is(err, ErrNotFound) {
		return refuse(ReasonNoSuchRequest, "there is no request %s", c.place.Request)
	}
	if err != nil {
		return err
	}
	p, by := f.policies.Latest(), v.Head().By
	who, acting, err := f.standingAt(v.Head(), kase.Request.Record)
	if err != nil {
		return err
	}
	switch v.Head().Kind {
	case record.KindApproval:
		err = add(f, v, headAt, &kase.Approvals, approve.DecodeApproval, func(x approve.Placed[approve.Approval]) error {
			if err := kase.Names(x.Record.Request, x.Record.RequestDigest); err != nil {
				return err
			}
			if err := f.notBackdated(kase.Request.Record, x.Record.Created.Time); err != nil {
				return err
			}
			return kase.MayApprove(f.policies, x, acting)
		})
		if err == nil && len(acting) > 0 {
			kase.Acting = withActing(kase.Acting, v.Head().ID, acting)
			err = f.act(kase.Request.Record.ID, acting)
		}
	case record.KindDenial:
		err = add(f, v, headAt, &kase.Denials, approve.DecodeDenial, func(x approve.Placed[approve.Denial]) error {
			return errors.Join(kase.Names(x.Record.Request, x.Record.RequestDigest), kase.MayDeny(p, who))
		})
	case record.KindWithdrawal:
		err = add(f, v, headAt, &kase.Withdrawals, approve.DecodeWithdrawal, func(x approve.Placed[approve.Withdrawal]) error {
			return errors.Join(kase.Names(x.Record.Request, x.Record.RequestDigest), kase.MayWithdraw(by))
		})
	case record.KindCancellation:
		err = add(f, v, headAt, &kase.Cancellations, revoke.DecodeCancellation, func(x approve.Placed[revoke.Cancellation]) error {
			return errors.Join(kase.Names(x.Record.Request, x.Record.RequestDigest), revoke.MayCancel(kase.Request.Record, by))
		})
	case record.KindRevocation:
		err = add(f, v, headAt, &kase.Revocations, revoke.DecodeRevocation, func(x approve.Placed[revoke.Revocation]) error {
			return errors.Join(kase.Names(x.Record.Request, x.Record.RequestDigest), revoke.MayRevoke(p, kase.Request.Record, who))
		})
	case record.KindComment:
		err = add(f, v, headAt, &kase.Comments, request.DecodeComment, func(x approve.Placed[request.Comment]) error {
			return kase.Names(x.Record.Request, x.Record.RequestDigest)
		})
	case record.KindAcknowledgement:
		err = add(f, v, headAt, &kase.Acks, approve.DecodeAcknowledgement, func(x approve.Placed[approve.Acknowledgement]) error {
			return errors.Join(kase.Names(x.Record.Request, x.Record.RequestDigest), kase.MayAcknowledge(f.policies, x))
		})
	case record.KindReceipt:
		err = add(f, v, headAt, &kase.Receipts, receipt.Decode, func(x approve.Placed[receipt.Receipt]) error {
			return f.mayReceipt(kase, x)
		})
	default:
		err = refuse(ReasonWrongPlace, "a %s does not belong there", v.Head().Kind)
	}
	if err != nil {
		return err
	}
	kase.Void = f.voids(kase.Void, v.Primary())
	if err := f.keep(kase); err != nil {
		return err
	}
	if kase.Over() {
		if err := f.over(kase.Request.Record.ID); err != nil {
			return err
		}
	}
	return f.inherit(kase, v.Head().Kind)
}

// withActing gives a copy of the map with one entry more: cases that are read from
// one another share it.
func withActing(have map[record.ID]approve.Acts, id record.ID, acts approve.Acts) map[record.ID]approve.Acts {
	all := map[record.ID]approve.Acts{id: acts}
	maps.Copy(all, have)
	return all
}

// add decodes a record, judges it, and appends it to its list in the case.
func add[T any](f *fold, v record.Verified, headAt int, list *[]approve.Placed[T],
	decode func(record.Verified) (T, error), may func(approve.Placed[T]) error,
) error {
	rec, err := decode(v)
	if err != nil {
		return err
	}
	x := placed(f, v, rec, headAt)
	if err := may(x); err != nil {
		return err
	}
	if err := roomBeside(*list, v.Head().Kind, x.Key); err != nil {
		return err
	}
	*list = append(*list, x)
	return nil
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

// certificate merges a certificate's file into what is known of its key.
func (f *fold) certificate(file gitstore.File, fpr record.Fingerprint, sum string) error {
	data, err := f.src.ReadBlob(file.Blob, record.MaxCertificateSize)
	var cert *record.Certificate
	if err == nil {
		if !strings.HasPrefix(string(record.Sum(data)), sum) {
			err = refuse(ReasonWrongPlace, "its name is not the digest of its bytes")
		} else if cert, err = record.ParseCertificate(data); err == nil && cert.Fingerprint() != fpr {
			err = refuse(ReasonWrongPlace, "it is the certificate of %s", cert.Fingerprint())
		}
	}
	if err != nil {
		reason := reasonOf(err)
		if reason == "" {
			return err
		}
		return f.reject(file.Path, err)
	}
	merged, err := f.merge(cert)
	if reasonOf(err) != "" {
		return f.reject(file.Path, err)
	}
	if err != nil {
		return err
	}
	if kind, at := merged.Revocation(); kind == record.RevokedHard {
		if err := f.voidKey(fpr, at); err != nil {
			return err
		}
	}
	return f.hold(file.Path, file.Blob)
}

// merge adds a certificate to what is known of its key, and gives all that.
func (f *fold) merge(cert *record.Certificate) (*record.Certificate, error) {
	fpr := cert.Fingerprint()
	if f.named(fpr) {
		ring, err := f.keyring.With(cert)
		if err != nil {
			return nil, err
		}
		f.setKeyring(ring)
		cert = ring.Lookup(fpr)
	} else if have, err := f.index.certificate(fpr); err != nil {
		return nil, err
	} else if have != nil {
		if cert, _, err = have.Merge(cert); err != nil {
			return nil, err
		}
	}
	return cert, f.saveCertificate(cert, f.position)
}

// voidKey notes that a key was revoked as compromised, here and in every open
// request that it signed for.
func (f *fold) voidKey(fpr record.Fingerprint, at time.Time) error {
	if _, ok := f.void[fpr]; ok {
		return nil
	}
	if _, err := f.Exec(`INSERT OR IGNORE INTO voids VALUES (?, ?, ?)`, string(fpr), f.position, at.Unix()); err != nil {
		return err
	}
	if !f.named(fpr) {
		return nil // it has signed nothing that counts
	}
	f.void[fpr] = void{Position: f.position, At: at.UTC()}
	signed, err := f.rows(`WHERE r.key = ? AND r.kind IN (?, ?, ?, ?) ORDER BY r.position, r.ord`, fpr.Bytes(),
		string(record.KindRequest), string(record.KindApproval), string(record.KindPolicy), string(record.KindAcknowledgement))
	if err != nil {
		return err
	}
	for _, r := range signed {
		if r.Kind == record.KindPolicy || r.place.Policy {
			if err := f.voidProposal(r.Request, fpr); err != nil {
				return err
			}
			continue
		}
		kase, err := f.kase(r.Request)
		if err != nil {
			return err
		}
		if err := f.family(kase, func(c *approve.Case) { c.Void = f.voids(c.Void, fpr) }); err != nil {
			return err
		}
	}
	if err := f.dropAgreements(func(u revoke.Lift) bool { return u.Key == fpr }); err != nil {
		return err
	}
	return f.voidDelegations(fpr, at)
}

// voidProposal takes a compromised key's agreement from a proposal that is
// pending. A version in force stays: the admins replace it.
func (f *fold) voidProposal(id record.ID, fpr record.Fingerprint) error {
	if slices.ContainsFunc(f.policies, func(p policy.InForce) bool { return p.ID() == id }) {
		return nil
	}
	p, err := f.proposal(id)
	if err != nil {
		return err
	}
	p.Void = f.voids(p.Void, fpr)
	return f.saveProposal(p, 0, time.Unix(0, 0))
}

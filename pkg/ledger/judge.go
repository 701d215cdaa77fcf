package ledger

import (
	"cmp"
	"errors"
	"maps"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

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
	if f.unseenFrom, err = f.besideOf(v, c, headAt); err != nil {
		return err
	}
	// What one who is locked may still sign shows nothing: it may be the thief's.
	shut := f.locks.Refuse(h.By, v.Primary()) != nil
	if err := f.taken(v, c, headAt); err != nil {
		if off && !shut && reasonOf(err) != "" {
			err = shows(unseen, err)
		}
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

// besideOf gives the first position beside which a record stands that takes away, or changes
// the policy: its signer had seen nothing from after their head. Nobody else chooses that,
// while whoever lays the record there, or a copy of it, chooses what stands before it. Where
// a merge brought it, its side may have seen less. It is 0 where nothing lies between.
func (f *fold) besideOf(v record.Verified, c candidate, headAt int) (int, error) {
	h := v.Head()
	if !h.Kind.TakesAway() && h.Kind != record.KindPolicy && !c.place.Policy {
		return 0, nil
	}
	from := headAt + 1
	if headAt == 0 || headAt >= f.position {
		from = 1
	}
	if headAt == 0 {
		beside, passed, err := f.parted(gitstore.Hash(h.Head))
		if err != nil {
			return 0, err
		}
		if passed {
			from = beside
		}
	}
	if f.alongside > 0 {
		from = min(from, f.alongside)
	}
	if from >= f.position {
		return 0, nil
	}
	return from, nil
}

// taken takes a record of one in good standing, or says why it does not count.
func (f *fold) taken(v record.Verified, c candidate, headAt int) error {
	if err := f.unheld(v); err != nil {
		return err
	}
	h := v.Head()
	if err := f.keptBack(h, v.Primary(), headAt); err != nil {
		return err
	}
	err := f.admit(v, c, headAt)
	if reasonOf(err) != "" && h.Kind.TakesAway() {
		return cmp.Or(f.waitFor(v, c), err)
	}
	return err
}

// unheld refuses a record whose id another has that counts already. What takes away
// counts all the same, unless it is that very record: whoever sees it before it is on the
// line, and can get before it by a merge, must gain nothing by laying one with its id.
func (f *fold) unheld(v record.Verified) error {
	h := v.Head()
	others, err := f.record(h.ID)
	if err != nil {
		return err
	}
	for _, other := range others {
		if !h.Kind.TakesAway() || other.Digest == v.Digest() {
			return refuse(ReasonDuplicateID, "its id is that of %s", other.Path)
		}
	}
	return nil
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
		return v, f.stranger(c.asc, err)
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
		return f.unlock(v, headAt)
	case record.KindDelegation:
		return f.delegate(v, headAt)
	case record.KindDelegationEnd:
		return f.endDelegation(v)
	}
	return refuse(ReasonWrongPlace, "a %s does not belong there", v.Head().Kind)
}

// placed puts a record at its place.
func placed[T any](f *fold, v record.Verified, x T, headAt int) approve.Placed[T] {
	return approve.Placed[T]{Record: x, Position: f.position, Order: f.order, HeadAt: headAt, Beside: f.unseenFrom, Key: v.Primary(), Subkey: v.Subkey()}
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
	c := approve.Case{Request: placed(f, v, r, headAt), Digest: v.Digest(), Before: before, Void: f.voids(nil, v)}
	if r.Extends != "" {
		if err := f.roomInRole(c, r.Created.Time); err != nil {
			return err
		}
	}
	if err := f.takeAtWord(r); err != nil {
		return err
	}
	if err := f.wait(r); err != nil {
		return err
	}
	if err := f.keep(c); err != nil {
		return err
	}
	f.came(r.ID)
	return f.prolongs(r)
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
			if err := kase.MayApprove(f.policies, x, acting); err != nil {
				return err
			}
			if err := f.stillOpen(kase, x.Record.Created.Time); err != nil {
				return err
			}
			return f.roomInRole(kase, x.Record.Created.Time)
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
	kase.Void = f.voids(kase.Void, v)
	if err := f.keep(kase); err != nil {
		return err
	}
	if v.Head().Kind == record.KindApproval {
		f.came(kase.Request.Record.ID)
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

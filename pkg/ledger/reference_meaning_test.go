package ledger_test

import (
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// This is the part of the reference that knows what the kinds of record mean.

// succession finds the policy versions that were in force: at each agreement to
// a version, whether it was the last one needed.
func (r *reference) succession() policy.History {
	h, _ := r.forced()
	return h
}

// forced gives the succession, and for each version the number of the record with
// which it came into force.
func (r *reference) forced() (h policy.History, at []int) {
	for i, c := range r.counted {
		switch {
		case len(h) == 0:
			at = append(at, i)
			h = policy.History{{Policy: c.policy, Position: c.position, Since: c.Head().Created.Time, Claimed: c.Head().Created.Time}}
		case c.Policy:
			version := r.version(c.Request)
			if since, claimed, ok := r.agreed(h.Latest().Document().Admins, version, i); ok {
				h, at = append(h, policy.InForce{Policy: version.policy, Position: c.position, Beside: c.unseenFrom(), Since: since, Claimed: claimed}), append(at, i)
			}
		}
	}
	return h, at
}

func (r *reference) inForce() *policy.Policy { return r.succession().Latest() }

// named reports whether a policy that is, or was, in force names a key.
func (r *reference) named(key record.Fingerprint) bool {
	return slices.ContainsFunc(r.succession(), func(p policy.InForce) bool {
		_, ok := p.OwnerOf(key)
		return ok
	})
}

// version gives a policy version that counts, or nil.
func (r *reference) version(id record.ID) *counted {
	for i := range r.counted {
		if c := &r.counted[i]; c.Kind == record.KindPolicy && c.ID == id {
			return c
		}
	}
	return nil
}

// agreed reports whether enough admins had agreed to a version when the record
// with that number was counted, and what the last and the first of them claim as the time.
func (r *reference) agreed(old policy.Admins, version *counted, upTo int) (since, claimed time.Time, ok bool) {
	admins := version.policy.Document().Admins
	since = version.Head().Created.Time
	claimed = since
	var agree []string
	for i, c := range r.counted[:upTo+1] {
		by := c.Head().By
		void, isVoid := r.voidOf(c)
		switch {
		case !c.Policy || c.Request != version.ID:
		case isVoid && void.Position <= r.counted[upTo].position:
		case r.lockedSince(i, upTo, by, c.Primary()):
		case !slices.Contains(old.People, by) && !slices.Contains(admins.People, by) || slices.Contains(agree, by):
		default:
			agree = append(agree, by)
			at := c.Head().Created.Time
			if at.After(since) {
				since = at
			}
			if at.Before(claimed) {
				claimed = at
			}
		}
	}
	enough := func(a policy.Admins) bool {
		n := 0
		for _, name := range a.People {
			if slices.Contains(agree, name) {
				n++
			}
		}
		return n >= a.Threshold
	}
	same := old.Threshold == admins.Threshold && slices.Equal(slices.Sorted(slices.Values(old.People)), slices.Sorted(slices.Values(admins.People)))
	return since, claimed, enough(old) && (same || enough(admins))
}

// void finds from where a key counts as compromised.
func (r *reference) void(key record.Fingerprint) (approve.Void, bool) {
	for _, t := range r.taken {
		if kind, at := t.cert.Revocation(); t.cert.Fingerprint() == key && kind == record.RevokedHard {
			return approve.Void{Position: t.position, At: at.UTC()}, true
		}
	}
	return approve.Void{}, false
}

// voidSubkey finds from where a subkey of a certificate counts as compromised.
func (r *reference) voidSubkey(key, subkey record.Fingerprint) (approve.Void, bool) {
	for _, t := range r.taken {
		for _, x := range t.cert.RevokedSubkeys() {
			if t.cert.Fingerprint() == key && x.Subkey == subkey && x.Kind == record.RevokedHard {
				return approve.Void{Position: t.position, At: x.At.UTC()}, true
			}
		}
	}
	return approve.Void{}, false
}

// voidOf finds from where what was signed by the very key that signed a record counts as
// void: that of its certificate, or of the subkey, whichever comes first.
func (r *reference) voidOf(c counted) (approve.Void, bool) {
	all, isAll := r.void(c.Primary())
	one, isOne := r.voidSubkey(c.Primary(), c.SigningKey())
	if isOne && (!isAll || one.Position < all.Position) {
		return one, true
	}
	return all, isAll
}

// backdated reports whether a time lies more than an hour before the newest receipt for
// a resource of a request, by a reconciler that may still write it.
func (r *reference) backdated(q request.Request, created time.Time) bool {
	return slices.ContainsFunc(q.Grants, func(g request.Grant) bool { return r.floor([]string{g.Resource}).After(created.Add(time.Hour)) })
}

// request gathers what counts about a request.
func (r *reference) request(id record.ID) (c approve.Case, ok bool) {
	before := r.prolonged(id)
	from := 0
	var signed []approve.Placed[record.Head]
	for i, x := range r.counted {
		for _, o := range x.outlives {
			if o.id == id {
				c.Outlived = append(c.Outlived, approve.Outlived{Grant: o.grant, By: x.ID, Position: x.position, Order: x.order, At: x.Head().Created.Time})
			}
		}
		ends := x.Kind.TakesAway() && x.Kind != record.KindWithdrawal
		if inherited := ok && ends && slices.Contains(before, x.Request); x.Policy || x.Request != id && !inherited {
			if slices.Contains(before, x.Request) {
				c.Void = r.withVoid(c.Void, x)
			}
			continue
		}
		switch v := x.value.(type) {
		case request.Request:
			c.Request, c.Digest, c.Before, ok = put(v, x), x.Digest(), x.before, true
			from, signed = i, append(signed, put(v.Head, x))
		case approve.Acknowledgement:
			c.Acks = append(c.Acks, put(v, x))
		case approve.Approval:
			c.Approvals, signed = append(c.Approvals, put(v, x)), append(signed, put(v.Head, x))
			if c.Acting == nil {
				c.Acting = map[record.ID]approve.Acts{}
			}
			c.Acting[x.ID] = x.acting
		case approve.Denial:
			c.Denials = append(c.Denials, put(v, x))
		case approve.Withdrawal:
			c.Withdrawals = append(c.Withdrawals, put(v, x))
		case receipt.Receipt:
			c.Receipts = append(c.Receipts, put(v, x))
		case revoke.Cancellation:
			c.Cancellations = append(c.Cancellations, put(v, x))
		case revoke.Revocation:
			c.Revocations = append(c.Revocations, put(v, x))
		}
		c.Void = r.withVoid(c.Void, x)
	}
	if base := c.Request.Record.Extends; ok && base != "" {
		first, _ := r.request(base)
		c.Prolongs = &first
	}
	if ok {
		c.Lost = r.lostSince(c)
		c.Locks = r.lockedBy(c.Request.Record.By, r.locksFrom(from, signed, c.Acting), before)
	}
	return c, ok
}

// unseenFrom gives the first position that the signer of what takes away, or changes the
// policy, had not seen, where it is before the record's own.
func (c counted) unseenFrom() int {
	if !c.Kind.TakesAway() && c.Kind != record.KindPolicy && !c.Policy || c.headAt+1 >= c.position {
		return 0
	}
	return c.headAt + 1
}

func put[T any](v T, c counted) approve.Placed[T] {
	return approve.Placed[T]{Record: v, Position: c.position, Order: c.order, HeadAt: c.headAt, Beside: c.unseenFrom(), Key: c.Primary(), Subkey: c.Subkey()}
}

// proposal gathers what counts about a policy version. A key that is found to be
// compromised when the version is in force changes nothing any more.
func (r *reference) proposal(id record.ID) (p approve.Proposal) {
	last, lastRecord := r.position, len(r.counted)
	h, forced := r.forced()
	for i, v := range h {
		if v.ID() == id {
			last, lastRecord = v.Position, forced[i]+1
		}
	}
	upTo := *r
	upTo.counted = r.counted[:lastRecord]
	var signed []approve.Placed[record.Head]
	for _, x := range r.counted {
		if !x.Policy || x.Request != id {
			continue
		}
		switch v := x.value.(type) {
		case policy.Document:
			p.Policy, p.Digest, signed = put(v, x), x.Digest(), append(signed, put(v.Head, x))
		case approve.Approval:
			p.Approvals, signed = append(p.Approvals, put(v, x)), append(signed, put(v.Head, x))
		}
		if void, ok := r.voidOf(x); ok && void.Position <= last {
			if p.Void == nil {
				p.Void = map[record.Fingerprint]approve.Void{}
			}
			p.Void[x.SigningKey()] = void
		}
	}
	p.Locks = upTo.locksFrom(0, signed, nil)
	return p
}

// meaning judges a record by what its kind asks for, and keeps what it says.
func (r *reference) meaning(c *counted) (reason string) {
	switch {
	case c.Kind == record.KindPolicy:
		return r.policyVersion(c)
	case c.Kind == record.KindRequest:
		q, err := request.Decode(c.Verified)
		if err == nil {
			r.seeOver(q.By)
			c.before, err = r.before(q)
		}
		if err == nil {
			c.before.Locked = r.lockedOut()
			err = q.Allowed(r.inForce(), c.before)
			c.before.Locked = nil
		}
		if err == nil && r.backdated(q, q.Created.Time) {
			return string(policy.Backdated)
		}
		if err == nil && q.Extends != "" {
			err = r.roomInRole(q, c.before.Base, q.Created.Time)
		}
		if err == nil {
			c.outlives = r.outlivedBy(q)
		}
		c.value = q
		return why(err)
	case c.Kind == record.KindApproval && c.Policy:
		return r.policyApproval(c)
	case c.Kind == record.KindHeartbeat && c.Request == "":
		v, err := receipt.DecodeHeartbeat(c.Verified)
		c.value = v
		return why(err)
	case c.Request == "":
		return r.apart(c)
	case c.Policy:
		return ledger.ReasonWrongPlace
	}
	q, ok := r.request(c.Request)
	if !ok {
		return ledger.ReasonNoSuchRequest
	}
	return r.beside(c, q)
}

func (r *reference) policyVersion(c *counted) (reason string) {
	if !r.inForce().IsAdmin(c.Head().By) {
		return string(policy.NotAdmin)
	}
	doc, err := record.Decode[policy.Document](c.Verified, record.KindPolicy)
	if err != nil {
		return why(err)
	}
	if doc.Replaces != r.inForce().Digest() {
		return string(policy.NotReplacing)
	}
	if doc.Expires == nil || !doc.Expires.After(doc.Created.Time) || doc.Expires.After(doc.Created.AddDate(0, 0, 30)) {
		return string(policy.PendingTooLong)
	}
	if r.outlived(c.headAt, doc) {
		return string(policy.Lapsed)
	}
	if reason := decodePolicy(c); reason != "" {
		return reason
	}
	old := r.inForce().Document().Admins
	if doc.Admins.Threshold == old.Threshold && slices.Equal(slices.Sorted(slices.Values(doc.Admins.People)), slices.Sorted(slices.Values(old.People))) {
		return ""
	}
	could := 0
	for _, name := range doc.Admins.People {
		if slices.Contains(r.inForce().People(), name) {
			could++
		}
	}
	if could < doc.Admins.Threshold {
		return string(policy.AdminsUnknown)
	}
	return ""
}

// outlived reports whether as many admins as must agree have each signed something that
// claims a time from which a proposal may not be agreed to any more, and that its signer
// had not seen.
func (r *reference) outlived(headAt int, doc policy.Document) bool {
	now := r.inForce()
	var since []string
	for _, c := range r.counted {
		owner, _ := now.OwnerOf(c.Primary())
		_, void := r.voidOf(c)
		if c.position > headAt && !c.Head().Created.Before(doc.Expires.Time) && now.IsAdmin(owner) && !void && !c.locked && !slices.Contains(since, owner) {
			since = append(since, owner)
		}
	}
	late := len(since) >= now.Document().Admins.Threshold
	if late {
		r.late++
	}
	return late
}

func (r *reference) policyApproval(c *counted) (reason string) {
	a, err := approve.DecodeApproval(c.Verified)
	if err != nil {
		return why(err)
	}
	c.value = a
	version := r.version(c.Request)
	if version == nil {
		return ledger.ReasonNoSuchRequest
	}
	doc, now := version.policy.Document(), r.inForce()
	wasInForce := slices.ContainsFunc(r.succession(), func(v policy.InForce) bool { return v.ID() == c.Request })
	switch {
	case a.Request != c.Request:
		return string(policy.NoSuchRecord)
	case a.RequestDigest != version.Digest():
		return string(policy.WrongDigest)
	case wasInForce:
		return string(policy.AlreadyInForce)
	case doc.Replaces != now.Digest():
		return string(policy.NotReplacing)
	case c.headAt < version.position:
		return string(policy.HeadTooOld)
	case !a.Created.Before(doc.Expires.Time):
		return string(policy.Lapsed)
	case !now.IsAdmin(a.By) && !version.policy.IsAdmin(a.By):
		return string(policy.NotAdmin)
	case !a.Duration.IsZero():
		return string(policy.Widens)
	case r.outlived(version.headAt, *doc):
		return string(policy.Lapsed)
	}
	return ""
}

// beside judges a record about a request that counts.
func (r *reference) beside(c *counted, q approve.Case) (reason string) {
	var err error
	may := func(id record.ID, digest record.Digest, further func() error) {
		if err == nil {
			err = q.Names(id, digest)
		}
		if err == nil {
			err = further()
		}
	}
	by, now := c.Head().By, r.inForce()
	taking := revoke.Who{By: by, At: r.standsAt(c.Head().Created.Time, q.Request.Record)}
	taking.Acting = r.acting(by, taking.At).Names()
	switch c.Kind {
	case record.KindApproval:
		var v approve.Approval
		v, err = approve.DecodeApproval(c.Verified)
		c.value = v
		may(v.Request, v.RequestDigest, func() error {
			if r.backdated(q.Request.Record, v.Created.Time) {
				return &policy.Refusal{Code: policy.Backdated}
			}
			c.acting = r.acting(by, v.Created.Time)
			if err := q.MayApprove(r.succession(), put(v, *c), c.acting); err != nil {
				return err
			}
			for _, g := range q.Request.Record.Grants {
				if q.Prolongs == nil {
					break
				}
				if seen := written(*q.Prolongs, g, receipt.Applied, receipt.Ended); len(seen) > 0 {
					if x := seen[len(seen)-1]; x.Outcome == receipt.Ended && !v.Created.After(x.Created.Time) {
						return &policy.Refusal{Code: policy.Lapsed}
					}
				}
			}
			return r.roomInRole(q.Request.Record, q.Before.Base, v.Created.Time)
		})
	case record.KindDenial:
		var v approve.Denial
		v, err = approve.DecodeDenial(c.Verified)
		c.value = v
		may(v.Request, v.RequestDigest, func() error {
			return q.MayDeny(now, taking)
		})
	case record.KindWithdrawal:
		var v approve.Withdrawal
		v, err = approve.DecodeWithdrawal(c.Verified)
		c.value = v
		may(v.Request, v.RequestDigest, func() error { return q.MayWithdraw(by) })
	case record.KindCancellation:
		var v revoke.Cancellation
		v, err = revoke.DecodeCancellation(c.Verified)
		c.value = v
		may(v.Request, v.RequestDigest, func() error { return revoke.MayCancel(q.Request.Record, by) })
	case record.KindRevocation:
		var v revoke.Revocation
		v, err = revoke.DecodeRevocation(c.Verified)
		c.value = v
		may(v.Request, v.RequestDigest, func() error {
			return revoke.MayRevoke(now, q.Request.Record, taking)
		})
	case record.KindAcknowledgement:
		var v approve.Acknowledgement
		v, err = approve.DecodeAcknowledgement(c.Verified)
		c.value = v
		may(v.Request, v.RequestDigest, func() error { return q.MayAcknowledge(r.succession(), put(v, *c)) })
	case record.KindComment:
		var v request.Comment
		v, err = request.DecodeComment(c.Verified)
		c.value = v
		may(v.Request, v.RequestDigest, func() error { return nil })
	case record.KindReceipt:
		return r.receipt(c, q)
	default:
		return ledger.ReasonWrongPlace
	}
	return why(err)
}

func (r *reference) receipt(c *counted, q approve.Case) (reason string) {
	v, err := receipt.Decode(c.Verified)
	if err == nil {
		err = q.Names(v.Request, v.RequestDigest)
	}
	if err != nil {
		return why(err)
	}
	c.value = v
	switch {
	case !r.inForce().Reconciles(v.By, v.Resource):
		return ledger.ReasonNotReconciler
	case !slices.Contains(q.Request.Record.Grants, request.Grant{Resource: v.Resource, Role: v.Role}):
		return string(policy.NoSuchRecord)
	}
	return ""
}

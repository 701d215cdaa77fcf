package ledger

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// before gives what the history holds of other requests where r stands, as far as
// the policy in force asks for it. The error is a refusal where what r extends
// cannot be extended.
func (f *fold) before(r request.Request) (b request.Before, err error) {
	b.Locked = f.lockedOut(f.policies.Latest())
	if r.Extends != "" {
		if b.Base, err = f.base(r); err != nil {
			return b, err
		}
	}
	needed, unread := r.NeedsPast(f.policies.Latest())
	if !needed {
		return b, nil
	}
	if err := f.findable(); err != nil {
		return b, err
	}
	b.Past, err = f.past(f.policies, r, unread)
	return b, err
}

// findable writes what this fold holds in memory, where the index is to be searched, and
// makes the indices that the fold of a long history does without until then.
func (f *fold) findable() error {
	if err := f.writeCases(); err != nil {
		return err
	}
	if f.bulk == nil || f.bulk.ordered {
		return nil
	}
	for statement := range strings.SplitSeq(strings.TrimSpace(openIndices), "\n") {
		if _, err := f.Exec(statement); err != nil {
			return err
		}
	}
	f.bulk.ordered = true
	return nil
}

// Before gives what a request would be judged by that came next.
func (l *Ledger) Before(r request.Request) (b request.Before, err error) {
	b.Locked = l.lockedOut(l.Policy())
	x := index{l.db}
	if r.Extends != "" {
		if b.Base, err = base(l.policies, r, x.request); err != nil {
			return b, err
		}
	}
	if needed, unread := r.NeedsPast(l.Policy()); needed {
		b.Past, err = x.past(l.policies, r, unread)
	}
	return b, err
}

func (f *fold) base(r request.Request) (*request.Base, error) { return base(f.policies, r, f.kase) }

func base(h policy.History, r request.Request, kase func(record.ID) (approve.Case, error)) (*request.Base, error) {
	refuse := func(code policy.Code, hint, format string, args ...any) error {
		return &policy.Refusal{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	c, err := kase(r.Extends)
	if errors.Is(err, ErrNotFound) {
		return nil, refuse(policy.NoSuchRecord, "run: jit list --mine", "there is no request %s to extend", r.Extends)
	}
	if err != nil {
		return nil, err
	}
	short := r.Extends.Short()
	if c.Request.Record.By != r.By {
		return nil, refuse(policy.NotRequester, "run: jit list --mine", "request %s is by %s; only they can extend it", short, c.Request.Record.By)
	}
	d := approve.Decide(h, c, r.Created.Time)
	if d.State != approve.Active {
		return nil, refuse(policy.NotExtendable, "ask anew: jit request", "request %s is %s; only what is open can be extended", short, d.State)
	}
	if len(c.Extended) >= request.MaxExtensions {
		return nil, refuse(policy.ExtendsTooOften, "ask anew when it has ended", "%d extensions of request %s were asked for already", len(c.Extended), short)
	}
	for _, id := range c.Extended {
		next, err := kase(id)
		if err != nil {
			return nil, err
		}
		if s := approve.Decide(h, next, r.Created.Time).State; !s.Settled() {
			return nil, refuse(policy.ExtendsAlready, "see: jit show "+id.Short(), "request %s is extended already, by %s, which is %s", short, id.Short(), s)
		}
	}
	b := &request.Base{Keys: slices.Clone(d.Keys)}
	for _, g := range d.Grants {
		if g.State != approve.Active {
			continue // of a bundle that opens in parts, only what is open is prolonged
		}
		if at, ok := seenEnded(c, g.Grant); ok && !r.Created.After(at) {
			return nil, refuse(policy.NotExtendable, "ask anew: jit request", "access by request %s to %s was seen to end at %s; only what is open can be extended", short, g.Grant, at.Format(time.RFC3339))
		}
		part := request.BasePart{Grant: g.Grant, Opens: g.Opens, Ends: g.Ends, Meaning: g.Meaning.Digest()}
		if before, ok := c.Before.Base.Part(g.Grant); ok {
			part.Opens = before.Opens
		}
		b.Parts = append(b.Parts, part)
	}
	if before := c.Before.Base; before != nil {
		b.Keys, b.Extensions = append(b.Keys, before.Keys...), before.Extensions+1
	}
	slices.Sort(b.Keys)
	b.Keys = slices.Compact(b.Keys)
	return b, nil
}

// seenEnded gives when a reconciler wrote that an entitlement was ended, where that is the
// last that one wrote of it.
func seenEnded(c approve.Case, g request.Grant) (at time.Time, ok bool) {
	for r := range c.ReceiptsOf(g) {
		if x := r.Record; x.Outcome == receipt.Applied || x.Outcome == receipt.Ended {
			at, ok = x.Created.Time, x.Outcome == receipt.Ended
		}
	}
	return at, ok
}

// stillOpen refuses an approval of an extension that claims to be from before what it
// would prolong ended, where the history holds before it that this has.
func (f *fold) stillOpen(c approve.Case, approved time.Time) error {
	if c.Prolongs == nil {
		return nil
	}
	for _, g := range c.Request.Record.Grants {
		if at, ok := seenEnded(*c.Prolongs, g); ok && !approved.After(at) {
			return &policy.Refusal{Code: policy.Lapsed, Hint: "ask anew: jit request",
				Message: fmt.Sprintf("what it would prolong, %s by request %s, was seen to end at %s", g, c.Request.Record.Extends.Short(), at.Format(time.RFC3339))}
		}
	}
	return nil
}

// prolongs notes at the request that r extends that it does.
func (f *fold) prolongs(r request.Request) error {
	if r.Extends == "" {
		return nil
	}
	c, err := f.kase(r.Extends)
	if err != nil {
		return err
	}
	c.Extended = append(c.Extended, r.ID)
	return f.keep(c)
}

// family calls change for a case and for all that prolong it, and keeps them.
func (f *fold) family(c approve.Case, change func(*approve.Case)) error {
	change(&c)
	if err := f.keep(c); err != nil {
		return err
	}
	if c.Over() {
		if err := f.over(c.Request.Record.ID); err != nil {
			return err
		}
	}
	for _, id := range c.Extended {
		next, err := f.kase(id)
		if err != nil {
			return err
		}
		if err := f.family(next, change); err != nil {
			return err
		}
	}
	return nil
}

// inherit lets what was last counted of a kind beside a request take away what
// prolongs it too.
func (f *fold) inherit(c approve.Case, kind record.Kind) error {
	var change func(*approve.Case)
	switch kind {
	case record.KindDenial:
		change = func(x *approve.Case) { x.Denials = append(x.Denials, c.Denials[len(c.Denials)-1]) }
	case record.KindCancellation:
		change = func(x *approve.Case) {
			x.Cancellations = append(x.Cancellations, c.Cancellations[len(c.Cancellations)-1])
		}
	case record.KindRevocation:
		change = func(x *approve.Case) { x.Revocations = append(x.Revocations, c.Revocations[len(c.Revocations)-1]) }
	default:
		return nil
	}
	for _, id := range c.Extended {
		next, err := f.kase(id)
		if err != nil {
			return err
		}
		if err := f.family(next, change); err != nil {
			return err
		}
	}
	return nil
}

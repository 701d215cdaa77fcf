package trial

import (
	"fmt"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// Outcome is what came of a case.
type Outcome struct {
	// Request is what was asked, and Before what was so when it was.
	Request request.Request
	Before  request.Before
	// Refusal is why it is refused when it is asked; nil where it is not. All
	// below is zero where it is.
	Refusal error
	// Decision is where it stands at Now.
	Decision approve.Decision
	Now      time.Time
	Deeds    []Done
}

// Done is what became of a deed. Why is empty where it counts, or where no stage
// had need of it.
type Done struct {
	Deed
	When    time.Time
	Why     policy.Code
	Message string
}

// the places of the records of a trial: the policy, the request, and one deed a
// commit.
const (
	atPolicy  = 1
	atRequest = 2
)

// zeros reads as one number, so that ids are the same in every run.
type zeros int

func (z zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(int(z) >> (8 * (i % 4)))
	}
	return len(p), nil
}

// scene is a case as it is played.
type scene struct {
	p   *policy.Policy
	h   policy.History
	c   approve.Case
	ids int
}

func newScene(p *policy.Policy) *scene {
	return &scene{p: p, h: policy.History{{Policy: p, Position: atPolicy}}}
}

func (s *scene) head(kind record.Kind, by string, at time.Time) (record.Head, error) {
	s.ids++
	id, err := record.NewID(at, zeros(s.ids))
	if err != nil {
		return record.Head{}, fmt.Errorf("a record of %s: %w", at.Format(time.RFC3339), err)
	}
	return record.Head{APIVersion: record.APIVersion, Kind: kind, ID: id, By: by, Created: record.At(at)}, nil
}

// key is the first of a person's keys; of nobody's where they have none.
func (s *scene) key(person string) record.Fingerprint {
	if who, ok := s.p.Person(person); ok && len(who.Keys) > 0 {
		return who.Keys[0]
	}
	return ""
}

// open puts the request in its place.
func (s *scene) open(r request.Request, b request.Before) {
	s.c = approve.Case{
		Request: approve.Placed[request.Request]{Record: r, Position: atRequest, HeadAt: atPolicy, Key: s.key(r.By)},
		Digest:  record.Sum([]byte(r.ID)), Before: b, Acting: map[record.ID]approve.Acts{},
	}
}

// next gives the place of the deed that comes next.
func (s *scene) next() int {
	return atRequest + 1 + len(s.c.Approvals) + len(s.c.Denials) + len(s.c.Withdrawals) + len(s.c.Cancellations) + len(s.c.Revocations) + len(s.c.Acks)
}

func placed[T any](s *scene, rec T, by string) approve.Placed[T] {
	n := s.next()
	return approve.Placed[T]{Record: rec, Position: n, HeadAt: n - 1, Key: s.key(by)}
}

// Run plays a case of t under a policy. The error says what cannot be played: it
// is never that of the policy.
func (t Table) Run(p *policy.Policy, c Case) (o Outcome, err error) {
	s := newScene(p)
	asked := c.asked(t)
	if o.Request, err = s.request(c, asked); err != nil {
		return o, err
	}
	if err := o.Request.Check(); err != nil {
		return o, err
	}
	past, err := s.past(c, asked)
	if err != nil {
		return o, err
	}
	if needed, _ := o.Request.NeedsPast(p); needed {
		o.Before.Past = past
	}
	if o.Refusal = o.Request.Allowed(p, o.Before); o.Refusal != nil {
		return o, nil //nolint:nilerr // the refusal is the outcome
	}
	s.open(o.Request, o.Before)
	last := asked
	var ids []record.ID
	for _, d := range c.Decisions {
		last = d.when(asked, last)
		id, refusal, err := s.do(d, last)
		if err != nil {
			return o, err
		}
		done := Done{Deed: d, When: last, Why: policy.CodeOf(refusal)}
		if refusal != nil {
			done.Message = refusal.Error()
		}
		o.Deeds, ids = append(o.Deeds, done), append(ids, id)
	}
	if o.Now = last; c.Now != nil {
		o.Now = c.Now.from(asked)
	}
	o.Decision = approve.Decide(s.h, s.c, o.Now)
	for _, a := range o.Decision.Approvals {
		if i := slices.Index(ids, a.ID); i >= 0 && !a.Counted {
			o.Deeds[i].Why = a.Why
		}
	}
	return o, nil
}

func (s *scene) request(c Case, asked time.Time) (request.Request, error) {
	head, err := s.head(record.KindRequest, c.Who, asked)
	if err != nil {
		return request.Request{}, err
	}
	r := request.Request{Head: head, Duration: c.For, Reason: "to try the policy", Ticket: c.Ticket, Emergency: c.Emergency}
	if c.For.IsZero() {
		r.Duration.Duration = time.Hour
	}
	if c.Reason != nil {
		r.Reason = *c.Reason
	}
	for _, e := range c.Asks {
		r.Grants = append(r.Grants, e.Grant)
	}
	if c.Start != nil {
		at := record.At(c.Start.from(asked))
		r.Start = &at
	}
	for name, value := range c.Inputs {
		if r.Inputs == nil {
			r.Inputs = map[string]string{}
		}
		r.Inputs[name] = string(value)
	}
	r.Expires = r.Lapse(s.p)
	return r, nil
}

// asked gives when what is held was asked for, where the case is at a time: when it
// opened.
func (h Hold) asked(at time.Time) time.Time {
	if h.From == nil {
		return at
	}
	return h.From.from(at)
}

// past is what a case says that people hold, as the ledger gives it: in the order in
// which it was asked for, and what has ended newest first.
func (s *scene) past(c Case, asked time.Time) (*policy.Past, error) {
	past := &policy.Past{InRole: map[string]int{}}
	holds := slices.Clone(c.Holds)
	slices.SortStableFunc(holds, func(a, b Hold) int { return a.asked(asked).Compare(b.asked(asked)) })
	for _, h := range holds {
		held := policy.Held{State: string(approve.Pending)}
		if h.From != nil {
			held.Since, held.Until = h.From.from(asked), h.Until.from(asked)
			switch {
			case !asked.Before(held.Until):
				held.State = string(approve.Expired)
			case asked.Before(held.Since):
				held.State = string(approve.Scheduled)
			default:
				held.State = string(approve.Active)
			}
		}
		head, err := s.head(record.KindRequest, h.Who, h.asked(asked))
		if err != nil {
			return nil, err
		}
		held.Request = head.ID
		if h.Unacknowledged && h.Who == c.Who {
			past.Debts = append(past.Debts, head.ID)
		}
		for _, e := range h.Grants {
			held.Resource, held.Role = e.Resource, e.Role
			over := held.State == string(approve.Expired)
			if !over {
				past.InRole[e.Grant.String()]++
			}
			switch {
			case h.Who != c.Who:
			case over:
				past.Recent = append(past.Recent, held)
			default:
				past.Open = append(past.Open, held)
			}
		}
	}
	slices.Reverse(past.Recent)
	return past, nil
}

// do places a deed where it counts. The refusal says why it does not.
func (s *scene) do(d Deed, at time.Time) (id record.ID, refusal, err error) {
	r := s.c.Request.Record
	var acting approve.Acts
	if d.As != "" {
		if refusal, err := s.mayStandIn(d, at); refusal != nil || err != nil {
			return "", refusal, err
		}
		as, _ := s.p.Person(d.As)
		acting = approve.Acts{{Name: d.As, Keys: as.Keys, Signed: as.Keys[0]}}
	}
	who := revoke.Who{By: d.By, At: at, Acting: acting.Names()}
	switch d.does() {
	case DoesDeny:
		refusal, err = place(s, &s.c.Denials, record.KindDenial, d, at, func(h record.Head) approve.Denial {
			return approve.Denial{Head: h, Request: r.ID, RequestDigest: s.c.Digest, Reason: "no"}
		}, func(approve.Placed[approve.Denial]) error { return s.c.MayDeny(s.p, who) })
	case DoesWithdraw:
		refusal, err = place(s, &s.c.Withdrawals, record.KindWithdrawal, d, at, func(h record.Head) approve.Withdrawal {
			return approve.Withdrawal{Head: h, Request: r.ID, RequestDigest: s.c.Digest}
		}, func(approve.Placed[approve.Withdrawal]) error { return s.c.MayWithdraw(d.By) })
	case DoesCancel:
		refusal, err = place(s, &s.c.Cancellations, record.KindCancellation, d, at, func(h record.Head) revoke.Cancellation {
			return revoke.Cancellation{Head: h, Request: r.ID, RequestDigest: s.c.Digest}
		}, func(approve.Placed[revoke.Cancellation]) error { return revoke.MayCancel(r, d.By) })
	case DoesRevoke:
		refusal, err = place(s, &s.c.Revocations, record.KindRevocation, d, at, func(h record.Head) revoke.Revocation {
			return revoke.Revocation{Head: h, Request: r.ID, RequestDigest: s.c.Digest, Reason: "enough"}
		}, func(approve.Placed[revoke.Revocation]) error { return revoke.MayRevoke(s.p, r, who) })
	case DoesAcknowledge:
		refusal, err = place(s, &s.c.Acks, record.KindAcknowledgement, d, at, func(h record.Head) approve.Acknowledgement {
			return approve.Acknowledgement{Head: h, Request: r.ID, RequestDigest: s.c.Digest}
		}, func(a approve.Placed[approve.Acknowledgement]) error { return s.c.MayAcknowledge(s.h, a) })
	default:
		return s.approve(d, at, acting)
	}
	return "", refusal, err
}

// place puts a record of a deed into its list, unless may refuses it.
func place[T any](s *scene, list *[]approve.Placed[T], kind record.Kind, d Deed, at time.Time, make func(record.Head) T, may func(approve.Placed[T]) error) (refusal, err error) {
	head, err := s.head(kind, d.By, at)
	if err != nil {
		return nil, err
	}
	x := placed(s, make(head), d.By)
	if refusal := may(x); refusal != nil {
		return refusal, nil
	}
	*list = append(*list, x)
	return nil, nil
}

func (s *scene) approve(d Deed, at time.Time, acting approve.Acts) (id record.ID, refusal, err error) {
	refusal, err = place(s, &s.c.Approvals, record.KindApproval, d, at, func(h record.Head) approve.Approval {
		id = h.ID
		return approve.Approval{Head: h, Request: s.c.Request.Record.ID, RequestDigest: s.c.Digest, Duration: d.For}
	}, func(a approve.Placed[approve.Approval]) error { return s.c.MayApprove(s.h, a, acting) })
	if len(acting) > 0 && refusal == nil {
		s.c.Acting[id] = acting
	}
	return id, refusal, err
}

// mayStandIn judges whether a policy lets somebody act for another: by a delegation
// that is made then, and lasts a minute.
func (s *scene) mayStandIn(d Deed, at time.Time) (refusal, err error) {
	head, err := s.head(record.KindDelegation, d.As, at)
	if err != nil {
		return nil, err
	}
	return approve.MayDelegate(s.p, approve.Delegation{Head: head, To: d.By, Until: record.At(at.Add(time.Minute))}), nil
}

// Needs gives who can give the next approval, each once, in order.
func Needs(d approve.Decision) []string {
	var who []string
	for _, s := range current(d) {
		who = append(who, s.Who...)
	}
	slices.Sort(who)
	return slices.Compact(who)
}

// waits reports whether an entitlement waits for approval: of a bundle that opens in
// parts some may, where others are open.
func waits(d approve.Decision) bool {
	return slices.ContainsFunc(d.Grants, func(g approve.GrantDecision) bool { return g.State == approve.Pending })
}

// current gives the stages whose turn it is: the first of each entitlement that waits
// which is not met.
func current(d approve.Decision) []approve.StageDecision {
	var all []approve.StageDecision
	for _, g := range d.Grants {
		if g.State != approve.Pending {
			continue
		}
		for _, s := range g.Stages {
			if s.Missing() > 0 {
				all = append(all, s)
				break
			}
		}
	}
	return all
}

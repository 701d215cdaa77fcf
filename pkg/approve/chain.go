package approve

import (
	"fmt"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// chain is the stages of one entitlement as the approvals fill them.
type chain struct {
	v      *verdict
	seen   sight
	p      *policy.Policy
	rule   *policy.Rule
	about  request.Grant
	stages []*stage
	// current is the first stage that is not met.
	current int
	// counted are all who were counted in a stage, under every name.
	counted map[string]bool
}

// stage is one stage as it fills.
type stage struct {
	*policy.Stage
	ways []*way
	// began is when the stage before it was met; zero until then.
	began time.Time
	// took are the approvals that have a seat in one of the ways.
	took []taken
}

// taken is an approval that has a seat: its number, whose it is, in whose name and
// under which delegation it counts, and all names of those two.
type taken struct {
	approval int
	at       time.Time // when it was made
	by, as   string
	signed   []record.Fingerprint // none in their own name
	names    []string
}

// way is one of the ways in which a stage can be met.
type way struct {
	quorums []policy.Quorum
	seats   request.Seats
	size    int      // of all quorums together
	have    []string // who has a seat
}

func (w *way) missing() int { return w.size - len(w.have) }

func (s *stage) best() *way {
	return slices.MinFunc(s.ways, func(a, b *way) int { return a.missing() - b.missing() })
}

func (s *stage) met() bool { return s.best().missing() == 0 }

// expires is when the stage can no longer be met; zero for never.
func (s *stage) expires() time.Time {
	if s.Expire.IsZero() || s.began.IsZero() {
		return time.Time{}
	}
	return s.began.Add(s.Expire.Duration)
}

func (v *verdict) newChain(p *policy.Policy, grant int, seen sight) *chain {
	r := v.c.Request.Record
	c := &chain{v: v, seen: seen, p: p, rule: v.view(p).matches[grant].Rule, about: r.Grants[grant], counted: map[string]bool{}}
	if r.Emergency {
		return c // opens at once
	}
	for i := range c.rule.Stages {
		s := &stage{Stage: &c.rule.Stages[i]}
		for _, quorums := range s.Ways() {
			w := &way{quorums: quorums}
			for _, q := range quorums {
				w.size += q.Count
			}
			s.ways = append(s.ways, w)
		}
		c.stages = append(c.stages, s)
	}
	if len(c.stages) > 0 {
		c.stages[0].began = r.Created.Time
	}
	return c
}

func (c *chain) concern(at time.Time) policy.Concern {
	return policy.Concern{Requester: c.v.c.Request.Record.By, Resource: c.about.Resource, At: at}
}

// openUnder says what openTo does where all of some versions say so.
func (c *chain) openUnder(under []*policy.Policy, s *stage, name string, at time.Time) (open [][]bool, as string) {
	for n, p := range under {
		also, may := c.openTo(p, s, []string{name}, at)
		if as = may; as == "" {
			return nil, ""
		}
		if n == 0 {
			open = also
			continue
		}
		for k, quorums := range also {
			for j, may := range quorums {
				open[k][j] = open[k][j] && may
			}
		}
	}
	return open, as
}

// openTo says, for each way and quorum, whether an approver could have a seat at a
// time: by a policy, in their own name or in that of somebody for
// whom they act. as is the name under which they are eligible, empty where they
// are not.
func (c *chain) openTo(p *policy.Policy, s *stage, names []string, at time.Time) (open [][]bool, as string) {
	concern := c.concern(at)
	may := func(approvers []string) bool {
		for _, name := range names {
			if p.MayApprove(c.rule, approvers, name, concern) {
				if as == "" {
					as = name
				}
				return true
			}
		}
		return false
	}
	escalated := false
	for _, e := range s.Escalate {
		escalated = escalated || !at.Before(s.began.Add(e.After.Duration)) && may(e.To)
	}
	for _, w := range s.ways {
		quorums := make([]bool, len(w.quorums))
		for j, q := range w.quorums {
			quorums[j] = escalated || may(q.Approvers)
		}
		open = append(open, quorums)
	}
	return open, as
}

// seatsOf gives the seats of the quorums that are open to somebody.
func (w *way) seatsOf(open []bool) (seats []string) {
	for j, q := range w.quorums {
		for k := 0; open[j] && k < q.Count; k++ {
			seats = append(seats, fmt.Sprintf("%d#%d", j, k))
		}
	}
	return seats
}

// take lets the current stage take an approval; why says why it does not, and is
// empty where the stage has no need of it.
func (c *chain) take(i int, a Placed[Approval], acting Acts) (seated bool, why policy.Code) {
	s := c.stages[c.current]
	created := a.Record.Created.Time
	if end := s.expires(); !end.IsZero() && !created.Before(end) {
		return false, policy.StageExpired
	}
	own := Acting{Name: a.Record.By, Keys: []record.Fingerprint{a.Key}}
	inNames := Acts{own}
	if !slices.Contains(c.rule.Exclude, policy.ExcludeDelegates) {
		inNames = append(inNames, acting...)
	}
	under := c.v.under(a, c.seen)
	if slices.ContainsFunc(under, func(p *policy.Policy) bool { return p.Excludes(c.rule, a.Record.By, c.v.c.Request.Record.By) }) {
		return false, policy.Excluded
	}
	// In their own name first, and else in that of one for whom they act: an
	// approval never uses what two people may decide.
	var as *Acting // of whom it is said what became of it
	for k := range inNames {
		x := &inNames[k]
		open, eligible := c.openUnder(under, s, x.Name, created)
		if eligible == "" {
			continue
		}
		if as == nil {
			as = x
		}
		if c.hasCounted(*x) {
			continue
		}
		for k, w := range s.ways {
			if seats := w.seatsOf(open[k]); len(seats) > 0 && w.seats.Take(seats) {
				w.have = append(w.have, a.Record.By)
				seated = true
			}
		}
		if seated {
			as = x
			break
		}
	}
	switch {
	case seated:
	case as == nil:
		return false, c.notYet(under[len(under)-1], s, inNames.Names(), created)
	case c.hasCounted(*as):
		return false, policy.CountedOnce
	default:
		return false, ""
	}
	t := taken{i, created, a.Record.By, as.Name, as.keys(), slices.Concat(own.names(c.p), as.names(c.p))}
	s.took = append(s.took, t)
	for _, name := range t.names {
		c.counted[name] = true
	}
	if s.met() {
		c.release(s)
		c.current++
		if c.current < len(c.stages) {
			c.stages[c.current].began = s.done()
		}
	}
	return true, ""
}

// hasCounted reports whether somebody was counted in a stage, under whatever name.
func (c *chain) hasCounted(x Acting) bool {
	return slices.ContainsFunc(x.names(c.p), func(name string) bool { return c.counted[name] })
}

// release frees those who are in none of the seats by which a stage was met: they
// can count in a later one.
func (c *chain) release(s *stage) {
	won := s.best().have
	s.took = slices.DeleteFunc(s.took, func(t taken) bool {
		if slices.Contains(won, t.by) {
			return false
		}
		for _, name := range t.names {
			delete(c.counted, name)
		}
		return true
	})
}

// done is when a stage was met: with the last of the approvals by which it was.
func (s *stage) done() time.Time {
	at := s.began
	for _, t := range s.took {
		if t.at.After(at) {
			at = t.at
		}
	}
	return at
}

// notYet tells an approver to whom the stage has not escalated yet from one of
// another stage.
func (c *chain) notYet(p *policy.Policy, s *stage, names []string, at time.Time) policy.Code {
	for _, e := range s.Escalate {
		for _, name := range names {
			if p.MayApprove(c.rule, e.To, name, c.concern(at)) {
				return policy.EscalationNotDue
			}
		}
	}
	return policy.StageNotOpen
}

// delegations gives the keys that signed those under which approvals are counted.
func (c *chain) delegations() (keys []record.Fingerprint) {
	if c == nil {
		return nil
	}
	for _, s := range c.stages {
		for _, t := range s.took {
			for _, k := range t.signed {
				if !slices.Contains(keys, k) {
					keys = append(keys, k)
				}
			}
		}
	}
	return keys
}

// granted reports whether all stages are met.
func (c *chain) granted() bool { return c.current == len(c.stages) }

// expires gives when the stage at which the chain stands can no longer be met; zero
// for never.
func (c *chain) expires() time.Time {
	if c.granted() {
		return time.Time{}
	}
	return c.stages[c.current].expires()
}

// decisions says where each stage stands.
func (c *chain) decisions() []StageDecision {
	var all []StageDecision
	for _, s := range c.stages {
		best := s.best()
		all = append(all, StageDecision{Wants: s.Describe(), Count: best.size, Have: best.have, Began: s.began, Expires: s.expires()})
	}
	return all
}

// who gives those who could still bring a stage nearer to being met at a time, in
// their own name, in order. ever adds those to whom it escalates later.
func (c *chain) who(i int, now time.Time, ever bool) []string {
	s := c.stages[i]
	var principals []string
	for _, w := range s.ways {
		for _, q := range w.quorums {
			principals = append(principals, q.Approvers...)
		}
	}
	for _, e := range s.Escalate {
		if ever || !s.began.IsZero() && !now.Before(s.began.Add(e.After.Duration)) {
			principals = append(principals, e.To...)
		}
	}
	eligible := c.p.Eligible(c.rule, principals, c.concern(now))
	if ever {
		return slices.DeleteFunc(eligible, func(name string) bool { return c.counted[name] })
	}
	opens := c.opens(s, now)
	// Many are eligible for the same quorums, and one answer is that of all.
	useful := map[string]bool{}
	return slices.DeleteFunc(eligible, func(name string) bool {
		if c.counted[name] {
			return true
		}
		open, key := opens(name)
		if _, known := useful[key]; !known {
			useful[key] = slices.ContainsFunc(s.ways, func(w *way) bool {
				seats := w.seatsOf(open[slices.Index(s.ways, w)])
				return len(seats) > 0 && w.seats.Clone().Take(seats)
			})
		}
		return !useful[key]
	})
}

// opens gives what openTo would say of many people in their own name by the policy
// of the chain, with a key by which equal answers are known: who is eligible is
// found once for all.
func (c *chain) opens(s *stage, now time.Time) func(name string) (open [][]bool, key string) {
	who := func(approvers []string) []string { return c.p.Eligible(c.rule, approvers, c.concern(now)) }
	var escalated []string
	for _, e := range s.Escalate {
		if !now.Before(s.began.Add(e.After.Duration)) {
			escalated = append(escalated, e.To...)
		}
	}
	late := who(escalated)
	var quorums [][][]string
	for _, w := range s.ways {
		var of [][]string
		for _, q := range w.quorums {
			of = append(of, who(q.Approvers))
		}
		quorums = append(quorums, of)
	}
	return func(name string) (open [][]bool, key string) {
		_, any := slices.BinarySearch(late, name)
		var said []byte
		for _, of := range quorums {
			var row []bool
			for _, names := range of {
				_, may := slices.BinarySearch(names, name)
				row = append(row, any || may)
				if any || may {
					said = append(said, '1')
				} else {
					said = append(said, '0')
				}
			}
			open = append(open, row)
		}
		return open, string(said)
	}
}

// next gives when the stage escalates next, and who may decide it from then on who
// may not before.
func (c *chain) next(i int, now time.Time) *EscalationDue {
	s := c.stages[i]
	if s.began.IsZero() {
		return nil
	}
	for _, e := range s.Escalate {
		if at := s.began.Add(e.After.Duration); now.Before(at) {
			already := c.who(i, now, false)
			to := slices.DeleteFunc(c.p.Eligible(c.rule, e.To, c.concern(at)), func(name string) bool {
				_, may := slices.BinarySearch(already, name)
				return c.counted[name] || may
			})
			return &EscalationDue{At: at, To: to}
		}
	}
	return nil
}

// chain fills the stages of the i-th grant under p, and notes in counts the
// approvals that they take. Each is taken by the first stage that is not met at
// its place in the history, where its signer is eligible there; one person counts
// once over all stages, under whatever name or key, and together with the one for
// whom they act.
func (v *verdict) chain(p *policy.Policy, grant int, standings []Standing, seen sight, counts []bool) *chain {
	m := v.view(p).matches[grant]
	c := v.newChain(p, grant, seen)
	r := v.c.Request
	requester := identities(p, r.Record.By, r.Key)
	for i, a := range v.c.Approvals {
		if seen.place.before(a.place()) || c.granted() {
			break
		}
		switch standings[i].Why {
		case "", policy.OwnRequest, policy.BasisChanged, policy.StageNotOpen, policy.CountedOnce,
			policy.EscalationNotDue, policy.StageExpired, policy.Excluded: // for another grant, perhaps
		default:
			continue
		}
		who := identities(p, a.Record.By, a.Key)
		switch {
		case who.any(func(name string) bool { return name == requester[0] || name == requester[1] }):
			standings[i].Why = policy.OwnRequest
		case v.stale(i, grant, seen.place) || v.rested[i][grant].basis != m.Basis:
			standings[i].Why = policy.BasisChanged
		case who.any(func(name string) bool { return c.counted[name] }):
			standings[i].Why = policy.CountedOnce
		default:
			if seated, why := c.take(i, a, v.acting(a, seen).without(p, requester[:]...)); !seated {
				standings[i].Why = why
			}
		}
	}
	for _, s := range c.stages {
		for _, t := range s.took {
			counts[t.approval] = true
			if st := &standings[t.approval]; t.as != t.by && !slices.Contains(st.For, t.as) {
				st.For = append(st.For, t.as)
			}
		}
	}
	return c
}

// names are those by which a person is known: the one signed with, and the one
// that a policy gives to the owner of the key. They differ after a change of
// name, which must not make two people of one.
type names [2]string

func identities(p *policy.Policy, by string, key record.Fingerprint) names {
	if owner, ok := p.OwnerOf(key); ok {
		return names{by, owner}
	}
	return names{by, by}
}

func (n names) any(is func(string) bool) bool { return is(n[0]) || is(n[1]) }

// rest is what an approval of a grant rests on.
type rest struct {
	basis policy.Basis
	// changed is the first version since it was signed under which it rests on something
	// else; nil where none does. What a version after it changes back is for what is
	// signed from then on.
	changed *policy.InForce
}

// restsOn finds what an approval of a grant rested on when it was signed; ok is false
// where nothing did. match gives the rule of a version that decides about the grant.
func restsOn(h policy.History, headAt int, match func(*policy.Policy) (policy.Match, error)) (r rest, ok bool) {
	from := h.From(headAt)
	if len(from) == 0 || from[0].Position > headAt {
		return r, false
	}
	was, err := match(from[0].Policy)
	if err != nil {
		return r, false
	}
	r.basis = was.Basis
	for i := 1; i < len(from); i++ {
		if m, err := match(from[i].Policy); err != nil || m.Basis != r.basis {
			r.changed = &from[i]
			break
		}
	}
	return r, true
}

// stale reports whether what an approval of a grant rests on is not what it was when
// it was signed, or has been something else meanwhile, as seen from a place.
func (v *verdict) stale(approval, grant int, upTo place) bool {
	if v.rested == nil {
		v.rest()
	}
	r := v.rested[approval][grant]
	if r == nil {
		return true
	}
	c := r.changed
	return c != nil && c.Position <= upTo.position && (c.Position <= v.c.Approvals[approval].Position || v.happened(c.Since, placeOf(*c)))
}

func (v *verdict) rest() {
	for _, a := range v.c.Approvals {
		all := make([]*rest, len(v.c.Request.Record.Grants))
		for i := range all {
			r, ok := restsOn(v.history, a.HeadAt, func(p *policy.Policy) (policy.Match, error) {
				seen := v.view(p)
				return seen.matches[i], seen.errs[i]
			})
			if ok {
				all[i] = &r
			}
		}
		v.rested = append(v.rested, all)
	}
}

package trial

import (
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// Explanation is what a policy says of one request, and why.
type Explanation struct {
	Request request.Request
	Grants  []Explained
	// Refusal is why the request is refused when it is asked, whatever is still
	// left to say; nil where it is not.
	Refusal error
	// Left is what the request does not say and a rule requires: reason, ticket, or
	// an input by its name. All below is told as if it were said.
	Left []string
	// Decision is where the request stands when it is asked. It is zero where it
	// is refused.
	Decision approve.Decision
	// Agreed is where it would stand, had all who must agree agreed at once; nil
	// where it is refused, or where no such people were found.
	Agreed *approve.Decision
}

// Explained is one entitlement of the request.
type Explained struct {
	request.Grant
	// Considered are the rules from the top, up to the one that decides.
	Considered []Considered
	// Refusal is why no rule is asked: an unknown person, resource or role, or no
	// rule that matches.
	Refusal error
	// Rule decides; nil where none does.
	Rule *policy.Rule
	// Match is the rule as it matched, with what the role means.
	Match policy.Match
	Steps []Judged
}

// Considered is a rule and why it does not match.
type Considered struct {
	Rule *policy.Rule
	// Misses is the key that does not match: resources, roles, labels or
	// requesters; empty for the rule that decides.
	Misses string
}

// Judged is a step of the judging by the rule.
type Judged struct {
	request.Step
	// Left says that the request does not say what the step looks at.
	Left bool
}

// Refused gives the first refusal of the steps that is not for something left to
// say, or why no rule is asked.
func (e Explained) Refused() error {
	for round := range rounds {
		if err := e.refusedIn(round); err != nil {
			return err
		}
	}
	return nil
}

// rounds are those in which [request.Request.Allowed] judges all entitlements: by
// their rules, by the hours of all, and by who could approve.
const rounds = 3

func roundOf(step string) int {
	return map[string]int{request.StepUse: 1, request.StepApprovers: 2}[step]
}

func (e Explained) refusedIn(round int) error {
	if e.Refusal != nil {
		return e.Refusal
	}
	for _, s := range e.Steps {
		if s.Err != nil && !s.Left && roundOf(s.Name) == round {
			return s.Err
		}
	}
	return nil
}

// toSay is how a text that is left to say stands in a request.
const toSay = "(left to say)"

// Explain says what p makes of r, of which the head may say no more than who and
// when. What r does not say of a reason, a ticket and inputs, and a rule requires, is
// taken as left to say, and a condition about it as left open. All else is judged as
// it stands, though it were an optional input.
func Explain(p *policy.Policy, r request.Request, b request.Before) (Explanation, error) {
	s := newScene(p)
	if r.ID == "" {
		head, err := s.head(record.KindRequest, r.By, r.Created.Time)
		if err != nil {
			return Explanation{}, err
		}
		r.Head = head
	}
	if r.Expires.IsZero() {
		r.Expires = r.Lapse(p)
	}
	l := unsaid(p, r)
	e := Explanation{Request: r, Left: l.names()}
	said := p
	if len(e.Left) > 0 {
		var err error
		if said, err = l.waived(p); err != nil {
			return e, err
		}
		if l.reason {
			r.Reason = toSay
		}
	}
	for _, g := range r.Grants {
		e.Grants = append(e.Grants, e.grant(p, g, b, said, r))
	}
	for round := range rounds {
		for _, g := range e.Grants {
			if e.Refusal == nil {
				e.Refusal = g.refusedIn(round)
			}
		}
	}
	if e.Refusal != nil {
		return e, nil //nolint:nilerr // the refusal is what is explained
	}
	s = newScene(said)
	s.open(r, b)
	e.Decision = approve.Decide(s.h, s.c, r.Created.Time)
	if s.agree(r.Created.Time) {
		d := approve.Decide(s.h, s.c, r.Created.Time)
		e.Agreed = &d
	}
	return e, nil
}

// grant explains one entitlement. said is p, and saying the request, without what is
// left to say.
func (e *Explanation) grant(p *policy.Policy, g request.Grant, b request.Before, said *policy.Policy, saying request.Request) Explained {
	x := Explained{Grant: g}
	r := e.Request
	if _, err := p.Meaning(r.By, g.Resource, g.Role); err != nil {
		x.Refusal = err
		return x
	}
	rules := p.Document().Rules
	for i := range rules {
		misses := p.Misses(&rules[i], r.By, g.Resource, g.Role, r.Created.Time)
		x.Considered = append(x.Considered, Considered{&rules[i], misses})
		if misses == "" {
			break
		}
	}
	m, steps, err := r.Judged(p, b, g)
	if err != nil {
		x.Refusal = err
		return x
	}
	x.Rule, x.Match = m.Rule, m
	_, real, err := saying.Judged(said, b, g)
	if err != nil {
		x.Refusal = err
		return x
	}
	for i, s := range steps {
		// What is refused whatever will be said comes before what is not said yet.
		left := s.Err != nil && real[i].Err == nil
		if !left {
			s = real[i]
		}
		x.Steps = append(x.Steps, Judged{Step: s, Left: left})
	}
	return x
}

// maxAgreed bounds the approvals that agree imagines.
const maxAgreed = 100

// agree lets people approve at a time until it is decided, and reports whether
// there were enough. A person whom a later stage needs too is asked last.
func (s *scene) agree(at time.Time) bool {
	for range maxAgreed {
		d := approve.Decide(s.h, s.c, at)
		if !waits(d) {
			return d.State == approve.Active || d.State == approve.Scheduled
		}
		wanted := map[string]int{}
		for _, g := range d.Grants {
			for _, st := range g.Stages {
				if st.Missing() > 0 {
					for _, who := range st.Who {
						wanted[who]++
					}
				}
			}
		}
		who := Needs(d)
		if len(who) == 0 {
			return false
		}
		next := slices.MinFunc(who, func(a, b string) int { return wanted[a] - wanted[b] })
		if _, refusal, err := s.do(Deed{By: next}, at); refusal != nil || err != nil {
			return false
		}
	}
	return false
}

// Holds gives what people hold as [Case.Holds] has it, in the form that a request
// is judged by.
func Holds(p *policy.Policy, who string, holds []Hold, at time.Time) (request.Before, error) {
	past, err := newScene(p).past(Case{Who: who, Holds: holds}, at)
	return request.Before{Past: past}, err
}

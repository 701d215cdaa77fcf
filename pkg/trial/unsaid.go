package trial

import (
	"maps"
	"slices"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/request"
)

// leftToSay is what a request does not say, and the rules that decide require.
type leftToSay struct {
	reason, ticket bool
	inputs         map[string]bool
	rules          map[string]bool // the rules that decide, by name
}

// unsaid gives what r leaves to say.
func unsaid(p *policy.Policy, r request.Request) leftToSay {
	l := leftToSay{inputs: map[string]bool{}, rules: map[string]bool{}}
	for _, g := range r.Grants {
		m, err := p.Match(r.By, g.Resource, g.Role, r.Created.Time)
		if err != nil {
			continue // nothing is asked about it
		}
		l.rules[m.Rule.Name] = true
		l.reason = r.Reason == ""
		l.ticket = l.ticket || r.Ticket == "" && m.Rule.Requires.Ticket != ""
		for name, i := range m.Rule.Requires.Inputs {
			if _, said := r.Inputs[name]; !said && !i.Optional {
				l.inputs[name] = true
			}
		}
	}
	return l
}

// names says what it is, each by a word or two.
func (l leftToSay) names() (all []string) {
	if l.reason {
		all = append(all, "reason")
	}
	if l.ticket {
		all = append(all, "ticket")
	}
	for _, name := range slices.Sorted(maps.Keys(l.inputs)) {
		all = append(all, "input "+name)
	}
	return all
}

// waived is p without what the deciding rules want of what is left to say, and
// without their conditions about it: all that is refused under it is refused whatever
// will be said.
func (l leftToSay) waived(p *policy.Policy) (*policy.Policy, error) {
	doc := *p.Document()
	doc.Rules = slices.Clone(doc.Rules)
	for i := range doc.Rules {
		r := &doc.Rules[i]
		if !l.rules[r.Name] {
			continue
		}
		conditions, err := l.closed(*r)
		if err != nil {
			return nil, err
		}
		r.Conditions = conditions
		if l.reason {
			r.Requires.Reason = ""
		}
		if l.ticket {
			r.Requires.Ticket = ""
		}
		r.Requires.Inputs = maps.Clone(r.Requires.Inputs)
		for name, input := range r.Requires.Inputs {
			input.Optional = input.Optional || l.inputs[name]
			r.Requires.Inputs[name] = input
		}
	}
	return policy.Compile(doc, p.Digest())
}

// closed gives the conditions of a rule that are not about what is left to say.
func (l leftToSay) closed(r policy.Rule) (all []policy.Condition, err error) {
	for _, c := range r.Conditions {
		reads, err := c.Reads(r.Requires.Inputs)
		if err != nil {
			return nil, err
		}
		open := reads.Reason && l.reason || reads.Ticket && l.ticket
		for name := range reads.Inputs {
			open = open || l.inputs[name]
		}
		if !open {
			all = append(all, c)
		}
	}
	return all, nil
}

package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Ways gives the ways in which a stage can be met: in each, all quorums must be.
func (s Stage) Ways() [][]Quorum {
	switch {
	case len(s.AllOf) > 0:
		return [][]Quorum{s.AllOf}
	case len(s.AnyOf) > 0:
		var ways [][]Quorum
		for _, q := range s.AnyOf {
			ways = append(ways, []Quorum{q})
		}
		return ways
	}
	return [][]Quorum{{{Approvers: s.Approvers, Count: s.Count}}}
}

// Deciders are the principals of all who may ever decide the stage, those to whom
// it escalates among them.
func (s Stage) Deciders() []string {
	all := slices.Clone(s.Approvers)
	for _, q := range slices.Concat(s.AllOf, s.AnyOf) {
		all = append(all, q.Approvers...)
	}
	for _, e := range s.Escalate {
		all = append(all, e.To...)
	}
	return all
}

// Acknowledgers are the principals of those who may acknowledge an emergency under
// the rule; none where it allows no emergency.
func (r *Rule) Acknowledgers() []string {
	switch {
	case r.Emergency == nil:
		return nil
	case len(r.Emergency.Acknowledgers) > 0:
		return r.Emergency.Acknowledgers
	}
	var all []string
	for _, s := range r.Stages {
		all = append(all, s.Deciders()...)
	}
	return all
}

// Describe says in words who must approve: "1 of dba and 1 of owner".
func (s Stage) Describe() string {
	words := func(quorums []Quorum, join string) string {
		all := make([]string, 0, len(quorums))
		for _, q := range quorums {
			all = append(all, fmt.Sprintf("%d of %s", q.Count, strings.Join(q.Approvers, ", ")))
		}
		return strings.Join(all, join)
	}
	switch {
	case len(s.AllOf) > 0:
		return words(s.AllOf, " and ")
	case len(s.AnyOf) > 0:
		return words(s.AnyOf, " or ")
	}
	return words([]Quorum{{Approvers: s.Approvers, Count: s.Count}}, "")
}

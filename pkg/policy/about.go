package policy

import "slices"

// about gives the rules that are about a role of a resource, whoever asks, by
// their places in the document. It is found once for each that the document has:
// most of a large policy is about something else.
func (p *Policy) about(resource, role string) []int {
	key := [2]string{resource, role}
	if known, ok := p.abouts.Load(key); ok {
		return known.([]int)
	}
	var all []int
	for i := range p.rules {
		if p.missesEntitlement(p.rules[i].Rule, resource, role) == "" {
			all = append(all, i)
		}
	}
	if _, err := p.Role(resource, role); err == nil { // what there is not is not kept
		p.abouts.Store(key, all)
	}
	return all
}

// RulesAbout gives the rules that are about a role of a resource, whoever asks,
// from the top. The first of them whose requesters mean a person decides for that
// person: see [Policy.Match].
func (p *Policy) RulesAbout(resource, role string) []*Rule {
	var all []*Rule
	for _, i := range p.about(resource, role) {
		all = append(all, p.rules[i].Rule)
	}
	return all
}

// missesEntitlement says why a rule is not about a role of a resource, as the key
// that does not match; empty where it is.
func (p *Policy) missesEntitlement(r *Rule, resource, role string) string {
	anyGlob := func(globs []string, name string) bool {
		return slices.ContainsFunc(globs, func(g string) bool { return matchGlob(g, name) })
	}
	switch {
	case !anyGlob(r.Resources, resource):
		return "resources"
	case !anyGlob(r.Roles, role):
		return "roles"
	case !p.labelled(r, resource):
		return "labels"
	}
	return ""
}

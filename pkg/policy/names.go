package policy

import (
	"fmt"
	"maps"
	"slices"
)

// names judges the names under which things stand, and reports whether all are well.
// The paths of all other problems repeat them: one of a hundred thousand letters
// with a mistake in each of ten thousand lines below it would fill the memory.
func (c *checker) names() bool {
	b := c.body
	keys(c, "people", "person's", b.People)
	keys(c, "groups", "group's", b.Groups)
	keys(c, "teams", "team's", b.Teams)
	keys(c, "rosters", "roster's", b.Rosters)
	keys(c, "schedules", "schedule's", b.Schedules)
	keys(c, "reconcilers", "reconciler's", b.Reconcilers)
	keys(c, "resources", "resource's", b.Resources)
	if len(c.problems) > 0 {
		return false
	}
	for _, name := range c.dir.names {
		keys(c, "people."+name+".accounts", "driver's", b.People[name].Accounts)
	}
	for _, name := range slices.Sorted(maps.Keys(b.Resources)) {
		keys(c, "resources."+name+".labels", "label's", b.Resources[name].Labels)
		keys(c, "resources."+name+".roles", "role's", b.Resources[name].Roles)
	}
	for i, r := range b.Rules {
		keys(c, fmt.Sprintf("rules[%d].labels", i), "label's", r.Labels)
		keys(c, fmt.Sprintf("rules[%d].requires.inputs", i), "input's", r.Requires.Inputs)
	}
	return len(c.problems) == 0
}

// keys judges the keys of a map.
func keys[V any](c *checker, at, what string, m map[string]V) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		c.name(at+"."+shortened(name), what, name)
	}
}

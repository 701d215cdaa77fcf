package trial

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// bothKeys gives the keys of two maps, in order.
func bothKeys[V any](a, b map[string]V) []string {
	all := slices.Collect(maps.Keys(a))
	for k := range b {
		if _, ok := a[k]; !ok {
			all = append(all, k)
		}
	}
	slices.Sort(all)
	return all
}

// others gives what changes beside entitlements and meanings.
func others(old, new *policy.Policy) []Note {
	n := noter{}
	a, b := &old.Document().Body, &new.Document().Body
	n.names("admins", a.Admins.People, b.Admins.People)
	n.values("admins", "threshold", fmt.Sprint(a.Admins.Threshold), fmt.Sprint(b.Admins.Threshold))
	n.people(a, b)
	n.each("reconciler", keysOf(a.Reconcilers), keysOf(b.Reconcilers), func(about, name string) {
		was, is := a.Reconcilers[name], b.Reconcilers[name]
		n.names(about+" keys", texts(was.Keys), texts(is.Keys))
		n.names(about+" resources", was.Resources, is.Resources)
	})
	n.each("resource", keysOf(a.Resources), keysOf(b.Resources), func(about, name string) { n.resource(about, a.Resources[name], b.Resources[name]) })
	n.each("team", keysOf(a.Teams), keysOf(b.Teams), func(about, name string) {
		n.names(about+" leads", a.Teams[name].Leads, b.Teams[name].Leads)
	})
	n.each("group", keysOf(a.Groups), keysOf(b.Groups), func(about, name string) { n.names(about, a.Groups[name], b.Groups[name]) })
	n.each("roster", keysOf(a.Rosters), keysOf(b.Rosters), func(about, name string) {
		n.names(about, shifts(a.Rosters[name]), shifts(b.Rosters[name]))
	})
	n.each("schedule", keysOf(a.Schedules), keysOf(b.Schedules), func(about, name string) {
		if _, stays := a.Schedules[name]; !stays { // what those say stands in the terms of the rules
			n.add(about, "%s", scheduleText(new, name))
		}
	})
	n.values("delegation", "longest", durationText(a.Delegation.Longest), durationText(b.Delegation.Longest))
	n.names("delegation to", a.Delegation.To, b.Delegation.To)
	n.conflicts(a.Conflicts, b.Conflicts)
	n.rest(old, new)
	return n.notes()
}

type noter struct{ all []Note }

func (n *noter) notes() []Note {
	if n.all == nil {
		return []Note{}
	}
	return n.all
}

func (n *noter) add(about, format string, args ...any) {
	n.all = append(n.all, Note{about, fmt.Sprintf(format, args...)})
}

func (n *noter) values(about, name, was, is string) {
	if was != is {
		n.add(about, "%s: %s → %s", name, orNone(was), orNone(is))
	}
}

// names says which names of a list come and go.
func (n *noter) names(about string, was, is []string) {
	n.came(about, missing(is, was), missing(was, is))
}

func (n *noter) came(about string, added, removed []string) {
	var parts []string
	if len(added) > 0 {
		parts = append(parts, "added "+some(added))
	}
	if len(removed) > 0 {
		parts = append(parts, "removed "+some(removed))
	}
	if len(parts) > 0 {
		n.add(about, "%s", strings.Join(parts, "; "))
	}
}

// missing gives what of a list is not in another.
func missing(list, other []string) (all []string) {
	there := map[string]bool{}
	for _, s := range other {
		there[s] = true
	}
	for _, s := range list {
		if !there[s] {
			all = append(all, s)
		}
	}
	return all
}

// some lists what can be read.
func some(names []string) string {
	const most = 12
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// each says which things of a kind come and go, and looks at those that stay or are
// new: of these all that they say is.
func (n *noter) each(kind string, was, is []string, look func(about, name string)) {
	n.names(kind+"s", was, is)
	for _, name := range is {
		look(kind+" "+name, name)
	}
}

func keysOf[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func texts(keys []record.Fingerprint) (all []string) {
	for _, k := range keys {
		all = append(all, string(k))
	}
	return all
}

// people says who comes and goes, and whose keys and places are new or change. One
// loop over maps: there may be ten thousand.
func (n *noter) people(a, b *policy.Body) {
	var added, removed []string
	var changed noter
	for _, name := range bothKeys(a.People, b.People) {
		was, ok1 := a.People[name]
		is, ok2 := b.People[name]
		switch {
		case !ok1:
			added = append(added, name)
		case !ok2:
			removed = append(removed, name)
			continue
		}
		changed.names(name+" keys", texts(was.Keys), texts(is.Keys))
		changed.names(name+" teams", was.Teams, is.Teams)
		changed.values(name, "department", was.Department, is.Department)
		changed.values(name, "manager", was.Manager, is.Manager)
		changed.values(name, "name", was.Name, is.Name)
		changed.values(name, "email", was.Email, is.Email)
	}
	n.came("people", added, removed)
	n.all = append(n.all, changed.all...)
}

func (n *noter) resource(about string, was, is policy.Resource) {
	n.values(about, "driver", was.Driver, is.Driver)
	n.values(about, "description", was.Description, is.Description)
	for _, label := range bothKeys(was.Labels, is.Labels) {
		n.values(about, "label "+label, was.Labels[label], is.Labels[label])
	}
	n.names(about+" owners", was.Owners, is.Owners)
	n.values(about, "freshness", durationText(was.Freshness), durationText(is.Freshness))
	n.values(about, "lease", durationText(was.Lease), durationText(is.Lease))
	n.values(about, "trace", was.Trace, is.Trace)
	n.names(about+" roles", keysOf(was.Roles), keysOf(is.Roles))
	for _, role := range keysOf(is.Roles) {
		n.values(about+":"+role, "description", was.Roles[role].Description, is.Roles[role].Description)
		n.values(about+":"+role, "usage", was.Roles[role].Usage, is.Roles[role].Usage)
	}
}

func shifts(list []policy.Shift) (all []string) {
	for _, s := range list {
		all = append(all, fmt.Sprintf("%s from %s to %s", strings.Join(s.People, "+"), timeText(s.From.Time), timeText(s.Until.Time)))
	}
	return all
}

func (n *noter) conflicts(a, b []policy.Conflict) {
	index := func(list []policy.Conflict) map[string][]string {
		m := map[string][]string{}
		for _, x := range list {
			m[x.Name] = x.Between
		}
		return m
	}
	was, is := index(a), index(b)
	n.each("conflict", keysOf(was), keysOf(is), func(about, name string) { n.names(about, was[name], is[name]) })
}

// rest names what is written differently, so that no change goes by without a word:
// rules that are new, gone or changed, though nobody may be concerned today. What a new
// one says is told whole.
func (n *noter) rest(old, new *policy.Policy) {
	index := func(p *policy.Policy) map[string]string {
		m := map[string]string{}
		for _, r := range p.Document().Rules {
			data, err := json.Marshal([]any{r, scheduleText(p, r.AskDuring), scheduleText(p, r.UseDuring)})
			if err != nil {
				data = []byte(err.Error()) // plain data: it never fails
			}
			m[r.Name] = string(data)
		}
		return m
	}
	was, is := index(old), index(new)
	n.names("rules", keysOf(was), keysOf(is))
	for _, r := range new.Document().Rules {
		if _, stays := was[r.Name]; !stays {
			n.added(new, r)
		}
	}
	var changed []string
	for _, name := range keysOf(was) {
		if now, ok := is[name]; ok && now != was[name] {
			changed = append(changed, name)
		}
	}
	if len(changed) > 0 {
		n.add("rules", "changed %s", some(changed))
	}
	order := func(p *policy.Policy, other map[string]string) (names []string) {
		for _, r := range p.Document().Rules {
			if _, ok := other[r.Name]; ok {
				names = append(names, r.Name)
			}
		}
		return names
	}
	if a, b := order(old, is), order(new, was); !slices.Equal(a, b) {
		n.add("rules", "stand in another order")
	}
}

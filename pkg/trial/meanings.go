package trial

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
)

// meanings gives the roles that mean something else or are new, the people who are
// somebody else on a target, and those who are one and the same there.
func meanings(old, new *policy.Policy) []Note {
	notes := []Note{}
	add := func(about, name, was, is string) {
		if was != is {
			notes = append(notes, Note{about, name + ": " + orNone(was) + " → " + orNone(is)})
		}
	}
	for _, g := range entitlements(new) {
		is, err := new.Role(g.Resource, g.Role)
		if err != nil {
			continue
		}
		was, err := old.Role(g.Resource, g.Role)
		driver := ""
		if err == nil {
			driver = old.Document().Resources[g.Resource].Driver
		}
		add(g.String(), "driver", driver, new.Document().Resources[g.Resource].Driver)
		for _, name := range bothKeys(was.Parameters, is.Parameters) {
			add(g.String(), name, was.Parameters[name], is.Parameters[name])
		}
	}
	for _, name := range keysOf(new.Document().People) {
		is := new.Document().People[name]
		was, there := old.Person(name)
		for _, driver := range bothKeys(was.Accounts, is.Accounts) {
			account := ""
			if there {
				account = accountOf(name, was, driver)
			}
			add(name, "account of "+driver, account, accountOf(name, is, driver))
		}
	}
	return append(notes, shared(old, new)...)
}

func accountOf(name string, p policy.Person, driver string) string {
	if a, ok := p.Accounts[driver]; ok {
		return a
	}
	return name
}

// shared points out the people of whom a target cannot tell one from the other, where
// that is new.
func shared(old, new *policy.Policy) (notes []Note) {
	before := sharers(old)
	after := sharers(new)
	for _, what := range keysOf(after) {
		if who := after[what]; who != before[what] {
			notes = append(notes, Note{who, "have one " + what})
		}
	}
	return notes
}

// sharers gives those who have one account, by the account.
func sharers(p *policy.Policy) map[string]string {
	drivers := map[string]bool{}
	for _, r := range p.Document().Resources {
		drivers[r.Driver] = true
	}
	all := map[string]string{}
	for _, driver := range slices.Sorted(maps.Keys(drivers)) {
		by := map[string][]string{}
		for name, person := range p.Document().People {
			account := accountOf(name, person, driver)
			by[account] = append(by[account], name)
		}
		for account, who := range by {
			if len(who) > 1 {
				slices.Sort(who)
				all["account of "+driver+": "+account] = some(who)
			}
		}
	}
	return all
}

// added says what a new rule says, whether or not anybody is concerned today.
func (n *noter) added(p *policy.Policy, r policy.Rule) {
	about := "rule " + r.Name
	list := func(name string, values []string) {
		if len(values) > 0 {
			n.add(about, "%s: %s", name, strings.Join(values, ", "))
		}
	}
	list("resources", r.Resources)
	list("roles", r.Roles)
	for _, label := range keysOf(r.Labels) {
		n.add(about, "label %s: %s", label, r.Labels[label])
	}
	list("requesters", r.Requesters)
	t := termsOf(p, &r, "", true, time.Time{})
	for _, l := range t.lines {
		n.add(about, "%s: %s", l.name, l.text)
	}
	if r.Emergency != nil {
		list("emergencies of", r.Emergency.Requesters)
	}
	for _, name := range keysOf(r.Requires.Inputs) {
		if d := r.Requires.Inputs[name].Description; d != "" {
			n.add(about, "input %s: %s", name, d)
		}
	}
}

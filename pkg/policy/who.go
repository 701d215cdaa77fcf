package policy

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Concern is what a principal is asked about: a request, as far as it tells who is
// meant.
type Concern struct {
	// Requester is who asks, and Resource what for.
	Requester, Resource string
	// At is the time at which a roster is read.
	At time.Time
}

// The principals that depend on whom and what a request concerns. They stand where
// approvers do, and no person has such a name.
const (
	WhoManager         = "manager"          // to whom the requester reports
	WhoManagersManager = "managers-manager" // to whom that one reports
	WhoTeamLead        = "team-lead"        // who leads a team of the requester
	WhoOwner           = "owner"            // who owns the resource
)

var concernedWords = []string{WhoManager, WhoManagersManager, WhoTeamLead, WhoOwner}

// members are people by the name of what they are in.
type members map[string]map[string]bool

func (m members) add(of, person string) {
	if m[of] == nil {
		m[of] = map[string]bool{}
	}
	m[of][person] = true
}

// directory is the people of a policy by what they belong to.
type directory struct {
	body                       *Body
	names                      []string // of all people, in order
	groups, teams, departments members
	// ordered are the people of group:NAME, team:NAME and department:NAME, in order.
	ordered map[string][]string
}

func newDirectory(b *Body) *directory {
	d := &directory{body: b, names: slices.Sorted(maps.Keys(b.People)), groups: members{}, teams: members{}, departments: members{}}
	for name, list := range b.Groups {
		for _, person := range list {
			d.groups.add(name, person)
		}
	}
	for name, person := range b.People {
		for _, team := range person.Teams {
			d.teams.add(team, name)
		}
		if person.Department != "" {
			d.departments.add(person.Department, name)
		}
	}
	d.ordered = map[string][]string{}
	for kind, all := range map[string]members{"group:": d.groups, "team:": d.teams, "department:": d.departments} {
		for name, people := range all {
			d.ordered[kind+name] = slices.DeleteFunc(slices.Sorted(maps.Keys(people)), func(who string) bool {
				_, there := b.People[who]
				return !there
			})
		}
	}
	return d
}

// of gives the people of group:NAME, team:NAME or department:NAME.
func (d *directory) of(kind, name string) map[string]bool {
	switch kind {
	case "group":
		return d.groups[name]
	case "team":
		return d.teams[name]
	case "department":
		return d.departments[name]
	}
	return nil
}

// onDuty gives whom a roster names at a time. Shifts may overlap.
func (d *directory) onDuty(roster string, at time.Time) []string {
	var people []string
	for _, s := range d.body.Rosters[roster] {
		if !at.Before(s.From.Time) && at.Before(s.Until.Time) {
			people = append(people, s.People...)
		}
	}
	return people
}

// few gives the people whom a principal means, where that is no glob or set of its
// own: ok is false for those.
func (d *directory) few(principal string, c Concern) (people []string, ok bool) {
	kind, name, scoped := strings.Cut(principal, ":")
	switch {
	case scoped && kind == "roster":
		return d.onDuty(name, c.At), true
	case scoped || strings.Contains(principal, "*"):
		return nil, false
	case principal == WhoManager:
		return d.manager(c.Requester), true
	case principal == WhoManagersManager:
		for _, m := range d.manager(c.Requester) {
			people = append(people, d.manager(m)...)
		}
		return people, true
	case principal == WhoTeamLead:
		for _, team := range d.body.People[c.Requester].Teams {
			people = append(people, d.body.Teams[team].Leads...)
		}
		return people, true
	}
	return []string{principal}, true
}

// manager gives to whom a person reports, as a list of at most one.
func (d *directory) manager(person string) []string {
	if m := d.body.People[person].Manager; m != "" {
		return []string{m}
	}
	return nil
}

// reportsTo reports whether a person reports to another, directly or not.
func (d *directory) reportsTo(person, to string) bool {
	for range len(d.names) { // a circle is refused, and would end here
		person = d.body.People[person].Manager
		if person == "" || person == to {
			return person != ""
		}
	}
	return false
}

// reportsThrough counts the people above a person, as far as one more than the policy
// may have.
func (d *directory) reportsThrough(person string) int {
	for n := range MaxManagers + 1 {
		if person = d.body.People[person].Manager; person == "" {
			return n
		}
	}
	return MaxManagers + 1
}

// is reports whether person, who is one of the people, is meant by one of the
// principals.
func (d *directory) is(person string, principals []string, c Concern) bool {
	return slices.ContainsFunc(principals, func(s string) bool {
		if s == WhoOwner {
			return d.is(person, d.body.Resources[c.Resource].Owners, c)
		}
		if kind, name, scoped := strings.Cut(s, ":"); scoped && kind != "roster" {
			return d.of(kind, name)[person]
		} else if scoped || slices.Contains(concernedWords, s) {
			people, _ := d.few(s, c)
			return slices.Contains(people, person)
		}
		return matchGlob(s, person)
	})
}

// meant adds all people whom the principals mean.
func (d *directory) meant(principals []string, c Concern, all map[string]bool) {
	for _, person := range d.listed(nil, principals, c) {
		all[person] = true
	}
}

// listed appends all people whom the principals mean to a list, in no order, and
// some more than once.
func (d *directory) listed(all, principals []string, c Concern) []string {
	for _, s := range principals {
		if s == WhoOwner {
			all = d.listed(all, d.body.Resources[c.Resource].Owners, c)
			continue
		}
		if people, ok := d.few(s, c); ok {
			for _, person := range people {
				if _, there := d.body.People[person]; there {
					all = append(all, person)
				}
			}
			continue
		}
		if strings.Contains(s, ":") {
			all = append(all, d.ordered[s]...)
			continue
		}
		for _, person := range d.names {
			if matchGlob(s, person) {
				all = append(all, person)
			}
		}
	}
	return all
}

// Is reports whether person is meant by one of the principals.
func (p *Policy) Is(person string, principals []string, c Concern) bool {
	if _, ok := p.doc.People[person]; !ok {
		return false
	}
	return p.dir.is(person, principals, c)
}

// Members gives all people that the principals mean, in order.
func (p *Policy) Members(principals []string, c Concern) []string {
	if slices.Contains(principals, "*") {
		return p.People()
	}
	all := p.dir.listed(nil, principals, c)
	slices.Sort(all)
	return slices.Compact(all)
}

// Excludes reports whether a rule keeps a person from approving what the requester
// asks for, whoever else they are.
func (p *Policy) Excludes(r *Rule, person, requester string) bool {
	return person == requester ||
		slices.Contains(r.Exclude, ExcludeReports) && p.dir.reportsTo(person, requester) ||
		slices.Contains(r.Exclude, ExcludeManagers) && p.dir.reportsTo(requester, person)
}

// MayApprove reports whether person is among the approvers under a rule: they are
// meant, and neither ask themselves nor are kept out by the rule.
func (p *Policy) MayApprove(r *Rule, approvers []string, person string, c Concern) bool {
	return !p.Excludes(r, person, c.Requester) && p.Is(person, approvers, c)
}

// Eligible gives those of whom MayApprove is true, in order.
func (p *Policy) Eligible(r *Rule, approvers []string, c Concern) []string {
	return slices.DeleteFunc(p.Members(approvers, c), func(name string) bool { return p.Excludes(r, name, c.Requester) })
}

// matchGlob matches names: * is any number of characters. What stands between two
// stars is looked for once, as early as it comes, so that neither is gone through twice,
// however many stars there are.
func matchGlob(glob, name string) bool {
	begin, rest, starred := strings.Cut(glob, "*")
	if !starred {
		return glob == name
	}
	name, ok := strings.CutPrefix(name, begin)
	if !ok {
		return false
	}
	for {
		part, more, starred := strings.Cut(rest, "*")
		if !starred {
			return strings.HasSuffix(name, part)
		}
		if _, name, ok = strings.Cut(name, part); !ok {
			return false
		}
		rest = more
	}
}

package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// How many of something a policy may have in one place. Each is gone through for every
// request or approval that it is about, so that none may be as long as the file.
const (
	// MaxListed is the most names and globs of one list: whoever means more writes a
	// group, a team or a label.
	MaxListed = 1000
	// MaxLabels is the most labels of a resource or a rule, parameters of a role, teams
	// and accounts of a person, leads of a team, and people of a shift.
	MaxLabels = 100
	// MaxKeys is the most keys of a person or a reconciler: one for each of their
	// devices.
	MaxKeys = 100
	// MaxShifts is the most shifts of a roster: three a day for more than a year. All
	// are looked at to find out who is on duty.
	MaxShifts = 2000
	// MaxStages is the most stages of a rule, of quorums in a stage, and of steps to
	// which it escalates. Each waits for somebody.
	MaxStages = 20
	// MaxCount is the most people that a quorum may ask for.
	MaxCount = 100
	// MaxConflicting is the most entitlements between which all conflicts are. Each is
	// compared with all that a person holds.
	MaxConflicting = 400
)

// How long a text of a policy may be, in characters. People read all but the last one.
const (
	// MaxTitle is for a person's name and address.
	MaxTitle = 200
	// MaxUsage is for the usage of a role, which may be some lines to copy.
	MaxUsage = 4000
	// MaxParameter is for an account and for a parameter of a role: a few SSH keys.
	MaxParameter = 16384
)

const (
	// maxReading bounds what is gone through to find the rule for one entitlement: the
	// names, globs and labels of all rules, and the shifts of the rosters that they
	// name. A request is judged by it once for each entitlement; at the limit that
	// takes two milliseconds. A thousand rules for ten thousand people take 10,000, or
	// 30,000 where each eighth names a roster of a year.
	maxReading = 60_000
	// ruleRead is how many names take as long as a rule beside those that it names.
	ruleRead = 4
	// globRead is how many characters of a glob take as long as a name.
	globRead = 8
	// maxListing bounds how many people the approvers of one rule are looked for among,
	// for each time that they are named. Three stages for all of ten thousand people
	// take 30,000.
	maxListing = 100_000
)

// bounds judges how many of everything there are, and how long each text is, before
// anything is looked at that costs more; it reports whether all is well.
func (c *checker) bounds() bool {
	b := c.body
	for _, name := range slices.Sorted(maps.Keys(b.People)) {
		p, at := b.People[name], "people."+name
		c.long(at+".name", p.Name, MaxTitle)
		c.long(at+".email", p.Email, MaxTitle)
		c.many(at+".keys", "keys", len(p.Keys), MaxKeys)
		c.many(at+".teams", "teams", len(p.Teams), MaxLabels)
		c.many(at+".accounts", "accounts", len(p.Accounts), MaxLabels)
		for _, driver := range slices.Sorted(maps.Keys(p.Accounts)) {
			c.long(at+".accounts."+driver, p.Accounts[driver], MaxParameter)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.Teams)) {
		c.many("teams."+name+".leads", "leads", len(b.Teams[name].Leads), MaxLabels)
	}
	for _, name := range slices.Sorted(maps.Keys(b.Rosters)) {
		at := "rosters." + name
		c.many(at, "shifts", len(b.Rosters[name]), MaxShifts)
		for i, s := range b.Rosters[name] {
			c.many(fmt.Sprintf("%s[%d].people", at, i), "people", len(s.People), MaxLabels)
		}
	}
	c.many("delegation.to", "principals", len(b.Delegation.To), MaxListed)
	for _, name := range slices.Sorted(maps.Keys(b.Reconcilers)) {
		c.many("reconcilers."+name+".keys", "keys", len(b.Reconcilers[name].Keys), MaxKeys)
	}
	c.resourceBounds()
	between := 0
	for i, x := range b.Conflicts {
		if between += len(x.Between); between > MaxConflicting {
			c.tooMany(fmt.Sprintf("conflicts[%d].between", i), fmt.Sprintf("at most %d; globs can name several", MaxConflicting), "the conflicts are between more than %d", MaxConflicting)
		}
	}
	for i, r := range b.Rules {
		c.ruleBounds(fmt.Sprintf("rules[%d]", i), r)
	}
	return len(c.problems) == 0
}

func (c *checker) resourceBounds() {
	for _, name := range slices.Sorted(maps.Keys(c.body.Resources)) {
		res, at := c.body.Resources[name], "resources."+name
		c.long(at+".description", res.Description, MaxSaid)
		c.many(at+".labels", "labels", len(res.Labels), MaxLabels)
		c.many(at+".owners", "principals", len(res.Owners), MaxListed)
		c.many(at+".roles", "roles", len(res.Roles), MaxListed)
		for _, role := range slices.Sorted(maps.Keys(res.Roles)) {
			r, at := res.Roles[role], at+".roles."+role
			c.long(at+".description", r.Description, MaxSaid)
			c.long(at+".usage", r.Usage, MaxUsage)
			c.many(at+".parameters", "parameters", len(r.Parameters), MaxLabels)
			for _, key := range slices.Sorted(maps.Keys(r.Parameters)) {
				c.long(at+".parameters", key, MaxTitle)
				c.long(at+".parameters."+shortened(key), r.Parameters[key], MaxParameter)
			}
		}
	}
}

func (c *checker) ruleBounds(at string, r Rule) {
	c.many(at+".resources", "resources", len(r.Resources), MaxListed)
	c.many(at+".roles", "roles", len(r.Roles), MaxListed)
	c.many(at+".labels", "labels", len(r.Labels), MaxLabels)
	c.many(at+".requesters", "principals", len(r.Requesters), MaxListed)
	c.many(at+".exclude", "words", len(r.Exclude), 3)
	c.long(at+".message", r.Message, MaxSaid)
	if e := r.Emergency; e != nil {
		c.many(at+".emergency.requesters", "principals", len(e.Requesters), MaxListed)
		c.many(at+".emergency.acknowledgers", "principals", len(e.Acknowledgers), MaxListed)
	}
	c.many(at+".stages", "stages", len(r.Stages), MaxStages)
	for i, s := range r.Stages {
		at := fmt.Sprintf("%s.stages[%d]", at, i)
		quorum := func(at string, q Quorum) {
			c.many(at+".approvers", "principals", len(q.Approvers), MaxListed)
			c.many(at+".count", "people", q.Count, MaxCount)
		}
		quorum(at, Quorum{Approvers: s.Approvers, Count: s.Count})
		c.many(at+".allOf", "quorums", len(s.AllOf), MaxStages)
		c.many(at+".anyOf", "quorums", len(s.AnyOf), MaxStages)
		for j, q := range s.AllOf {
			quorum(fmt.Sprintf("%s.allOf[%d]", at, j), q)
		}
		for j, q := range s.AnyOf {
			quorum(fmt.Sprintf("%s.anyOf[%d]", at, j), q)
		}
		c.many(at+".escalate", "steps", len(s.Escalate), MaxStages)
		for j, e := range s.Escalate {
			c.many(fmt.Sprintf("%s.escalate[%d].to", at, j), "principals", len(e.To), MaxListed)
		}
	}
}

// many refuses more of something than may stand in one place.
func (c *checker) many(at, what string, n, most int) {
	if n > most {
		c.add(ProblemTooMany, at, fmt.Sprintf("at most %d", most), "there are %d %s", n, what)
	}
}

// long refuses a text that is too long.
func (c *checker) long(at, text string, most int) {
	if utf8.RuneCountInString(text) > most {
		c.add(ProblemLong, at, fmt.Sprintf("at most %d characters", most), "the text is too long")
	}
}

// reading bounds what it takes to find a rule, and to find those who may approve.
func (c *checker) reading() {
	owner, lead := 0, 0
	for _, res := range c.body.Resources {
		owner = max(owner, c.read(res.Owners, 0, 0))
	}
	for _, p := range c.body.People {
		leads := 0
		for _, team := range p.Teams {
			leads += len(c.body.Teams[team].Leads)
		}
		lead = max(lead, leads)
	}
	total := 0
	for i, r := range c.body.Rules {
		at := fmt.Sprintf("rules[%d]", i)
		total += ruleRead + c.read(r.Resources, 0, 0) + c.read(r.Roles, 0, 0) + len(r.Labels) + c.read(r.Requesters, owner, lead)
		if total > maxReading {
			c.tooMany(at, "name groups, teams or labels, or take out shifts that are over",
				"to find the rule for one entitlement, more than %d names, globs and shifts would be read", maxReading)
		}
		listed := 0
		for _, s := range r.Stages {
			escalated := 0
			for _, e := range s.Escalate {
				escalated += c.listing(e.To, owner, lead)
			}
			for _, way := range s.Ways() {
				for _, q := range way {
					listed += c.listing(q.Approvers, owner, lead) + escalated
				}
			}
		}
		if listed += c.listing(r.Acknowledgers(), owner, lead); listed > maxListing {
			c.add(ProblemTooMany, at+".stages", "name fewer, or groups", "to find its approvers, %d people would be looked at, more than %d", listed, maxListing)
		}
	}
}

// read counts what is gone through to see whether one person is meant by principals.
// owner and lead are what an owner and a lead of a team take at most.
func (c *checker) read(principals []string, owner, lead int) int {
	n := 0
	for _, s := range principals {
		n++
		if strings.Contains(s, "*") {
			n += len(s) / globRead
		}
		switch kind, name, _ := strings.Cut(s, ":"); kind {
		case WhoOwner:
			n += owner
		case WhoTeamLead:
			n += lead
		case "roster":
			for _, shift := range c.body.Rosters[name] {
				n += 1 + len(shift.People)
			}
		}
	}
	return n
}

// listing counts the people who are looked at to list those whom principals mean.
func (c *checker) listing(principals []string, owner, lead int) int {
	n := c.read(principals, owner, lead)
	for _, s := range principals {
		if strings.Contains(s, "*") {
			n += len(c.body.People)
		}
		n += len(c.dir.ordered[s])
	}
	return n
}

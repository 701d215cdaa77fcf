package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/jitaccess/jit/pkg/record"
)

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// MaxPending is the longest that a rule may let a request wait: ninety days.
const MaxPending = 90 * 24 * time.Hour

// MaxCoolingOff is the longest that a rule may want between two accesses: as far
// back the ledger looks for the one before.
const MaxCoolingOff = 90 * 24 * time.Hour

// ParametersCheck judges a role's parameters for a driver, without reaching the
// target. The drivers supply it; a nil check accepts everything.
type ParametersCheck func(driver string, parameters map[string]string) error

// checker gathers the problems of one body.
type checker struct {
	body     *Body
	dir      *directory
	problems []Problem
	// guesses is with how many names others have been compared.
	guesses int
	// What is compiled is kept for [Compile], so that nothing is compiled that was not
	// checked, and nothing twice: patterns by what is written, conditions by the rule's
	// place. compiler is made for the first condition.
	patterns   map[string]pattern
	work       patternWork
	compiler   *compiler
	conditions map[int][]cel.Program
	calendars  map[string]*Calendar
	owners     map[record.Fingerprint]string
	// full are the limits of the whole policy of which it was said that they are passed.
	full map[string]bool
	// stuck is set by the first expression that is none. What refuses one may have
	// taken long to find, so that no further ones are looked at.
	stuck bool
}

// tooMany adds a problem with a limit of the whole policy, once.
func (c *checker) tooMany(at, hint, format string, args ...any) {
	if message := fmt.Sprintf(format, args...); !c.full[message] {
		c.full[message] = true
		c.add(ProblemTooMany, at, hint, "%s", message)
	}
}

// MaxProblems is the most problems that are found at once. A file with more mistakes
// than that has one that explains them.
const MaxProblems = 100

// add adds a problem. What a file says of itself is repeated in part only, and so
// that it can be read.
func (c *checker) add(code ProblemCode, path, hint, format string, args ...any) {
	if len(c.problems) == MaxProblems {
		c.problems = append(c.problems, Problem{Path: first(path, maxTold), Severity: SeverityError, Code: ProblemMore,
			Message: fmt.Sprintf("there are more problems; these are the first %d", MaxProblems)})
		panic(enough{})
	}
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = shortened(text)
		}
	}
	c.problems = append(c.problems, Problem{Path: first(path, maxTold), Severity: SeverityError, Code: code,
		Message: readable(fmt.Sprintf(format, args...)), Hint: readable(hint)})
}

// enough ends a check with too many problems: to look for more of them takes time too.
type enough struct{}

// until runs a check to its end, or until there are enough problems.
func (c *checker) until(check func()) {
	defer func() {
		if r := recover(); r != nil && r != (enough{}) {
			panic(r)
		}
	}()
	check()
}

// maxGuesses bounds how many names are compared to find the nearest ones: each costs
// the product of the lengths.
const maxGuesses = 40_000

// guess gives a hint with the nearest of the keys of known; none after many.
func guess[V any](c *checker, name string, known map[string]V) string {
	if c.guesses += len(known); c.guesses > maxGuesses {
		return ""
	}
	return nearest(name, slices.Sorted(maps.Keys(known)))
}

// Check gives what makes body unusable as a policy, in the order of the document;
// where names are, only those, and of expressions only the first. An empty answer
// means that it can be compiled.
//
// The ledger refuses what Check refuses, whatever a command line allowed. What
// drivers say of parameters is no part of it, since that differs between
// versions of jit: see [CheckParameters].
func Check(body *Body) []Problem { return check(body).problems }

// check is Check, and keeps what it compiled.
func check(body *Body) *checker {
	c := newChecker(body)
	c.until(func() {
		if !c.names() || !c.bounds() {
			return
		}
		c.admins()
		c.people()
		c.groups()
		c.teams()
		c.rosters()
		c.schedules()
		c.delegation()
		c.reconcilers()
		c.resources()
		c.conflicts()
		c.rules()
		if len(c.problems) == 0 {
			c.matching()
			c.reading()
		}
	})
	return c
}

func newChecker(body *Body) *checker {
	return &checker{body: body, dir: newDirectory(body), patterns: map[string]pattern{}, conditions: map[int][]cel.Program{},
		calendars: map[string]*Calendar{}, owners: map[record.Fingerprint]string{}, full: map[string]bool{}}
}

// CheckParameters gives what the drivers refuse of the roles' parameters.
func CheckParameters(body *Body, check ParametersCheck) []Problem {
	c := &checker{body: body}
	c.until(func() {
		for _, name := range slices.Sorted(maps.Keys(body.Resources)) {
			res := body.Resources[name]
			for _, role := range slices.Sorted(maps.Keys(res.Roles)) {
				if err := check(res.Driver, res.Roles[role].Parameters); err != nil {
					c.add(ProblemParameters, "resources."+name+".roles."+role+".parameters", "", "%v", err)
				}
			}
		}
	})
	return c.problems
}

func (c *checker) name(path, what, name string) {
	if !nameForm.MatchString(name) {
		c.add(ProblemName, path, "use a to z, 0 to 9, dot, dash and underscore; at most 63, a letter or digit first",
			"%s name %q is not allowed", what, name)
	}
}

func (c *checker) person(path, name string) {
	if _, ok := c.body.People[name]; !ok {
		c.add(ProblemNoPerson, path, guess(c, name, c.body.People), "%+q is not one of the people", name)
	}
}

// MaxAdmins is the most admins that a policy may have: all of them are gone through
// for each agreement.
const MaxAdmins = 100

func (c *checker) admins() {
	a := c.body.Admins
	if len(a.People) > MaxAdmins {
		c.tooMany("admins.people", fmt.Sprintf("at most %d", MaxAdmins), "there are %d admins", len(a.People))
		return
	}
	seen := map[string]bool{}
	for i, name := range a.People {
		at := fmt.Sprintf("admins.people[%d]", i)
		c.person(at, name)
		if seen[name] {
			c.add(ProblemTwice, at, "name each admin once", "admin %+q is named twice", name)
		}
		seen[name] = true
	}
	switch {
	case len(a.People) == 0:
		c.add(ProblemNoAdmins, "admins.people", "name at least one person", "there are no admins")
	case a.Threshold < 1:
		c.add(ProblemThreshold, "admins.threshold", "at least 1; 2 is better", "threshold %d would let the policy change with nobody's agreement", a.Threshold)
	case a.Threshold > len(a.People):
		c.add(ProblemThreshold, "admins.threshold", "at most the number of admins", "threshold %d can never be reached by %d admins", a.Threshold, len(a.People))
	}
}

// keys checks that each fingerprint is well formed and stands under one owner.
func (c *checker) keys(at, owner string, keys []record.Fingerprint) {
	if len(keys) == 0 {
		c.add(ProblemNoKey, at, "add the full fingerprint of a key", "%s has no key", c.whose(owner))
	}
	for i, k := range keys {
		at := fmt.Sprintf("%s[%d]", at, i)
		if _, err := record.ParseFingerprint(string(k)); err != nil {
			c.add(ProblemFingerprint, at, "write all 40 digits, upper case, without spaces", "%v", err)
			continue
		}
		if other, ok := c.owners[k]; ok {
			c.add(ProblemKeyTwice, at, "one key belongs to one", "key %s of %s already belongs to %s", k, c.whose(owner), c.whose(other))
			continue
		}
		c.owners[k] = owner
	}
}

// whose says what a name is that of.
func (c *checker) whose(name string) string {
	if _, ok := c.body.People[name]; ok {
		return "person " + name
	}
	return "reconciler " + name
}

func (c *checker) people() {
	circles := inCircles(c.body.People)
	for _, name := range slices.Sorted(maps.Keys(c.body.People)) {
		p := c.body.People[name]
		at := "people." + name
		if slices.Contains(concernedWords, name) {
			c.add(ProblemName, at, "give the person another name", "%+q means somebody else in every rule", name)
		}
		c.keys(at+".keys", name, p.Keys)
		if p.Department != "" {
			c.name(at+".department", "department's", p.Department)
		}
		c.manager(at+".manager", name, circles)
		seen := map[string]bool{}
		for i, team := range p.Teams {
			at := fmt.Sprintf("%s.teams[%d]", at, i)
			c.name(at, "team's", team)
			if seen[team] {
				c.add(ProblemTwice, at, "name each once", "team %+q is named twice", team)
			}
			seen[team] = true
		}
		for _, driver := range slices.Sorted(maps.Keys(p.Accounts)) {
			if strings.TrimSpace(p.Accounts[driver]) == "" {
				c.add(ProblemBlank, at+".accounts."+driver, "leave the line out to use the person's own name", "the account is blank")
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.body.Reconcilers)) {
		c.keys("reconcilers."+name+".keys", name, c.body.Reconcilers[name].Keys)
	}
}

// manager checks to whom a person reports: somebody, and in the end nobody.
func (c *checker) manager(at, person string, circles map[string]bool) {
	boss := c.body.People[person].Manager
	if boss == "" {
		return
	}
	if _, ok := c.body.People[boss]; !ok {
		c.person(at, boss)
	}
	switch {
	case circles[person]:
		c.add(ProblemManagers, at, "let one of them report to somebody else", "%s reports to themselves in the end", person)
	case len(circles) == 0 && c.dir.reportsThrough(person) > MaxManagers:
		c.add(ProblemManagers, at, "let them report to somebody further up", "%s reports through more than %d people", person, MaxManagers)
	}
}

// MaxManagers is the most people above one. Who reports to whom is gone through for
// each person whom a rule may exclude.
const MaxManagers = 100

// inCircles gives those who report to themselves in the end. Each person is passed
// once, however long the chains are.
func inCircles(people map[string]Person) map[string]bool {
	circles, walk := map[string]bool{}, map[string]string{} // who was passed, on whose walk
	for name := range people {
		p := name
		for p != "" && walk[p] == "" {
			walk[p] = name
			p = people[p].Manager
		}
		if p == "" || walk[p] != name {
			continue // the top, or where an earlier walk has been
		}
		for !circles[p] {
			circles[p] = true
			p = people[p].Manager
		}
	}
	return circles
}

func (c *checker) teams() {
	for _, name := range slices.Sorted(maps.Keys(c.body.Teams)) {
		at := "teams." + name
		if len(c.dir.teams[name]) == 0 {
			c.add(ProblemNoTeam, at, "teams are named under people", "nobody is in team %+q", name)
		}
		if len(c.body.Teams[name].Leads) == 0 {
			c.add(ProblemEmpty, at+".leads", "name at least one person, or remove the team here", "the team has no lead")
		}
		for i, lead := range c.body.Teams[name].Leads {
			c.person(fmt.Sprintf("%s.leads[%d]", at, i), lead)
		}
	}
}

func (c *checker) rosters() {
	for _, name := range slices.Sorted(maps.Keys(c.body.Rosters)) {
		at := "rosters." + name
		if len(c.body.Rosters[name]) == 0 {
			c.add(ProblemEmpty, at, "write a shift, or remove the roster", "the roster has no shift")
		}
		for i, s := range c.body.Rosters[name] {
			at := fmt.Sprintf("%s[%d]", at, i)
			if !s.From.Before(s.Until.Time) {
				c.add(ProblemShift, at+".until", "write a later time", "the shift ends before it begins")
			}
			if len(s.People) == 0 {
				c.add(ProblemEmpty, at+".people", "name who has the duty", "the shift is nobody's")
			}
			for j, person := range s.People {
				c.person(fmt.Sprintf("%s.people[%d]", at, j), person)
			}
		}
	}
}

// MaxDelegation is the longest that a policy may let a delegation last.
const MaxDelegation = 366 * 24 * time.Hour

func (c *checker) delegation() {
	d := c.body.Delegation
	if d.Longest.Duration > MaxDelegation {
		c.add(ProblemTooLong, "delegation.longest", "at most 366d", "a delegation may not last %s", d.Longest)
	}
	if len(d.To) == 0 {
		return
	}
	c.principals("delegation.to", d.To, false)
	if d.Longest.IsZero() {
		c.add(ProblemNoLimit, "delegation.longest", "write how long one may last, like 30d", "delegation is not allowed without it")
	}
}

func (c *checker) conflicts() {
	seen := map[string]bool{}
	for i, x := range c.body.Conflicts {
		at := fmt.Sprintf("conflicts[%d]", i)
		c.name(at+".name", "conflict's", x.Name)
		if seen[x.Name] {
			c.add(ProblemTwice, at+".name", "make the names differ", "two conflicts are named %+q", x.Name)
		}
		seen[x.Name] = true
		if len(x.Between) < 2 {
			c.add(ProblemConflict, at+".between", "name two or more, RESOURCE:ROLE each", "a conflict is between two at least")
		}
		for j, e := range x.Between {
			resource, role, ok := strings.Cut(e, ":")
			if !ok || checkGlob(resource) != nil || checkGlob(role) != nil {
				c.add(ProblemConflict, fmt.Sprintf("%s.between[%d]", at, j), "write RESOURCE:ROLE, each a name or a glob", "%+q is no entitlement", e)
			}
		}
	}
}

func (c *checker) groups() {
	for _, name := range slices.Sorted(maps.Keys(c.body.Groups)) {
		at := "groups." + name
		if len(c.body.Groups[name]) == 0 {
			c.add(ProblemEmpty, at, "name people, or remove the group", "the group is empty")
		}
		for i, member := range c.body.Groups[name] {
			c.person(fmt.Sprintf("%s[%d]", at, i), member)
		}
	}
}

func (c *checker) reconcilers() {
	for _, name := range slices.Sorted(maps.Keys(c.body.Reconcilers)) {
		at := "reconcilers." + name
		if _, ok := c.body.People[name]; ok {
			c.add(ProblemTwice, at, "give it a name of its own", "%+q is also one of the people", name)
		}
		r := c.body.Reconcilers[name]
		if len(r.Resources) == 0 {
			c.add(ProblemEmpty, at+".resources", "name what it opens and ends", "the reconciler has no resources")
		}
		for i, res := range r.Resources {
			if _, ok := c.body.Resources[res]; !ok {
				c.add(ProblemNoResource, fmt.Sprintf("%s.resources[%d]", at, i), guess(c, res, c.body.Resources),
					"%+q is not one of the resources", res)
			}
		}
	}
}

func (c *checker) resources() {
	for _, name := range slices.Sorted(maps.Keys(c.body.Resources)) {
		at := "resources." + name
		res := c.body.Resources[name]
		c.name(at+".driver", "driver's", res.Driver)
		for _, label := range slices.Sorted(maps.Keys(res.Labels)) {
			c.name(at+".labels."+label, "label value's", res.Labels[label])
		}
		if len(res.Owners) > 0 {
			c.principals(at+".owners", res.Owners, false)
		}
		if res.Trace != "" && res.Trace != TraceRequired {
			c.add(ProblemValue, at+".trace", "write required, or leave it out", "%+q is not a kind of trace", res.Trace)
		}
		if len(res.Roles) == 0 {
			c.add(ProblemEmpty, at+".roles", "add a role", "the resource has no roles")
		}
	}
}

func (c *checker) globs(at string, globs []string) {
	if len(globs) == 0 {
		c.add(ProblemEmpty, at, `name some, or "*" for all`, "the list is empty, so the rule matches nothing")
	}
	for i, g := range globs {
		if err := checkGlob(g); err != nil {
			c.add(ProblemGlob, fmt.Sprintf("%s[%d]", at, i), "names and * only", "%v", err)
		}
	}
}

// principals checks a list of principals. Those that depend on whom a request
// concerns have a meaning only where approvers stand.
func (c *checker) principals(at string, list []string, concerned bool) {
	if len(list) == 0 {
		c.add(ProblemEmpty, at, `name people, group:NAME, team:NAME, or "*" for everyone`, "the list is empty")
	}
	seen := map[string]bool{}
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", at, i)
		if seen[s] {
			c.add(ProblemTwice, at, "name each once", "%+q is named twice", s)
		}
		seen[s] = true
		switch kind, name, scoped := strings.Cut(s, ":"); {
		case scoped && kind == "group":
			if _, ok := c.body.Groups[name]; !ok {
				c.add(ProblemNoGroup, at, guess(c, name, c.body.Groups), "there is no group %+q", name)
			}
		case scoped && kind == "team":
			if len(c.dir.teams[name]) == 0 {
				c.add(ProblemNoTeam, at, "teams are named under people", "nobody is in team %+q", name)
			}
		case scoped && kind == "department":
			if len(c.dir.departments[name]) == 0 {
				c.add(ProblemNoDepartment, at, "departments are named under people", "nobody is in department %+q", name)
			}
		case scoped && kind == "roster":
			if _, ok := c.body.Rosters[name]; !ok {
				c.add(ProblemNoRoster, at, guess(c, name, c.body.Rosters), "there is no roster %+q", name)
			}
		case scoped:
			c.add(ProblemPrincipal, at, "write a person, group:NAME, team:NAME, department:NAME or roster:NAME", "%+q is not a kind of principal", kind)
		case strings.Contains(s, "*"):
			if err := checkGlob(s); err != nil {
				c.add(ProblemGlob, at, "names and * only", "%v", err)
			}
		case slices.Contains(concernedWords, s):
			if !concerned {
				c.add(ProblemPrincipal, at, "it stands among approvers only", "%+q does not say who is meant here", s)
			}
		default:
			c.person(at, s)
		}
	}
}

var globForm = regexp.MustCompile(`^[a-z0-9._*-]{1,128}$`)

func checkGlob(g string) error {
	if !globForm.MatchString(g) {
		return fmt.Errorf("%+q is not a name or glob", shortened(g))
	}
	return nil
}

package policy

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/record"
)

// Problem is something that makes a policy unusable.
type Problem struct {
	// Path is where it stands: rules[2].stages[0].approvers[1]
	Path string
	// Message says what is wrong, and Hint what to write instead.
	Message, Hint string
}

func (p Problem) String() string {
	if p.Hint == "" {
		return p.Path + ": " + p.Message
	}
	return p.Path + ": " + p.Message + " (" + p.Hint + ")"
}

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// MaxPending is the longest that a rule may let a request wait: ninety days.
const MaxPending = 90 * 24 * time.Hour

// ParametersCheck judges a role's parameters for a driver, without reaching the
// target. The drivers supply it; a nil check accepts everything.
type ParametersCheck func(driver string, parameters map[string]string) error

// checker gathers the problems of one body.
type checker struct {
	body     *Body
	problems []Problem
}

func (c *checker) add(path, hint, format string, args ...any) {
	c.problems = append(c.problems, Problem{Path: path, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// Check gives everything that makes body unusable as a policy, in the order of
// the document. An empty answer means that it can be compiled.
//
// The ledger refuses what Check refuses, whatever a command line allowed. What
// drivers say of parameters is no part of it, since that differs between
// versions of jit: see [CheckParameters].
func Check(body *Body) []Problem {
	c := &checker{body: body}
	c.admins()
	c.people()
	c.groups()
	c.reconcilers()
	c.resources()
	c.rules()
	return c.problems
}

// CheckParameters gives what the drivers refuse of the roles' parameters.
func CheckParameters(body *Body, check ParametersCheck) []Problem {
	c := &checker{body: body}
	for _, name := range slices.Sorted(maps.Keys(body.Resources)) {
		res := body.Resources[name]
		for _, role := range slices.Sorted(maps.Keys(res.Roles)) {
			if err := check(res.Driver, res.Roles[role].Parameters); err != nil {
				c.add("resources."+name+".roles."+role+".parameters", "", "%v", err)
			}
		}
	}
	return c.problems
}

func (c *checker) name(path, what, name string) {
	if !nameForm.MatchString(name) {
		c.add(path, "use a to z, 0 to 9, dot, dash and underscore; at most 63, a letter or digit first",
			"%s name %q is not allowed", what, name)
	}
}

func (c *checker) person(path, name string) {
	if _, ok := c.body.People[name]; !ok {
		c.add(path, nearest(name, slices.Sorted(maps.Keys(c.body.People))), "%q is not one of the people", name)
	}
}

func (c *checker) admins() {
	a := c.body.Admins
	seen := map[string]bool{}
	for i, name := range a.People {
		at := fmt.Sprintf("admins.people[%d]", i)
		c.person(at, name)
		if seen[name] {
			c.add(at, "name each admin once", "admin %q is named twice", name)
		}
		seen[name] = true
	}
	switch {
	case len(a.People) == 0:
		c.add("admins.people", "name at least one person", "there are no admins")
	case a.Threshold < 1:
		c.add("admins.threshold", "at least 1; 2 is better", "threshold %d would let the policy change with nobody's agreement", a.Threshold)
	case a.Threshold > len(a.People):
		c.add("admins.threshold", "at most the number of admins", "threshold %d can never be reached by %d admins", a.Threshold, len(a.People))
	}
}

// keys checks that each fingerprint is well formed and stands under one owner.
func (c *checker) keys(at, owner string, keys []record.Fingerprint, owners map[record.Fingerprint]string) {
	if len(keys) == 0 {
		c.add(at, "add the full fingerprint of a key", "%s has no key", owner)
	}
	for i, k := range keys {
		at := fmt.Sprintf("%s[%d]", at, i)
		if _, err := record.ParseFingerprint(string(k)); err != nil {
			c.add(at, "write all 40 digits, upper case, without spaces", "%v", err)
			continue
		}
		if other, ok := owners[k]; ok {
			c.add(at, "one key belongs to one", "key %s of %s already belongs to %s", k, owner, other)
			continue
		}
		owners[k] = owner
	}
}

func (c *checker) people() {
	owners := map[record.Fingerprint]string{}
	for _, name := range slices.Sorted(maps.Keys(c.body.People)) {
		p := c.body.People[name]
		at := "people." + name
		c.name(at, "person's", name)
		c.keys(at+".keys", "person "+name, p.Keys, owners)
		for i, team := range p.Teams {
			c.name(fmt.Sprintf("%s.teams[%d]", at, i), "team's", team)
		}
		for _, driver := range slices.Sorted(maps.Keys(p.Accounts)) {
			c.name(at+".accounts."+driver, "driver's", driver)
			if strings.TrimSpace(p.Accounts[driver]) == "" {
				c.add(at+".accounts."+driver, "leave the line out to use the person's own name", "the account is blank")
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.body.Reconcilers)) {
		c.keys("reconcilers."+name+".keys", "reconciler "+name, c.body.Reconcilers[name].Keys, owners)
	}
}

func (c *checker) groups() {
	for _, name := range slices.Sorted(maps.Keys(c.body.Groups)) {
		at := "groups." + name
		c.name(at, "group's", name)
		if len(c.body.Groups[name]) == 0 {
			c.add(at, "name people, or remove the group", "the group is empty")
		}
		for i, member := range c.body.Groups[name] {
			c.person(fmt.Sprintf("%s[%d]", at, i), member)
		}
	}
}

func (c *checker) reconcilers() {
	for _, name := range slices.Sorted(maps.Keys(c.body.Reconcilers)) {
		at := "reconcilers." + name
		c.name(at, "reconciler's", name)
		if _, ok := c.body.People[name]; ok {
			c.add(at, "give it a name of its own", "%q is also one of the people", name)
		}
		r := c.body.Reconcilers[name]
		if len(r.Resources) == 0 {
			c.add(at+".resources", "name what it opens and ends", "the reconciler has no resources")
		}
		for i, res := range r.Resources {
			if _, ok := c.body.Resources[res]; !ok {
				c.add(fmt.Sprintf("%s.resources[%d]", at, i), nearest(res, slices.Sorted(maps.Keys(c.body.Resources))),
					"%q is not one of the resources", res)
			}
		}
	}
}

func (c *checker) resources() {
	for _, name := range slices.Sorted(maps.Keys(c.body.Resources)) {
		at := "resources." + name
		res := c.body.Resources[name]
		c.name(at, "resource's", name)
		c.name(at+".driver", "driver's", res.Driver)
		if len(res.Roles) == 0 {
			c.add(at+".roles", "add a role", "the resource has no roles")
		}
		for _, role := range slices.Sorted(maps.Keys(res.Roles)) {
			c.name(at+".roles."+role, "role's", role)
		}
	}
}

func (c *checker) rules() {
	if len(c.body.Rules) == 0 {
		c.add("rules", "write at least one rule", "there are no rules, so nobody could ever ask for anything")
	}
	seen := map[string]bool{}
	for i, r := range c.body.Rules {
		at := fmt.Sprintf("rules[%d]", i)
		c.name(at+".name", "rule's", r.Name)
		if seen[r.Name] {
			c.add(at+".name", "names of rules are shown to people; make them differ", "two rules are named %q", r.Name)
		}
		seen[r.Name] = true
		c.globs(at+".resources", r.Resources)
		c.globs(at+".roles", r.Roles)
		c.principals(at+".requesters", r.Requesters)
		if r.MaxDuration.Duration <= 0 {
			c.add(at+".maxDuration", "write the longest window, like 4h", "the rule does not say for how long")
		}
		if r.Pending.Duration > MaxPending {
			c.add(at+".pending", "at most 90d", "a request may not wait for %s", r.Pending)
		}
		c.pattern(at+".requires.reason", r.Requires.Reason)
		c.pattern(at+".requires.ticket", r.Requires.Ticket)
		c.approval(at, r)
	}
}

func (c *checker) approval(at string, r Rule) {
	switch {
	case r.Approve != "" && r.Approve != ApproveAuto:
		c.add(at+".approve", "write auto, or leave it out and write stages", "%q is not a way to approve", r.Approve)
	case r.Approve == ApproveAuto && len(r.Stages) > 0:
		c.add(at+".stages", "keep one of them", "the rule approves by itself and has stages too")
	case r.Approve == "" && len(r.Stages) == 0:
		c.add(at, "write stages, or approve: auto", "the rule does not say who approves")
	}
	for j, s := range r.Stages {
		at := fmt.Sprintf("%s.stages[%d]", at, j)
		c.principals(at+".approvers", s.Approvers)
		switch most := len(c.body.People); {
		case s.Count < 1:
			c.add(at+".count", "at least 1", "count %d would approve with nobody's agreement", s.Count)
		case s.Count > most:
			c.add(at+".count", "at most the number of approvers", "count %d can never be reached by %d people", s.Count, most)
		}
	}
}

func (c *checker) globs(at string, globs []string) {
	if len(globs) == 0 {
		c.add(at, `name some, or "*" for all`, "the list is empty, so the rule matches nothing")
	}
	for i, g := range globs {
		if err := checkGlob(g); err != nil {
			c.add(fmt.Sprintf("%s[%d]", at, i), "names and * only", "%v", err)
		}
	}
}

func (c *checker) principals(at string, list []string) {
	if len(list) == 0 {
		c.add(at, `name people, group:NAME, team:NAME, or "*" for everyone`, "the list is empty")
	}
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", at, i)
		switch kind, name, scoped := strings.Cut(s, ":"); {
		case scoped && kind == "group":
			if _, ok := c.body.Groups[name]; !ok {
				c.add(at, nearest(name, slices.Sorted(maps.Keys(c.body.Groups))), "there is no group %q", name)
			}
		case scoped && kind == "team":
			if len(c.body.membersOfTeam(name)) == 0 {
				c.add(at, "teams are named under people", "nobody is in team %q", name)
			}
		case scoped:
			c.add(at, "write a person, group:NAME or team:NAME", "%q is not a kind of principal", kind)
		case strings.Contains(s, "*"):
			if err := checkGlob(s); err != nil {
				c.add(at, "names and * only", "%v", err)
			}
		default:
			c.person(at, s)
		}
	}
}

func (c *checker) pattern(at, expr string) {
	if len(expr) > 1000 {
		c.add(at, "at most 1000 characters", "the pattern is too long")
	} else if _, err := compilePattern(expr); err != nil {
		c.add(at, "RE2 syntax", "%v", err)
	}
}

// compilePattern gives nil for an empty expression.
func compilePattern(expr string) (*regexp.Regexp, error) {
	if expr == "" {
		return nil, nil //nolint:nilnil // no expression, no pattern
	}
	// By itself first: "a)|(b" is no expression, and would undo the anchors.
	if _, err := regexp.Compile(expr); err != nil {
		return nil, err
	}
	return regexp.Compile(`^(?:` + expr + `)$`)
}

var globForm = regexp.MustCompile(`^[a-z0-9._*-]{1,128}$`)

func checkGlob(g string) error {
	if !globForm.MatchString(g) {
		return fmt.Errorf("%q is not a name or glob", g)
	}
	return nil
}

// matchGlob matches names, which hold no slash, so that * matches anything.
func matchGlob(glob, name string) bool {
	ok, err := path.Match(glob, name)
	return err == nil && ok
}

package policy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jitaccess/jit/pkg/record"
)

// cases are all that can be asked for under a policy, in groups that no rule tells
// apart: entitlements by kinds of people.
type cases struct {
	body  *Body
	crowd *crowd
	rules []ruleCases
	// groups are of entitlements; in the order of the names of their first ones.
	groups []askedFor
	// group is that of an entitlement.
	group map[entitlement]int
}

type entitlement struct{ resource, role string }

func (e entitlement) String() string { return e.resource + ":" + e.role }

// askedFor are entitlements: those that the same rules match, and, where rules speak of
// owners, that the same people own.
type askedFor struct {
	first entitlement
	rules []int
	// owners are as the policy writes them.
	owners []string
}

// ruleCases are what one rule matches.
type ruleCases struct {
	// may are the kinds that the rule can match, must those that it always does: all
	// but for rosters.
	may, must set
	// groups are those of the entitlements that it matches.
	groups set
	// decides are the kinds that it decides for, by the group of entitlements, which
	// are in the order of groups.
	decides []decided
	// before are the rules that decide what it matches too.
	before map[int]bool
}

type decided struct {
	group int
	kinds set
}

// newCases finds the cases of a body that has no problem.
func newCases(b *Body, c *crowd) *cases {
	x := &cases{body: b, crowd: c, rules: make([]ruleCases, len(b.Rules)), group: map[entitlement]int{}}
	x.sortEntitlements()
	for i, r := range b.Rules {
		on := &x.rules[i]
		on.may, on.groups, on.before = c.of(r.Requesters...), newSet(len(x.groups)), map[int]bool{}
		on.must = c.of(slices.DeleteFunc(slices.Clone(r.Requesters), func(s string) bool { return strings.HasPrefix(s, "roster:") })...)
	}
	for g, e := range x.groups {
		for _, i := range e.rules {
			x.rules[i].groups.add(g)
		}
	}
	for g := range x.groups {
		x.decide(g)
	}
	return x
}

// sortEntitlements puts all entitlements into groups.
func (x *cases) sortEntitlements() {
	resources := slices.Sorted(maps.Keys(x.body.Resources))
	columns := x.resourceColumns(resources)
	owned := wordsOf(x.body.Rules...).owner
	byRole := map[string]set{} // the rules that match a role
	known := map[string]int{}
	for n, resource := range resources {
		res := x.body.Resources[resource]
		for _, role := range slices.Sorted(maps.Keys(res.Roles)) {
			if byRole[role] == nil {
				byRole[role] = newSet(len(x.body.Rules))
				for i, r := range x.body.Rules {
					if matchAny(r.Roles, role) {
						byRole[role].add(i)
					}
				}
			}
			column := slices.Clone(columns[n])
			column.and(byRole[role])
			key := fmt.Sprint(column)
			var owners []string
			if owned {
				owners = res.Owners
				key += fmt.Sprint(len(owners), owners)
			}
			e := entitlement{resource, role}
			g, ok := known[key]
			if !ok {
				g = len(x.groups)
				known[key] = g
				x.groups = append(x.groups, askedFor{first: e, owners: owners, rules: slices.Collect(column.all)})
			}
			x.group[e] = g
		}
	}
}

// resourceColumns gives for each resource the rules that match its name and labels.
func (x *cases) resourceColumns(resources []string) []set {
	columns := make([]set, len(resources))
	for n := range resources {
		columns[n] = newSet(len(x.body.Rules))
	}
	// Most rules share their globs and labels with others.
	byName, byLabel := map[string]set{}, map[[2]string]set{}
	for i, r := range x.body.Rules {
		fits := newSet(len(resources))
		for _, glob := range r.Resources {
			if byName[glob] == nil {
				byName[glob] = newSet(len(resources))
				for n, resource := range resources {
					if matchGlob(glob, resource) {
						byName[glob].add(n)
					}
				}
			}
			fits.or(byName[glob])
		}
		for label, glob := range r.Labels {
			key := [2]string{label, glob}
			if byLabel[key] == nil {
				byLabel[key] = newSet(len(resources))
				for n, resource := range resources {
					if value, ok := x.body.Resources[resource].Labels[label]; ok && matchGlob(glob, value) {
						byLabel[key].add(n)
					}
				}
			}
			fits.and(byLabel[key])
		}
		for n := range fits.all {
			columns[n].add(i)
		}
	}
	return columns
}

func matchAny(globs []string, name string) bool {
	return slices.ContainsFunc(globs, func(g string) bool { return matchGlob(g, name) })
}

// decide finds who is decided by which rule for a group of entitlements.
func (x *cases) decide(g int) {
	taken := newSet(len(x.crowd.size))
	for n, i := range x.groups[g].rules {
		on := &x.rules[i]
		fresh := on.may.without(taken)
		if !fresh.empty() {
			on.decides = append(on.decides, decided{g, fresh})
		} else if len(on.decides) == 0 {
			for _, j := range x.groups[g].rules[:n] {
				before := x.rules[j].decides
				if last := len(before) - 1; last >= 0 && before[last].group == g && before[last].kinds.meets(on.may) {
					on.before[j] = true
				}
			}
		}
		taken.or(on.must)
	}
}

// unmatched gives problems for what no rule lets anybody ask for.
func (x *cases) unmatched() []Problem {
	if len(x.body.Rules) == 0 {
		return nil
	}
	var problems []Problem
	for _, resource := range slices.Sorted(maps.Keys(x.body.Resources)) {
		var without []string
		roles := slices.Sorted(maps.Keys(x.body.Resources[resource].Roles))
		for _, role := range roles {
			rules := x.groups[x.group[entitlement{resource, role}]].rules
			if !slices.ContainsFunc(rules, func(i int) bool { return x.answers(i, resource) }) {
				without = append(without, role)
			}
		}
		at := "resources." + resource
		if len(without) == len(roles) {
			problems = append(problems, Problem{Path: at, Severity: SeverityWarning, Code: ProblemUnreached,
				Message: fmt.Sprintf("no rule lets anybody ask for %s", resource), Hint: "write a rule for it, or take it out"})
			continue
		}
		for _, role := range without {
			problems = append(problems, Problem{Path: at + ".roles." + role, Severity: SeverityInfo, Code: ProblemUnreachedRole,
				Message: fmt.Sprintf("no rule lets anybody ask for %s:%s", resource, role), Hint: "write a rule for it, or take it out"})
		}
	}
	return problems
}

// answers reports whether rule i, which matches a resource, is an answer to whoever asks
// for it. That everything else is denied is none.
func (x *cases) answers(i int, resource string) bool {
	r := x.body.Rules[i]
	return !x.rules[i].may.empty() && (r.Approve != ApproveDeny || slices.Contains(r.Resources, resource))
}

// idle gives a problem where rule i decides nothing.
func (x *cases) idle(i int) (Problem, bool) {
	on, r := x.rules[i], x.body.Rules[i]
	at := fmt.Sprintf("rules[%d]", i)
	nothing := func(key, what, hint string) (Problem, bool) {
		return Problem{Path: at + "." + key, Severity: SeverityWarning, Code: ProblemMatchesNothing,
			Message: fmt.Sprintf("rule %q matches nothing: %s", r.Name, what), Hint: hint}, true
	}
	switch {
	case len(on.decides) > 0:
		return Problem{}, false
	case on.may.empty():
		return nothing("requesters", "nobody is meant by its requesters", "correct them, or take the rule out")
	case on.groups.empty():
		if len(r.Labels) > 0 && slices.ContainsFunc(slices.Collect(maps.Keys(x.body.Resources)), func(s string) bool { return matchAny(r.Resources, s) }) {
			return nothing("labels", "no resource that it names has these labels and one of its roles", "compare them with the labels under resources")
		}
		return nothing("resources", "no resource has such a name and one of its roles", "compare them with the names under resources")
	}
	var names []string
	for _, j := range slices.Sorted(maps.Keys(on.before)) {
		names = append(names, fmt.Sprintf("%q", x.body.Rules[j].Name))
	}
	return Problem{Path: at, Severity: SeverityWarning, Code: ProblemNeverDecides,
		Message: fmt.Sprintf("rule %q never decides: what it matches is taken by %s", r.Name, someOf(names, "earlier rule")),
		Hint:    "put it before them, or take it out"}, true
}

// someOf names a few of the names, and says how many more of what there are.
func someOf(names []string, what string) string {
	const most = 3
	if more := len(names) - most; more > 0 {
		return fmt.Sprintf("%s and %s", strings.Join(names[:most], ", "), moreOf(more, what))
	}
	return strings.Join(names, ", ")
}

// overlaps gives for each rule at most one problem: that an earlier rule with
// another outcome decides some of its cases. A narrow rule before a wide one that
// has all its cases is how exceptions are written, and is none.
func (x *cases) overlaps() []Problem {
	outcomes := make([]record.Digest, len(x.rules))
	for i, r := range x.body.Rules {
		outcomes[i] = digestOf([]any{r.Approve, r.Stages})
	}
	with := make([]Problem, len(x.rules))
	for i, earlier := range x.rules {
		if len(earlier.decides) == 0 {
			continue
		}
		for j := i + 1; j < len(x.rules); j++ {
			later := x.rules[j]
			if with[j].Code != "" || len(later.decides) == 0 || outcomes[i] == outcomes[j] ||
				!earlier.groups.meets(later.groups) || !earlier.must.meets(later.may) ||
				earlier.may.within(later.may) && earlier.groups.within(later.groups) {
				continue
			}
			for _, d := range earlier.decides {
				kinds := slices.Clone(d.kinds)
				kinds.and(earlier.must)
				if k := kinds.firstWith(later.may); k >= 0 && later.groups.has(d.group) {
					with[j] = x.overlap(i, j, x.crowd.name(k), x.groups[d.group].first)
					break
				}
			}
		}
	}
	return slices.DeleteFunc(with, func(p Problem) bool { return p.Code == "" })
}

func (x *cases) overlap(i, j int, person string, e entitlement) Problem {
	earlier, later := x.body.Rules[i], x.body.Rules[j]
	p := Problem{Path: fmt.Sprintf("rules[%d]", j), Severity: SeverityInfo, Code: ProblemOverlap,
		Hint: fmt.Sprintf("good if it is meant; else write a rule for %s before them", e)}
	if cmp.Compare(strictness(earlier), strictness(later)) < 0 {
		p.Severity, p.Hint = SeverityWarning, fmt.Sprintf("put %q first if it is to hold there, or narrow %q", later.Name, earlier.Name)
	}
	p.Message = fmt.Sprintf("rules %q and %q overlap: %s on %s is decided by the first (%s), not by the second (%s)",
		earlier.Name, later.Name, person, e, outcomeOf(earlier), outcomeOf(later))
	return p
}

// strictness orders rules by how many must agree; one that denies is the strictest.
func strictness(r Rule) int {
	if r.Approve == ApproveDeny {
		return int(^uint(0) >> 1)
	}
	total := 0
	for _, s := range r.Stages {
		fewest := -1
		for _, way := range s.Ways() {
			n := 0
			for _, q := range way {
				n += q.Count
			}
			if fewest < 0 || n < fewest {
				fewest = n
			}
		}
		total += fewest
	}
	return total
}

// outcomeOf says in few words what a rule decides.
func outcomeOf(r Rule) string {
	switch r.Approve {
	case ApproveDeny:
		return "denied"
	case ApproveAuto:
		return "nobody need agree"
	}
	var stages []string
	for _, s := range r.Stages {
		var ways []string
		for _, way := range s.Ways() {
			var all []string
			for _, q := range way {
				all = append(all, fmt.Sprintf("%d of %s", q.Count, someOf(q.Approvers, "other")))
			}
			ways = append(ways, strings.Join(all, " and "))
		}
		stages = append(stages, strings.Join(ways, " or "))
	}
	return strings.Join(stages, ", then ")
}

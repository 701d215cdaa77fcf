package trial

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/request"
)

// Effects are what a new version of a policy changes, in effect: not its text,
// but who may have what, and how.
type Effects struct {
	// Gains are what people may ask for who could not; Loses what they no longer
	// may; Terms what they may as before, on other terms. In each stands first what
	// lets people have more, and of that what opens without anybody's agreement.
	Gains []Change `json:"gains"`
	Loses []Change `json:"loses"`
	Terms []Change `json:"terms"`
	// Meanings are the roles that mean something else or are new, what people are on
	// targets, and those whom a target cannot tell apart.
	Meanings []Note `json:"meanings"`
	// Others are all other changes: of admins, people, resources, new rules and so on.
	Others []Note `json:"others"`
}

// Change is one that some people see in some entitlements alike.
type Change struct {
	// Whom says who they are in a few words; People are all of them.
	Whom   string   `json:"whom"`
	People []string `json:"people"`
	// What says in a few words what it is about; Entitlements are all of it,
	// RESOURCE:ROLE each.
	What         string   `json:"what"`
	Entitlements []string `json:"entitlements"`
	// Old and New say how it was decided and how it will be.
	Old string `json:"old"`
	New string `json:"new"`
	// OldRule and NewRule are the rules that decide; empty where none does.
	OldRule string `json:"oldRule"`
	NewRule string `json:"newRule"`
	// Differs are the terms that differ, one each; empty where all is gained or
	// lost.
	Differs []string `json:"differs"`
	// Widens says that people may have more, or that nobody can tell; false where the
	// change only takes away.
	Widens bool `json:"widens"`

	weight weight
	needs  int // how many must agree
}

// Note is a change of one thing: what it is about, and what becomes of it.
type Note struct {
	About string `json:"about"`
	Text  string `json:"text"`
}

// Empty reports whether the new version changes nothing.
func (e Effects) Empty() bool {
	return len(e.Gains)+len(e.Loses)+len(e.Terms)+len(e.Meanings)+len(e.Others) == 0
}

// Compare tells what new changes of old. Rosters are read at a time, as they are
// when somebody asks then.
func Compare(old, new *policy.Policy, at time.Time) Effects {
	c := comparison{classes: newClasses(old, new, at), terms: map[termsKey]*terms{}, found: map[string]*Change{}}
	all := entitlements(old, new)
	for _, g := range all {
		c.entitlement(g)
	}
	e := Effects{Gains: []Change{}, Loses: []Change{}, Terms: []Change{}, Meanings: meanings(old, new), Others: others(old, new)}
	for _, key := range c.order {
		x := *c.found[key]
		switch {
		case len(x.Differs) > 0:
			e.Terms = append(e.Terms, x)
		case c.gains[key]:
			e.Gains = append(e.Gains, x)
		default:
			e.Loses = append(e.Loses, x)
		}
	}
	for _, list := range [][]Change{e.Gains, e.Loses, e.Terms} {
		for i := range list {
			list[i].Whom, list[i].What = c.whom(list[i].People), what(list[i].Entitlements, all)
		}
		slices.SortStableFunc(list, weightier)
	}
	return e
}

// entitlements are those of both versions, in order.
func entitlements(versions ...*policy.Policy) []request.Grant {
	all := map[request.Grant]bool{}
	for _, p := range versions {
		for name, r := range p.Document().Resources {
			for role := range r.Roles {
				all[request.Grant{Resource: name, Role: role}] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(all), func(a, b request.Grant) int { return strings.Compare(a.String(), b.String()) })
}

// what says which entitlements they are: RESOURCE:* for all roles of one, and
// everything for all that there are.
func what(some []string, all []request.Grant) string {
	if len(some) == len(all) && len(all) > 1 {
		return "everything"
	}
	roles, has := map[string]int{}, map[string][]string{}
	for _, g := range all {
		roles[g.Resource]++
	}
	for _, e := range some {
		resource, role, _ := strings.Cut(e, ":")
		has[resource] = append(has[resource], role)
	}
	var parts []string
	for _, resource := range slices.Sorted(maps.Keys(has)) {
		text := strings.Join(has[resource], ",")
		if n := len(has[resource]); n == roles[resource] && n > 1 {
			text = "*"
		}
		parts = append(parts, resource+":"+text)
	}
	const most = 8
	if more := len(parts) - most; more > 0 {
		parts = append(parts[:most], countText(more, "resource more", "resources more"))
	}
	return strings.Join(parts, " ")
}

type comparison struct {
	*classes
	terms map[termsKey]*terms
	// found are the changes by whom and what; order is that of finding them.
	found map[string]*Change
	order []string
	gains map[string]bool
	said  map[string]string // by the people of a change
}

type termsKey struct {
	p         *policy.Policy
	rule      *policy.Rule
	emergency bool
	resource  string // where the rule means its owners
}

// part is the people whom one rule decides about, with or without emergencies.
type part struct {
	rule      *policy.Rule
	emergency bool
	who       set
}

// parts divides the people of a version by the rule that decides for them about an
// entitlement: the first that means them.
func (c *comparison) parts(p *policy.Policy, g request.Grant) []part {
	left := c.people(p)
	var all []part
	put := func(rule *policy.Rule, emergency bool, who set) {
		if !who.empty() {
			all = append(all, part{rule, emergency, who})
		}
	}
	if _, err := p.Role(g.Resource, g.Role); err == nil {
		for _, r := range p.RulesAbout(g.Resource, g.Role) {
			who := left.and(c.are(p, r.Requesters))
			if who.empty() {
				continue
			}
			left = left.without(who)
			if r.Emergency == nil {
				put(r, false, who)
				continue
			}
			urgent := c.are(p, r.Emergency.Requesters)
			put(r, true, who.and(urgent))
			put(r, false, who.without(urgent))
		}
	}
	// Who is no person of this version is left to no rule of it, too.
	everyone := newSet(len(c.all))
	for i := range c.all {
		everyone.add(i)
	}
	put(nil, false, left)
	put(nil, false, everyone.without(c.people(p)))
	return all
}

func (c *comparison) entitlement(g request.Grant) {
	olds, news := c.parts(c.old, g), c.parts(c.new, g)
	for _, was := range olds {
		for _, is := range news {
			who := was.who.and(is.who)
			if who.empty() || was.rule == nil && is.rule == nil {
				continue
			}
			before, after := c.termsFor(c.old, was, g), c.termsFor(c.new, is, g)
			switch {
			case before.gives() && after.gives():
				if differs := before.differs(after); len(differs) > 0 {
					c.note(g, who, before, after, differs)
				}
			case before.gives() != after.gives():
				c.note(g, who, before, after, nil)
			}
		}
	}
}

func (c *comparison) termsFor(p *policy.Policy, x part, g request.Grant) *terms {
	key := termsKey{p: p, rule: x.rule, emergency: x.emergency}
	if x.rule != nil && slices.ContainsFunc(x.rule.Stages, func(s policy.Stage) bool { return slices.Contains(s.Deciders(), policy.WhoOwner) }) {
		key.resource = g.Resource
	}
	t, ok := c.terms[key]
	if !ok {
		t = termsOf(p, x.rule, g.Resource, x.emergency, c.at)
		c.terms[key] = t
	}
	return t
}

// note adds an entitlement to the change that some people see, where it is the
// same.
func (c *comparison) note(g request.Grant, who set, before, after *terms, differs []string) {
	key := strings.Join([]string{who.key(), before.how, after.how, strings.Join(differs, "\x00"), ruleName(before.rule), ruleName(after.rule)}, "\x01")
	x, ok := c.found[key]
	if !ok {
		x = &Change{People: c.names(who), Old: before.how, New: after.how, OldRule: ruleName(before.rule), NewRule: ruleName(after.rule), Differs: differs}
		if x.Differs == nil {
			x.Differs = []string{}
		}
		if x.weight = weigh(before, after); after.gives() {
			x.Widens, x.needs = x.weight > narrows, after.needs()
		}
		c.found[key] = x
		c.order = append(c.order, key)
		if c.gains == nil {
			c.gains = map[string]bool{}
		}
		c.gains[key] = after.gives()
	}
	x.Entitlements = append(x.Entitlements, g.String())
}

// whom is describe, which costs much for many, kept.
func (c *comparison) whom(names []string) string {
	if c.said == nil {
		c.said = map[string]string{}
	}
	key := strings.Join(names, " ")
	text, ok := c.said[key]
	if !ok {
		text = c.describe(names)
		c.said[key] = text
	}
	return text
}

func ruleName(r *policy.Rule) string {
	if r == nil {
		return ""
	}
	return r.Name
}

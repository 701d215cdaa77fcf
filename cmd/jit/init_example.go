package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/testdata/policies"
)

// madeUp is how the fingerprints of the examples begin: no key has such a one.
const madeUp = "000000000000000000000000000000000000"

// placeholderKeys refuses a policy that still has keys of an example.
func placeholderKeys(body *policy.Body) error {
	var who []string
	for _, name := range slices.Sorted(maps.Keys(body.People)) {
		if slices.ContainsFunc(body.People[name].Keys, func(k record.Fingerprint) bool { return strings.HasPrefix(string(k), madeUp) }) {
			who = append(who, name)
		}
	}
	if len(who) == 0 {
		return nil
	}
	verb := "have"
	if len(who) == 1 {
		verb = "has"
	}
	return failure(exitUsage, "made-up-key", "they run: jit join, and tell the fingerprint that it shows; leave out who is not there yet",
		"%s still %s the example's made-up key", listText(who, "and"), verb)
}

// example is an example policy as it becomes somebody's own.
type example struct {
	name string
	text policies.Example
	// body is the first policy: what is left of the example where there is one
	// person.
	body *policy.Body
	// whole is all of the example; nil where it is not looked at.
	whole *policy.Policy
	// closed are the rules that deny until there are enough people, out those that
	// are about nobody yet.
	closed, out []string
}

// readExample gives an example by name, of which the person called me is the admin.
func readExample(name, me string) (*example, error) {
	text, ok := policies.Read(name)
	if !ok {
		return nil, usageErr("write one of "+strings.Join(policies.Names, ", "), "there is no example %q", name)
	}
	var body policy.Body
	if err := record.DecodeStrict([]byte(text.Policy), &body); err != nil {
		return nil, err
	}
	if err := named(&text, me, body.People); err != nil {
		return nil, err
	}
	bad := func(err error) error {
		return failure(exitUsage, "bad-name", "give another name: --as NAME", "the example cannot be %s's: %v", me, err)
	}
	e := &example{name: name, text: text, body: &policy.Body{}}
	if err := record.DecodeStrict([]byte(text.Policy), e.body); err != nil {
		return nil, bad(err)
	}
	whole, err := policy.Compile(policy.Document{Body: *e.body}, "")
	if err != nil {
		return nil, bad(err)
	}
	// What is left of it is cut out of a copy.
	e.body, e.whole = &policy.Body{}, whole
	return e, record.DecodeStrict([]byte(text.Policy), e.body)
}

// named gives an example to the person called me: the admin whose place they take has
// their name, where there is one, and is nowhere else.
func named(text *policies.Example, me string, people map[string]policy.Person) error {
	// A name like 123 or on is quoted where it is a value, so it is put there as one:
	// first each gives way to a word that stands nowhere.
	words := map[string]string{text.Admin: "first-admin-of-the-example"}
	names := map[string]string{words[text.Admin]: me}
	if _, taken := people[me]; taken && me != text.Admin { // a word that is no person's name stays
		words[me] = "namesake-in-the-example"
		names[words[me]] = text.Admin
	}
	for _, word := range words {
		if strings.Contains(text.Policy+text.Test, word) {
			return fmt.Errorf("the example %q holds %q", text.Admin, word)
		}
	}
	for _, part := range []*string{&text.Policy, &text.Test} {
		*part = changedScalars(swapNames(*part, words), func(s string) string { return swapNames(s, names) })
		*part = swapNames(*part, names) // in the comments
	}
	return nil
}

var nameWord = regexp.MustCompile(`[a-z0-9][a-z0-9._-]*`)

// swapNames puts names in each other's place, wherever they stand as words.
func swapNames(text string, swap map[string]string) string {
	return nameWord.ReplaceAllStringFunc(text, func(word string) string {
		bare := strings.TrimRight(word, ".-_")
		if other, ok := swap[bare]; ok {
			return other + word[len(bare):]
		}
		return word
	})
}

// adopt makes the example that of one person with a key: the first policy, and the
// full text to go on from.
func (e *example) adopt(me string, person policy.Person) {
	was := e.body.People[me]
	e.text.Policy = strings.ReplaceAll(e.text.Policy, string(was.Keys[0]), string(person.Keys[0]))
	called := person.Name
	if called == "" {
		called = me
	}
	e.text.Policy = changedScalars(e.text.Policy, func(s string) string {
		switch {
		case s == was.Name:
			return called
		case s == was.Email && person.Email != "":
			return person.Email
		}
		return s
	})
	person.Teams, person.Department, person.Accounts = was.Teams, was.Department, was.Accounts
	e.alone(me, person)
}

// alone leaves of the body what stands with one person. A rule that needs more
// people denies until they are there: so nothing is open to fewer eyes than in the
// example.
func (e *example) alone(me string, person policy.Person) {
	b := e.body
	b.Admins = policy.Admins{People: []string{me}, Threshold: 1}
	b.People = map[string]policy.Person{me: person}
	for name := range b.Groups {
		b.Groups[name] = []string{me}
	}
	for name := range b.Teams {
		b.Teams[name] = policy.Team{Leads: []string{me}}
		if !slices.Contains(person.Teams, name) {
			delete(b.Teams, name)
		}
	}
	for _, shifts := range b.Rosters {
		for i := range shifts {
			shifts[i].People = []string{me}
		}
	}
	there := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return !means(b, me, person, s) })
	}
	if b.Delegation.To = there(b.Delegation.To); len(b.Delegation.To) == 0 {
		b.Delegation = policy.Delegation{}
	}
	for name, r := range b.Resources {
		if r.Owners = there(r.Owners); len(r.Owners) == 0 {
			r.Owners = []string{me}
		}
		b.Resources[name] = r
	}
	var rules []policy.Rule
	for _, r := range b.Rules {
		if r.Requesters = there(r.Requesters); len(r.Requesters) == 0 {
			e.out = append(e.out, r.Name)
			continue
		}
		if !reducedStages(&r, there) || e.behind(r) {
			e.closed = append(e.closed, r.Name)
			r = policy.Rule{Name: r.Name, Resources: r.Resources, Roles: r.Roles, Labels: r.Labels, Requesters: r.Requesters,
				Approve: policy.ApproveDeny, Message: "there are not enough people yet to approve it; an admin adds them, and the rule, with: jit policy edit"}
		}
		rules = append(rules, r)
	}
	b.Rules = rules
}

// behind reports whether a rule that is about everybody stands behind one that is
// left out, for the same role of a resource: it would decide for those who come
// later and belong to the other.
func (e *example) behind(r policy.Rule) bool {
	if e.whole == nil || !slices.ContainsFunc(r.Requesters, func(s string) bool { return strings.Contains(s, "*") }) {
		return false
	}
	for _, resource := range e.whole.Resources() {
		res, _ := e.whole.Resource(resource)
		for role := range res.Roles {
			out := false
			for _, about := range e.whole.RulesAbout(resource, role) {
				if about.Name == r.Name && out {
					return true
				}
				out = out || slices.Contains(e.out, about.Name)
			}
		}
	}
	return false
}

// means reports whether a principal may stand in a policy of one person.
func means(b *policy.Body, me string, person policy.Person, principal string) bool {
	kind, name, scoped := strings.Cut(principal, ":")
	switch {
	case scoped && kind == "team":
		return slices.Contains(person.Teams, name)
	case scoped && kind == "department":
		return person.Department == name
	case scoped: // groups and rosters stay
		return true
	case strings.Contains(principal, "*"), principal == me:
		return true
	}
	return slices.Contains([]string{policy.WhoManager, policy.WhoManagersManager, policy.WhoTeamLead, policy.WhoOwner}, principal)
}

// reducedStages leaves of a rule's stages and emergency what names people who are
// there, and reports whether each stage can still be what it was.
func reducedStages(r *policy.Rule, there func([]string) []string) bool {
	ok := true
	quorum := func(q *policy.Quorum) bool {
		q.Approvers = there(q.Approvers)
		return len(q.Approvers) > 0 && q.Count <= 1
	}
	for i := range r.Stages {
		s := &r.Stages[i]
		own := policy.Quorum{Approvers: s.Approvers, Count: s.Count}
		switch {
		case len(s.AllOf) > 0:
			for j := range s.AllOf {
				ok = quorum(&s.AllOf[j]) && ok
			}
		case len(s.AnyOf) > 0:
			var left []policy.Quorum
			for _, q := range s.AnyOf {
				if quorum(&q) {
					left = append(left, q)
				}
			}
			s.AnyOf, ok = left, ok && len(left) > 0
		default:
			ok = quorum(&own) && ok
			s.Approvers = own.Approvers
		}
		for j := range s.Escalate {
			s.Escalate[j].To = there(s.Escalate[j].To)
		}
		s.Escalate = slices.DeleteFunc(s.Escalate, func(e policy.Escalation) bool { return len(e.To) == 0 })
	}
	if r.Emergency != nil {
		em := *r.Emergency
		named := len(em.Acknowledgers) > 0
		em.Requesters, em.Acknowledgers = there(em.Requesters), there(em.Acknowledgers)
		if r.Emergency = &em; len(em.Requesters) == 0 || named && len(em.Acknowledgers) == 0 {
			r.Emergency = nil
		}
	}
	return ok
}

// folder is where the full example is written.
func (e *example) folder() string { return "jit-" + e.name }

// free refuses to write over what is there.
func (e *example) free() error {
	if _, err := os.Lstat(e.folder()); !errors.Is(err, os.ErrNotExist) {
		return usageErr("move it away, or run it in another folder", "the example would be written to %s, and that is there already", e.folder())
	}
	return nil
}

// write puts the full example into its folder.
func (e *example) write() error {
	if err := os.Mkdir(e.folder(), 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{"policy.yaml": e.text.Policy, "test.yaml": e.text.Test} {
		if err := os.WriteFile(filepath.Join(e.folder(), name), []byte(text), 0o644); err != nil {
			return errors.Join(err, os.RemoveAll(e.folder()))
		}
	}
	return nil
}

// next says what was done and what to do next.
func (e *example) next(w io.Writer) {
	file := filepath.Join(e.folder(), "policy.yaml")
	fmt.Fprintf(w, "\nIt begins with the example %q, reduced to you.\n", e.name)
	if len(e.closed) > 0 {
		fmt.Fprintf(w, "These rules deny until there are enough people: %s.\n", strings.Join(e.closed, ", "))
	}
	if len(e.out) > 0 {
		fmt.Fprintf(w, "These are left out, for they are about nobody yet: %s.\n", strings.Join(e.out, ", "))
	}
	fmt.Fprintf(w, "The whole example is in %s. Put your own people and resources there,\nwith the fingerprints that they are shown when they join, then\n", e.folder())
	fmt.Fprintf(w, "  jit policy test %s\n  jit policy diff %s\n  jit policy propose %s\n", filepath.Join(e.folder(), "test.yaml"), file, file)
}

package policy

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jitaccess/jit/pkg/record"
)

// DefaultPending is how long a request waits for its decision where its rule
// does not say.
const DefaultPending = 24 * time.Hour

// Policy is a checked version, ready to be asked, by several at once. What it
// answers never changes.
type Policy struct {
	doc    Document
	digest record.Digest
	dir    *directory
	owners map[record.Fingerprint]string
	rules  []compiledRule
	// calendars are the schedules by name.
	calendars map[string]*Calendar
	abouts    sync.Map // see about
	meant     sync.Map // see digestOfMeaning
}

type compiledRule struct {
	*Rule
	digest         record.Digest
	reason, ticket *regexp.Regexp
	// ask and use are when one may ask, and when access is open; nil for always.
	ask, use *Calendar
	terms    *terms
}

// Compile checks doc, whose signed bytes have the given digest. The error is a
// [Refusal] that names every problem.
func Compile(doc Document, digest record.Digest) (*Policy, error) {
	p := &Policy{doc: doc, digest: digest}
	c := check(&p.doc.Body)
	if len(c.problems) > 0 {
		var lines []string
		for _, p := range c.problems {
			lines = append(lines, p.String())
		}
		return nil, &Refusal{Code: BadPolicy, Message: "the policy cannot be used: " + strings.Join(lines, "; ")}
	}
	p.dir, p.owners, p.calendars = c.dir, c.owners, c.calendars
	schedules := map[string]record.Digest{}
	for name, s := range p.doc.Schedules {
		schedules[name] = digestOf(s)
	}
	for i := range p.doc.Rules {
		r := compiledRule{Rule: &p.doc.Rules[i]}
		// A rule is another one when a schedule that it names is.
		r.digest = digestOf([]any{r.Rule, schedules[r.AskDuring], schedules[r.UseDuring]})
		r.reason, r.ticket = c.patterns[r.Requires.Reason].Regexp, c.patterns[r.Requires.Ticket].Regexp
		r.terms = &terms{dir: p.dir, patterns: c.inputPatterns(r.Requires.Inputs), conditions: c.conditions[i]}
		r.ask, r.use = p.calendars[r.AskDuring], p.calendars[r.UseDuring]
		p.rules = append(p.rules, r)
	}
	return p, nil
}

// digestOf gives a digest of v's fields. Equal values have equal digests: maps are
// ordered, and an empty list or map means what none means, since either may come of
// writing the other.
func digestOf(v any) record.Digest {
	data, err := json.Marshal(plain(reflect.ValueOf(v)))
	if err != nil {
		panic(fmt.Sprintf("policy: %T cannot be digested: %v", v, err)) // plain data only
	}
	return record.Sum(data)
}

// plain gives the same value in maps and lists, none of them nil.
func plain(v reflect.Value) any {
	if _, ok := v.Interface().(json.Marshaler); ok {
		return v.Interface() // a time
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return nil
		}
		return plain(v.Elem())
	case reflect.Struct:
		m := make(map[string]any, v.NumField())
		for f, x := range v.Fields() {
			m[f.Name] = plain(x)
		}
		return m
	case reflect.Map:
		m := make(map[string]any, v.Len())
		for name, x := range v.Seq2() {
			m[name.String()] = plain(x)
		}
		return m
	case reflect.Slice:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = plain(v.Index(i))
		}
		return list
	}
	return v.Interface()
}

// Document gives the version as signed. It must not be changed.
func (p *Policy) Document() *Document { return &p.doc }

// ID gives the id of the version's record.
func (p *Policy) ID() record.ID { return p.doc.ID }

// Digest gives the digest of the version's signed bytes.
func (p *Policy) Digest() record.Digest { return p.digest }

// OwnerOf gives the name of the person or reconciler to whom a key belongs.
func (p *Policy) OwnerOf(key record.Fingerprint) (name string, ok bool) {
	name, ok = p.owners[key]
	return name, ok
}

// Gives reports whether a key is that of somebody.
func (p *Policy) Gives(key record.Fingerprint, name string) bool {
	owner, ok := p.owners[key]
	return ok && owner == name
}

// Person gives one of the people.
func (p *Policy) Person(name string) (Person, bool) {
	person, ok := p.doc.People[name]
	return person, ok
}

// People gives the names of all people, in order.
func (p *Policy) People() []string { return slices.Clone(p.dir.names) }

// IsAdmin reports whether name is an admin.
func (p *Policy) IsAdmin(name string) bool { return slices.Contains(p.doc.Admins.People, name) }

// Reconciler gives one of the reconcilers.
func (p *Policy) Reconciler(name string) (Reconciler, bool) {
	r, ok := p.doc.Reconcilers[name]
	return r, ok
}

// Reconciles reports whether reconciler may write receipts for resource.
func (p *Policy) Reconciles(reconciler, resource string) bool {
	return slices.Contains(p.doc.Reconcilers[reconciler].Resources, resource)
}

// Resources gives the names of all resources, in order.
func (p *Policy) Resources() []string { return slices.Sorted(maps.Keys(p.doc.Resources)) }

// Resource gives one of the resources.
func (p *Policy) Resource(name string) (Resource, bool) {
	r, ok := p.doc.Resources[name]
	return r, ok
}

// Role gives a role of a resource, or a refusal that names what comes nearest. Names are
// ASCII: letters that only look like one are shown by their numbers.
func (p *Policy) Role(resource, role string) (Role, error) {
	res, ok := p.doc.Resources[resource]
	if !ok {
		return Role{}, &Refusal{Code: UnknownResource, Message: fmt.Sprintf("there is no resource %+q", resource),
			Hint: nearest(resource, p.Resources())}
	}
	r, ok := res.Roles[role]
	if !ok {
		return Role{}, &Refusal{Code: UnknownRole, Message: fmt.Sprintf("resource %+q has no role %+q", resource, role),
			Hint: nearest(role, slices.Sorted(maps.Keys(res.Roles)))}
	}
	return r, nil
}

// Meaning is what a role means for one person: where an approval rests on it,
// another meaning needs another approval.
type Meaning struct {
	Driver     string
	Parameters map[string]string
	// Account is who the person is on the target.
	Account string
}

// Digest tells one meaning from another.
func (m Meaning) Digest() record.Digest { return digestOf(m) }

// Meaning gives what role of resource means for person.
func (p *Policy) Meaning(person, resource, role string) (Meaning, error) {
	who, ok := p.doc.People[person]
	if !ok {
		return Meaning{}, p.unknownPerson(person)
	}
	r, err := p.Role(resource, role)
	if err != nil {
		return Meaning{}, err
	}
	m := Meaning{Driver: p.doc.Resources[resource].Driver, Parameters: r.Parameters, Account: person}
	if account, ok := who.Accounts[m.Driver]; ok {
		m.Account = account
	}
	return m, nil
}

func (p *Policy) unknownPerson(name string) error {
	asked := name
	if !nameForm.MatchString(name) { // no name that only looks like one is told on
		asked = "NAME"
	}
	return &Refusal{Code: UnknownPerson, Message: fmt.Sprintf("%+q is not one of the people in the policy", name),
		Hint: "run: jit enroll, and ask an admin to run: jit admit " + asked}
}

// digestOfMeaning is the digest of a meaning of the policy's. A long history asks for
// those of few people and roles over and over.
func (p *Policy) digestOfMeaning(m Meaning, resource, role string) record.Digest {
	key := [3]string{resource, role, m.Account}
	if d, ok := p.meant.Load(key); ok {
		return d.(record.Digest)
	}
	d := m.Digest()
	p.meant.Store(key, d)
	return d
}

// Match is the rule that decides about a role for a person.
type Match struct {
	Rule *Rule
	rule compiledRule
	// looked is nil where nothing is kept.
	looked *Looked
	// Basis is what an approval rests on: this rule and what the role means.
	Basis Basis
	// Meaning is what the role means for the person.
	Meaning Meaning
}

// Basis is what an approval rests on. If either part changes before access
// opens, the approval must be given again.
type Basis struct{ Rule, Meaning record.Digest }

// Match gives the first rule that matches at the time of a request, or a refusal:
// an unknown person, resource or role, or no rule.
func (p *Policy) Match(person, resource, role string, at time.Time) (Match, error) {
	meaning, err := p.Meaning(person, resource, role)
	if err != nil {
		return Match{}, err
	}
	c := Concern{Requester: person, Resource: resource, At: at}
	for _, i := range p.about(resource, role) {
		if r := p.rules[i]; p.Is(person, r.Requesters, c) {
			return Match{Rule: r.Rule, rule: r, Meaning: meaning, Basis: Basis{Rule: r.digest, Meaning: p.digestOfMeaning(meaning, resource, role)}}, nil
		}
	}
	return Match{}, &Refusal{Code: NoRule,
		Message: fmt.Sprintf("no rule lets %s ask for %s:%s", person, resource, role),
		Hint:    "run: jit resources, to see what you may ask for"}
}

// Misses says why a rule does not match, as the key that does not: resources,
// roles, labels or requesters; empty where it matches.
func (p *Policy) Misses(r *Rule, person, resource, role string, at time.Time) string {
	if misses := p.missesEntitlement(r, resource, role); misses != "" {
		return misses
	}
	if !p.Is(person, r.Requesters, Concern{Requester: person, Resource: resource, At: at}) {
		return "requesters"
	}
	return ""
}

func (p *Policy) labelled(r *Rule, resource string) bool {
	if len(r.Labels) == 0 {
		return true
	}
	has := p.doc.Resources[resource].Labels
	for name, glob := range r.Labels {
		if value, ok := has[name]; !ok || !matchGlob(glob, value) {
			return false
		}
	}
	return true
}

// PendingFor gives how long a request under the rule waits for its decision.
func (m Match) PendingFor() time.Duration {
	if m.Rule.Pending.IsZero() {
		return DefaultPending
	}
	return m.Rule.Pending.Duration
}

// CheckTexts judges the reason and the ticket of a request.
func (m Match) CheckTexts(reason, ticket string) error {
	if err := m.CheckReason(reason); err != nil {
		return err
	}
	return m.CheckTicket(ticket)
}

// CheckReason judges the reason of a request.
func (m Match) CheckReason(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return m.refuse(ReasonMissing, "add: -r REASON", "a request needs a reason")
	}
	if !m.looks(m.rule.reason, reason) {
		return m.refuse(ReasonPattern, "write a reason that matches it", "rule %q wants a reason that matches %s", m.Rule.Name, m.Rule.Requires.Reason)
	}
	return nil
}

// CheckTicket judges the ticket of a request.
func (m Match) CheckTicket(ticket string) error {
	if !m.looks(m.rule.ticket, ticket) {
		return m.refuse(TicketPattern, "add: --ticket TICKET", "rule %q wants a ticket that matches %s", m.Rule.Name, m.Rule.Requires.Ticket)
	}
	return nil
}

func (m Match) refuse(code Code, hint, format string, args ...any) error {
	return &Refusal{Code: code, Rule: m.Rule.Name, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// DefaultAhead is how far ahead a start may lie where the rule does not say.
const DefaultAhead = 30 * 24 * time.Hour

// AheadFor gives how far ahead a start may lie under the rule.
func (m Match) AheadFor() time.Duration {
	if m.Rule.MaxAhead.IsZero() {
		return DefaultAhead
	}
	return m.Rule.MaxAhead.Duration
}

// CheckAsked judges the time at which a request is made.
func (m Match) CheckAsked(at time.Time) error {
	if m.rule.ask == nil || m.rule.ask.Contains(at) {
		return nil
	}
	why := "one asks " + m.rule.ask.Describe()
	if f, frozen := m.rule.ask.Frozen(at); frozen {
		why = "nothing is asked for from " + f.From + " to " + f.Until
		if f.Reason != "" {
			why += ": " + f.Reason
		}
	}
	hint := "ask an admin; the schedule never opens"
	if next, ok := m.rule.ask.Open(at); ok {
		hint = "ask again after " + next.UTC().Format(time.RFC3339)
	}
	return &Refusal{Code: OutsideHours, Rule: m.Rule.Name, Hint: hint,
		Message: fmt.Sprintf("rule %q keeps hours: %s", m.Rule.Name, why)}
}

// Use is when access under the rule is open; nil for always.
func (m Match) Use() *Calendar { return m.rule.use }

// ConflictsOf gives the conflicts that name an entitlement.
func (p *Policy) ConflictsOf(resource, role string) []Conflict {
	var all []Conflict
	for _, x := range p.doc.Conflicts {
		if len(x.Items(resource, role)) > 0 {
			all = append(all, x)
		}
	}
	return all
}

// Items gives which of the conflict's items mean an entitlement, counted from 0.
func (x Conflict) Items(resource, role string) []int {
	var items []int
	for i, e := range x.Between {
		r, o, _ := strings.Cut(e, ":")
		if matchGlob(r, resource) && matchGlob(o, role) {
			items = append(items, i)
		}
	}
	return items
}

package request

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// Before is what the history held when a request was made.
type Before struct {
	// Past is nil where no rule asked for it.
	Past *policy.Past `json:",omitempty"`
	// Base is nil where nothing is extended.
	Base *Base `json:",omitempty"`
	// Locked are the people who can decide nothing there, since they are locked: for
	// [Request.Allowed], and not kept.
	Locked []string `json:"-"`
}

// Allowed judges the request by a policy: everything that can be said before
// anybody decides. The error is a [policy.Refusal].
func (r Request) Allowed(p *policy.Policy, b Before) error {
	if err := r.Fits(p, b); err != nil {
		return err
	}
	if err := r.everOpens(p, len(r.Grants)); err != nil {
		return err
	}
	for _, g := range r.Grants {
		m, err := p.Match(r.By, g.Resource, g.Role, r.Created.Time)
		if err != nil {
			return err
		}
		if err := approvable(p, m, r.By, g, r.Created.Time, r.Emergency, b.Locked); err != nil {
			return err
		}
	}
	return nil
}

// everOpens refuses what could never open, since the hours of the rules have none
// in common. It looks at the first few of the entitlements. An emergency keeps no
// hours.
func (r Request) everOpens(p *policy.Policy, few int) error {
	if r.Emergency {
		return nil
	}
	at := r.Created.Time
	if r.Start != nil {
		at = r.Start.Time
	}
	var together []*policy.Calendar
	check := func(rule string, hours []*policy.Calendar) error {
		if _, _, ok := policy.Within(hours, at); ok {
			return nil
		}
		return &policy.Refusal{Code: policy.NeverOpen, Rule: rule, Hint: "ask for each by itself, or ask an admin to change the hours",
			Message: "the hours in which it may be used never come"}
	}
	for _, g := range r.Grants[:few] {
		m, err := p.Match(r.By, g.Resource, g.Role, r.Created.Time)
		if err != nil || m.Use() == nil {
			continue
		}
		if m.Rule.Partial {
			if err := check(m.Rule.Name, []*policy.Calendar{m.Use()}); err != nil {
				return err
			}
			continue
		}
		together = append(together, m.Use())
		if err := check(m.Rule.Name, together); err != nil {
			return err
		}
	}
	return nil
}

// MayAsk says whether a person may ask for an entitlement at all, leaving open
// what the request would say, and when.
func MayAsk(p *policy.Policy, person string, g Grant, at time.Time) (policy.Match, error) {
	m, err := p.Match(person, g.Resource, g.Role, at)
	if err != nil {
		return m, err
	}
	f := newTable(p, Request{}).fit(Before{}, g, m)
	if err := f.kind(); err != nil {
		return m, err
	}
	return m, approvable(p, m, person, g, at, false, nil)
}

// approvable refuses what nobody could approve who is not locked. An emergency is
// refused where nobody could acknowledge it, locked or not: else whoever locks those who
// look at it afterwards would bar it.
func approvable(p *policy.Policy, m policy.Match, person string, g Grant, at time.Time, emergency bool, locked []string) error {
	stages := m.Rule.Stages
	if emergency {
		stages, locked = []policy.Stage{{Approvers: m.Rule.Acknowledgers(), Count: 1}}, nil
	}
	c := policy.Concern{Requester: person, Resource: g.Resource, At: at}
	stage, missing := Unfillable(p, m.Rule, stages, c, locked...)
	if missing == 0 {
		return nil
	}
	if len(locked) > 0 {
		lacks := missing
		if _, missing = Unfillable(p, m.Rule, stages, c); missing == 0 {
			return &policy.Refusal{Code: policy.NobodyCanApprove, Rule: m.Rule.Name, Hint: "the admins can lift a lock, or name others; see: jit status",
				Message: fmt.Sprintf("nobody could approve %s now: stage %d of rule %q lacks %d, for some of those who could are locked", g, stage, m.Rule.Name, lacks)}
		}
	}
	if emergency {
		return &policy.Refusal{Code: policy.NobodyCanApprove, Rule: m.Rule.Name, Hint: "ask an admin to add acknowledgers to the rule",
			Message: fmt.Sprintf("nobody could acknowledge an emergency of %s: rule %q names nobody else", person, m.Rule.Name)}
	}
	return &policy.Refusal{Code: policy.NobodyCanApprove, Rule: m.Rule.Name, Hint: "ask an admin to add approvers to the rule",
		Message: fmt.Sprintf("nobody could approve %s: stage %d of rule %q lacks %d who are not %s", g, stage, m.Rule.Name, missing, person)}
}

// Fits judges the request by the rules of a policy, and leaves open whether
// there are enough people to approve it: that is no question any more once some
// have. The error is a [policy.Refusal].
func (r Request) Fits(p *policy.Policy, b Before) error { return r.PartFits(p, b, r.Grants) }

// PartFits is Fits for some of the entitlements, which are decided apart from the
// others: each is judged as a part of all that is asked for.
func (r Request) PartFits(p *policy.Policy, b Before, part []Grant) error {
	return newTable(p, r).judge(b, part)
}

// judge judges some entitlements of the table's request.
func (t *table) judge(b Before, part []Grant) error {
	for _, g := range part {
		m, err := t.match(g)
		if err != nil {
			return err
		}
		f := t.fit(b, g, m)
		for _, s := range steps {
			if err := s.judge(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// NeedsPast reports whether a rule of p, or a conflict, asks for what the history
// held when the request was made, and what of it none asks for.
func (r Request) NeedsPast(p *policy.Policy) (needed bool, unread policy.Unread) {
	unread = policy.Unread{Recent: true, Last: true, InRole: true}
	for _, g := range r.Grants {
		m, err := p.Match(r.By, g.Resource, g.Role, r.Created.Time)
		if err != nil {
			continue
		}
		rule := m.Rule
		if rule.MaxOpen > 0 || rule.MaxOpenPerRole > 0 || !rule.CoolingOff.IsZero() || len(rule.Conditions) > 0 ||
			r.Emergency && rule.Emergency != nil && !rule.Emergency.Repeat || len(p.ConflictsOf(g.Resource, g.Role)) > 0 {
			needed = true
		}
		unread.Recent = unread.Recent && len(rule.Conditions) == 0
		unread.Last = unread.Last && rule.CoolingOff.IsZero()
		unread.InRole = unread.InRole && rule.MaxOpenPerRole == 0
	}
	return needed, unread
}

// table keeps what the judging of one entitlement has found for that of the next: the
// rules of all that the requester asks for or holds, and what patterns found in the texts.
type table struct {
	p      *policy.Policy
	r      Request
	known  map[Grant]matched
	items  map[side][]int
	looked policy.Looked
}

// side is a conflict and an entitlement that may be of it.
type side struct {
	conflict string
	g        Grant
}

// itemsOf gives which items of a conflict mean an entitlement.
func (t *table) itemsOf(x policy.Conflict, g Grant) []int {
	items, known := t.items[side{x.Name, g}]
	if !known {
		items = x.Items(g.Resource, g.Role)
		t.items[side{x.Name, g}] = items
	}
	return items
}

func newTable(p *policy.Policy, r Request) *table {
	return &table{p: p, r: r, known: map[Grant]matched{}, items: map[side][]int{}}
}

// fit gives what judges an entitlement by its rule.
func (t *table) fit(b Before, g Grant, m policy.Match) fit {
	return fit{p: t.p, r: t.r, b: b, g: g, m: m, t: t}
}

type matched struct {
	m   policy.Match
	err error
}

// match gives the rule that decides about an entitlement for the requester.
func (t *table) match(g Grant) (policy.Match, error) {
	x, known := t.known[g]
	if !known {
		x.m, x.err = t.p.Match(t.r.By, g.Resource, g.Role, t.r.Created.Time)
		x.m = x.m.By(&t.looked)
		t.known[g] = x
	}
	return x.m, x.err
}

// fit is the judging of one entitlement of a request by its rule.
type fit struct {
	p *policy.Policy
	r Request
	b Before
	g Grant
	m policy.Match
	t *table
}

func (f fit) refuse(code policy.Code, hint, format string, args ...any) error {
	return &policy.Refusal{Code: code, Rule: f.m.Rule.Name, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// kind judges whether the rule gives anything, and an emergency where one is asked
// for.
func (f fit) kind() error {
	rule := f.m.Rule
	if rule.Approve == policy.ApproveDeny {
		return f.refuse(policy.RuleDenies, "", "rule %q denies %s: %s", rule.Name, f.g, rule.Message)
	}
	if !f.r.Emergency {
		return nil
	}
	c := policy.Concern{Requester: f.r.By, Resource: f.g.Resource, At: f.r.Created.Time}
	if rule.Emergency == nil || !f.p.Is(f.r.By, rule.Emergency.Requesters, c) {
		return f.refuse(policy.NoEmergency, "ask without --emergency", "rule %q gives %s no emergency access to %s", rule.Name, f.r.By, f.g)
	}
	return nil
}

// window judges how long, how far ahead, and how long to wait.
func (f fit) window() error {
	rule, longest := f.m.Rule, f.m.Rule.MaxDuration
	if f.r.Emergency {
		longest = rule.Emergency.MaxDuration
	}
	if f.r.Duration.Duration > longest.Duration {
		return f.refuse(policy.TooLong, "ask with: --for "+longest.String(),
			"%s is longer than rule %q allows for %s: at most %s", f.r.Duration, rule.Name, f.g, longest)
	}
	if s := f.r.Start; s != nil && s.Sub(f.r.Created.Time) > f.m.AheadFor() {
		return f.refuse(policy.TooFarAhead, "ask nearer to it", "rule %q lets access start at most %s ahead", rule.Name, record.Duration{Duration: f.m.AheadFor()})
	}
	if f.r.Expires.Sub(f.r.Created.Time) > f.m.PendingFor() {
		return f.refuse(policy.PendingTooLong, "let it lapse sooner",
			"rule %q lets a request wait for at most %s", rule.Name, record.Duration{Duration: f.m.PendingFor()})
	}
	return nil
}

func (f fit) texts() error {
	if err := f.m.CheckTexts(f.r.Reason, f.r.Ticket); err != nil {
		return err
	}
	return f.m.CheckInputs(f.inputs())
}

// inputs gives the request's inputs, less those that only another entitlement of
// the bundle is asked for by its rule.
func (f fit) inputs() map[string]string {
	if len(f.r.Inputs) == 0 {
		return nil
	}
	mine := f.m.Rule.Requires.Inputs
	values := maps.Clone(f.r.Inputs)
	for _, g := range f.r.Grants {
		m, err := f.t.match(g)
		if err != nil {
			continue // said where it is judged itself
		}
		maps.DeleteFunc(values, func(name, _ string) bool {
			_, ours := mine[name]
			_, theirs := m.Rule.Requires.Inputs[name]
			return theirs && !ours
		})
	}
	return values
}

// hours judges when one may ask. An emergency keeps no hours.
func (f fit) hours() error {
	if f.r.Emergency {
		return nil
	}
	return f.m.CheckAsked(f.r.Created.Time)
}

// limits judges what the person, and others, have open already. An extension opens
// nothing beside what it extends; whether others have what it would go on to take is
// judged with what is decided, by the ledger.
func (f fit) limits() error {
	rule, past := f.m.Rule, f.b.Past
	if f.r.Extends != "" {
		return nil
	}
	if past != nil && (past.Unread.InRole && rule.MaxOpenPerRole > 0 || past.Unread.Last && !rule.CoolingOff.IsZero()) {
		return f.pastUnknown()
	}
	if past == nil {
		if rule.MaxOpen > 0 || rule.MaxOpenPerRole > 0 || !rule.CoolingOff.IsZero() || f.r.Emergency && !rule.Emergency.Repeat {
			return f.pastUnknown()
		}
		return nil
	}
	if f.r.Emergency && !rule.Emergency.Repeat && len(past.Debts) > 0 {
		return f.refuse(policy.EmergencyUnpaid, "an approver can run: jit ack "+past.Debts[0].Short(),
			"emergency %s of %s is not acknowledged, and rule %q allows no other before it is", past.Debts[0].Short(), f.r.By, rule.Name)
	}
	if n := f.openUnder(rule.Name); rule.MaxOpen > 0 && n >= rule.MaxOpen {
		return f.refuse(policy.TooManyOpen, "drop one: jit cancel ID, or wait until one has ended",
			"%s has %d requests open or waiting under rule %q, which allows %d", f.r.By, n, rule.Name, rule.MaxOpen)
	}
	if n := past.InRole[f.g.String()]; rule.MaxOpenPerRole > 0 && n >= rule.MaxOpenPerRole {
		return f.refuse(policy.TooManyInRole, "wait until one has ended; see: jit list",
			"%d requests for %s are open or waiting, and rule %q allows %d", n, f.g, rule.Name, rule.MaxOpenPerRole)
	}
	if rule.CoolingOff.IsZero() {
		return nil
	}
	return f.coolingOff()
}

// coolingOff judges whether enough time has passed since the person had the same
// last. What is open or scheduled has an end too, and what waits may open at any
// time.
func (f fit) coolingOff() error {
	rule, past := f.m.Rule, f.b.Past
	same := func(h policy.Held) bool { return h.Resource == f.g.Resource && h.Role == f.g.Role }
	for _, h := range past.Open {
		if same(h) && h.Since.IsZero() {
			return f.refuse(policy.CoolingOff, "take it back first: jit cancel "+h.Request.Short(),
				"request %s of %s for %s waits already, and rule %q wants %s between", h.Request.Short(), f.r.By, f.g, rule.Name, rule.CoolingOff)
		}
	}
	for _, h := range slices.Concat(past.Open, past.Recent, past.Last) {
		if !same(h) || h.Since.IsZero() {
			continue
		}
		if again := h.Until.Add(rule.CoolingOff.Duration); f.r.Created.Before(again) {
			return f.refuse(policy.CoolingOff, "ask again after "+again.UTC().Format(time.RFC3339),
				"access of %s to %s ends at %s, and rule %q wants %s between", f.r.By, f.g, h.Until.UTC().Format(time.RFC3339), rule.Name, rule.CoolingOff)
		}
	}
	return nil
}

// openUnder counts the requests that the person has open or waiting, and that this
// rule decides today.
func (f fit) openUnder(rule string) int {
	seen := map[record.ID]bool{}
	for _, h := range f.b.Past.Open {
		if m, err := f.t.match(Grant{Resource: h.Resource, Role: h.Role}); err == nil && m.Rule.Name == rule {
			seen[h.Request] = true
		}
	}
	return len(seen)
}

func (f fit) pastUnknown() error {
	return f.refuse(policy.PastUnknown, "ask again: jit request "+f.g.String(),
		"rule %q looks at what else is open, which was not asked for when request %s was made", f.m.Rule.Name, f.r.ID.Short())
}

// conflicts judges whether the person has, or asks for, two things of which nobody
// may have both.
func (f fit) conflicts() error {
	for _, x := range f.p.ConflictsOf(f.g.Resource, f.g.Role) {
		mine := f.t.itemsOf(x, f.g)
		clash := func(g Grant) bool {
			items := f.t.itemsOf(x, g)
			return len(items) > 0 && !slices.Equal(items, mine)
		}
		for _, g := range f.r.Grants {
			if clash(g) {
				return f.refuse(policy.ConflictingRoles, "ask for one of them", "%s and %s cannot be held at once (conflict %q)", f.g, g, x.Name)
			}
		}
		if f.b.Past == nil {
			return f.pastUnknown()
		}
		for _, h := range f.b.Past.Open {
			if clash(Grant{Resource: h.Resource, Role: h.Role}) {
				return f.refuse(policy.ConflictingRoles, "drop it first: jit cancel "+h.Request.Short(),
					"%s cannot be held at once with %s:%s of request %s (conflict %q)", f.g, h.Resource, h.Role, h.Request.Short(), x.Name)
			}
		}
	}
	return nil
}

func (f fit) conditions() error {
	if len(f.m.Rule.Conditions) == 0 {
		return nil
	}
	if f.b.Past == nil || f.b.Past.Unread.Recent {
		return f.pastUnknown()
	}
	return f.m.CheckConditions(f.r.Scene(f.g, *f.b.Past))
}

// Scene is the request for one entitlement, as conditions see it.
func (r Request) Scene(g Grant, past policy.Past) policy.Scene {
	s := policy.Scene{
		Requester: r.By, Resource: g.Resource, Role: g.Role, At: r.Created.Time, Duration: r.Duration.Duration,
		Reason: r.Reason, Ticket: strings.TrimSpace(r.Ticket), Inputs: r.Inputs, Emergency: r.Emergency, Extend: r.Extends != "",
		Open: past.Open, Recent: past.Recent,
	}
	if r.Start != nil {
		s.Start = &r.Start.Time
	}
	return s
}

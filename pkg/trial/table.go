// Package trial tries a policy before it counts: it runs tables of cases
// against it, explains what it says of one request, and tells what a new version
// changes in effect.
//
// It decides nothing by itself: every answer comes from the policy, request,
// revoke and approve packages, asked as the ledger asks them. It knows no clock,
// and reads no file. It imports only those, and the record package.
package trial

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// Table is a file of cases.
type Table struct {
	// Policy is the file of the policy's body, from where the table stands; empty
	// for the version in force.
	Policy string `yaml:"policy,omitempty"`
	// At is when the cases are asked that do not say.
	At    *Moment `yaml:"at,omitempty"`
	Cases []Case  `yaml:"cases"`
}

// Case is one request, what others do about it, and what must come of it.
type Case struct {
	Name string        `yaml:"name"`
	Who  string        `yaml:"who"`
	Asks []Entitlement `yaml:"asks"`
	// For is how long; an hour where it is left out.
	For record.Duration `yaml:"for,omitempty"`
	// At is when it is asked.
	At *Moment `yaml:"at,omitempty"`
	// Start, and every moment below, may be counted from At.
	Start *Moment `yaml:"start,omitempty"`
	// Reason is some text where it is left out.
	Reason    *string         `yaml:"reason,omitempty"`
	Ticket    string          `yaml:"ticket,omitempty"`
	Inputs    map[string]Text `yaml:"inputs,omitempty"`
	Emergency bool            `yaml:"emergency,omitempty"`
	// Holds is what people have, wait for, or had when it is asked. What has a window
	// was asked for when it opened, in whatever order it is written.
	Holds []Hold `yaml:"holds,omitempty"`
	// Decisions are in the order of their times.
	Decisions []Deed `yaml:"decisions,omitempty"`
	// Now is when it is looked at: after the last decision where it is left out.
	Now    *Moment `yaml:"now,omitempty"`
	Expect Expect  `yaml:"expect"`
}

// Hold is access that somebody has, waits for, or had.
type Hold struct {
	Who    string        `yaml:"who"`
	Grants []Entitlement `yaml:"grants"`
	// From and Until bound its window; without them it waits for a decision.
	From  *Moment `yaml:"from,omitempty"`
	Until *Moment `yaml:"until,omitempty"`
	// Unacknowledged says that it is an emergency at which nobody has looked.
	Unacknowledged bool `yaml:"unacknowledged,omitempty"`
}

// The values of Deed.Does.
const (
	DoesApprove     = "approve"
	DoesDeny        = "deny"
	DoesWithdraw    = "withdraw"
	DoesCancel      = "cancel"
	DoesRevoke      = "revoke"
	DoesAcknowledge = "acknowledge"
)

var deeds = []string{DoesApprove, DoesDeny, DoesWithdraw, DoesCancel, DoesRevoke, DoesAcknowledge}

// Deed is what somebody does about the request.
type Deed struct {
	By string `yaml:"by"`
	// Does is one of the words above; approve where it is left out.
	Does string `yaml:"does,omitempty"`
	// At is when, or After how long after it was asked; a minute after the one
	// before where both are left out.
	At    *Moment          `yaml:"at,omitempty"`
	After *record.Duration `yaml:"after,omitempty"`
	// For narrows the window.
	For record.Duration `yaml:"for,omitempty"`
	// As is for whom By acts.
	As string `yaml:"as,omitempty"`
	// Refused is the code of why it does not count. One that does not count
	// without this word fails the case.
	Refused policy.Code `yaml:"refused,omitempty"`
}

// Expect is what must come of a case. What is left out is not looked at.
type Expect struct {
	// State is one of [approve.States].
	State string `yaml:"state,omitempty"`
	// Refused is the code for which it is refused when it is asked.
	Refused policy.Code `yaml:"refused,omitempty"`
	// Rule is the rule that decides, or refuses; several are joined by ", ".
	Rule   string  `yaml:"rule,omitempty"`
	Opens  *Moment `yaml:"opens,omitempty"`
	Ends   *Moment `yaml:"ends,omitempty"`
	Lapses *Moment `yaml:"lapses,omitempty"`
	// Closed is when it ended, where it did.
	Closed *Moment `yaml:"closed,omitempty"`
	// Needs is who can give the next approval. An empty list is nobody.
	Needs []string `yaml:"needs,omitempty"`
	// Escalates is when further people may decide next, and who.
	Escalates *Escalates `yaml:"escalates,omitempty"`
	// Acknowledge is until when somebody must look at an emergency, and Overdue
	// whether that is past.
	Acknowledge *Moment `yaml:"acknowledge,omitempty"`
	Overdue     *bool   `yaml:"overdue,omitempty"`
	// Grants are the states of parts of a bundle, by entitlement.
	Grants map[string]string `yaml:"grants,omitempty"`
	// Message is a part of the refusal's, and Warning of one of the warnings.
	Message string `yaml:"message,omitempty"`
	Warning string `yaml:"warning,omitempty"`
}

// Escalates is a step of escalation that is due.
type Escalates struct {
	At Moment   `yaml:"at"`
	To []string `yaml:"to,omitempty"`
}

// Text is a value, in quotes or not.
type Text string

// UnmarshalYAML takes any scalar as it is written.
func (t *Text) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: one value is needed", n.Line)
	}
	*t = Text(n.Value)
	return nil
}

// Entitlement is RESOURCE:ROLE.
type Entitlement struct{ request.Grant }

// UnmarshalYAML reads RESOURCE:ROLE.
func (e *Entitlement) UnmarshalYAML(n *yaml.Node) (err error) {
	if n.Kind != yaml.ScalarNode {
		return fmt.Errorf("line %d: write RESOURCE:ROLE", n.Line)
	}
	if e.Grant, err = request.ParseGrant(n.Value); err != nil {
		return fmt.Errorf("line %d: %w", n.Line, err)
	}
	return nil
}

// Moment is a time, or a span that is counted from when the case is asked: 10m,
// -2h, 0m.
type Moment struct {
	at    time.Time
	after time.Duration
}

// UnmarshalYAML reads RFC 3339 in any zone, or a duration with or without a sign.
func (m *Moment) UnmarshalYAML(n *yaml.Node) error {
	bad := fmt.Errorf("line %d: %q is neither a time like 2026-11-24T09:00:00Z nor a span like 10m or -2h", n.Line, n.Value)
	if n.Kind != yaml.ScalarNode {
		return bad
	}
	if t, err := time.Parse(time.RFC3339, n.Value); err == nil {
		m.at = t.UTC()
		return nil
	}
	text, minus := strings.CutPrefix(strings.TrimPrefix(n.Value, "+"), "-")
	if text == "0m" || text == "0" {
		return nil
	}
	d, err := record.ParseDuration(text)
	if err != nil {
		return bad
	}
	if m.after = d.Duration; minus {
		m.after = -d.Duration
	}
	return nil
}

// from gives the moment, where a case is asked at a time.
func (m *Moment) from(at time.Time) time.Time {
	if m.at.IsZero() {
		return at.Add(m.after)
	}
	return m.at
}

// Parse reads a table strictly. The error is a record.Refusal that says where, or
// names the case.
func Parse(data []byte) (Table, error) {
	var t Table
	if err := record.DecodeStrict(data, &t); err != nil {
		return t, err
	}
	if len(t.Cases) == 0 {
		return t, fmt.Errorf("there are no cases")
	}
	seen := map[string]bool{}
	for i, c := range t.Cases {
		if c.Name == "" {
			return t, fmt.Errorf("cases[%d] has no name", i)
		}
		if seen[c.Name] {
			return t, fmt.Errorf("two cases are named %q", c.Name)
		}
		seen[c.Name] = true
		if err := t.check(c); err != nil {
			return t, fmt.Errorf("case %q: %w", c.Name, err)
		}
	}
	return t, nil
}

// check says what makes no sense of a case, whatever the policy.
func (t Table) check(c Case) error {
	switch {
	case c.Who == "":
		return fmt.Errorf("who asks? add: who")
	case len(c.Asks) == 0:
		return fmt.Errorf("what is asked for? add: asks")
	case c.At == nil && t.At == nil:
		return fmt.Errorf("when is it asked? add: at")
	case (c.At == nil || c.At.at.IsZero()) && (t.At == nil || t.At.at.IsZero()):
		return fmt.Errorf("at is counted from the table's at, which is no time")
	case c.Expect.State == "" && c.Expect.Refused == "":
		return fmt.Errorf("what must come of it? add: expect: {state: …} or {refused: …}")
	case c.Expect.State != "" && c.Expect.Refused != "":
		return fmt.Errorf("what is refused has no state; keep one of them")
	case c.Expect.Refused != "" && len(c.Decisions) > 0:
		return fmt.Errorf("nobody decides about what is refused; leave out decisions")
	case c.Expect.Refused != "" && c.Now != nil:
		return fmt.Errorf("what is refused is looked at when it is asked; leave out now")
	}
	if err := c.Expect.together(); err != nil {
		return err
	}
	if err := isState(c.Expect.State); err != nil {
		return err
	}
	asked := c.asked(t)
	for e, state := range c.Expect.Grants {
		g, err := request.ParseGrant(e)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(c.Asks, func(a Entitlement) bool { return a.Grant == g }) {
			return fmt.Errorf("expect.grants: %s is not asked for", g)
		}
		if err := isState(state); err != nil {
			return err
		}
	}
	for i, h := range c.Holds {
		if h.Who == "" || len(h.Grants) == 0 {
			return fmt.Errorf("holds[%d]: who holds which grants?", i)
		}
		if (h.From == nil) != (h.Until == nil) {
			return fmt.Errorf("holds[%d]: from and until stand together, or neither does", i)
		}
		if h.From != nil && !h.Until.from(asked).After(h.From.from(asked)) {
			return fmt.Errorf("holds[%d]: until is not after from", i)
		}
	}
	last := asked
	for i, d := range c.Decisions {
		at := d.when(asked, last)
		switch {
		case d.By == "":
			return fmt.Errorf("decisions[%d]: who decides? add: by", i)
		case d.Does != "" && !slices.Contains(deeds, d.Does):
			return fmt.Errorf("decisions[%d]: nobody can %q; write %s", i, d.Does, strings.Join(deeds, ", "))
		case d.At != nil && d.After != nil:
			return fmt.Errorf("decisions[%d]: keep one of at and after", i)
		case at.Before(last):
			return fmt.Errorf("decisions[%d] comes before what stands above it; write them in the order of their times", i)
		}
		last = at
	}
	return nil
}

// together refuses what nobody would look at: of what is refused there is nothing but
// the rule and the message, and what is not has none.
func (e Expect) together() error {
	if e.Refused == "" {
		if e.Message != "" {
			return fmt.Errorf("expect: message is that of a refusal; write warning, or refused")
		}
		return nil
	}
	if e.Needs != nil { // an empty list says something too
		return fmt.Errorf("expect: what is refused has no needs; keep refused, rule and message")
	}
	e.Refused, e.Rule, e.Message = "", "", ""
	if keys, err := yaml.Marshal(e); err != nil || strings.TrimSpace(string(keys)) != "{}" {
		key, _, _ := strings.Cut(string(keys), ":")
		return fmt.Errorf("expect: what is refused has no %s; keep refused, rule and message", key)
	}
	return nil
}

func isState(s string) error {
	if s == "" || slices.Contains(approve.States, approve.State(s)) {
		return nil
	}
	var known []string
	for _, x := range approve.States {
		known = append(known, string(x))
	}
	return fmt.Errorf("%q is no state; write %s", s, strings.Join(known, ", "))
}

// asked gives when the case is asked.
func (c Case) asked(t Table) time.Time {
	var at time.Time
	if t.At != nil {
		at = t.At.at
	}
	if c.At != nil {
		at = c.At.from(at)
	}
	return at
}

// when gives when it is done, where the case was asked at one time, and the deed
// before came at another.
func (d Deed) when(asked, before time.Time) time.Time {
	switch {
	case d.At != nil:
		return d.At.from(asked)
	case d.After != nil:
		return asked.Add(d.After.Duration)
	}
	return before.Add(time.Minute)
}

// does is Does, or what it means to leave it out.
func (d Deed) does() string {
	if d.Does == "" {
		return DoesApprove
	}
	return d.Does
}

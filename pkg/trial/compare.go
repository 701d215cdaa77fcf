package trial

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
)

// Result is a case and whether it came out as it must.
type Result struct {
	Case
	Outcome
	// Failures say what was expected and what came; empty where all is well.
	Failures []string
}

// OK reports whether all came as it must.
func (r Result) OK() bool { return len(r.Failures) == 0 }

// RunAll plays every case under a policy.
func (t Table) RunAll(p *policy.Policy) ([]Result, error) {
	var all []Result
	for _, c := range t.Cases {
		o, err := t.Run(p, c)
		if err != nil {
			return all, fmt.Errorf("case %q: %w", c.Name, err)
		}
		all = append(all, Result{Case: c, Outcome: o, Failures: c.compare(o, c.asked(t))})
	}
	return all, nil
}

// compare says what of an outcome is not as the case expects it.
func (c Case) compare(o Outcome, asked time.Time) (failures []string) {
	fail := func(what, want, got string) {
		failures = append(failures, fmt.Sprintf("%s: expected %s, came %s", what, want, got))
	}
	same := func(what, want, got string) {
		if want != "" && want != got {
			fail(what, want, orNothing(got))
		}
	}
	e := c.Expect
	if o.Refusal != nil || e.Refused != "" {
		switch code := policy.CodeOf(o.Refusal); {
		case e.Refused == "":
			fail("refused", "it to be "+e.State, string(code)+": "+o.Refusal.Error())
		case o.Refusal == nil:
			fail("refused", string(e.Refused), "no refusal: it is "+string(o.Decision.State))
		case code != e.Refused:
			fail("refused", string(e.Refused), string(code)+": "+o.Refusal.Error())
		default:
			same("rule", e.Rule, ruleOf(o))
			if e.Message != "" && !strings.Contains(o.Refusal.Error(), e.Message) {
				fail("message", fmt.Sprintf("%q in it", e.Message), o.Refusal.Error())
			}
		}
		return failures
	}
	d := o.Decision
	same("state", e.State, string(d.State))
	same("rule", e.Rule, ruleOf(o))
	moment := func(what string, want *Moment, got time.Time) {
		if want != nil && !want.from(asked).Equal(got) {
			fail(what, timeText(want.from(asked)), timeText(got))
		}
	}
	moment("opens", e.Opens, d.Opens)
	moment("ends", e.Ends, d.Ends)
	moment("lapses", e.Lapses, d.Lapses)
	moment("closed", e.Closed, d.Closed)
	if e.Needs != nil {
		list("needs", e.Needs, Needs(d), fail)
	}
	if e.Escalates != nil {
		next := escalation(d)
		if next == nil {
			fail("escalates", timeText(e.Escalates.At.from(asked)), "never")
		} else {
			moment("escalates.at", &e.Escalates.At, next.At)
			if e.Escalates.To != nil {
				list("escalates.to", e.Escalates.To, next.To, fail)
			}
		}
	}
	c.compareDebt(d, o.Now, moment, fail)
	for _, name := range slices.Sorted(maps.Keys(e.Grants)) {
		for _, g := range d.Grants {
			if g.Grant.String() == name && string(g.State) != e.Grants[name] {
				fail(name, e.Grants[name], string(g.State))
			}
		}
	}
	if e.Warning != "" && !slices.ContainsFunc(d.Warnings, func(w string) bool { return strings.Contains(w, e.Warning) }) {
		fail("warning", fmt.Sprintf("one with %q", e.Warning), orNothing(strings.Join(d.Warnings, "; ")))
	}
	for _, x := range o.Deeds {
		if x.Why != x.Refused {
			fail(fmt.Sprintf("what %s does at %s (%s)", x.By, timeText(x.When), x.does()), countsText(x.Refused, ""), countsText(x.Why, x.Message))
		}
	}
	return failures
}

func (c Case) compareDebt(d approve.Decision, now time.Time, moment func(string, *Moment, time.Time), fail func(what, want, got string)) {
	var due time.Time
	if d.Debt != nil {
		due = d.Debt.Due
	}
	moment("acknowledge", c.Expect.Acknowledge, due)
	if want := c.Expect.Overdue; want != nil && *want != d.Debt.Overdue(now) {
		fail("overdue", fmt.Sprint(*want), fmt.Sprint(!*want))
	}
}

func list(what string, want, got []string, fail func(what, want, got string)) {
	want, got = slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))
	if !slices.Equal(want, got) {
		fail(what, nobody(want), nobody(got))
	}
}

func countsText(code policy.Code, message string) string {
	switch {
	case code == "":
		return "that it counts"
	case message == "":
		return "that it does not: " + string(code)
	}
	return "that it does not: " + string(code) + ": " + message
}

func nobody(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}

// ruleOf names the rules that decide or refuse.
func ruleOf(o Outcome) string {
	var r *policy.Refusal
	if o.Refusal != nil {
		if r, _ = o.Refusal.(*policy.Refusal); r != nil { //nolint:errorlint // Allowed gives no other kind, and wraps none
			return r.Rule
		}
		return ""
	}
	return strings.Join(Rules(o.Decision), ", ")
}

// Rules names the rules that decide, each once.
func Rules(d approve.Decision) []string {
	var names []string
	for _, g := range d.Grants {
		if g.Rule != "" && !slices.Contains(names, g.Rule) {
			names = append(names, g.Rule)
		}
	}
	return names
}

// escalation gives the first step that is due next.
func escalation(d approve.Decision) *approve.EscalationDue {
	var first *approve.EscalationDue
	for _, s := range current(d) {
		if s.Next != nil && (first == nil || s.Next.At.Before(first.At)) {
			first = s.Next
		}
	}
	return first
}

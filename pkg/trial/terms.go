package trial

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// terms are those under which people get an entitlement: by one rule.
type terms struct {
	// rule is nil where none matches.
	rule *policy.Rule
	// how says in a few words how it is decided.
	how string
	// lines are all terms by their name, in order.
	lines []line
	// approvers are those of each stage that do not depend on who asks.
	approvers []people
	// emergency says that the people may take it at once.
	emergency bool
}

// The terms that say who approves, and what is given at once.
const (
	termApproval  = "approval"
	termEmergency = "emergency"
)

// The terms that hold by default where a rule leaves them out.
const (
	termAhead   = "start ahead"
	termPending = "waits"
)

type line struct{ name, text string }

type people map[string]bool

// gives reports whether there is anything to ask for.
func (t *terms) gives() bool { return t.rule != nil && t.rule.Approve != policy.ApproveDeny }

// termsOf gives the terms of a rule; emergency says that the person is one of those
// whom it gives emergencies.
func termsOf(p *policy.Policy, r *policy.Rule, resource string, emergency bool, at time.Time) *terms {
	if r == nil {
		return &terms{how: "no rule"}
	}
	t := &terms{rule: r}
	add := func(name, text string) {
		if text != "" && text != "0s" && text != "0" {
			t.lines = append(t.lines, line{name, text})
		}
	}
	switch r.Approve {
	case policy.ApproveDeny:
		t.how = "denied: " + r.Message
		add("denied", r.Message)
		return t
	case policy.ApproveAuto:
		t.how = "automatic"
	default:
		var stages []string
		for _, s := range r.Stages {
			stages = append(stages, StageText(s))
			t.approvers = append(t.approvers, standing(p, s, resource, at))
		}
		t.how = strings.Join(stages, ", then ")
	}
	add(termApproval, t.how)
	add("longest", durationText(r.MaxDuration))
	add("longest in all", durationText(r.MaxTotal))
	add(termAhead, durationText(r.MaxAhead))
	add(termPending, durationText(r.Pending))
	add("open at once", fmt.Sprint(r.MaxOpen))
	add("open at once, all people", fmt.Sprint(r.MaxOpenPerRole))
	add("cooling-off", durationText(r.CoolingOff))
	add("reason", r.Requires.Reason)
	add("ticket", r.Requires.Ticket)
	for _, name := range slices.Sorted(maps.Keys(r.Requires.Inputs)) {
		add("input "+name, inputText(r.Requires.Inputs[name]))
	}
	add("asked during", scheduleText(p, r.AskDuring))
	add("used during", scheduleText(p, r.UseDuring))
	for _, c := range r.Conditions {
		add("condition", c.Expr+" ("+c.Message+")")
	}
	if e := r.Emergency; e != nil && emergency {
		text := durationText(e.MaxDuration) + " at once, to be acknowledged within " + durationText(e.Acknowledge)
		if len(e.Acknowledgers) > 0 {
			text += " by " + strings.Join(e.Acknowledgers, ", ")
		}
		if e.Repeat {
			text += ", again before that"
		}
		add(termEmergency, text)
		t.emergency = true
		t.how += ", or as an emergency " + durationText(e.MaxDuration) + " at once"
	}
	if r.Partial {
		add("bundle", "opens in part")
	}
	add("kept from approving", strings.Join(slices.Sorted(slices.Values(r.Exclude)), ", "))
	return t
}

func durationText(d record.Duration) string {
	if d.IsZero() {
		return ""
	}
	return d.String()
}

func inputText(i policy.Input) string {
	text := i.Type
	switch {
	case i.Pattern != "":
		text += " like " + i.Pattern
	case len(i.Choices) > 0:
		text += " of " + strings.Join(i.Choices, ", ")
	}
	if i.Min != nil {
		text += fmt.Sprintf(" from %d", *i.Min)
	}
	if i.Max != nil {
		text += fmt.Sprintf(" to %d", *i.Max)
	}
	if i.Optional {
		text += ", or none"
	}
	return text
}

// scheduleText writes a schedule by what it says, whatever its name.
func scheduleText(p *policy.Policy, name string) string {
	if name == "" {
		return ""
	}
	s := p.Document().Schedules[name]
	parts := []string{strings.Join(s.Days, " "), strings.Join(s.Hours, " "), s.Zone}
	for _, f := range s.Freeze {
		text := "not " + f.From + " to " + f.Until
		if f.Reason != "" {
			text += " (" + f.Reason + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ", ")
}

// QuorumText says who must approve: 2 of group:dba, manager.
func QuorumText(q policy.Quorum) string {
	return fmt.Sprintf("%d of %s", q.Count, strings.Join(q.Approvers, ", "))
}

// StageText says what a stage asks for, in a few words.
func StageText(s policy.Stage) string {
	var parts []string
	for _, q := range slices.Concat(s.AllOf, s.AnyOf) {
		parts = append(parts, QuorumText(q))
	}
	text := ""
	switch {
	case len(s.AllOf) > 0:
		text = strings.Join(parts, " and ")
	case len(s.AnyOf) > 0:
		text = "either " + strings.Join(parts, " or ")
	default:
		text = QuorumText(policy.Quorum{Approvers: s.Approvers, Count: s.Count})
	}
	for _, e := range s.Escalate {
		text += fmt.Sprintf(" (after %s also %s)", e.After, strings.Join(e.To, ", "))
	}
	if !s.Expire.IsZero() {
		text += fmt.Sprintf(" (within %s)", s.Expire)
	}
	return text
}

// standing gives the people who may decide a stage whoever asks. Those who depend
// on who asks are named by the stage's own words.
func standing(p *policy.Policy, s policy.Stage, resource string, at time.Time) people {
	who := people{}
	for _, name := range p.Members(s.Deciders(), policy.Concern{Resource: resource, At: at}) {
		who[name] = true
	}
	return who
}

// text gives what the terms say under a name.
func (t *terms) text(name string) string {
	var texts []string
	for _, l := range t.lines {
		if l.name == name {
			texts = append(texts, l.text)
		}
	}
	return strings.Join(texts, "; ")
}

// holds gives what holds under a name: what the terms say, or the default that a rule has
// which leaves it out.
func (t *terms) holds(name string) string {
	text := t.text(name)
	by, ok := map[string]time.Duration{termAhead: policy.DefaultAhead, termPending: policy.DefaultPending}[name]
	if !ok || !t.gives() {
		return text
	}
	if def := (record.Duration{Duration: by}).String(); text == "" || text == def {
		return def + " (the default)"
	}
	return text
}

// differs says in which terms new differs from old, one change each.
func (t *terms) differs(new *terms) []string {
	var all []string
	seen := map[string]bool{}
	for _, l := range slices.Concat(t.lines, new.lines) {
		if seen[l.name] {
			continue
		}
		seen[l.name] = true
		if was, is := t.holds(l.name), new.holds(l.name); was != is {
			all = append(all, l.name+": "+orNone(was)+" → "+orNone(is))
		}
	}
	for i := range min(len(t.approvers), len(new.approvers)) {
		if t.text(termApproval) != new.text(termApproval) {
			break // said already
		}
		if more, fewer := except(new.approvers[i], t.approvers[i]), except(t.approvers[i], new.approvers[i]); len(more)+len(fewer) > 0 {
			all = append(all, fmt.Sprintf("who approves in stage %d:%s%s", i+1, signed(" +", more), signed(" −", fewer)))
		}
	}
	return all
}

func except(a, b people) []string {
	var all []string
	for name := range a {
		if !b[name] {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// signed lists a few names, each with a sign.
func signed(sign string, names []string) string {
	text := ""
	for _, n := range names[:min(few, len(names))] {
		text += sign + n
	}
	if more := len(names) - few; more > 0 {
		text += fmt.Sprintf(" and%s%d more", sign, more)
	}
	return text
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func countText(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

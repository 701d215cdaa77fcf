package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/trial"
)

// explainView is what a policy says of a request, as JSON shows it.
type explainView struct {
	Who      string          `json:"who"`
	At       string          `json:"at"`
	Duration int64           `json:"duration"`
	Grants   []explainGrant  `json:"grants"`
	Refused  *explainRefusal `json:"refused"`
	Left     []string        `json:"left"`
	State    *string         `json:"state"`
	Needs    []string        `json:"needs"`
	Opens    *string         `json:"opens"`
	Ends     *string         `json:"ends"`
	Warnings []string        `json:"warnings"`
}

type explainGrant struct {
	Resource   string          `json:"resource"`
	Role       string          `json:"role"`
	Considered []explainRule   `json:"considered"`
	Rule       *string         `json:"rule"`
	Steps      []explainStep   `json:"steps"`
	Stages     []explainStage  `json:"stages"`
	Auto       bool            `json:"auto"`
	Driver     *string         `json:"driver"`
	Account    *string         `json:"account"`
	Refused    *explainRefusal `json:"refused"`
}

type explainRule struct {
	Rule   string  `json:"rule"`
	Misses *string `json:"misses"`
}

type explainStep struct {
	Step    string          `json:"step"`
	Outcome string          `json:"outcome"`
	Wants   *string         `json:"wants"`
	Refused *explainRefusal `json:"refused"`
}

type explainStage struct {
	Stage     int             `json:"stage"`
	Text      string          `json:"text"`
	Count     int             `json:"count"`
	Who       []string        `json:"who"`
	Escalates *escalationView `json:"escalates"`
}

type explainRefusal struct {
	Code    string  `json:"code"`
	Message string  `json:"message"`
	Hint    *string `json:"hint"`
	Rule    *string `json:"rule"`
}

var explainFields = []string{"who", "at", "duration", "grants", "refused", "left", "state", "needs", "opens", "ends", "warnings"}

// The outcomes of a step.
const (
	stepOK      = "ok"
	stepRefused = "refused"
	stepLeft    = "left" // for the person to say
)

func viewRefusal(err error) *explainRefusal {
	var r *policy.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		return &explainRefusal{string(r.Code), r.Message, orNull(r.Hint), orNull(r.Rule)}
	}
	return &explainRefusal{Message: err.Error()}
}

func viewExplanation(e trial.Explanation) explainView {
	r := e.Request
	v := explainView{Who: r.By, At: utc(r.Created.Time), Duration: int64(r.Duration.Seconds()), Grants: []explainGrant{}, Refused: viewRefusal(e.Refusal),
		Left: notNull(e.Left), State: orNull(string(e.Decision.State)), Needs: notNull(trial.Needs(e.Decision)), Warnings: notNull(e.Decision.Warnings)}
	if e.Agreed != nil {
		v.Opens, v.Ends = timeOrNull(e.Agreed.Opens), timeOrNull(e.Agreed.Ends)
	}
	for i, g := range e.Grants {
		x := explainGrant{Resource: g.Resource, Role: g.Role, Considered: []explainRule{}, Steps: []explainStep{}, Stages: []explainStage{}, Refused: viewRefusal(g.Refused())}
		for _, c := range g.Considered {
			x.Considered = append(x.Considered, explainRule{c.Rule.Name, orNull(c.Misses)})
		}
		if g.Rule != nil {
			x.Rule, x.Auto = orNull(g.Rule.Name), g.Rule.Approve == policy.ApproveAuto
			x.Driver, x.Account = orNull(g.Match.Meaning.Driver), orNull(g.Match.Meaning.Account)
		}
		for _, s := range g.Steps {
			step := explainStep{Step: s.Name, Outcome: outcomeOf(s), Wants: orNull(wants(g, r, s.Name))}
			if step.Outcome == stepRefused {
				step.Refused = viewRefusal(s.Err)
			}
			x.Steps = append(x.Steps, step)
		}
		for j, s := range stagesOf(e.Decision, i) {
			st := explainStage{Stage: j + 1, Text: trial.StageText(g.Rule.Stages[j]), Count: s.Count, Who: notNull(s.Who)}
			if s.Next != nil {
				st.Escalates = &escalationView{utc(s.Next.At), notNull(s.Next.To)}
			}
			x.Stages = append(x.Stages, st)
		}
		v.Grants = append(v.Grants, x)
	}
	return v
}

// stagesOf gives the stages of the i-th entitlement; none where it is refused.
func stagesOf(d approve.Decision, i int) []approve.StageDecision {
	if i >= len(d.Grants) {
		return nil
	}
	return d.Grants[i].Stages
}

func outcomeOf(s trial.Judged) string {
	switch {
	case s.Err == nil:
		return stepOK
	case s.Left:
		return stepLeft
	}
	return stepRefused
}

// wants says what the rule asks for in a step; empty for nothing.
func wants(g trial.Explained, r request.Request, step string) string {
	rule := g.Rule
	var parts []string
	add := func(is bool, format string, args ...any) {
		if is {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	switch step {
	case request.StepKind:
		add(rule.Approve == policy.ApproveAuto, "approves by itself")
		add(rule.Approve == policy.ApproveDeny, "denies")
		add(rule.Approve == "", "asks people")
		add(r.Emergency && rule.Emergency != nil, "gives emergencies")
	case request.StepWindow:
		longest := rule.MaxDuration
		if r.Emergency && rule.Emergency != nil {
			longest = rule.Emergency.MaxDuration
		}
		add(true, "at most %s", longest)
		add(r.Start != nil, "at most %s ahead", record.Duration{Duration: g.Match.AheadFor()})
	case request.StepTexts:
		add(true, "a reason")
		add(rule.Requires.Reason != "", "like %s", rule.Requires.Reason)
		add(rule.Requires.Ticket != "", "a ticket like %s", rule.Requires.Ticket)
		add(len(rule.Requires.Inputs) > 0, "inputs")
	case request.StepHours:
		add(rule.AskDuring != "" && !r.Emergency, "asked in the hours %q", rule.AskDuring)
	case request.StepLimits:
		add(rule.MaxOpen > 0, "%d at once", rule.MaxOpen)
		add(rule.MaxOpenPerRole > 0, "%d at once of all people", rule.MaxOpenPerRole)
		add(!rule.CoolingOff.IsZero(), "%s between two", rule.CoolingOff)
		add(r.Emergency && rule.Emergency != nil && !rule.Emergency.Repeat, "no emergency that waits to be acknowledged")
	case request.StepUse:
		add(rule.UseDuring != "" && !r.Emergency, "used in the hours %q", rule.UseDuring)
	case request.StepApprovers:
		add(len(rule.Stages) > 0 && !r.Emergency, "enough people can approve")
	case request.StepConditions:
		for _, c := range rule.Conditions {
			add(true, "%s", c.Expr)
		}
	}
	return strings.Join(parts, ", ")
}

// maxRules is the most rules that are all shown, where not all are asked for.
const maxRules = 30

// renderExplanation writes an explanation for a person. all shows every rule.
func (a *App) renderExplanation(w io.Writer, st *Style, e trial.Explanation, all bool) {
	r := e.Request
	kind := ""
	if r.Emergency {
		kind = " as an emergency"
	}
	fmt.Fprintf(w, "%s\n", st.Title(clean(fmt.Sprintf("%s asks for %s%s, for %s, at %s", r.By, grantsText(r.Grants), kind, r.Duration, a.FormatTime(r.Created.Time)))))
	for i, g := range e.Grants {
		if len(e.Grants) > 1 {
			fmt.Fprintf(w, "\n%s\n", st.Bold(clean(g.String())))
		}
		renderConsidered(w, st, g, all)
		if g.Rule == nil {
			fmt.Fprintf(w, "  %s %s\n", st.Bad("refused"), clean(g.Refusal.Error()))
			continue
		}
		a.renderSteps(w, st, g, r)
		a.renderStages(w, st, g, stagesOf(e.Decision, i))
	}
	fmt.Fprintln(w)
	var refusal *policy.Refusal
	if errors.As(e.Refusal, &refusal) {
		fmt.Fprintf(w, "%s (%s): %s\n", st.Bad("It would be refused"), refusal.Code, clean(refusal.Message))
		if refusal.Hint != "" {
			fmt.Fprintf(w, "  %s %s\n", st.Faint("hint:"), clean(refusal.Hint))
		}
		return
	}
	if len(e.Left) > 0 {
		fmt.Fprintf(w, "%s %s\n", st.Warn("Left to say:"), clean(strings.Join(e.Left, ", ")))
	}
	switch d := e.Decision; d.State {
	case approve.Pending:
		fmt.Fprintf(w, "It would wait for %s", listText(trial.Needs(d), "or"))
		if e.Agreed != nil {
			fmt.Fprintf(w, ".\nIf all agree at once it opens at %s and ends at %s.\n", a.FormatTime(e.Agreed.Opens), a.FormatTime(e.Agreed.Ends))
		} else {
			fmt.Fprintf(w, ", and lapse at %s.\n", a.FormatTime(d.Lapses))
		}
	default:
		fmt.Fprintf(w, "It would be %s: from %s to %s.\n", d.State, a.FormatTime(d.Opens), a.FormatTime(d.Ends))
	}
	if d := e.Decision.Debt; d != nil {
		fmt.Fprintf(w, "%s must acknowledge it by %s.\n", listText(d.Who, "or"), a.FormatTime(d.Due))
	}
	for _, warning := range e.Decision.Warnings {
		fmt.Fprintf(w, "%s %s\n", st.Warn("warning:"), clean(warning))
	}
}

// renderConsidered writes the rules from the top. Where there are very many, those
// that are about other resources or roles are counted.
func renderConsidered(w io.Writer, st *Style, g trial.Explained, all bool) {
	fmt.Fprintln(w, "  rules, from the top")
	far := 0
	flush := func() {
		if far > 0 {
			fmt.Fprintf(w, "    %s\n", st.Faint("… "+count(far, "rule")+" about other resources or roles"))
		}
		far = 0
	}
	for i, c := range g.Considered {
		if !all && len(g.Considered) > maxRules && (c.Misses == "resources" || c.Misses == "roles") {
			far++
			continue
		}
		flush()
		word := st.Faint("no, its " + c.Misses + " do not match")
		if c.Misses == "" {
			word = st.Good("decides")
		}
		fmt.Fprintf(w, "    %3d  %-28s %s\n", i+1, clean(c.Rule.Name), word)
	}
	flush()
}

func (a *App) renderSteps(w io.Writer, st *Style, g trial.Explained, r request.Request) {
	fmt.Fprintf(w, "  judged by %q\n", g.Rule.Name)
	for _, s := range g.Steps {
		word, text := st.Good(stepOK+"     "), wants(g, r, s.Name)
		if s.Err == nil && text == "" {
			continue // nothing is asked for
		}
		switch outcomeOf(s) {
		case stepRefused:
			word, text = st.Bad(stepRefused), s.Err.Error()
		case stepLeft:
			word = st.Warn(stepLeft + "   ")
		}
		fmt.Fprintf(w, "    %s  %-10s %s\n", word, s.Name, clean(text))
	}
}

func (a *App) renderStages(w io.Writer, st *Style, g trial.Explained, stages []approve.StageDecision) {
	if len(stages) == 0 {
		return
	}
	fmt.Fprintln(w, "  stages")
	for j, s := range stages {
		fmt.Fprintf(w, "    %3d  %s\n", j+1, clean(trial.StageText(g.Rule.Stages[j])))
		fmt.Fprintf(w, "         %s %s\n", st.Faint("can approve:"), clean(manyText(s.Who)))
		if s.Next != nil {
			fmt.Fprintf(w, "         %s %s\n", st.Faint("from "+a.FormatTime(s.Next.At)+" also:"), clean(manyText(s.Next.To)))
		}
		if !s.Expires.IsZero() {
			fmt.Fprintf(w, "         %s %s\n", st.Faint("until:"), a.FormatTime(s.Expires))
		}
	}
}

// manyText lists names, of very many the first.
func manyText(names []string) string {
	const most = 20
	if more := len(names) - most; more > 0 {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return listText(names, "or")
}

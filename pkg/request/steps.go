package request

import (
	"slices"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// The steps by which one entitlement of a request is judged by its rule, in
// their order.
const (
	StepKind       = "kind"       // whether the rule gives anything, and an emergency
	StepWindow     = "window"     // how long, how far ahead, how long to wait
	StepTexts      = "texts"      // the reason and the ticket
	StepHours      = "hours"      // when one may ask
	StepExtension  = "extension"  // what is prolonged
	StepLimits     = "limits"     // what is open already
	StepConflicts  = "conflicts"  // what nobody may have both of
	StepConditions = "conditions" // what else the rule wants to be true
	StepUse        = "use"        // whether the hours in which it may be used ever come
	StepApprovers  = "approvers"  // whether there are enough people to approve
)

// steps are those of [Request.Fits].
var steps = []struct {
	name  string
	judge func(fit) error
}{
	{StepKind, fit.kind}, {StepWindow, fit.window}, {StepTexts, fit.texts}, {StepHours, fit.hours}, {StepExtension, fit.extension},
	{StepLimits, fit.limits}, {StepConflicts, fit.conflicts}, {StepConditions, fit.conditions},
}

// Step is what one step of the judging came to; Err is a [policy.Refusal].
type Step struct {
	Name string
	Err  error
}

// Judged judges one entitlement of the request by its rule, as
// [Request.Allowed] does, and says what each step came to. Past a refusal the
// judging goes on, so that a person learns of all at once, but for the first
// step: where the rule gives nothing, nothing else matters.
func (r Request) Judged(p *policy.Policy, b Before, g Grant) (policy.Match, []Step, error) {
	t := newTable(p, r)
	m, err := t.match(g)
	if err != nil {
		return m, nil, err
	}
	f := t.fit(b, g, m)
	var all []Step
	for _, s := range steps {
		all = append(all, Step{s.name, s.judge(f)})
		if all[0].Err != nil {
			return m, all, nil //nolint:nilerr // the refusal is in the step
		}
	}
	all = append(all, Step{StepUse, r.everOpens(p, slices.Index(r.Grants, g)+1)})
	return m, append(all, Step{StepApprovers, approvable(p, m, r.By, g, r.Created.Time, r.Emergency, b.Locked)}), nil
}

// Lapse gives when the request lapses undecided where it says nothing else: as
// late as every rule lets it wait.
func (r Request) Lapse(p *policy.Policy) record.Timestamp {
	wait := policy.DefaultPending
	for i, g := range r.Grants {
		m, err := p.Match(r.By, g.Resource, g.Role, r.Created.Time)
		if err != nil {
			continue // Allowed says it
		}
		if i == 0 || m.PendingFor() < wait {
			wait = m.PendingFor()
		}
	}
	return record.At(r.Created.Add(wait))
}

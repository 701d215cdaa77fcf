package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/record"
)

func (c *checker) rules() {
	if len(c.body.Rules) == 0 {
		c.add(ProblemNoRules, "rules", "write at least one rule", "there are no rules, so nobody could ever ask for anything")
	}
	seen := map[string]bool{}
	for i, r := range c.body.Rules {
		at := fmt.Sprintf("rules[%d]", i)
		c.name(at+".name", "rule's", r.Name)
		if seen[r.Name] {
			c.add(ProblemTwice, at+".name", "names of rules are shown to people; make them differ", "two rules are named %+q", r.Name)
		}
		seen[r.Name] = true
		c.globs(at+".resources", r.Resources)
		c.globs(at+".roles", r.Roles)
		for _, label := range slices.Sorted(maps.Keys(r.Labels)) {
			c.globs(at+".labels."+label, []string{r.Labels[label]})
		}
		c.principals(at+".requesters", r.Requesters, false)
		if r.Approve == ApproveDeny {
			c.denies(at, r)
			continue
		}
		c.asks(i, at, r)
		c.limits(at, r)
		c.pattern(at+".requires.reason", r.Requires.Reason)
		c.pattern(at+".requires.ticket", r.Requires.Ticket)
		c.schedule(at+".askDuring", r.AskDuring)
		c.schedule(at+".useDuring", r.UseDuring)
		c.approval(at, r)
		c.emergency(at+".emergency", r)
	}
}

// denies checks a rule that refuses: all it has beside whom and what it matches is a
// message. Nothing else of it is looked at.
func (c *checker) denies(at string, r Rule) {
	if strings.TrimSpace(r.Message) == "" {
		c.add(ProblemDeny, at+".message", "say why, and what to do instead", "people are denied without a word")
	}
	if terms := r.terms(); len(terms) > 0 {
		c.add(ProblemDeny, at, "leave out "+inWords(terms), "the rule denies whatever a request says, and has terms for what it does not give")
	}
}

// terms gives the keys of a rule that say how it gives something.
func (r Rule) terms() []string {
	var keys []string
	for _, term := range []struct {
		key   string
		there bool
	}{
		{"maxDuration", !r.MaxDuration.IsZero()}, {"maxTotal", !r.MaxTotal.IsZero()}, {"maxAhead", !r.MaxAhead.IsZero()},
		{"maxOpen", r.MaxOpen != 0}, {"maxOpenPerRole", r.MaxOpenPerRole != 0}, {"coolingOff", !r.CoolingOff.IsZero()}, {"pending", !r.Pending.IsZero()},
		{"requires", r.Requires.Reason != "" || r.Requires.Ticket != "" || len(r.Requires.Inputs) > 0},
		{"askDuring", r.AskDuring != ""}, {"useDuring", r.UseDuring != ""}, {"conditions", len(r.Conditions) > 0},
		{"emergency", r.Emergency != nil}, {"partial", r.Partial}, {"exclude", len(r.Exclude) > 0}, {"stages", len(r.Stages) > 0},
	} {
		if term.there {
			keys = append(keys, term.key)
		}
	}
	return keys
}

func (c *checker) limits(at string, r Rule) {
	if r.Message != "" {
		c.add(ProblemDeny, at+".message", "conditions have messages of their own", "only a rule that denies has a message")
	}
	switch {
	case r.MaxDuration.Duration <= 0:
		c.add(ProblemNoLimit, at+".maxDuration", "write the longest window, like 4h", "the rule does not say for how long")
	case !r.MaxTotal.IsZero() && r.MaxTotal.Duration < r.MaxDuration.Duration:
		c.add(ProblemLimit, at+".maxTotal", "write more than maxDuration", "%s in all is less than one window of %s", r.MaxTotal, r.MaxDuration)
	}
	if r.Pending.Duration > MaxPending {
		c.add(ProblemTooLong, at+".pending", "at most 90d", "a request may not wait for %s", r.Pending)
	}
	if r.MaxAhead.Duration > MaxPending {
		c.add(ProblemTooLong, at+".maxAhead", "at most 90d", "a start may not lie %s ahead", r.MaxAhead)
	}
	if r.CoolingOff.Duration > MaxCoolingOff {
		c.add(ProblemTooLong, at+".coolingOff", "at most 90d", "%s is too long to remember", r.CoolingOff)
	}
	for _, most := range []struct {
		key string
		n   int
	}{{"maxOpen", r.MaxOpen}, {"maxOpenPerRole", r.MaxOpenPerRole}} {
		if most.n < 0 {
			c.add(ProblemLimit, at+"."+most.key, "leave it out for no limit", "%d is no number of requests", most.n)
		}
	}
}

func (c *checker) schedule(at, name string) {
	if _, ok := c.body.Schedules[name]; name != "" && !ok {
		c.add(ProblemNoSchedule, at, guess(c, name, c.body.Schedules), "there is no schedule %+q", name)
	}
}

func (c *checker) approval(at string, r Rule) {
	switch {
	case r.Approve != "" && r.Approve != ApproveAuto:
		c.add(ProblemApproval, at+".approve", "write auto or deny, or leave it out and write stages", "%+q is not a way to approve", r.Approve)
	case r.Approve == ApproveAuto && len(r.Stages) > 0:
		c.add(ProblemApproval, at+".stages", "keep one of them", "the rule approves by itself and has stages too")
	case r.Approve == "" && len(r.Stages) == 0:
		c.add(ProblemApproval, at, "write stages, or approve: auto", "the rule does not say who approves")
	}
	for i, x := range r.Exclude {
		if x != ExcludeReports && x != ExcludeManagers && x != ExcludeDelegates {
			c.add(ProblemValue, fmt.Sprintf("%s.exclude[%d]", at, i), "write reports, managers or delegates", "%+q is nobody to exclude", x)
		}
	}
	for j, s := range r.Stages {
		c.stage(fmt.Sprintf("%s.stages[%d]", at, j), s)
	}
}

func (c *checker) stage(at string, s Stage) {
	forms := 0
	for _, there := range []bool{len(s.Approvers) > 0 || s.Count != 0, len(s.AllOf) > 0, len(s.AnyOf) > 0} {
		if there {
			forms++
		}
	}
	if forms > 1 {
		c.add(ProblemStage, at, "keep one of them", "the stage has more than one of approvers, allOf and anyOf")
	}
	if len(s.AllOf) == 0 && len(s.AnyOf) == 0 {
		c.quorum(at, Quorum{Approvers: s.Approvers, Count: s.Count})
	}
	for i, q := range s.AllOf {
		c.quorum(fmt.Sprintf("%s.allOf[%d]", at, i), q)
	}
	for i, q := range s.AnyOf {
		c.quorum(fmt.Sprintf("%s.anyOf[%d]", at, i), q)
	}
	last := time.Duration(0)
	for i, e := range s.Escalate {
		at := fmt.Sprintf("%s.escalate[%d]", at, i)
		switch {
		case e.After.Duration <= last:
			c.add(ProblemEscalation, at+".after", "write the steps in their order, each later than the one before", "%s is not after %s", e.After, record.Duration{Duration: last})
		case !s.Expire.IsZero() && e.After.Duration >= s.Expire.Duration:
			c.add(ProblemEscalation, at+".after", "escalate sooner, or expire later", "the stage has expired after %s", s.Expire)
		}
		last = max(last, e.After.Duration)
		c.principals(at+".to", e.To, true)
	}
}

func (c *checker) quorum(at string, q Quorum) {
	c.principals(at+".approvers", q.Approvers, true)
	switch most := len(c.body.People); {
	case q.Count < 1:
		c.add(ProblemCount, at+".count", "at least 1", "count %d would approve with nobody's agreement", q.Count)
	case q.Count > most:
		c.add(ProblemCount, at+".count", "at most the number of approvers", "count %d can never be reached by %d people", q.Count, most)
	}
}

func (c *checker) emergency(at string, r Rule) {
	e := r.Emergency
	if e == nil {
		return
	}
	c.principals(at+".requesters", e.Requesters, false)
	switch {
	case e.MaxDuration.Duration <= 0:
		c.add(ProblemNoLimit, at+".maxDuration", "write the longest window, like 1h", "the emergency does not say for how long")
	case e.MaxDuration.Duration > r.MaxDuration.Duration:
		c.add(ProblemLimit, at+".maxDuration", "an emergency is shorter", "%s is longer than the %s that the rule gives with approval", e.MaxDuration, r.MaxDuration)
	}
	switch {
	case e.Acknowledge.Duration <= 0:
		c.add(ProblemNoLimit, at+".acknowledge", "write within what time, like 24h", "the emergency does not say when it must be looked at")
	case e.Acknowledge.Duration > MaxPending:
		c.add(ProblemTooLong, at+".acknowledge", "at most 90d", "nobody would remember after %s", e.Acknowledge)
	}
	if len(e.Acknowledgers) > 0 {
		c.principals(at+".acknowledgers", e.Acknowledgers, true)
	} else if len(r.Stages) == 0 {
		c.add(ProblemEmergency, at+".acknowledgers", "name them", "the rule has no approvers who could acknowledge it")
	}
}

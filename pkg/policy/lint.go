package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Lint gives what is worth a look in a body in which [Check] finds no problem:
// warnings, and what is good to know, in the order of the document as far as they
// stand in one place. A policy is in force whatever Lint says of it.
//
// Shifts that ended before now count for nothing. The cost depends on how many
// kinds of people and of entitlements the rules tell apart, not on how many there
// are.
func Lint(body *Body, now time.Time) []Problem {
	l := &linter{body: body, dir: newDirectory(body)}
	l.crowd = newCrowd(l.dir, now)
	l.cases = newCases(body, l.crowd)
	l.admins()
	l.shared()
	l.rosters(now)
	l.reconcilers()
	l.problems = append(l.problems, l.cases.unmatched()...)
	l.conflicts()
	l.rules()
	return l.problems
}

type linter struct {
	body     *Body
	dir      *directory
	crowd    *crowd
	cases    *cases
	problems []Problem
}

func (l *linter) add(severity Severity, code ProblemCode, path, hint, format string, args ...any) {
	l.problems = append(l.problems, Problem{Path: path, Severity: severity, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint})
}

// admins looks at what one key can do, and what one lost key does.
func (l *linter) admins() {
	a := l.body.Admins
	if a.Threshold == 1 {
		l.add(SeverityWarning, ProblemOneAdmin, "admins.threshold", "have two or more admins, and a threshold of 2",
			"one admin, or whoever has their key, can change the policy alone")
	}
	if a.Threshold < len(a.People) {
		return
	}
	if single := l.singleKeys(a.People); len(single) > 0 {
		l.add(SeverityWarning, ProblemAdminsSpare, "admins.threshold", "add an admin beyond the threshold, or a second key for each",
			"every admin must agree: if the one key of %s is lost, the policy can never change again", someOf(single, "other"))
	}
}

// singleKeys gives those of some people who have one key only.
func (l *linter) singleKeys(people []string) []string {
	var single []string
	for _, name := range people {
		if len(l.body.People[name].Keys) == 1 {
			single = append(single, name)
		}
	}
	return single
}

func (l *linter) rosters(now time.Time) {
	for _, name := range slices.Sorted(maps.Keys(l.body.Rosters)) {
		if !slices.ContainsFunc(l.body.Rosters[name], func(s Shift) bool { return s.Until.After(now) }) {
			l.add(SeverityInfo, ProblemRosterOver, "rosters."+name, "add shifts, or take it out", "the last shift of roster %q has ended: it means nobody", name)
		}
	}
}

// reconcilers looks for what nothing would open.
func (l *linter) reconcilers() {
	if len(l.body.Reconcilers) == 0 {
		if len(l.body.Resources) > 0 {
			l.add(SeverityWarning, ProblemUnopened, "resources", "add reconcilers", "there are no reconcilers, so nothing would ever open")
		}
		return
	}
	opened := map[string]bool{}
	for _, r := range l.body.Reconcilers {
		for _, resource := range r.Resources {
			opened[resource] = true
		}
	}
	for _, resource := range slices.Sorted(maps.Keys(l.body.Resources)) {
		if !opened[resource] {
			l.add(SeverityWarning, ProblemUnopened, "resources."+resource, "name it under a reconciler's resources", "no reconciler opens %s", resource)
		}
	}
}

// conflicts looks for sides of a conflict that nobody can hold.
func (l *linter) conflicts() {
	for i, x := range l.body.Conflicts {
		for j, e := range x.Between {
			resource, role, _ := strings.Cut(e, ":")
			if !l.exists(resource, role) {
				l.add(SeverityWarning, ProblemConflictNothing, fmt.Sprintf("conflicts[%d].between[%d]", i, j), "compare it with the names under resources",
					"there is nothing like %s, so the conflict %q holds nobody back there", e, x.Name)
			}
		}
	}
}

func (l *linter) exists(resource, role string) bool {
	for name, r := range l.body.Resources {
		if !matchGlob(resource, name) {
			continue
		}
		for has := range r.Roles {
			if matchGlob(role, has) {
				return true
			}
		}
	}
	return false
}

// rules gives what there is to say of the rules, each in its turn.
func (l *linter) rules() {
	overlaps := map[string][]Problem{}
	for _, p := range l.cases.overlaps() {
		overlaps[p.Path] = append(overlaps[p.Path], p)
	}
	spares, chains := l.spares(), map[string]*chain{}
	for i := range l.body.Rules {
		if p, idle := l.cases.idle(i); idle {
			l.problems = append(l.problems, p)
			continue
		}
		l.problems = append(l.problems, overlaps[fmt.Sprintf("rules[%d]", i)]...)
		l.unfillable(i, chains)
		l.problems = append(l.problems, spares[i]...)
	}
}

// unfillable looks for those whom rule i lets ask for what nobody could approve.
func (l *linter) unfillable(i int, chains map[string]*chain) {
	r := &l.body.Rules[i]
	if len(r.Stages) == 0 {
		return
	}
	terms := string(digestOf([]any{r.Stages, r.Exclude}))
	owned := wordsOf(*r).owner
	all, bad := newSet(len(l.crowd.size)), newSet(len(l.crowd.size))
	var first struct {
		lack
		kind, group int
	}
	for _, d := range l.cases.rules[i].decides {
		key, owners := terms, []string(nil)
		if owned {
			owners = l.cases.groups[d.group].owners
			key = fmt.Sprint(terms, len(owners), owners)
		}
		ch, known := chains[key]
		if !known {
			ch = newChain(l.crowd, r, owners)
			chains[key] = ch
		}
		if ch == nil {
			l.add(SeverityInfo, ProblemNotJudged, fmt.Sprintf("rules[%d].stages", i), "ask fewer groups of people", "rule %q: its stages are too many to find out whether they can be met", r.Name)
			return
		}
		if all.or(d.kinds); !owned && d.kinds.within(bad) {
			continue
		}
		for k := range d.kinds.all {
			if lacks := ch.lackFor(k); lacks.stage > 0 {
				if first.stage == 0 {
					first.lack, first.kind, first.group = lacks, k, d.group
				}
				bad.add(k)
			}
		}
	}
	if first.stage == 0 {
		return
	}
	who := l.crowd.name(first.kind)
	switch n := l.crowd.count(bad); {
	case n > 1 && l.crowd.count(all) == n:
		who = fmt.Sprintf("anybody who may ask, such as %s", who)
	case n > 1:
		who = fmt.Sprintf("%s, nor for %s", who, moreOf(n-1, "other"))
	}
	if owned {
		who += " (on " + l.cases.groups[first.group].first.resource + ")"
	}
	l.add(SeverityWarning, ProblemUnfillable, fmt.Sprintf("rules[%d].stages[%d]", i, first.stage-1),
		"let it escalate to others, ask for fewer, or write a rule for them; a person counts once over all stages, and never for themselves",
		"rule %q: nobody can meet stage %d for %s: %s", r.Name, first.stage, who, missingText(first.missing))
}

// moreOf counts what a noun names.
func moreOf(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func missingText(n int) string {
	if n == 1 {
		return "1 person is missing"
	}
	return fmt.Sprintf("%d people are missing", n)
}

// spares looks for quorums, by rule, of all whom they mean. Those that mean other
// people for each requester are not looked at, and the same one is named once.
func (l *linter) spares() map[int][]Problem {
	type found struct{ rule, stage, more int }
	by := map[string]*found{}
	var keys []string
	quorums := map[string]Quorum{}
	for i, r := range l.body.Rules {
		for j, s := range r.Stages {
			if len(s.AnyOf) > 0 || len(l.cases.rules[i].decides) == 0 {
				continue // there is another way
			}
			for _, q := range s.Ways()[0] {
				for _, e := range s.Escalate {
					q.Approvers = slices.Concat(q.Approvers, e.To)
				}
				key := fmt.Sprint(q.Count, len(q.Approvers), q.Approvers)
				if by[key] == nil {
					by[key] = &found{rule: i, stage: j}
					keys = append(keys, key)
					quorums[key] = q
				} else {
					by[key].more++
				}
			}
		}
	}
	problems := map[int][]Problem{}
	for _, key := range keys {
		q, f := quorums[key], by[key]
		if slices.ContainsFunc(q.Approvers, func(s string) bool { return slices.Contains(concernedWords, s) || strings.HasPrefix(s, "roster:") }) ||
			l.crowd.count(l.crowd.of(q.Approvers...)) != q.Count {
			continue
		}
		people := map[string]bool{}
		l.dir.meant(q.Approvers, Concern{}, people)
		single := l.singleKeys(slices.Sorted(maps.Keys(people)))
		if len(single) == 0 {
			continue
		}
		text := fmt.Sprintf("rule %q: stage %d needs all whom it names: if the one key of %s is lost, nothing gets past it", l.body.Rules[f.rule].Name, f.stage+1, someOf(single, "other"))
		if f.more > 0 {
			text += fmt.Sprintf(" (%d more like it)", f.more)
		}
		problems[f.rule] = append(problems[f.rule], Problem{Path: fmt.Sprintf("rules[%d].stages[%d]", f.rule, f.stage), Severity: SeverityWarning,
			Code: ProblemStageSpare, Message: text, Hint: "name more people than must approve, or let it escalate to others"})
	}
	return problems
}

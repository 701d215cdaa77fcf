package trial

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// weighed is a policy with a rule of its own for each of some entitlements.
func weighed(t *testing.T, terms ...string) string {
	t.Helper()
	var roles, rules []string
	for i, text := range terms {
		roles = append(roles, fmt.Sprintf("r%02d: {}", i))
		if text != "" {
			rules = append(rules, fmt.Sprintf("  - {name: n%02d, resources: [db], roles: [r%02d], requesters: [carol], %s}\n", i, i, text))
		}
	}
	return `admins: {people: [ann], threshold: 1}
people:
  ann: {keys: ["0000000000000000000000000000000000000001"]}
  bob: {keys: ["0000000000000000000000000000000000000002"]}
  carol: {keys: ["0000000000000000000000000000000000000003"], manager: ann}
resources:
  db: {driver: postgres, roles: {` + strings.Join(roles, ", ") + `}}
rules:
` + strings.Join(rules, "")
}

func TestWeightOfTerms(t *testing.T) {
	t.Parallel()
	const one = "maxDuration: 2h, stages: [{approvers: [ann, bob], count: 1}]"
	for name, c := range map[string]struct {
		old, new string
		want     weight
	}{
		"automatic":            {one, "maxDuration: 1h, approve: auto", nobodyAgrees},
		"automatic as before":  {"maxDuration: 2h, approve: auto", "maxDuration: 1h, approve: auto", narrows},
		"not automatic":        {"maxDuration: 2h, approve: auto", one, narrows},
		"not so, but longer":   {"maxDuration: 1h, approve: auto", one, perhaps},
		"an emergency":         {one, one + ", emergency: {requesters: [carol], maxDuration: 1h, acknowledge: 1h}", fewer},
		"no emergency":         {one + ", emergency: {requesters: [carol], maxDuration: 1h, acknowledge: 1h}", one, narrows},
		"a longer emergency":   {one + ", emergency: {requesters: [carol], maxDuration: 1h, acknowledge: 1h}", one + ", emergency: {requesters: [carol], maxDuration: 2h, acknowledge: 1h}", perhaps},
		"fewer":                {"maxDuration: 2h, stages: [{approvers: [ann, bob], count: 2}]", one, fewer},
		"a stage less":         {"maxDuration: 2h, stages: [{approvers: [ann], count: 1}, {approvers: [bob], count: 1}]", one, fewer},
		"any of":               {"maxDuration: 2h, stages: [{approvers: [ann, bob], count: 2}]", "maxDuration: 2h, stages: [{anyOf: [{approvers: [ann, bob], count: 2}, {approvers: [ann], count: 1}]}]", fewer},
		"more":                 {one, "maxDuration: 2h, stages: [{approvers: [ann, bob], count: 2}]", narrows},
		"others":               {one, "maxDuration: 2h, stages: [{approvers: [ann, carol], count: 1}]", perhaps},
		"longer":               {one, strings.Replace(one, "2h", "3h", 1), perhaps},
		"shorter":              {one, strings.Replace(one, "2h", "1h", 1), narrows},
		"may extend":           {one, one + ", maxTotal: 4h", perhaps},
		"may not extend":       {one + ", maxTotal: 4h", one, narrows},
		"a limit":              {one, one + ", maxOpen: 1, maxOpenPerRole: 2, coolingOff: 1h, maxAhead: 7d, pending: 1h", narrows},
		"no limit":             {one + ", maxOpen: 1", one, perhaps},
		"no limit of all":      {one + ", maxOpenPerRole: 1", one, perhaps},
		"no cooling-off":       {one + ", coolingOff: 1h", one, perhaps},
		"further ahead":        {one + ", maxAhead: 7d", one, perhaps},
		"waits longer":         {one + ", pending: 1h", one, perhaps},
		"a ticket":             {one, one + ", requires: {ticket: A.*}", narrows},
		"another ticket":       {one + ", requires: {ticket: A.*}", one + ", requires: {ticket: A}", perhaps},
		"an input":             {one, one + ", requires: {inputs: {a: {type: text, pattern: a}}}", narrows},
		"no input":             {one + ", requires: {inputs: {a: {type: text, pattern: a}}}", one, perhaps},
		"a condition":          {one, one + ", conditions: [{expr: request.reason == \"a\", message: m}]", narrows},
		"no condition":         {one + ", conditions: [{expr: request.reason == \"a\", message: m}]", one, perhaps},
		"kept out":             {one, one + ", exclude: [reports]", narrows},
		"no longer kept out":   {one + ", exclude: [reports]", one, perhaps},
		"in part":              {one, one + ", partial: true", perhaps},
		"it is given":          {"", one, perhaps},
		"given automatically":  {"", "maxDuration: 1h, approve: auto", nobodyAgrees},
		"it was denied":        {"approve: deny, message: m", "maxDuration: 1h, approve: auto", nobodyAgrees},
		"it is denied":         {"maxDuration: 1h, approve: auto", "approve: deny, message: m", narrows},
		"it is not given more": {one, "", narrows},
	} {
		t.Run(name, func(t *testing.T) {
			const other = "maxDuration: 1h, approve: auto"
			old, err := compileText(weighed(t, c.old, other))
			if err != nil {
				t.Fatal(err)
			}
			next, err := compileText(weighed(t, c.new, other))
			if err != nil {
				t.Fatal(err)
			}
			e := Compare(old, next, t0)
			all := slices.Concat(e.Gains, e.Terms, e.Loses)
			if len(all) != 1 || all[0].weight != c.want || all[0].Widens != (c.want > narrows) {
				t.Errorf("%+v, want a weight of %d", all, c.want)
			}
		})
	}
}

// Of many changes the few that give more stand first, whatever they are called.
func TestWhatGivesMoreStandsFirst(t *testing.T) {
	t.Parallel()
	const one, longer, auto = "maxDuration: 2h, stages: [{approvers: [ann, bob], count: 2}]", "maxDuration: 3h, stages: [{approvers: [ann, bob], count: 2}]", "maxDuration: 1h, approve: auto"
	var before, after []string
	for i := range 60 {
		before, after = append(before, one), append(after, strings.Replace(one, "2h", "1h", 1))
		switch i {
		case 57:
			after[i] = longer
		case 58:
			after[i] = strings.Replace(one, "count: 2", "count: 1", 1)
		case 59:
			after[i] = auto
		}
	}
	for range 2 {
		before, after = append(before, ""), append(after, one)
	}
	before, after = append(before, ""), append(after, auto)
	old, err := compileText(weighed(t, before...))
	if err != nil {
		t.Fatal(err)
	}
	next, err := compileText(weighed(t, after...))
	if err != nil {
		t.Fatal(err)
	}
	e := Compare(old, next, t0)
	for i, want := range []string{"db:r59", "db:r58", "db:r57"} {
		if x := e.Terms[i]; x.What != want || !x.Widens {
			t.Errorf("term %d is %s, widens %v; want %s", i, x.What, x.Widens, want)
		}
	}
	if x := e.Terms[3]; x.Widens {
		t.Errorf("%+v widens", x)
	}
	if x := e.Gains[0]; x.What != "db:r62" {
		t.Errorf("first is gained %s", x.What)
	}
}

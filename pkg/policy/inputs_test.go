package policy

import (
	"fmt"
	"strings"
	"testing"
)

func number(n int64) *int64 { return &n }

func TestInputDefinitions(t *testing.T) {
	many := map[string]Input{}
	for i := range MaxInputs + 1 {
		many[fmt.Sprintf("i%d", i)] = Input{Type: InputBoolean}
	}
	for name, c := range map[string]struct {
		inputs           map[string]Input
		path, text, hint string
	}{
		"all types":              {sceneInputs(), "", "", ""},
		"bounds":                 {map[string]Input{"n": {Type: InputNumber, Min: number(-3), Max: number(-3)}}, "", "", ""},
		"a pattern":              {map[string]Input{"n": {Type: InputText, Pattern: "CHG-[0-9]{4}", Description: "the change"}}, "", "", ""},
		"no type":                {map[string]Input{"n": {}}, ".n.type", `"" is no type`, "write text, number, choice or boolean"},
		"an unknown type":        {map[string]Input{"n": {Type: "date"}}, ".n.type", `"date" is no type`, ""},
		"an odd name":            {map[string]Input{"N": {Type: InputText}}, ".N", "input's name", "a to z"},
		"a bad pattern":          {map[string]Input{"n": {Type: InputText, Pattern: "a)|(b"}}, ".n.pattern", "unexpected )", "RE2"},
		"a long pattern":         {map[string]Input{"n": {Type: InputText, Pattern: strings.Repeat("a", 1001)}}, ".n.pattern", "too long", ""},
		"a large pattern":        {map[string]Input{"n": {Type: InputText, Pattern: strings.Repeat("(?:x{30}){33}", 6)}}, ".n.pattern", "steps, more than 5000", ""},
		"min above max":          {map[string]Input{"n": {Type: InputNumber, Min: number(2), Max: number(1)}}, ".n.max", "no number is from 2 to 1", ""},
		"a pattern for numbers":  {map[string]Input{"n": {Type: InputNumber, Pattern: "1+"}}, ".n.pattern", "belongs to inputs of type text", "leave it out"},
		"min of a text":          {map[string]Input{"n": {Type: InputText, Min: number(0)}}, ".n.min", "type number", ""},
		"max of a boolean":       {map[string]Input{"n": {Type: InputBoolean, Max: number(0)}}, ".n.max", "type number", ""},
		"choices of a text":      {map[string]Input{"n": {Type: InputText, Choices: []string{"a"}}}, ".n.choices", "type choice", ""},
		"no choices":             {map[string]Input{"n": {Type: InputChoice}}, ".n.choices", "nothing to choose from", ""},
		"a choice twice":         {map[string]Input{"n": {Type: InputChoice, Choices: []string{"a", "b", "a"}}}, ".n.choices[2]", `"a" is there twice`, ""},
		"a blank choice":         {map[string]Input{"n": {Type: InputChoice, Choices: []string{"a", ""}}}, ".n.choices[1]", "blank", ""},
		"a choice with a space":  {map[string]Input{"n": {Type: InputChoice, Choices: []string{"a "}}}, ".n.choices[0]", "space", ""},
		"a choice beyond values": {map[string]Input{"n": {Type: InputChoice, Choices: []string{strings.Repeat("ü", MaxInput+1)}}}, ".n.choices[0]", "too long", ""},
		"too many choices":       {map[string]Input{"n": {Type: InputChoice, Choices: make([]string, MaxChoices+1)}}, ".n.choices", "101 choices", "at most 100"},
		"many choices":           {map[string]Input{"n": {Type: InputChoice, Choices: make([]string, MaxChoices+1)}}, ".n.choices", "there are 101 choices", "at most 100"},
		"a long description":     {map[string]Input{"n": {Type: InputBoolean, Description: strings.Repeat("ü", MaxSaid+1)}}, ".n.description", "too long", "at most 1000"},
		"the longest one":        {map[string]Input{"n": {Type: InputBoolean, Description: strings.Repeat("ü", MaxSaid)}}, "", "", ""},
		"too many":               {many, "", "asks for 21 inputs", "at most 20"},
	} {
		t.Run(name, func(t *testing.T) {
			b := good()
			b.Rules[1].Requires.Inputs = c.inputs
			problems := Check(b)
			if c.text == "" && len(problems) == 0 {
				return
			}
			if len(problems) != 1 || problems[0].Path != "rules[1].requires.inputs"+c.path ||
				!strings.Contains(problems[0].Message, c.text) || !strings.Contains(problems[0].Hint, c.hint) {
				t.Errorf("%+q", problems)
			}
		})
	}
}

// TestInputProblemsStandAlone shows that a wrong definition is not said again by
// the conditions that use it.
func TestInputProblemsStandAlone(t *testing.T) {
	b := good()
	b.Rules[1].Requires.Inputs = map[string]Input{"n": {Type: "int"}}
	b.Rules[1].Conditions = []Condition{{Expr: "inputs.n > 3", Message: "m"}}
	if problems := Check(b); len(problems) != 1 || problems[0].Path != "rules[1].requires.inputs.n.type" {
		t.Errorf("%+q", problems)
	}
}

func TestCheckInputs(t *testing.T) {
	all := map[string]Input{
		"change": {Type: InputText, Pattern: "CHG-[0-9]+", Description: "the change"},
		"note":   {Type: InputText, Optional: true},
		"rows":   {Type: InputNumber, Min: number(1), Max: number(1000)},
		"more":   {Type: InputNumber, Optional: true, Min: number(-5)},
		"less":   {Type: InputNumber, Optional: true, Max: number(5)},
		"any":    {Type: InputNumber, Optional: true},
		"env":    {Type: InputChoice, Choices: []string{"prod", "test"}},
		"dry":    {Type: InputBoolean},
	}
	m := asking(t, all)
	with := func(name, value string) map[string]string {
		v := map[string]string{"change": "CHG-1", "rows": "10", "env": "prod", "dry": "true"}
		if name != "" {
			v[name] = value
		}
		return v
	}
	without := func(names ...string) map[string]string {
		v := with("", "")
		for _, n := range names {
			delete(v, n)
		}
		return v
	}
	for name, c := range map[string]struct {
		values     map[string]string
		code       Code
		text, hint string
	}{
		"all there":            {with("", ""), "", "", ""},
		"an optional one":      {with("note", "two words"), "", "", ""},
		"the longest text":     {with("note", strings.Repeat("ü", MaxInput)), "", "", ""},
		"least":                {with("rows", "1"), "", "", ""},
		"most":                 {with("rows", "1000"), "", "", ""},
		"zero":                 {with("any", "0"), "", "", ""},
		"the smallest number":  {with("any", "-9223372036854775808"), "", "", ""},
		"the largest number":   {with("any", "9223372036854775807"), "", "", ""},
		"false":                {with("dry", "false"), "", "", ""},
		"one missing":          {without("rows"), InputMissing, `rule "read" asks for more: rows`, "add: --input rows=NUMBER (a whole number from 1 to 1000)"},
		"all that is missing":  {without("rows", "env", "change", "dry"), InputMissing, "change, dry, env, rows", "--input change=TEXT (the change: a text that matches CHG-[0-9]+); --input dry=BOOLEAN (true or false); --input env=CHOICE (one of prod, test); --input rows="},
		"none at all":          {nil, InputMissing, "change, dry, env, rows", ""},
		"an unknown one":       {with("row", "1"), InputUnknown, `asks for no input "row"`, "did you mean rows?"},
		"part of the pattern":  {with("change", "CHG-1 "), InputBad, `"CHG-1 " does not match CHG-[0-9]+`, "write: --input change=TEXT"},
		"a blank text":         {with("note", " "), InputBad, "it is blank", "a text of at most 200 characters"},
		"an empty text":        {with("change", ""), InputBad, "it is blank", ""},
		"too long a text":      {with("note", strings.Repeat("x", MaxInput+1)), InputBad, "longer than 200", ""},
		"too small":            {with("rows", "0"), InputBad, "0 is less than 1", "from 1 to 1000"},
		"too large":            {with("rows", "1001"), InputBad, "1001 is more than 1000", ""},
		"less than min":        {with("more", "-6"), InputBad, "-6 is less than -5", "-5 or more"},
		"more than max":        {with("less", "6"), InputBad, "6 is more than 5", "5 or less"},
		"beyond 64 bits":       {with("any", "9223372036854775808"), InputBad, "beyond 64 bits", "(a whole number)"},
		"no number":            {with("any", "ten"), InputBad, "not a whole number", ""},
		"no digits":            {with("any", ""), InputBad, "not a whole number", ""},
		"a fraction":           {with("any", "1.0"), InputBad, "not a whole number", ""},
		"an exponent":          {with("any", "1e3"), InputBad, "not a whole number", ""},
		"a hexadecimal":        {with("any", "0x1f"), InputBad, "not a whole number", ""},
		"a leading zero":       {with("any", "007"), InputBad, "not a whole number", ""},
		"a plus":               {with("any", "+7"), InputBad, "not a whole number", ""},
		"less than nothing":    {with("any", "-0"), InputBad, "not a whole number", ""},
		"a space":              {with("any", " 7"), InputBad, "not a whole number", ""},
		"grouped":              {with("any", "1_000"), InputBad, "not a whole number", ""},
		"other digits":         {with("any", "٣"), InputBad, "not a whole number", ""},
		"no such choice":       {with("env", "Prod"), InputBad, `"Prod" is not one of the choices`, "one of prod, test"},
		"neither true nor not": {with("dry", "yes"), InputBad, `"yes" is neither true nor false`, "true or false"},
		"upper case":           {with("dry", "TRUE"), InputBad, "neither", ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := m.CheckInputs(c.values)
			if CodeOf(err) != c.code {
				t.Fatalf("%v", err)
			}
			if err == nil {
				return
			}
			r := refusal(t, err)
			if r.Rule != "read" || !strings.Contains(r.Message, c.text) || !strings.Contains(r.Hint, c.hint) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestCheckInputsOfNone shows that a rule without inputs takes none.
func TestCheckInputsOfNone(t *testing.T) {
	m := asking(t, nil)
	if err := m.CheckInputs(nil); err != nil {
		t.Error(err)
	}
	if err := m.CheckInputs(map[string]string{"x": "1"}); CodeOf(err) != InputUnknown || refusal(t, err).Hint != "leave it out" {
		t.Errorf("%v", err)
	}
}

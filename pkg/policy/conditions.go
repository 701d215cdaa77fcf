package policy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
)

// MaxConditions is the most conditions of a rule, MaxExpression the most
// characters of one. MaxSaid is the most characters of what a condition or an input
// says to people: each request that is refused repeats it.
const (
	MaxConditions = 20
	MaxExpression = 1000
	MaxSaid       = 1000
)

// terms are what a compiled rule wants a request to say: how its inputs and
// conditions are judged. It never changes, so that many may ask at once.
type terms struct {
	dir        *directory
	patterns   map[string]*regexp.Regexp // of text inputs, by name
	conditions []cel.Program             // in the order of Rule.Conditions
}

// asks checks a rule's inputs and conditions.
func (c *checker) asks(rule int, at string, r Rule) {
	compilable := c.inputs(at+".requires.inputs", r.Requires.Inputs)
	if len(r.Conditions) > MaxConditions {
		c.add(ProblemCondition, at+".conditions", fmt.Sprintf("at most %d; join some by &&", MaxConditions), "the rule has %d conditions", len(r.Conditions))
		return
	}
	for i, x := range r.Conditions {
		at := fmt.Sprintf("%s.conditions[%d]", at, i)
		if strings.TrimSpace(x.Message) == "" {
			c.add(ProblemCondition, at+".message", "say what to do where it is not true", "people are refused without a word")
		}
		c.said(at+".message", ProblemCondition, x.Message)
		switch {
		case strings.TrimSpace(x.Expr) == "":
			c.add(ProblemCondition, at+".expr", `write one, like request.duration <= duration("2h")`, "the condition has no expression")
		case utf8.RuneCountInString(x.Expr) > MaxExpression:
			c.add(ProblemCondition, at+".expr", fmt.Sprintf("at most %d characters; make it two conditions", MaxExpression), "the expression is too long")
		case compilable && !c.stuck: // else the inputs' types are not known
			c.condition(rule, at+".expr", x.Expr, r.Requires.Inputs)
		}
	}
}

// said checks the length of what people are told.
func (c *checker) said(at string, code ProblemCode, text string) {
	if utf8.RuneCountInString(text) > MaxSaid {
		c.add(code, at, fmt.Sprintf("at most %d characters", MaxSaid), "the text is too long")
	}
}

// condition compiles one expression.
func (c *checker) condition(rule int, at, expr string, inputs map[string]Input) {
	if c.compiler == nil {
		c.compiler = newCompiler(&c.work)
	}
	program, err := c.compiler.compile(expr, inputs)
	switch {
	case errors.Is(err, errConditionWork), errors.Is(err, errPatternWork):
		c.tooMany(at, "write what is the same in more rules alike, with the same inputs, or ask for less", "%v", err)
		return
	case err != nil:
		c.stuck = true
		c.add(ProblemCondition, at, expressionHint(err, inputs), "%v", err)
		return
	}
	c.conditions[rule] = append(c.conditions[rule], program)
}

// expressionHint says what to write instead, where the error is of a word that
// nobody knows.
func expressionHint(err error, inputs map[string]Input) string {
	var bad *expressionError
	if !errors.As(err, &bad) {
		return ""
	}
	if bad.hint != "" {
		return bad.hint
	}
	unknownWord := regexp.MustCompile(`(undefined field|undeclared reference to) '([^']*)'`)
	if found := unknownWord.FindStringSubmatch(bad.message); found != nil {
		known := slices.Concat(variableNames(), functions, clockFunctionNames())
		if found[1] == "undefined field" {
			known = fieldNames(inputs)
		}
		if near := Nearest(found[2], known); len(near) > 0 {
			return fmt.Sprintf("did you mean %s?", strings.Join(near, ", "))
		}
	}
	return "it can ask about " + strings.Join(variableNames(), ", ")
}

// CheckConditions judges a request by the rule's conditions, in their order. One
// that cannot be judged refuses as well.
func (m Match) CheckConditions(s Scene) error {
	if len(m.rule.terms.conditions) == 0 {
		return nil
	}
	inputs, err := m.inputs(s.Inputs)
	if err != nil {
		return err
	}
	v := &view{dir: m.rule.terms.dir, scene: s, inputs: inputs, made: map[string]any{}}
	var cost uint64
	for i, program := range m.rule.terms.conditions {
		x := m.Rule.Conditions[i]
		out, details, err := program.Eval(v)
		if spent := details.ActualCost(); spent != nil {
			cost += *spent
		}
		if err == nil && cost > maxCost {
			err = errors.New("it and those before it take too much work")
		}
		switch {
		case err != nil:
			return &Refusal{Code: ConditionError, Rule: m.Rule.Name, Hint: "ask an admin to correct it: " + readable(x.Expr),
				Message: fmt.Sprintf("condition %d of rule %q could not be judged: %s", i+1, m.Rule.Name, shortened(readable(err.Error())))}
		case out != types.True:
			return &Refusal{Code: ConditionFailed, Rule: m.Rule.Name, Hint: "ask so that this is true: " + readable(x.Expr),
				Message: fmt.Sprintf("rule %q: %s", m.Rule.Name, x.Message)}
		}
	}
	return nil
}

// variableNames gives what an expression can ask about, in the order of the
// documentation.
func variableNames() []string {
	names := make([]string, 0, len(variables))
	for _, v := range variables {
		names = append(names, v.name)
	}
	return names
}

// fieldNames gives the fields of all variables, in order.
func fieldNames(inputs map[string]Input) []string {
	names := slices.Collect(maps.Keys(inputs))
	for _, f := range objectFields {
		names = slices.AppendSeq(names, maps.Keys(f))
	}
	slices.Sort(names)
	return slices.Compact(names)
}

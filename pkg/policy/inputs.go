package policy

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// The values of Input.Type.
const (
	InputText    = "text"
	InputNumber  = "number" // a whole one, in 64 bits
	InputChoice  = "choice"
	InputBoolean = "boolean"
)

// MaxInputs is the most inputs that a rule may ask for, MaxInput the most
// characters of one value. A request can carry no more. MaxChoices is the most that
// one may choose between: a person reads all of them.
const (
	MaxInputs  = 20
	MaxInput   = 200
	MaxChoices = 100
)

// check judges one value by its type, and gives it as a condition sees it. fits says
// whether a text fits the input's pattern.
func (i Input) check(value string, fits func(text string) bool) (ref.Val, error) {
	if utf8.RuneCountInString(value) > MaxInput {
		return nil, fmt.Errorf("it is longer than %d characters", MaxInput)
	}
	switch i.Type {
	case InputText:
		if strings.TrimSpace(value) == "" {
			return nil, fmt.Errorf("it is blank")
		}
		if !fits(value) {
			return nil, fmt.Errorf("%q does not match %s", value, i.Pattern)
		}
		return types.String(value), nil
	case InputNumber:
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case errors.Is(err, strconv.ErrRange):
			return nil, fmt.Errorf("%s is beyond 64 bits", value)
		// One number is written in one way only, so that what an approver reads and
		// what a condition compares never look different.
		case err != nil || strconv.FormatInt(n, 10) != value:
			return nil, fmt.Errorf("%q is not a whole number in plain digits", value)
		case i.Min != nil && n < *i.Min:
			return nil, fmt.Errorf("%d is less than %d", n, *i.Min)
		case i.Max != nil && n > *i.Max:
			return nil, fmt.Errorf("%d is more than %d", n, *i.Max)
		}
		return types.Int(n), nil
	case InputChoice:
		if !slices.Contains(i.Choices, value) {
			return nil, fmt.Errorf("%q is not one of the choices", value)
		}
		return types.String(value), nil
	case InputBoolean:
		if value != "true" && value != "false" {
			return nil, fmt.Errorf("%q is neither true nor false", value)
		}
		return types.Bool(value == "true"), nil
	}
	return nil, fmt.Errorf("%q is no type of input", i.Type)
}

// Judge says why a value is not what the input asks for.
func (i Input) Judge(value string) error {
	pattern, err := compilePattern(i.Pattern)
	if err != nil {
		return err
	}
	_, err = i.check(value, func(text string) bool { return Match{}.looks(pattern, text) })
	return err
}

// Expects says in a few words what a value may be.
func (i Input) Expects() string {
	switch {
	case i.Type == InputText && i.Pattern != "":
		return "a text that matches " + i.Pattern
	case i.Type == InputText:
		return fmt.Sprintf("a text of at most %d characters", MaxInput)
	case i.Type == InputNumber && i.Min != nil && i.Max != nil:
		return fmt.Sprintf("a whole number from %d to %d", *i.Min, *i.Max)
	case i.Type == InputNumber && i.Min != nil:
		return fmt.Sprintf("a whole number, %d or more", *i.Min)
	case i.Type == InputNumber && i.Max != nil:
		return fmt.Sprintf("a whole number, %d or less", *i.Max)
	case i.Type == InputNumber:
		return "a whole number"
	case i.Type == InputChoice:
		return "one of " + strings.Join(i.Choices, ", ")
	}
	return "true or false"
}

// inputs checks the definitions of a rule's inputs, and reports whether all are
// well.
func (c *checker) inputs(at string, m map[string]Input) bool {
	before := len(c.problems)
	if len(m) > MaxInputs {
		c.add(ProblemInput, at, fmt.Sprintf("at most %d", MaxInputs), "the rule asks for %d inputs", len(m))
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		at, i := at+"."+name, m[name]
		for _, only := range []struct {
			key, kind string
			there     bool
		}{
			{"pattern", InputText, i.Pattern != ""},
			{"min", InputNumber, i.Min != nil},
			{"max", InputNumber, i.Max != nil},
			{"choices", InputChoice, len(i.Choices) > 0},
		} {
			if only.there && i.Type != only.kind {
				c.add(ProblemInput, at+"."+only.key, "leave it out, or write type: "+only.kind, "%s belongs to inputs of type %s", only.key, only.kind)
			}
		}
		c.said(at+".description", ProblemInput, i.Description)
		switch i.Type {
		case InputText:
			c.pattern(at+".pattern", i.Pattern)
		case InputNumber:
			if i.Min != nil && i.Max != nil && *i.Min > *i.Max {
				c.add(ProblemInput, at+".max", "write min, then max", "no number is from %d to %d", *i.Min, *i.Max)
			}
		case InputChoice:
			c.choices(at+".choices", i.Choices)
		case InputBoolean:
		default:
			c.add(ProblemInput, at+".type", "write text, number, choice or boolean", "%q is no type of input", i.Type)
		}
	}
	return len(c.problems) == before
}

func (c *checker) choices(at string, choices []string) {
	switch {
	case len(choices) == 0:
		c.add(ProblemInput, at, "write what one may choose", "there is nothing to choose from")
	case len(choices) > MaxChoices:
		c.add(ProblemInput, at, fmt.Sprintf("at most %d, or a text with a pattern", MaxChoices), "there are %d choices", len(choices))
		return
	}
	for j, choice := range choices {
		at := fmt.Sprintf("%s[%d]", at, j)
		switch {
		case choice == "" || strings.TrimSpace(choice) != choice:
			c.add(ProblemInput, at, "write it without spaces around it", "choice %q is blank, or begins or ends with a space", choice)
		case utf8.RuneCountInString(choice) > MaxInput:
			c.add(ProblemInput, at, fmt.Sprintf("at most %d characters", MaxInput), "the choice is too long")
		case slices.Contains(choices[:j], choice):
			c.add(ProblemInput, at, "write each choice once", "choice %q is there twice", choice)
		}
	}
}

// inputPatterns gives the patterns of text inputs, by name.
func (c *checker) inputPatterns(m map[string]Input) map[string]*regexp.Regexp {
	patterns := map[string]*regexp.Regexp{}
	for name, i := range m {
		if p := c.patterns[i.Pattern]; p.Regexp != nil {
			patterns[name] = p.Regexp
		}
	}
	return patterns
}

// CheckInputs judges the inputs of a request, by name: all that the rule asks for
// are there, each is of its type, and there are no others.
func (m Match) CheckInputs(values map[string]string) error {
	defined := m.Rule.Requires.Inputs
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if _, ok := defined[name]; !ok {
			hint := "leave it out"
			if len(defined) > 0 {
				hint = nearest(name, slices.Sorted(maps.Keys(defined)))
			}
			return m.refuse(InputUnknown, hint, "rule %q asks for no input %q", m.Rule.Name, name)
		}
	}
	var missing, add []string
	for _, name := range slices.Sorted(maps.Keys(defined)) {
		if _, ok := values[name]; !ok && !defined[name].Optional {
			missing, add = append(missing, name), append(add, inputFlag(name, defined[name]))
		}
	}
	if len(missing) > 0 {
		return m.refuse(InputMissing, "add: "+strings.Join(add, "; "),
			"rule %q asks for more: %s", m.Rule.Name, strings.Join(missing, ", "))
	}
	_, err := m.inputs(values)
	return err
}

// inputs gives those values that the rule defines, as its conditions see them.
func (m Match) inputs(values map[string]string) (map[string]ref.Val, error) {
	defined, parsed := m.Rule.Requires.Inputs, map[string]ref.Val{}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		i, ok := defined[name]
		if !ok {
			continue
		}
		v, err := i.check(values[name], func(text string) bool { return m.looks(m.rule.terms.patterns[name], text) })
		if err != nil {
			return nil, m.refuse(InputBad, "write: "+inputFlag(name, i), "input %q is not what rule %q asks for: %v", name, m.Rule.Name, err)
		}
		parsed[name] = v
	}
	return parsed, nil
}

// inputFlag shows how an input is given: --input rows=NUMBER (a whole number from
// 1 to 1000).
func inputFlag(name string, i Input) string {
	text := i.Expects()
	if i.Description != "" {
		text = i.Description + ": " + text
	}
	return fmt.Sprintf("--input %s=%s (%s)", name, strings.ToUpper(i.Type), text)
}

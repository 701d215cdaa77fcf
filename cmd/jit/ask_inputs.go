package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/request"
)

// parseInputs reads the values of --input, each NAME=VALUE.
func parseInputs(flags []string) (map[string]string, error) {
	inputs := map[string]string{}
	for _, f := range flags {
		name, value, ok := strings.Cut(f, "=")
		if !ok || name == "" {
			return nil, usageErr("write: --input NAME=VALUE", "%q is not an input", f)
		}
		if _, twice := inputs[name]; twice {
			return nil, usageErr("keep one of them", "input %q is given twice", name)
		}
		tidy, err := tidyText(value, "input "+name)
		if err != nil {
			return nil, err
		}
		inputs[name] = tidy
	}
	if len(inputs) > request.MaxInputs {
		return nil, usageErr("leave out what the rule does not ask for", "a request has at most %d inputs", request.MaxInputs)
	}
	return inputs, nil
}

// wantedInput is an input that the rules of a request ask for by one name: its
// value must be what each of them means.
type wantedInput struct {
	name string
	defs []policy.Input
}

// wantedInputs gives what the rules ask for, in the order of the names.
func wantedInputs(ms []policy.Match) []wantedInput {
	var names []string
	byName := map[string][]policy.Input{}
	seen := map[string]bool{} // a bundle may fall under one rule several times
	for _, m := range ms {
		if seen[m.Rule.Name] {
			continue
		}
		seen[m.Rule.Name] = true
		for name, def := range m.Rule.Requires.Inputs {
			if byName[name] == nil {
				names = append(names, name)
			}
			byName[name] = append(byName[name], def)
		}
	}
	slices.Sort(names)
	var wanted []wantedInput
	for _, name := range names {
		wanted = append(wanted, wantedInput{name, byName[name]})
	}
	return wanted
}

// required reports whether a rule cannot do without it.
func (w wantedInput) required() bool {
	return slices.ContainsFunc(w.defs, func(d policy.Input) bool { return !d.Optional })
}

// check says why a value is not what the rules ask for.
func (w wantedInput) check(value string) error {
	for _, d := range w.defs {
		if err := checkInput(d, value); err != nil {
			return err
		}
	}
	return nil
}

// wholeNumber lets one number be written in one way only.
var wholeNumber = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

// checkInput judges one value by its type, so that a person can be asked again.
func checkInput(d policy.Input, value string) error {
	if len([]rune(value)) > request.MaxInput {
		return fmt.Errorf("it is longer than %d characters", request.MaxInput)
	}
	switch d.Type {
	case "number":
		n, err := strconv.ParseInt(value, 10, 64)
		switch {
		case !wholeNumber.MatchString(value):
			return fmt.Errorf("%q is not a whole number in plain digits", value)
		case err != nil:
			return fmt.Errorf("%s is beyond 64 bits", value)
		case d.Min != nil && n < *d.Min:
			return fmt.Errorf("%d is less than %d", n, *d.Min)
		case d.Max != nil && n > *d.Max:
			return fmt.Errorf("%d is more than %d", n, *d.Max)
		}
	case "choice":
		if !slices.Contains(d.Choices, value) {
			return fmt.Errorf("%q is not one of the choices", value)
		}
	case "boolean":
		if value != "true" && value != "false" {
			return fmt.Errorf("%q is neither true nor false", value)
		}
	default:
		if strings.TrimSpace(value) == "" {
			return fmt.Errorf("it is blank")
		}
		pattern, err := regexp.Compile(`^(?:` + d.Pattern + `)$`)
		if err != nil {
			return err
		}
		if d.Pattern != "" && !pattern.MatchString(value) {
			return fmt.Errorf("%q does not match %s", value, d.Pattern)
		}
	}
	return nil
}

// expects says in a few words what a value may be; nothing where any text will do.
func expects(d policy.Input) string {
	switch {
	case d.Type == "number" && d.Min != nil && d.Max != nil:
		return fmt.Sprintf("a whole number from %d to %d", *d.Min, *d.Max)
	case d.Type == "number" && d.Min != nil:
		return fmt.Sprintf("a whole number, %d or more", *d.Min)
	case d.Type == "number" && d.Max != nil:
		return fmt.Sprintf("a whole number, %d or less", *d.Max)
	case d.Type == "number":
		return "a whole number"
	case d.Type == "text" && d.Pattern != "":
		return "must match " + d.Pattern
	}
	return ""
}

// label names the input in a question: "rows, how many rows (a whole number)".
func (w wantedInput) label() string {
	s := w.name
	for _, d := range w.defs {
		if d.Description != "" {
			s += ", " + lineOf(d.Description)
			break
		}
	}
	var forms []string
	for _, d := range w.defs {
		if e := expects(d); e != "" && !slices.Contains(forms, e) {
			forms = append(forms, e)
		}
	}
	if len(forms) > 0 {
		s += " (" + strings.Join(forms, "; ") + ")"
	}
	return clean(s)
}

// flag is what would have given the input on the command line.
func (w wantedInput) flag() string { return "--input " + w.name + "=VALUE" }

// none is the line of a list that stands for leaving an input out.
const none = "none of them"

// askInput asks for one input, again where the answer does not fit. The text is
// empty where it is left out.
func (a *App) askInput(w wantedInput) (string, error) {
	for range maxTries {
		value, err := a.askInputOnce(w)
		switch {
		case err != nil:
			return "", err
		case value == "" && !w.required():
			return "", nil
		}
		if value, err = tidyText(value, "input "+w.name); err == nil {
			err = w.check(value)
		}
		if err == nil {
			return value, nil
		}
		a.Say("That does not fit: %s.", clean(err.Error()))
	}
	return "", usageErr("add: "+w.flag(), "no input %q was given", w.name)
}

func (a *App) askInputOnce(w wantedInput) (string, error) {
	d := w.defs[0]
	switch d.Type {
	case "choice":
		a.Say("%s:", w.label())
		var items []item
		for _, c := range d.Choices {
			items = append(items, item{name: c})
		}
		if !w.required() {
			items = append(items, item{name: none})
		}
		i, err := a.Pick("Which?", w.flag(), items)
		if err != nil || i == len(d.Choices) {
			return "", err
		}
		return d.Choices[i], nil
	case "boolean":
		if w.required() {
			yes, err := a.Confirm(w.label() + "?")
			return strconv.FormatBool(yes), err
		}
		answer, err := a.Ask(w.label()+"? [y/n, Enter to leave it out]", w.flag())
		switch strings.ToLower(answer) {
		case "y", "yes":
			return "true", err
		case "n", "no":
			return "false", err
		}
		return answer, err
	}
	question := w.label()
	if !w.required() {
		question += " [Enter to leave it out]"
	}
	return a.Ask(question+":", w.flag())
}

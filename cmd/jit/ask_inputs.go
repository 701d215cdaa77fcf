package main

import (
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
		if err := d.Judge(value); err != nil {
			return err
		}
	}
	return nil
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
		if e := d.Expects(); d.Type != policy.InputChoice && d.Type != policy.InputBoolean && !slices.Contains(forms, e) {
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

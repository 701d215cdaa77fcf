package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// lintProblem is something that is wrong with a policy or worth a look, and where
// it stands. Without a file the numbers are 0.
type lintProblem struct {
	File      string          `json:"file"`
	Line      int             `json:"line"`
	Column    int             `json:"column"`
	EndLine   int             `json:"endLine"`
	EndColumn int             `json:"endColumn"`
	Severity  policy.Severity `json:"severity"`
	Code      string          `json:"code"`
	Path      string          `json:"path"`
	Message   string          `json:"message"`
	Hint      *string         `json:"hint"`
}

// checkedBody gives everything that makes a body unusable. data is what it was read
// from, for lines and columns; nil where there is no file.
func checkedBody(file string, data []byte, body *policy.Body) []lintProblem {
	return placed(file, data, append(policy.Check(body), policy.CheckParameters(body, parametersCheck)...))
}

// lintBody gives what checkedBody does, and where that is nothing that stands in
// the way of looking further, what is worth a look.
func (a *App) lintBody(file string, data []byte, body *policy.Body) []lintProblem {
	problems := policy.Check(body)
	if len(problems) == 0 {
		problems = policy.Lint(body, a.Now())
	}
	return placed(file, data, append(problems, policy.CheckParameters(body, parametersCheck)...))
}

// placed finds the problems in the file, and orders them by place.
func placed(file string, data []byte, problems []policy.Problem) []lintProblem {
	if len(problems) == 0 {
		return nil
	}
	where := &locator{}
	if data != nil {
		where = newLocator(data)
	}
	out := make([]lintProblem, len(problems))
	for i, p := range problems {
		at := where.of(p.Path)
		out[i] = lintProblem{File: file, Line: at.Line, Column: at.Column, EndLine: at.EndLine, EndColumn: at.EndColumn,
			Severity: p.Severity, Code: string(p.Code), Path: p.Path, Message: p.Message, Hint: orNull(p.Hint)}
	}
	slices.SortStableFunc(out, func(a, b lintProblem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return out
}

// unreadable gives the problem for a file that could be read and is no policy; ok is
// false where err is about something else.
func unreadable(file string, data []byte, err error) (problem lintProblem, ok bool) {
	var r *record.Refusal
	if data == nil || !errors.As(err, &r) {
		return lintProblem{}, false
	}
	at := place{1, 1, 1, 1}
	if r.Line > 0 {
		at = (&locator{lines: strings.Split(string(data), "\n")}).line(r.Line, r.Column)
	}
	bare := *r
	bare.Line, bare.Column = 0, 0
	return lintProblem{File: file, Line: at.Line, Column: at.Column, EndLine: at.EndLine, EndColumn: at.EndColumn,
		Severity: policy.SeverityError, Code: string(r.Reason), Message: bare.Error()}, true
}

// text is the problem on one line, in the form that editors read; the hint follows
// on a line of its own.
func (p lintProblem) text(st *Style) string {
	where, message := p.File, p.Message
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	} else {
		message = p.Path + ": " + message
	}
	word := string(p.Severity)
	switch p.Severity {
	case policy.SeverityError:
		word = st.Bad(word)
	case policy.SeverityWarning:
		word = st.Warn(word)
	}
	text := fmt.Sprintf("%s: %s: %s %s", clean(where), word, clean(message), st.Faint("["+p.Code+"]"))
	if p.Hint != nil {
		text += "\n  " + st.Faint(clean(*p.Hint))
	}
	return text
}

// having gives the problems of one severity.
func having(problems []lintProblem, severity policy.Severity) []lintProblem {
	return slices.DeleteFunc(slices.Clone(problems), func(p lintProblem) bool { return p.Severity != severity })
}

// errBody is the error for a body with problems; its message holds them all.
func errBody(problems []lintProblem) error {
	var b strings.Builder
	fmt.Fprintf(&b, "the policy cannot be used: %s", count(len(problems), "problem"))
	for _, p := range problems {
		for line := range strings.Lines(p.text(newStyle(&b, false))) {
			b.WriteString("\n" + strings.TrimRight(line, "\n"))
		}
	}
	return &exitError{Exit: exitUsage, Code: string(policy.BadPolicy), Message: b.String(), Hint: "correct it and run it again"}
}

// checkBody refuses a body that cannot be used.
func checkBody(file string, data []byte, body *policy.Body) error {
	if problems := checkedBody(file, data, body); len(problems) > 0 {
		return errBody(problems)
	}
	return nil
}

// warnOf says, before a body is proposed, what is worth a look in it that is not in
// the one that it replaces.
func (a *App) warnOf(file string, data []byte, body, before *policy.Body) {
	known := map[string]bool{}
	for _, p := range policy.Lint(before, a.Now()) {
		known[p.Message] = true
	}
	for _, p := range having(a.lintBody(file, data, body), policy.SeverityWarning) {
		if !known[p.Message] {
			a.Say("%s", p.text(a.IO.ErrStyle()))
		}
	}
}

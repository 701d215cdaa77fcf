package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// readBody reads the part of a policy that people write from a file, or from
// standard input where file is "-".
func readBody(a *App, file string) ([]byte, *policy.Body, error) {
	var data []byte
	var err error
	if file == "-" {
		if data, err = a.IO.readAll(record.MaxSize); err == nil && len(data) > record.MaxSize {
			err = fmt.Errorf("it is larger than %d bytes", record.MaxSize)
		}
	} else {
		data, err = readFileUpTo(file, record.MaxSize)
	}
	if err != nil {
		return nil, nil, usageErr("give the file of a policy's body", "the policy cannot be read: %v", err)
	}
	var body policy.Body
	if err := record.DecodeStrict(data, &body); err != nil {
		if startsWithHead(data) {
			return nil, nil, usageErr("leave out apiVersion, kind, id and what follows, up to admins; jit writes the head", "%s holds a whole record, not the part that people write", file)
		}
		return nil, nil, fileRefusal(file, err)
	}
	return data, &body, nil
}

func startsWithHead(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte("apiVersion:"))
}

// lintProblem is something wrong with a policy, and where.
type lintProblem struct {
	Line    int     `json:"line"`
	Column  int     `json:"column"`
	Path    string  `json:"path"`
	Message string  `json:"message"`
	Hint    *string `json:"hint"`
}

// lintBody gives everything that makes a body unusable. data is what it was
// read from, for lines and columns; nil where there is no file.
func lintBody(data []byte, body *policy.Body) []lintProblem {
	problems := append(policy.Check(body), policy.CheckParameters(body, parametersCheck)...)
	var root *yaml.Node
	if data != nil {
		var doc yaml.Node
		// It was read strictly before; here only places are wanted.
		if yaml.Unmarshal(data, &doc) == nil && len(doc.Content) == 1 {
			root = doc.Content[0]
		}
	}
	var out []lintProblem
	for _, p := range problems {
		l := lintProblem{Path: p.Path, Message: p.Message, Hint: orNull(p.Hint)}
		if root != nil {
			l.Line, l.Column = locate(root, p.Path)
		}
		out = append(out, l)
	}
	return out
}

// locate gives the line and column of what a path like
// rules[2].stages[0].approvers[1] names, or of what comes nearest to it. Names
// may hold dots, so the keys that are there decide where a part ends.
func locate(n *yaml.Node, path string) (line, column int) {
	for path != "" {
		next, rest := step(n, path)
		if next == nil {
			break
		}
		n, path = next, rest
	}
	return n.Line, n.Column
}

func step(n *yaml.Node, path string) (next *yaml.Node, rest string) {
	switch {
	case n.Kind == yaml.SequenceNode && strings.HasPrefix(path, "["):
		number, after, ok := strings.Cut(path[1:], "]")
		i, err := strconv.Atoi(number)
		if !ok || err != nil || i < 0 || i >= len(n.Content) {
			return nil, ""
		}
		return n.Content[i], strings.TrimPrefix(after, ".")
	case n.Kind == yaml.MappingNode:
		longest := -1
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			after, ok := strings.CutPrefix(path, key)
			if ok && len(key) > longest && (after == "" || after[0] == '.' || after[0] == '[') {
				longest, next, rest = len(key), n.Content[i+1], strings.TrimPrefix(after, ".")
				if next.Kind == yaml.ScalarNode || rest == "" {
					// The key is where a person looks for the line.
					next = &yaml.Node{Kind: next.Kind, Line: n.Content[i].Line, Column: n.Content[i].Column, Content: next.Content}
				}
			}
		}
		return next, rest
	}
	return nil, ""
}

// errLint is the error for a body with problems; its message holds them all.
func errLint(file string, problems []lintProblem) error {
	var b strings.Builder
	fmt.Fprintf(&b, "the policy cannot be used: %s", count(len(problems), "problem"))
	for _, p := range problems {
		b.WriteString("\n  " + p.text(file))
	}
	return &exitError{Exit: exitUsage, Code: string(policy.BadPolicy), Message: b.String(), Hint: "correct it and run it again"}
}

func (p lintProblem) text(file string) string {
	where := file
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", file, p.Line, p.Column)
	}
	text := strings.TrimPrefix(where+": ", ": ") + p.Path + ": " + p.Message
	if p.Hint != nil {
		text += " (" + *p.Hint + ")"
	}
	return text
}

// checkBody refuses a body with problems.
func checkBody(file string, data []byte, body *policy.Body) error {
	if problems := lintBody(data, body); len(problems) > 0 {
		return errLint(file, problems)
	}
	return nil
}

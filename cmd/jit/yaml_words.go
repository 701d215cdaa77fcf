package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// changedScalars gives a YAML text in which change was made to every key and value
// that stands in one line; all else, comments too, stays as it is written. A value is
// quoted where it would be read as something else without.
func changedScalars(text string, change func(string) string) string {
	p := newLocator([]byte(text))
	type edit struct {
		line, from, length int
		text               string
	}
	var edits []edit
	var visit func(n *yaml.Node)
	visit = func(n *yaml.Node) {
		for _, child := range n.Content {
			visit(child)
		}
		if n.Kind != yaml.ScalarNode {
			return
		}
		rest := p.text(n.Line, n.Column)
		length := scalarLength(n, rest)
		if value := change(n.Value); length > 0 && value != n.Value {
			edits = append(edits, edit{n.Line, len(p.lines[n.Line-1]) - len(rest), length, scalarText(value, n.Style)})
		}
	}
	if p.root != nil {
		visit(p.root)
	}
	slices.SortFunc(edits, func(a, b edit) int { return b.from - a.from })
	for _, e := range edits {
		line := p.lines[e.line-1]
		p.lines[e.line-1] = line[:e.from] + e.text + line[e.from+e.length:]
	}
	return strings.Join(p.lines, "\n")
}

// scalarLength gives how many bytes a scalar has that text begins with; 0 where it goes
// on in another line.
func scalarLength(n *yaml.Node, text string) int {
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		return quoted(text, '"')
	case n.Style&yaml.SingleQuotedStyle != 0:
		return quoted(text, '\'')
	case strings.HasPrefix(text, n.Value):
		return len(n.Value)
	}
	return 0
}

// scalarText writes a scalar so that it stands anywhere, in a list or a map in one line
// too: in quotes where it was, or must be.
func scalarText(value string, style yaml.Style) string {
	plain, err := yaml.Marshal(value)
	if err == nil && style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0 && string(plain) == value+"\n" && !strings.ContainsAny(value, ",[]{}") {
		return value
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b) // what JSON quotes, YAML reads
	e.SetEscapeHTML(false)
	if err := e.Encode(strings.ToValidUTF8(value, string(utf8.RuneError))); err != nil {
		return `""` // a text is always encoded
	}
	return strings.TrimSpace(b.String())
}

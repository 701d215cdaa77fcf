package main

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// place is a span of a file: lines and columns from 1, columns in characters, the
// end being behind the last one. The zero value is no place.
type place struct{ Line, Column, EndLine, EndColumn int }

// locator finds what the path of a problem names in the file that it was read from.
// The zero value finds nothing.
type locator struct {
	root  *yaml.Node
	lines []string
	// keys are where the keys of a map stand among its nodes, for maps that were
	// looked at: that of people may have thousands.
	keys map[*yaml.Node]map[string]int
}

// newLocator reads data, which was read strictly before: here only places are wanted.
func newLocator(data []byte) *locator {
	p := &locator{lines: strings.Split(string(data), "\n"), keys: map[*yaml.Node]map[string]int{}}
	var doc yaml.Node
	if yaml.Unmarshal(data, &doc) == nil && len(doc.Content) == 1 {
		p.root = doc.Content[0]
	}
	return p
}

// of gives the place of what a path like rules[2].stages[0].approvers[1] names, or
// of what comes nearest to it. For an entry of a map it begins at the key, where a
// person looks for the line.
func (p *locator) of(path string) place {
	if p.root == nil {
		return place{}
	}
	key, value, _ := p.find(nil, p.root, path)
	switch {
	case key == nil && value.Kind != yaml.ScalarNode:
		return p.line(value.Line, value.Column)
	case key == nil:
		return p.span(value, value)
	case value.Kind != yaml.ScalarNode:
		return p.span(key, key)
	}
	return p.span(key, value)
}

// find follows a path from a node, which stands under key, as far as there are
// nodes, and gives what is left of the path. Names may hold dots, so the keys that
// are there decide where a part ends.
func (p *locator) find(key, n *yaml.Node, path string) (*yaml.Node, *yaml.Node, string) {
	bestKey, best, left := key, n, path
	try := func(k, v *yaml.Node, rest string) {
		if left == "" {
			return
		}
		if k, v, rest = p.find(k, v, strings.TrimPrefix(rest, ".")); len(rest) < len(left) {
			bestKey, best, left = k, v, rest
		}
	}
	switch {
	case path == "":
	case n.Kind == yaml.SequenceNode && path[0] == '[':
		number, rest, _ := strings.Cut(path[1:], "]")
		if i, err := strconv.Atoi(number); err == nil && i >= 0 && i < len(n.Content) {
			try(nil, n.Content[i], rest)
		}
	case n.Kind == yaml.MappingNode:
		keys := p.keysOf(n)
		for end := len(path); end > 0; end = strings.LastIndexAny(path[:end], ".[") {
			if i, ok := keys[path[:end]]; ok {
				try(n.Content[i], n.Content[i+1], path[end:])
			}
		}
	}
	return bestKey, best, left
}

func (p *locator) keysOf(n *yaml.Node) map[string]int {
	keys, ok := p.keys[n]
	if !ok {
		keys = make(map[string]int, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			keys[n.Content[i].Value] = i
		}
		p.keys[n] = keys
	}
	return keys
}

// span goes from the beginning of a node to the end of a scalar, or of its line
// where it goes on.
func (p *locator) span(from, to *yaml.Node) place {
	at := p.line(to.Line, to.Column)
	text := p.text(to.Line, to.Column)
	length := scalarLength(to, text)
	if length > 0 {
		at.EndColumn = to.Column + utf8.RuneCountInString(text[:length])
	}
	at.Line, at.Column = from.Line, from.Column
	return at
}

// quoted gives how many bytes a quoted scalar at the beginning of text has; 0 where
// it does not end there.
func quoted(text string, quote byte) int {
	for i := 1; i < len(text); i++ {
		switch {
		case quote == '"' && text[i] == '\\':
			i++
		case text[i] != quote:
		case quote == '\'' && strings.HasPrefix(text[i+1:], "'"):
			i++
		default:
			return i + 1
		}
	}
	return 0
}

// line goes from a column to the end of its line. Without a column it is the whole
// line.
func (p *locator) line(line, column int) place {
	column = max(column, 1)
	end := column + utf8.RuneCountInString(strings.TrimRight(p.text(line, column), " "))
	return place{line, column, line, max(end, column)}
}

// text gives a line from a column on.
func (p *locator) text(line, column int) string {
	if line < 1 || line > len(p.lines) {
		return ""
	}
	text := p.lines[line-1]
	for ; column > 1 && text != ""; column-- {
		_, size := utf8.DecodeRuneInString(text)
		text = text[size:]
	}
	return text
}

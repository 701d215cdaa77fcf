package record

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// checkNoComments refuses a comment in a record whose tree has passed the walker. A
// record is shown as it is signed, and what decides nothing must not stand there between
// what does. The library hangs comments on nodes, and loses some: so what is looked for
// is a "#" that stands in no key and no value.
func checkNoComments(data []byte, root *yaml.Node) error {
	if bytes.IndexByte(data, '#') < 0 {
		return nil
	}
	c := commentFinder{text: string(data), line: 1, column: 1}
	if err := c.look(root); err != nil {
		return err
	}
	return c.upTo(len(c.text))
}

// commentFinder goes through a document once, from scalar to scalar.
type commentFinder struct {
	text         string
	at           int // a byte of text, whose place is line and column
	line, column int
}

// look judges what stands before and between the scalars of n, which come in the order
// of the document.
func (c *commentFinder) look(n *yaml.Node) error {
	for _, child := range n.Content {
		if err := c.look(child); err != nil {
			return err
		}
	}
	if n.Kind != yaml.ScalarNode {
		return nil
	}
	for c.at < len(c.text) && (c.line < n.Line || c.line == n.Line && c.column < n.Column) {
		if err := c.step(); err != nil {
			return err
		}
	}
	end := c.end(n)
	if end < 0 {
		return refuse(ReasonBadYAML, "the end of a value is not found").at(n.Line, n.Column)
	}
	for c.at < end {
		c.skip()
	}
	return nil
}

func (c *commentFinder) upTo(end int) error {
	for c.at < end {
		if err := c.step(); err != nil {
			return err
		}
	}
	return nil
}

// step goes on by a character that is part of no scalar.
func (c *commentFinder) step() error {
	if c.text[c.at] == '#' {
		return refuse(ReasonYAMLComment, "comments are not used").at(c.line, c.column)
	}
	c.skip()
	return nil
}

func (c *commentFinder) skip() {
	if c.text[c.at] == '\n' {
		c.at, c.line, c.column = c.at+1, c.line+1, 1
		return
	}
	_, size := utf8.DecodeRuneInString(c.text[c.at:])
	c.at, c.column = c.at+size, c.column+1
}

// end gives the byte behind the scalar that begins at hand, or -1.
func (c *commentFinder) end(n *yaml.Node) int {
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		return c.quoted('"')
	case n.Style&yaml.SingleQuotedStyle != 0:
		return c.quoted('\'')
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		for c.at < len(c.text) && c.text[c.at] != '\n' { // its own line, where a comment may stand too
			if c.text[c.at] == '#' {
				return c.at
			}
			c.skip()
		}
	}
	// Without quotes there are no escapes: but for how lines are folded and indented, it
	// is its value.
	at := c.at
	for _, want := range n.Value {
		if want == ' ' || want == '\n' {
			continue
		}
		for at < len(c.text) && (c.text[at] == ' ' || c.text[at] == '\n') {
			at++
		}
		got, size := utf8.DecodeRuneInString(c.text[at:])
		if got != want || size == 0 {
			return -1
		}
		at += size
	}
	return at
}

func (c *commentFinder) quoted(quote byte) int {
	if c.at == len(c.text) || c.text[c.at] != quote {
		return -1
	}
	for i := c.at + 1; i < len(c.text); i++ {
		switch {
		case quote == '"' && c.text[i] == '\\', quote == '\'' && strings.HasPrefix(c.text[i:], "''"):
			i++
		case c.text[i] == quote:
			return i + 1
		}
	}
	return -1
}

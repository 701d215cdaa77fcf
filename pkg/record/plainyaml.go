package record

import (
	"strings"

	"gopkg.in/yaml.v3"
)

// Most of the time of reading a store went into YAML's grammar, of which records
// use almost nothing. parsePlain reads the part that jit writes: block maps and
// block lists, two spaces a level, and values on one line that have one meaning.
// It gives the tree that the library gives, and gives up on everything else, so
// that it decides nothing: FuzzParsePlain holds the two against each other.

// plainDepth is the deepest nesting that parsePlain reads: a policy has seven
// levels.
const plainDepth = 10

// plainParser reads lines.
type plainParser struct {
	text string
	at   int // where the next line begins
	line int // its number, from 1
	slab []yaml.Node
}

// parsePlain gives the top node of a document that checkBytes has passed; nil
// where it is not of the plain form.
func parsePlain(data []byte) *yaml.Node {
	p := &plainParser{text: string(data), line: 1}
	root := p.mapping(0, 0)
	if root == nil || p.at != len(p.text) {
		return nil
	}
	return root
}

func (p *plainParser) node(kind yaml.Kind, tag, value string, line, column int) *yaml.Node {
	if len(p.slab) == 0 {
		p.slab = make([]yaml.Node, 32)
	}
	n := &p.slab[0]
	p.slab = p.slab[1:]
	n.Kind, n.Tag, n.Value, n.Line, n.Column = kind, tag, value, line, column
	return n
}

// next gives the next line without its line feed, and its indentation; ok is
// false at the end, and for a line that is empty or does not end.
func (p *plainParser) next() (line string, indent int, ok bool) {
	end := strings.IndexByte(p.text[p.at:], '\n')
	if end <= 0 {
		return "", 0, false
	}
	line = p.text[p.at : p.at+end]
	for indent < len(line) && line[indent] == ' ' {
		indent++
	}
	return line, indent, indent < len(line)
}

func (p *plainParser) skip(line string) {
	p.at += len(line) + 1
	p.line++
}

// mapping reads the entries at an indentation. The first may stand behind the
// "- " of a list's item.
func (p *plainParser) mapping(indent, depth int) *yaml.Node {
	if depth > plainDepth {
		return nil
	}
	m := p.node(yaml.MappingNode, "!!map", "", p.line, indent+1)
	item := indent > 0 && p.at > 0 && p.at < len(p.text) && p.inItem(indent)
	for {
		line, has, ok := p.next()
		switch {
		case item:
			item = false
			has = indent
		case !ok || has < indent:
			if len(m.Content) == 0 {
				return nil
			}
			return m
		}
		if has != indent {
			return nil
		}
		key, rest, found := strings.Cut(line[indent:], ":")
		if !found || !plainKey(key) {
			return nil
		}
		m.Content = append(m.Content, p.node(yaml.ScalarNode, "!!str", key, p.line, indent+1))
		number := p.line
		p.skip(line)
		if rest == "" {
			child := p.block(indent+2, depth+1)
			if child == nil {
				return nil
			}
			m.Content = append(m.Content, child)
			continue
		}
		value, spaced := strings.CutPrefix(rest, " ")
		tag := plainTag(value)
		if !spaced || tag == "" {
			return nil
		}
		m.Content = append(m.Content, p.node(yaml.ScalarNode, tag, value, number, indent+1+len(key)+2))
	}
}

// inItem reports whether the line at hand is an item of a list whose content
// begins at an indentation.
func (p *plainParser) inItem(indent int) bool {
	return indent >= 2 && strings.HasPrefix(p.text[p.at:], strings.Repeat(" ", indent-2)+"- ")
}

// block reads what stands below a key: a list or a map.
func (p *plainParser) block(indent, depth int) *yaml.Node {
	line, has, ok := p.next()
	if !ok || has != indent {
		return nil
	}
	if strings.HasPrefix(line[indent:], "- ") {
		return p.list(indent, depth)
	}
	return p.mapping(indent, depth)
}

func (p *plainParser) list(indent, depth int) *yaml.Node {
	if depth > plainDepth {
		return nil
	}
	l := p.node(yaml.SequenceNode, "!!seq", "", p.line, indent+1)
	for {
		line, has, ok := p.next()
		if !ok || has < indent {
			return l
		}
		item, dashed := strings.CutPrefix(line[indent:], "- ")
		if has != indent || !dashed || item == "" || item[0] == ' ' {
			return nil
		}
		if key, rest, found := strings.Cut(item, ":"); found && (rest == "" || rest[0] == ' ') && plainKey(key) {
			m := p.mapping(indent+2, depth+1)
			if m == nil {
				return nil
			}
			l.Content = append(l.Content, m)
			continue
		}
		tag := plainTag(item)
		if tag == "" {
			return nil
		}
		l.Content = append(l.Content, p.node(yaml.ScalarNode, tag, item, p.line, indent+3))
		p.skip(line)
	}
}

// plainKeyBytes is the longest key that parsePlain reads. YAML itself allows 1024
// characters, from where the key begins.
const plainKeyBytes = 256

// plainKey reports whether a key is text beyond doubt.
func plainKey(key string) bool {
	if key == "" || len(key) > plainKeyBytes || !letter(key[0]) || meansMore(key) {
		return false
	}
	for i := range len(key) {
		if c := key[i]; !letter(c) && !digit(c) && c != '_' && c != '-' && c != '.' {
			return false
		}
	}
	return true
}

func letter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func digit(c byte) bool  { return c >= '0' && c <= '9' }

// meansMore reports whether some reader takes a word for something else than
// text.
func meansMore(word string) bool {
	if len(word) > 5 {
		return false
	}
	switch strings.ToLower(word) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return true
	}
	return false
}

// plainTag gives the tag of a value that is plain text, an integer or a time
// beyond doubt, and "" for all else.
func plainTag(v string) string {
	if v == "" || v[len(v)-1] == ' ' || v[len(v)-1] == ':' {
		return ""
	}
	letters := false // one that makes no number
	for i := range len(v) {
		c := v[i]
		switch {
		case letter(c):
			letters = letters || c != 'e' && c != 'E'
		case digit(c):
		case c == ' ':
			if v[i+1] == ' ' || v[i+1] == '#' {
				return ""
			}
		case c == ':':
			if v[i+1] == ' ' {
				return ""
			}
		case strings.IndexByte("._,/()@+=%-;!?", c) < 0:
			return ""
		}
	}
	switch {
	case letter(v[0]):
		if meansMore(v) {
			return ""
		}
		return "!!str"
	case !digit(v[0]):
		return ""
	case isPlainTime(v):
		return "!!timestamp"
	case len(v) > 4 && v[4] == '-':
		return "" // perhaps another form of a time
	case isInteger(v):
		return "!!int"
	case letters && !(len(v) > 1 && v[0] == '0' && strings.IndexByte("xXoObB", v[1]) >= 0):
		return "!!str"
	}
	return ""
}

// isPlainTime reports whether v is a time of the one form that records use.
func isPlainTime(v string) bool {
	_, ok := parseTime(v)
	return ok
}

// isInteger reports whether v is a decimal integer that fits every reader's.
func isInteger(v string) bool {
	if len(v) > 18 || v[0] == '0' && len(v) > 1 {
		return false
	}
	for i := range len(v) {
		if !digit(v[i]) {
			return false
		}
	}
	return true
}

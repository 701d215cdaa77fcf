package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// Bounds of a document, so that a small file cannot cost much.
const (
	maxDepth = 32      // levels of nesting
	maxNodes = 400_000 // keys, values, lists and maps together
	// maxKey is the most bytes of a key. No name is half as long, and what is said of
	// an entry repeats the keys above it.
	maxKey = 128
	// maxSmall is the most bytes of a record that is no policy.
	maxSmall = 64 << 10
)

// DecodeHead reads the head of a record and holds the whole document to the
// rules of [DecodeStrict], but for the names of the keys after the head. Comments,
// which files that people write may have, are refused in a record. The
// version is judged before anything else that the document says. The head's
// keys come first and in the order of [Head].
func DecodeHead(data []byte) (Head, error) {
	_, head, err := parseHead(data)
	return head, err
}

// parseHead is DecodeHead that gives the document's top node too.
func parseHead(data []byte) (*yaml.Node, Head, error) {
	root, err := parseStrict(data)
	if err == nil {
		err = checkNoComments(data, root)
	}
	if err != nil {
		return nil, Head{}, err
	}
	head, err := headOf(root, data)
	return root, head, err
}

// DecodeStrict reads one YAML document into the struct that into points to. It
// takes the part of YAML that has one meaning:
//
//   - at most [MaxSize] bytes of UTF-8 without a byte order mark, of safe text
//     (see [CheckText]; tabs and carriage returns are refused too), one
//     document without markers (---, ...) or directives;
//   - no anchors, aliases, merge keys or tags; no duplicate keys, none of more
//     than 128 bytes or that into does not have; no empty values and no null;
//   - integers in plain decimal, no other numbers; true and false; what YAML
//     1.1 reads as something else (yes, on, 0o7, 1:30) must be quoted;
//   - a value's type is that of its field: a number is no text.
//
// Every refusal is a [Refusal] with line and column. Types with an
// UnmarshalYAML of their own judge their own values.
func DecodeStrict(data []byte, into any) (err error) {
	t := reflect.TypeOf(into)
	if t == nil || t.Kind() != reflect.Pointer {
		return fmt.Errorf("decode into %T: a pointer is needed", into)
	}
	root, err := parseStrict(data)
	if err != nil {
		return err
	}
	return decodeNode(root, into)
}

func decodeNode(root *yaml.Node, into any) (err error) {
	defer contain(ReasonBadYAML, &err)
	if err := checkShape(root, reflect.TypeOf(into).Elem()); err != nil {
		return err
	}
	if err := fill(root, reflect.ValueOf(into).Elem()); err != nil {
		var r *Refusal
		if errors.As(err, &r) {
			return r
		}
		return refuse(ReasonBadValue, "value does not fit").because(err)
	}
	return nil
}

// Decode gives the record in v as a T, which must embed [Head] inline and have
// a field for every key. The zero Verified is refused with
// [ReasonNotVerified], another kind with [ReasonBadKind].
func Decode[T any](v Verified, kind Kind) (T, error) {
	var into T
	if v.IsZero() {
		return into, refuse(ReasonNotVerified, "the record was not verified")
	}
	if v.head.Kind != kind {
		return into, refuse(ReasonBadKind, "the record is a %q, not a %q", v.head.Kind, kind)
	}
	if err := decodeNode(v.root, &into); err != nil {
		var zero T
		return zero, err
	}
	return into, nil
}

// Encode writes v, a struct, as a document that [DecodeStrict] reads back to
// the same; what would not is refused. A document that begins with apiVersion
// is held to [DecodeHead] too.
func Encode(v any) (out []byte, err error) {
	defer contain(ReasonBadValue, &err)
	out, err = encode(v)
	if err != nil {
		return nil, err
	}
	t := reflect.TypeOf(v)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	back := reflect.New(t)
	if err := DecodeStrict(out, back.Interface()); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if !sameValue(reflect.ValueOf(v), back) {
		return nil, refuse(ReasonBadValue, "the document does not survive being written and read (text must not begin with an empty line)")
	}
	if bytes.HasPrefix(out, []byte("apiVersion:")) {
		if _, err := DecodeHead(out); err != nil {
			return nil, fmt.Errorf("encode: %w", err)
		}
	}
	return out, nil
}

func encode(v any) ([]byte, error) {
	var root yaml.Node
	if err := root.Encode(v); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	quoteText(&root)
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(&root); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return b.Bytes(), nil
}

// quoteText writes text in double quotes that the plain form or a block would
// not keep exactly.
func quoteText(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Value == "<<" {
		n.Tag, n.Style = "!!str", yaml.DoubleQuotedStyle
	}
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "\n") {
		n.Style = yaml.LiteralStyle
		for line := range strings.SplitSeq(n.Value, "\n") {
			if strings.TrimSpace(line) != line {
				n.Style = yaml.DoubleQuotedStyle
			}
		}
		if strings.HasSuffix(n.Value, "\n\n") {
			n.Style = yaml.DoubleQuotedStyle
		}
	}
	for _, c := range n.Content {
		quoteText(c)
	}
}

// parseStrict gives the document's top node, a map, after every check that
// needs no Go type.
func parseStrict(data []byte) (root *yaml.Node, err error) {
	defer contain(ReasonBadYAML, &err)
	if err := checkBytes(data); err != nil {
		return nil, err
	}
	if root = parsePlain(data); root == nil {
		if root, err = parseYAML(data); err != nil {
			return nil, err
		}
	}
	w := walker{data: data, decoded: -1}
	if err := w.walk(root, 1); err != nil {
		return nil, err
	}
	return root, nil
}

// parseYAML gives the top node of one document, a map.
func parseYAML(data []byte) (*yaml.Node, error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF):
		return nil, refuse(ReasonNotOneDocument, "the document is empty")
	case err != nil:
		return nil, badYAML(err)
	}
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, badYAML(err)
		}
		return nil, refuse(ReasonNotOneDocument, "a second document begins").at(more.Line, more.Column)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, refuse(ReasonBadValue, "the document is not a list of keys and values").at(1, 1)
	}
	return doc.Content[0], nil
}

// checkBytes is what can be said before parsing.
func checkBytes(data []byte) error {
	switch {
	case len(data) > MaxSize:
		return refuse(ReasonTooLarge, "%d bytes are more than %d", len(data), MaxSize)
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")),
		bytes.HasPrefix(data, []byte("\xff\xfe")), bytes.HasPrefix(data, []byte("\xfe\xff")):
		return refuse(ReasonBOM, "the document begins with a byte order mark")
	case !utf8.Valid(data):
		n := 0
		for n < len(data) {
			r, size := utf8.DecodeRune(data[n:])
			if r == utf8.RuneError && size == 1 {
				break
			}
			n += size
		}
		line, column := position(data, n)
		return refuse(ReasonNotUTF8, "the document is not valid UTF-8").at(line, column)
	}
	if err := checkText(data); err != nil {
		return err
	}
	number := 0
	for line := range bytes.SplitSeq(data, []byte{'\n'}) {
		number++
		if bytes.HasPrefix(line, []byte("---")) || bytes.HasPrefix(line, []byte("...")) || bytes.HasPrefix(line, []byte("%")) {
			return refuse(ReasonNotOneDocument, "document markers and directives are not used: %q", clip(string(line))).at(number, 1)
		}
	}
	return nil
}

// yamlPlace finds the line that the parser names in its message.
var yamlPlace = regexp.MustCompile(`^yaml: line (\d+): `)

func badYAML(err error) *Refusal {
	r := refuse(ReasonBadYAML, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
	if m := yamlPlace.FindStringSubmatch(err.Error()); m != nil {
		_, _ = fmt.Sscan(m[1], &r.Line)
		r.Detail = strings.TrimPrefix(err.Error(), m[0])
	}
	return r
}

// walker checks nodes in the order of the document.
type walker struct {
	data    []byte
	lines   [][]byte // of data, once they are needed
	nodes   int
	runes   []rune // the line decoded, where it is not ASCII
	decoded int
}

func (w *walker) walk(n *yaml.Node, depth int) error {
	if w.nodes++; w.nodes > maxNodes {
		return refuse(ReasonTooLarge, "more than %d values", maxNodes).at(n.Line, n.Column)
	}
	if depth > maxDepth {
		return refuse(ReasonTooLarge, "nested deeper than %d levels", maxDepth).at(n.Line, n.Column)
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return refuse(ReasonAlias, "anchors and aliases are not used").at(n.Line, n.Column)
	}
	if n.Style&yaml.TaggedStyle != 0 {
		return refuse(ReasonTag, "tags are not used").at(n.Line, n.Column)
	}
	// The parser drops the tag "!" without a trace in the node.
	switch w.runeAt(n.Line, n.Column) {
	case '!':
		return refuse(ReasonTag, "tags are not used").at(n.Line, n.Column)
	case '&', '*':
		return refuse(ReasonAlias, "anchors and aliases are not used").at(n.Line, n.Column)
	}
	switch n.Kind {
	case yaml.ScalarNode:
		return checkScalar(n)
	case yaml.SequenceNode:
		for _, c := range n.Content {
			if err := w.walk(c, depth+1); err != nil {
				return err
			}
		}
	case yaml.MappingNode:
		seen := make(map[string]bool, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, v := n.Content[i], n.Content[i+1]
			if k.Kind == yaml.ScalarNode && k.Tag == "!!merge" {
				return refuse(ReasonAlias, "merge keys are not used").at(k.Line, k.Column)
			}
			if err := w.walk(k, depth+1); err != nil {
				return err
			}
			if k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str" || strings.Contains(k.Value, "\n") {
				return refuse(ReasonBadValue, "a key must be text").at(k.Line, k.Column)
			}
			if len(k.Value) > maxKey {
				return refuse(ReasonTooLarge, "a key of %d bytes is longer than %d", len(k.Value), maxKey).at(k.Line, k.Column)
			}
			if seen[k.Value] {
				return refuse(ReasonDuplicateKey, "key %q is there twice", clip(k.Value)).at(k.Line, k.Column)
			}
			seen[k.Value] = true
			if err := w.walk(v, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// runeAt gives the character at a node's place.
func (w *walker) runeAt(line, column int) rune {
	if w.lines == nil {
		w.lines = bytes.Split(w.data, []byte{'\n'})
	}
	if line < 1 || line > len(w.lines) || column < 1 {
		return 0
	}
	b := w.lines[line-1]
	if w.decoded != line {
		w.decoded, w.runes = line, nil
		for _, c := range b {
			if c >= utf8.RuneSelf {
				w.runes = []rune(string(b))
				break
			}
		}
	}
	switch {
	case w.runes != nil && column <= len(w.runes):
		return w.runes[column-1]
	case w.runes == nil && column <= len(b):
		return rune(b[column-1])
	}
	return 0
}

var (
	plainInteger = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)
	// What YAML 1.1 takes for a number in base 60.
	sexagesimal = regexp.MustCompile(`^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$`)
)

// checkScalar holds a scalar to one meaning, and its text, which may have come
// from an escape, to safety.
func checkScalar(n *yaml.Node) error {
	if err := CheckText(n.Value); err != nil {
		var r *Refusal
		errors.As(err, &r)
		return refuse(r.Reason, "%s", r.Detail).at(n.Line, n.Column)
	}
	if n.Style != 0 {
		return nil
	}
	quote := func(reason Reason, what string) error {
		return refuse(reason, "%s %q: where text is meant, write it in quotes", what, clip(n.Value)).at(n.Line, n.Column)
	}
	switch n.Tag {
	case "!!null":
		return quote(ReasonBadValue, "an empty value")
	case "!!int":
		if !plainInteger.MatchString(n.Value) {
			return quote(ReasonBadNumber, "a number that is no plain decimal integer")
		}
	case "!!float":
		return quote(ReasonBadNumber, "a number that is no plain decimal integer")
	case "!!bool":
		if n.Value != "true" && n.Value != "false" {
			return quote(ReasonBadValue, "neither true nor false")
		}
	case "!!timestamp":
		// A field says itself what a time looks like; without this the
		// parser would turn text into its own idea of a time.
		n.Tag = "!!str"
	case "!!merge":
		return refuse(ReasonAlias, "merge keys are not used").at(n.Line, n.Column)
	default:
		if meansMore(n.Value) {
			return quote(ReasonBadValue, "what some read as true or false")
		}
		if strings.Contains(n.Value, ":") && sexagesimal.MatchString(n.Value) {
			return quote(ReasonBadNumber, "what some read as a number")
		}
	}
	return nil
}

package record

import (
	"encoding"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"gopkg.in/yaml.v3"
)

var (
	yamlUnmarshaler = reflect.TypeFor[yaml.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	durationType    = reflect.TypeFor[time.Duration]()
)

// checkShape holds the node n to the type t, so that the YAML library never
// has to convert and a refusal can say where and what. A type with its own
// unmarshaler judges its own value.
func checkShape(n *yaml.Node, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(yamlUnmarshaler) {
		return nil
	}
	if ownReader(t) {
		return needScalar(n, "!!str", "text")
	}
	switch t.Kind() {
	case reflect.Struct:
		return checkStruct(n, t)
	case reflect.Map:
		if n.Kind != yaml.MappingNode {
			return refuse(ReasonBadValue, "keys with values are needed here").at(n.Line, n.Column)
		}
		for i := 1; i < len(n.Content); i += 2 {
			if err := checkShape(n.Content[i-1], t.Key()); err != nil {
				return err
			}
			if err := checkShape(n.Content[i], t.Elem()); err != nil {
				return err
			}
		}
		return nil
	case reflect.Slice, reflect.Array:
		if n.Kind != yaml.SequenceNode {
			return refuse(ReasonBadValue, "a list is needed here").at(n.Line, n.Column)
		}
		for _, c := range n.Content {
			if err := checkShape(c, t.Elem()); err != nil {
				return err
			}
		}
		return nil
	case reflect.String:
		return needScalar(n, "!!str", "text (in quotes where it looks like something else)")
	case reflect.Bool:
		return needScalar(n, "!!bool", "true or false")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return needScalar(n, "!!int", "a whole number")
	case reflect.Interface:
		return nil
	}
	return refuse(ReasonBadValue, "a value of type %s cannot stand in a document", t).at(n.Line, n.Column)
}

// ownReader reports whether values of a type are read by the type itself, or, for
// durations, by the library, from one value.
func ownReader(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(yamlUnmarshaler) || p.Implements(textUnmarshaler) || t == durationType
}

func needScalar(n *yaml.Node, tag, what string) error {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != tag {
		return refuse(ReasonBadValue, "%s is needed here", what).at(n.Line, n.Column)
	}
	return nil
}

func checkStruct(n *yaml.Node, t reflect.Type) error {
	if n.Kind != yaml.MappingNode {
		return refuse(ReasonBadValue, "keys with values are needed here").at(n.Line, n.Column)
	}
	s := shapeOf(t)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		f, ok := s.fields[k.Value]
		switch {
		case ok:
		case s.rest.kind != nil:
			f = s.rest
		default:
			names := make([]string, 0, len(s.fields))
			for name := range s.fields {
				names = append(names, name)
			}
			slices.Sort(names)
			return refuse(ReasonUnknownKey, "unknown key %q (known here: %s)", clip(k.Value), strings.Join(names, ", ")).
				at(k.Line, k.Column)
		}
		if err := checkShape(v, f.kind); err != nil {
			return err
		}
	}
	return nil
}

// field is where a key's value goes, and of what type it is.
type field struct {
	kind  reflect.Type
	index []int
}

// shape is the keys of a struct as the YAML library names them. rest is an inline
// map, which takes all other keys, with the type of its values.
type shape struct {
	fields map[string]field
	rest   field
}

var shapes sync.Map // of reflect.Type to *shape; it is the same for a type always

func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape)
	}
	s := &shape{fields: map[string]field{}}
	s.collect(t, nil)
	shapes.Store(t, s)
	return s
}

// collect gathers the keys of t, which stands at an index.
func (s *shape) collect(t reflect.Type, at []int) {
	for f := range t.Fields() {
		if !f.IsExported() && !f.Anonymous {
			continue
		}
		tag := f.Tag.Get("yaml")
		if tag == "-" {
			continue
		}
		index := slices.Concat(at, f.Index)
		name, options, _ := strings.Cut(tag, ",")
		if slices.Contains(strings.Split(options, ","), "inline") {
			ft := f.Type
			for ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			if ft.Kind() == reflect.Map {
				s.rest = field{ft.Elem(), index}
			} else {
				s.collect(ft, index)
			}
			continue
		}
		if !f.IsExported() {
			continue
		}
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		s.fields[name] = field{f.Type, index}
	}
}

// sameValue reports whether what was read is what was written. A document has
// one form for an empty list or map, whether it was nil or not.
func sameValue(a, b reflect.Value) bool {
	for a.IsValid() && (a.Kind() == reflect.Pointer || a.Kind() == reflect.Interface) && !a.IsNil() {
		a = a.Elem()
	}
	for b.IsValid() && (b.Kind() == reflect.Pointer || b.Kind() == reflect.Interface) && !b.IsNil() {
		b = b.Elem()
	}
	if !a.IsValid() || !b.IsValid() {
		return a.IsValid() == b.IsValid()
	}
	if a.Type() != b.Type() {
		// In free parameters the reader chooses the type of an integer.
		return a.CanInt() && b.CanInt() && a.Int() == b.Int() ||
			a.CanUint() && b.CanInt() && b.Int() >= 0 && a.Uint() == uint64(b.Int()) ||
			a.Kind() == reflect.Slice && b.Kind() == reflect.Slice && sameList(a, b) ||
			a.Kind() == reflect.Map && b.Kind() == reflect.Map && sameMap(a, b) ||
			a.Kind() == reflect.String && b.Kind() == reflect.String && a.String() == b.String()
	}
	switch a.Kind() {
	case reflect.Struct:
		if t, ok := a.Interface().(time.Time); ok {
			return t.Equal(b.Interface().(time.Time))
		}
		for f := range a.Type().Fields() {
			if !f.IsExported() || f.Tag.Get("yaml") == "-" {
				continue
			}
			if !sameValue(a.FieldByIndex(f.Index), b.FieldByIndex(f.Index)) {
				return false
			}
		}
		return true
	case reflect.Slice, reflect.Array:
		return sameList(a, b)
	case reflect.Map:
		return sameMap(a, b)
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

func sameList(a, b reflect.Value) bool {
	if a.Len() != b.Len() {
		return false
	}
	for i := range a.Len() {
		if !sameValue(a.Index(i), b.Index(i)) {
			return false
		}
	}
	return true
}

func sameMap(a, b reflect.Value) bool {
	if a.Len() != b.Len() {
		return false
	}
	for _, k := range a.MapKeys() {
		if !k.CanConvert(b.Type().Key()) {
			return false
		}
		v := b.MapIndex(k.Convert(b.Type().Key()))
		if !v.IsValid() || !sameValue(a.MapIndex(k), v) {
			return false
		}
	}
	return true
}

package record

import (
	"reflect"

	"gopkg.in/yaml.v3"
)

// fill puts the node n into v. The shape of both has been compared, and that no key
// stands twice was seen before that.
//
// The YAML library could do it, but it compares each key of a map with every other:
// one record with a large map, wherever it stands, would hold up every machine that
// reads it. So the library is given single values only, and no map.
func fill(n *yaml.Node, v reflect.Value) error {
	t := v.Type()
	if ownReader(t) {
		return n.Decode(v.Addr().Interface())
	}
	switch t.Kind() {
	case reflect.Pointer:
		p := reflect.New(t.Elem())
		v.Set(p)
		return fill(n, p.Elem())
	case reflect.Struct:
		return fillStruct(n, v)
	case reflect.Map:
		if v.IsNil() {
			v.Set(reflect.MakeMapWithSize(t, len(n.Content)/2))
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if err := fillEntry(n.Content[i], n.Content[i+1], v); err != nil {
				return err
			}
		}
		return nil
	case reflect.Slice:
		v.Set(reflect.MakeSlice(t, len(n.Content), len(n.Content)))
		return fillList(n, v)
	case reflect.Array:
		if len(n.Content) != v.Len() {
			return refuse(ReasonBadValue, "%d entries are needed here", v.Len()).at(n.Line, n.Column)
		}
		return fillList(n, v)
	case reflect.String:
		v.SetString(n.Value)
		return nil
	case reflect.Interface:
		return fillFree(n, v)
	}
	return n.Decode(v.Addr().Interface())
}

func fillStruct(n *yaml.Node, v reflect.Value) error {
	s := shapeOf(v.Type())
	for i := 0; i+1 < len(n.Content); i += 2 {
		var err error
		if f, ok := s.fields[n.Content[i].Value]; ok {
			err = fill(n.Content[i+1], inside(v, f.index))
		} else {
			m := inside(v, s.rest.index)
			if m.IsNil() {
				m.Set(reflect.MakeMap(m.Type()))
			}
			err = fillEntry(n.Content[i], n.Content[i+1], m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inside gives the field at an index, through structs that are held by pointer.
func inside(v reflect.Value, index []int) reflect.Value {
	for _, i := range index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v
}

func fillEntry(key, value *yaml.Node, m reflect.Value) error {
	k, e := reflect.New(m.Type().Key()).Elem(), reflect.New(m.Type().Elem()).Elem()
	if err := fill(key, k); err != nil {
		return err
	}
	if err := fill(value, e); err != nil {
		return err
	}
	m.SetMapIndex(k, e)
	return nil
}

func fillList(n *yaml.Node, v reflect.Value) error {
	for i, c := range n.Content {
		if err := fill(c, v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

// fillFree puts n where any value may stand.
func fillFree(n *yaml.Node, v reflect.Value) error {
	var free any
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		if err := fill(n, reflect.ValueOf(&m).Elem()); err != nil {
			return err
		}
		free = m
	case yaml.SequenceNode:
		l := []any{}
		if err := fill(n, reflect.ValueOf(&l).Elem()); err != nil {
			return err
		}
		free = l
	default:
		if err := n.Decode(&free); err != nil {
			return err
		}
	}
	v.Set(reflect.ValueOf(free))
	return nil
}

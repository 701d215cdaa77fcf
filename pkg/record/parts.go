package record

import (
	"reflect"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// mapPart is how many entries of a map the YAML library gets at a time.
const mapPart = 128

// decodeParts is root.Decode(into), which compares each key of a map with every
// other: of ten thousand people's, that is most of the time that a policy takes to
// be read. So the large maps that stand at the top are decoded in parts. That no
// key stands twice was checked before.
func decodeParts(root *yaml.Node, into any) error {
	top := reflect.ValueOf(into).Elem()
	if root.Kind != yaml.MappingNode || top.Kind() != reflect.Struct {
		return root.Decode(into)
	}
	first := *root
	type rest struct {
		field   reflect.Value
		content []*yaml.Node
	}
	var later []rest
	for i := 1; i < len(root.Content); i += 2 {
		m := root.Content[i]
		if m.Kind != yaml.MappingNode || len(m.Content) <= 2*mapPart {
			continue
		}
		field := fieldOf(top, root.Content[i-1].Value)
		if !field.IsValid() || field.Kind() != reflect.Map || field.Addr().Type().Implements(yamlUnmarshaler) {
			continue
		}
		part := *m
		part.Content = m.Content[:2*mapPart]
		if len(later) == 0 {
			first.Content = slices.Clone(root.Content)
		}
		first.Content[i] = &part
		later = append(later, rest{field, m.Content[2*mapPart:]})
	}
	if err := first.Decode(into); err != nil {
		return err
	}
	for _, l := range later {
		for content := range slices.Chunk(l.content, 2*mapPart) {
			part := yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: content}
			if err := part.Decode(l.field.Addr().Interface()); err != nil {
				return err
			}
		}
	}
	return nil
}

// fieldOf gives the field of a struct, or of one that it holds inline, that has a
// key in documents; the zero value where there is none.
func fieldOf(v reflect.Value, key string) reflect.Value {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case strings.Contains(options, "inline"):
			if f.Type.Kind() == reflect.Struct {
				if inner := fieldOf(v.Field(i), key); inner.IsValid() {
					return inner
				}
			}
		case name == key && f.IsExported():
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

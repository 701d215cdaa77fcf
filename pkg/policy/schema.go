package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/jitaccess/jit/pkg/record"
)

// Schema gives a JSON Schema (draft 2020-12) of a policy's body, as YAML or JSON:
// its keys and what they mean, which must be there, and the forms of values. It is
// for editors; [Check] says what can be used. It is the same text for the same
// version of jit, and docs/policy.schema.json holds it.
func Schema() []byte {
	s := schemaMaker{defs: map[string]any{}}
	root := s.object(reflect.TypeFor[Body]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "jit policy"
	root["description"] = "The part of a jit policy that people write: who the people are, what can be asked for, and who must agree."
	root["$defs"] = s.defs
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		panic(fmt.Sprintf("policy: the schema cannot be written: %v", err)) // plain data only
	}
	return out.Bytes()
}

// schemaMaker walks through the types of a policy. Each struct becomes a definition.
type schemaMaker struct{ defs map[string]any }

// keyOf gives the key of a field in a document, and whether it must be there.
func keyOf(f reflect.StructField) (key string, required bool) {
	key, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return key, !strings.Contains(options, "omitempty")
}

// object gives the schema of a struct.
func (s schemaMaker) object(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for f := range t.Fields() {
		key, must := keyOf(f)
		if must {
			required = append(required, key)
		}
		about := schemaFields[t.Name()+"."+key]
		property := s.value(f.Type, about)
		property["description"] = about.text
		properties[key] = property
	}
	object := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		object["required"] = required
	}
	maps.Copy(object, schemaRules[t.Name()])
	return object
}

// value gives the schema of a type; about is what is said of the field that has it.
func (s schemaMaker) value(t reflect.Type, about schemaField) map[string]any {
	switch t {
	case reflect.TypeFor[record.Fingerprint]():
		return formOf(formFingerprint)
	case reflect.TypeFor[record.Duration]():
		return formOf(formDuration)
	case reflect.TypeFor[record.Timestamp]():
		return formOf(formTime)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.value(t.Elem(), about)
	case reflect.Struct:
		name := strings.ToLower(t.Name()[:1]) + t.Name()[1:]
		if _, ok := s.defs[name]; !ok {
			s.defs[name] = s.object(t)
		}
		return map[string]any{"$ref": "#/$defs/" + name}
	case reflect.Map:
		m := map[string]any{"type": "object", "additionalProperties": s.value(t.Elem(), schemaField{form: about.form, least: about.within})}
		if about.keys != nil {
			m["propertyNames"] = formOf(about.keys)
		}
		if about.least > 0 {
			m["minProperties"] = about.least
		}
		return m
	case reflect.Slice:
		l := map[string]any{"type": "array", "items": s.value(t.Elem(), schemaField{form: about.form})}
		if about.least > 0 {
			l["minItems"] = about.least
		}
		return l
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return formOf(about.form, map[string]any{"type": "integer"})
	case reflect.String:
		return formOf(about.form, map[string]any{"type": "string"})
	}
	panic(fmt.Sprintf("policy: a %s has no schema", t))
}

// formOf puts forms together.
func formOf(forms ...map[string]any) map[string]any {
	all := map[string]any{}
	for _, f := range forms {
		maps.Copy(all, f)
	}
	return all
}

package policy

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// The types of the variables.
var (
	requestType     = types.NewObjectType("request")
	requesterType   = types.NewObjectType("requester")
	resourceType    = types.NewObjectType("resource")
	entitlementType = types.NewObjectType("entitlement")
	inputsType      = types.NewObjectType("inputs")
	textsType       = types.NewListType(types.StringType)
)

// variables are what an expression can ask about.
var variables = []struct {
	name string
	kind *types.Type
}{
	{"request", requestType},
	{"requester", requesterType},
	{"resource", resourceType},
	{"role", types.StringType},
	{"inputs", inputsType},
	{"now", types.TimestampType},
	{"open", types.NewListType(entitlementType)},
	{"recent", types.NewListType(entitlementType)},
}

// objectFields are the fields of each type, but for inputs: those are the rule's.
var objectFields = map[string]fields{
	requestType.TypeName(): {
		"duration": types.DurationType, "start": types.TimestampType, "reason": types.StringType, "ticket": types.StringType,
		"emergency": types.BoolType, "extension": types.BoolType,
	},
	requesterType.TypeName(): {
		"name": types.StringType, "teams": textsType, "groups": textsType, "department": types.StringType, "manager": types.StringType,
	},
	resourceType.TypeName(): {
		"name": types.StringType, "driver": types.StringType, "labels": types.NewMapType(types.StringType, types.StringType),
	},
	entitlementType.TypeName(): {
		"request": types.StringType, "resource": types.StringType, "role": types.StringType, "state": types.StringType,
		"since": types.TimestampType, "until": types.TimestampType,
	},
}

// schema tells the check which fields there are, and of what type.
type schema struct{ inputs fields }

func (s schema) of(kind string) (fields, bool) {
	if kind == inputsType.TypeName() {
		return s.inputs, true
	}
	f, ok := objectFields[kind]
	return f, ok
}

// EnumValue gives an error: there are none.
func (schema) EnumValue(name string) ref.Val { return types.NewErr("there is no %q", name) }

// FindIdent gives nothing: the variables are declared.
func (schema) FindIdent(string) (ref.Val, bool) { return nil, false }

// FindStructType gives one of the types.
func (s schema) FindStructType(kind string) (*types.Type, bool) {
	if _, ok := s.of(kind); !ok {
		return nil, false
	}
	return types.NewTypeTypeWithParam(types.NewObjectType(kind)), true
}

// FindStructFieldNames gives the names of a type's fields, in order.
func (s schema) FindStructFieldNames(kind string) ([]string, bool) {
	f, ok := s.of(kind)
	return slices.Sorted(maps.Keys(f)), ok
}

// FindStructFieldType gives the type of a field, and how it is read.
func (s schema) FindStructFieldType(kind, field string) (*types.FieldType, bool) {
	all, _ := s.of(kind)
	t, ok := all[field]
	if !ok {
		return nil, false
	}
	return &types.FieldType{
		Type: t,
		IsSet: func(target any) bool {
			o, ok := target.(*object)
			return ok && o.fields[field] != nil
		},
		GetFrom: func(target any) (any, error) {
			if o, ok := target.(*object); ok && o.fields[field] != nil {
				return o.fields[field], nil
			}
			return nil, fmt.Errorf("%s has no %s", kind, field)
		},
	}, true
}

// NewValue gives an error: objects are not made by expressions.
func (schema) NewValue(kind string, _ map[string]ref.Val) ref.Val {
	return types.NewErr("%s cannot be made", kind)
}

// object is a value with fields. One that is absent has no entry.
type object struct {
	kind   *types.Type
	fields map[string]ref.Val
}

// ConvertToNative gives an error: nothing asks for it.
func (o *object) ConvertToNative(to reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s is no %s", o.kind, to)
}

// ConvertToType gives the object's type, or an error.
func (o *object) ConvertToType(to ref.Type) ref.Val {
	if to == types.TypeType {
		return o.kind
	}
	return types.NewErr("%s is no %s", o.kind, to.TypeName())
}

// Equal gives an error: the check lets nothing compare objects, which may be large.
func (o *object) Equal(ref.Val) ref.Val { return types.NewErr("%s cannot be compared", o.kind) }

// Type gives the object's type.
func (o *object) Type() ref.Type { return o.kind }

// Value gives the object itself.
func (o *object) Value() any { return o }

// view gives the variables of one request to its rule's conditions. Each is made
// when it is first asked for, so that a condition on the duration does not pay for
// the history.
type view struct {
	dir    *directory
	scene  Scene
	inputs map[string]ref.Val
	made   map[string]any
}

// Parent gives none.
func (v *view) Parent() cel.Activation { return nil }

// ResolveName gives a variable.
func (v *view) ResolveName(name string) (any, bool) {
	if value, ok := v.made[name]; ok {
		return value, true
	}
	value := v.make(name)
	if value == nil {
		return nil, false
	}
	v.made[name] = value
	return value, true
}

func (v *view) make(name string) ref.Val {
	s := v.scene
	switch name {
	case "request":
		return &object{requestType, timed(map[string]ref.Val{
			"duration": types.Duration{Duration: s.Duration}, "reason": types.String(s.Reason), "ticket": types.String(s.Ticket),
			"emergency": types.Bool(s.Emergency), "extension": types.Bool(s.Extend),
		}, "start", s.Start)}
	case "requester":
		p := v.dir.body.People[s.Requester]
		return &object{requesterType, map[string]ref.Val{
			"name": types.String(s.Requester), "teams": texts(p.Teams), "groups": texts(v.dir.groupsOf(s.Requester)),
			"department": types.String(p.Department), "manager": types.String(p.Manager),
		}}
	case "resource":
		r := v.dir.body.Resources[s.Resource]
		return &object{resourceType, map[string]ref.Val{
			"name": types.String(s.Resource), "driver": types.String(r.Driver),
			"labels": types.NewStringStringMap(types.DefaultTypeAdapter, r.Labels),
		}}
	case "role":
		return types.String(s.Role)
	case "inputs":
		return &object{inputsType, v.inputs}
	case "now":
		return timestamp(s.At)
	case "open":
		return entitlements(s.Open)
	case "recent":
		return entitlements(s.Recent)
	}
	return nil
}

// timestamp is in UTC, so that writing it gives the same everywhere.
func timestamp(t time.Time) ref.Val { return types.Timestamp{Time: t.UTC()} }

// timed adds a time that may be absent.
func timed(f map[string]ref.Val, name string, t *time.Time) map[string]ref.Val {
	if t != nil && !t.IsZero() {
		f[name] = timestamp(*t)
	}
	return f
}

func texts(list []string) ref.Val { return types.NewStringList(types.DefaultTypeAdapter, list) }

func entitlements(list []Held) ref.Val {
	all := make([]ref.Val, 0, len(list))
	for _, h := range list {
		f := map[string]ref.Val{
			"request": types.String(h.Request), "resource": types.String(h.Resource), "role": types.String(h.Role), "state": types.String(h.State),
		}
		all = append(all, &object{entitlementType, timed(timed(f, "since", &h.Since), "until", &h.Until)})
	}
	return types.NewRefValList(types.DefaultTypeAdapter, all)
}

// groupsOf gives the names of the groups that a person is in, in order.
func (d *directory) groupsOf(person string) []string {
	var names []string
	for name, members := range d.groups {
		if members[person] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

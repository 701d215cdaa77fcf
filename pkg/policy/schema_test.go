package policy

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"

	"github.com/jitaccess/jit/pkg/record"
)

var update = flag.Bool("update", false, "write the files that are made from the code")

// TestSchemaFile holds the published schema to the code. To make it anew:
//
//	go test ./pkg/policy -run TestSchemaFile -update
func TestSchemaFile(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "policy.schema.json")
	if *update {
		if err := os.WriteFile(file, Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, Schema()) {
		t.Errorf("%s is not what the code makes; run: go test ./pkg/policy -run TestSchemaFile -update", file)
	}
	if !bytes.Equal(Schema(), Schema()) {
		t.Error("the schema is another each time")
	}
}

// TestSchemaText holds the table of descriptions to the types.
func TestSchemaText(t *testing.T) {
	fields := map[string]bool{}
	var walk func(reflect.Type)
	walk = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			walk(t.Elem())
		case reflect.Struct:
			if t.PkgPath() != reflect.TypeFor[Body]().PkgPath() {
				return
			}
			for f := range t.Fields() {
				key, _ := keyOf(f)
				fields[t.Name()+"."+key] = true
				walk(f.Type)
			}
		}
	}
	walk(reflect.TypeFor[Body]())
	for field := range fields {
		if text := schemaFields[field].text; text == "" || !strings.HasSuffix(text, ".") && !strings.ContainsAny(text, ":") {
			t.Errorf("%s: %q says nothing", field, text)
		}
	}
	for field := range schemaFields {
		if !fields[field] {
			t.Errorf("%s is described and does not exist", field)
		}
	}
	if len(fields) < 80 {
		t.Errorf("only %d fields were found: the search is broken", len(fields))
	}
}

// everything is a policy with every key.
const everything = `admins: {people: [alice], threshold: 1}
people:
  alice:
    name: Alice
    email: alice@example.com
    keys: ["0000000000000000000000000000000000000001"]
    teams: [web]
    department: it
    manager: bob
    accounts: {postgres: al}
  bob: {keys: ["00000000000000000000000000000000000000AB"]}
groups: {dba: [bob]}
teams: {web: {leads: [bob]}}
rosters:
  duty:
    - {from: 2026-01-05T08:00:00Z, until: 2026-01-12T08:00:00Z, people: [alice]}
schedules:
  office: {zone: Europe/Berlin, days: [mon, fri], hours: ["08:00-18:00", "22:00-24:00"], freeze: [{from: "2026-12-20", until: "2026-12-31", reason: rest}]}
delegation: {longest: 30d, to: ["group:dba"]}
reconcilers: {box: {keys: ["0000000000000000000000000000000000000009"], resources: [db]}}
resources:
  db:
    driver: postgres
    description: orders
    labels: {sensitivity: high}
    owners: [alice, "team:web"]
    freshness: 1h
    lease: 1d12h
    trace: required
    roles: {read: {description: look, parameters: {grant: reader}, usage: psql}, write: {}}
conflicts: [{name: both, between: ["db:read", "*:write"]}]
rules:
  - name: stop
    resources: [db]
    roles: [write]
    requesters: ["roster:duty"]
    approve: deny
    message: not while you are on duty
  - name: read
    resources: ["d*"]
    roles: [read]
    labels: {sensitivity: "h*"}
    requesters: ["department:it", alice, "a*"]
    maxDuration: 4h
    maxTotal: 1d
    maxAhead: 1w
    maxOpen: 2
    maxOpenPerRole: 3
    coolingOff: 30m
    pending: 2d
    requires:
      reason: ".+"
      ticket: "[A-Z]+"
      inputs:
        why: {type: text, pattern: ".+", description: reason}
        rows: {type: number, min: 1, max: 100, optional: true}
        kind: {type: choice, choices: [a, b]}
        sure: {type: boolean}
    askDuring: office
    useDuring: office
    conditions: [{expr: "inputs.sure", message: be sure}]
    emergency: {requesters: ["roster:duty"], maxDuration: 1h, acknowledge: 1d, acknowledgers: [owner], repeat: true}
    partial: true
    exclude: [reports, managers, delegates]
    stages:
      - approvers: [manager, "group:dba"]
        count: 1
        escalate: [{after: 1h, to: [managers-manager]}]
        expire: 1d
      - allOf: [{approvers: [owner], count: 1}, {approvers: [team-lead], count: 1}]
      - anyOf: [{approvers: ["*"], count: 2}, {approvers: [bob], count: 1}]
  - {name: rest, resources: ["*"], roles: ["*"], requesters: ["*"], maxDuration: 1h, approve: auto}
`

// TestSchemaTakes validates policies with a validator that others wrote.
func TestSchemaTakes(t *testing.T) {
	schema := compiledSchema(t)
	big, err := record.Encode(*bigBody(50, 200))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"everything": everything, "seed": bodySeed, "big": string(big)} {
		var b Body
		if err := record.DecodeStrict([]byte(text), &b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if problems := Check(&b); len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
		}
		if err := schema.Validate(instance(t, text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What everything holds, it holds all of.
	var v any
	if err := yaml.Unmarshal([]byte(everything), &v); err != nil {
		t.Fatal(err)
	}
	for field, about := range schemaFields {
		_, key, _ := strings.Cut(field, ".")
		if !hasKey(v, key) {
			t.Errorf("%s is not in the example of everything: %q", field, about.text)
		}
	}
}

func hasKey(v any, key string) bool {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if k == key || hasKey(inner, key) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(v, func(inner any) bool { return hasKey(inner, key) })
	}
	return false
}

// TestSchemaRefuses breaks the policy with everything in one place each.
func TestSchemaRefuses(t *testing.T) {
	schema := compiledSchema(t)
	for _, c := range []struct{ old, new string }{
		{"admins: {people: [alice], threshold: 1}", "admins: {people: [], threshold: 1}"},
		{"threshold: 1", "threshold: 0"},
		{"threshold: 1", "threshold: two"},
		{"admins: {people: [alice], threshold: 1}\n", ""},
		{"  bob: {keys", "  Bob: {keys"},
		{"0000000000000000000000000000000000000001", "000000000000000000000000000000000000000"},
		{"00000000AB", "00000000ab"},
		{"email:", "mail:"},
		{"groups: {dba: [bob]}", "groups: {dba: []}"},
		{"leads: [bob]", "leads: []"},
		{"until: 2026-01-12T08:00:00Z", `until: "2026-01-12"`},
		{"days: [mon, fri]", "days: [monday]"},
		{`"08:00-18:00"`, `"8-18"`},
		{"zone: Europe/Berlin, ", ""},
		{"longest: 30d", "longest: 30"},
		{"longest: 30d", "longest: 30 days"},
		{"trace: required", "trace: yes please"},
		{"{sensitivity: high}", "{sensitivity: 3}"},
		{`"db:read", `, ""},
		{`"db:read"`, `"db"`},
		{"    approve: deny\n", "    approve: never\n"},
		{"    message: not while you are on duty\n", ""},
		{"    approve: deny\n", "    approve: deny\n    maxDuration: 1h\n"},
		{"    maxDuration: 4h\n", ""},
		{"    maxDuration: 4h\n", "    maxDuration: 4h\n    message: hello\n"},
		{"maxOpen: 2", "maxOpen: -1"},
		{"type: text", "type: string"},
		{", choices: [a, b]", ""},
		{"[reports, managers", "[report, managers"},
		{"        count: 1\n        escalate", "        escalate"},
		{"- allOf: [", "- approvers: [bob]\n        count: 1\n        allOf: ["},
		{"{after: 1h, to: [managers-manager]}", "{after: 1h}"},
		{"maxDuration: 1h, approve: auto}", "maxDuration: 1h}"},
		{"maxDuration: 1h, approve: auto}", "maxDuration: 1h, approve: auto, stages: [{approvers: [bob], count: 1}]}"},
		{`"department:it"`, `"role:it"`},
		{"partial: true", "partial: 1"},
		{"rules:\n", "rules: []\nother:\n"},
	} {
		text := strings.Replace(everything, c.old, c.new, 1)
		if text == everything {
			t.Fatalf("there is no %q", c.old)
		}
		if err := schema.Validate(instance(t, text)); err == nil {
			t.Errorf("%q for %q passes", c.new, c.old)
		}
	}
}

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("policy.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("policy.schema.json") // holds it to the draft's own schema too
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// instance gives a YAML text as the JSON that a validator takes.
func instance(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	v, err = jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

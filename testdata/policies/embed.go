// Package policies holds the example policies with their tables of cases, for
// jit init --example to begin from. It imports nothing of this module.
package policies

import (
	"embed"
	"fmt"
	"slices"
)

//go:embed startup bank on-call
var files embed.FS

// Example is a policy and its cases, as their files hold them.
type Example struct {
	// Admin is who of the example's people gives way to the person who begins with
	// it.
	Admin        string
	Policy, Test string
}

// admins are the examples by name, each with its first admin.
var admins = map[string]string{"startup": "ines", "bank": "ulrike", "on-call": "oona"}

// Names are the examples' names, in the order of their size.
var Names = []string{"startup", "bank", "on-call"}

// Read gives an example by name; ok is false where there is none.
func Read(name string) (e Example, ok bool) {
	if !slices.Contains(Names, name) {
		return e, false
	}
	read := func(file string) string {
		data, err := files.ReadFile(name + "/" + file)
		if err != nil {
			panic(fmt.Sprintf("policies: %v", err)) // built in
		}
		return string(data)
	}
	return Example{Admin: admins[name], Policy: read("policy.yaml"), Test: read("test.yaml")}, true
}

// Package builtin knows the drivers that jit brings along, by name. It stands
// apart from package target so that that one stays free of them.
//
// It imports package target and the drivers, and nothing else of jit.
package builtin

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jitaccess/jit/pkg/target"
	"github.com/jitaccess/jit/pkg/target/authorizedkeys"
	"github.com/jitaccess/jit/pkg/target/postgres"
)

// Drivers maps the name that a policy uses to the driver. The map is the
// caller's own.
func Drivers() map[string]target.Kind {
	return map[string]target.Kind{
		"postgres":        {Description: postgres.Describe(), Validate: postgres.Validate, New: postgres.New},
		"authorized-keys": {Description: authorizedkeys.Describe(), Validate: authorizedkeys.Validate, New: authorizedkeys.New, Place: authorizedkeys.Place},
	}
}

// ValidateRole judges a role's parameters in a policy. The error is of type
// [*target.Error] where the driver is not known, else [*target.ParamError].
func ValidateRole(driver string, params map[string]string) error {
	return validate(driver, params, "")
}

// ValidateAccess judges a role's parameters and a person's account together.
func ValidateAccess(driver string, params map[string]string, account string) error {
	return validate(driver, params, account)
}

func validate(driver string, params map[string]string, account string) error {
	kind, ok := Drivers()[driver]
	if !ok {
		names := slices.Sorted(maps.Keys(Drivers()))
		return &target.Error{Reason: target.NotFound, Detail: fmt.Sprintf("driver %q is not known", driver), Hint: "known are " + strings.Join(names, ", ")}
	}
	return kind.Validate(params, account)
}

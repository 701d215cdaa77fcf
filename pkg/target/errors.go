package target

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Reason is the stable name of the cause for which a driver failed.
type Reason string

// The reasons. They are never renamed.
const (
	// Unreachable: the target did not answer, or not in time.
	Unreachable Reason = "unreachable"
	// Refused: a protected account or role that the policy does not name.
	Refused Reason = "refused"
	// NotFound: the role, account or folder is not there.
	NotFound Reason = "not-found"
	// Privilege: the driver's own account may not do this on the target.
	Privilege Reason = "privilege"
	// BadSetting: the reconciler's configuration is wrong.
	BadSetting Reason = "bad-setting"
	// BadGrant: the grant is not one that a driver can take.
	BadGrant Reason = "bad-grant"
	// Unsafe: the target's files are set up so that others could misuse a
	// change.
	Unsafe Reason = "unsafe"
	// Held: somebody else on the target holds what the driver must change, or
	// what it needs for that, and could not be put off.
	Held Reason = "held"
	// Full: the target takes no more: connections, or bytes on its file system.
	Full Reason = "full"
	// Failed: the target answered with an error of its own.
	Failed Reason = "failed"
)

// Error is a driver's refusal or failure. The zero value is not used.
type Error struct {
	Reason Reason
	// Detail says what happened; Hint says what to do next, and may be empty.
	Detail, Hint string
	// Err is the cause, or nil.
	Err error
}

// Values to compare with by errors.Is: they match every [*Error] of their
// reason.
var (
	ErrUnreachable = &Error{Reason: Unreachable}
	ErrRefused     = &Error{Reason: Refused}
	ErrNotFound    = &Error{Reason: NotFound}
	ErrPrivilege   = &Error{Reason: Privilege}
	ErrBadSetting  = &Error{Reason: BadSetting}
	ErrBadGrant    = &Error{Reason: BadGrant}
	ErrUnsafe      = &Error{Reason: Unsafe}
	ErrHeld        = &Error{Reason: Held}
	ErrFull        = &Error{Reason: Full}
	ErrFailed      = &Error{Reason: Failed}
)

// Error is the detail and the cause; the hint is for the caller to show.
func (e *Error) Error() string {
	switch {
	case e.Detail == "" && e.Err == nil:
		return string(e.Reason)
	case e.Detail == "":
		return e.Err.Error()
	case e.Err == nil:
		return e.Detail
	}
	return e.Detail + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is matches another *Error of the same reason that says nothing more.
func (e *Error) Is(other error) bool {
	o, ok := other.(*Error)
	return ok && *o == Error{Reason: e.Reason}
}

// ReasonOf is the reason that err holds, or "" when it holds none.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ""
}

// HintOf is the next step that err names, or "" when it names none.
func HintOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Hint
	}
	if e, ok := errors.AsType[*ParamError](err); ok {
		return e.Hint
	}
	return ""
}

// ParamError refuses a role's parameter, or the account (Param is then
// "account of the person").
type ParamError struct {
	Param, Problem, Hint string
}

// ParamAccount stands in ParamError.Param when the account is refused.
const ParamAccount = "account of the person"

func (e *ParamError) Error() string {
	return fmt.Sprintf("%s: %s", e.Param, e.Problem)
}

// CheckParams refuses parameters that known does not name, and required ones
// that are missing or empty. Errors are of type [*ParamError].
func CheckParams(known []Parameter, params map[string]string) error {
	if name, problem, hint := checkNames(known, params); name != "" {
		return &ParamError{Param: name, Problem: problem, Hint: hint}
	}
	return nil
}

// CheckSettings refuses settings that known does not name, and required ones
// that are missing or empty. Errors are of type [*Error], [BadSetting].
func CheckSettings(known []Parameter, settings map[string]string) error {
	if name, problem, hint := checkNames(known, settings); name != "" {
		return &Error{Reason: BadSetting, Detail: fmt.Sprintf("setting %s: %s", name, problem), Hint: hint}
	}
	return nil
}

func checkNames(known []Parameter, given map[string]string) (name, problem, hint string) {
	names := make([]string, 0, len(known))
	for _, k := range known {
		names = append(names, k.Name)
	}
	for _, n := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(names, n) {
			return fmt.Sprintf("%q", n), "is not known", "known are " + strings.Join(names, ", ")
		}
	}
	for _, k := range known {
		if k.Required && given[k.Name] == "" {
			return k.Name, "is missing", k.Doc
		}
	}
	return "", "", ""
}

// ParseFlag reads a parameter that is "true" or "false"; absent means false.
// The error is of type [*ParamError].
func ParseFlag(params map[string]string, name string) (bool, error) {
	switch v, ok := params[name]; {
	case !ok, v == "false":
		return false, nil
	case v == "true":
		return true, nil
	default:
		return false, &ParamError{Param: name, Problem: fmt.Sprintf("%q is neither true nor false", v), Hint: `write "true" in quotes, or leave it out`}
	}
}

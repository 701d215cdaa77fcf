package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/reconcile"
	"github.com/jitaccess/jit/pkg/record"
)

// The exit codes. They are never renumbered; more may be added.
const (
	exitDone        = 0
	exitUnexpected  = 1
	exitUsage       = 2 // a mistake on the command line, in a file or in the set-up
	exitRefused     = 3 // by the policy, or by the standing of a request
	exitUntrusted   = 4 // tampering, a rewritten history, a bad signature
	exitUnreachable = 5
	exitPartly      = 6 // reconcile failed for some target
	exitPending     = 7 // still pending when the wait ended
	exitClosed      = 8 // denied, cancelled or lapsed while waiting
	exitEmergency   = 9 // an emergency is not acknowledged (status)
	exitInterrupted = 130
)

// exitError is an error with its exit code and what a person is told. It is
// shown as "jit: MESSAGE", and the hint on a line of its own.
type exitError struct {
	Exit int
	// Code is the stable name of the error, for programs.
	Code string
	// Message says what was refused and why; Hint what to do next; Rule names
	// the rule of the policy that refuses, where one does.
	Message, Hint, Rule string
	// Err is the cause, or nil.
	Err error
}

func (e *exitError) Error() string {
	if e.Message != "" {
		return e.Message
	}
	if e.Err != nil {
		return e.Err.Error()
	}
	return e.Code
}

func (e *exitError) Unwrap() error { return e.Err }

// errListed says that the command line was answered without running a command.
var errListed = errors.New("listed")

// usageErr is a mistake of usage: exit 2. The hint may be empty.
func usageErr(hint, format string, args ...any) error {
	return &exitError{Exit: exitUsage, Code: "usage", Message: fmt.Sprintf(format, args...), Hint: hint, Err: causeIn(args)}
}

// failure is an error with a code of its own.
func failure(exit int, code, hint, format string, args ...any) error {
	return &exitError{Exit: exit, Code: code, Message: fmt.Sprintf(format, args...), Hint: hint, Err: causeIn(args)}
}

// causeIn gives the first error among args, so that no cause is dropped.
func causeIn(args []any) error {
	for _, a := range args {
		if err, ok := a.(error); ok {
			return err
		}
	}
	return nil
}

// storeErrors says for each cause that gitstore tells apart which exit code,
// code and hint it gets. The first that fits counts.
var storeErrors = []struct {
	err        error
	exit       int
	code, hint string
}{
	{gitstore.ErrRewritten, exitUntrusted, "rewritten", "nothing was changed here; compare with a colleague: jit status. Whoever runs the git host must explain it"},
	{gitstore.ErrHostKey, exitUnreachable, "host-key", "compare the server's key with its owner, then let ssh learn it: ssh HOST"},
	{gitstore.ErrAuth, exitUnreachable, "access-denied", "check with: git ls-remote URL"},
	{gitstore.ErrNotOurs, exitUnreachable, "store-not-ours", "what others put there would run with your rights: give it to root alone, or reach it over ssh"},
	{gitstore.ErrUnreachable, exitUnreachable, "unreachable", "check with: git ls-remote URL; what is known here is shown with --offline"},
	{gitstore.ErrNotEmpty, exitUsage, "not-empty", "to use the store that is there, run: jit join URL; a new one needs an empty repository"},
	{gitstore.ErrEmpty, exitUsage, "empty-store", "to make a store there, run: jit init URL --as NAME"},
	{gitstore.ErrOtherURL, exitUsage, "other-url", "run: jit join URL, or unset JIT_STORE"},
	{gitstore.ErrBadURL, exitUsage, "bad-url", "give a path, file://, ssh://, USER@HOST:PATH, https:// or http://"},
	{gitstore.ErrNoGit, exitUsage, "no-git", "install git"},
	{gitstore.ErrRelativePath, exitUsage, "relative-path", hintRelativePath},
	{gitstore.ErrExists, exitUntrusted, "path-taken", "run: jit repair"},
	{gitstore.ErrBadPath, exitUntrusted, "bad-path", "run: jit doctor"},
	{gitstore.ErrLocked, exitUnreachable, "store-locked", "where no git works on that repository, one that was killed has left the file: have its owner remove it"},
	{gitstore.ErrRefused, exitUnreachable, "push-refused", "ask whoever runs the git host: everyone who signs must be allowed to push to the branch"},
	{gitstore.ErrContention, exitUnreachable, "contention", "run it again"},
	{gitstore.ErrBadRemote, exitUnreachable, "bad-remote", "check with: git ls-remote URL"},
	{gitstore.ErrCorrupt, exitUntrusted, "corrupt", "run: jit doctor"},
	{ledger.ErrUnwritable, exitUnexpected, "disk", "make room in jit's folder; what cannot wait, such as a revocation, can be signed on another machine, or with JIT_HOME naming a copy of the folder elsewhere"},
}

// hintRelativePath is what helps where PATH names a relative folder.
const hintRelativePath = "name every folder in PATH from the root: no \".\", and no empty part"

// asExit gives err its exit code. Whatever a lower package has said is kept.
func (a *App) asExit(ctx context.Context, err error) *exitError {
	var (
		done     *exitError
		refusal  *policy.Refusal
		document *record.Refusal
		sign     *record.SignError
		config   *reconcile.ConfigError
	)
	switch {
	case errors.As(err, &done):
		return done
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return &exitError{Exit: exitInterrupted, Code: "interrupted", Message: "interrupted", Err: err}
	case errors.As(err, &refusal):
		return &exitError{Exit: exitRefused, Code: string(refusal.Code), Message: err.Error(), Hint: refusal.Hint, Rule: refusal.Rule, Err: err}
	case errors.As(err, &sign):
		e := &exitError{Exit: exitUsage, Code: string(sign.Problem), Message: err.Error(), Hint: sign.Hint, Err: err}
		if sign.Problem == record.SignFailed || sign.Problem == record.SignCancelled {
			e.Exit = exitUnexpected
		}
		if e.Hint == "" {
			e.Hint = "run: jit doctor"
		}
		return e
	}
	if errors.As(err, &config) {
		return &exitError{Exit: exitUsage, Code: "bad-config", Message: err.Error(), Hint: config.Hint, Err: err}
	}
	if e := replicaExit(err); e != nil {
		return e
	}
	for _, s := range storeErrors {
		if errors.Is(err, s.err) {
			return &exitError{Exit: s.exit, Code: s.code, Message: err.Error(), Hint: s.hint, Err: err}
		}
	}
	switch {
	case errors.As(err, &document):
		return &exitError{Exit: exitUntrusted, Code: string(document.Reason), Message: err.Error(), Err: err}
	case !a.started:
		// cobra's own words about flags and arguments.
		return &exitError{Exit: exitUsage, Code: "usage", Message: err.Error(), Err: err}
	case errors.Is(err, fs.ErrPermission):
		return &exitError{Exit: exitUnexpected, Code: "permission", Message: err.Error(), Hint: "run: jit doctor", Err: err}
	}
	return &exitError{Exit: exitUnexpected, Code: "unexpected", Message: err.Error(), Err: err}
}

// errorJSON is an error as programs read it. Absent is null.
type errorJSON struct {
	Error   string  `json:"error"`
	Exit    int     `json:"exit"`
	Message string  `json:"message"`
	Hint    *string `json:"hint"`
	Rule    *string `json:"rule"`
}

// printError shows e on the error stream, as an object where the command was
// asked for JSON.
func (a *App) printError(e *exitError, asJSON bool) {
	if asJSON {
		data, err := json.Marshal(errorJSON{e.Code, e.Exit, e.Error(), orNull(e.Hint), orNull(e.Rule)})
		if err == nil {
			if a.IO.ErrTTY {
				data = visibleBlanks(data)
			}
			fmt.Fprintf(rawWriter(a.IO.Err), "%s\n", data)
			return
		}
	}
	st := a.IO.ErrStyle()
	fmt.Fprintf(a.IO.Err, "%s %s\n", st.Bad("jit:"), clean(e.Error()))
	if e.Hint != "" {
		fmt.Fprintf(a.IO.Err, "  %s %s\n", st.Faint("hint:"), clean(e.Hint))
	}
}

// orNull gives nil for an empty text.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// clean makes text from elsewhere (a server's words, a file's content) safe to
// show: control and other invisible characters become visible, and what stands on
// further lines stands further in than anything that jit begins a line with.
func clean(s string) string {
	return indent(cleanLines(s), strings.Repeat(" ", hang))
}

// cleanLines is clean for texts of which the caller places each line.
func cleanLines(s string) string {
	if record.CheckText(s) == nil {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\n':
			b.WriteRune(r)
		case r == '\t':
			b.WriteString("    ")
		case record.CheckText(string(r)) == nil:
			b.WriteRune(r)
		default:
			fmt.Fprintf(&b, "\\u{%x}", r)
		}
	}
	return b.String()
}

// wantsJSON reports whether the command line asks for JSON, also where it could
// not be parsed.
func wantsJSON(cmd *cobra.Command, args []string) bool {
	if cmd != nil {
		if f := cmd.Flags().Lookup("output"); f != nil && f.Value.String() == formatJSON {
			return true
		}
		if f := cmd.Flags().Lookup("json"); f != nil && f.Changed {
			return true
		}
	}
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	for i, arg := range args {
		switch {
		case arg == "-ojson", arg == "--output=json", arg == "-o=json", arg == "--json", strings.HasPrefix(arg, "--json="):
			return true
		case (arg == "-o" || arg == "--output") && i+1 < len(args) && args[i+1] == formatJSON:
			return true
		}
	}
	return false
}

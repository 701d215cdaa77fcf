package main

import (
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

func ptr(n int64) *int64 { return &n }

// inputDefs is one definition of a type.
func inputDefs(kind string) []policy.Input {
	d := policy.Input{Type: kind}
	if kind == "choice" {
		d.Choices = []string{"eu", "us"}
	}
	return []policy.Input{d}
}

func TestAskInput(t *testing.T) {
	text := policy.Input{Type: "text", Pattern: "[0-9]+", Description: "the customer's number"}
	number := policy.Input{Type: "number", Min: ptr(1), Max: ptr(100)}
	choice := policy.Input{Type: "choice", Choices: []string{"eu", "us"}}
	boolean := policy.Input{Type: "boolean"}
	optional := func(d policy.Input) policy.Input {
		d.Optional = true
		return d
	}
	for _, c := range []struct {
		name  string
		defs  []policy.Input
		typed string
		want  string
		code  string
		sees  string
	}{
		{name: "text", defs: []policy.Input{text}, typed: "42\n", want: "42", sees: "it, the customer's number (a text that matches [0-9]+): "},
		{name: "text again", defs: []policy.Input{text}, typed: "x\n42 \n", want: "42", sees: `That does not fit: "x" does not match [0-9]+.`},
		{name: "text blank", defs: []policy.Input{text}, typed: "\n7\n", want: "7", sees: "it is blank"},
		{name: "text, part of it matches", defs: []policy.Input{{Type: "text", Pattern: "a|b"}}, typed: "ab\na\n", want: "a"},
		{name: "text three times", defs: []policy.Input{text}, typed: "x\ny\nz\n42\n", code: "usage"},
		{name: "text too long", defs: inputDefs("text"), typed: strings.Repeat("é", 201) + "\nshort\n", want: "short", sees: "longer than 200 characters"},
		{name: "text of 200", defs: inputDefs("text"), typed: strings.Repeat("é", 200) + "\n", want: strings.Repeat("é", 200)},
		{name: "text unseen", defs: inputDefs("text"), typed: "a\u202eb\nab\n", want: "ab", sees: "U+202E"},
		{name: "text left out", defs: []policy.Input{optional(text)}, typed: "\n", want: "", sees: "[Enter to leave it out]"},
		{name: "text optional, wrong", defs: []policy.Input{optional(text)}, typed: "x\n\n", want: "", sees: "That does not fit"},
		{name: "number", defs: []policy.Input{number}, typed: "100\n", want: "100", sees: "(a whole number from 1 to 100)"},
		{name: "number beyond", defs: []policy.Input{number}, typed: "0\n101\n1\n", want: "1", sees: "101 is more than 100"},
		{name: "number in words", defs: []policy.Input{number}, typed: "ten\n007\n7\n", want: "7", sees: `"007" is not a whole number in plain digits`},
		{name: "number beyond 64 bits", defs: inputDefs("number"), typed: "9223372036854775808\n-9223372036854775808\n", want: "-9223372036854775808", sees: "beyond 64 bits"},
		{name: "choice by number", defs: []policy.Input{choice}, typed: "2\n", want: "us", sees: "  2  us\n"},
		{name: "choice by name", defs: []policy.Input{choice}, typed: "eu\n", want: "eu"},
		{name: "choice, none wanted", defs: []policy.Input{optional(choice)}, typed: "3\n", want: "", sees: "  3  none of them\n"},
		{name: "choice, none given", defs: []policy.Input{choice}, typed: "3\nno\nx\n1\n", code: "usage"},
		{name: "boolean", defs: []policy.Input{boolean}, typed: "y\n", want: "true", sees: "it? [y/N] "},
		{name: "boolean, Enter is no", defs: []policy.Input{boolean}, typed: "\n", want: "false"},
		{name: "boolean left out", defs: []policy.Input{optional(boolean)}, typed: "\n", want: "", sees: "[y/n, Enter to leave it out]"},
		{name: "boolean optional, no", defs: []policy.Input{optional(boolean)}, typed: "perhaps\nno\n", want: "false", sees: "neither true nor false"},
		{name: "two rules, both hold", defs: []policy.Input{number, {Type: "number", Min: ptr(50)}}, typed: "7\n70\n", want: "70", sees: "7 is less than 50"},
		{name: "two rules, one cannot do without", defs: []policy.Input{optional(text), text}, typed: "\n7\n", want: "7"},
		{name: "the input ends", defs: []policy.Input{text}, typed: "x\n", code: "no-answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, seen := askedApp(c.typed)
			got, err := a.askInput(wantedInput{name: "it", defs: c.defs})
			switch {
			case c.code != "":
				wantExit(t, err, exitUsage, c.code)
			case err != nil || got != c.want:
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
			if !strings.Contains(seen.String(), c.sees) {
				t.Errorf("never saw %q in\n%s", c.sees, seen)
			}
		})
	}
}

func TestParseInputs(t *testing.T) {
	got, err := parseInputs([]string{"a=1", "b=x=y", "c="})
	if err != nil || !reflect.DeepEqual(got, map[string]string{"a": "1", "b": "x=y", "c": ""}) {
		t.Errorf("%v, %v", got, err)
	}
	many := make([]string, request.MaxInputs+1)
	for i := range many {
		many[i] = strings.Repeat("n", i+1) + "=1"
	}
	for _, bad := range [][]string{{"a"}, {"=1"}, {"a=1", "a=1"}, {"a=\x1b[2J"}, many} {
		if _, err := parseInputs(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// askPolicy is a policy under which alice has much to choose from.
func askPolicy(t *testing.T) *policy.Policy {
	t.Helper()
	hours := func(n int) record.Duration { return record.Duration{Duration: time.Duration(n) * time.Hour} }
	roles := func(names ...string) map[string]policy.Role {
		m := map[string]policy.Role{}
		for _, n := range names {
			m[n] = policy.Role{Description: "to " + n}
		}
		return m
	}
	body := policy.Body{
		Admins: policy.Admins{People: []string{"bob"}, Threshold: 1},
		People: map[string]policy.Person{
			"alice": {Keys: []record.Fingerprint{record.Fingerprint(strings.Repeat("A", 40))}},
			"bob":   {Keys: []record.Fingerprint{record.Fingerprint(strings.Repeat("B", 40))}},
		},
		Resources: map[string]policy.Resource{
			"orders-db": {Driver: "x", Description: "the shop's orders", Roles: roles("read", "write")},
			"web1":      {Driver: "x", Roles: roles("login")},
			"vault":     {Driver: "x", Roles: roles("open")},
		},
		Rules: []policy.Rule{
			{Name: "reading", Resources: []string{"orders-db"}, Roles: []string{"read"}, Requesters: []string{"alice"}, MaxDuration: hours(8), Approve: policy.ApproveAuto},
			{
				Name: "writing", Resources: []string{"orders-db"}, Roles: []string{"write"}, Requesters: []string{"alice"}, MaxDuration: hours(2),
				Requires: policy.Requires{Reason: ".{10,}", Ticket: "OPS-[0-9]+", Inputs: map[string]policy.Input{
					"rows":   {Type: "number", Min: ptr(1), Max: ptr(10)},
					"region": {Type: "choice", Choices: []string{"eu", "us"}, Optional: true},
				}},
				Stages: []policy.Stage{{Approvers: []string{"bob"}, Count: 1}},
			},
			{Name: "login", Resources: []string{"web1"}, Roles: []string{"*"}, Requesters: []string{"alice"}, MaxDuration: record.Duration{Duration: 30 * time.Minute}, Approve: policy.ApproveAuto},
			{Name: "never", Resources: []string{"vault"}, Roles: []string{"*"}, Requesters: []string{"*"}, Approve: policy.ApproveDeny, Message: "nobody opens it"},
		},
	}
	p, err := policy.Compile(policy.Document{Body: body}, record.Sum([]byte("x")))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// askedOptions are those of a command line, read as the program reads it.
func askedOptions(t *testing.T, a *App, args ...string) *requestOptions {
	t.Helper()
	o := &requestOptions{app: a, now: a.Now(), inputs: map[string]string{}}
	cmd := &cobra.Command{Use: "request"}
	f := cmd.Flags()
	f.StringVar(&o.dur, "for", "", "")
	f.StringVar(&o.until, "until", "", "")
	f.StringVar(&o.start, "start", "", "")
	f.StringVar(&o.reason, "reason", "", "")
	f.StringVar(&o.ticket, "ticket", "", "")
	f.StringArrayVar(&o.inputArgs, "input", nil, "")
	f.BoolVar(&o.wait, "wait", false, "")
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	o.args, o.reasonSet, o.flags = f.Args(), f.Changed("reason"), f
	if err := o.read(t.Context()); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestAskRequest(t *testing.T) {
	for _, c := range []struct {
		name  string
		args  []string
		typed string
		want  string // the command line
		sees  []string
		not   []string
	}{
		{
			name: "everything", typed: "orders-db\n2\n\nOPS-1\nlook at an order\n2\n7\n",
			want: `jit request orders-db:write --for 1h --ticket OPS-1 --input region=us --input rows=7 -r 'look at an order'`,
			sees: []string{
				"  1  orders-db: the shop's orders\n  2  web1\nWhich resource?",
				"  1  read: to read; at most 8h; approved by rule, at once\n", "  2  write: to write; at most 2h; approved by bob\n",
				"At most 2h, like 30m or 1h30m, or until a time, like 18:00 [1h]: ", "Ticket (must match OPS-[0-9]+): ", "The reason must match .{10,}\n",
				"  3  none of them\n", "rows (a whole number from 1 to 10): ",
			},
			not: []string{"vault"},
		},
		{
			name: "the only role, and less than an hour", typed: "web\n\nx\n",
			want: "jit request web1:login --for 30m -r x", sees: []string{"That is web1\n", "The only role that you may ask for is login: to login", "[30m]: "},
		},
		{
			name: "answers that do not fit are asked for again", args: []string{"orders-db:write"},
			typed: "2\n3h\n90m\nops\nOPS-2\nshort\nlong enough, this\n3\n11\n10\n",
			want:  `jit request orders-db:write --for 90m --ticket OPS-2 --input rows=10 -r 'long enough, this'`,
			sees: []string{
				"\"2\" is not a duration; add a unit: 2m for minutes, 2h for hours.", `3h is longer than rule "writing" allows: at most 2h.`,
				`That does not fit: rule "writing" wants a ticket that matches OPS-[0-9]+.`, "That does not fit: rule \"writing\" wants a reason", "11 is more than 10",
			},
		},
		{
			name: "until a time", args: []string{"orders-db:read", "--reason", "x"}, typed: "23:00\n13:00\n",
			want: "jit request orders-db:read --until 13:00 -r x", sees: []string{`11h is longer than rule "reading" allows: at most 8h.`},
		},
		{
			name: "until a time after the start", args: []string{"orders-db:read", "--reason", "x", "--start", "14:00"}, typed: "13:00\n15:00\n",
			want: "jit request orders-db:read --until 15:00 -r x --start=14:00", sees: []string{"is not after --start"},
		},
		{
			name: "a bundle keeps what every rule says", args: []string{"web1:login", "orders-db:write", "--input", "rows=1", "--ticket", "OPS-3", "--wait"}, typed: "1h\n20m\nlong enough, this\n\n1\n",
			want: `jit request web1:login orders-db:write --for 20m --ticket OPS-3 --input region=eu --input rows=1 -r 'long enough, this' --wait`,
			sees: []string{`1h is longer than rule "login" allows: at most 30m.`},
		},
		{
			name: "only what is missing", args: []string{"orders-db:write", "--for", "1h", "--reason", "long enough, this", "--ticket", "OPS-4", "--input", "region=eu"}, typed: "5\n",
			want: `jit request orders-db:write --for 1h --ticket OPS-4 --input region=eu --input rows=5 -r 'long enough, this'`, not: []string{"region", "Ticket", "For how long"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, seen := askedApp(c.typed)
			o := askedOptions(t, a, c.args...)
			if err := o.ask(askPolicy(t), "alice"); err != nil {
				t.Fatalf("%v\n%s", err, seen)
			}
			if !o.asked {
				t.Error("nobody would be asked whether the whole is right")
			}
			if got := o.commandLine(); got != c.want {
				t.Errorf("the same without questions:\n%s\nwant\n%s", got, c.want)
			}
			for _, s := range c.sees {
				if !strings.Contains(seen.String(), s) {
					t.Errorf("never saw %q in\n%s", s, seen)
				}
			}
			for _, s := range c.not {
				if strings.Contains(seen.String(), s) {
					t.Errorf("saw %q in\n%s", s, seen)
				}
			}
			// What was put together by questions is what the line asks for.
			again := askedOptions(t, a, wordsOf(t, strings.Replace(o.commandLine(), " -r ", " --reason ", 1))[2:]...)
			quiet, shown := askedApp("")
			again.app = quiet
			if err := again.ask(askPolicy(t), "alice"); err != nil || again.asked || shown.Len() > 0 {
				t.Errorf("the line asks again: %v\n%s", err, shown)
			}
			if !reflect.DeepEqual([]any{again.grants, again.dur, again.until, again.start, again.reason, again.ticket, again.inputs, again.wait},
				[]any{o.grants, o.dur, o.until, o.start, o.reason, o.ticket, o.inputs, o.wait}) {
				t.Errorf("the line asks for something else: %+v\nthan %+v", again, o)
			}
		})
	}
}

// TestAskRequestRefuses: what no answer could make right is refused before the
// first question; and questions end after three answers of no use.
func TestAskRequestRefuses(t *testing.T) {
	for _, c := range []struct {
		name, typed string
		args        []string
		exit        int
		code        string
		quiet       bool
	}{
		{"a rule that denies", "", []string{"vault:open"}, exitRefused, "rule-denies", true},
		{"an unknown role", "", []string{"orders-db:wrote"}, exitRefused, "unknown-role", true},
		{"too long", "", []string{"orders-db:write", "--for", "3h"}, exitRefused, "too-long", true},
		{"too far ahead", "", []string{"orders-db:write", "--start", "2027-11-24 10:00"}, exitRefused, "too-far-ahead", true},
		{"a reason that does not match", "", []string{"orders-db:write", "--reason", "x"}, exitRefused, "reason-pattern", true},
		{"a ticket that does not match", "", []string{"orders-db:write", "--ticket", "x"}, exitRefused, "ticket-pattern", true},
		{"an input that does not fit", "", []string{"orders-db:write", "--input", "rows=11"}, exitRefused, "input-bad", true},
		{"no time after three", "x\ny\n9h\n1h\n", []string{"orders-db:write"}, exitUsage, "usage", false},
		{"no ticket after three", "\nx\ny\n\nOPS-1\n", []string{"orders-db:write"}, exitUsage, "usage", false},
		{"no reason after three", "\n\n\n\nx\n", []string{"web1:login"}, exitUsage, "reason-missing", false},
		{"the input ends", "\n", []string{"web1:login"}, exitUsage, "no-answer", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, seen := askedApp(c.typed)
			err := askedOptions(t, a, c.args...).ask(askPolicy(t), "alice")
			if err == nil {
				t.Fatalf("it went on:\n%s", seen)
			}
			wantExit(t, a.asExit(t.Context(), err), c.exit, c.code)
			if c.quiet && seen.Len() > 0 {
				t.Errorf("it asked first:\n%s", seen)
			}
		})
	}
	a, _ := askedApp("")
	err := askedOptions(t, a).ask(askPolicy(t), "bob") // no rule is for bob
	wantExit(t, err, exitRefused, "nothing-allowed")
}

// TestCommandLine: a shell reads back just the words that were meant.
func TestCommandLine(t *testing.T) {
	a, _ := askedApp("")
	o := &requestOptions{
		app: a, grants: []request.Grant{{Resource: "db", Role: "read"}}, dur: "1h", ticket: "#1; $(rm -r /)",
		inputs: map[string]string{"b": "it's \"it\" * ? ~", "a": "=x y"}, reason: "first line\nsecond `line` \\ $HOME é!",
		command: []string{"psql", "-c", "select '1'", ""},
	}
	want := []string{"jit", "request", "db:read", "--for", "1h", "--ticket", o.ticket, "--input", "a==x y", "--input", "b=" + o.inputs["b"],
		"-r", o.reason, "--", "psql", "-c", "select '1'", ""}
	if got := wordsOf(t, o.commandLine()); !reflect.DeepEqual(got, want) {
		t.Errorf("a shell reads\n%q\nwant\n%q", got, want)
	}
}

// wordsOf gives the words that a shell makes of a line.
func wordsOf(t *testing.T, line string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), testenv.Need(t, "sh", "dash"), "-c", "set -- "+line+`; printf '%s\0' "$@"`).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

// askedApp is an App whose person types the given text on a terminal. What they
// see is in the buffer.
func askedApp(typed string) (*App, *bytes.Buffer) {
	seen := &bytes.Buffer{}
	return &App{
		IO:  &Streams{In: strings.NewReader(typed), Out: io.Discard, Err: seen, InTTY: true, ErrTTY: true, Width: 80, NoColor: true},
		Now: func() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) },
		Env: func(string) string { return "" }, Local: time.UTC,
	}, seen
}

// wantExit checks an error's exit code and stable name.
func wantExit(t *testing.T, err error, exit int, code string) {
	t.Helper()
	var e *exitError
	if !errors.As(err, &e) || e.Exit != exit || e.Code != code {
		t.Errorf("error %#v (%v), want exit %d, code %q", e, err, exit, code)
	}
}

func TestPick(t *testing.T) {
	items := []item{
		{"orders-db", "the orders"}, {"orders-archive", "old orders"}, {"web1", "the shop"}, {"web11", "the shop's spare"}, {"7up", "a name with a digit"},
	}
	for _, c := range []struct {
		name, typed string
		want        int
		code        string // of the error; empty where one is picked
		sees        []string
	}{
		{name: "by number", typed: "3\n", want: 2, sees: []string{"  1  orders-db: the orders\n", "  5  7up: a name with a digit\n", "Which? [1-5, or a part of the name] "}},
		{name: "by a part of one name", typed: "archive\n", want: 1, sees: []string{"That is orders-archive: old orders"}},
		{name: "in any case", typed: "ARCHIVE\n", want: 1},
		{name: "a whole name wins over one that holds it", typed: "web1\n", want: 2},
		{name: "narrowed, then by its new number", typed: "orders\n2\n", want: 1, sees: []string{"  2  orders-archive", "Which? [1-2, or a part of the name] "}},
		{name: "narrowed, then another part, of all", typed: "orders\nup\n", want: 4},
		{name: "by what it is", typed: "spare\n", want: 3},
		{name: "a name before what others are", typed: "orders-d\n", want: 0},
		{name: "a number is a number", typed: "7\n1\n", want: 0, sees: []string{"Please answer with a number: 1 to 5"}},
		{name: "zero is none", typed: "0\n-1\n2\n", want: 1},
		{name: "blank answers", typed: "\n \n\n", code: "usage"},
		{name: "three of no use", typed: "9\nnone such\n99\n1\n", code: "usage", sees: []string{"Nothing here is called that."}},
		{name: "narrowing to the same is of no use", typed: "orders\norders\norders\norders\n1\n", code: "usage"},
		{name: "useful ones do not count", typed: "orders\nweb\norders\nweb\norders\n1\n", want: 0},
		{name: "the input ends", typed: "orders\n", code: "no-answer"},
		{name: "the last line has no end", typed: "2", want: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, seen := askedApp(c.typed)
			got, err := a.Pick("Which?", "THING", items)
			switch {
			case c.code != "":
				wantExit(t, err, exitUsage, c.code)
			case err != nil || got != c.want:
				t.Errorf("%d, %v; want %d\n%s", got, err, c.want, seen)
			}
			for _, s := range c.sees {
				if !strings.Contains(seen.String(), s) {
					t.Errorf("never saw %q in\n%s", s, seen)
				}
			}
		})
	}
}

// TestPickLong: a long list is not shown whole, and what is not shown has no
// number.
func TestPickLong(t *testing.T) {
	var items []item
	for i := range 55 {
		items = append(items, item{name: fmt.Sprintf("host-%02d", i)})
	}
	a, seen := askedApp("21\nhost-3\n4\n")
	got, err := a.Pick("Which?", "HOST", items)
	if err != nil || got != 33 {
		t.Errorf("%d, %v; want 33\n%s", got, err, seen)
	}
	for _, s := range []string{"  20  host-19\n", "and 35 more: type a part", "[1-20,", "[1-10,"} {
		if !strings.Contains(seen.String(), s) {
			t.Errorf("never saw %q in\n%s", s, seen)
		}
	}
	if strings.Contains(seen.String(), "host-20") {
		t.Errorf("more than twenty were shown:\n%s", seen)
	}
}

// TestNobodyToAsk: without a terminal on either side no question is put.
func TestNobodyToAsk(t *testing.T) {
	for _, tty := range []struct{ in, err bool }{{false, false}, {true, false}, {false, true}} {
		a, seen := askedApp("1\n1\n1\n1\n1\n")
		a.IO.InTTY, a.IO.ErrTTY = tty.in, tty.err
		_, err := a.Pick("Which?", "THING", []item{{name: "one"}})
		wantExit(t, err, exitUsage, "no-terminal")
		_, err = a.Confirm("Sure?")
		wantExit(t, err, exitUsage, "no-terminal")
		_, err = a.askInput(wantedInput{name: "rows", defs: inputDefs("number")})
		wantExit(t, err, exitUsage, "no-terminal")
		if a.asks(outputFlags{format: formatText}) {
			t.Error("it would ask")
		}
		if seen.Len() > 0 {
			t.Errorf("it asked:\n%s", seen)
		}
	}
	a, _ := askedApp("")
	for _, out := range []outputFlags{{format: formatJSON}, {fields: []string{"id"}}, {template: "{{.}}"}} {
		if a.asks(out) {
			t.Errorf("it would ask where a program reads: %+v", out)
		}
	}
	if !a.asks(outputFlags{format: formatText}) {
		t.Error("it would not ask a person")
	}
}

// TestStopped: a question ends when the person ends the program, though nothing is
// typed, and no later question is put.
func TestStopped(t *testing.T) {
	a, _ := askedApp("")
	in, never := io.Pipe()
	defer never.Close()
	stop := make(chan struct{})
	a.IO.In, a.IO.Stop = in, stop
	failed := make(chan error)
	go func() {
		_, err := a.Confirm("Sure?")
		failed <- err
	}()
	close(stop)
	select {
	case err := <-failed:
		wantExit(t, err, exitInterrupted, "interrupted")
	case <-time.After(time.Minute):
		t.Fatal("the question goes on")
	}
	_, err := a.Ask("And?", "--and AND")
	wantExit(t, err, exitInterrupted, "interrupted")
}

func TestConfirmAnswers(t *testing.T) {
	for typed, want := range map[string]bool{
		"y\n": true, "YES\n": true, "n\n": false, "\n": false, "maybe\ny\n": true, "a\nb\nc\ny\n": false,
	} {
		a, seen := askedApp(typed)
		if got, err := a.Confirm("Sure?"); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v\n%s", typed, got, err, want, seen)
		}
	}
	a, _ := askedApp("")
	_, err := a.Confirm("Sure?")
	wantExit(t, err, exitUsage, "no-answer")
}

func TestMissingErr(t *testing.T) {
	for _, c := range []struct {
		missing       []string
		message, hint string
	}{
		{[]string{"ID"}, "ID is missing", "add: ID"},
		{[]string{"ID", "--yes"}, "ID and --yes are missing", "add: ID --yes"},
		{[]string{"ID", "-r REASON", "--yes"}, "ID, -r REASON and --yes are missing", "add: ID -r REASON --yes"},
	} {
		var e *exitError
		if err := missingErr(c.missing); !errors.As(err, &e) || e.Exit != exitUsage || e.Message != c.message || e.Hint != c.hint {
			t.Errorf("%q: %#v", c.missing, e)
		}
	}
}

// TestPickDigits: a choice that is written in digits means itself, and not the place
// at which another one stands.
func TestPickDigits(t *testing.T) {
	items := []item{{name: "10"}, {name: "5"}, {name: "1"}}
	for typed, want := range map[string]int{"1\n": 2, "10\n": 0, "5\n": 1, "2\n": 1} {
		a, seen := askedApp(typed)
		if i, err := a.Pick("Which?", "THING", items); err != nil || i != want {
			t.Errorf("%q: %d, %v; want %d\n%s", typed, i, err, want, seen)
		}
	}
}

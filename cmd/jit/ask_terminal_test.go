package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const askOfficePolicy = `admins:
  people: [alice]
  threshold: 1
people:
  alice: {keys: [%s]}
  bob: {keys: [%s]}
resources:
  orders-db:
    driver: postgres
    description: the shop's orders
    roles:
      readonly: {description: read the orders, parameters: {grant: orders_readonly}}
      readwrite: {description: change the orders, parameters: {grant: orders_readwrite}}
  web1:
    driver: postgres
    roles:
      login: {parameters: {grant: web}}
rules:
  - name: writing
    resources: [orders-db]
    roles: [readwrite]
    requesters: [alice]
    maxDuration: 2h
    requires:
      ticket: "OPS-[0-9]+"
      inputs:
        customer: {type: text, pattern: "[0-9]+", description: the customer's number}
        region: {type: choice, choices: [eu, us]}
        rows: {type: number, min: 1, max: 100}
        copy: {type: boolean, description: a copy was made}
    stages: [{approvers: [bob], count: 1}]
  - {name: all, resources: ["*"], roles: ["*"], requesters: ["*"], maxDuration: 8h, stages: [{approvers: [alice, bob], count: 1}]}
`

// newAskOffice is newTerminal with bob beside alice, who approves.
func newAskOffice(t *testing.T) *terminal {
	t.Helper()
	e := newTerminal(t)
	identity := strings.TrimSpace(e.jit("status", "--template", "{{.store}}"))
	alice := strings.TrimSpace(e.jit("whoami", "--template", "{{.key}}"))
	e.as("bob").jit("join", filepath.Join(e.dir, "store"), "--as", "bob", "--generate-key", "--store-id", identity)
	bob := strings.TrimSpace(e.as("bob").jit("whoami", "--template", "{{.key}}"))
	file := filepath.Join(e.dir, "policy.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, askOfficePolicy, alice, bob), 0o600); err != nil {
		t.Fatal(err)
	}
	e.jit("policy", "propose", file, "--yes")
	return e
}

// as gives the same terminal for another person.
func (e *terminal) as(name string) *terminal {
	other := *e
	other.env = append([]string(nil), e.env...)
	for i, v := range other.env {
		if strings.HasPrefix(v, "JIT_HOME=") {
			other.env[i] = "JIT_HOME=" + filepath.Join(e.dir, name)
		}
	}
	return &other
}

// with gives the same terminal with a variable more.
func (e *terminal) with(variable string) *terminal {
	other := *e
	other.env = append(append([]string(nil), e.env...), variable)
	return &other
}

// store gives where the store's branch stands.
func (e *terminal) store() string {
	e.t.Helper()
	data, err := os.ReadFile(filepath.Join(e.dir, "store", "refs", "heads", "main"))
	if err != nil {
		e.t.Fatal(err)
	}
	return string(data)
}

// exits is a piece of a script of expect: the program ends with a code.
func exits(code int) string {
	return fmt.Sprintf(`expect eof
lassign [wait] pid spawned failed code
if {$code != %d} { puts "\nEXIT CODE $code, want %d"; exit 1 }
`, code, code)
}

// askingAll answers every question of jit request, one by one.
var askingAll = []struct{ question, answer string }{
	{"Which resource?", `orders\r`},
	{"Which role?", `2\r`},
	{"For how long?", `30m\r`},
	{"Ticket (must match OPS-", `OPS-7\r`},
	{"Reason:", `it's order 4711\r`},
	{"copy, a copy was made? ", `y\r`},
	{"customer, the customer's number (a text that matches", `12\r`},
	{"Which? ", `us\r`},
	{"rows (a whole number from 1 to 100):", `7\r`},
	{"Ask for this? ", `y\r`},
}

// answering is a script that answers the first n questions of jit request.
func answering(n int) string {
	var b strings.Builder
	b.WriteString("spawn jit request\n")
	for _, a := range askingAll[:n] {
		fmt.Fprintf(&b, "want {%s}\nsend \"%s\"\n", a.question, a.answer)
	}
	return b.String()
}

// TestAskedForEverything answers every question, sees the whole and the command
// line that does the same, and gets what that line says.
func TestAskedForEverything(t *testing.T) {
	e := newAskOffice(t)
	before := e.store()
	e.expect(answering(len(askingAll)-1) + `
want "│ duration: 30m"
want "│ reason: it's order 4711"
want "│ ticket: OPS-7"
want "│   copy: \"true\""
want "with key "
want "Once signed: waits for bob"
want {jit request orders-db:readwrite --for 30m --ticket OPS-7 --input copy=true --input customer=12 --input region=us --input rows=7 -r 'it'\''s order 4711'}
want "Ask for this? "
send "n\r"
want "nothing was signed"
` + exits(exitInterrupted))
	if e.store() != before {
		t.Fatal("a no wrote something")
	}
	e.expect(answering(len(askingAll)) + `want "asked for orders-db:readwrite for 30m"` + "\n" + exits(exitDone))
	got := e.jit("list", "--template", `{{with index . 0}}{{.durationText}} {{.ticket}} {{.reason}}{{end}}`)
	if got != "30m OPS-7 it's order 4711\n" {
		t.Errorf("it was asked for %q", got)
	}
}

// TestAskingIsLeft leaves at every question: by Ctrl-C, and at the end of input.
// Nothing is written, and the exit code says which it was.
func TestAskingIsLeft(t *testing.T) {
	e := newAskOffice(t)
	before := e.store()
	for n, a := range askingAll {
		reached := answering(n) + "want {" + a.question + "}\n"
		e.expect(reached + "send \"\\003\"\nwant \"interrupted\"\n" + exits(exitInterrupted))
		e.expect(reached + "send \"\\004\"\nwant \"the input ended before an answer\"\n" + exits(exitUsage))
	}
	if e.store() != before {
		t.Error("something was written")
	}
	// A passphrase is a question too: the terminal shows again what is typed.
	e.expect(`spawn sh
send "PS1='READY> '; echo load''ed\r"
want "loaded"
want "READY> "
send "jit key generate\r"
want "Passphrase for the new key"
after 300
send "\003"
want "interrupted"
want "READY> "
send "case \$(stty -a) in *' -echo '*) echo hid''den;; *) echo sho''wn;; esac; exit\r"
want "shown"
expect eof
`)
}

// TestAskingProgram: where a program reads the output, or --yes is given, a person
// at the terminal is asked nothing.
func TestAskingProgram(t *testing.T) {
	e := newAskOffice(t)
	for line, want := range map[string]string{
		"request -o json":            "RESOURCE:ROLE, --for TIME and -r REASON are missing",
		"request --json id":          "RESOURCE:ROLE, --for TIME and -r REASON are missing",
		"request --template {{.id}}": "RESOURCE:ROLE, --for TIME and -r REASON are missing",
		"approve --yes":              "ID is missing",
		"approve -o json":            "ID is missing",
		"deny --yes":                 "ID is missing",
		"cancel -o json":             "ID is missing",
	} {
		e.expect("spawn jit " + strings.ReplaceAll(line, "{{.id}}", `{{{.id}}}`) + "\nwant {" + want + "}\n" + exits(exitUsage))
	}
	// Neither where only one side is a terminal.
	e.expect(`spawn sh -c "jit request < /dev/null"
want "RESOURCE:ROLE, --for TIME and -r REASON are missing"
` + exits(exitUsage))
	e.expect(`spawn sh -c "jit deny 2>&1 | cat; jit approve 2>&1 | cat"
want "ID, -r REASON and --yes are missing"
want "ID and --yes are missing"
` + exits(exitDone))
}

// TestEditorKeepsTheReason: a reason that the rule does not take is there again in
// the editor.
func TestEditorKeepsTheReason(t *testing.T) {
	e := newTerminal(t)
	policy := strings.Replace(terminalPolicy, "approve: auto", `approve: auto, requires: {reason: ".*order.*"}`, 1)
	file := filepath.Join(e.dir, "policy.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, policy, strings.TrimSpace(e.jit("whoami", "--template", "{{.key}}"))), 0o600); err != nil {
		t.Fatal(err)
	}
	e.jit("policy", "propose", file, "--yes")
	// An editor that adds a word to the first line, and shows what there was.
	editor := filepath.Join(e.dir, "editor")
	if err := os.WriteFile(editor, []byte("#!/bin/sh\nhead -1 \"$1\" | sed 's/^/had: /' >&2\nsed -i '1s/look at$/look at an order/; 1s/^$/look at/' \"$1\"\ncat \"$1\" >&2\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	e.with("EDITOR=" + editor).expect(`spawn jit request orders-db:readonly --for 1h
want "The reason must match .*order.*"
want "had: \r"
want "# The reason must match .*order.*"
want "That does not fit: rule \"all\" wants a reason"
want "had: look at\r"
want "│ reason: look at an order"
want "Ask for this?"
send "y\r"
want "asked for orders-db:readonly"
` + exits(exitDone))
}

// TestPickAtATerminal decides about requests without an id: what each command
// applies to is listed, and nothing else.
func TestPickAtATerminal(t *testing.T) {
	e := newAskOffice(t)
	bob := e.as("bob")
	bob.expect("spawn jit approve\nwant {there is nothing that you could approve now}\n" + exits(exitUsage))
	e.jit("request", "orders-db:readonly", "--for", "1h", "-r", "look at an order")
	e.jit("request", "web1:login", "--for", "2h", "-r", "restart it")
	bob.jit("request", "orders-db:readwrite", "--for", "3h", "-r", "mend an order")
	short := map[string]string{}
	for line := range strings.Lines(e.jit("list", "--template", `{{range .}}{{(index .grants 0).role}} {{.shortId}}{{"\n"}}{{end}}`)) {
		role, id, _ := strings.Cut(strings.TrimSpace(line), " ")
		short[role] = id
	}
	before := e.store()

	// One's own cannot be approved, and is not listed.
	bob.expect(`spawn jit approve
want "1  ` + short["login"] + `: alice, web1:login for 2h: restart it"
want "2  ` + short["readonly"] + `: alice, orders-db:readonly for 1h: look at an order"
want "Which one to approve? \[1-2,"
send "restart\r"
want "That is ` + short["login"] + `"
want "│ kind: approval"
want "Approve alice's request for web1:login, for "
send "\003"
want "interrupted"
` + exits(exitInterrupted))
	if e.store() != before {
		t.Fatal("something was written")
	}
	bob.expect(`spawn jit approve
want "Which one to approve?"
send "1\r"
want "Approve alice's request for web1:login, for "
send "y\r"
want "approved ` + short["login"] + `"
` + exits(exitDone))

	bob.expect(`spawn jit deny
want "1  ` + short["readonly"] + `: alice, orders-db:readonly for 1h, pending: look at an order"
want "Which one to deny? \[1,"
send "` + short["readonly"] + `\r"
want "Reason:"
send "not today\r"
want "│ reason: not today"
want "Sign this denial of alice's request for "
send "y\r"
want "denied ` + short["readonly"] + `"
` + exits(exitDone))

	// To cancel asks nothing where the id is typed; what was picked is looked at.
	before = e.store()
	bob.expect(`spawn jit cancel
want "1  ` + short["readwrite"] + `: bob, orders-db:readwrite for 3h, pending: mend an order"
want "Which one to cancel? \[1,"
send "1\r"
want "│ kind: cancellation"
want "Sign this cancellation of "
send "\r"
want "nothing was signed"
` + exits(exitInterrupted))
	if e.store() != before {
		t.Fatal("a no wrote something")
	}
	bob.expect(`spawn jit cancel
want "Which one to cancel?"
send "\004"
want "the input ended"
` + exits(exitUsage))
	bob.jit("cancel", short["readwrite"])
	bob.expect("spawn jit cancel\nwant {there is nothing that you could cancel now}\n" + exits(exitUsage))

	e.expect(`spawn jit revoke
want "1  ` + short["login"] + `: alice, web1:login for 2h"
want "Which one to revoke?"
send "1\r"
want "Reason:"
send "done\r"
want "Sign this revocation of "
send "y\r"
want "revoked ` + short["login"] + `"
` + exits(exitDone))
	bob.expect("spawn jit withdraw\nwant {there is nothing that you could withdraw now}\n" + exits(exitUsage))
}

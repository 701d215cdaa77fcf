package main

import (
	"strings"
	"testing"
)

// TestPersonAtATerminal asks for access without a flag, and decides about it:
// everything is asked for, what will be signed is shown, and a no writes
// nothing.
func TestPersonAtATerminal(t *testing.T) {
	e := newTerminal(t)
	e.expect(`spawn jit request
want "The only resource that you may ask for is orders-db"
want "1  readonly: read the orders; at most 2h; approved by rule, at once"
want "2  readwrite: at most 2h"
want "Which role?"
send "7\r"
want "Please answer with a number"
send "1\r"
want "For how long? At most 2h"
send "3h\r"
want "3h is longer than rule \"all\" allows"
send "1h\r"
want "Reason:"
send "look at an order\r"
want "│ duration: 1h"
want "jit request orders-db:readonly --for 1h -r 'look at an order'"
want "Ask for this?"
send "y\r"
want "asked for orders-db:readonly for 1h"
expect eof
`)
	const lastOf = `{{(index . 0).shortId}} {{(index . 0).state}} {{(index . 0).reason}}`
	id, rest, _ := strings.Cut(strings.TrimSpace(e.jit("list", "--template", lastOf)), " ")
	if rest != "active look at an order" {
		t.Fatalf("it was asked for %q", rest)
	}
	e.expect(`spawn jit revoke ` + id + ` -r "not now"
want "alice asks for"
want "│ kind: revocation"
want "│ reason: not now"
want "Sign this revocation of alice's request for orders-db:readonly, for 1h?"
send "n\r"
want "nothing was signed"
expect eof
`)
	if got := e.jit("list", "--template", lastOf); !strings.Contains(got, " active ") {
		t.Fatalf("after a no: %s", got)
	}
	e.expect(`spawn jit revoke ` + id + ` -r "not now"
want "Sign this revocation of alice's request for orders-db:readonly, for 1h?"
send "y\r"
want "revoked ` + id + `"
expect eof
`)
	if got := e.jit("list", "--template", lastOf); !strings.Contains(got, " revoked ") {
		t.Fatalf("after a yes: %s", got)
	}
	// Colour goes to the terminal as colour, and never as text.
	e.env = append(e.env, "PAGER=cat")
	for _, show := range []string{"list", "show " + id, "log " + id, "resources"} {
		e.expect(`spawn jit ` + show + `
expect eof
set shown $expect_out(buffer)
if {[string first "u\{1b" $shown] >= 0} { puts "\nescapes as text"; exit 1 }
if {[string first "\x1b" $shown] < 0} { puts "\nno colour"; exit 1 }
`)
	}
	e.expect(`spawn jit request orders-db:readwrite --for 1h -r x
expect eof
if {[string first "u\{1b" $expect_out(buffer)] >= 0} { puts "\nescapes as text"; exit 1 }
`)
}

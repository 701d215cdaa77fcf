package reconcile

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/target"
)

// Action is what a run does to one grant.
type Action string

// The actions.
const (
	Open    Action = "open"    // was not open
	Restore Action = "restore" // was open, and had gone from the target
	Resume  Action = "resume"  // had ended for want of evidence, which is there again
	Intend  Action = "intend"  // is to open, and must be on record first
	End     Action = "end"     // is over, or is no longer allowed
)

// Outcome is what became of an action.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"
	Failed  Outcome = "failed"
	Planned Outcome = "planned" // a dry run
	// Withheld: the policy asks for evidence that there is not. It is done when there
	// is.
	Withheld Outcome = "withheld"
)

// Change is one thing that a run did, tried, or in a dry run would do.
type Change struct {
	Action  Action
	Outcome Outcome
	Grant   target.Grant
	Request record.ID
	// Driver is the name of the driver.
	Driver string
	// Cause says why access ends: expired, cancelled, revoked, denied, changed,
	// lease.
	Cause string
	// Ending is how access ended (End, Done).
	Ending target.Ending
	// Err is why it failed or was withheld. target.HintOf gives the next step, where there is
	// one.
	Err error
}

const timeForm = time.RFC3339

// String is the change in one line of safe text.
func (c Change) String() string {
	what := fmt.Sprintf("%s:%s for %s", c.Grant.Resource, c.Grant.Role, c.Grant.Person)
	request := fmt.Sprintf(" (request %s)", c.Request.Short())
	until := " until " + c.Grant.Ends.UTC().Format(timeForm)
	var s string
	switch {
	case c.Outcome == Failed:
		s = fmt.Sprintf("failed to %s %s%s: %v", c.Action, what, request, c.Err)
		if hint := target.HintOf(c.Err); hint != "" {
			s += "; " + hint
		}
		return plain(s, maxLine)
	case c.Outcome == Withheld:
		return plain(fmt.Sprintf("did not %s %s%s: %v", c.Action, what, request, c.Err), maxLine)
	case c.Outcome == Planned && c.Action == Intend:
		s = "would put on record that it is to open " + what + until
	case c.Outcome == Planned && c.Action == End:
		s = fmt.Sprintf("would end %s: %s", what, c.Cause)
	case c.Outcome == Planned:
		s = fmt.Sprintf("would %s %s%s", c.Action, what, until)
	case c.Action == Open:
		s = "opened " + what + until
	case c.Action == Resume:
		s = "opened again " + what + until
	case c.Action == Intend:
		s = "puts on record that it is to open " + what + until
	case c.Action == Restore:
		s = "restored " + what + until
	default:
		s = "ended " + what + ": " + c.Cause
		switch n := c.Ending.SessionsEnded; n {
		case 0:
		case 1:
			s += ", 1 session closed"
		default:
			s += fmt.Sprintf(", %d sessions closed", n)
		}
		if len(c.Ending.Left) > 0 {
			s += "; left: " + strings.Join(c.Ending.Left, "; ")
		}
	}
	if c.Action != End && c.Grant.Standing || c.Ending.Standing {
		s += " (was there before jit, and is left)"
	}
	return plain(s, maxLine-len(request)) + request
}

// maxLine bounds a change's line, and maxDetail what a receipt quotes of a
// target's words, in bytes: enough for any error, too little to flood a log.
const (
	maxLine   = 2000
	maxDetail = 1000
)

// plain makes a target's words fit for a record, a log and a screen: what
// record.CheckText refuses becomes a question mark, all is on one line, and the
// end is cut off.
func plain(s string, most int) string {
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case record.CheckText(norm.NFC.String(string(r))) != nil:
			return '?'
		}
		return r
	}, s)
	s = norm.NFC.String(strings.Join(strings.Fields(s), " "))
	if len(s) <= most {
		return s
	}
	cut := max(0, most-len("…"))
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

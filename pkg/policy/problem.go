package policy

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/jitaccess/jit/pkg/record"
)

// Severity is how much a [Problem] matters.
type Severity string

// The severities.
const (
	// SeverityError makes a policy unusable.
	SeverityError Severity = "error"
	// SeverityWarning is most likely not what was meant, or stands in the way of
	// somebody's work.
	SeverityWarning Severity = "warning"
	// SeverityInfo is good to know.
	SeverityInfo Severity = "info"
)

// ProblemCode is the stable name of a kind of [Problem]. A machine may compare it;
// it is never renamed.
type ProblemCode string

// What makes a policy unusable.
const (
	ProblemName         ProblemCode = "bad-name"           // a name of another form, or one that means something else
	ProblemTwice        ProblemCode = "named-twice"        // two things have one name
	ProblemEmpty        ProblemCode = "empty-list"         // a list or map that needs an entry has none
	ProblemBlank        ProblemCode = "blank-text"         // a text that says nothing
	ProblemValue        ProblemCode = "unknown-value"      // none of the words that may stand there
	ProblemGlob         ProblemCode = "bad-glob"           // neither a name nor a glob
	ProblemPattern      ProblemCode = "bad-pattern"        // no regular expression
	ProblemCostly       ProblemCode = "costly-patterns"    // they would look at too much for one request
	ProblemLong         ProblemCode = "long-text"          // more than anybody reads, or a target takes
	ProblemPrincipal    ProblemCode = "bad-principal"      // a principal of an unknown kind, or in the wrong place
	ProblemNoPerson     ProblemCode = "unknown-person"     // the name is not in people
	ProblemNoGroup      ProblemCode = "unknown-group"      // the name is not in groups
	ProblemNoTeam       ProblemCode = "unknown-team"       // nobody is in the team
	ProblemNoDepartment ProblemCode = "unknown-department" // nobody is in the department
	ProblemNoRoster     ProblemCode = "unknown-roster"     // the name is not in rosters
	ProblemNoSchedule   ProblemCode = "unknown-schedule"   // the name is not in schedules
	ProblemNoResource   ProblemCode = "unknown-resource"   // the name is not in resources
	ProblemNoAdmins     ProblemCode = "no-admins"          // nobody could change the policy
	ProblemNoRules      ProblemCode = "no-rules"           // nobody could ask for anything
	ProblemThreshold    ProblemCode = "bad-threshold"      // of admins: none, or more than there are
	ProblemNoKey        ProblemCode = "no-key"             // a person or reconciler without one
	ProblemFingerprint  ProblemCode = "bad-fingerprint"    // not the full one
	ProblemKeyTwice     ProblemCode = "key-twice"          // one key under two names
	ProblemManagers     ProblemCode = "managers-in-circle" // somebody reports to themselves in the end, or through too many
	ProblemShift        ProblemCode = "bad-shift"          // it ends before it begins
	ProblemZone         ProblemCode = "bad-zone"           // of a schedule: none, or not that of a place
	ProblemSchedule     ProblemCode = "bad-schedule"       // days, hours or dates that are none
	ProblemInput        ProblemCode = "bad-input"          // an input that no value could fit, or with terms of another type
	ProblemCondition    ProblemCode = "bad-condition"      // an expression that is none, or gives no true or false
	ProblemConflict     ProblemCode = "bad-conflict"       // not between two entitlements
	ProblemNoLimit      ProblemCode = "no-limit"           // a time that must be said is not
	ProblemTooLong      ProblemCode = "too-long"           // a time beyond what is allowed anywhere
	ProblemTooMany      ProblemCode = "too-many"           // more than a policy, or one list of it, may have of something
	ProblemLimit        ProblemCode = "bad-limit"          // a limit that contradicts another, or is none
	ProblemDeny         ProblemCode = "bad-deny"           // a rule that denies and gives, or says no word
	ProblemApproval     ProblemCode = "bad-approval"       // nobody, or two ways, to agree
	ProblemStage        ProblemCode = "bad-stage"          // more than one form in a stage
	ProblemCount        ProblemCode = "bad-count"          // of approvers: none, or more than there are people
	ProblemEscalation   ProblemCode = "bad-escalation"     // steps out of order
	ProblemEmergency    ProblemCode = "bad-emergency"      // nobody could acknowledge it
	ProblemParameters   ProblemCode = "bad-parameters"     // the driver is not known, or refuses them
	ProblemMore         ProblemCode = "more-problems"      // than are told
)

// What [Lint] finds in a policy that can be used.
const (
	ProblemOneAdmin        ProblemCode = "one-admin"                   // one person alone can change the policy
	ProblemAdminsSpare     ProblemCode = "no-spare-admin"              // one lost key, and the policy can never change
	ProblemStageSpare      ProblemCode = "no-spare-approver"           // one lost key, and a stage can never be met
	ProblemUnfillable      ProblemCode = "unfillable-stage"            // some requester could never get it approved
	ProblemNotJudged       ProblemCode = "stages-not-judged"           // too many quorums to look for that
	ProblemNeverDecides    ProblemCode = "rule-never-decides"          // earlier rules take all its cases
	ProblemMatchesNothing  ProblemCode = "rule-matches-nothing"        // nothing that is in the policy
	ProblemOverlap         ProblemCode = "rules-overlap"               // two rules with different outcomes cross
	ProblemUnreached       ProblemCode = "unreached-resource"          // no rule lets anybody ask for it
	ProblemUnreachedRole   ProblemCode = "unreached-role"              // no rule lets anybody ask for it
	ProblemUnopened        ProblemCode = "resource-without-reconciler" // nothing would open it
	ProblemConflictNothing ProblemCode = "conflict-matches-nothing"    // it holds nobody back
	ProblemSharedAccount   ProblemCode = "shared-account"              // a target cannot tell some people apart
	ProblemRosterOver      ProblemCode = "roster-is-over"              // no shift is on or to come
)

// Problem is something that is wrong with a policy, or worth knowing of it.
type Problem struct {
	// Path is where it stands: rules[2].stages[0].approvers[1]
	Path     string
	Severity Severity
	Code     ProblemCode
	// Message says what is wrong, and Hint what to write instead.
	Message, Hint string
}

func (p Problem) String() string {
	if p.Hint == "" {
		return p.Path + ": " + p.Message
	}
	return p.Path + ": " + p.Message + " (" + p.Hint + ")"
}

// maxShown is how many characters of a text are repeated where it is wrong.
const maxShown = 200

// shortened keeps a text from filling the screen, and the memory.
func shortened(s string) string { return first(s, maxShown) }

// first gives the first n characters, and dots where there are more.
func first(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i] + "..."
		}
	}
	return s
}

// maxTold is the most characters of what is said of a problem.
const maxTold = 1000

// readable writes what is said of a problem in one line, without anything that could
// hide or forge what is seen. An expression can name any character by its number, and
// CEL repeats it as it is.
func readable(s string) string {
	var b strings.Builder
	on := "" // what a mark would stand on
	for _, r := range strings.Join(strings.Fields(first(s, maxTold)), " ") {
		seen := string(r)
		if unicode.Is(unicode.M, r) {
			seen = on + seen
		}
		if record.CheckText(seen) == nil {
			b.WriteRune(r)
			on = seen
		} else {
			b.WriteString(ascii(string(r)))
			on = ""
		}
	}
	if record.CheckText(b.String()) != nil { // whatever else a text is refused for
		return ascii(b.String())
	}
	return b.String()
}

// ascii names all characters beyond ASCII by their numbers.
func ascii(s string) string {
	quoted := strconv.QuoteToASCII(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// Package policy owns the policy document: who the people are, what can be
// asked for, and who must agree. It matches a request to its rule and says what
// a role means. It knows no clock, no git and no signature beyond the
// fingerprints that the document names.
//
// Of this module it imports only the record package. It alone knows CEL, the
// language of conditions.
package policy

import (
	"github.com/jitaccess/jit/pkg/record"
)

// Document is a policy version as it is signed. The first one of a store has
// neither Store nor Head nor Replaces.
type Document struct {
	record.Head `yaml:",inline"`
	// Replaces is the digest of the version that this one replaces.
	Replaces record.Digest `yaml:"replaces,omitempty"`
	// Expires is when the proposal lapses, unless it is in force by then.
	Expires *record.Timestamp `yaml:"expires,omitempty"`
	Body    `yaml:",inline"`
}

// Body is the part of a policy that people write.
type Body struct {
	Admins      Admins                `yaml:"admins"`
	People      map[string]Person     `yaml:"people"`
	Groups      map[string][]string   `yaml:"groups,omitempty"`
	Teams       map[string]Team       `yaml:"teams,omitempty"`
	Rosters     map[string][]Shift    `yaml:"rosters,omitempty"`
	Schedules   map[string]Schedule   `yaml:"schedules,omitempty"`
	Delegation  Delegation            `yaml:"delegation,omitempty"`
	Reconcilers map[string]Reconciler `yaml:"reconcilers,omitempty"`
	Resources   map[string]Resource   `yaml:"resources,omitempty"`
	Conflicts   []Conflict            `yaml:"conflicts,omitempty"`
	Rules       []Rule                `yaml:"rules"`
}

// Admins are the people whose agreement changes the policy.
type Admins struct {
	People []string `yaml:"people"`
	// Threshold is how many of them must agree; at least one.
	Threshold int `yaml:"threshold"`
}

// Person is somebody who may sign records.
type Person struct {
	Name  string               `yaml:"name,omitempty"`
	Email string               `yaml:"email,omitempty"`
	Keys  []record.Fingerprint `yaml:"keys"`
	Teams []string             `yaml:"teams,omitempty"`
	// Department is the one that the person works for; Manager the name of whom
	// they report to.
	Department string `yaml:"department,omitempty"`
	Manager    string `yaml:"manager,omitempty"`
	// Accounts says who this person is on a target, by the name of the driver:
	// a PostgreSQL login, or SSH public keys, one a line. A driver that is not
	// named here is given the person's own name.
	Accounts map[string]string `yaml:"accounts,omitempty"`
}

// Team is what the policy says of a team beside who is in it.
type Team struct {
	Leads []string `yaml:"leads"`
}

// Shift is one entry of a roster: who has the duty from one time until another.
type Shift struct {
	From   record.Timestamp `yaml:"from"`
	Until  record.Timestamp `yaml:"until"`
	People []string         `yaml:"people"`
}

// Delegation says whether approvers may let others act for them. The zero value
// does not allow it.
type Delegation struct {
	// Longest is how long a delegation may last.
	Longest record.Duration `yaml:"longest,omitempty"`
	// To are the principals to whom duties may be given; empty means everybody in
	// the policy.
	To []string `yaml:"to,omitempty"`
}

// Reconciler is a machine that opens and ends access.
type Reconciler struct {
	Keys []record.Fingerprint `yaml:"keys"`
	// Resources are those for which it may write receipts.
	Resources []string `yaml:"resources"`
}

// Resource is something to which access is restricted.
type Resource struct {
	Driver      string            `yaml:"driver"`
	Description string            `yaml:"description,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	// Owners are names, globs, group:NAME, team:NAME, department:NAME or
	// roster:NAME.
	Owners []string `yaml:"owners,omitempty"`
	// Freshness is how old the newest evidence that the store is the true one may
	// be for access to open. Zero asks for none.
	Freshness record.Duration `yaml:"freshness,omitempty"`
	// Lease is how long open access lasts without such evidence. Zero is for its
	// whole window.
	Lease record.Duration `yaml:"lease,omitempty"`
	// Trace is "required" where access opens only when the signed intent has come
	// back from the store.
	Trace string          `yaml:"trace,omitempty"`
	Roles map[string]Role `yaml:"roles"`
}

// TraceRequired is the value of Resource.Trace for what opens only when it is on
// record.
const TraceRequired = "required"

// Role is one way to use a resource.
type Role struct {
	Description string `yaml:"description,omitempty"`
	// Parameters mean what the resource's driver says they mean.
	Parameters map[string]string `yaml:"parameters,omitempty"`
	// Usage tells a person how to use the access that is open.
	Usage string `yaml:"usage,omitempty"`
}

// Conflict names entitlements that nobody may hold two of at once.
type Conflict struct {
	Name string `yaml:"name"`
	// Between are entitlements, RESOURCE:ROLE, each part a name or a glob. What
	// one item means counts as one.
	Between []string `yaml:"between"`
}

// Rule says under what terms some people get some roles. Rules are read from
// the top, and the first that matches decides.
type Rule struct {
	Name string `yaml:"name"`
	// Resources and Roles are names or globs ("orders-*").
	Resources []string `yaml:"resources"`
	Roles     []string `yaml:"roles"`
	// Labels must all be those of the resource; the values are names or globs.
	Labels map[string]string `yaml:"labels,omitempty"`
	// Requesters are names, globs, group:NAME, team:NAME, department:NAME or
	// roster:NAME.
	Requesters []string `yaml:"requesters"`
	// MaxDuration is the longest window that may be asked for.
	MaxDuration record.Duration `yaml:"maxDuration,omitempty"`
	// MaxTotal is the longest that access lasts with all extensions; zero allows
	// none.
	MaxTotal record.Duration `yaml:"maxTotal,omitempty"`
	// MaxAhead is how far ahead a start may lie; zero means [DefaultAhead].
	MaxAhead record.Duration `yaml:"maxAhead,omitempty"`
	// MaxOpen is how many requests under the rule one person may have open or
	// waiting at once, MaxOpenPerRole how many all people together for one role.
	// Zero is no limit.
	MaxOpen        int `yaml:"maxOpen,omitempty"`
	MaxOpenPerRole int `yaml:"maxOpenPerRole,omitempty"`
	// CoolingOff is how long after the end of access the same person may ask for
	// the same again.
	CoolingOff record.Duration `yaml:"coolingOff,omitempty"`
	// Pending is how long a request waits for its decision before it lapses;
	// zero means [DefaultPending].
	Pending  record.Duration `yaml:"pending,omitempty"`
	Requires Requires        `yaml:"requires,omitempty"`
	// AskDuring and UseDuring name schedules: when one may ask, and when access
	// is open.
	AskDuring string `yaml:"askDuring,omitempty"`
	UseDuring string `yaml:"useDuring,omitempty"`
	// Conditions must all be true.
	Conditions []Condition `yaml:"conditions,omitempty"`
	Emergency  *Emergency  `yaml:"emergency,omitempty"`
	// Partial lets what this rule grants open while the rest of a bundle is not
	// granted.
	Partial bool `yaml:"partial,omitempty"`
	// Exclude keeps some from approving: those who report to the requester
	// (reports), those to whom the requester reports (managers), and those who act
	// for somebody else (delegates).
	Exclude []string `yaml:"exclude,omitempty"`
	// Approve is "auto" or "deny", or empty where Stages decide. Message is what
	// the person sees who is denied.
	Approve string  `yaml:"approve,omitempty"`
	Message string  `yaml:"message,omitempty"`
	Stages  []Stage `yaml:"stages,omitempty"`
}

// The values of Rule.Approve.
const (
	ApproveAuto = "auto" // needs nobody's agreement
	ApproveDeny = "deny" // is refused when it is asked for
)

// The values of Rule.Exclude.
const (
	ExcludeReports   = "reports"
	ExcludeManagers  = "managers"
	ExcludeDelegates = "delegates"
)

// Requires is what a request must say.
type Requires struct {
	// Reason and Ticket are regular expressions (RE2) that the whole text must
	// match. Empty asks for nothing beyond a reason that is not blank.
	Reason string `yaml:"reason,omitempty"`
	Ticket string `yaml:"ticket,omitempty"`
	// Inputs are further values, by name.
	Inputs map[string]Input `yaml:"inputs,omitempty"`
}

// Input is a value that a request must say.
type Input struct {
	// Type is text, number, choice or boolean.
	Type        string `yaml:"type"`
	Description string `yaml:"description,omitempty"`
	// Optional inputs may be left out.
	Optional bool `yaml:"optional,omitempty"`
	// Pattern is for text: a regular expression (RE2) that the whole must match.
	Pattern string `yaml:"pattern,omitempty"`
	// Min and Max bound a whole number.
	Min *int64 `yaml:"min,omitempty"`
	Max *int64 `yaml:"max,omitempty"`
	// Choices are what a choice is between.
	Choices []string `yaml:"choices,omitempty"`
}

// Condition is an expression (CEL) that must be true, and what the person is told
// where it is not.
type Condition struct {
	Expr    string `yaml:"expr"`
	Message string `yaml:"message"`
}

// Emergency says who gets access at once under a rule, to be looked at afterwards.
type Emergency struct {
	// Requesters are principals as in Rule.Requesters.
	Requesters []string `yaml:"requesters"`
	// MaxDuration is the longest window of an emergency.
	MaxDuration record.Duration `yaml:"maxDuration"`
	// Acknowledge is within what time somebody must look at it, after it opened.
	Acknowledge record.Duration `yaml:"acknowledge"`
	// Acknowledgers are who may; empty means the approvers of the rule's stages.
	Acknowledgers []string `yaml:"acknowledgers,omitempty"`
	// Repeat lets a person whose last emergency is not acknowledged have another.
	Repeat bool `yaml:"repeat,omitempty"`
}

// Stage is one step of a chain of approval: a quorum of its own, or several of
// which all, or any one, must be met.
type Stage struct {
	// Approvers and Count are the quorum of its own.
	Approvers []string `yaml:"approvers,omitempty"`
	Count     int      `yaml:"count,omitempty"`
	AllOf     []Quorum `yaml:"allOf,omitempty"`
	AnyOf     []Quorum `yaml:"anyOf,omitempty"`
	// Escalate lets further people decide when the stage has waited.
	Escalate []Escalation `yaml:"escalate,omitempty"`
	// Expire is how long after it began the stage can be met; zero is as long as
	// the request waits.
	Expire record.Duration `yaml:"expire,omitempty"`
}

// Quorum is how many of some people must approve.
type Quorum struct {
	// Approvers are names, globs, group:NAME, team:NAME, department:NAME,
	// roster:NAME, or by whom is concerned: manager, managers-manager, team-lead,
	// owner.
	Approvers []string `yaml:"approvers"`
	// Count is how many of them must approve; at least one.
	Count int `yaml:"count"`
}

// Schedule is a span of hours that comes back every week.
type Schedule struct {
	// Zone is an IANA time zone: Europe/Berlin.
	Zone string `yaml:"zone"`
	// Days are mon to sun; empty means every day.
	Days []string `yaml:"days,omitempty"`
	// Hours are spans of a day, like 08:00-18:00; one that ends at or before its
	// beginning ends on the next day. Empty means the whole day.
	Hours []string `yaml:"hours,omitempty"`
	// Freeze are dates on which nothing is allowed.
	Freeze []Freeze `yaml:"freeze,omitempty"`
}

// Freeze is a span of dates, both included, in the schedule's zone.
type Freeze struct {
	From   string `yaml:"from"`
	Until  string `yaml:"until"`
	Reason string `yaml:"reason,omitempty"`
}

// Escalation adds people to a stage that has waited.
type Escalation struct {
	// After is counted from when the stage began.
	After record.Duration `yaml:"after"`
	To    []string        `yaml:"to"`
}

package policy

import (
	"time"

	"github.com/jitaccess/jit/pkg/record"
)

// Scene is a request for one role, as a rule's conditions see it.
type Scene struct {
	Requester, Resource, Role string
	// At is when the request was made.
	At       time.Time
	Duration time.Duration
	// Start is nil where access is to open at once.
	Start             *time.Time
	Reason, Ticket    string
	Inputs            map[string]string
	Emergency, Extend bool
	// Open is what the requester has or waits for, Recent what they had.
	Open, Recent []Held
}

// Held is an entitlement that somebody has, waits for, or had.
type Held struct {
	Request        record.ID
	Resource, Role string
	// State is that of the request: pending, scheduled, active, or how it ended.
	State string
	// Since is when access opened, or would; Until when it ends or ended. Both are
	// zero while it waits.
	Since, Until time.Time
}

// Past is what the history held when a request was made: judged once, at its
// place.
type Past struct {
	// Open are the entitlements that the person had or waited for, in the order of the
	// history.
	Open []Held `json:",omitempty"`
	// Recent are those that had ended, newest first: what they had, and what was
	// refused to them. What the person took back or let lapse before it opened is
	// none: of that anybody could make as much as it takes to push out the rest.
	Recent []Held `json:",omitempty"`
	// Last is, for what the request asks for, the access to it that had ended last,
	// however much came after it.
	Last []Held `json:",omitempty"`
	// InRole is how many requests of all people were open or waited, by
	// RESOURCE:ROLE.
	InRole map[string]int `json:",omitempty"`
	// Debts are the person's emergencies that nobody had acknowledged.
	Debts []record.ID `json:",omitempty"`
	// Unread is what was not looked for, since no rule asked for it there.
	Unread Unread `json:",omitzero"`
}

// Unread names parts of a [Past] that are not known.
type Unread struct {
	Recent bool `json:",omitempty"`
	Last   bool `json:",omitempty"`
	InRole bool `json:",omitempty"`
}

// MaxRecent is how many entitlements that ended are looked at, newest first.
const MaxRecent = 200

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
	// Open are the entitlements that the person had or waited for, Recent those
	// that had ended, newest first.
	Open   []Held `json:",omitempty"`
	Recent []Held `json:",omitempty"`
	// InRole is how many requests of all people were open or waited, by
	// RESOURCE:ROLE.
	InRole map[string]int `json:",omitempty"`
	// Debts are the person's emergencies that nobody had acknowledged.
	Debts []record.ID `json:",omitempty"`
}

// MaxRecent is how many entitlements that ended are looked at, newest first.
const MaxRecent = 200

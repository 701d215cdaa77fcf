// Package policy owns the policy document: who the people are, what can be
// asked for, and who must agree. It matches a request to its rule and says what
// a role means. It knows no clock, no git and no signature beyond the
// fingerprints that the document names.
//
// It imports only the record package.
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
	Reconcilers map[string]Reconciler `yaml:"reconcilers,omitempty"`
	Resources   map[string]Resource   `yaml:"resources,omitempty"`
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
	// Accounts says who this person is on a target, by the name of the driver:
	// a PostgreSQL login, or SSH public keys, one a line. A driver that is not
	// named here is given the person's own name.
	Accounts map[string]string `yaml:"accounts,omitempty"`
}

// Reconciler is a machine that opens and ends access.
type Reconciler struct {
	Keys []record.Fingerprint `yaml:"keys"`
	// Resources are those for which it may write receipts.
	Resources []string `yaml:"resources"`
}

// Resource is something to which access is restricted.
type Resource struct {
	Driver      string          `yaml:"driver"`
	Description string          `yaml:"description,omitempty"`
	Roles       map[string]Role `yaml:"roles"`
}

// Role is one way to use a resource.
type Role struct {
	Description string `yaml:"description,omitempty"`
	// Parameters mean what the resource's driver says they mean.
	Parameters map[string]string `yaml:"parameters,omitempty"`
	// Usage tells a person how to use the access that is open.
	Usage string `yaml:"usage,omitempty"`
}

// Rule says under what terms some people get some roles. Rules are read from
// the top, and the first that matches decides.
type Rule struct {
	Name string `yaml:"name"`
	// Resources and Roles are names or globs ("orders-*").
	Resources []string `yaml:"resources"`
	Roles     []string `yaml:"roles"`
	// Requesters are names, globs, group:NAME or team:NAME.
	Requesters []string `yaml:"requesters"`
	// MaxDuration is the longest window that may be asked for.
	MaxDuration record.Duration `yaml:"maxDuration"`
	// Pending is how long a request waits for its decision before it lapses;
	// zero means [DefaultPending].
	Pending  record.Duration `yaml:"pending,omitempty"`
	Requires Requires        `yaml:"requires,omitempty"`
	// Approve is "auto", or empty where Stages decide.
	Approve string  `yaml:"approve,omitempty"`
	Stages  []Stage `yaml:"stages,omitempty"`
}

// ApproveAuto is the value of Rule.Approve for what needs nobody's agreement.
const ApproveAuto = "auto"

// Requires is what a request must say.
type Requires struct {
	// Reason and Ticket are regular expressions (RE2) that the whole text must
	// match. Empty asks for nothing beyond a reason that is not blank.
	Reason string `yaml:"reason,omitempty"`
	Ticket string `yaml:"ticket,omitempty"`
}

// Stage is one step of a chain of approval.
type Stage struct {
	// Approvers are names, globs, group:NAME or team:NAME.
	Approvers []string `yaml:"approvers"`
	// Count is how many of them must approve; at least one.
	Count int `yaml:"count"`
}

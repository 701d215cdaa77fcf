// Package request owns the request for access: what it asks for, what makes it
// well formed, and whether a policy allows it to be made.
//
// It imports only the policy and record packages.
package request

import (
	"fmt"
	"strings"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// MaxGrants is the most entitlements in one bundle. A person reads all of them
// before approving.
const MaxGrants = 20

// MaxText is the most characters of a reason, ticket or comment.
const MaxText = 2000

// MaxInputs is the most inputs of a request, and MaxInput the most characters of
// one.
const (
	MaxInputs = policy.MaxInputs
	MaxInput  = policy.MaxInput
)

// Grant is one entitlement: a role of a resource.
type Grant struct {
	Resource string `yaml:"resource" json:"resource"`
	Role     string `yaml:"role" json:"role"`
}

// String writes resource:role.
func (g Grant) String() string { return g.Resource + ":" + g.Role }

// ParseGrant reads resource:role.
func ParseGrant(s string) (Grant, error) {
	resource, role, ok := strings.Cut(s, ":")
	if !ok || resource == "" || role == "" || strings.Contains(role, ":") {
		return Grant{}, fmt.Errorf("%q is not RESOURCE:ROLE", s)
	}
	return Grant{resource, role}, nil
}

// Request asks for access. Its signer, By, is the one who will have it.
type Request struct {
	record.Head `yaml:",inline"`
	Grants      []Grant         `yaml:"grants"`
	Duration    record.Duration `yaml:"duration"`
	// Start is when access shall open; absent means as soon as it is decided.
	Start  *record.Timestamp `yaml:"start,omitempty"`
	Reason string            `yaml:"reason"`
	Ticket string            `yaml:"ticket,omitempty"`
	// Inputs are the values that a rule asks for, by name.
	Inputs map[string]string `yaml:"inputs,omitempty"`
	// Emergency asks for access at once, to be looked at afterwards.
	Emergency bool `yaml:"emergency,omitempty"`
	// Extends is the request whose access this one prolongs by its duration.
	Extends record.ID `yaml:"extends,omitempty"`
	// Expires is when the request lapses if it is not decided by then.
	Expires record.Timestamp `yaml:"expires"`
}

// Decode gives the request in v. The error is a record.Refusal, or says which
// field is not well formed.
func Decode(v record.Verified) (Request, error) {
	r, err := record.Decode[Request](v, record.KindRequest)
	if err != nil {
		return Request{}, err
	}
	return r, r.Check()
}

// Check says what is not well formed, whatever the policy.
func (r Request) Check() error {
	switch {
	case len(r.Grants) == 0:
		return malformed("grants", "names nothing that is asked for")
	case len(r.Grants) > MaxGrants:
		return malformed("grants", "asks for more than %d at once", MaxGrants)
	case r.Duration.IsZero():
		return malformed("duration", "is missing")
	case len([]rune(r.Reason)) > MaxText:
		return malformed("reason", "is longer than %d characters", MaxText)
	case len([]rune(r.Ticket)) > MaxText:
		return malformed("ticket", "is longer than %d characters", MaxText)
	case !r.Expires.After(r.Created.Time):
		return malformed("expires", "does not lie after created")
	case r.Start != nil && r.Start.Before(r.Created.Time):
		return malformed("start", "lies before created")
	case r.Emergency && r.Start != nil:
		return malformed("start", "stands beside emergency, which opens at once")
	case r.Extends != "" && r.Start != nil:
		return malformed("start", "stands beside extends, which goes on where the other ends")
	case r.Extends != "" && r.Emergency:
		return malformed("emergency", "stands beside extends")
	case len(r.Inputs) > MaxInputs:
		return malformed("inputs", "are more than %d", MaxInputs)
	}
	for name, value := range r.Inputs {
		if name == "" || len(name) > record.MaxName || len([]rune(value)) > MaxInput {
			return malformed("inputs", "have a name of more than %d bytes or a value of more than %d characters", record.MaxName, MaxInput)
		}
	}
	seen := map[Grant]bool{}
	for _, g := range r.Grants {
		switch {
		case g.Resource == "" || g.Role == "":
			return malformed("grants", "leaves out a resource or a role")
		case len(g.Resource) > record.MaxName || len(g.Role) > record.MaxName:
			return malformed("grants", "has a name of more than %d bytes", record.MaxName)
		case seen[g]:
			return malformed("grants", "names %s twice", g)
		}
		seen[g] = true
	}
	return nil
}

// Comment is a remark on a request. It decides nothing.
type Comment struct {
	record.Head   `yaml:",inline"`
	Request       record.ID     `yaml:"request"`
	RequestDigest record.Digest `yaml:"requestDigest"`
	Comment       string        `yaml:"comment"`
}

// DecodeComment gives the comment in v.
func DecodeComment(v record.Verified) (Comment, error) {
	c, err := record.Decode[Comment](v, record.KindComment)
	if err != nil {
		return Comment{}, err
	}
	return c, CheckText("comment", c.Comment, true)
}

// CheckText judges the length of a text in a record; wanted says that it must
// not be blank.
func CheckText(field, text string, wanted bool) error {
	switch {
	case wanted && strings.TrimSpace(text) == "":
		return malformed(field, "is missing")
	case len([]rune(text)) > MaxText:
		return malformed(field, "is longer than %d characters", MaxText)
	}
	return nil
}

func malformed(field, format string, args ...any) error {
	return &record.Refusal{Reason: "bad-value", Detail: field + " " + fmt.Sprintf(format, args...)}
}

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

// maxName is the most bytes of a resource or a role in a request: more than a
// policy's names have, and few enough to be shown in a refusal.
const maxName = 128

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
	}
	seen := map[Grant]bool{}
	for _, g := range r.Grants {
		switch {
		case g.Resource == "" || g.Role == "":
			return malformed("grants", "leaves out a resource or a role")
		case len(g.Resource) > maxName || len(g.Role) > maxName:
			return malformed("grants", "has a name of more than %d bytes", maxName)
		case seen[g]:
			return malformed("grants", "names %s twice", g)
		}
		seen[g] = true
	}
	return nil
}

// Allowed judges the request by a policy: everything that can be said before
// anybody decides. The error is a [policy.Refusal].
func (r Request) Allowed(p *policy.Policy) error {
	if err := r.Fits(p); err != nil {
		return err
	}
	for _, g := range r.Grants {
		m, err := p.Match(r.By, g.Resource, g.Role)
		if err != nil {
			return err
		}
		if stage, missing := unfillable(p, m.Rule, r.By); missing > 0 {
			return &policy.Refusal{Code: policy.NobodyCanApprove, Rule: m.Rule.Name, Hint: "ask an admin to add approvers to the rule",
				Message: fmt.Sprintf("nobody could approve %s: stage %d of rule %q lacks %d who are not %s", g, stage, m.Rule.Name, missing, r.By)}
		}
	}
	return nil
}

// Fits judges the request by the rules of a policy, and leaves open whether
// there are enough people to approve it: that is no question any more once some
// have. The error is a [policy.Refusal].
func (r Request) Fits(p *policy.Policy) error {
	for _, g := range r.Grants {
		m, err := p.Match(r.By, g.Resource, g.Role)
		if err != nil {
			return err
		}
		refuse := func(code policy.Code, hint, format string, args ...any) error {
			return &policy.Refusal{Code: code, Rule: m.Rule.Name, Message: fmt.Sprintf(format, args...), Hint: hint}
		}
		if longest := m.Rule.MaxDuration; r.Duration.Duration > longest.Duration {
			return refuse(policy.TooLong, "ask with: --for "+longest.String(),
				"%s is longer than rule %q allows for %s: at most %s", r.Duration, m.Rule.Name, g, longest)
		}
		if err := m.CheckTexts(r.Reason, r.Ticket); err != nil {
			return err
		}
		if r.Expires.Sub(r.Created.Time) > m.PendingFor() {
			return refuse(policy.PendingTooLong, "let it lapse sooner",
				"rule %q lets a request wait for at most %s", m.Rule.Name, record.Duration{Duration: m.PendingFor()})
		}
	}
	return nil
}

// unfillable gives the first stage, from 1, for which there are not enough
// people, and how many are missing. One person counts once over all stages, so
// this is a matching of people to places, found by augmenting paths.
func unfillable(p *policy.Policy, rule *policy.Rule, requester string) (stage, missing int) {
	taken := map[string]int{} // person -> place
	var places [][]string
	var assign func(place int, tried map[string]bool) bool
	assign = func(place int, tried map[string]bool) bool {
		for _, person := range places[place] {
			if _, ok := taken[person]; !ok {
				taken[person] = place
				return true
			}
		}
		for _, person := range places[place] {
			if tried[person] {
				continue
			}
			tried[person] = true
			if assign(taken[person], tried) {
				taken[person] = place
				return true
			}
		}
		return false
	}
	for i, s := range rule.Stages {
		eligible := p.Eligible(s, requester)
		// A count beyond all reason costs no more than the people there are.
		missing = max(0, s.Count-len(eligible))
		for range s.Count - missing {
			places = append(places, eligible)
			if !assign(len(places)-1, map[string]bool{}) {
				missing++
			}
		}
		if missing > 0 {
			return i + 1, missing
		}
	}
	return 0, 0
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

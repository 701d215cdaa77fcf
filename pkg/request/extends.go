package request

import (
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// Base is what an extension prolongs, as it stood when the extension was asked
// for.
type Base struct {
	// Parts are the entitlements that were open, in the order of the request.
	Parts []BasePart
	// Keys are those on which that access rests, in order.
	Keys []record.Fingerprint `json:",omitempty"`
	// Extensions is how many came one after the other before this one.
	Extensions int `json:",omitempty"`
}

// MaxExtensions is how often access can be prolonged, and how many extensions of one
// request can be asked for. Each is judged by all before it, and what ends the first
// ends all; who needs more than fifty asks anew.
const MaxExtensions = 50

// BasePart is one entitlement that was open. Those of a bundle that opens in parts
// may have windows of their own.
type BasePart struct {
	Grant Grant
	// Opens is when access opened at first, before all extensions; Ends is when it
	// ends without this one.
	Opens, Ends time.Time
	// Meaning is the digest of what was open.
	Meaning record.Digest
}

// Part gives one entitlement of the base; ok is false for one that is not of it, and for no
// base.
func (b *Base) Part(g Grant) (part BasePart, ok bool) {
	if b == nil {
		return part, false
	}
	for _, part := range b.Parts {
		if part.Grant == g {
			return part, true
		}
	}
	return part, false
}

// Of gives what was open of some entitlements.
func (b *Base) Of(grants []Grant) *Base {
	if b == nil {
		return nil
	}
	some := &Base{Keys: b.Keys, Extensions: b.Extensions}
	for _, p := range b.Parts {
		if slices.Contains(grants, p.Grant) {
			some.Parts = append(some.Parts, p)
		}
	}
	return some
}

// Grants gives the entitlements that were open.
func (b *Base) Grants() []Grant {
	all := make([]Grant, 0, len(b.Parts))
	for _, p := range b.Parts {
		all = append(all, p.Grant)
	}
	return all
}

// Window gives the time during which all of it is open: from the last opening to
// the first end. Where the windows differ, nothing is prolonged by more than was
// agreed to.
func (b *Base) Window() (opens, ends time.Time) {
	for i, p := range b.Parts {
		if i == 0 || p.Opens.After(opens) {
			opens = p.Opens
		}
		if i == 0 || p.Ends.Before(ends) {
			ends = p.Ends
		}
	}
	return opens, ends
}

// extension judges whether a request prolongs what can be prolonged, and not for
// too long.
func (f fit) extension() error {
	if f.r.Extends == "" {
		return nil
	}
	if f.b.Base == nil {
		return f.refuse(policy.NotExtendable, "ask anew: jit request "+f.g.String(), "request %s is not open, so it cannot be extended", f.r.Extends.Short())
	}
	base := f.b.Base.Of([]Grant{f.g})
	if len(base.Parts) == 0 || !sameGrants(f.b.Base.Grants(), f.r.Grants) {
		return f.refuse(policy.NotExtendable, "ask anew for what else is needed", "an extension asks for just what is open of request %s", f.r.Extends.Short())
	}
	part, rule := base.Parts[0], f.m.Rule
	total := part.Ends.Sub(part.Opens)
	switch {
	case base.Extensions >= MaxExtensions:
		return f.refuse(policy.ExtendsTooOften, "ask anew when it has ended", "it is extended %d times already", base.Extensions)
	case rule.MaxTotal.IsZero():
		return f.refuse(policy.NotExtendable, "ask anew when it has ended", "rule %q allows no extension", rule.Name)
	case f.r.Expires.After(part.Ends):
		return f.refuse(policy.PendingTooLong, "let it lapse sooner", "an extension must lapse when access ends")
	case total+f.r.Duration.Duration > rule.MaxTotal.Duration:
		left := max(0, rule.MaxTotal.Duration-total).Truncate(time.Second)
		hint := "ask anew when it has ended"
		if left > 0 {
			hint = "ask with: --for " + record.Duration{Duration: left}.String()
		}
		return f.refuse(policy.ExtendsTooLong, hint, "rule %q allows %s in all, and %s of it are taken", rule.Name,
			rule.MaxTotal, record.Duration{Duration: total.Truncate(time.Second)})
	}
	// Access that ends with its hours ends with them, however often it is extended.
	if use := f.m.Use(); use != nil && !use.Contains(part.Ends) {
		return f.refuse(policy.ExtendsTooLong, "ask anew for the next hours", "rule %q keeps hours (%s), and access ends with them at %s already",
			rule.Name, use.Describe(), part.Ends.UTC().Format(time.RFC3339))
	}
	return nil
}

func sameGrants(a, b []Grant) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(g Grant) bool { return !slices.Contains(b, g) })
}

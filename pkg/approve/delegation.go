package approve

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// Delegation lets somebody else decide in the signer's place for a while. It gives
// what the signer may decide in their own name, and nothing that was given to them
// in turn.
type Delegation struct {
	record.Head `yaml:",inline"`
	To          string `yaml:"to"`
	// Start is when it begins; absent means when it was made.
	Start  *record.Timestamp `yaml:"start,omitempty"`
	Until  record.Timestamp  `yaml:"until"`
	Reason string            `yaml:"reason,omitempty"`
}

// Begins gives when it begins.
func (d Delegation) Begins() time.Time {
	if d.Start != nil {
		return d.Start.Time
	}
	return d.Created.Time
}

// DelegationEnd ends a delegation before its time.
type DelegationEnd struct {
	record.Head `yaml:",inline"`
	Delegation  record.ID `yaml:"delegation"`
	Reason      string    `yaml:"reason,omitempty"`
}

// DecodeDelegation gives the delegation in v.
func DecodeDelegation(v record.Verified) (Delegation, error) {
	d, err := record.Decode[Delegation](v, record.KindDelegation)
	if err != nil {
		return Delegation{}, err
	}
	bad := func(format string, args ...any) (Delegation, error) {
		return Delegation{}, &record.Refusal{Reason: record.ReasonBadValue, Detail: fmt.Sprintf(format, args...)}
	}
	switch {
	case d.To == "":
		return bad("to is missing")
	case len(d.To) > record.MaxName:
		return bad("to is longer than %d bytes", record.MaxName)
	case d.Start != nil && d.Start.Before(d.Created.Time):
		return bad("start lies before created")
	case !d.Until.After(d.Begins()):
		return bad("until does not lie after the beginning")
	}
	return d, request.CheckText("reason", d.Reason, false)
}

// DecodeDelegationEnd gives the end of a delegation in v.
func DecodeDelegationEnd(v record.Verified) (DelegationEnd, error) {
	d, err := record.Decode[DelegationEnd](v, record.KindDelegationEnd)
	if err != nil {
		return DelegationEnd{}, err
	}
	if d.Delegation == "" {
		return DelegationEnd{}, &record.Refusal{Reason: record.ReasonBadValue, Detail: "delegation is missing"}
	}
	return d, request.CheckText("reason", d.Reason, false)
}

// MayDelegate judges a delegation under the policy in force at its place.
func MayDelegate(p *policy.Policy, d Delegation) error {
	refuse := func(code policy.Code, hint, format string, args ...any) error {
		return &policy.Refusal{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	terms := p.Document().Delegation
	lasts := record.Duration{Duration: d.Until.Sub(d.Begins())}
	switch {
	case terms.Longest.IsZero():
		return refuse(policy.NoDelegation, "an admin can allow it, with delegation: {longest: …}: jit policy edit", "the policy allows no delegation")
	case d.To == d.By:
		return refuse(policy.SelfDelegation, "name somebody else", "%s cannot delegate to themselves", d.By)
	}
	if _, ok := p.Person(d.To); !ok {
		return refuse(policy.UnknownPerson, "run: jit policy show", "%+q is not one of the people in the policy", d.To)
	}
	if !mayBeDelegate(p, d.To, d.By, d.Created.Time) {
		hint := "those who may: " + few(p.Members(terms.To, policy.Concern{Requester: d.By, At: d.Created.Time}))
		return refuse(policy.NotDelegate, hint, "the policy lets nobody delegate to %s", d.To)
	}
	if lasts.Duration > terms.Longest.Duration {
		return refuse(policy.DelegationTooLong, "delegate for at most "+terms.Longest.String(),
			"the delegation would last %s, and the policy allows %s", lasts, terms.Longest)
	}
	return nil
}

// maxNamed is how many people a hint names: it is read on a screen, and there may be
// thousands.
const maxNamed = 8

// few names the first of some people.
func few(names []string) string {
	if more := len(names) - maxNamed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxNamed], ", "), more)
	}
	return strings.Join(names, ", ")
}

// mayBeDelegate reports whether duties may be given to a person at a time.
func mayBeDelegate(p *policy.Policy, to, by string, at time.Time) bool {
	terms := p.Document().Delegation.To
	return len(terms) == 0 || p.Is(to, terms, policy.Concern{Requester: by, At: at})
}

// Delegated is a delegation that was counted, with what became of it.
type Delegated struct {
	Placed[Delegation]
	// Ended says what ended it before its time; nil where nothing did. Of several it is
	// what came first, or the end since that claims the earliest time: see MayEnd.
	Ended *DelegationEnded `json:",omitempty"`
	// Enders are those who have signed an end of it that counts, once for each.
	Enders []string `json:",omitempty"`
}

// MaxEnds is how many ends of one delegation by one person count. One is enough, and a
// second is for one whose clock was ahead; a bound keeps whoever dates back a little each
// time from piling them up.
const MaxEnds = 2

// DelegationEnded is what ended a delegation: a record, a policy without one of the
// two people or without the key that signed it, or the compromise of that key.
type DelegationEnded struct {
	// By is a person, or empty where the policy or a revoked key did it; Record the
	// id of the record that did.
	By       string    `json:",omitempty"`
	Record   record.ID `json:",omitempty"`
	Position int
	At       time.Time
	Reason   string `json:",omitempty"`
}

// MayEnd judges who ends a delegation, and as of when: the one who gave it, the one who
// has it, or an admin. What has ended by a record that claims a later time can be ended
// again: else an end dated ahead would keep out the one that takes what comes before its
// time.
func (d Delegated) MayEnd(p *policy.Policy, by string, at time.Time) error {
	r := d.Record
	if d.Ended != nil && !at.Before(d.Ended.At) {
		return &policy.Refusal{Code: policy.DelegationEnded, Message: fmt.Sprintf("the delegation of %s to %s has ended already", r.By, r.To),
			Hint: "see: jit delegate --list"}
	}
	if by != r.By && by != r.To && !p.IsAdmin(by) {
		return &policy.Refusal{Code: policy.NotAllowed, Message: fmt.Sprintf("%s can not end the delegation of %s to %s", by, r.By, r.To),
			Hint: "they, or an admin, can: jit delegate --end " + r.ID.Short()}
	}
	ends := 0
	for _, name := range d.Enders {
		if name == by {
			ends++
		}
	}
	if ends >= MaxEnds {
		return &policy.Refusal{Code: policy.DelegationEnded, Message: fmt.Sprintf("%s has ended the delegation of %s to %s %d times already", by, r.By, r.To, ends),
			Hint: "another of the two, or an admin, can: jit delegate --end " + r.ID.Short()}
	}
	return nil
}

// Meets refuses a delegation that would last at the same time as this one does, by the
// same person to the same: one is enough, and many would make all that the other signs
// slow to judge.
func (d Delegated) Meets(x Delegation) error {
	r := d.Record
	if d.Ended != nil || r.By != x.By || r.To != x.To || !x.Begins().Before(r.Until.Time) || !r.Begins().Before(x.Until.Time) {
		return nil
	}
	return &policy.Refusal{Code: policy.AlreadyDelegated,
		Message: fmt.Sprintf("%s has delegated to %s already, from %s until %s", x.By, x.To, r.Begins().UTC().Format(timeForm), r.Until.Format(timeForm)),
		Hint:    "end that one first: jit delegate --end " + r.ID.Short()}
}

// DelegationState is where a delegation stands.
type DelegationState string

// The states of a delegation.
const (
	DelegationComing  DelegationState = "scheduled"
	DelegationActive  DelegationState = "active"
	DelegationExpired DelegationState = "expired"
	DelegationOver    DelegationState = "ended"
	// DelegationBarred is one that the policy in force does not allow.
	DelegationBarred DelegationState = "not-allowed"
)

// State says where it stands at a time under the policy in force.
func (d Delegated) State(p *policy.Policy, at time.Time) DelegationState {
	r := d.Record
	terms := p.Document().Delegation
	_, giver := p.Person(r.By)
	_, delegate := p.Person(r.To)
	switch {
	case d.Ended != nil:
		return DelegationOver
	case !at.Before(r.Until.Time):
		return DelegationExpired
	case !giver || !delegate || r.Until.Sub(r.Begins()) > terms.Longest.Duration || !mayBeDelegate(p, r.To, r.By, at):
		return DelegationBarred
	case at.Before(r.Begins()):
		return DelegationComing
	}
	return DelegationActive
}

// Acting is one in whose place the signer of a record acts.
type Acting struct {
	// Name is what the one who gave the delegation is called in the policy in force
	// there, and Keys are theirs: by them they are known under another name too.
	Name string
	Keys []record.Fingerprint
	// Signed is the certificate that signed the delegation, and Subkey the subkey of it
	// that did; empty where it was the primary key. What is decided in their place rests
	// on both.
	Signed record.Fingerprint
	Subkey record.Fingerprint `json:",omitempty"`
	// Under is the delegation; empty for one who acts in their own name.
	Under record.ID `json:",omitempty"`
}

// keys gives those on which what is decided in their place rests; none for one who acts
// in their own name.
func (a Acting) keys() []record.Fingerprint {
	if a.Signed == "" {
		return nil
	}
	return signedWith(a.Signed, a.Subkey)
}

// names gives those by which they are known: their own, and those that a policy gives
// to the owners of their keys.
func (a Acting) names(p *policy.Policy) []string {
	all := []string{a.Name}
	for _, k := range a.Keys {
		if owner, ok := p.OwnerOf(k); ok && !slices.Contains(all, owner) {
			all = append(all, owner)
		}
	}
	return all
}

// Acts are all those in whose place somebody acts.
type Acts []Acting

// Names gives their names.
func (a Acts) Names() (names []string) {
	for _, x := range a {
		names = append(names, x.Name)
	}
	return names
}

// without leaves out those who are known by one of some names under a policy.
func (a Acts) without(p *policy.Policy, names ...string) Acts {
	return slices.DeleteFunc(slices.Clone(a), func(x Acting) bool {
		return slices.ContainsFunc(x.names(p), func(name string) bool { return slices.Contains(names, name) })
	})
}

// ActsFor gives those in whose place somebody acts at a time under the policy in
// force, in the order of their names; all are the delegations to them, of which no two
// by one person are active at once: see [Delegated.Meets].
func ActsFor(p *policy.Policy, all []Delegated, at time.Time) (acts Acts) {
	for _, d := range all {
		if d.State(p, at) == DelegationActive {
			giver, _ := p.Person(d.Record.By)
			acts = append(acts, Acting{Name: d.Record.By, Keys: giver.Keys, Signed: d.Key, Subkey: d.Subkey, Under: d.Record.ID})
		}
	}
	slices.SortFunc(acts, func(a, b Acting) int { return strings.Compare(a.Name, b.Name) })
	return acts
}

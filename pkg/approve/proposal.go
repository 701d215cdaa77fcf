package approve

import (
	"fmt"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// Proposal is a policy version that was put forward, with its approvals in the
// order of the history.
type Proposal struct {
	Policy    Placed[policy.Document]
	Digest    record.Digest
	Approvals []Placed[Approval] `json:",omitempty"`
	// Void names the certificates and the subkeys among the signers that were revoked as
	// compromised while the proposal was pending: they agree to nothing.
	Void map[record.Fingerprint]Void `json:",omitempty"`
	// Locks are those of signers, or of their keys, that came while it was pending:
	// what they had agreed to before counts no more.
	Locks []Locked `json:",omitempty"`
}

// ProposalState is where a proposed policy version stands.
type ProposalState string

// The states of a proposal.
const (
	Proposed   ProposalState = "pending"    // waits for admins
	Accepted   ProposalState = "in-force"   // is, or was, in force
	Superseded ProposalState = "superseded" // another version came into force meanwhile
	TooLate    ProposalState = "lapsed"
)

// ProposalDecision is where a proposal stands before it is in force.
type ProposalDecision struct {
	// Old is the threshold of the version in force; New that of the proposed
	// one, asked of its own admins where admins or threshold change.
	Old, New StageDecision
	// Changes reports whether New is asked for.
	Changes bool
	// Reached says that all who must agree have agreed; At is the time that
	// the last of them claims, and Claimed that of the first.
	Reached     bool
	At, Claimed time.Time
}

// MayPropose refuses a version to which its new admins could never agree. Only what
// people of the version in force sign counts, with the keys that it gives them: others
// are admitted first, by a version of its own.
func MayPropose(inForce *policy.Policy, doc policy.Document) error {
	d := DecidePolicy(inForce, Proposal{Policy: Placed[policy.Document]{Record: doc}})
	strangers := strangersOf(inForce, doc.Admins.People)
	if !d.Changes || len(doc.Admins.People)-len(strangers) >= doc.Admins.Threshold {
		return nil
	}
	return &policy.Refusal{Code: policy.AdminsUnknown,
		Message: fmt.Sprintf("%d of its admins must agree to it, and only people of the version in force can: %s %s none", doc.Admins.Threshold, few(strangers), isOrAre(strangers)),
		Hint:    "admit them first, and then make them admins: jit admit " + strangers[0]}
}

func isOrAre(names []string) string {
	if len(names) == 1 {
		return "is"
	}
	return "are"
}

// strangersOf gives those whom a policy does not name, in the same order.
func strangersOf(p *policy.Policy, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		_, known := p.Person(name)
		return known
	})
}

// MayApprovePolicy judges an approval of a proposal at its place under the
// version in force there: by an admin of the old or of the new version, before
// it lapses, of the version that it replaces.
func (p Proposal) MayApprovePolicy(inForce *policy.Policy, a Placed[Approval]) error {
	doc := p.Policy.Record
	refuse := func(code policy.Code, hint, format string, args ...any) error {
		return &policy.Refusal{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	switch {
	case doc.Replaces != inForce.Digest():
		return refuse(policy.NotReplacing, "propose it again: jit policy edit", "another policy version came into force since %s was proposed", doc.ID.Short())
	case a.HeadAt < p.Policy.Position:
		return refuse(policy.HeadTooOld, "run: jit sync, and approve again", "the approval was signed before its signer had seen the proposal")
	case doc.Expires != nil && !a.Record.Created.Before(doc.Expires.Time):
		return refuse(policy.Lapsed, "propose it again: jit policy edit", "the proposal lapsed at %s", doc.Expires.Format(timeForm))
	case !inForce.IsAdmin(a.Record.By) && !slices.Contains(doc.Admins.People, a.Record.By):
		return refuse(policy.NotAdmin, "ask one of the admins", "%s is not an admin", a.Record.By)
	case !a.Record.Duration.IsZero():
		return refuse(policy.Widens, "approve without --for", "a policy has no duration to narrow")
	}
	return nil
}

// DecidePolicy says where a proposal stands under the version in force. The
// proposer, who signed it, agrees to it.
func DecidePolicy(inForce *policy.Policy, p Proposal) ProposalDecision {
	doc := p.Policy.Record
	old, next := inForce.Document().Admins, doc.Admins
	d := ProposalDecision{
		Old:     StageDecision{Count: old.Threshold},
		New:     StageDecision{Count: next.Threshold},
		Changes: old.Threshold != next.Threshold || !sameSet(old.People, next.People),
		At:      doc.Created.Time,
		Claimed: doc.Created.Time,
	}
	agree := func(by string, keys []record.Fingerprint, at time.Time, where place) {
		if slices.ContainsFunc(keys, func(k record.Fingerprint) bool { _, void := p.Void[k]; return void }) {
			return
		}
		if slices.ContainsFunc(p.Locks, func(l Locked) bool { return l.names(by, keys[0]) && where.before(l.place()) }) {
			return
		}
		used := false
		for _, side := range []struct {
			admins []string
			stage  *StageDecision
		}{{old.People, &d.Old}, {next.People, &d.New}} {
			if slices.Contains(side.admins, by) && !slices.Contains(side.stage.Have, by) {
				side.stage.Have = append(side.stage.Have, by)
				used = true
			}
		}
		if used && at.After(d.At) {
			d.At = at
		}
		if used && at.Before(d.Claimed) {
			d.Claimed = at
		}
	}
	agree(doc.By, p.Policy.keys(), doc.Created.Time, p.Policy.place())
	for _, a := range p.Approvals {
		agree(a.Record.By, a.keys(), a.Record.Created.Time, a.place())
	}
	// Who is not in the version in force can sign nothing that counts.
	d.Old.Who, d.New.Who = without(old.People, d.Old.Have), without(without(next.People, d.New.Have), strangersOf(inForce, next.People))
	// A threshold of nobody is none: the compiler of policies refuses it too.
	d.Reached = old.Threshold > 0 && next.Threshold > 0 && d.Old.Missing() == 0 && (!d.Changes || d.New.Missing() == 0)
	return d
}

func sameSet(a, b []string) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x string) bool { return !slices.Contains(b, x) })
}

func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(x string) bool { return slices.Contains(some, x) })
}

package ledger

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// DelegationEntry is a delegation and where it stands.
type DelegationEntry struct {
	approve.Delegated
	State approve.DelegationState
}

// Delegations gives all delegations, newest first.
func (l *Ledger) Delegations(now time.Time) ([]DelegationEntry, error) {
	all, err := index{l.db}.delegations(`ORDER BY id DESC`)
	if err != nil || l.Policy() == nil {
		return nil, err
	}
	entries := make([]DelegationEntry, 0, len(all))
	for _, d := range all {
		entries = append(entries, DelegationEntry{d, d.State(l.Policy(), now)})
	}
	return entries, nil
}

// Acting gives those in whose place a person acts as an approver at a time. What
// cannot be read lets nobody act.
func (l *Ledger) Acting(person string, at time.Time) []string {
	if l.Policy() == nil {
		return nil
	}
	names, err := index{l.db}.acting(l.Policy(), person, at)
	if err != nil {
		return nil
	}
	return names
}

// acting gives those in whose place a person acts at a time under a policy.
func (x index) acting(p *policy.Policy, person string, at time.Time) ([]string, error) {
	if p.Document().Delegation.Longest.IsZero() {
		return nil, nil
	}
	all, err := x.delegations(`WHERE delegate = ? AND NOT ended AND until > ?`, person, at.Unix())
	return approve.ActsFor(p, all, at), err
}

// actingAt gives those in whose place the signer of a record acts here, where the
// record is one that they may decide with.
func (f *fold) actingAt(h record.Head) ([]string, error) {
	switch h.Kind {
	case record.KindApproval, record.KindDenial, record.KindRevocation:
		return f.acting(f.policies.Latest(), h.By, h.Created.Time)
	}
	return nil, nil
}

// delegate takes a delegation.
func (f *fold) delegate(v record.Verified, headAt int) error {
	x, err := approve.DecodeDelegation(v)
	if err != nil {
		return err
	}
	if err := approve.MayDelegate(f.policies.Latest(), x); err != nil {
		return err
	}
	if err := f.locks.Refuse(x.To, ""); err != nil {
		return err
	}
	if err := f.roomToDelegate(x.By); err != nil {
		return err
	}
	return f.saveDelegation(approve.Delegated{Placed: placed(f, v, x, headAt)})
}

// endDelegation takes the end of a delegation.
func (f *fold) endDelegation(v record.Verified) error {
	x, err := approve.DecodeDelegationEnd(v)
	if err != nil {
		return err
	}
	all, err := f.delegations(`WHERE id = ?`, idBytes(x.Delegation))
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return &policy.Refusal{Code: policy.NoSuchRecord, Message: fmt.Sprintf("there is no delegation %s", x.Delegation), Hint: "see: jit delegate --list"}
	}
	d := all[0]
	if err := d.MayEnd(f.policies.Latest(), x.By); err != nil {
		return err
	}
	d.Ended = &approve.DelegationEnded{By: x.By, Record: x.ID, Position: f.position, At: x.Created.Time, Reason: x.Reason}
	return f.saveDelegation(d)
}

// endDelegations ends those that are not over and of which over is true.
func (f *fold) endDelegations(by approve.DelegationEnded, over func(approve.Delegated) bool) error {
	all, err := f.delegations(`WHERE NOT ended ORDER BY id`)
	if err != nil {
		return err
	}
	for _, d := range all {
		if !over(d) {
			continue
		}
		d.Ended = &by
		err = errors.Join(err, f.saveDelegation(d))
	}
	return err
}

// endForGone ends the delegations of people whom a policy that has come into force
// does not name any more. It does not begin again when they come back.
func (f *fold) endForGone(v policy.InForce) error {
	by := approve.DelegationEnded{Record: v.ID(), Position: v.Position, At: v.Since, Reason: "the policy removed one of the two"}
	return f.endDelegations(by, func(d approve.Delegated) bool {
		_, giver := v.Person(d.Record.By)
		_, delegate := v.Person(d.Record.To)
		return !giver || !delegate
	})
}

func (x index) saveDelegation(d approve.Delegated) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	r := d.Record
	_, err = x.Exec(`INSERT OR REPLACE INTO delegations VALUES (?, ?, ?, ?, ?, ?, ?)`,
		idBytes(r.ID), r.By, r.To, d.Key.Bytes(), r.Until.Unix(), d.Ended != nil, body)
	return err
}

func (x index) delegations(where string, args ...any) (all []approve.Delegated, err error) {
	err = x.each(`SELECT body FROM delegations `+where, func(r *sql.Rows) error {
		var body []byte
		var d approve.Delegated
		if err := r.Scan(&body); err != nil {
			return err
		}
		if err := json.Unmarshal(body, &d); err != nil {
			return err
		}
		all = append(all, d)
		return nil
	}, args...)
	return all, err
}

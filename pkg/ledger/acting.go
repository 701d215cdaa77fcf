package ledger

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
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
func (l *Ledger) Acting(person string, at time.Time) approve.Acts {
	if l.Policy() == nil {
		return nil
	}
	acts, err := index{l.db}.acting(l.Policy(), person, at)
	if err != nil {
		return nil
	}
	return acts
}

// acting gives those in whose place a person acts at a time under a policy.
func (x index) acting(p *policy.Policy, person string, at time.Time) (approve.Acts, error) {
	if p.Document().Delegation.Longest.IsZero() {
		return nil, nil
	}
	all, err := x.delegations(`WHERE delegate = ? AND NOT ended AND until > ? AND begins <= ? ORDER BY giver`, person, at.Unix(), at.Unix())
	return approve.ActsFor(p, all, at), err
}

// standingAt gives those in whose place the signer of a record about a request acts
// here, where the record is one that they may decide with, and the time by which that
// and the rosters are read: what it claims. What takes away counts whatever it claims,
// so for it the time lies no earlier than what stands before it proves, less a skew:
// one whose duty has ended would deny and revoke for ever by dating back.
func (f *fold) standingAt(h record.Head, r request.Request) (who revoke.Who, acts approve.Acts, err error) {
	who = revoke.Who{By: h.By, At: h.Created.Time}
	switch h.Kind {
	case record.KindApproval:
	case record.KindDenial, record.KindRevocation:
		proven := r.Created.Time
		for _, g := range r.Grants {
			proven = later(proven, f.floor(f.policies.Latest(), g.Resource))
		}
		who.At = later(who.At, proven.Add(-approve.Skew))
	default:
		return who, nil, nil
	}
	acts, err = f.acting(f.policies.Latest(), h.By, who.At)
	who.Acting = acts.Names()
	return who, acts, err
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
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
	if err := f.locks.RefuseUnseen(x.To, "", headAt); err != nil {
		return err
	}
	if err := f.stayed(headAt, "names "+x.To, func(p *policy.Policy) bool {
		_, to := p.Person(x.To)
		return to
	}); err != nil {
		return err
	}
	given, err := f.delegations(`WHERE giver = ? AND delegate = ? AND NOT ended AND until > ? AND begins < ? ORDER BY id`,
		x.By, x.To, x.Begins().Unix(), x.Until.Unix())
	if err != nil {
		return err
	}
	for _, d := range given {
		if err := d.Meets(x); err != nil {
			return err
		}
	}
	if err := f.roomToDelegate(x.By); err != nil {
		return err
	}
	f.came(x.ID)
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
	if err := d.MayEnd(f.policies.Latest(), x.By, x.Created.Time); err != nil {
		return err
	}
	d.Ended = &approve.DelegationEnded{By: x.By, Record: x.ID, Position: f.position, At: x.Created.Time, Reason: x.Reason}
	d.Enders = append(d.Enders, x.By)
	if err := f.saveDelegation(d); err != nil {
		return err
	}
	ids, err := f.actedFor([]string{d.Record.By}, nil)
	for _, id := range ids {
		lost := approve.Lost{Position: f.position, Order: f.order, Beside: f.unseenFrom, At: x.Created.Time, For: d.Record.By}
		c, unread := f.kase(id)
		under := func(a approve.Placed[approve.Approval]) bool {
			return slices.ContainsFunc(c.Acting[a.Record.ID], func(y approve.Acting) bool { return y.Under == x.Delegation })
		}
		err = errors.Join(err, unread, f.lose(id, lost, under))
	}
	return err
}

// endDelegations ends those by and to people, and those that some keys have signed: where
// a subkey is given, only what it has signed of that.
func (f *fold) endDelegations(by approve.DelegationEnded, people []string, keys []record.Fingerprint, subkey record.Fingerprint) error {
	var args []any
	for range 2 {
		for _, name := range people {
			args = append(args, name)
		}
	}
	for _, k := range keys {
		args = append(args, k.Bytes())
	}
	n := len(people)
	all, err := f.delegations(`WHERE NOT ended AND (giver IN `+marks(n)+` OR delegate IN `+marks(n)+` OR key IN `+marks(len(keys))+`) ORDER BY id`, args...)
	for _, d := range all {
		if subkey != "" && d.Subkey != subkey {
			continue
		}
		d.Ended = &by
		err = errors.Join(err, f.saveDelegation(d))
	}
	return err
}

// endForGone ends the delegations of people whom a policy that has come into force does
// not name any more, and those signed with a key that it does not give to their signer
// any more. They do not begin again when the person, or the key, comes back.
func (f *fold) endForGone(v policy.InForce) error {
	by := approve.DelegationEnded{Record: v.ID(), Position: v.Position, At: v.Since, Reason: "the policy removed one of the two"}
	all, err := f.delegations(`WHERE NOT ended ORDER BY id`)
	for _, d := range all {
		_, giver := v.Person(d.Record.By)
		_, delegate := v.Person(d.Record.To)
		over := by
		switch {
		case !giver || !delegate:
		case !v.Gives(d.Key, d.Record.By):
			over.Reason = "the policy took the key that signed it from " + d.Record.By
		default:
			continue
		}
		d.Ended = &over
		err = errors.Join(err, f.saveDelegation(d))
	}
	return err
}

func (x index) saveDelegation(d approve.Delegated) error {
	body, err := json.Marshal(d)
	if err != nil {
		return err
	}
	r := d.Record
	_, err = x.Exec(`INSERT OR REPLACE INTO delegations VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		idBytes(r.ID), r.By, r.To, d.Key.Bytes(), r.Begins().Unix(), r.Until.Unix(), d.Ended != nil, body)
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

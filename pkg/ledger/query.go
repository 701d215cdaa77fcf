package ledger

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/revoke"
)

// Entry is one request and where it stands.
type Entry struct {
	approve.Case
	approve.Decision
}

// Request gives a request, decided at now. The error is ErrNotFound where there
// is none.
func (l *Ledger) Request(id record.ID, now time.Time) (Entry, error) {
	c, err := index{l.db}.request(id)
	if err != nil {
		return Entry{}, fmt.Errorf("request %s: %w", id, err)
	}
	return l.Decide(c, now), nil
}

// Decide says where a case stands at now. Who is locked is not among those who could
// still decide.
func (l *Ledger) Decide(c approve.Case, now time.Time) Entry {
	e := Entry{c, approve.Decide(l.policies, c, now)}
	locked := l.lockedOut(l.Policy())
	if len(locked) == 0 {
		return e
	}
	for i := range e.Grants {
		for j := range e.Grants[i].Stages {
			s := &e.Grants[i].Stages[j]
			var barred []string
			s.Who, barred = parted(s.Who, locked)
			if s.Next != nil {
				s.Next.To, _ = parted(s.Next.To, locked)
			}
			if len(barred) > 0 && len(s.Who) < s.Missing() {
				if w := fmt.Sprintf("stage %d of rule %q waits for %s, who cannot decide: locked", j+1, e.Grants[i].Rule, strings.Join(barred, ", ")); !slices.Contains(e.Warnings, w) {
					e.Warnings = append(e.Warnings, w)
				}
			}
		}
	}
	if e.Debt != nil {
		e.Debt.Who, _ = parted(e.Debt.Who, locked)
	}
	return e
}

// parted parts those who are among some others from those who are not.
func parted(names, from []string) (not, among []string) {
	if len(from) == 0 {
		return names, nil
	}
	for _, name := range names {
		if slices.Contains(from, name) {
			among = append(among, name)
		} else {
			not = append(not, name)
		}
	}
	return not, among
}

// Cases calls fn for every request, newest first, undecided, and stops with its
// first error.
func (l *Ledger) Cases(fn func(approve.Case) error) error {
	return index{l.db}.each(`SELECT body FROM requests ORDER BY id DESC`, func(r *sql.Rows) error {
		var body []byte
		if err := r.Scan(&body); err != nil {
			return err
		}
		var c approve.Case
		if err := unpack(body, &c); err != nil {
			return err
		}
		return fn(c)
	})
}

// Filter picks requests. The zero value picks all.
type Filter struct {
	States   []approve.State
	By       string
	Resource string
	// Open picks what is pending, scheduled or active.
	Open bool
	// Unacknowledged picks the emergencies that nobody has acknowledged, over or
	// not.
	Unacknowledged bool
	// Named picks those whose short name, or whose id, begins with it.
	Named string
	// Limit is the most that are given; 0 is no limit.
	Limit int
}

// onlyOpen reports whether nothing that is settled is picked.
func (f Filter) onlyOpen() bool {
	return f.Open || f.Unacknowledged || len(f.States) > 0 && !slices.ContainsFunc(f.States, approve.State.Settled)
}

func (f Filter) wants(e Entry) bool {
	if f.By != "" && e.Request.Record.By != f.By || f.Open && e.State.Settled() || f.Unacknowledged && !e.Debt.Open() {
		return false
	}
	state, resource := len(f.States) == 0, f.Resource == ""
	for _, s := range f.States {
		state = state || s == e.State
	}
	for _, g := range e.Request.Record.Grants {
		resource = resource || g.Resource == f.Resource
	}
	return state && resource
}

// Requests gives the requests that f picks, decided at now, newest first. That
// one is settled is remembered, so that later calls cost what is open.
func (l *Ledger) Requests(f Filter, now time.Time) ([]Entry, error) {
	var from string // the ids that are looked at, where few are
	var few, args []any
	var where []string
	only := func(condition string, values ...any) {
		where, args = append(where, condition), append(args, values...)
	}
	text := strings.ToUpper(f.Named)
	if !isIDText(text) {
		return nil, nil
	}
	first, last := idRange(text)
	low, high := tailRange(text)
	switch {
	case f.onlyOpen():
		// What is settled may not have been yet at now: then the clock was set back.
		from, few = `(SELECT id FROM requests WHERE state IS NULL UNION ALL SELECT id FROM requests WHERE quiet >= ?)`, []any{now.Unix()}
	case len(text) > 1:
		from, few = `(SELECT id FROM records WHERE tail BETWEEN ? AND ? UNION SELECT id FROM records WHERE id BETWEEN ? AND ? ORDER BY id DESC LIMIT -1)`, []any{low, high, first, last}
	}
	if text != "" && (f.onlyOpen() || from == "") {
		// So many end in one letter that looking through the newest finds enough of
		// them sooner than sorting them all.
		only(`((SELECT tail FROM records t WHERE t.id = r.id) BETWEEN ? AND ? OR r.id BETWEEN ? AND ?)`, low, high, first, last)
	}
	if len(f.States) > 0 && !f.onlyOpen() {
		states := []any{now.Unix()}
		for _, s := range f.States {
			states = append(states, string(s))
		}
		only(`(state IS NULL OR quiet >= ? OR state IN (?`+strings.Repeat(`, ?`, len(f.States)-1)+`))`, states...)
	}
	if f.By != "" {
		only(`person = ?`, f.By)
	}
	query := `SELECT body, state IS NOT NULL FROM requests r`
	if from != "" {
		// The order of a CROSS JOIN is the one that is written, and UNION ALL
		// needs none: SQLite would rather go through all requests, which saves it
		// the sorting.
		query = `SELECT body, state IS NOT NULL FROM ` + from + ` few CROSS JOIN requests r ON r.id = few.id`
	}
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, ` AND `)
	}
	if len(text) < 2 || f.onlyOpen() {
		query += ` ORDER BY r.id DESC` // else they come in that order, and only those that are looked at are read
	}
	var picked, settled []Entry
	stop := errors.New("enough")
	err := index{l.db}.each(query, func(r *sql.Rows) error {
		var body []byte
		var known bool
		if err := r.Scan(&body, &known); err != nil {
			return err
		}
		var e Entry
		if err := unpack(body, &e.Case); err != nil {
			return err
		}
		e = l.Decide(e.Case, now)
		if !known && quietAt(e.Case, e.Decision, now) {
			settled = append(settled, e)
		}
		if f.wants(e) {
			picked = append(picked, e)
		}
		if f.Limit > 0 && len(picked) == f.Limit {
			return stop
		}
		return nil
	}, append(few, args...)...)
	if err != nil && !errors.Is(err, stop) {
		return nil, err
	}
	l.remember(settled)
	return picked, nil
}

// quietFrom gives the time, in seconds since 1970, from which a settled request
// stands for ever as it does: no record of it claims a later time, and no policy
// that comes into force after it changes anything. An ending that claims a time to
// come counts as of now, whenever that is, and an approval does not count yet.
func quietFrom(c approve.Case, d approve.Decision) int64 {
	quiet := d.Closed
	later := func(t time.Time) {
		if t.After(quiet) {
			quiet = t
		}
	}
	later(c.Request.Record.Expires.Time)
	later(d.Ends)
	for _, a := range c.Approvals {
		later(a.Record.Created.Time)
	}
	for _, g := range d.Grants {
		later(g.Ends)
	}
	if d.Debt != nil {
		later(d.Debt.Paid)
	}
	return quiet.Unix()
}

// quietAt reports whether a request is settled for ever at now.
func quietAt(c approve.Case, d approve.Decision, now time.Time) bool {
	return d.State.Settled() && !d.Debt.Open() && quietFrom(c, d) < now.Unix()
}

// remember keeps that requests are settled. It is only to save work, so what
// goes wrong here goes unsaid: a full disk must not keep anybody from reading
// what is to be ended. Where another process has moved the index on, what was
// decided here may be out of date, and is not kept.
func (l *Ledger) remember(settled []Entry) {
	if len(settled) == 0 {
		return
	}
	tx, err := l.db.Begin()
	if err != nil {
		return
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	x := prepare(tx)
	for _, e := range settled {
		if _, err := x.Exec(`UPDATE requests SET state = ?, quiet = ?, had = ? WHERE id = ? AND (SELECT value FROM meta WHERE key = 'head') = ?`,
			string(e.State), quietFrom(e.Case, e.Decision), len(ended(l.policies, e.Case, e.Decision)) > 0, idBytes(e.Request.Record.ID), string(l.head)); err != nil {
			return
		}
	}
	_ = tx.Commit()
}

// ProposalEntry is a policy version and where it stands.
type ProposalEntry struct {
	approve.Proposal
	approve.ProposalDecision
	State approve.ProposalState
}

// Proposal gives a policy version. The error is ErrNotFound where there is none.
func (l *Ledger) Proposal(id record.ID, now time.Time) (ProposalEntry, error) {
	p, err := index{l.db}.proposal(id)
	if err != nil {
		return ProposalEntry{}, fmt.Errorf("policy version %s: %w", id, err)
	}
	return l.decided(p, now), nil
}

// Proposals gives all policy versions, newest first, the first one included.
func (l *Ledger) Proposals(now time.Time) ([]ProposalEntry, error) {
	var all []ProposalEntry
	err := index{l.db}.each(`SELECT body FROM proposals ORDER BY id DESC`, func(r *sql.Rows) error {
		var body []byte
		if err := r.Scan(&body); err != nil {
			return err
		}
		var p approve.Proposal
		if err := json.Unmarshal(body, &p); err != nil {
			return err
		}
		all = append(all, l.decided(p, now))
		return nil
	})
	return all, err
}

func (l *Ledger) decided(p approve.Proposal, now time.Time) ProposalEntry {
	doc := p.Policy.Record
	before := l.policies.Latest()
	state := approve.Proposed
	for i, v := range l.policies {
		if v.ID() != doc.ID {
			continue
		}
		// The first replaces none, and is measured by its own threshold: by that of
		// today it would change with every version after it.
		state, before = approve.Accepted, l.policies[max(0, i-1)].Policy
	}
	switch {
	case state == approve.Accepted:
	case doc.Replaces != l.policies.Latest().Digest():
		state = approve.Superseded
	case doc.Expires != nil && !now.Before(doc.Expires.Time):
		state = approve.TooLate
	}
	e := ProposalEntry{Proposal: p, ProposalDecision: approve.DecidePolicy(before, p), State: state}
	locked := l.lockedOut(l.Policy())
	e.Old.Who, _ = parted(e.Old.Who, locked)
	e.New.Who, _ = parted(e.New.Who, locked)
	return e
}

// Ref names a counted record.
type Ref struct {
	ID   record.ID
	Kind record.Kind
	// Request is the request or policy version beside which it stands; its own
	// id for those.
	Request  record.ID
	By       string
	Created  time.Time
	Path     string
	Commit   gitstore.Hash
	Position int
	Digest   record.Digest
	// Key is the certificate that signed, and Subkey the subkey of it that did; empty
	// where it was the primary key.
	Key, Subkey record.Fingerprint
}

func refs(rows []row, err error) ([]Ref, error) {
	var all []Ref
	for _, r := range rows {
		all = append(all, r.Ref)
	}
	return all, err
}

// minID is the fewest characters by which a record may be named.
const minID = 6

// Lookup gives the records whose id begins or ends with text, in any case: of several
// with one id the first that counted, and of locks each by what it is known by.
func (l *Ledger) Lookup(text string) ([]Ref, error) {
	text = strings.ToUpper(text)
	if len(text) < minID || !isIDText(text) {
		return nil, nil
	}
	first, last := idRange(text)
	found, err := refs(index{l.db}.rows(`WHERE r.id >= ? AND r.id <= ? ORDER BY r.id, r.position, r.ord LIMIT 20`, first, last))
	if err != nil {
		return nil, err
	}
	ends, err := refs(index{l.db}.rows(`WHERE r.tail = ? ORDER BY r.id, r.position, r.ord LIMIT 20`, tailOfText(text)))
	for _, r := range ends {
		if strings.HasSuffix(string(r.ID), text) && !strings.HasPrefix(string(r.ID), text) {
			found = append(found, r)
		}
	}
	if err != nil {
		return nil, err
	}
	found = slices.CompactFunc(found, func(a, b Ref) bool { return a.ID == b.ID })
	for _, h := range l.locks {
		if h.Record == "" || !strings.HasPrefix(string(h.ID), text) && !strings.HasSuffix(string(h.ID), text) {
			continue
		}
		known, err := refs(index{l.db}.rows(`WHERE r.id = ? AND r.position = ? AND r.ord = ?`, idBytes(h.Record), h.Position, h.Order))
		if err != nil {
			return nil, err
		}
		for _, r := range known {
			r.ID = h.ID
			found = append(found, r)
		}
	}
	return found, nil
}

// Records gives the whole story of a request or policy version, in the order
// of the history.
func (l *Ledger) Records(request record.ID) ([]Ref, error) {
	return refs(index{l.db}.rows(`WHERE r.beside = ? ORDER BY r.position, r.ord`, idBytes(request)))
}

// AllRecords gives every counted record, in the order of the history.
func (l *Ledger) AllRecords() ([]Ref, error) {
	return refs(index{l.db}.rows(`ORDER BY r.position, r.ord`))
}

// Counts gives how many records count, and how much is set aside.
func (l *Ledger) Counts() (records, aside int, err error) {
	err = l.db.QueryRow(`SELECT (SELECT count(*) FROM records), (SELECT count(*) FROM aside)`).Scan(&records, &aside)
	return records, aside, err
}

// Blobs gives where the bytes of a record that counts, and its signature, stand in the
// git store.
func (l *Ledger) Blobs(id record.ID, digest record.Digest) (data, signature gitstore.Hash, err error) {
	rows, err := index{l.db}.rows(`WHERE r.id = ? AND r.digest = ?`, idBytes(id), digestBytes(digest))
	if err != nil {
		return "", "", err
	}
	if len(rows) == 0 {
		return "", "", fmt.Errorf("record %s: %w", id, ErrNotFound)
	}
	return rows[0].blob, rows[0].asc, nil
}

// SetAside gives everything in the history that has no effect, in its order.
func (l *Ledger) SetAside() ([]SetAside, error) { return l.aside(`ORDER BY n`) }

// NewestAside gives the newest MaxReported of what has no effect, newest first.
func (l *Ledger) NewestAside() ([]SetAside, error) {
	return l.aside(`ORDER BY n DESC LIMIT ?`, MaxReported)
}

// AsideAfter gives what has no effect after a position, in its order: the first
// MaxReported, and how many there are.
func (l *Ledger) AsideAfter(position int) (first []SetAside, all int, err error) {
	if first, err = l.aside(`WHERE position > ? ORDER BY n LIMIT ?`, position, MaxReported); err != nil {
		return nil, 0, err
	}
	err = l.db.QueryRow(`SELECT count(*) FROM aside WHERE position > ?`, position).Scan(&all)
	return first, all, err
}

// AsideNaming gives what has no effect and has a text in its path, of much the first
// MaxReported.
func (l *Ledger) AsideNaming(text string) ([]SetAside, error) {
	return l.aside(`WHERE instr(path, ?) > 0 ORDER BY n LIMIT ?`, text, MaxReported)
}

// Fork gives the first evidence that somebody was shown another history; nil for none.
func (l *Ledger) Fork() (*SetAside, error) {
	all, err := l.aside(`WHERE reason IN (?, ?) ORDER BY n LIMIT 1`, ReasonUnknownHead, ReasonHeadNoted)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

func (l *Ledger) aside(where string, args ...any) (all []SetAside, err error) {
	err = index{l.db}.each(`SELECT commit_hash, position, path, reason, detail FROM aside `+where, func(r *sql.Rows) error {
		var s SetAside
		defer func() { all = append(all, s) }()
		return r.Scan(&s.Commit, &s.Position, &s.Path, &s.Reason, &s.Detail)
	}, args...)
	return all, err
}

// Export gives the whole state as JSON: the same history gives the same bytes,
// however it was split into folds.
func (l *Ledger) Export() ([]byte, error) {
	all := struct {
		Identity     record.StoreID
		Head         gitstore.Hash
		Position     int
		Digest       record.Digest
		Records      []Ref
		Requests     []json.RawMessage
		Proposals    []json.RawMessage
		Certificates []string
		Floors       map[string]map[signingKey]time.Time
		Locks        revoke.Locks
		Delegations  []json.RawMessage
		SetAside     []SetAside
		Healed       []gitstore.Hash
		Sights       []Sight
		Claims       []string
	}{Identity: l.identity, Head: l.head, Position: l.position, Digest: l.digest, Floors: l.floors, Locks: l.locks}
	var err error
	if all.Records, err = l.AllRecords(); err != nil {
		return nil, err
	}
	if all.SetAside, err = l.SetAside(); err != nil {
		return nil, err
	}
	if all.Healed, err = l.HealedAway(); err != nil {
		return nil, err
	}
	if all.Sights, err = l.Sights(); err != nil {
		return nil, err
	}
	if all.Claims, err = (index{l.db}).exportClaims(); err != nil {
		return nil, err
	}
	bodies := func(into *[]json.RawMessage, query string, text func([]byte) ([]byte, error)) error {
		return index{l.db}.each(query, func(r *sql.Rows) error {
			var body []byte
			if err := r.Scan(&body); err != nil {
				return err
			}
			body, err := text(body)
			*into = append(*into, body)
			return err
		})
	}
	if err := bodies(&all.Requests, `SELECT body FROM requests ORDER BY id`, unpackText); err != nil {
		return nil, err
	}
	plain := func(body []byte) ([]byte, error) { return body, nil }
	if err := bodies(&all.Proposals, `SELECT body FROM proposals ORDER BY id`, plain); err != nil {
		return nil, err
	}
	if err := bodies(&all.Delegations, `SELECT body FROM delegations ORDER BY id`, plain); err != nil {
		return nil, err
	}
	if err := (index{l.db}).each(`SELECT armor FROM certificates ORDER BY fingerprint`, func(r *sql.Rows) error {
		var armor string
		defer func() { all.Certificates = append(all.Certificates, armor) }()
		return r.Scan(&armor)
	}); err != nil {
		return nil, err
	}
	return json.MarshalIndent(all, "", "  ")
}

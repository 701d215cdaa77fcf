package ledger

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
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
	return Entry{c, approve.Decide(l.policies, c, now)}, nil
}

// Filter picks requests. The zero value picks all.
type Filter struct {
	States   []approve.State
	By       string
	Resource string
	// Open picks what is pending, scheduled or active.
	Open bool
	// Limit is the most that are given; 0 is no limit.
	Limit int
}

func (f Filter) wants(e Entry) bool {
	if f.By != "" && e.Request.Record.By != f.By || f.Open && e.State.Settled() {
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

// Requests gives the requests that f picks, decided at now, newest first. What
// is settled is remembered, so that later calls cost what is open.
func (l *Ledger) Requests(f Filter, now time.Time) ([]Entry, error) {
	from := `requests`
	var args []any
	var where []string
	if f.Open {
		// What is remembered as settled was open before, and the clock may have been
		// set back since.
		where, args = append(where, `final >= ?`), append(args, now.Unix())
		from += ` INDEXED BY requests_final` // for the order alone SQLite would read all
	}
	if f.By != "" {
		where, args = append(where, `person = ?`), append(args, f.By)
	}
	query := `SELECT body, settled FROM ` + from
	if len(where) > 0 {
		query += ` WHERE ` + strings.Join(where, ` AND `)
	}
	var picked []Entry
	var settled []Entry
	stop := fmt.Errorf("enough")
	err := index{l.db}.each(query+` ORDER BY id DESC`, func(r *sql.Rows) error {
		var body, known []byte
		if err := r.Scan(&body, &known); err != nil {
			return err
		}
		var e Entry
		if err := json.Unmarshal(body, &e.Case); err != nil {
			return err
		}
		ok := false
		if known != nil {
			if err := json.Unmarshal(known, &e.Decision); err != nil {
				return err
			}
			ok = e.final().Before(now) // else the clock was set back since
		}
		if !ok {
			e.Decision = approve.Decide(l.policies, e.Case, now)
			if known == nil && e.State.Settled() && e.final().Before(now) {
				settled = append(settled, e)
			}
		}
		if f.wants(e) {
			picked = append(picked, e)
		}
		if f.Limit > 0 && len(picked) == f.Limit {
			return stop
		}
		return nil
	}, args...)
	if err != nil && !isStop(err, stop) {
		return nil, err
	}
	l.remember(settled)
	return picked, nil
}

// final gives the time after which a settled decision is the same for ever. What
// claims a time that has not come yet still moves it: an ending then counts as of
// now, whenever that is, and an approval does not count yet. So it may lie after
// Closed, and before it the request may even have been open.
func (e Entry) final() time.Time {
	at := e.Closed
	for _, a := range e.Case.Approvals {
		if created := a.Record.Created.Time; created.After(at) {
			at = created
		}
	}
	return at
}

func isStop(err, stop error) bool { return err == stop } //nolint:errorlint // the very value, passed through

// remember keeps where settled requests ended. It is only to save work, so what
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
	for _, e := range settled {
		known, err := json.Marshal(e.Decision)
		if err != nil {
			return
		}
		if _, err := tx.Exec(`UPDATE requests SET settled = ?, final = ? WHERE id = ? AND (SELECT value FROM meta WHERE key = 'head') = ?`,
			known, e.final().Unix(), string(e.Request.Record.ID), string(l.head)); err != nil {
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
	return ProposalEntry{Proposal: p, ProposalDecision: approve.DecidePolicy(before, p), State: state}
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
	Key      record.Fingerprint
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

// Lookup gives the records whose id begins or ends with text, in any case.
func (l *Ledger) Lookup(text string) ([]Ref, error) {
	text = strings.ToUpper(text)
	if len(text) < minID || len(text) > 26 || strings.Trim(text, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != "" {
		return nil, nil
	}
	found, err := refs(index{l.db}.rows(`WHERE r.id >= ? AND r.id < ? ORDER BY r.id LIMIT 20`, text, text+"~"))
	if err != nil {
		return nil, err
	}
	ends, err := refs(index{l.db}.rows(`WHERE r.tail = ? ORDER BY r.id LIMIT 20`, tail(text)))
	for _, r := range ends {
		if strings.HasSuffix(string(r.ID), text) && !strings.HasPrefix(string(r.ID), text) {
			found = append(found, r)
		}
	}
	return found, err
}

// Records gives the whole story of a request or policy version, in the order
// of the history.
func (l *Ledger) Records(request record.ID) ([]Ref, error) {
	return refs(index{l.db}.rows(`WHERE r.beside = ? ORDER BY r.position, r.ord`, string(request)))
}

// AllRecords gives every counted record, in the order of the history.
func (l *Ledger) AllRecords() ([]Ref, error) {
	return refs(index{l.db}.rows(`ORDER BY r.position, r.ord`))
}

// Blobs gives where a record's bytes and its signature stand in the git store.
func (l *Ledger) Blobs(id record.ID) (data, signature gitstore.Hash, err error) {
	rows, err := index{l.db}.rows(`WHERE r.id = ?`, string(id))
	if err != nil {
		return "", "", err
	}
	if len(rows) == 0 {
		return "", "", fmt.Errorf("record %s: %w", id, ErrNotFound)
	}
	return rows[0].blob, rows[0].asc, nil
}

// SetAside gives everything in the history that has no effect, in its order.
func (l *Ledger) SetAside() ([]SetAside, error) {
	var all []SetAside
	err := index{l.db}.each(`SELECT commit_hash, position, path, reason, detail FROM aside ORDER BY n`, func(r *sql.Rows) error {
		var s SetAside
		defer func() { all = append(all, s) }()
		return r.Scan(&s.Commit, &s.Position, &s.Path, &s.Reason, &s.Detail)
	})
	return all, err
}

// Enrolment is a certificate in the store that belongs to nobody in the policy
// in force.
type Enrolment struct {
	Fingerprint record.Fingerprint
	UserIDs     []string
	Position    int
}

// Enrolments gives the certificates that wait to be admitted, newest first.
func (l *Ledger) Enrolments() ([]Enrolment, error) {
	var all []Enrolment
	p := l.policies.Latest()
	err := index{l.db}.each(`SELECT fingerprint, position FROM certificates ORDER BY position DESC, fingerprint`, func(r *sql.Rows) error {
		var e Enrolment
		if err := r.Scan(&e.Fingerprint, &e.Position); err != nil {
			return err
		}
		if p != nil {
			if _, known := p.OwnerOf(e.Fingerprint); known {
				return nil
			}
		}
		if c := l.keyring.Lookup(e.Fingerprint); c != nil {
			e.UserIDs = c.UserIDs()
		}
		all = append(all, e)
		return nil
	})
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
		Floors       map[string]map[string]time.Time
		SetAside     []SetAside
	}{Identity: l.identity, Head: l.head, Position: l.position, Digest: l.digest, Floors: l.floors}
	var err error
	if all.Records, err = l.AllRecords(); err != nil {
		return nil, err
	}
	if all.SetAside, err = l.SetAside(); err != nil {
		return nil, err
	}
	bodies := func(into *[]json.RawMessage, query string) error {
		return index{l.db}.each(query, func(r *sql.Rows) error {
			var body []byte
			defer func() { *into = append(*into, body) }()
			return r.Scan(&body)
		})
	}
	if err := bodies(&all.Requests, `SELECT body FROM requests ORDER BY id`); err != nil {
		return nil, err
	}
	if err := bodies(&all.Proposals, `SELECT body FROM proposals ORDER BY id`); err != nil {
		return nil, err
	}
	for _, c := range l.keyring.All() {
		all.Certificates = append(all.Certificates, string(c.Armor()))
	}
	return json.MarshalIndent(all, "", "  ")
}

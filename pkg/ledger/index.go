package ledger

import (
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// schema is the form of the index. The records' bytes stay in the git store;
// here stands what was made of them. Ids, hashes and fingerprints are bytes, and
// requests packed (see codec.go): the index of a large store is to be smaller
// than the store.
const schema = `
CREATE TABLE IF NOT EXISTS meta (
	key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commits (
	position INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS records (
	id BLOB NOT NULL, tail INTEGER NOT NULL, kind TEXT NOT NULL, beside BLOB NOT NULL,
	policy INTEGER NOT NULL, signer TEXT NOT NULL, created INTEGER NOT NULL, key BLOB NOT NULL, subkey BLOB NOT NULL,
	digest BLOB NOT NULL, blob BLOB NOT NULL, asc BLOB NOT NULL,
	position INTEGER NOT NULL, ord INTEGER NOT NULL,
	PRIMARY KEY (id, digest)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS loose (
	path TEXT PRIMARY KEY, blob TEXT NOT NULL, holds INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS certificates (
	fingerprint TEXT PRIMARY KEY, armor BLOB NOT NULL, position INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS voids (
	fingerprint TEXT NOT NULL, subkey TEXT NOT NULL, position INTEGER NOT NULL, at INTEGER NOT NULL,
	PRIMARY KEY (fingerprint, subkey)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS floors (
	resource TEXT NOT NULL, key BLOB NOT NULL, subkey BLOB NOT NULL, at INTEGER NOT NULL,
	PRIMARY KEY (resource, key, subkey)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (
	id BLOB PRIMARY KEY, person TEXT NOT NULL, body BLOB NOT NULL,
	position INTEGER NOT NULL, ord INTEGER NOT NULL,
	state TEXT, quiet INTEGER, had INTEGER);
CREATE TABLE IF NOT EXISTS proposals (
	id BLOB PRIMARY KEY, body BLOB NOT NULL, forced INTEGER NOT NULL, beside INTEGER NOT NULL,
	since INTEGER NOT NULL, claimed INTEGER NOT NULL,
	person TEXT NOT NULL, replaces TEXT NOT NULL, expires INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS aside (
	n INTEGER PRIMARY KEY, commit_hash TEXT NOT NULL, position INTEGER NOT NULL,
	path TEXT NOT NULL, reason TEXT NOT NULL, detail TEXT NOT NULL);
`

// indices are made after the tables, and made anew after many records: sorting
// once costs less than keeping order.
const indices = `
CREATE INDEX IF NOT EXISTS records_tail ON records (tail);
CREATE INDEX IF NOT EXISTS records_beside ON records (beside, position, ord);
` + openIndices

// openIndices find what is open, and whose.
const openIndices = `
CREATE INDEX IF NOT EXISTS requests_open ON requests (id) WHERE state IS NULL;
CREATE INDEX IF NOT EXISTS requests_person ON requests (person, position, ord);
CREATE INDEX IF NOT EXISTS requests_whose ON requests (person, quiet);
CREATE INDEX IF NOT EXISTS requests_quiet ON requests (quiet) WHERE quiet IS NOT NULL;
`

const noIndices = `
DROP INDEX IF EXISTS records_tail;
DROP INDEX IF EXISTS records_beside;
DROP INDEX IF EXISTS requests_open;
DROP INDEX IF EXISTS requests_person;
DROP INDEX IF EXISTS requests_whose;
DROP INDEX IF EXISTS requests_quiet;
`

// querier is a database or a transaction on it.
type querier interface {
	Exec(query string, args ...any) (sql.Result, error)
	Query(query string, args ...any) (*sql.Rows, error)
	QueryRow(query string, args ...any) *sql.Row
}

// index is what the ledger asks of SQLite.
type index struct{ querier }

// prepared is a transaction that parses each statement once.
type prepared struct {
	tx    *sql.Tx
	stmts map[string]*sql.Stmt
}

func prepare(tx *sql.Tx) *prepared { return &prepared{tx, map[string]*sql.Stmt{}} }

// stmt gives the statement of a query, which ends with the transaction.
func (p *prepared) stmt(query string) (*sql.Stmt, error) {
	if s, ok := p.stmts[query]; ok {
		return s, nil
	}
	s, err := p.tx.Prepare(query)
	if err == nil {
		p.stmts[query] = s
	}
	return s, err
}

func (p *prepared) Exec(query string, args ...any) (sql.Result, error) {
	s, err := p.stmt(query) //nolint:sqlclosecheck // it ends with the transaction
	if err != nil {
		return nil, err
	}
	return s.Exec(args...)
}

func (p *prepared) Query(query string, args ...any) (*sql.Rows, error) {
	s, err := p.stmt(query) //nolint:sqlclosecheck // it ends with the transaction
	if err != nil {
		return nil, err
	}
	return s.Query(args...)
}

func (p *prepared) QueryRow(query string, args ...any) *sql.Row {
	s, err := p.stmt(query) //nolint:sqlclosecheck // it ends with the transaction
	if err != nil {
		return p.tx.QueryRow(query, args...) // which meets the same error, and can give it
	}
	return s.QueryRow(args...)
}

// void is a key revoked as compromised.
type void = approve.Void

func (s state) clone() state {
	s.void = maps.Clone(s.void)
	floors := make(map[string]map[signingKey]time.Time, len(s.floors))
	for resource, by := range s.floors {
		floors[resource] = maps.Clone(by)
	}
	s.floors = floors
	s.policies = s.policies[:len(s.policies):len(s.policies)]
	s.locks = s.locks[:len(s.locks):len(s.locks)]
	return s
}

// each calls scan for every row.
func (x index) each(query string, scan func(*sql.Rows) error, args ...any) (err error) {
	rows, err := x.Query(query, args...)
	if err != nil {
		return damage(err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return damage(rows.Err())
}

func (x index) load() (state, error) {
	s := state{void: map[signingKey]void{}, floors: map[string]map[signingKey]time.Time{}}
	meta := map[string]string{}
	err := x.each(`SELECT key, value FROM meta`, func(r *sql.Rows) error {
		var k, v string
		defer func() { meta[k] = v }()
		return r.Scan(&k, &v)
	})
	if err != nil {
		return s, err
	}
	s.identity, s.head, s.digest = record.StoreID(meta["identity"]), gitstore.Hash(meta["head"]), record.Digest(meta["digest"])
	if p := meta["position"]; p != "" {
		if _, err := fmt.Sscan(p, &s.position); err != nil {
			return s, fmt.Errorf("position: %w", err)
		}
	}
	if err := x.loadPolicies(&s); err != nil {
		return s, err
	}
	if err := x.loadVoids(s.void, namedBy(s.policies...)); err != nil {
		return s, err
	}
	if err := x.loadLocks(&s); err != nil {
		return s, err
	}
	return s, x.each(`SELECT resource, key, subkey, at FROM floors`, func(r *sql.Rows) error {
		var resource string
		var key, subkey []byte
		var at int64
		if err := r.Scan(&resource, &key, &subkey, &at); err != nil {
			return err
		}
		s.setFloor(resource, signingKey{fingerprintOf(key), fingerprintOf(subkey)}, time.Unix(at, 0).UTC())
		return nil
	})
}

func (s *state) setFloor(resource string, key signingKey, at time.Time) {
	if s.floors[resource] == nil {
		s.floors[resource] = map[signingKey]time.Time{}
	}
	s.floors[resource][key] = at
}

// loadKeys loads the certificates of all whom the policies name, where they are not there
// yet. Reading them costs more than all else of a state, and a run with nothing new needs
// none.
func (x index) loadKeys(s *state) error {
	if s.keyring != nil {
		return nil
	}
	certs, err := x.certificates(namedBy(s.policies...))
	if err == nil {
		s.keyring, err = record.NewKeyring(certs...)
	}
	return err
}

// loadPolicies loads all versions that are, or were, in force. They are compiled side by
// side: a store has one for each change of people or rules.
func (x index) loadPolicies(s *state) error {
	var bodies [][]byte
	err := x.each(`SELECT body, forced, beside, since, claimed FROM proposals WHERE forced > 0 ORDER BY forced, id`, func(r *sql.Rows) error {
		var body []byte
		var v policy.InForce
		var since, claimed int64
		if err := r.Scan(&body, &v.Position, &v.Beside, &since, &claimed); err != nil {
			return err
		}
		v.Since, v.Claimed = time.Unix(since, 0).UTC(), time.Unix(claimed, 0).UTC()
		bodies, s.policies = append(bodies, body), append(s.policies, v)
		return nil
	})
	if err != nil {
		return err
	}
	failed := make([]error, len(bodies))
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(len(bodies), runtime.GOMAXPROCS(0)) {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(bodies); i = int(next.Add(1)) - 1 {
				s.policies[i].Policy, failed[i] = compiled(bodies[i])
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// compiled gives the policy of a proposal as the index keeps it.
func compiled(body []byte) (*policy.Policy, error) {
	var p approve.Proposal
	if err := json.Unmarshal(body, &p); err != nil {
		return nil, err
	}
	return policy.Compile(p.Policy.Record, p.Digest)
}

// saveMeta writes what a fold moved on.
func (x index) saveMeta(s state) error {
	for k, v := range map[string]string{
		"identity": string(s.identity), "head": string(s.head),
		"position": fmt.Sprint(s.position), "digest": string(s.digest),
	} {
		if _, err := x.Exec(`INSERT OR REPLACE INTO meta VALUES (?, ?)`, k, v); err != nil {
			return err
		}
	}
	return nil
}

// positionOf gives the position of a commit of the folded history; 0 when it
// is none.
func (x index) positionOf(h gitstore.Hash) (position int, err error) {
	err = x.QueryRow(`SELECT position FROM commits WHERE hash = ?`, hashBytes(h)).Scan(&position)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return position, err
}

// row is a counted record as the index keeps it.
type row struct {
	Ref
	blob, asc gitstore.Hash
	place     record.Place
	order     int
}

const rowColumns = `r.id, r.kind, r.beside, r.policy, r.signer, r.created, r.key, r.subkey, r.digest, r.blob, r.asc, r.position, r.ord,
	(SELECT hash FROM commits c WHERE c.position = r.position)`

func (x index) rows(where string, args ...any) ([]row, error) {
	var all []row
	err := x.each(`SELECT `+rowColumns+` FROM records r `+where, func(rows *sql.Rows) error {
		var r row
		var created int64
		var id, beside, key, subkey, digest, blob, asc, commit []byte
		if err := rows.Scan(&id, &r.Kind, &beside, &r.place.Policy, &r.By, &created, &key, &subkey, &digest, &blob, &asc, &r.Position, &r.order, &commit); err != nil {
			return err
		}
		r.ID, r.Request, r.Key, r.Subkey, r.Digest = idOf(id), idOf(beside), fingerprintOf(key), fingerprintOf(subkey), record.Digest(hex.EncodeToString(digest))
		r.blob, r.asc, r.Commit, r.Created = hashOf(blob), hashOf(asc), hashOf(commit), time.Unix(created, 0).UTC()
		r.place.Kind, r.place.ID, r.place.Request = r.Kind, r.ID, r.Request
		r.Path = r.place.Path()
		all = append(all, r)
		return nil
	}, args...)
	return all, err
}

func (x index) insertRecord(v record.Verified, p record.Place, blob, asc gitstore.Hash, position, order int) error {
	h := v.Head()
	_, err := x.Exec(`INSERT INTO records VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
		idBytes(h.ID), tailOf(h.ID), string(h.Kind), idBytes(p.Request), p.Policy, h.By, h.Created.Unix(),
		v.Primary().Bytes(), v.Subkey().Bytes(), digestBytes(v.Digest()), hashBytes(blob), hashBytes(asc), position, order)
	return err
}

// get reads one JSON body.
func (x index) get(into any, query string, args ...any) error {
	var body []byte
	err := x.QueryRow(query, args...).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil {
		return damage(err)
	}
	return json.Unmarshal(body, into)
}

func (x index) request(id record.ID) (c approve.Case, err error) {
	var body []byte
	err = x.QueryRow(`SELECT body FROM requests WHERE id = ?`, idBytes(id)).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return c, ErrNotFound
	}
	if err != nil {
		return c, damage(err)
	}
	return c, unpack(body, &c)
}

// saveRequest writes a case, with where it stands where that is settled at now.
// With a zero now that is left to be judged.
func (x index) saveRequest(c approve.Case, h policy.History, now time.Time) error {
	body, err := pack(c)
	if err != nil {
		return err
	}
	var state, quiet, had any
	if !now.IsZero() {
		if d := approve.Decide(h, c, now); quietAt(c, d, now) {
			state, quiet, had = string(d.State), quietFrom(c, d), len(ended(h, c, d)) > 0
		}
	}
	_, err = x.Exec(`INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
		SET body = excluded.body, state = excluded.state, quiet = excluded.quiet, had = excluded.had`,
		idBytes(c.Request.Record.ID), c.Request.Record.By, body, c.Request.Position, c.Request.Order, state, quiet, had)
	return err
}

func (x index) proposal(id record.ID) (p approve.Proposal, err error) {
	err = x.get(&p, `SELECT body FROM proposals WHERE id = ?`, idBytes(id))
	return p, err
}

// saveProposal keeps a proposal with the version that it has become; the zero value for none
// yet.
func (x index) saveProposal(p approve.Proposal, v policy.InForce) error {
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	doc := p.Policy.Record
	var expires int64
	if doc.Expires != nil {
		expires = doc.Expires.Unix()
	}
	_, err = x.Exec(`INSERT OR REPLACE INTO proposals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, idBytes(doc.ID), body, v.Position, v.Beside, v.Since.Unix(), v.Claimed.Unix(), doc.By, string(doc.Replaces), expires)
	return err
}

// forget drops what is known of the ends of requests that a policy version may change.
// One that had ended, and could not be decided any more either, is as it was: a policy
// decides nothing from before it, but of what was decided beside it.
func (x index) forget(v policy.InForce) error {
	const drop = `UPDATE requests SET state = NULL, quiet = NULL, had = NULL WHERE `
	_, err := x.Exec(drop+`quiet >= ?`, v.Claimed.Unix())
	if err != nil || v.Beside == 0 {
		return err
	}
	// It was decided where the request stands, something beside it, or another version.
	_, err = x.Exec(drop+`id IN (SELECT beside FROM records WHERE position >= ?)
		OR EXISTS (SELECT 1 FROM proposals WHERE forced >= ? AND forced < ?)`, v.Beside, v.Beside, v.Position)
	return err
}

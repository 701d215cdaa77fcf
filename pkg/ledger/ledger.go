// Package ledger owns the fold of a store's history into state: which records
// count, which are set aside and why, which policy is in force, and where each
// request stands. The state lives in one SQLite file, so that a run costs what
// is new, and can be made again from nothing with the same result.
//
// It knows no clock: the time is a parameter. It reads a git store and never
// writes to one, and knows nothing of targets.
package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"modernc.org/sqlite" // the database/sql driver "sqlite", without cgo
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/revoke"
)

// Version names the rules by which records are judged, here and in the packages below
// (signatures, certificates, policies), and the form of the index. It changes when the
// same bytes come to another verdict: an index of another version is made again.
const Version = 16

var (
	// ErrNotFound means that there is no such request, policy version or record.
	ErrNotFound = errors.New("not found")
	// ErrDamaged means that the index cannot be read, or is of another version. It can
	// be removed and made again from the store.
	ErrDamaged = errors.New("the local index is damaged")
	// ErrUnwritable means that the index is whole, and the disk takes nothing.
	ErrUnwritable = errors.New("the local index could not be written")
	// ErrIdentity means that the first policy of the history is not the one that the
	// store's identity names.
	ErrIdentity = errors.New("this is another store")
)

// Ledger is the state of one store at one head. Its methods are not for
// concurrent use.
type Ledger struct {
	// Progress, where set, is told how many commits of a long fold are done, of
	// how many.
	Progress func(done, total int)
	// Settle is the time at which a long fold judges which requests are settled,
	// so that the first question afterwards need not; zero leaves it to that.
	Settle time.Time

	db *sql.DB
	state
	bulkFrom, chunk int // the constants, but in tests
}

// state is the part that is held in memory: what every record is judged by.
type state struct {
	identity record.StoreID
	head     gitstore.Hash
	position int
	digest   record.Digest
	policies policy.History
	// keyring is nil until it is needed: see loadKeys.
	keyring *record.Keyring
	void    map[signingKey]void
	// floors is the time of the newest receipt, or heartbeat, by resource and
	// the key that signed it.
	floors map[string]map[signingKey]time.Time
	// locks are all locks, in the order of the history.
	locks revoke.Locks
}

// InMemory is the path of an index that is on no disk: it is empty when it is opened, and
// gone when it is closed.
const InMemory = ":memory:"

// Open opens or makes the index at path. With identity not empty, only the
// store of that identity is folded; an index of another one is ErrIdentity.
func Open(path string, identity record.StoreID) (*Ledger, error) {
	// SQLite reads the name as a URI, in which these have a meaning.
	name := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
	dsn := "file:" + name + "?_pragma=journal_mode(wal)&_pragma=synchronous(normal)&_pragma=busy_timeout(20000)&_pragma=temp_store(memory)&_txlock=immediate"
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, unreadable(err)
	}
	db.SetMaxOpenConns(1)
	l := &Ledger{db: db, bulkFrom: bulkFrom, chunk: chunk}
	if err := l.open(identity); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return l, nil
}

func (l *Ledger) open(identity record.StoreID) error {
	if err := l.form(); err != nil {
		return unreadable(err)
	}
	if err := l.Reload(); err != nil {
		return err
	}
	if l.identity == "" {
		l.identity = identity
	}
	if identity != "" && l.identity != identity {
		return fmt.Errorf("%w: the index is of %s, not of %s", ErrIdentity, l.identity, identity)
	}
	return nil
}

// form makes the tables, where they are not those of another version.
func (l *Ledger) form() error {
	var version int
	if err := l.db.QueryRow(`PRAGMA user_version`).Scan(&version); err != nil || version == Version {
		return err
	}
	var tables int
	if err := l.db.QueryRow(`SELECT count(*) FROM sqlite_schema`).Scan(&tables); err != nil {
		return err
	}
	if tables > 0 {
		return fmt.Errorf("it is of version %d, and this jit makes version %d", version, Version)
	}
	_, err := l.db.Exec(schema + retiredSchema + strangerSchema + healSchema + mergedSchema + earlySchema + standingSchema + sightSchema + claimSchema + waitingSchema + indices + fmt.Sprintf(`PRAGMA user_version = %d`, Version))
	return err
}

// Close releases the file.
func (l *Ledger) Close() error { return l.db.Close() }

// Identity gives the store's identity; empty before the first fold where none
// was given.
func (l *Ledger) Identity() record.StoreID { return l.identity }

// Head gives the commit up to which the history is folded, and its position:
// the number of commits from the root. Both are zero before the first fold.
func (l *Ledger) Head() (gitstore.Hash, int) { return l.head, l.position }

// Digest gives the running sha256 over all records counted, in their order.
// Two machines at one head that differ in it disagree.
func (l *Ledger) Digest() record.Digest { return l.digest }

// Policies gives the succession of policies in force.
func (l *Ledger) Policies() policy.History { return l.policies }

// Policy gives the policy in force, or nil before the first.
func (l *Ledger) Policy() *policy.Policy { return l.policies.Latest() }

// Keyring gives the certificates of those whom a policy in force names, or named.
// Any other, or one alone, is given by Certificate.
func (l *Ledger) Keyring() (*record.Keyring, error) {
	if err := (index{l.db}).loadKeys(&l.state); err != nil {
		return nil, unreadable(err)
	}
	return l.keyring, nil
}

// Reload reads the state again that another process may have moved on. It costs
// next to nothing where none has.
func (l *Ledger) Reload() error {
	var head string
	if err := l.db.QueryRow(`SELECT value FROM meta WHERE key = 'head'`).Scan(&head); err == nil && head != "" && head == string(l.head) {
		return nil
	}
	s, err := index{l.db}.load()
	if err != nil {
		return unreadable(err)
	}
	if s.identity == "" {
		s.identity = l.identity
	}
	l.state = s
	return nil
}

// Source is where the history is read from.
type Source interface {
	Walk(ctx context.Context, from, to gitstore.Hash, o gitstore.WalkOptions, fn func(gitstore.Commit) error) error
	ReadBlob(h gitstore.Hash, limit int64) ([]byte, error)
}

// Report says what one fold brought.
type Report struct {
	Commits, Records int
	// SetAside is what has no effect: of many, the first MaxReported. Aside is how
	// many there are.
	SetAside []SetAside
	Aside    int
	// Forks counts the records by people in good standing whose head is not on
	// this history: evidence that somebody was shown another one.
	Forks int
	// Heals are the commits that heal the history, by somebody who may.
	Heals []gitstore.Hash
}

// SetAside is something in the history that has no effect.
type SetAside struct {
	Commit   gitstore.Hash `json:"commit"`
	Position int           `json:"position"`
	Path     string        `json:"path"`
	// Reason is a stable code; Detail says it in words.
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

// Fold counts the history after the ledger's head up to and with to. On an error
// the ledger is as before, or, where the history is long, at a commit between,
// from which the next Fold goes on.
func (l *Ledger) Fold(ctx context.Context, src Source, to gitstore.Hash) (Report, error) {
	if to == l.head {
		return Report{}, nil
	}
	if c, ok := src.(Counter); ok {
		n, err := c.Count(ctx, l.head, to, l.bulkFrom)
		if err != nil {
			return Report{}, err
		}
		if n >= l.bulkFrom {
			return l.foldBulk(ctx, src, to)
		}
	}
	tx, f, err := l.folding(ctx, src)
	if err != nil {
		return Report{}, err
	}
	// They are missing where the fold of a long history was stopped.
	if _, err := tx.Exec(indices); err != nil {
		return Report{}, errors.Join(damage(err), tx.Rollback())
	}
	if err := f.run(to, oneByOne); err != nil {
		return Report{}, errors.Join(damage(err), tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return Report{}, damage(err)
	}
	l.state = f.state
	return f.report, nil
}

// Preview is Fold without its effect: it says what Fold would report, and the ledger
// stays as it is. A long history takes longer than by Fold.
func (l *Ledger) Preview(ctx context.Context, src Source, to gitstore.Hash) (Report, error) {
	tx, f, err := l.folding(ctx, src)
	if err != nil {
		return Report{}, err
	}
	err = f.run(to, oneByOne)
	return f.report, errors.Join(damage(err), tx.Rollback())
}

// folding begins a fold.
func (l *Ledger) folding(ctx context.Context, src Source) (*sql.Tx, *fold, error) {
	tx, err := l.begin(ctx)
	if err != nil {
		return nil, nil, err
	}
	x := index{prepare(tx)}
	if err := x.loadKeys(&l.state); err != nil {
		return nil, nil, errors.Join(unreadable(err), tx.Rollback())
	}
	f := &fold{ctx: ctx, src: src, index: x, state: l.state.clone()}
	if err := x.QueryRow(`SELECT EXISTS (SELECT 1 FROM early)`).Scan(&f.early); err != nil {
		return nil, nil, errors.Join(unreadable(err), tx.Rollback())
	}
	return tx, f, nil
}

func (l *Ledger) begin(ctx context.Context) (*sql.Tx, error) {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, unreadable(err)
	}
	return tx, nil
}

// unreadable marks an error of an index that cannot be used, which is damaged
// unless the disk takes nothing: then it is kept.
func unreadable(err error) error {
	if unwritable(err) {
		return fmt.Errorf("%w: %w", ErrUnwritable, err)
	}
	return fmt.Errorf("%w: %w", ErrDamaged, err)
}

func unwritable(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_TRUNCATE,
		sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_DIR_FSYNC:
		return true
	}
	return false
}

// damage marks an error of SQLite's that says the file is broken, or that the disk takes
// nothing.
func damage(err error) error {
	if unwritable(err) {
		return fmt.Errorf("%w: %w", ErrUnwritable, err)
	}
	var e *sqlite.Error
	if errors.As(err, &e) {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB,
			// Another's file, or one that may only be read: where the folder is this
			// machine's, one of its own takes its place.
			sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	return err
}

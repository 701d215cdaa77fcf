// Package replica owns one machine's copy of a store: the mirror, the ledger
// made of it, the checkpoint, and the spool of records that are signed and not
// yet sent. It brings what is new, judges it, and appends.
//
// It knows no target and asks nobody anything.
package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jitaccess/jit/internal/owned"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
)

var (
	// ErrUnreachable means that the remote could not be asked. What is known still holds.
	ErrUnreachable = gitstore.ErrUnreachable
	// ErrRewritten means that the remote's head does not extend what this machine has
	// verified. Nothing new is believed.
	ErrRewritten = gitstore.ErrRewritten
	// ErrIdentity means that the remote holds another store than the one that is pinned.
	ErrIdentity = ledger.ErrIdentity
	// ErrForked means that a machine that has verified nothing yet found records whose
	// signers had seen another history.
	ErrForked = errors.New("the history is forked")
	// ErrNoStore means that the remote is empty.
	ErrNoStore = errors.New("there is no store there")
)

// Config says which store, and where its copy is kept.
type Config struct {
	// Dir is the folder of the copy, for this user alone.
	Dir string
	URL string
	// Identity pins the store; empty believes what is found, and is only for
	// showing it before it is pinned.
	Identity record.StoreID
	// At is a commit that the history must hold, learnt from somebody who has
	// verified it. It matters on a machine that has no checkpoint yet.
	At        gitstore.Hash
	Branch    string
	Transport gitstore.Transport
	SSH       gitstore.SSHOptions
	// Isolated keeps git from reading any configuration but this.
	Isolated bool
	// InMemory is for a folder that takes nothing: what is in Dir is read, the ledger is
	// made again from the mirror, and what is new is held in memory; see
	// [gitstore.Options]. Nothing is written, and nothing sent: what is submitted waits
	// with what is in the spool, until the copy is closed.
	InMemory bool
	// Afresh, with InMemory, reads nothing of the mirror either: all of the store is
	// fetched.
	Afresh bool
	Env    []string
	// Timeout bounds each network operation; 0 is gitstore's default.
	Timeout time.Duration
	// Progress, where set, is told how far a long fetch or verification is:
	// what is counted ("commits", or git's own words), how many are done, and of
	// how many.
	Progress func(what string, done, total int)
	Log      *slog.Logger
	// Now is the clock for noting when the remote was last asked; nil is
	// time.Now.
	Now func() time.Time
}

// Replica is an open copy. It is not for concurrent use; several processes may
// have the same copy open.
type Replica struct {
	config Config
	store  *gitstore.Store
	ledger *ledger.Ledger
	lock   string // the file of the lock between processes
	// healed is the newest heal that this process made or followed, until a Sync
	// has reported it.
	healed *Healed
	// waiting is what was submitted to a copy in memory.
	waiting []submission
}

// Open opens or makes the copy in c.Dir, without asking the remote. An index
// that is damaged is made again from the mirror, up to the checkpoint.
func Open(ctx context.Context, c Config) (*Replica, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if !c.InMemory {
		if err := os.MkdirAll(c.Dir, 0o700); err != nil {
			return nil, fmt.Errorf("the state folder: %w", err)
		}
	}
	store, err := gitstore.Open(ctx, gitstore.Options{
		Dir: c.Dir, URL: c.URL, Branch: c.Branch, Transport: c.Transport, SSH: c.SSH,
		Isolated: c.Isolated, InMemory: c.InMemory, Afresh: c.Afresh, Env: c.Env, Timeout: c.Timeout, Logger: c.Log,
		Progress: c.Progress,
	})
	if err != nil {
		return nil, err
	}
	r := &Replica{config: c, store: store, lock: filepath.Join(c.Dir, "replica.lock")}
	if err := r.openLedger(); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	if err := r.restore(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// restore folds what the index lacks of the mirror, up to the checkpoint: what
// must end is known even while the remote is away. The index was lost, is of
// another version, or its making was stopped.
func (r *Replica) restore(ctx context.Context) error {
	checkpoint, err := r.store.Checkpoint()
	if err != nil || checkpoint == "" {
		return err
	}
	if on, err := r.known(checkpoint); on || err != nil && !errors.Is(err, ledger.ErrDamaged) {
		return err
	}
	unlock, err := r.exclusive(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.refresh(); err != nil {
		return err
	}
	on, err := r.known(checkpoint)
	if errors.Is(err, ledger.ErrDamaged) {
		on, err = false, r.remakeIndex(err)
	}
	if err != nil || on {
		return err // on: another process was faster
	}
	if _, err := r.ledger.Fold(ctx, r.store, checkpoint); err != nil {
		// The mirror may be gone too; then the next Sync brings both.
		r.config.Log.Warn("the local index could not be made again without the remote", "error", err)
	}
	return nil
}

func (r *Replica) indexPath() string {
	if r.config.InMemory {
		return ledger.InMemory
	}
	return filepath.Join(r.config.Dir, "ledger.db")
}

// indexEnds are the files of an index, after its path.
var indexEnds = []string{"", "-wal", "-shm", "-journal"}

// noIndex refuses what is no regular file in the place of one of the index, for SQLite
// would wait for a pipe.
func (r *Replica) noIndex() error {
	if r.config.InMemory {
		return nil
	}
	for _, end := range indexEnds {
		if info, err := os.Lstat(r.indexPath() + end); err == nil && !info.Mode().IsRegular() {
			return fmt.Errorf("%w: %q is no regular file (%s)", ledger.ErrDamaged, r.indexPath()+end, info.Mode())
		}
	}
	return nil
}

func (r *Replica) openLedger() (err error) {
	if err = r.noIndex(); err == nil {
		r.ledger, err = ledger.Open(r.indexPath(), r.config.Identity)
	}
	if errors.Is(err, ledger.ErrDamaged) {
		r.config.Log.Warn("the local index is made again", "cause", err)
		if err := r.removeIndex(); err != nil {
			return err
		}
		r.ledger, err = ledger.Open(r.indexPath(), r.config.Identity)
	}
	if report := r.config.Progress; err == nil && report != nil {
		r.ledger.Progress = func(done, total int) { report("commits", done, total) }
	}
	return err
}

func (r *Replica) removeIndex() error {
	if r.config.InMemory {
		return nil
	}
	for _, end := range indexEnds {
		if err := os.Remove(r.indexPath() + end); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Close releases the files.
func (r *Replica) Close() error {
	return errors.Join(r.ledger.Close(), r.store.Close())
}

// Ledger gives the state as of the last Sync.
func (r *Replica) Ledger() *ledger.Ledger { return r.ledger }

// TransportInUse says who speaks to the remote.
func (r *Replica) TransportInUse() string { return r.store.TransportInUse() }

// Checkpoint gives the last head that this machine verified; empty before the
// first.
func (r *Replica) Checkpoint() (gitstore.Hash, error) { return r.store.Checkpoint() }

// exclusive takes the lock between processes of this machine.
func (r *Replica) exclusive(ctx context.Context) (unlock func(), err error) {
	if r.config.InMemory {
		return func() {}, nil // there is nothing that two would write
	}
	release, err := owned.Lock(ctx, r.lock, 20*time.Millisecond)
	if err != nil {
		return nil, fmt.Errorf("waiting for another jit on %s: %w", r.config.Dir, err)
	}
	return func() {
		if err := release(); err != nil {
			r.config.Log.Warn("the lock was not released", "error", err)
		}
	}, nil
}

// Report says what a Sync brought.
type Report struct {
	ledger.Report
	// Sent counts the submissions that waited and were sent.
	Sent int
	// Refused counts those that the history refuses by now; see
	// [Replica.Refused].
	Refused int
	// Waiting counts those that still wait, and Cause says why.
	Waiting int
	Cause   error
	// Stuck are those of them that wait although the store answers.
	Stuck []Stuck
	// Healed says that this machine healed the history, or followed a heal; nil
	// where neither was needed.
	Healed *Healed
	// Shown is the position of the head that the remote has shown, before anything
	// was sent: what stands up to there has come back from it.
	Shown int
}

// Sync asks the remote, judges what is new, moves the checkpoint, and sends
// what waits. Errors are ErrUnreachable, ErrRewritten, ErrForked, ErrIdentity
// and ErrNoStore; after each the checkpoint and the ledger are as before.
func (r *Replica) Sync(ctx context.Context) (Report, error) {
	unlock, err := r.exclusive(ctx)
	if err != nil {
		return Report{}, err
	}
	defer unlock()
	return r.sync(ctx, nil)
}

// sync is Sync under the lock, with a healer, who may be nil.
func (r *Replica) sync(ctx context.Context, h *Healer) (Report, error) {
	if err := r.refresh(); err != nil {
		return Report{}, err
	}
	tip, err := r.store.Fetch(ctx)
	if err != nil {
		return Report{}, err
	}
	if tip.Empty {
		known, err := r.store.Checkpoint()
		switch {
		case err != nil:
			return Report{}, err
		case known != "":
			return Report{}, r.gone(known)
		}
		return Report{}, fmt.Errorf("%w: %s is empty", ErrNoStore, r.store.URL())
	}
	folded, err := r.reach(ctx, tip.Hash, h)
	if lost(err) {
		folded, err = r.mend(ctx, err, h)
	}
	if err != nil {
		return Report{}, err
	}
	r.noteFetch()
	if folded.Commits > 0 {
		if err := r.store.Maintain(ctx); err != nil {
			r.config.Log.Warn("the mirror was not packed", "error", err) // it works all the same
		}
	}
	report := Report{Report: folded, Healed: r.healed}
	r.healed = nil
	_, report.Shown = r.ledger.Head()
	waiting, err := r.spooled()
	if err != nil && r.config.InMemory {
		// What the store says is known all the same.
		report.Waiting, report.Cause = 1, err
		return report, nil
	}
	if err != nil || len(waiting) == 0 {
		return report, err
	}
	if r.config.InMemory {
		report.Waiting, report.Cause = len(waiting), gitstore.ErrInMemory
		return report, nil
	}
	d, err := r.flush(ctx, waiting)
	left, readErr := r.spooled()
	report.Refused, report.Waiting, report.Stuck = len(d.refused), len(left), d.stuck
	report.Sent = len(waiting) - len(left) - len(d.refused)
	report.Cause = errors.Join(d.cause(), err)
	return report, readErr
}

// lost reports whether something that the mirror should hold could not be read.
func lost(err error) bool {
	return errors.Is(err, gitstore.ErrNotFound) || errors.Is(err, gitstore.ErrCorrupt)
}

// mend is reach once more, after the store was fetched again: if the mirror has a hole,
// of which cause is the sign.
func (r *Replica) mend(ctx context.Context, cause error, h *Healer) (ledger.Report, error) {
	tip, mended, err := r.store.Mend(ctx)
	switch {
	case !mended && err == nil:
		return ledger.Report{}, cause
	case !mended:
		return ledger.Report{}, err
	}
	return r.reach(ctx, tip.Hash, h)
}

// Mend fetches the store again where this machine's mirror of it lacks something, and
// reports whether it has. Where offline is set it only looks: what is missing is then
// gitstore.ErrIncomplete. The whole history is walked.
func (r *Replica) Mend(ctx context.Context, offline bool) (mended bool, err error) {
	unlock, err := r.exclusive(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	if offline {
		return false, r.store.Complete(ctx)
	}
	_, mended, err = r.store.Mend(ctx)
	return mended, err
}

// refresh sees what another process has folded since.
func (r *Replica) refresh() error {
	err := r.ledger.Reload()
	if errors.Is(err, ledger.ErrDamaged) {
		return r.remakeIndex(err)
	}
	return err
}

func (r *Replica) remakeIndex(cause error) error {
	r.config.Log.Warn("the local index is made again", "cause", cause)
	if err := r.ledger.Close(); err != nil {
		r.config.Log.Debug("closing the damaged index", "error", err)
	}
	if err := r.removeIndex(); err != nil {
		return err
	}
	return r.openLedger()
}

// advance judges the history up to tip, and moves the checkpoint there.
func (r *Replica) advance(ctx context.Context, tip gitstore.Hash) (ledger.Report, error) {
	checkpoint, err := r.store.Checkpoint()
	if err != nil {
		return ledger.Report{}, err
	}
	folded, position := r.ledger.Head()
	if checkpoint == tip && folded == tip {
		return ledger.Report{}, nil
	}
	relation, err := r.store.Relation(checkpoint, tip)
	if err != nil {
		return ledger.Report{}, err
	}
	if relation != gitstore.Same && relation != gitstore.Ahead {
		rewrite := &RewriteError{Relation: relation, Checkpoint: checkpoint, Tip: tip}
		if relation != gitstore.OffChain {
			return ledger.Report{}, rewrite
		}
		report, ok, why, err := r.follow(ctx, checkpoint, tip)
		if err != nil || ok {
			return report, err
		}
		rewrite.Cause = why
		return ledger.Report{}, rewrite
	}
	if r.config.At != "" && checkpoint == "" {
		if relation, err := r.store.Relation(r.config.At, tip); err != nil || relation != gitstore.Same && relation != gitstore.Ahead {
			return ledger.Report{}, errors.Join(&RewriteError{Relation: relation, Checkpoint: r.config.At, Tip: tip}, err)
		}
	}
	if position > 0 {
		if ok, err := r.store.ChainContains(tip, folded); err != nil || !ok {
			// The index is of another history than the one that is verified.
			if err := r.remakeIndex(fmt.Errorf("its head %s is not on the history: %w", folded, ledger.ErrDamaged)); err != nil {
				return ledger.Report{}, err
			}
		}
	}
	r.ledger.Settle = r.config.Now()
	report, err := r.ledger.Fold(ctx, r.store, tip)
	if errors.Is(err, ledger.ErrDamaged) {
		if err := r.remakeIndex(err); err != nil {
			return ledger.Report{}, err
		}
		report, err = r.ledger.Fold(ctx, r.store, tip)
	}
	if err != nil {
		return ledger.Report{}, err
	}
	if checkpoint == "" && r.config.At == "" {
		if err := r.forks(); err != nil {
			// Nothing of a forked history stays.
			return ledger.Report{}, errors.Join(err, r.remakeIndex(err))
		}
	}
	if r.config.Identity == "" {
		return report, nil // not pinned, so nothing is vouched for
	}
	return report, r.store.SetCheckpoint(tip)
}

// forks looks for the only evidence of a withheld history that a machine
// without a checkpoint has.
func (r *Replica) forks() error {
	s, err := r.ledger.Fork()
	if err != nil || s == nil {
		return err
	}
	return fmt.Errorf("%w: %s: %s", ErrForked, s.Path, s.Detail)
}

// RewriteError is a head that does not extend the checkpoint. It is
// ErrRewritten.
type RewriteError struct {
	Relation gitstore.Relation
	// Tip is the remote's head, empty where the branch is gone.
	Checkpoint, Tip gitstore.Hash
	// Cause says why it was not healed here, where something was in the way. It is
	// no part of the chain of errors: whatever it was, the history is rewritten.
	Cause error
}

func (e *RewriteError) Error() string {
	if e.Tip == "" {
		return fmt.Sprintf("%v: the store's branch is gone, and this machine has verified %s", ErrRewritten, e.Checkpoint)
	}
	what := "it does not contain it"
	switch e.Relation {
	case gitstore.Behind:
		what = "it is older"
	case gitstore.OffChain:
		what = "a merge put it on a side branch"
	}
	if e.Cause != nil {
		what += "; " + e.Cause.Error()
	}
	return fmt.Sprintf("%v: the store shows head %s, and this machine has verified %s: %s", ErrRewritten, e.Tip, e.Checkpoint, what)
}

// Is makes a RewriteError ErrRewritten.
func (e *RewriteError) Is(target error) bool { return target == ErrRewritten }

// Rebuild makes the ledger again from the mirror, up to the checkpoint.
func (r *Replica) Rebuild(ctx context.Context) error {
	unlock, err := r.exclusive(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	checkpoint, err := r.store.Checkpoint()
	if err != nil {
		return err
	}
	if err := r.remakeIndex(errors.New("asked for")); err != nil || checkpoint == "" {
		return err
	}
	_, err = r.ledger.Fold(ctx, r.store, checkpoint)
	return err
}

// noteFetch keeps when the remote last answered. People are told of it, and nothing
// rests on it: after a crash, or on a disk without room, an older time, or none, does no
// harm, so no run waits for the disk, or fails by it.
func (r *Replica) noteFetch() {
	if r.config.InMemory {
		return
	}
	if err := writeSoon(filepath.Join(r.config.Dir, "fetched"), []byte(strconv.FormatInt(r.config.Now().Unix(), 10)+"\n")); err != nil {
		r.config.Log.Warn("that the store has answered is not noted", "error", err)
	}
}

// maxNote bounds the files that hold a line, in bytes.
const maxNote = 64 << 10

// Freshness gives when the remote last answered; zero when it never did.
func (r *Replica) Freshness() time.Time {
	data, err := owned.ReadFile(filepath.Join(r.config.Dir, "fetched"), maxNote)
	if err != nil {
		return time.Time{}
	}
	sec, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(sec, 0).UTC()
}

// ReadRecord gives a counted record's exact bytes and its signature.
func (r *Replica) ReadRecord(id record.ID, digest record.Digest) (data, signature []byte, err error) {
	blob, asc, err := r.ledger.Blobs(id, digest)
	if err != nil {
		return nil, nil, err
	}
	if data, err = r.store.ReadBlob(blob, record.MaxSize); err != nil {
		return nil, nil, err
	}
	signature, err = r.store.ReadBlob(asc, record.MaxSignatureSize)
	return data, signature, err
}

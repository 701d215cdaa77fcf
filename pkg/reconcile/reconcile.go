// Package reconcile owns the run of a reconciler: what should be open follows
// from the ledger, what is open from the journal and the targets, and a run
// makes the second the first, ends before openings, and signs receipts of it.
// It owns the reconciler's configuration and its journal too.
//
// It is given the drivers and imports none. It never imports cmd/jit.
package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/jitaccess/jit/internal/full"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/target"
)

// ErrBusy means that another run works on the same state folder. It is an error
// and not a success, for a run that hangs must be noticed.
var ErrBusy = errors.New("another run is under way")

// Options is what a run needs.
type Options struct {
	Config Config
	// Drivers are the drivers by name.
	Drivers map[string]target.Kind
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// DryRun says what a run would do, and changes neither target nor journal.
	// The local copy of the store is brought up to date.
	DryRun bool
	// Log is for what an operator may want to know; nil discards it.
	Log *slog.Logger
	// Report is called for each change as it happens, one at a time; it may be
	// nil.
	Report func(Change)
	// Version is that of the program, for its metrics.
	Version string
	// Signer signs the receipts; nil means the key file of the configuration.
	Signer record.Signer

	// metrics is nil but in a daemon and in tests.
	metrics *metricsWriter
	// openBook is nil but in tests.
	openBook opener
}

// Result is what a run came to.
type Result struct {
	// Changes are in the order in which they happened.
	Changes []Change
	// Opened counts what was opened or restored; Ended what was ended; Failed
	// what failed.
	Opened, Ended, Failed int
	// Withheld counts what did not open for want of evidence that the store is the
	// true one.
	Withheld int
	// Beat says that the run has signed a heartbeat.
	Beat bool
	// Wake is when something that is open ends by itself, its window or its lease being
	// over: the next run should come no later. It is zero when nothing is open.
	Wake time.Time
	// SyncErr is why the store could not be read, or, where Read says that it was, why it
	// did not take what the run has signed; or nil.
	SyncErr error
	Read    bool
	// Healed says that the run healed the store's history, or followed a heal; nil
	// where neither was needed. WouldHeal says that a dry run stood before a history
	// that a run would try to heal.
	Healed    *replica.Healed
	WouldHeal bool
	// Carried says, a line each, which records were carried in by hand, or ended something
	// from a history that is refused.
	Carried []string
	// Problems are what kept the run from a part of its work, besides failures
	// of targets and the store.
	Problems []error
	// Warnings are what went wrong beside the work; they are no failure of the run.
	Warnings []error
	// Drift is what is on the targets and should not be, or is not jit's, a
	// line each.
	Drift []string
	// Left counts what of the drift is access that jit gave, or may have given, and that
	// no grant gives.
	Left int
	// ReceiptsWritten counts receipts handed over; ReceiptsSpooled those of
	// them that wait until the store can be reached; ReceiptsOwed those that
	// could not be signed or handed over yet.
	ReceiptsWritten, ReceiptsSpooled, ReceiptsOwed int
}

// Exit codes of a run.
const (
	exitDone        = 0
	exitUnexpected  = 1
	exitTampered    = 4
	exitUnreachable = 5
	exitPartly      = 6
)

// ExitCode gives the code with which a program that made this run ends: 4 when
// the store's history was rewritten or is another store's; else 6 when a target
// failed, could not be fully ended, holds access that no grant gives, something was withheld, or a part of the work
// could not be done;
// else 5 when the store could not be reached or did not take what was sent; else
// 0. The worst comes first:
// what a person must look at soonest.
func (r Result) ExitCode() int {
	left := false
	for _, c := range r.Changes {
		left = left || len(c.Ending.Left) > 0
	}
	switch {
	case errors.Is(r.SyncErr, replica.ErrRewritten), errors.Is(r.SyncErr, replica.ErrIdentity), errors.Is(r.SyncErr, replica.ErrForked):
		return exitTampered
	case r.Failed > 0, r.Withheld > 0, left, r.Left > 0, len(r.Problems) > 0:
		return exitPartly
	case errors.Is(r.SyncErr, replica.ErrUnreachable), errors.Is(r.SyncErr, gitstore.ErrBadRemote),
		errors.Is(r.SyncErr, gitstore.ErrRefused), errors.Is(r.SyncErr, gitstore.ErrContention):
		return exitUnreachable
	case r.SyncErr != nil:
		return exitUnexpected
	}
	return exitDone
}

// run is one run.
type run struct {
	o       Options
	log     *slog.Logger
	journal *journal
	// fresh says that there was no journal, damaged that lines of it could not be
	// read, lost that one of the two is so, and it does not tell all;
	// recovered that the ledger was asked for what it does not tell, and blind that a
	// target could not be. recalled is what could not be written down.
	fresh, damaged, lost, recovered, blind bool
	// theirs says that the state folder is, or may be, that of others; inMemory that the
	// copy of the store could not be written, and is held in memory.
	theirs   bool
	inMemory bool
	// copied says where that copy is.
	copied Config
	// left says that work on the copy did not stop with the run, so that nothing of it can
	// be closed.
	left     bool
	recalled []*kept
	sites    map[string]*site
	signer   record.Signer
	book     book // nil when it could not be opened
	synced   bool
	// shown is the position of the head that the store has shown in this run; waiting
	// says that something was still to be sent when it had been asked.
	shown   int
	waiting bool
	// announced says that the run has handed over the intent to open something.
	announced bool
	policy    *policy.Policy
	active    []ledger.Entry
	// answered is the time of the newest evidence, once recovered.
	answered time.Time
	// opening are the grants that are about to open.
	opening map[string]bool
	// closed says why nothing new is opened, and barred why nothing counts that this
	// reconciler signs: its key is locked, or not good any more.
	closed, barred error
	// began is when the run began, and newest the newest time that any run has seen.
	began, newest time.Time
	cleanup       []func() error

	mu    sync.Mutex
	tried map[string]Action
	// untoldEnds are the grants that the run has ended and the journal could not be told of.
	untoldEnds map[string]bool
	drifts     map[string]int
	result     Result
}

// step is a part of a run. It notes what goes wrong and leaves the rest of the
// run to the steps after it; an error ends the run.
type step func(*run, context.Context) error

// steps are a run. What is over by the journal ends before anything is fetched,
// signed or otherwise hoped for.
var steps = []step{
	(*run).lock,
	(*run).readJournal,
	(*run).readClock,
	(*run).endOverdue,
	(*run).readKey,
	(*run).sync,
	(*run).carry,
	(*run).change,
	(*run).endOverdue,
	(*run).writeReceipts,
	(*run).openTraced,
	(*run).endOverdue,
	(*run).beat,
	(*run).tidy,
}

// Run makes one run. The error is ErrBusy, or says that the run was
// interrupted; all else that goes wrong stands in the result, for the rest of
// the work is done all the same.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.metrics == nil {
		o.metrics = newMetricsWriter()
	}
	if o.openBook == nil {
		o.openBook = openReplica
	}
	r := &run{o: o, log: o.Log, began: o.Now(), sites: map[string]*site{}, tried: map[string]Action{}, untoldEnds: map[string]bool{}, drifts: map[string]int{}}
	defer r.cleanUp()
	for _, s := range steps {
		if err := s(r, ctx); err != nil {
			return r.result, err
		}
		if err := ctx.Err(); err != nil {
			return r.result, fmt.Errorf("the run was interrupted: %w", err)
		}
	}
	r.noteWake()
	r.keepMetrics()
	return r.result, nil
}

func (r *run) cleanUp() {
	for _, s := range r.sites {
		r.cleanup = append(r.cleanup, s.close)
	}
	for i := len(r.cleanup) - 1; i >= 0; i-- {
		if err := r.cleanup[i](); err != nil {
			r.log.Warn("closing after the run", "error", err)
		}
	}
}

func (r *run) readJournal(context.Context) error {
	var why error
	switch {
	case r.o.DryRun:
		why = errors.New("nothing is recorded in a dry run")
	case r.theirs:
		why = errors.New("nothing is recorded in a folder of others")
	}
	j, fresh, damage := openJournal(filepath.Join(r.o.Config.State, journalName), why)
	r.journal, r.fresh, r.damaged = j, fresh, len(damage) > 0
	r.lost = r.fresh || r.damaged
	r.cleanup = append(r.cleanup, j.close)
	for _, err := range damage {
		r.note(err)
	}
	if err := j.err(); err != nil && !r.o.DryRun {
		r.closed = err
	}
	return nil
}

// endOverdue ends what the journal knows to be over. A run does it before all else, and
// again for what has become due while it worked: the next one may be a while away, and
// its clock may have been set back.
func (r *run) endOverdue(ctx context.Context) error {
	r.apply(ctx, plan(situation{now: r.now(), journal: r.snapshot(), leases: r.leases()}), nil)
	r.result.ReceiptsOwed = len(r.due())
	return nil
}

func (r *run) readKey(context.Context) error {
	if r.signer = r.o.Signer; r.signer != nil {
		return nil
	}
	s, err := record.OpenKeyFile(r.o.Config.Key, nil, r.o.Now)
	if err != nil {
		r.closeOpenings(fmt.Errorf("the reconciler's key: %w", err))
		return nil
	}
	r.signer = s
	return nil
}

// sync opens the copy of the store and brings it up to date. A history that a
// push has displaced is healed first, so that the run plans from what is right.
func (r *run) sync(ctx context.Context) error {
	config, err := r.copyOfStore()
	if err != nil {
		r.result.SyncErr = err
		return nil //nolint:nilerr // kept in the result; the run goes on to its endings
	}
	r.copied = config
	report, err := r.read(ctx, config, r.o.openBook)
	if ofThisMachine(err) && ctx.Err() == nil {
		report, err = r.readIntoMemory(ctx, err)
	}
	r.learned(report, err)
	return nil
}

// learned notes what bringing the copy of the store up to date came to.
func (r *run) learned(report replica.Report, err error) {
	r.synced, r.result.Read, r.result.SyncErr = err == nil, err == nil, err
	b := r.book
	if b == nil {
		return
	}
	healed := report.Healed
	r.shown, r.waiting = report.Shown, report.Waiting > 0
	if r.result.Healed = healed; healed != nil {
		r.log.Warn("the history was healed", "by", healed.By, "commit", string(healed.Commit), "here", healed.Made)
	}
	if err != nil {
		var rewrite *replica.RewriteError
		r.result.WouldHeal = r.o.DryRun && errors.As(err, &rewrite) && rewrite.Relation == gitstore.OffChain
		r.log.Error("the store could not be read; nothing new opens", "error", err)
	}
	r.policy = b.Policy()
}

// opener opens a copy of the store.
type opener func(context.Context, Config, func() time.Time, *slog.Logger) (book, error)

// keepsNothing says that the run leaves the state folder as it is.
func (r *run) keepsNothing() bool { return r.theirs || r.inMemory }

// read opens a copy of the store and brings it up to date. It is the run's from then on,
// up to date or not.
func (r *run) read(ctx context.Context, config Config, open opener) (replica.Report, error) {
	b, err := meanwhile(ctx, r, func() (book, error) { return open(ctx, config, r.o.Now, r.log) })
	if err != nil {
		return replica.Report{}, notOpened{err}
	}
	r.book = attended{b, r}
	r.cleanup = append(r.cleanup, func() error {
		if r.left {
			return nil // it would wait
		}
		return b.Close()
	})
	return r.book.Sync(ctx, r.healer())
}

// notOpened marks that the store was not asked yet.
type notOpened struct{ error }

func (e notOpened) Unwrap() error { return e.error }

// readIntoMemory reads the store without writing it down: whoever can fill the disk, or
// damage what lies there, shall not keep what is revoked. Where the mirror cannot be used,
// all of the store is fetched. What is held to the checkpoint is so all the same, where that
// can be read. Nothing opens, for what the run learns the next one does not know, and nothing
// is signed or sent.
func (r *run) readIntoMemory(ctx context.Context, cause error) (replica.Report, error) {
	config := r.copied
	r.inMemory = true
	r.closeOpenings(fmt.Errorf("the copy of the store in %q cannot be used, so this run reads the store into memory, and signs and sends nothing: %w; %s", config.State, cause, remedy(cause)))
	report, err := r.read(ctx, config, openInMemory)
	if !ofThisMachine(err) || ctx.Err() != nil {
		return report, err
	}
	r.log.Warn("nothing of the mirror is used", "cause", err)
	mirrored := r.book
	report, err = r.read(ctx, config, openAfresh)
	if err != nil && mirrored != nil {
		r.book = mirrored // it may know what was revoked before
	}
	return report, err
}

// ofTheStore are what the remote, or the way to it, is at fault for.
var ofTheStore = []error{
	replica.ErrUnreachable, replica.ErrRewritten, replica.ErrForked, replica.ErrIdentity, replica.ErrNoStore,
	gitstore.ErrBadRemote, gitstore.ErrRefused, gitstore.ErrContention, gitstore.ErrBadURL,
}

// ofThisMachine reports whether it is for something here that the copy of the store could not
// be opened or brought up to date: that is all for which the store is not at fault, which is
// not asked before the copy is open. A program that had no room may have said that it was the
// store; what memory has no room for is no fault of the copy's.
func ofThisMachine(err error) bool {
	_, unasked := errors.AsType[notOpened](err)
	switch {
	case err == nil, errors.Is(err, gitstore.ErrInMemory), errors.Is(err, gitstore.ErrBadURL):
		return false
	case unasked, full.Is(err), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EIO), errors.Is(err, gitstore.ErrMirror):
		return true
	}
	return !slices.ContainsFunc(ofTheStore, func(of error) bool { return errors.Is(err, of) })
}

// remedy says what to do about a copy that cannot be used.
func remedy(cause error) string {
	switch {
	case full.Is(cause), errors.Is(cause, ledger.ErrUnwritable):
		return "make room there"
	case errors.Is(cause, fs.ErrPermission), errors.Is(cause, syscall.EROFS):
		return "let whom jit runs as read and write all that is there: jit doctor --config names what it cannot"
	}
	return "jit doctor --config looks through it; what is damaged can be deleted but for the checkpoint and the journal, and is made again"
}

// change plans from the ledger and works the plan off.
func (r *run) change(ctx context.Context) error {
	if r.book == nil {
		return nil
	}
	s, forgotten, err := r.surveyed(ctx)
	if err != nil && !r.inMemory && ctx.Err() == nil {
		r.learned(r.readIntoMemory(ctx, err))
		r.lookAhead(ctx)
		s, forgotten, err = r.surveyed(ctx)
	}
	if err != nil {
		r.closeOpenings(fmt.Errorf("the ledger cannot be read: %w", err))
		return nil
	}
	tasks := r.planned(s)
	r.recovered, r.answered = s.unproven == nil, s.answered
	reach("planned")
	for _, k := range s.journal {
		if k.stage == open && k.standing {
			r.drift(k.Grant.Resource, "%s had %s before jit opened it, and keeps it", k.Grant.Person, k.Grant.Role)
		}
	}
	r.apply(ctx, append(forgotten, tasks...), r.look)
	return nil
}

// checkStanding opens nothing for a reconciler whose receipts would not count. Where
// nothing could open anyway it is not told.
func (r *run) checkStanding(s situation, mayOpen bool) {
	r.barred = s.barred
	refuse := func(err error) {
		if mayOpen {
			r.closeOpenings(err)
		}
	}
	switch {
	case r.policy == nil:
		refuse(errors.New("the store has no policy in force"))
	case r.signer == nil: // said already
	case !r.named():
		refuse(fmt.Errorf("key %s is not reconciler %q's in the policy in force: have an admin add it under reconcilers", r.signer.Fingerprint(), s.me))
	case s.barred != nil:
		refuse(fmt.Errorf("what this reconciler signs does not count: %w", s.barred))
	}
}

// named reports whether the policy gives this reconciler the key that it signs with.
func (r *run) named() bool {
	if r.policy == nil || r.signer == nil {
		return false
	}
	owner, ok := r.policy.OwnerOf(r.signer.Fingerprint())
	return ok && owner == r.o.Config.Name
}

// closeOpenings notes why nothing new opens in this run.
func (r *run) closeOpenings(err error) {
	if r.closed == nil {
		r.closed = err
	}
	r.note(fmt.Errorf("nothing new opens: %w", err))
}

// problem notes what keeps the run from a part of its work, openings with it.
func (r *run) problem(err error) {
	if r.closed == nil {
		r.closed = err
	}
	r.note(err)
}

// note keeps an error for the result.
func (r *run) note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Problems = append(r.result.Problems, err)
	r.log.Error("the run is not whole", "error", err)
}

// snapshot gives the journalled grants. They are this run's own to read, for
// nothing is recorded while it plans.
func (r *run) snapshot() []*kept {
	var all []*kept
	r.journal.view(func(s *journalState) {
		for _, k := range s.sorted() {
			c := *k
			all = append(all, &c)
		}
	})
	return all
}

// kept gives what the journal knows of a grant; the zero value when nothing.
func (r *run) kept(id string) (k kept) {
	r.journal.view(func(s *journalState) {
		if found := s.find(id); found != nil {
			k = *found
			k.troubles = map[Action]string{}
			for phase, why := range found.troubles {
				k.troubles[phase] = why
			}
		}
	})
	return k
}

// record writes an event down with the time of the clock.
func (r *run) record(e event) error {
	e.At = r.o.Now().UTC()
	return r.journal.record(e)
}

// first reports whether a grant was not worked on in this run yet, or only otherwise and
// is to end now.
func (r *run) first(id string, a Action) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if before, ok := r.tried[id]; ok && (a != End || before == End) {
		return false
	}
	r.tried[id] = a
	return true
}

func (r *run) wasTried(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.tried[id]
	return ok
}

// drift notes what is on a target and should not be, or is not jit's.
func (r *run) drift(resource, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drifts[resource]++
	line := plain(resource+": "+fmt.Sprintf(format, args...), maxLine)
	r.result.Drift = append(r.result.Drift, line)
	r.log.Warn("drift", "detail", line)
}

func (r *run) report(c Change) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Changes = append(r.result.Changes, c)
	switch {
	case c.Outcome == Failed:
		r.result.Failed++
	case c.Outcome == Withheld:
		r.result.Withheld++
	case c.Outcome == Planned, c.Action == Intend:
	case c.Action == End:
		r.result.Ended++
	default:
		r.result.Opened++
	}
	level := slog.LevelInfo
	if c.Outcome == Failed || c.Outcome == Withheld || len(c.Ending.Left) > 0 {
		level = slog.LevelError
	}
	r.log.Log(context.Background(), level, c.String(), "action", string(c.Action), "outcome", string(c.Outcome), "resource", c.Grant.Resource,
		"role", c.Grant.Role, "person", c.Grant.Person, "request", string(c.Request), "grant", c.Grant.ID, "cause", c.Cause)
	if r.o.Report != nil {
		r.o.Report(c)
	}
}

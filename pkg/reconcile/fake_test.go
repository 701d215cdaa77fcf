package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/storetest"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/target"
)

// fakeTarget is a place in memory that outlives runs. Like a database it knows
// who has which role, and not by which grant; unlike one it keeps traces.
type fakeTarget struct {
	mu       sync.Mutex
	members  map[string]bool // by jit: account and role
	foreign  map[string]bool // by others
	traces   map[string]target.Grant
	sessions map[string]int
	calls    []string
	fail     map[string]error // by verb
	hang     map[string]bool
	slow     map[string]func() // called in the verb, as time goes by
	deaf     bool              // takes grants and does nothing
	astray   []string          // what is under other names, until revoke is called
}

func newFakeTarget() *fakeTarget {
	return &fakeTarget{members: map[string]bool{}, foreign: map[string]bool{}, traces: map[string]target.Grant{},
		sessions: map[string]int{}, fail: map[string]error{}, hang: map[string]bool{}}
}

func memberOf(g target.Grant) string { return g.Who() + "/" + g.Params["grant"] }

// enter notes a call and fails or hangs as it is told. The caller unlocks.
func (f *fakeTarget) enter(verb string, g target.Grant) error {
	f.mu.Lock()
	f.calls = append(f.calls, strings.TrimSpace(verb+" "+g.ID))
	if f.hang[verb] {
		f.mu.Unlock()
		select {} // not even the context helps
	}
	if f.slow[verb] != nil {
		f.slow[verb]()
	}
	if err := f.fail[verb]; err != nil {
		if err.Error() == "panic" {
			f.mu.Unlock()
			panic("the driver is broken")
		}
		return err
	}
	return nil
}

func (f *fakeTarget) count(verb string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.calls {
		if strings.HasPrefix(c, verb+" ") || c == verb {
			n++
		}
	}
	return n
}

func (f *fakeTarget) has(account, role string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members[account+"/"+role] || f.foreign[account+"/"+role]
}

func (f *fakeTarget) Describe() target.Description                 { return target.Description{Name: "fake"} }
func (f *fakeTarget) Validate(p map[string]string, _ string) error { return validateFake(p, "") }
func (f *fakeTarget) Ping(context.Context) error                   { return nil }
func (f *fakeTarget) Close() error                                 { return nil }

func (f *fakeTarget) Grant(_ context.Context, g target.Grant) error {
	err := f.enter("grant", g)
	defer f.mu.Unlock()
	if err != nil || f.deaf {
		return err
	}
	f.members[memberOf(g)] = true
	f.traces[g.ID] = g
	return nil
}

func (f *fakeTarget) Revoke(_ context.Context, g target.Grant, remaining []target.Grant) (target.Ending, error) {
	err := f.enter("revoke", g)
	defer f.mu.Unlock()
	f.astray = nil
	if err != nil {
		return target.Ending{}, err
	}
	delete(f.traces, g.ID)
	key := memberOf(g)
	if slices.ContainsFunc(remaining, func(o target.Grant) bool { return memberOf(o) == key }) {
		return target.Ending{}, nil
	}
	delete(f.members, key)
	if f.foreign[key] {
		return target.Ending{Standing: true}, nil
	}
	e := target.Ending{SessionsEnded: f.sessions[key]}
	delete(f.sessions, key)
	return e, nil
}

func (f *fakeTarget) Check(_ context.Context, g target.Grant, _ []target.Grant) (target.Observation, error) {
	err := f.enter("check", g)
	defer f.mu.Unlock()
	key := memberOf(g)
	return target.Observation{Present: f.members[key] || f.foreign[key], Foreign: f.foreign[key], Astray: f.astray}, err
}

func (f *fakeTarget) List(context.Context) ([]target.Listed, error) {
	err := f.enter("list", target.Grant{})
	defer f.mu.Unlock()
	var all []target.Listed
	for id, g := range f.traces {
		all = append(all, target.Listed{GrantID: id, Account: g.Who(), Ends: g.Ends})
	}
	slices.SortFunc(all, func(a, b target.Listed) int { return strings.Compare(a.GrantID, b.GrantID) })
	return all, err
}

func validateFake(params map[string]string, _ string) error {
	return target.CheckParams([]target.Parameter{{Name: "grant", Required: true}}, params)
}

// world is a store, two fake targets, and a reconciler.
type world struct {
	t       *testing.T
	store   *storetest.Store
	targets map[string]*fakeTarget
	o       Options
	lines   []string
	log     *strings.Builder
}

var start = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

// newWorld makes resources db and web, each with the roles read and write.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, targets: map[string]*fakeTarget{"db": newFakeTarget(), "web": newFakeTarget()}, log: &strings.Builder{}}
	w.store = storetest.New(t, start, func(b *policy.Body) {
		for name := range w.targets {
			b.Resources[name] = policy.Resource{Driver: "fake", Roles: map[string]policy.Role{
				"read": {Parameters: map[string]string{"grant": "readers"}}, "write": {Parameters: map[string]string{"grant": "writers"}},
			}}
		}
		r := b.Reconcilers[storetest.Reconciler]
		r.Resources = []string{"db", "web"}
		b.Reconcilers[storetest.Reconciler] = r
	})
	var mu sync.Mutex
	w.o = Options{
		Config: Config{
			Name: storetest.Reconciler, State: filepath.Join(t.TempDir(), "state"),
			Store:   StoreConfig{URL: w.store.URL, Identity: w.store.Identity},
			Targets: map[string]TargetConfig{"db": {}, "web": {}},
		},
		Drivers: map[string]target.Kind{"fake": {Validate: validateFake, New: func(_ context.Context, c target.Config) (target.Driver, error) {
			if bad := c.Settings["bad"]; bad != "" {
				return nil, &target.Error{Reason: target.BadSetting, Detail: "setting bad"}
			}
			return w.targets[c.Resource], nil
		}}},
		Now: w.store.Now, Signer: w.store.Signer(storetest.Reconciler),
		Log: slog.New(slog.NewTextHandler(&lockedWriter{b: w.log, mu: &mu}, nil)),
		Report: func(c Change) {
			w.lines = append(w.lines, c.String())
		},
	}
	return w
}

type lockedWriter struct {
	b  *strings.Builder
	mu *sync.Mutex
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// run makes a run that must come to the exit code.
func (w *world) run(exit int) Result {
	w.t.Helper()
	w.lines = nil
	r, err := Run(w.t.Context(), w.o)
	if err != nil {
		w.t.Fatal(err)
	}
	if got := r.ExitCode(); got != exit {
		w.t.Fatalf("exit code %d, want %d: %+v\n%s\n%s", got, exit, r, strings.Join(w.lines, "\n"), w.log)
	}
	return r
}

// at moves the clock by d from the start.
func (w *world) at(d time.Duration) { w.store.Set(start.Add(d)) }

// want compares the lines of the last run.
func (w *world) want(lines ...string) {
	w.t.Helper()
	slices.Sort(w.lines)
	slices.Sort(lines)
	if !slices.Equal(w.lines, lines) {
		w.t.Fatalf("changes:\n%s\nwant:\n%s\n%s", strings.Join(w.lines, "\n"), strings.Join(lines, "\n"), w.log)
	}
}

// receipts gives a request's receipts in short, in order of the alphabet: the
// order within a commit is the ledger's.
func (w *world) receipts(id record.ID) []string {
	w.t.Helper()
	var all []string
	for _, p := range w.store.Entry(id).Receipts {
		r := p.Record
		text := fmt.Sprintf("%s %s:%s", r.Outcome, r.Resource, r.Role)
		if r.Cause != "" {
			text += " " + r.Cause
		}
		all = append(all, text)
	}
	slices.Sort(all)
	return all
}

func (w *world) wantReceipts(id record.ID, want ...string) {
	w.t.Helper()
	slices.Sort(want)
	if got := w.receipts(id); !slices.Equal(got, want) {
		w.t.Fatalf("receipts %q, want %q", got, want)
	}
}

// wantAccess says who has the role of db.
func (w *world) wantAccess(account, role string, want bool) {
	w.t.Helper()
	if got := w.targets["db"].has(account, role); got != want {
		w.t.Fatalf("%s has %s: %v, want %v\n%s", account, role, got, want, w.log)
	}
}

// faultyBook is the real copy with failures before it.
type faultyBook struct {
	book
	sync, submit error
	// syncing and before, where set, are called before the store is asked, and before
	// something is submitted.
	syncing, before func()
	// shown, where set, says what the store has shown.
	shown func(int) int
	// standing is said of every key; evidence of every question for it, until the index
	// is made again where that heals it. rebuilt counts how often it is.
	standing, evidence error
	healed             bool
	rebuilt            int
}

func (f *faultyBook) Standing(name string, key record.Fingerprint, now time.Time) error {
	if f.standing != nil {
		return f.standing
	}
	return f.book.Standing(name, key, now)
}

func (f *faultyBook) Evidence(key record.Fingerprint, from, to time.Time) (ledger.Evidence, error) {
	if f.evidence != nil {
		return ledger.Evidence{}, f.evidence
	}
	return f.book.Evidence(key, from, to)
}

func (f *faultyBook) Rebuild(ctx context.Context) error {
	f.rebuilt++
	if f.healed {
		f.evidence = nil
	}
	return f.book.Rebuild(ctx)
}

func (f *faultyBook) Sync(ctx context.Context, h *replica.Healer) (replica.Report, error) {
	if f.syncing != nil {
		f.syncing()
	}
	if f.sync != nil {
		return replica.Report{}, f.sync
	}
	report, err := f.book.Sync(ctx, h)
	if f.shown != nil {
		report.Shown = f.shown(report.Shown)
	}
	return report, err
}

func (f *faultyBook) Submit(ctx context.Context, subject string, trailers [][2]string, out []outgoing) (error, error) {
	if f.before != nil {
		f.before()
	}
	if f.submit != nil {
		return nil, f.submit
	}
	return f.book.Submit(ctx, subject, trailers, out)
}

// faulty puts f before the store's copy.
func (w *world) faulty(f *faultyBook) {
	w.o.openBook = func(ctx context.Context, c Config, now func() time.Time, log *slog.Logger) (book, error) {
		b, err := openReplica(ctx, c, now, log)
		f.book = b
		return f, err
	}
}

var errTest = errors.New("a failure made by the test")

// first gives the oldest request of the store.
func (w *world) first(t *testing.T) record.ID {
	t.Helper()
	all, err := w.store.Machine.Ledger().Requests(ledger.Filter{}, w.store.Now())
	if err != nil || len(all) == 0 {
		t.Fatal("no request", err)
	}
	return all[len(all)-1].Request.Record.ID
}

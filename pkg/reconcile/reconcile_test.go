package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/owned"
	"github.com/jitaccess/jit/internal/storetest"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/target"
)

func TestOpensAndEndsByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(0)
	w.want()
	pending := w.store.Request("alice", time.Hour, "db:read")
	r := w.store.Granted("bob", time.Hour, "db:read", "web:write")
	id := r.ID.Short()
	w.run(0)
	w.want("opened db:read for bob until 2026-11-24T10:00:00Z (request "+id+")", "opened web:write for bob until 2026-11-24T10:00:00Z (request "+id+")")
	w.wantReceipts(r.ID, "applied db:read", "applied web:write")
	w.wantReceipts(pending.ID)
	w.wantAccess("bob", "readers", true)
	w.wantAccess("alice", "readers", false)

	// A second run changes nothing, and makes no commit.
	commits, grants := w.store.Commits(), w.targets["db"].count("grant")
	w.at(time.Hour - time.Second)
	w.run(0)
	w.want()
	if got := w.store.Commits(); got != commits {
		t.Errorf("%d commits more", got-commits)
	}
	if got := w.targets["db"].count("grant"); got != grants {
		t.Error("access was opened twice")
	}

	w.targets["db"].sessions["bob/readers"] = 2
	w.at(time.Hour)
	w.run(0)
	w.want("ended db:read for bob: expired, 2 sessions closed (request "+id+")", "ended web:write for bob: expired (request "+id+")")
	w.wantAccess("bob", "readers", false)
	w.wantReceipts(r.ID, "applied db:read", "applied web:write", "ended db:read expired", "ended web:write expired")
	if got := w.store.Commits(); got != commits+1 {
		t.Errorf("the receipts of a run are in %d commits", got-commits)
	}
	w.run(0)
	w.want()
	sessions := 0
	for _, p := range w.store.Entry(r.ID).Receipts {
		sessions += p.Record.SessionsEnded
	}
	if sessions != 2 {
		t.Errorf("the receipts tell of %d sessions", sessions)
	}
}

// TestEndsWhileItIsKeptBusy: an ending waits for nothing that a pusher can prolong.
func TestEndsWhileItIsKeptBusy(t *testing.T) {
	t.Parallel()
	for name, busy := range map[string]func(*faultyBook, func()){
		"fetching": func(f *faultyBook, wait func()) { f.syncing = wait },
		"sending":  func(f *faultyBook, wait func()) { f.before = wait },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.store.Granted("bob", time.Hour, "db:read")
			w.run(0)
			w.at(30 * time.Minute)
			w.store.Granted("carol", 3*time.Hour, "db:write")
			w.at(time.Hour)
			var due atomic.Bool
			w.o.Now = func() time.Time {
				if due.Load() {
					return start.Add(time.Hour)
				}
				return start.Add(time.Hour - time.Second)
			}
			waited := true
			f := &faultyBook{}
			busy(f, func() {
				due.Store(true)
				for range 100 {
					if !w.targets["db"].has("bob", "readers") {
						waited = false
						return
					}
					time.Sleep(100 * time.Millisecond)
				}
			})
			w.faulty(f)
			w.run(0)
			if waited {
				t.Error("the ending waited")
			}
			w.wantAccess("carol", "writers", true)
			w.run(0)
			w.wantReceipts(r.ID, "applied db:read", "ended db:read expired")
		})
	}
}

// TestTriesAgainWhileItIsKeptBusy: so does no ending that has failed in the same run.
func TestTriesAgainWhileItIsKeptBusy(t *testing.T) {
	t.Parallel()
	r := &run{tried: map[string]Action{"a": End, "b": Open}}
	r.forgetFailures()
	if !r.first("a", End) || r.first("b", Open) || r.first("a", End) {
		t.Errorf("%v", r.tried)
	}
}

func TestEndsBeforeItsTime(t *testing.T) {
	for _, c := range []struct {
		name, cause string
		end         func(w *world, r request.Request)
	}{
		{"cancelled", "cancelled", func(w *world, r request.Request) { w.store.Cancel("bob", r.ID) }},
		{"revoked", "revoked", func(w *world, r request.Request) { w.store.Revoke("alice", r.ID) }},
		{"denied after it was open", "revoked", func(w *world, r request.Request) { w.store.Deny("alice", r.ID) }},
		{"the role means something else", "changed", func(w *world, _ request.Request) {
			w.store.ChangePolicy(func(b *policy.Body) {
				b.Resources["db"].Roles["read"] = policy.Role{Parameters: map[string]string{"grant": "others"}}
			})
		}},
		{"the resource is another reconciler's", "changed", func(w *world, _ request.Request) {
			w.store.ChangePolicy(func(b *policy.Body) {
				r := b.Reconcilers[storetest.Reconciler]
				r.Resources = []string{"web"}
				b.Reconcilers[storetest.Reconciler] = r
			})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.store.Granted("bob", time.Hour, "db:read")
			w.run(0)
			w.at(10 * time.Minute)
			c.end(w, r)
			w.run(0)
			w.want("ended db:read for bob: " + c.cause + " (request " + r.ID.Short() + ")")
			w.wantAccess("bob", "readers", false)
			commits := w.store.Commits()
			w.run(0)
			w.want()
			if got := w.store.Commits(); got != commits {
				t.Errorf("%d commits more", got-commits)
			}
			if aside, err := w.store.Machine.Ledger().SetAside(); err != nil || len(aside) > 0 {
				t.Errorf("set aside: %v, %v", aside, err)
			}
		})
	}
}

func TestOverlapLastsUntilTheLastEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.Granted("bob", time.Hour, "db:read")
	w.at(30 * time.Minute)
	w.store.Granted("bob", time.Hour, "db:read")
	w.run(0)
	w.at(time.Hour)
	if r := w.run(0); r.Ended != 1 {
		t.Fatalf("ended %d", r.Ended)
	}
	w.wantAccess("bob", "readers", true)
	w.at(90 * time.Minute)
	w.run(0)
	w.wantAccess("bob", "readers", false)
}

func TestOverlapEndsWhollyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.Granted("bob", time.Hour, "db:read")
	w.store.Granted("bob", time.Hour, "db:read")
	w.run(0)
	w.at(2 * time.Hour)
	w.targets["db"].sessions["bob/readers"] = 1
	w.run(0)
	w.wantAccess("bob", "readers", false)
}

func TestStandingAccessIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.targets["db"].foreign["bob/readers"] = true
	r := w.store.Granted("bob", time.Hour, "db:read")
	w.run(0)
	w.want("opened db:read for bob until 2026-11-24T10:00:00Z (was there before jit, and is left) (request " + r.ID.Short() + ")")
	if got := w.run(0).Drift; len(got) != 1 || !strings.Contains(got[0], "bob had read before jit") {
		t.Errorf("drift %q", got)
	}
	w.at(time.Hour)
	w.run(0)
	w.wantAccess("bob", "readers", true)
	for _, p := range w.store.Entry(r.ID).Receipts {
		if !p.Record.Standing {
			t.Errorf("receipt %s does not say that the access stands", p.Record.Outcome)
		}
	}
}

// TestAstrayIsEndedFirst: what is under other names ends before the access is given anew,
// however often that takes, and only then.
func TestAstrayIsEndedFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.store.Granted("bob", time.Hour, "db:read")
	w.run(0)
	db := w.targets["db"]
	db.astray = []string{"with another"}
	delete(db.members, "bob/readers")
	w.o.DryRun = true
	w.run(0)
	w.o.DryRun = false
	if db.count("revoke") > 0 || len(w.lines) != 1 {
		t.Errorf("a dry run: %q, %q", w.lines, db.calls)
	}
	// It takes the membership and fails, so that the target shows nothing any more.
	db.fail["revoke"] = &target.Error{Reason: target.Held}
	w.run(6)
	w.wantAccess("bob", "readers", false)
	w.run(6)
	delete(db.fail, "revoke")
	w.run(0)
	w.wantAccess("bob", "readers", true)
	if n := db.count("revoke"); n != 3 {
		t.Errorf("%d endings: %q", n, db.calls)
	}
	w.run(0)
	if n := db.count("revoke"); n != 3 {
		t.Errorf("what was ended is ended again: %q", db.calls)
	}
	w.store.Revoke("alice", r.ID)
	w.run(0)
	w.wantAccess("bob", "readers", false)
}

func TestRestoresWithoutReceipt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.store.Granted("bob", time.Hour, "db:read")
	w.run(0)
	delete(w.targets["db"].members, "bob/readers")
	commits := w.store.Commits()
	w.run(0)
	w.want("restored db:read for bob until 2026-11-24T10:00:00Z (request " + r.ID.Short() + ")")
	w.wantAccess("bob", "readers", true)
	if w.store.Commits() != commits {
		t.Error("a restore made a commit")
	}
}

func TestUnreachableStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.store.Granted("bob", time.Hour, "db:read")
	w.run(0)
	hidden := w.store.URL + ".hidden"
	if err := os.Rename(w.store.URL, hidden); err != nil {
		t.Fatal(err)
	}
	w.at(time.Hour)
	res := w.run(5)
	w.want("ended db:read for bob: expired (request " + r.ID.Short() + ")")
	w.wantAccess("bob", "readers", false)
	if res.ReceiptsSpooled != 1 || res.ReceiptsOwed != 0 {
		t.Fatalf("spooled %d, owed %d", res.ReceiptsSpooled, res.ReceiptsOwed)
	}
	w.run(5)
	w.want()
	if err := os.Rename(hidden, w.store.URL); err != nil {
		t.Fatal(err)
	}
	w.run(0)
	w.want()
	w.wantReceipts(r.ID, "applied db:read", "ended db:read expired")
}

func TestNothingOpensFromAStaleLedger(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		exit int
	}{
		{"unreachable", replica.ErrUnreachable, 5},
		{"rewritten", fmt.Errorf("wrapped: %w", replica.ErrRewritten), 4},
		{"another store", replica.ErrIdentity, 4},
		{"anything else", errTest, 6}, // a fault of this machine, then
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.run(0)
			first := w.store.Granted("bob", 2*time.Hour, "db:read")
			w.run(0)
			w.store.Granted("carol", time.Hour, "db:write")
			f := &faultyBook{}
			w.faulty(f)
			// The ledger knows of the second grant, and of a revocation; the
			// first is not acted upon, the second is.
			b, err := openReplica(t.Context(), w.o.Config, w.o.Now, w.o.Log)
			if err != nil {
				t.Fatal(err)
			}
			w.store.Revoke("alice", first.ID)
			_, err = b.Sync(t.Context(), nil)
			if err := errors.Join(err, b.Close()); err != nil {
				t.Fatal(err)
			}
			f.sync = c.err
			w.run(c.exit)
			w.want("ended db:read for bob: revoked (request " + first.ID.Short() + ")")
			w.wantAccess("carol", "writers", false)
		})
	}
}

func TestStoreThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.Granted("bob", time.Hour, "db:read")
	w.run(0)
	w.o.Config.Store.URL = "ext::sh -c true"
	w.at(time.Hour)
	res := w.run(1)
	w.wantAccess("bob", "readers", false)
	if res.ReceiptsOwed != 1 {
		t.Errorf("owed %d", res.ReceiptsOwed)
	}
}

func TestKeyTroubleStopsOpeningsOnly(t *testing.T) {
	for _, c := range []struct {
		name, say string
		spoil     func(w *world)
	}{
		{"missing", "the reconciler's key", func(w *world) { w.o.Signer, w.o.Config.Key = nil, "/nonexistent" }},
		{"somebody else's", "is not reconciler", func(w *world) { w.o.Signer = w.store.Signer("alice") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.store.Granted("bob", time.Hour, "db:read")
			w.run(0)
			signer := w.o.Signer
			c.spoil(w)
			w.store.Granted("carol", 2*time.Hour, "db:write")
			w.at(time.Hour)
			res := w.run(6)
			if len(res.Problems) == 0 || !strings.Contains(fmt.Sprint(res.Problems), c.say) {
				t.Errorf("problems %v", res.Problems)
			}
			w.wantAccess("bob", "readers", false)
			w.wantAccess("carol", "writers", false)
			w.o.Signer = signer
			w.run(0)
			w.wantAccess("carol", "writers", true)
		})
	}
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.store.Granted("bob", time.Hour, "db:read")
	commits := w.store.Commits()
	w.o.DryRun = true
	w.run(0)
	w.want("would open db:read for bob until 2026-11-24T10:00:00Z (request " + r.ID.Short() + ")")
	w.wantAccess("bob", "readers", false)
	w.o.DryRun = false
	w.run(0)
	journal := w.readJournal()
	w.at(time.Hour)
	w.o.DryRun = true
	w.run(0)
	w.want("would end db:read for bob: expired (request " + r.ID.Short() + ")")
	w.wantAccess("bob", "readers", true)
	if w.readJournal() != journal {
		t.Error("the journal was written")
	}
	if got := w.store.Commits(); got != commits+1 {
		t.Error("a dry run made a commit")
	}
}

func (w *world) readJournal() string {
	w.t.Helper()
	data, err := os.ReadFile(filepath.Join(w.o.Config.State, "journal.jsonl"))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(data)
}

func TestDrift(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(0)
	for _, id := range []string{"01JDZZZZZZZZZZZZZZZZZZZZZZ-0", "not a grant"} {
		w.targets["db"].traces[id] = target.Grant{ID: id, Person: "mallory\x1b[2J", Params: map[string]string{"grant": "readers"}}
	}
	res := w.run(0)
	if len(res.Drift) != 2 || strings.Contains(strings.Join(res.Drift, ""), "\x1b") {
		t.Fatalf("drift %q", res.Drift)
	}
	if len(w.targets["db"].traces) != 2 {
		t.Error("what nobody knows was ended")
	}
	for i := range 1000 {
		id := fmt.Sprintf("01JD%022d-0", i)
		w.targets["db"].traces[id] = target.Grant{ID: id}
	}
	if res := w.run(0); len(res.Drift) > maxDrift {
		t.Errorf("%d lines of drift", len(res.Drift))
	}
}

func TestWhatCameBackIsEndedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.Granted("bob", time.Hour, "db:read")
	w.run(0)
	var trace target.Grant
	for _, g := range w.targets["db"].traces {
		trace = g
	}
	w.at(time.Hour)
	w.run(0)
	w.targets["db"].traces[trace.ID] = trace
	w.targets["db"].members["bob/readers"] = true
	res := w.run(0)
	w.wantAccess("bob", "readers", false)
	if res.Ended != 1 || len(res.Drift) != 1 {
		t.Errorf("%+v", res)
	}
	w.run(0)
	w.want()
}

func TestTwoReconcilersOnOneResource(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := *w
	other.o.Config.State = filepath.Join(t.TempDir(), "other")
	other.o.Report = func(c Change) { other.lines = append(other.lines, c.String()) }
	w.store.Granted("bob", time.Hour, "db:read")
	w.run(0)
	w.store.Granted("bob", 2*time.Hour, "db:read")
	other.run(0)
	w.wantAccess("bob", "readers", true)
	// The first ends what it knows to be over; it has not opened the second,
	// and must leave its access all the same.
	w.at(30 * time.Minute)
	w.store.Revoke("alice", other.first(t))
	w.run(0)
	w.wantAccess("bob", "readers", true)
	grants := w.targets["db"].count("grant")
	for range 3 {
		w.run(0)
		other.run(0)
	}
	if n := w.targets["db"].count("grant"); n != grants {
		t.Errorf("%d grants more: they work against each other", n-grants)
	}
	w.at(2 * time.Hour)
	w.run(0)
	other.run(0)
	w.wantAccess("bob", "readers", false)
}

func TestSecondRunIsToldSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(0)
	unlock, err := owned.Lock(t.Context(), filepath.Join(w.o.Config.State, "run.lock"), time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), w.o); !errors.Is(err, ErrBusy) {
		t.Fatalf("error %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	w.run(0)
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.Granted("bob", time.Hour, "db:read")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, w.o); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	w.wantAccess("bob", "readers", false)
	w.run(0)
	w.wantAccess("bob", "readers", true)
}

func TestChangesAreJSONOfSafeText(t *testing.T) {
	c := Change{Action: Open, Outcome: Failed, Grant: target.Grant{Resource: "db", Role: "read", Person: "bob"},
		Request: "01JDZZZZZZZZZZZZZZZZZABCDE", Err: errors.New("a\nforged line\x1b]0;title\a \u200bzero")}
	if got, want := c.String(), "failed to open db:read for bob (request zabcde): a forged line?]0;title? ?zero"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := json.Marshal(Result{}); err != nil {
		t.Error(err)
	}
}

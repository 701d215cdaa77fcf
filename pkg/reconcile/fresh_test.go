package reconcile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/request"
)

// second is another reconciler of the store, that works on nothing: it is there to
// answer.
func (w *world) second(name string) *world {
	w.t.Helper()
	w.store.AddReconciler(name, "web")
	return w.machine(name)
}

// machine is another machine with its own key and state, without targets.
func (w *world) machine(name string) *world {
	other := *w
	other.o.Config.Name, other.o.Signer = name, w.store.Signer(name)
	other.o.Config.State = filepath.Join(w.t.TempDir(), name)
	other.o.Config.Targets = nil
	other.o.Report = func(c Change) { other.lines = append(other.lines, c.String()) }
	return &other
}

// asks changes what the policy asks for of db.
func (w *world) asks(change func(*policy.Resource)) {
	w.t.Helper()
	w.store.ChangePolicy(func(b *policy.Body) {
		db := b.Resources["db"]
		change(&db)
		b.Resources["db"] = db
	})
}

func minutes(n int) time.Duration { return time.Duration(n) * time.Minute }

func lasting(n int) record.Duration { return record.Duration{Duration: minutes(n)} }

func at(n int) string { return start.Add(minutes(n)).Format(timeForm) }

func TestNothingOpensThatIsNotFresh(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.second("db2")
	w.asks(func(r *policy.Resource) { r.Freshness = lasting(60) })
	r := w.store.Granted("bob", minutes(8*60), "db:read", "web:read")
	id := r.ID.Short()
	opened := "opened db:read for bob until " + at(8*60) + " (request " + id + ")"

	// Nothing of this machine's was ever answered. What asks for no evidence opens;
	// its receipt asks.
	res := w.run(6)
	w.want("opened web:read for bob until "+at(8*60)+" (request "+id+")",
		"did not open db:read for bob (request "+id+"): not fresh: no other key has answered yet what this machine signed, and the policy asks for an answer within 1h0m0s; another reconciler, or anybody who signs a record, gives it")
	w.wantAccess("bob", "readers", false)
	if res.Withheld != 1 || res.Beat {
		t.Errorf("%+v", res)
	}
	w.wantReceipts(r.ID, "applied web:read")
	if !other.run(0).Beat {
		t.Error("the other did not answer")
	}
	w.at(minutes(1))
	w.run(0)
	w.want(opened)
	w.wantAccess("bob", "readers", true)

	// Without answers it lasts for an hour from when the question was signed. What is
	// open stays open.
	w.at(minutes(60))
	late := w.store.Request("carol", minutes(60), "db:write")
	w.store.Approve("alice", late.ID) // which answers the receipt of the first minute
	w.run(0)
	w.want("opened db:write for carol until " + at(120) + " (request " + late.ID.Short() + ")")
	w.at(minutes(3 * 60))
	more := w.store.Granted("carol", minutes(60), "db:write")
	delete(w.targets["db"].members, "bob/readers")
	w.run(6)
	w.want("ended db:write for carol: expired (request "+late.ID.Short()+")",
		"did not open db:write for carol (request "+more.ID.Short()+"): not fresh since "+at(60)+
			": that is when this machine signed what another key has answered last, and the policy asks for an answer within 1h0m0s; see whether the others reach the store")
	// Nor is given again what has gone from the target.
	w.wantAccess("bob", "readers", false)
	w.run(6)
	other.run(0)
	w.run(0)
	w.wantAccess("carol", "writers", true)
	w.wantAccess("bob", "readers", true)
}

// TestOwnRecordsAreNoEvidence: a host that withholds what others sign cannot make up
// for it with what this machine signs itself.
func TestOwnRecordsAreNoEvidence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.asks(func(r *policy.Resource) { r.Freshness = lasting(60) })
	w.store.Granted("bob", minutes(8*60), "db:read")
	for i := range 10 {
		w.at(minutes(i))
		w.run(6)
	}
	w.wantAccess("bob", "readers", false)
	// Another machine with the same key is no other.
	same := w.machine(w.o.Config.Name)
	same.o.Config.Targets = map[string]TargetConfig{"db": {}}
	same.run(6)
	w.run(6)
	w.wantAccess("bob", "readers", false)
}

func TestLeaseEndsAndComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.second("db2")
	w.asks(func(r *policy.Resource) { r.Lease = lasting(15) })
	r := w.store.Granted("bob", minutes(4*60), "db:read")
	id := " (request " + r.ID.Short() + ")"
	w.run(6)
	other.run(0)
	w.run(0)
	w.want("opened db:read for bob until " + at(240) + id)
	if got := w.run(0).Wake; !got.Equal(start.Add(minutes(15))) {
		t.Errorf("wakes at %s", got)
	}
	w.wantAccess("bob", "readers", true)

	// The store is away. The lease ends by the clock, before anything is asked.
	hidden := w.store.URL + ".hidden"
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	rename(w.store.URL, hidden)
	w.at(minutes(15) - time.Second)
	w.run(5)
	w.want()
	w.at(minutes(15))
	w.targets["db"].sessions["bob/readers"] = 1
	w.run(5)
	w.want("ended db:read for bob: lease, 1 session closed" + id)
	w.wantAccess("bob", "readers", false)
	w.at(minutes(20))
	w.run(5)
	w.want()

	// It is there again, and somebody answers: access comes back until the end that it
	// had.
	rename(hidden, w.store.URL)
	w.run(6)
	w.want("did not resume db:read for bob" + id + ": not fresh since " + at(0) +
		": that is when this machine signed what another key has answered last, and the policy asks for an answer within 15m0s; see whether the others reach the store")
	other.run(0)
	w.at(minutes(21))
	res := w.run(0)
	w.want("opened again db:read for bob until " + at(240) + id)
	if res.Opened != 1 {
		t.Errorf("%+v", res)
	}
	w.wantAccess("bob", "readers", true)
	w.wantReceipts(r.ID, "applied db:read", "ended db:read lease", "applied db:read")

	// The store is there and nobody answers: the same.
	w.at(minutes(40))
	w.run(0)
	w.want("ended db:read for bob: lease" + id)
	w.wantAccess("bob", "readers", false)
	// What was revoked in the meantime does not come back.
	w.store.Revoke("alice", r.ID)
	w.run(0)
	w.want()
	w.at(minutes(41))
	w.run(0)
	w.want()
	w.wantAccess("bob", "readers", false)
}

func TestLeaseRunsOutWithoutKeyAndPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.second("db2")
	w.asks(func(r *policy.Resource) { r.Lease = lasting(15) })
	w.store.Granted("bob", minutes(4*60), "db:read")
	w.run(6)
	other.run(0)
	w.run(0)
	w.o.Signer, w.o.Config.Key, w.o.Config.Store.URL = nil, "/nonexistent", "ext::sh -c true"
	w.at(minutes(15))
	w.run(6)
	w.wantAccess("bob", "readers", false)
}

// TestLeaseIsAskedForWhileOpen: what was open when the policy came to ask for a lease
// has the length of one for the first answer.
func TestLeaseIsAskedForWhileOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.second("db2")
	r := w.store.Granted("bob", minutes(4*60), "db:read")
	w.run(0)
	w.at(minutes(60))
	w.asks(func(r *policy.Resource) { r.Lease = lasting(15) })
	w.run(0)
	w.want()
	w.at(minutes(74))
	w.run(0)
	w.want()
	w.at(minutes(75))
	w.run(0)
	w.want("ended db:read for bob: lease (request " + r.ID.Short() + ")")
	other.run(0)
	w.run(0)
	w.wantAccess("bob", "readers", true)
	// And what is open stays so when it asks no longer.
	w.asks(func(r *policy.Resource) { r.Lease = record.Duration{} })
	w.run(0)
	w.at(minutes(180))
	w.run(0)
	w.want()
	w.wantAccess("bob", "readers", true)
}

// TestClockThatWasAhead: evidence of a time that is still to come renews nothing.
func TestClockThatWasAhead(t *testing.T) {
	for _, c := range []struct {
		name   string
		l      lease
		now    int
		lapsed bool
	}{
		{"just renewed", lease{start, minutes(15)}, 0, false},
		{"a moment before", lease{start, minutes(15)}, 14, false},
		{"at its end", lease{start, minutes(15)}, 15, true},
		{"set back a little", lease{start, minutes(15)}, -2, false},
		{"set back for longer than it lasts", lease{start, minutes(15)}, -16, true},
	} {
		if got := c.l.lapsed(start.Add(minutes(c.now))); got != c.lapsed {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestTwoIdleReconcilers: with nothing to do they keep each other fresh without
// interruption, and with few commits.
func TestTwoIdleReconcilers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                            string
		machines, lease, hours, perHour int
	}{
		{"two, a lease of 15 minutes", 2, 15, 1, 24},
		{"two, an hour", 2, 60, 2, 6},
		{"three, a lease of 15 minutes", 3, 15, 1, 32},
		{"one alone, 15 minutes", 1, 15, 1, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			all := []*world{w}
			for i := 1; i < c.machines; i++ {
				name := fmt.Sprint("other", i)
				w.store.AddReconciler(name, "db")
				all = append(all, w.machine(name))
				all[i].o.Config.Targets = map[string]TargetConfig{"db": {}}
			}
			w.asks(func(r *policy.Resource) { r.Lease = lasting(c.lease) })
			for range 2 {
				for _, m := range all {
					if _, err := Run(t.Context(), m.o); err != nil {
						t.Fatal(err)
					}
				}
			}
			var r request.Request
			if c.machines > 1 {
				r = w.store.Granted("bob", minutes(8*60), "db:read")
			}
			commits := w.store.Commits()
			for minute := 1; minute <= c.hours*60; minute++ {
				w.at(minutes(minute))
				for _, m := range all {
					if res := m.run(0); res.Ended+res.Withheld > 0 || minute > 2 && res.Opened > 0 {
						t.Fatalf("minute %d: %s", minute, strings.Join(m.lines, "\n"))
					}
				}
			}
			made := w.store.Commits() - commits
			t.Logf("%d commits in %d hours", made, c.hours)
			if most := c.perHour*c.hours + 2*c.machines; made > most {
				t.Errorf("%d commits in %d hours, want at most %d", made, c.hours, most)
			}
			if c.machines > 1 {
				w.wantAccess("bob", "readers", true)
				for _, rec := range w.receipts(r.ID) {
					if !strings.HasPrefix(rec, "applied") {
						t.Error(rec)
					}
				}
			}
		})
	}
}

// TestNoHeartbeatsUnlessAskedFor: where no resource asks for evidence, a run with
// nothing to do makes no commit.
func TestNoHeartbeatsUnlessAskedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.second("db2")
	w.run(0)
	other.run(0)
	commits := w.store.Commits()
	for i := range 3 {
		w.at(minutes(60 * i))
		w.run(0)
		other.run(0)
	}
	if got := w.store.Commits(); got != commits {
		t.Errorf("%d commits more", got-commits)
	}
}

func TestHeartbeatTroubles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.asks(func(r *policy.Resource) { r.Lease = lasting(15) })
	commits := w.store.Commits()
	w.o.DryRun = true
	w.run(0)
	w.o.DryRun = false
	f := &faultyBook{submit: errTest}
	w.faulty(f)
	if res := w.run(6); res.Beat || !strings.Contains(errors.Join(res.Problems...).Error(), "a heartbeat could not be handed over") {
		t.Errorf("%+v", res)
	}
	f.submit = nil
	w.o.Signer = w.store.Signer("alice")
	w.run(6) // not this reconciler's key: nothing of it would count
	if got := w.store.Commits(); got != commits {
		t.Errorf("%d commits more", got-commits)
	}
	w.o.Signer = w.store.Signer(w.o.Config.Name)
	w.run(0)
	w.run(0)
	if got := w.store.Commits(); got != commits+1 {
		t.Errorf("%d commits more", got-commits)
	}
}

func TestWhoAsks(t *testing.T) {
	ago := func(m int) time.Time {
		if m < 0 {
			return time.Time{}
		}
		return start.Add(-minutes(m))
	}
	for _, c := range []struct {
		name           string
		answered, last int // minutes ago; less than 0 is never
		asked, asks    bool
	}{
		{"never signed anything", -1, -1, false, true},
		{"asked for the first time", -1, 1, true, false},
		{"asked, and nobody answered for half of it", -1, 30, true, true},
		{"answered", 5, 5, false, false},
		{"answered half of it ago", 30, 30, false, true},
		{"signed an answer since", 5, 4, false, false},
		{"signed an answer since, and the time is over", 30, 29, false, true},
		{"asked since", 30, 15, true, false},
		{"asked since, and nobody answered for half of it", 50, 30, true, true},
	} {
		e := ledger.Evidence{Answered: ago(c.answered), Last: ago(c.last)}
		if got := asked(e, minutes(60)); got != c.asked {
			t.Errorf("%s: asked is %v", c.name, got)
		}
		if got := asks(e, minutes(60), start); got != c.asks {
			t.Errorf("%s: asks is %v", c.name, got)
		}
	}
}

// TestLeasesOutliveTheJournalsRewriting: the newest leases are kept, and no others.
func TestLeasesOutliveTheJournalsRewriting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	j, _, damage := openJournal(path, nil)
	if len(damage) > 0 {
		t.Fatal(damage)
	}
	for i := range 3 {
		leases := map[string]lease{"db": {start.Add(minutes(i)), minutes(15)}}
		if err := j.record(event{Kind: renewed, Leases: leases}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.compact(0, func(*kept) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	j, _, damage = openJournal(path, errTest)
	if want := (lease{start.Add(minutes(2)), minutes(15)}); len(damage) > 0 || j.lines != 1 || j.state.leases["db"] != want || j.state.last != 3 {
		t.Errorf("%d lines, leases %v, last event %d, damage %v", j.lines, j.state.leases, j.state.last, damage)
	}
}

// TestClockSetBackMakesNoFlood: a machine whose clock was set back asks no more often.
func TestClockSetBackMakesNoFlood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.asks(func(r *policy.Resource) { r.Lease = lasting(15) })
	w.at(minutes(300))
	w.run(0)
	f := &faultyBook{sync: replica.ErrUnreachable}
	w.faulty(f)
	w.at(minutes(310))
	w.run(5)
	f.sync = nil
	commits := w.store.Commits()
	for i := range 10 {
		w.at(minutes(i))
		w.run(6)
	}
	if made := w.store.Commits() - commits; made > 2 {
		t.Errorf("%d commits", made)
	}
}

package reconcile

import (
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/revoke"
)

func (w *world) loseJournal() {
	w.t.Helper()
	if err := os.Remove(w.journalPath()); err != nil {
		w.t.Fatal(err)
	}
}

// damageJournal spoils each line that tells of access.
func (w *world) damageJournal() {
	w.t.Helper()
	data, err := os.ReadFile(w.journalPath())
	if err != nil {
		w.t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), `"kind":"intended"`, `"kind":"intender"`)
	if text == string(data) {
		w.t.Fatal("there is nothing to damage")
	}
	if err := os.WriteFile(w.journalPath(), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// TestLostJournalUnderLease: access that is open without evidence ends with its lease,
// and at its end, whatever became of the journal.
func TestLostJournalUnderLease(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		lose  func(*world)
		exit  int
		lists bool
	}{
		{"lost", (*world).loseJournal, 0, true},
		{"lost, and the target lists nothing", (*world).loseJournal, 0, false},
		{"damaged", (*world).damageJournal, 6, true},
		{"damaged, and the target lists nothing", (*world).damageJournal, 6, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			other := w.second("db2")
			w.asks(func(r *policy.Resource) { r.Lease = lasting(15) })
			r := w.store.Granted("bob", minutes(4*60), "db:read")
			id := " (request " + r.ID.Short() + ")"
			w.run(6)
			other.run(0)
			w.run(0)
			w.wantAccess("bob", "readers", true)
			if !c.lists {
				clear(w.targets["db"].traces)
			}
			// Within the lease it stays, as far as the evidence reaches.
			w.at(minutes(10))
			c.lose(w)
			w.run(c.exit)
			w.wantAccess("bob", "readers", true)
			w.at(minutes(14))
			c.lose(w)
			w.run(c.exit)
			w.wantAccess("bob", "readers", true)
			w.at(minutes(15))
			c.lose(w)
			w.run(c.exit)
			w.want("ended db:read for bob: lease" + id)
			w.wantAccess("bob", "readers", false)
			other.run(0)
			w.run(0)
			w.want("opened again db:read for bob until " + at(240) + id)
		})
	}
}

// TestLostJournalWhileAway: the lease runs out though the store cannot be asked, and at
// once where nothing tells since when it runs.
func TestLostJournalWhileAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.second("db2")
	w.asks(func(r *policy.Resource) { r.Lease = lasting(15) })
	w.store.Granted("bob", minutes(4*60), "db:read")
	w.run(6)
	other.run(0)
	w.run(0)
	w.loseJournal()
	f := &faultyBook{sync: replica.ErrUnreachable}
	w.faulty(f)
	w.at(minutes(14))
	w.run(5)
	w.wantAccess("bob", "readers", true)
	w.at(minutes(15))
	w.run(5)
	w.wantAccess("bob", "readers", false)
}

// TestLostJournalUnderTrace: access that is not taken up again, its trace being held
// back, ends at its end.
func TestLostJournalUnderTrace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.asks(func(r *policy.Resource) { r.Trace = policy.TraceRequired })
	w.store.Granted("bob", time.Hour, "db:read")
	w.run(0)
	w.wantAccess("bob", "readers", true)
	w.loseJournal()
	clear(w.targets["db"].traces)
	w.faulty(&faultyBook{shown: func(n int) int { return n - 1 }})
	w.at(minutes(10))
	w.run(0)
	w.at(time.Hour)
	w.run(0)
	w.wantAccess("bob", "readers", false)
}

// TestLostJournalWithoutReceipts: what no receipt tells of is seen at the target.
func TestLostJournalWithoutReceipts(t *testing.T) {
	t.Parallel()
	for _, lists := range []bool{true, false} {
		w := newWorld(t)
		other := w.second("db2")
		w.asks(func(r *policy.Resource) { r.Freshness = lasting(15) })
		w.run(0)
		other.run(0)
		f := &faultyBook{submit: errTest}
		w.faulty(f)
		w.store.Granted("bob", time.Hour, "db:read")
		w.run(6)
		w.wantAccess("bob", "readers", true)
		f.submit = nil
		w.loseJournal()
		if !lists {
			clear(w.targets["db"].traces)
		}
		// The target does not answer at first: the journal is not made anew before it
		// has.
		w.at(minutes(20))
		w.targets["db"].fail["list"], w.targets["db"].fail["check"] = errTest, errTest
		w.run(6)
		clear(w.targets["db"].fail)
		w.run(6) // not fresh
		w.targets["db"].fail["list"] = errTest
		clear(w.targets["db"].traces)
		w.at(time.Hour)
		w.run(0)
		w.wantAccess("bob", "readers", false)
	}
}

// TestUntoldIsNotTaken: a lost journal makes nothing of what a target shows for other
// reasons, and no intent that was only sent just now opens anything.
func TestUntoldIsNotTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.asks(func(r *policy.Resource) { r.Trace, r.Freshness = policy.TraceRequired, lasting(15) })
	w.targets["db"].foreign["bob/readers"] = true
	r := w.store.Granted("bob", time.Hour, "db:read")
	w.run(6)
	w.run(6)
	if n := w.targets["db"].count("revoke") + w.targets["db"].count("grant"); n > 0 {
		t.Errorf("%d changes", n)
	}
	w.at(time.Hour)
	w.run(0)
	w.wantReceipts(r.ID)
	w.wantAccess("bob", "readers", true)
}

// TestIntentOnItsWayAndJournalLost: an intent that goes out of the spool in this very
// run is no reason to open.
func TestIntentOnItsWayAndJournalLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.asks(func(r *policy.Resource) { r.Trace = policy.TraceRequired })
	r := w.store.Granted("bob", time.Hour, "db:read")
	hidden := w.store.URL + ".hidden"
	f := &faultyBook{before: func() {
		if err := os.Rename(w.store.URL, hidden); err != nil {
			t.Fatal(err)
		}
	}}
	w.faulty(f)
	w.run(5) // the intent waits
	f.before = nil
	if err := os.Rename(hidden, w.store.URL); err != nil {
		t.Fatal(err)
	}
	w.loseJournal()
	f.before = func() {
		w.wantAccess("bob", "readers", false)
		f.before = nil
	}
	w.run(0)
	w.wantReceipts(r.ID, "intended db:read", "intended db:read", "applied db:read")
}

// TestLockedReconciler: what is signed with a locked key, or with one that is not good
// any more, does not count, so it opens nothing, and keeps its receipts.
func TestLockedReconciler(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.second("db2")
	w.asks(func(r *policy.Resource) { r.Lease = lasting(600) })
	before := w.store.Granted("bob", time.Hour, "db:read")
	w.run(6)
	other.run(0)
	w.run(0)
	lock := w.store.Lock("alice", func(l *revoke.Lock) { l.Key = w.o.Signer.Fingerprint() })
	w.at(minutes(50))
	w.store.Granted("carol", time.Hour, "db:write")
	commits := w.store.Commits()
	res := w.run(6)
	if told := errors.Join(res.Problems...).Error(); !strings.Contains(told, "what this reconciler signs does not count") || !strings.Contains(told, "is locked, by alice") {
		t.Error(told)
	}
	w.wantAccess("carol", "writers", false)
	w.at(time.Hour)
	if res := w.run(6); res.ReceiptsOwed != 1 {
		t.Errorf("%+v", res)
	}
	w.wantAccess("bob", "readers", false)
	if got := w.store.Commits(); got != commits {
		t.Errorf("%d commits more", got-commits)
	}
	w.store.Unlock("alice", lock.ID)
	if _, err := Run(t.Context(), w.o); err != nil {
		t.Fatal(err)
	}
	w.wantReceipts(before.ID, "applied db:read", "ended db:read expired")
	w.wantAccess("carol", "writers", true)
}

// TestReconcilersKeyThatIsNoGood: so does a key whose time is over.
func TestReconcilersKeyThatIsNoGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.Granted("bob", time.Hour, "db:read")
	w.faulty(&faultyBook{standing: &record.Refusal{Reason: record.ReasonKeyExpired, Detail: "the key expired"}})
	res := w.run(6)
	if told := errors.Join(res.Problems...).Error(); !strings.Contains(told, "the key expired") {
		t.Error(told)
	}
	w.wantAccess("bob", "readers", false)
}

// TestLeaseOfATimeToCome: evidence that a clock ahead has noted counts for nothing when
// the clock is right again: access does not come and go with it.
func TestLeaseOfATimeToCome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.second("db2")
	w.asks(func(r *policy.Resource) { r.Lease = lasting(15) })
	w.store.Granted("bob", minutes(4*60), "db:read")
	w.run(6)
	w.at(minutes(59)) // this machine's clock, for two runs
	w.run(6)
	other.run(0)
	w.run(0)
	w.wantAccess("bob", "readers", true)
	was := false
	for m := 1; m < 12; m++ {
		w.at(minutes(m))
		other.run(0)
		w.lines = nil
		if _, err := Run(t.Context(), w.o); err != nil {
			t.Fatal(err)
		}
		has := w.targets["db"].has("bob", "readers")
		if m > 1 && was && !has || has && m > 3 && !was {
			t.Fatalf("minute %d: %v, and before it was %v: %s", m, has, was, strings.Join(w.lines, "\n"))
		}
		was = has
	}
	if !was {
		t.Error("it did not come back")
	}
}

// TestEvidenceThatCannotBeRead: revocations do not wait for it.
func TestEvidenceThatCannotBeRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		err     error
		healed  bool
		rebuilt int
	}{
		{"an error", errTest, false, 0},
		{"a damaged index, that can be made again", fmt.Errorf("%w: a page", ledger.ErrDamaged), true, 1},
		{"a damaged index, that stays so", fmt.Errorf("%w: a page", ledger.ErrDamaged), false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			other := w.second("db2")
			w.asks(func(r *policy.Resource) { r.Freshness = lasting(60) })
			r := w.store.Granted("bob", time.Hour, "db:read")
			w.run(6)
			other.run(0)
			w.run(0)
			w.wantAccess("bob", "readers", true)
			w.store.Revoke("alice", r.ID)
			w.store.Granted("carol", time.Hour, "db:write")
			f := &faultyBook{evidence: c.err, healed: c.healed}
			w.faulty(f)
			if c.healed {
				w.run(0)
			} else {
				w.run(6)
			}
			w.wantAccess("bob", "readers", false)
			w.wantAccess("carol", "writers", c.healed)
			if f.rebuilt != c.rebuilt {
				t.Errorf("made again %d times", f.rebuilt)
			}
		})
	}
}

// TestWithheldKeepsNothingOpen: access that is withheld is no reason to leave, for its
// sake, what another grant of the same role had open.
func TestWithheldKeepsNothingOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.second("db2")
	w.asks(func(r *policy.Resource) { r.Freshness = lasting(15) })
	first := w.store.Granted("bob", time.Hour, "db:read")
	w.run(6)
	other.run(0)
	w.run(0)
	w.at(minutes(30))
	w.store.Granted("bob", 3*time.Hour, "db:read")
	w.store.Revoke("alice", first.ID)
	w.run(6)
	w.wantAccess("bob", "readers", false)
}

// TestCertificatesThatCannotBeRead: whether the reconciler's own key is good is asked in
// every run, also where there is nothing new to judge and so nothing else reads them.
func TestCertificatesThatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.Granted("bob", time.Hour, "db:read")
	w.store.Granted("carol", time.Hour, "db:write")
	w.targets["db"].fail["grant"] = errTest
	w.run(6)
	clear(w.targets["db"].fail)
	db, err := sql.Open("sqlite", filepath.Join(w.o.Config.State, "store", "ledger.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`UPDATE certificates SET armor = x'00'`)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	w.run(0)
	w.wantAccess("bob", "readers", true)
	w.wantAccess("carol", "writers", true)
}

// TestRevocationWithADamagedPage: whichever page of the index is lost, what was revoked
// ends, and what is open rightly stays.
func TestRevocationWithADamagedPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.second("db2")
	w.asks(func(r *policy.Resource) { r.Lease = lasting(60) })
	r := w.store.Granted("bob", 4*time.Hour, "db:read")
	w.store.Granted("carol", 4*time.Hour, "db:write")
	w.run(6)
	other.run(0)
	w.run(0)
	w.store.Revoke("alice", r.ID)
	// A run that knows of the revocation, and cannot act on it.
	w.targets["db"].fail["revoke"] = errTest
	w.run(6)
	clear(w.targets["db"].fail)
	index := filepath.Join(w.o.Config.State, "store", "ledger.db")
	whole, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	journal, err := os.ReadFile(w.journalPath())
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096 // SQLite's, where nothing else is asked for
	for at := page; at < len(whole); at += page {
		data := slices.Clone(whole)
		clear(data[at : at+page])
		if err := errors.Join(os.WriteFile(index, data, 0o600), os.WriteFile(w.journalPath(), journal, 0o600)); err != nil {
			t.Fatal(err)
		}
		w.targets["db"].members["bob/readers"] = true
		if _, err := Run(t.Context(), w.o); err != nil {
			t.Fatal(err)
		}
		if w.targets["db"].has("bob", "readers") || !w.targets["db"].has("carol", "writers") {
			t.Errorf("page %d: bob %v, carol %v", at/page+1, w.targets["db"].has("bob", "readers"), w.targets["db"].has("carol", "writers"))
		}
	}
}

// TestRefusedReceiptsDoNotHoldTheJournal: lines of access that is over are dropped though
// its receipts were refused, and not while something waits.
func TestRefusedReceiptsDoNotHoldTheJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.Granted("bob", time.Hour, "db:read")
	w.run(0)
	w.at(time.Hour)
	f := &faultyBook{submit: &record.Refusal{Reason: record.ReasonBadValue, Detail: "refused by the test"}}
	w.faulty(f)
	w.run(6)
	f.submit = nil
	r := &run{o: w.o, synced: true, recovered: true, log: slog.New(slog.DiscardHandler)}
	r.journal, _, _ = openJournal(w.journalPath(), nil)
	defer r.journal.close()
	w.at(3 * time.Hour)
	r.journal.lines += compactAt // as if so many lines were done with
	dropped := func(waiting bool) bool {
		t.Helper()
		r.waiting = waiting
		if err := r.tidy(t.Context()); err != nil || len(r.result.Problems) > 0 {
			t.Fatal(err, r.result.Problems)
		}
		return len(r.journal.state.grants) == 0
	}
	if dropped(true) {
		t.Error("dropped while something waits")
	}
	if !dropped(false) {
		t.Error("kept")
	}
}

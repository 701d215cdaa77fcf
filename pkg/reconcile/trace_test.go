package reconcile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

func TestTraceComesFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.asks(func(r *policy.Resource) { r.Trace = policy.TraceRequired })
	r := w.store.Granted("bob", time.Hour, "db:read", "web:read")
	id := " (request " + r.ID.Short() + ")"
	until := " for bob until " + at(60)

	w.o.DryRun = true
	w.run(0)
	w.want("would put on record that it is to open db:read"+until+id, "would open web:read"+until+id)
	w.o.DryRun = false

	// The intent was sent, and the store does not show it: nothing opens, and it is
	// not signed again.
	f := &faultyBook{shown: func(n int) int { return n - 1 }}
	w.faulty(f)
	for range 3 {
		w.run(0)
		w.wantAccess("bob", "readers", false)
	}
	w.wantReceipts(r.ID, "applied web:read", "intended db:read")
	if n := w.targets["db"].count("grant"); n != 0 {
		t.Errorf("%d grants", n)
	}
	f.shown = nil
	w.run(0)
	w.want("opened db:read" + until + id)
	w.wantAccess("bob", "readers", true)
	w.run(0)
	w.want()
	w.at(time.Hour)
	w.run(0)
	w.wantReceipts(r.ID, "applied web:read", "ended web:read expired", "intended db:read", "applied db:read", "ended db:read expired")
	w.at(2 * time.Hour)

	// Where the store shows it at once, a single run does both.
	r = w.store.Granted("bob", time.Hour, "db:read")
	id, until = " (request "+r.ID.Short()+")", " for bob until "+at(180)
	w.run(0)
	w.want("puts on record that it is to open db:read"+until+id, "opened db:read"+until+id)
	w.wantReceipts(r.ID, "applied db:read", "intended db:read")
	commits := w.store.Commits()
	w.run(0)
	w.want()
	if got := w.store.Commits(); got != commits {
		t.Errorf("%d commits more", got-commits)
	}
}

// TestTraceThatIsNotSent: what waits in the spool, or is lost from it, opens nothing.
func TestTraceThatIsNotSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.asks(func(r *policy.Resource) { r.Trace = policy.TraceRequired })
	r := w.store.Granted("bob", 4*time.Hour, "db:read")
	hidden := w.store.URL + ".hidden"
	f := &faultyBook{submit: errTest}
	w.faulty(f)
	w.run(6)
	f.submit = nil

	// It waits, for the store goes away between fetch and push.
	f.before = func() {
		if err := os.Rename(w.store.URL, hidden); err != nil {
			t.Fatal(err)
		}
	}
	w.run(5)
	f.before = nil
	w.wantAccess("bob", "readers", false)
	w.run(5)
	w.wantAccess("bob", "readers", false)
	waiting, err := filepath.Glob(filepath.Join(w.o.Config.State, "store", "spool", "*.json"))
	if err != nil || len(waiting) != 1 {
		t.Fatal(waiting, err)
	}
	if err := os.Rename(hidden, w.store.URL); err != nil {
		t.Fatal(err)
	}
	// Lost, it is signed again.
	if err := os.Remove(waiting[0]); err != nil {
		t.Fatal(err)
	}
	w.run(0)
	w.wantReceipts(r.ID, "intended db:read", "applied db:read")
	w.wantAccess("bob", "readers", true)
}

// TestTraceOfWhatIsOverInTheMeantime: what is revoked before its intent has come back
// never opens.
func TestTraceOfWhatIsOverInTheMeantime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.asks(func(r *policy.Resource) { r.Trace = policy.TraceRequired })
	r := w.store.Granted("bob", time.Hour, "db:read")
	f := &faultyBook{shown: func(n int) int { return n - 1 }}
	w.faulty(f)
	w.run(0)
	w.store.Revoke("alice", r.ID)
	f.shown = nil
	w.run(0)
	w.want()
	w.wantReceipts(r.ID, "intended db:read")
	if n := w.targets["db"].count("grant"); n != 0 {
		t.Errorf("%d grants", n)
	}
}

// TestTraceAfterALease: access that ended for want of evidence is announced anew.
func TestTraceAfterALease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.second("db2")
	w.asks(func(r *policy.Resource) { r.Trace, r.Lease = policy.TraceRequired, lasting(15) })
	r := w.store.Granted("bob", minutes(8*60), "db:read")
	w.run(6)
	w.wantReceipts(r.ID)
	other.run(0)
	w.run(0)
	w.wantAccess("bob", "readers", true)
	w.wantReceipts(r.ID, "intended db:read", "applied db:read")
	w.at(minutes(60))
	w.run(0)
	w.wantAccess("bob", "readers", false)
	w.run(6)
	other.run(0)
	f := &faultyBook{shown: func(n int) int { return n - 1 }}
	w.faulty(f)
	w.run(0)
	w.run(0)
	w.wantAccess("bob", "readers", false)
	f.shown = nil
	w.run(0)
	w.wantAccess("bob", "readers", true)
	w.wantReceipts(r.ID, "intended db:read", "applied db:read", "ended db:read lease", "intended db:read", "applied db:read")
}

// TestTraceWithALostJournal: an intent that was followed by an opening of which nothing
// is known any more is reason enough to look.
func TestTraceWithALostJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.asks(func(r *policy.Resource) { r.Trace = policy.TraceRequired })
	r := w.store.Granted("bob", time.Hour, "db:read")
	f := &faultyBook{}
	w.faulty(f)
	f.shown = func(n int) int { return n - 1 }
	w.run(0) // the intent alone
	f.shown, f.submit = nil, errTest
	w.run(6) // it opens, and the receipt is not handed over
	w.wantAccess("bob", "readers", true)
	f.submit = nil
	if err := os.Remove(filepath.Join(w.o.Config.State, "journal.jsonl")); err != nil {
		t.Fatal(err)
	}
	clear(w.targets["db"].traces) // a target that lists nothing
	w.at(time.Hour)
	w.run(0)
	w.wantAccess("bob", "readers", false)
	w.wantReceipts(r.ID, "intended db:read", "ended db:read expired")
}

// tracedHost is a host whose policy requires a trace.
func tracedHost(t *testing.T, now time.Time) *host {
	h := newHost(t, now)
	h.store.ChangePolicy(func(b *policy.Body) {
		res := b.Resources["host"]
		res.Trace = policy.TraceRequired
		b.Resources["host"] = res
	})
	return h
}

func TestKilledWhileTracing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		points []string
		open   int // lines at the most after the last of them
	}{
		{[]string{"planned"}, 0},
		{[]string{"announced"}, 0},
		{[]string{"prepared"}, 0},
		{[]string{"submitted"}, 0},
		{[]string{"sent"}, 0},
		{[]string{"announced", "prepared", "sent"}, 0},
		{[]string{"announced", "prepared", "submitted"}, 0},
		{[]string{"intended"}, 0},
		{[]string{"granted"}, 1},
		{[]string{"checked"}, 1},
		{[]string{"opened"}, 1},
		{[]string{"submitted", "intended", "granted", "opened", "prepared", "submitted"}, 1},
	} {
		t.Run(strings.Join(c.points, ","), func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			h := tracedHost(t, now.Add(-10*time.Minute))
			r := h.store.Granted("bob", time.Hour, "host:shell")
			for _, point := range c.points {
				h.crash(point)
				h.store.Set(time.Now())
				if n := h.open(); n > c.open {
					t.Fatalf("%d lines after %s", n, point)
				}
				// Nothing is open that the journal does not know, and whose intent the
				// store does not hold.
				if h.open() > 0 && (!h.journalled() || h.receipts(r.ID) == "") {
					t.Fatalf("open and unknown after %s", point)
				}
			}
			h.run()
			h.wantOpen(1, "after the next run")
			h.wantReceipts(r.ID.Short(), "intended, applied")
			h.wantQuiet()
			h.store.Set(now.Add(50 * time.Minute))
			h.run()
			h.wantOpen(0, "after the end")
			h.wantReceipts(r.ID.Short(), "intended, applied, ended")
			h.wantQuiet()
		})
	}
}

// TestKilledWhileTracingAndNextRunAfterTheEnd: nothing is left, and nothing opens.
func TestKilledWhileTracingAndNextRunAfterTheEnd(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"announced", "submitted", "intended", "granted"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			h := tracedHost(t, now.Add(-10*time.Minute))
			h.store.Granted("bob", time.Hour, "host:shell")
			h.crash(point)
			h.store.Set(now.Add(50 * time.Minute))
			h.run()
			h.wantOpen(0, "after the end")
			h.wantQuiet()
		})
	}
}

// journalled reports whether the journal knows of something that may be open.
func (h *host) journalled() bool {
	h.t.Helper()
	j, _, damage := openJournal(filepath.Join(h.o.Config.State, "journal.jsonl"), errTest)
	if len(damage) > 0 {
		h.t.Fatal(damage)
	}
	for _, k := range j.state.grants {
		if k.mayBeOpen() {
			return true
		}
	}
	return false
}

// receipts gives the outcomes that the store holds of a request.
func (h *host) receipts(id record.ID) string {
	h.t.Helper()
	var all []string
	for _, p := range h.store.Entry(id).Receipts {
		all = append(all, string(p.Record.Outcome))
	}
	return strings.Join(all, ", ")
}

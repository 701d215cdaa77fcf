package reconcile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
)

func TestClockSetBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.Granted("bob", 30*time.Minute, "db:read")
	w.run(0)
	w.at(20 * time.Minute)
	late := w.store.Granted("carol", 8*time.Hour, "db:write")
	w.at(3 * time.Hour)
	// Another run saw this time; then the clock is set back a day. What was
	// over by then stays over, and nothing opens.
	w.targets["db"].fail["revoke"] = errTest
	w.o.Config.Targets["web"] = TargetConfig{}
	w.run(6)
	delete(w.targets["db"].fail, "revoke")
	w.store.Revoke("alice", late.ID)
	w.store.Granted("alice", 8*time.Hour, "db:read")
	w.at(-24 * time.Hour)
	res := w.run(6)
	if !strings.Contains(fmt.Sprint(res.Problems), "set the clock") {
		t.Errorf("problems %v", res.Problems)
	}
	w.wantAccess("bob", "readers", false)
	w.wantAccess("carol", "writers", false)
	w.wantAccess("alice", "readers", false)
	w.at(3 * time.Hour)
	w.run(0)
	w.wantAccess("alice", "readers", true)
}

func TestClockAYearAhead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.Granted("bob", time.Hour, "db:read")
	w.run(0)
	w.at(365 * 24 * time.Hour)
	w.run(0)
	w.wantAccess("bob", "readers", false)
	w.at(time.Minute)
	w.run(6)
	w.wantAccess("bob", "readers", false)
	// The operator says that the clock is right now. What ended stays so.
	if err := os.Remove(filepath.Join(w.o.Config.State, "clock")); err != nil {
		t.Fatal(err)
	}
	w.run(0)
	w.wantAccess("bob", "readers", false)
}

// wallAt gives a time whose wall clock says wall, and whose reading of the monotonic
// clock is that of t: what a machine has whose clock was set while it ran. package time
// makes none, so the layout that it documents in its source is written to, and read back.
func wallAt(t *testing.T, of, wall time.Time) time.Time {
	t.Helper()
	const nanoseconds = 30 // bits below the seconds in the first word of a time
	set := of
	words := (*[2]uint64)(unsafe.Pointer(&set))
	words[0] += uint64(int64(wall.Sub(of.Round(0))/time.Second)) << nanoseconds
	if set.Sub(of) != 0 || set.Round(0).Sub(wall).Abs() > time.Second {
		t.Fatalf("package time keeps its clocks otherwise now: %s for %s", set, wall)
	}
	return set
}

// TestClockSetBackWithinARun: what became due while a run was under way ends in it, by the
// clock that nobody sets. Each case has the clock set back by a slow target.
func TestClockSetBackWithinARun(t *testing.T) {
	for _, c := range []struct {
		name string
		back time.Duration
		// slow is the target and the verb that takes its time; the clock goes back then.
		slow, verb string
		exit       int
		// traced has web ask for trace: required.
		traced bool
	}{
		{"while what was over ended", 20 * time.Minute, "web", "revoke", 0, false},
		{"by a day, while what was over ended", 24 * time.Hour, "web", "revoke", 6, false},
		{"while it looked, the last thing of the plan", 20 * time.Minute, "db", "list", 0, false},
		{"while it opened what was on record by then", 20 * time.Minute, "web", "grant", 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if c.traced {
				w.store.ChangePolicy(func(b *policy.Body) {
					web := b.Resources["web"]
					web.Trace = policy.TraceRequired
					b.Resources["web"] = web
				})
			}
			r := w.store.Granted("bob", 30*time.Minute, "db:read")
			w.store.Granted("carol", 10*time.Minute, "web:read")
			w.run(0)
			w.at(29 * time.Minute)
			late := w.store.Granted("carol", 8*time.Hour, "web:write")

			// From here the clock is one of both kinds: bob's minute passes while the
			// target works.
			base := time.Now()
			clock := wallAt(t, base, start.Add(29*time.Minute))
			w.o.Now = func() time.Time { w.targets[c.slow].mu.Lock(); defer w.targets[c.slow].mu.Unlock(); return clock }
			w.targets[c.slow].slow = map[string]func(){c.verb: func() {
				clock = wallAt(t, base.Add(2*time.Minute), start.Add(31*time.Minute-c.back))
				w.at(31*time.Minute - c.back)
			}}
			w.run(c.exit)
			w.wantAccess("bob", "readers", false)
			if c.exit != 0 {
				// Nothing new opens by a clock that was set back by so much.
				if got := w.targets["web"].has("carol", "writers"); got {
					t.Error("something opened")
				}
				if !strings.Contains(w.log.String(), "was set back in the middle of the run") {
					t.Error(w.log)
				}
			} else if !w.targets["web"].has("carol", "writers") {
				t.Errorf("%s is not open", late.ID)
			}
			if c.traced {
				w.run(0) // the receipts had gone by then
			}
			if got := fmt.Sprint(w.receipts(r.ID)); c.exit == 0 && got != "[applied db:read ended db:read expired]" {
				t.Errorf("receipts %s", got)
			}
		})
	}
}

// TestSuspendedWithinARun: the monotonic clock of a machine that was suspended stood still,
// and its wall clock went on.
func TestSuspendedWithinARun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.Granted("bob", 30*time.Minute, "db:read")
	w.store.Granted("carol", 10*time.Minute, "web:read")
	w.run(0)
	w.at(20 * time.Minute)
	base := time.Now()
	clock := wallAt(t, base, start.Add(20*time.Minute))
	w.o.Now = func() time.Time { w.targets["web"].mu.Lock(); defer w.targets["web"].mu.Unlock(); return clock }
	w.targets["web"].slow = map[string]func(){"revoke": func() {
		clock = wallAt(t, base, start.Add(8*time.Hour))
		w.at(8 * time.Hour)
	}}
	w.run(0)
	w.wantAccess("bob", "readers", false)
}

// TestClockBehindWhatOthersSigned: a machine that comes up with a clock of yesterday and
// an empty state folder opens nothing that is over, and ends what it must. One other who
// claims a time to come, wrong or a rogue, holds up nobody.
func TestClockBehindWhatOthersSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	over := w.store.Granted("bob", 2*time.Hour, "db:read")
	w.at(24 * time.Hour)
	w.store.Request("alice", time.Hour, "db:read")

	// By the clock of the day before: alice alone is of a later time, and bob and carol,
	// who have signed before her, are not.
	w.at(5 * time.Minute)
	w.run(0)
	w.wantAccess("bob", "readers", true)

	// Two of the newest three are.
	w.at(24 * time.Hour)
	w.store.Request("carol", time.Hour, "db:read")
	w.at(10 * time.Minute)
	delete(w.targets["db"].members, "bob/readers")
	res := w.run(6)
	w.want()
	w.wantAccess("bob", "readers", false)
	var e *ClockError
	if !errors.As(errors.Join(res.Problems...), &e) || e.Reason != ClockBehind || !e.Other.Equal(start.Add(24*time.Hour)) ||
		fmt.Sprint(e.Who) != "[carol alice]" {
		t.Errorf("problems %v", res.Problems)
	}

	// What ends goes on ending.
	w.targets["db"].members["bob/readers"] = true
	w.at(2 * time.Hour)
	w.run(6)
	w.want("ended db:read for bob: expired (request " + over.ID.Short() + ")")

	// With the clock right all is as ever; within the skew too.
	w.at(23*time.Hour + time.Second)
	w.run(0)
	w.store.Granted("bob", 2*time.Hour, "db:read")
	w.run(0)
	w.wantAccess("bob", "readers", true)
}

func TestBehind(t *testing.T) {
	t.Parallel()
	now := start
	word := func(by string, ahead time.Duration) ledger.Word { return ledger.Word{By: by, Created: now.Add(ahead)} }
	const year = 365 * 24 * time.Hour
	for _, c := range []struct {
		name  string
		words []ledger.Word
		want  bool
	}{
		{"nobody has signed", nil, false},
		{"one, a year ahead", []ledger.Word{word("a", year)}, false},
		{"one of two", []ledger.Word{word("a", year), word("b", 0)}, false},
		{"one of three", []ledger.Word{word("a", year), word("b", 0), word("c", -year)}, false},
		{"two", []ledger.Word{word("a", year), word("b", 2*time.Hour)}, true},
		{"two of three", []ledger.Word{word("a", year), word("b", 0), word("c", 2*time.Hour)}, true},
		{"two, within what clocks may differ by", []ledger.Word{word("a", time.Hour), word("b", time.Hour)}, false},
		{"two, a second more", []ledger.Word{word("a", time.Hour+time.Second), word("b", time.Hour+time.Second)}, true},
		{"two who have signed before three others", []ledger.Word{word("c", 0), word("d", 0), word("e", 0), word("a", year), word("b", year)}, false},
		{"one whom two contradict since", []ledger.Word{word("b", 0), word("c", 0), word("a", year)}, false},
	} {
		if err := CheckClock(c.words, now); (err != nil) != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

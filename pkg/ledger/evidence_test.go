package ledger_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/revoke"
)

func (w *world) heartbeat(by string, change ...func(*record.Head)) []file {
	w.Helper()
	h := receipt.Heartbeat{Head: w.head(record.KindHeartbeat, by)}
	for _, f := range change {
		f(&h.Head)
	}
	return w.signed(h, by, record.PathOf(h.Head, "", false))
}

func (w *world) key(name string) record.Fingerprint { return w.certs[name].Fingerprint() }

// words wants the newest records of all but one, newest place first.
func (w *world) words(but, want string) {
	w.Helper()
	all, err := w.l.Words(but)
	var got []string
	for _, x := range all {
		got = append(got, fmt.Sprintf("%s@%d", x.By, x.Position))
	}
	if err != nil || strings.Join(got, " ") != want {
		w.Fatalf("words but %s's: %q, %v, want %q", but, got, err, want)
	}
}

func (w *world) seen(by string, want int) {
	w.Helper()
	if got, err := w.l.Seen(w.key(by)); err != nil || got != want {
		w.Errorf("others than %s had seen %d, %v; want %d", by, got, err, want)
	}
}

func (w *world) evidence(by string, want ledger.Evidence) {
	w.Helper()
	if got, err := w.l.Evidence(w.key(by), w.now.Add(-24*time.Hour), w.now); err != nil || got != want {
		w.Errorf("evidence for %s is %+v, %v; want %+v", by, got, err, want)
	}
}

func TestHeartbeatIsEvidence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.evidence("robot", ledger.Evidence{})
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }

	// What the machine signs itself says when, and is no evidence.
	w.now = at(1)
	w.counted(w.push(w.heartbeat("robot")...), 1) // at 2
	w.now = at(2)
	w.counted(w.push(w.heartbeat("robot")...), 1) // at 3, having seen 2
	w.seen("robot", 0)
	w.evidence("robot", ledger.Evidence{Last: at(2)})

	// A person's record answers as well as a machine's; what it had not seen, it
	// does not answer.
	r, files := w.request()
	w.now = at(3)
	w.counted(w.push(w.heartbeat("robot")...), 1) // at 4
	w.counted(w.push(files...), 1)                // at 5, having seen 3
	w.seen("robot", 3)
	w.evidence("robot", ledger.Evidence{Answered: at(2), Last: at(3)})
	w.seen("bob", 3) // by robot at 4
	w.now = at(5)
	w.counted(w.push(w.receipt(r, record.Sum([]byte(files[0].data)), "robot")...), 1) // at 6
	w.counted(w.push(w.approval(r, record.Sum([]byte(files[0].data)), "carol")...), 1)
	w.evidence("robot", ledger.Evidence{Answered: at(5), Last: at(5)})

	// Of the time that is asked for only.
	for _, c := range []struct {
		from, to time.Time
		want     ledger.Evidence
	}{
		{at(2), at(3), ledger.Evidence{Answered: at(3), Last: at(3)}},
		{at(1), at(4), ledger.Evidence{Answered: at(3), Last: at(3)}},
		{at(4), at(4), ledger.Evidence{}},
		{at(6), at(9), ledger.Evidence{}},
	} {
		if got, err := w.l.Evidence(w.key("robot"), c.from, c.to); err != nil || got != c.want {
			t.Errorf("from %s to %s: %+v, %v", c.from, c.to, got, err)
		}
	}
	w.same(0, 2, 4)
}

func TestWhatIsNoEvidence(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		after func(w *world) ledger.Report
		want  int
	}{
		{"of somebody who left", func(w *world) ledger.Report {
			_, files := w.proposal("alice", func(d *policy.Document) {
				d.Head.Head = string(w.commits[0])
				delete(d.People, "bob")
			})
			return w.push(files...)
		}, 1},
		{"of a stolen key", func(w *world) ledger.Report { return w.push(w.revoked("bob", record.RevokedHard)) }, 0},
		{"of a locked key", func(w *world) ledger.Report {
			return w.push(w.lock("alice", "", func(l *revoke.Lock) { l.Head.Head, l.Key = string(w.commits[0]), w.key("bob") })...)
		}, 1},
		{"of somebody who is locked", func(w *world) ledger.Report {
			return w.push(w.lock("alice", "bob", func(l *revoke.Lock) { l.Head.Head = string(w.commits[0]) })...)
		}, 1},
		{"of a retired key, which was good at the time", func(w *world) ledger.Report { return w.push(w.revoked("bob", record.RevokedSoft)) }, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.counted(w.push(w.heartbeat("robot")...), 1)
			w.asked()
			w.seen("robot", 2)
			if r := c.after(w); len(r.SetAside) > 0 {
				t.Fatalf("%+v", r.SetAside)
			}
			w.seen("robot", c.want)
			w.same(1)
		})
	}
}

// TestLockedGivesNoEvidence: whoever is locked may still cancel, and has seen nothing by
// it, not even when the lock is lifted.
func TestLockedGivesNoEvidence(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"the key", "the person"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r, digest := w.asked() // at 2, having seen 1
			lock := w.lock("alice", "bob")
			if what == "the key" {
				lock = w.lockKey("alice", "bob")
			}
			w.counted(w.push(lock...), 1)                 // at 3, having seen 2
			w.counted(w.push(w.heartbeat("robot")...), 1) // at 4
			c := revoke.Cancellation{Head: w.head(record.KindCancellation, "bob"), Request: r.ID, RequestDigest: digest}
			w.counted(w.push(w.signed(c, "bob", record.PathOf(c.Head, r.ID, false))...), 1)
			w.seen("robot", 2)
			w.words("robot", "alice@3")                // bob is not heard
			w.counted(w.push(w.unlock("alice")...), 1) // at 6, having seen 5
			w.seen("robot", 5)
			w.seen("alice", 3) // by robot: bob's cancellation had seen 4
			w.words("robot", "alice@6 bob@2")
			w.words("alice", "robot@4 bob@2")
			w.same(1, 3)
		})
	}
}

func TestHeartbeatsThatDoNotCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refused(w.push(w.heartbeat("bob")...), ledger.ReasonNotReconciler)
	w.refused(w.push(w.heartbeat("mallory")...), ledger.ReasonNotInPolicy)
	w.refused(w.push(w.heartbeat("robot", func(h *record.Head) { h.Head = string(hashOf("elsewhere")) })...), ledger.ReasonUnknownHead)
	w.refused(w.push(w.heartbeat("robot", func(h *record.Head) { h.By = "bob" })...), ledger.ReasonWrongSigner)
	r, _ := w.asked()
	h := receipt.Heartbeat{Head: w.head(record.KindHeartbeat, "robot")}
	w.refused(w.push(w.signed(h, "robot", record.PathOf(h.Head, r.ID, false))...), ledger.ReasonWrongPlace)
	h.ID = w.id()
	w.refused(w.push(w.signed(h, "robot", record.PathOf(h.Head, w.l.Policy().ID(), true))...), ledger.ReasonWrongPlace)
	more := struct {
		record.Head `yaml:",inline"`
		Comment     string `yaml:"comment"`
	}{w.head(record.KindHeartbeat, "robot"), "and more"}
	w.refused(w.push(w.signed(more, "robot", record.PathOf(more.Head, "", false))...), string(record.ReasonUnknownKey))
	w.seen("bob", 0)
	w.same()
}

// TestHeartbeatIsAFloor: who claims a time long before a reconciler was last there is
// not believed.
func TestHeartbeatIsAFloor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.now = noon.Add(3 * time.Hour)
	w.counted(w.push(w.heartbeat("robot")...), 1)
	w.now = noon.Add(time.Hour) // by the clock of who asks
	_, files := w.request()
	w.refused(w.push(files...), string(policy.Backdated))
	w.now = noon.Add(150 * time.Minute)
	_, files = w.request()
	w.counted(w.push(files...), 1)
}

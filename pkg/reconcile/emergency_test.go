package reconcile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// emergencies lets bob have emergencies of two hours.
func emergencies(b *policy.Body) {
	b.Rules[0].Emergency = &policy.Emergency{Requesters: []string{"bob"}, MaxDuration: record.Duration{Duration: 2 * time.Hour},
		Acknowledge: record.Duration{Duration: 24 * time.Hour}, Repeat: true}
}

func emergency(w *world) request.Request {
	w.t.Helper()
	return w.store.RequestWith("bob", 2*time.Hour, []string{"db:read"}, func(r *request.Request) { r.Emergency = true })
}

func TestEmergencyOpensAtOnceOrNotAtAll(t *testing.T) {
	for _, c := range []struct {
		name  string
		after time.Duration
		opens bool
	}{
		{"at once", 0, true},
		{"at the last moment", approve.EmergencyWithin, true},
		{"too late", approve.EmergencyWithin + time.Second, false},
		{"an hour later", time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.store.ChangePolicy(emergencies)
			r := emergency(w)
			w.at(c.after)
			if c.opens {
				w.run(0)
				w.wantAccess("bob", "readers", true)
				w.wantReceipts(r.ID, "applied db:read")
				return
			}
			res := w.run(6)
			w.wantAccess("bob", "readers", false)
			w.wantReceipts(r.ID, "failed db:read")
			if got := res.Changes[0].String(); !strings.Contains(got, "failed to open db:read for bob") ||
				!strings.Contains(got, "the emergency was signed at 2026-11-24T09:00:00Z, and opens only within 15m of that") {
				t.Errorf("said: %s", got)
			}
			if w.targets["db"].count("grant") > 0 {
				t.Error("the target was touched")
			}
			// Every run says it, and one receipt tells of it.
			commits := w.store.Commits()
			w.run(6)
			if got := w.store.Commits(); got != commits {
				t.Errorf("%d commits more", got-commits)
			}
			// When its window is over, that is all.
			w.at(2 * time.Hour)
			w.run(0)
			w.want()
		})
	}
}

func TestOpenEmergencyOutlivesTheLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.ChangePolicy(emergencies)
	r := emergency(w)
	w.run(0)
	w.at(time.Hour)
	w.run(0)
	w.want()
	w.wantAccess("bob", "readers", true)
	// Nor does a lost journal make it one that comes late: the machine's own receipt
	// says that it has opened it.
	if err := os.Remove(filepath.Join(w.o.Config.State, "journal.jsonl")); err != nil {
		t.Fatal(err)
	}
	w.run(0)
	w.wantAccess("bob", "readers", true)
	w.at(2 * time.Hour)
	w.run(0)
	w.wantAccess("bob", "readers", false)
	if last := w.store.Entry(r.ID).Receipts; last[len(last)-1].Record.Cause != causeExpired {
		t.Errorf("ended as %+v", last[len(last)-1].Record)
	}
}

func TestLateEmergencyInADryRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.ChangePolicy(emergencies)
	r := emergency(w)
	w.at(time.Hour)
	w.o.DryRun = true
	w.run(6)
	w.wantReceipts(r.ID)
}

func TestPartialBundleOpensWhatIsGranted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.ChangePolicy(func(b *policy.Body) {
		rest := b.Rules[0]
		rest.Name = "web"
		rest.Resources = []string{"web"}
		rest.Stages = []policy.Stage{{Approvers: []string{"alice"}, Count: 1}}
		b.Rules[0].Partial, rest.Partial = true, true
		b.Rules = []policy.Rule{rest, b.Rules[0]}
	})
	r := w.store.Request("bob", time.Hour, "db:read", "web:write")
	id := r.ID.Short()
	w.store.Approve("carol", r.ID) // of db alone
	w.run(0)
	w.want("opened db:read for bob until 2026-11-24T10:00:00Z (request " + id + ")")
	w.at(30 * time.Minute)
	w.store.Approve("alice", r.ID)
	w.run(0)
	w.want("opened web:write for bob until 2026-11-24T10:30:00Z (request " + id + ")")
	w.at(time.Hour)
	w.run(0)
	w.want("ended db:read for bob: expired (request " + id + ")")
	w.wantAccess("bob", "readers", false)
	w.wantReceipts(r.ID, "applied db:read", "applied web:write", "ended db:read expired")
	w.store.Deny("alice", r.ID)
	w.run(0)
	w.want("ended web:write for bob: revoked (request " + id + ")")
}

func TestExtensionKeepsAccessOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.ChangePolicy(func(b *policy.Body) { b.Rules[0].MaxTotal = record.Duration{Duration: 8 * time.Hour} })
	r := w.store.Granted("bob", time.Hour, "db:read")
	w.run(0)
	w.at(30 * time.Minute)
	x := w.store.RequestWith("bob", time.Hour, []string{"db:read"}, func(x *request.Request) {
		x.Extends, x.Expires = r.ID, record.At(w.store.Now().Add(30*time.Minute))
	})
	w.store.Approve("carol", x.ID)
	w.run(0)
	w.want("opened db:read for bob until 2026-11-24T11:00:00Z (request " + x.ID.Short() + ")")
	w.targets["db"].sessions["bob/readers"] = 1
	w.at(time.Hour)
	w.run(0)
	w.want("ended db:read for bob: expired (request " + r.ID.Short() + ")") // and no session
	w.wantAccess("bob", "readers", true)
	w.at(2 * time.Hour)
	w.run(0)
	w.want("ended db:read for bob: expired, 1 session closed (request " + x.ID.Short() + ")")
	w.wantAccess("bob", "readers", false)
}

func TestRevokingTheFirstEndsTheExtension(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.ChangePolicy(func(b *policy.Body) { b.Rules[0].MaxTotal = record.Duration{Duration: 8 * time.Hour} })
	r := w.store.Granted("bob", time.Hour, "db:read")
	x := w.store.RequestWith("bob", time.Hour, []string{"db:read"}, func(x *request.Request) { x.Extends = r.ID })
	w.store.Approve("carol", x.ID)
	w.run(0)
	w.wantAccess("bob", "readers", true)
	w.store.Revoke("alice", r.ID)
	w.run(0)
	w.wantAccess("bob", "readers", false)
	w.wantReceipts(x.ID, "applied db:read", "ended db:read revoked")
}

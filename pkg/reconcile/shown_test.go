package reconcile

import (
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/replica"
)

// TestEndsWhatARefusedHistoryEnds: others' commits are missing, so nothing of what is shown
// is followed; what takes away has its effect, and goes on having it.
func TestEndsWhatARefusedHistoryEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(0)
	r := w.store.Granted("bob", 4*time.Hour, "db:read")
	w.store.Granted("carol", 4*time.Hour, "db:write")
	early, err := replica.Open(t.Context(), replica.Config{Dir: t.TempDir(), URL: w.store.URL, Identity: w.store.Identity, Now: w.store.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	if _, err := early.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := w.tip()
	w.store.Request("carol", time.Hour, "db:read")
	w.run(0)
	w.git(w.store.URL, "update-ref", "refs/heads/main", before)
	out := w.revokes("alice", r) // seen what is lost, and yet
	if res, err := early.Submit(t.Context(), replica.Message{Subject: "alice revokes"}, out); err != nil || res.Spooled {
		t.Fatal(res, err)
	}
	w.o.DryRun = true
	w.run(4)
	w.wantAccess("bob", "readers", true)
	w.o.DryRun = false
	res := w.run(4)
	w.want("ended db:read for bob: revoked (request " + r.ID.Short() + ")")
	if len(res.Carried) != 1 || !strings.Contains(res.Carried[0], "alice's revocation") || len(res.Problems) > 0 {
		t.Errorf("%q %v", res.Carried, res.Problems)
	}
	w.wantAccess("carol", "writers", true)
	// An older head shows it no more.
	w.git(w.store.URL, "update-ref", "refs/heads/main", before)
	w.run(4)
	w.want()
	w.wantAccess("bob", "readers", false)
}

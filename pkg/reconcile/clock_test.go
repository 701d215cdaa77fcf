package reconcile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

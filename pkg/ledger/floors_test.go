package ledger_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// TestFloorEndsWithItsKey: what a reconciler with a wrong clock has written counts against
// others only while the key that signed it is heard.
func TestFloorEndsWithItsKey(t *testing.T) {
	t.Parallel()
	for name, free := range map[string]func(w *world){
		"the key is locked":    func(w *world) { w.counted(w.push(w.lockKey("alice", "robot")...), 1) },
		"it was compromised":   func(w *world) { w.push(w.revoked("robot", record.RevokedHard)) },
		"another key in place": func(w *world) { w.rekeyed("mallory") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.now = noon.AddDate(1, 0, 0)
			w.counted(w.push(w.heartbeat("robot")...), 1)
			w.now = noon.Add(time.Hour)
			_, files := w.request()
			report := w.push(files...)
			w.refused(report, string(policy.Backdated))
			for _, want := range []string{"robot of db", string(w.key("robot"))} {
				if detail := report.SetAside[0].Detail; !strings.Contains(detail, want) {
					t.Errorf("it is not told of %q: %s", want, detail)
				}
			}
			free(w)
			r, digest := w.asked()
			w.counted(w.push(w.approval(r, digest, "carol")...), 1)
			w.same(0, 1, 2, 4, 5)
		})
	}
}

// TestFloorComesBack: when the lock is lifted, or the key stands in the policy again, what
// it signed counts again. It is a matter of what holds here, and of nothing else.
func TestFloorComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.now = noon.Add(3 * time.Hour)
	w.counted(w.push(w.heartbeat("robot")...), 1)
	w.now = noon.Add(time.Hour)
	w.counted(w.push(w.lockKey("alice", "robot")...), 1)
	w.asked()
	w.counted(w.push(w.unlock("erin")...), 1)
	_, files := w.request()
	w.refused(w.push(files...), string(policy.Backdated))
	w.rekeyed("mallory")
	w.asked()
	w.rekeyed("robot")
	_, files = w.request()
	w.refused(w.push(files...), string(policy.Backdated))
	w.same(0, 1, 2, 4, 5)
}

// rekeyed makes somebody's key the only one of robot, the reconciler.
func (w *world) rekeyed(key string) {
	w.Helper()
	w.changed(func(d *policy.Document) {
		d.Reconcilers = map[string]policy.Reconciler{"robot": {Keys: []record.Fingerprint{w.key(key)}, Resources: []string{"db"}}}
	})
}

package ledger_test

import (
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// TestLockLeavesAdminsWhoCanSign: one whose key is compromised, retired, expired or not
// in the store is none of those who are left.
func TestLockLeavesAdminsWhoCanSign(t *testing.T) {
	for name, files := range map[string]func(w *world){
		"compromised": func(w *world) { w.push(w.revoked("carol", record.RevokedHard)) },
		"retired":     func(w *world) { w.push(w.revoked("carol", record.RevokedSoft)) },
		"expired": func(w *world) {
			key, err := record.GenerateKey("carol", "carol@example.com", noon.Add(-48*time.Hour), 50*time.Hour)
			w.must(err)
			w.push(certFile(key.Certificate().Armor()))
			w.changed(func(d *policy.Document) {
				d.People["carol"] = policy.Person{Keys: []record.Fingerprint{key.Certificate().Fingerprint()}}
			})
			w.later(3 * time.Hour)
		},
		"expired, and the lock dated back": func(w *world) {
			key, err := record.GenerateKey("carol", "carol@example.com", noon.Add(-48*time.Hour), 50*time.Hour)
			w.must(err)
			w.push(certFile(key.Certificate().Armor()))
			w.changed(func(d *policy.Document) {
				d.People["carol"] = policy.Person{Keys: []record.Fingerprint{key.Certificate().Fingerprint()}}
			})
			w.later(3 * time.Hour)
			w.counted(w.push(w.heartbeat("robot")...), 1)
			w.now = noon
		},
		"unknown": func(w *world) {
			w.changed(func(d *policy.Document) {
				d.People["carol"] = policy.Person{Keys: []record.Fingerprint{record.Fingerprint(strings.Repeat("B", 40))}}
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.threeAdmins()
			files(w)
			w.refused(w.push(w.lock("alice", "erin")...), string(policy.LastAdmins))
			w.counted(w.push(w.lock("alice", "bob")...), 1)
			w.same(1, 3)
		})
	}
}

// TestLockDatedAheadLeavesAdmins: nor does whoever dates ahead have one pass for unable
// whose key expires by then.
func TestLockDatedAheadLeavesAdmins(t *testing.T) {
	w := newWorld(t)
	w.threeAdmins()
	key, err := record.GenerateKey("carol", "carol@example.com", noon.Add(-48*time.Hour), 50*time.Hour)
	w.must(err)
	w.push(certFile(key.Certificate().Armor()))
	w.changed(func(d *policy.Document) {
		d.People["carol"] = policy.Person{Keys: []record.Fingerprint{key.Certificate().Fingerprint()}}
	})
	w.counted(w.push(w.heartbeat("robot")...), 1)
	w.counted(w.push(w.lock("alice", "erin")...), 1)
	for _, hours := range []time.Duration{0, 3} {
		w.ahead(hours*time.Hour, func() { w.refused(w.push(w.lock("alice", "carol")...), string(policy.LastAdmins)) })
	}
	w.same(1, 3)
}

// TestLockLeavesAdminsWithNewKeys: an admin can sign whose key was made after what a
// reconciler wrote last, and one whose key is made later than the lock cannot.
func TestLockLeavesAdminsWithNewKeys(t *testing.T) {
	for name, c := range map[string]struct {
		beats bool
		made  time.Duration // after the change of the policy, which the lock follows by a day
	}{
		"made before the lock, and no reconciler wrote":      {false, 0},
		"made before the lock, and after a reconciler wrote": {true, 0},
		"made after the lock, and no reconciler wrote":       {false, 25 * time.Hour},
		"made after the lock, and a reconciler wrote":        {true, 25 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.beats {
				w.counted(w.push(w.heartbeat("robot")...), 1)
			}
			w.later(time.Hour)
			key, err := record.GenerateKey("erin", "erin@example.com", w.now.Add(c.made), 0)
			w.must(err)
			w.push(certFile(key.Certificate().Armor()))
			doc, f := w.proposal("alice", func(d *policy.Document) {
				d.People["erin"] = policy.Person{Keys: []record.Fingerprint{key.Certificate().Fingerprint()}}
			})
			w.counted(w.push(f...), 1)
			w.body = doc.Body
			w.signers["erin"], w.certs["erin"] = key.Signer(func() time.Time { return w.now }), key.Certificate()
			w.later(24 * time.Hour)
			if c.made > 0 {
				w.refused(w.push(w.lock("alice", "alice")...), string(policy.LastAdmins))
			} else {
				w.counted(w.push(w.lock("erin", "alice")...), 1)
			}
			w.same(1)
		})
	}
}

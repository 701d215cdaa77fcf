package ledger_test

import (
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// signs lets people sign something that counts, each in a commit: requests.
func (w *world) signs(people ...string) {
	w.Helper()
	for _, name := range people {
		w.askedBy(name)
	}
}

// TestKeptAgreement: an agreement to a policy version that was signed in time and kept
// does not count when as many admins as must agree have signed something since the
// version lapsed. Fewer, and others, show nothing.
func TestKeptAgreement(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before func(w *world) // the proposal, at noon
		since  func(w *world) // from when it lapses, at noon of the next day
		lapsed bool
	}{
		"one admin by two keys, and others": {
			before: func(w *world) {
				w.changed(func(d *policy.Document) {
					d.Admins.People = []string{"alice", "erin", "carol"}
					d.People["alice"] = policy.Person{Keys: []record.Fingerprint{w.key("alice"), w.key("mallory")}}
				})
				// A clock a year ahead, which the proposer knows of.
				w.now = noon.AddDate(1, 0, 0)
				w.signs("carol")
				w.now = noon
			},
			since: func(w *world) {
				w.signs("alice", "alice", "bob")
				r, _ := w.request(func(r *request.Request) { r.By = "alice" })
				w.counted(w.push(w.signed(r, "mallory", record.PathOf(r.Head, "", false))...), 1)
				w.now = w.now.Add(-time.Second)
				w.signs("carol")
				// What carol signs while she is locked shows nothing.
				asked := w.requestOf("carol")
				w.counted(w.push(w.lock("erin", "carol")...), 1)
				w.now = w.now.Add(time.Hour)
				x := revoke.Cancellation{Head: w.head(record.KindCancellation, "carol"), Request: asked.ID, RequestDigest: asked.Digest}
				w.counted(w.push(w.signed(x, "carol", record.PathOf(x.Head, asked.ID, false))...), 1)
				w.now = w.now.AddDate(1, 0, 0)
				w.counted(w.push(w.heartbeat("robot")...), 1)
			},
		},
		"two admins, one with a stolen key": {since: func(w *world) {
			w.signs("alice", "carol")
			w.push(w.revoked("carol", record.RevokedHard))
		}},
		"two admins, who then set their clocks back, and one is locked": {since: func(w *world) {
			w.signs("erin", "carol")
			w.now = w.now.Add(-20 * time.Hour)
			w.signs("erin", "carol")
			w.counted(w.push(w.lock("erin", "carol")...), 1)
		}, lapsed: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.threeAdmins()
			if c.before != nil {
				c.before(w)
			}
			doc, f := w.proposal("alice", func(d *policy.Document) { d.Groups = map[string][]string{"g": {"bob"}} })
			w.counted(w.push(f...), 1)
			kept := w.policyApproval(doc, f[0], "erin")
			w.now = noon.Add(24 * time.Hour)
			c.since(w)
			if c.lapsed {
				w.refused(w.push(kept...), string(policy.Lapsed))
			} else {
				w.counted(w.push(kept...), 1)
			}
			if inForce := w.l.Policy().ID() == doc.ID; inForce == c.lapsed {
				t.Errorf("in force: %t", inForce)
			}
			w.same()
		})
	}
}

// requestOf gives the only request by somebody.
func (w *world) requestOf(name string) ledger.Ref {
	w.Helper()
	all, err := w.l.AllRecords()
	w.must(err)
	for _, r := range all {
		if r.Kind == record.KindRequest && r.By == name {
			return r
		}
	}
	w.Fatalf("%s asked for nothing", name)
	return ledger.Ref{}
}

// TestKeptProposal: the same holds for a policy version that was kept itself. What its
// signer had seen shows nothing: else nobody could propose anything after two wrong
// clocks.
func TestKeptProposal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	doc, kept := w.proposal("alice", func(d *policy.Document) { d.Groups = map[string][]string{"g": {"bob"}} })
	w.now = noon.Add(24 * time.Hour)
	w.signs("bob", "erin")
	w.refused(w.push(kept...), string(policy.Lapsed))
	if w.l.Policy().ID() == doc.ID {
		t.Fatal("what had lapsed is in force")
	}
	w.now = noon.AddDate(1, 0, 0)
	w.signs("erin")
	w.now = noon.Add(25 * time.Hour)
	doc, f := w.proposal("alice", func(d *policy.Document) { d.Groups = map[string][]string{"g": {"carol"}} })
	w.counted(w.push(f...), 1)
	if w.l.Policy().ID() != doc.ID {
		t.Error("a wrong clock keeps a new version out")
	}
	w.same(0, 2)
}

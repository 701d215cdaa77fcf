package ledger_test

import (
	"context"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// merged commits files in a merge that brings a commit which adds others, and folds it.
func (w *world) merged(beside []file, held ...file) (*merges, ledger.Report) {
	w.Helper()
	return w.mergedFrom("", beside, held...)
}

// mergedFrom is merged with a commit that rests on a fork.
func (w *world) mergedFrom(fork gitstore.Hash, beside []file, held ...file) (*merges, ledger.Report) {
	w.Helper()
	m := &merges{history: w.history, fork: fork, second: otherTip, aside: []gitstore.Hash{otherTip}, unsigned: gitstore.ErrUnsigned, adds: w.adding(beside)}
	m.merge = w.commit(held...)
	report, err := w.l.Fold(context.Background(), m, w.tip())
	w.must(err)
	return m, report
}

// adding gives what the head of the other side adds.
func (w *world) adding(files []file) map[gitstore.Hash][]gitstore.File {
	adds := map[gitstore.Hash][]gitstore.File{}
	for _, f := range files {
		blob := hashOf("blob" + f.data)
		w.blobs[blob] = []byte(f.data)
		adds[otherTip] = append(adds[otherTip], gitstore.File{Path: f.path, Blob: blob, Size: int64(len(f.data))})
	}
	return adds
}

// TestMergeChoosesNoOrder: what takes an approval away takes it where a merge, of whoever
// made it, put the approval first, unless it had been opened by then; and so does a copy of
// it that was laid after the approval, before the merge or without one.
func TestMergeChoosesNoOrder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		by    string
		takes func(w *world, r request.Request, d record.Digest) []file
		why   policy.Code
	}{
		"a lock":          {"carol", func(w *world, _ request.Request, _ record.Digest) []file { return w.lock("alice", "carol") }, policy.Locked},
		"a lock of a key": {"carol", func(w *world, _ request.Request, _ record.Digest) []file { return w.lockKey("alice", "carol") }, policy.Locked},
		"a withdrawal": {"carol", func(w *world, r request.Request, d record.Digest) []file {
			return w.withdrawal(r, d, "carol", string(w.tip()))
		}, policy.Withdrawn},
		"the key is retired": {"carol", func(w *world, _ request.Request, _ record.Digest) []file {
			return []file{w.revoked("carol", record.RevokedSoft)}
		}, policy.KeyRetired},
		"the key is taken": {"carol", func(w *world, _ request.Request, _ record.Digest) []file {
			_, files := w.proposal("alice", hasKeyOf(w, "carol", "mallory"))
			return files
		}, policy.SignerLeft},
		"the delegation is ended": {"bob", func(w *world, _ request.Request, _ record.Digest) []file {
			return w.endOf(w.delegations()[0].Record.ID, "carol")
		}, policy.StageNotOpen},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range 16 {
				opened, known, copied, merged := i&1 > 0, i&2 > 0, i&4 > 0, i&8 > 0
				if merged || copied && c.why != policy.KeyRetired { // a certificate says nothing of what its owner had seen
					w := lending(t)
					w.changed(func(d *policy.Document) {
						d.Rules[0].Stages = []policy.Stage{{Approvers: []string{"carol", "erin"}, Count: 1}}
					})
					w.counted(w.push(w.delegation("carol", "bob")...), 1)
					r, d := w.askedBy("zoe")
					kept := w.approval(r, d, c.by)
					if known {
						w.counted(w.push(kept...), 1)
					}
					fork := w.tip()
					w.later(time.Minute)
					taking := c.takes(w, r, d) // by somebody who has seen the fork
					if !known {
						w.counted(w.push(kept...), 1)
					}
					w.state(r.ID, approve.Active)
					if opened {
						w.written(r, d, receipt.Applied)
					}
					if copied {
						w.push(taking...)
					}
					m := &merges{history: w.history}
					if merged {
						var report ledger.Report
						if m, report = w.mergedFrom(fork, taking); len(report.SetAside) > 0 {
							t.Fatalf("%+v", report.SetAside)
						}
					}
					want := approve.Pending
					if opened || known {
						want = approve.Active
					}
					w.state(r.ID, want)
					if s := w.why(r.ID); want == approve.Pending && (s.Counted || s.Why != c.why) {
						t.Errorf("opened %t, known %t, copied %t, merged %t: counted %t, %q", opened, known, copied, merged, s.Counted, s.Why)
					}
					w.sameFrom(m, 0, len(w.commits)-2)
				}
			}
		})
	}
}

// TestMergeHidesNothing: what takes away, certificates and changes of the policy count
// where a merge leaves them out, and what gives does not.
func TestMergeHidesNothing(t *testing.T) {
	t.Parallel()
	t.Run("a revocation", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		r, d := w.granted()
		m, report := w.merged(revocation(w, r, d, "erin"))
		w.counted(report, 1)
		w.state(r.ID, approve.Revoked)
		w.sameFrom(m, 0, len(w.commits)-2)
	})
	t.Run("a revocation that the merge holds with other bytes", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		r, d := w.granted()
		files := revocation(w, r, d, "erin")
		m, report := w.merged(files, file{files[0].path, "junk"}, files[1])
		if report.Records != 1 || len(report.SetAside) != 1 || report.SetAside[0].Reason != string(gitstore.Changed) {
			t.Errorf("%+v", report)
		}
		w.state(r.ID, approve.Revoked)
		w.sameFrom(m, 0, len(w.commits)-2)
	})
	t.Run("a revocation by a key that is revoked beside it", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		r, d := w.granted()
		m, report := w.merged(append(revocation(w, r, d, "erin"), w.revoked("erin", record.RevokedHard)))
		w.counted(report, 1)
		w.state(r.ID, approve.Revoked)
		w.sameFrom(m, 0, len(w.commits)-2)
	})
	t.Run("a revocation whose id is taken", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		r, d := w.granted()
		files := revocation(w, r, d, "erin")
		place, err := record.ParsePath(files[0].path)
		w.must(err)
		c := request.Comment{Head: w.head(record.KindComment, "bob"), Request: r.ID, RequestDigest: d, Comment: "all is well"}
		c.ID = place.ID
		w.counted(w.push(w.signed(c, "bob", record.PathOf(c.Head, r.ID, false))...), 1)
		m, report := w.merged(files, files...)
		w.counted(report, 1)
		w.state(r.ID, approve.Revoked)
		w.sameFrom(m, 0, len(w.commits)-2)
	})
	t.Run("a lock whose id another lock has", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.threeAdmins()
		w.changed(func(d *policy.Document) { d.Admins.Threshold = 1 })
		fork := w.tip()
		files := w.lock("alice", "erin")
		place, err := record.ParsePath(files[0].path)
		w.must(err)
		w.counted(w.push(w.lock("erin", "", func(l *revoke.Lock) { l.ID, l.Key = place.ID, w.key("mallory") })...), 1)
		m, report := w.mergedFrom(fork, files)
		w.counted(report, 1)
		w.sameFrom(m, 0, len(w.commits)-2)
		locks := w.l.Locks()
		if len(locks) != 2 || locks[0].ID != place.ID || locks[1].ID == place.ID || locks[1].Record != place.ID || locks[1].Person != "erin" {
			t.Fatalf("%+v", locks)
		}
		// Each is found, and lifted, by what it is known by.
		for _, h := range locks {
			if refs, err := w.l.Lookup(h.ID.Short()); err != nil || len(refs) != 1 || refs[0].ID != h.ID || refs[0].By != h.By {
				t.Errorf("%s: %v %+v", h.ID, err, refs)
			}
		}
		w.counted(w.push(w.unlockOf(locks[0].ID, "alice")...), 1)
		if w.l.Refuse("erin", w.key("erin")) == nil {
			t.Error("erin is free")
		}
		w.counted(w.push(w.unlockOf(locks[1].ID, "alice")...), 1)
		if err := w.l.Refuse("erin", w.key("erin")); err != nil {
			t.Error(err)
		}
		// That very lock again is no other.
		other := hashOf("another side")
		again := &merges{history: w.history, fork: fork, second: other, aside: []gitstore.Hash{other}, unsigned: gitstore.ErrUnsigned,
			adds: map[gitstore.Hash][]gitstore.File{other: m.adds[otherTip]}}
		again.merge = w.commit()
		report, err = w.l.Fold(context.Background(), again, w.tip())
		w.must(err)
		w.counted(report, 0)
	})
	t.Run("a lock that does not count", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.threeAdmins()
		fork := w.tip()
		files := w.lock("alice", "erin")
		w.counted(w.push(w.lock("erin", "alice")...), 1)
		_, report := w.mergedFrom(fork, files)
		w.refused(report, string(policy.Locked))
		// The merge may hold it too, and that is told of once.
		w = newWorld(t)
		w.threeAdmins()
		fork = w.tip()
		files = w.lock("alice", "erin")
		w.counted(w.push(w.lock("erin", "alice")...), 1)
		_, report = w.mergedFrom(fork, files, files...)
		w.refused(report, string(policy.Locked))
	})
	t.Run("an agreement to a policy", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		doc, files := w.proposal("alice", func(d *policy.Document) { d.Admins.Threshold = 2 })
		w.counted(w.push(files...), 1)
		m, report := w.merged(w.policyApproval(doc, files[0], "erin"))
		w.counted(report, 1)
		if w.l.Policy().ID() != doc.ID {
			t.Error("it is not in force")
		}
		w.sameFrom(m, 0, len(w.commits)-2)
	})
	t.Run("an approval", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		r, d := w.asked()
		m, report := w.merged(w.approval(r, d, "carol"))
		w.counted(report, 0)
		w.state(r.ID, approve.Pending)
		w.sameFrom(m, 0, len(w.commits)-2)
	})
}

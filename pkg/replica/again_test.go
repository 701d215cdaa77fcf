package replica_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/revoke"
)

// loses takes the newest commits from the host, as one does that is brought back from a copy.
func (w *world) loses(rev string) {
	w.t.Helper()
	w.git(w.url, "update-ref", "refs/heads/main", rev)
}

func (w *world) revokes(r *replica.Replica, by string, id record.ID) {
	w.t.Helper()
	e, err := r.Ledger().Request(id, w.now)
	w.must(err)
	h, err := r.NewHead(record.KindRevocation, by, w.now)
	w.must(err)
	out, err := r.Prepare(context.Background(), w.signers[by], revoke.Revocation{Head: h, Request: id, RequestDigest: e.Digest, Reason: "enough"}, w.now, id, false)
	w.must(err)
	w.submit(r, out)
}

func (w *world) submit(r *replica.Replica, out replica.Outgoing) {
	w.t.Helper()
	res, err := r.Submit(context.Background(), replica.Message{Subject: "x"}, out)
	w.must(err)
	if res.Spooled {
		w.t.Fatalf("it waits: %v", res.Cause)
	}
}

func (w *world) state(r *replica.Replica, id record.ID, want approve.State) {
	w.t.Helper()
	e, err := r.Ledger().Request(id, w.now)
	w.must(err)
	if e.State != want {
		w.t.Errorf("%s, want %s", e.State, want)
	}
}

// TestOwnCommitsThatTheHostLost: they are sent again, as they were, or on top of what came
// since; and nothing is, where the store lacks anything of others.
func TestOwnCommitsThatTheHostLost(t *testing.T) {
	t.Run("nothing came since", func(t *testing.T) {
		w := newWorld(t)
		bob := w.machine()
		w.ask(bob)
		w.ask(bob)
		honest := w.tip()
		w.loses("main~2")
		report := w.sync(bob)
		if a := report.Again; a == nil || a.Commits != 2 || a.Moved || w.tip() != honest {
			t.Errorf("%+v, head %s, was %s", a, w.tip(), honest)
		}
		if report := w.sync(bob); report.Again != nil {
			t.Errorf("sent twice: %+v", report.Again)
		}
		w.sound(bob)
	})
	t.Run("others went on", func(t *testing.T) {
		w := newWorld(t)
		bob, carol := w.machine(), w.machine()
		out, req := w.request(bob, "bob")
		w.submit(bob, out)
		w.loses("main~1")
		theirs, other := w.request(carol, "carol")
		w.submit(carol, theirs)
		report := w.sync(bob)
		if a := report.Again; a == nil || a.Commits != 1 || !a.Moved || report.Sent != 1 {
			t.Fatalf("%+v", report)
		}
		w.state(bob, req.ID, approve.Pending)
		w.state(bob, other.ID, approve.Pending)
		w.sync(carol)
		w.sound(bob, carol)
	})
	t.Run("something of others is lost too", func(t *testing.T) {
		w := newWorld(t)
		bob, carol := w.machine(), w.machine()
		theirs, _ := w.request(carol, "carol")
		w.submit(carol, theirs)
		w.sync(bob)
		w.ask(bob)
		w.loses("main~2")
		w.displaced(bob, gitstore.Behind)
	})
	t.Run("a commit of somebody's with this person's records", func(t *testing.T) {
		w := newWorld(t)
		bob, second := w.machine(), w.machine()
		out, _ := w.request(second, "bob")
		w.submit(second, out)
		w.sync(bob)
		w.loses("main~1")
		w.displaced(bob, gitstore.Behind)
	})
	t.Run("a host that keeps nothing", func(t *testing.T) {
		w := newWorld(t)
		bob := w.machine()
		before := w.tip()
		hook := filepath.Join(w.url, "hooks", "post-receive")
		w.must(os.WriteFile(hook, []byte("#!/bin/sh\ngit update-ref refs/heads/main "+before+"\n"), 0o700))
		w.ask(bob)
		for range 2 {
			w.displaced(bob, gitstore.Behind)
		}
		w.must(os.Remove(hook))
		if report := w.sync(bob); report.Again == nil {
			t.Error("the host is honest again, and nothing is sent")
		}
		w.sound(bob)
	})
	t.Run("a policy version is lost", func(t *testing.T) {
		w := newWorld(t)
		alice, bob := w.machine(), w.machine()
		w.dave(alice, true)
		w.loses("main~1")
		w.ask(bob)
		w.displaced(alice, gitstore.Rewritten)
	})
}

// TestTakesAwayFromWhatIsRefused: of a history that cannot be followed, what takes away
// counts, and nothing else.
func TestTakesAwayFromWhatIsRefused(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t)
	carol, robot := w.machine(), w.machine()
	out, req := w.request(carol, "bob")
	w.submit(carol, out)
	e, err := carol.Ledger().Request(req.ID, w.now)
	w.must(err)
	w.submit(carol, w.approval(carol, "carol", e))
	early := w.machine() // it has not seen what is lost
	w.ask(carol)
	w.sync(robot)
	w.loses("main~1")
	second, asked := w.request(early, "bob")
	w.submit(early, second)
	w.revokes(early, "alice", req.ID)
	w.revokes(early, "alice", asked.ID)
	rewrite := w.displaced(robot, gitstore.Rewritten)
	before := w.export(robot)
	subjects, err := robot.TakeShown(ctx, rewrite)
	if err != nil || len(subjects) != 1 {
		t.Fatalf("%q, %v", subjects, err)
	}
	if again, err := robot.TakeShown(ctx, rewrite); err != nil || len(again) != 0 {
		t.Errorf("taken twice: %q, %v", again, err)
	}
	if w.export(robot) != before {
		t.Error("the ledger has changed")
	}
	ahead, done, err := robot.Ahead(ctx)
	w.must(err)
	if ahead == nil {
		t.Fatal("nothing waits")
	}
	if e, err := ahead.Request(req.ID, w.now); err != nil || e.State != approve.Revoked {
		t.Errorf("%s, %v", e.State, err)
	}
	if _, err := ahead.Request(asked.ID, w.now); err == nil {
		t.Error("a request of that history is known")
	}
	w.must(done())
	if _, err := robot.Sync(ctx); !errors.Is(err, replica.ErrRewritten) {
		t.Errorf("the alarm is off: %v", err)
	}
}

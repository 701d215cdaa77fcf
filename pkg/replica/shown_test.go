package replica_test

import (
	"context"
	"errors"
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

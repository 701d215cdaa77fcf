package replica_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

// TestRepair: what needs a person. For each, nothing happens by itself.
func TestRepair(t *testing.T) {
	for name, c := range map[string]struct {
		attack   func(w *world, dir string)
		relation gitstore.Relation
		heal     bool // a commit is made
	}{
		"older": {func(w *world, _ string) { w.git(w.url, "update-ref", "refs/heads/main", "main~1") }, gitstore.Behind, false},
		"gone":  {func(w *world, _ string) { w.git(w.url, "update-ref", "-d", "refs/heads/main") }, gitstore.Rewritten, false},
		"forced": {func(w *world, dir string) {
			w.git(w.url, "config", "receive.denyNonFastForwards", "false")
			w.git(dir, "reset", "-q", "--hard", "HEAD~1")
			w.write(dir, "README", "x")
			w.push(dir, "-f")
		}, gitstore.Rewritten, true},
		"unrelated root": {func(w *world, dir string) {
			w.git(dir, "checkout", "-q", "--orphan", "new")
			w.git(dir, "rm", "-rqf", "requests")
			w.git(dir, "commit", "-q", "-m", "root")
			w.git(dir, "push", "-q", "origin", "HEAD:new")
			w.git(w.url, "update-ref", "refs/heads/main", "new")
		}, gitstore.Rewritten, true},
		"swapped": {func(w *world, _ string) { w.swap("main~1") }, gitstore.OffChain, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, ctx := newWorld(t), context.Background()
			bob, alice, robot := w.machine(), w.machine(), w.machine()
			w.ask(bob)
			w.sync(alice)
			w.sync(robot)
			honest := w.tip()
			c.attack(w, w.clone())
			w.displaced(bob, c.relation)
			if c.relation != gitstore.OffChain {
				if _, err := robot.SyncAndHeal(ctx, w.healer("robot")); !errors.Is(err, replica.ErrRewritten) {
					t.Fatalf("by itself: %v", err)
				}
			}
			d, _, err := alice.Damage(ctx)
			w.must(err)
			if d.None() || d.Relation != c.relation || string(d.Honest) != honest || (d.Plan != nil) != c.heal || d.RestoredCount == 0 {
				t.Fatalf("%+v", d)
			}
			if _, err := bob.Repair(ctx, d, w.healer("bob")); !errors.Is(err, replica.ErrNotHealer) {
				t.Errorf("a requester repairs: %v", err)
			}
			_, err = alice.Repair(ctx, d, w.healer("alice"))
			w.must(err)
			if made := w.tip() != honest; made != c.heal {
				t.Errorf("the head is %s, was %s", w.tip(), honest)
			}
			w.sync(bob)
			w.sync(robot)
			w.sound(alice, bob, robot)
			if d, _, err := alice.Damage(ctx); err != nil || !d.None() {
				t.Errorf("afterwards: %+v, %v", d, err)
			}
			w.ask(bob)
		})
	}
}

// TestRepairRefuses: another store at the address is not written over.
func TestRepairRefuses(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	alice := w.machine()
	w.ask(alice)
	w.git(w.url, "fetch", "-q", other.url, "+main:main")
	if _, _, err := alice.Damage(context.Background()); !errors.Is(err, replica.ErrIdentity) {
		t.Errorf("%v", err)
	}
}

// TestRepairPutsFilesBack: what was changed and deleted counts all the same, and
// returns to the tree by one ordinary commit.
func TestRepairPutsFilesBack(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	bob, alice := w.machine(), w.machine()
	out, req := w.ask(bob)
	dir := w.clone()
	w.git(dir, "rm", "-rq", "policy", "keys", record.SignaturePath(out.Path))
	w.write(dir, out.Path, "other\n")
	w.write(dir, "README", "x")
	w.push(dir)
	w.sync(bob)
	d, report, err := alice.Damage(ctx)
	w.must(err)
	if len(d.Missing) != 8 || d.None() || reasons(report.SetAside) == "" {
		t.Fatalf("%+v", d)
	}
	if _, err := bob.Ledger().Request(req.ID, w.now); err != nil {
		t.Error(err)
	}
	_, err = alice.Repair(ctx, d, w.healer("alice"))
	w.must(err)
	if report := w.sync(bob); len(report.SetAside) != 0 || report.Commits != 1 {
		t.Errorf("%+v", report)
	}
	w.sound(alice, bob)
	if got := w.git(w.url, "show", "main:"+out.Path); got+"\n" != string(out.Data) {
		t.Errorf("the request's file is %q", got)
	}
	if d, _, err := alice.Damage(ctx); err != nil || !d.None() {
		t.Errorf("afterwards: %+v, %v", d, err)
	}
}

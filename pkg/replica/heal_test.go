package replica_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

func (w *world) healer(name string) replica.Healer {
	return replica.Healer{Name: name, Signer: func(context.Context) (record.Signer, error) { return w.signers[name], nil }}
}

func (w *world) tip() string { w.t.Helper(); return w.git(w.url, "rev-parse", "main") }

// swap pushes a merge whose first parent is a side branch that begins at rev,
// and whose second is the head: what "git pull && git push" makes of a clone
// that was behind.
func (w *world) swap(rev string) (dir string) {
	w.t.Helper()
	dir = w.clone()
	w.git(dir, "checkout", "-q", "-b", "side", rev)
	w.write(dir, "SIDE-"+strings.Trim(rev, "main~"), "eve was here")
	w.git(dir, "add", "-A")
	w.git(dir, "commit", "-q", "-m", "side")
	w.git(dir, "merge", "-q", "--no-ff", "-m", "Merge branch 'main'", "origin/main")
	w.git(dir, "push", "-q", "origin", "HEAD:main")
	return dir
}

// forge pushes a commit that calls itself a heal, with these parents and the
// tree of one of them, signed by somebody, or by nobody.
func (w *world) forge(dir, signer, first, second string) string {
	w.t.Helper()
	const person = "eve <eve@example.com> 1764000000 +0000"
	head := fmt.Sprintf("tree %s\nparent %s\nparent %s\nauthor %s\ncommitter %s\n", w.git(dir, "rev-parse", second+"^{tree}"), w.git(dir, "rev-parse", first), w.git(dir, "rev-parse", second), person, person)
	message := "\n" + ledger.HealMessage("a heal", "of eve's", signer)
	text := head + message
	if signer != "" {
		sig, err := w.signers[signer].Sign(context.Background(), []byte(text))
		w.must(err)
		text = head + "gpgsig " + strings.ReplaceAll(strings.TrimSuffix(string(sig), "\n"), "\n", "\n ") + "\n" + message
	}
	w.must(os.WriteFile(filepath.Join(dir, ".git", "forged"), []byte(text), 0o600))
	k := w.git(dir, "hash-object", "-t", "commit", "-w", ".git/forged")
	w.git(dir, "push", "-q", "origin", "+"+k+":main")
	return k
}

// sound wants the repository to be one in which stock git finds nothing wrong,
// and that a clone made now reads as jit does.
func (w *world) sound(all ...*replica.Replica) {
	w.t.Helper()
	if out := w.git(w.url, "fsck", "--strict", "--no-dangling"); out != "" {
		w.t.Errorf("git fsck: %s", out)
	}
	all = append(all, w.machine())
	for _, r := range all {
		if got, want := w.export(r), w.export(all[0]); got != want {
			w.t.Errorf("one machine has\n%s\nanother\n%s", want, got)
		}
		if c := w.checkpoint(r); string(c) != w.tip() {
			w.t.Errorf("checkpoint %s, head %s", c, w.tip())
		}
	}
}

func (w *world) displaced(r *replica.Replica, want gitstore.Relation) *replica.RewriteError {
	w.t.Helper()
	before, checkpoint := w.export(r), w.checkpoint(r)
	_, err := r.Sync(context.Background())
	var rewrite *replica.RewriteError
	if !errors.As(err, &rewrite) || rewrite.Relation != want || !errors.Is(err, replica.ErrRewritten) {
		w.t.Fatalf("%v, want %s", err, want)
	}
	if w.export(r) != before || w.checkpoint(r) != checkpoint {
		w.t.Fatal("the refusal moved the checkpoint or the ledger")
	}
	return rewrite
}

// TestSwappedMergeIsHealed: with a requester, an admin and a reconciler that have
// a checkpoint, and a machine that came when the past was swapped and worked on.
func TestSwappedMergeIsHealed(t *testing.T) {
	for _, healer := range []string{"robot", "alice"} {
		t.Run(healer, func(t *testing.T) {
			w, ctx := newWorld(t), context.Background()
			bob, admin := w.machine(), w.machine()
			w.ask(bob)
			w.sync(admin)
			honest := w.tip()
			dir := w.swap("main~1")
			swapped := w.tip()
			carol := w.machine()
			if string(w.checkpoint(carol)) != swapped {
				t.Fatal("the new machine did not take the other order: the test shows nothing")
			}
			asked, lost := w.request(carol, "carol")
			_, err := carol.Submit(ctx, replica.Message{Subject: "carol asks"}, asked)
			w.must(err)

			rewrite := w.displaced(bob, gitstore.OffChain)
			if _, err := bob.SyncAndHeal(ctx, w.healer("bob")); !errors.Is(err, replica.ErrRewritten) || !strings.Contains(err.Error(), "only an admin or a reconciler heals") {
				t.Errorf("a requester heals: %v", err)
			}
			if string(rewrite.Checkpoint) != honest {
				t.Errorf("%+v", rewrite)
			}
			report, err := admin.SyncAndHeal(ctx, w.healer(healer))
			w.must(err)
			if h := report.Healed; h == nil || !h.Made || h.By != healer || string(h.Commit) != w.tip() || h.Added != 3 {
				t.Fatalf("%+v", h)
			}
			if got := w.git(w.url, "log", "-1", "--format=%P", "main"); !strings.HasPrefix(got, honest+" ") {
				t.Errorf("the heal's parents: %s", got)
			}
			if report := w.sync(bob); report.Healed != nil || report.Records != 0 {
				t.Errorf("who had the honest order: %+v", report)
			}
			report = w.sync(carol)
			if h := report.Healed; h == nil || h.Made || h.By != healer {
				t.Fatalf("who had the other: %+v", report)
			}
			if got := reasons(report.SetAside); got != "foreign-file, healed-head" || report.Forks != 0 {
				t.Errorf("set aside: %s, %d forks", got, report.Forks)
			}
			if _, err := carol.Ledger().Request(lost.ID, w.now); !errors.Is(err, ledger.ErrNotFound) {
				t.Errorf("what must be signed again counts: %v", err)
			}
			w.sound(bob, admin, carol)
			w.git(dir, "pull", "-q", "--ff-only", "origin", "main")
			story := w.git(w.url, "log", "--first-parent", "--format=%s", "main")
			if want := healer + " puts the history back in order\nbob asks\nalice makes the store"; story != want {
				t.Errorf("the story:\n%s\nwant\n%s", story, want)
			}
			// And work goes on, on all of them.
			w.ask(bob)
			w.sync(carol)
			w.ask(carol)
			w.sync(bob)
			w.sync(admin)
			w.sound(bob, admin, carol)
		})
	}
}

// TestHealIsSignedForGit: git and gpg agree that the heal is signed.
func TestHealIsSignedForGit(t *testing.T) {
	w := newWorld(t)
	alice := w.machine()
	w.ask(alice)
	w.swap("main~1")
	_, err := alice.SyncAndHeal(context.Background(), w.healer("alice"))
	w.must(err)
	home, err := os.MkdirTemp("", "heal") // gpg's agent needs a short path
	w.must(err)
	defer os.RemoveAll(home)
	script := `git archive main keys | tar x -C "$GNUPGHOME" && gpg -q --batch --import "$GNUPGHOME"/keys/*/*.asc && git verify-commit main; gpgconf --kill all`
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = w.url
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GNUPGHOME=" + home, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "Good signature from \"alice") {
		t.Errorf("%v: %s", err, out)
	}
}

// TestForgedHeals: heals whose first parent is the attacker's side do not move
// who knows better, whoever signed them but an admin or a reconciler.
func TestForgedHeals(t *testing.T) {
	for _, c := range []struct {
		signer string
		want   string // of the cause
	}{{"", ""}, {"bob", "neither admin nor reconciler"}, {"dave", "belongs to nobody"}} {
		t.Run("signed by "+c.signer, func(t *testing.T) {
			w, ctx := newWorld(t), context.Background()
			alice := w.machine()
			w.dave(alice, true)
			w.ask(alice)
			robot := w.machine()
			fork := w.tip()
			w.dave(alice, false) // no admin any more, and nobody
			w.ask(alice)
			w.sync(robot)
			honest := w.tip()
			dir, side := w.side(fork)
			forged := w.forge(dir, c.signer, side, honest)
			rewrite := w.displaced(alice, gitstore.OffChain)
			if got := fmt.Sprint(rewrite.Cause); !strings.Contains(got, c.want) || c.want == "" && rewrite.Cause != nil {
				t.Errorf("why it is not followed: %s", got)
			}
			// A machine that knows nothing else does not begin there.
			cold := w.open(t.TempDir())
			if _, err := cold.Sync(ctx); !errors.Is(err, replica.ErrForked) {
				t.Errorf("a cold machine: %v", err)
			}
			report, err := robot.SyncAndHeal(ctx, w.healer("robot"))
			w.must(err)
			if report.Healed == nil || !report.Healed.Made {
				t.Fatalf("%+v", report.Healed)
			}
			if got := w.git(w.url, "log", "-1", "--format=%P", "main"); got != honest+" "+forged {
				t.Errorf("parents %s", got)
			}
			w.sync(alice)
			w.sync(cold)
			w.sound(alice, robot, cold)
			if alice.Ledger().Policy().IsAdmin("dave") {
				t.Error("dave is an admin again")
			}
		})
	}
}

// dave makes dave an admin, or takes him out of the policy.
func (w *world) dave(r *replica.Replica, in bool) {
	w.t.Helper()
	if w.signers["dave"] == nil {
		key, err := record.GenerateKey("dave", "dave@example.com", w.now.Add(-time.Hour), 0)
		w.must(err)
		w.signers["dave"] = key.Signer(func() time.Time { return w.now })
		_, err = r.SubmitCertificate(context.Background(), replica.Message{Subject: "dave joins"}, "dave", key.Certificate(), w.now)
		w.must(err)
	}
	h, err := r.NewHead(record.KindPolicy, "alice", w.now)
	w.must(err)
	expires := record.At(w.now.Add(time.Hour))
	doc := policy.Document{Head: h, Replaces: r.Ledger().Policy().Digest(), Expires: &expires, Body: r.Ledger().Policy().Document().Body}
	people := map[string]policy.Person{}
	for name, p := range doc.People {
		people[name] = p
	}
	doc.People, doc.Admins.People = people, []string{"alice"}
	delete(people, "dave")
	if in {
		people["dave"] = policy.Person{Keys: []record.Fingerprint{w.signers["dave"].Fingerprint()}}
		doc.Admins.People = []string{"alice", "dave"}
	}
	out, err := r.Prepare(context.Background(), w.signers["alice"], doc, w.now, "", false)
	w.must(err)
	_, err = r.Submit(context.Background(), replica.Message{Subject: "alice changes the policy"}, out)
	w.must(err)
	if r.Ledger().Policy().IsAdmin("dave") != in {
		w.t.Fatal("the policy is not in force")
	}
}

// TestHealOfTheWrongSide: an admin who came when the past was swapped heals in
// that order. Who had the honest one follows, for the admin's word counts;
// nothing is lost but that records must be signed again.
func TestHealOfTheWrongSide(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	bob := w.machine()
	_, req := w.ask(bob)
	w.ask(bob) // on top: its head is off the other line
	honest := w.tip()
	dir, side := w.side("main~2")
	w.forge(dir, "alice", side, honest)
	report := w.sync(bob)
	if report.Healed == nil || report.Healed.Made || report.Healed.By != "alice" {
		t.Fatalf("%+v", report.Healed)
	}
	if got := reasons(report.SetAside); got != "foreign-file, healed-head" || report.Records != 1 {
		t.Errorf("set aside %s, %d records", got, report.Records)
	}
	if e, err := bob.Ledger().Request(req.ID, w.now); err != nil || e.State != approve.Pending {
		t.Errorf("%v", err)
	}
	alice := w.machine()
	w.sound(bob, alice)
	if _, err := alice.SyncAndHeal(ctx, w.healer("alice")); err != nil {
		t.Error(err)
	}
}

// TestHealersAtOnce: many heal at the same time; there is one order afterwards.
func TestHealersAtOnce(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	bob := w.machine()
	var all []*replica.Replica
	for range 3 {
		all = append(all, w.machine())
	}
	w.ask(bob)
	for _, r := range all[:2] {
		w.sync(r) // the third has an older checkpoint
	}
	w.swap("main~1")
	late := w.machine()
	all = append(all, late)
	var wait sync.WaitGroup
	errs := make([]error, len(all))
	for i, r := range all {
		wait.Go(func() { _, errs[i] = r.SyncAndHeal(ctx, w.healer([]string{"alice", "robot"}[i%2])) })
	}
	wait.Wait()
	w.must(errors.Join(errs...))
	for _, r := range append(all, bob) {
		w.sync(r)
	}
	w.sound(append(all, bob)...)
	if n := len(strings.Fields(w.git(w.url, "log", "--format=%h", "--grep", "Jit-Kind: heal", "main"))); n != 1 {
		t.Errorf("%d heals", n)
	}
}

// TestHealersUnknownAtTheFork do not undo each other for ever.
func TestHealersUnknownAtTheFork(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	alice := w.machine()
	root := w.tip()
	w.dave(alice, true) // an admin, but not yet at the fork
	daves := w.machine()
	honest := w.tip()
	dir, side := w.side(root)
	w.forge(dir, "dave", side, honest)
	before := w.tip()
	_, err := daves.SyncAndHeal(ctx, w.healer("dave"))
	if !errors.Is(err, replica.ErrRewritten) || !strings.Contains(err.Error(), "for an admin to say") || w.tip() != before {
		t.Errorf("%v", err)
	}
	// By hand he may; and who was an admin at the fork heals by itself.
	d, _, err := daves.Damage(ctx)
	w.must(err)
	if len(d.Heals) != 1 || !strings.Contains(d.Heals[0], "by dave") {
		t.Errorf("%+v", d.Heals)
	}
	report, err := alice.SyncAndHeal(ctx, w.healer("alice"))
	w.must(err)
	if report.Healed == nil || !report.Healed.Made {
		t.Errorf("%+v", report)
	}
	if _, err := daves.Repair(ctx, d, w.healer("dave")); !errors.Is(err, gitstore.ErrMoved) {
		t.Errorf("a repair of what has moved: %v", err)
	}
	w.sync(daves)
	w.sound(alice, daves)
}

// TestInterruptedFollowing: killed between the new index and the checkpoint.
func TestInterruptedFollowing(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	bob, alice := w.machine(), w.machine()
	w.ask(bob)
	w.sync(alice)
	w.swap("main~1")
	home := t.TempDir()
	cold := w.open(home)
	w.sync(cold)
	checkpoint, err := os.ReadFile(filepath.Join(home, "checkpoint"))
	w.must(err)
	_, err = alice.SyncAndHeal(ctx, w.healer("alice"))
	w.must(err)
	w.sync(cold)
	w.must(os.WriteFile(filepath.Join(home, "checkpoint"), checkpoint, 0o600))
	again := w.open(home)
	if report := w.sync(again); report.Healed == nil {
		t.Errorf("%+v", report)
	}
	w.sound(alice, again)
}

// side pushes a commit of eve's on rev, beside the branch, and gives it.
func (w *world) side(rev string) (dir, commit string) {
	w.t.Helper()
	dir = w.clone()
	w.git(dir, "checkout", "-q", "--detach", rev)
	w.write(dir, "README", "x")
	w.git(dir, "add", "-A")
	w.git(dir, "commit", "-q", "-m", "side")
	return dir, w.git(dir, "rev-parse", "HEAD")
}

// TestHealUndoesNoPolicy: a reconciler that heals to before a change of the
// policy, to bring back whom it has removed, is followed by nobody who knows.
func TestHealUndoesNoPolicy(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	alice := w.machine()
	w.dave(alice, true)
	fork := w.tip()
	bob := w.machine()
	w.ask(bob)
	w.sync(alice)
	w.dave(alice, false) // having seen bob's request
	w.sync(bob)
	honest := w.tip()
	dir, side := w.side(fork)
	forged := w.forge(dir, "robot", side, honest)
	for _, r := range []*replica.Replica{alice, bob} {
		if got := fmt.Sprint(w.displaced(r, gitstore.OffChain).Cause); !strings.Contains(got, "by robot is not followed: it would undo policy version") {
			t.Error(got)
		}
		if r.Ledger().Policy().IsAdmin("dave") {
			t.Error("dave is an admin again")
		}
	}
	if _, err := w.open(t.TempDir()).Sync(ctx); !errors.Is(err, replica.ErrForked) {
		t.Errorf("a cold machine: %v", err)
	}
	report, err := alice.SyncAndHeal(ctx, w.healer("alice"))
	w.must(err)
	if h := report.Healed; h == nil || !h.Made {
		t.Fatalf("%+v", h)
	}
	if got := w.git(w.url, "log", "-1", "--format=%P", "main"); got != honest+" "+forged {
		t.Errorf("parents %s", got)
	}
	w.sync(bob)
	w.sound(alice, bob)
}

// TestBothSidesChangedThePolicy: then no machine decides which of them holds.
func TestBothSidesChangedThePolicy(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	alice := w.machine()
	fork := w.tip()
	w.ask(alice)
	w.dave(alice, true)
	honest := w.tip()
	// The other side has one as well, and a heal of its own.
	w.git(w.url, "config", "receive.denyNonFastForwards", "false")
	w.git(w.url, "update-ref", "refs/heads/main", fork)
	other := w.machine()
	w.ask(other)
	w.dave(other, true)
	dir := w.clone()
	w.git(dir, "fetch", "-q", w.url, honest)
	w.forge(dir, "robot", "origin/main", honest)
	before := w.tip()
	_, err := alice.SyncAndHeal(ctx, w.healer("alice"))
	if !errors.Is(err, replica.ErrRewritten) || !strings.Contains(err.Error(), "both sides have changed the policy") || w.tip() != before {
		t.Fatalf("%v", err)
	}
	w.sync(other)
	// A person decides.
	d, _, err := alice.Damage(ctx)
	w.must(err)
	_, err = alice.Repair(ctx, d, w.healer("alice"))
	w.must(err)
	after := w.tip()
	_, err = other.SyncAndHeal(ctx, w.healer("alice"))
	if !errors.Is(err, replica.ErrRewritten) || w.tip() != after {
		t.Errorf("the other side undoes it: %v", err)
	}
	if head, _ := alice.Ledger().Head(); string(head) != after {
		t.Errorf("alice is at %s", head)
	}
}

// TestHealSpeaksForThoseItPutAside: a reconciler that came when the past was
// swapped heals a second swap, in good faith. Who has the honest past was put
// aside by eve before, and not by that heal.
func TestHealSpeaksForThoseItPutAside(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	bob, alice := w.machine(), w.machine()
	w.ask(bob)
	w.sync(alice)
	w.swap("main~1")
	robot := w.machine() // in eve's order
	w.ask(robot)
	w.swap("main~3")
	report, err := robot.SyncAndHeal(ctx, w.healer("robot"))
	w.must(err)
	if report.Healed == nil || !report.Healed.Made {
		t.Fatalf("%+v", report.Healed)
	}
	w.displaced(bob, gitstore.OffChain)
	report, err = alice.SyncAndHeal(ctx, w.healer("alice"))
	w.must(err)
	if report.Healed == nil || !report.Healed.Made {
		t.Fatalf("%+v", report.Healed)
	}
	w.sync(bob)
	if report := w.sync(robot); report.Healed == nil || report.Healed.By != "alice" {
		t.Errorf("%+v", report.Healed)
	}
	w.sound(alice, bob, robot)
}

// TestHealTakesInAllItPutAside: who came between two swaps is not on the line of
// the second one, and follows all the same.
func TestHealTakesInAllItPutAside(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	alice := w.machine()
	w.ask(alice)
	w.swap("main~1")
	carol := w.machine()
	w.ask(carol)
	w.swap("main~3")
	w.displaced(carol, gitstore.OffChain)
	_, err := alice.SyncAndHeal(ctx, w.healer("alice"))
	w.must(err)
	if report := w.sync(carol); report.Healed == nil || report.Healed.By != "alice" {
		t.Errorf("%+v", report.Healed)
	}
	w.sound(alice, carol)
}

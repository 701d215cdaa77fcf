package replica_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// git runs the git program as somebody who may push.
func (w *world) git(dir string, args ...string) string {
	w.t.Helper()
	return testenv.Git(w.t, dir, args...)
}

// clone gives a working copy of the store.
func (w *world) clone() string {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "clone")
	w.git(w.t.TempDir(), "clone", "-q", w.url, dir)
	return dir
}

// push commits all that was changed in a working copy, and pushes it.
func (w *world) push(dir string, args ...string) string {
	w.t.Helper()
	w.git(dir, "add", "-A")
	w.git(dir, "commit", "-q", "--allow-empty", "-m", "eve was here")
	w.git(dir, append([]string{"push", "-q"}, append(args, "origin", "HEAD:main")...)...)
	return w.git(dir, "rev-parse", "HEAD")
}

func (w *world) write(dir, path, text string) {
	w.t.Helper()
	path = filepath.Join(dir, path)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, []byte(text), 0o644))
}

// ask submits a request that must arrive.
func (w *world) ask(r *replica.Replica) (replica.Outgoing, request.Request) {
	w.t.Helper()
	out, req := w.request(r, "bob")
	res, err := r.Submit(context.Background(), replica.Message{Subject: "bob asks"}, out)
	w.must(err)
	if res.Spooled || res.Commit == "" {
		w.t.Fatalf("%+v", res)
	}
	return out, req
}

func (w *world) sync(r *replica.Replica) replica.Report {
	w.t.Helper()
	report, err := r.Sync(context.Background())
	w.must(err)
	return report
}

func (w *world) export(r *replica.Replica) string {
	w.t.Helper()
	data, err := r.Ledger().Export()
	w.must(err)
	return string(data)
}

func reasons(all []ledger.SetAside) string {
	var codes []string
	for _, s := range all {
		codes = append(codes, s.Reason)
	}
	slices.Sort(codes)
	return strings.Join(codes, ", ")
}

// TestTamperingWithStockGit: whoever may push changes, deletes, merges and adds
// what is no record. What counted counts still, each is reported, and a machine
// that saw it step by step agrees with one that sees it all at once.
func TestTamperingWithStockGit(t *testing.T) {
	w := newWorld(t)
	bob := w.machine()
	out, req := w.ask(bob)
	other, _ := w.request(bob, "bob")
	sig := record.SignaturePath(other.Path)
	dir := w.clone()
	for _, step := range []struct {
		name, want string
		do         func()
	}{
		{"changes a request", "changed", func() { w.write(dir, out.Path, string(out.Data)+"# more\n") }},
		{"deletes it", "deleted, deleted", func() { w.git(dir, "rm", "-q", out.Path, record.SignaturePath(out.Path)) }},
		{"brings it back otherwise", "changed", func() { w.write(dir, out.Path, "other") }},
		{"brings it back", "", func() {
			w.write(dir, out.Path, string(out.Data))
			w.write(dir, record.SignaturePath(out.Path), string(out.Signature))
		}},
		{"deletes the policy", "deleted, deleted", func() { w.git(dir, "rm", "-rq", "policy") }},
		{"adds what is no record", "bad mode, foreign-file", func() {
			w.write(dir, "README", "hello")
			w.must(os.Symlink("/etc/passwd", filepath.Join(dir, "passwd")))
		}},
		{"lays garbage where a record will be", "sig-armor", func() { w.write(dir, other.Path, "garbage"); w.write(dir, sig, "garbage") }},
		{"puts the record there", "", func() { w.write(dir, other.Path, string(other.Data)); w.write(dir, sig, string(other.Signature)) }},
		{"puts garbage there again", "changed, changed", func() { w.write(dir, other.Path, "garbage"); w.write(dir, sig, "garbage") }},
		{"merges", "foreign-file", func() {
			w.git(dir, "checkout", "-q", "-b", "side", "HEAD~1")
			w.write(dir, "SIDE", "x")
			w.git(dir, "add", "-A")
			w.git(dir, "commit", "-q", "-m", "aside")
			w.git(dir, "checkout", "-q", "main")
			w.git(dir, "merge", "-q", "--no-ff", "-m", "merge", "side")
		}},
	} {
		step.do()
		w.push(dir)
		report := w.sync(bob)
		if got := reasons(report.SetAside); got != step.want {
			t.Errorf("eve %s: %q, want %q: %+v", step.name, got, step.want, report.SetAside)
		}
		if e, err := bob.Ledger().Request(req.ID, w.now); err != nil || e.State != approve.Pending {
			t.Errorf("eve %s: %v %s", step.name, err, e.State)
		}
	}
	if cold := w.machine(); w.export(cold) != w.export(bob) {
		t.Errorf("step by step:\n%s\nat once:\n%s", w.export(bob), w.export(cold))
	}
	w.ask(bob) // and work goes on
}

func TestRewrittenHeads(t *testing.T) {
	for name, attack := range map[string]func(w *world, dir string){
		"older": func(w *world, dir string) { w.git(w.url, "update-ref", "refs/heads/main", "main~1") },
		"forced": func(w *world, dir string) {
			w.git(w.url, "config", "receive.denyNonFastForwards", "false")
			w.git(dir, "reset", "-q", "--hard", "HEAD~1")
			w.write(dir, "README", "x")
			w.push(dir, "-f")
		},
		"unrelated": func(w *world, dir string) {
			w.git(dir, "checkout", "-q", "--orphan", "new")
			w.git(dir, "commit", "-q", "-m", "root")
			w.git(dir, "push", "-q", "origin", "HEAD:new")
			w.git(w.url, "update-ref", "refs/heads/main", "new")
		},
		"first parent swapped": func(w *world, dir string) {
			w.git(dir, "checkout", "-q", "-b", "side", "HEAD~1")
			w.write(dir, "SIDE", "x")
			w.git(dir, "add", "-A")
			w.git(dir, "commit", "-q", "-m", "aside")
			w.git(dir, "merge", "-q", "--no-ff", "-m", "merge", "main")
			w.git(dir, "push", "-q", "origin", "HEAD:main")
		},
		"empty": func(w *world, dir string) { w.git(w.url, "update-ref", "-d", "refs/heads/main") },
	} {
		t.Run(name, func(t *testing.T) {
			w, ctx := newWorld(t), context.Background()
			home := t.TempDir()
			r := w.open(home)
			w.sync(r)
			w.ask(r)
			before, checkpoint := w.export(r), w.checkpoint(r)
			attack(w, w.clone())
			refused := func(r *replica.Replica) {
				t.Helper()
				if _, err := r.Sync(ctx); !errors.Is(err, replica.ErrRewritten) {
					t.Fatalf("%v", err)
				}
				if w.checkpoint(r) != checkpoint || w.export(r) != before {
					t.Error("the checkpoint or the ledger moved")
				}
			}
			refused(r)
			// Without the index the checkpoint still stands, and brings the ledger back.
			w.must(r.Rebuild(ctx))
			refused(r)
			w.must(os.WriteFile(filepath.Join(home, "ledger.db-wal"), []byte("x"), 0o600))
			w.must(os.WriteFile(filepath.Join(home, "ledger.db"), []byte(strings.Repeat("damaged", 1000)), 0o600))
			refused(w.open(home))
			// Nothing is sent on top of it; what was signed waits.
			out, _ := w.request(r, "bob")
			if res, err := r.Submit(ctx, replica.Message{Subject: "bob asks"}, out); err != nil || !res.Spooled {
				t.Errorf("%+v %v", res, err)
			}
		})
	}
}

func (w *world) checkpoint(r *replica.Replica) gitstore.Hash {
	w.t.Helper()
	c, err := r.Checkpoint()
	w.must(err)
	return c
}

func TestAnotherStoreAtTheAddress(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	r, err := replica.Open(context.Background(), replica.Config{Dir: t.TempDir(), URL: other.url, Identity: w.identity})
	w.must(err)
	defer func() { w.must(r.Close()) }()
	if _, err := r.Sync(context.Background()); !errors.Is(err, replica.ErrIdentity) {
		t.Errorf("%v", err)
	}
	if c := w.checkpoint(r); c != "" {
		t.Errorf("checkpoint %s", c)
	}
}

// TestForkEvidence: a machine that has verified nothing yet meets a record of a
// person in good standing who had seen another history.
func TestForkEvidence(t *testing.T) {
	for _, kind := range []record.Kind{record.KindRequest, record.KindRevocation} {
		w, ctx := newWorld(t), context.Background()
		bob := w.machine()
		asked, req := w.ask(bob)
		known := w.checkpoint(bob)
		const elsewhere = "00000000000000000000000000000000000000ff"
		var out replica.Outgoing
		var err error
		h, err := bob.NewHead(kind, "alice", w.now)
		w.must(err)
		h.Head = elsewhere
		if kind == record.KindRequest {
			forked := req
			forked.Head = h
			out, err = bob.Prepare(ctx, w.signers["alice"], forked, w.now, "", false)
		} else {
			out, err = bob.Prepare(ctx, w.signers["alice"], revoke.Revocation{Head: h, Request: req.ID, RequestDigest: record.Sum(asked.Data), Reason: "x"}, w.now, req.ID, false)
		}
		w.must(err)
		dir := w.clone()
		w.write(dir, out.Path, string(out.Data))
		w.write(dir, record.SignaturePath(out.Path), string(out.Signature))
		w.push(dir)
		if report := w.sync(bob); report.Forks != 1 {
			t.Errorf("%s: %+v", kind, report)
		}
		home := t.TempDir()
		for range 2 { // and again
			r := w.open(home)
			if _, err := r.Sync(ctx); !errors.Is(err, replica.ErrForked) {
				t.Errorf("%s: %v", kind, err)
			}
			if head, n := r.Ledger().Head(); head != "" || n != 0 || w.checkpoint(r) != "" {
				t.Errorf("%s: something of the forked history stays: %s", kind, head)
			}
		}
		at := func(head gitstore.Hash) error {
			r, err := replica.Open(ctx, replica.Config{Dir: t.TempDir(), URL: w.url, Identity: w.identity, At: head})
			w.must(err)
			defer func() { w.must(r.Close()) }()
			_, err = r.Sync(ctx)
			return err
		}
		w.must(at(known))
		if err := at(elsewhere); !errors.Is(err, replica.ErrRewritten) {
			t.Errorf("%s: a head that is not there: %v", kind, err)
		}
	}
}

// TestRevocationBeforeItsRequest: a forced push puts the one before the other, over a
// head that machines stand at that had seen neither.
func TestRevocationBeforeItsRequest(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	bob, alice, behind := w.machine(), w.machine(), w.machine()
	base := w.tip()
	asked, req := w.ask(bob)
	w.sync(alice)
	h, err := alice.NewHead(record.KindRevocation, "alice", w.now)
	w.must(err)
	out, err := alice.Prepare(ctx, w.signers["alice"], revoke.Revocation{Head: h, Request: req.ID, RequestDigest: record.Sum(asked.Data), Reason: "x"}, w.now, req.ID, false)
	w.must(err)
	dir := w.clone()
	w.git(dir, "reset", "-q", "--hard", base)
	for _, x := range []replica.Outgoing{out, asked} {
		w.write(dir, x.Path, string(x.Data))
		w.write(dir, record.SignaturePath(x.Path), string(x.Signature))
		w.git(dir, "add", "-A")
		w.git(dir, "commit", "-q", "-m", "another order")
	}
	w.git(w.url, "config", "receive.denyNonFastForwards", "false")
	w.git(dir, "push", "-qf", "origin", "HEAD:main")
	if report := w.sync(behind); report.Forks != 2 || report.Records != 2 {
		t.Errorf("%+v", report)
	}
	e, err := behind.Ledger().Request(req.ID, w.now)
	w.must(err)
	if e.State != approve.Revoked {
		t.Errorf("it is %s", e.State)
	}
	if _, err := w.open(t.TempDir()).Sync(ctx); !errors.Is(err, replica.ErrForked) {
		t.Errorf("who comes anew: %v", err)
	}
}

// TestSpool: the remote is away, and back.
func TestSpool(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	home := t.TempDir()
	bob := w.open(home)
	w.sync(bob)
	_, asked := w.ask(bob)
	alice := w.machine()
	w.must(os.Rename(w.url, w.url+".away"))
	var waiting []request.Request
	for range 3 {
		out, req := w.request(bob, "bob")
		res, err := bob.Submit(ctx, replica.Message{Subject: "bob asks"}, out)
		if err != nil || !res.Spooled || !errors.Is(res.Cause, replica.ErrUnreachable) {
			t.Fatalf("%+v %v", res, err)
		}
		waiting = append(waiting, req)
	}
	if _, err := bob.Sync(ctx); !errors.Is(err, replica.ErrUnreachable) {
		t.Errorf("%v", err)
	}
	// An approval by carol waits, of what alice revokes meanwhile.
	carol := w.open(home)
	e, err := carol.Ledger().Request(asked.ID, w.now)
	w.must(err)
	if res, err := carol.Submit(ctx, replica.Message{Subject: "carol approves"}, w.approval(carol, "carol", e)); err != nil || !res.Spooled {
		t.Fatalf("%+v %v", res, err)
	}
	// The index is lost too: what is known comes back without the remote.
	before := w.export(bob)
	for _, end := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(filepath.Join(home, "ledger.db"+end)) // the latter two may be gone
	}
	if again := w.open(home); w.export(again) != before {
		t.Error("the ledger did not come back without the remote")
	}
	w.must(os.Rename(w.url+".away", w.url))
	h, err := alice.NewHead(record.KindRevocation, "alice", w.now)
	w.must(err)
	out, err := alice.Prepare(ctx, w.signers["alice"], revoke.Revocation{Head: h, Request: asked.ID, RequestDigest: e.Digest, Reason: "no"}, w.now, asked.ID, false)
	w.must(err)
	_, err = alice.Submit(ctx, replica.Message{Subject: "alice revokes"}, out)
	w.must(err)
	// What is submitted now goes with what waits, and is not called waiting.
	last, _ := w.request(bob, "bob")
	fresh := w.open(home)
	res, err := fresh.Submit(ctx, replica.Message{Subject: "bob asks again"}, last)
	if err != nil || res.Spooled || res.Commit == "" {
		t.Fatalf("%+v %v", res, err)
	}
	refused, err := fresh.Refused()
	if err != nil || len(refused) != 1 || !strings.HasPrefix(refused[0], "carol approves: ") {
		t.Errorf("refused: %q %v", refused, err)
	}
	if left, err := fresh.Spooled(); err != nil || len(left) > 0 {
		t.Errorf("left: %q %v", left, err)
	}
	tip := w.git(w.url, "rev-parse", "main")
	if report := w.sync(fresh); report.Sent != 0 || report.Waiting != 0 || w.git(w.url, "rev-parse", "main") != tip {
		t.Errorf("sent twice: %+v", report)
	}
	cold := w.machine()
	for _, req := range waiting {
		if _, err := cold.Ledger().Request(req.ID, w.now); err != nil {
			t.Error(err)
		}
	}
	if aside, err := cold.Ledger().SetAside(); err != nil || len(aside) > 0 {
		t.Errorf("%+v %v", aside, err)
	}
}

// TestSentWithoutAnAnswer: the push arrived and the answer was lost.
func TestSentWithoutAnAnswer(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	home := t.TempDir()
	bob := w.open(home)
	w.sync(bob)
	w.must(os.Rename(w.url, w.url+".away"))
	out, _ := w.request(bob, "bob")
	if res, err := bob.Submit(ctx, replica.Message{Subject: "bob asks"}, out); err != nil || !res.Spooled {
		t.Fatalf("%+v %v", res, err)
	}
	w.must(os.Rename(w.url+".away", w.url))
	dir := w.clone()
	w.write(dir, out.Path, string(out.Data))
	w.write(dir, record.SignaturePath(out.Path), string(out.Signature))
	tip := w.push(dir)
	report := w.sync(bob)
	if report.Sent != 1 || report.Waiting != 0 || report.Refused != 0 || report.Cause != nil {
		t.Errorf("%+v", report)
	}
	if now := w.git(w.url, "rev-parse", "main"); now != tip {
		t.Error("it was sent again")
	}
}

// TestDamagedIndex: broken anywhere, it is made again by itself.
func TestDamagedIndex(t *testing.T) {
	w := newWorld(t)
	home := t.TempDir()
	r, err := replica.Open(context.Background(), replica.Config{Dir: home, URL: w.url, Identity: w.identity})
	w.must(err)
	w.sync(r)
	for range 20 {
		w.ask(r)
	}
	want := w.export(r)
	w.must(r.Close())
	index := filepath.Join(home, "ledger.db")
	whole, err := os.ReadFile(index)
	w.must(err)
	for name, damage := range map[string][]byte{
		"header": append([]byte("XXXX"), whole[4:]...), "cut": whole[:len(whole)/2], "empty": {}, "text": []byte("hello"),
		"middle": slices.Concat(whole[:4096], make([]byte, len(whole)-4096)),
	} {
		w.must(os.WriteFile(index, damage, 0o600))
		again, err := replica.Open(context.Background(), replica.Config{Dir: home, URL: w.url, Identity: w.identity})
		w.must(err)
		if _, err := again.Sync(context.Background()); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if w.export(again) != want {
			t.Errorf("%s: another ledger", name)
		}
		w.must(again.Close())
	}
}

// TestTwoOnOneCopy: what one process folds, the other sees.
func TestTwoOnOneCopy(t *testing.T) {
	w := newWorld(t)
	home := t.TempDir()
	a, b := w.open(home), w.open(home)
	w.sync(a)
	w.sync(b)
	_, first := w.ask(a)
	_, second := w.ask(b)
	w.sync(a)
	for _, id := range []record.ID{first.ID, second.ID} {
		for _, r := range []*replica.Replica{a, b} {
			if _, err := r.Ledger().Request(id, w.now.Add(time.Minute)); err != nil {
				t.Error(err)
			}
		}
	}
	if w.export(a) != w.export(b) {
		t.Error("they differ")
	}
}

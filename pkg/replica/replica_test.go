package replica_test

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/request"
)

// world is a store with three people and a reconciler, each on a machine of
// their own.
type world struct {
	t        *testing.T
	now      time.Time
	url      string
	identity record.StoreID
	signers  map[string]record.Signer
	secrets  map[string][]byte
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldAt(t, time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC))
}

func newWorldAt(t *testing.T, now time.Time) *world {
	t.Helper()
	w := &world{t: t, now: now, url: filepath.Join(t.TempDir(), "store.git"), signers: map[string]record.Signer{}, secrets: map[string][]byte{}}
	body := policy.Body{
		Admins: policy.Admins{People: []string{"alice"}, Threshold: 1},
		People: map[string]policy.Person{}, Reconcilers: map[string]policy.Reconciler{},
		Resources: map[string]policy.Resource{"db": {Driver: "postgres", Roles: map[string]policy.Role{
			"read": {Parameters: map[string]string{"grant": "readers"}}}}},
		Rules: []policy.Rule{{Name: "all", Resources: []string{"*"}, Roles: []string{"*"}, Requesters: []string{"*"},
			MaxDuration: record.Duration{Duration: 4 * time.Hour}, Stages: []policy.Stage{{Approvers: []string{"alice", "carol"}, Count: 1}}}},
	}
	var certs []*record.Certificate
	for _, name := range []string{"alice", "bob", "carol", "robot"} {
		key, err := record.GenerateKey(name, name+"@example.com", w.now.Add(-time.Hour), 0)
		w.must(err)
		w.secrets[name], err = key.SecretArmor(nil)
		w.must(err)
		w.signers[name] = key.Signer(func() time.Time { return w.now })
		certs = append(certs, key.Certificate())
		fpr := []record.Fingerprint{key.Certificate().Fingerprint()}
		if name == "robot" {
			body.Reconcilers[name] = policy.Reconciler{Keys: fpr, Resources: []string{"db"}}
		} else {
			body.People[name] = policy.Person{Keys: fpr}
		}
	}
	var err error
	w.identity, err = replica.Init(context.Background(), replica.Config{Dir: t.TempDir(), URL: w.url},
		replica.InitOptions{Body: body, By: "alice", Signer: w.signers["alice"], Certificates: certs, Now: w.now})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) open(dir string) *replica.Replica {
	w.t.Helper()
	r, err := replica.Open(context.Background(), replica.Config{Dir: dir, URL: w.url, Identity: w.identity, Now: func() time.Time { return w.now }})
	w.must(err)
	w.t.Cleanup(func() { w.must(r.Close()) })
	return r
}

func (w *world) machine() *replica.Replica {
	w.t.Helper()
	r := w.open(w.t.TempDir())
	_, err := r.Sync(context.Background())
	w.must(err)
	return r
}

func (w *world) request(r *replica.Replica, by string) (replica.Outgoing, request.Request) {
	w.t.Helper()
	h, err := r.NewHead(record.KindRequest, by, w.now)
	w.must(err)
	req := request.Request{Head: h, Grants: []request.Grant{{Resource: "db", Role: "read"}}, Duration: record.Duration{Duration: time.Hour},
		Reason: "look at orders", Expires: record.At(w.now.Add(time.Hour))}
	out, err := r.Prepare(context.Background(), w.signers[by], req, w.now, "", false)
	w.must(err)
	return out, req
}

func (w *world) approval(r *replica.Replica, by string, e ledger.Entry) replica.Outgoing {
	w.t.Helper()
	h, err := r.NewHead(record.KindApproval, by, w.now)
	w.must(err)
	out, err := r.Prepare(context.Background(), w.signers[by], approve.Approval{Head: h, Request: e.Request.Record.ID, RequestDigest: e.Digest}, w.now, e.Request.Record.ID, false)
	w.must(err)
	return out
}

func TestRequestApproveExpire(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	bob, carol := w.machine(), w.machine()
	out, req := w.request(bob, "bob")
	res, err := bob.Submit(ctx, replica.Message{Subject: "bob asks"}, out)
	w.must(err)
	if res.Spooled || res.Commit == "" {
		t.Fatalf("the request waits: %+v", res)
	}
	_, err = carol.Sync(ctx)
	w.must(err)
	e, err := carol.Ledger().Request(req.ID, w.now)
	w.must(err)
	if e.State != approve.Pending {
		t.Fatalf("state %s", e.State)
	}
	_, err = carol.Submit(ctx, replica.Message{Subject: "carol approves"}, w.approval(carol, "carol", e))
	w.must(err)
	_, err = bob.Sync(ctx)
	w.must(err)
	for _, c := range []struct {
		after time.Duration
		want  approve.State
	}{{0, approve.Active}, {time.Hour - time.Second, approve.Active}, {time.Hour, approve.Expired}} {
		e, err := bob.Ledger().Request(req.ID, w.now.Add(c.after))
		w.must(err)
		if e.State != c.want {
			t.Errorf("after %s: %s, want %s", c.after, e.State, c.want)
		}
	}
	// However it was split, and on a machine that never saw it: the same state.
	cold := w.machine()
	a, err := bob.Ledger().Export()
	w.must(err)
	b, err := cold.Ledger().Export()
	w.must(err)
	if !bytes.Equal(a, b) {
		t.Errorf("the ledgers differ:\n%s\n%s", a, b)
	}
	w.must(cold.Rebuild(ctx))
	b, err = cold.Ledger().Export()
	w.must(err)
	if !bytes.Equal(a, b) {
		t.Error("the ledger differs after it was made again")
	}
	aside, err := cold.Ledger().SetAside()
	w.must(err)
	if len(aside) > 0 {
		t.Errorf("set aside: %+v", aside)
	}
}

func TestSubmitRefusesWhatNoLedgerCounts(t *testing.T) {
	w, ctx := newWorld(t), context.Background()
	bob := w.machine()
	out, req := w.request(bob, "bob")
	_, err := bob.Submit(ctx, replica.Message{Subject: "bob asks"}, out)
	w.must(err)
	e, err := bob.Ledger().Request(req.ID, w.now)
	w.must(err)
	before, _ := bob.Ledger().Head()
	_, err = bob.Submit(ctx, replica.Message{Subject: "bob approves"}, w.approval(bob, "bob", e))
	if policy.CodeOf(err) != policy.OwnRequest {
		t.Fatalf("own approval: %v", err)
	}
	if _, err := bob.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	if after, _ := bob.Ledger().Head(); after != before {
		t.Error("the refused approval left a commit")
	}
	if waiting, err := bob.Spooled(); err != nil || len(waiting) > 0 {
		t.Errorf("the refused approval waits: %v %v", waiting, err)
	}
}

package doctest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// world makes the example store: a team of four and one reconciler, on one
// machine each, with a clock that the story sets.
type world struct {
	t        *testing.T
	now      time.Time
	url      string
	identity record.StoreID
	keys     map[string]record.Fingerprint
	signers  map[string]record.Signer
	machine  *replica.Replica
}

var people = []string{"alice", "bob", "carol", "dave"}

// newWorld makes the store in the folder url, which does not exist yet.
func newWorld(t *testing.T, url string) *world {
	t.Helper()
	w := &world{
		t: t, now: time.Date(2025, 1, 6, 9, 0, 0, 0, time.UTC), url: url,
		keys: map[string]record.Fingerprint{}, signers: map[string]record.Signer{},
	}
	var certs []*record.Certificate
	for _, name := range append([]string{"db1"}, people...) {
		key, err := record.GenerateKey(name, name+"@example.com", w.now.Add(-time.Hour), 0)
		w.must(err)
		w.signers[name] = key.Signer(func() time.Time { return w.now })
		w.keys[name] = key.Certificate().Fingerprint()
		certs = append(certs, key.Certificate())
	}
	var err error
	w.identity, err = replica.Init(t.Context(), w.config(t.TempDir()),
		replica.InitOptions{Body: w.body(), By: "alice", Signer: w.signers["alice"], Certificates: certs, Now: w.now})
	w.must(err)
	w.machine, err = replica.Open(t.Context(), w.config(t.TempDir()))
	w.must(err)
	t.Cleanup(func() { w.must(w.machine.Close()) })
	_, err = w.machine.Sync(t.Context())
	w.must(err)
	return w
}

func (w *world) config(dir string) replica.Config {
	return replica.Config{Dir: dir, URL: w.url, Identity: w.identity, Now: func() time.Time { return w.now }}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) body() policy.Body {
	b := policy.Body{
		Admins: policy.Admins{People: []string{"alice", "bob"}, Threshold: 2},
		People: map[string]policy.Person{},
		Groups: map[string][]string{"dba": {"alice", "bob"}},
		Reconcilers: map[string]policy.Reconciler{
			"db1": {Keys: []record.Fingerprint{w.keys["db1"]}, Resources: []string{"orders-db"}},
		},
		Resources: map[string]policy.Resource{"orders-db": {
			Driver: "postgres", Description: "orders in production",
			Roles: map[string]policy.Role{
				"readonly":  {Parameters: map[string]string{"grant": "orders_readonly"}, Usage: "psql -h db1.example.com orders"},
				"readwrite": {Parameters: map[string]string{"grant": "orders_readwrite"}},
			},
		}},
		Rules: []policy.Rule{{
			Name: "orders", Resources: []string{"orders-*"}, Roles: []string{"*"}, Requesters: []string{"team:shop"},
			MaxDuration: record.Duration{Duration: 4 * time.Hour},
			Stages:      []policy.Stage{{Approvers: []string{"group:dba"}, Count: 1}},
		}},
	}
	for _, name := range people {
		p := policy.Person{Keys: []record.Fingerprint{w.keys[name]}}
		if name == "carol" || name == "dave" {
			p.Teams = []string{"shop"}
		}
		b.People[name] = p
	}
	return b
}

// pass lets time go by.
func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

func (w *world) head(kind record.Kind, by string) record.Head {
	w.t.Helper()
	h, err := w.machine.NewHead(kind, by, w.now)
	w.must(err)
	return h
}

// send signs v, as the person in its head, and appends it.
func (w *world) send(subject string, h record.Head, v any, beside record.ID, besidePolicy bool) {
	w.t.Helper()
	out, err := w.machine.Prepare(w.t.Context(), w.signers[h.By], v, w.now, beside, besidePolicy)
	w.must(err)
	id := beside
	if id == "" {
		id = h.ID
	}
	res, err := w.machine.Submit(w.t.Context(), replica.Message{Subject: subject,
		Trailers: [][2]string{{"Jit-Kind", string(h.Kind)}, {"Jit-Request", string(id)}, {"Jit-By", h.By}}}, out)
	w.must(err)
	if res.Spooled {
		w.t.Fatalf("%s: %v", subject, res.Cause)
	}
	w.pass(2 * time.Minute)
}

func (w *world) ask(by, subject string, fill func(*request.Request)) (record.ID, record.Digest) {
	w.t.Helper()
	r := request.Request{Head: w.head(record.KindRequest, by), Expires: record.At(w.now.Add(8 * time.Hour))}
	fill(&r)
	w.send(subject, r.Head, r, "", false)
	e, err := w.machine.Ledger().Request(r.ID, w.now)
	w.must(err)
	return r.ID, e.Digest
}

func hours(n int) record.Duration { return record.Duration{Duration: time.Duration(n) * time.Hour} }

// tell makes the story that the documents show: one record of each kind.
func (w *world) tell() {
	readonly := request.Grant{Resource: "orders-db", Role: "readonly"}
	r, d := w.ask("carol", "carol asks for orders-db:readonly, 2h", func(r *request.Request) {
		r.Grants, r.Duration, r.Reason = []request.Grant{readonly}, hours(2), "order 4711 is charged twice"
	})
	h := w.head(record.KindComment, "alice")
	w.send("alice comments", h, request.Comment{Head: h, Request: r, RequestDigest: d, Comment: "one hour should do"}, r, false)
	h = w.head(record.KindApproval, "bob")
	w.send("bob approves carol's request", h, approve.Approval{Head: h, Request: r, RequestDigest: d, Duration: hours(1), Comment: "for one hour"}, r, false)
	e, err := w.machine.Ledger().Request(r, w.now)
	w.must(err)
	ends := record.At(e.Ends)
	h = w.head(record.KindReceipt, "db1")
	paper := receipt.Receipt{Head: h, Request: r, RequestDigest: d, Resource: "orders-db", Role: "readonly", Account: "carol",
		Outcome: receipt.Applied, Ends: &ends, Ledger: w.machine.Ledger().Digest()}
	w.send("db1 opened orders-db:readonly for carol", h, paper, r, false)
	w.pass(20 * time.Minute)
	h = w.head(record.KindCancellation, "carol")
	w.send("carol drops the access", h, revoke.Cancellation{Head: h, Request: r, RequestDigest: d, Comment: "found it"}, r, false)
	h = w.head(record.KindReceipt, "db1")
	paper = receipt.Receipt{Head: h, Request: r, RequestDigest: d, Resource: "orders-db", Role: "readonly", Account: "carol",
		Outcome: receipt.Ended, Cause: "cancelled", SessionsEnded: 1, Ledger: w.machine.Ledger().Digest()}
	w.send("db1 ended orders-db:readonly for carol", h, paper, r, false)

	r, d = w.ask("dave", "dave asks for orders-db:readwrite, 4h", func(r *request.Request) {
		r.Grants, r.Duration, r.Reason = []request.Grant{{Resource: "orders-db", Role: "readwrite"}}, hours(4), "try something"
	})
	h = w.head(record.KindDenial, "alice")
	w.send("alice denies dave's request", h, approve.Denial{Head: h, Request: r, RequestDigest: d, Reason: "try it in staging"}, r, false)

	r, d = w.ask("dave", "dave asks for orders-db:readonly and orders-db:readwrite, 30m", func(r *request.Request) {
		start := record.At(w.now.Add(5 * time.Hour))
		r.Grants = []request.Grant{readonly, {Resource: "orders-db", Role: "readwrite"}}
		r.Duration, r.Start, r.Reason, r.Ticket = record.Duration{Duration: 30 * time.Minute}, &start, "correct the tax rate of march", "SHOP-218"
	})
	h = w.head(record.KindApproval, "bob")
	w.send("bob approves dave's request", h, approve.Approval{Head: h, Request: r, RequestDigest: d}, r, false)
	h = w.head(record.KindWithdrawal, "bob")
	w.send("bob withdraws", h, approve.Withdrawal{Head: h, Request: r, RequestDigest: d, Comment: "not before the backup has run"}, r, false)
	h = w.head(record.KindRevocation, "alice")
	w.send("alice revokes dave's request", h, revoke.Revocation{Head: h, Request: r, RequestDigest: d, Reason: "the backup failed"}, r, false)

	body := w.body()
	body.Rules[0].MaxDuration = hours(2)
	expires := record.At(w.now.Add(7 * 24 * time.Hour))
	doc := policy.Document{Head: w.head(record.KindPolicy, "alice"), Replaces: w.machine.Ledger().Policy().Digest(), Expires: &expires, Body: body}
	w.send("alice proposes a policy: orders for at most 2h", doc.Head, doc, "", false)
	proposal, err := w.machine.Ledger().Proposal(doc.ID, w.now)
	w.must(err)
	h = w.head(record.KindApproval, "bob")
	w.send("bob approves the policy", h, approve.Approval{Head: h, Request: doc.ID, RequestDigest: proposal.Digest}, doc.ID, true)
}

// bundle writes the store as one file that git can clone.
func (w *world) bundle(file string) {
	w.t.Helper()
	git(w.t, w.url, "bundle", "create", "--quiet", file, "HEAD", "main")
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return string(out)
}

// example is the store in docs/example.bundle, cloned and judged.
type example struct {
	dir    string // a bare repository
	ledger *ledger.Ledger
	refs   []ledger.Ref
}

func openExample(t *testing.T) example {
	t.Helper()
	e := example{dir: filepath.Join(t.TempDir(), "store.git")}
	git(t, t.TempDir(), "clone", "--quiet", "--bare", filepath.Join(docs(t), "example.bundle"), e.dir)
	r, err := replica.Open(t.Context(), replica.Config{Dir: t.TempDir(), URL: e.dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	if _, err := r.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.ledger = r.Ledger()
	if e.refs, err = r.Ledger().AllRecords(); err != nil {
		t.Fatal(err)
	}
	return e
}

// file gives what the store holds at a path.
func (e example) file(t *testing.T, path string) string {
	t.Helper()
	return git(t, e.dir, "show", "main:"+path)
}

// docs is the folder of the documents.
func docs(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../../../docs")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

package ledger_test

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func hashOf(data string) gitstore.Hash {
	sum := sha1.Sum([]byte(data))
	return gitstore.Hash(hex.EncodeToString(sum[:]))
}

// history is a store in memory. It tells what a commit adds and changes as
// gitstore does; the real one is under the tests of the replica.
type history struct {
	blobs   map[gitstore.Hash][]byte
	commits []gitstore.Hash
	trees   []map[string]gitstore.Hash
}

// file is one to be committed.
type file struct{ path, data string }

// commit adds a commit with these files on top of what is there.
func (h *history) commit(files ...file) gitstore.Hash {
	tree := map[string]gitstore.Hash{}
	if n := len(h.trees); n > 0 {
		for k, v := range h.trees[n-1] {
			tree[k] = v
		}
	}
	for _, f := range files {
		blob := hashOf("blob" + f.data)
		h.blobs[blob] = []byte(f.data)
		tree[f.path] = blob
	}
	c := hashOf(fmt.Sprint("commit", len(h.commits), files))
	h.commits, h.trees = append(h.commits, c), append(h.trees, tree)
	return c
}

func (h *history) tip() gitstore.Hash { return h.commits[len(h.commits)-1] }

func (h *history) Walk(ctx context.Context, from, to gitstore.Hash, o gitstore.WalkOptions, fn func(gitstore.Commit) error) error {
	start := slices.Index(h.commits, from) + 1
	if o.Total != nil {
		o.Total(slices.Index(h.commits, to) + 1 - start)
	}
	for i := start; i <= slices.Index(h.commits, to); i++ {
		c := gitstore.Commit{Hash: h.commits[i]}
		before := map[string]gitstore.Hash{}
		if i > 0 {
			c.Parent, before = h.commits[i-1], h.trees[i-1]
		}
		for path, blob := range h.trees[i] {
			if before[path] == blob {
				continue
			}
			first, err := o.Known(path)
			if err != nil {
				return err
			}
			size := int64(len(h.blobs[blob]))
			switch {
			case first == "" && before[path] == "":
				c.Inserted = append(c.Inserted, gitstore.File{Path: path, Blob: blob, Size: size})
			case first != blob:
				c.Violations = append(c.Violations, gitstore.Violation{Path: path, Kind: gitstore.Changed, Old: first, Blob: blob, Size: size})
			}
		}
		slices.SortFunc(c.Violations, func(a, b gitstore.Violation) int {
			if a.Path < b.Path {
				return -1
			}
			return 1
		})
		if err := fn(c); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (h *history) ReadBlob(b gitstore.Hash, limit int64) ([]byte, error) {
	data, ok := h.blobs[b]
	switch {
	case !ok:
		return nil, gitstore.ErrNotFound
	case int64(len(data)) > limit:
		return nil, gitstore.ErrTooLarge
	}
	return data, nil
}

// world is a history with its people.
type world struct {
	testing.TB
	*history
	now      time.Time
	signers  map[string]record.Signer
	certs    map[string]*record.Certificate
	body     policy.Body
	identity record.StoreID
	first    record.Digest
	l        *ledger.Ledger
}

// newWorld makes a store of which alice and erin are the admins, one of whom is
// enough; bob asks, carol approves, and robot writes receipts for db. Mallory
// has a certificate there and is nobody.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t, history: &history{blobs: map[gitstore.Hash][]byte{}}, now: noon, signers: map[string]record.Signer{}, certs: map[string]*record.Certificate{}}
	w.body = policy.Body{
		Admins: policy.Admins{People: []string{"alice", "erin"}, Threshold: 1},
		People: map[string]policy.Person{}, Reconcilers: map[string]policy.Reconciler{},
		Resources: map[string]policy.Resource{
			"db":    {Driver: "postgres", Roles: map[string]policy.Role{"read": {Parameters: map[string]string{"role": "readers"}}}},
			"other": {Driver: "postgres", Roles: map[string]policy.Role{"read": {Parameters: map[string]string{"role": "others"}}}},
		},
		Rules: []policy.Rule{{Name: "all", Resources: []string{"*"}, Roles: []string{"*"}, Requesters: []string{"*"},
			MaxDuration: record.Duration{Duration: 4 * time.Hour}, Stages: []policy.Stage{{Approvers: []string{"alice", "carol"}, Count: 1}}}},
	}
	for _, name := range []string{"alice", "bob", "carol", "erin", "mallory", "robot"} {
		key, err := record.GenerateKey(name, name+"@example.com", noon.Add(-48*time.Hour), 0)
		w.must(err)
		w.signers[name], w.certs[name] = key.Signer(func() time.Time { return w.now }), key.Certificate()
		fpr := []record.Fingerprint{key.Certificate().Fingerprint()}
		switch name {
		case "mallory":
		case "robot":
			w.body.Reconcilers[name] = policy.Reconciler{Keys: fpr, Resources: []string{"db"}}
		default:
			w.body.People[name] = policy.Person{Keys: fpr}
		}
	}
	doc := policy.Document{Head: record.Head{APIVersion: record.APIVersion, Kind: record.KindPolicy, ID: w.id(), Created: record.At(w.now), By: "alice"}, Body: w.body}
	files := w.signed(doc, "alice", record.PathOf(doc.Head, "", false))
	w.first = record.Sum([]byte(files[0].data))
	w.identity = record.StoreID(w.first)
	for _, c := range w.certs {
		files = append(files, certFile(c.Armor()))
	}
	slices.SortFunc(files, func(a, b file) int {
		if a.path < b.path {
			return -1
		}
		return 1
	})
	w.l = w.ledger()
	w.push(files...)
	return w
}

func certFile(armor []byte) file {
	c, err := record.ParseCertificate(armor)
	if err != nil {
		panic(err)
	}
	return file{record.CertificatePath(c.Fingerprint(), armor), string(armor)}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) ledger() *ledger.Ledger {
	w.Helper()
	l, err := ledger.Open(filepath.Join(w.TempDir(), "ledger.db"), w.identity)
	w.must(err)
	w.Cleanup(func() { _ = l.Close() })
	return l
}

// push commits files and folds them.
func (w *world) push(files ...file) ledger.Report {
	w.Helper()
	w.commit(files...)
	report, err := w.l.Fold(context.Background(), w, w.tip())
	w.must(err)
	return report
}

func (w *world) id() record.ID {
	id, err := record.NewID(w.now, rand.Reader)
	w.must(err)
	return id
}

func (w *world) head(kind record.Kind, by string) record.Head {
	return record.Head{APIVersion: record.APIVersion, Kind: kind, ID: w.id(), Store: w.identity, Head: string(w.tip()), Created: record.At(w.now), By: by}
}

// signed gives a record's file and that of its signature by a person's key.
func (w *world) signed(v any, signer, path string) []file {
	w.Helper()
	data, err := record.Encode(v)
	w.must(err)
	sig, _, err := record.SignRecord(context.Background(), w.signers[signer], data, w.now)
	w.must(err)
	return []file{{path, string(data)}, {record.SignaturePath(path), string(sig)}}
}

func (w *world) request(change ...func(*request.Request)) (request.Request, []file) {
	w.Helper()
	r := request.Request{Head: w.head(record.KindRequest, "bob"), Grants: []request.Grant{{Resource: "db", Role: "read"}},
		Duration: record.Duration{Duration: time.Hour}, Reason: "to look", Expires: record.At(w.now.Add(2 * time.Hour))}
	for _, f := range change {
		f(&r)
	}
	signer := r.By
	if w.signers[signer] == nil {
		signer = "bob"
	}
	return r, w.signed(r, signer, record.PathOf(r.Head, "", false))
}

// asked is a request that stands in the history.
func (w *world) asked() (request.Request, record.Digest) {
	w.Helper()
	r, files := w.request()
	w.counted(w.push(files...), 1)
	return r, record.Sum([]byte(files[0].data))
}

func (w *world) approval(r request.Request, digest record.Digest, by string, change ...func(*approve.Approval)) []file {
	w.Helper()
	a := approve.Approval{Head: w.head(record.KindApproval, by), Request: r.ID, RequestDigest: digest}
	for _, f := range change {
		f(&a)
	}
	return w.signed(a, by, record.PathOf(a.Head, r.ID, false))
}

func (w *world) receipt(r request.Request, digest record.Digest, by string) []file {
	w.Helper()
	rec := receipt.Receipt{Head: w.head(record.KindReceipt, by), Request: r.ID, RequestDigest: digest, Resource: r.Grants[0].Resource, Role: "read",
		Account: "bob", Outcome: receipt.Applied, Ledger: w.l.Digest()}
	return w.signed(rec, by, record.PathOf(rec.Head, r.ID, false))
}

// proposal is a policy version that replaces the one in force.
func (w *world) proposal(by string, change func(*policy.Document)) (policy.Document, []file) {
	w.Helper()
	expires := record.At(w.now.Add(24 * time.Hour))
	doc := policy.Document{Head: w.head(record.KindPolicy, by), Replaces: w.l.Policy().Digest(), Expires: &expires, Body: w.body}
	if change != nil {
		change(&doc)
	}
	return doc, w.signed(doc, by, record.PathOf(doc.Head, "", false))
}

func (w *world) policyApproval(doc policy.Document, bytes file, by string) []file {
	w.Helper()
	a := approve.Approval{Head: w.head(record.KindApproval, by), Request: doc.ID, RequestDigest: record.Sum([]byte(bytes.data))}
	return w.signed(a, by, record.PathOf(a.Head, doc.ID, true))
}

func (w *world) counted(r ledger.Report, records int) {
	w.Helper()
	if r.Records != records || len(r.SetAside) > 0 {
		w.Fatalf("%d records counted, want %d; set aside: %+v", r.Records, records, r.SetAside)
	}
}

// refused asserts that nothing counted, and the one reason.
func (w *world) refused(r ledger.Report, reason string) {
	w.Helper()
	if r.Records != 0 || len(r.SetAside) != 1 || r.SetAside[0].Reason != reason {
		w.Errorf("%d records counted, set aside %+v; want only %q", r.Records, r.SetAside, reason)
	}
}

func (w *world) state(id record.ID, want approve.State) {
	w.Helper()
	e, err := w.l.Request(id, w.now)
	w.must(err)
	if e.State != want {
		w.Errorf("state %s, want %s: %+v", e.State, want, e.Decision)
	}
}

// same asserts that a ledger made of the history in other portions exports the
// same bytes.
func (w *world) same(portions ...int) {
	w.Helper()
	want, err := w.l.Export()
	w.must(err)
	l := w.ledger()
	for _, p := range append(portions, len(w.commits)-1) {
		_, err := l.Fold(context.Background(), w, w.commits[p])
		w.must(err)
	}
	got, err := l.Export()
	w.must(err)
	if string(got) != string(want) {
		w.Errorf("folded at %v the ledger differs:\n%s\nwant\n%s", portions, got, want)
	}
}

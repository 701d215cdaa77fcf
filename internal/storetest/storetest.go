// Package storetest makes real stores for tests: a bare repository in a
// temporary folder, people and a reconciler with keys of their own, and signed
// records with times that the test chooses.
//
// It is used by tests alone, and never imports targets, reconcile or the
// commands.
package storetest

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// Reconciler is the name of the reconciler in the policy.
const Reconciler = "db1"

// Store is a store with alice, bob and carol, and the machine from which they
// all write. The rule of its policy: anybody may ask for anything for at most
// eight hours, and one of alice and carol approves. alice is the admin.
type Store struct {
	// URL is the folder of the bare repository.
	URL      string
	Identity record.StoreID
	// Machine is the copy through which the people write.
	Machine *replica.Replica

	t    testing.TB
	now  time.Time
	keys map[string]*record.GeneratedKey
}

// New makes a store at a time. change, which may be nil, is given the first
// policy to add resources and the like.
func New(t testing.TB, now time.Time, change func(*policy.Body)) *Store {
	t.Helper()
	s := &Store{t: t, now: now.UTC().Truncate(time.Second), URL: filepath.Join(t.TempDir(), "store.git"), keys: map[string]*record.GeneratedKey{}}
	body := policy.Body{
		Admins:      policy.Admins{People: []string{"alice"}, Threshold: 1},
		People:      map[string]policy.Person{},
		Reconcilers: map[string]policy.Reconciler{},
		Resources:   map[string]policy.Resource{},
		Rules: []policy.Rule{{Name: "all", Resources: []string{"*"}, Roles: []string{"*"}, Requesters: []string{"*"},
			MaxDuration: record.Duration{Duration: 8 * time.Hour}, Stages: []policy.Stage{{Approvers: []string{"alice", "carol"}, Count: 1}}}},
	}
	var certs []*record.Certificate
	for _, name := range []string{"alice", "bob", "carol", Reconciler} {
		key, err := record.GenerateKey(name, name+"@example.com", s.now.Add(-48*time.Hour), 0)
		s.must(err)
		s.keys[name] = key
		certs = append(certs, key.Certificate())
		fingerprints := []record.Fingerprint{key.Certificate().Fingerprint()}
		if name == Reconciler {
			body.Reconcilers[name] = policy.Reconciler{Keys: fingerprints}
		} else {
			body.People[name] = policy.Person{Keys: fingerprints}
		}
	}
	if change != nil {
		change(&body)
	}
	ctx := context.Background()
	var err error
	s.Identity, err = replica.Init(ctx, replica.Config{Dir: t.TempDir(), URL: s.URL},
		replica.InitOptions{Body: body, By: "alice", Signer: s.Signer("alice"), Certificates: certs, Now: s.now})
	s.must(err)
	s.Machine, err = replica.Open(ctx, replica.Config{Dir: t.TempDir(), URL: s.URL, Identity: s.Identity, Now: s.Now})
	s.must(err)
	t.Cleanup(func() { s.must(s.Machine.Close()) })
	s.Sync()
	return s
}

func (s *Store) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// Now gives the store's clock, which stands still but for Set.
func (s *Store) Now() time.Time { return s.now }

// Set moves the clock of all who sign.
func (s *Store) Set(now time.Time) { s.now = now.UTC().Truncate(time.Second) }

// Signer signs as one of the people or the reconciler, by the store's clock.
func (s *Store) Signer(name string) record.Signer {
	s.t.Helper()
	key, ok := s.keys[name]
	if !ok {
		s.t.Fatalf("nobody is named %q", name)
	}
	return key.Signer(s.Now)
}

// Certificate gives the public key of one of the people or the reconciler.
func (s *Store) Certificate(name string) *record.Certificate { return s.keys[name].Certificate() }

// KeyFile writes somebody's secret key to a new file without a passphrase. It
// signs by the real clock.
func (s *Store) KeyFile(name string) string {
	s.t.Helper()
	secret, err := s.keys[name].SecretArmor(nil)
	s.must(err)
	path := filepath.Join(s.t.TempDir(), name+".key")
	s.must(os.WriteFile(path, secret, 0o600))
	return path
}

// Sync brings the people's machine up to date.
func (s *Store) Sync() {
	s.t.Helper()
	_, err := s.Machine.Sync(context.Background())
	s.must(err)
}

// Entry gives a request as it stands now.
func (s *Store) Entry(id record.ID) ledger.Entry {
	s.t.Helper()
	s.Sync()
	e, err := s.Machine.Ledger().Request(id, s.now)
	s.must(err)
	return e
}

// Commits counts the commits of the store.
func (s *Store) Commits() int {
	s.t.Helper()
	s.Sync()
	_, n := s.Machine.Ledger().Head()
	return n
}

// Request asks for RESOURCE:ROLE grants as by, and gives the request.
func (s *Store) Request(by string, duration time.Duration, grants ...string) request.Request {
	s.t.Helper()
	return s.RequestWith(by, duration, grants, nil)
}

// RequestWith is Request with a change to the record before it is signed.
func (s *Store) RequestWith(by string, duration time.Duration, grants []string, change func(*request.Request)) request.Request {
	s.t.Helper()
	r := request.Request{
		Head: s.head(record.KindRequest, by), Duration: record.Duration{Duration: duration},
		Reason: "to look into it", Expires: record.At(s.now.Add(time.Hour)),
	}
	for _, text := range grants {
		g, err := request.ParseGrant(text)
		s.must(err)
		r.Grants = append(r.Grants, g)
	}
	if change != nil {
		change(&r)
	}
	s.submit(r, by, "")
	return r
}

// Approve approves a request.
func (s *Store) Approve(by string, id record.ID) {
	s.t.Helper()
	head, digest := s.beside(record.KindApproval, by, id)
	s.submit(approve.Approval{Head: head, Request: id, RequestDigest: digest}, by, id)
}

// Deny denies a request.
func (s *Store) Deny(by string, id record.ID) {
	s.t.Helper()
	head, digest := s.beside(record.KindDenial, by, id)
	s.submit(approve.Denial{Head: head, Request: id, RequestDigest: digest, Reason: "no"}, by, id)
}

// Cancel cancels a request.
func (s *Store) Cancel(by string, id record.ID) {
	s.t.Helper()
	head, digest := s.beside(record.KindCancellation, by, id)
	s.submit(revoke.Cancellation{Head: head, Request: id, RequestDigest: digest}, by, id)
}

// Revoke revokes a request.
func (s *Store) Revoke(by string, id record.ID) {
	s.t.Helper()
	head, digest := s.beside(record.KindRevocation, by, id)
	s.submit(revoke.Revocation{Head: head, Request: id, RequestDigest: digest, Reason: "enough"}, by, id)
}

// Lock locks what change names.
func (s *Store) Lock(by string, change func(*revoke.Lock)) revoke.Lock {
	s.t.Helper()
	l := revoke.Lock{Head: s.head(record.KindLock, by), Reason: "stolen"}
	change(&l)
	s.submit(l, by, "")
	return l
}

// Unlock agrees to lift a lock.
func (s *Store) Unlock(by string, lock record.ID) {
	s.t.Helper()
	s.submit(revoke.Unlock{Head: s.head(record.KindUnlock, by), Lock: lock, Reason: "found again"}, by, "")
}

// Granted asks as by and approves as carol, or as alice what carol asks for, and
// gives the request.
func (s *Store) Granted(by string, duration time.Duration, grants ...string) request.Request {
	s.t.Helper()
	r := s.Request(by, duration, grants...)
	approver := "carol"
	if by == approver {
		approver = "alice"
	}
	s.Approve(approver, r.ID)
	return r
}

// ChangePolicy puts another version in force, signed by alice, the one admin.
func (s *Store) ChangePolicy(change func(*policy.Body)) record.ID {
	s.t.Helper()
	s.Sync()
	old := s.Machine.Ledger().Policy()
	expires := record.At(s.now.Add(time.Hour))
	doc := policy.Document{Head: s.head(record.KindPolicy, "alice"), Replaces: old.Digest(), Expires: &expires, Body: clone(s, old.Document().Body)}
	change(&doc.Body)
	s.submit(doc, "alice", "")
	if got := s.Machine.Ledger().Policy().ID(); got != doc.ID {
		s.t.Fatalf("policy version %s is not in force, %s is", doc.ID, got)
	}
	return doc.ID
}

// AddReconciler makes another reconciler with a key of its own, and puts it in the
// policy.
func (s *Store) AddReconciler(name string, resources ...string) {
	s.t.Helper()
	key, err := record.GenerateKey(name, name+"@example.com", s.now.Add(-48*time.Hour), 0)
	s.must(err)
	s.keys[name] = key
	_, err = s.Machine.SubmitCertificate(context.Background(), replica.Message{Subject: name + " publishes its key"}, name, key.Certificate(), s.now)
	s.must(err)
	s.ChangePolicy(func(b *policy.Body) {
		b.Reconcilers[name] = policy.Reconciler{Keys: []record.Fingerprint{key.Certificate().Fingerprint()}, Resources: resources}
	})
}

// clone copies a policy by writing and reading it.
func clone(s *Store, body policy.Body) policy.Body {
	s.t.Helper()
	data, err := record.Encode(body)
	s.must(err)
	var c policy.Body
	s.must(record.DecodeStrict(data, &c))
	return c
}

func (s *Store) head(kind record.Kind, by string) record.Head {
	s.t.Helper()
	s.Sync()
	h, err := s.Machine.NewHead(kind, by, s.now)
	s.must(err)
	return h
}

func (s *Store) beside(kind record.Kind, by string, id record.ID) (record.Head, record.Digest) {
	s.t.Helper()
	h := s.head(kind, by)
	return h, s.Entry(id).Digest
}

// submit signs rec, which stands beside a request or by itself, and sends it.
func (s *Store) submit(rec any, by string, beside record.ID) {
	s.t.Helper()
	ctx := context.Background()
	out, err := s.Machine.Prepare(ctx, s.Signer(by), rec, s.now, beside, false)
	s.must(err)
	result, err := s.Machine.Submit(ctx, replica.Message{Subject: by + " signs a " + string(out.Head.Kind)}, out)
	s.must(err)
	if result.Spooled {
		s.t.Fatalf("the record could not be sent: %v", result.Cause)
	}
}

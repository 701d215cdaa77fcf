// Package storegen makes honest stores of any size: people with keys, several
// policy versions, and requests with an approval and two receipts each, as the
// commands would have written them over the years. The same options give the
// same commits, byte for byte, on every machine.
//
// It is for benchmarks and tests. It builds records with the packages that own
// them, and hands the commits to `git fast-import`, which is what makes a
// hundred thousand requests a matter of minutes. It never imports the ledger or
// anything that reads a store.
package storegen

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// Options say what a store holds.
type Options struct {
	// Requests is how many requests there are; each has an approval and two
	// receipts.
	Requests int
	// Seed chooses keys, ids and texts.
	Seed uint64
	// Begin is when the store was made; zero is the first of January 2023.
	Begin time.Time
	// SignCommits signs every commit too, so that git log --show-signature has
	// something to check.
	SignCommits bool
}

// The shape of every store.
const (
	people   = 30
	rsaEvery = 5 // every fifth person has an RSA key
	machines = 3
	// perRound requests are made, approved and opened together: a busy hour. A
	// reconciler's run writes its receipts in one commit.
	perRound = 5
	// roundsADay make a hundred requests a day.
	roundsADay = 20
	versions   = 4 // of the policy
	resources  = 12
)

// Store says what was made.
type Store struct {
	// Dir is the bare repository.
	Dir      string
	Identity record.StoreID
	Head     string
	// Commits and Records count what is in it, certificates apart.
	Commits, Records int
	// End is the time of the last record.
	End time.Time

	o      Options
	people map[string]*person
}

// Generate makes a store in the folder dir, which must not exist.
func Generate(ctx context.Context, dir string, o Options) (*Store, error) {
	if o.Begin.IsZero() {
		o.Begin = time.Date(2023, 1, 1, 6, 0, 0, 0, time.UTC)
	}
	s := &Store{Dir: dir, o: o, people: map[string]*person{}}
	if err := s.invite(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(dir); err == nil {
		return nil, fmt.Errorf("%q is there already", dir)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, err
	}
	imp, err := startImport(ctx, dir)
	if err != nil {
		return nil, err
	}
	w := &writer{s: s, imp: imp, dice: rand.New(dice(o.Seed, "what is asked for"))}
	err = w.write(ctx)
	if e := imp.close(); err == nil {
		err = e
	}
	return s, err
}

// invite makes the people and the machines, with their keys.
func (s *Store) invite() error {
	var mu sync.Mutex
	var names []string
	for i := range people {
		names = append(names, personName(i))
	}
	for i := range machines {
		names = append(names, machineName(i))
	}
	born := s.o.Begin.Add(-24 * time.Hour)
	return inParallel(len(names), func(i int) error {
		p, err := newPerson(s.o.Seed, names[i], i < people && i%rsaEvery == rsaEvery-1, born)
		mu.Lock()
		defer mu.Unlock()
		s.people[names[i]] = p
		return err
	})
}

func personName(i int) string   { return fmt.Sprintf("person%02d", i) }
func machineName(i int) string  { return fmt.Sprintf("machine%d", i) }
func resourceName(i int) string { return fmt.Sprintf("db-%02d", i) }

// Certificates gives the public keys of all.
func (s *Store) Certificates() []*record.Certificate {
	var all []*record.Certificate
	for _, p := range s.people {
		all = append(all, p.cert)
	}
	return all
}

// Signer signs as somebody, by a clock.
func (s *Store) Signer(name string, now func() time.Time) (record.Signer, error) {
	p, ok := s.people[name]
	if !ok {
		return nil, fmt.Errorf("nobody is named %q", name)
	}
	return record.OpenKey(p.secret, now)
}

// body is the policy of a version. Versions differ in what no grant rests on.
func (s *Store) body(version int) policy.Body {
	keys := func(name string) []record.Fingerprint {
		return []record.Fingerprint{s.people[name].cert.Fingerprint()}
	}
	b := policy.Body{
		Admins: policy.Admins{People: []string{personName(0), personName(1), personName(2)}, Threshold: 2},
		People: map[string]policy.Person{}, Reconcilers: map[string]policy.Reconciler{}, Resources: map[string]policy.Resource{},
		Groups: map[string][]string{"leads": {}},
		Rules: []policy.Rule{{Name: "databases", Resources: []string{"db-*", FileResource}, Roles: []string{"*"}, Requesters: []string{"*"},
			MaxDuration: record.Duration{Duration: 8 * time.Hour}, Stages: []policy.Stage{{Approvers: []string{"group:leads"}, Count: 1}}}},
	}
	for i := range people {
		name := personName(i)
		b.People[name] = policy.Person{Name: name, Email: name + "@example.com", Keys: keys(name)}
		if i < leads {
			b.Groups["leads"] = append(b.Groups["leads"], name)
		}
	}
	for i := range resources {
		b.Resources[resourceName(i)] = policy.Resource{
			Driver: "postgres", Description: fmt.Sprintf("orders, as of version %d", version),
			Roles: map[string]policy.Role{"readonly": {Parameters: map[string]string{"grant": "orders_readonly"}}, "readwrite": {Parameters: map[string]string{"grant": "orders_readwrite"}}},
		}
	}
	// One resource is a file, which needs no server: so a request can be seen through.
	const sshKey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHYh9+LRV/hWxxpTqdqVAPL4TGrlW4Wo5bS0u8jVJzqk"
	for name, p := range b.People {
		p.Accounts = map[string]string{"authorized-keys": sshKey + " " + name}
		b.People[name] = p
	}
	b.Resources[FileResource] = policy.Resource{Driver: "authorized-keys", Description: "a file",
		Roles: map[string]policy.Role{"shell": {Parameters: map[string]string{"account": "nobody"}}}}
	for m := range machines {
		r := policy.Reconciler{Keys: keys(machineName(m))}
		for i := m; i < resources; i += machines {
			r.Resources = append(r.Resources, resourceName(i))
		}
		if m == 0 {
			r.Resources = append(r.Resources, FileResource)
		}
		b.Reconcilers[machineName(m)] = r
	}
	return b
}

// FileResource is a resource of machine0 whose access is a line in a file: its role
// is shell.
const FileResource = "login"

// leads may approve.
const leads = 10

// draft is a record before it is signed.
type draft struct {
	by     string
	at     time.Time
	record any
	path   string
	// What signing makes of it.
	data, sig []byte
}

// writer makes the history.
type writer struct {
	s    *Store
	imp  *fastImport
	dice *rand.Rand
	head string
	// before is the newest signed commit, where commits are signed.
	before string
	now    time.Time
	// in force
	policy       record.Digest
	signers      []map[string]*signer // by processor
	policyNumber int
}

func (w *writer) write(ctx context.Context) error {
	w.now = w.s.o.Begin
	if err := w.begin(); err != nil {
		return err
	}
	rounds := (w.s.o.Requests + perRound - 1) / perRound
	left := w.s.o.Requests
	for i := range rounds {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i > 0 && i%max(1, rounds/versions) == 0 && w.policyNumber < versions {
			if err := w.newPolicy(); err != nil {
				return err
			}
		}
		if err := w.round(i, min(left, perRound)); err != nil {
			return err
		}
		left -= perRound
	}
	w.s.Head, w.s.End = w.head, w.now
	return nil
}

// id makes an ID of a time.
func (w *writer) id(at time.Time) (record.ID, error) {
	var random [16]byte
	binary.LittleEndian.PutUint64(random[:], w.dice.Uint64())
	binary.LittleEndian.PutUint64(random[8:], w.dice.Uint64())
	return record.NewID(at, readerOf(random[:]))
}

func (w *writer) headOf(kind record.Kind, by string, at time.Time) (record.Head, error) {
	id, err := w.id(at)
	return record.Head{APIVersion: record.APIVersion, Kind: kind, ID: id, Store: w.s.Identity, Head: w.head, Created: record.At(at), By: by}, err
}

// begin writes the first policy and the certificates.
func (w *writer) begin() error {
	by := personName(0)
	h, err := w.headOf(record.KindPolicy, by, w.now)
	if err != nil {
		return err
	}
	h.Store, h.Head = "", ""
	d := []draft{{by: by, at: w.now, record: policy.Document{Head: h, Body: w.s.body(1)}, path: record.PathOf(h, "", false)}}
	if err := w.sign(d); err != nil {
		return err
	}
	w.policyNumber = 1
	w.policy = record.Sum(d[0].data)
	w.s.Identity = record.StoreID(w.policy)
	c := commit{by: by, at: w.now, subject: by + " makes the store", drafts: d}
	for _, cert := range w.s.sorted() {
		armor := cert.Armor()
		c.files = append(c.files, file{record.CertificatePath(cert.Fingerprint(), armor), armor})
	}
	return w.commit(c)
}

func (s *Store) sorted() []*record.Certificate {
	all := s.Certificates()
	slices.SortFunc(all, func(a, b *record.Certificate) int {
		if a.Fingerprint() < b.Fingerprint() {
			return -1
		}
		return 1
	})
	return all
}

// newPolicy proposes a version and has a second admin agree.
func (w *writer) newPolicy() error {
	w.policyNumber++
	w.now = w.now.Add(time.Minute)
	by, other := personName(0), personName(1)
	h, err := w.headOf(record.KindPolicy, by, w.now)
	if err != nil {
		return err
	}
	expires := record.At(w.now.Add(24 * time.Hour))
	doc := policy.Document{Head: h, Replaces: w.policy, Expires: &expires, Body: w.s.body(w.policyNumber)}
	d := []draft{{by: by, at: w.now, record: doc, path: record.PathOf(h, "", false)}}
	if err := w.sign(d); err != nil {
		return err
	}
	digest := record.Sum(d[0].data)
	if err := w.commit(commit{by: by, at: w.now, subject: by + " proposes a policy", drafts: d}); err != nil {
		return err
	}
	w.now = w.now.Add(time.Minute)
	ah, err := w.headOf(record.KindApproval, other, w.now)
	if err != nil {
		return err
	}
	d = []draft{{by: other, at: w.now, record: approve.Approval{Head: ah, Request: h.ID, RequestDigest: digest}, path: record.PathOf(ah, h.ID, true)}}
	if err := w.sign(d); err != nil {
		return err
	}
	w.policy = digest
	return w.commit(commit{by: other, at: w.now, subject: other + " approves a policy", drafts: d})
}

// asked is a request of the present round.
type asked struct {
	request  request.Request
	digest   record.Digest
	opened   time.Time
	approver string
}

// round writes n requests with all that follows from them.
func (w *writer) round(number, n int) error {
	const day = 24 * time.Hour
	begin := w.s.o.Begin.Add(time.Duration(number)*day/roundsADay + time.Hour)
	if begin.After(w.now) {
		w.now = begin
	}
	m := w.dice.IntN(machines)
	machine := machineName(m)
	round := make([]asked, n)
	var drafts []draft
	for i := range round {
		w.now = w.now.Add(time.Duration(5+w.dice.IntN(20)) * time.Second)
		by := personName(w.dice.IntN(people))
		h, err := w.headOf(record.KindRequest, by, w.now)
		if err != nil {
			return err
		}
		resource := resourceName(m + machines*w.dice.IntN(resources/machines))
		round[i].request = request.Request{
			Head: h, Grants: []request.Grant{{Resource: resource, Role: []string{"readonly", "readwrite"}[w.dice.IntN(2)]}},
			Duration: record.Duration{Duration: time.Duration(10+w.dice.IntN(10)) * time.Minute},
			Reason:   fmt.Sprintf("%s %d, which the customer reported", []string{"look into order", "correct invoice", "repeat import"}[w.dice.IntN(3)], 1000+w.dice.IntN(90000)),
			Ticket:   fmt.Sprintf("OPS-%d", 1+w.dice.IntN(9000)), Expires: record.At(w.now.Add(day)),
		}
		drafts = append(drafts, draft{by: by, at: w.now, record: round[i].request, path: record.PathOf(h, "", false)})
	}
	if err := w.sign(drafts); err != nil {
		return err
	}
	for i, d := range drafts {
		round[i].digest = record.Sum(d.data)
		g := round[i].request.Grants[0]
		if err := w.commit(commit{by: d.by, at: d.at, subject: fmt.Sprintf("%s asks for %s, %s", d.by, g, round[i].request.Duration), request: round[i].request.ID, drafts: drafts[i : i+1]}); err != nil {
			return err
		}
	}

	drafts = drafts[:0]
	for i := range round {
		w.now = w.now.Add(time.Duration(5+w.dice.IntN(20)) * time.Second)
		r := &round[i]
		for r.approver == "" || r.approver == r.request.By {
			r.approver = personName(w.dice.IntN(leads))
		}
		h, err := w.headOf(record.KindApproval, r.approver, w.now)
		if err != nil {
			return err
		}
		r.opened = w.now
		drafts = append(drafts, draft{by: r.approver, at: w.now, path: record.PathOf(h, r.request.ID, false),
			record: approve.Approval{Head: h, Request: r.request.ID, RequestDigest: r.digest}})
	}
	if err := w.sign(drafts); err != nil {
		return err
	}
	for i, d := range drafts {
		r := round[i]
		if err := w.commit(commit{by: d.by, at: d.at, subject: fmt.Sprintf("%s approves %s's request for %s", d.by, r.request.By, r.request.Grants[0]), request: r.request.ID, drafts: drafts[i : i+1]}); err != nil {
			return err
		}
	}
	w.now = w.now.Add(time.Minute)
	if err := w.receipts(machine, round, receipt.Applied); err != nil {
		return err
	}
	w.now = w.now.Add(25 * time.Minute)
	return w.receipts(machine, round, receipt.Ended)
}

// receipts writes what a reconciler's run did, in one commit.
func (w *writer) receipts(machine string, round []asked, outcome receipt.Outcome) error {
	var drafts []draft
	for _, r := range round {
		h, err := w.headOf(record.KindReceipt, machine, w.now)
		if err != nil {
			return err
		}
		g := r.request.Grants[0]
		rec := receipt.Receipt{Head: h, Request: r.request.ID, RequestDigest: r.digest, Resource: g.Resource, Role: g.Role,
			Account: r.request.By, Outcome: outcome, Ledger: record.Digest(w.s.Identity)}
		if outcome == receipt.Applied {
			ends := record.At(r.opened.Add(r.request.Duration.Duration))
			rec.Ends = &ends
		} else {
			rec.Cause = "expired"
		}
		drafts = append(drafts, draft{by: machine, at: w.now, record: rec, path: record.PathOf(h, r.request.ID, false)})
	}
	if err := w.sign(drafts); err != nil {
		return err
	}
	verb := map[receipt.Outcome]string{receipt.Applied: "opened", receipt.Ended: "ended"}[outcome]
	return w.commit(commit{by: machine, at: w.now, subject: fmt.Sprintf("%s %s %d", machine, verb, len(round)), drafts: drafts})
}

// sign encodes and signs drafts on all processors.
func (w *writer) sign(drafts []draft) error {
	if w.signers == nil {
		w.signers = make([]map[string]*signer, runtime.GOMAXPROCS(0))
		for i := range w.signers {
			w.signers[i] = map[string]*signer{}
		}
	}
	free := make(chan map[string]*signer, len(w.signers))
	for _, s := range w.signers {
		free <- s
	}
	return inParallel(len(drafts), func(i int) (err error) {
		mine := <-free
		defer func() { free <- mine }()
		d := &drafts[i]
		s, ok := mine[d.by]
		if !ok {
			if s, err = w.s.people[d.by].signer(d.at); err != nil {
				return err
			}
			mine[d.by] = s
		}
		s.now = d.at
		if d.data, err = record.Encode(d.record); err != nil {
			return err
		}
		d.sig, err = s.Sign(context.Background(), d.data)
		return err
	})
}

// inParallel calls f for 0 to n-1 on all processors, and gives the first error.
func inParallel(n int, f func(i int) error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	limit := make(chan struct{}, runtime.GOMAXPROCS(0))
	for i := range n {
		limit <- struct{}{}
		all.Go(func() {
			defer func() { <-limit }()
			errs[i] = f(i)
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// SecretKey gives somebody's secret key, armoured, without a passphrase.
func (s *Store) SecretKey(name string) ([]byte, error) {
	p, ok := s.people[name]
	if !ok {
		return nil, fmt.Errorf("nobody is named %q", name)
	}
	return p.secret, nil
}

// Heads gives the head of a new record: a machine's copy of the store.
type Heads interface {
	NewHead(kind record.Kind, by string, now time.Time) (record.Head, error)
}

// NewRequest makes a request of today, as by would ask for it.
func (s *Store) NewRequest(heads Heads, by string, now time.Time) (request.Request, error) {
	h, err := heads.NewHead(record.KindRequest, by, now)
	return request.Request{
		Head: h, Grants: []request.Grant{{Resource: resourceName(0), Role: "readonly"}}, Duration: record.Duration{Duration: time.Hour},
		Reason: "look into order 4711", Expires: record.At(now.Add(time.Hour)),
	}, err
}

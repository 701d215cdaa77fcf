package reconcile

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// away takes the store away, and gives what brings it back.
func (w *world) away() (back func()) {
	w.t.Helper()
	move := func(from, to string) {
		w.t.Helper()
		if err := os.Rename(from, to); err != nil {
			w.t.Fatal(err)
		}
	}
	move(w.store.URL, w.store.URL+".hidden")
	return func() { move(w.store.URL+".hidden", w.store.URL) }
}

// signs makes a record as a person does whose machine does not reach the store.
func (w *world) signs(kind record.Kind, by string, beside record.ID, make func(record.Head) any) replica.Outgoing {
	w.t.Helper()
	h, err := w.store.Machine.NewHead(kind, by, w.store.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	out, err := w.store.Machine.Prepare(w.t.Context(), w.store.Signer(by), make(h), w.store.Now(), beside, false)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// digest is that of a request, as the people know it already.
func (w *world) digest(id record.ID) record.Digest {
	w.t.Helper()
	e, err := w.store.Machine.Ledger().Request(id, w.store.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	return e.Digest
}

func (w *world) revokes(by string, r request.Request) replica.Outgoing {
	w.t.Helper()
	digest := w.digest(r.ID)
	return w.signs(record.KindRevocation, by, r.ID, func(h record.Head) any {
		return revoke.Revocation{Head: h, Request: r.ID, RequestDigest: digest, Reason: "enough"}
	})
}

func (w *world) asksFor(by string, isEmergency bool) (replica.Outgoing, record.ID) {
	w.t.Helper()
	out := w.signs(record.KindRequest, by, "", func(h record.Head) any {
		return request.Request{Head: h, Grants: []request.Grant{{Resource: "db", Role: "read"}}, Duration: record.Duration{Duration: time.Hour},
			Reason: "the house burns", Emergency: isEmergency, Expires: record.At(w.store.Now().Add(time.Hour))}
	})
	return out, out.Head.ID
}

// bring lays files into the folder, at their paths in the store, and gives their names.
func (w *world) bring(out replica.Outgoing) (names []string) {
	w.t.Helper()
	for path, data := range map[string][]byte{out.Path: out.Data, record.SignaturePath(out.Path): out.Signature} {
		names = append(names, w.lay(path, data))
	}
	return names
}

func (w *world) lay(path string, data []byte) string {
	w.t.Helper()
	name := filepath.Join(w.o.Config.State, carriedFolder, path)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, data, 0o600)); err != nil {
		w.t.Fatal(err)
	}
	return name
}

// wantTaken looks whether files that were brought are gone.
func (w *world) wantTaken(names []string, want bool) {
	w.t.Helper()
	for _, name := range names {
		if _, err := os.Lstat(name); os.IsNotExist(err) != want {
			w.t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCarriedIn: what takes away has its effect without the store, and goes there when it
// is back.
func TestCarriedIn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		away  bool
		make  func(*world, request.Request) replica.Outgoing
		cause string
	}{
		{"a revocation", true, func(w *world, r request.Request) replica.Outgoing { return w.revokes("alice", r) }, "revoked"},
		{"a revocation, and the store is there", false, func(w *world, r request.Request) replica.Outgoing { return w.revokes("alice", r) }, "revoked"},
		{"a lock", true, func(w *world, _ request.Request) replica.Outgoing {
			return w.signs(record.KindLock, "alice", "", func(h record.Head) any { return revoke.Lock{Head: h, Person: "bob", Reason: "gone"} })
		}, "revoked"},
		{"a cancellation", true, func(w *world, r request.Request) replica.Outgoing {
			digest := w.digest(r.ID)
			return w.signs(record.KindCancellation, "bob", r.ID, func(h record.Head) any {
				return revoke.Cancellation{Head: h, Request: r.ID, RequestDigest: digest}
			})
		}, "cancelled"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.store.Granted("bob", 4*time.Hour, "db:read")
			other := w.store.Granted("carol", 4*time.Hour, "db:write")
			w.run(0)
			out := c.make(w, r)
			exit, back := 0, func() {}
			if c.away {
				exit, back = 5, w.away()
			}
			names := w.bring(out)
			w.o.DryRun = true
			w.run(exit)
			w.wantTaken(names, false)
			w.o.DryRun = false
			res := w.run(exit)
			w.want("ended db:read for bob: " + c.cause + " (request " + r.ID.Short() + ")")
			w.wantAccess("bob", "readers", false)
			w.wantAccess("carol", "writers", true)
			w.wantTaken(names, true)
			if len(res.Carried) != 1 || !strings.Contains(res.Carried[0], "carried in by "+w.o.Config.Name) {
				t.Errorf("%q", res.Carried)
			}
			// In later runs too, while it waits, and nothing is left of the look ahead.
			w.at(time.Minute)
			w.run(exit)
			w.want()
			if left, _ := filepath.Glob(filepath.Join(w.o.Config.State, "store", "ahead-*")); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
			back()
			w.run(0)
			w.want()
			w.wantReceipts(r.ID, "applied db:read", "ended db:read "+c.cause)
			w.wantReceipts(other.ID, "applied db:write")
			if found, err := w.store.Machine.Ledger().Lookup(string(out.Head.ID)); err != nil || len(found) != 1 {
				t.Errorf("in the store: %v, %v", found, err)
			}
		})
	}
}

// TestCarriedSpoolFile: the file in which a person's own machine keeps what it could not
// send is taken as it is.
func TestCarriedSpoolFile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.store.Granted("bob", 4*time.Hour, "db:read")
	w.run(0)
	dir := t.TempDir()
	alice, err := replica.Open(t.Context(), replica.Config{Dir: dir, URL: w.store.URL, Identity: w.store.Identity, Now: w.store.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer alice.Close()
	if _, err := alice.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	out := w.revokes("alice", r)
	back := w.away()
	if res, err := alice.Submit(t.Context(), replica.Message{Subject: "alice revokes"}, out); err != nil || !res.Spooled {
		t.Fatal(res, err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "spool", string(out.Head.ID)+".json"))
	if err != nil {
		t.Fatal(err)
	}
	name := w.lay("from-alice.json", data)
	w.run(5)
	w.wantAccess("bob", "readers", false)
	w.wantTaken([]string{name}, true)
	// Both send it.
	back()
	w.run(0)
	if _, err := alice.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wantReceipts(r.ID, "applied db:read", "ended db:read revoked")
}

// TestCarriedEmergency: an emergency opens without the store, and is sent when it is back.
func TestCarriedEmergency(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.ChangePolicy(emergencies)
	w.run(0)
	out, id := w.asksFor("bob", true)
	for id[10] < 'Y' {
		out, id = w.asksFor("bob", true) // one whose id comes after those of its receipts
	}
	waiting := w.store.Granted("carol", time.Hour, "db:write") // which this machine has not seen
	back := w.away()
	names := w.bring(out)
	w.run(5)
	w.want("opened db:read for bob until " + at(60) + " (request " + id.Short() + ")")
	w.wantAccess("carol", "writers", false)
	w.wantTaken(names, true)
	w.at(minutes(5))
	delete(w.targets["db"].members, "bob/readers")
	w.run(5)
	w.want("restored db:read for bob until " + at(60) + " (request " + id.Short() + ")")
	back()
	w.run(0)
	w.wantReceipts(id, "applied db:read")
	w.wantReceipts(waiting.ID, "applied db:write")
	w.wantAccess("bob", "readers", true)
	w.at(time.Hour)
	w.run(0)
	w.wantAccess("bob", "readers", false)
}

// TestCarriedEmergencyIsAnAnswer: whose signer has seen what this machine signed last
// shows that the store was the true one.
func TestCarriedEmergencyIsAnAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.ChangePolicy(emergencies)
	w.asks(func(r *policy.Resource) { r.Lease = lasting(15) })
	w.run(0)
	w.store.Sync()
	out, _ := w.asksFor("bob", true)
	w.away()
	w.bring(out)
	w.run(5)
	w.wantAccess("bob", "readers", true)
	w.at(minutes(15))
	w.run(5)
	w.wantAccess("bob", "readers", false)
}

// TestCarriedEmergencyThatDoesNotOpen: what keeps others closed keeps it closed.
func TestCarriedEmergencyThatDoesNotOpen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		before func(*world)
		away   func(*world)
	}{
		{"it comes late", nil, func(w *world) { w.at(approve.EmergencyWithin + time.Second) }},
		{"the clock was set back", nil, func(w *world) { w.at(-2 * time.Hour) }},
		{"the history was rewritten", nil, func(w *world) {
			w.faulty(&faultyBook{sync: &replica.RewriteError{Checkpoint: "a", Tip: "b"}})
		}},
		{"the key does not count", nil, func(w *world) {
			w.faulty(&faultyBook{standing: errTest})
		}},
		{"nothing shows that the store is the true one", func(w *world) {
			w.asks(func(r *policy.Resource) { r.Freshness = lasting(60) })
		}, nil},
		{"its trace must come first", func(w *world) {
			w.asks(func(r *policy.Resource) { r.Trace = policy.TraceRequired })
		}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.store.ChangePolicy(emergencies)
			if c.before != nil {
				c.before(w)
			}
			w.run(0)
			out, _ := w.asksFor("bob", true)
			w.away()
			w.bring(out)
			if c.away != nil {
				c.away(w)
			}
			if _, err := Run(t.Context(), w.o); err != nil {
				t.Fatal(err)
			}
			w.wantAccess("bob", "readers", false)
		})
	}
}

// TestCarriedEmergencyThatIsRefused: where the store has locked the person meanwhile, the
// access ends when it is back.
func TestCarriedEmergencyThatIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.ChangePolicy(emergencies)
	w.run(0)
	out, _ := w.asksFor("bob", true)
	w.store.Lock("alice", func(l *revoke.Lock) { l.Person = "bob" })
	back := w.away()
	w.bring(out)
	w.run(5)
	w.wantAccess("bob", "readers", true)
	back()
	if _, err := Run(t.Context(), w.o); err != nil {
		t.Fatal(err)
	}
	w.wantAccess("bob", "readers", false)
}

// TestCarriedInAndRefused: each with its reason, and nothing comes of it.
func TestCarriedInAndRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.ChangePolicy(emergencies)
	r := w.store.Granted("bob", 4*time.Hour, "db:read")
	asked := w.store.Request("carol", time.Hour, "db:write")
	w.run(0)
	w.store.Sync()
	good := w.revokes("alice", r)
	change := func(f func(*replica.Outgoing)) func(*world) []string {
		return func(w *world) []string {
			out := good
			f(&out)
			return w.bring(out)
		}
	}
	spooled := func(text string) func(*world) []string {
		return func(w *world) []string { return []string{w.lay("x.json", []byte(text))} }
	}
	w.away()
	for _, c := range []struct {
		name string
		lay  func(*world) []string
		want CarriedReason
	}{
		{"altered", change(func(o *replica.Outgoing) { o.Data = []byte(strings.Replace(string(o.Data), "enough", "enouch", 1)) }), CarriedReason(record.ReasonSigMismatch)},
		{"somebody else's signature", change(func(o *replica.Outgoing) {
			o.Signature = w.revokes("carol", r).Signature
		}), CarriedReason(record.ReasonSigMismatch)},
		{"in another's name", change(func(o *replica.Outgoing) {
			*o = w.signs(record.KindRevocation, "bob", r.ID, func(h record.Head) any {
				h.By = "alice"
				return revoke.Revocation{Head: h, Request: r.ID, RequestDigest: w.digest(r.ID), Reason: "enough"}
			})
		}), CarriedReason(ledger.ReasonWrongSigner)},
		{"by one who may not", change(func(o *replica.Outgoing) { *o = w.revokes("bob", asked) }), CarriedReason(policy.NotAllowed)},
		{"at another's place", change(func(o *replica.Outgoing) { o.Path = strings.Replace(o.Path, string(r.ID), string(asked.ID), 1) }), CarriedReason(policy.NoSuchRecord)},
		{"an approval", change(func(o *replica.Outgoing) {
			*o = w.signs(record.KindApproval, "alice", asked.ID, func(h record.Head) any {
				return approve.Approval{Head: h, Request: asked.ID, RequestDigest: w.digest(asked.ID)}
			})
		}), CarriedKind},
		{"a request that is no emergency", change(func(o *replica.Outgoing) { *o, _ = w.asksFor("bob", false) }), CarriedKind},
		{"an emergency of one who may have none", change(func(o *replica.Outgoing) { *o, _ = w.asksFor("carol", true) }), CarriedReason(policy.NoEmergency)},
		{"no signature", func(w *world) []string { return []string{w.lay(good.Path, good.Data)} }, CarriedUnpaired},
		{"a signature alone", func(w *world) []string { return []string{w.lay(record.SignaturePath(good.Path), good.Signature)} }, CarriedUnpaired},
		{"junk", func(w *world) []string { return []string{w.lay("README", []byte("hello"))} }, CarriedUnreadable},
		{"no spool file", spooled("{"), CarriedUnreadable},
		{"a spool file with a path out of the store", spooled(`{"Files":[{"Path":"../../etc/passwd","Data":""}]}`), CarriedUnreadable},
		{"too large", func(w *world) []string { return []string{w.lay("x.json", make([]byte, maxCarriedSize+1))} }, CarriedUnreadable},
		{"a link", func(w *world) []string {
			name := w.lay("x.json", nil)
			if err := errors.Join(os.Remove(name), os.Symlink("/dev/zero", name)); err != nil {
				t.Fatal(err)
			}
			return []string{name}
		}, CarriedUnreadable},
	} {
		names := c.lay(w)
		res := w.run(6)
		w.want()
		w.wantAccess("bob", "readers", true)
		w.wantTaken(names, false)
		var refused *CarriedError
		if !slices.ContainsFunc(res.Problems, func(err error) bool { return errors.As(err, &refused) && refused.Reason == c.want }) {
			t.Errorf("%s: %v, want %s", c.name, res.Problems, c.want)
		}
		if err := os.RemoveAll(filepath.Join(w.o.Config.State, carriedFolder)); err != nil {
			t.Fatal(err)
		}
	}
	// Nothing of it waits, and a folder full of junk keeps the run from nothing.
	if waiting, _ := filepath.Glob(filepath.Join(w.o.Config.State, "store", "spool", "*.json")); len(waiting) > 0 {
		t.Errorf("wait: %q", waiting)
	}
	for i := range maxCarried + 1 {
		w.lay(strings.Repeat("x", i+1), nil)
	}
	w.at(4 * time.Hour)
	w.run(6)
	w.wantAccess("bob", "readers", false)
}

package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

func revocation(w *world, r request.Request, digest record.Digest, by string, change ...func(*revoke.Revocation)) []file {
	w.Helper()
	x := revoke.Revocation{Head: w.head(record.KindRevocation, by), Request: r.ID, RequestDigest: digest, Reason: "enough"}
	for _, f := range change {
		f(&x)
	}
	return w.signed(x, by, record.PathOf(x.Head, r.ID, false))
}

// TestReasons: one hostile commit each, and the one reason for which it has no
// effect.
func TestReasons(t *testing.T) {
	const elsewhere = "00000000000000000000000000000000000000ff"
	for _, c := range []struct {
		name, reason string
		files        func(w *world) []file
	}{
		{"no signature", ledger.ReasonNoSignature, func(w *world) []file { _, f := w.request(); return f[:1] }},
		{"no record", ledger.ReasonNoSuchRequest, func(w *world) []file { _, f := w.request(); return f[1:] }},
		{"empty signature", "sig-missing", func(w *world) []file { _, f := w.request(); f[1].data = ""; return f }},
		{"one byte more", "sig-mismatch", func(w *world) []file { _, f := w.request(); f[0].data += "\n"; return f }},
		{"signature of another", "sig-mismatch", func(w *world) []file {
			_, f := w.request()
			_, g := w.request()
			f[1].data = g[1].data
			return f
		}},
		{"nobody's key", ledger.ReasonNotInPolicy, func(w *world) []file {
			_, f := w.request(func(r *request.Request) { r.By = "mallory" })
			return f
		}},
		{"another's name", ledger.ReasonWrongSigner, func(w *world) []file {
			r, _ := w.request()
			return w.signed(r, "carol", record.PathOf(r.Head, "", false))
		}},
		{"another store", ledger.ReasonWrongStore, func(w *world) []file {
			_, f := w.request(func(r *request.Request) { r.Store = record.StoreID(record.Sum([]byte("other"))) })
			return f
		}},
		{"unknown head", ledger.ReasonUnknownHead, func(w *world) []file {
			_, f := w.request(func(r *request.Request) { r.Head.Head = elsewhere })
			return f
		}},
		{"no head", ledger.ReasonUnknownHead, func(w *world) []file {
			_, f := w.request(func(r *request.Request) { r.Head.Head = "" })
			return f
		}},
		{"wrong place", ledger.ReasonWrongPlace, func(w *world) []file {
			r, _ := w.request()
			h := r.Head
			h.ID = w.id()
			return w.signed(r, "bob", record.PathOf(h, "", false))
		}},
		{"beside nothing", ledger.ReasonNoSuchRequest, func(w *world) []file {
			r, f := w.request()
			return w.approval(r, record.Sum([]byte(f[0].data)), "carol")
		}},
		{"under records", ledger.ReasonWrongPlace, func(w *world) []file {
			r, d := w.asked()
			a := approve.Approval{Head: w.head(record.KindApproval, "carol"), Request: r.ID, RequestDigest: d}
			return w.signed(a, "carol", record.PathOf(a.Head, "", false))
		}},
		{"foreign file", ledger.ReasonForeignFile, func(*world) []file { return []file{{"README", "hello"}} }},
		{"request by a machine", ledger.ReasonNotReconciler, func(w *world) []file {
			_, f := w.request(func(r *request.Request) { r.By = "robot" })
			return f
		}},
		{"receipt by a person", ledger.ReasonNotReconciler, func(w *world) []file {
			r, d := w.asked()
			return w.receipt(r, d, "bob")
		}},
		{"receipt for another's resource", ledger.ReasonNotReconciler, func(w *world) []file {
			r, f := w.request(func(r *request.Request) { r.Grants[0].Resource = "other" })
			w.counted(w.push(f...), 1)
			return w.receipt(r, record.Sum([]byte(f[0].data)), "robot")
		}},
		{"too long", string(policy.TooLong), func(w *world) []file {
			_, f := w.request(func(r *request.Request) { r.Duration.Duration = 5 * time.Hour })
			return f
		}},
		{"unknown resource", string(policy.UnknownResource), func(w *world) []file {
			_, f := w.request(func(r *request.Request) { r.Grants[0].Resource = "dbx" })
			return f
		}},
		{"own request", string(policy.OwnRequest), func(w *world) []file {
			r, d := w.asked()
			return w.approval(r, d, "bob")
		}},
		{"no approver", string(policy.NotApprover), func(w *world) []file {
			r, d := w.asked()
			return w.approval(r, d, "erin")
		}},
		{"other bytes", string(policy.WrongDigest), func(w *world) []file {
			r, _ := w.asked()
			return w.approval(r, record.Sum([]byte("x")), "carol")
		}},
		{"beside another request", string(policy.NoSuchRecord), func(w *world) []file {
			r, d := w.asked()
			other, _ := w.asked()
			a := approve.Approval{Head: w.head(record.KindApproval, "carol"), Request: r.ID, RequestDigest: d}
			return w.signed(a, "carol", record.PathOf(a.Head, other.ID, false))
		}},
		{"beside a policy version", string(policy.NoSuchRecord), func(w *world) []file {
			r, d := w.asked()
			a := approve.Approval{Head: w.head(record.KindApproval, "carol"), Request: r.ID, RequestDigest: d}
			return w.signed(a, "carol", record.PathOf(a.Head, w.l.Policy().ID(), true))
		}},
		{"head before the request", string(policy.HeadTooOld), func(w *world) []file {
			old := string(w.tip())
			r, d := w.asked()
			return w.approval(r, d, "carol", func(a *approve.Approval) { a.Head.Head = old })
		}},
		{"after its end", string(policy.AfterEnd), func(w *world) []file {
			r, d := w.asked()
			w.counted(w.push(revocation(w, r, d, "erin")...), 1)
			return w.approval(r, d, "carol")
		}},
		{"an id twice", ledger.ReasonDuplicateID, func(w *world) []file {
			r, d := w.asked()
			f := w.approval(r, d, "carol")
			w.counted(w.push(f...), 1)
			c := request.Comment{Head: w.head(record.KindComment, "carol"), Request: r.ID, RequestDigest: d, Comment: "again"}
			place, err := record.ParsePath(f[0].path)
			w.must(err)
			c.ID = place.ID
			return w.signed(c, "carol", record.PathOf(c.Head, r.ID, false))
		}},
		{"not who asked", string(policy.NotRequester), func(w *world) []file {
			r, d := w.asked()
			x := revoke.Cancellation{Head: w.head(record.KindCancellation, "carol"), Request: r.ID, RequestDigest: d}
			return w.signed(x, "carol", record.PathOf(x.Head, r.ID, false))
		}},
		{"before a receipt", string(policy.Backdated), func(w *world) []file {
			r, d := w.asked()
			w.counted(w.push(w.receipt(r, d, "robot")...), 1)
			w.now = w.now.Add(-approve.Skew - time.Minute)
			_, f := w.request()
			return f
		}},
		{"certificate under another name", ledger.ReasonWrongPlace, func(w *world) []file {
			f := certFile(w.certs["bob"].Armor())
			f.path = strings.Replace(f.path, string(w.certs["bob"].Fingerprint()), string(w.certs["carol"].Fingerprint()), 1)
			return []file{f}
		}},
		{"no certificate", "cert-armor", func(w *world) []file {
			return []file{{record.CertificatePath(w.certs["bob"].Fingerprint(), []byte("x")), "x"}}
		}},
		{"policy by no admin", string(policy.NotAdmin), func(w *world) []file {
			_, f := w.proposal("bob", nil)
			return f
		}},
		{"policy by one whom it makes an admin", string(policy.NotAdmin), func(w *world) []file {
			_, f := w.proposal("bob", func(d *policy.Document) { d.Admins.People = []string{"alice", "bob"} })
			return f
		}},
		{"policy by no admin, of which nothing is read", string(policy.NotAdmin), func(w *world) []file {
			_, f := w.proposal("bob", func(d *policy.Document) { d.Admins.Threshold = 0 })
			return f
		}},
		{"policy that replaces another, of which nothing is compiled", string(policy.NotReplacing), func(w *world) []file {
			_, f := w.proposal("alice", func(d *policy.Document) {
				d.Replaces, d.Rules = record.Sum([]byte("x")), append(slices.Clone(d.Rules), policy.Rule{Requires: policy.Requires{Reason: "("}})
			})
			return f
		}},
		{"policy that replaces another", string(policy.NotReplacing), func(w *world) []file {
			_, f := w.proposal("alice", func(d *policy.Document) { d.Replaces = record.Sum([]byte("x")) })
			return f
		}},
		{"proposal without an end", string(policy.PendingTooLong), func(w *world) []file {
			_, f := w.proposal("alice", func(d *policy.Document) { d.Expires = nil })
			return f
		}},
		{"policy with threshold 0", string(policy.BadPolicy), func(w *world) []file {
			_, f := w.proposal("alice", func(d *policy.Document) { d.Admins.Threshold = 0 })
			return f
		}},
		{"too large", "too large", func(w *world) []file {
			_, f := w.request()
			f[0].data = strings.Repeat("x", record.MaxSize+1)
			return f
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			files := c.files(w)
			in := w.l.Policy().Digest()
			report := w.push(files...)
			if c.reason != "" {
				w.refused(report, c.reason)
			}
			if w.l.Policy().Digest() != in {
				t.Error("it changed the policy in force")
			}
			// Nobody else is held up.
			w.now = noon
			w.asked()
			w.same()
		})
	}
}

func TestWhatTakesAwayCounts(t *testing.T) {
	w := newWorld(t)
	r, d := w.asked()
	w.counted(w.push(w.approval(r, d, "carol")...), 1)
	w.state(r.ID, approve.Active)
	report := w.push(revocation(w, r, d, "erin", func(x *revoke.Revocation) { x.Head.Head = strings.Repeat("0", 38) + "ff" })...)
	if report.Records != 1 || len(report.SetAside) != 1 || report.SetAside[0].Reason != ledger.ReasonHeadNoted || report.Forks != 1 {
		t.Errorf("%+v", report)
	}
	w.state(r.ID, approve.Revoked)
	w.same()
}

func TestOrderWithinACommit(t *testing.T) {
	w := newWorld(t)
	r, f := w.request()
	d := record.Sum([]byte(f[0].data))
	// A request and what ends it in one commit: the end is kept.
	w.counted(w.push(append(f, revocation(w, r, d, "erin")...)...), 2)
	w.state(r.ID, approve.Revoked)
	// An approval and a denial: the denial is read first.
	r, d = w.asked()
	deny := approve.Denial{Head: w.head(record.KindDenial, "alice"), Request: r.ID, RequestDigest: d, Reason: "no"}
	w.refusedBeside(w.push(append(w.approval(r, d, "carol"), w.signed(deny, "alice", record.PathOf(deny.Head, r.ID, false))...)...), string(policy.AfterEnd))
	w.state(r.ID, approve.Denied)
	// A revocation and the retirement of the key that signed it.
	r, d = w.asked()
	w.counted(w.push(append(revocation(w, r, d, "erin"), w.revoked("erin", record.RevokedSoft))...), 1)
	w.state(r.ID, approve.Revoked)
	w.same()
}

func (w *world) refusedBeside(r ledger.Report, reason string) {
	w.Helper()
	if r.Records != 1 || len(r.SetAside) != 1 || r.SetAside[0].Reason != reason {
		w.Errorf("want one record counted and one %q: %+v", reason, r)
	}
}

// revoked gives the file of a person's certificate with a revocation in it.
func (w *world) revoked(name string, kind record.RevocationKind) file {
	w.Helper()
	armor, err := record.RevokeKey(w.signers[name], kind, "over", w.now)
	w.must(err)
	return certFile(armor)
}

func TestRevokedKeys(t *testing.T) {
	for _, c := range []struct {
		kind   record.RevocationKind
		state  approve.State
		reason string
	}{{record.RevokedSoft, approve.Active, "key-revoked"}, {record.RevokedHard, approve.Revoked, "key-compromised"}} {
		w := newWorld(t)
		r, d := w.asked()
		w.counted(w.push(w.approval(r, d, "carol")...), 1)
		w.push(w.revoked("carol", c.kind))
		w.state(r.ID, c.state)
		// Whatever time it claims.
		next, nd := w.asked()
		w.now = noon.Add(-time.Minute)
		w.refused(w.push(w.approval(next, nd, "carol")...), c.reason)
		w.now = noon
		// The old copy brings nothing back.
		w.push(file{certFile(w.certs["carol"].Armor()).path, string(w.certs["carol"].Armor())})
		w.refused(w.push(w.approval(next, nd, "carol")...), c.reason)
		w.state(r.ID, c.state)
		w.same(0, 2, 3)
	}
}

func TestCompromisedKeyAgreesToNoProposal(t *testing.T) {
	w := newWorld(t)
	two, f := w.proposal("alice", func(d *policy.Document) { d.Admins.Threshold = 2 })
	w.counted(w.push(f...), 1)
	w.counted(w.push(w.policyApproval(two, f[0], "erin")...), 1)
	if w.l.Policy().ID() != two.ID {
		t.Fatal("two admins agreed, and it is not in force")
	}
	next, f := w.proposal("alice", func(d *policy.Document) { d.Admins.Threshold = 2; d.Groups = map[string][]string{"g": {"bob"}} })
	w.counted(w.push(f...), 1)
	w.push(w.revoked("alice", record.RevokedHard))
	w.counted(w.push(w.policyApproval(next, f[0], "erin")...), 1)
	if w.l.Policy().ID() != two.ID {
		t.Error("a compromised key helped a policy into force")
	}
	w.same(0, 1, 3)
}

func TestPolicyVersions(t *testing.T) {
	w := newWorld(t)
	firstBody := w.body
	// Another threshold needs the new threshold from the new admins too.
	two, f := w.proposal("alice", func(d *policy.Document) { d.Admins.Threshold = 2 })
	w.counted(w.push(f...), 1)
	if w.l.Policy().ID() == two.ID {
		t.Fatal("one admin set a threshold of two alone")
	}
	// A rival comes into force meanwhile: the first is superseded.
	rival, g := w.proposal("erin", func(d *policy.Document) { d.Groups = map[string][]string{"g": {"bob"}} })
	w.counted(w.push(g...), 1)
	if w.l.Policy().ID() != rival.ID {
		t.Fatal("the rival is not in force")
	}
	w.refused(w.push(w.policyApproval(two, f[0], "erin")...), string(policy.NotReplacing))
	p, err := w.l.Proposal(two.ID, w.now)
	w.must(err)
	if p.State != approve.Superseded {
		t.Errorf("state %s", p.State)
	}
	w.refused(w.push(w.policyApproval(rival, g[0], "alice")...), string(policy.AlreadyInForce))
	// The old version put forward again, as it was signed: not in force.
	_, again := w.proposal("alice", func(d *policy.Document) { d.Replaces = w.first; d.Body = firstBody })
	w.refused(w.push(again...), string(policy.NotReplacing))
	// Approved by no admin.
	third, b := w.proposal("alice", func(d *policy.Document) { d.Admins.Threshold = 2 })
	w.counted(w.push(b...), 1)
	w.refused(w.push(w.policyApproval(third, b[0], "carol")...), string(policy.NotAdmin))
	if w.l.Policy().ID() != rival.ID {
		t.Error("what no other admin agreed to is in force")
	}
	// Too late.
	w.now = w.now.Add(25 * time.Hour)
	w.refused(w.push(w.policyApproval(third, b[0], "erin")...), string(policy.Lapsed))
	w.same(0, 1, 4)
}

func TestRemovedApproverCannotBackdate(t *testing.T) {
	w := newWorld(t)
	r, d := w.asked()
	late := w.approval(r, d, "carol") // signed in time, delivered late
	_, f := w.proposal("alice", func(doc *policy.Document) {
		doc.Rules = slices.Clone(doc.Rules)
		doc.Rules[0].Stages = []policy.Stage{{Approvers: []string{"alice"}, Count: 1}}
	})
	w.counted(w.push(f...), 1)
	w.refused(w.push(late...), string(policy.NotApprover))
	w.state(r.ID, approve.Pending)
	w.same()
}

func TestFirstBytesHold(t *testing.T) {
	w := newWorld(t)
	r, f := w.request()
	// Garbage that was laid there before holds nothing.
	w.refused(w.push(file{f[0].path, "garbage"}), ledger.ReasonNoSignature)
	if report := w.push(f...); report.Records != 1 {
		t.Fatalf("%+v", report)
	}
	w.state(r.ID, approve.Pending)
	// From then on the path is held.
	for _, x := range f {
		w.refused(w.push(file{x.path, "other"}), "changed")
	}
	w.state(r.ID, approve.Pending)
	w.same(1, 2, 3)
}

func TestSignatureComesLater(t *testing.T) {
	w := newWorld(t)
	r, f := w.request()
	w.refused(w.push(f[0]), ledger.ReasonNoSignature)
	w.refused(w.push(file{f[1].path, "garbage"}), "sig-armor")
	w.counted(w.push(f[1]), 1)
	w.state(r.ID, approve.Pending)
	w.same(1, 3)
}

func TestAnotherStore(t *testing.T) {
	w := newWorld(t)
	w.identity = record.StoreID(record.Sum([]byte("other")))
	l := w.ledger()
	if _, err := l.Fold(context.Background(), w, w.tip()); !errors.Is(err, ledger.ErrIdentity) {
		t.Errorf("%v", err)
	}
	if head, position := l.Head(); head != "" || position != 0 {
		t.Errorf("the ledger moved to %s", head)
	}
}

// TestSplits folds one eventful history in many portions.
func TestSplits(t *testing.T) {
	w := newWorld(t)
	for i := range 6 {
		r, d := w.asked()
		x := w.approval(r, d, "carol")
		w.push(file{x[0].path, "garbage"}, file{"README", strings.Repeat("x", i)})
		w.push(x...)
		w.push(file{x[0].path, "other"}, file{x[1].path, "other"})
		w.push(x...)
		w.push(w.receipt(r, d, "robot")...)
		if i == 3 {
			w.push(w.revoked("carol", record.RevokedHard))
		}
	}
	_, f := w.proposal("alice", nil)
	w.push(f...)
	w.same()
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 15 {
		var at []int
		for i := range w.commits {
			if rnd.IntN(3) == 0 {
				at = append(at, i)
			}
		}
		w.same(at...)
	}
}

func TestTryChangesNothing(t *testing.T) {
	w := newWorld(t)
	before, err := w.l.Export()
	w.must(err)
	_, good := w.request()
	_, bad := w.request(func(r *request.Request) { r.Duration.Duration = 5 * time.Hour })
	newFiles := func(files []file) []ledger.NewFile {
		var all []ledger.NewFile
		for _, f := range files {
			all = append(all, ledger.NewFile{Path: f.path, Data: []byte(f.data)})
		}
		return all
	}
	try := func(files ...file) string {
		return ledger.ReasonOf(w.l.Try(context.Background(), nil, newFiles(files)))
	}
	for want, files := range map[string][]file{"": good, string(policy.TooLong): bad, ledger.ReasonForeignFile: {{"README", ""}},
		"cert-armor": {{record.CertificatePath(w.certs["bob"].Fingerprint(), []byte("x")), "x"}}} {
		if got := try(files...); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	after, err := w.l.Export()
	w.must(err)
	if string(before) != string(after) {
		t.Error("Try changed the ledger")
	}
}

// FuzzFold: whatever lies at whatever path, beside good records of which one
// has a byte changed, a fold has a reason for each file that does not count, and
// never a fault.
func FuzzFold(f *testing.F) {
	w := newWorld(f)
	r, d := w.asked()
	_, ask := w.request()
	_, version := w.proposal("alice", nil)
	good := [][]file{ask, version, w.approval(r, d, "carol"), w.receipt(r, d, "robot"), revocation(w, r, d, "erin"), {w.revoked("bob", record.RevokedHard)}}
	for i, s := range good {
		f.Add(s[0].path, []byte(s[0].data), uint8(i), uint16(100), byte(0))
	}
	f.Add("requests/2026/11/24/"+string(r.ID)+"/request.yaml", []byte("z"), uint8(0), uint16(0), byte('x'))
	f.Add("a\x1b[0m/../x", []byte("\xff"), uint8(0), uint16(0), byte('x'))
	before, err := w.l.Export()
	w.must(err)
	f.Fuzz(func(t *testing.T, path string, data []byte, which uint8, at uint16, change byte) {
		files := []ledger.NewFile{{Path: path, Data: data}}
		for i, x := range good[int(which)%len(good)] {
			bytes := []byte(x.data)
			if i == 0 {
				bytes[int(at)%len(bytes)] ^= change
			}
			files = append(files, ledger.NewFile{Path: x.path, Data: bytes})
		}
		err := w.l.Try(context.Background(), nil, files)
		if err != nil && ledger.ReasonOf(err) == "" {
			t.Fatal(err)
		}
		// One changed byte of what is signed is never taken.
		if change != 0 && err == nil {
			t.Errorf("%q with a changed byte would count", files[1].Path)
		}
		if after, err := w.l.Export(); err != nil || string(after) != string(before) {
			t.Errorf("the ledger moved (%v)", err)
		}
	})
}

func BenchmarkFold(b *testing.B) {
	w := newWorld(b)
	const records = 500
	var files []file
	for range records {
		_, f := w.request()
		files = append(files, f...)
	}
	w.commit(files...)
	b.ResetTimer()
	for range b.N {
		l := w.ledger()
		if _, err := l.Fold(context.Background(), w, w.tip()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*records), "µs/record")
}

// BenchmarkFoldComments: many records beside one request, in one fold.
func BenchmarkFoldComments(b *testing.B) {
	for _, n := range []int{250, 2000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w := newWorld(b)
			r, d := w.asked()
			var files []file
			for range n {
				c := request.Comment{Head: w.head(record.KindComment, "carol"), Request: r.ID, RequestDigest: d, Comment: strings.Repeat("x", 500)}
				files = append(files, w.signed(c, "carol", record.PathOf(c.Head, r.ID, false))...)
			}
			w.commit(files...)
			b.ResetTimer()
			for range b.N {
				if _, err := w.ledger().Fold(context.Background(), w, w.tip()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/record")
		})
	}
}

// BenchmarkOpenJunkCertificates: anybody who may push can lay certificates.
func BenchmarkOpenJunkCertificates(b *testing.B) {
	w := newWorld(b)
	const n = 2000
	var files []file
	for range n {
		key, err := record.GenerateKey("junk", "", noon, 0)
		w.must(err)
		files = append(files, certFile(key.Certificate().Armor()))
	}
	w.commit(files...)
	for range b.N {
		l := w.ledger()
		began := time.Now()
		if _, err := l.Fold(context.Background(), w, w.tip()); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(began).Microseconds())/n, "µs/fold")
	}
}

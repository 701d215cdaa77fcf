package ledger_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// many pushes a commit of n pairs of files and gives what became of it.
func (w *world) many(n int, files func(i int) []file) ledger.Report {
	w.Helper()
	var all []file
	for i := range n {
		all = append(all, files(i)...)
	}
	return w.push(all...)
}

// bounded asserts how many records counted and that all others were set aside for
// one reason.
func (w *world) bounded(r ledger.Report, records, aside int, reason policy.Code) {
	w.Helper()
	if r.Records != records || r.Aside != aside || aside > 0 && r.SetAside[0].Reason != string(reason) {
		w.Fatalf("%d records counted, want %d; %d set aside, want %d: %+v", r.Records, records, r.Aside, aside, r.SetAside[:min(1, len(r.SetAside))])
	}
}

// tooMany asserts that one more request does not count.
func (w *world) tooMany(reason policy.Code, change ...func(*request.Request)) {
	w.Helper()
	_, files := w.request(change...)
	w.refused(w.push(files...), string(reason))
}

func (w *world) cancellation(r request.Request, digest record.Digest, by string) []file {
	c := revoke.Cancellation{Head: w.head(record.KindCancellation, by), Request: r.ID, RequestDigest: digest}
	return w.signed(c, by, record.PathOf(c.Head, r.ID, false))
}

func TestBoundWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var first request.Request
	var digest record.Digest
	ask := func(change ...func(*request.Request)) func(int) []file {
		return func(i int) []file {
			r, files := w.request(change...)
			if i == 0 || r.ID < first.ID { // the last one is refused
				first, digest = r, record.Sum([]byte(files[0].data))
			}
			return files
		}
	}
	unknown := func(r *request.Request) { r.Grants[0].Role = "write" }
	r := w.many(ledger.MaxAsked+2, ask(unknown))
	if r.Records != 0 || r.Aside != ledger.MaxAsked+2 || r.SetAside[ledger.MaxAsked+1].Reason != string(policy.TooManyWaiting) ||
		r.SetAside[0].Reason != string(policy.UnknownRole) {
		t.Fatalf("%d of %d set aside: %+v", r.Aside, ledger.MaxAsked+2, r.SetAside[ledger.MaxAsked+1])
	}
	w.bounded(w.many(ledger.MaxWaiting+1, ask()), ledger.MaxWaiting, 1, policy.TooManyWaiting)
	w.tooMany(policy.TooManyWaiting)
	// Others are not held up, what is withdrawn makes room, and so does the time that
	// a reconciler has seen, which the requester cannot claim.
	w.ask(by("alice"))
	c := w.cancellation(first, digest, "bob")
	w.counted(w.push(c...), 1)
	w.ask()
	w.later(200 * 24 * time.Hour)
	w.tooMany(policy.TooManyWaiting)
	h := w.head(record.KindHeartbeat, "robot")
	w.push(w.signed(receipt.Heartbeat{Head: h}, "robot", record.PathOf(h, "", false))...)
	w.ask()
	w.same(len(w.commits) / 2)
}

func TestBoundBeside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, digest := w.asked()
	comment := func(by string) []file {
		c := request.Comment{Head: w.head(record.KindComment, by), Request: r.ID, RequestDigest: digest, Comment: "again"}
		return w.signed(c, by, record.PathOf(c.Head, r.ID, false))
	}
	w.bounded(w.many(ledger.MaxBeside+1, func(int) []file { return comment("bob") }), ledger.MaxBeside, 1, policy.TooManyRecords)
	w.counted(w.push(comment("carol")...), 1)
	w.counted(w.push(w.approval(r, digest, "carol")...), 1)
}

func TestBoundProposals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.body.Admins.Threshold = 2
	doc, files := w.proposal("alice", nil)
	w.counted(w.push(files...), 1)
	w.counted(w.push(w.policyApproval(doc, files[0], "erin")...), 1)
	r := w.many(ledger.MaxProposals+1, func(int) []file {
		doc, files = w.proposal("alice", nil)
		return files
	})
	w.bounded(r, ledger.MaxProposals, 1, policy.TooManyProposals)
	// Another admin's counts, and comes into force; then there is room again.
	doc, files = w.proposal("erin", nil)
	w.counted(w.push(files...), 1)
	w.counted(w.push(w.policyApproval(doc, files[0], "alice")...), 1)
	_, files = w.proposal("alice", nil)
	w.counted(w.push(files...), 1)
}

func TestBoundDelegations(t *testing.T) {
	t.Parallel()
	w := lending(t)
	later := func(i int) func(*approve.Delegation) { // one after another
		return func(d *approve.Delegation) {
			start := record.At(w.now.Add(time.Duration(i) * time.Minute))
			d.Start, d.Until = &start, record.At(start.Add(time.Minute))
		}
	}
	r := w.many(ledger.MaxDelegations+1, func(i int) []file { return w.delegation("carol", "erin", later(i)) })
	w.bounded(r, ledger.MaxDelegations, 1, policy.TooManyDelegations)
	all, err := w.l.Delegations(w.now)
	w.must(err)
	w.counted(w.push(w.endOf(all[0].Record.ID, "carol")...), 1)
	w.counted(w.push(w.delegation("carol", "erin", later(ledger.MaxDelegations+1))...), 1)
}

// Of a flood in one commit the first are told of and the others counted; what was
// tampered with in the same commit is told of all the same.
func TestBoundAside(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, _ := w.asked()
	var junk []file
	for i := range ledger.MaxAside + 500 {
		junk = append(junk, file{fmt.Sprintf("a/%05d", i), "junk"})
	}
	report := w.push(append(junk, file{record.PathOf(r.Head, "", false), "changed"})...)
	all, err := w.l.SetAside()
	w.must(err)
	reasons := map[string]int{}
	for _, s := range all {
		reasons[s.Reason]++
	}
	if report.Aside != len(junk)+1 || len(report.SetAside) != ledger.MaxReported || reasons[ledger.ReasonForeignFile] != ledger.MaxAside ||
		reasons[ledger.ReasonMoreAside] != 1 || reasons["changed"] != 1 || all[len(all)-1].Detail != "500 more of this commit: foreign-file" {
		t.Errorf("%d set aside, %d in the report, told of: %v; last %+v", report.Aside, len(report.SetAside), reasons, all[len(all)-1])
	}
	newest, err := w.l.NewestAside()
	w.must(err)
	if len(newest) != ledger.MaxReported || newest[0].Reason != ledger.ReasonMoreAside {
		t.Errorf("%d are newest, first %+v", len(newest), newest[0])
	}
	w.ask()
	w.same(1)
}

// Certificates of nobody are kept, and held by no ledger in memory.
func TestStrangers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key, err := record.GenerateKey("zoe", "zoe@example.com", noon.Add(-48*time.Hour), 0)
	w.must(err)
	w.signers["zoe"], w.certs["zoe"] = key.Signer(func() time.Time { return w.now }), key.Certificate()
	w.counted(w.push(certFile(key.Certificate().Armor())), 0)
	fpr := key.Certificate().Fingerprint()
	held := func(want bool) {
		t.Helper()
		ring, err := w.l.Keyring()
		w.must(err)
		known, err := w.l.Certificate(fpr)
		w.must(err)
		if got := ring.Lookup(fpr) != nil; got != want || known == nil {
			t.Errorf("in memory: %v, want %v", got, want)
		}
	}
	held(false)
	waiting, err := w.l.Enrolments()
	w.must(err)
	if len(waiting) != 2 || waiting[0].Fingerprint != fpr { // mallory's is the other
		t.Errorf("%+v wait", waiting)
	}
	_, files := w.request(by("zoe"))
	w.refused(w.push(files...), ledger.ReasonNotInPolicy)
	// Not even its signature is looked into, which would cost what its maker likes.
	_, files = w.request(by("zoe"))
	files[0].data += "\n"
	w.refused(w.push(files...), ledger.ReasonNotInPolicy)
	w.policy(func(b *policy.Body) { b.People["zoe"] = policy.Person{Keys: []record.Fingerprint{fpr}} })
	held(true)
	w.ask(by("zoe"))
	w.same(2)
}

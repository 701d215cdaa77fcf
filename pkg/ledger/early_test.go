package ledger_test

import (
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

var unheard = strings.Repeat("0", 38) + "ff"

func (w *world) withdrawal(r request.Request, digest record.Digest, by, head string) []file {
	w.Helper()
	x := approve.Withdrawal{Head: w.head(record.KindWithdrawal, by), Request: r.ID, RequestDigest: digest}
	x.Head.Head = head
	return w.signed(x, by, record.PathOf(x.Head, r.ID, false))
}

// TestBeforeWhatItNames: what takes away and was put before what it names shows a fork by
// its head, and counts where that comes.
func TestBeforeWhatItNames(t *testing.T) {
	for _, head := range []string{"on the line", unheard} {
		t.Run("head "+head, func(t *testing.T) {
			for _, c := range []struct {
				name, reason string
				do           func(w *world, head string) (first, then []file, after func())
			}{
				{"a revocation", ledger.ReasonNoSuchRequest, func(w *world, head string) (first, then []file, after func()) {
					r, f := w.request()
					return revocation(w, r, record.Sum([]byte(f[0].data)), "erin", func(x *revoke.Revocation) { x.Head.Head = head }), f,
						func() { w.state(r.ID, approve.Revoked) }
				}},
				{"a withdrawal", string(policy.NoSuchRecord), func(w *world, head string) (first, then []file, after func()) {
					w.rule(func(r *policy.Rule) { r.MaxAhead.Duration = 2 * time.Hour })
					start := record.At(w.now.Add(time.Hour))
					r, f := w.request(func(r *request.Request) { r.Start = &start })
					w.counted(w.push(f...), 1)
					d := record.Sum([]byte(f[0].data))
					then = w.approval(r, d, "carol")
					return w.withdrawal(r, d, "carol", head), then, func() { w.state(r.ID, approve.Pending) }
				}},
				{"the end of a delegation", string(policy.NoSuchRecord), func(w *world, head string) (first, then []file, after func()) {
					w.changed(func(d *policy.Document) { d.Delegation.Longest.Duration = 24 * time.Hour })
					then = w.delegation("carol", "bob")
					place, err := record.ParsePath(then[0].path)
					w.must(err)
					end := approve.DelegationEnd{Head: w.head(record.KindDelegationEnd, "carol"), Delegation: place.ID}
					end.Head.Head = head
					return w.apart(end, end.Head), then, func() {
						if all := w.delegations(); len(all) != 1 || all[0].Ended == nil {
							w.Errorf("it goes on: %+v", all)
						}
					}
				}},
			} {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					w := newWorld(t)
					at := unheard
					if head != unheard {
						at = string(w.tip())
					}
					first, then, after := c.do(w, at)
					report := w.push(first...)
					if head == unheard {
						w.refused(report, ledger.ReasonUnknownHead)
					} else {
						w.refused(report, c.reason)
					}
					if forks := map[bool]int{true: 1}[head == unheard]; report.Forks != forks {
						t.Errorf("%d forks, want %d", report.Forks, forks)
					}
					if report := w.push(then...); report.Records != 2 {
						t.Errorf("it does not count where what it names is: %+v", report)
					}
					after()
					w.same(len(w.commits) - 2)
				})
			}
		})
	}
}

// TestApprovedOverAWithdrawal: who approves with their own withdrawal in sight means it.
func TestApprovedOverAWithdrawal(t *testing.T) {
	w := newWorld(t)
	r, d := w.asked()
	w.refused(w.push(w.withdrawal(r, d, "carol", string(w.tip()))...), string(policy.NoSuchRecord))
	w.counted(w.push(w.approval(r, d, "carol")...), 1)
	w.state(r.ID, approve.Active)
	w.same()
}

// TestWhoShowsAFork: only what somebody signed who is in good standing shows one, and
// then whatever else is wrong with it.
func TestWhoShowsAFork(t *testing.T) {
	w := newWorld(t)
	r, d := w.asked()
	elsewhere := func(x *revoke.Revocation) { x.Head.Head = unheard }
	none := func(report ledger.Report, reason string) {
		t.Helper()
		w.refused(report, reason)
		if report.Forks != 0 {
			t.Errorf("%s shows a fork", reason)
		}
	}
	// By nobody, and in another's name.
	none(w.push(revocation(w, r, d, "mallory", elsewhere)...), ledger.ReasonNotInPolicy)
	other := revoke.Revocation{Head: w.head(record.KindRevocation, "erin"), Request: r.ID, RequestDigest: d, Reason: "x"}
	other.Head.Head = unheard
	none(w.push(w.signed(other, "bob", record.PathOf(other.Head, r.ID, false))...), ledger.ReasonWrongSigner)
	// Of other bytes.
	w.refused(w.push(revocation(w, r, record.Sum([]byte("x")), "erin", elsewhere)...), ledger.ReasonUnknownHead)
	w.counted(w.push(w.lock("alice", "bob")...), 1)
	// What the locked may sign still shows nothing.
	gone, f := w.request()
	x := revoke.Cancellation{Head: w.head(record.KindCancellation, "bob"), Request: gone.ID, RequestDigest: record.Sum([]byte(f[0].data))}
	x.Head.Head = unheard
	none(w.push(w.signed(x, "bob", record.PathOf(x.Head, gone.ID, false))...), ledger.ReasonNoSuchRequest)
	w.same()
}

// TestForkBehindATakenID: whoever lays a record with its id first hides no fork.
func TestForkBehindATakenID(t *testing.T) {
	w := newWorld(t)
	r, d := w.asked()
	own := w.approval(r, d, "carol", func(a *approve.Approval) { a.Head.Head = unheard })
	place, err := record.ParsePath(own[0].path)
	w.must(err)
	c := request.Comment{Head: w.head(record.KindComment, "bob"), Request: r.ID, RequestDigest: d, Comment: "all is well"}
	c.ID = place.ID
	w.counted(w.push(w.signed(c, "bob", record.PathOf(c.Head, r.ID, false))...), 1)
	w.refused(w.push(own...), ledger.ReasonUnknownHead)
	w.same()
}

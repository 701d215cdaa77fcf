package ledger_test

import (
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// written is a receipt of the reconciler's now.
func (w *world) written(r request.Request, digest record.Digest, outcome receipt.Outcome) {
	w.Helper()
	x := receipt.Receipt{Head: w.head(record.KindReceipt, "robot"), Request: r.ID, RequestDigest: digest, Resource: r.Grants[0].Resource, Role: "read",
		Account: "bob", Outcome: outcome, Ledger: w.l.Digest()}
	w.counted(w.push(w.signed(x, "robot", record.PathOf(x.Head, r.ID, false))...), 1)
}

func (w *world) denial(r request.Request, digest record.Digest, by string) []file {
	x := approve.Denial{Head: w.head(record.KindDenial, by), Request: r.ID, RequestDigest: digest, Reason: "no"}
	return w.signed(x, by, record.PathOf(x.Head, r.ID, false))
}

// TestHadAllTheSame: what a person had by the history they had, whatever times the records
// claim by which they had it, and lost it, and ask again.
func TestHadAllTheSame(t *testing.T) {
	t.Parallel()
	rules := map[string]struct {
		change  func(*policy.Rule)
		refused policy.Code
	}{
		"a rest between": {func(r *policy.Rule) { r.CoolingOff = record.Duration{Duration: 24 * time.Hour} }, policy.CoolingOff},
		"once a day": {func(r *policy.Rule) {
			r.Conditions = []policy.Condition{{Expr: `!recent.exists(h, h.resource == "db" && has(h.since) && now - h.since < duration("24h"))`, Message: "once a day"}}
		}, policy.ConditionFailed},
	}
	takes := map[string]struct {
		from func(w *world, r request.Request, digest record.Digest) []file
		left bool // whoever has used nothing has had nothing
	}{
		"cancelled": {func(w *world, r request.Request, digest record.Digest) []file {
			return w.cancellation(r, digest, "bob")
		}, true},
		"denied": {func(w *world, r request.Request, digest record.Digest) []file { return w.denial(r, digest, "carol") }, false},
		"revoked": {func(w *world, r request.Request, digest record.Digest) []file {
			return revocation(w, r, digest, "alice")
		}, false},
	}
	for rule, of := range rules {
		begin := func(t *testing.T) (w *world, r request.Request, digest record.Digest) {
			w = newWorld(t)
			w.rule(of.change)
			r, digest = w.granted()
			w.later(time.Minute)
			return w, r, digest
		}
		for name, by := range takes {
			t.Run(rule+"/"+name+", and the next dated to before", func(t *testing.T) {
				w, r, digest := begin(t)
				w.later(20 * time.Minute)
				if name == "denied" { // no approver denies what is open
					w.written(r, digest, receipt.Applied)
				}
				w.counted(w.push(by.from(w, r, digest)...), 1)
				for _, back := range []time.Duration{0, -20 * time.Minute, -22 * time.Minute, -50 * time.Minute} {
					w.ahead(back, func() { w.refusedAsk(of.refused) })
				}
				w.later(25 * time.Hour)
				w.ask()
				w.all()
			})
			t.Run(rule+"/used, and "+name+" as if before it opened", func(t *testing.T) {
				w, r, digest := begin(t)
				w.written(r, digest, receipt.Applied)
				w.later(20 * time.Minute)
				w.ahead(-40*time.Minute, func() { w.counted(w.push(by.from(w, r, digest)...), 1) })
				w.written(r, digest, receipt.Ended)
				w.later(time.Minute)
				w.refusedAsk(of.refused)
				w.ahead(-10*time.Minute, func() { w.refusedAsk(of.refused) })
				w.later(25 * time.Hour)
				w.ask()
				w.all()
			})
		}
		t.Run(rule+"/never used", func(t *testing.T) {
			w, r, digest := begin(t)
			w.ahead(-30*time.Minute, func() { w.counted(w.push(w.cancellation(r, digest, "bob")...), 1) })
			w.ask()
			w.all()
		})
	}
	t.Run("cancelled as if just after it opened", func(t *testing.T) {
		w := newWorld(t)
		w.rule(func(r *policy.Rule) { r.CoolingOff = record.Duration{Duration: 30 * time.Minute} })
		r, digest := w.granted()
		w.written(r, digest, receipt.Applied)
		w.later(50 * time.Minute)
		w.ahead(-49*time.Minute, func() { w.counted(w.push(w.cancellation(r, digest, "bob")...), 1) })
		w.written(r, digest, receipt.Ended)
		w.later(29 * time.Minute)
		w.refusedAsk(policy.CoolingOff)
		w.later(time.Minute)
		w.ask()
		w.all()
	})
}

// TestSeenToEnd: what was seen to end is not prolonged any more, by whoever says that they
// had asked for it, or approved it, before.
func TestSeenToEnd(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T) (w *world, r request.Request, digest record.Digest) {
		w = newWorld(t)
		w.rule(func(r *policy.Rule) { r.MaxTotal = record.Duration{Duration: 8 * time.Hour} })
		r, digest = w.granted()
		w.written(r, digest, receipt.Applied)
		return w, r, digest
	}
	t.Run("asked for as if before", func(t *testing.T) {
		w, r, digest := begin(t)
		w.later(61 * time.Minute)
		w.written(r, digest, receipt.Ended)
		w.ahead(-2*time.Minute, func() { w.refusedAsk(policy.NotExtendable, extends(r, noon.Add(time.Hour))) })
		w.all()
	})
	t.Run("approved as if before", func(t *testing.T) {
		w, r, digest := begin(t)
		w.later(30 * time.Minute)
		x, xdigest := w.ask(extends(r, noon.Add(time.Hour)))
		w.later(31 * time.Minute)
		w.written(r, digest, receipt.Ended)
		w.ahead(-2*time.Minute, func() { w.refused(w.push(w.approval(x, xdigest, "carol")...), string(policy.Lapsed)) })
		w.state(x.ID, approve.Lapsed)
		w.all()
	})
	t.Run("ended for a while, and open again", func(t *testing.T) {
		w, r, digest := begin(t)
		w.later(10 * time.Minute)
		w.written(r, digest, receipt.Ended)
		w.later(time.Minute)
		w.written(r, digest, receipt.Applied)
		x, xdigest := w.ask(extends(r, noon.Add(time.Hour)))
		w.counted(w.push(w.approval(x, xdigest, "carol")...), 1)
		w.state(x.ID, approve.Active)
		w.all()
	})
}

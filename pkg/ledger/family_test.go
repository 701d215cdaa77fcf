package ledger_test

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// rule changes the one rule of the world, by a policy version of alice's.
func (w *world) rule(change func(*policy.Rule)) {
	w.Helper()
	w.policy(func(b *policy.Body) { change(&b.Rules[0]) })
}

func (w *world) policy(change func(*policy.Body)) {
	w.Helper()
	doc, files := w.proposal("alice", func(d *policy.Document) {
		d.Rules = append([]policy.Rule{}, w.l.Policy().Document().Rules...)
		d.Conflicts = w.l.Policy().Document().Conflicts
		change(&d.Body)
	})
	w.counted(w.push(files...), 1)
	if w.l.Policy().ID() != doc.ID {
		w.Fatal("the version is not in force")
	}
}

// ask makes a request that counts, and gives its digest.
func (w *world) ask(change ...func(*request.Request)) (request.Request, record.Digest) {
	w.Helper()
	r, files := w.request(change...)
	w.counted(w.push(files...), 1)
	return r, record.Sum([]byte(files[0].data))
}

// otherApart gives the other resource a rule of its own, without the terms of the one.
func (w *world) otherApart() {
	w.Helper()
	w.policy(func(b *policy.Body) {
		b.Rules = append(b.Rules, w.body.Rules[0])
		b.Rules[0].Resources, b.Rules[1].Resources, b.Rules[1].Name = []string{"db"}, []string{"other"}, "other"
	})
}

// askInVain asks for other things, and takes it all back.
func (w *world) askInVain(times int) {
	w.Helper()
	var asked, takenBack []file
	for range times {
		r, files := w.request(func(r *request.Request) { r.Grants[0].Resource = "other" })
		asked = append(asked, files...)
		c := revoke.Cancellation{Head: w.head(record.KindCancellation, "bob"), Request: r.ID, RequestDigest: record.Sum([]byte(files[0].data))}
		takenBack = append(takenBack, w.signed(c, "bob", record.PathOf(c.Head, r.ID, false))...)
	}
	w.counted(w.push(asked...), times)
	w.counted(w.push(takenBack...), times)
}

// granted is ask and an approval by carol.
func (w *world) granted(change ...func(*request.Request)) (request.Request, record.Digest) {
	w.Helper()
	r, digest := w.ask(change...)
	w.counted(w.push(w.approval(r, digest, "carol")...), 1)
	w.state(r.ID, approve.Active)
	return r, digest
}

// refusedAsk asserts the reason for which a request does not count, and that it is
// refused for the same before it is signed.
func (w *world) refusedAsk(reason policy.Code, change ...func(*request.Request)) {
	w.Helper()
	r, files := w.request(change...)
	before, err := w.l.Before(r)
	if err == nil {
		err = r.Allowed(w.l.Policy(), before)
	}
	if policy.CodeOf(err) != reason {
		w.Errorf("asked before it is signed: %v, want %q", err, reason)
	}
	w.refused(w.push(files...), string(reason))
}

// later moves the clock.
func (w *world) later(d time.Duration) { w.now = w.now.Add(d) }

func extends(r request.Request, ends time.Time) func(*request.Request) {
	return func(x *request.Request) {
		x.Extends, x.Grants = r.ID, r.Grants
		if ends.Before(x.Expires.Time) {
			x.Expires = record.At(ends)
		}
	}
}

func by(name string) func(*request.Request) { return func(r *request.Request) { r.By = name } }

func (w *world) ends(id record.ID, want time.Time) {
	w.Helper()
	e, err := w.l.Request(id, w.now)
	w.must(err)
	if !e.Ends.Equal(want) {
		w.Errorf("ends %s, want %s", e.Ends, want)
	}
}

// all folds the history again, at once, in portions and in bulk.
func (w *world) all() {
	w.Helper()
	w.same()
	w.same(len(w.commits)/3, len(w.commits)/2)
	bulk := w.ledger()
	bulk.InBulk(1, 3)
	done, total := 0, 0
	bulk.Progress = func(d, t int) { done, total = d, t }
	want, err := w.l.Export()
	w.must(err)
	_, err = bulk.Fold(context.Background(), countedHistory{w.history}, w.tip())
	w.must(err)
	if n := len(w.commits); done != n || total != n {
		w.Errorf("told of %d commits of %d, there are %d", done, total, n)
	}
	got, err := bulk.Export()
	w.must(err)
	if string(got) != string(want) {
		w.Errorf("folded in bulk the ledger differs:\n%s\nwant\n%s", got, want)
	}
}

// countedHistory tells how long it is, so that it can be folded in bulk.
type countedHistory struct{ *history }

func (c countedHistory) Count(_ context.Context, _ gitstore.Hash, _ gitstore.Hash, _ int) (int, error) {
	return len(c.commits), nil
}

func TestExtensions(t *testing.T) {
	maxTotal := func(r *policy.Rule) {
		r.MaxDuration, r.MaxTotal = record.Duration{Duration: 2 * time.Hour}, record.Duration{Duration: 3 * time.Hour}
	}
	begin := func(t *testing.T) (*world, request.Request, record.Digest, request.Request, record.Digest) {
		w := newWorld(t)
		w.rule(maxTotal)
		r, digest := w.granted()
		w.later(50 * time.Minute)
		x, xdigest := w.ask(extends(r, noon.Add(time.Hour)))
		return w, r, digest, x, xdigest
	}
	agreed := func(t *testing.T) (*world, request.Request, record.Digest, request.Request, record.Digest) {
		w, r, digest, x, xdigest := begin(t)
		w.counted(w.push(w.approval(x, xdigest, "carol")...), 1)
		w.state(x.ID, approve.Active)
		w.ends(x.ID, noon.Add(2*time.Hour))
		return w, r, digest, x, xdigest
	}
	cancellation := func(w *world, r request.Request, digest record.Digest) []file {
		c := revoke.Cancellation{Head: w.head(record.KindCancellation, "bob"), Request: r.ID, RequestDigest: digest}
		return w.signed(c, "bob", record.PathOf(c.Head, r.ID, false))
	}
	t.Run("what is taken back of the first is not taken back of it", func(t *testing.T) {
		w, r, digest, x, xdigest := begin(t)
		back := approve.Withdrawal{Head: w.head(record.KindWithdrawal, "carol"), Request: r.ID, RequestDigest: digest}
		w.counted(w.push(append(w.approval(x, xdigest, "carol"), w.signed(back, "carol", record.PathOf(back.Head, r.ID, false))...)...), 2)
		w.state(x.ID, approve.Active)
		w.all()
	})
	t.Run("in all as long as allowed", func(t *testing.T) {
		w, _, _, x, _ := agreed(t)
		w.later(time.Hour)
		y, ydigest := w.ask(extends(x, noon.Add(2*time.Hour)))
		w.counted(w.push(w.approval(y, ydigest, "carol")...), 1)
		w.ends(y.ID, noon.Add(3*time.Hour))
		w.later(time.Hour)
		w.refusedAsk(policy.ExtendsTooLong, extends(y, noon.Add(3*time.Hour)))
		w.all()
	})
	t.Run("one at a time", func(t *testing.T) {
		w, r, _, x, xdigest := begin(t)
		w.refusedAsk(policy.ExtendsAlready, extends(r, noon.Add(time.Hour)))
		w.counted(w.push(w.approval(x, xdigest, "carol")...), 1)
		w.refusedAsk(policy.ExtendsAlready, extends(r, noon.Add(time.Hour)))
		w.counted(w.push(cancellation(w, x, xdigest)...), 1)
		w.state(r.ID, approve.Active) // goes on
		w.ask(extends(r, noon.Add(time.Hour)))
		w.all()
	})
	t.Run("who, and what", func(t *testing.T) {
		w := newWorld(t)
		w.rule(maxTotal)
		r, digest := w.ask()
		w.refusedAsk(policy.NotExtendable, extends(r, noon.Add(time.Hour)))
		w.counted(w.push(w.approval(r, digest, "carol")...), 1)
		w.refusedAsk(policy.NotRequester, extends(r, noon.Add(time.Hour)), by("erin"))
		other := r
		other.ID = w.id()
		w.refusedAsk(policy.NoSuchRecord, extends(other, noon.Add(time.Hour)))
		w.refusedAsk(policy.NotExtendable, extends(r, noon.Add(time.Hour)), func(x *request.Request) { x.Grants = []request.Grant{{Resource: "other", Role: "read"}} })
		w.later(time.Hour)
		w.refusedAsk(policy.NotExtendable, extends(r, w.now.Add(time.Minute)))
		w.all()
	})
	t.Run("decided too late", func(t *testing.T) {
		w, _, _, x, xdigest := begin(t)
		w.later(10 * time.Minute)
		w.refused(w.push(w.approval(x, xdigest, "carol")...), string(policy.Lapsed))
		w.state(x.ID, approve.Lapsed)
	})
	t.Run("the revocation of the first ends both", func(t *testing.T) {
		w, r, digest, x, _ := agreed(t)
		w.later(time.Minute)
		w.counted(w.push(revocation(w, r, digest, "alice")...), 1)
		w.state(r.ID, approve.Revoked)
		w.state(x.ID, approve.Revoked)
		w.all()
	})
	t.Run("and after the first has ended by itself", func(t *testing.T) {
		w, r, digest, x, xdigest := agreed(t)
		w.later(20 * time.Minute)
		w.state(r.ID, approve.Expired)
		w.state(x.ID, approve.Active)
		y, ydigest := w.ask(extends(x, noon.Add(2*time.Hour)))
		w.counted(w.push(w.approval(y, ydigest, "carol")...), 1)
		w.counted(w.push(revocation(w, r, digest, "alice")...), 1)
		w.state(r.ID, approve.Expired)
		w.state(x.ID, approve.Revoked)
		w.state(y.ID, approve.Revoked)
		_ = xdigest
		w.all()
	})
	t.Run("dropping the first drops both, also before it is decided", func(t *testing.T) {
		w, r, digest, x, xdigest := begin(t)
		w.counted(w.push(cancellation(w, r, digest)...), 1)
		w.state(x.ID, approve.Cancelled)
		w.refused(w.push(w.approval(x, xdigest, "carol")...), string(policy.AfterEnd))
		w.all()
	})
	t.Run("an ending in the same commit comes first", func(t *testing.T) {
		w := newWorld(t)
		w.rule(maxTotal)
		r, digest := w.granted()
		_, files := w.request(extends(r, noon.Add(time.Hour)))
		report := w.push(append(files, cancellation(w, r, digest)...)...)
		if report.Records != 1 || len(report.SetAside) != 1 || report.SetAside[0].Reason != string(policy.NotExtendable) {
			w.Errorf("%+v", report)
		}
		w.all()
	})
	t.Run("to end the extension leaves the first", func(t *testing.T) {
		w, r, _, x, xdigest := agreed(t)
		w.counted(w.push(revocation(w, x, xdigest, "alice")...), 1)
		w.state(r.ID, approve.Active)
		w.state(x.ID, approve.Revoked)
		w.all()
	})
	t.Run("the key of who agreed to the first is compromised", func(t *testing.T) {
		w, r, _, x, xdigest := begin(t)
		w.counted(w.push(w.approval(x, xdigest, "alice")...), 1)
		w.state(x.ID, approve.Active)
		w.counted(w.push(w.revoked("carol", record.RevokedHard)), 0)
		w.state(r.ID, approve.Revoked)
		w.state(x.ID, approve.Revoked)
		w.all()
	})
	t.Run("a bundle that opens in parts", func(t *testing.T) {
		w := newWorld(t)
		w.policy(func(b *policy.Body) {
			maxTotal(&b.Rules[0])
			b.Rules[0].Partial = true
			other := b.Rules[0]
			other.Name, other.Resources, other.Stages = "other", []string{"other"}, []policy.Stage{{Approvers: []string{"alice"}, Count: 1}}
			b.Rules = []policy.Rule{other, b.Rules[0]}
		})
		both := []request.Grant{{Resource: "db", Role: "read"}, {Resource: "other", Role: "read"}}
		r, digest := w.ask(func(r *request.Request) { r.Grants = both })
		w.counted(w.push(w.approval(r, digest, "carol")...), 1)
		w.state(r.ID, approve.Active)
		// Only what is open can be extended.
		w.refusedAsk(policy.NotExtendable, extends(r, noon.Add(time.Hour)))
		w.later(30 * time.Minute)
		w.counted(w.push(w.approval(r, digest, "alice")...), 1)
		x, xdigest := w.ask(extends(r, noon.Add(time.Hour)))
		w.counted(w.push(w.approval(x, xdigest, "carol")...), 1)
		w.counted(w.push(w.approval(x, xdigest, "alice")...), 1)
		e, err := w.l.Request(x.ID, w.now)
		w.must(err)
		if !e.Grants[0].Ends.Equal(noon.Add(2*time.Hour)) || !e.Grants[1].Ends.Equal(noon.Add(150*time.Minute)) {
			w.Errorf("until %s and %s", e.Grants[0].Ends, e.Grants[1].Ends)
		}
		w.all()
	})
}

func (w *world) ack(r request.Request, digest record.Digest, by string) []file {
	w.Helper()
	a := approve.Acknowledgement{Head: w.head(record.KindAcknowledgement, by), Request: r.ID, RequestDigest: digest}
	return w.signed(a, by, record.PathOf(a.Head, r.ID, false))
}

// unpaid asserts how many emergencies nobody has acknowledged.
func (w *world) unpaid(want int) {
	w.Helper()
	got, err := w.l.Requests(ledger.Filter{Unacknowledged: true}, w.now)
	w.must(err)
	if len(got) != want {
		w.Errorf("%d emergencies are not acknowledged, want %d", len(got), want)
	}
}

func TestEmergencies(t *testing.T) {
	allowed := func(r *policy.Rule) {
		r.Emergency = &policy.Emergency{Requesters: []string{"bob"}, MaxDuration: record.Duration{Duration: time.Hour}, Acknowledge: record.Duration{Duration: 24 * time.Hour}}
	}
	emergency := func(r *request.Request) { r.Emergency = true }
	w := newWorld(t)
	w.refusedAsk(policy.NoEmergency, emergency)
	w.rule(allowed)
	w.refusedAsk(policy.NoEmergency, emergency, by("erin"))
	r, digest := w.ask(emergency)
	w.state(r.ID, approve.Active)
	w.unpaid(1)
	w.refused(w.push(w.approval(r, digest, "carol")...), string(policy.AlreadyOpen))

	// A debt, which bars the next one, and stays one when all is over.
	w.refusedAsk(policy.EmergencyUnpaid, emergency)
	w.later(30 * 24 * time.Hour)
	w.state(r.ID, approve.Expired)
	w.refusedAsk(policy.EmergencyUnpaid, emergency)
	w.ask() // what is no emergency is not barred
	w.unpaid(1)

	// Acknowledged by one who may, and by nobody else.
	w.refused(w.push(w.ack(r, digest, "bob")...), string(policy.OwnRequest))
	w.refused(w.push(w.ack(r, digest, "erin")...), string(policy.NotApprover))
	w.counted(w.push(w.ack(r, digest, "carol")...), 1)
	w.unpaid(0)
	w.counted(w.push(w.ack(r, digest, "alice")...), 1)
	s, sdigest := w.ask(emergency)
	w.unpaid(1)
	w.counted(w.push(w.ack(s, sdigest, "carol")...), 1)
	w.unpaid(0)
	pending, pdigest := w.ask()
	w.refused(w.push(w.ack(pending, pdigest, "carol")...), string(policy.NoEmergency))

	// What carol said with a key that turns out to be compromised was not said.
	w.later(time.Minute)
	w.push(w.revoked("carol", record.RevokedHard))
	w.unpaid(1)
	w.refusedAsk(policy.EmergencyUnpaid, emergency)
	// Where the rule says so, it is no bar.
	w.rule(func(r *policy.Rule) { allowed(r); r.Emergency.Repeat = true })
	w.ask(emergency)
	w.unpaid(2)
	w.all()
}

// TestManyExtensions: access is prolonged so many times, and what it rests on is not
// counted more than once.
func TestManyExtensions(t *testing.T) {
	w := newWorld(t)
	w.rule(func(r *policy.Rule) {
		r.Approve, r.Stages = policy.ApproveAuto, nil
		r.MaxTotal = record.Duration{Duration: 8 * time.Hour}
	})
	first, digest := w.ask()
	short := func(r *request.Request, ends time.Time) func(*request.Request) {
		return func(x *request.Request) {
			extends(*r, ends)(x)
			x.Duration = record.Duration{Duration: time.Second}
		}
	}
	r, ends := first, w.now.Add(time.Hour)
	for range request.MaxExtensions {
		r, _ = w.ask(short(&r, ends))
		ends = ends.Add(time.Second)
	}
	w.refusedAsk(policy.ExtendsTooOften, short(&r, ends))
	e, err := w.l.Request(r.ID, w.now)
	w.must(err)
	if b := e.Before.Base; len(b.Keys) != 1 || b.Extensions != request.MaxExtensions-1 {
		t.Errorf("the last rests on %d keys, after %d extensions", len(b.Keys), b.Extensions)
	}
	w.counted(w.push(revocation(w, first, digest, "alice")...), 1)
	w.state(r.ID, approve.Revoked)

	// As many in vain of one request.
	s, _ := w.ask()
	ends = w.now.Add(time.Hour)
	for range request.MaxExtensions {
		x, d := w.ask(short(&s, ends))
		c := revoke.Cancellation{Head: w.head(record.KindCancellation, "bob"), Request: x.ID, RequestDigest: d}
		w.counted(w.push(w.signed(c, "bob", record.PathOf(c.Head, x.ID, false))...), 1)
	}
	w.refusedAsk(policy.ExtendsTooOften, short(&s, ends))
	w.same()
}

func TestLimits(t *testing.T) {
	t.Run("open at once", func(t *testing.T) {
		w := newWorld(t)
		w.rule(func(r *policy.Rule) { r.MaxOpen, r.MaxTotal = 2, record.Duration{Duration: 4 * time.Hour} })
		r, digest := w.granted()
		w.ask()
		w.refusedAsk(policy.TooManyOpen)
		w.ask(by("erin"))
		w.counted(w.push(revocation(w, r, digest, "alice")...), 1)
		s, sdigest := w.ask()
		w.refusedAsk(policy.TooManyOpen)
		w.counted(w.push(w.approval(s, sdigest, "carol")...), 1)
		// An extension is none more, whether it waits or is open.
		x, xdigest := w.ask(extends(s, w.now.Add(time.Hour)))
		w.counted(w.push(w.approval(x, xdigest, "carol")...), 1)
		w.refusedAsk(policy.TooManyOpen)
		w.later(90 * time.Minute) // what it extends has ended; the one that waits does still
		w.state(x.ID, approve.Active)
		w.refusedAsk(policy.TooManyOpen)
		w.later(time.Hour)
		w.ask()
		w.all()
	})
	t.Run("an extension counts with what it prolongs", func(t *testing.T) {
		w := newWorld(t)
		w.rule(func(r *policy.Rule) {
			r.MaxOpen, r.MaxOpenPerRole, r.MaxTotal = 2, 2, record.Duration{Duration: 4 * time.Hour}
		})
		s, _ := w.granted()
		x, xdigest := w.ask(extends(s, noon.Add(time.Hour)))
		w.counted(w.push(w.approval(x, xdigest, "carol")...), 1)
		y, _ := w.ask(extends(x, noon.Add(time.Hour)))
		w.ask()
		w.refusedAsk(policy.TooManyOpen)
		w.refusedAsk(policy.TooManyInRole, by("erin"))
		w.state(y.ID, approve.Pending)
		w.all()
	})
	t.Run("of two in one commit the first counts", func(t *testing.T) {
		w := newWorld(t)
		w.rule(func(r *policy.Rule) { r.MaxOpen = 1 })
		_, one := w.request()
		_, two := w.request()
		report := w.push(append(one, two...)...)
		if report.Records != 1 || len(report.SetAside) != 1 || report.SetAside[0].Reason != string(policy.TooManyOpen) {
			t.Errorf("%+v", report)
		}
		w.all()
	})
	t.Run("in one role", func(t *testing.T) {
		w := newWorld(t)
		w.rule(func(r *policy.Rule) { r.MaxOpenPerRole = 2 })
		w.ask()
		w.granted(by("erin"))
		w.refusedAsk(policy.TooManyInRole, by("alice"))
		w.ask(by("alice"), func(r *request.Request) { r.Grants[0].Resource = "other" })
		w.later(3 * time.Hour)
		w.ask(by("alice"))
		w.all()
	})
	t.Run("in one role, and somebody dates a request ahead", func(t *testing.T) {
		w := newWorld(t)
		w.rule(func(r *policy.Rule) { r.MaxOpenPerRole = 1; r.Approve, r.Stages = policy.ApproveAuto, nil })
		now := w.now
		w.later(365 * 24 * time.Hour)
		x, _ := w.ask(by("erin"))
		w.now = now
		w.state(x.ID, approve.Scheduled)
		w.ask()
		w.all()
	})
	t.Run("cooling off, whatever else is asked for", func(t *testing.T) {
		w := newWorld(t)
		w.rule(func(r *policy.Rule) { r.CoolingOff = record.Duration{Duration: 24 * time.Hour} })
		w.otherApart()
		r, digest := w.granted()
		w.later(30 * time.Minute)
		w.refusedAsk(policy.CoolingOff) // while it is open
		w.later(29 * time.Minute)
		w.refusedAsk(policy.CoolingOff) // a minute before it ends
		w.counted(w.push(revocation(w, r, digest, "alice")...), 1)
		w.askInVain(policy.MaxRecent + 1)
		w.later(time.Minute)
		w.refusedAsk(policy.CoolingOff)
		w.later(24 * time.Hour)
		w.ask()
		w.refusedAsk(policy.CoolingOff) // one waits
		w.same()
	})
	t.Run("what was had is not pushed out by what was taken back", func(t *testing.T) {
		w := newWorld(t)
		w.rule(func(r *policy.Rule) {
			r.Conditions = []policy.Condition{{Expr: `!recent.exists(h, h.resource == "db" && h.state == "revoked")`, Message: "it was taken away"}}
		})
		w.otherApart()
		r, digest := w.granted()
		w.counted(w.push(revocation(w, r, digest, "alice")...), 1)
		w.later(time.Minute)
		w.refusedAsk(policy.ConditionFailed)
		w.askInVain(policy.MaxRecent + 1)
		w.refusedAsk(policy.ConditionFailed)
		w.same()
	})
	t.Run("an id of another time", func(t *testing.T) {
		w := newWorld(t)
		for _, at := range []time.Time{time.Unix(0, 0), w.now.Add(-2 * time.Minute), w.now.Add(2 * time.Minute), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)} {
			id, err := record.NewID(at, rand.Reader)
			w.must(err)
			r := request.Request{Head: w.head(record.KindRequest, "bob"), Grants: []request.Grant{{Resource: "db", Role: "read"}},
				Duration: record.Duration{Duration: time.Hour}, Reason: "to look", Expires: record.At(w.now.Add(2 * time.Hour))}
			r.ID = id
			data, err := record.Encode(r)
			w.must(err)
			sig, err := w.signers["bob"].Sign(t.Context(), data)
			w.must(err)
			path := record.PathOf(r.Head, "", false)
			w.refused(w.push(file{path, string(data)}, file{record.SignaturePath(path), string(sig)}), string(record.ReasonIDTime))
		}
	})
	t.Run("cooling off", func(t *testing.T) {
		w := newWorld(t)
		w.rule(func(r *policy.Rule) { r.CoolingOff = record.Duration{Duration: time.Hour} })
		// What was cancelled before it opened leaves nothing to cool off from.
		start := record.At(w.now.Add(time.Hour))
		s, sdigest := w.ask(func(r *request.Request) { r.Start = &start })
		w.counted(w.push(w.approval(s, sdigest, "carol")...), 1)
		w.state(s.ID, approve.Scheduled)
		c := revoke.Cancellation{Head: w.head(record.KindCancellation, "bob"), Request: s.ID, RequestDigest: sdigest}
		w.counted(w.push(w.signed(c, "bob", record.PathOf(c.Head, s.ID, false))...), 1)
		r, digest := w.granted()
		w.later(30 * time.Minute)
		w.counted(w.push(revocation(w, r, digest, "alice")...), 1)
		w.later(59 * time.Minute) // of its revocation
		w.refusedAsk(policy.CoolingOff)
		w.ask(by("erin"))
		w.later(time.Minute)
		w.ask()
		w.all()
	})
	t.Run("conflicts", func(t *testing.T) {
		w := newWorld(t)
		w.policy(func(b *policy.Body) {
			b.Conflicts = []policy.Conflict{{Name: "apart", Between: []string{"db:read", "other:read"}}}
		})
		other := func(r *request.Request) { r.Grants = []request.Grant{{Resource: "other", Role: "read"}} }
		w.refusedAsk(policy.ConflictingRoles, func(r *request.Request) { r.Grants = append(r.Grants, request.Grant{Resource: "other", Role: "read"}) })
		w.ask()
		w.refusedAsk(policy.ConflictingRoles, other)
		w.ask(other, by("erin"))
		w.later(3 * time.Hour)
		w.ask(other)
		w.all()
	})
	t.Run("how far ahead", func(t *testing.T) {
		w := newWorld(t)
		w.rule(func(r *policy.Rule) { r.MaxAhead = record.Duration{Duration: time.Hour} })
		ahead := func(d time.Duration) func(*request.Request) {
			return func(r *request.Request) { s := record.At(w.now.Add(d)); r.Start = &s }
		}
		w.ask(ahead(time.Hour))
		w.refusedAsk(policy.TooFarAhead, ahead(time.Hour+time.Second))
	})
}

// TestPastIsForGood: what was open when a request was made decides about it, not what
// the history or the policy hold later.
func TestPastIsForGood(t *testing.T) {
	w := newWorld(t)
	w.rule(func(r *policy.Rule) { r.MaxOpen = 1 })
	r, digest := w.ask()
	w.rule(func(r *policy.Rule) { r.MaxOpen = 0 })
	w.ask()
	w.rule(func(r *policy.Rule) { r.MaxOpen = 1 })
	w.counted(w.push(w.approval(r, digest, "carol")...), 1)
	w.state(r.ID, approve.Active)
	// A rule that began to look at what is open, after a request was made that was not
	// asked about it: it must be asked for again.
	w.rule(func(r *policy.Rule) { r.MaxOpen = 0 })
	s, sdigest := w.ask(by("erin"))
	w.rule(func(r *policy.Rule) { r.MaxOpen = 1 })
	w.counted(w.push(w.approval(s, sdigest, "carol")...), 1)
	w.state(s.ID, approve.Pending)
	e, err := w.l.Request(s.ID, w.now)
	w.must(err)
	if len(e.Warnings) == 0 || !strings.Contains(e.Warnings[0], "was not asked for when request") {
		t.Errorf("warned: %q", e.Warnings)
	}
	w.all()
}

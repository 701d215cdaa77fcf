package ledger_test

import (
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// ahead has something done by a clock that is ahead.
func (w *world) ahead(d time.Duration, do func()) {
	now := w.now
	defer func() { w.now = now }()
	w.later(d)
	do()
}

// lapsing lets a request wait for some minutes only.
func lapsing(minutes int) func(*request.Request) {
	return func(r *request.Request) {
		r.Expires = record.At(r.Created.Add(time.Duration(minutes) * time.Minute))
	}
}

func second[A, B any](_ A, b B) B { return b }

func of(resource string) func(*request.Request) {
	return func(r *request.Request) { r.Grants = []request.Grant{{Resource: resource, Role: "read"}} }
}

// TestDatedAhead: whoever dates a request to after what they have waiting has lapsed has
// only the later one.
func TestDatedAhead(t *testing.T) {
	for name, c := range map[string]struct {
		rule    func(*policy.Body)
		refused policy.Code // of the second where it is not dated ahead
		other   string      // what it asks for
	}{
		"open at once":          {func(b *policy.Body) { b.Rules[0].MaxOpen = 1 }, policy.TooManyOpen, "other"},
		"again, without a rest": {func(b *policy.Body) { b.Rules[0].CoolingOff = record.Duration{Duration: time.Hour} }, policy.CoolingOff, "db"},
		"both sides of a conflict": {func(b *policy.Body) {
			b.Conflicts = []policy.Conflict{{Name: "apart", Between: []string{"db:read", "other:read"}}}
		}, policy.ConflictingRoles, "other"},
		"in one role": {func(b *policy.Body) { b.Rules[0].MaxOpenPerRole = 1 }, policy.TooManyInRole, "db"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.policy(c.rule)
			first, digest := w.ask(lapsing(10))
			w.refusedAsk(c.refused, of(c.other))
			var second request.Request
			var sdigest record.Digest
			w.ahead(11*time.Minute, func() { second, sdigest = w.ask(of(c.other)) })
			w.state(first.ID, approve.Lapsed)
			w.refused(w.push(w.approval(first, digest, "carol")...), string(policy.Lapsed))
			w.counted(w.push(w.approval(second, sdigest, "carol")...), 1)
			w.later(11 * time.Minute)
			w.state(first.ID, approve.Lapsed)
			w.state(second.ID, approve.Active)
			w.all()
		})
	}
	limited := func(b *policy.Body) { b.Rules[0].MaxOpen = 1 }
	t.Run("two extensions of one request", func(t *testing.T) {
		w := newWorld(t)
		w.rule(func(r *policy.Rule) { r.MaxTotal = record.Duration{Duration: 4 * time.Hour} })
		r, _ := w.granted()
		x, xdigest := w.ask(extends(r, noon.Add(10*time.Minute)))
		w.ahead(11*time.Minute, func() { w.ask(extends(r, noon.Add(time.Hour))) })
		w.refused(w.push(w.approval(x, xdigest, "carol")...), string(policy.Lapsed))
		w.state(r.ID, approve.Active)
		w.all()
	})
	t.Run("a stage expires", func(t *testing.T) {
		w := newWorld(t)
		w.policy(func(b *policy.Body) {
			limited(b)
			b.Rules[0].Stages[0].Expire = record.Duration{Duration: 5 * time.Minute}
		})
		first, digest := w.ask()
		w.ahead(6*time.Minute, func() { w.ask() })
		w.refused(w.push(w.approval(first, digest, "carol")...), string(policy.Lapsed))
		w.all()
	})
	t.Run("another policy decides", func(t *testing.T) {
		w := newWorld(t)
		w.policy(limited)
		first, _ := w.ask(lapsing(10))
		w.ahead(11*time.Minute, func() { w.ask() })
		w.rule(func(r *policy.Rule) { r.Approve, r.Stages = policy.ApproveAuto, nil })
		w.state(first.ID, approve.Lapsed)
		w.later(15 * time.Minute)
		w.state(first.ID, approve.Lapsed)
		w.all()
	})
	t.Run("what is approved has not lapsed", func(t *testing.T) {
		w := newWorld(t)
		w.policy(limited)
		first, digest := w.ask(lapsing(10))
		w.counted(w.push(w.approval(first, digest, "carol")...), 1)
		w.ahead(11*time.Minute, func() { w.refusedAsk(policy.TooManyOpen) })
		w.state(first.ID, approve.Active)
		w.all()
	})
	t.Run("where no limit asks for it", func(t *testing.T) {
		w := newWorld(t)
		first, digest := w.ask(lapsing(10))
		w.ahead(11*time.Minute, func() { w.ask() })
		w.counted(w.push(w.approval(first, digest, "carol")...), 1)
		w.state(first.ID, approve.Active)
		w.all()
	})
	t.Run("a part of a bundle", func(t *testing.T) {
		w := newWorld(t)
		w.policy(func(b *policy.Body) {
			b.Rules[0].Partial = true
			other := b.Rules[0]
			other.Name, other.Resources = "other", []string{"other"}
			other.Stages = []policy.Stage{{Approvers: []string{"carol"}, Count: 1, Expire: record.Duration{Duration: 5 * time.Minute}}}
			other.MaxOpen = 1
			b.Rules = []policy.Rule{other, b.Rules[0]}
		})
		both := func(r *request.Request) { r.Grants = append(r.Grants, request.Grant{Resource: "other", Role: "read"}) }
		first, digest := w.ask(both)
		w.ahead(6*time.Minute, func() { w.ask(of("other")) })
		w.counted(w.push(w.approval(first, digest, "carol")...), 1)
		e, err := w.l.Request(first.ID, w.now)
		w.must(err)
		if e.Grants[0].State != approve.Active || e.Grants[1].State != approve.Lapsed {
			t.Errorf("%s is %s, and %s %s", e.Grants[0].Grant, e.Grants[0].State, e.Grants[1].Grant, e.Grants[1].State)
		}
		w.all()
	})
}

// TestRoomInRole: how many may have a role at once is looked at where it is approved too,
// for others than the requester may date their requests as they like.
func TestRoomInRole(t *testing.T) {
	begin := func(t *testing.T) (w *world, mine, theirs request.Request, digest, theirDigest record.Digest) {
		w = newWorld(t)
		w.rule(func(r *policy.Rule) { r.MaxOpenPerRole, r.MaxTotal = 1, record.Duration{Duration: 4 * time.Hour} })
		mine, digest = w.ask(lapsing(10))
		w.ahead(11*time.Minute, func() { theirs, theirDigest = w.ask(by("erin")) })
		return w, mine, theirs, digest, theirDigest
	}
	t.Run("the one dated ahead comes second", func(t *testing.T) {
		w, mine, theirs, digest, theirDigest := begin(t)
		w.counted(w.push(w.approval(mine, digest, "carol")...), 1)
		w.state(mine.ID, approve.Active)
		w.refused(w.push(w.approval(theirs, theirDigest, "carol")...), string(policy.TooManyInRole))
		w.all()
	})
	t.Run("the one dated ahead comes first", func(t *testing.T) {
		w, mine, theirs, digest, theirDigest := begin(t)
		w.counted(w.push(w.approval(theirs, theirDigest, "carol")...), 1)
		w.state(theirs.ID, approve.Scheduled)
		w.refused(w.push(w.approval(mine, digest, "carol")...), string(policy.TooManyInRole))
		w.all()
	})
	t.Run("both in one commit", func(t *testing.T) {
		w, mine, theirs, digest, theirDigest := begin(t)
		report := w.push(append(w.approval(mine, digest, "carol"), w.approval(theirs, theirDigest, "alice")...)...)
		if report.Records != 1 || len(report.SetAside) != 1 || report.SetAside[0].Reason != string(policy.TooManyInRole) {
			t.Errorf("%+v", report)
		}
		w.all()
	})
	t.Run("an extension takes no other's room", func(t *testing.T) {
		w, mine, theirs, digest, theirDigest := begin(t)
		w.counted(w.push(w.approval(mine, digest, "carol")...), 1)
		x, xdigest := w.ask(extends(mine, noon.Add(time.Hour)))
		w.counted(w.push(w.approval(x, xdigest, "carol")...), 1)
		w.later(70 * time.Minute) // what it extends has ended
		w.state(x.ID, approve.Active)
		w.refused(w.push(w.approval(theirs, theirDigest, "carol")...), string(policy.TooManyInRole))
		w.later(time.Hour)
		w.counted(w.push(w.approval(theirs, theirDigest, "carol")...), 1)
		w.state(theirs.ID, approve.Active)
		w.all()
	})
	t.Run("an extension into another's time", func(t *testing.T) {
		half := func(r *request.Request) { r.Duration.Duration = 30 * time.Minute }
		for _, auto := range []bool{true, false} {
			w := newWorld(t)
			w.rule(func(r *policy.Rule) {
				r.MaxOpenPerRole, r.MaxTotal = 1, record.Duration{Duration: 4 * time.Hour}
				if auto {
					r.Approve, r.Stages = policy.ApproveAuto, nil
				}
			})
			mine, digest := w.ask(lapsing(10), half)
			if !auto {
				w.counted(w.push(w.approval(mine, digest, "carol")...), 1)
			}
			var theirs, x request.Request
			var theirDigest, xdigest record.Digest
			w.ahead(31*time.Minute, func() { theirs, theirDigest = w.ask(by("erin")) })
			if auto {
				w.refused(w.push(second(w.request(extends(mine, noon.Add(30*time.Minute))))...), string(policy.TooManyInRole))
			} else {
				x, xdigest = w.ask(extends(mine, noon.Add(30*time.Minute)))
				w.ahead(31*time.Minute, func() { w.counted(w.push(w.approval(theirs, theirDigest, "carol")...), 1) })
				w.refused(w.push(w.approval(x, xdigest, "carol")...), string(policy.TooManyInRole))
			}
			w.all()
		}
	})
	t.Run("an extension when another has ended", func(t *testing.T) {
		w := newWorld(t)
		w.rule(func(r *policy.Rule) {
			r.MaxOpenPerRole, r.MaxTotal, r.Approve, r.Stages = 2, record.Duration{Duration: 4 * time.Hour}, policy.ApproveAuto, nil
		})
		mine, _ := w.ask()
		w.ask(by("erin"), func(r *request.Request) { r.Duration.Duration = 30 * time.Minute })
		w.ahead(31*time.Minute, func() { w.ask(by("alice")) })
		w.ask(extends(mine, noon.Add(time.Hour)))
		w.all()
	})
	t.Run("what opens when this is over takes no room", func(t *testing.T) {
		w := newWorld(t)
		w.rule(func(r *policy.Rule) { r.MaxOpenPerRole = 1 })
		mine, digest := w.ask(lapsing(10))
		var theirs request.Request
		var theirDigest record.Digest
		w.ahead(11*time.Minute, func() {
			theirs, theirDigest = w.ask(by("erin"), func(r *request.Request) {
				start := record.At(noon.Add(3 * time.Hour))
				r.Start = &start
			})
		})
		w.counted(w.push(w.approval(theirs, theirDigest, "carol")...), 1)
		w.counted(w.push(w.approval(mine, digest, "carol")...), 1)
		w.all()
	})
	t.Run("what opens by itself, and is dated ahead", func(t *testing.T) {
		w := newWorld(t)
		w.rule(func(r *policy.Rule) { r.MaxOpenPerRole, r.Approve, r.Stages = 1, policy.ApproveAuto, nil })
		w.ahead(2*time.Hour, func() { w.ask(by("erin")) })
		w.refusedAsk(policy.TooManyInRole)
		w.ask(lapsing(10))
		w.all()
	})
}

// TestNothingToProlong: what prolongs a request that was not open then, by what stands in
// the end, opens nothing.
func TestNothingToProlong(t *testing.T) {
	maxTotal := func(r *policy.Rule) {
		r.MaxDuration, r.MaxTotal = record.Duration{Duration: time.Hour}, record.Duration{Duration: 3 * time.Hour}
	}
	withdrawal := func(w *world, r request.Request, digest record.Digest) []file {
		back := approve.Withdrawal{Head: w.head(record.KindWithdrawal, "carol"), Request: r.ID, RequestDigest: digest}
		return w.signed(back, "carol", record.PathOf(back.Head, r.ID, false))
	}
	// ahead begins with a request that starts at ten past noon, and what prolongs it,
	// as if it were quarter past: both approved at noon.
	ahead := func(t *testing.T) (w *world, r, x request.Request, digest record.Digest) {
		w = newWorld(t)
		w.rule(maxTotal)
		r, digest = w.ask(func(r *request.Request) {
			start := record.At(noon.Add(10 * time.Minute))
			r.Start = &start
		})
		w.counted(w.push(w.approval(r, digest, "carol")...), 1)
		w.state(r.ID, approve.Scheduled)
		var xdigest record.Digest
		w.ahead(15*time.Minute, func() { x, xdigest = w.ask(extends(r, noon.Add(time.Hour))) })
		w.counted(w.push(w.approval(x, xdigest, "carol")...), 1)
		return w, r, x, digest
	}
	t.Run("it opens where the first does", func(t *testing.T) {
		w, r, x, _ := ahead(t)
		w.later(15 * time.Minute)
		w.state(r.ID, approve.Active)
		w.state(x.ID, approve.Active)
		w.all()
	})
	t.Run("the first is withdrawn before it opens", func(t *testing.T) {
		w, r, x, digest := ahead(t)
		w.later(5 * time.Minute)
		w.counted(w.push(withdrawal(w, r, digest)...), 1)
		w.later(15 * time.Minute)
		w.state(r.ID, approve.Pending)
		w.state(x.ID, approve.Pending)
		e, err := w.l.Request(x.ID, w.now)
		w.must(err)
		if len(e.Warnings) == 0 {
			t.Error("nothing is said of it")
		}
		w.later(2 * time.Hour)
		w.state(x.ID, approve.Lapsed)
		w.all()
	})
	t.Run("and approved again in time", func(t *testing.T) {
		w, r, x, digest := ahead(t)
		w.later(5 * time.Minute)
		w.counted(w.push(withdrawal(w, r, digest)...), 1)
		w.later(time.Minute)
		w.counted(w.push(w.approval(r, digest, "carol")...), 1)
		w.later(15 * time.Minute)
		w.state(r.ID, approve.Active)
		w.state(x.ID, approve.Active)
		w.all()
	})
	t.Run("its rule changes before it opens", func(t *testing.T) {
		w, r, x, _ := ahead(t)
		w.later(5 * time.Minute)
		w.rule(func(r *policy.Rule) { maxTotal(r); r.Stages[0].Count = 2 })
		w.later(15 * time.Minute)
		w.state(r.ID, approve.Pending)
		w.state(x.ID, approve.Pending)
		w.all()
	})
	t.Run("it was open, and a withdrawal says that it came before", func(t *testing.T) {
		w := newWorld(t)
		w.rule(maxTotal)
		r, digest := w.granted()
		w.later(10 * time.Minute)
		x, xdigest := w.ask(extends(r, noon.Add(time.Hour)))
		w.counted(w.push(w.approval(x, xdigest, "carol")...), 1)
		w.later(10 * time.Minute)
		y, ydigest := w.ask(extends(x, noon.Add(time.Hour)))
		w.counted(w.push(w.approval(y, ydigest, "carol")...), 1)
		w.state(y.ID, approve.Active)
		w.ahead(-30*time.Minute, func() { w.counted(w.push(withdrawal(w, r, digest)...), 1) })
		w.state(r.ID, approve.Pending)
		w.state(x.ID, approve.Pending)
		w.state(y.ID, approve.Pending)
		w.all()
	})
}

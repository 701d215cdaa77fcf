package ledger_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/revoke"
)

// TestFirstVersionKeepsItsThreshold: that the first version has all agreements it
// needed does not change with the versions after it.
func TestFirstVersionKeepsItsThreshold(t *testing.T) {
	w := newWorld(t)
	first := w.l.Policy().ID()
	two, f := w.proposal("alice", func(d *policy.Document) { d.Admins.Threshold = 2 })
	w.counted(w.push(f...), 1)
	w.counted(w.push(w.policyApproval(two, f[0], "erin")...), 1)
	p, err := w.l.Proposal(first, w.now)
	w.must(err)
	if p.State != approve.Accepted || !p.Reached || p.Changes || p.Old.Count != 1 {
		t.Errorf("%s, %+v", p.State, p.ProposalDecision)
	}
}

// TestNothingIsRememberedTooEarly: what is remembered of an end that claims a time
// to come does not depend on when somebody asked for the first time.
func TestNothingIsRememberedTooEarly(t *testing.T) {
	for _, first := range []time.Duration{0, 30 * time.Minute, 2 * time.Hour} {
		w := newWorld(t)
		r, d := w.asked()
		later := w.approval(r, d, "carol", func(a *approve.Approval) {
			w.now = noon.Add(90 * time.Minute)
			a.ID, a.Created = w.id(), record.At(w.now)
		})
		w.now = noon
		w.counted(w.push(later...), 1)
		ahead := revocation(w, r, d, "erin", func(x *revoke.Revocation) { w.now = noon.Add(time.Hour); x.ID, x.Created = w.id(), record.At(w.now) })
		w.now = noon
		w.counted(w.push(ahead...), 1)
		for _, at := range []time.Duration{first, 45 * time.Minute, 3 * time.Hour, 70 * time.Minute} {
			now := noon.Add(at)
			all, err := w.l.Requests(ledger.Filter{}, now)
			w.must(err)
			one, err := w.l.Request(r.ID, now)
			w.must(err)
			if len(all) != 1 || asJSON(all[0].Decision) != asJSON(one.Decision) {
				t.Errorf("asked first at +%s, the list says at +%s\n%s\nand the request itself\n%s", first, at, asJSON(all[0].Decision), asJSON(one.Decision))
			}
		}
	}
}

// TestClockSetBack: a run of a clock that was ahead hides nothing from the later ones.
func TestClockSetBack(t *testing.T) {
	w := newWorld(t)
	r, d := w.asked()
	w.counted(w.push(w.approval(r, d, "carol")...), 1)
	pending, _ := w.asked()
	open := func(now time.Time) (ids []record.ID) {
		t.Helper()
		all, err := w.l.Requests(ledger.Filter{Open: true}, now)
		w.must(err)
		for _, e := range all {
			ids = append(ids, e.Request.Record.ID)
		}
		slices.Sort(ids)
		return ids
	}
	both := []record.ID{r.ID, pending.ID}
	slices.Sort(both)
	for _, c := range []struct {
		after time.Duration
		want  []record.ID
	}{{0, both}, {365 * 24 * time.Hour, nil}, {0, both}, {time.Hour, []record.ID{pending.ID}}, {2 * time.Hour, nil}, {2*time.Hour - time.Second, []record.ID{pending.ID}}} {
		if got := open(noon.Add(c.after)); !slices.Equal(got, c.want) {
			t.Errorf("after %s open: %s, want %s", c.after, got, c.want)
		}
	}
}

// TestClockSetBackBeforeAnApproval: what ended a request may claim a time before
// the approval that it rests on, and so before the request was anything but pending.
func TestClockSetBackBeforeAnApproval(t *testing.T) {
	w := newWorld(t)
	r, d := w.asked()
	approved := w.approval(r, d, "carol", func(a *approve.Approval) {
		w.now = noon.Add(30 * time.Minute)
		a.ID, a.Created = w.id(), record.At(w.now)
	})
	w.now = noon
	w.counted(w.push(approved...), 1)
	w.push(w.revoked("carol", record.RevokedHard))
	for _, c := range []struct {
		after time.Duration
		open  int
	}{{time.Hour, 0}, {10 * time.Minute, 1}, {time.Hour, 0}} {
		all, err := w.l.Requests(ledger.Filter{Open: true}, noon.Add(c.after))
		w.must(err)
		if len(all) != c.open {
			t.Errorf("after %s %d are open, want %d", c.after, len(all), c.open)
		}
	}
}

func asJSON(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

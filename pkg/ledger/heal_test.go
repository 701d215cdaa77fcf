package ledger_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// merges is a history in memory of which one commit is a merge.
type merges struct {
	*history
	merge    gitstore.Hash // the commit with two parents
	second   gitstore.Hash
	message  string
	payload  []byte
	sig      []byte // nil where the merge is not signed
	fork     gitstore.Hash
	aside    []gitstore.Hash // on the other side
	unsigned error
	adds     map[gitstore.Hash][]gitstore.File
}

func (m *merges) Walk(ctx context.Context, from, to gitstore.Hash, o gitstore.WalkOptions, fn func(gitstore.Commit) error) error {
	return m.history.Walk(ctx, from, to, o, func(c gitstore.Commit) error {
		c.Parents = []gitstore.Hash{c.Parent}
		if c.Hash == m.merge {
			c.Parents, c.Message = append(c.Parents, m.second), m.message
		}
		return fn(c)
	})
}

func (m *merges) CommitSignature(gitstore.Hash) (payload, sig []byte, err error) {
	return m.payload, m.sig, m.unsigned
}

func (m *merges) Aside(side gitstore.Hash, onChain func(gitstore.Hash) (bool, error)) (gitstore.Hash, []gitstore.Hash, error) {
	if m.fork != "" {
		if on, err := onChain(m.fork); err != nil || !on {
			return "", nil, err
		}
	}
	for _, h := range append([]gitstore.Hash{side}, m.aside...) {
		if on, err := onChain(h); err != nil || on {
			return "", nil, err
		}
	}
	return m.fork, m.aside, nil
}

func (m *merges) Beside(_ gitstore.Hash, passed func(gitstore.Hash) (bool, error)) ([]gitstore.Hash, error) {
	if m.fork != "" {
		if on, err := passed(m.fork); err != nil || !on {
			return nil, err
		}
	}
	return m.aside, nil
}

func (m *merges) Adds(_ context.Context, h gitstore.Hash, wanted func(path string) bool) (all []gitstore.File, err error) {
	for _, f := range m.adds[h] {
		if wanted(f.Path) {
			all = append(all, f)
		}
	}
	return all, nil
}

var (
	displaced = hashOf("a commit of the other side")
	otherTip  = hashOf("the other side's head")
)

// healed commits files as a heal signed by somebody, of a fork at fork, and
// folds it.
func (w *world) healed(signer string, fork gitstore.Hash, files ...file) (*merges, ledger.Report) {
	w.Helper()
	return w.healedWith(signer, fork, nil, files...)
}

// healedWith is healed with files that a commit of the other side adds.
func (w *world) healedWith(signer string, fork gitstore.Hash, beside []file, files ...file) (*merges, ledger.Report) {
	w.Helper()
	m := &merges{adds: w.adding(beside), history: w.history, message: ledger.HealMessage(signer+" heals", "A push had swapped the past.", signer),
		payload: []byte("tree …\n"), second: otherTip, fork: fork, aside: []gitstore.Hash{displaced, otherTip}}
	if signer == "" {
		m.unsigned = gitstore.ErrUnsigned
	} else {
		var err error
		m.sig, err = w.signers[signer].Sign(context.Background(), m.payload)
		w.must(err)
	}
	m.merge = w.commit(files...)
	report, err := w.l.Fold(context.Background(), m, w.tip())
	w.must(err)
	return m, report
}

// elsewhere is a request whose signer had seen the other side.
func (w *world) elsewhere(head gitstore.Hash) []file {
	w.Helper()
	_, files := w.request(func(r *request.Request) { r.Head.Head = string(head) })
	return files
}

func TestHeal(t *testing.T) {
	for _, c := range []struct {
		name, signer string
		before       func(w *world)            // on the line, before the heal
		change       func(w *world, m *merges) // of the merge
		fork         func(w *world, n int) int // index of the fork, of n commits
		want         string
	}{
		{name: "an admin", signer: "alice", want: ledger.ReasonHealedHead},
		{name: "a reconciler", signer: "robot", want: ledger.ReasonHealedHead},
		{name: "an approver", signer: "carol", want: ledger.ReasonUnknownHead},
		{name: "nobody", signer: "mallory", want: ledger.ReasonUnknownHead},
		{name: "unsigned", signer: "", want: ledger.ReasonUnknownHead},
		{name: "an admin removed since the fork", signer: "erin", before: removeErin, want: ledger.ReasonUnknownHead},
		{name: "an admin not yet at the fork", signer: "carol", before: addCarol, want: ledger.ReasonUnknownHead},
		{name: "an admin by then", signer: "carol", before: addCarol, fork: func(_ *world, n int) int { return n - 1 }, want: ledger.ReasonHealedHead},
		{name: "a revoked key", signer: "erin", before: func(w *world) { w.push(w.revoked("erin", record.RevokedSoft)) }, want: ledger.ReasonUnknownHead},
		{name: "of another root", signer: "alice", fork: func(*world, int) int { return -1 }, want: ledger.ReasonUnknownHead},
		{name: "a message that says nothing", signer: "alice", change: func(_ *world, m *merges) { m.message = "Merge branch 'main'" }, want: ledger.ReasonUnknownHead},
		{name: "one that says so in passing", signer: "alice", change: func(_ *world, m *merges) { m.message = "Jit-Kind: heal\n\nJit-Kind: receipt\n" }, want: ledger.ReasonUnknownHead},
		{name: "one that says two things", signer: "alice", change: func(_ *world, m *merges) { m.message = "x\n\nJit-Kind: heal\nJit-Kind: heal\n" }, want: ledger.ReasonUnknownHead},
		{name: "a signature of other bytes", signer: "alice", change: func(_ *world, m *merges) { m.payload = []byte("tree other\n") }, want: ledger.ReasonUnknownHead},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.asked()
			if c.before != nil {
				c.before(w)
			}
			fork := 0
			if c.fork != nil {
				fork = c.fork(w, len(w.commits))
			}
			at := gitstore.Hash("")
			if fork >= 0 {
				at = w.commits[fork]
			}
			m := &merges{history: w.history, message: ledger.HealMessage("heals", "", "x"), payload: []byte("tree …\n"), second: otherTip, fork: at, aside: []gitstore.Hash{displaced, otherTip}}
			if c.signer == "" {
				m.unsigned = gitstore.ErrUnsigned
			} else {
				var err error
				m.sig, err = w.signers[c.signer].Sign(t.Context(), m.payload)
				w.must(err)
			}
			if c.change != nil {
				c.change(w, m)
			}
			m.merge = w.commit(w.elsewhere(displaced)...)
			report, err := w.l.Fold(t.Context(), m, w.tip())
			w.must(err)
			w.refused(report, c.want)
			forks := 0
			if c.want == ledger.ReasonUnknownHead {
				forks = 1
			}
			if report.Forks != forks {
				t.Errorf("%d forks, want %d", report.Forks, forks)
			}
			w.sameFrom(m, 0, len(w.commits)-2)
		})
	}
}

// sameFrom is same for a history with merges.
func (w *world) sameFrom(m *merges, portions ...int) {
	w.Helper()
	want, err := w.l.Export()
	w.must(err)
	for _, p := range [][]int{{}, portions} {
		l := w.ledger()
		for _, n := range append(p, len(w.commits)-1) {
			_, err := l.Fold(context.Background(), m, w.commits[n])
			w.must(err)
		}
		got, err := l.Export()
		w.must(err)
		if string(got) != string(want) {
			w.Errorf("folded at %v the ledger differs:\n%s\nwant\n%s", p, got, want)
		}
	}
}

func removeErin(w *world) {
	doc, files := w.proposal("alice", func(d *policy.Document) {
		d.Admins.People = []string{"alice"}
		people := map[string]policy.Person{}
		for name, p := range d.People {
			if name != "erin" {
				people[name] = p
			}
		}
		d.People = people
	})
	w.counted(w.push(files...), 1)
	w.body = doc.Body
}

func addCarol(w *world) {
	doc, files := w.proposal("alice", func(d *policy.Document) { d.Admins.People = []string{"alice", "carol", "erin"} })
	w.counted(w.push(files...), 1)
	w.body = doc.Body
}

// TestWhatAHealBrings: what the other side added counts from the heal; what was
// signed on a commit that is healed away must be signed again, unless it takes
// away; and what the heal changes or drops counts no less.
func TestWhatAHealBrings(t *testing.T) {
	w := newWorld(t)
	r, digest := w.asked()
	before := w.tip()
	_, kept := w.request()
	w.counted(w.push(kept...), 1)

	// On the line, on the other side, and taking away.
	good, goodFiles := w.request(func(q *request.Request) { q.Head.Head = string(before) })
	lost := w.elsewhere(displaced)
	away := w.approval(r, digest, "carol", func(a *approve.Approval) { a.Head.Head = string(otherTip) })
	x := w.head(record.KindDenial, "carol")
	x.Head = string(otherTip)
	denial := w.signed(approve.Denial{Head: x, Request: r.ID, RequestDigest: digest, Reason: "no"}, "carol", record.PathOf(x, r.ID, false))
	files := append(append(append(goodFiles, lost...), away...), denial...)
	files = append(files, file{kept[0].path, kept[0].data + "# more\n"})
	m, report := w.healed("robot", before, files...)
	var got []string
	for _, s := range report.SetAside {
		got = append(got, s.Reason)
	}
	if want := "changed healed-head healed-head healed-head"; strings.Join(got, " ") != want || report.Records != 2 || report.Forks != 0 {
		t.Fatalf("%d records, %d forks; set aside %v, want %s", report.Records, report.Forks, got, want)
	}
	w.state(good.ID, approve.Pending)
	w.state(r.ID, approve.Denied)

	// Later too: such a record may come with any commit after the heal.
	if report := w.push(w.elsewhere(otherTip)...); len(report.SetAside) != 1 || report.SetAside[0].Reason != ledger.ReasonHealedHead {
		t.Errorf("later: %+v", report.SetAside)
	}
	// What nobody knows is evidence of a fork still.
	w.refused(w.push(w.elsewhere(hashOf("unheard of"))...), ledger.ReasonUnknownHead)
	w.sameFrom(m, 2, len(w.commits)-3)
	if all, err := w.l.HealedAway(); err != nil || len(all) != 2 {
		t.Errorf("%v, %v", all, err)
	}
}

// TestHealCannotUndoARemoval: a change of the policy that stands on the side that
// is healed away stays evidence of a fork, for a machine that knows nothing else.
func TestHealCannotUndoARemoval(t *testing.T) {
	for _, c := range []struct{ by, want string }{{"alice", ledger.ReasonUnknownHead}, {"bob", ledger.ReasonHealedHead}} {
		w := newWorld(t)
		fork := w.tip()
		_, files := w.proposal(c.by, func(d *policy.Document) {
			d.Head.Head = string(displaced)
			d.Admins.People = []string{"alice"}
		})
		if _, report := w.healed("erin", fork, files...); len(report.SetAside) != 1 || report.SetAside[0].Reason != c.want {
			t.Errorf("proposed by %s: %+v", c.by, report.SetAside)
		}
	}
	// The proposal stands before the fork, and the agreement to it on the other side.
	w := newWorld(t)
	doc, files := w.proposal("alice", func(d *policy.Document) { d.Admins.Threshold = 2; d.Admins.People = []string{"alice", "carol"} })
	w.counted(w.push(files...), 1)
	fork := w.tip()
	h := w.head(record.KindApproval, "erin")
	h.Head = string(displaced)
	yes := w.signed(approve.Approval{Head: h, Request: doc.ID, RequestDigest: record.Sum([]byte(files[0].data))}, "erin", record.PathOf(h, doc.ID, true))
	if _, report := w.healed("erin", fork, yes...); len(report.SetAside) != 1 || report.SetAside[0].Reason != ledger.ReasonUnknownHead {
		t.Errorf("the agreement to her removal: %+v", report.SetAside)
	}
	// The change counts from the heal itself, having seen nothing of the other side.
	for _, c := range []struct{ signer, want string }{{"erin", ledger.ReasonUnknownHead}, {"alice", ledger.ReasonHealedHead}} {
		w := newWorld(t)
		r, digest := w.asked()
		fork := w.tip()
		_, files := w.proposal("alice", func(d *policy.Document) { d.Admins.People = []string{"alice"} })
		h := w.head(record.KindDenial, "carol")
		h.Head = string(displaced)
		no := w.signed(approve.Denial{Head: h, Request: r.ID, RequestDigest: digest, Reason: "no"}, "carol", record.PathOf(h, r.ID, false))
		m, report := w.healed(c.signer, fork, append(append(files, no...), w.elsewhere(displaced)...)...)
		var got []string
		for _, s := range report.SetAside {
			got = append(got, s.Reason)
		}
		noted := c.want
		if noted == ledger.ReasonUnknownHead {
			noted = ledger.ReasonHeadNoted
		}
		if len(got) != 2 || got[0] != noted || got[1] != c.want || w.l.Policy().IsAdmin("erin") {
			t.Errorf("%s heals, and is removed by it: %v", c.signer, got)
		}
		w.sameFrom(m, 1)
	}
	// And her key, revoked on the other side.
	w = newWorld(t)
	fork = w.tip()
	lost := append(w.elsewhere(displaced), w.revoked("erin", record.RevokedHard))
	if _, report := w.healed("erin", fork, lost...); len(report.SetAside) != 1 || report.SetAside[0].Reason != ledger.ReasonUnknownHead {
		t.Errorf("a revoked key: %+v", report.SetAside)
	}
}

// TestHealer: what a machine that took the other order asks before it follows.
func TestHealer(t *testing.T) {
	w := newWorld(t)
	w.asked()
	addCarol(w)
	removeErin(w)
	_, now := w.l.Head()
	payload := []byte("tree …\n")
	for _, c := range []struct {
		signer string
		fork   int
		ok     bool
	}{
		{"alice", 1, true}, {"robot", 1, true}, {"carol", 1, false}, {"carol", 3, false}, {"erin", 1, false}, {"erin", now, false}, {"mallory", 1, false}, {"alice", 0, false},
	} {
		sig, err := w.signers[c.signer].Sign(t.Context(), payload)
		w.must(err)
		name, err := w.l.Healer(payload, sig, c.fork)
		if (err == nil) != c.ok || c.ok && name != c.signer {
			t.Errorf("%s at %d: %q, %v", c.signer, c.fork, name, err)
		}
		if _, err := w.l.Healer([]byte("other"), sig, c.fork); err == nil {
			t.Errorf("%s: a signature of other bytes", c.signer)
		}
	}
	w.push(w.revoked("robot", record.RevokedSoft))
	sig, err := w.signers["robot"].Sign(t.Context(), payload)
	w.must(err)
	if _, err := w.l.Healer(payload, sig, 1); record.ReasonOf(err) != record.ReasonKeyRevoked {
		t.Errorf("a revoked key: %v", err)
	}
	if at, err := w.l.PositionOf(w.commits[1]); err != nil || at != 2 {
		t.Errorf("position %d, %v", at, err)
	}
}

// TestHealNeedsASourceThatKnowsMerges: state must not depend on who reads.
func TestHealNeedsASourceThatKnowsMerges(t *testing.T) {
	w := newWorld(t)
	m := &merges{history: w.history, message: ledger.HealMessage("heals", "", "x"), second: otherTip}
	m.merge = w.commit()
	if _, err := w.l.Fold(t.Context(), struct{ ledger.Source }{m}, w.tip()); err == nil {
		t.Error("folded without asking who signed")
	}
}

// counting is merges for a fold in bulk.
type counting struct{ *merges }

func (c counting) Count(_ context.Context, from, to gitstore.Hash, _ int) (int, error) {
	return slices.Index(c.commits, to) - slices.Index(c.commits, from), nil
}

// TestHealInBulk: a long history is folded otherwise, to the same result.
func TestHealInBulk(t *testing.T) {
	w := newWorld(t)
	fork := w.tip()
	for range 1100 {
		w.commit()
	}
	_, err := w.l.Fold(t.Context(), w, w.tip())
	w.must(err)
	m, report := w.healed("alice", fork, w.elsewhere(displaced)...)
	w.refused(report, ledger.ReasonHealedHead)
	l := w.ledger()
	bulk, err := l.Fold(t.Context(), counting{m}, w.tip())
	w.must(err)
	if bulk.Forks != 0 {
		t.Errorf("%+v", bulk)
	}
	want, err := w.l.Export()
	w.must(err)
	if got, err := l.Export(); err != nil || string(got) != string(want) {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
}

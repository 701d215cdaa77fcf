package ledger_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// TestProperty makes random stores and folds each at once, in random portions and
// read back from the disk. All of that, and the plain reference, must say the same.
func TestProperty(t *testing.T) {
	defer testenv.RapidChecks(300, 100)()
	c, seen := newCast(t), tally{counted: map[string]int{}, aside: map[string]int{}, states: map[approve.State]int{}}
	base := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		s := &stand{maker: makeStore(rt, c), dir: filepath.Join(base, fmt.Sprint(seen.stores))}
		defer s.close()
		s.compare(t)
		seen.add(s)
	})
	if !t.Failed() {
		seen.enough(t)
	}
}

// stand is one store with the ledgers that are made of it.
type stand struct {
	*maker
	dir     string
	ledgers []*ledger.Ledger
	left    int // requests that ended since their signer, or the key, was taken away
	did     []string
}

// fail tells the whole story, the shortest that rapid finds.
func (s *stand) fail(format string, args ...any) {
	s.rt.Helper()
	s.rt.Fatalf("%s\n\n%s\n\nfolded: %s", fmt.Sprintf(format, args...), strings.Join(s.story, "\n"), strings.Join(s.did, ", "))
}

func (s *stand) must(err error) {
	s.rt.Helper()
	if err != nil {
		s.fail("%v", err)
	}
}

func (s *stand) open(path string) *ledger.Ledger {
	l, err := ledger.Open(path, s.ref.identity)
	s.must(err)
	s.ledgers = append(s.ledgers, l)
	return l
}

func (s *stand) close() {
	for _, l := range s.ledgers {
		_ = l.Close()
	}
	_ = os.RemoveAll(s.dir)
}

// compare folds the store in several ways and compares them.
func (s *stand) compare(t *testing.T) {
	var src ledger.Source = s.chain
	if s.genuine {
		src = s.repository(t)
	}
	s.dice = s.plan.last
	times := s.times()
	want := s.ref.render(times)
	cold := s.open(":memory:")
	if s.seldom(128) {
		// As a long history is folded.
		s.did = append(s.did, "in bulk")
		cold.InBulk(1, 3)
		src = countedSource{src, s.chain}
	}
	s.chain.shuffled = 1
	report, err := cold.Fold(context.Background(), src, s.tip())
	s.chain.shuffled = 0
	s.must(err)
	s.did = append(s.did, "at once")
	s.says(cold, times, want)
	for _, id := range s.ref.ids(record.KindRequest) {
		if !s.ref.endedByLeaving(id) {
			continue
		}
		s.left++
		for _, now := range times {
			e, err := cold.Request(id, now)
			s.must(err)
			if !e.State.Settled() || !e.Opens.IsZero() {
				s.fail("request %s is %s at %s, though its signer had left before it opened", id.Short(), e.State, now)
			}
		}
	}
	s.did = nil
	l, inAll := s.portions(src, times)
	s.same(l, cold, times, want)
	if a, b := asJSON(inAll), asJSON(report); a != b {
		s.fail("the reports of all portions say\n\t%s\nand that of one fold\n\t%s", a, b)
	}
}

// countedSource is a source that tells how many commits lie ahead.
type countedSource struct {
	ledger.Source
	chain *chain
}

func (c countedSource) Count(_ context.Context, from, to gitstore.Hash, _ int) (int, error) {
	return slices.Index(c.chain.commits, to) - slices.Index(c.chain.commits, from), nil
}

func (s *stand) says(l *ledger.Ledger, times []time.Time, want []string) {
	s.rt.Helper()
	got, err := render(l, times)
	s.must(err)
	if d := difference(got, want); d != "" {
		s.fail("%s", d)
	}
}

func (s *stand) same(l, cold *ledger.Ledger, times []time.Time, want []string) {
	s.rt.Helper()
	s.says(l, times, want)
	got, err := l.Export()
	s.must(err)
	all, err := cold.Export()
	s.must(err)
	if string(got) != string(all) {
		s.fail("%s", strings.Replace(difference(strings.Split(string(got), "\n"), strings.Split(string(all), "\n")), "the reference", "one that was folded at once", 1))
	}
}

// portions folds the store in random portions. Between them the ledger is asked
// where the requests stand, so that it remembers some, and in some stores it is
// closed and opened again, and another one at the same file reads it anew.
func (s *stand) portions(src ledger.Source, times []time.Time) (*ledger.Ledger, ledger.Report) {
	path, onDisk := ":memory:", s.seldom(24)
	if onDisk {
		s.must(os.MkdirAll(s.dir, 0o700))
		path = filepath.Join(s.dir, "ledger.db")
	}
	l := s.open(path)
	other := l
	if onDisk {
		other = s.open(path)
	}
	total := ledger.Report{}
	for i, commit := range s.commits {
		if s.dice = nil; i > 0 {
			s.dice = s.plan.commits[i-1].fold
		}
		if i+1 < len(s.commits) && s.seldom(128) {
			continue
		}
		report, err := l.Fold(context.Background(), src, commit)
		s.must(err)
		total.Commits, total.Records, total.Forks = total.Commits+report.Commits, total.Records+report.Records, total.Forks+report.Forks
		total.SetAside = append(total.SetAside, report.SetAside...)
		total.Aside += report.Aside
		s.did = append(s.did, fmt.Sprint(i+1))
		if s.seldom(100) {
			now := times[s.below(len(times))]
			_, err := l.Requests(ledger.Filter{}, now)
			s.must(err)
			s.did = append(s.did, "asked at "+now.Format("02 15:04:05"))
		}
		if onDisk && s.seldom(64) {
			s.must(l.Close())
			l = s.open(path)
			s.did = append(s.did, "opened again")
		}
	}
	if onDisk {
		s.must(other.Reload())
		s.did = append(s.did, "read by another")
	}
	return other, total
}

// times are some at which the requests' standing is compared: around what the
// requests claim and what the reference makes of them.
func (s *stand) times() []time.Time {
	all := []time.Time{s.now, noon}
	for _, id := range s.ref.ids(record.KindRequest) {
		c, _ := s.ref.request(id)
		d := approve.Decide(s.ref.succession(), c, s.now)
		for _, at := range []time.Time{c.Request.Record.Created.Time, d.Lapses, d.Opens, d.Ends, d.Closed} {
			if !at.IsZero() {
				all = append(all, at, at.Add(-time.Second), at.Add(time.Second))
			}
		}
	}
	some := []time.Time{s.now}
	for range 3 {
		some = append(some, all[s.below(min(len(all), 256))])
	}
	return append(some, noon.AddDate(1, 0, 0))
}

// repository makes the store with git, and gives it as everybody reads it.
func (s *stand) repository(t *testing.T) *gitstore.Store {
	git := func(in string, args ...string) string {
		cmd := exec.Command(testenv.Need(t, "git", "git"), args...)
		cmd.Dir, cmd.Stdin = s.dir, strings.NewReader(in)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			s.fail("git %s: %v\n%s", args[0], err, out)
		}
		return strings.TrimSpace(string(out))
	}
	s.must(os.MkdirAll(s.dir, 0o700))
	remote := filepath.Join(s.dir, "store.git")
	s.must(gitstore.CreateBare(remote, ""))
	git(s.fastImport(), "-C", remote, "-c", "core.protectNTFS=false", "fast-import", "--quiet")
	store, err := gitstore.Open(context.Background(), gitstore.Options{Dir: filepath.Join(s.dir, "copy"), URL: remote, Isolated: true})
	s.must(err)
	tip, err := store.Fetch(context.Background())
	s.must(err)
	if tip.Hash != s.tip() {
		s.fail("git makes %s of it, and not %s", tip.Hash, s.tip())
	}
	return store
}

// tally is what the stores of a run held, so that the test cannot come to nothing.
type tally struct {
	stores, records int
	counted, aside  map[string]int
	states          map[approve.State]int
	versions, real  int
	late, kept      int // what came after the end of a proposal, and after a lock of its signer
	left, away      int // what ended since its signer left, and what was kept over that
	again           int // locks and ends of delegations beside one that claims a later time
	met             int // what takes away and came before what it names
	standings
	relations
}

func (y *tally) add(s *stand) {
	y.stores++
	y.records += len(s.ids)
	y.standings.add(s)
	y.relations.add(s)
	for _, c := range s.ref.counted {
		y.counted[string(c.Kind)]++
	}
	for _, a := range s.ref.aside {
		y.aside[a.Reason]++
	}
	for _, id := range s.ref.ids(record.KindRequest) {
		c, _ := s.ref.request(id)
		y.states[approve.Decide(s.ref.succession(), c, s.now).State]++
	}
	y.late, y.kept = y.late+s.ref.late, y.kept+s.ref.kept
	y.left, y.away = y.left+s.left, y.away+s.ref.away
	y.met, y.again = y.met+s.ref.met, y.again+s.ref.again
	y.versions += len(s.ref.succession()) - 1
	if s.genuine {
		y.real++
	}
}

// enough fails where the stores held too little of what they are made for.
func (y *tally) enough(t *testing.T) {
	t.Logf("%d stores with %d records, %d of them in a repository, %d changes of policy, %d after the end of a proposal, %d after a lock; %d ended by leaving, %d kept over that; %d met what they name, %d beside what claims a later time\ncounted: %v\nset aside: %v\nstates: %v\nlocks and delegations: %+v\nof several requests: %+v",
		y.stores, y.records, y.real, y.versions, y.late, y.kept, y.left, y.away, y.met, y.again, y.counted, y.aside, y.states, y.standings, y.relations)
	if y.stores < 300 {
		return // too few to hold everything
	}
	if y.real == 0 || y.versions < y.stores/10 || y.records < 5*y.stores {
		t.Errorf("%d repositories, %d changes of policy and %d records in %d stores", y.real, y.versions, y.records, y.stores)
	}
	// They come about less often than the rest.
	if y.stores >= 1000 && (y.lifted == 0 || y.locked == 0 || y.forOthers == 0 || y.over == 0 || y.counted[string(record.KindDelegationEnd)] == 0) {
		t.Errorf("too little of locks and delegations: %+v", y.standings)
	}
	if y.stores >= 1000 && (y.late == 0 || y.kept == 0) {
		t.Errorf("%d came after the end of a proposal, %d after a lock of their signer", y.late, y.kept)
	}
	if y.stores >= 1000 && y.again == 0 {
		t.Error("nothing was locked or ended beside what claims a later time")
	}
	if y.stores >= 1000 && y.met == 0 {
		t.Error("nothing that takes away came before what it names")
	}
	if y.stores >= 1000 && (y.left == 0 || y.away == 0) {
		t.Errorf("%d requests ended since somebody left, %d records were kept over that", y.left, y.away)
	}
	y.relations.enough(t, y)
	for _, kind := range []record.Kind{record.KindPolicy, record.KindRequest, record.KindApproval, record.KindDenial, record.KindWithdrawal,
		record.KindCancellation, record.KindRevocation, record.KindComment, record.KindReceipt, record.KindHeartbeat,
		record.KindLock, record.KindUnlock, record.KindDelegation} {
		if y.counted[string(kind)] == 0 {
			t.Errorf("no %s counted in %d stores", kind, y.stores)
		}
	}
	for _, reason := range []string{ledger.ReasonForeignFile, ledger.ReasonWrongPlace, ledger.ReasonDuplicateID, ledger.ReasonWrongStore, ledger.ReasonUnknownHead,
		ledger.ReasonNotInPolicy, ledger.ReasonWrongSigner, ledger.ReasonNotReconciler, ledger.ReasonNoSuchRequest, ledger.ReasonNoSignature,
		string(record.ReasonSigMismatch), string(record.ReasonIDTime), string(record.ReasonSigArmor), string(record.ReasonKeyRevoked), string(policy.Backdated), string(policy.AfterEnd), string(policy.Locked),
		string(gitstore.Changed), string(gitstore.Deleted), string(gitstore.CaseTwin), string(gitstore.BadMode), string(gitstore.BadPath)} {
		if y.aside[reason] == 0 {
			t.Errorf("nothing was set aside as %q in %d stores", reason, y.stores)
		}
	}
}

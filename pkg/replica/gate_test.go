package replica_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/storetest"
	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

// hosted is a store with a gate before it.
type hosted struct {
	*storetest.Store
	t *testing.T
}

func newHosted(t *testing.T) *hosted {
	t.Helper()
	return &hosted{t: t, Store: storetest.New(t, time.Now(), func(b *policy.Body) {
		b.Reconcilers[storetest.Reconciler] = policy.Reconciler{Keys: b.Reconcilers[storetest.Reconciler].Keys, Resources: []string{"db"}}
		b.Resources["db"] = policy.Resource{Driver: "postgres", Roles: map[string]policy.Role{"read": {Parameters: map[string]string{"grant": "x"}}}}
	})}
}

func (h *hosted) git(args ...string) string {
	h.t.Helper()
	cmd := exec.Command(testenv.Need(h.t, "git", "git"), append([]string{"--git-dir=" + h.URL, "-c", "user.name=eve", "-c", "user.email=eve@example.com"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func (h *hosted) head() gitstore.Hash { return gitstore.Hash(h.git("rev-parse", "main")) }

// judge asks the gate about a push to the store's branch, and gives the reasons.
func (h *hosted) judge(old, new gitstore.Hash) ([]string, error) {
	h.t.Helper()
	g, err := replica.OpenGate(h.t.Context(), replica.GateConfig{Dir: h.URL, Env: func(string) string { return "" }, Identity: h.Identity, Now: h.Now})
	if err != nil {
		return nil, err
	}
	turned, err := g.Judge(h.t.Context(), []replica.RefUpdate{{Old: old, New: new, Ref: "refs/heads/main"}})
	if err := g.Close(); err != nil {
		h.t.Error(err)
	}
	var reasons []string
	for _, t := range turned {
		reasons = append(reasons, t.Reason)
	}
	return reasons, err
}

// wants judges and compares.
func (h *hosted) wants(what string, old, new gitstore.Hash, want ...string) {
	h.t.Helper()
	got, err := h.judge(old, new)
	if err != nil || strings.Join(got, " ") != strings.Join(want, " ") {
		h.t.Errorf("%s: %q (%v), want %q", what, got, err, want)
	}
}

// state is the head that the gate's ledger stands at.
func (h *hosted) state() gitstore.Hash {
	h.t.Helper()
	l, err := ledger.Open(filepath.Join(h.URL, "jit", "ledger.db"), h.Identity)
	if err != nil {
		h.t.Fatal(err)
	}
	defer l.Close()
	head, _ := l.Head()
	return head
}

// junk gives a commit on the head that adds a file of no place.
func (h *hosted) junk(on gitstore.Hash) gitstore.Hash {
	h.t.Helper()
	h.git("read-tree", string(on))
	h.git("update-index", "--add", "--cacheinfo", "100644,"+h.git("hash-object", "-w", "-t", "blob", os.DevNull)+",README")
	return gitstore.Hash(h.git("commit-tree", "-p", string(on), "-m", "junk", h.git("write-tree")))
}

// TestGateFollowsWhatGitTook: what a push tries leaves no trace in the gate's own
// state, whether the gate turns it away or git does afterwards.
func TestGateFollowsWhatGitTook(t *testing.T) {
	h := newHosted(t)
	first := h.head()
	h.Request("bob", time.Hour, "db:read")
	second := h.head()
	h.wants("good", first, second)
	if got := h.state(); got != first {
		t.Errorf("the gate stands at %s after a push that git may still refuse, want %s", got, first)
	}
	h.wants("again, since git refused it", first, second)
	h.wants("bad", second, h.junk(second), ledger.ReasonForeignFile)
	if got := h.state(); got != second {
		t.Errorf("the gate stands at %s after a push that it turned away, want %s", got, second)
	}
	h.Request("bob", time.Hour, "db:read")
	third := h.head()
	h.wants("good after bad", second, third)
	h.wants("the third is there", third, h.junk(third), ledger.ReasonForeignFile)
	// One who was slower began at the second: git refuses that, and whoever pushes
	// with jit tries again.
	h.wants("raced", second, h.junk(second))
	if got := h.state(); got != third {
		t.Errorf("the gate stands at %s, want %s", got, third)
	}
	// The same where the branch was put back on the host.
	h.git("update-ref", "refs/heads/main", string(second))
	h.wants("moved on the host", second, h.junk(second), string(replica.GateDisplaced))
	h.wants("put back", second, third)
	h.wants("put back with more than that", second, h.junk(third), ledger.ReasonForeignFile)
	h.wants("gone", third, "", string(replica.GateDeleted))
}

// TestGateBelievesNoOld: a push that claims to follow what the branch never held is
// turned away, and leaves no trace: git would refuse it only after the gate.
func TestGateBelievesNoOld(t *testing.T) {
	h := newHosted(t)
	first := h.head()
	h.wants("the first", first, h.junk(first), ledger.ReasonForeignFile)
	h.Request("bob", time.Hour, "db:read")
	good := h.head()
	h.git("update-ref", "refs/heads/main", string(first))
	other := string(replica.GateOtherHead)
	bad := h.junk(first)
	for what, old := range map[string]gitstore.Hash{
		"what is bad": bad, "what is good": good, "what follows the bad": h.junk(bad),
		"what is not there": gitstore.Hash(strings.Repeat("1", 40)),
	} {
		h.wants(what+", by itself", old, old, other)
		h.wants(what+", and bad on it", old, bad, other)
		if got := h.state(); got != first {
			t.Fatalf("the gate follows %s to %s", what, got)
		}
	}
	h.wants("bad as before", first, bad, ledger.ReasonForeignFile)
	h.wants("good as before", first, good)
}

// TestGateReadsOnlyWhatIsNew: a push costs what it brings. All older objects are
// taken away, so that reading one would fail.
func TestGateReadsOnlyWhatIsNew(t *testing.T) {
	h := newHosted(t)
	for range 12 {
		h.Request("bob", time.Hour, "db:read")
	}
	// The gate has seen all but the last two: git has taken one, one is pushed.
	seen := h.head()
	h.wants("to begin with", seen, seen)
	h.Request("bob", time.Hour, "db:read")
	old := h.head()
	h.Request("bob", time.Hour, "db:read")
	now := h.head()
	keep := map[string]bool{string(seen): true}
	for line := range strings.Lines(h.git("rev-list", "--objects", string(now), "^"+string(seen)) + "\n" + h.git("ls-tree", "-r", "-t", "-d", string(seen))) {
		for _, word := range strings.Fields(line) {
			if len(word) == 40 {
				keep[word] = true
			}
		}
	}
	keep[h.git("rev-parse", string(seen)+"^{tree}")] = true
	taken := 0
	files, err := filepath.Glob(filepath.Join(h.URL, "objects", "??", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := filepath.Base(filepath.Dir(file)) + filepath.Base(file); !keep[name] {
			taken++
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		}
	}
	if taken < 50 {
		t.Fatalf("only %d objects are old: the test is broken", taken)
	}
	h.wants("one record", old, now)
	if err := os.RemoveAll(filepath.Join(h.URL, "jit")); err != nil {
		t.Fatal(err)
	}
	if _, err := h.judge(old, now); !errors.Is(err, gitstore.ErrNotFound) {
		t.Errorf("without its state the gate reads all, and finds %v", err)
	}
}

// TestGateLetsTakingAwayThrough: what counts whatever its head is comes in, though it
// is listed.
func TestGateLetsTakingAwayThrough(t *testing.T) {
	h := newHosted(t)
	h.Revoke("carol", h.Granted("bob", time.Hour, "db:read").ID)
	h.Sync()
	refs, err := h.Machine.Ledger().AllRecords()
	if err != nil {
		t.Fatal(err)
	}
	path := map[record.Kind]string{}
	for _, r := range refs {
		path[r.Kind] = r.Path
	}
	for _, c := range []struct {
		kind   record.Kind
		reason string
		want   bool
	}{
		{record.KindRevocation, ledger.ReasonHeadNoted, true},
		{record.KindRevocation, ledger.ReasonHealedHead, true},
		{record.KindRevocation, ledger.ReasonWrongStore, false},
		{record.KindApproval, ledger.ReasonHealedHead, false},
		{record.KindApproval, ledger.ReasonUnknownHead, false},
	} {
		if got := replica.Counts(ledger.SetAside{Path: path[c.kind], Reason: c.reason}); path[c.kind] == "" || got != c.want {
			t.Errorf("%q %s: %v", path[c.kind], c.reason, got)
		}
	}
}

// TestGateLendsNoObjects: a repository that borrows its history from elsewhere is not
// judged.
func TestGateLendsNoObjects(t *testing.T) {
	h := newHosted(t)
	for _, name := range []string{"objects/info/alternates", "info/grafts", "shallow"} {
		file := filepath.Join(h.URL, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("/elsewhere\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
		if _, err := h.judge(h.head(), h.head()); !errors.Is(err, gitstore.ErrBadBare) {
			t.Errorf("%s: %v", name, err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
}

// TestGateAlias: the branch has no second name by which it is written unseen.
func TestGateAlias(t *testing.T) {
	h := newHosted(t)
	h.Request("bob", time.Hour, "db:read")
	head := h.head()
	for name, alias := range map[string][]string{
		"of the branch":         {"refs/heads/other", "refs/heads/main"},
		"of another one":        {"refs/heads/third", "refs/heads/other"},
		"which is one itself":   {"refs/heads/main", "refs/heads/real"},
		"of what is not there":  {"refs/heads/other", "refs/heads/main"},
		"in a folder of others": {"refs/changes/main", "refs/heads/main"},
	} {
		pushed := alias[0]
		switch name {
		case "of another one":
			h.git("symbolic-ref", "refs/heads/other", "refs/heads/main")
		case "which is one itself":
			h.git("update-ref", "refs/heads/real", string(head))
			pushed = "refs/heads/real"
		case "of what is not there":
			h.git("update-ref", "-d", "refs/heads/main")
		}
		h.git("symbolic-ref", alias[0], alias[1])
		for _, only := range []bool{false, true} {
			g, err := replica.OpenGate(t.Context(), replica.GateConfig{Dir: h.URL, Env: func(string) string { return "" }, Branch: "main", Identity: h.Identity, Only: only, Now: h.Now})
			if err != nil {
				t.Fatal(err)
			}
			turned, err := g.Judge(t.Context(), []replica.RefUpdate{{Old: head, New: head, Ref: pushed}})
			if err != nil || len(turned) != 1 || turned[0].Reason != string(replica.GateAlias) {
				t.Errorf("%s: %+v, %v", name, turned, err)
			}
			if err := g.Close(); err != nil {
				t.Error(err)
			}
		}
		h.git("symbolic-ref", "-d", alias[0])
		if alias[0] != "refs/heads/other" {
			for _, made := range []string{"refs/heads/other", "refs/heads/real"} {
				h.git("update-ref", "--no-deref", "-d", made)
			}
		}
		h.git("update-ref", "refs/heads/main", string(head))
	}
}

// TestGateTakesWhatMakesWay: junk that was there before the gate was is no reason to
// turn away the record to which it gives way.
func TestGateTakesWhatMakesWay(t *testing.T) {
	h := newHosted(t)
	h.Request("bob", time.Hour, "db:read")
	before := h.head()
	h.git("read-tree", string(before))
	blob := h.git("hash-object", "-w", "-t", "blob", os.DevNull)
	for _, path := range []string{"requests", "POLICY/x", "Requests/x"} {
		h.git("update-index", "--add", "--replace", "--cacheinfo", "100644,"+blob+","+path)
	}
	junk := gitstore.Hash(h.git("commit-tree", "-p", string(before), "-m", "junk", h.git("write-tree")))
	h.wants("junk", before, junk, "case twin", "case twin", "case twin", "deleted", "deleted")
	h.git("update-ref", "refs/heads/main", string(junk))
	h.Request("bob", time.Hour, "db:read")
	h.wants("what makes way", junk, h.head())
	for _, ref := range []string{"refs/tags/refs/heads/main", "refs/heads/refs/heads/main"} {
		g, err := replica.OpenGate(t.Context(), replica.GateConfig{Dir: h.URL, Env: func(string) string { return "" }, Identity: h.Identity, Now: h.Now})
		if err != nil {
			t.Fatal(err)
		}
		turned, err := g.Judge(t.Context(), []replica.RefUpdate{{New: junk, Ref: ref}, {Old: junk, Ref: ref}, {New: junk, Ref: "refs/heads/main2"}})
		if err != nil || len(turned) != 1 || turned[0].Reason != string(replica.GateLikeBranch) {
			t.Errorf("%s: %+v, %v", ref, turned, err)
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
}

package gitstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// attacker is somebody who may push and uses plain git.
type attacker struct {
	t   *testing.T
	dir string
}

func newAttacker(t *testing.T, bare string) attacker {
	dir := filepath.Join(t.TempDir(), "clone")
	git(t, filepath.Dir(dir), "clone", "--quiet", bare, dir)
	git(t, dir, "config", "core.protectNTFS", "false")
	git(t, dir, "config", "core.protectHFS", "false")
	return attacker{t: t, dir: dir}
}

func (a attacker) git(args ...string) string { a.t.Helper(); return git(a.t, a.dir, args...) }

func (a attacker) chmod(path string, mode os.FileMode) {
	a.t.Helper()
	if err := os.Chmod(filepath.Join(a.dir, path), mode); err != nil {
		a.t.Fatal(err)
	}
}

func (a attacker) write(path, text string) {
	a.t.Helper()
	file := filepath.Join(a.dir, path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		a.t.Fatal(err)
	}
}

// entry stages a blob under any mode and path, past what git add allows.
func (a attacker) entry(mode, hash, path string) {
	a.t.Helper()
	a.git("update-index", "--add", "--cacheinfo", mode+","+hash+","+path)
}

func (a attacker) blob(text string) string {
	a.t.Helper()
	a.write(".git/blob", text)
	return a.git("hash-object", "-w", "--no-filters", ".git/blob")
}

func (a attacker) push() {
	a.t.Helper()
	a.git("commit", "--quiet", "--allow-empty", "-m", "harmless")
	a.git("push", "--quiet", "origin", "HEAD:main")
}

// permissive makes a bare repository that takes everything.
func permissive(t *testing.T) string {
	path := bare(t)
	for _, key := range []string{"receive.fsckObjects", "receive.denyNonFastForwards"} {
		git(t, path, "config", key, "false")
	}
	return path
}

func TestViolationsNeverStopTheOthers(t *testing.T) {
	path := permissive(t)
	s, root := initStore(t, Options{URL: path, Isolated: true})
	a := newAttacker(t, path)
	blob := a.blob("evil\n")
	head := a.git("rev-parse", "HEAD")
	a.entry("120000", blob, "requests/link")
	a.entry("100755", blob, "requests/program")
	a.entry("160000", head, "requests/module")
	a.entry("100644", blob, "requests/back\\slash")
	a.entry("100644", blob, "requests/sp ace")
	a.entry("100644", blob, "requests/new\nline")
	a.entry("100644", blob, "POLICY/P/policy.yaml")
	a.entry("100644", blob, "policy/P/POLICY.yaml")
	a.entry("100644", blob, "1/2/3/4/5/6/7/8/9")
	a.entry("100644", blob, "requests/"+strings.Repeat("x", 250))
	a.entry("100644", a.blob(strings.Repeat("large\n", 1<<20)), "requests/large")
	a.entry("100644", blob, "requests/good.yaml")
	a.push()
	tip := mustFetch(t, s)
	want := strings.Join([]string{
		"+ requests/good.yaml",
		"! 1/2/3/4/5/6/7/8: bad path",
		"! POLICY: case twin",
		"! policy/P/POLICY.yaml: case twin",
		"! requests/back\\slash: bad path",
		"! requests/large: too large",
		"! requests/link: bad mode",
		"! requests/module: bad mode",
		"! requests/new\nline: bad path",
		"! requests/program: bad mode",
		"! requests/sp ace: bad path",
		"! requests/" + strings.Repeat("x", MaxPath-len("requests/")) + "…: bad path",
	}, "\n")
	if got := events(t, s, root, tip); got != want {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	after := mustAppend(t, s, "requests/next.yaml", "honest\n")
	if got := events(t, s, tip, after.Commit); got != "+ requests/next.yaml" {
		t.Fatalf("after the attack: %s", got)
	}
}

func TestFirstBytesCount(t *testing.T) {
	path := bare(t)
	s, root := initStore(t, Options{URL: path, Isolated: true})
	mustAppend(t, s, "requests/r.yaml", "honest\n")
	a := newAttacker(t, path)
	var want []string
	step := func(change func(), events ...string) {
		t.Helper()
		change()
		a.git("add", "-A")
		a.push()
		want = append(want, events...)
	}
	step(func() { a.write("requests/r.yaml", "evil\n") }, "! requests/r.yaml: changed")
	step(func() { a.write("requests/r.yaml", "worse\n") }, "! requests/r.yaml: changed")
	step(func() { a.write("requests/r.yaml", "honest\n") })
	step(func() { a.chmod("requests/r.yaml", 0o755) }, "! requests/r.yaml: bad mode")
	step(func() { a.chmod("requests/r.yaml", 0o644) })
	step(func() { a.git("rm", "-rq", "policy", "requests") }, "! policy/P/policy.yaml: deleted", "! requests/r.yaml: deleted")
	step(func() { a.write("requests/r.yaml", "evil\n"); a.write("policy/P/policy.yaml", "first\n") }, "! requests/r.yaml: changed")
	step(func() { a.git("rm", "-q", "requests/r.yaml") }, "! requests/r.yaml: deleted")
	step(func() { a.write("requests/r.yaml/x", "below\n") }, "+ requests/r.yaml/x")
	tip := mustFetch(t, s)
	if got := events(t, s, "", tip); got != "+ policy/P/policy.yaml\n+ requests/r.yaml\n"+strings.Join(want, "\n") {
		t.Fatalf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}

	// In pieces, with what was learnt so far, the walk says the same as cold.
	known := map[string]Hash{}
	o := WalkOptions{Known: func(path string) (Hash, error) { return known[path], nil }}
	var pieces []string
	from := Hash("")
	list := chain(t, s, "", tip)
	for _, h := range list {
		pieces = append(pieces, walk(t, s, from, h, o)...)
		if err := s.Walk(testContext(t), from, h, o, func(c Commit) error {
			for _, f := range c.Inserted {
				known[f.Path] = f.Blob
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		from = h
	}
	if cold := walk(t, s, "", tip, WalkOptions{}); !slices.Equal(cold, pieces) {
		t.Fatalf("cold\n%s\nin pieces\n%s", strings.Join(cold, "\n"), strings.Join(pieces, "\n"))
	}
	if root != list[0] {
		t.Fatalf("the walk begins at %s, not at the root", list[0])
	}
}

// TestOnlyKnownHoldsAPath: where nothing holds a path, what comes back to it is told
// like any other bytes, in one walk as in many.
func TestOnlyKnownHoldsAPath(t *testing.T) {
	path := bare(t)
	s, root := initStore(t, Options{URL: path, Isolated: true})
	a := newAttacker(t, path)
	for _, text := range []string{"garbage\n", "other\n", "garbage\n", "", "garbage\n"} {
		if a.write("r.yaml", text); text == "" {
			a.git("rm", "-qf", "r.yaml")
		}
		a.git("add", "-A")
		a.push()
	}
	tip := mustFetch(t, s)
	o := WalkOptions{Known: func(string) (Hash, error) { return "", nil }}
	var got, pieces []string
	note := func(to *[]string) func(Commit) error {
		return func(c Commit) error {
			for _, f := range c.Inserted {
				*to = append(*to, "added "+string(f.Blob[:4]))
			}
			for _, v := range c.Violations {
				*to = append(*to, strings.TrimSpace(fmt.Sprintf("%s %.4s %.4s", v.Kind, v.Old, v.Blob)))
			}
			return nil
		}
	}
	if err := s.Walk(testContext(t), root, tip, o, note(&got)); err != nil {
		t.Fatal(err)
	}
	garbage, other := gitBlob([]byte("garbage\n"))[:4], gitBlob([]byte("other\n"))[:4]
	want := fmt.Sprintf("added %[1]s, changed %[1]s %[2]s, changed %[2]s %[1]s, deleted %[1]s, added %[1]s", garbage, other)
	if strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %s", got, want)
	}
	from := root
	for _, h := range chain(t, s, root, tip) {
		if err := s.Walk(testContext(t), from, h, o, note(&pieces)); err != nil {
			t.Fatal(err)
		}
		from = h
	}
	if !slices.Equal(pieces, got) {
		t.Errorf("in pieces %q, at once %q", pieces, got)
	}
}

func TestMergeCountsAtTheMerge(t *testing.T) {
	path := bare(t)
	s, root := initStore(t, Options{URL: path, Isolated: true})
	a := newAttacker(t, path)
	a.git("checkout", "-q", "-b", "side")
	a.write("side", "x")
	a.git("add", "-A")
	a.git("commit", "-qm", "side")
	mustAppend(t, s, "main", "y")
	a.git("checkout", "-q", "main")
	a.git("pull", "-q", "--ff-only")
	a.git("merge", "-q", "--no-ff", "-m", "merge", "side")
	a.git("push", "-q", "origin", "main")
	if got := events(t, s, root, mustFetch(t, s)); got != "+ main\n+ side" {
		t.Fatalf("got\n%s", got)
	}
}

func TestRelation(t *testing.T) {
	path := permissive(t)
	s, root := initStore(t, Options{URL: path, Isolated: true})
	second := mustAppend(t, s, "second", "x").Commit
	third := mustAppend(t, s, "third", "x").Commit
	for name, c := range map[string]struct {
		checkpoint, tip Hash
		want            Relation
	}{
		"none": {"", third, Ahead}, "same": {third, third, Same}, "ahead": {root, third, Ahead}, "older head": {third, second, Behind},
		"not here": {Hash(strings.Repeat("a", 40)), third, Rewritten},
	} {
		if got, err := s.Relation(c.checkpoint, c.tip); err != nil || got != c.want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, c.want)
		}
	}
	if err := s.SetCheckpoint(second); err != nil {
		t.Fatal(err)
	}
	if err := s.SetCheckpoint(third); err != nil {
		t.Fatal(err)
	}
	if err := s.SetCheckpoint(second); !errors.Is(err, ErrNotForward) {
		t.Errorf("backwards: %v", err)
	}

	// A merge whose first parent is not the old head.
	a := newAttacker(t, path)
	a.git("checkout", "-q", "-b", "swap", string(root))
	a.write("swap", "x")
	a.git("add", "-A")
	a.git("commit", "-qm", "swap")
	a.git("merge", "-q", "--no-ff", "-m", "merge", "main")
	a.git("push", "-q", "origin", "HEAD:main")
	refuse := func(want Relation) {
		t.Helper()
		tip := mustFetch(t, s)
		if got, err := s.Relation(third, tip); err != nil || got != want {
			t.Errorf("relation %q, %v; want %q", got, err, want)
		}
		if err := s.SetCheckpoint(tip); !errors.Is(err, ErrNotForward) {
			t.Errorf("%s: set checkpoint: %v", want, err)
		}
		if _, err := s.Append(testContext(t), add("more", "x"), nil); !errors.Is(err, ErrRewritten) {
			t.Errorf("%s: append: %v", want, err)
		}
		if got, err := s.Checkpoint(); err != nil || got != third {
			t.Errorf("%s: the checkpoint moved to %s, %v", want, got, err)
		}
	}
	refuse(OffChain)
	a.git("push", "-q", "-f", "origin", string(second)+":main")
	refuse(Behind)
	a.git("checkout", "-q", "--orphan", "new")
	a.git("commit", "-qm", "new root")
	a.git("push", "-q", "-f", "origin", "HEAD:main")
	refuse(Rewritten)

	// A mirror that is lost does not take the checkpoint with it.
	if err := os.RemoveAll(s.mirror); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, Options{Dir: s.o.Dir, URL: path, Isolated: true})
	refuse(Rewritten)
	if err := os.WriteFile(filepath.Join(s.o.Dir, "checkpoint"), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Checkpoint(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a garbled checkpoint: %v", err)
	}
}

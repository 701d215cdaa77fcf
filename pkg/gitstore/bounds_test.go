package gitstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mktree makes a tree of lines as `git ls-tree` prints them.
func (a attacker) mktree(lines string) string {
	a.t.Helper()
	cmd := exec.Command("git", "mktree")
	cmd.Dir, cmd.Stdin = a.dir, strings.NewReader(lines)
	out, err := cmd.Output()
	if err != nil {
		a.t.Fatalf("git mktree: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// pushTree pushes a commit in which a folder is this tree; with "", without it.
func (a attacker) pushTree(name, tree string) Hash {
	a.t.Helper()
	var lines string
	for line := range strings.Lines(a.git("ls-tree", "HEAD") + "\n") {
		if !strings.HasSuffix(line, "\t"+name+"\n") {
			lines += line
		}
	}
	if tree != "" {
		lines += "040000 tree " + tree + "\t" + name + "\n"
	}
	commit := a.git("commit-tree", "-p", "HEAD", "-m", "harmless", a.mktree(lines))
	a.git("update-ref", "HEAD", commit)
	// git itself does not come to an end when it compares such folders for a push.
	remote := a.git("remote", "get-url", "origin")
	if out, err := exec.Command("cp", "-an", filepath.Join(a.dir, ".git", "objects")+"/.", filepath.Join(remote, "objects")).CombinedOutput(); err != nil {
		a.t.Fatalf("cp: %v: %s", err, out)
	}
	git(a.t, remote, "update-ref", "refs/heads/main", commit)
	return Hash(commit)
}

// A folder that holds itself over and over has more entries than there are seconds.
// It costs what a commit may cost, and the honest record after it counts, in walks
// over additions, changes and removals alike.
func TestFolderBomb(t *testing.T) {
	t.Parallel()
	path := permissive(t)
	s, root := initStore(t, Options{URL: path, Isolated: true})
	a := newAttacker(t, path)
	bomb := func(text string) string {
		tree := a.mktree(fmt.Sprintf("100644 blob %s\tx\n", a.blob(text)))
		for range MaxDepth - 2 {
			lines := ""
			for i := range 2000 {
				lines += fmt.Sprintf("040000 tree %s\tf%04d\n", tree, i)
			}
			tree = a.mktree(lines)
		}
		return tree
	}
	var steps []Hash
	for _, tree := range []string{bomb("one\n"), bomb("two\n"), ""} {
		steps = append(steps, a.pushTree("bomb", tree))
	}
	mustFetch(t, s)
	done, err := s.Append(testContext(t), add("records/2026/11/24/x.yaml", "b"), nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := s.Walk(testContext(t), root, done.Commit, WalkOptions{Limits: Limits{Entries: 1 << 17}}, func(c Commit) error {
		if c.Hash == done.Commit {
			got = append(got, fmt.Sprint(len(c.Inserted), " files"))
			return nil
		}
		if i := len(got); c.Hash != steps[i] || len(c.Inserted) > MaxChanges || len(c.Violations) > MaxChanges+2 || len(c.Violations) == 0 {
			t.Errorf("commit %d: %d files, %d violations", i, len(c.Inserted), len(c.Violations))
			return nil
		}
		got = append(got, string(c.Violations[0].Kind))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := []string{string(TooMany), string(TooMany), string(TooMany), "1 files"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A folder of more bytes than any honest one has is not read: it counts as empty, and
// what else the commit adds counts.
func TestWideFolder(t *testing.T) {
	t.Parallel()
	path := permissive(t)
	s, root := initStore(t, Options{URL: path, Isolated: true})
	a := newAttacker(t, path)
	blob := a.blob("x\n")
	var wide strings.Builder
	name := strings.Repeat("n", 4000)
	for i := 0; wide.Len() < 34<<20; i++ {
		fmt.Fprintf(&wide, "100644 blob %s\t%s%06d\n", blob, name, i)
	}
	small := a.mktree(fmt.Sprintf("100644 blob %s\tx\n", blob))
	a.pushTree("spam", a.mktree(fmt.Sprintf("040000 tree %s\tother\n040000 tree %s\twide\n", small, a.mktree(wide.String()))))
	tip := mustFetch(t, s)
	var c Commit
	if err := s.Walk(testContext(t), root, tip, WalkOptions{}, func(only Commit) error { c = only; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(c.Inserted) != 1 || c.Inserted[0].Path != "spam/other/x" {
		t.Errorf("%d files", len(c.Inserted))
	}
	if len(c.Violations) != 1 || c.Violations[0].Kind != BadTree || c.Violations[0].Path != "spam/wide" {
		t.Errorf("%d violations, the first %+v", len(c.Violations), c.Violations[:min(1, len(c.Violations))])
	}
}

// Names of megabytes are neither joined with one another nor told of whole.
func TestLongNames(t *testing.T) {
	t.Parallel()
	path := permissive(t)
	s, root := initStore(t, Options{URL: path, Isolated: true})
	a := newAttacker(t, path)
	blob := a.blob("x\n")
	long := strings.Repeat("n", 1<<20)
	inner := a.mktree(fmt.Sprintf("100644 blob %s\tx\n100644 blob %s\t%s\n", blob, blob, long))
	a.pushTree("spam", a.mktree(fmt.Sprintf("040000 tree %s\t%s\n100644 blob %s\tz%s\n", inner, long, blob, long)))
	tip := mustFetch(t, s)
	var c Commit
	if err := s.Walk(testContext(t), root, tip, WalkOptions{}, func(only Commit) error { c = only; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(c.Inserted) != 0 || len(c.Violations) != 2 {
		t.Fatalf("%d files, %d violations", len(c.Inserted), len(c.Violations))
	}
	for _, v := range c.Violations {
		if v.Kind != BadPath || len(v.Path) > MaxPath+len("…") || len(v.Detail) > 200 {
			t.Errorf("%s, a path of %d bytes: %.100s", v.Kind, len(v.Path), v.Detail)
		}
	}
}

// A pack that says that it has more objects than anybody can hold an index of is
// refused before anything is read of it.
func TestPackOfTooManyObjects(t *testing.T) {
	t.Parallel()
	s, _ := initStore(t, Options{URL: bare(t), Isolated: true})
	for n, refused := range map[uint32]bool{maxObjects + 1: true, maxObjects: false} {
		head := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), n)
		err := s.newIncoming(s.roots()).receive(nil, bytes.NewReader(append(head, make([]byte, 40)...)))
		if said := err != nil && errors.Is(err, ErrBadRemote) && strings.Contains(err.Error(), "more than 16777216 objects"); said != refused {
			t.Errorf("%d objects: %v", n, err)
		}
	}
}

// A commit whose message has megabytes is not read into memory: the history behind it
// is refused, in words that name the object.
func TestLongMessage(t *testing.T) {
	t.Parallel()
	path := permissive(t)
	s, _ := initStore(t, Options{URL: path, Isolated: true})
	a := newAttacker(t, path)
	a.write("../message", strings.Repeat("a line of a message\n", maxCommitBytes/20+1))
	a.git("commit", "--quiet", "--allow-empty", "-F", "../message")
	a.git("push", "--quiet", "origin", "HEAD:main")
	if _, err := s.Fetch(testContext(t)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v, want %v", err, ErrTooLarge)
	}
}

package gitstore

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jitaccess/jit/internal/testenv"
)

// What commits hold beside their links, as git writes it.
const (
	author    = "author x <x@example.com> 1700000000 +0000\n"
	committer = "committer x <x@example.com> 1700000000 +0000\n"
)

// links are what the forms of commits are made of: the store's tree and head, a blob,
// and a tag that names the head.
type links struct{ tree, head, blob, tag string }

// oddCommits are commits that no git makes by itself. Whether a host takes one is up to
// its git; what is said of each is what git 2.39 does.
var oddCommits = []struct {
	name string
	form func(l links) string
}{
	// Taken.
	{"no author", func(l links) string { return l.begin() + committer + "\nm\n" }},
	{"no committer", func(l links) string { return l.begin() + author + "\nm\n" }},
	{"neither", func(l links) string { return l.begin() + "\nm\n" }},
	{"an empty line alone", func(l links) string { return l.begin() + "\n" }},
	{"a message alone", func(l links) string { return l.begin() + "m" }},
	{"no empty line", func(l links) string { return l.begin() + author + committer }},
	{"no empty line, no end", func(l links) string { return strings.TrimSuffix(l.begin()+author+committer, "\n") }},
	{"upper tree", func(l links) string { return l.of(strings.ToUpper(l.tree), l.head) + author + committer + "\nm\n" }},
	{"upper parent", func(l links) string { return l.of(l.tree, strings.ToUpper(l.head)) + author + committer + "\nm\n" }},
	{"mixed links", func(l links) string {
		return l.of(l.tree[:20]+strings.ToUpper(l.tree[20:]), strings.ToUpper(l.head[:20])+l.head[20:]) + author + committer + "\nm\n"
	}},
	{"no address", func(l links) string { return l.begin() + "author x\ncommitter x\n\nm\n" }},
	{"no names", func(l links) string { return l.begin() + "author \ncommitter \n\nm\n" }},
	{"no word after author", func(l links) string { return l.begin() + "author\ncommitter\n\nm\n" }},
	{"names of brackets", func(l links) string { return l.begin() + "author x<<<>x\ncommitter >>< 1\n\nm\n" }},
	{"no dates", func(l links) string { return l.begin() + "author x <x>\ncommitter x <x>\n\nm\n" }},
	{"dates before 1970", func(l links) string { return l.begin() + "author x <x> -1 -9999\ncommitter x <x> -1 +99999\n\nm\n" }},
	{"dates without an end", func(l links) string {
		n := strings.Repeat("9", 100)
		return l.begin() + "author x <x> " + n + " +0000\ncommitter x <x> " + n + " +0000\n\nm\n"
	}},
	{"dates of words", func(l links) string { return l.begin() + "author x <x> now\ncommitter x <x> 0x1 Z\n\nm\n" }},
	{"two authors", func(l links) string { return l.begin() + author + author + committer + "\nm\n" }},
	{"the committer first", func(l links) string { return l.begin() + committer + author + "\nm\n" }},
	{"two trees behind the parent", func(l links) string { return l.begin() + "tree " + l.tree + "\n" + author + committer + "\nm\n" }},
	{"the same parent twice", func(l links) string { return l.begin() + "parent " + l.head + "\n" + author + committer + "\nm\n" }},
	{"ten thousand parents", func(l links) string {
		return l.begin() + strings.Repeat("parent "+l.head+"\n", 9999) + author + committer + "\nm\n"
	}},
	{"a parent behind the author", func(l links) string {
		return l.begin() + author + "parent " + strings.Repeat("0", 40) + "\n" + committer + "\nm\n"
	}},
	{"half a parent at the end", func(l links) string { return l.begin() + "parent abc" }},
	{"half a parent line at the end", func(l links) string { return l.begin() + "parent abc\n" }},
	{"a parent without an end", func(l links) string { return l.begin() + "parent " + l.head }},
	{"Parent", func(l links) string { return l.begin() + "Parent " + l.head + "\n" + author + committer + "\nm\n" }},
	{"an indented parent", func(l links) string { return l.begin() + " parent " + l.head + "\n" + author + committer + "\nm\n" }},
	{"an odd merge tag", func(l links) string {
		return l.begin() + author + committer + "mergetag object 0\n type commit\nmergetag\n\nm\n"
	}},
	{"an odd signature", func(l links) string {
		return l.begin() + author + committer + "gpgsig x\n x\ngpgsig-sha256\ngpgsig\n\nm\n\nJit-Kind: heal\n"
	}},
	{"a signature first", func(l links) string { return l.begin() + "gpgsig x\n x\n" + author + committer + "\nm\n" }},
	{"an odd encoding", func(l links) string {
		return l.begin() + author + committer + "encoding \xff\xfeUTF-16\nencoding\n\nm\n"
	}},
	{"a long header", func(l links) string {
		return l.begin() + author + committer + "x " + strings.Repeat("x", 900000) + "\n\nm\n"
	}},
	{"NUL in the message", func(l links) string { return l.begin() + author + committer + "\nm\x00m\n" }},
	{"NUL in a name", func(l links) string {
		return l.begin() + "author x\x00 <x> 1 +0000\n" + committer + "\nm\n"
	}},
	{"NUL behind the links", func(l links) string { return l.begin() + "\x00" + author + committer + "\nm\n" }},
	{"no text", func(l links) string { return l.begin() + "\xff\xfe\r\n\r\n\x1b[2J" }},
	{"the empty tree", func(l links) string { return l.of(string(emptyTree), l.head) + author + committer + "\nm\n" }},

	// Not taken.
	{"neither, and no message", func(l links) string { return l.begin() }},
	{"two trees", func(l links) string {
		return "tree " + l.tree + "\ntree " + l.tree + "\nparent " + l.head + "\n" + author + committer + "\nm\n"
	}},
	{"nothing", func(links) string { return "" }},
	{"no tree", func(l links) string { return "parent " + l.head + "\n" + author + committer + "\nm\n" }},
	{"a header before the tree", func(l links) string { return author + l.begin() + committer + "\nm\n" }},
	{"an empty line before the tree", func(l links) string { return "\n" + l.begin() + author + committer + "\nm\n" }},
	{"an end of line of two before the parent", func(l links) string {
		return "tree " + l.tree + "\r\nparent " + l.head + "\n" + author + committer + "\nm\n"
	}},
	{"an end of line of two behind the parent", func(l links) string {
		return "tree " + l.tree + "\nparent " + l.head + "\r\n" + author + committer + "\nm\n"
	}},
	{"more behind the tree", func(l links) string {
		return "tree " + l.tree + " x\nparent " + l.head + "\n" + author + committer + "\nm\n"
	}},
	{"more behind the parent", func(l links) string {
		return "tree " + l.tree + "\nparent " + l.head + " x\n" + author + committer + "\nm\n"
	}},
	{"two spaces before the tree", func(l links) string { return l.of(" "+l.tree, l.head) + author + committer + "\nm\n" }},
	{"two spaces before the parent", func(l links) string { return l.of(l.tree, " "+l.head) + author + committer + "\nm\n" }},
	{"a tab before the parent", func(l links) string {
		return "tree " + l.tree + "\nparent\t" + l.head + "\n" + author + committer + "\nm\n"
	}},
	{"half a parent", func(l links) string { return l.begin() + "parent abc\n" + author + committer + "\nm\n" }},
	{"half a tree", func(l links) string { return l.of(l.tree[:39], l.head) + author + committer + "\nm\n" }},
	{"a parent that is not there", func(l links) string {
		return l.begin() + "parent " + strings.Repeat("1", 40) + "\n" + author + committer + "\nm\n"
	}},
	{"a parent of zeros", func(l links) string {
		return l.begin() + "parent " + strings.Repeat("0", 40) + "\n" + author + committer + "\nm\n"
	}},
	{"a tree of zeros", func(l links) string { return l.of(strings.Repeat("0", 40), l.head) + author + committer + "\nm\n" }},
	{"a tree that is not there", func(l links) string { return l.of(strings.Repeat("1", 40), l.head) + author + committer + "\nm\n" }},
	{"a blob for the tree", func(l links) string { return l.of(l.blob, l.head) + author + committer + "\nm\n" }},
	{"the parent for the tree", func(l links) string { return l.of(l.head, l.head) + author + committer + "\nm\n" }},
	{"a tag for the tree", func(l links) string { return l.of(l.tag, l.head) + author + committer + "\nm\n" }},
	{"a tree for a parent", func(l links) string { return l.begin() + "parent " + l.tree + "\n" + author + committer + "\nm\n" }},
	{"a blob for a parent", func(l links) string { return l.begin() + "parent " + l.blob + "\n" + author + committer + "\nm\n" }},
	{"a tag for a parent", func(l links) string { return l.begin() + "parent " + l.tag + "\n" + author + committer + "\nm\n" }},
}

func (l links) of(tree, parent string) string { return "tree " + tree + "\nparent " + parent + "\n" }

func (l links) begin() string { return l.of(l.tree, l.head) }

// feed runs git with an input and gives its output.
func feed(t testing.TB, dir, input string, args ...string) string {
	t.Helper()
	cmd := exec.Command(testenv.Need(t, "git", "git"), args...)
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(input)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}
	out, _ := cmd.Output() // a server that refuses says so
	return string(out)
}

// pushRaw pushes one commit as a client does that checks nothing, on a branch that may
// only go forward, and reports whether git took it.
func pushRaw(t *testing.T, path string, l links, text string) (Hash, bool) {
	t.Helper()
	dir := t.TempDir()
	git(t, dir, "init", "--quiet", "--bare", ".")
	h := strings.TrimSpace(feed(t, dir, text, "hash-object", "-t", "commit", "--literally", "-w", "--stdin"))
	pack := feed(t, dir, h+"\n", "pack-objects", "--stdout", "--quiet")
	answer := feed(t, dir, pktLine(l.head+" "+h+" refs/heads/main\x00report-status\n")+"0000"+pack, "receive-pack", path)
	return Hash(h), strings.Contains(answer, "ok refs/heads/main\n")
}

// unchecked makes a bare repository on a host that does not look at objects, with a
// store in it.
func unchecked(t *testing.T) (path string, root Hash, l links) {
	t.Helper()
	path = bare(t)
	git(t, path, "config", "--unset", "receive.fsckObjects")
	_, root = initStore(t, Options{URL: path, Isolated: true})
	l = links{tree: git(t, path, "rev-parse", "main^{tree}"), head: string(root), blob: git(t, path, "rev-parse", "main:policy/P/policy.yaml")}
	git(t, path, "tag", "-a", "-m", "x", "x", "main")
	l.tag = git(t, path, "rev-parse", "x")
	return path, root, l
}

// TestOddCommits: whatever commit git takes in a push, jit reads, by each transport, and
// the next append stands on it.
func TestOddCommits(t *testing.T) {
	t.Parallel()
	if n := oddCommitsTaken(t); n < 35 {
		t.Errorf("git took only %d: the search is broken", n)
	}
}

func oddCommitsTaken(t *testing.T) (taken int) {
	var path string
	var root Hash
	var l links
	var stores []*Store
	for _, c := range oddCommits {
		if path == "" {
			path, root, l = unchecked(t)
			stores = nil
			for _, transport := range []Transport{Builtin, Git} {
				o := Options{URL: path, Transport: transport, Isolated: true}
				s := openStore(t, o)
				mustFetch(t, s)
				stores = append(stores, s, openStore(t, o)) // one that knows the history, and one that does not
			}
		}
		t.Run(c.name, func(t *testing.T) {
			h, ok := pushRaw(t, path, l, c.form(l))
			if !ok {
				return // and the next one is tried there
			}
			defer func() { path = "" }()
			taken++
			for i, s := range stores {
				before := mustFetch(t, s)
				if i == 0 && before != h {
					t.Fatalf("fetched %s, pushed %s", before, h)
				}
				checkHistory(t, s, root, before)
				done := mustAppend(t, s, fmt.Sprintf("records/%d", i), "x\n")
				if got := events(t, s, before, done.Commit); got != fmt.Sprintf("+ records/%d", i) {
					t.Errorf("the append is %s", got)
				}
			}
			hook, err := OpenBare(path, func(string) string { return "" })
			if err != nil {
				t.Fatal(err)
			}
			defer hook.Close()
			checkHistory(t, hook.s, root, h)
		})
	}
	return taken
}

// checkHistory reads a history in all the ways in which jit does.
func checkHistory(t *testing.T, s *Store, root, tip Hash) {
	t.Helper()
	if is, err := s.Relation(root, tip); err != nil || is != Ahead {
		t.Errorf("it is %s: %v", is, err)
	}
	walk(t, s, "", tip, WalkOptions{})
	if _, err := s.HonestTip(tip, root); err != nil {
		t.Error(err)
	}
	if _, _, err := s.Merges(tip, func(h Hash) (bool, error) { return h == root, nil }); err != nil {
		t.Error(err)
	}
	if _, err := s.PlanHeal(testContext(t), root, tip); err != nil {
		t.Error(err)
	}
	if held, err := s.lacking(tip, root); err != nil || len(held) == 0 {
		t.Errorf("%d objects, %v", len(held), err)
	}
	if _, _, err := s.CommitSignature(tip); !errors.Is(err, ErrUnsigned) {
		t.Error(err)
	}
}

// TestOddHistory: all of them in one history, which is read whole, healed and packed.
func TestOddHistory(t *testing.T) {
	t.Parallel()
	path, root, l := unchecked(t)
	var all []Hash
	for _, c := range oddCommits {
		if c.name == "the empty tree" {
			continue // for the other commits have files
		}
		if h, ok := pushRaw(t, path, l, c.form(l)); ok {
			all, l.head = append(all, h), string(h)
		}
	}
	tip := all[len(all)-1]
	url := testenv.StartGitHTTP(t, filepath.Dir(path), testenv.GitHTTPOptions{}) + "/" + filepath.Base(path)
	for name, o := range map[string]Options{
		"without git": {URL: url, Transport: Builtin, Isolated: true},
		"builtin":     {URL: url, Transport: Builtin, Isolated: true},
		"git":         {URL: url, Transport: Git},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, o)
			if name == "without git" {
				s.git = ""
			}
			if got := mustFetch(t, s); got != tip {
				t.Fatalf("fetched %s, want %s", got, tip)
			}
			checkHistory(t, s, root, tip)
			var seen []Hash
			if err := s.Walk(testContext(t), root, tip, WalkOptions{}, func(c Commit) error { seen = append(seen, c.Hash); return nil }); err != nil || !slices.Equal(seen, all) {
				t.Errorf("%d commits, want %d: %v", len(seen), len(all), err)
			}
			cmd := s.command(testContext(t), "--git-dir="+s.mirror, "repack", "--geometric=2", "-d", "--quiet")
			if s.git == "" {
				return
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("git repack: %v: %s", err, out)
			}
			if err := s.db.Refresh(); err != nil {
				t.Error(err)
			}
			checkHistory(t, s, root, tip)
		})
	}
	// The branch goes back, and a heal brings all of it again.
	s := openStore(t, Options{URL: path, Isolated: true})
	mustFetch(t, s)
	git(t, path, "update-ref", "refs/heads/main", string(root))
	git(t, path, "reflog", "expire", "--all", "--expire=all")
	git(t, path, "prune", "--expire=now")
	if err := s.PushBack(testContext(t), root, tip); err != nil {
		t.Fatal(err)
	}
	if got := git(t, path, "rev-parse", "main"); got != string(tip) {
		t.Errorf("the branch is at %s", got)
	}
}

// TestOddCommitsAreReadAsGitReadsThem: the same tree and the same parents.
func TestOddCommitsAreReadAsGitReadsThem(t *testing.T) {
	t.Parallel()
	path, _, l := unchecked(t)
	s := openStore(t, Options{URL: path, Isolated: true})
	mustFetch(t, s)
	for _, c := range oddCommits {
		text := c.form(l)
		mine, err := parseCommit([]byte(text))
		h := strings.TrimSpace(feed(t, path, text, "hash-object", "-t", "commit", "--literally", "-w", "--stdin"))
		theirs := strings.TrimSpace(feed(t, path, "", "log", "-1", "--no-walk", "--format=%T %P", h))
		if theirs == "" {
			continue // what the host's git cannot read is nobody's history
		}
		var parents []string
		for _, p := range mine.parents {
			parents = append(parents, string(p))
		}
		if got := strings.TrimSpace(string(mine.tree) + " " + strings.Join(parents, " ")); err != nil || got != theirs {
			t.Errorf("%s: %.200q, %v; git reads %.200q", c.name, got, err, theirs)
		}
	}
	for _, message := range []string{"m\n", "", "a\n\nb\n"} {
		for _, head := range []string{"", author, author + committer} {
			if c, err := parseCommit([]byte(l.begin() + head + "\n" + message)); err != nil || c.message != message {
				t.Errorf("behind %q the message %q is %q, %v", head, message, c.message, err)
			}
		}
	}
}

package gitstore

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/gitstore/internal/odb"
)

// A partHost serves a store, and leaves out what it is told to.
type partHost struct {
	t    *testing.T
	path string
	urls map[string]string // the ways to it
	ssh  SSHOptions
	// body, where set, is what it answers to who fetches, over http.
	body atomic.Pointer[string]
}

func newPartHost(t *testing.T) *partHost {
	h := &partHost{t: t, path: bare(t)}
	base := testenv.StartGitHTTP(t, filepath.Dir(h.path), testenv.GitHTTPOptions{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Git-Protocol") // what is written by hand below is of the first version
			if body := h.body.Load(); body != nil && r.Method == http.MethodPost {
				w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
				_, _ = w.Write([]byte(*body))
				return
			}
			next.ServeHTTP(w, r)
		})
	}})
	server := testenv.StartSSHD(t, testenv.SSHDOptions{})
	h.ssh = SSHOptions{KnownHosts: []string{server.KnownHosts}, IdentityFile: server.ClientKey}
	h.urls = map[string]string{"path": h.path, "http": base + "/store.git", "ssh": "ssh://" + server.User + "@" + server.Addr + h.path}
	return h
}

func (h *partHost) open(way string, transport Transport, dir string) *Store {
	h.t.Helper()
	return openStore(h.t, Options{URL: h.urls[way], Transport: transport, Isolated: true, SSH: h.ssh, Dir: dir})
}

// graft has git on the host say that a commit has no parents.
func (h *partHost) graft(commit Hash) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.path, "info", "grafts"), []byte(string(commit)+"\n"), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// answer has the host send these objects, after lines of the protocol.
func (h *partHost) answer(lines string, objects ...string) {
	h.t.Helper()
	pack := feed(h.t, h.path, strings.Join(objects, "\n")+"\n", "pack-objects", "--stdout", "--quiet")
	body := lines + pktLine("NAK\n") + pktLine("\x01"+pack) + "0000"
	h.body.Store(&body)
}

func (h *partHost) honest() {
	h.t.Helper()
	h.body.Store(nil)
	for _, name := range []string{"info/grafts", "shallow"} {
		if err := os.Remove(filepath.Join(h.path, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			h.t.Fatal(err)
		}
	}
}

// new lists the objects that the branch has beside those of a commit, without one.
func (h *partHost) new(since Hash, without string) (objects []string) {
	h.t.Helper()
	args := []string{"rev-list", "--objects", "--no-object-names", "main"}
	if since != "" {
		args = append(args, "^"+string(since))
	}
	for line := range strings.Lines(git(h.t, h.path, args...)) {
		if line = strings.TrimSpace(line); line != without {
			objects = append(objects, line)
		}
	}
	return objects
}

// nothingKept wants a mirror that is as it was.
func nothingKept(t *testing.T, s *Store, before, head Hash) {
	t.Helper()
	if s.Tip() != before {
		t.Errorf("the tip is %q, and was %q", s.Tip(), before)
	}
	// git keeps what it refuses, unless it began with nothing.
	if s.Has(head) && (before == "" || s.remote.name() == string(Builtin)) {
		t.Error("what was refused stays")
	}
	nothingLeft(t, s)
}

// nothingLeft wants that nothing of a fetch lies beside the mirror.
func nothingLeft(t *testing.T, s *Store) {
	t.Helper()
	for _, pattern := range incomingDirs {
		if left, _ := filepath.Glob(filepath.Join(s.o.Dir, pattern)); len(left) > 0 {
			t.Errorf("%v is left", left)
		}
	}
	if _, err := os.Stat(filepath.Join(s.mirror, "shallow")); err == nil {
		t.Error("the mirror is shallow")
	}
}

// TestPartOfAHead: a host sends a head without something that it needs, by every
// transport: to who has the store already and to who has nothing. It is refused, and the
// next honest answer is taken whole.
func TestPartOfAHead(t *testing.T) {
	t.Parallel()
	host := newPartHost(t)
	writer, root := initStore(t, Options{URL: host.path, Isolated: true})
	known := mustAppend(t, writer, "requests/a/one", "one\n").Commit
	mustAppend(t, writer, "requests/a/two", "two\n")
	mustAppend(t, writer, "requests/b/three", "three\n")
	head := mustAppend(t, writer, "requests/c/d/four", "four\n").Commit
	name := func(rev string) string { return git(t, host.path, "rev-parse", rev) }
	// An answer that is written by hand comes over http alone.
	byHand := []string{"http"}
	for what, c := range map[string]struct {
		ways []string
		lack func(since Hash)
	}{
		"the parents":      {[]string{"path", "http", "ssh"}, func(Hash) { host.graft(head) }},
		"a grandparent":    {[]string{"path"}, func(Hash) { host.graft(Hash(name("main~1"))) }},
		"its folder":       {byHand, func(since Hash) { host.answer("", host.new(since, name("main^{tree}"))...) }},
		"a folder below":   {byHand, func(since Hash) { host.answer("", host.new(since, name("main:requests/c/d"))...) }},
		"a file":           {byHand, func(since Hash) { host.answer("", host.new(since, name("main:requests/c/d/four"))...) }},
		"a file of before": {byHand, func(since Hash) { host.answer("", host.new(since, name("main:requests/a/two"))...) }},
		"a commit between": {byHand, func(since Hash) { host.answer("", host.new(since, name("main~1"))...) }},
		"all but itself":   {byHand, func(Hash) { host.answer("", string(head)) }},
		"itself":           {byHand, func(Hash) { host.answer("", name("main:requests/a/two")) }},
		"what lies behind a shallow line": {byHand, func(Hash) {
			host.answer(pktLine("shallow "+string(head)+"\n")+"0000", string(head), name("main^{tree}"))
		}},
		"what the host lacks itself": {[]string{"path", "http"}, func(Hash) {
			if err := os.WriteFile(filepath.Join(host.path, "shallow"), []byte(name("main~1")+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		for _, way := range c.ways {
			for _, transport := range []Transport{Builtin, Git} {
				for _, since := range []Hash{known, ""} {
					t.Run(fmt.Sprintf("%s/%s/%s/%d", what, way, transport, len(since)), func(t *testing.T) {
						s := host.open(way, transport, "")
						if since != "" {
							git(t, host.path, "update-ref", "refs/heads/main", string(since))
							mustFetch(t, s)
							git(t, host.path, "update-ref", "refs/heads/main", string(head))
						}
						c.lack(since)
						defer host.honest()
						for range 2 { // the second time as the first
							_, err := s.Fetch(testContext(t))
							if !errors.Is(err, ErrBadRemote) {
								t.Fatalf("%v, want %v", err, ErrBadRemote)
							}
							nothingKept(t, s, since, head)
						}
						host.honest()
						if got := mustFetch(t, s); got != head {
							t.Fatalf("honest again: %s", got)
						}
						if err := s.Complete(testContext(t)); err != nil {
							t.Error(err)
						}
						if got := len(walk(t, s, root, head, WalkOptions{})); got != 4 {
							t.Errorf("%d files", got)
						}
					})
				}
			}
		}
	}
}

// TestFolderThatComesAgain: a folder of before that comes again is held against the one in
// its place, and so is that one against it. What both have must be looked at all the same.
func TestFolderThatComesAgain(t *testing.T) {
	t.Parallel()
	host := newPartHost(t)
	writer, _ := initStore(t, Options{URL: host.path, Isolated: true})
	mustAppend(t, writer, "requests/a/one", "one\n")
	mustAppend(t, writer, "requests/a/two", "two\n")
	before := git(t, host.path, "rev-parse", "main~1^{tree}")
	head := Hash(git(t, host.path, "commit-tree", "-p", "main", "-m", "as before", before))
	git(t, host.path, "update-ref", "refs/heads/main", string(head))
	for _, transport := range []Transport{Builtin, Git} {
		t.Run(string(transport), func(t *testing.T) {
			host.answer("", host.new("", git(t, host.path, "rev-parse", "main:requests/a/one"))...)
			defer host.honest()
			s := host.open("http", transport, "")
			if _, err := s.Fetch(testContext(t)); !errors.Is(err, ErrBadRemote) {
				t.Fatalf("%v, want %v", err, ErrBadRemote)
			}
			nothingKept(t, s, "", head)
			host.honest()
			mustFetch(t, s)
			if err := s.Complete(testContext(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestLargePartOfAHead: what is too much for single objects is not kept either.
func TestLargePartOfAHead(t *testing.T) {
	t.Parallel()
	host := newPartHost(t)
	writer, root := initStore(t, Options{URL: host.path, Isolated: true})
	many := add("first", "x")
	for i := range unpackObjects {
		many.Files = append(many.Files, NewFile{Path: fmt.Sprintf("many/%03d", i), Data: fmt.Appendf(nil, "%d\n", i)})
	}
	if _, err := writer.Append(testContext(t), many, nil); err != nil {
		t.Fatal(err)
	}
	head := mustAppend(t, writer, "last", "x").Commit
	s := host.open("http", Builtin, "")
	host.answer("", host.new("", git(t, host.path, "rev-parse", "main:many/050"))...)
	for range 2 {
		if _, err := s.Fetch(testContext(t)); !errors.Is(err, ErrIncomplete) || !errors.Is(err, ErrBadRemote) {
			t.Fatalf("%v", err)
		}
		nothingKept(t, s, "", head)
	}
	if packs, _ := filepath.Glob(filepath.Join(s.mirror, "objects", "pack", "*")); len(packs) > 0 {
		t.Errorf("%v stays", packs)
	}
	host.honest()
	if got := mustFetch(t, s); got != head || len(walk(t, s, root, head, WalkOptions{})) != unpackObjects+2 {
		t.Fatalf("honest again: %s", got)
	}
}

// TestChildOfARefusedHead: a host that lets the history of a second head rest on one that
// was refused gets no further than with the first, and neither does one that shows now
// this head and now that.
func TestChildOfARefusedHead(t *testing.T) {
	t.Parallel()
	host := newPartHost(t)
	writer, root := initStore(t, Options{URL: host.path, Isolated: true})
	mustAppend(t, writer, "a", "a")
	first := mustAppend(t, writer, "b", "b").Commit
	second := mustAppend(t, writer, "c", "c").Commit
	for _, transport := range []Transport{Builtin, Git} {
		git(t, host.path, "update-ref", "refs/heads/main", string(root))
		s := host.open("http", transport, "")
		mustFetch(t, s)
		for range 2 {
			for _, c := range []struct{ head, since Hash }{{first, ""}, {second, first}} {
				git(t, host.path, "update-ref", "refs/heads/main", string(c.head))
				host.answer("", host.new(c.since, git(t, host.path, "rev-parse", "main~1"))...)
				if c.since == "" {
					host.honest()
					host.graft(first)
				}
				if _, err := s.Fetch(testContext(t)); !errors.Is(err, ErrBadRemote) {
					t.Fatalf("%s: %v", transport, err)
				}
				nothingKept(t, s, root, c.head)
				host.honest()
			}
			// An older head is a whole one.
			git(t, host.path, "update-ref", "refs/heads/main", string(root))
			mustFetch(t, s)
		}
		git(t, host.path, "update-ref", "refs/heads/main", string(second))
		if got := mustFetch(t, s); got != second || s.Complete(testContext(t)) != nil {
			t.Errorf("%s: %s", transport, got)
		}
	}
}

// TestPoisonedMirror: a mirror in which an older version has laid a head without its
// past, with that version's refs or with none, is made whole by the next fetch.
func TestPoisonedMirror(t *testing.T) {
	t.Parallel()
	host := newPartHost(t)
	writer, root := initStore(t, Options{URL: host.path, Isolated: true})
	known := mustAppend(t, writer, "a", "a").Commit
	mustAppend(t, writer, "b", "b")
	head := mustAppend(t, writer, "c", "c").Commit
	pack := feed(t, host.path, string(head)+"\n"+git(t, host.path, "rev-parse", "main^{tree}")+"\n", "pack-objects", "--stdout", "--quiet")
	for _, transport := range []Transport{Builtin, Git} {
		for _, refs := range [][]string{nil, {"refs/jit/tip"}, {"refs/jit/tip", "refs/jit/fetched", "refs/jit/push/main"}} {
			for _, checkpoint := range []bool{true, false} {
				t.Run(fmt.Sprint(transport, len(refs), checkpoint), func(t *testing.T) {
					s := host.open("http", transport, "")
					if checkpoint {
						git(t, host.path, "update-ref", "refs/heads/main", string(known))
						if err := s.SetCheckpoint(mustFetch(t, s)); err != nil {
							t.Fatal(err)
						}
						git(t, host.path, "update-ref", "refs/heads/main", string(head))
						if err := s.writeRef(trackedRef, ""); err != nil { // which it did not know
							t.Fatal(err)
						}
					}
					feed(t, s.mirror, pack, "index-pack", "--stdin")
					for _, ref := range refs {
						if err := s.writeRef(ref, head); err != nil {
							t.Fatal(err)
						}
					}
					if !s.Has(head) {
						t.Fatal("it was not poisoned")
					}
					if got := mustFetch(t, s); got != head || s.Tip() != head {
						t.Fatalf("%s, the tip %s", got, s.Tip())
					}
					if err := s.Complete(testContext(t)); err != nil {
						t.Error(err)
					}
					if got := events(t, s, root, head); got != "+ a\n+ b\n+ c" {
						t.Errorf("%s", got)
					}
				})
			}
		}
	}
}

// lose takes an object out of a mirror of single objects, or cuts its file short.
func lose(t *testing.T, s *Store, rev string, cut bool) {
	t.Helper()
	h := Hash(git(t, s.url.path, "rev-parse", rev))
	path := s.looseFile(h)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if cut {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLostObjects: what the disk has lost below the tip is found by who looks for it, and
// fetched again; and where the remote leaves it out in good faith, all is asked for.
func TestLostObjects(t *testing.T) {
	t.Parallel()
	path := bare(t)
	writer, root := initStore(t, Options{URL: path, Isolated: true})
	mustAppend(t, writer, "a", "a")
	old := mustAppend(t, writer, "b/c", "b").Commit
	for _, transport := range []Transport{Builtin, Git} {
		for _, rev := range []string{string(old), string(old) + "~1", string(old) + "^{tree}", string(old) + ":b", string(old) + ":b/c", string(root) + "^{tree}"} {
			for _, cut := range []bool{false, true} {
				t.Run(fmt.Sprint(transport, strings.TrimPrefix(rev, string(old)), cut), func(t *testing.T) {
					git(t, path, "update-ref", "refs/heads/main", string(old))
					s := openStore(t, Options{URL: path, Transport: transport, Isolated: true})
					if err := s.SetCheckpoint(mustFetch(t, s)); err != nil {
						t.Fatal(err)
					}
					lose(t, s, rev, cut)
					if err := s.Complete(testContext(t)); !errors.Is(err, ErrIncomplete) {
						t.Fatalf("%v", err)
					}
					if err := CheckMirror(testContext(t), s.o.Dir); !errors.Is(err, ErrIncomplete) {
						t.Fatalf("read only: %v", err)
					}
					if tip, mended, err := s.Mend(testContext(t)); err != nil || !mended || tip.Hash != old {
						t.Fatalf("%+v %t %v", tip, mended, err)
					}
					if _, mended, err := s.Mend(testContext(t)); err != nil || mended {
						t.Fatalf("again: %t %v", mended, err)
					}
					if got := events(t, s, "", old); got != "+ policy/P/policy.yaml\n+ a\n+ b/c" {
						t.Error(got)
					}
				})
			}
		}
		// A file that is lost, and is brought back by somebody for whom it is an old one.
		s := openStore(t, Options{URL: path, Transport: transport, Isolated: true})
		mustFetch(t, s)
		lose(t, s, string(old)+":a", false)
		tree := feed(t, path, git(t, path, "ls-tree", string(old))+"\n100644 blob "+git(t, path, "rev-parse", string(old)+":a")+"\tagain\n", "mktree")
		head := git(t, path, "commit-tree", "-p", string(old), "-m", "x", strings.TrimSpace(tree))
		git(t, path, "update-ref", "refs/heads/main", head)
		if got := mustFetch(t, s); got != Hash(head) || s.Complete(testContext(t)) != nil {
			t.Errorf("%s: %s, %v", transport, got, s.Complete(testContext(t)))
		}
		git(t, path, "update-ref", "refs/heads/main", string(old))
	}
}

// counted counts what is read: how many objects, and bytes of them.
type counted struct {
	database
	n, bytes int
}

func (c *counted) Read(n odb.Name, limit int64) (odb.Type, []byte, error) {
	c.n++
	typ, data, err := c.database.Read(n, limit)
	c.bytes += len(data)
	return typ, data, err
}

func (c *counted) Size(n odb.Name) (int64, error) {
	c.n++
	return c.database.Size(n)
}

// TestCompleteReadsOnlyWhatIsNew: looking through what has come costs the same in a long
// history as in a short one, wherever in it the head stands.
func TestCompleteReadsOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	const length = 600
	path := t.TempDir()
	git(t, path, "init", "--quiet", "--bare", ".")
	var stream strings.Builder
	commit := func(branch string, i int, from string) {
		fmt.Fprintf(&stream, "commit refs/heads/%s\nmark :%d\ncommitter x <x@example.com> %d +0000\ndata 1\nx\n", branch, i+1, 1700000000+i)
		if from != "" {
			fmt.Fprintf(&stream, "from %s\n", from)
		}
		fmt.Fprintf(&stream, "M 100644 inline records/%d/%s%d\ndata 1\nx\n", i/100, branch, i)
	}
	for i := range length {
		commit("main", i, "")
	}
	for i := range 5 {
		from := ""
		if i == 0 {
			from = fmt.Sprintf(":%d", length-10)
		}
		commit("side", length+i, from)
	}
	cmd := exec.Command("git", "fast-import", "--quiet")
	cmd.Dir, cmd.Stdin = path, strings.NewReader(stream.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	rev := func(name string) Hash { return Hash(git(t, path, "rev-parse", name)) }
	for _, c := range []struct {
		name        string
		head, whole string
		most        int
	}{
		{"one commit on", "main", "main~1", 20},
		{"ten commits on", "main", "main~10", 100},
		{"the tip", "main", "main", 0},
		{"an older head", "main~10", "main", 120},
		{"a side branch", "side", "main", 120},
	} {
		db := &counted{database: odb.Open(filepath.Join(path, "objects"))}
		s := &Store{db: db}
		if err := s.complete(testContext(t), rev(c.head), []Hash{rev(c.whole)}, shallowly); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if db.n > c.most {
			t.Errorf("%s: %d objects were looked at, of %d commits", c.name, db.n, length)
		}
		t.Logf("%s: %d", c.name, db.n)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	// The whole of it tells how far it is.
	db, told := odb.Open(filepath.Join(path, "objects")), []int{0}
	s := &Store{db: db, o: Options{Progress: func(what string, done, total int) {
		if what != connectivity || total != length || done <= told[len(told)-1] {
			t.Errorf("%s %d/%d after %v", what, done, total, told)
		}
		told = append(told, done)
	}}}
	if err := errors.Join(s.complete(testContext(t), rev("main"), nil, shallowly), db.Close()); err != nil {
		t.Error(err)
	}
	if len(told) != 1+(length+portion-1)/portion || told[len(told)-1] != length {
		t.Errorf("it told %v of %d commits", told, length)
	}
}

// TestCompleteIsBounded: a folder that holds itself over and over costs its bytes, and so
// do many small ones where a large one was, and one large one where many small ones were.
func TestCompleteIsBounded(t *testing.T) {
	t.Parallel()
	path := permissive(t)
	initStore(t, Options{URL: path, Isolated: true})
	a := newAttacker(t, path)
	blob := a.blob("x")
	tree := a.mktree(fmt.Sprintf("100644 blob %s\tx\n", blob))
	for range 40 {
		tree = a.mktree(fmt.Sprintf("040000 tree %s\ta\n040000 tree %s\tb\n", tree, tree))
	}
	before := a.pushTree("bomb", tree)
	var wide, large, small strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&wide, "100644 blob %s\t%05d\n", blob, i)
	}
	big := a.mktree(wide.String())
	for i := range 300 {
		fmt.Fprintf(&large, "040000 tree %s\t%03d\n", big, i)
		fmt.Fprintf(&small, "040000 tree %s\t%03d\n", a.mktree(fmt.Sprintf("100644 blob %s\t%03d\n", blob, i)), i)
	}
	was := a.pushTree("wide", a.mktree(large.String()))
	narrow := a.pushTree("wide", a.mktree(small.String()))
	head := a.pushTree("wide", a.mktree(large.String()))
	for _, c := range [][]Hash{{before}, {was, before}, {narrow, was}, {head, narrow}} {
		db := &counted{database: odb.Open(filepath.Join(path, "objects"))}
		if err := (&Store{db: db}).complete(testContext(t), c[0], c[1:], shallowly); err != nil {
			t.Error(err)
		}
		if db.n > 11000 || db.bytes > 1<<20 { // twice each, at most
			t.Errorf("%d objects were looked at, and %d bytes read", db.n, db.bytes)
		}
		_ = db.Close()
	}
	if s := openStore(t, Options{URL: path, Isolated: true}); mustFetch(t, s) != head {
		t.Error("it did not arrive")
	}
}

// TestLeftOfAFetch: what a process that was killed has left goes with the next pack.
func TestLeftOfAFetch(t *testing.T) {
	t.Parallel()
	path := bare(t)
	initStore(t, Options{URL: path, Isolated: true})
	for _, transport := range []Transport{Builtin, Git} {
		s := openStore(t, Options{URL: path, Transport: transport, Isolated: true})
		for _, name := range []string{".pack-1", ".incoming-2/objects/pack/tmp_pack"} {
			file := filepath.Join(s.o.Dir, name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		mustFetch(t, s)
		nothingLeft(t, s)
	}
}

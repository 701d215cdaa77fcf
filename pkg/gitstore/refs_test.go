package gitstore

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/jitaccess/jit/internal/testenv"
)

// manyRefs are more bytes than anybody should hold in memory, of which each name is as
// long as git takes it.
const manyRefs = 25000

// layRefs lays them into a repository, beside its branch.
func layRefs(t *testing.T, path string, head Hash) {
	t.Helper()
	var b strings.Builder
	b.WriteString("# pack-refs with: peeled fully-peeled sorted\n")
	long := strings.Repeat(strings.Repeat("x", 250)+"/", 14)
	for i := range manyRefs {
		fmt.Fprintf(&b, "%s refs/heads/%s%06d\n", head, long, i)
	}
	if err := os.WriteFile(filepath.Join(path, "packed-refs"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestManyRefs: whoever may push other branches makes the list of refs as long as they
// like. The store is read and appended to all the same, and the list takes no memory.
func TestManyRefs(t *testing.T) {
	path := bare(t)
	s, root := initStore(t, Options{URL: path, Isolated: true})
	layRefs(t, path, root)
	url := testenv.StartGitHTTP(t, filepath.Dir(path), testenv.GitHTTPOptions{}) + "/" + filepath.Base(path)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	far := openStore(t, Options{URL: url, Transport: Builtin, Isolated: true})
	if got := mustFetch(t, far); got != root {
		t.Errorf("fetched %s, the branch is at %s", got, root)
	}
	mustAppend(t, far, "over/http", "x\n")
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 32<<20 {
		t.Errorf("%d MiB were allocated for a list that nobody reads", used>>20)
	}
	mustAppend(t, s, "in/a/folder", "x\n")
	mustAppend(t, openStore(t, Options{URL: url, Transport: Git}), "by/git", "x\n")
	if got, want := events(t, s, root, mustFetch(t, s)), "+ over/http\n+ in/a/folder\n+ by/git"; got != want {
		t.Errorf("the history is\n%s\nwant\n%s", got, want)
	}
	// Where the host hides them, as docs/hosting.md says, nobody is sent them, and nobody
	// can add one.
	for _, pattern := range []string{"refs", "!refs/heads/main"} {
		git(t, path, "config", "--add", "transfer.hideRefs", pattern)
	}
	c, err := far.dialHTTP(testContext(t), receivePack)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if list, err := io.ReadAll(c.advertised()); err != nil || strings.Count(string(list), "refs/") != 1 {
		t.Errorf("%d refs are shown in %d bytes, %v", strings.Count(string(list), "refs/"), len(list), err)
	}
	mustAppend(t, far, "with/the/others/hidden", "x\n")
	answer := feed(t, t.TempDir(), pktLine(strings.Repeat("0", 40)+" "+string(root)+" refs/heads/more\x00report-status\n")+"0000PACK\x00\x00\x00\x02\x00\x00\x00\x00\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e", "receive-pack", path)
	if !strings.Contains(answer, "ng refs/heads/more deny updating a hidden ref") {
		t.Errorf("a push of another branch: %q", answer[max(0, len(answer)-200):])
	}
}

// endless is a list of refs that has no end.
type endless struct {
	first, line string
	at          int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.first != "" {
		n := copy(p, e.first)
		e.first = e.first[n:]
		return n, nil
	}
	n := copy(p, e.line[e.at:])
	e.at = (e.at + n) % len(e.line)
	return n, nil
}

// TestEndlessRefs: a host whose list does not end is given up, whatever it is full of.
func TestEndlessRefs(t *testing.T) {
	t.Parallel()
	const h = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
	s := &Store{ref: "refs/heads/main"}
	for name, line := range map[string]string{
		"others":     h + " refs/heads/" + strings.Repeat("x", 60000) + "\n",
		"the branch": h + " refs/heads/main\n",
		"shallow":    "shallow " + h,
	} {
		_, err := s.readRefs(&endless{first: pktLine(h + " HEAD\x00ofs-delta\n"), line: pktLine(line)})
		if !errors.Is(err, ErrBadRemote) || name == "others" != strings.Contains(err.Error(), "longer than") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

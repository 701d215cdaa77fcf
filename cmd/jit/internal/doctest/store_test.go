package doctest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/record"
)

var update = flag.Bool("update", false, "make docs/example.bundle and what the pages show of it anew")

// TestExampleStore makes the example store where it is asked to, and holds what
// the pages show of it against what it holds.
func TestExampleStore(t *testing.T) {
	testenv.Need(t, "git", "git")
	if *update {
		w := newWorld(t, filepath.Join(t.TempDir(), "store.git"))
		w.tell()
		w.bundle(filepath.Join(docs(t), "example.bundle"))
	}
	e := openExample(t)
	for _, page := range pages(t) {
		text := read(t, page)
		shown := replaceShown(t, text, e)
		if shown == text {
			continue
		}
		if !*update {
			t.Errorf("%s does not show what the example store holds; it is made anew with -update", filepath.Base(page))
			continue
		}
		if err := os.WriteFile(page, []byte(shown), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExampleStoreIsWhole judges the store as jit does: every record counts,
// each kind is there, and the requests stand where the pages say.
func TestExampleStoreIsWhole(t *testing.T) {
	testenv.Need(t, "git", "git")
	e := openExample(t)
	aside, err := e.ledger.SetAside()
	if err != nil || len(aside) > 0 {
		t.Errorf("set aside: %v %v", aside, err)
	}
	kinds := map[record.Kind]int{}
	var states []approve.State
	now := time.Date(2025, 1, 8, 0, 0, 0, 0, time.UTC)
	for _, r := range e.refs {
		kinds[r.Kind]++
		if r.Kind == record.KindRequest {
			entry, err := e.ledger.Request(r.ID, now)
			if err != nil {
				t.Fatal(err)
			}
			states = append(states, entry.State)
		}
	}
	for _, k := range []record.Kind{
		record.KindPolicy, record.KindRequest, record.KindApproval, record.KindDenial, record.KindWithdrawal,
		record.KindCancellation, record.KindRevocation, record.KindComment, record.KindReceipt,
	} {
		if kinds[k] == 0 {
			t.Errorf("the store has no %s to show", k)
		}
	}
	if want := []approve.State{approve.Cancelled, approve.Denied, approve.Revoked}; !slices.Equal(states, want) {
		t.Errorf("the requests are %v, want %v", states, want)
	}
	if n := len(e.ledger.Policies()); n != 2 {
		t.Errorf("%d policy versions came into force, want 2", n)
	}
	first := e.file(t, e.nth(t, record.KindPolicy, 0).Path)
	if got := string(record.Sum([]byte(first))); got != string(e.ledger.Identity()) {
		t.Errorf("the identity is %s, the first policy's digest %s", e.ledger.Identity(), got)
	}
}

func (e example) nth(t *testing.T, kind record.Kind, n int) (path struct {
	Path string
	ID   record.ID
}) {
	t.Helper()
	for _, r := range e.refs {
		if r.Kind != kind {
			continue
		}
		if n == 0 {
			path.Path, path.ID = r.Path, r.ID
			return path
		}
		n--
	}
	t.Fatalf("the example store has too few of kind %s", kind)
	return path
}

var shownForm = regexp.MustCompile("(?s)<!-- shown: ([a-z]+)(?: ([0-9]+))?(?: ([a-z]+))? -->\n```([a-z]*)\n(?:|.*?\n)```\n")

// replaceShown gives a page with each marked block as the store has it. The
// marks are a kind, which of them from 0, and "signature" for its signature; or
// one of: tree, log, message, certificate, identity, and bytes, the first request's
// signature taken apart.
func replaceShown(t *testing.T, page string, e example) string {
	t.Helper()
	return shownForm.ReplaceAllStringFunc(page, func(block string) string {
		m := shownForm.FindStringSubmatch(block)
		var content string
		switch m[1] {
		case "tree":
			content = git(t, e.dir, "ls-tree", "-r", "--name-only", "main")
		case "log":
			content = git(t, e.dir, "log", "--reverse", "--format=%s", "main")
		case "identity":
			content = string(e.ledger.Identity()) + "\n"
		case "message":
			content = git(t, e.dir, "log", "-1", "--format=%B", "main~10")
		case "bytes":
			content = dissect(t, e.file(t, record.SignaturePath(e.nth(t, record.KindRequest, 0).Path)))
		case "certificate":
			path := strings.Split(git(t, e.dir, "ls-tree", "-r", "--name-only", "main", "keys/"), "\n")[0]
			content = e.file(t, path)
		default:
			n := 0
			if _, err := fmt.Sscan("0"+m[2], &n); err != nil {
				t.Fatal(err)
			}
			path := e.nth(t, record.Kind(m[1]), n).Path
			if m[3] == "signature" {
				path = record.SignaturePath(path)
			}
			content = e.file(t, path)
		}
		head, _, _ := strings.Cut(block, "\n")
		return head + "\n```" + m[4] + "\n" + strings.TrimRight(content, "\n") + "\n```\n"
	})
}

// pages are the documents in docs/.
func pages(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(docs(t), "*.md"))
	if err != nil || len(all) == 0 {
		t.Fatalf("there are no documents in %s: %v", docs(t), err)
	}
	return all
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

package gitstore

import (
	"slices"
	"strings"
	"testing"
)

// ambiguous are refs that git may take a branch's whole name for.
var ambiguous = []string{"refs/tags/refs/heads/main", "refs/heads/refs/heads/main", "refs/refs/heads/main", "refs/remotes/refs/heads/main", "refs/tags/main", "refs/heads/main-x"}

// TestNamesLikeTheBranch: whatever other refs there are, the branch alone is read and
// moved, by each transport.
func TestNamesLikeTheBranch(t *testing.T) {
	for _, transport := range []Transport{Builtin, Git} {
		t.Run(string(transport), func(t *testing.T) {
			t.Parallel()
			url := bare(t)
			o := Options{URL: url, Transport: transport}
			s, root := initStore(t, o)
			other := git(t, url, "commit-tree", "-m", "other", "-p", string(root), string(root)+"^{tree}")
			lines := func() string {
				return git(t, url, "for-each-ref", "--format=%(refname) %(objectname)")
			}
			for _, ref := range ambiguous {
				git(t, url, "update-ref", ref, other)
			}
			before := lines()
			r := mustAppend(t, s, "a", "one\n")
			if r.Parent != root || r.Tries != 1 {
				t.Errorf("%+v", r)
			}
			if got, want := lines(), strings.Replace(before, "refs/heads/main "+string(root), "refs/heads/main "+string(r.Commit), 1); got != want {
				t.Errorf("the refs are\n%s\nwant\n%s", got, want)
			}
			if tip := mustFetch(t, openStore(t, o)); tip != r.Commit {
				t.Errorf("fetched %s, the branch is at %s", tip, r.Commit)
			}
			git(t, url, "update-ref", "-d", "refs/heads/main")
			tip, err := openStore(t, o).Fetch(testContext(t))
			if err != nil || !tip.Empty {
				t.Errorf("without the branch: %+v, %v", tip, err)
			}
			if again, err := s.Fetch(testContext(t)); err != nil || !again.Empty {
				t.Errorf("without the branch that was there: %+v, %v", again, err)
			}
			// What was left of a push that was killed is not pushed with the next.
			if transport == Git {
				if err := s.writeRef(pushedRefs+"evil", root); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.PushBack(testContext(t), "", r.Commit); err != nil {
				t.Error(err)
			}
			if refs := strings.Fields(git(t, url, "for-each-ref", "--format=%(refname)")); len(refs) != len(ambiguous)+1 || !slices.Contains(refs, "refs/heads/main") {
				t.Errorf("the refs are %q", refs)
			}
		})
	}
}

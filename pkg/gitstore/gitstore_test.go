package gitstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jitaccess/jit/internal/testenv"
)

// remotes makes an empty repository reachable in every way, by both
// transports, and runs test for each.
func remotes(t *testing.T, test func(t *testing.T, bare string, o Options)) {
	for _, transport := range []Transport{Builtin, Git} {
		t.Run(string(transport)+"/path", func(t *testing.T) {
			t.Parallel()
			path := bare(t)
			test(t, path, Options{URL: path, Transport: transport, Isolated: true})
		})
		t.Run(string(transport)+"/ssh", func(t *testing.T) {
			t.Parallel()
			path := bare(t)
			server := testenv.StartSSHD(t, testenv.SSHDOptions{
				ForceCommand: testenv.Need(t, "git-shell", "git") + ` -c "$SSH_ORIGINAL_COMMAND"`,
			})
			test(t, path, Options{
				URL:       "ssh://" + server.User + "@" + server.Addr + path,
				Transport: transport, Isolated: true,
				SSH: SSHOptions{KnownHosts: []string{server.KnownHosts}, IdentityFile: server.ClientKey},
			})
		})
		t.Run(string(transport)+"/http", func(t *testing.T) {
			t.Parallel()
			path := bare(t)
			url := testenv.StartGitHTTP(t, filepath.Dir(path), testenv.GitHTTPOptions{User: "alice", Password: "s3cret"})
			url = strings.Replace(url, "http://", "http://alice:s3cret@", 1) + "/" + filepath.Base(path)
			test(t, path, Options{URL: url, Transport: transport, Isolated: true})
		})
	}
}

func TestStoreOverEveryRemote(t *testing.T) {
	remotes(t, func(t *testing.T, bare string, o Options) {
		ctx := testContext(t)
		empty := o
		empty.Dir = t.TempDir()
		if tip, err := openStore(t, empty).Fetch(ctx); err != nil || !tip.Empty {
			t.Fatalf("fetch of an empty remote: %+v, %v", tip, err)
		}
		if _, err := openStore(t, empty).Append(ctx, add("a", "1"), nil); !errors.Is(err, ErrEmpty) {
			t.Fatalf("append to an empty remote: %v", err)
		}
		alice, root := initStore(t, o)
		if _, _, err := Init(ctx, empty, add("b", "2")); !errors.Is(err, ErrNotEmpty) {
			t.Fatalf("second init: %v", err)
		}
		bob := openStore(t, o)
		if got := mustFetch(t, bob); got != root {
			t.Fatalf("fetched %s, the root is %s", got, root)
		}
		first := mustAppend(t, alice, "requests/2026/11/24/A/request.yaml", "one\n")
		second := mustAppend(t, bob, "requests/2026/11/24/B/request.yaml", "two\n")
		if first.Parent != root || second.Parent != first.Commit {
			t.Fatalf("parents: %+v after root %s, %+v", first, root, second)
		}
		tip := mustFetch(t, alice)
		if tip != second.Commit || alice.Tip() != tip {
			t.Fatalf("alice sees %s, tip %s, bob pushed %s", tip, alice.Tip(), second.Commit)
		}
		want := "+ policy/P/policy.yaml\n+ requests/2026/11/24/A/request.yaml\n+ requests/2026/11/24/B/request.yaml"
		if got := events(t, alice, "", tip); got != want {
			t.Fatalf("alice reads\n%s\nwant\n%s", got, want)
		}
		if got := git(t, bare, "show", "main:requests/2026/11/24/B/request.yaml"); got != "two" {
			t.Fatalf("git shows %q", got)
		}
		git(t, bare, "fsck", "--strict")
		if out := git(t, alice.mirror, "fsck", "--strict"); strings.Contains(out, "missing") || strings.Contains(out, "error") {
			t.Fatalf("fsck of the mirror: %s", out)
		}
	})
}

func TestAppendOfWhatIsThere(t *testing.T) {
	s, root := initStore(t, Options{URL: bare(t), Isolated: true})
	ctx := testContext(t)
	if r, err := s.Append(ctx, add("policy/P/policy.yaml", "first\n"), nil); err != nil || r.Commit != "" || r.Parent != root {
		t.Errorf("the same bytes again: %+v, %v", r, err)
	}
	for name, path := range map[string]string{
		"other bytes": "policy/P/policy.yaml", "below a file": "policy/P/policy.yaml/x", "a folder": "policy/P", "a twin": "policy/p/x",
	} {
		if _, err := s.Append(ctx, add(path, "second\n"), nil); !errors.Is(err, ErrExists) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, path := range []string{"", "/a", "a/", "a//b", "../a", "a/../b", ".git/config", "a/.GIT", `a\b`, "a b", "-rf", "a\n", "ä", "1/2/3/4/5/6/7/8/9", strings.Repeat("a", 256)} {
		if _, err := s.Append(ctx, add(path, "x"), nil); !errors.Is(err, ErrBadPath) {
			t.Errorf("path %q: %v", path, err)
		}
	}
	if tip := mustFetch(t, s); tip != root {
		t.Errorf("the head moved to %s", tip)
	}
	// Beside others that are there, only what is new is written.
	a := add("policy/P/policy.yaml", "first\n")
	a.Files = append(a.Files, NewFile{Path: "policy/P/other", Data: []byte("x")})
	r, err := s.Append(ctx, a, nil)
	if err != nil || events(t, s, root, r.Commit) != "+ policy/P/other" {
		t.Errorf("one of two is there: %+v, %v", r, err)
	}
}

func TestOpenRefusesAnotherURL(t *testing.T) {
	dir := t.TempDir()
	openStore(t, Options{Dir: dir, URL: bare(t)})
	if _, err := Open(testContext(t), Options{Dir: dir, URL: bare(t)}); !errors.Is(err, ErrOtherURL) {
		t.Fatalf("another URL: %v", err)
	}
}

// TestMovedAddress: the same store under another address goes on from the checkpoint,
// and what does not extend that is refused there as anywhere.
func TestMovedAddress(t *testing.T) {
	dir, old, moved, older := t.TempDir(), bare(t), bare(t), bare(t)
	s, root := initStore(t, Options{Dir: dir, URL: old})
	head := mustAppend(t, s, "a", "one\n").Commit
	if err := s.SetCheckpoint(head); err != nil {
		t.Fatal(err)
	}
	git(t, old, "push", "-q", moved, string(head)+":refs/heads/main")
	git(t, old, "push", "-q", older, string(root)+":refs/heads/main")
	config := func() string {
		data, err := os.ReadFile(filepath.Join(dir, "mirror.git", "config"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	was := config()
	back := openStore(t, Options{Dir: dir, URL: older})
	if tip := mustFetch(t, back); tip != root || config() != was {
		t.Errorf("an older head, %s, makes the address the mirror's:\n%s", tip, config())
	}
	if _, err := back.Append(testContext(t), add("b", "two\n"), nil); !errors.Is(err, ErrRewritten) {
		t.Errorf("append to an older head: %v", err)
	}
	if _, err := Open(testContext(t), Options{Dir: dir, URL: moved, Branch: "other"}); !errors.Is(err, ErrOtherURL) {
		t.Errorf("another branch: %v", err)
	}
	on := openStore(t, Options{Dir: dir, URL: moved})
	if tip := mustFetch(t, on); tip != head || !strings.Contains(config(), moved) || strings.Contains(config(), old) {
		t.Errorf("fetched %s; the mirror's configuration is\n%s", tip, config())
	}
	mustAppend(t, on, "b", "two\n")
	if got := git(t, moved, "show", "main:b"); got != "two" {
		t.Errorf("it holds %q", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "mirror.git", "config"), []byte(config()+"[core]\n\thooksPath = /tmp\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testContext(t), Options{Dir: dir, URL: old}); !errors.Is(err, ErrOtherURL) {
		t.Errorf("an edited configuration: %v", err)
	}
}

func TestOpenRefusesAlternates(t *testing.T) {
	o := Options{Dir: t.TempDir(), URL: bare(t)}
	s := openStore(t, o)
	if err := os.WriteFile(filepath.Join(s.mirror, "objects/info/alternates"), []byte("/elsewhere\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testContext(t), o); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a mirror with alternates: %v", err)
	}
}

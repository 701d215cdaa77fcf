package gitstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
)

// writeAll lets writers append records each, all at once, and checks that the
// remote then holds each of them once.
func writeAll(t *testing.T, path string, writers, records int, open func(writer int) *Store) {
	t.Helper()
	ctx := testContext(t)
	reader := openStore(t, Options{URL: path, Isolated: true})
	root := mustFetch(t, reader)
	var wg sync.WaitGroup
	for w := range writers {
		s := open(w)
		wg.Go(func() {
			for r := range records {
				verified := false
				result, err := s.Append(ctx, add(fmt.Sprintf("requests/2026/11/24/W%02d/R%02d.yaml", w, r), fmt.Sprintf("%d %d\n", w, r)),
					func(_ context.Context, tip Hash) error {
						verified = s.Has(tip)
						return nil
					})
				if err != nil || result.Commit == "" || !verified {
					t.Errorf("writer %d, record %d: %+v, tip verified: %v, %v", w, r, result, verified, err)
					return
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	commits := 0
	tip := mustFetch(t, reader)
	err := reader.Walk(ctx, root, tip, WalkOptions{}, func(c Commit) error {
		commits++
		for _, f := range c.Inserted {
			seen[f.Path]++
		}
		if len(c.Parents) != 1 || len(c.Violations) > 0 {
			t.Errorf("commit %s: parents %v, violations %v", c.Hash, c.Parents, c.Violations)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if commits != writers*records || len(seen) != writers*records {
		t.Fatalf("%d commits with %d files, want %d of each", commits, len(seen), writers*records)
	}
	for path, n := range seen {
		if n != 1 {
			t.Errorf("%s is there %d times", path, n)
		}
	}
}

func TestSixteenWritersWithMirrorsOfTheirOwn(t *testing.T) {
	t.Parallel()
	path := bare(t)
	initStore(t, Options{URL: path, Isolated: true})
	records := 20
	if testenv.Raced {
		records = 5
	}
	writeAll(t, path, 16, records, func(int) *Store { return openStore(t, Options{URL: path, Isolated: true}) })
}

func TestWritersOfBothTransports(t *testing.T) {
	path := bare(t)
	initStore(t, Options{URL: path, Isolated: true})
	writeAll(t, path, 4, 4, func(w int) *Store {
		return openStore(t, Options{URL: path, Isolated: true, Transport: []Transport{Builtin, Git}[w%2]})
	})
}

// TestRacingPushes: over http nobody queues, so that pushes really race.
func TestRacingPushes(t *testing.T) {
	path := bare(t)
	initStore(t, Options{URL: path, Isolated: true})
	url := testenv.StartGitHTTP(t, filepath.Dir(path), testenv.GitHTTPOptions{}) + "/" + filepath.Base(path)
	writeAll(t, path, 6, 4, func(w int) *Store {
		return openStore(t, Options{URL: url, Isolated: true, Transport: []Transport{Builtin, Git}[w%2]})
	})
}

func TestWritersOnOneMirror(t *testing.T) {
	path, dir := bare(t), t.TempDir()
	one, _ := initStore(t, Options{URL: path, Isolated: true, Dir: dir})
	writeAll(t, path, 8, 5, func(w int) *Store {
		if w%2 == 0 {
			return one
		}
		return openStore(t, Options{URL: path, Isolated: true, Dir: dir})
	})
}

// TestMain lets this program be started again as a writer that is killed.
func TestMain(m *testing.M) {
	if url := os.Getenv("GITSTORE_TEST_WRITER"); url != "" {
		writeForever(url, os.Getenv("GITSTORE_TEST_DIR"))
	}
	os.Exit(m.Run())
}

func writeForever(url, dir string) {
	s, err := Open(context.Background(), Options{URL: url, Dir: dir, Isolated: true})
	for n := 0; err == nil; n++ {
		_, err = s.Append(context.Background(), add(fmt.Sprintf("requests/%d/%d.yaml", os.Getpid(), n), "x\n"), nil)
		fmt.Println("appended")
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func TestKilledWriterLeavesTheMirrorUsable(t *testing.T) {
	path, dir := bare(t), t.TempDir()
	initStore(t, Options{URL: path, Isolated: true, Dir: dir})
	for i := range 6 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "GITSTORE_TEST_WRITER="+path, "GITSTORE_TEST_DIR="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 64)); err != nil {
			t.Fatalf("the writer wrote nothing: %v", err)
		}
		time.Sleep(time.Duration(i*7) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		s := openStore(t, Options{URL: path, Isolated: true, Dir: dir})
		r := mustAppend(t, s, fmt.Sprintf("after/%d.yaml", i), "y\n")
		if got := events(t, s, r.Parent, r.Commit); got != fmt.Sprintf("+ after/%d.yaml", i) {
			t.Fatalf("after the kill: %s", got)
		}
		if got := walk(t, s, "", r.Commit, WalkOptions{}); len(got) < i+2 {
			t.Fatalf("history after the kill: %v", got)
		}
	}
	git(t, path, "fsck", "--strict")
}

// hook puts a server-side hook into a bare repository.
func hook(t *testing.T, bare, name, script string) {
	t.Helper()
	file := filepath.Join(bare, "hooks", name)
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestHookRefuses(t *testing.T) {
	for _, transport := range []Transport{Builtin, Git} {
		for _, name := range []string{"pre-receive", "update"} {
			t.Run(string(transport)+"/"+name, func(t *testing.T) {
				t.Parallel()
				path := bare(t)
				s, root := initStore(t, Options{URL: path, Isolated: true, Transport: transport})
				hook(t, path, name, "printf 'closed for \\033[31mtoday\\n' >&2\nexit 1\n")
				result, err := s.Append(testContext(t), add("a", "1"), nil)
				var refused *RefusedError
				if !errors.Is(err, ErrRefused) || !errors.As(err, &refused) || result.Tries != 1 {
					t.Fatalf("%+v, %v", result, err)
				}
				if !strings.Contains(refused.Said, "closed for [31mtoday") || !strings.Contains(refused.Reason, "hook declined") {
					t.Errorf("the server's words: %+v", refused)
				}
				if tip := mustFetch(t, s); tip != root || git(t, path, "rev-parse", "main") != string(root) {
					t.Errorf("the head moved to %s", tip)
				}
			})
		}
	}
}

// TestNobodyWinsTheRace: a lock that is left behind looks like another push that is
// under way, and is no reason to try for minutes. It is named, and stays: it may be held.
func TestNobodyWinsTheRace(t *testing.T) {
	for _, transport := range []Transport{Builtin, Git} {
		for _, name := range []string{"refs/heads/main.lock", "HEAD.lock"} {
			t.Run(string(transport)+"/"+filepath.Base(name), func(t *testing.T) {
				t.Parallel()
				path := bare(t)
				s, root := initStore(t, Options{URL: path, Isolated: true, Transport: transport})
				lock := filepath.Join(path, filepath.FromSlash(name))
				if err := os.WriteFile(lock, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				result, err := s.Append(testContext(t), add("a", "1"), nil)
				if !errors.Is(err, ErrRefused) || !errors.Is(err, ErrLocked) || result.Tries > maxUnmoved+1 || mustFetch(t, s) != root {
					t.Fatalf("%+v, %v", result, err)
				}
				if !strings.Contains(err.Error(), name) {
					t.Errorf("it does not name the file: %v", err)
				}
				if err := os.Remove(lock); err != nil {
					t.Fatal(err)
				}
				mustAppend(t, s, "a", "1")
			})
		}
	}
}

// TestInitAndALock: an empty repository with a lock that was left behind is empty.
func TestInitAndALock(t *testing.T) {
	path := bare(t)
	lock := filepath.Join(path, "HEAD.lock")
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: t.TempDir(), URL: path, Isolated: true}
	if _, _, err := Init(testContext(t), o, add("a", "1")); !errors.Is(err, ErrLocked) || errors.Is(err, ErrNotEmpty) {
		t.Fatalf("with a lock: %v", err)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	s, _, err := Init(testContext(t), o, add("a", "1"))
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
}

// TestStoppedPushLeavesNoLock: a push that is stopped while git holds the locks of the
// branch and of HEAD lets the next one through.
func TestStoppedPushLeavesNoLock(t *testing.T) {
	path := bare(t)
	s, root := initStore(t, Options{URL: path, Isolated: true, Transport: Builtin})
	holds := filepath.Join(path, "holds")
	hook(t, path, "reference-transaction", `test "$1" = prepared || exit 0
touch "`+holds+`"
while test -e "`+holds+`"; do sleep 0.05; done
`) // it ends with the test, whose folder goes
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	failed := make(chan error, 1)
	go func() {
		_, err := s.Append(ctx, add("a", "1"), nil)
		failed <- err
	}()
	for !exists(holds) {
		select {
		case err := <-failed:
			t.Fatalf("before the hook: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	if !exists(filepath.Join(path, "HEAD.lock")) {
		t.Fatal("git does not hold the lock of HEAD: this test tests nothing")
	}
	cancel()
	if err := <-failed; err == nil {
		t.Fatal("the push was not stopped")
	}
	for _, name := range []string{"HEAD.lock", "refs/heads/main.lock"} {
		if exists(filepath.Join(path, filepath.FromSlash(name))) {
			t.Errorf("%s was left behind", name)
		}
	}
	if tip := mustFetch(t, s); tip != root {
		t.Errorf("the head moved to %s", tip)
	}
	if err := os.Remove(filepath.Join(path, "hooks", "reference-transaction")); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, "a", "1")
}

func TestOnTipStopsTheAppend(t *testing.T) {
	path := bare(t)
	s, root := initStore(t, Options{URL: path, Isolated: true})
	other := mustAppend(t, openStore(t, Options{URL: path, Isolated: true}), "other", "x")
	stop := errors.New("a bad signature")
	var tips []Hash
	_, err := s.Append(testContext(t), add("mine", "y"), func(_ context.Context, tip Hash) error {
		tips = append(tips, tip)
		if got := events(t, s, root, tip); got != "+ other" {
			t.Errorf("what is new: %q", got)
		}
		return stop
	})
	if !errors.Is(err, stop) || len(tips) != 1 || tips[0] != other.Commit {
		t.Fatalf("%v, told of %v", err, tips)
	}
	if got := git(t, path, "rev-parse", "main"); got != string(other.Commit) {
		t.Fatalf("the head moved to %s", got)
	}
}

// TestLostAnswer: the push arrives, but its report does not.
func TestLostAnswer(t *testing.T) {
	path := bare(t)
	s, _ := initStore(t, Options{URL: path, Isolated: true})
	s.remote = &deafRemote{remote: s.remote}
	r := mustAppend(t, s, "once", "x")
	if got := git(t, path, "log", "--format=%s", "-2"); got != "adds once\nadds policy/P/policy.yaml" {
		t.Fatalf("the history: %s", got)
	}
	if got := git(t, path, "rev-parse", "main"); got != string(r.Commit) {
		t.Fatalf("the result names %s, the head is %s", r.Commit, got)
	}
}

// deafRemote loses the answer to every push.
type deafRemote struct{ remote }

func (r *deafRemote) openPush(ctx context.Context) (pushSession, error) {
	p, err := r.remote.openPush(ctx)
	return deafPush{p}, err
}

type deafPush struct{ pushSession }

func (p deafPush) send(ctx context.Context, head Hash, objects *newObjects) error {
	if err := p.pushSession.send(ctx, head, objects); err != nil {
		return err
	}
	return fmt.Errorf("%w: the line is dead", errUnsure)
}

// TestPushesEnd: however a host answers a push, it is not tried for ever.
func TestPushesEnd(t *testing.T) {
	t.Parallel()
	report := func(lines ...string) string {
		text := ""
		for _, l := range append(lines, "") {
			if l == "" {
				text += "0000"
				continue
			}
			text += fmt.Sprintf("%04x%s\n", len(l)+5, l)
		}
		return text
	}
	for name, c := range map[string]struct {
		report string
		moves  bool // the head, before each answer
		want   error
		tries  int // at most
	}{
		"another ref":             {report("unpack ok", "ok refs/heads/other"), false, ErrBadRemote, 1},
		"no ref":                  {report("unpack ok"), false, ErrBadRemote, 1},
		"no report":               {"", false, ErrUnreachable, maxUnsure},
		"garbage":                 {"0009hello0000", false, ErrUnreachable, maxUnsure},
		"fetch first":             {report("unpack ok", "ng refs/heads/main fetch first"), false, ErrRefused, 2 * maxUnmoved},
		"fetch first, and it did": {report("unpack ok", "ng refs/heads/main fetch first"), true, ErrContention, maxTries},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := permissive(t)
			initStore(t, Options{URL: path, Isolated: true})
			pushes := 0
			url := testenv.StartGitHTTP(t, filepath.Dir(path), testenv.GitHTTPOptions{Wrap: func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method != http.MethodPost || !strings.HasSuffix(r.URL.Path, "/"+receivePack) {
						next.ServeHTTP(w, r)
						return
					}
					pushes++
					if c.moves {
						git(t, path, "update-ref", "refs/heads/main", git(t, path, "commit-tree", "-p", "main", "-m", "x", "main^{tree}"))
					}
					text := c.report
					if text != "" { // by the side band that is asked for
						text = fmt.Sprintf("%04x\x01%s0000", len(text)+5, text)
					}
					w.Header().Set("Content-Type", "application/x-git-receive-pack-result")
					_, _ = io.WriteString(w, text)
				})
			}})
			s := openStore(t, Options{URL: url + "/" + filepath.Base(path), Transport: Builtin, Isolated: true})
			if c.moves {
				s.longest = 2 * time.Second
			}
			mustFetch(t, s)
			began := time.Now()
			_, err := s.Append(testContext(t), add("requests/1.yaml", "1\n"), nil)
			if !errors.Is(err, c.want) || pushes == 0 || pushes > c.tries || time.Since(began) > time.Minute {
				t.Errorf("%d pushes in %v: %v", pushes, time.Since(began), err)
			}
		})
	}
	s := &Store{}
	s.o.Isolated = true
	if reconciler, person := s.giveUp(), (&Store{}).giveUp(); reconciler <= 0 || reconciler > 5*time.Minute || person > time.Hour {
		t.Errorf("it gives up after %v, and %v", reconciler, person)
	}
}

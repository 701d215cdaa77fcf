package gitstore

import (
	"errors"
	"strings"
	"testing"
)

// swapped makes a merge whose first parent is a side branch that begins at from,
// with one file, and pushes it over the head.
func (a attacker) swapped(from Hash, file, text string) Hash {
	a.t.Helper()
	a.git("fetch", "-q")
	a.git("checkout", "-q", "--detach", string(from))
	a.write(file, text)
	a.git("add", "-A")
	a.git("commit", "-qm", "side")
	a.git("merge", "-q", "--no-ff", "-m", "Merge branch 'main'", "origin/main")
	a.git("push", "-q", "origin", "HEAD:main")
	return Hash(a.git("rev-parse", "HEAD"))
}

func (a attacker) force(rev string) {
	a.t.Helper()
	a.git("push", "-q", "-f", "origin", rev+":main")
}

func healMessage(sign func([]byte) ([]byte, error)) Append {
	return Append{Message: "alice heals\n\nJit-Kind: heal\nJit-By: alice\n", Author: "alice", Email: "alice@example.com", When: day, Sign: sign}
}

func mustHeal(t *testing.T, s *Store, honest, remote Hash) (HealPlan, Hash) {
	t.Helper()
	p, err := s.PlanHeal(testContext(t), honest, remote)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	k, err := s.Heal(testContext(t), p, healMessage(nil))
	if err != nil {
		t.Fatalf("heal: %v", err)
	}
	return p, k
}

// transports is remotes for a folder alone: what a push holds is the same
// wherever it goes.
func transports(t *testing.T, test func(t *testing.T, bare string, o Options)) {
	for _, transport := range []Transport{Builtin, Git} {
		t.Run(string(transport), func(t *testing.T) {
			t.Parallel()
			path := bare(t)
			test(t, path, Options{URL: path, Transport: transport, Isolated: true})
		})
	}
}

// sound holds a repository to git's own checks, and wants the commit with these
// parents at its head.
func sound(t *testing.T, bare string, head Hash, parents ...Hash) {
	t.Helper()
	if out := git(t, bare, "fsck", "--strict"); strings.Contains(out, "missing") || strings.Contains(out, "broken") {
		t.Errorf("fsck: %s", out)
	}
	want := []string{string(head)}
	for _, p := range parents {
		want = append(want, string(p))
	}
	if got := git(t, bare, "rev-list", "--parents", "-n1", "main"); got != strings.Join(want, " ") {
		t.Errorf("the head is\n%s\nwant\n%s", got, strings.Join(want, " "))
	}
}

func TestHonestTip(t *testing.T) {
	path := permissive(t)
	s, root := initStore(t, Options{URL: path, Isolated: true})
	first := mustAppend(t, s, "first", "x").Commit
	second := mustAppend(t, s, "second", "x").Commit
	a := newAttacker(t, path)
	swap := a.swapped(root, "side", "x")
	again := a.swapped(swap, "more", "x") // on top of it
	tip := mustFetch(t, s)
	for name, c := range map[string]struct{ checkpoint, want Hash }{
		"the end of the chain":    {second, second},
		"a checkpoint before it":  {first, second},
		"one on the remote's own": {swap, again},
	} {
		if got, err := s.HonestTip(tip, c.checkpoint); err != nil || got != c.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, c.want)
		}
	}
	// Of several ends the furthest, then the smallest name.
	a.git("checkout", "-q", "--detach", string(first))
	for i, text := range []string{"x", "y"} {
		a.git("checkout", "-q", "--detach", string(second))
		a.write("end", text)
		a.git("add", "-A")
		a.git("commit", "-qm", "end")
		a.git("branch", []string{"one", "two"}[i])
	}
	one, two := Hash(a.git("rev-parse", "one")), Hash(a.git("rev-parse", "two"))
	a.git("checkout", "-q", "--detach", string(again))
	a.git("merge", "-q", "-s", "ours", "-m", "m", "one", "two")
	a.git("push", "-q", "origin", "HEAD:main")
	tip = mustFetch(t, s)
	if got, err := s.HonestTip(tip, second); err != nil || got != min(one, two) {
		t.Errorf("of two ends: %s, %v; want %s", got, err, min(one, two))
	}
	if _, err := s.HonestTip(first, second); !errors.Is(err, ErrRewritten) {
		t.Errorf("not reachable: %v", err)
	}
}

// TestHealOfASwap: the other side changed a file, deleted one, and added some,
// among them what no store may hold.
func TestHealOfASwap(t *testing.T) {
	transports(t, func(t *testing.T, bare string, o Options) {
		git(t, bare, "config", "receive.fsckObjects", "false")
		s, root := initStore(t, o)
		mustAppend(t, s, "requests/a/one", "one\n")
		mustAppend(t, s, "requests/a/gone", "gone\n")
		honest := mustAppend(t, s, "requests/b/two", "two\n").Commit
		a := newAttacker(t, bare)
		a.git("checkout", "-q", "--detach", string(root))
		a.write("side", "x")
		a.git("add", "-A")
		a.git("commit", "-qm", "side")
		a.git("merge", "-q", "--no-commit", "--no-ff", "origin/main")
		a.write("requests/a/one", "evil\n")
		a.write("requests/a/new", "new\n")
		a.write("requests/c/d/new", "new\n")
		a.git("rm", "-qf", "requests/a/gone", "requests/b/two")
		a.write("requests/b", "a file where a folder was\n")
		a.write("requests/a/gone/below", "below a file\n")
		a.git("add", "-A")
		blob := a.blob("evil\n")
		a.entry("120000", blob, "requests/link")
		a.entry("100644", blob, "REQUESTS/x")
		a.entry("100644", blob, "POLICY")
		a.entry("100644", blob, "requests/sp ace")
		a.git("commit", "-qm", "merge")
		a.git("push", "-q", "origin", "HEAD:main")
		remote := mustFetch(t, s)
		if r, err := s.Relation(honest, remote); err != nil || r != OffChain {
			t.Fatalf("%s, %v", r, err)
		}
		p, k := mustHeal(t, s, honest, remote)
		sound(t, bare, k, honest, remote)
		var added, kept []string
		for _, f := range p.Added {
			added = append(added, f.Path)
		}
		for _, v := range p.Kept {
			kept = append(kept, v.Path+": "+string(v.Kind))
		}
		if got := strings.Join(added, " "); got != "requests/a/new requests/c/d/new side" {
			t.Errorf("added: %s", got)
		}
		if got := strings.Join(kept, ", "); got != "requests/a/gone: deleted, requests/a/one: changed, requests/b/two: deleted" {
			t.Errorf("kept: %s", got)
		}
		want := "policy/P/policy.yaml requests/a/gone requests/a/new requests/a/one requests/b/two requests/c/d/new side"
		if got := strings.Join(strings.Fields(git(t, bare, "ls-tree", "-r", "--name-only", "main")), " "); got != want {
			t.Errorf("the tree:\n%s\nwant\n%s", got, want)
		}
		if got := git(t, bare, "show", "main:requests/a/one"); got != "one" {
			t.Errorf("the other side's bytes won: %q", got)
		}
		if r, err := s.Relation(honest, k); err != nil || r != Ahead || s.Tip() != k {
			t.Errorf("the heal is %s, %v; tip %s", r, err, s.Tip())
		}
		if got := events(t, s, honest, k); got != "+ requests/a/new\n+ requests/c/d/new\n+ side" {
			t.Errorf("the heal brings\n%s", got)
		}
		if err := s.SetCheckpoint(k); err != nil {
			t.Error(err)
		}
		mustAppend(t, openStore(t, o), "requests/e", "and on\n")
	})
}

// TestHealOfAForcedPush: the server has dropped commits, and its own garbage
// collection what they pointed to: the push brings all of it again.
func TestHealOfAForcedPush(t *testing.T) {
	transports(t, func(t *testing.T, bare string, o Options) {
		git(t, bare, "config", "receive.denyNonFastForwards", "false")
		ctx := testContext(t)
		s, root := initStore(t, o)
		a := newAttacker(t, bare)
		mustAppend(t, s, "requests/a/one", "one\n")
		a.git("fetch", "-q")
		a.git("checkout", "-q", "-b", "plain", "origin/main")
		a.write("requests/m", "merged\n")
		a.git("add", "-A")
		a.git("commit", "-qm", "to be merged")
		mustAppend(t, s, "requests/a/two", "two\n")
		a.git("fetch", "-q")
		a.git("checkout", "-q", "--detach", "origin/main")
		a.git("merge", "-q", "--no-ff", "-m", "plain", "plain") // dropped with its second parent
		a.git("push", "-q", "origin", "HEAD:main")
		mustFetch(t, s)
		honest := mustAppend(t, s, "requests/b/three", "three\n").Commit
		drop := func(rev string) {
			t.Helper()
			a.force(rev)
			git(t, bare, "reflog", "expire", "--expire=now", "--all")
			git(t, bare, "gc", "-q", "--prune=now")
		}
		a.git("checkout", "-q", "--detach", string(root))
		a.write("side", "x")
		a.git("add", "-A")
		a.git("commit", "-qm", "side")
		drop("HEAD")
		if out := git(t, bare, "cat-file", "--batch-check", "--batch-all-objects"); strings.Contains(out, string(honest)) {
			t.Fatal("the server has the dropped commits still: the test shows nothing")
		}
		remote := mustFetch(t, s)
		if r, err := s.Relation(honest, remote); err != nil || r != Rewritten {
			t.Fatalf("%s, %v", r, err)
		}
		_, k := mustHeal(t, s, honest, remote)
		sound(t, bare, k, honest, remote)

		// An older head: the own head again, and no new commit.
		drop(string(root))
		if old := mustFetch(t, s); old != root {
			t.Fatalf("fetched %s", old)
		}
		if err := s.PushBack(ctx, root, k); err != nil {
			t.Fatalf("push back: %v", err)
		}
		sound(t, bare, k, honest, remote)

		// No branch at all, and another root.
		git(t, bare, "update-ref", "-d", "refs/heads/main")
		git(t, bare, "gc", "-q", "--prune=now")
		if tip, err := s.Fetch(ctx); err != nil || !tip.Empty {
			t.Fatalf("%+v, %v", tip, err)
		}
		if err := s.PushBack(ctx, "", k); err != nil {
			t.Fatalf("push into nothing: %v", err)
		}
		sound(t, bare, k, honest, remote)
		a.git("checkout", "-q", "--orphan", "new")
		a.git("commit", "-qm", "new root")
		drop("HEAD")
		other := mustFetch(t, s)
		_, last := mustHeal(t, s, k, other)
		sound(t, bare, last, k, other)
		if got := events(t, openStore(t, o), "", ""); got != "" {
			t.Error(got)
		}
		cold := openStore(t, o)
		tip := mustFetch(t, cold)
		if a, b := events(t, s, "", last), events(t, cold, "", tip); a != b || !strings.Contains(a, "requests/m") {
			t.Errorf("warm\n%s\ncold\n%s", a, b)
		}
	})
}

func TestHealLosesARace(t *testing.T) {
	path := bare(t)
	s, root := initStore(t, Options{URL: path, Isolated: true})
	honest := mustAppend(t, s, "one", "x").Commit
	a := newAttacker(t, path)
	a.swapped(root, "side", "x")
	remote := mustFetch(t, s)
	p, err := s.PlanHeal(testContext(t), honest, remote)
	if err != nil {
		t.Fatal(err)
	}
	moved := mustAppend(t, openStore(t, Options{URL: path, Isolated: true}), "two", "x").Commit
	for name, try := range map[string]func() error{
		"heal":      func() error { _, err := s.Heal(testContext(t), p, healMessage(nil)); return err },
		"push back": func() error { return s.PushBack(testContext(t), honest, remote) },
		"put back": func() error {
			_, err := s.PutBack(testContext(t), remote, map[string]Hash{"three": gitBlob([]byte("x"))}, healMessage(nil))
			return err
		},
	} {
		if err := try(); !errors.Is(err, ErrMoved) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := mustFetch(t, s); got != moved {
		t.Errorf("the head is %s, want %s", got, moved)
	}
	if err := s.PushBack(testContext(t), moved, honest); !errors.Is(err, ErrNotForward) {
		t.Errorf("backwards: %v", err)
	}
	_, k := mustHeal(t, s, honest, moved)
	sound(t, path, k, honest, moved)
}

func TestAsideAndMerges(t *testing.T) {
	path := bare(t)
	s, root := initStore(t, Options{URL: path, Isolated: true})
	one := mustAppend(t, s, "one", "x").Commit
	two := mustAppend(t, s, "two", "x").Commit
	a := newAttacker(t, path)
	swap := a.swapped(one, "side", "x")
	side := Hash(a.git("rev-parse", "HEAD^1"))
	mustFetch(t, s)
	_, k := mustHeal(t, s, two, swap)
	on := func(commits ...Hash) func(Hash) (bool, error) {
		return func(h Hash) (bool, error) {
			for _, c := range commits {
				if c == h {
					return true, nil
				}
			}
			return false, nil
		}
	}
	fork, aside, err := s.Aside(swap, on(root, one, two))
	if err != nil || fork != one || len(aside) != 2 || aside[0] != min(swap, side) || aside[1] != max(swap, side) {
		t.Errorf("fork %s, aside %v, %v", fork, aside, err)
	}
	if fork, _, err := s.Aside(swap, on(two)); err != nil || fork != "" {
		t.Errorf("no fork: %s, %v", fork, err)
	}
	merges, fork, err := s.Merges(k, on(swap, side, one, root))
	if err != nil || fork != one || len(merges) != 1 || merges[0].Hash != k || merges[0].Second != swap || !strings.Contains(merges[0].Message, "Jit-Kind: heal") {
		t.Errorf("%+v, %s, %v", merges, fork, err)
	}
	if merges, fork, err := s.Merges(k, on()); err != nil || fork != "" || len(merges) != 1 {
		t.Errorf("down to the root: %+v, %s, %v", merges, fork, err)
	}
	lines, all, err := s.Lines(k, swap, 1)
	if err != nil || all != 2 || len(lines) != 1 || lines[0].Hash != k {
		t.Errorf("%+v of %d, %v", lines, all, err)
	}
	if h, err := s.Root(k); err != nil || h != root {
		t.Errorf("root %s, %v", h, err)
	}
}

func TestCommitSignature(t *testing.T) {
	path := permissive(t)
	s, root := initStore(t, Options{URL: path, Isolated: true})
	honest := mustAppend(t, s, "one", "x").Commit
	if _, _, err := s.CommitSignature(honest); !errors.Is(err, ErrUnsigned) {
		t.Errorf("unsigned: %v", err)
	}
	swap := newAttacker(t, path).swapped(root, "side", "x")
	mustFetch(t, s)
	p, err := s.PlanHeal(testContext(t), honest, swap)
	if err != nil {
		t.Fatal(err)
	}
	const armour = "-----BEGIN PGP SIGNATURE-----\n\nAAAA\n-----END PGP SIGNATURE-----\n"
	var signed string
	k, err := s.Heal(testContext(t), p, healMessage(func(payload []byte) ([]byte, error) {
		signed = string(payload)
		return []byte(armour), nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	payload, sig, err := s.CommitSignature(k)
	if err != nil || string(sig) != armour || string(payload) != signed {
		t.Errorf("%v: signature %q of %q, was %q", err, sig, payload, signed)
	}
	sound(t, path, k, honest, swap)
	whole := git(t, path, "cat-file", "commit", string(k)) + "\n"
	if _, _, problem := splitSigned(whole); problem != "" {
		t.Fatal(problem)
	}
	for name, text := range map[string]string{
		"a header before":       strings.Replace(whole, "\ngpgsig", "\nencoding x\ngpgsig", 1),
		"a header after":        strings.Replace(whole, "SIGNATURE-----\n\nalice", "SIGNATURE-----\nencoding x\n\nalice", 1),
		"two signatures":        strings.Replace(whole, "\ngpgsig", "\ngpgsig x\ngpgsig", 1),
		"two committers":        strings.Replace(whole, "\ncommitter", "\ncommitter x\ncommitter", 1),
		"no author":             strings.Replace(whole, "\nauthor", "\nauthors", 1),
		"another hash's":        strings.Replace(whole, "\ngpgsig", "\ngpgsig-sha256", 1),
		"no message":            strings.Split(whole, "\n\nalice")[0],
		"signature before that": strings.Replace(whole, "\nauthor", "\ngpgsig x\nauthor", 1),
	} {
		if text == whole {
			t.Errorf("%s: the test changes nothing", name)
		}
		if _, _, problem := splitSigned(text); problem == "" {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestPutBack(t *testing.T) {
	path := permissive(t)
	s, _ := initStore(t, Options{URL: path, Isolated: true})
	mustAppend(t, s, "requests/a/one", "one\n")
	mustAppend(t, s, "requests/b/two", "two\n")
	mustAppend(t, s, "requests/c", "three\n")
	files := map[string]Hash{"requests/a/one": gitBlob([]byte("one\n")), "requests/b/two": gitBlob([]byte("two\n")), "requests/c": gitBlob([]byte("three\n"))}
	if list, err := s.Missing(s.Tip(), files); err != nil || len(list) != 0 {
		t.Fatalf("%v, %v", list, err)
	}
	if h, err := s.PutBack(testContext(t), s.Tip(), files, healMessage(nil)); err != nil || h != "" {
		t.Fatalf("nothing is missing: %q, %v", h, err)
	}
	before := s.Tip()
	a := newAttacker(t, path)
	a.git("rm", "-rq", "requests/a", "requests/b")
	a.write("requests/b", "a file where a folder was\n")
	a.write("requests/other", "stays\n")
	a.git("add", "-A")
	a.entry("120000", a.blob("elsewhere"), "requests/c")
	a.push()
	tip := mustFetch(t, s)
	if list, err := s.Missing(tip, files); err != nil || strings.Join(list, " ") != "requests/a/one requests/b/two requests/c" {
		t.Errorf("%v, %v", list, err)
	}
	h, err := s.PutBack(testContext(t), tip, files, healMessage(nil))
	if err != nil {
		t.Fatal(err)
	}
	sound(t, path, h, tip)
	want := "policy/P/policy.yaml requests/a/one requests/b/two requests/c requests/other"
	if got := strings.Join(strings.Fields(git(t, path, "ls-tree", "-r", "--name-only", "main")), " "); got != want {
		t.Errorf("the tree:\n%s\nwant\n%s", got, want)
	}
	known := func(path string) (Hash, error) { return files[path], nil }
	if got := walk(t, s, tip, h, WalkOptions{Known: known}); len(got) != 1 || !strings.HasSuffix(got[0], "! requests/b: deleted") {
		t.Errorf("putting back is more than that, and than what stood in the way: %v", got)
	}
	if got := walk(t, s, before, h, WalkOptions{Known: known}); len(got) == 0 {
		t.Error("the damage is not reported")
	}
}

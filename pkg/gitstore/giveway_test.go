package gitstore

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
)

// holding makes a store of which nothing counts but these files, and what lies below
// these folders.
func holding(counts ...string) Holds {
	return func(path string, folder bool) (bool, error) {
		return slices.ContainsFunc(counts, func(c string) bool {
			return !folder && c == path || folder && strings.HasPrefix(c, path+"/")
		}), nil
	}
}

// TestJunkGivesWay: whatever somebody laid where a file is to stand, the file is
// appended, and counts; and what counts is never taken away for it.
func TestJunkGivesWay(t *testing.T) {
	const at = "requests/2026/X/one.yaml"
	held := []string{"policy/P/policy.yaml", at}
	for name, lay := range map[string]func(dir string){
		"a file as the folder":    func(dir string) { write(t, dir, "requests/2026/X", "junk") },
		"a file as the top":       func(dir string) { write(t, dir, "requests", "junk") },
		"a symlink as the folder": func(dir string) { link(t, dir, "requests/2026") },
		"a submodule": func(dir string) {
			if err := os.Mkdir(filepath.Join(dir, "requests"), 0o755); err != nil {
				t.Fatal(err)
			}
			git(t, dir, "update-index", "--add", "--cacheinfo", "160000,"+git(t, dir, "rev-parse", "HEAD")+",requests")
		},
		"a twin of the top":        func(dir string) { write(t, dir, "REQUESTS/2026/X/x", "junk") },
		"twins of the top":         func(dir string) { twins(t, dir, "") },
		"a file and twins":         func(dir string) { write(t, dir, "requests", "junk"); twins(t, dir, "") },
		"twins of the file itself": func(dir string) { twins(t, dir, "requests/2026/X") },
		"other bytes":              func(dir string) { write(t, dir, at, "junk") },
		"a folder as the file":     func(dir string) { write(t, dir, at+"/a/b", "junk") },
		"an executable": func(dir string) {
			write(t, dir, at, "junk")
			if err := os.Chmod(filepath.Join(dir, at), 0o755); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := bare(t)
			s, _ := initStore(t, Options{URL: url})
			dir := filepath.Join(t.TempDir(), "clone")
			git(t, url, "clone", "-q", url, dir)
			lay(dir)
			git(t, dir, "add", "-A")
			git(t, dir, "commit", "-q", "-m", "junk")
			git(t, dir, "push", "-q", "origin", "HEAD:main")
			junk := mustFetch(t, s)
			a := add(at, "honest\n")
			a.Holds = holding(held...)
			if name == "other bytes" || name == "an executable" {
				a.Holds = holding(held[0])
			}
			r, err := s.Append(testContext(t), a, nil)
			if err != nil {
				t.Fatal(err)
			}
			o := WalkOptions{
				Known:  func(string) (Hash, error) { return "", nil },
				Folder: func(path string) bool { held, _ := holding(held...)(path, true); return held },
			}
			blob := gitBlob([]byte("honest\n"))
			got := walk(t, s, junk, r.Commit, o)
			want := fmt.Sprintf("%.7s + %s %.7s 7", r.Commit, at, blob)
			if name == "other bytes" {
				want = fmt.Sprintf("%.7s ! %s: changed", r.Commit, at) // which counts where nothing held the path
			}
			if !slices.Contains(got, want) {
				t.Errorf("walked %q, without %q", got, want)
			}
			for _, line := range got {
				if line != want && !strings.HasSuffix(line, ": deleted") {
					t.Errorf("the append is blamed for %s", line)
				}
			}
			if text := git(t, url, "show", "main:"+at); text != "honest" {
				t.Errorf("the tree holds %q", text)
			}
			if text := git(t, url, "show", "main:"+held[0]); text != "first" {
				t.Errorf("what counts is %q", text)
			}
		})
	}
}

// TestWhatCountsNeverGivesWay: no append takes a file away that counts, whatever
// stands in whose way.
func TestWhatCountsNeverGivesWay(t *testing.T) {
	s, _ := initStore(t, Options{URL: bare(t)})
	for _, path := range []string{"policy/P/policy.yaml", "policy/P/policy.yaml/x", "policy/P", "policy", "POLICY/x", "policy/P/Policy.yaml"} {
		a := add(path, "other\n")
		a.Holds = holding("policy/P/policy.yaml")
		if _, err := s.Append(testContext(t), a, nil); !errors.Is(err, ErrExists) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// TestMuchJunkGivesWay: the junk that gives way is not counted against the append,
// however much it is, nor is a folder that nobody can read.
func TestMuchJunkGivesWay(t *testing.T) {
	s, _ := initStore(t, Options{URL: bare(t)})
	junk := &newObjects{}
	file, err := junk.add(plumbing.BlobObject, []byte("junk"))
	if err != nil {
		t.Fatal(err)
	}
	var many []treeEntry
	for i := range MaxChanges + 1 {
		many = append(many, treeEntry{modeFile, fmt.Sprintf("%06d", i), rawHash(file)})
	}
	wide, err := junk.add(plumbing.TreeObject, encodeTree(many))
	if err != nil {
		t.Fatal(err)
	}
	few := many[:maxTreeBytes/2048]
	for i := range few {
		few[i].name += strings.Repeat("x", 2048)
	}
	unread, err := junk.add(plumbing.TreeObject, encodeTree(few))
	if err != nil {
		t.Fatal(err)
	}
	top, err := junk.add(plumbing.TreeObject, encodeTree([]treeEntry{{modeDir, "RECORDS", rawHash(wide)}, {modeDir, "requests", rawHash(unread)}}))
	if err != nil {
		t.Fatal(err)
	}
	data, err := encodeCommit(add("x", ""), top, s.Tip())
	if err != nil {
		t.Fatal(err)
	}
	head, err := junk.add(plumbing.CommitObject, data)
	if err == nil {
		err = s.save(junk)
	}
	if err != nil {
		t.Fatal(err)
	}
	a := add("records/one", "honest\n")
	a.Files = append(a.Files, NewFile{Path: "requests/one", Data: []byte("honest\n")})
	a.Holds = holding("records/one", "requests/one")
	made, objects, err := s.build(a, head) // what Append makes, and pushes
	if err == nil {
		err = s.save(objects)
	}
	if err != nil {
		t.Fatal(err)
	}
	o := WalkOptions{Folder: func(path string) bool { held, _ := a.Holds(path, true); return held }}
	if got := walk(t, s, head, made, o); len(got) != 2 || !strings.Contains(got[0], "+ records/one") || !strings.Contains(got[1], "+ requests/one") {
		t.Errorf("walked %q", got)
	}
}

func write(t testing.TB, dir, path, text string) {
	t.Helper()
	path = filepath.Join(dir, filepath.FromSlash(path))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t testing.TB, dir, path string) {
	t.Helper()
	path = filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", path); err != nil {
		t.Fatal(err)
	}
}

// twins lays names beside those that are needed, in a folder with more than are looked
// through one by one.
func twins(t testing.TB, dir, in string) {
	t.Helper()
	for _, name := range []string{"Requests", "requestS", "REQUESTS", "One.yaml", "ONE.yaml", "a", "b", "c", "d", "e", "f", "g", "h"} {
		write(t, dir, path.Join(in, name, "x"), "junk")
	}
}

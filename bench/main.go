// Command bench compares jit with the git program on the same work in
// one run, and prints medians and their ratio:
//
//	go run ./bench
//
// Append is one signed record (two files, one call of gpg) pushed to a store of
// ten thousand files, against `git add`, `git commit -S` (one call of gpg) and
// `git push` of the same two files. Fetch is asking a remote that has nothing
// new, against `git fetch`; Reconcile the same, by a whole run of the reconciler
// in this process, a store's policy and a target configured. The runs of the two sides take turns, so that a busy
// moment of the machine hits both. The last line is the time of `jit --help`,
// process start and all. It exits with 1 when a figure is above its limit.
//
//	go run ./bench scale
//
// makes stores of 1,000, 10,000 and 100,000 requests and compares how costs grow
// (docs/performance.md), in about ten minutes and three gigabytes of the
// temporary folder.
//
//	go run ./bench spam
//
// fills a store with 100,000 junk files and 10,000 certificates of nobody, and
// prints what that costs whoever reads it, beside the same store without. And
//
//	go run ./bench generate -requests 1000 -seed 1 FOLDER
//
// makes one such store.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/jitaccess/jit/bench/storegen"
	"github.com/jitaccess/jit/pkg/gitstore"
)

const (
	requests    = 2500 // four files each
	days        = 50
	appendLimit = 0.6
	fetchLimit  = 1.0
	helpLimit   = 30 * time.Millisecond
)

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func command(args []string) error {
	name := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		name, args = args[0], args[1:]
	}
	flags := flag.NewFlagSet("bench "+name, flag.ContinueOnError)
	runs := flags.Int("n", 21, "runs of each side")
	requests := flags.Int("requests", 1000, "generate: the number of requests")
	seed := flags.Uint64("seed", 1, "generate: what chooses keys, ids and texts")
	largest := flags.Int("largest", large, "scale: the number of requests of the largest store, for a shorter try")
	files := flags.Int("files", spamFiles, "spam: the number of junk files; a tenth as many certificates come with them")
	profile := flags.String("profile", "", "scale: a file for the profile of the first verification of the largest store")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch name {
	case "":
		return bench(*runs)
	case "scale":
		dir, err := os.MkdirTemp("", "jit-scale-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		return scale(dir, *runs, map[string]int{"1k": min(small, *largest), "10k": min(middle, *largest), "100k": *largest}, *profile)
	case "spam":
		dir, err := os.MkdirTemp("", "jit-spam-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		return spam(context.Background(), dir, storegen.SpamOptions{
			Files: *files, Certificates: max(1, *files/10), Commits: max(1, *files/perSpamCommit), Seed: *seed,
		}, spamRequests)
	case "generate":
		if flags.NArg() != 1 {
			return errors.New("generate: name the folder of the new repository")
		}
		s, err := storegen.Generate(context.Background(), flags.Arg(0), storegen.Options{Requests: *requests, Seed: *seed})
		if err == nil {
			fmt.Printf("%d records in %d commits\nidentity %s\nhead     %s\n", s.Records, s.Commits, s.Identity, s.Head)
		}
		return err
	}
	return fmt.Errorf("there is no %q: scale, spam or generate", name)
}

// sides are two stores with the same content: one for gitstore, one for git.
type sides struct {
	*git
	dir   string
	store *gitstore.Store
	clone string
}

func bench(runs int) error {
	dir, err := os.MkdirTemp("", "jit-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, err := prepare(dir)
	if err != nil {
		return err
	}
	defer s.stopAgent()
	defer s.store.Close()

	fmt.Printf("%-34s %12s %12s %8s %7s\n", "", "jit", "git", "ratio", "limit")
	ok := true
	compare := func(what string, limit float64, jit, git func(i int) error) error {
		ours, theirs, err := takeTurns(runs, jit, git)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		ratio := float64(ours) / float64(theirs)
		ok = ok && ratio <= limit
		fmt.Printf("%-34s %12s %12s %8.3f %7.2f\n", what, ours.Round(10*time.Microsecond), theirs.Round(10*time.Microsecond), ratio, limit)
		return nil
	}
	if err := compare("append and push of one record", appendLimit, s.jitAppend, s.gitAppend); err != nil {
		return err
	}
	if err := compare("fetch with nothing new", fetchLimit, s.jitFetch, s.gitFetch); err != nil {
		return err
	}
	q, err := prepareQuiet(context.Background(), s)
	if err != nil {
		return err
	}
	if err := compare("reconcile with nothing new", fetchLimit, q.jit, q.git); err != nil {
		return err
	}
	took, err := help(dir, runs)
	if err != nil {
		return err
	}
	fmt.Printf("%-34s %12s %21s %7s\n", "jit --help, the whole process", took.Round(10*time.Microsecond), "", "30ms")
	ok = ok && took <= helpLimit
	if !ok {
		return errors.New("a figure is above its limit")
	}
	return nil
}

// takeTurns runs the two sides alternately, after one run of each that is not
// counted, and gives the medians.
func takeTurns(runs int, a, b func(i int) error) (time.Duration, time.Duration, error) {
	var as, bs []time.Duration
	for i := range runs + 1 {
		for side, f := range []func(int) error{a, b} {
			start := time.Now()
			if err := f(i); err != nil {
				return 0, 0, err
			}
			took := time.Since(start)
			switch {
			case i == 0:
			case side == 0:
				as = append(as, took)
			default:
				bs = append(bs, took)
			}
		}
	}
	return median(as), median(bs), nil
}

func median(d []time.Duration) time.Duration {
	sort.Slice(d, func(i, j int) bool { return d[i] < d[j] })
	return d[len(d)/2]
}

// prepare makes the two stores, a key, and a clone for git.
func prepare(dir string) (*sides, error) {
	g, err := newGit(dir, "alice")
	if err != nil {
		return nil, err
	}
	s := &sides{git: g, dir: dir, clone: filepath.Join(dir, "clone")}
	ours, theirs := filepath.Join(dir, "jit.git"), filepath.Join(dir, "git.git")
	if err := gitstore.CreateBare(ours, ""); err != nil {
		return nil, err
	}
	store, _, err := gitstore.Init(context.Background(), gitstore.Options{Dir: filepath.Join(dir, "state"), URL: ours}, history())
	if err != nil {
		return nil, err
	}
	s.store = store
	if err := s.run(dir, "git", "clone", "--quiet", "--bare", ours, theirs); err != nil {
		return nil, err
	}
	return s, s.run(dir, "git", "clone", "--quiet", theirs, s.clone)
}

// history is a store of ten thousand files in the layout that jit uses.
func history() gitstore.Append {
	a := gitstore.Append{Message: "a store with a past", Author: "Alice", Email: "alice@example.com", When: time.Unix(1790000000, 0)}
	for i := range requests {
		folder := fmt.Sprintf("requests/2026/%02d/%02d/01HZ%022d", 1+i%days/25, 1+i%days%25, i)
		for _, name := range []string{"request.yaml", "request.yaml.asc", "01HZ.approval.yaml", "01HZ.approval.yaml.asc"} {
			a.Files = append(a.Files, gitstore.NewFile{Path: folder + "/" + name, Data: sample(i, name)})
		}
	}
	return a
}

func sample(i int, name string) []byte {
	return fmt.Appendf(nil, "apiVersion: jit/v1\nkind: request\nid: %026d\nname: %s\nreason: a reason of the usual length for number %d\n", i, name, i)
}

func folder(i int) string { return fmt.Sprintf("requests/2026/11/24/01JB%022d", i) }

func (s *sides) jitAppend(i int) error {
	data := sample(i, "new")
	file := filepath.Join(s.dir, "record")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return err
	}
	if err := s.run(s.dir, "gpg", "--batch", "--quiet", "--yes", "--armor", "--local-user", s.key, "--output", file+".asc", "--detach-sign", file); err != nil {
		return err
	}
	sig, err := os.ReadFile(file + ".asc")
	if err != nil {
		return err
	}
	_, err = s.store.Append(context.Background(), gitstore.Append{
		Files:   []gitstore.NewFile{{Path: folder(i) + "/request.yaml", Data: data}, {Path: folder(i) + "/request.yaml.asc", Data: sig}},
		Message: "alice asks for something", Author: "Alice", Email: s.key, When: time.Now(),
	}, nil)
	return err
}

func (s *sides) gitAppend(i int) error {
	dir := filepath.Join(s.clone, folder(i))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"request.yaml", "request.yaml.asc"} {
		if err := os.WriteFile(filepath.Join(dir, name), sample(i, name), 0o644); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"add", folder(i)}, {"commit", "--quiet", "-S", "-m", "alice asks for something"}, {"push", "--quiet", "origin", "main"},
	} {
		if err := s.run(s.clone, "git", args...); err != nil {
			return err
		}
	}
	return nil
}

func (s *sides) jitFetch(int) error {
	_, err := s.store.Fetch(context.Background())
	return err
}

func (s *sides) gitFetch(int) error { return s.run(s.clone, "git", "fetch", "--quiet", "origin") }

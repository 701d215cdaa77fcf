package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jitaccess/jit/bench/storegen"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/reconcile"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/target/builtin"
)

// The sizes that are compared, in requests.
const (
	small  = 1000
	middle = 10000
	large  = 100000
)

// plant is a store of one size, a machine that has joined it, and a clone.
type plant struct {
	n      int
	dir    string
	made   *storegen.Store
	home   string           // JIT_HOME of a person
	copy   *replica.Replica // another machine's copy, which writes
	run    reconcile.Options
	clone  string
	fetch  time.Duration // of the first fetch
	fold   time.Duration // of the first verification
	signer record.Signer
	now    func() time.Time
}

// scale makes stores of three sizes and prints how jit's costs grow with them,
// beside the git program's on the same stores.
// Where profile is not empty, a processor profile of the first verification of the
// largest store is written there, for go tool pprof.
func scale(dir string, runs int, sizes map[string]int, profile string) error {
	ctx := context.Background()
	jit := filepath.Join(dir, "jit")
	build := exec.Command("go", "build", "-o", jit, "./cmd/jit")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	g, err := newGit(dir, "person00")
	if err != nil {
		return err
	}
	defer g.stopAgent()
	t := &table{}
	plants := map[string]*plant{}
	for _, name := range []string{"1k", "10k", "100k"} {
		into := ""
		if name == "100k" {
			into = profile
		}
		p, err := grow(ctx, filepath.Join(dir, name), jit, sizes[name], g, into)
		if err != nil {
			return fmt.Errorf("the store of %s: %w", name, err)
		}
		defer p.copy.Close()
		plants[name] = p
	}
	for _, step := range []func(context.Context, *table, map[string]*plant, *git, string, int) error{
		appends, quietRuns, news, cold, warm, disk,
	} {
		if err := step(ctx, t, plants, g, jit, runs); err != nil {
			return err
		}
	}
	return t.done()
}

// table prints figures against their goals.
type table struct{ missed []string }

func (t *table) row(what, ours, against string, value, goal float64, atLeast bool) {
	met := value <= goal
	sign := "<="
	if atLeast {
		met, sign = value >= goal, ">="
	}
	word := "met"
	if !met {
		word = "MISSED"
		t.missed = append(t.missed, what)
	}
	fmt.Printf("%-58s %14s %22s %10.2f  %s %-6.4g %s\n", what, ours, against, value, sign, goal, word)
}

func (t *table) done() error {
	if len(t.missed) > 0 {
		return fmt.Errorf("missed: %s", strings.Join(t.missed, "; "))
	}
	return nil
}

// grow makes a store with all that measures it.
func grow(ctx context.Context, dir, jit string, n int, g *git, profile string) (*plant, error) {
	start := time.Now()
	p := &plant{n: n, dir: dir, home: filepath.Join(dir, "home"), clone: filepath.Join(dir, "clone"), now: time.Now}
	var err error
	if p.made, err = storegen.Generate(ctx, filepath.Join(dir, "store.git"), storegen.Options{Requests: n, Seed: 1}); err != nil {
		return nil, err
	}
	took := time.Since(start)
	fmt.Fprintf(os.Stderr, "%d requests: %d records in %d commits, made in %s (%.0f records/s)\n",
		n, p.made.Records, p.made.Commits, took.Round(time.Second), float64(p.made.Records)/took.Seconds())
	if p.signer, err = p.made.Signer("person00", time.Now); err != nil {
		return nil, err
	}
	// One fetch and one verification, apart from each other.
	c := replica.Config{Dir: filepath.Join(dir, "copy"), URL: p.made.Dir, Identity: p.made.Identity}
	store, err := gitstore.Open(ctx, gitstore.Options{Dir: c.Dir, URL: c.URL})
	if err != nil {
		return nil, err
	}
	start = time.Now()
	_, err = store.Fetch(ctx)
	p.fetch = time.Since(start)
	if err = errors.Join(err, store.Close()); err != nil {
		return nil, err
	}
	if p.copy, err = replica.Open(ctx, c); err != nil {
		return nil, err
	}
	p.fold, err = profiled(profile, func() error {
		_, err := p.copy.Sync(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	join := exec.Command(jit, "join", p.made.Dir, "--as", "person00", "--no-enroll", "--store-id", string(p.made.Identity))
	join.Env = append(os.Environ(), "JIT_HOME="+p.home)
	if out, err := join.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("jit join: %w\n%s", err, out)
	}
	machine, err := p.made.Signer("machine0", time.Now)
	if err != nil {
		return nil, err
	}
	p.run = reconcile.Options{
		Drivers: builtin.Drivers(), Signer: machine,
		Config: reconcile.Config{Name: "machine0", State: filepath.Join(dir, "machine"),
			Store: reconcile.StoreConfig{URL: p.made.Dir, Identity: p.made.Identity}},
	}
	// The machine's copy is the same as the other's: made once.
	if err := os.MkdirAll(filepath.Join(p.run.Config.State), 0o700); err != nil {
		return nil, err
	}
	if err := g.run(dir, "cp", "-a", c.Dir, filepath.Join(p.run.Config.State, "store")); err != nil {
		return nil, err
	}
	if err := p.reconcile(ctx); err != nil {
		return nil, err
	}
	return p, g.run(dir, "git", "clone", "--quiet", p.made.Dir, p.clone)
}

// profiled times f, and writes its profile where a file is named.
func profiled(file string, f func() error) (time.Duration, error) {
	if file != "" {
		out, err := os.Create(file)
		if err != nil {
			return 0, err
		}
		defer out.Close()
		if err := pprof.StartCPUProfile(out); err != nil {
			return 0, err
		}
		defer pprof.StopCPUProfile()
	}
	start := time.Now()
	err := f()
	return time.Since(start), err
}

// reconcile is one run of the reconciler, in this process.
func (p *plant) reconcile(ctx context.Context) error {
	r, err := reconcile.Run(ctx, p.run)
	if err == nil && r.ExitCode() != 0 {
		err = errors.Join(append(r.Problems, r.SyncErr, fmt.Errorf("reconcile ended with %d", r.ExitCode()))...)
	}
	return err
}

func show(d time.Duration) string {
	if d > 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

// submit writes n new requests, in one commit each.
func (p *plant) submit(ctx context.Context, n int) error {
	for range n {
		now := p.now()
		if _, err := p.copy.Sync(ctx); err != nil {
			return err
		}
		req, err := p.made.NewRequest(p.copy, "person00", now)
		if err != nil {
			return err
		}
		out, err := p.copy.Prepare(ctx, p.signer, req, now, "", false)
		if err != nil {
			return err
		}
		res, err := p.copy.Submit(ctx, replica.Message{Subject: "person00 asks for something"}, out)
		if err != nil || res.Spooled {
			return errors.Join(err, res.Cause, errors.New("a record was not sent"))
		}
	}
	return nil
}

// appends compares the appending of one record with what git does for it.
func appends(ctx context.Context, t *table, plants map[string]*plant, g *git, _ string, runs int) error {
	p := plants["10k"]
	store, err := gitstore.Open(ctx, gitstore.Options{Dir: filepath.Join(p.dir, "writer"), URL: p.made.Dir})
	if err != nil {
		return err
	}
	defer store.Close()
	if _, err := store.Fetch(ctx); err != nil {
		return err
	}
	own := filepath.Join(p.dir, "git.git")
	if err := g.run(p.dir, "git", "clone", "--quiet", "--bare", p.made.Dir, own); err != nil {
		return err
	}
	theirs := filepath.Join(p.dir, "worktree")
	if err := g.run(p.dir, "git", "clone", "--quiet", own, theirs); err != nil {
		return err
	}
	s := &sides{git: g, dir: p.dir, store: store, clone: theirs}
	ours, other, err := takeTurns(runs, s.jitAppend, s.gitAppend)
	if err != nil {
		return err
	}
	t.row("append and push one record at 10k, against add, commit -S, push", show(ours), show(other), float64(ours)/float64(other), 0.6, false)

	// At 100k: signing apart, against the push alone of a commit that is ready.
	p = plants["100k"]
	if store, err = gitstore.Open(ctx, gitstore.Options{Dir: filepath.Join(p.dir, "copy"), URL: p.made.Dir}); err != nil {
		return err
	}
	defer store.Close()
	own = filepath.Join(p.dir, "git.git")
	if err := g.run(p.dir, "git", "clone", "--quiet", "--bare", p.made.Dir, own); err != nil {
		return err
	}
	if err := g.run(p.clone, "git", "remote", "set-url", "origin", own); err != nil {
		return err
	}
	ready := func(i int) error {
		if err := os.MkdirAll(filepath.Join(p.clone, folder(i)), 0o755); err != nil {
			return err
		}
		for _, name := range []string{"request.yaml", "request.yaml.asc"} {
			if err := os.WriteFile(filepath.Join(p.clone, folder(i), name), sample(i, name), 0o644); err != nil {
				return err
			}
		}
		return errors.Join(g.run(p.clone, "git", "add", folder(i)), g.run(p.clone, "git", "commit", "--quiet", "-m", "ready"))
	}
	push := func(i int) error {
		_, err := store.Append(ctx, gitstore.Append{
			Files:   []gitstore.NewFile{{Path: folder(i) + "/request.yaml", Data: sample(i, "a")}, {Path: folder(i) + "/request.yaml.asc", Data: sample(i, "b")}},
			Message: "person00 asks", Author: "person00", Email: g.key, When: time.Now(),
		}, nil)
		return err
	}
	var as, bs []time.Duration
	for i := range runs {
		start := time.Now()
		if err := push(i); err != nil {
			return err
		}
		as = append(as, time.Since(start))
		if err := ready(i); err != nil {
			return err
		}
		start = time.Now()
		if err := g.run(p.clone, "git", "push", "--quiet", "origin", "main"); err != nil {
			return err
		}
		bs = append(bs, time.Since(start))
	}
	ours, other = median(as), median(bs)
	t.row("append and push one record at 100k, against git push alone", show(ours), show(other), float64(ours)/float64(other), 1.1, false)
	// What was appended is no record; the copies take note of it once.
	for _, p := range []*plant{plants["10k"], plants["100k"]} {
		if _, err := p.copy.Sync(ctx); err != nil {
			return err
		}
		if err := p.reconcile(ctx); err != nil {
			return err
		}
	}
	return nil
}

// quietRuns compares runs with nothing new with each other and with git fetch.
func quietRuns(ctx context.Context, t *table, plants map[string]*plant, g *git, jit string, runs int) error {
	for _, name := range []string{"1k", "100k"} {
		p := plants[name]
		if err := g.run(p.clone, "git", "remote", "set-url", "origin", p.made.Dir); err != nil {
			return err
		}
		if err := g.run(p.clone, "git", "fetch", "--quiet", "origin"); err != nil {
			return err
		}
		ours, theirs, err := takeTurns(5*runs, func(int) error { return p.reconcile(ctx) },
			func(int) error { return g.run(p.clone, "git", "fetch", "--quiet", "origin") })
		if err != nil {
			return err
		}
		t.row("reconcile with nothing new at "+name+", against git fetch", show(ours), show(theirs), float64(ours)/float64(theirs), 0.7, false)
	}
	// These two take turns as well: what ran before tells on a few milliseconds.
	large, little, err := takeTurns(5*runs, func(int) error { return plants["100k"].reconcile(ctx) },
		func(int) error { return plants["1k"].reconcile(ctx) })
	if err != nil {
		return err
	}
	t.row("the same at 100k, against 1k", show(large), show(little), float64(large)/float64(little), 1.1, false)
	mib, err := resident(jit, plants["100k"])
	if err != nil {
		return err
	}
	t.row("its memory at 100k, in MiB", fmt.Sprintf("%.1f", mib), "", mib, 64, false)
	return nil
}

// resident gives the largest resident size of jit reconcile with nothing new.
func resident(jit string, p *plant) (float64, error) {
	secret, err := p.made.SecretKey("machine0")
	if err != nil {
		return 0, err
	}
	key, config := filepath.Join(p.dir, "machine.asc"), filepath.Join(p.dir, "reconcile.yaml")
	text := fmt.Sprintf("name: machine0\nkey: %s\nstate: %s\nstore:\n  url: %s\n  identity: %s\n", key, p.run.Config.State, p.made.Dir, p.made.Identity)
	if err := errors.Join(os.WriteFile(key, secret, 0o600), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		return 0, err
	}
	cmd := exec.Command(jit, "reconcile", "--config", config)
	return maxResident(cmd)
}

// news compares runs that bring ten new records.
func news(ctx context.Context, t *table, plants map[string]*plant, _ *git, _ string, runs int) error {
	took := map[string][]time.Duration{}
	for i := range runs + 1 {
		for _, name := range []string{"1k", "100k"} {
			p := plants[name]
			if err := p.submit(ctx, 10); err != nil {
				return err
			}
			start := time.Now()
			if err := p.reconcile(ctx); err != nil {
				return err
			}
			if i > 0 {
				took[name] = append(took[name], time.Since(start))
			}
		}
	}
	a, b := median(took["100k"]), median(took["1k"])
	t.row("reconcile with 10 new records at 100k, against 1k", show(a), show(b), float64(a)/float64(b), 1.2, false)
	return nil
}

// cold compares the first verification with the bare checking of signatures,
// and with git's own.
func cold(ctx context.Context, t *table, plants map[string]*plant, g *git, _ string, _ int) error {
	p := plants["100k"]
	rate, err := rawRate(p)
	if err != nil {
		return err
	}
	limit := time.Duration(float64(p.made.Records) / rate * float64(time.Second))
	fmt.Printf("%-58s %14s\n", "first fetch at 100k (clone apart from what follows)", show(p.fetch))
	t.row("first verification at 100k: share of the bare signature rate", show(p.fold), show(limit), float64(limit)/float64(p.fold), 0.7, true)

	reading, err := g.reading(p.made.Dir)
	if err != nil {
		return err
	}
	reading /= time.Duration(runtime.GOMAXPROCS(0))
	fmt.Printf("%-58s %14s\n", "git's own reading of the same, if on all processors", show(reading))
	fmt.Printf("%-58s %14.2f\n", "share of the signature rate with nothing but that reading", float64(limit)/float64(limit+reading))

	const requests = 50
	signed, err := storegen.Generate(ctx, filepath.Join(p.dir, "signed.git"), storegen.Options{Requests: requests, Seed: 2, SignCommits: true})
	if err != nil {
		return err
	}
	for _, c := range signed.Certificates() {
		file := filepath.Join(p.dir, "certificate.asc")
		if err := errors.Join(os.WriteFile(file, c.Armor(), 0o600), g.run(p.dir, "gpg", "--batch", "--quiet", "--import", file)); err != nil {
			return err
		}
	}
	start := time.Now()
	if err := g.run(signed.Dir, "git", "log", "--show-signature"); err != nil {
		return err
	}
	theirs := time.Since(start) / time.Duration(signed.Commits)
	ours := p.fold / time.Duration(p.made.Records)
	t.row("the same per record, against git log --show-signature", show(ours), show(theirs), float64(theirs)/float64(ours), 200, true)
	return nil
}

// rawRate gives how many signatures a second all processors check that do
// nothing else: records and signatures lie in memory, and of each record only its
// bytes are looked at.
func rawRate(p *plant) (float64, error) {
	refs, err := p.copy.Ledger().AllRecords()
	if err != nil {
		return 0, err
	}
	type pair struct{ data, sig []byte }
	var pairs []pair
	for i := 0; i < len(refs); i += max(1, len(refs)/20000) {
		data, sig, err := p.copy.ReadRecord(refs[i].ID, refs[i].Digest)
		if err != nil {
			return 0, err
		}
		pairs = append(pairs, pair{data, sig})
	}
	keyring, err := p.copy.Ledger().Keyring()
	if err != nil {
		return 0, err
	}
	next := make(chan []pair, runtime.GOMAXPROCS(0))
	var all sync.WaitGroup
	var mu sync.Mutex
	var failed error
	start := time.Now()
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for part := range next {
				for _, x := range part {
					if _, err := keyring.VerifyBytes(x.data, x.sig); err != nil {
						mu.Lock()
						failed = err
						mu.Unlock()
					}
				}
			}
		})
	}
	const part = 100
	for i := 0; i < len(pairs); i += part {
		next <- pairs[i:min(len(pairs), i+part)]
	}
	close(next)
	all.Wait()
	return float64(len(pairs)) / time.Since(start).Seconds(), failed
}

// warm compares the commands that people wait for.
func warm(_ context.Context, t *table, plants map[string]*plant, _ *git, jit string, runs int) error {
	refs := map[string]string{}
	for _, name := range []string{"1k", "100k"} {
		all, err := plants[name].copy.Ledger().Requests(ledger.Filter{Limit: 1}, time.Now())
		if err != nil || len(all) == 0 {
			return errors.Join(err, errors.New("the store has no request"))
		}
		refs[name] = string(all[0].Request.Record.ID)
	}
	run := func(name string, args ...string) func(int) error {
		return func(int) error {
			cmd := exec.Command(jit, args...)
			cmd.Env = append(os.Environ(), "JIT_HOME="+plants[name].home)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("jit %v: %w\n%s", args, err, out)
			}
			return nil
		}
	}
	for _, c := range []struct {
		what string
		args func(id string) []string
	}{
		{"list", func(string) []string { return []string{"list"} }},
		{"show", func(id string) []string { return []string{"show", id} }},
		{"inbox", func(string) []string { return []string{"inbox"} }},
		{"completion", func(id string) []string { return []string{"__complete", "show", strings.ToLower(id[20:21])} }},
	} {
		a, b, err := takeTurns(runs, run("100k", c.args(refs["100k"])...), run("1k", c.args(refs["1k"])...))
		if err != nil {
			return err
		}
		t.row("jit "+c.what+" at 100k, the whole process, in ms", show(a), "", float64(a)/float64(time.Millisecond), 50, false)
		t.row("the same, against 1k", show(a), show(b), float64(a)/float64(b), 1.5, false)
	}
	return nil
}

// disk compares what a machine keeps with the packed repository.
func disk(_ context.Context, t *table, plants map[string]*plant, g *git, _ string, _ int) error {
	p := plants["100k"]
	if err := g.run(p.made.Dir, "git", "gc", "--quiet"); err != nil {
		return err
	}
	kept, err := size(filepath.Join(p.dir, "copy"))
	if err != nil {
		return err
	}
	packed, err := size(filepath.Join(p.made.Dir, "objects"))
	if err != nil {
		return err
	}
	mib := func(n int64) string { return strconv.FormatInt(n>>20, 10) + " MiB" }
	t.row("disk at 100k: mirror and index, against the packed repository", mib(kept), mib(packed), float64(kept)/float64(packed), 2, false)
	return nil
}

func size(dir string) (n int64, err error) {
	err = filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return err
	})
	return n, err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/jitaccess/jit/bench/storegen"
	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/reconcile"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
	"github.com/jitaccess/jit/pkg/target/builtin"
)

// The spam that is measured, and the honest store beneath it.
const (
	spamRequests  = 1000
	spamFiles     = 100_000
	perSpamCommit = 333 // which is 300 commits
)

// Bounds of resident memory under spam, in MiB. What comes is read file by file and
// at most aheadBytes of it ahead of the fold (pkg/ledger), beside SQLite's cache and
// the mapped packs, whose pages count while they are read; once it is known, nothing
// of it is read again.
const (
	maxSpamNew   = 512.0
	maxSpamQuiet = 64.0
)

// spammed is a store, and a reconciler with one target beside it.
type spammed struct {
	made    *storegen.Store
	dir     string
	options reconcile.Options
	file    string // the target
}

func newSpammed(ctx context.Context, dir string, requests int) (*spammed, error) {
	made, err := storegen.Generate(ctx, filepath.Join(dir, "store.git"), storegen.Options{Requests: requests, Seed: 1})
	if err != nil {
		return nil, err
	}
	s := &spammed{made: made, dir: dir, file: filepath.Join(dir, "authorized_keys")}
	machine, err := made.Signer("machine0", time.Now)
	s.options = reconcile.Options{
		Drivers: builtin.Drivers(), Signer: machine,
		Config: reconcile.Config{Name: "machine0", State: filepath.Join(dir, "machine"),
			Store:   reconcile.StoreConfig{URL: made.Dir, Identity: made.Identity},
			Targets: map[string]reconcile.TargetConfig{storegen.FileResource: {Settings: map[string]string{"file": s.file}}}},
	}
	return s, err
}

// reconcile is one run in this process.
func (s *spammed) reconcile(ctx context.Context) error {
	r, err := reconcile.Run(ctx, s.options)
	if err == nil && r.ExitCode() != 0 {
		err = errors.Join(append(r.Problems, r.SyncErr, fmt.Errorf("reconcile ended with %d", r.ExitCode()))...)
	}
	return err
}

// open reports whether the target lets somebody in.
func (s *spammed) open() (bool, error) {
	data, err := os.ReadFile(s.file)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return strings.Contains(string(data), " jit:"), err
}

// expect asserts whether the target lets somebody in.
func (s *spammed) expect(open bool, when string) error {
	got, err := s.open()
	if err == nil && got != open {
		err = fmt.Errorf("%s: the access is open: %v, want %v", when, got, open)
	}
	return err
}

// honest asks for the file's access and approves it, from another machine, and gives
// what cancels it.
func (s *spammed) honest(ctx context.Context) (cancel func() error, err error) {
	c, err := replica.Open(ctx, replica.Config{Dir: filepath.Join(s.dir, "people"), URL: s.made.Dir, Identity: s.made.Identity})
	if err != nil {
		return nil, err
	}
	var asked request.Request
	var digest record.Digest
	send := func(by string, v any, beside record.ID, now time.Time) error {
		signer, err := s.made.Signer(by, time.Now)
		if err != nil {
			return err
		}
		out, err := c.Prepare(ctx, signer, v, now, beside, false)
		if err != nil {
			return err
		}
		if digest == "" {
			digest = record.Sum(out.Data)
		}
		res, err := c.Submit(ctx, replica.Message{Subject: by + " acts"}, out)
		if err == nil && res.Spooled {
			err = errors.Join(res.Cause, errors.New("a record was not sent"))
		}
		return err
	}
	cancel = func() error {
		now := time.Now()
		h, err := c.NewHead(record.KindCancellation, "person05", now)
		if err == nil {
			err = send("person05", revoke.Cancellation{Head: h, Request: asked.ID, RequestDigest: digest}, asked.ID, now)
		}
		return errors.Join(err, c.Close())
	}
	if _, err := c.Sync(ctx); err != nil {
		return cancel, err
	}
	now := time.Now()
	if asked, err = s.made.NewRequest(c, "person05", now); err != nil {
		return cancel, err
	}
	asked.Grants = []request.Grant{{Resource: storegen.FileResource, Role: "shell"}}
	if err := send("person05", asked, "", now); err != nil {
		return cancel, err
	}
	h, err := c.NewHead(record.KindApproval, "person01", now)
	if err == nil {
		err = send("person01", approve.Approval{Head: h, Request: asked.ID, RequestDigest: digest}, asked.ID, now)
	}
	return cancel, err
}

// measured is a run of jit: how long it took, and how large it grew.
type measured struct {
	took time.Duration
	mib  float64
}

// child runs jit.
func (s *spammed) child(jit string, args ...string) (m measured, err error) {
	cmd := exec.Command(jit, args...)
	cmd.Env = append(os.Environ(), "JIT_HOME="+filepath.Join(s.dir, fmt.Sprintf("home%d", time.Now().UnixNano())))
	start := time.Now()
	m.mib, err = maxResident(cmd)
	m.took = time.Since(start)
	if err != nil {
		err = fmt.Errorf("jit %s: %w", args[0], err)
	}
	return m, err
}

// life measures a store, with spam or without: a cold join, a run in which the spam
// and an honest request are new, one with nothing new, and sees the request through.
func (s *spammed) life(ctx context.Context, jit string, spam *storegen.SpamOptions) (all [3]measured, err error) {
	secret, err := s.made.SecretKey("machine0")
	if err != nil {
		return all, err
	}
	key, config := filepath.Join(s.dir, "machine.asc"), filepath.Join(s.dir, "reconcile.yaml")
	text := fmt.Sprintf("name: machine0\nkey: %s\nstate: %s\nstore:\n  url: %s\n  identity: %s\ntargets:\n  %s:\n    settings:\n      file: %s\n",
		key, s.options.Config.State, s.made.Dir, s.made.Identity, storegen.FileResource, s.file)
	if err := errors.Join(os.WriteFile(key, secret, 0o600), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		return all, err
	}
	run := func() (measured, error) { return s.child(jit, "reconcile", "--config", config) }
	if _, err := run(); err != nil {
		return all, err
	}
	if spam != nil {
		if err := s.made.Spam(ctx, *spam); err != nil {
			return all, err
		}
	}
	if all[0], err = s.child(jit, "join", s.made.Dir, "--as", "person05", "--no-enroll", "--store-id", string(s.made.Identity)); err != nil {
		return all, err
	}
	cancel, err := s.honest(ctx)
	if err != nil {
		return all, err
	}
	if all[1], err = run(); err != nil {
		return all, err
	}
	if err := s.expect(true, "in the run that brings the spam"); err != nil {
		return all, err
	}
	if _, err := run(); err != nil { // its own receipts come back
		return all, err
	}
	if all[2], err = run(); err != nil {
		return all, err
	}
	if err := cancel(); err != nil {
		return all, err
	}
	if _, err := run(); err != nil {
		return all, err
	}
	return all, s.expect(false, "after the cancellation")
}

// spam measures a store full of junk beside the same store without it.
func spam(ctx context.Context, dir string, o storegen.SpamOptions, requests int) error {
	jit := filepath.Join(dir, "jit")
	build := exec.Command("go", "build", "-o", jit, "./cmd/jit")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	var figures [2][3]measured
	for i, with := range []*storegen.SpamOptions{nil, &o} {
		s, err := newSpammed(ctx, filepath.Join(dir, fmt.Sprint("store", i)), requests)
		if err != nil {
			return err
		}
		if figures[i], err = s.life(ctx, jit, with); err != nil {
			return err
		}
	}
	fmt.Printf("%d junk files and %d certificates of nobody in %d commits, on %d requests\n", o.Files, o.Certificates, o.Commits, requests)
	fmt.Printf("%-34s %12s %12s %8s %10s %10s %8s\n", "", "with", "without", "ratio", "with", "without", "ratio")
	t := &table{}
	for i, what := range []string{"cold join", "reconcile, the spam is new", "reconcile, nothing is new"} {
		a, b := figures[1][i], figures[0][i]
		fmt.Printf("%-34s %12s %12s %8.2f %6.0f MiB %6.0f MiB %8.2f\n", what, show(a.took), show(b.took), float64(a.took)/float64(b.took), a.mib, b.mib, a.mib/b.mib)
		limit := maxSpamNew
		if i == 2 {
			limit = maxSpamQuiet
		}
		t.row("its memory, in MiB", fmt.Sprintf("%.0f", a.mib), "", a.mib, limit, false)
	}
	fmt.Println("the honest request was approved, opened in the run that brought the spam, and ended")
	return t.done()
}

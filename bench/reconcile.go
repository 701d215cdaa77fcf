package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/reconcile"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/target/builtin"
)

// quiet is a reconciler beside a store in which nothing happens, and a clone of
// that store for git.
type quiet struct {
	options reconcile.Options
	clone   string
	sides   *sides
}

// prepareQuiet makes the store, the reconciler and the clone, and runs the
// reconciler once.
func prepareQuiet(ctx context.Context, s *sides) (*quiet, error) {
	dir := filepath.Join(s.dir, "quiet")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	now := time.Now()
	keys := map[string]*record.GeneratedKey{}
	var certs []*record.Certificate
	for _, name := range []string{"alice", "web1"} {
		k, err := record.GenerateKey(name, name+"@example.com", now, 0)
		if err != nil {
			return nil, err
		}
		keys[name] = k
		certs = append(certs, k.Certificate())
	}
	print := func(name string) []record.Fingerprint {
		return []record.Fingerprint{keys[name].Certificate().Fingerprint()}
	}
	everyone := []string{"*"}
	url := filepath.Join(dir, "store.git")
	identity, err := replica.Init(ctx, replica.Config{Dir: filepath.Join(dir, "init"), URL: url}, replica.InitOptions{
		By: "alice", Signer: keys["alice"].Signer(time.Now), Certificates: certs, Now: now,
		Body: policy.Body{
			Admins:      policy.Admins{People: []string{"alice"}, Threshold: 1},
			People:      map[string]policy.Person{"alice": {Keys: print("alice")}},
			Reconcilers: map[string]policy.Reconciler{"web1": {Keys: print("web1"), Resources: []string{"web1"}}},
			Resources: map[string]policy.Resource{"web1": {Driver: "authorized-keys",
				Roles: map[string]policy.Role{"shell": {Parameters: map[string]string{"account": "www-data"}}}}},
			Rules: []policy.Rule{{Name: "all", Resources: everyone, Roles: everyone, Requesters: everyone,
				MaxDuration: record.Duration{Duration: time.Hour}, Approve: policy.ApproveAuto}},
		},
	})
	if err != nil {
		return nil, err
	}
	q := &quiet{clone: filepath.Join(dir, "clone"), sides: s, options: reconcile.Options{
		Drivers: builtin.Drivers(), Signer: keys["web1"].Signer(time.Now),
		Config: reconcile.Config{Name: "web1", State: filepath.Join(dir, "state"),
			Store:   reconcile.StoreConfig{URL: url, Identity: identity},
			Targets: map[string]reconcile.TargetConfig{"web1": {Settings: map[string]string{"file": filepath.Join(dir, "authorized_keys")}}}},
	}}
	if err := q.jit(0); err != nil {
		return nil, err
	}
	return q, s.run(dir, "git", "clone", "--quiet", url, q.clone)
}

// jit is one run of the reconciler, in this process.
func (q *quiet) jit(int) error {
	r, err := reconcile.Run(context.Background(), q.options)
	if err == nil && r.ExitCode() != 0 {
		err = errors.Join(append(r.Problems, r.SyncErr, fmt.Errorf("reconcile ended with %d", r.ExitCode()))...)
	}
	return err
}

func (q *quiet) git(int) error { return q.sides.run(q.clone, "git", "fetch", "--quiet", "origin") }

// help builds jit and gives the median time of jit --help, the process whole.
func help(dir string, runs int) (time.Duration, error) {
	bin := filepath.Join(dir, "jit")
	build := exec.Command("go", "build", "-o", bin, "./cmd/jit")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("go build: %w\n%s", err, out)
	}
	var took []time.Duration
	for range runs {
		start := time.Now()
		if err := exec.Command(bin, "--help").Run(); err != nil {
			return 0, err
		}
		took = append(took, time.Since(start))
	}
	return median(took), nil
}

package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/reconcile"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/target"
	"github.com/jitaccess/jit/pkg/target/builtin"
)

// reconciler looks at a reconciler as it would run: with its own configuration,
// key and git settings. Its state folder is left alone: the store is read into a
// throwaway copy.
func (o *doctorOptions) reconciler(ctx context.Context) {
	c, err := reconcile.LoadConfig(o.config, builtin.Drivers())
	if err != nil {
		o.failed("settings", err)
		return
	}
	o.good("settings", "%s: reconciler %s", o.config, c.Name)
	o.stateFolder(c.State)
	o.stateCopy(ctx, c)
	o.stateMirror(ctx, filepath.Join(c.State, "store"))
	o.metrics(c.Metrics)
	signer, err := record.OpenKeyFile(c.Key, nil, o.app.Now)
	if err != nil {
		o.failed("key", err)
	} else {
		o.signs(ctx, signer)
	}
	dir, err := os.MkdirTemp("", "jit-doctor-")
	if err != nil {
		o.failed("store", err)
		return
	}
	defer os.RemoveAll(dir)
	rep, err := replica.Open(ctx, replica.Config{Dir: dir, URL: c.Store.URL, Identity: c.Store.Identity, Branch: c.Store.Branch,
		Transport: c.Store.Transport, Isolated: true, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		o.failed("store", err)
		return
	}
	defer rep.Close()
	o.store(ctx, rep, c.Store.URL)
	o.checkpoint(rep, filepath.Join(c.State, "store"))
	o.clock(rep, c.Name)
	p := rep.Ledger().Policies().Latest()
	if p == nil {
		return // the store could not be read, as said
	}
	o.reconcilerStanding(p, c, signer)
	o.freshness(rep.Ledger(), c.Name, signer, sortedKeys(c.Targets))
	for _, name := range sortedKeys(c.Targets) {
		o.target(ctx, p, c, name)
	}
}

// stateFolder checks that nobody else can change what the reconciler remembers.
func (o *doctorOptions) stateFolder(dir string) {
	err := reconcile.CheckStateFolder(dir)
	theirs, unsafe := errors.AsType[*reconcile.UnsafeError](err)
	switch {
	case unsafe:
		o.bad("state", theirs.Hint, "%q %s", theirs.Path, theirs.Detail)
	case errors.Is(err, fs.ErrNotExist):
		o.good("state", "%s will be made by the first run", dir)
	case err != nil:
		o.failed("state", err)
	default:
		o.good("state", "%s", dir)
	}
}

// stateCopy looks whether a run could use what it keeps there.
func (o *doctorOptions) stateCopy(ctx context.Context, c reconcile.Config) {
	for _, err := range reconcile.CheckCopy(ctx, c) {
		o.bad("copy", "give it to whom jit runs as, or delete it, for it is made again; but for the checkpoint and the journal, which a backup has", "%v", err)
	}
}

// stateMirror looks whether the reconciler's own copy of the history is whole. A run
// fetches the store again when it meets a hole; until then there may be one.
func (o *doctorOptions) stateMirror(ctx context.Context, dir string) {
	switch err := gitstore.CheckMirror(ctx, dir); {
	case errors.Is(err, gitstore.ErrIncomplete):
		path := filepath.Join(dir, "mirror.git")
		o.bad("mirror", "rm -r "+shellWord(path)+": the next run fetches it again, and holds it to the checkpoint beside it", "%s: %v", path, err)
	case err != nil:
		o.failed("mirror", err)
	default:
		o.good("mirror", "all of the history is there")
	}
}

// checkpoint looks whether the store's history, as it is shown now, holds what the runs have
// verified: the throwaway copy believes whatever it is shown.
func (o *doctorOptions) checkpoint(rep *replica.Replica, dir string) {
	const check = "verified"
	if head, _ := rep.Ledger().Head(); head == "" {
		return // the store could not be read, as said
	}
	verified, err := gitstore.CheckpointIn(dir)
	if err != nil {
		o.failed(check, err)
		return
	}
	if verified == "" {
		return // no run has verified anything
	}
	at, err := rep.Ledger().PositionOf(verified)
	switch {
	case err != nil:
		o.failed(check, err)
	case at == 0:
		o.bad(check, "where a merge put it aside, the next run heals that; else find out what the host has lost, and an admin runs: jit repair. Where that finds nothing to repair, no admin's machine has seen the commit: see docs/reconcile.md, A commit that only this machine has seen",
			"the last run had verified commit %s, and the history that the store shows does not contain it: nothing new opens", verified)
	default:
		o.good(check, "the store's history holds commit %s, which the last run had verified", verified)
	}
}

// metrics checks that there is a folder for them, which jit does not make: it is
// node_exporter's.
func (o *doctorOptions) metrics(path string) {
	if path == "" {
		return
	}
	dir := filepath.Dir(path)
	switch info, err := os.Stat(dir); {
	case err != nil:
		o.failed("metrics", err)
	case !info.IsDir():
		o.bad("metrics", "correct the configuration: metrics", "%s is no folder", dir)
	default:
		o.good("metrics", "%s", path)
	}
}

func (o *doctorOptions) reconcilerStanding(p *policy.Policy, c reconcile.Config, signer record.Signer) {
	r, ok := p.Reconciler(c.Name)
	if !ok {
		o.bad("policy", "ask an admin to run: jit admit "+c.Name+" --reconciler --resource NAME", "%+q is not a reconciler in the policy", c.Name)
		return
	}
	if signer != nil && !slices.Contains(r.Keys, signer.Fingerprint()) {
		o.bad("policy", "ask an admin to run: jit admit "+c.Name+" --reconciler --fingerprint "+string(signer.Fingerprint()), "the key %s is not this reconciler's in the policy", signer.Fingerprint())
		return
	}
	for _, name := range r.Resources {
		if _, ok := c.Targets[name]; !ok {
			o.warn("policy", "add it under targets, or leave it to another reconciler", "the policy gives this reconciler %+q, which its configuration does not name", name)
		}
	}
	o.good("policy", "reconciler %s, and its key counts", c.Name)
}

// target reaches one target.
func (o *doctorOptions) target(ctx context.Context, p *policy.Policy, c reconcile.Config, name string) {
	check := "target"
	res, ok := p.Resource(name)
	if !ok {
		o.bad(check, "correct the name, or remove it: known are the resources of jit policy show", "%s: the policy has no such resource", name)
		return
	}
	if !p.Reconciles(c.Name, name) {
		o.bad(check, "ask an admin to run: jit admit "+c.Name+" --reconciler --resource "+name, "%s: the policy does not give it to this reconciler", name)
		return
	}
	kind, ok := builtin.Drivers()[res.Driver]
	if !ok {
		o.bad(check, "use a driver that this version of jit has", "%s: driver %+q is not known", name, res.Driver)
		return
	}
	if err := reconcile.Sharing(c, p, builtin.Drivers())[name]; err != nil {
		o.bad(check, target.HintOf(err), "%s: %v", name, err)
		return
	}
	t := c.Targets[name]
	limit := t.Timeout.Duration
	if limit == 0 {
		limit = reconcile.DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	driver, err := kind.New(ctx, target.Config{Resource: name, Settings: t.Settings})
	if err != nil {
		o.bad(check, "correct its settings in "+o.config, "%s: %v", name, err)
		return
	}
	defer driver.Close()
	if err := driver.Ping(ctx); err != nil {
		o.bad(check, "see the driver's page in docs/targets.md", "%s: %v", name, err)
		return
	}
	o.good(check, "%s: reached (%s)", name, res.Driver)
}

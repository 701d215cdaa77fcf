package reconcile

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/jitaccess/jit/internal/storetest"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/target/builtin"
)

// The test program runs itself with these set: it then makes one run, and kills
// itself at the named point.
const (
	crashPoint  = "JIT_TEST_CRASH_AT"
	crashConfig = "JIT_TEST_CRASH_CONFIG"
)

func TestMain(m *testing.M) {
	point := os.Getenv(crashPoint)
	if point == "" {
		os.Exit(m.Run())
	}
	faultPoint = func(name string) {
		if name == point {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	var c Config
	if err := json.Unmarshal([]byte(os.Getenv(crashConfig)), &c); err != nil {
		panic(err)
	}
	res, err := Run(context.Background(), Options{Config: c, Drivers: builtin.Drivers()})
	fmt.Printf("%+v %v\n", res, err)
	os.Exit(0)
}

// host is a store, a real managed file, and a reconciler of it.
type host struct {
	t     *testing.T
	store *storetest.Store
	file  string
	key   string // bob's
	o     Options
}

func newHost(t *testing.T, now time.Time, change ...func(*policy.Body)) *host {
	t.Helper()
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	// An account that nobody on this machine has a session of: those would be told of.
	params := map[string]string{"account": "daemon", "options": "restrict"}
	if me.Uid != "0" {
		params["account"] = me.Username
	}
	h := &host{t: t, file: filepath.Join(t.TempDir(), "managed"), key: strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))}
	h.store = storetest.New(t, now, func(b *policy.Body) {
		b.Resources["host"] = policy.Resource{Driver: "authorized-keys", Roles: map[string]policy.Role{"shell": {Parameters: params}}}
		bob := b.People["bob"]
		bob.Accounts = map[string]string{"authorized-keys": h.key}
		b.People["bob"] = bob
		r := b.Reconcilers[storetest.Reconciler]
		r.Resources = []string{"host"}
		b.Reconcilers[storetest.Reconciler] = r
		for _, f := range change {
			f(b)
		}
	})
	h.o = Options{
		Config: Config{
			Name: storetest.Reconciler, Key: h.store.KeyFile(storetest.Reconciler), State: filepath.Join(t.TempDir(), "state"),
			Store:   StoreConfig{URL: h.store.URL, Identity: h.store.Identity},
			Targets: map[string]TargetConfig{"host": {Settings: map[string]string{"file": h.file}}},
		},
		Drivers: builtin.Drivers(), Now: h.store.Now, Signer: h.store.Signer(storetest.Reconciler),
	}
	return h
}

// crash makes a run in a process of its own, by the real clock, that dies at
// the point.
func (h *host) crash(point string) {
	h.t.Helper()
	config, err := json.Marshal(h.o.Config)
	if err != nil {
		h.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), crashPoint+"="+point, crashConfig+"="+string(config))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL || ctx.Err() != nil {
		h.t.Fatalf("the run did not die at %q: %v\n%s", point, err, out)
	}
}

// run makes a run in this process, by the store's clock.
func (h *host) run() Result {
	h.t.Helper()
	res, err := Run(h.t.Context(), h.o)
	if err != nil || res.Failed > 0 || len(res.Problems) > 0 || res.SyncErr != nil || len(res.Drift) > 0 || res.ReceiptsOwed > 0 {
		h.t.Fatalf("the run is not clean: %+v, %v", res, err)
	}
	return res
}

// open counts the lines of jit in the managed file.
func (h *host) open() int {
	h.t.Helper()
	data, err := os.ReadFile(h.file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.t.Fatal(err)
	}
	return strings.Count(string(data), "ssh-ed25519 ")
}

func (h *host) wantOpen(n int, when string) {
	h.t.Helper()
	if got := h.open(); got != n {
		h.t.Fatalf("%s: %d lines in the file, want %d", when, got, n)
	}
}

// wantQuiet makes a run that must find nothing to do, and make no commit.
func (h *host) wantQuiet() {
	h.t.Helper()
	commits := h.store.Commits()
	if res := h.run(); len(res.Changes) > 0 || h.store.Commits() != commits {
		h.t.Fatalf("the run after that still had something to do: %+v", res)
	}
}

func TestKilledWhileOpening(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"planned", "intended", "granted", "checked", "opened", "prepared", "submitted", "sent"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			h := newHost(t, now.Add(-10*time.Minute))
			r := h.store.Granted("bob", time.Hour, "host:shell")
			h.crash(point)
			if n := h.open(); n > 1 {
				t.Fatalf("%d lines", n)
			}
			h.store.Set(time.Now())
			h.run()
			h.wantOpen(1, "after the next run")
			h.wantReceipts(r.ID.Short(), "applied")
			h.wantQuiet()
			h.store.Set(now.Add(50 * time.Minute))
			h.run()
			h.wantOpen(0, "after the end")
			h.wantReceipts(r.ID.Short(), "applied, ended")
			h.wantQuiet()
		})
	}
}

func TestKilledWhileOpeningAndNextRunAfterTheEnd(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"intended", "granted", "checked", "opened"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			h := newHost(t, now.Add(-10*time.Minute))
			h.store.Granted("bob", time.Hour, "host:shell")
			h.crash(point)
			h.store.Set(now.Add(50 * time.Minute))
			h.run()
			h.wantOpen(0, "after the end")
			h.wantQuiet()
		})
	}
}

func TestKilledWhileEnding(t *testing.T) {
	t.Parallel()
	for _, point := range []string{"ending", "revoked", "ended", "prepared", "submitted", "sent"} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			h := newHost(t, now.Add(-35*time.Minute))
			r := h.store.Granted("bob", 30*time.Minute, "host:shell")
			h.run()
			h.wantOpen(1, "while it is open")
			h.crash(point)
			h.store.Set(time.Now())
			h.run()
			h.wantOpen(0, "after the next run")
			h.wantReceipts(r.ID.Short(), "applied, ended")
			h.wantQuiet()
		})
	}
}

// wantReceipts compares the outcomes of the one request.
func (h *host) wantReceipts(short, want string) {
	h.t.Helper()
	found, err := h.store.Machine.Ledger().Lookup(strings.ToLower(short))
	if err != nil || len(found) == 0 {
		h.t.Fatal("no such request", err)
	}
	var got []string
	for _, p := range h.store.Entry(found[0].ID).Receipts {
		got = append(got, string(p.Record.Outcome))
	}
	if strings.Join(got, ", ") != want {
		h.t.Fatalf("receipts %q, want %q", strings.Join(got, ", "), want)
	}
}

package replica_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/replica"
)

// shortTimeout is for runs that are meant to wait in vain. A run that is healthy
// and yet takes longer fails as one that is stalled does, which is checked alike.
const shortTimeout = 3 * time.Second

// TestBrokenLine: the line to the remote is cut, stalls or carries garbage at
// many places of a fetch and of a push. What was signed is kept, the checkpoint
// holds, and once the line is whole the record is there, once.
func TestBrokenLine(t *testing.T) {
	var rows []string
	var mu sync.Mutex
	t.Run("all", func(t *testing.T) {
		for _, via := range []struct {
			name      string
			transport gitstore.Transport
			ssh       bool
			points    int
		}{{"ssh", gitstore.Builtin, true, 3}, {"http", gitstore.Builtin, false, 3}, {"ssh by git", gitstore.Git, true, 1}, {"http by git", gitstore.Git, false, 1}} {
			t.Run(via.name, func(t *testing.T) {
				t.Parallel()
				w := newWorldAt(t, time.Now())
				b := &brokenLine{world: w, name: via.name, home: t.TempDir(), points: via.points}
				b.config = replica.Config{URL: w.url, Identity: w.identity, Transport: via.transport, Isolated: true, Now: w.clock}
				if via.ssh {
					d := testenv.StartSSHD(t, testenv.SSHDOptions{HideAuthInfo: true})
					b.line = testenv.StartLine(t, d.Addr)
					host, port, _ := strings.Cut(b.line.Addr, ":")
					known := filepath.Join(t.TempDir(), "known_hosts")
					w.must(os.WriteFile(known, fmt.Appendf(nil, "[%s]:%s %s\n", host, port, d.HostKey), 0o600))
					b.config.URL = "ssh://" + d.User + "@" + b.line.Addr + w.url
					b.config.SSH = gitstore.SSHOptions{KnownHosts: []string{known}, IdentityFile: d.ClientKey}
				} else {
					u, err := url.Parse(testenv.StartGitHTTP(t, filepath.Dir(w.url), testenv.GitHTTPOptions{}))
					w.must(err)
					b.line = testenv.StartLine(t, u.Host)
					b.config.URL = "http://" + b.line.Addr + "/" + filepath.Base(w.url)
				}
				found := b.all()
				mu.Lock()
				defer mu.Unlock()
				rows = append(rows, found...)
			})
		}
	})
	slices.Sort(rows)
	t.Logf("%d runs\n%-44s %-10s %s\n%s", len(rows), "POINT", "FAULT", "RESULT", strings.Join(rows, "\n"))
}

func (w *world) clock() time.Time { return w.now }

type brokenLine struct {
	*world
	name string
	home string
	// points are how many places of a conversation are hit in each direction.
	points int
	line   *testenv.Line
	config replica.Config
}

// copied opens a copy through the line.
func (b *brokenLine) copied(dir string, timeout time.Duration) *replica.Replica {
	b.t.Helper()
	c := b.config
	c.Dir, c.Timeout = dir, timeout
	r, err := replica.Open(context.Background(), c)
	b.must(err)
	return r
}

// all breaks the line in every way and gives a row for each run.
func (b *brokenLine) all() (rows []string) {
	b.t.Helper()
	other := b.machine()
	r := b.copied(b.home, 0)
	b.sync(r)
	// Without a fault, to learn how long a conversation is.
	b.ask(other)
	b.line.Set(testenv.Fault{})
	b.sync(r)
	fetchUp, fetchDown := b.line.Carried()
	b.line.Set(testenv.Fault{})
	b.ask(r)
	pushUp, pushDown := b.line.Carried()
	b.must(r.Close())

	type fault struct {
		name string
		at   testenv.Fault
		of   int64
	}
	spread := func(up, down int64, last int) (all []fault) {
		for part := range last {
			at := func(n int64) int64 { return 1 + n*int64(2*part+1)/int64(2*last) }
			all = append(all, fault{"cut", testenv.Fault{Up: at(up)}, up}, fault{"cut", testenv.Fault{Down: at(down)}, down},
				fault{"garbage", testenv.Fault{Down: at(down), Garble: true}, down})
		}
		return append(all, fault{"stalled", testenv.Fault{Down: down / 2, Stall: true}, down}, fault{"stalled", testenv.Fault{Up: up - up/8, Stall: true}, up})
	}
	for _, f := range spread(fetchUp, fetchDown, b.points) {
		b.ask(other)
		rows = append(rows, b.row("fetch", f.name, f.at, f.of, func(r *replica.Replica) string { return b.brokenFetch(r, f.at) }))
	}
	for _, f := range spread(pushUp, pushDown, b.points) {
		rows = append(rows, b.row("push", f.name, f.at, f.of, func(r *replica.Replica) string { return b.brokenPush(r, f.at) }))
	}
	return rows
}

func (b *brokenLine) row(op, name string, at testenv.Fault, of int64, run func(r *replica.Replica) string) string {
	b.t.Helper()
	r := b.copied(b.home, shortTimeout)
	result := run(r)
	b.must(r.Close())
	where := fmt.Sprintf("to the server, byte %d of %d", at.Up, of)
	if at.Up == 0 {
		where = fmt.Sprintf("from the server, byte %d of %d", at.Down, of)
	}
	return fmt.Sprintf("%-44s %-10s %s", b.name+" "+op+": "+where, name, result)
}

// unusable wants an error that says that the remote is the cause.
func (b *brokenLine) unusable(err error) string {
	b.t.Helper()
	for _, k := range []struct {
		err  error
		word string
	}{{gitstore.ErrHostKey, "host key"}, {gitstore.ErrAuth, "access denied"}, {gitstore.ErrUnreachable, "unreachable"},
		{gitstore.ErrBadRemote, "unusable"}, {gitstore.ErrRefused, "refused"}} {
		if errors.Is(err, k.err) {
			return k.word
		}
	}
	b.t.Errorf("%s: no word of the remote: %v", b.name, err)
	return "?"
}

func (b *brokenLine) brokenFetch(r *replica.Replica, f testenv.Fault) string {
	b.t.Helper()
	before, checkpoint := b.export(r), b.checkpoint(r)
	b.line.Set(f)
	_, err := r.Sync(context.Background())
	b.line.Set(testenv.Fault{})
	result := "brought it all the same"
	if err != nil {
		result = b.unusable(err)
		if b.export(r) != before || b.checkpoint(r) != checkpoint {
			b.t.Errorf("%s: a fetch that failed moved the ledger or the checkpoint: %v", b.name, err)
		}
	}
	b.same(result)
	return result + "; the next is clean"
}

// same wants a next run that brings all.
func (b *brokenLine) same(when string) {
	b.t.Helper()
	r := b.copied(b.home, 0)
	defer func() { b.must(r.Close()) }()
	if report := b.sync(r); report.Waiting > 0 || report.Refused > 0 {
		b.t.Errorf("%s: %s: the next run: %+v", b.name, when, report)
	}
	if tip := b.git(b.url, "rev-parse", "main"); string(b.checkpoint(r)) != tip {
		b.t.Errorf("%s: %s: the checkpoint is not the head after the next run", b.name, when)
	}
	if aside, err := r.Ledger().SetAside(); err != nil || len(aside) > 0 {
		b.t.Errorf("%s: %s: %+v %v", b.name, when, aside, err)
	}
}

func (b *brokenLine) brokenPush(r *replica.Replica, f testenv.Fault) string {
	b.t.Helper()
	out, req := b.request(r, "bob")
	before := b.git(b.url, "rev-list", "--count", "main")
	b.line.Set(f)
	res, err := r.Submit(context.Background(), replica.Message{Subject: "bob asks"}, out)
	b.line.Set(testenv.Fault{})
	result := "sent"
	switch {
	case err != nil:
		b.t.Errorf("%s: %v", b.name, err)
	case res.Spooled:
		result = b.unusable(res.Cause) + ", waits"
	}
	b.same(result)
	after := b.git(b.url, "rev-list", "--count", "main")
	var n, m int
	_, err = fmt.Sscan(before+" "+after, &n, &m)
	b.must(err)
	if m != n+1 {
		b.t.Errorf("%s: %s: %d commits for one record", b.name, result, m-n)
	}
	if _, err := b.machine().Ledger().Request(req.ID, b.now); err != nil {
		b.t.Errorf("%s: %s: it is lost: %v", b.name, result, err)
	}
	return result + "; the next is clean"
}

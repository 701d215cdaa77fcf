package replica_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/request"
)

// TestMain lets the tests run this binary again as one of many writers.
func TestMain(m *testing.M) {
	if job := os.Getenv("JIT_TEST_WRITER"); job != "" {
		if err := writer(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const writers = 16

// fairness is how many times the median append the slowest may take.
const fairness = 5

// job is what a writer is told: the store, and whose key to sign with.
type job struct {
	Dir, URL, By, Key string
	Records           int
	Store             record.StoreID
	Transport         gitstore.Transport
	SSH               gitstore.SSHOptions
}

func (j job) open(ctx context.Context) (*replica.Replica, error) {
	return replica.Open(ctx, replica.Config{Dir: j.Dir, URL: j.URL, Identity: j.Store, Transport: j.Transport, SSH: j.SSH, Isolated: true})
}

// writer makes requests from a copy of its own, and prints a line for each: its
// id and how long the sending took.
func writer(text string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var j job
	if err := json.Unmarshal([]byte(text), &j); err != nil {
		return err
	}
	signer, err := record.OpenKeyFile(j.Key, nil, time.Now)
	if err != nil {
		return err
	}
	r, err := j.open(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if e := r.Close(); err == nil {
			err = e
		}
	}()
	if _, err := r.Sync(ctx); err != nil {
		return err
	}
	// All are ready before any begins: starting is not what is measured.
	fmt.Println("ready")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	for range j.Records {
		now := time.Now()
		h, err := r.NewHead(record.KindRequest, j.By, now)
		if err != nil {
			return err
		}
		req := request.Request{Head: h, Grants: []request.Grant{{Resource: "db", Role: "read"}}, Duration: record.Duration{Duration: time.Hour},
			Reason: "look at orders", Expires: record.At(now.Add(time.Hour))}
		out, err := r.Prepare(ctx, signer, req, now, "", false)
		if err != nil {
			return err
		}
		begun := time.Now()
		res, err := r.Submit(ctx, replica.Message{Subject: j.By + " asks"}, out)
		if err != nil || res.Spooled {
			return fmt.Errorf("%+v: %w", res, err)
		}
		fmt.Println(h.ID, time.Since(begun).Microseconds())
	}
	return nil
}

var recordsOfAWriter = flag.Int("records", 1, "how many records a writer of TestManyWriters appends; tools/contention takes 20")

// TestManyWriters: processes with copies of their own append through one remote
// at once. Each record is there, once, and nobody starves. The git program, which
// starts several processes for each try, has a share of the records only.
func TestManyWriters(t *testing.T) {
	each := *recordsOfAWriter
	for _, via := range []struct {
		name      string
		transport gitstore.Transport
		records   int
		serve     func(w *world) (url string, ssh gitstore.SSHOptions)
	}{
		{"path", gitstore.Builtin, each, (*world).servePath},
		{"ssh", gitstore.Builtin, each, (*world).serveSSH},
		{"ssh by git", gitstore.Git, max(each/5, 1), (*world).serveSSH},
		{"http", gitstore.Builtin, each, (*world).serveHTTP},
	} {
		t.Run(via.name, func(t *testing.T) {
			w := newWorldAt(t, time.Now())
			j := job{Store: w.identity, Transport: via.transport, Records: via.records}
			j.URL, j.SSH = via.serve(w)
			took := w.writeAll(j)
			w.wantEachOnce(took, writers*via.records)
			var times []time.Duration
			for _, d := range took {
				times = append(times, d)
			}
			slices.Sort(times)
			median, slowest := times[len(times)/2], times[len(times)-1]
			ratio := float64(slowest) / float64(median)
			t.Logf("%s: %d writers x %d records, each there once; median %v, slowest %v, ratio %.1f",
				via.name, writers, via.records, median.Round(time.Millisecond), slowest.Round(time.Millisecond), ratio)
			if ratio > fairness {
				t.Errorf("the slowest took %.1f times the median, more than %d: %v", ratio, fairness, times[max(0, len(times)-20):])
			}
		})
	}
}

func (w *world) servePath() (string, gitstore.SSHOptions) { return w.url, gitstore.SSHOptions{} }

func (w *world) serveHTTP() (string, gitstore.SSHOptions) {
	w.t.Helper()
	dir, name := filepath.Split(w.url)
	return testenv.StartGitHTTP(w.t, dir, testenv.GitHTTPOptions{}) + "/" + name, gitstore.SSHOptions{}
}

func (w *world) serveSSH() (string, gitstore.SSHOptions) {
	w.t.Helper()
	s := testenv.StartSSHD(w.t, testenv.SSHDOptions{HideAuthInfo: true})
	return "ssh://" + s.User + "@" + s.Addr + w.url, gitstore.SSHOptions{KnownHosts: []string{s.KnownHosts}, IdentityFile: s.ClientKey}
}

// writeAll lets the writers do their job, all at once, and gives how long each
// record took.
func (w *world) writeAll(j job) map[record.ID]time.Duration {
	w.t.Helper()
	self, err := os.Executable()
	w.must(err)
	type process struct {
		*exec.Cmd
		start func()
		lines *bufio.Scanner
		talk  *bytes.Buffer
	}
	var all []process
	for i := range writers {
		// More than one person: what waits of each has a bound.
		j.Dir, j.By = w.t.TempDir(), []string{"alice", "bob"}[i%2]
		j.Key = filepath.Join(j.Dir, "key.asc")
		w.must(os.WriteFile(j.Key, w.secrets[j.By], 0o600))
		text, err := json.Marshal(j)
		w.must(err)
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "JIT_TEST_WRITER="+string(text))
		talk := &bytes.Buffer{}
		cmd.Stderr = talk
		in, err := cmd.StdinPipe()
		w.must(err)
		out, err := cmd.StdoutPipe()
		w.must(err)
		w.must(cmd.Start())
		w.t.Cleanup(func() {
			if cmd.ProcessState == nil {
				_ = cmd.Process.Kill() // this test failed before it ended
				_ = cmd.Wait()
			}
		})
		all = append(all, process{cmd, func() { _ = in.Close() }, bufio.NewScanner(out), talk})
	}
	for _, p := range all {
		if !p.lines.Scan() {
			w.t.Fatalf("a writer did not get ready: %v\n%s", p.Wait(), p.talk)
		}
	}
	for _, p := range all {
		p.start()
	}
	took := map[record.ID]time.Duration{}
	for i, p := range all {
		for p.lines.Scan() {
			id, text, _ := strings.Cut(p.lines.Text(), " ")
			d, err := time.ParseDuration(text + "us")
			w.must(err)
			took[record.ID(id)] = d
		}
		if err := p.Wait(); err != nil {
			w.t.Errorf("writer %d: %v\n%s", i, err, p.talk)
		}
	}
	return took
}

func (w *world) wantEachOnce(took map[record.ID]time.Duration, want int) {
	w.t.Helper()
	r := w.machine()
	refs, err := r.Ledger().AllRecords()
	w.must(err)
	found := 0
	for _, ref := range refs {
		if _, ok := took[ref.ID]; ok && ref.Kind == record.KindRequest {
			found++
		}
	}
	if found != want || len(took) != want || len(refs) != 1+want {
		w.t.Fatalf("%d of %d requests are there; %d records in all, %d said to be sent", found, want, len(refs), len(took))
	}
	if aside, err := r.Ledger().SetAside(); err != nil || len(aside) > 0 {
		w.t.Errorf("%+v %v", aside, err)
	}
}

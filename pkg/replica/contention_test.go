package replica_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/request"
)

// TestMain lets the tests run this binary again as one of many writers.
func TestMain(m *testing.M) {
	if os.Getenv("JIT_TEST_WRITER") != "" {
		if err := writer(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const writers = 16

// writer makes requests from a copy of its own.
func writer() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	signer, err := record.OpenKeyFile(os.Getenv("JIT_TEST_KEY"), nil)
	if err != nil {
		return err
	}
	r, err := replica.Open(ctx, replica.Config{Dir: os.Getenv("JIT_TEST_WRITER"), URL: os.Getenv("JIT_TEST_URL"), Identity: record.StoreID(os.Getenv("JIT_TEST_STORE"))})
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
	for range each {
		now := time.Now()
		h, err := r.NewHead(record.KindRequest, "bob", now)
		if err != nil {
			return err
		}
		req := request.Request{Head: h, Grants: []request.Grant{{Resource: "db", Role: "read"}}, Duration: record.Duration{Duration: time.Hour},
			Reason: "look at orders", Expires: record.At(now.Add(time.Hour))}
		out, err := r.Prepare(ctx, signer, req, now, "", false)
		if err != nil {
			return err
		}
		res, err := r.Submit(ctx, replica.Message{Subject: "bob asks"}, out)
		if err != nil || res.Spooled {
			return fmt.Errorf("%+v: %w", res, err)
		}
		fmt.Println(h.ID)
	}
	return nil
}

// TestManyWriters: processes with copies of their own append through one remote
// at once. Each record is there, once.
func TestManyWriters(t *testing.T) {
	w := newWorldAt(t, time.Now())
	key := t.TempDir() + "/bob.asc"
	w.must(os.WriteFile(key, w.secrets["bob"], 0o600))
	self, err := os.Executable()
	w.must(err)
	var running []*exec.Cmd
	outs := make([]bytes.Buffer, writers)
	for i := range writers {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "JIT_TEST_WRITER="+t.TempDir(), "JIT_TEST_URL="+w.url, "JIT_TEST_STORE="+string(w.identity), "JIT_TEST_KEY="+key)
		cmd.Stdout, cmd.Stderr = &outs[i], &outs[i]
		w.must(cmd.Start())
		running = append(running, cmd)
		t.Cleanup(func() {
			if cmd.ProcessState == nil {
				_ = cmd.Process.Kill() // this test failed before it ended
				_ = cmd.Wait()
			}
		})
	}
	want := map[string]bool{}
	for i, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Errorf("writer %d: %v\n%s", i, err, outs[i].String())
		}
		for _, id := range bytes.Fields(outs[i].Bytes()) {
			want[string(id)] = true
		}
	}
	r := w.machine()
	refs, err := r.Ledger().AllRecords()
	w.must(err)
	found := 0
	for _, ref := range refs {
		if ref.Kind == record.KindRequest && want[string(ref.ID)] {
			found++
		}
	}
	if found != writers*each || len(want) != writers*each || len(refs) != 1+writers*each {
		t.Errorf("%d of %d requests are there; %d records in all, %d said to be sent", found, writers*each, len(refs), len(want))
	}
	if aside, err := r.Ledger().SetAside(); err != nil || len(aside) > 0 {
		t.Errorf("%+v %v", aside, err)
	}
}

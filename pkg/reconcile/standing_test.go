package reconcile

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/receipt"
)

// leftAlone is what is said of access that is there by other means, and was not before.
const leftAlone = "jit knows of none from before it opened it"

// TestGivenByAnotherHand: what was not there when jit opened it is not said to have been
// there before. It is left, for it may be somebody's own, and told of.
func TestGivenByAnotherHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.store.Granted("bob", time.Hour, "db:read")
	w.run(0)
	w.targets["db"].foreign["bob/readers"] = true
	w.at(time.Hour)
	res := w.run(6)
	if e := res.Changes[0].Ending; e.Standing || len(e.Left) != 1 || !strings.Contains(e.Left[0], leftAlone) {
		t.Errorf("%+v", e)
	}
	w.wantAccess("bob", "readers", true)
	for _, p := range w.store.Entry(r.ID).Receipts {
		if rec := p.Record; rec.Standing || rec.Outcome == receipt.Ended && !strings.Contains(strings.Join(rec.Left, "\n"), leftAlone) {
			t.Errorf("%+v", rec)
		}
	}
	w.run(0)
}

// TestEditedLines: what another hand does to jit's line in a real file, while it is open.
func TestEditedLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// before makes the file before jit opens, edit changes it afterwards.
		before, edit   func(line string) string
		left, standing bool
	}{
		{name: "the mark is taken away", edit: func(l string) string { return l[:strings.LastIndex(l, " jit:")] + "\n" }},
		{name: "another comment", edit: func(l string) string { return l[:strings.LastIndex(l, " jit:")] + " bob@home\n" }},
		{name: "the end is changed, and the mark stays", edit: func(l string) string { return expiryInLine.ReplaceAllString(l, `expiry-time="20990101000000Z"`) }},
		{name: "the end is changed, and the mark taken away", left: true, edit: func(l string) string {
			return expiryInLine.ReplaceAllString(l[:strings.LastIndex(l, " jit:")], `expiry-time="20990101000000Z"`) + "\n"
		}},
		{name: "nothing but the key is left", left: true, edit: func(l string) string {
			l = l[strings.Index(l, "ssh-ed25519"):]
			return l[:strings.LastIndex(l, " jit:")] + "\n"
		}},
		{name: "the key was there before", standing: true, before: func(key string) string { return key + " bob@home\n" }, edit: func(l string) string { return l }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHost(t, time.Now().UTC().Truncate(time.Second))
			own := ""
			if c.before != nil {
				own = c.before(h.key)
				if err := os.WriteFile(h.file, []byte(own), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			h.store.Granted("bob", time.Hour, "host:shell")
			run := func() Result {
				t.Helper()
				res, err := Run(t.Context(), h.o)
				if err != nil {
					t.Fatal(err)
				}
				return res
			}
			if res := run(); res.Opened != 1 || res.Changes[0].Grant.Standing != c.standing {
				t.Fatalf("%+v", res)
			}
			data, err := os.ReadFile(h.file)
			if err != nil {
				t.Fatal(err)
			}
			edited := c.edit(string(data))
			if err := os.WriteFile(h.file, []byte(edited), 0o600); err != nil {
				t.Fatal(err)
			}
			run() // it may give back what has gone
			h.store.Set(h.store.Now().Add(time.Hour))
			want := own
			if c.left {
				want = edited
			}
			// Sessions of the account that other tests have opened are told of as well.
			res := run()
			e := res.Changes[0].Ending
			if e.Standing != c.standing || strings.Contains(strings.Join(e.Left, "\n"), leftAlone) != c.left || c.left && res.ExitCode() != 6 {
				t.Errorf("exit code %d: %+v", res.ExitCode(), e)
			}
			if got, err := os.ReadFile(h.file); err != nil || string(got) != want {
				t.Errorf("the file is %q, want %q (%v)", got, want, err)
			}
		})
	}
}

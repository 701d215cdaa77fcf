package reconcile

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/target"
)

func (w *world) journalPath() string { return filepath.Join(w.o.Config.State, "journal.jsonl") }

func (w *world) writeJournal(data []byte) {
	w.t.Helper()
	if err := os.WriteFile(w.journalPath(), data, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// Not parallel: it changes a variable of the package.
func TestJournalThatCannotBeWritten(t *testing.T) {
	w := newWorld(t)
	w.store.Granted("bob", time.Hour, "db:read")
	w.run(0)
	w.store.Granted("carol", 2*time.Hour, "db:write")
	w.at(time.Hour)
	real := openAppend
	t.Cleanup(func() { openAppend = real })
	for _, c := range []struct {
		name string
		open func(string) (*os.File, error)
	}{
		{"not opened", func(string) (*os.File, error) { return nil, errTest }},
		{"takes no bytes", func(path string) (*os.File, error) { return os.Open(path) }},
	} {
		openAppend = c.open
		w.targets["db"].members["bob/readers"] = true
		res := w.run(6)
		w.wantAccess("bob", "readers", false)
		w.wantAccess("carol", "writers", false)
		if c.name == "not opened" && !strings.Contains(fmt.Sprint(res.Problems), "journal cannot be written") {
			t.Errorf("%s: problems %v", c.name, res.Problems)
		}
	}
	openAppend = real
	w.run(0)
	w.wantAccess("carol", "writers", true)
	w.run(0)
	w.want()
}

func TestDamagedJournal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		damage func(lines [][]byte) [][]byte
	}{
		{"torn end", func(l [][]byte) [][]byte { n := len(l) - 1; l[n] = l[n][:len(l[n])/2]; return l }},
		{"a bit flipped in what was intended", func(l [][]byte) [][]byte {
			for i := range l {
				if bytes.Contains(l[i], []byte(`"intended"`)) {
					l[i] = bytes.Replace(l[i], []byte("T10:00"), []byte("T11:00"), 1)
				}
			}
			return l
		}},
		{"garbage", func(l [][]byte) [][]byte {
			return append([][]byte{[]byte("\x00\xff{"), []byte(`{"sum":"","event":{}}`)}, l...)
		}},
		{"all of it", func([][]byte) [][]byte { return [][]byte{[]byte("?")} }},
		{"emptied", func([][]byte) [][]byte { return nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.store.Granted("bob", time.Hour, "db:read")
			w.run(0)
			w.targets["db"].traces = map[string]target.Grant{} // nothing to see but the membership
			lines := bytes.Split(bytes.TrimSpace([]byte(w.readJournal())), []byte("\n"))
			w.writeJournal(bytes.Join(c.damage(lines), []byte("\n")))
			w.at(time.Hour)
			code := 6
			if c.name == "emptied" {
				code = 0 // nothing tells that it is not new
			}
			w.run(code)
			w.wantAccess("bob", "readers", false)
			if _, err := os.Stat(w.journalPath() + ".damaged"); (err == nil) != (code == 6) {
				t.Error(err)
			}
			w.run(0)
			w.want()
			w.wantReceipts(r.ID, "applied db:read", "ended db:read expired")
		})
	}
}

func TestLostJournal(t *testing.T) {
	t.Parallel()
	for _, traces := range []bool{true, false} {
		w := newWorld(t)
		r := w.store.Granted("bob", time.Hour, "db:read")
		w.store.Granted("carol", 2*time.Hour, "db:write")
		w.run(0)
		if err := os.Remove(w.journalPath()); err != nil {
			t.Fatal(err)
		}
		if !traces {
			w.targets["db"].traces = map[string]target.Grant{}
		}
		w.at(time.Hour)
		w.run(0)
		w.wantAccess("bob", "readers", false)
		w.wantAccess("carol", "writers", true)
		w.wantReceipts(r.ID, "applied db:read", "ended db:read expired")
		w.at(2 * time.Hour)
		w.run(0)
		w.wantAccess("carol", "writers", false)
		w.run(0)
		w.want()
	}
}

func TestUnreadableJournal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.store.Granted("bob", time.Hour, "db:read")
	w.run(0)
	if err := os.Rename(w.journalPath(), w.journalPath()+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(w.journalPath(), 0o700); err != nil {
		t.Fatal(err)
	}
	w.store.Granted("carol", 2*time.Hour, "db:write")
	w.at(time.Hour)
	w.run(6)
	w.wantAccess("bob", "readers", false) // the receipts said where to look
	w.wantAccess("carol", "writers", false)
}

func TestCompactKeepsWhatMatters(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	j, fresh, damage := openJournal(path, nil)
	if !fresh || damage != nil {
		t.Fatal(fresh, damage)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(j.record(event{At: start, Kind: began}))
	ids := []string{"01JDZZZZZZZZZZZZZZZZZZZZZA-0", "01JDZZZZZZZZZZZZZZZZZZZZZB-0"}
	for _, id := range ids {
		must(j.record(event{At: start, Kind: intended, Grant: id, Standing: true, Wish: &wish{Driver: "fake",
			Grant: target.Grant{ID: id, Person: "bob", Params: map[string]string{"grant": "r"}, Ends: start}}}))
		must(j.record(event{At: start, Kind: opened, Grant: id}))
	}
	must(j.record(event{At: start, Kind: ended, Grant: ids[0], Cause: "expired"}))
	if err := j.record(event{At: start, Kind: opened, Grant: "01JDZZZZZZZZZZZZZZZZZZZZZC-0"}); err == nil {
		t.Error("an event of an unknown grant was taken")
	}
	must(j.compact(1000, func(k *kept) bool { return k.stage == over }))
	if k := j.state.find(ids[0]); k == nil {
		t.Fatal("compacted for too little")
	}
	must(j.compact(1, func(k *kept) bool { return k.stage == over }))
	must(j.record(event{At: start, Kind: sent, Grant: ids[1], For: []int{5}}))
	must(j.close())
	again, fresh, damage := openJournal(path, nil)
	defer again.close()
	k := again.state.find(ids[1])
	if fresh || len(damage) > 0 && !strings.Contains(damage[0].Error(), "did not come up") || k == nil ||
		k.stage != open || !k.standing || len(k.owed) != 0 || k.Grant.Params["grant"] != "r" || again.state.find(ids[0]) != nil {
		t.Fatalf("%v %v %+v", fresh, damage, k)
	}
}

func FuzzJournal(f *testing.F) {
	line, err := seal(event{N: 1, At: start, Kind: intended, Grant: "01JDZZZZZZZZZZZZZZZZZZZZZA-0",
		Wish: &wish{Grant: target.Grant{ID: "01JDZZZZZZZZZZZZZZZZZZZZZA-0"}}})
	if err != nil {
		f.Fatal(err)
	}
	next, err := seal(event{N: 2, At: start, Kind: sent, Grant: "01JDZZZZZZZZZZZZZZZZZZZZZA-0", For: []int{1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(line, next...))
	f.Add([]byte(`{"sum":"44136fa355b3678a","event":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		j := &journal{state: journalState{grants: map[string]*kept{}}}
		damage := j.load(data)
		if len(damage) != len(j.damaged) || len(damage) > j.lines {
			t.Errorf("%d complaints, %d damaged lines of %d", len(damage), len(j.damaged), j.lines)
		}
	})
}

package replica

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// FuzzSpool reads a file of the spool. What is read is written as the same, and a
// damaged one says which file to look at; the time of the last answer likewise is one
// or none.
func FuzzSpool(f *testing.F) {
	good, err := json.Marshal(submission{ID: "01JDF3YH0G5C8M2Q4R6T8V0W1X", Subject: "bob asks", Trailers: [][2]string{{"Jit-By", "bob"}}, When: time.Unix(1764000000, 0).UTC()})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{string(good), string(good[:20]), "", "{}", "null", `{"Files":[{"Path":"../x","Data":"!"}]}`, "1764000000\n", "-1"} {
		f.Add([]byte(s))
	}
	r := &Replica{config: Config{Dir: f.TempDir()}}
	if err := os.MkdirAll(r.spoolDir(), 0o700); err != nil {
		f.Fatal(err)
	}
	name := filepath.Join(r.spoolDir(), "x.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, path := range []string{name, filepath.Join(r.config.Dir, "fetched")} {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if at := r.Freshness(); !at.IsZero() && at.Location() != time.UTC {
			t.Error(at)
		}
		all, err := r.spooled()
		if err != nil {
			if len(all) != 0 {
				t.Errorf("%v, and %d files", err, len(all))
			}
			return
		}
		first, err := json.Marshal(all[0])
		if err != nil {
			return // a time that JSON cannot hold
		}
		var again submission
		if err := json.Unmarshal(first, &again); err != nil {
			t.Fatal(err)
		}
		if second, err := json.Marshal(again); err != nil || string(second) != string(first) || all[0].name != name {
			t.Errorf("%s, then %s: %v", first, second, err)
		}
	})
}

package vectors

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"

	"github.com/jitaccess/jit/pkg/record"
)

const folder = "../../testdata/vectors"

// TestVectorsAreMadeAgain: the program makes what is in the folder, byte for byte, and
// there is nothing else.
func TestVectorsAreMadeAgain(t *testing.T) {
	files, err := Make()
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range files {
		if have, err := os.ReadFile(filepath.Join(folder, path)); err != nil || string(have) != string(want) {
			t.Errorf("%s is another (%v): go generate ./internal/vectors", path, err)
		}
	}
	err = filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		path, err := filepath.Rel(folder, name)
		if files[filepath.ToSlash(path)] == nil && path != "README.md" {
			t.Errorf("nothing makes %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// jit judges as a ledger does: every certificate by itself, then the record.
func jit(data, sig, certificate []byte) (by record.Verified, reason record.Reason) {
	c, err := record.ParseCertificate(certificate)
	if err != nil {
		return record.Verified{}, record.ReasonOf(err)
	}
	ring, err := record.NewKeyring(c)
	if err != nil {
		return record.Verified{}, record.ReasonOf(err)
	}
	v, err := ring.Verify(data, sig)
	if err != nil && record.ReasonOf(err) == "" {
		return record.Verified{}, "no reason"
	}
	return v, record.ReasonOf(err)
}

// TestVectors has each vector judged by pkg/record and by gpg, from the files alone, as
// another implementation would.
func TestVectors(t *testing.T) {
	read := func(path string) []byte {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(path)))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	var m Manifest
	if err := json.Unmarshal(read("manifest.json"), &m); err != nil {
		t.Fatal(err)
	}
	g := newJudge(t)
	rings := map[string]string{}
	for _, v := range m.Vectors {
		if rings[v.Certificate] == "" {
			rings[v.Certificate] = g.keyring(t, read(v.Certificate))
		}
	}
	reasons := map[string]int{}
	var all sync.WaitGroup
	turns := make(chan bool, 2)
	for _, v := range m.Vectors {
		data, sig := read(v.Record), read(v.Signature)
		_, reason := jit(data, sig, read(v.Certificate))
		got := string(reason)
		if got == "" {
			got = "ok"
		}
		reasons[got]++
		if got != v.Expect {
			t.Errorf("%s: jit says %s, want %s", v.Name, got, v.Expect)
		}
		turns <- true
		all.Go(func() {
			defer func() { <-turns }()
			says, _ := g.verify(t, rings[v.Certificate], data, sig)
			if says != v.GPG {
				t.Errorf("%s: gpg says %q, want %q", v.Name, says, v.GPG)
			}
		})
	}
	all.Wait()
	// Every reason for which pkg/record refuses a record, a signature or a key has a
	// vector, but for those that no such file can cause.
	source, err := os.ReadFile("../../pkg/record/reason.go")
	if err != nil {
		t.Fatal(err)
	}
	known := regexp.MustCompile(`Reason = "([a-z0-9-]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(known) < 40 {
		t.Fatalf("%d reasons in pkg/record", len(known))
	}
	for _, r := range known {
		if reasons[r[1]] == 0 && elsewhere[record.Reason(r[1])] == "" {
			t.Errorf("no vector for %s", r[1])
		}
	}
	t.Logf("%d vectors, %d of them ok", len(m.Vectors), reasons["ok"])
}

// elsewhere are the reasons that come of other things than one record, its signature
// and one certificate, and of which.
var elsewhere = map[record.Reason]string{
	record.ReasonUnknownKey: "a kind's own fields", record.ReasonBadFingerprint: "a policy's keys", record.ReasonBadPath: "a file's place",
	record.ReasonNotVerified: "no file at all", record.ReasonCertOther: "two certificates",
	record.ReasonCertTooLarge: "a file of more than 256 KiB, which is too large to keep here",
}

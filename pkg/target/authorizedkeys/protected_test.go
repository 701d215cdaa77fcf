package authorizedkeys

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/target"
)

// TestRootUnderAnotherName: an account that has the user id 0 is root, whatever it is
// called.
func TestRootUnderAnotherName(t *testing.T) {
	dir := t.TempDir()
	made, err := New(t.Context(), target.Config{Resource: "web", Settings: map[string]string{"file": filepath.Join(dir, "%u")}})
	if err != nil {
		t.Fatal(err)
	}
	d := made.(*driver)
	d.lookup = func(string) (int, error) { return 0, nil }
	g := target.Grant{
		ID: "01JD0000000000000000000001-0", Resource: "web", Role: "shell", Person: "alice", Opens: time.Now(), Ends: time.Now().Add(time.Hour),
		Account: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO3K1ph21++Hy+xNmkkzkHQYYo5yQKZ7lSuBRLBmPAib",
		Params:  map[string]string{"account": "toor"},
	}
	if err := d.Grant(t.Context(), g); target.ReasonOf(err) != target.Refused {
		t.Errorf("it was not refused: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%d files, %v", len(left), err)
	}
	g.Params["allow-root"] = "true"
	if err := d.Grant(t.Context(), g); target.ReasonOf(err) == target.Refused {
		t.Errorf("the policy allows it by name: %v", err)
	}
}

// TestEndsWhatBecameRoot: an account that has the user id 0 by now is no longer opened, and
// what is open there ends.
func TestEndsWhatBecameRoot(t *testing.T) {
	dir := t.TempDir()
	made, err := New(t.Context(), target.Config{Resource: "web", Settings: map[string]string{"file": filepath.Join(dir, "%u")}})
	if err != nil {
		t.Fatal(err)
	}
	d := made.(*driver)
	d.lookup = func(string) (int, error) { return 64321, nil }
	g := target.Grant{
		ID: "01JD0000000000000000000001-0", Resource: "web", Role: "shell", Person: "alice", Opens: time.Now(), Ends: time.Now().Add(time.Hour),
		Account: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO3K1ph21++Hy+xNmkkzkHQYYo5yQKZ7lSuBRLBmPAib",
		Params:  map[string]string{"account": "toor"},
	}
	if err := d.Grant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	d.lookup = func(string) (int, error) { return 0, nil }
	if _, err := d.Revoke(t.Context(), g, nil); err != nil {
		t.Errorf("it does not end: %v", err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "toor")); err != nil || strings.Contains(string(data), "ssh-ed25519") {
		t.Errorf("the key is still there: %q, %v", data, err)
	}
}

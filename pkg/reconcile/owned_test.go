package reconcile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/owned"
)

// TestStateOfOthers: where somebody else could have written what the reconciler keeps,
// nothing opens, it is said why, and what is over ends.
func TestStateOfOthers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(state string) error
		say   string
	}{
		"folder open to the group": {func(state string) error { return os.Chmod(state, 0o770) }, "can be changed by others (mode 0770)"},
		"folder above open":        {func(state string) error { return os.Chmod(filepath.Dir(state), 0o777) }, "can be changed by others (mode 0777)"},
		"journal open to all":      {func(state string) error { return os.Chmod(filepath.Join(state, journalName), 0o666) }, "can be changed by others (mode 0666)"},
		"journal a link": {func(state string) error {
			old := filepath.Join(state, journalName)
			return errors.Join(os.Rename(old, old+".kept"), os.Symlink(old+".kept", old))
		}, "is a symbolic link"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.store.Granted("bob", 30*time.Minute, "db:read")
			w.run(0)
			w.wantAccess("bob", "readers", true)
			w.store.Granted("carol", 8*time.Hour, "db:write")
			if err := c.spoil(w.o.Config.State); err != nil {
				t.Fatal(err)
			}
			w.at(time.Hour)
			res := w.run(6)
			if !strings.Contains(fmt.Sprint(res.Problems), c.say) {
				t.Errorf("problems %v, want %q", res.Problems, c.say)
			}
			if err, ok := errors.AsType[*UnsafeError](res.Problems[0]); !ok || err.Hint == "" {
				t.Errorf("the first problem is %v", res.Problems[0])
			}
			w.wantAccess("bob", "readers", false)
			w.wantAccess("carol", "writers", false)
		})
	}
}

// TestOthersFiles: files of somebody else are refused. Only root can make one.
func TestOthersFiles(t *testing.T) {
	t.Parallel()
	path := writeConfig(t, goodConfig, 0o600)
	if os.Geteuid() != 0 {
		t.Log("not root: a file cannot be given to somebody else here")
		return
	}
	if err := os.Chown(path, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadConfig(path, nil); err == nil || !strings.Contains(err.Error(), "belongs to somebody else") {
		t.Errorf("the configuration: %v", err)
	}
	if err := owned.Check(path); err == nil || !strings.Contains(err.Error(), "belongs to somebody else") {
		t.Errorf("the journal: %v", err)
	}
}

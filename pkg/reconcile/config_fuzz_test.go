package reconcile

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/jitaccess/jit/pkg/record"
)

// FuzzConfig reads a reconciler's configuration. What is taken names all that a run
// needs by absolute paths, and no secret that others may read.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{goodConfig, goodConfig + "      password: x\n", "name: a\nkey: ../k\n", "targets: {a: {timeout: 0s}}\n", "store: {url: 'https://u:p@h/x'}\n", "", "[]"} {
		f.Add([]byte(s), false)
		f.Add([]byte(s), true)
	}
	path := filepath.Join(f.TempDir(), "reconcile.yaml")
	f.Fuzz(func(t *testing.T, data []byte, open bool) {
		mode := os.FileMode(0o600)
		if open {
			mode = 0o644
		}
		if err := errors.Join(os.WriteFile(path, data, mode), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		c, err := LoadConfig(path, secretive)
		if err != nil {
			var refused *ConfigError
			if !errors.As(err, &refused) || refused.Path != path {
				t.Errorf("%v", err)
			}
			return
		}
		if c.Name == "" || !filepath.IsAbs(c.Key) || !filepath.IsAbs(c.State) || isFolder(c.Store.URL) && !filepath.IsAbs(c.Store.URL) {
			t.Errorf("%+v", c)
		}
		if open && c.secret(secretive) != "" {
			t.Errorf("others may read %s", c.secret(secretive))
		}
		if _, err := record.ParseStoreID(string(c.Store.Identity)); err != nil {
			t.Error(err)
		}
		for _, target := range c.Targets {
			if target.timeout() <= 0 || target.timeout() > record.MaxDuration {
				t.Errorf("a timeout of %v", target.timeout())
			}
		}
	})
}

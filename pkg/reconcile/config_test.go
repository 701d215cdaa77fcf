package reconcile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/target"
)

const goodConfig = `name: db1
key: reconciler.key
state: state
store:
  url: ../store.git
  identity: 6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c6f1c
targets:
  db:
    timeout: 10s
    settings:
      host: /run/postgresql
`

var secretive = map[string]target.Kind{"x": {Description: target.Description{Settings: []target.Parameter{{Name: "bind", Secret: true}}}}}

func writeConfig(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "reconcile.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoadConfig(t *testing.T) {
	t.Parallel()
	path := writeConfig(t, goodConfig, 0o644)
	c, err := LoadConfig(path, secretive)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	if c.Key != filepath.Join(dir, "reconciler.key") || c.State != filepath.Join(dir, "state") || c.Store.URL != filepath.Join(filepath.Dir(dir), "store.git") {
		t.Errorf("paths of %+v", c)
	}
	if c.Targets["db"].timeout() != 10*time.Second || (TargetConfig{}).timeout() != DefaultTimeout {
		t.Error("timeouts")
	}
	c, err = LoadConfig(writeConfig(t, "metrics: /var/lib/node/jit.prom\n"+goodConfig, 0o644), nil)
	if err != nil || c.Metrics != "/var/lib/node/jit.prom" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, url := range []string{"git@example.com:access.git", "ssh://git@example.com/access.git", "/srv/access.git"} {
		c, err := LoadConfig(writeConfig(t, strings.Replace(goodConfig, "../store.git", url, 1), 0o600), nil)
		if err != nil || c.Store.URL != url {
			t.Errorf("%q became %q, %v", url, c.Store.URL, err)
		}
	}
}

func TestLoadConfigRefuses(t *testing.T) {
	t.Parallel()
	add := func(line string) string {
		return strings.Replace(goodConfig, "      host:", "      "+line+"\n      host:", 1)
	}
	for _, c := range []struct {
		name, text string
		mode       os.FileMode
		say        string
		reason     record.Reason
	}{
		{"unknown key", "nane: x\n" + goodConfig, 0o600, `"nane"`, record.ReasonUnknownKey},
		{"a key twice", goodConfig + "name: db2\n", 0o600, "line 12", record.ReasonDuplicateKey},
		{"no unit", strings.Replace(goodConfig, "10s", `"10"`, 1), 0o600, "has no unit", record.ReasonBadValue},
		{"not YAML", "name: [", 0o600, "", record.ReasonBadYAML},
		{"no name", strings.Replace(goodConfig, "name: db1\n", "", 1), 0o600, "name is missing", ""},
		{"short identity", strings.Replace(goodConfig, "6f1c6f1c", "", 1), 0o600, "store identity", record.ReasonBadValue},
		{"odd transport", strings.Replace(goodConfig, "store:\n", "store:\n  transport: pigeon\n", 1), 0o600, "pigeon", ""},
		{"metrics in no place of their own", "metrics: jit.prom\n" + goodConfig, 0o600, "not an absolute path", ""},
		{"metrics by a winding way", "metrics: /var/lib/jit/../x.prom\n" + goodConfig, 0o600, "not an absolute path", ""},
		{"metrics that nobody reads", "metrics: /var/lib/node/jit.txt\n" + goodConfig, 0o600, "does not end in .prom", ""},
		{"others may write", goodConfig, 0o666, "others may change it", ""},
		{"others may read a secret by its name", add("db-password: hush"), 0o640, "it holds a secret", ""},
		{"others may read what a driver calls secret", add("bind: hush"), 0o604, "it holds a secret", ""},
		{"others may read a password in the address", strings.Replace(goodConfig, "../store.git", "https://a:hush@example.com/x", 1), 0o644, "it holds a secret", ""},
	} {
		_, err := LoadConfig(writeConfig(t, c.text, c.mode), secretive)
		var bad *ConfigError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), c.say) || record.ReasonOf(err) != c.reason {
			t.Errorf("%s: %v (reason %q)", c.name, err, record.ReasonOf(err))
			continue
		}
		if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the secret is told: %v", c.name, err)
		}
		if strings.Contains(c.say, "secret") && !strings.HasPrefix(bad.Hint, "chmod 600 ") {
			t.Errorf("%s: hint %q", c.name, bad.Hint)
		}
	}
	for _, line := range []string{"db-password: hush", "bind: hush"} {
		if _, err := LoadConfig(writeConfig(t, add(line), 0o600), secretive); err != nil {
			t.Errorf("%s in a closed file: %v", line, err)
		}
	}
	if _, err := LoadConfig(filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

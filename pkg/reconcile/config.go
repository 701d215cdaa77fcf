package reconcile

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/internal/owned"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/target"
)

// DefaultTimeout bounds one verb of a driver where a target's configuration
// does not say.
const DefaultTimeout = 30 * time.Second

// Config is what a reconciler is told by the machine that it runs on, and never
// by the store: where the store is, who the reconciler is, and how to reach
// each target.
//
//	name: db1
//	key: reconciler.key
//	state: /var/lib/jit
//	store:
//	  url: ssh://git@git.example.com/access.git
//	  identity: 6f1c…
//	targets:
//	  orders-db:
//	    timeout: 10s
//	    settings:
//	      host: /run/postgresql
//	      user: jit
type Config struct {
	// Name is the reconciler's name in the policy.
	Name string `yaml:"name"`
	// Key is the file of its secret key. It is closed to others and has no
	// passphrase.
	Key string `yaml:"key"`
	// State is the folder that the reconciler keeps for itself: journal, copy
	// of the store, lock. It must outlive a restart of the machine.
	State string      `yaml:"state"`
	Store StoreConfig `yaml:"store"`
	// Metrics is the file that each run writes metrics to for Prometheus, in the folder
	// of node_exporter's textfile collector: an absolute path that ends in .prom. Empty
	// for none.
	Metrics string `yaml:"metrics,omitempty"`
	// Targets says how to reach resources, by their name in the policy. What a
	// role of them means stands in the policy.
	Targets map[string]TargetConfig `yaml:"targets,omitempty"`
}

// StoreConfig says which store, and how to reach it.
type StoreConfig struct {
	URL string `yaml:"url"`
	// Identity pins the store: another one at the same address is refused.
	Identity record.StoreID `yaml:"identity"`
	// Branch is empty for the usual one; Transport too.
	Branch    string             `yaml:"branch,omitempty"`
	Transport gitstore.Transport `yaml:"transport,omitempty"`
	// IdentityFile is the private key, without a passphrase, that ssh logs in
	// with, and KnownHosts the file of host keys; empty for the usual ones.
	IdentityFile string `yaml:"identityFile,omitempty"`
	KnownHosts   string `yaml:"knownHosts,omitempty"`
}

// TargetConfig says how to reach one resource.
type TargetConfig struct {
	// Timeout bounds each verb; zero means [DefaultTimeout].
	Timeout record.Duration `yaml:"timeout,omitempty"`
	// Settings are the driver's.
	Settings map[string]string `yaml:"settings,omitempty"`
}

func (t TargetConfig) timeout() time.Duration {
	if t.Timeout.IsZero() {
		return DefaultTimeout
	}
	return t.Timeout.Duration
}

// ConfigError refuses a reconciler's configuration.
type ConfigError struct {
	Path string
	// Detail says what was refused, Hint what to do next; Hint may be empty.
	Detail, Hint string
	// Err is the cause, or nil. A [record.Refusal] in it has line and column.
	Err error
}

// Error gives the file, what was refused and the cause.
func (e *ConfigError) Error() string {
	s := fmt.Sprintf("configuration %q: %s", e.Path, e.Detail)
	if e.Err != nil {
		s = strings.TrimSuffix(s, ": ") + ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// LoadConfig reads a reconciler's configuration. It is strict as records are;
// relative paths are relative to the file's folder. A file that others may
// write, or put another in the place of, or that belongs to others, is refused, and so is one that others may read when it holds a secret:
// a setting that one of the drivers calls secret or whose name says so, or a
// password in an address. Settings are judged by the driver, when its target is
// reached: a mistake in one does not keep the others from their work. Errors
// are of type [*ConfigError].
func LoadConfig(path string, drivers map[string]target.Kind) (Config, error) {
	refuse := func(err error, hint, format string, args ...any) (Config, error) {
		return Config{}, &ConfigError{Path: path, Detail: fmt.Sprintf(format, args...), Hint: hint, Err: err}
	}
	at, err := owned.Leading(path)
	if others, ok := errors.AsType[*UnsafeError](err); ok {
		return refuse(err, others.Hint, "others may put another in its place")
	}
	if err != nil {
		return refuse(err, "", "cannot be read")
	}
	data, mode, ours, err := readConfig(at)
	if err != nil {
		return refuse(err, "", "cannot be read")
	}
	if !ours {
		return refuse(nil, fmt.Sprintf("chown root %q", path), "it belongs to somebody else than root and whom jit runs as")
	}
	if mode&0o022 != 0 {
		return refuse(nil, fmt.Sprintf("chmod 600 %q", path), "others may change it (mode %04o)", mode)
	}
	var c Config
	if err := record.DecodeStrict(data, &c); err != nil {
		return refuse(err, "", "")
	}
	if secret := c.secret(drivers); secret != "" && mode&0o077 != 0 {
		return refuse(nil, fmt.Sprintf("chmod 600 %q", path), "it holds a secret (%s) and others may read it (mode %04o)", secret, mode)
	}
	for _, field := range []struct{ name, value string }{
		{"name", c.Name}, {"key", c.Key}, {"state", c.State}, {"store.url", c.Store.URL}, {"store.identity", string(c.Store.Identity)},
	} {
		if field.value == "" {
			return refuse(nil, "write it down; the store's address and identity are shown by: jit status", "%s is missing", field.name)
		}
	}
	switch c.Store.Transport {
	case "", gitstore.Auto, gitstore.Builtin, gitstore.Git:
	default:
		return refuse(nil, "", "store.transport %q is not auto, builtin or git", c.Store.Transport)
	}
	if wrong := checkMetrics(c.Metrics); wrong != "" {
		return refuse(nil, "write it as: metrics: /var/lib/prometheus/node-exporter/jit"+metricsEnding, "metrics %q %s", c.Metrics, wrong)
	}
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return refuse(err, "", "its folder is not known")
	}
	for _, p := range []*string{&c.Key, &c.State, &c.Store.IdentityFile, &c.Store.KnownHosts} {
		*p = within(folder, *p)
	}
	if isFolder(c.Store.URL) {
		c.Store.URL = within(folder, c.Store.URL)
	}
	return c, nil
}

// readConfig reads the file, its permissions and whether it is [owned.Ours] through one
// handle. What is no file is not waited for.
func readConfig(path string) (data []byte, mode os.FileMode, ours bool, err error) {
	f, err := owned.Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, 0, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, false, err
	}
	data, err = io.ReadAll(io.LimitReader(f, record.MaxSize+1))
	return data, info.Mode().Perm(), owned.Ours(info), err
}

func within(folder, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}

// isFolder tells a path from user@host:path and from scheme://.
func isFolder(address string) bool { return !strings.Contains(address, ":") }

// secret names the first value that is not for others' eyes, or is empty.
func (c Config) secret(drivers map[string]target.Kind) string {
	if u, err := url.Parse(c.Store.URL); err == nil && u.User != nil {
		if _, ok := u.User.Password(); ok {
			return "a password in store.url"
		}
	}
	marked := map[string]bool{}
	for _, kind := range drivers {
		for _, s := range kind.Description.Settings {
			marked[s.Name] = marked[s.Name] || s.Secret
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Targets)) {
		for _, setting := range slices.Sorted(maps.Keys(c.Targets[name].Settings)) {
			lower := strings.ToLower(setting)
			told := slices.ContainsFunc([]string{"password", "passphrase", "secret", "token"},
				func(word string) bool { return strings.Contains(lower, word) })
			if marked[setting] || told {
				return fmt.Sprintf("setting %q of target %q", setting, name)
			}
		}
	}
	return ""
}

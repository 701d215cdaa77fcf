package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/jitaccess/jit/pkg/record"
)

// Settings are a person's configuration: which store, under which name, with
// which key. They stand in config.yaml and are written by init and join.
type Settings struct {
	// Name is the person's name in the policy.
	Name    string          `yaml:"name"`
	Store   StoreSettings   `yaml:"store"`
	Signing SigningSettings `yaml:"signing,omitempty"`
}

// StoreSettings say where the store is and how to know it.
type StoreSettings struct {
	URL      string         `yaml:"url"`
	Identity record.StoreID `yaml:"identity"`
	// Branch is "main" where it is empty; Transport is chosen by jit.
	Branch    string `yaml:"branch,omitempty"`
	Transport string `yaml:"transport,omitempty"`
}

// SigningSettings name the key: one in gpg, or a file.
type SigningSettings struct {
	GPG     record.Fingerprint `yaml:"gpg,omitempty"`
	KeyFile string             `yaml:"keyFile,omitempty"`
}

// IsZero reports whether no key is named.
func (s SigningSettings) IsZero() bool { return s == SigningSettings{} }

// maxSettings is the most bytes of config.yaml that are read.
const maxSettings = 64 << 10

// folders are where jit keeps what is the person's own.
type folders struct {
	config string // config.yaml
	keys   string // secret keys that jit made
	state  string // mirrors and ledgers, one folder a store
}

// folders follow JIT_HOME where it is set, else the XDG base directories.
func (a *App) folders() (folders, error) {
	if home := a.Env("JIT_HOME"); home != "" {
		home, err := filepath.Abs(home)
		if err != nil {
			return folders{}, err
		}
		return folders{config: home, keys: filepath.Join(home, "keys"), state: filepath.Join(home, "state")}, nil
	}
	base := func(variable, fallback string) (string, error) {
		// The XDG base directory specification has relative paths ignored.
		if dir := a.Env(variable); filepath.IsAbs(dir) {
			return filepath.Join(dir, "jit"), nil
		}
		home := a.Env("HOME")
		if home == "" {
			return "", failure(exitUsage, "no-home", "set HOME or JIT_HOME", "there is no home folder for the configuration")
		}
		return filepath.Join(home, fallback, "jit"), nil
	}
	config, err := base("XDG_CONFIG_HOME", ".config")
	if err != nil {
		return folders{}, err
	}
	data, err := base("XDG_DATA_HOME", ".local/share")
	if err != nil {
		return folders{}, err
	}
	state, err := base("XDG_STATE_HOME", ".local/state")
	return folders{config: config, keys: filepath.Join(data, "keys"), state: state}, err
}

// storeDir is the folder for one store's mirror and ledger.
func (f folders) storeDir(id record.StoreID) string {
	return filepath.Join(f.state, "stores", string(id[:min(16, len(id))]))
}

func (f folders) settingsFile() string { return filepath.Join(f.config, "config.yaml") }

// errNoStore says that this person has no store yet.
func errNoStore(file string) error {
	return failure(exitUsage, "no-store", "run: jit join URL --as NAME, or to make a new one: jit init URL --as NAME", "no store is set up in %s", file)
}

// Settings reads the configuration once.
func (a *App) Settings() (Settings, error) {
	if a.settings != nil {
		return *a.settings, nil
	}
	f, err := a.folders()
	if err != nil {
		return Settings{}, err
	}
	s, err := readSettings(f.settingsFile())
	if err != nil {
		return Settings{}, err
	}
	if url := a.storeFlag(); url != "" {
		s.Store.URL = url
	}
	a.settings = &s
	return s, nil
}

func readSettings(file string) (Settings, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Settings{}, errNoStore(file)
	}
	if err != nil {
		return Settings{}, fmt.Errorf("configuration: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxSettings {
		return Settings{}, usageErr("", "%s is not a configuration file", file)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return Settings{}, fmt.Errorf("configuration: %w", err)
	}
	var s Settings
	if err := record.DecodeStrict(data, &s); err != nil {
		return Settings{}, fileRefusal(file, err)
	}
	if s.Name == "" || s.Store.URL == "" || s.Store.Identity == "" {
		return Settings{}, failure(exitUsage, "bad-config", "run: jit join URL --as NAME", "%s lacks name, store.url or store.identity", file)
	}
	return s, nil
}

// fileRefusal says where in a person's own file something is wrong.
func fileRefusal(file string, err error) error {
	var r *record.Refusal
	if !errors.As(err, &r) {
		return usageErr("", "%s: %v", file, err)
	}
	where := file
	switch {
	case r.Column > 0:
		where = fmt.Sprintf("%s:%d:%d", file, r.Line, r.Column)
	case r.Line > 0:
		where = fmt.Sprintf("%s:%d", file, r.Line)
	}
	bare := *r
	bare.Line, bare.Column = 0, 0
	return &exitError{Exit: exitUsage, Code: string(r.Reason), Message: fmt.Sprintf("%s: %v", where, &bare), Hint: "correct the file and run it again", Err: err}
}

// saveSettings writes the configuration for this person alone.
func (a *App) saveSettings(s Settings) error {
	f, err := a.folders()
	if err != nil {
		return err
	}
	data, err := record.Encode(s)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if err := writePrivate(f.settingsFile(), data); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	a.settings = &s
	return nil
}

// writePrivate replaces a file, readable by this user alone, so that after a
// crash either the old or the new content is there. Its folder is made.
func writePrivate(file string, data []byte) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), file); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

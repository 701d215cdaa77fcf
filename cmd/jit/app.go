package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
)

// App is what every command is given: the streams, the clock, the environment,
// and from them, when first asked for, the configuration and the store. Nothing
// is opened before a command asks.
type App struct {
	IO  *Streams
	Now func() time.Time
	Env func(string) string
	// Scrub makes the process forget its environment; nil where that is not its own.
	Scrub func() error
	// Local is the person's time zone, for showing and reading times.
	Local *time.Location

	flags    globalFlags
	started  bool // the command line was understood, and a command runs
	settings *Settings
	stale    error     // why the store could not be asked, where it could not
	kept     *keptHere // what was signed and could not be sent
	progress *progress
	// unwritten says that not all that was printed could be written.
	unwritten bool
	cleared   map[string]bool // texts that look like secrets, and are none by the person's word
}

// globalFlags are the flags of all commands.
type globalFlags struct {
	store, key string
	offline    bool
	notSecret  bool // what looks like a secret is none
}

func newApp() *App {
	return &App{IO: osStreams(), Now: time.Now, Env: os.Getenv, Scrub: scrub, Local: time.Local}
}

// storeFlag is --store, or what stands in for it.
func (a *App) storeFlag() string {
	if a.flags.store != "" {
		return a.flags.store
	}
	return a.Env("JIT_STORE")
}

// keyFlag is --key, or what stands in for it.
func (a *App) keyFlag() string {
	if a.flags.key != "" {
		return a.flags.key
	}
	return a.Env("JIT_KEY")
}

// Signer opens the key with which this person signs: --key, else the one in the
// configuration.
func (a *App) Signer(ctx context.Context) (record.Signer, error) {
	if key := a.keyFlag(); key != "" {
		return a.signerFor(ctx, signingFor(key))
	}
	s, err := a.Settings()
	if err != nil {
		return nil, err
	}
	return a.signerFor(ctx, s.Signing)
}

// signingFor tells the fingerprint of a key in gpg from a key file.
func signingFor(key string) SigningSettings {
	if fpr, err := record.ParseFingerprint(strings.ToUpper(strings.ReplaceAll(key, " ", ""))); err == nil {
		return SigningSettings{GPG: fpr}
	}
	return SigningSettings{KeyFile: key}
}

func (a *App) signerFor(_ context.Context, s SigningSettings) (record.Signer, error) {
	switch {
	case s.GPG != "":
		return record.NewGPG(a.gpgOptions(s.GPG))
	case s.KeyFile != "":
		signer, err := record.OpenKeyFile(s.KeyFile, func() ([]byte, error) {
			return a.askPassphrase("Passphrase of " + s.KeyFile + ":")
		}, a.Now)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, failure(exitUsage, "no-key", "run: jit key list, or make one: jit key generate", "there is no key file %q", s.KeyFile)
		}
		return signer, err
	}
	return nil, failure(exitUsage, "no-key", "run: jit key generate, or: jit key add FINGERPRINT for one that gpg has", "no key to sign with is set up")
}

func (a *App) gpgOptions(fpr record.Fingerprint) record.GPGOptions {
	o := record.GPGOptions{Home: a.Env("GNUPGHOME"), Fingerprint: fpr}
	if a.Env("GPG_TTY") == "" && a.IO.InTTY {
		// Where standard input is a terminal, the agent may ask there.
		if tty, err := os.Readlink("/proc/self/fd/0"); err == nil {
			o.TTY = tty
		}
	}
	return o
}

// resolveID finds the one record that a person means: its whole id, or the
// beginning or end of it. It is an error when none or several fit. The record
// may be of any kind; Ref.Request is the request or policy version to which it
// belongs.
func resolveID(l *ledger.Ledger, arg string) (ledger.Ref, error) {
	if len(arg) < minID {
		return ledger.Ref{}, failure(exitUsage, "unknown-id", "give the last six characters, as shown by: jit list", "%q is too short for an id", arg)
	}
	refs, err := l.Lookup(arg)
	switch {
	case errors.Is(err, ledger.ErrNotFound), err == nil && len(refs) == 0:
		return ledger.Ref{}, failure(exitUsage, "unknown-id", "see: jit list, or look for new ones: jit sync", "there is no record %q", arg)
	case err != nil:
		return ledger.Ref{}, err
	case len(refs) > 1:
		var fit []string
		for _, r := range refs[:min(len(refs), 10)] {
			fit = append(fit, string(r.ID)+" ("+string(r.Kind)+" by "+r.By+")")
		}
		return ledger.Ref{}, failure(exitUsage, "ambiguous-id", "give more of it: "+strings.Join(fit, ", "), "%q fits %d records", arg, len(refs))
	}
	return refs[0], nil
}

// minID is the fewest characters of an id that are looked up.
const minID = 6

// wholeID refuses a shortened id, for where nobody is asked whether the right
// one was found.
func wholeID(arg string) error {
	if _, err := record.ParseID(arg); err != nil {
		return failure(exitUsage, "short-id", "give all 26 characters; see: jit list --json id", "--yes takes whole ids only, and %q is not one", arg)
	}
	return nil
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

// keyChoice are the flags by which a person says with which key they sign.
type keyChoice struct {
	generate bool
	gpg      string
	fullName string
	email    string
	expires  string

	made string // the file of the key that generate has made
}

// discard removes a key that was made for something that then failed: nobody
// knows it yet.
func (k *keyChoice) discard() error {
	if k.made == "" {
		return nil
	}
	err := errors.Join(os.Remove(k.made), os.Remove(publicTwin(k.made)))
	k.made = ""
	return err
}

func (k *keyChoice) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&k.generate, "generate-key", false, "make a key for those who have none")
	cmd.Flags().StringVar(&k.gpg, "gpg", "", "sign with the key `FINGERPRINT` that gpg has")
	k.addIdentity(cmd)
}

// addIdentity adds the flags of a new key alone.
func (k *keyChoice) addIdentity(cmd *cobra.Command) {
	cmd.Flags().StringVar(&k.fullName, "full-name", "", "the full name in a new key")
	cmd.Flags().StringVar(&k.email, "email", "", "the address in a new key")
	cmd.Flags().StringVar(&k.expires, "key-expires", "", "how long a new key is good, like 365d; without it, until it is revoked")
}

// choose opens the key that the flags name, or the one of the configuration, or
// asks.
func (k *keyChoice) choose(ctx context.Context, a *App, name string) (SigningSettings, record.Signer, error) {
	var s SigningSettings
	given := 0
	if k.generate {
		given++
	}
	if k.gpg != "" {
		given++
		if s = signingFor(k.gpg); s.GPG == "" {
			return s, nil, usageErr("give all 40 digits; see: gpg --list-secret-keys", "%q is not a full fingerprint", k.gpg)
		}
	}
	if a.flags.key != "" || given == 0 && a.keyFlag() != "" {
		given++
		s = signingFor(a.keyFlag())
	}
	if given > 1 {
		return s, nil, usageErr("keep one of them", "--generate-key, --gpg and --key do not go together")
	}
	if given == 0 {
		if known, err := a.Settings(); err == nil && !known.Signing.IsZero() {
			s = known.Signing
		} else if s, k.generate, err = a.askForKey(ctx); err != nil {
			return s, nil, err
		}
	}
	if k.generate {
		s, signer, err := a.generateKey(name, *k)
		k.made = s.KeyFile
		return s, signer, err
	}
	if s.KeyFile != "" {
		file, err := filepath.Abs(s.KeyFile)
		if err != nil {
			return s, nil, err
		}
		s.KeyFile = file
	}
	signer, err := a.signerFor(ctx, s)
	return s, signer, err
}

// askForKey lets a person choose among the keys that gpg has.
func (a *App) askForKey(ctx context.Context) (s SigningSettings, generate bool, err error) {
	const flags = "--generate-key, --gpg FINGERPRINT or --key FILE"
	if !a.IO.CanAsk() {
		return s, false, failure(exitUsage, "no-key", "add: "+flags, "no key to sign with was named")
	}
	var usable []record.GPGKey
	keys, err := record.ListGPGSecretKeys(ctx, a.gpgOptions(""))
	var sign *record.SignError
	if err != nil && !errors.As(err, &sign) {
		return s, false, err
	}
	var options []string
	for _, key := range keys {
		if key.CanSign {
			usable = append(usable, key)
			options = append(options, string(key.Fingerprint)+"  "+clean(strings.Join(key.UserIDs, ", "))+" (in gpg)")
		}
	}
	a.Say("With which key do you sign?")
	n, err := a.Choose("Key", flags, append(options, "a new key, in a file"))
	if err != nil {
		return s, false, err
	}
	if n == len(usable) {
		return s, true, nil
	}
	return SigningSettings{GPG: usable[n].Fingerprint}, false, nil
}

// generateKey makes a key file. On a terminal its passphrase is asked for.
func (a *App) generateKey(name string, k keyChoice) (SigningSettings, record.Signer, error) {
	var none SigningSettings
	var lifetime time.Duration
	if k.expires != "" {
		d, err := parseFor(k.expires)
		if err != nil {
			return none, nil, err
		}
		lifetime = d.Duration
	}
	if k.fullName == "" {
		k.fullName = name
	}
	// A key is made a moment back, so that what it signs now is not before it.
	made, err := record.GenerateKey(k.fullName, k.email, a.Now().Add(-time.Second), lifetime)
	if err != nil {
		return none, nil, usageErr("", "no key can be made: %v", err)
	}
	pass, err := a.newPassphrase()
	if err != nil {
		return none, nil, err
	}
	secret, err := made.SecretArmor(pass)
	if err != nil {
		return none, nil, err
	}
	f, err := a.folders()
	if err != nil {
		return none, nil, err
	}
	file := filepath.Join(f.keys, string(made.Certificate().Fingerprint())+".asc")
	if err := writePrivate(file, secret); err != nil {
		return none, nil, fmt.Errorf("the new key: %w", err)
	}
	if err := writePrivate(publicTwin(file), made.Certificate().Armor()); err != nil {
		return none, nil, fmt.Errorf("the new key: %w", err)
	}
	a.Say("Made the key %s in %s", made.Certificate().Fingerprint(), file)
	if len(pass) == 0 {
		a.Say("It has no passphrase: who can read the file can sign with it.")
	}
	return SigningSettings{KeyFile: file}, made.Signer(a.Now), nil
}

// newPassphrase asks twice. Without a terminal there is none.
func (a *App) newPassphrase() ([]byte, error) {
	if !a.IO.CanAsk() {
		return nil, nil
	}
	for range maxTries {
		one, err := a.askPassphrase("Passphrase for the new key (empty for none):")
		if err != nil || len(one) == 0 {
			return nil, err
		}
		two, err := a.askPassphrase("The same again:")
		if err != nil {
			return nil, err
		}
		if bytes.Equal(one, two) {
			return one, nil
		}
		a.Say("They differ.")
	}
	return nil, usageErr("run it again", "no passphrase was set")
}

// publicTwin is where the public part of a key file that jit made stands, so
// that it can be shown without the passphrase.
func publicTwin(file string) string { return strings.TrimSuffix(file, ".asc") + ".pub" }

// readPublicPart gives the certificate of a key file without asking anybody.
func readPublicPart(file string) (*record.Certificate, error) {
	if data, err := readFileUpTo(publicTwin(file), record.MaxCertificateSize); err == nil {
		return record.ParseCertificate(data)
	}
	signer, err := record.OpenKeyFile(file, func() ([]byte, error) {
		return nil, errors.New("it has a passphrase, and its public part is not beside it")
	}, time.Now)
	if err != nil {
		return nil, err
	}
	return signer.Certificate(context.Background())
}

// readFileUpTo reads a regular file of at most limit bytes.
func readFileUpTo(file string, limit int64) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file", file)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%q is larger than %d bytes", file, limit)
	}
	return os.ReadFile(file)
}

// publish puts a certificate into the store. Where the store has all of it
// already, nothing is sent.
func (a *App) publish(ctx context.Context, rep *replica.Replica, by, subject string, cert *record.Certificate) (sent bool, err error) {
	known, err := rep.Ledger().Certificate(cert.Fingerprint())
	if err != nil {
		return false, err
	}
	if known != nil {
		if _, changed, err := known.Merge(cert); err != nil || !changed {
			return false, err
		}
	}
	res, err := rep.SubmitCertificate(ctx, replica.Message{Subject: subject, Trailers: [][2]string{{"Jit-Kind", "certificate"}, {"Jit-By", by}}}, by, cert, a.Now())
	if err != nil {
		return false, err
	}
	if res.Spooled {
		a.keep(keptHere{subject: subject, cause: res.Cause})
	}
	return true, nil
}

// checkName holds a name to the form that the policy takes.
func checkName(name string) error {
	if name == "" {
		return failure(exitUsage, "no-name", "add: --as NAME", "your name in the policy is missing")
	}
	ok := len(name) <= 63 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") == "" &&
		!slices.Contains([]byte("._-"), name[0])
	if !ok {
		return failure(exitUsage, "bad-name", "use a to z, 0 to 9, dot, dash and underscore; at most 63, a letter or digit first", "%q cannot be a name in the policy", name)
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// shellWord quotes a word for a shell where it needs it.
func shellWord(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// primaryOf gives the certificate of which a fingerprint is a subkey's; nil where it is
// none's that the store knows. Records count under the primary key alone, and a policy
// or a lock that names a subkey means nobody.
func primaryOf(ring *record.Keyring, fpr record.Fingerprint) *record.Certificate {
	if found := ring.Find(fpr); len(found) > 0 && found[0].Fingerprint() != fpr {
		return found[0]
	}
	return nil
}

// warnOfSubkeys says which fingerprints of a body are those of subkeys.
func (d *desk) warnOfSubkeys(body *policy.Body) error {
	ring, err := d.rep.Ledger().Keyring()
	if err != nil {
		return err
	}
	warn := func(path string, keys []record.Fingerprint) {
		for _, k := range keys {
			if c := primaryOf(ring, k); c != nil {
				d.app.Warn("%s.keys: %s is a subkey: nothing signed with it would count as theirs; the fingerprint of its primary key is %s", path, k, c.Fingerprint())
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(body.People)) {
		warn("people."+name, body.People[name].Keys)
	}
	for _, name := range slices.Sorted(maps.Keys(body.Reconcilers)) {
		warn("reconcilers."+name, body.Reconcilers[name].Keys)
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

func newKeyCmd(app *App) *cobra.Command {
	return parentOf(&cobra.Command{
		Use:     "key",
		Short:   "Make, list, add and revoke your keys",
		GroupID: groupAdmin,
	}, newKeyGenerateCmd(app), shows(newKeyListCmd(app)), newKeyAddCmd(app), newKeyRevokeCmd(app))
}

// keyView is a key as it is listed. Uses say what it is for here.
type keyView struct {
	Fingerprint string   `json:"fingerprint"`
	UserIDs     []string `json:"userIds"`
	Algorithm   *string  `json:"algorithm"`
	Where       string   `json:"where"`
	Expires     *string  `json:"expires"`
	CanSign     bool     `json:"canSign"`
	Problem     *string  `json:"problem"`
	Signing     bool     `json:"signing"`
	Owner       *string  `json:"owner"`
	Published   bool     `json:"published"`
}

var keyFields = []string{"fingerprint", "userIds", "algorithm", "where", "expires", "canSign", "problem", "signing", "owner", "published"}

func newKeyGenerateCmd(app *App) *cobra.Command {
	var k keyChoice
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Make an Ed25519 key in a file",
		Long: `Makes a key and keeps its secret part in a file that only you can read. Where you
have no key yet it becomes the one that you sign with; otherwise publish it with
"jit key add FILE".`,
		Args: exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			name := "jit"
			known, err := app.Settings()
			if err == nil {
				name = known.Name
			}
			signing, signer, genErr := app.generateKey(name, k)
			if genErr != nil {
				return genErr
			}
			cert, genErr := signer.Certificate(cmd.Context())
			if genErr != nil {
				return genErr
			}
			first := err == nil && known.Signing.IsZero()
			if first {
				known.Signing = signing
				if err := app.saveSettings(known); err != nil {
					return err
				}
			}
			v := viewKey(cert, signing.KeyFile, app.Now())
			v.Signing = first
			return app.Print(out, v, func(w io.Writer) error {
				fmt.Fprintln(w, cert.Fingerprint())
				switch {
				case first:
					app.Say("You sign with it now. Publish it: jit enroll")
				case err == nil:
					app.Say("Publish it: jit key add %s", shellWord(signing.KeyFile))
				default:
					app.Say("Use it: jit join URL --as NAME --key %s", shellWord(signing.KeyFile))
				}
				return nil
			})
		},
	}
	k.addIdentity(cmd)
	out.add(cmd, keyFields)
	return cmd
}

func viewKey(cert *record.Certificate, where string, now time.Time) keyView {
	v := keyView{Fingerprint: string(cert.Fingerprint()), UserIDs: notNull(cert.UserIDs()), Algorithm: orNull(cert.Algorithm()), Where: where, CanSign: true}
	if end, ok := cert.Expires(); ok {
		v.Expires = timeOrNull(end)
	}
	if err := cert.CanSign(now); err != nil {
		v.CanSign, v.Problem = false, orNull(string(record.ReasonOf(err)))
	}
	return v
}

func newKeyListCmd(app *App) *cobra.Command {
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the keys that you could sign with",
		Args:  exactly(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			views, err := app.listKeys(cmd.Context())
			if err != nil {
				return err
			}
			return app.Print(out, views, func(w io.Writer) error {
				if len(views) == 0 {
					app.Say("There are no keys; make one: jit key generate")
				}
				var rows [][]string
				for _, v := range views {
					rows = append(rows, []string{v.Fingerprint, strings.Join(v.UserIDs, ", "), v.Where, keyState(v)})
				}
				app.Table(w, []string{"fingerprint", "user id", "where", "state"}, rows)
				return nil
			})
		},
	}
	out.add(cmd, keyFields)
	return cmd
}

func keyState(v keyView) string {
	var words []string
	if v.Signing {
		words = append(words, "signs for you")
	}
	if v.Owner != nil {
		words = append(words, "in the policy as "+*v.Owner)
	} else if v.Published {
		words = append(words, "published")
	}
	switch {
	case v.Problem != nil:
		words = append(words, "cannot sign: "+*v.Problem)
	case !v.CanSign:
		words = append(words, "cannot sign")
	}
	if len(words) == 0 {
		return "not used"
	}
	return strings.Join(words, ", ")
}

// listKeys gives the key files that jit made, the configured one, and what gpg
// has, with what this machine knows of them.
func (a *App) listKeys(ctx context.Context) ([]keyView, error) {
	f, err := a.folders()
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(f.keys, "*.asc"))
	if err != nil {
		return nil, err
	}
	settings, settingsErr := a.Settings()
	if settingsErr == nil && settings.Signing.KeyFile != "" && filepath.Dir(settings.Signing.KeyFile) != f.keys {
		files = append(files, settings.Signing.KeyFile)
	}
	views := []keyView{}
	for _, file := range files {
		cert, err := readPublicPart(file)
		if err != nil {
			a.Warn("%s: %v", file, err)
			continue
		}
		v := viewKey(cert, file, a.Now())
		v.Signing = settingsErr == nil && settings.Signing.KeyFile == file
		views = append(views, v)
	}
	keys, err := record.ListGPGSecretKeys(ctx, a.gpgOptions(""))
	var sign *record.SignError
	if err != nil && (!errors.As(err, &sign) || sign.Problem != record.SignNoProgram) {
		a.Warn("gpg's keys cannot be listed: %v", err)
	}
	for _, key := range keys {
		v := keyView{Fingerprint: string(key.Fingerprint), UserIDs: notNull(key.UserIDs), Where: "gpg", CanSign: key.CanSign, Expires: timeOrNull(key.Expires)}
		v.Signing = settingsErr == nil && settings.Signing.GPG == key.Fingerprint
		views = append(views, v)
	}
	if settingsErr == nil {
		a.knownOf(ctx, views)
	}
	return views, nil
}

// knownOf adds what the local copy of the store knows of keys.
func (a *App) knownOf(ctx context.Context, views []keyView) {
	rep, _, err := a.Open(ctx)
	if err != nil {
		return
	}
	defer rep.Close()
	p := rep.Ledger().Policies().Latest()
	for i := range views {
		fpr := record.Fingerprint(views[i].Fingerprint)
		cert, err := rep.Ledger().Certificate(fpr)
		if err != nil {
			return
		}
		views[i].Published = cert != nil
		if cert != nil {
			if views[i].Algorithm == nil {
				views[i].Algorithm = orNull(cert.Algorithm())
			}
			if kind, _ := cert.Revocation(); kind != record.NotRevoked {
				views[i].CanSign, views[i].Problem = false, orNull(string(record.ReasonOf(cert.CanSign(a.Now()))))
			}
		}
		if p != nil {
			if owner, ok := p.OwnerOf(fpr); ok {
				views[i].Owner = orNull(owner)
			}
		}
	}
}

func newKeyAddCmd(app *App) *cobra.Command {
	var out outputFlags
	cmd := &cobra.Command{
		Use:   "add FILE or FINGERPRINT",
		Short: "Publish another key of yours, and sign with it once it is admitted",
		Long: `Publishes the certificate of another key of yours, in a file or in gpg. An admin
adds it to the policy with "jit admit"; until then you go on with the old one.
Run it again after that, and you sign with the new key.`,
		Args: exactly("FILE or FINGERPRINT"),
		RunE: func(cmd *cobra.Command, args []string) error { return app.addKey(cmd.Context(), out, args[0]) },
	}
	out.add(cmd, []string{"name", "fingerprint", "inPolicy", "admit"})
	return cmd
}

func (a *App) addKey(ctx context.Context, out outputFlags, key string) (err error) {
	s, err := a.Settings()
	if err != nil {
		return err
	}
	signing := signingFor(key)
	if signing.KeyFile != "" {
		if signing.KeyFile, err = filepath.Abs(key); err != nil {
			return err
		}
		if _, err := os.Stat(signing.KeyFile); err != nil {
			return failure(exitUsage, "no-key", "see: jit key list", "there is no key %q: neither a file nor a full fingerprint", key)
		}
	}
	signer, err := a.signerFor(ctx, signing)
	if err != nil {
		return err
	}
	cert, err := signer.Certificate(ctx)
	if err != nil {
		return err
	}
	rep, _, err := a.Synced(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	admitted := inPolicy(rep, s.Name, cert)
	say, err := a.enroll(ctx, rep, s, cert)
	if err != nil {
		return err
	}
	if admitted || s.Signing.IsZero() {
		if s.Signing == signing {
			say = "already done: you sign with this key.\n"
		} else {
			s.Signing = signing
			if err := a.saveSettings(s); err != nil {
				return err
			}
			say += "You sign with this key now.\n"
		}
	} else {
		say += "Then run this again, to sign with it.\n"
	}
	v := enrollView{Name: s.Name, Fingerprint: string(cert.Fingerprint()), InPolicy: admitted, Admit: admitLine(s.Name, cert)}
	return a.Print(out, v, func(w io.Writer) error {
		_, err := io.WriteString(w, say)
		return err
	})
}

type keyRevokeOptions struct {
	app         *App
	out         outputFlags
	reason      string
	compromised bool
	retired     bool
	yes         bool
}

func newKeyRevokeCmd(app *App) *cobra.Command {
	o := &keyRevokeOptions{app: app}
	cmd := &cobra.Command{
		Use:   "revoke [FILE or FINGERPRINT]",
		Short: "Take back a key of yours, for good",
		Long: `Publishes a revocation of a key of yours (the one you sign with, where none is
named). It cannot be undone.

With --retired nothing that it signs from now on counts. With --compromised every
approval and open grant that rests on it ends as well.`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.compromised, "compromised", false, "others may hold the key: what rests on it ends")
	f.BoolVar(&o.retired, "retired", false, "the key is no longer used")
	f.StringVarP(&o.reason, "reason", "r", "", "why, for people")
	o.app.insistFlag(cmd)
	f.BoolVar(&o.yes, "yes", false, "revoke without asking")
	o.out.add(cmd, keyFields)
	return cmd
}

func (o *keyRevokeOptions) run(cmd *cobra.Command, args []string) (err error) {
	ctx, a := cmd.Context(), o.app
	s, err := a.Settings()
	if err != nil {
		return err
	}
	signing := s.Signing
	if len(args) == 1 {
		signing = signingFor(args[0])
	}
	if signing.IsZero() {
		return failure(exitUsage, "no-key", "name it: jit key revoke FILE", "no key is set up")
	}
	if o.compromised == o.retired {
		return failure(exitUsage, "kind-missing", "add: --retired, or --compromised where others may hold the key", "a revocation says whether the key is retired or compromised")
	}
	reason, err := a.Text(o.reason, cmd.Flags().Changed("reason"), "reason", "Why is the key revoked? One line.")
	if err != nil {
		return err
	}
	if reason == "" || strings.Contains(reason, "\n") {
		return failure(exitUsage, "reason-missing", "add: -r REASON, on one line", "a reason on one line is needed")
	}
	rep, _, err := a.Synced(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	return o.revoke(ctx, rep, s, signing, reason)
}

func (o *keyRevokeOptions) revoke(ctx context.Context, rep *replica.Replica, s Settings, signing SigningSettings, reason string) error {
	a := o.app
	kind := record.RevokedSoft
	if o.compromised {
		kind = record.RevokedHard
	}
	fpr := signing.GPG
	if signing.KeyFile != "" {
		cert, err := readPublicPart(signing.KeyFile)
		if err != nil {
			return failure(exitUsage, "no-key", "see: jit key list", "the key file %q cannot be read: %v", signing.KeyFile, err)
		}
		fpr = cert.Fingerprint()
	}
	if known, err := rep.Ledger().Certificate(fpr); err != nil {
		return err
	} else if known != nil {
		if was, at := known.Revocation(); was == record.RevokedHard || was == kind {
			a.Say("already done: the key was revoked at %s", a.FormatTime(at))
			return a.Print(o.out, viewKey(known, "store", a.Now()), func(w io.Writer) error { return nil })
		}
	}
	a.Say("Revoke the key %s for good (%s)?", fpr, kind)
	if !o.yes {
		ok, err := a.Confirm("It cannot be undone. Revoke it?")
		if err != nil {
			return err
		}
		if !ok {
			return failure(exitInterrupted, "not-revoked", "", "nothing was revoked")
		}
	}
	armor, err := a.revocation(ctx, signing, kind, reason)
	if err != nil {
		return err
	}
	cert, err := record.ParseCertificate(armor)
	if err != nil {
		return fmt.Errorf("the revocation: %w", err)
	}
	if _, err := a.publish(ctx, rep, s.Name, s.Name+" revokes a key", cert); err != nil {
		return err
	}
	return a.Print(o.out, viewKey(cert, "store", a.Now()), func(w io.Writer) error {
		fmt.Fprintf(w, "Revoked %s.\n", cert.Fingerprint())
		if signing == s.Signing {
			fmt.Fprintf(w, "You have no other key set up. Make one: jit key generate; publish it: jit key add FILE\n")
		}
		return nil
	})
}

// revocation makes the certificate with its revocation.
func (a *App) revocation(ctx context.Context, s SigningSettings, kind record.RevocationKind, reason string) ([]byte, error) {
	if s.GPG != "" {
		return record.RevokeGPG(ctx, a.gpgOptions(s.GPG), kind, reason)
	}
	signer, err := a.signerFor(ctx, s)
	if err != nil {
		return nil, err
	}
	return record.RevokeKey(signer, kind, reason, a.Now())
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

type joinOptions struct {
	app      *App
	out      outputFlags
	key      keyChoice
	name     string
	storeID  string
	at       string
	branch   string
	trans    string
	noEnroll bool
	force    bool
}

func newJoinCmd(app *App) *cobra.Command {
	o := &joinOptions{app: app}
	cmd := &cobra.Command{
		Use:   "join URL --as NAME",
		Short: "Use a store that is there, and ask to be added",
		Long: `Fetches and verifies a store, and publishes your certificate so that an admin
can add you. The line that "jit status" prints for you pins the store's identity
and a recent head. Without --store-id both are shown with the admins'
fingerprints: compare them with an admin over another channel, and type the
first eight digits of the identity.`,
		Example: `  jit join git@git.example.org:ops/access.git --as bob --store-id 3b1f… --at 9c0e…`,
		GroupID: groupAdmin,
		Args:    atMost(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	f := cmd.Flags()
	f.StringVar(&o.name, "as", "", "your `NAME` in the policy")
	f.StringVar(&o.storeID, "store-id", "", "the store's `identity`, learnt from somebody who uses it")
	f.StringVar(&o.at, "at", "", "a `COMMIT` that the history must hold, learnt in the same way")
	f.StringVar(&o.branch, "branch", "", "the branch that holds the store (main)")
	f.StringVar(&o.trans, "transport", "", "auto, builtin, or git to let the git program fetch and push")
	f.BoolVar(&o.noEnroll, "no-enroll", false, "do not publish a certificate: look only")
	f.BoolVar(&o.force, "replace", false, "replace the store in your configuration")
	o.key.add(cmd)
	o.out.add(cmd, storeFields)
	return cmd
}

func (o *joinOptions) run(ctx context.Context, args []string) (err error) {
	a := o.app
	url, err := a.storeURL(args, "jit join URL --as NAME")
	if err != nil {
		return err
	}
	if err := checkName(o.name); err != nil {
		return err
	}
	pinned, at, err := o.pins()
	if err != nil {
		return err
	}
	known, knownErr := a.Settings()
	again := knownErr == nil && pinned != "" && known.Store.Identity == pinned
	if !again {
		if err := a.mayReplace(o.force); err != nil {
			return err
		}
	}
	if pinned == "" && !a.IO.CanAsk() {
		return failure(exitUsage, "store-id-missing", "add: --store-id ID; a colleague's \"jit status\" prints the whole line", "the store's identity is not given, and there is no terminal to confirm it")
	}
	f, err := a.folders()
	if err != nil {
		return err
	}
	temp := f.joinCopy(url, o.branch)
	defer func() {
		// What was fetched is of use to the next try, where this one was stopped
		// or the network broke off. On success it has moved.
		if _, there := os.Stat(temp); there != nil {
			return
		}
		if err != nil && (ctx.Err() != nil || isUnreachable(err)) {
			a.Say("what was fetched is kept: run the same command again to go on")
			return
		}
		err = errors.Join(err, os.RemoveAll(temp))
	}()
	s := Settings{Name: o.name, Store: StoreSettings{URL: url, Identity: pinned, Branch: o.branch, Transport: o.trans}}
	if s.Store.Identity, err = o.confirm(ctx, s, temp, at); err != nil {
		return err
	}
	if knownErr == nil && known.Store.Identity == s.Store.Identity {
		if at, err = a.verifiedBefore(ctx, known, at); err != nil {
			return err
		}
	}
	if o.noEnroll {
		return o.lookOnly(ctx, s, temp, at)
	}
	signing, signer, err := o.key.choose(ctx, a, o.name)
	if err != nil {
		return err
	}
	cert, err := signer.Certificate(ctx)
	if err != nil {
		return errors.Join(err, o.key.discard())
	}
	s.Signing = signing
	v, err := a.pin(ctx, s, temp, at, cert)
	if err != nil {
		return errors.Join(err, o.key.discard())
	}
	rep, _, err := a.Open(ctx)
	if err != nil {
		return err
	}
	say, err := a.enroll(ctx, rep, s, cert)
	if err = errors.Join(err, rep.Close()); err != nil {
		return err
	}
	return a.Print(o.out, v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "Joined the store %s\nat %s as %s.\n\n%s", v.Store, clean(v.URL), v.Name, say)
		return err
	})
}

// lookOnly pins the store for somebody who signs nothing there.
func (o *joinOptions) lookOnly(ctx context.Context, s Settings, temp string, at gitstore.Hash) error {
	v, err := o.app.pin(ctx, s, temp, at, nil)
	if err != nil {
		return err
	}
	return o.app.Print(o.out, v, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "Joined the store %s\nat %s, to look only.\n", v.Store, clean(v.URL))
		return err
	})
}

// pins reads --store-id and --at.
func (o *joinOptions) pins() (id record.StoreID, at gitstore.Hash, err error) {
	if o.storeID != "" {
		if id, err = record.ParseStoreID(strings.ToLower(o.storeID)); err != nil {
			return "", "", &exitError{Exit: exitUsage, Code: "bad-store-id", Message: fmt.Sprintf("%q is not a store's identity", o.storeID),
				Hint: "it has 64 digits; a colleague's \"jit status\" prints it", Err: err}
		}
	}
	if o.at != "" {
		if at, err = gitstore.ParseHash(strings.ToLower(o.at)); err != nil {
			return "", "", &exitError{Exit: exitUsage, Code: "bad-commit", Message: fmt.Sprintf("%q is not a whole commit", o.at),
				Hint: "it has 40 digits; a colleague's \"jit status\" prints it", Err: err}
		}
	}
	return id, at, nil
}

// confirm fetches the store into temp, and has a person confirm its identity
// where it was not given.
func (o *joinOptions) confirm(ctx context.Context, s Settings, temp string, at gitstore.Hash) (record.StoreID, error) {
	a := o.app
	c, err := a.replicaConfig(s)
	if err != nil {
		return "", err
	}
	c.Dir, c.At = temp, at
	found, err := replica.Inspect(ctx, c)
	if err != nil {
		return "", err
	}
	if s.Store.Identity != "" {
		if found.Identity != s.Store.Identity {
			return "", failure(exitUntrusted, "other-store", "check the address, and the identity with an admin. Nothing was kept",
				"the store at %s is %s, not %s", gitstore.Redact(s.Store.URL), found.Identity, s.Store.Identity)
		}
		return found.Identity, nil
	}
	a.Say("The store at %s", clean(gitstore.Redact(s.Store.URL)))
	a.Say("  identity  %s", found.Identity)
	a.Say("  head      %s (%s, %d set aside)", found.Head, count(found.Records, "record"), found.SetAside)
	a.Say("  admins    %d must agree on a change of the policy", found.Threshold)
	for _, admin := range found.Admins {
		a.Say("    %-12s %s", clean(admin.Name), admin.Fingerprint.Grouped())
	}
	a.Say("Compare these with an admin, over another channel than the one that gave you the address.")
	want := string(found.Identity[:8])
	for range maxTries {
		got, err := a.Ask("If they are right, type the first 8 digits of the identity:", "--store-id ID")
		if err != nil {
			return "", err
		}
		if strings.EqualFold(got, want) {
			return found.Identity, nil
		}
		a.Say("That is not what the identity begins with.")
	}
	return "", failure(exitUntrusted, "not-confirmed", "ask an admin for the line that \"jit status\" prints", "the store's identity was not confirmed; nothing was kept")
}

// verifiedBefore gives what this machine has verified of a store that it joins
// again, perhaps at another address: the new history must hold it. Records that
// wait to be sent are not dropped.
func (a *App) verifiedBefore(ctx context.Context, known Settings, at gitstore.Hash) (gitstore.Hash, error) {
	c, err := a.replicaConfig(known)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(c.Dir); err != nil {
		return at, nil
	}
	rep, err := replica.Open(ctx, c)
	if err != nil {
		return "", err
	}
	defer rep.Close()
	waiting, err := rep.Spooled()
	if err != nil {
		return "", err
	}
	if len(waiting) > 0 {
		return "", failure(exitUsage, "spool", "send them first: jit sync", "%s signed here and not sent yet", count(len(waiting), "submission")+" "+are(len(waiting)))
	}
	before, err := rep.Checkpoint()
	if err != nil || before == "" {
		return at, err
	}
	return before, nil
}

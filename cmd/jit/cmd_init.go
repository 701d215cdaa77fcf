package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/target/builtin"
	"github.com/jitaccess/jit/testdata/policies"
)

type initOptions struct {
	app    *App
	out    outputFlags
	key    keyChoice
	name   string
	policy string
	begin  string
	branch string
	force  bool
}

// storeView is a store that was made or joined.
type storeView struct {
	Store string  `json:"store"`
	URL   string  `json:"url"`
	Name  string  `json:"name"`
	Key   *string `json:"key"`
	Head  string  `json:"head"`
	Join  string  `json:"join"`
	// Example is the folder with the example from which the store began.
	Example *string `json:"example"`
}

var storeFields = []string{"store", "url", "name", "key", "head", "join", "example"}

func newInitCmd(app *App) *cobra.Command {
	o := &initOptions{app: app}
	cmd := &cobra.Command{
		Use:   "init [URL or FOLDER] --as NAME",
		Short: "Make a new store, with you as its first admin",
		Long: `Makes a store in an empty git repository. A folder that does not exist becomes
a bare repository.

The first policy says that you are the admin and that every request needs an
admin's approval. With --policy FILE it is yours: the part that people write
(admins, people, groups, reconcilers, resources, rules). Where you are among its
people without a key, yours is filled in. With --example it is one of the
examples that come with jit, reduced to you, and the whole example is written to
the folder jit-EXAMPLE, to go on from.`,
		Example: `  jit init git@git.example.org:ops/access.git --as alice
  jit init ./store --as alice --generate-key
  jit init ./store --as alice --generate-key --example startup`,
		GroupID: groupAdmin,
		Args:    atMost(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	cmd.Flags().StringVar(&o.name, "as", "", "your `NAME` in the policy")
	cmd.Flags().StringVar(&o.policy, "policy", "", "begin with the policy in `FILE`")
	cmd.Flags().StringVar(&o.begin, "example", "", "begin with this `EXAMPLE`: "+strings.Join(policies.Names, ", "))
	_ = cmd.RegisterFlagCompletionFunc("example", cobra.FixedCompletions(policies.Names, cobra.ShellCompDirectiveNoFileComp))
	cmd.Flags().StringVar(&o.branch, "branch", "", "the branch that holds the store (main)")
	cmd.Flags().BoolVar(&o.force, "replace", false, "replace the store in your configuration")
	o.key.add(cmd)
	o.out.add(cmd, storeFields)
	return cmd
}

func (o *initOptions) run(ctx context.Context, args []string) error {
	a := o.app
	if o.policy != "" && o.begin != "" {
		return usageErr("keep one of them", "--policy and --example do not go together")
	}
	url, err := a.storeURL(args, "jit init URL --as NAME")
	if err != nil {
		return err
	}
	if err := checkName(o.name); err != nil {
		return err
	}
	if err := a.mayReplace(o.force); err != nil {
		return err
	}
	data, body, err := o.readBody()
	if err != nil {
		return err
	}
	ex, err := o.example()
	if err != nil {
		return err
	}
	signing, signer, err := o.key.choose(ctx, a, o.name)
	if err != nil {
		return err
	}
	cert, err := signer.Certificate(ctx)
	if err != nil {
		return err
	}
	if body == nil {
		body = firstBody(o.name, o.key, cert)
		if ex != nil {
			ex.adopt(o.name, body.People[o.name])
			body = ex.body
		}
	} else if err := fillOwnKey(body, o.name, cert.Fingerprint(), o.policy); err != nil {
		return errors.Join(err, o.key.discard())
	}
	if err := checkBody(o.policy, data, body); err != nil {
		return errors.Join(err, o.key.discard())
	}
	if err := placeholderKeys(body); err != nil {
		return errors.Join(err, o.key.discard())
	}
	made := false
	if ex != nil {
		if err := ex.write(); err != nil {
			return errors.Join(err, o.key.discard())
		}
		defer func() {
			if !made {
				os.RemoveAll(ex.folder())
			}
		}()
	}
	f, err := a.folders()
	if err != nil {
		return err
	}
	temp, err := f.newCopy()
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	id, err := replica.Init(ctx, replica.Config{Dir: temp, URL: url, Branch: o.branch}, replica.InitOptions{
		Body: *body, By: o.name, Signer: signer, Certificates: []*record.Certificate{cert}, Now: a.Now(),
	})
	if err != nil {
		return errors.Join(err, o.key.discard())
	}
	s := Settings{Name: o.name, Store: StoreSettings{URL: url, Identity: id, Branch: o.branch}, Signing: signing}
	v, err := a.pin(ctx, s, temp, "", cert)
	if err != nil {
		return err
	}
	if ex != nil {
		made, v.Example = true, orNull(ex.folder())
	}
	return a.Print(o.out, v, func(w io.Writer) error {
		fmt.Fprintf(w, "Made the store %s\n", v.Store)
		fmt.Fprintf(w, "at %s, with you (%s) as its admin.\n\n", clean(gitstore.Redact(url)), o.name)
		fmt.Fprintf(rawWriter(w), "Others join with\n  %s\n", v.Join) // one line, to be copied
		if ex != nil {
			ex.next(w)
			return nil
		}
		_, err := fmt.Fprintf(w, "Say what there is to ask for with\n  jit policy edit\n")
		return err
	})
}

func (o *initOptions) readBody() ([]byte, *policy.Body, error) {
	if o.policy == "" {
		return nil, nil, nil
	}
	return readBody(o.app, o.policy)
}

// example reads what --example names; nil without it.
func (o *initOptions) example() (*example, error) {
	if o.begin == "" {
		return nil, nil //nolint:nilnil // nothing is asked for
	}
	e, err := readExample(o.begin, o.name)
	if err != nil {
		return nil, err
	}
	return e, e.free()
}

// firstBody is the policy of a store about which nothing was said: every
// request asks an admin.
func firstBody(name string, key keyChoice, cert *record.Certificate) *policy.Body {
	me := policy.Person{Name: key.fullName, Email: key.email, Keys: []record.Fingerprint{cert.Fingerprint()}}
	if full, email, ok := splitUserID(cert.UserIDs()); ok {
		if me.Name == "" && full != name {
			me.Name = full
		}
		if me.Email == "" {
			me.Email = email
		}
	}
	longest := mustDuration("8h")
	return &policy.Body{
		Admins: policy.Admins{People: []string{name}, Threshold: 1},
		People: map[string]policy.Person{name: me},
		Groups: map[string][]string{"admins": {name}},
		Rules: []policy.Rule{{
			Name: "everything-asks-an-admin", Resources: []string{"*"}, Roles: []string{"*"}, Requesters: []string{"*"},
			MaxDuration: longest, Stages: []policy.Stage{{Approvers: []string{"group:admins"}, Count: 1}},
		}},
	}
}

func mustDuration(s string) record.Duration {
	d, err := record.ParseDuration(s)
	if err != nil {
		panic(err) // a constant of this program
	}
	return d
}

// splitUserID takes the first user id, "Name <address>", apart.
func splitUserID(ids []string) (name, email string, ok bool) {
	if len(ids) == 0 {
		return "", "", false
	}
	name, rest, found := strings.Cut(ids[0], "<")
	if found && strings.HasSuffix(rest, ">") {
		return strings.TrimSpace(name), strings.TrimSuffix(rest, ">"), true
	}
	return strings.TrimSpace(ids[0]), "", true
}

// fillOwnKey puts the key of the person who makes the store where a policy
// names that person without one.
func fillOwnKey(body *policy.Body, name string, fpr record.Fingerprint, file string) error {
	p, ok := body.People[name]
	if !ok {
		return failure(exitUsage, "not-in-policy", "add yourself under people and admins, or give another --as", "%s does not name %q among its people", file, name)
	}
	if len(p.Keys) == 0 {
		p.Keys = []record.Fingerprint{fpr}
		body.People[name] = p
	}
	for _, k := range p.Keys {
		if k == fpr {
			return nil
		}
	}
	return failure(exitUsage, "other-key", "sign with that key, or correct the file", "%s gives %q other keys than the one that signs: %s", file, name, fpr)
}

// storeURL gives the address of a store: the argument, or --store. A folder
// becomes absolute, for the configuration is read from anywhere.
func (a *App) storeURL(args []string, usage string) (string, error) {
	url := a.storeFlag()
	if len(args) > 0 {
		url = args[0]
	}
	if url == "" {
		return "", failure(exitUsage, "no-url", "run: "+usage, "the store's address is missing")
	}
	if !strings.Contains(url, ":") && !strings.HasPrefix(url, "-") {
		return filepath.Abs(url)
	}
	return url, nil
}

// mayReplace refuses to forget a store that is set up.
func (a *App) mayReplace(force bool) error {
	known, err := a.Settings()
	if err != nil || force {
		return nil //nolint:nilerr // no configuration, or one that cannot be read, is replaced
	}
	return failure(exitUsage, "has-store", "add --replace to use another one, or set JIT_HOME to another folder", "you already use the store %s at %s", known.Store.Identity, gitstore.Redact(known.Store.URL))
}

// joinCopy is the folder for what is fetched of a store before it is pinned. It
// is the same one for the same address, so that a join that was stopped goes on
// where it was.
func (f folders) joinCopy(url, branch string) string {
	sum := sha256.Sum256([]byte(url + "\x00" + branch))
	return filepath.Join(f.state, "stores", "joining-"+hex.EncodeToString(sum[:8]))
}

// newCopy makes a folder for a store whose identity is not known yet.
func (f folders) newCopy() (string, error) {
	dir := filepath.Join(f.state, "stores")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(dir, "new-")
}

// pin makes the copy in temp the one of the store in s, verifies its history,
// and keeps s. A copy that was there before is replaced; what it had verified
// comes as at, which the history must hold.
func (a *App) pin(ctx context.Context, s Settings, temp string, at gitstore.Hash, cert *record.Certificate) (v storeView, err error) {
	f, err := a.folders()
	if err != nil {
		return v, err
	}
	c, err := a.replicaConfig(s)
	if err != nil {
		return v, err
	}
	c.Dir, c.At = temp, at
	rep, err := replica.Open(ctx, c)
	if err != nil {
		return v, err
	}
	_, err = rep.Sync(ctx)
	head, _ := rep.Ledger().Head()
	if err := errors.Join(err, rep.Close()); err != nil {
		return v, err
	}
	dir := f.storeDir(s.Store.Identity)
	if err := replaceDir(dir, temp); err != nil {
		return v, err
	}
	if err := a.saveSettings(s); err != nil {
		return v, err
	}
	v = storeView{Store: string(s.Store.Identity), URL: gitstore.Redact(s.Store.URL), Name: s.Name, Head: string(head), Join: joinLine(s, head)}
	if cert != nil {
		v.Key = orNull(string(cert.Fingerprint()))
	}
	return v, nil
}

// replaceDir puts the folder by in the place of dir. What was there is removed
// last, since it holds what this machine had verified.
func replaceDir(dir, by string) error {
	old := dir + ".old"
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(by, dir); err != nil {
		return errors.Join(err, os.Rename(old, dir))
	}
	return os.RemoveAll(old)
}

// parametersCheck asks the drivers that come with jit. A driver that is a
// program of its own is judged where it is.
func parametersCheck(driver string, parameters map[string]string) error {
	return builtin.ValidateRole(driver, parameters)
}

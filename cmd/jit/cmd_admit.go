package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/target/builtin"
)

type admitOptions struct {
	proposeOptions
	fingerprint string
	teams       []string
	groups      []string
	accounts    []string
	fullName    string
	email       string
	reconciler  bool
	resources   []string
}

func newAdmitCmd(app *App) *cobra.Command {
	o := &admitOptions{proposeOptions: proposeOptions{app: app}}
	cmd := &cobra.Command{
		Use:   "admit NAME",
		Short: "Propose the policy version that adds a person or a key",
		Long: `Adds a person who ran "jit enroll" to the policy, or another key to one who is
there. Compare the fingerprint with them over a channel where you know them
before you sign.

With --reconciler it adds the key of a machine that opens and ends access to the
named resources.`,
		Example: `  jit admit bob --team backend
  jit admit bob --account postgres=bob --account authorized-keys="$(cat bob.pub)"
  jit admit db1 --reconciler --resource orders-db --fingerprint …`,
		GroupID:           groupAdmin,
		Args:              exactly("NAME"),
		ValidArgsFunction: app.completeEnrolments,
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.at(cmd.Context(), func(d *desk) (*policy.Body, string, error) { return o.body(d, args[0]) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.fingerprint, "fingerprint", "", "the full `FINGERPRINT` of their key")
	f.StringArrayVar(&o.teams, "team", nil, "a `team` of theirs (may be given again)")
	f.StringArrayVar(&o.groups, "group", nil, "a `group` of the policy that they join (may be given again)")
	f.StringArrayVar(&o.accounts, "account", nil, "who they are on targets, as `DRIVER=VALUE` (may be given again)")
	f.StringVar(&o.fullName, "full-name", "", "their full name")
	f.StringVar(&o.email, "email", "", "their address")
	f.BoolVar(&o.reconciler, "reconciler", false, "NAME is a machine that opens and ends access")
	f.StringArrayVar(&o.resources, "resource", nil, "a `resource` that the reconciler opens and ends (may be given again)")
	o.add(cmd)
	_ = cmd.RegisterFlagCompletionFunc("fingerprint", app.completeFingerprints)
	_ = cmd.RegisterFlagCompletionFunc("resource", app.completeResourceNames)
	return cmd
}

// body gives the body in force with the person or reconciler in it.
func (o *admitOptions) body(d *desk, name string) (*policy.Body, string, error) {
	if err := checkName(name); err != nil {
		return nil, "", err
	}
	body, err := cloneBody(d.policy().Document().Body)
	if err != nil {
		return nil, "", err
	}
	cert, err := o.certificate(d, name)
	if err != nil {
		return nil, "", err
	}
	fpr := cert.Fingerprint()
	if owner, ok := d.policy().OwnerOf(fpr); ok && owner != name {
		return nil, "", failure(exitRefused, "key-taken", "one key belongs to one", "key %s belongs to %s already", fpr, owner)
	}
	o.app.Say("Compare this fingerprint with %s, over a channel where you know them:", name)
	o.app.Say("  %s", fpr.Grouped())
	o.app.Say("  %s, %s", clean(strings.Join(cert.UserIDs(), ", ")), cert.Algorithm())
	what := "admits " + name
	if o.reconciler {
		err = o.addReconciler(body, name, fpr)
	} else {
		err = o.addPerson(body, name, cert)
	}
	if err != nil {
		return nil, "", err
	}
	return body, what, checkBody("", nil, body)
}

// cloneBody gives a copy that can be changed.
func cloneBody(b policy.Body) (*policy.Body, error) {
	data, err := record.Encode(b)
	if err != nil {
		return nil, err
	}
	var c policy.Body
	return &c, record.DecodeStrict(data, &c)
}

// certificate finds the published certificate that is meant.
func (o *admitOptions) certificate(d *desk, name string) (*record.Certificate, error) {
	l := d.rep.Ledger()
	if o.fingerprint != "" {
		fpr, err := record.ParseFingerprint(strings.ToUpper(strings.ReplaceAll(o.fingerprint, " ", "")))
		if err != nil {
			return nil, usageErr("give all 40 digits", "%q is not a full fingerprint", o.fingerprint)
		}
		if cert, err := l.Certificate(fpr); err != nil || cert != nil {
			return cert, err
		}
		return nil, failure(exitRefused, "not-enrolled", "have them run: jit enroll", "the store has no certificate %s", fpr)
	}
	waiting, err := d.rep.Ledger().Enrolments()
	if err != nil {
		return nil, err
	}
	fits := slices.DeleteFunc(slices.Clone(waiting), func(e ledger.Enrolment) bool { return !enrolledAs(e, name) })
	if len(fits) == 0 {
		fits = waiting
	}
	switch {
	case len(waiting) == 0:
		return nil, failure(exitRefused, "not-enrolled", "have them run: jit join URL --as "+name+", or: jit enroll", "nobody waits to be admitted")
	case o.yes || !o.app.IO.CanAsk():
		return nil, failure(exitUsage, "fingerprint-missing", "add: --fingerprint FINGERPRINT; one that waits is "+string(fits[0].Fingerprint),
			"without a person who compares it, the fingerprint must be given")
	case len(fits) == 1:
		return l.Certificate(fits[0].Fingerprint)
	}
	var options []string
	for _, e := range fits {
		options = append(options, string(e.Fingerprint)+"  "+clean(strings.Join(e.UserIDs, ", ")))
	}
	n, err := o.app.Choose("Which key is "+name+"'s?", "--fingerprint FINGERPRINT", options)
	if err != nil {
		return nil, err
	}
	return l.Certificate(fits[n].Fingerprint)
}

// enrolledAs reports whether a certificate claims to be of the name. It only
// sorts what a person chooses from.
func enrolledAs(e ledger.Enrolment, name string) bool {
	return slices.ContainsFunc(e.UserIDs, func(id string) bool {
		full, email, _ := splitUserID([]string{id})
		local, _, _ := strings.Cut(email, "@")
		return strings.EqualFold(full, name) || strings.EqualFold(local, name)
	})
}

func (o *admitOptions) addPerson(body *policy.Body, name string, cert *record.Certificate) error {
	if len(o.resources) > 0 {
		return usageErr("add: --reconciler, or leave --resource out", "--resource is for a reconciler")
	}
	p, known := body.People[name]
	if !slices.Contains(p.Keys, cert.Fingerprint()) {
		p.Keys = append(p.Keys, cert.Fingerprint())
	}
	if !known {
		full, email, _ := splitUserID(cert.UserIDs())
		if full != name {
			p.Name = full
		}
		p.Email = email
	}
	if o.fullName != "" {
		p.Name = o.fullName
	}
	if o.email != "" {
		p.Email = o.email
	}
	for _, t := range o.teams {
		if !slices.Contains(p.Teams, t) {
			p.Teams = append(p.Teams, t)
		}
	}
	for _, pair := range o.accounts {
		driver, account, ok := strings.Cut(pair, "=")
		if !ok || driver == "" || account == "" {
			return usageErr("write: --account postgres=bob", "%q is not DRIVER=VALUE", pair)
		}
		if _, ok := builtin.Drivers()[driver]; !ok {
			near := policy.Nearest(driver, slices.Sorted(maps.Keys(builtin.Drivers())))
			if len(near) > 0 {
				return usageErr("did you mean "+near[0]+"?", "there is no driver %q", driver)
			}
		}
		if p.Accounts == nil {
			p.Accounts = map[string]string{}
		}
		p.Accounts[driver] = strings.TrimSpace(account)
	}
	body.People[name] = p
	for _, g := range o.groups {
		if _, ok := body.Groups[g]; !ok {
			return failure(exitUsage, "unknown-group", "groups are: "+strings.Join(sortedKeys(body.Groups), ", "), "there is no group %q", g)
		}
		if !slices.Contains(body.Groups[g], name) {
			body.Groups[g] = append(body.Groups[g], name)
		}
	}
	return nil
}

func (o *admitOptions) addReconciler(body *policy.Body, name string, fpr record.Fingerprint) error {
	if len(o.teams)+len(o.groups)+len(o.accounts) > 0 {
		return usageErr("leave them out", "a reconciler has no teams, groups or accounts")
	}
	r := body.Reconcilers[name]
	if !slices.Contains(r.Keys, fpr) {
		r.Keys = append(r.Keys, fpr)
	}
	for _, res := range o.resources {
		if !slices.Contains(r.Resources, res) {
			r.Resources = append(r.Resources, res)
		}
	}
	if len(r.Resources) == 0 {
		return failure(exitUsage, "resource-missing", fmt.Sprintf("add: --resource NAME; known are %s", strings.Join(sortedKeys(body.Resources), ", ")), "a reconciler needs resources")
	}
	if body.Reconcilers == nil {
		body.Reconcilers = map[string]policy.Reconciler{}
	}
	body.Reconcilers[name] = r
	return nil
}

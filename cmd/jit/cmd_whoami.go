package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

type whoamiOptions struct {
	app *App
	out outputFlags
}

type whoamiView struct {
	Name       string            `json:"name"`
	InPolicy   bool              `json:"inPolicy"`
	Admin      bool              `json:"admin"`
	FullName   *string           `json:"fullName"`
	Email      *string           `json:"email"`
	Teams      []string          `json:"teams"`
	Groups     []string          `json:"groups"`
	Accounts   map[string]string `json:"accounts"`
	Key        *string           `json:"key"`
	KeyIn      *string           `json:"keyIn"`
	KeyCounts  bool              `json:"keyCounts"`
	KeyExpires *string           `json:"keyExpires"`
	Keys       []string          `json:"keys"`
	Store      string            `json:"store"`
	// Locked is the lock of this person, or of the key that they sign with. ActsFor
	// and DelegatesTo are the delegations to and by this person that count.
	Locked      *lockView        `json:"locked"`
	ActsFor     []delegationView `json:"actsFor"`
	DelegatesTo []delegationView `json:"delegatesTo"`
}

func newWhoamiCmd(app *App) *cobra.Command {
	o := &whoamiOptions{app: app}
	cmd := &cobra.Command{
		Use:     "whoami",
		Short:   "Who you are in the policy, and with which key you sign",
		GroupID: groupAdmin,
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	o.out.add(cmd, []string{"name", "inPolicy", "admin", "fullName", "email", "teams", "groups", "accounts", "key", "keyIn",
		"keyCounts", "keyExpires", "keys", "store", "locked", "actsFor", "delegatesTo"})
	return shows(cmd)
}

func (o *whoamiOptions) run(ctx context.Context) (err error) {
	a := o.app
	rep, s, err := a.Synced(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	v := whoamiView{Name: s.Name, Teams: []string{}, Groups: []string{}, Accounts: map[string]string{}, Keys: []string{}, Store: string(s.Store.Identity)}
	p := rep.Ledger().Policies().Latest()
	if p != nil {
		v.fromPolicy(p)
	}
	v.fromSettings(s.Signing, rep.Ledger())
	v.KeyCounts = v.Key != nil && slices.Contains(v.Keys, *v.Key)
	if err := v.fromStanding(rep.Ledger(), a.Now()); err != nil {
		return err
	}
	return a.Print(o.out, v, func(w io.Writer) error { return a.renderWhoami(w, v) })
}

// fromStanding tells of locks and delegations.
func (v *whoamiView) fromStanding(l *ledger.Ledger, now time.Time) error {
	v.ActsFor, v.DelegatesTo = []delegationView{}, []delegationView{}
	if l.Policy() == nil {
		return nil
	}
	key := record.Fingerprint("")
	if v.Key != nil {
		key = record.Fingerprint(*v.Key)
	}
	if h := l.Locks().On(v.Name, key); h != nil {
		x := viewLock(l, *h)
		v.Locked = &x
	}
	all, err := viewDelegations(l, now)
	for _, d := range all {
		switch v.Name {
		case d.To:
			v.ActsFor = append(v.ActsFor, d)
		case d.By:
			v.DelegatesTo = append(v.DelegatesTo, d)
		}
	}
	return err
}

func (v *whoamiView) fromPolicy(p *policy.Policy) {
	person, ok := p.Person(v.Name)
	if !ok {
		return
	}
	v.InPolicy, v.Admin = true, p.IsAdmin(v.Name)
	v.FullName, v.Email = orNull(person.Name), orNull(person.Email)
	v.Teams = append(v.Teams, person.Teams...)
	for name, members := range p.Document().Groups {
		if slices.Contains(members, v.Name) {
			v.Groups = append(v.Groups, name)
		}
	}
	slices.Sort(v.Groups)
	for driver, account := range person.Accounts {
		v.Accounts[driver] = account
	}
	for _, k := range person.Keys {
		v.Keys = append(v.Keys, string(k))
	}
}

// fromSettings reads the public half of the key alone: nobody is asked for a
// passphrase to be told who they are.
func (v *whoamiView) fromSettings(s SigningSettings, known *ledger.Ledger) {
	fpr := s.GPG
	switch {
	case s.KeyFile != "":
		v.KeyIn = orNull("file " + s.KeyFile)
		cert, err := readPublicPart(s.KeyFile)
		if err != nil {
			return
		}
		fpr = cert.Fingerprint()
	case s.GPG != "":
		v.KeyIn = orNull("gpg")
	default:
		return
	}
	v.Key = orNull(string(fpr))
	if cert, err := known.Certificate(fpr); err == nil && cert != nil {
		if end, ok := cert.Expires(); ok {
			v.KeyExpires = timeOrNull(end)
		}
	}
}

func (a *App) renderWhoami(w io.Writer, v whoamiView) error {
	st := a.IO.OutStyle()
	name := st.Bold(v.Name)
	if v.FullName != nil {
		name += " (" + *v.FullName + ")"
	}
	fmt.Fprintln(w, name)
	switch {
	case !v.InPolicy:
		fmt.Fprintf(w, "policy   %s; run: jit enroll, and ask an admin to run: jit admit %s\n", st.Warn("not in it"), v.Name)
	case v.Admin:
		fmt.Fprintln(w, "policy   admin")
	default:
		fmt.Fprintln(w, "policy   one of the people")
	}
	if len(v.Teams) > 0 {
		fmt.Fprintf(w, "teams    %s\n", strings.Join(v.Teams, ", "))
	}
	if len(v.Groups) > 0 {
		fmt.Fprintf(w, "groups   %s\n", strings.Join(v.Groups, ", "))
	}
	for _, driver := range sortedKeys(v.Accounts) {
		fmt.Fprintf(w, "account  %s: %s\n", driver, strings.ReplaceAll(strings.TrimSpace(v.Accounts[driver]), "\n", "; "))
	}
	switch {
	case v.KeyIn == nil:
		fmt.Fprintf(w, "key      %s; run: jit key generate, or: jit key add FINGERPRINT\n", st.Warn("none"))
	case v.Key == nil:
		fmt.Fprintf(w, "key      %s in %s; run: jit doctor\n", st.Bad("cannot be read"), *v.KeyIn)
	default:
		fmt.Fprintf(w, "key      %s in %s", record.Fingerprint(*v.Key).Grouped(), *v.KeyIn)
		if v.InPolicy && !v.KeyCounts {
			fmt.Fprintf(w, ", %s", st.Bad("not the one in the policy"))
		}
		fmt.Fprintln(w)
		if v.KeyExpires != nil {
			if end, err := time.Parse(time.RFC3339, *v.KeyExpires); err == nil {
				fmt.Fprintf(w, "expires  %s\n", a.FormatTime(end))
			}
		}
	}
	if v.Locked != nil {
		fmt.Fprintf(w, "locked   %s\n", st.Bad(clean(lockLine(*v.Locked))))
	}
	for _, d := range v.ActsFor {
		fmt.Fprintf(w, "acts     for %s\n", delegationLine(d))
	}
	for _, d := range v.DelegatesTo {
		fmt.Fprintf(w, "delegate %s\n", delegationLine(d))
	}
	_, err := fmt.Fprintf(w, "store    %s\n", v.Store)
	return err
}

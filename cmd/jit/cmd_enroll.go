package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

type enrollOptions struct {
	app  *App
	out  outputFlags
	key  keyChoice
	name string
}

type enrollView struct {
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint"`
	InPolicy    bool   `json:"inPolicy"`
	Admit       string `json:"admit"`
}

func newEnrollCmd(app *App) *cobra.Command {
	o := &enrollOptions{app: app}
	cmd := &cobra.Command{
		Use:   "enroll",
		Short: "Publish your certificate and ask to be added",
		Long: `Publishes the public part of your key in the store and says what to hand to an
admin, who adds you to the policy with "jit admit".`,
		GroupID: groupAdmin,
		Args:    exactly(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	cmd.Flags().StringVar(&o.name, "as", "", "another `NAME` in the policy than before")
	o.key.add(cmd)
	o.out.add(cmd, []string{"name", "fingerprint", "inPolicy", "admit"})
	return cmd
}

func (o *enrollOptions) run(ctx context.Context) (err error) {
	a := o.app
	s, err := a.Settings()
	if err != nil {
		return err
	}
	if o.name != "" {
		s.Name = o.name
	}
	if err := checkName(s.Name); err != nil {
		return err
	}
	signing, signer, err := o.key.choose(ctx, a, s.Name)
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
	s.Signing = signing
	if err := a.saveSettings(s); err != nil {
		return err
	}
	say, err := a.enroll(ctx, rep, s, cert)
	if err != nil {
		return err
	}
	v := enrollView{Name: s.Name, Fingerprint: string(cert.Fingerprint()), InPolicy: inPolicy(rep, s.Name, cert), Admit: admitLine(s.Name, cert)}
	return a.Print(o.out, v, func(w io.Writer) error {
		_, err := io.WriteString(w, say)
		return err
	})
}

func inPolicy(rep *replica.Replica, name string, cert *record.Certificate) bool {
	p := rep.Ledger().Policies().Latest()
	if p == nil {
		return false
	}
	owner, ok := p.OwnerOf(cert.Fingerprint())
	return ok && owner == name
}

func admitLine(name string, cert *record.Certificate) string {
	return "jit admit " + name + " --fingerprint " + string(cert.Fingerprint())
}

// enroll publishes cert and gives the words about what happens next.
func (a *App) enroll(ctx context.Context, rep *replica.Replica, s Settings, cert *record.Certificate) (string, error) {
	if err := cert.CanSign(a.Now()); err != nil {
		return "", &exitError{Exit: exitUsage, Code: string(record.ReasonOf(err)), Message: "this key cannot be used: " + err.Error(),
			Hint: "choose another one, or make one: jit key generate", Err: err}
	}
	sent, err := a.publish(ctx, rep, s.Name, s.Name+" publishes a certificate", cert)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if sent {
		fmt.Fprintf(&b, "Published your certificate (%s).\n", cert.Algorithm())
	} else {
		fmt.Fprintf(&b, "Your certificate is published already.\n")
	}
	if inPolicy(rep, s.Name, cert) {
		fmt.Fprintf(&b, "You are in the policy as %s: jit resources shows what you may ask for.\n", s.Name)
		return b.String(), nil
	}
	fmt.Fprintf(&b, "\nHand this to an admin, over a channel where they know that it is you:\n  %s\n", admitLine(s.Name, cert))
	fmt.Fprintf(&b, "They compare the fingerprint with you:\n  %s\n", cert.Fingerprint().Grouped())
	return b.String(), nil
}

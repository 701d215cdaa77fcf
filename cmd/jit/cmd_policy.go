package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

func newPolicyCmd(app *App) *cobra.Command {
	return parentOf(&cobra.Command{
		Use:     "policy",
		Short:   "Show, check and change the policy",
		GroupID: groupAdmin,
	}, shows(newPolicyShowCmd(app)), newPolicyEditCmd(app), newPolicyProposeCmd(app), newPolicyLintCmd(app),
		newPolicyTestCmd(app), newPolicyExplainCmd(app), newPolicyDiffCmd(app), shows(newPolicySchemaCmd(app)))
}

type policyShowOptions struct {
	app  *App
	out  outputFlags
	head bool
}

var policyFields = []string{"id", "shortId", "digest", "by", "created", "since", "position", "state",
	"admins", "people", "groups", "reconcilers", "resources", "rules"}

func newPolicyShowCmd(app *App) *cobra.Command {
	o := &policyShowOptions{app: app}
	cmd := &cobra.Command{
		Use:   "show [ID]",
		Short: "Print the policy in force, or another version",
		Args:  atMost(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	cmd.Flags().BoolVar(&o.head, "signed", false, "print the exact bytes that were signed, head and all")
	o.out.add(cmd, policyFields)
	return cmd
}

func (o *policyShowOptions) run(ctx context.Context, args []string) (err error) {
	a := o.app
	rep, _, err := a.Synced(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	p := rep.Ledger().Policies().Latest()
	if p == nil {
		return errNoPolicy()
	}
	id := p.ID()
	if len(args) == 1 {
		ref, err := resolveID(rep.Ledger(), args[0])
		if err != nil {
			return err
		}
		if ref.Kind != record.KindPolicy {
			return usageErr("see: jit show "+args[0], "%q is a %s, not a policy version", args[0], ref.Kind)
		}
		id = ref.ID
	}
	entry, err := rep.Ledger().Proposal(id, a.Now())
	if err != nil {
		return err
	}
	doc := entry.Policy.Record
	view := map[string]any{"id": doc.ID, "shortId": doc.ID.Short(), "digest": entry.Digest, "by": doc.By,
		"created": timeOrNull(doc.Created.Time), "state": entry.State, "since": nil, "position": nil}
	for _, v := range rep.Ledger().Policies() {
		if v.ID() == doc.ID {
			view["since"], view["position"] = timeOrNull(v.Since), v.Position
		}
	}
	data, err := record.Encode(doc.Body)
	if err != nil {
		return err
	}
	if err := addBody(view, data); err != nil {
		return err
	}
	return a.Print(o.out, view, func(w io.Writer) error {
		if o.head {
			if data, _, err = rep.ReadRecord(doc.ID, entry.Digest); err != nil {
				return err
			}
		}
		_, err := w.Write(data)
		return err
	})
}

// addBody puts the parts of a body under their own names into view.
func addBody(view map[string]any, data []byte) error {
	parts := map[string]any{}
	if err := yaml.Unmarshal(data, &parts); err != nil {
		return err
	}
	for _, key := range []string{"admins", "people", "groups", "reconcilers", "resources", "rules"} {
		view[key] = parts[key]
	}
	_, err := json.Marshal(view)
	return err
}

func errNoPolicy() error {
	return failure(exitUnreachable, "no-policy", "run: jit sync", "this machine knows no policy yet")
}

// proposeOptions are those of every command that proposes a policy version.
type proposeOptions struct {
	app     *App
	out     outputFlags
	yes     bool
	expires string
}

var proposeFields = []string{"id", "shortId", "state", "digest", "replaces", "lapses", "have", "needs", "who", "waiting"}

type proposeView struct {
	ID       string   `json:"id"`
	ShortID  string   `json:"shortId"`
	State    string   `json:"state"`
	Digest   string   `json:"digest"`
	Replaces string   `json:"replaces"`
	Lapses   *string  `json:"lapses"`
	Have     []string `json:"have"`
	Needs    int      `json:"needs"`
	Who      []string `json:"who"`
	keptView
}

func (o *proposeOptions) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&o.yes, "yes", false, "sign without asking")
	cmd.Flags().StringVar(&o.expires, "expires", "7d", "how long the proposal waits for the admins' agreement")
	o.app.insistFlag(cmd)
	o.out.add(cmd, proposeFields)
}

func newPolicyProposeCmd(app *App) *cobra.Command {
	o := &proposeOptions{app: app}
	cmd := &cobra.Command{
		Use:   "propose FILE",
		Short: "Propose a policy version, for the admins to approve",
		Long: `Proposes the policy in FILE: the part that people write (admins, people, groups,
reconcilers, resources, rules). jit writes the head. It is in force when as many
admins have agreed as the policy in force asks for; whoever proposes agrees.
The others run: jit approve ID.`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, body, err := readBody(app, args[0])
			if err != nil {
				return err
			}
			if err := checkBody(args[0], data, body); err != nil {
				return err
			}
			return o.at(cmd.Context(), func(d *desk) (*policy.Body, string, error) {
				app.warnOf(args[0], data, body, &d.policy().Document().Body)
				return body, "changes the policy", d.warnOfSubkeys(body)
			})
		},
	}
	o.add(cmd)
	return cmd
}

// at syncs, has make give the body and what it does in a few words, and
// proposes that.
func (o *proposeOptions) at(ctx context.Context, makeBody func(*desk) (*policy.Body, string, error)) (err error) {
	wait, err := parseFor(o.expires)
	if err != nil {
		return err
	}
	d, err := o.app.sitDown(ctx)
	if err != nil {
		return err
	}
	defer closing(d.rep, &err)
	body, what, err := makeBody(d)
	if err != nil {
		return err
	}
	return o.propose(ctx, d, body, what, wait.Duration)
}

func (o *proposeOptions) propose(ctx context.Context, d *desk, body *policy.Body, what string, wait time.Duration) error {
	a := o.app
	inForce := d.policy()
	before, err := record.Encode(inForce.Document().Body)
	if err != nil {
		return err
	}
	after, err := record.Encode(*body)
	if err != nil {
		return usageErr("write it in plain text", "the policy cannot be written: %v", err)
	}
	if err := placeholderKeys(body); err != nil {
		return err
	}
	if string(before) == string(after) {
		a.Say("already done: the policy in force says the same")
		return nil
	}
	if done, err := o.proposedAlready(d, string(after)); err != nil || done {
		return err
	}
	if err := a.publicIf(knownSecret(string(after)), "policy"); err != nil {
		return err
	}
	head, err := d.head(record.KindPolicy)
	if err != nil {
		return err
	}
	expires := record.At(a.Now().Add(wait))
	doc := policy.Document{Head: head, Replaces: inForce.Digest(), Expires: &expires, Body: *body}
	if err := approve.MayPropose(inForce, doc); err != nil {
		return err
	}
	effects, err := a.consequences(d.rep, body)
	if err != nil {
		return err
	}
	a.renderConsequences(a.IO.Err, a.IO.ErrStyle(), effects)
	a.Say("\nWhat changes of version %s:", inForce.ID().Short())
	showDiff(a.IO.Err, a.IO.ErrStyle(), string(before), string(after))
	if err := d.confirmed(o.yes, "Sign and propose this version?", doc); err != nil {
		return err
	}
	d.refreshed(&doc.Head)
	if err := d.send(ctx, letter{head: doc.Head, record: doc, subject: d.me + " " + what}); err != nil {
		return err
	}
	return o.report(d, doc.ID)
}

// proposedAlready says so where a pending version of the same content waits.
func (o *proposeOptions) proposedAlready(d *desk, body string) (bool, error) {
	all, err := d.rep.Ledger().Proposals(o.app.Now())
	if err != nil {
		return false, err
	}
	for _, p := range all {
		if p.State != "pending" {
			continue
		}
		if same, err := record.Encode(p.Policy.Record.Body); err != nil || string(same) != body {
			continue
		}
		o.app.Say("already done: %s has proposed the same", p.Policy.Record.By)
		return true, o.report(d, p.Policy.Record.ID)
	}
	return false, nil
}

// report says where the proposal stands.
func (o *proposeOptions) report(d *desk, id record.ID) error {
	a := o.app
	p, err := d.rep.Ledger().Proposal(id, a.Now())
	if err != nil {
		// It waits in the spool.
		v := proposeView{ID: string(id), ShortID: id.Short(), State: string(approve.Proposed), Have: []string{}, Who: []string{}}
		return a.Print(o.out, &v, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, id)
			return err
		})
	}
	doc := p.Policy.Record
	v := proposeView{ID: string(id), ShortID: id.Short(), State: string(p.State), Digest: string(p.Digest), Replaces: string(doc.Replaces),
		Have: notNull(p.Old.Have), Needs: p.Old.Missing(), Who: notNull(p.Old.Who)}
	if p.Changes {
		v.Needs = max(v.Needs, p.New.Missing())
	}
	if doc.Expires != nil {
		v.Lapses = timeOrNull(doc.Expires.Time)
	}
	return a.Print(o.out, &v, func(w io.Writer) error {
		if p.State == "in-force" {
			_, err := fmt.Fprintf(w, "Policy version %s is in force.\n", id.Short())
			return err
		}
		fmt.Fprintf(w, "Policy version %s is proposed.\n", id.Short())
		renderAgreement(w, p)
		_, err := fmt.Fprintf(w, "It lapses at %s. Admins approve it with\n  jit approve %s\n", a.FormatTime(doc.Expires.Time), id.Short())
		return err
	})
}

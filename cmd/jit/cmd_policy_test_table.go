package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/trial"
)

type policyTestOptions struct {
	app    *App
	out    outputFlags
	policy string
}

// caseView is a case of a table and what came of it.
type caseView struct {
	File     string      `json:"file"`
	Name     string      `json:"name"`
	OK       bool        `json:"ok"`
	Failures []string    `json:"failures"`
	State    *string     `json:"state"`
	Refused  *string     `json:"refused"`
	Message  *string     `json:"message"`
	Rule     *string     `json:"rule"`
	Opens    *string     `json:"opens"`
	Ends     *string     `json:"ends"`
	Needs    []string    `json:"needs"`
	Warnings []string    `json:"warnings"`
	Explain  explainView `json:"explain"`
}

var caseFields = []string{"file", "name", "ok", "failures", "state", "refused", "message", "rule", "opens", "ends", "needs", "warnings", "explain"}

func newPolicyTestCmd(app *App) *cobra.Command {
	o := &policyTestOptions{app: app}
	cmd := &cobra.Command{
		Use:   "test FILE...",
		Short: "Try tables of cases against a policy: who asks for what, when, and what comes of it",
		Long: `Plays the cases in each FILE against the policy that the file names, and says
which came out as they must. It needs neither a store nor a key where the policy
is a file; without "policy:" in the FILE it is the one in force. The exit code is
3 where a case failed.

  policy: policy.yaml
  at: 2026-11-24T09:00:00Z
  cases:
    - name: a colleague lets bob read
      who: bob
      asks: [orders-db:readonly]
      for: 2h
      decisions: [{by: alice, after: 10m}]
      expect: {state: active, rule: read, opens: 10m, ends: 2h10m}`,
		Args: atLeast(1, "FILE"),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	cmd.Flags().StringVar(&o.policy, "policy", "", "try this `FILE` instead of what the tables name")
	o.out.add(cmd, caseFields)
	return shows(cmd)
}

func (o *policyTestOptions) run(ctx context.Context, files []string) error {
	a := o.app
	views := []caseView{}
	failed, tried, policies := 0, 0, map[string]*policy.Policy{}
	for _, file := range files {
		results, p, err := o.file(ctx, file, policies)
		if err != nil {
			return err
		}
		bad := 0
		for _, r := range results {
			if !r.OK() {
				bad++
			}
			var e trial.Explanation
			if !r.OK() || o.out.wantsData() { // else nobody sees it
				if e, err = trial.Explain(p, r.Request, r.Before); err != nil {
					return err
				}
			}
			if o.out.wantsData() {
				views = append(views, viewCase(file, r, e))
			} else {
				o.line(r, e)
			}
		}
		failed, tried = failed+bad, tried+len(results)
		if !o.out.wantsData() {
			word := "all ok"
			if bad > 0 {
				word = fmt.Sprintf("%d failed", bad)
			}
			fmt.Fprintf(a.IO.Out, "%s: %s, %s\n", clean(file), count(len(results), "case"), word)
		}
	}
	if err := a.Print(o.out, views, func(io.Writer) error { return nil }); err != nil {
		return err
	}
	if failed > 0 {
		return failure(exitRefused, "case-failed", "correct the policy, or what the case expects", "%d of %s failed", failed, count(tried, "case"))
	}
	return nil
}

// file plays one table.
func (o *policyTestOptions) file(ctx context.Context, file string, known map[string]*policy.Policy) ([]trial.Result, *policy.Policy, error) {
	data, err := readFileUpTo(file, record.MaxSize)
	if err != nil {
		return nil, nil, usageErr("give a file of cases; see: jit policy test --help", "the cases cannot be read: %v", err)
	}
	t, err := trial.Parse(data)
	if err != nil {
		return nil, nil, tableRefusal(file, err)
	}
	name := o.policy
	if name == "" && t.Policy != "" {
		name = t.Policy
		if !filepath.IsAbs(name) {
			name = filepath.Join(filepath.Dir(file), name)
		}
	}
	p, ok := known[name]
	if !ok {
		if p, err = o.app.policyIn(ctx, name); err != nil {
			return nil, nil, err
		}
		known[name] = p
	}
	results, err := t.RunAll(p)
	if err != nil {
		return nil, nil, tableRefusal(file, err)
	}
	return results, p, nil
}

// tableRefusal says what is wrong with a table, and where.
func tableRefusal(file string, err error) error {
	var r *record.Refusal
	if errors.As(err, &r) && r.Line > 0 {
		return fileRefusal(file, err)
	}
	return &exitError{Exit: exitUsage, Code: "bad-cases", Message: file + ": " + err.Error(), Hint: "see: jit policy test --help", Err: err}
}

// policyIn reads and checks the policy in a file; without one, it is the version
// in force.
func (a *App) policyIn(ctx context.Context, file string) (p *policy.Policy, err error) {
	if file == "" {
		rep, _, openErr := a.known(ctx)
		if openErr != nil {
			return nil, openErr
		}
		defer closing(rep, &err)
		return rep.Ledger().Policy(), nil
	}
	data, body, err := readBody(a, file)
	if err != nil {
		return nil, err
	}
	if err := checkBody(file, data, body); err != nil {
		return nil, err
	}
	return policy.Compile(policy.Document{Body: *body}, record.Sum(data))
}

// line says how one case came out.
func (o *policyTestOptions) line(r trial.Result, e trial.Explanation) {
	w, st := o.app.IO.Out, o.app.IO.OutStyle()
	if r.OK() {
		fmt.Fprintf(w, "%s      %s\n", st.Good("ok"), clean(r.Name))
		return
	}
	fmt.Fprintf(w, "%s  %s\n", st.Bad("FAILED"), clean(r.Name))
	for _, f := range r.Failures {
		fmt.Fprintf(w, "          %s\n", clean(f))
	}
	var b strings.Builder
	o.app.renderExplanation(&b, newStyle(&b, false), e, false)
	for line := range strings.Lines(b.String()) {
		fmt.Fprintf(w, "        | %s\n", strings.TrimRight(line, "\n"))
	}
}

func viewCase(file string, r trial.Result, e trial.Explanation) caseView {
	v := caseView{File: file, Name: r.Name, OK: r.OK(), Failures: notNull(r.Failures), Needs: notNull(trial.Needs(r.Decision)),
		Opens: timeOrNull(r.Decision.Opens), Ends: timeOrNull(r.Decision.Ends), Warnings: notNull(r.Decision.Warnings),
		Rule: orNull(strings.Join(trial.Rules(r.Decision), ", ")), State: orNull(string(r.Decision.State)), Explain: viewExplanation(e)}
	if r.Refusal != nil {
		v.Refused, v.Message = orNull(string(policy.CodeOf(r.Refusal))), orNull(r.Refusal.Error())
		var refusal *policy.Refusal
		if errors.As(r.Refusal, &refusal) {
			v.Rule = orNull(refusal.Rule)
		}
	}
	return v
}

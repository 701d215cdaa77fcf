package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/trial"
)

type policyExplainOptions struct {
	app       *App
	out       outputFlags
	who       string
	asks      []string
	dur       string
	at        string
	start     string
	reason    string
	ticket    string
	inputs    []string
	emergency bool
	all       bool
}

func newPolicyExplainCmd(app *App) *cobra.Command {
	o := &policyExplainOptions{app: app}
	cmd := &cobra.Command{
		Use:   "explain --who PERSON --ask RESOURCE:ROLE [FILE]",
		Short: "Say what a policy makes of one request, rule by rule and step by step",
		Long: `Says which rules are considered and why each does or does not match, what the
rule that decides makes of the request, who approves now and next, and when
access would open and end. Nothing is asked for.

It looks at the policy in force and at what the person has open, or at the policy
in FILE, for which nobody has anything open.`,
		Example: `  jit policy explain --who bob --ask orders-db:readonly
  jit policy explain --who bob --ask orders-db:readwrite --for 2h --at "2026-11-28 23:00" policy.yaml`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), args) },
	}
	f := cmd.Flags()
	f.StringVar(&o.who, "who", "", "the `PERSON` who would ask")
	f.StringSliceVar(&o.asks, "ask", nil, "`RESOURCE:ROLE` that would be asked for; several are a bundle")
	f.StringVar(&o.dur, "for", "", "how `long`; as long as the rule allows where it is left out")
	f.StringVar(&o.at, "at", "", "when it would be asked: a `time`; now where it is left out")
	f.StringVar(&o.start, "start", "", "the `time` at which access would open, not before")
	f.StringVarP(&o.reason, "reason", "r", "", "the reason; left to say where it is left out")
	f.StringVar(&o.ticket, "ticket", "", "the `ticket`")
	f.StringArrayVar(&o.inputs, "input", nil, "`NAME=VALUE` that the rule asks for")
	f.BoolVar(&o.emergency, "emergency", false, "as an emergency")
	f.BoolVar(&o.all, "all", false, "show every rule that was considered, however many")
	o.out.add(cmd, explainFields)
	return shows(cmd)
}

func (o *policyExplainOptions) run(ctx context.Context, args []string) (err error) {
	a := o.app
	r, err := o.request()
	if err != nil {
		return err
	}
	var p *policy.Policy
	var before request.Before
	if len(args) == 1 {
		if p, err = a.policyIn(ctx, args[0]); err != nil {
			return err
		}
		if before, err = trial.Holds(p, r.By, nil, r.Created.Time); err != nil {
			return err
		}
		o.longest(p, &r)
	} else {
		rep, _, openErr := a.known(ctx)
		if openErr != nil {
			return openErr
		}
		defer closing(rep, &err)
		p = rep.Ledger().Policy()
		o.longest(p, &r)
		if before, err = rep.Ledger().Before(r); err != nil {
			return err
		}
	}
	if err := malformed(r); err != nil {
		return err
	}
	e, err := trial.Explain(p, r, before)
	if err != nil {
		return err
	}
	return a.Print(o.out, viewExplanation(e), func(w io.Writer) error {
		a.renderExplanation(w, a.IO.OutStyle(), e, o.all)
		return nil
	})
}

// request makes the request of the flags.
func (o *policyExplainOptions) request() (r request.Request, err error) {
	a := o.app
	var missing []string
	if o.who == "" {
		missing = append(missing, "--who PERSON")
	}
	if len(o.asks) == 0 {
		missing = append(missing, "--ask RESOURCE:ROLE")
	}
	if len(missing) > 0 {
		return r, missingErr(missing)
	}
	for _, ask := range o.asks {
		g, err := request.ParseGrant(ask)
		if err != nil {
			return r, usageErr("write RESOURCE:ROLE; see: jit resources", "%v", err)
		}
		r.Grants = append(r.Grants, g)
	}
	if o.dur != "" {
		if r.Duration, err = parseFor(o.dur); err != nil {
			return r, err
		}
	}
	at := a.Now()
	if o.at != "" {
		if at, err = anyTime(o.at, at, a.Local); err != nil {
			return r, err
		}
	}
	if o.start != "" {
		start, err := parseUntil(o.start, at, a.Local)
		if err != nil {
			return r, err
		}
		t := record.At(start)
		r.Start = &t
	}
	if r.Inputs, err = parseInputs(o.inputs); err != nil {
		return r, err
	}
	r.By, r.Created, r.Reason, r.Ticket, r.Emergency = o.who, record.At(at), o.reason, o.ticket, o.emergency
	return r, nil
}

// anyTime reads a time that may be over.
func anyTime(s string, now time.Time, local *time.Location) (time.Time, error) {
	t, err := readTime(strings.TrimSpace(s), now.In(local))
	if err != nil {
		return t, &exitError{Exit: exitUsage, Code: "bad-time", Message: fmt.Sprintf("%q is not a time", s),
			Hint: `write 18:00, "2026-11-24 18:00" or 2026-11-24T18:00:00Z`, Err: err}
	}
	return t.UTC().Truncate(time.Second), nil
}

// longest makes a request without a duration last as long as every rule allows.
func (o *policyExplainOptions) longest(p *policy.Policy, r *request.Request) {
	if r.Duration.IsZero() {
		for _, g := range r.Grants {
			m, err := p.Match(r.By, g.Resource, g.Role, r.Created.Time)
			if err != nil {
				continue // it is explained
			}
			longest := m.Rule.MaxDuration
			if r.Emergency && m.Rule.Emergency != nil {
				longest = m.Rule.Emergency.MaxDuration
			}
			if !longest.IsZero() && (r.Duration.IsZero() || longest.Duration < r.Duration.Duration) {
				r.Duration = longest
			}
		}
		if r.Duration.IsZero() {
			r.Duration.Duration = time.Hour
		}
	}
	r.Expires = r.Lapse(p)
}

// malformed refuses what no policy would ever see.
func malformed(r request.Request) error {
	if err := r.Check(); err != nil {
		return &exitError{Exit: exitUsage, Code: "bad-request", Message: "there is no such request: " + err.Error(), Hint: "see: jit policy explain --help", Err: err}
	}
	return nil
}

package main

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/request"
)

func newExtendCmd(app *App) *cobra.Command {
	o := &requestOptions{app: app}
	cmd := &cobra.Command{
		Use:   "extend ID --for TIME -r REASON",
		Short: "Ask to keep what is open for longer",
		Long: `Ask to keep access that is open for longer. The rules decide it again, with the
same approvers, while the access that is there goes on; what they allow in all is
the rule's maxTotal. One extension at a time; it lapses when the access ends that it
would prolong. To end the first request ends what prolongs it too.` + pickHelp,
		Example: `  jit extend f9k2qa --for 30m -r "the copy is still running"
  jit extend f9k2qa --until 18:00 -r "the copy is still running"`,
		GroupID: groupAsk, Args: atMost(1), ValidArgsFunction: app.completeRequests(approve.Active),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.args, o.reasonSet, o.flags = args, cmd.Flags().Changed("reason"), cmd.Flags()
			return o.runExtend(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.dur, "for", "", "how much `longer`: 30m, 2h")
	f.StringVar(&o.until, "until", "", "until `when`: 18:00, \"2026-11-24 18:00\"")
	f.StringVarP(&o.reason, "reason", "r", "", `why; "-" reads standard input`)
	o.app.insistFlag(cmd)
	f.StringVar(&o.ticket, "ticket", "", "the `ticket` that it is about; left out, that of what it extends")
	f.StringArrayVar(&o.inputArgs, "input", nil, "`NAME=VALUE` of what else the rule asks for; left out, those of what it extends")
	f.BoolVar(&o.wait, "wait", false, "wait until it is decided and open")
	f.StringVar(&o.timeout, "timeout", "", "wait no longer than this `time`; then exit 7")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would be signed, and stop")
	o.out.add(cmd, requestFields)
	return cmd
}

func (o *requestOptions) runExtend(ctx context.Context) (err error) {
	a := o.app
	if err := o.readExtend(); err != nil {
		return err
	}
	rep, settings, err := a.known(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	id, err := o.extendable(rep, settings.Name)
	if err != nil {
		return err
	}
	if o.extends, err = lastOf(rep.Ledger(), id, o.now); err != nil {
		return err
	}
	if err := o.askExtend(); err != nil {
		return err
	}
	if err := o.public(); err != nil {
		return err
	}
	r, err := o.extension(rep.Ledger(), settings.Name)
	if err != nil {
		return err
	}
	if o.dryRun {
		return o.preview(rep, r)
	}
	d, err := a.deskOn(ctx, rep, settings)
	if err != nil {
		return err
	}
	return o.finish(ctx, d, r)
}

// readExtend judges the command line, before anything is opened.
func (o *requestOptions) readExtend() (err error) {
	o.now = o.app.Now()
	if o.dur != "" && o.until != "" {
		return usageErr("keep one of them", "--for and --until do not go together")
	}
	if o.dur != "" {
		if _, err := parseFor(o.dur); err != nil {
			return err
		}
	}
	if o.timeout != "" {
		d, err := parseFor(o.timeout)
		if err != nil {
			return err
		}
		o.patience = d.Duration
		if !o.wait {
			return usageErr("add: --wait", "--timeout says how long to wait, and nothing waits")
		}
	}
	if o.inputs, err = parseInputs(o.inputArgs); err != nil {
		return err
	}
	var missing []string
	if len(o.args) == 0 {
		missing = append(missing, "ID")
	}
	if o.dur == "" && o.until == "" {
		missing = append(missing, "--for TIME")
	}
	if !o.reasonSet {
		missing = append(missing, "-r REASON")
	}
	if len(missing) > 0 && !o.app.asks(o.out) {
		return missingErr(missing)
	}
	return nil
}

// extendable finds the request that is meant, or lets the person pick one that is
// open.
func (o *requestOptions) extendable(rep *replica.Replica, me string) (record.ID, error) {
	if len(o.args) > 0 {
		return o.app.requestOf(rep, o.args[0])
	}
	open, err := rep.Ledger().Requests(ledger.Filter{By: me, Open: true, States: []approve.State{approve.Active}}, o.now)
	if err != nil {
		return "", err
	}
	return o.app.pickRequest(open, "extend")
}

// lastOf gives the last request that prolongs one and is open, or that one itself.
func lastOf(l *ledger.Ledger, id record.ID, now time.Time) (ledger.Entry, error) {
	e, err := l.Request(id, now)
	for err == nil {
		var next ledger.Entry
		for _, other := range slices.Backward(e.Extended) {
			if next, err = l.Request(other, now); err != nil || next.State == approve.Active {
				break
			}
			next = ledger.Entry{}
		}
		if next.State != approve.Active {
			break
		}
		e = next
	}
	return e, err
}

// askExtend asks a person on a terminal for what the command line left out.
func (o *requestOptions) askExtend() (err error) {
	a := o.app
	// What was put together by questions is shown whole before it is signed.
	o.asked = len(o.args) == 0 || o.dur == "" && o.until == "" || !o.reasonSet
	if o.dur == "" && o.until == "" {
		if o.dur, err = a.Ask("For how much longer? (30m, 2h)", "--for TIME"); err != nil {
			return err
		}
		if o.dur == "" {
			return usageErr("add: --for TIME", "no time was given")
		}
	}
	about := grantsText(o.extends.Request.Record.Grants)
	if o.reason, err = a.Text(o.reason, o.reasonSet, "reason", "Why do you need "+about+" for longer? Lines that begin with # are left out."); err != nil {
		return err
	}
	o.now = a.Now() // answering took its time
	o.ticket, err = tidyText(o.ticket, "ticket")
	return err
}

// extension makes the request that prolongs o.extends, and judges it by the policy
// in force.
func (o *requestOptions) extension(l *ledger.Ledger, me string) (request.Request, error) {
	old := o.extends.Request.Record
	r := request.Request{Reason: o.reason, Ticket: o.ticket, Inputs: maps.Clone(old.Inputs), Extends: old.ID}
	for name, value := range o.inputs {
		if r.Inputs == nil {
			r.Inputs = map[string]string{}
		}
		r.Inputs[name] = value
	}
	if r.Ticket == "" {
		r.Ticket = old.Ticket
	}
	r.By, r.Created = me, record.At(o.now)
	before, err := l.Before(r) // says whether it can be extended at all
	if err != nil {
		return r, err
	}
	_, ends := before.Base.Window()
	r.Grants, o.notAfter = before.Base.Grants(), ends
	if r.Duration, err = o.longer(ends); err != nil {
		return r, err
	}
	r.Expires = o.lapse(l.Policy(), r)
	if err := r.Check(); err != nil {
		return r, &exitError{Exit: exitUsage, Code: "bad-request", Message: "the request cannot be made: " + err.Error(), Hint: "see: jit extend --help", Err: err}
	}
	if before, err = l.Before(r); err != nil {
		return r, err
	}
	return r, r.Allowed(l.Policy(), before)
}

// longer gives by how much access that ends at a time is to be prolonged.
func (o *requestOptions) longer(ends time.Time) (record.Duration, error) {
	if o.dur != "" {
		return parseFor(o.dur)
	}
	until, err := parseUntil(o.until, o.now, o.app.Local)
	if err != nil {
		return record.Duration{}, err
	}
	if !until.After(ends) {
		return record.Duration{}, usageErr("give a later --until", "it is open until %s already", o.app.FormatTime(ends))
	}
	return record.Duration{Duration: until.Sub(ends.Truncate(time.Second))}, nil
}

// ends says when access ends without an extension, and with it.
func (o *requestOptions) ends(f fields, e ledger.Entry) {
	base := e.Before.Base
	if base == nil {
		return
	}
	_, old := base.Window()
	then := old.Add(e.Request.Record.Duration.Duration)
	if !e.Ends.IsZero() {
		then = e.Ends
	}
	f.add("ends now", o.app.FormatTime(old))
	word := "then"
	if e.State != approve.Active {
		word = "approved"
	}
	f.add(word, o.app.FormatTime(then)+", "+formatLeft(then, old)+" later")
}

package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/request"
)

type requestOptions struct {
	app       *App
	args      []string
	command   []string
	dashed    bool // there was a --
	dur       string
	until     string
	start     string
	reason    string
	reasonSet bool
	ticket    string
	inputArgs []string
	wait      bool
	timeout   string
	dryRun    bool
	emergency bool
	new       bool
	out       outputFlags

	// extends is what jit extend prolongs; empty for jit request.
	extends ledger.Entry
	// notAfter bounds when the request lapses; zero for the rules' own time.
	notAfter time.Time

	// What the flags mean.
	grants   []request.Grant
	inputs   map[string]string
	now      time.Time
	patience time.Duration
	flags    *pflag.FlagSet
	// asked says that something was asked for: then the whole is shown, and must
	// be agreed to.
	asked bool
}

func newRequestCmd(app *App) *cobra.Command {
	o := &requestOptions{app: app}
	cmd := &cobra.Command{
		Use:   "request RESOURCE:ROLE... --for TIME -r REASON [-- COMMAND...]",
		Short: "Ask for access",
		Long: `Ask for access to one or more roles. Everything that can be refused is refused
before anything is signed. The time runs from the moment of the last approval,
or from --start.

With --wait it ends when the access can be used. With a command it waits, runs
the command, and drops the access when the command ends, however it ends, and on
SIGINT, SIGTERM, SIGHUP, SIGQUIT and SIGABRT. After SIGKILL or a signal that means a
crash, such as SIGSEGV, or where the machine goes down, nobody drops it: it ends with
its time, or by "jit cancel".

Asking again for what is open or pending changes nothing; --new insists on another
one. To keep what is open for longer, see: jit extend.

On a terminal everything may be left out: it is asked for, and the whole is shown,
with the command line that does the same, before it is signed. Where a program
reads or answers, nothing is asked, and what is missing is named at once.

With --emergency access opens at once, where the rule lets you, and everybody sees
it: one who may must acknowledge it afterwards.`,
		Example: `  jit request
  jit request orders-db:readonly --for 2h -r "look into order 4711"
  jit request orders-db:readonly --for 30m -r "fix order 4711" -- psql orders
  jit request orders-db:admin --for 30m --emergency -r "orders are lost"`,
		GroupID: groupAsk, ValidArgsFunction: app.completeGrants,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.args, o.reasonSet, o.flags = args, cmd.Flags().Changed("reason"), cmd.Flags()
			if n := cmd.ArgsLenAtDash(); n >= 0 {
				o.args, o.command, o.dashed = args[:n], args[n:], true
			}
			return o.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.dur, "for", "", "how `long`: 30m, 2h, 1h30m, 2d")
	f.StringVar(&o.until, "until", "", "until when, if it were approved now: `18:00`, \"2026-11-24 18:00\"")
	f.StringVar(&o.start, "start", "", "open at this `time`, not before")
	f.StringVarP(&o.reason, "reason", "r", "", `why; "-" reads standard input`)
	o.app.insistFlag(cmd)
	f.StringVar(&o.ticket, "ticket", "", "the `ticket` that it is about")
	f.StringArrayVar(&o.inputArgs, "input", nil, "`NAME=VALUE` of what else the rule asks for; once for each")
	f.BoolVar(&o.wait, "wait", false, "wait until the access can be used")
	f.StringVar(&o.timeout, "timeout", "", "wait no longer than this `time`; then exit 7")
	f.BoolVar(&o.emergency, "emergency", false, "open it at once; somebody must acknowledge it afterwards")
	f.BoolVar(&o.new, "new", false, "ask even for what is open or was asked for already")
	f.BoolVar(&o.dryRun, "dry-run", false, "show what would be signed, and stop")
	o.out.add(cmd, requestFields)
	return cmd
}

func (o *requestOptions) run(ctx context.Context) (err error) {
	a := o.app
	if err := o.read(ctx); err != nil {
		return err
	}
	rep, settings, err := a.known(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	p := rep.Ledger().Policy()
	if err := o.ask(p, settings.Name); err != nil {
		return err
	}
	if err := o.public(); err != nil {
		return err
	}
	r, refused := o.compose(rep.Ledger(), settings.Name)
	if refused != nil && !hasIt(refused) {
		return refused
	}
	if e, found, err := o.already(rep, r); err != nil {
		return err
	} else if found && !o.dryRun {
		return o.again(ctx, rep, e)
	}
	if refused != nil {
		return refused
	}
	if o.dryRun {
		return o.preview(rep, r)
	}
	d, err := a.deskOn(ctx, rep, settings)
	if err != nil {
		return err
	}
	if r.Emergency {
		if err := o.warned(rep, r); err != nil {
			return err
		}
	}
	return o.finish(ctx, d, r)
}

// public looks for secrets in all texts that are to be signed.
func (o *requestOptions) public() error {
	if err := o.app.public(o.reason, "reason"); err != nil {
		return err
	}
	if err := o.app.public(o.ticket, "ticket"); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(o.inputs)) {
		if err := o.app.public(o.inputs[name], "input "+name); err != nil {
			return err
		}
	}
	return nil
}

// finish signs and sends r, says what comes of it, and waits where that was asked
// for.
func (o *requestOptions) finish(ctx context.Context, d *desk, r request.Request) error {
	a := o.app
	return o.held(ctx, func(ctx context.Context, h *hold) error {
		e, err := o.submit(ctx, d, r)
		if err != nil {
			return err
		}
		if !o.wait && len(o.command) == 0 {
			return a.printEntry(o.out, d.rep.Ledger().Policies(), e, o.answer(e))
		}
		a.Say("%s", cleanLines(o.answer(e)))
		return o.follow(ctx, d, e, h)
	})
}

// read judges the command line, before anything is opened. Without a terminal
// it names everything that is missing at once.
func (o *requestOptions) read(ctx context.Context) (err error) {
	a := o.app
	o.now = a.Now()
	if o.dashed && len(o.command) == 0 {
		return usageErr("write it after --, or leave -- out", "the command is missing")
	}
	if len(o.command) > 0 {
		if _, err := exec.LookPath(o.command[0]); err != nil {
			return usageErr("nothing was asked for", "the command cannot be run: %v", err)
		}
	}
	for _, arg := range o.args {
		g, err := request.ParseGrant(arg)
		if err != nil {
			return usageErr("write RESOURCE:ROLE; see: jit resources", "%v", err)
		}
		o.grants = append(o.grants, g)
	}
	if o.dur != "" && o.until != "" {
		return usageErr("keep one of them", "--for and --until do not go together")
	}
	if o.timeout != "" {
		d, err := parseFor(o.timeout)
		if err != nil {
			return err
		}
		o.patience = d.Duration
		if !o.wait && len(o.command) == 0 {
			return usageErr("add: --wait", "--timeout says how long to wait, and nothing waits")
		}
	}
	if o.inputs, err = parseInputs(o.inputArgs); err != nil {
		return err
	}
	if missing := o.missing(); len(missing) > 0 && !a.asks(o.out) {
		return missingErr(append(missing, o.alsoMissing(ctx)...))
	}
	_, err = o.times()
	return err
}

// window is what --for, --until and --start come to.
type window struct {
	duration record.Duration
	start    *record.Timestamp
}

func (o *requestOptions) times() (w window, err error) {
	from := o.now
	if o.start != "" {
		t, err := parseUntil(o.start, o.now, o.app.Local)
		if err != nil {
			return w, err
		}
		at := record.At(t)
		w.start, from = &at, t
	}
	switch {
	case o.dur != "":
		w.duration, err = parseFor(o.dur)
	case o.until != "":
		var t time.Time
		if t, err = parseUntil(o.until, o.now, o.app.Local); err != nil {
			return w, err
		}
		if !t.After(from) {
			return w, usageErr("give a later --until", "--until %s is not after --start %s", o.until, o.start)
		}
		w.duration = record.Duration{Duration: t.Sub(from.Truncate(time.Second))}
	}
	return w, err
}

// compose makes the request, with a head that only says who and when, and
// judges it by the policy in force.
func (o *requestOptions) compose(l *ledger.Ledger, me string) (request.Request, error) {
	p := l.Policy()
	w, err := o.times()
	if err != nil {
		return request.Request{}, err
	}
	r := request.Request{Grants: o.grants, Duration: w.duration, Start: w.start, Reason: o.reason, Ticket: o.ticket, Inputs: o.inputs, Emergency: o.emergency}
	r.By, r.Created = me, record.At(o.now)
	r.Expires = o.lapse(p, r)
	if err := r.Check(); err != nil {
		return r, badRequest(err)
	}
	before, err := l.Before(r)
	if err != nil {
		return r, err
	}
	return r, r.Allowed(p, before)
}

func badRequest(err error) error {
	return &exitError{Exit: exitUsage, Code: "bad-request", Message: "the request cannot be made: " + err.Error(), Hint: "see: jit request --help", Err: err}
}

// lapse gives when r lapses: as late as every rule lets it wait, and not after what
// it extends.
func (o *requestOptions) lapse(p *policy.Policy, r request.Request) record.Timestamp {
	at := r.Lapse(p)
	if !o.notAfter.IsZero() && at.After(o.notAfter) {
		at = record.At(o.notAfter)
	}
	return at
}

// hasIt reports whether r was refused for what may well be the access that it asks
// for: that is answered better by showing it.
func hasIt(refused error) bool {
	return slices.Contains([]policy.Code{policy.TooManyOpen, policy.TooManyInRole, policy.CoolingOff}, policy.CodeOf(refused))
}

// already finds an open request of the same person that gives, or asks for, all
// of r, at the same time. What still waits is no answer to an emergency.
func (o *requestOptions) already(rep *replica.Replica, r request.Request) (ledger.Entry, bool, error) {
	if o.new {
		return ledger.Entry{}, false, nil
	}
	open, err := rep.Ledger().Requests(ledger.Filter{By: r.By, Open: true}, o.now)
	if err != nil {
		return ledger.Entry{}, false, err
	}
	slices.SortStableFunc(open, func(a, b ledger.Entry) int {
		if a.State == b.State || a.State != approve.Active && b.State != approve.Active {
			return 0
		}
		return map[bool]int{true: -1, false: 1}[a.State == approve.Active]
	})
	for _, e := range open {
		if e.State != approve.Active && (r.Emergency || e.Request.Record.Extends != "") {
			continue
		}
		have := e.Request.Record
		same := have.Start == nil && r.Start == nil || have.Start != nil && r.Start != nil && have.Start.Equal(r.Start.Time)
		if !same && !(r.Start == nil && e.State == approve.Active) {
			continue
		}
		missing := slices.ContainsFunc(r.Grants, func(g request.Grant) bool {
			return !slices.ContainsFunc(e.Grants, func(d approve.GrantDecision) bool {
				return d.Grant == g && !d.State.Settled() && !(r.Emergency && d.State != approve.Active)
			})
		})
		if !missing {
			return e, true, nil
		}
	}
	return ledger.Entry{}, false, nil
}

// again answers a person who asks for what they have, or have asked for.
func (o *requestOptions) again(ctx context.Context, rep *replica.Replica, e ledger.Entry) error {
	a := o.app
	word := "asked for"
	open := openGrants(e)
	if len(open) > 0 && !slices.ContainsFunc(o.grants, func(g request.Grant) bool { return !slices.Contains(open, g) }) {
		word = "open"
	}
	short := e.Request.Record.ID.Short()
	answer := fmt.Sprintf("already %s: %s, request %s\n%s", word, grantsText(e.Request.Record.Grants), short, a.standingLine(e, a.Now()))
	if word == "open" {
		answer += "\nfor longer: jit extend " + short + " --for TIME -r REASON; for another one beside it, add: --new"
	}
	if !o.wait && len(o.command) == 0 {
		return a.printEntry(o.out, rep.Ledger().Policies(), e, answer)
	}
	a.Say("%s", cleanLines(answer))
	// No signer: what another command asked for is not this one's to drop.
	return o.held(ctx, func(ctx context.Context, h *hold) error {
		return o.follow(ctx, &desk{app: a, rep: rep, me: e.Request.Record.By}, e, h)
	})
}

// preview shows what would be signed.
func (o *requestOptions) preview(rep *replica.Replica, r request.Request) error {
	a := o.app
	head, err := rep.NewHead(record.KindRequest, r.By, o.now)
	if err != nil {
		return err
	}
	r.Head = head
	data, err := record.Encode(r)
	if err != nil {
		return err
	}
	if o.asked {
		o.sayCommand()
	}
	e, err := imagined(rep, r, data)
	if err != nil {
		return err
	}
	return a.Print(o.out, viewRequest(rep.Ledger().Policies(), e, o.now), func(w io.Writer) error {
		a.showBytes(w, "Would be signed:", data)
		_, err := fmt.Fprintf(w, "\nNothing was signed. %s\n", clean(a.standingLine(e, o.now)))
		return err
	})
}

// imagined is r as if it stood in the store next.
func imagined(rep *replica.Replica, r request.Request, data []byte) (ledger.Entry, error) {
	_, position := rep.Ledger().Head()
	before, err := rep.Ledger().Before(r)
	c := approve.Case{Request: approve.Placed[request.Request]{Record: r, Position: position + 1, HeadAt: position, Key: aKeyOf(rep.Ledger().Policy(), r.By)}, Digest: record.Sum(data), Before: before}
	return ledger.Entry{Case: c, Decision: approve.Decide(rep.Ledger().Policies(), c, r.Created.Time)}, err
}

// submit signs r and sends it.
func (o *requestOptions) submit(ctx context.Context, d *desk, r request.Request) (ledger.Entry, error) {
	head, err := d.head(record.KindRequest)
	if err != nil {
		return ledger.Entry{}, err
	}
	r.Head = head
	r.Expires = o.lapse(d.policy(), r)
	if o.asked {
		if err := o.agreed(d, &r); err != nil {
			return ledger.Entry{}, err
		}
		head, r.Expires = r.Head, o.lapse(d.policy(), r)
		if err := r.Check(); err != nil { // its start may be over by now
			return ledger.Entry{}, badRequest(err)
		}
	}
	data, err := record.Encode(r)
	if err != nil {
		return ledger.Entry{}, err
	}
	e, err := imagined(d.rep, r, data)
	if err != nil {
		return ledger.Entry{}, err
	}
	subject := r.By + " asks for " + grantsText(r.Grants) + ", " + r.Duration.String()
	switch {
	case r.Emergency:
		subject = "EMERGENCY: " + r.By + " takes " + grantsText(r.Grants) + ", " + r.Duration.String()
	case r.Extends != "":
		subject = r.By + " asks to extend " + grantsText(r.Grants) + " by " + r.Duration.String()
	}
	if err := d.send(ctx, letter{head: head, record: r, subject: subject}); err != nil {
		return e, err
	}
	if counted, err := d.entry(head.ID); err == nil {
		return counted, nil
	}
	return e, nil // it waits in the spool
}

// answer tells what was asked for and what comes next.
func (o *requestOptions) answer(e ledger.Entry) string {
	a, r := o.app, e.Request.Record
	b := &strings.Builder{}
	verb, how := "asked for", "for"
	switch {
	case r.Emergency:
		verb = "EMERGENCY: took"
	case r.Extends != "" && e.State == approve.Active:
		verb, how = "extended", "by"
	case r.Extends != "":
		verb, how = "asked to extend", "by"
	}
	fmt.Fprintf(b, "%s %s %s %s: request %s\n", verb, grantsText(r.Grants), how, r.Duration, r.ID.Short())
	f := fields{b, newStyle(b, false)} // plain: what becomes of the text is the caller's matter
	if r.Extends != "" {
		o.ends(f, e)
	}
	if o.until != "" && e.State == approve.Pending {
		f.add("time", "runs for "+r.Duration.String()+" from the last approval")
	}
	if r.Start != nil {
		f.add("start", a.FormatTime(r.Start.Time))
	}
	switch {
	case undecided(e.Decision):
		if e.State != approve.Pending {
			f.add("standing", a.standingLine(e, o.now))
		}
		for _, n := range needsOf(e.Decision) {
			more := a.needText(n)
			if !n.current {
				more = "then " + more
			}
			f.add("approves", more)
		}
		at := lapsesAt(e.Decision)
		f.add("lapses", a.FormatTime(at)+", "+formatLeft(at, o.now)+" from now")
		if !o.wait && len(o.command) == 0 {
			f.add("to wait", "jit show "+r.ID.Short()+" --watch")
		}
	default:
		f.add("standing", a.standingLine(e, o.now))
	}
	if r.Emergency {
		f.add("emergency", a.debtLine(e, o.now))
	}
	return strings.TrimRight(b.String(), "\n")
}

package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/revoke"
)

// verb is a command that writes one small record beside a request: all of them
// find the request, judge, show, ask, sign and send in the same way.
type verb struct {
	use, short, long string
	aliases          []string
	group            string
	kind             record.Kind
	// what names the text that the record holds, "reason" or "comment", and
	// wanted says that it must be there.
	what   string
	wanted bool
	// asks says that the person is shown the record and asked: for what
	// decides about others.
	asks bool
	// states are those of the requests that completion offers, and that are listed to
	// pick from.
	states []approve.State
	// among gives the requests that are listed to pick from, where states does not
	// say it; nil where it does.
	among func(l *ledger.Ledger, now time.Time) ([]ledger.Entry, error)
	// judge gives why there is nothing left to do, or refuses.
	judge func(d *desk, e ledger.Entry) (already string, err error)
	// record makes what is signed.
	record func(h record.Head, e ledger.Entry, text string) any
	// deed says it in the words of a commit message: "denies".
	deed string
	// done says it to the person.
	done func(l *ledger.Ledger, e ledger.Entry) string
}

type verbOptions struct {
	app  *App
	verb verb
	id   string // empty where it is picked
	text string
	set  bool // -r was given
	yes  bool
	out  outputFlags
}

func newVerbCmd(app *App, v verb) *cobra.Command {
	o := &verbOptions{app: app, verb: v}
	cmd := &cobra.Command{
		Use: v.use, Short: v.short, Long: v.long + pickHelp, Aliases: v.aliases, GroupID: v.group,
		Args:              atMost(1),
		ValidArgsFunction: app.completeRequests(v.states...),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.set = cmd.Flags().Changed("reason")
			if len(args) > 0 {
				o.id = args[0]
			}
			return o.run(cmd.Context())
		},
	}
	cmd.Flags().StringVarP(&o.text, "reason", "r", "", `the `+v.what+`; "-" reads standard input`)
	app.insistFlag(cmd)
	if v.asks {
		cmd.Flags().BoolVar(&o.yes, "yes", false, "sign without asking; takes the whole id only")
	}
	o.out.add(cmd, requestFields)
	return cmd
}

// pickHelp is what the help of commands says that list what they apply to.
const pickHelp = `

On a terminal the id may be left out: what it could be is listed, to pick from.`

func (o *verbOptions) run(ctx context.Context) (err error) {
	a, v := o.app, o.verb
	picks := o.id == ""
	if picks && (o.yes || !a.asks(o.out)) {
		return missingErr(append([]string{"ID"}, o.lacks()...))
	}
	if o.yes {
		if err := wholeID(o.id); err != nil {
			return err
		}
	}
	d, err := a.sitDown(ctx)
	if err != nil {
		return err
	}
	defer closing(d.rep, &err)
	id, err := o.request(d)
	if err != nil {
		return err
	}
	e, err := d.entry(id)
	if err != nil {
		return err
	}
	already, err := v.judge(d, e)
	if err != nil {
		return err
	}
	if already != "" {
		return o.answer(d, e, already)
	}
	if missing := o.lacks(); len(missing) > 1 {
		return missingErr(missing)
	}
	text, err := o.texted(e)
	if err != nil {
		return err
	}
	head, err := d.head(v.kind)
	if err != nil {
		return err
	}
	if v.asks || picks {
		// What was picked from a list is looked at once more.
		if err := a.renderRequest(a.IO.Err, d.rep.Ledger().Policies(), e, a.Now()); err != nil {
			return err
		}
		if err := d.confirmed(o.yes, "Sign this "+string(v.kind)+" of "+a.inFull(e, record.Duration{})+"?", v.record(head, e, text)); err != nil {
			return err
		}
		d.refreshed(&head)
	}
	err = d.send(ctx, letter{head: head, record: v.record(head, e, text), beside: id, subject: d.me + " " + v.deed + " " + askedFor(e.Request.Record)})
	if err != nil {
		return err
	}
	if e, err = d.entry(id); err != nil {
		return err
	}
	return o.answer(d, e, v.done(d.rep.Ledger(), e))
}

// lacks names what else is missing where nobody can be asked.
func (o *verbOptions) lacks() []string {
	var missing []string
	if o.app.IO.CanAsk() {
		return nil
	}
	if o.verb.wanted && !o.set {
		missing = append(missing, "-r "+strings.ToUpper(o.verb.what))
	}
	if o.verb.asks && !o.yes {
		missing = append(missing, "--yes")
	}
	return missing
}

// request finds the request that is meant, or lets the person pick one.
func (o *verbOptions) request(d *desk) (record.ID, error) {
	if o.id != "" {
		return o.app.requestOf(d.rep, o.id)
	}
	entries, err := d.applicable(o.verb)
	if err != nil {
		return "", err
	}
	do, _, _ := strings.Cut(o.verb.use, " ")
	return o.app.pickRequest(entries, do)
}

// texted gives the text that the record holds, asking for it where it must be
// there.
func (o *verbOptions) texted(e ledger.Entry) (string, error) {
	if !o.set && !o.verb.wanted {
		return "", nil
	}
	text, err := o.app.Text(o.text, o.set, o.verb.what, "for "+askedFor(e.Request.Record))
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(text) == "" && o.verb.wanted {
		return "", failure(exitUsage, o.verb.what+"-missing", "add: -r "+strings.ToUpper(o.verb.what), "the %s is blank", o.verb.what)
	}
	return text, nil
}

// answer says what is now, to a person or a program.
func (o *verbOptions) answer(d *desk, e ledger.Entry, text string) error {
	return d.app.printEntry(o.out, d.rep.Ledger().Policies(), e, text)
}

// over gives why nothing can be taken from e any more, or "".
func over(e ledger.Entry) string {
	if !e.State.Settled() {
		return ""
	}
	s := "request " + e.Request.Record.ID.Short() + " is " + string(e.State) + " already"
	if e.EndedBy != nil && e.EndedBy.By != "" {
		s += ", by " + e.EndedBy.By
	}
	return s
}

// who is this person, as one who takes something away.
func (d *desk) who() revoke.Who {
	now := d.app.Now()
	return revoke.Who{By: d.me, At: now, Acting: d.rep.Ledger().Acting(d.me, now).Names()}
}

// acts are those in whose place this person acts now.
func (d *desk) acts() approve.Acts { return d.rep.Ledger().Acting(d.me, d.app.Now()) }

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// agreed shows what was put together by questions, whole, with the command line
// that does the same, and asks for a yes. It brings the time of r up to date.
func (o *requestOptions) agreed(d *desk, r *request.Request) error {
	a := o.app
	data, err := record.Encode(*r)
	if err != nil {
		return err
	}
	a.showBytes(a.IO.Err, "You sign:", data)
	a.Say("  with key %s", d.signer.Fingerprint())
	e, err := imagined(d.rep, *r, data)
	if err != nil {
		return err
	}
	a.Say("\nOnce signed: %s", clean(a.standingLine(e, o.now)))
	o.ends(fields{a.IO.Err, a.IO.ErrStyle()}, e)
	o.sayCommand()
	ok, err := a.Confirm("\nAsk for this?")
	switch {
	case err != nil:
		return err
	case !ok:
		return errNotSigned()
	}
	if d.refreshed(&r.Head); r.Created.After(e.Request.Record.Created.Time) {
		r.Expires = o.lapse(d.policy(), *r)
		a.Say("expires is now %s", r.Expires.Format(time.RFC3339))
	}
	return nil
}

// sayCommand shows the command line that needs no questions. It stands alone on
// its lines, so that it can be copied.
func (o *requestOptions) sayCommand() {
	fmt.Fprintf(rawWriter(o.app.IO.Err), "\nThe same without questions:\n\n%s\n", o.commandLine())
}

// commandLine is what a person could have typed instead of answering.
func (o *requestOptions) commandLine() string {
	words := []string{"jit", "request"}
	if id := o.extends.Request.Record.ID; id != "" {
		words = []string{"jit", "extend", string(id)}
	}
	add := func(flag, value string) {
		if value != "" {
			words = append(words, flag, shellWord(value))
		}
	}
	for _, g := range o.grants {
		words = append(words, shellWord(g.String()))
	}
	add("--for", o.dur)
	add("--until", o.until)
	add("--ticket", o.ticket)
	for _, name := range sortedKeys(o.inputs) {
		add("--input", name+"="+o.inputs[name])
	}
	add("-r", o.reason)
	if o.flags != nil {
		o.flags.Visit(func(f *pflag.Flag) {
			switch {
			case slices.Contains([]string{"for", "until", "ticket", "input", "reason"}, f.Name):
			case f.Value.Type() == "bool" && f.Value.String() == "true":
				words = append(words, "--"+f.Name)
			default:
				words = append(words, "--"+f.Name+"="+shellWord(f.Value.String()))
			}
		})
	}
	if len(o.command) > 0 {
		words = append(words, "--")
		for _, w := range o.command {
			words = append(words, shellWord(w))
		}
	}
	return strings.Join(words, " ")
}

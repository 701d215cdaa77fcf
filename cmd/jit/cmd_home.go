package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
)

// runHome is jit without a command: what is open, what was asked for, and what
// waits.
func runHome(ctx context.Context, a *App) (err error) {
	rep, settings, err := a.known(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	mine, err := rep.Ledger().Requests(ledger.Filter{By: settings.Name, Open: true}, a.Now())
	if err != nil {
		return err
	}
	items, err := a.inbox(rep, settings.Name)
	if err != nil {
		return err
	}
	red, err := unacknowledged(rep.Ledger(), a.Now())
	if err != nil {
		return err
	}
	w, st := a.IO.Out, a.IO.OutStyle()
	if len(red) > 0 {
		fmt.Fprintln(w, st.Bad("Emergencies that nobody has acknowledged"))
		a.emergencyTable(w, red, settings.Name)
	}
	items = slices.DeleteFunc(items, func(i inboxItem) bool { return i.Kind == kindEmergency }) // shown above
	var open, asked [][]string
	for _, e := range mine {
		r := e.Request.Record
		row := []string{"  " + r.ID.Short(), a.listedState(e), grantsText(r.Grants), a.when(e), a.brief(r.Reason)}
		if e.State == approve.Active {
			open = append(open, row)
		} else {
			asked = append(asked, row)
		}
	}
	headers := []string{"  id", "state", "grants", "when", "reason"}
	if len(open) > 0 {
		fmt.Fprintln(w, st.Title("Open for you"))
		a.Table(w, headers, open)
	}
	if len(asked) > 0 {
		fmt.Fprintln(w, st.Title("Asked for"))
		a.Table(w, headers, asked)
	}
	if len(items) > 0 {
		fmt.Fprintln(w, st.Title("Waits for you"))
		a.inboxTable(w, items)
	}
	if len(mine) == 0 && len(items) == 0 && len(red) == 0 {
		a.Say("Nothing is open for you and nothing waits. What you may ask for: jit resources")
	}
	return nil
}

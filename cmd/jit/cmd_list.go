package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
)

type listOptions struct {
	app      *App
	states   []string
	by       string
	resource string
	mine     bool
	limit    int
	watch    bool
	out      outputFlags
}

func newListCmd(app *App) *cobra.Command {
	o := &listOptions{app: app}
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "Requests and where they stand, newest first",
		GroupID: groupLook, Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return app.watch(cmd.Context(), o.watch, o.run) },
	}
	var states []string
	for _, s := range approve.States {
		states = append(states, string(s))
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.states, "state", nil, "only in these `states`: "+strings.Join(states, ", "))
	f.StringVar(&o.by, "by", "", "only those of this `person`")
	f.StringVar(&o.resource, "resource", "", "only those that ask for this `resource`")
	f.BoolVar(&o.mine, "mine", false, "only your own")
	f.IntVar(&o.limit, "limit", 30, "at most `N`; 0 for all")
	f.BoolVar(&o.watch, "watch", false, "look again every few seconds")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(states, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("by", app.completePeople)
	_ = cmd.RegisterFlagCompletionFunc("resource", app.completeResourceNames)
	o.out.add(cmd, requestFields)
	return shows(cmd)
}

func (o *listOptions) run(ctx context.Context) (err error) {
	filter := ledger.Filter{By: o.by, Resource: o.resource, Limit: o.limit}
	if o.limit < 0 {
		return usageErr("use: --limit 30, or --limit 0 for all", "%d is not a number of requests", o.limit)
	}
	for _, s := range o.states {
		if !slices.Contains(approve.States, approve.State(s)) {
			var names []string
			for _, known := range approve.States {
				names = append(names, string(known))
			}
			hint := "states are " + strings.Join(names, ", ")
			if near := policy.Nearest(s, names); len(near) > 0 {
				hint = "did you mean " + strings.Join(near, ", ") + "?"
			}
			return usageErr(hint, "%q is not a state of a request", s)
		}
		filter.States = append(filter.States, approve.State(s))
	}
	rep, settings, err := o.app.known(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	if o.mine {
		if o.by != "" && o.by != settings.Name {
			return usageErr("keep one of them", "--mine and --by %s do not go together", o.by)
		}
		filter.By = settings.Name
	}
	entries, err := rep.Ledger().Requests(filter, o.app.Now())
	if err != nil {
		return err
	}
	return o.app.printRequests(o.out, rep.Ledger().Policies(), entries, "nothing has been asked for; see what you may ask for: jit resources")
}

// printRequests writes a list of requests; empty says what a person is told
// where there are none.
func (a *App) printRequests(o outputFlags, h policy.History, entries []ledger.Entry, empty string) error {
	views := make([]requestView, 0, len(entries))
	for _, e := range entries {
		views = append(views, viewRequest(h, e, a.Now()))
	}
	return a.Print(o, views, func(w io.Writer) error {
		if len(entries) == 0 {
			a.Say("%s", empty)
			return nil
		}
		rows := make([][]string, 0, len(entries))
		for _, e := range entries {
			r := e.Request.Record
			rows = append(rows, []string{r.ID.Short(), a.listedState(e), r.By, grantsText(r.Grants), durationText(e), a.when(e), a.brief(r.Reason)})
		}
		a.Table(w, []string{"id", "state", "by", "grants", "for", "when", "reason"}, rows)
		return nil
	})
}

// listedState is the word for a state in a list.
func (a *App) listedState(e ledger.Entry) string {
	if !a.IO.OutTTY {
		return string(e.State)
	}
	return stateText(a.IO.OutStyle(), e.State)
}

func durationText(e ledger.Entry) string {
	if d := e.Decision.Duration; !d.IsZero() {
		return d.String()
	}
	return e.Request.Record.Duration.String()
}

// when says in a few words what matters most about the times of e, and marks an
// emergency.
func (a *App) when(e ledger.Entry) string {
	s := a.whenOf(e, a.Now())
	if mark := a.mark(e, a.Now()); mark != "" {
		s += "; " + mark
	}
	return s
}

func (a *App) whenOf(e ledger.Entry, now time.Time) string {
	switch e.State {
	case approve.Pending:
		s := "lapses in " + formatLeft(lapsesAt(e.Decision), now)
		for _, n := range currentNeeds(needsOf(e.Decision)) {
			if later := a.laterText(n.next); later != "" {
				return s + ", " + later
			}
		}
		return s
	case approve.Scheduled:
		return "opens in " + formatLeft(e.Opens, now)
	case approve.Active:
		if undecided(e.Decision) {
			return formatLeft(e.Ends, now) + " left of a part, the rest waits for " + listText(waitsFor(e.Decision), "or")
		}
		if !usable(e) {
			return formatLeft(e.Ends, now) + " left, not opened yet"
		}
		return formatLeft(e.Ends, now) + " left"
	}
	at, ahead := endedAt(e)
	switch text := at.In(a.Local).Format("2006-01-02 15:04"); {
	case ahead && at.IsZero():
		return "dated ahead"
	case ahead:
		return text + ", dated ahead"
	default:
		return text
	}
}

package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/request"
)

// inboxItem is something that waits for this person: a request, or a policy
// version, whose grants, duration and reason are null.
type inboxItem struct {
	ID           string          `json:"id"`
	ShortID      string          `json:"shortId"`
	Kind         string          `json:"kind"`
	By           string          `json:"by"`
	Grants       []request.Grant `json:"grants"`
	Duration     *int64          `json:"duration"`
	DurationText *string         `json:"durationText"`
	Reason       *string         `json:"reason"`
	Created      string          `json:"created"`
	Lapses       *string         `json:"lapses"`
	Needs        []needView      `json:"needs"`
	Digest       string          `json:"digest"`
	// ActingFor are those in whose place it waits for this person.
	ActingFor []string `json:"actingFor"`
	// Due is until when an emergency must be acknowledged; null for all else.
	Due     *string `json:"due"`
	Overdue bool    `json:"overdue"`
}

// kindEmergency is the kind of an inbox item that asks for an acknowledgement.
const kindEmergency = "emergency"

var inboxFields = []string{
	"id", "shortId", "kind", "by", "grants", "duration", "durationText", "reason", "created", "lapses", "needs", "digest", "due", "overdue",
	"actingFor",
}

type inboxOptions struct {
	app   *App
	watch bool
	out   outputFlags
}

func newInboxCmd(app *App) *cobra.Command {
	o := &inboxOptions{app: app}
	cmd := &cobra.Command{
		Use: "inbox", Short: "What waits for your decision",
		GroupID: groupDecide, Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return app.watch(cmd.Context(), o.watch, o.run) },
	}
	cmd.Flags().BoolVar(&o.watch, "watch", false, "look again every few seconds")
	o.out.add(cmd, inboxFields)
	return shows(cmd)
}

func (o *inboxOptions) run(ctx context.Context) (err error) {
	a := o.app
	rep, settings, err := a.known(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	items, err := a.inbox(rep, settings.Name)
	if err != nil {
		return err
	}
	return a.Print(o.out, items, func(w io.Writer) error {
		if len(items) == 0 {
			a.Say("nothing waits for you")
			return nil
		}
		a.inboxTable(w, items)
		return nil
	})
}

// inbox gives what waits for the person called me: emergencies to look at, then
// requests, then policy versions.
func (a *App) inbox(rep *replica.Replica, me string) ([]inboxItem, error) {
	items := []inboxItem{}
	l, now := rep.Ledger(), a.Now()
	red, err := unacknowledged(l, now)
	if err != nil {
		return nil, err
	}
	for _, e := range red {
		if slices.Contains(e.Debt.Who, me) {
			item := itemOf(l, e, now)
			item.Kind, item.Due, item.Overdue = kindEmergency, timeOrNull(e.Debt.Due), e.Debt.Overdue(now)
			items = append(items, item)
		}
	}
	entries, err := l.Requests(ledger.Filter{Open: true}, now)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		acting := []string{}
		if !slices.Contains(waitsFor(e.Decision), me) {
			if acting = actsIn(l, e, me, now); len(acting) == 0 {
				continue
			}
		}
		item := itemOf(l, e, now)
		item.ActingFor = acting
		items = append(items, item)
	}
	proposals, err := l.Proposals(now)
	if err != nil {
		return nil, err
	}
	for _, p := range proposals {
		v := viewProposal(p)
		if slices.ContainsFunc(v.Needs, func(n needView) bool { return slices.Contains(n.Who, me) }) {
			items = append(items, inboxItem{ID: v.ID, ShortID: v.ShortID, Kind: v.Kind, By: v.By, Created: v.Created, Lapses: v.Lapses, Needs: v.Needs, Digest: v.Digest, ActingFor: []string{}})
		}
	}
	return items, nil
}

func itemOf(l *ledger.Ledger, e ledger.Entry, now time.Time) inboxItem {
	v := viewRequest(l.Policies(), e, now)
	return inboxItem{
		ID: v.ID, ShortID: v.ShortID, Kind: string(record.KindRequest), By: v.By, Grants: e.Request.Record.Grants, Duration: &v.Duration,
		DurationText: &v.DurationText, Reason: &v.Reason, Created: v.Created, Lapses: v.Lapses, Needs: v.Needs, Digest: v.Digest,
		ActingFor: []string{},
	}
}

func (a *App) inboxTable(w io.Writer, items []inboxItem) {
	var rows [][]string
	for _, i := range items {
		row, next := []string{i.ShortID, i.By, "a policy version", "", ""}, "jit approve "+i.ShortID
		if i.DurationText != nil {
			row = []string{i.ShortID, i.By, grantsText(i.Grants), *i.DurationText, a.brief(*i.Reason)}
		}
		if len(i.ActingFor) > 0 {
			next += " (for " + strings.Join(i.ActingFor, ", ") + ")"
		}
		if i.Kind == kindEmergency {
			next = "jit ack " + i.ShortID
			word := "EMERGENCY, not acknowledged: "
			if i.Overdue {
				word = "EMERGENCY, acknowledgement overdue: "
			}
			row[2] = a.IO.OutStyle().Bad(word) + row[2]
		}
		rows = append(rows, append(row, next))
	}
	a.Table(w, []string{"id", "by", "what", "for", "reason", "next"}, rows)
}

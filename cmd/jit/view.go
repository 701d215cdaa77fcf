package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/trial"
)

// requestView is a request as JSON shows it. Its keys are never renamed and are
// always there; what does not apply is null. Times are RFC 3339 in UTC,
// durations are seconds with their text beside them.
type requestView struct {
	ID           string            `json:"id"`
	ShortID      string            `json:"shortId"`
	State        string            `json:"state"`
	By           string            `json:"by"`
	Grants       []grantView       `json:"grants"`
	Duration     int64             `json:"duration"`
	DurationText string            `json:"durationText"`
	Reason       string            `json:"reason"`
	Ticket       *string           `json:"ticket"`
	Inputs       map[string]string `json:"inputs"`
	Emergency    bool              `json:"emergency"`
	Created      string            `json:"created"`
	Opens        *string           `json:"opens"`
	Ends         *string           `json:"ends"`
	Lapses       *string           `json:"lapses"`
	Approvals    []approvalView    `json:"approvals"`
	Needs        []needView        `json:"needs"`
	Rule         *string           `json:"rule"`
	Policy       *string           `json:"policy"`
	Digest       string            `json:"digest"`
	Extends      *string           `json:"extends"`
	EndedBy      *endedView        `json:"endedBy"`
	Debt         *debtView         `json:"debt"`
	Usage        *string           `json:"usage"`
	Usable       bool              `json:"usable"`
	Receipts     []receiptView     `json:"receipts"`
	Comments     []commentView     `json:"comments"`
	Warnings     []string          `json:"warnings"`
	keptView
}

// approvalView is an approval and what became of it.
type approvalView struct {
	ID       string  `json:"id"`
	By       string  `json:"by"`
	At       string  `json:"at"`
	Duration *int64  `json:"duration"`
	Comment  *string `json:"comment"`
	Counted  bool    `json:"counted"`
	Why      *string `json:"why"`
	// For are those in whose place it counts.
	For []string `json:"for"`
}

// endedView is what ended a request before its time. By is null where the
// policy did. At is when; where its record claims a time to come, it counts at once all
// the same, and At is what it claims, or null where that is not known.
type endedView struct {
	By     *string `json:"by"`
	At     *string `json:"at"`
	Reason *string `json:"reason"`
	Record *string `json:"record"`
}

// receiptView is a reconciler's word on one grant.
type receiptView struct {
	ID       string          `json:"id"`
	By       string          `json:"by"`
	At       string          `json:"at"`
	Resource string          `json:"resource"`
	Role     string          `json:"role"`
	Account  string          `json:"account"`
	Outcome  receipt.Outcome `json:"outcome"`
	Cause    *string         `json:"cause"`
	Sessions int             `json:"sessionsEnded"`
	Standing bool            `json:"standing"`
	Left     []string        `json:"left"`
	Detail   *string         `json:"detail"`
}

type commentView struct {
	ID      string `json:"id"`
	By      string `json:"by"`
	At      string `json:"at"`
	Comment string `json:"comment"`
}

// viewRequest gives the view of e under the policies of the store.
func viewRequest(h policy.History, e ledger.Entry, now time.Time) requestView {
	r := e.Request.Record
	v := requestView{
		ID: string(r.ID), ShortID: r.ID.Short(), State: string(e.State), By: r.By, Grants: grantsOf(e),
		Duration: int64(e.Decision.Duration.Seconds()), DurationText: e.Decision.Duration.String(),
		Reason: r.Reason, Ticket: orNull(r.Ticket), Inputs: r.Inputs, Emergency: r.Emergency, Created: utc(r.Created.Time),
		Extends: orNull(string(r.Extends)), Debt: debtOf(e, now),
		Opens: timeOrNull(e.Opens), Ends: timeOrNull(e.Ends),
		Approvals: []approvalView{}, Needs: needsOf(e.Decision),
		Rule: orNull(strings.Join(trial.Rules(e.Decision), ", ")), Digest: string(e.Digest),
		Usable: usable(e), Receipts: receiptsOf(e), Comments: []commentView{}, Warnings: warningsOf(e),
	}
	if v.Duration == 0 { // nothing decides any more: what was asked for
		v.Duration, v.DurationText = int64(r.Duration.Seconds()), r.Duration.String()
	}
	if undecided(e.Decision) || e.State == approve.Lapsed {
		v.Lapses = timeOrNull(lapsesAt(e.Decision))
	}
	if p := judging(h, e); p != nil {
		v.Policy = orNull(string(p.ID()))
		if v.Usable {
			v.Usage = orNull(strings.Join(usageOf(p, openGrants(e)), "\n"))
		}
	}
	for _, a := range e.Decision.Approvals {
		view := approvalView{ID: string(a.ID), By: a.By, At: utc(a.At), Comment: orNull(a.Comment), Counted: a.Counted, Why: orNull(string(a.Why)), For: notNull(a.For)}
		if !a.Duration.IsZero() {
			s := int64(a.Duration.Seconds())
			view.Duration = &s
		}
		v.Approvals = append(v.Approvals, view)
	}
	for _, c := range e.Comments {
		v.Comments = append(v.Comments, commentView{ID: string(c.Record.ID), By: c.Record.By, At: utc(c.Record.Created.Time), Comment: c.Record.Comment})
	}
	if by := e.EndedBy; by != nil {
		at, _ := endedAt(e)
		v.EndedBy = &endedView{By: orNull(by.By), At: timeOrNull(at), Reason: orNull(by.Reason), Record: orNull(string(by.Record))}
	}
	return v
}

// judging gives the policy version under which e was decided, or would be now.
func judging(h policy.History, e ledger.Entry) *policy.Policy {
	if e.Decided.IsZero() {
		return h.Latest()
	}
	position := e.Request.Position
	for _, a := range e.Case.Approvals {
		if slices.ContainsFunc(e.Decision.Approvals, func(s approve.Standing) bool { return s.ID == a.Record.ID && s.Counted }) {
			position = max(position, a.Position)
		}
	}
	return h.At(position)
}

func notNull(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// usageOf tells how to use each of some grants, as the policy writes it.
func usageOf(p *policy.Policy, grants []request.Grant) []string {
	var lines []string
	for _, g := range grants {
		role, err := p.Role(g.Resource, g.Role)
		if err != nil || role.Usage == "" {
			continue
		}
		if len(grants) > 1 {
			lines = append(lines, g.String()+": "+role.Usage)
		} else {
			lines = append(lines, role.Usage)
		}
	}
	return lines
}

func receiptsOf(e ledger.Entry) []receiptView {
	all := []receiptView{}
	for _, p := range e.Receipts {
		r := p.Record
		all = append(all, receiptView{
			ID: string(r.ID), By: r.By, At: utc(r.Created.Time), Resource: r.Resource, Role: r.Role, Account: r.Account, Outcome: r.Outcome,
			Cause: orNull(r.Cause), Sessions: r.SessionsEnded, Standing: r.Standing, Left: notNull(r.Left), Detail: orNull(r.Detail),
		})
	}
	return all
}

// lastReceipt gives the newest receipt for a grant of e, or nil.
func lastReceipt(e ledger.Entry, g request.Grant) *receipt.Receipt {
	for _, p := range slices.Backward(e.Receipts) {
		if p.Record.Resource == g.Resource && p.Record.Role == g.Role {
			return &p.Record
		}
	}
	return nil
}

// usable reports whether e is open and a reconciler says so of every grant that is
// to be open.
func usable(e ledger.Entry) bool {
	return e.State == approve.Active && len(unopened(e)) == 0
}

// unopened gives the grants of e for which the newest receipt does not say that
// they are open.
func unopened(e ledger.Entry) []request.Grant {
	var grants []request.Grant
	for _, g := range openGrants(e) {
		if r := lastReceipt(e, g); r == nil || r.Outcome != receipt.Applied {
			grants = append(grants, g)
		}
	}
	return grants
}

// openGrants gives the entitlements of e that are to be open: of a bundle that opens
// in parts, those that are granted.
func openGrants(e ledger.Entry) []request.Grant {
	var grants []request.Grant
	for _, g := range e.Grants {
		if g.State == approve.Active {
			grants = append(grants, g.Grant)
		}
	}
	return grants
}

// warningsOf adds to the decision's warnings what the receipts tell.
func warningsOf(e ledger.Entry) []string {
	warnings := notNull(slices.Clone(e.Warnings))
	for _, g := range e.Request.Record.Grants {
		r := lastReceipt(e, g)
		if r == nil {
			continue
		}
		switch {
		case r.Outcome == receipt.Ended && r.Cause == receipt.CauseLease && e.State == approve.Active:
			warnings = append(warnings, g.String()+" is closed until "+r.By+" has evidence again that the store is the true one")
		case r.Outcome == receipt.Failed:
			warnings = append(warnings, r.By+" could not handle "+g.String()+": "+r.Detail)
		case r.Standing:
			warnings = append(warnings, "access to "+g.String()+" was there before jit and stays")
		}
		for _, left := range r.Left {
			warnings = append(warnings, g.String()+": "+left)
		}
	}
	return warnings
}

// grantsText writes the grants of r in one line.
func grantsText(grants []request.Grant) string {
	var s []string
	for _, g := range grants {
		s = append(s, g.String())
	}
	return strings.Join(s, " ")
}

// listText writes names as people say them: a, b or c.
func listText(names []string, last string) string {
	switch len(names) {
	case 0:
		return "nobody"
	case 1:
		return names[0]
	}
	return strings.Join(names[:len(names)-1], ", ") + " " + last + " " + names[len(names)-1]
}

// utc writes a time as JSON has it.
func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// requestFields are the keys of [requestView], in order.
var requestFields = []string{
	"id", "shortId", "state", "by", "grants", "duration", "durationText", "reason", "ticket", "inputs", "emergency",
	"created", "opens", "ends", "lapses", "approvals", "needs", "rule", "policy", "digest", "extends", "endedBy", "debt",
	"usage", "usable", "receipts", "comments", "warnings", "waiting",
}

// printEntry writes e as data, or text for a person.
func (a *App) printEntry(o outputFlags, h policy.History, e ledger.Entry, text string) error {
	v := viewRequest(h, e, a.Now())
	return a.Print(o, &v, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, cleanLines(text))
		return err
	})
}

// proposalView is a policy version as JSON shows it, with the keys that it
// shares with a request.
type proposalView struct {
	ID        string         `json:"id"`
	ShortID   string         `json:"shortId"`
	Kind      string         `json:"kind"`
	State     string         `json:"state"`
	By        string         `json:"by"`
	Created   string         `json:"created"`
	Lapses    *string        `json:"lapses"`
	Approvals []approvalView `json:"approvals"`
	Needs     []needView     `json:"needs"`
	Replaces  *string        `json:"replaces"`
	Digest    string         `json:"digest"`
	keptView
}

func viewProposal(p ledger.ProposalEntry) proposalView {
	doc := p.Policy.Record
	v := proposalView{
		ID: string(doc.ID), ShortID: doc.ID.Short(), Kind: string(record.KindPolicy), State: string(p.State), By: doc.By,
		Created: utc(doc.Created.Time), Approvals: []approvalView{}, Needs: []needView{}, Replaces: orNull(string(doc.Replaces)), Digest: string(p.Digest),
	}
	if doc.Expires != nil {
		v.Lapses = timeOrNull(doc.Expires.Time)
	}
	for _, ap := range p.Approvals {
		v.Approvals = append(v.Approvals, approvalView{ID: string(ap.Record.ID), By: ap.Record.By, At: utc(ap.Record.Created.Time), Comment: orNull(ap.Record.Comment), Counted: true, For: []string{}})
	}
	if p.State == approve.Proposed {
		for i, s := range []approve.StageDecision{p.Old, p.New} {
			if s.Missing() > 0 && (i == 0 || p.Changes) {
				v.Needs = append(v.Needs, needView{Stage: i + 1, Count: s.Count, Have: notNull(s.Have), Who: notNull(s.Who), Rule: []string{"admins", "new admins"}[i], Grants: []string{}})
			}
		}
	}
	return v
}

func (a *App) printProposal(o outputFlags, p ledger.ProposalEntry, text string) error {
	v := viewProposal(p)
	return a.Print(o, &v, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, cleanLines(text))
		return err
	})
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/request"
)

// resourceView is a role of a resource and what it takes to get it.
type resourceView struct {
	Resource    string        `json:"resource"`
	Role        string        `json:"role"`
	Driver      string        `json:"driver"`
	Description *string       `json:"description"`
	Longest     *int64        `json:"longest"`
	LongestText *string       `json:"longestText"`
	Rule        *string       `json:"rule"`
	Approves    []stageView   `json:"approves"`
	Auto        bool          `json:"auto"`
	You         youView       `json:"you"`
	Requires    *requiresView `json:"requires"`
}

type stageView struct {
	Count int         `json:"count"`
	Who   []string    `json:"who"`
	AllOf []stageView `json:"allOf,omitempty"`
	AnyOf []stageView `json:"anyOf,omitempty"`
}

// text says who approves, in a few words.
func (s stageView) text() string {
	parts := func(list []stageView, between string) string {
		var all []string
		for _, q := range list {
			all = append(all, q.text())
		}
		return strings.Join(all, between)
	}
	switch {
	case len(s.AllOf) > 0:
		return parts(s.AllOf, " and ")
	case len(s.AnyOf) > 0:
		return "either " + parts(s.AnyOf, " or ")
	case s.Count > 1:
		return fmt.Sprintf("%d of %s", s.Count, strings.Join(s.Who, ", "))
	}
	return listText(s.Who, "or")
}

type youView struct {
	May     bool    `json:"may"`
	Because *string `json:"because"`
}

type requiresView struct {
	Reason *string `json:"reason"`
	Ticket *string `json:"ticket"`
}

var resourceFields = []string{"resource", "role", "driver", "description", "longest", "longestText", "rule", "approves", "auto", "you", "requires"}

type resourcesOptions struct {
	app *App
	out outputFlags
}

func newResourcesCmd(app *App) *cobra.Command {
	o := &resourcesOptions{app: app}
	cmd := &cobra.Command{
		Use: "resources", Short: "What may be asked for, for how long, and who approves",
		GroupID: groupAsk, Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context()) },
	}
	o.out.add(cmd, resourceFields)
	return shows(cmd)
}

func (o *resourcesOptions) run(ctx context.Context) (err error) {
	a := o.app
	rep, settings, err := a.known(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	views := offers(rep.Ledger().Policy(), settings.Name, a.Now())
	return a.Print(o.out, views, func(w io.Writer) error {
		if len(views) == 0 {
			a.Say("the policy has no resources yet; an admin adds them with: jit policy edit")
			return nil
		}
		var rows [][]string
		for _, v := range views {
			longest := "-"
			if v.LongestText != nil {
				longest = *v.LongestText
			}
			rows = append(rows, []string{v.Resource, v.Role, longest, approvesText(v), youText(v.You)})
		}
		a.Table(w, []string{"resource", "role", "longest", "who approves", "you"}, rows)
		return nil
	})
}

// offers gives every role of every resource, as it is for the person called me.
func offers(p *policy.Policy, me string, now time.Time) []resourceView {
	views := []resourceView{}
	for _, name := range p.Resources() {
		res, _ := p.Resource(name)
		for _, role := range slices.Sorted(maps.Keys(res.Roles)) {
			v := resourceView{Resource: name, Role: role, Driver: res.Driver, Approves: []stageView{}}
			v.Description = orNull(res.Roles[role].Description)
			if v.Description == nil {
				v.Description = orNull(res.Description)
			}
			v.offer(p, me, now)
			views = append(views, v)
		}
	}
	return views
}

// offer fills in what the policy says to me.
func (v *resourceView) offer(p *policy.Policy, me string, now time.Time) {
	g := request.Grant{Resource: v.Resource, Role: v.Role}
	m, err := request.MayAsk(p, me, g, now)
	if m.Rule != nil {
		v.terms(p, m, policy.Concern{Requester: me, Resource: v.Resource, At: now})
	}
	if err != nil {
		v.You.Because = because(err)
		return
	}
	v.You.May = true
	v.You.Because = orNull(fmt.Sprintf("rule %q", m.Rule.Name))
}

// terms fills in what the rule says that decides.
func (v *resourceView) terms(p *policy.Policy, m policy.Match, c policy.Concern) {
	v.Rule = orNull(m.Rule.Name)
	if m.Rule.Approve == policy.ApproveDeny {
		return
	}
	seconds, text := int64(m.Rule.MaxDuration.Seconds()), m.Rule.MaxDuration.String()
	v.Longest, v.LongestText = &seconds, &text
	v.Auto = m.Rule.Approve == policy.ApproveAuto
	for _, s := range m.Rule.Stages {
		v.Approves = append(v.Approves, stageOf(p, m.Rule, s, c))
	}
	if r := m.Rule.Requires; r.Reason != "" || r.Ticket != "" {
		v.Requires = &requiresView{Reason: orNull(r.Reason), Ticket: orNull(r.Ticket)}
	}
}

func stageOf(p *policy.Policy, rule *policy.Rule, s policy.Stage, c policy.Concern) stageView {
	quorum := func(q policy.Quorum) stageView {
		return stageView{Count: q.Count, Who: notNull(p.Eligible(rule, q.Approvers, c))}
	}
	v := quorum(policy.Quorum{Approvers: s.Approvers, Count: s.Count})
	for _, q := range s.AllOf {
		v.AllOf = append(v.AllOf, quorum(q))
	}
	for _, q := range s.AnyOf {
		v.AnyOf = append(v.AnyOf, quorum(q))
	}
	return v
}

// because gives the reason for a no in a few words.
func because(err error) *string {
	var r *policy.Refusal
	if errors.As(err, &r) && r.Code == policy.NoRule {
		return orNull("no rule lets you")
	}
	return orNull(err.Error())
}

func approvesText(v resourceView) string {
	switch {
	case v.Rule == nil:
		return "-"
	case v.Auto:
		return "nobody needs to"
	}
	var stages []string
	for _, s := range v.Approves {
		stages = append(stages, s.text())
	}
	return strings.Join(stages, ", then ")
}

func youText(y youView) string {
	if y.May {
		return "yes, " + text(y.Because)
	}
	return "no, " + text(y.Because)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

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
	Count int      `json:"count"`
	Who   []string `json:"who"`
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
	return cmd
}

func (o *resourcesOptions) run(ctx context.Context) (err error) {
	a := o.app
	rep, settings, err := a.known(ctx)
	if err != nil {
		return err
	}
	defer closing(rep, &err)
	views := offers(rep.Ledger().Policy(), settings.Name)
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
func offers(p *policy.Policy, me string) []resourceView {
	views := []resourceView{}
	for _, name := range p.Resources() {
		res, _ := p.Resource(name)
		for _, role := range slices.Sorted(maps.Keys(res.Roles)) {
			v := resourceView{Resource: name, Role: role, Driver: res.Driver, Approves: []stageView{}}
			v.Description = orNull(res.Roles[role].Description)
			if v.Description == nil {
				v.Description = orNull(res.Description)
			}
			v.offer(p, me)
			views = append(views, v)
		}
	}
	return views
}

// offer fills in what the policy says to me.
func (v *resourceView) offer(p *policy.Policy, me string) {
	m, err := p.Match(me, v.Resource, v.Role)
	if err != nil {
		v.You.Because = because(err)
		return
	}
	seconds, text := int64(m.Rule.MaxDuration.Seconds()), m.Rule.MaxDuration.String()
	v.Longest, v.LongestText, v.Rule = &seconds, &text, orNull(m.Rule.Name)
	v.Auto = m.Rule.Approve == policy.ApproveAuto
	for _, s := range m.Rule.Stages {
		v.Approves = append(v.Approves, stageView{Count: s.Count, Who: notNull(p.Eligible(s, me))})
	}
	if r := m.Rule.Requires; r != (policy.Requires{}) {
		v.Requires = &requiresView{Reason: orNull(r.Reason), Ticket: orNull(r.Ticket)}
	}
	if err := nobodyApproves(p, me, request.Grant{Resource: v.Resource, Role: v.Role}, m); err != nil {
		v.You.Because = because(err)
		return
	}
	v.You.May = true
	v.You.Because = orNull(fmt.Sprintf("rule %q", m.Rule.Name))
}

// nobodyApproves says of a request that would otherwise be allowed that nobody
// could approve it.
func nobodyApproves(p *policy.Policy, me string, g request.Grant, m policy.Match) error {
	r := request.Request{Grants: []request.Grant{g}, Duration: m.Rule.MaxDuration}
	r.By = me
	err := r.Allowed(p)
	switch policy.CodeOf(err) {
	case policy.ReasonMissing, policy.ReasonPattern, policy.TicketPattern:
		// What the person writes is not at issue here. The stages are judged
		// after the texts, so they are asked about by themselves.
		for i, s := range m.Rule.Stages {
			if n := len(p.Eligible(s, me)); n < s.Count {
				return &policy.Refusal{Code: policy.NobodyCanApprove, Rule: m.Rule.Name, Message: fmt.Sprintf("nobody could approve it: stage %d lacks %d", i+1, s.Count-n)}
			}
		}
		return nil
	}
	return err
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
		text := listText(s.Who, "or")
		if s.Count > 1 {
			text = fmt.Sprintf("%d of %s", s.Count, strings.Join(s.Who, ", "))
		}
		stages = append(stages, text)
	}
	return strings.Join(stages, ", then ")
}

func youText(y youView) string {
	if y.May {
		return "yes, " + text(y.Because)
	}
	return "no, " + text(y.Because)
}

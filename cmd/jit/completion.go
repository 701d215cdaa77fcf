package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

// completionTime bounds what a person waits after pressing Tab.
const completionTime = 2 * time.Second

// maxCompletions is the most that are offered: more help nobody.
const maxCompletions = 50

// completeFrom makes a completion of what is known on this machine. It never
// asks the network and says nothing where nothing is set up.
func (a *App) completeFrom(list func(rep *replica.Replica, s Settings, args []string, typed string) []cobra.Completion) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		ctx, cancel := context.WithTimeout(ctx, completionTime)
		defer cancel()
		rep, s, err := a.Open(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer rep.Close()
		return list(rep, s, args, typed), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// completeRequests completes ids of requests in one of the states, all where
// none is named, newest first. An id is completed to its short form, or whole
// where its beginning was typed.
func (a *App) completeRequests(states ...approve.State) cobra.CompletionFunc {
	return a.completeFrom(func(rep *replica.Replica, _ Settings, args []string, typed string) []cobra.Completion {
		entries, err := rep.Ledger().Requests(ledger.Filter{States: states, Named: typed, Limit: maxCompletions}, a.Now())
		if err != nil {
			return nil
		}
		var out []cobra.Completion
		for _, e := range entries {
			r := e.Request.Record
			var grants []string
			for _, g := range r.Grants {
				grants = append(grants, g.String())
			}
			out = addID(out, r.ID, args, typed, string(e.State)+": "+r.By+", "+strings.Join(grants, " "))
		}
		return out
	})
}

// completeDecisions completes what can be approved: pending requests and
// pending policy versions.
func (a *App) completeDecisions(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	requests, directive := a.completeRequests(approve.Pending)(cmd, args, typed)
	versions, _ := a.completeFrom(func(rep *replica.Replica, _ Settings, args []string, typed string) []cobra.Completion {
		all, err := rep.Ledger().Proposals(a.Now())
		if err != nil {
			return nil
		}
		var out []cobra.Completion
		for _, p := range all {
			if p.State == approve.Proposed {
				out = addID(out, p.Policy.Record.ID, args, typed, "policy version by "+p.Policy.Record.By)
			}
		}
		return out
	})(cmd, args, typed)
	return append(requests, versions...), directive
}

// addID adds an id in the form that what was typed asks for, unless it is among
// the arguments already.
func addID(out []cobra.Completion, id record.ID, args []string, typed, about string) []cobra.Completion {
	if len(out) >= maxCompletions {
		return out
	}
	for _, arg := range args {
		if strings.EqualFold(arg, id.Short()) || strings.EqualFold(arg, string(id)) {
			return out
		}
	}
	switch {
	case strings.HasPrefix(id.Short(), typed):
		return append(out, cobra.CompletionWithDesc(id.Short(), oneLine([]string{about})[0]))
	case strings.HasPrefix(string(id), typed):
		return append(out, cobra.CompletionWithDesc(string(id), oneLine([]string{about})[0]))
	}
	return out
}

// completeGrants completes RESOURCE:ROLE with those for which this person may
// ask.
func (a *App) completeGrants(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completeFrom(func(rep *replica.Replica, s Settings, args []string, typed string) []cobra.Completion {
		p := rep.Ledger().Policies().Latest()
		if p == nil {
			return nil
		}
		var out []cobra.Completion
		for _, name := range p.Resources() {
			res, _ := p.Resource(name)
			for _, role := range sortedKeys(res.Roles) {
				word := name + ":" + role
				m, err := p.Match(s.Name, name, role, a.Now())
				if err != nil || !strings.HasPrefix(word, typed) || contains(args, word) {
					continue
				}
				out = append(out, cobra.CompletionWithDesc(word, grantHint(res, role, m)))
			}
		}
		return out
	})(cmd, args, typed)
}

func grantHint(res policy.Resource, role string, m policy.Match) string {
	about := res.Roles[role].Description
	if about == "" {
		about = res.Description
	}
	if about != "" {
		about += ", "
	}
	return oneLine([]string{about + "at most " + m.Rule.MaxDuration.String()})[0]
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// completeResourceNames completes the names of resources.
func (a *App) completeResourceNames(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completeFrom(func(rep *replica.Replica, _ Settings, _ []string, typed string) []cobra.Completion {
		p := rep.Ledger().Policies().Latest()
		if p == nil {
			return nil
		}
		var out []cobra.Completion
		for _, name := range p.Resources() {
			if res, _ := p.Resource(name); strings.HasPrefix(name, typed) {
				out = append(out, cobra.CompletionWithDesc(name, oneLine([]string{res.Description})[0]))
			}
		}
		return out
	})(cmd, args, typed)
}

// completePeople completes the names of people in the policy.
func (a *App) completePeople(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completeFrom(func(rep *replica.Replica, _ Settings, _ []string, typed string) []cobra.Completion {
		p := rep.Ledger().Policies().Latest()
		if p == nil {
			return nil
		}
		var out []cobra.Completion
		for _, name := range p.People() {
			if person, _ := p.Person(name); strings.HasPrefix(name, typed) {
				out = append(out, cobra.CompletionWithDesc(name, oneLine([]string{person.Name})[0]))
			}
		}
		return out
	})(cmd, args, typed)
}

// completeEnrolments completes the names that waiting certificates claim.
func (a *App) completeEnrolments(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeFrom(func(rep *replica.Replica, _ Settings, _ []string, typed string) []cobra.Completion {
		return enrolled(rep, func(e ledger.Enrolment) string {
			full, _, _ := splitUserID(e.UserIDs)
			name := strings.ToLower(full)
			if checkName(name) != nil || !strings.HasPrefix(name, typed) {
				return ""
			}
			return name
		})
	})(cmd, args, typed)
}

// completeFingerprints completes the fingerprints of waiting certificates.
func (a *App) completeFingerprints(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completeFrom(func(rep *replica.Replica, _ Settings, _ []string, typed string) []cobra.Completion {
		return enrolled(rep, func(e ledger.Enrolment) string {
			if !strings.HasPrefix(string(e.Fingerprint), strings.ToUpper(typed)) {
				return ""
			}
			return string(e.Fingerprint)
		})
	})(cmd, args, typed)
}

func enrolled(rep *replica.Replica, word func(ledger.Enrolment) string) []cobra.Completion {
	waiting, err := rep.Ledger().Enrolments()
	if err != nil {
		return nil
	}
	var out []cobra.Completion
	for _, e := range waiting[:min(len(waiting), maxCompletions)] {
		if w := word(e); w != "" {
			out = append(out, cobra.CompletionWithDesc(w, oneLine([]string{strings.Join(e.UserIDs, ", ")})[0]))
		}
	}
	return out
}

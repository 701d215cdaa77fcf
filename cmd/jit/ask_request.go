package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// usualDuration is offered where the rule allows as much.
const usualDuration = time.Hour

// missing names what the command line lacks, whatever the policy asks for.
func (o *requestOptions) missing() []string {
	var missing []string
	if len(o.grants) == 0 {
		missing = append(missing, "RESOURCE:ROLE")
	}
	if o.dur == "" && o.until == "" {
		missing = append(missing, "--for TIME")
	}
	if !o.reasonSet {
		missing = append(missing, "-r REASON")
	}
	return missing
}

// alsoMissing names what the rules ask for beside it, as far as this machine knows
// them without asking the store: where nothing is known, nothing is named.
func (o *requestOptions) alsoMissing(ctx context.Context) []string {
	if len(o.grants) == 0 {
		return nil
	}
	rep, settings, err := o.app.Open(ctx)
	if err != nil {
		return nil
	}
	defer rep.Close()
	p := rep.Ledger().Policies().Latest()
	if p == nil {
		return nil
	}
	ms, err := o.matches(p, settings.Name)
	if err != nil {
		return nil
	}
	return o.lacks(ms)
}

// lacks names the flags that the rules ask for, and that are not given.
func (o *requestOptions) lacks(ms []policy.Match) (missing []string) {
	if o.lacksTicket(ms) {
		missing = append(missing, "--ticket TICKET")
	}
	for _, w := range o.lacksInputs(ms) {
		missing = append(missing, w.flag())
	}
	return missing
}

// matches gives the rules that decide about what is asked for.
func (o *requestOptions) matches(p *policy.Policy, me string) ([]policy.Match, error) {
	var ms []policy.Match
	for _, g := range o.grants {
		m, err := p.Match(me, g.Resource, g.Role, o.now)
		if err != nil {
			return nil, err
		}
		ms = append(ms, m)
	}
	return ms, nil
}

// lacksTicket reports whether a rule wants a ticket, and none is given.
func (o *requestOptions) lacksTicket(ms []policy.Match) bool {
	return o.ticket == "" && slices.ContainsFunc(ms, func(m policy.Match) bool { return m.CheckTicket("") != nil })
}

// lacksInputs gives the inputs that a rule cannot do without, and that are not
// given.
func (o *requestOptions) lacksInputs(ms []policy.Match) []wantedInput {
	return slices.DeleteFunc(wantedInputs(ms), func(w wantedInput) bool {
		_, given := o.inputs[w.name]
		return given || !w.required()
	})
}

// ask asks a person on a terminal for what the command line left out. What it does
// say is judged before anything is asked: nobody answers questions for nothing.
func (o *requestOptions) ask(p *policy.Policy, me string) error {
	a := o.app
	if len(o.grants) == 0 {
		o.asked = true
		if err := o.askGrant(p, me); err != nil {
			return err
		}
	}
	ms, err := o.matches(p, me)
	if err != nil {
		return err
	}
	if o.reasonSet {
		if o.reason, err = a.Text(o.reason, true, "reason", ""); err != nil {
			return err
		}
	}
	if o.ticket, err = tidyText(o.ticket, "ticket"); err != nil {
		return err
	}
	lacking := o.lacksInputs(ms)
	if !a.asks(o.out) {
		missing := o.lacks(ms)
		if len(missing) == 0 {
			return nil
		}
		if err := o.early(p, me, ms); err != nil {
			return err
		}
		return missingErr(missing)
	}
	if !o.asked && len(o.missing()) == 0 && !o.lacksTicket(ms) && len(lacking) == 0 {
		return nil
	}
	o.asked = true
	if err := o.early(p, me, ms); err != nil {
		return err
	}
	for _, step := range []func([]policy.Match) error{o.askDuration, o.askTicket, o.askReason, o.askInputs} {
		if err := step(ms); err != nil {
			return err
		}
	}
	o.now = a.Now() // answering took its time
	return nil
}

// early refuses what no answer could make right.
func (o *requestOptions) early(p *policy.Policy, me string, ms []policy.Match) error {
	w, err := o.times()
	if err != nil {
		return err
	}
	if w.duration.IsZero() {
		w.duration = record.Duration{Duration: time.Second}
	}
	for i, g := range o.grants {
		if !o.emergency {
			if _, err := request.MayAsk(p, me, g, o.now); err != nil {
				return err
			}
		}
		r := request.Request{Grants: []request.Grant{g}, Duration: w.duration, Start: w.start, Emergency: o.emergency}
		r.By, r.Created, r.Expires = me, record.At(o.now), record.At(o.now.Add(time.Second))
		switch err := r.Fits(p, request.Before{}); policy.CodeOf(err) {
		case policy.TooLong, policy.TooFarAhead, policy.NoEmergency, policy.RuleDenies:
			return err
		}
		if !o.emergency {
			if err := ms[i].CheckAsked(o.now); err != nil {
				return err
			}
		}
		if o.reasonSet {
			if err := ms[i].CheckReason(o.reason); err != nil {
				return err
			}
		}
		if o.ticket != "" {
			if err := ms[i].CheckTicket(o.ticket); err != nil {
				return err
			}
		}
	}
	for _, w := range wantedInputs(ms) {
		value, given := o.inputs[w.name]
		if !given {
			continue
		}
		if err := w.check(value); err != nil {
			return failure(exitRefused, "input-bad", "add: "+w.flag(), "input %q is not what the rule asks for: %v", w.name, err)
		}
	}
	return nil
}

// longest is for how long the rule lets somebody ask.
func (o *requestOptions) longest(m policy.Match) record.Duration {
	if o.emergency && m.Rule.Emergency != nil {
		return m.Rule.Emergency.MaxDuration
	}
	return m.Rule.MaxDuration
}

// askGrant lets a person pick one of the resources of which they may ask for
// something, and then the role.
func (o *requestOptions) askGrant(p *policy.Policy, me string) error {
	var resources []item
	roles := map[string][]resourceView{}
	for _, v := range offers(p, me, o.now) {
		if !v.You.May {
			continue
		}
		if roles[v.Resource] == nil {
			res, _ := p.Resource(v.Resource)
			resources = append(resources, item{v.Resource, res.Description})
		}
		roles[v.Resource] = append(roles[v.Resource], v)
	}
	if len(resources) == 0 {
		return failure(exitRefused, "nothing-allowed", "see why: jit resources", "there is nothing that you may ask for")
	}
	i, err := o.pickPart("resource", "You may ask for", resources)
	if err != nil {
		return err
	}
	var items []item
	offered := roles[resources[i].name]
	for _, v := range offered {
		items = append(items, item{v.Role, v.about(p)})
	}
	j, err := o.pickPart("role", "Roles of "+resources[i].name, items)
	if err != nil {
		return err
	}
	o.grants = []request.Grant{{Resource: resources[i].name, Role: offered[j].Role}}
	return nil
}

// pickPart lets a person pick a resource or a role. Where there is one only, it is
// said: the whole is looked at later.
func (o *requestOptions) pickPart(part, title string, items []item) (int, error) {
	if len(items) == 1 {
		o.app.Say("The only %s that you may ask for is %s", part, items[0].line())
		return 0, nil
	}
	o.app.Say("%s:", title)
	return o.app.Pick("Which "+part+"?", "RESOURCE:ROLE", items)
}

// about says what a role is for, for how long it is given, and who approves.
func (v resourceView) about(p *policy.Policy) string {
	role, _ := p.Role(v.Resource, v.Role)
	var parts []string
	if d := lineOf(role.Description); d != "" {
		parts = append(parts, d)
	}
	approves := "approved by " + approvesText(v)
	if v.Auto {
		approves = "approved by rule, at once"
	}
	return strings.Join(append(parts, "at most "+text(v.LongestText), approves), "; ")
}

// askDuration asks for how long, within what every rule allows.
func (o *requestOptions) askDuration(ms []policy.Match) error {
	if o.dur != "" || o.until != "" {
		return nil
	}
	a := o.app
	strictest := slices.MinFunc(ms, func(a, b policy.Match) int { return cmp.Compare(o.longest(a).Duration, o.longest(b).Duration) })
	longest := o.longest(strictest)
	usual := record.Duration{Duration: min(usualDuration, longest.Duration)}
	for range maxTries {
		answer, err := a.Ask(fmt.Sprintf("For how long? At most %s, like 30m or 1h30m, or until a time, like 18:00 [%s]:", longest, usual), "--for TIME")
		if err != nil {
			return err
		}
		o.dur, o.until = answer, ""
		switch {
		case answer == "":
			o.dur = usual.String()
		case strings.Contains(answer, ":"):
			o.dur, o.until = "", answer
		}
		w, err := o.times()
		if err == nil && w.duration.Duration <= longest.Duration {
			return nil
		}
		if err == nil {
			a.Say("%s is longer than rule %q allows: at most %s.", w.duration, strictest.Rule.Name, longest)
			continue
		}
		e := a.asExit(context.Background(), err)
		a.Say("%s; %s.", clean(e.Error()), clean(e.Hint))
	}
	return usageErr("add: --for TIME", "no time was given")
}

// askTicket asks for the ticket where a rule wants one.
func (o *requestOptions) askTicket(ms []policy.Match) error {
	if !o.lacksTicket(ms) {
		return nil
	}
	var patterns []string
	for _, m := range ms {
		if t := m.Rule.Requires.Ticket; t != "" && !slices.Contains(patterns, t) {
			patterns = append(patterns, t)
		}
	}
	fits := func(m policy.Match, ticket string) error { return m.CheckTicket(ticket) }
	for range maxTries {
		answer, err := o.app.Ask("Ticket (must match "+clean(strings.Join(patterns, " and "))+"):", "--ticket TICKET")
		if err != nil {
			return err
		}
		if o.ticket, err = o.fitting(ms, answer, "ticket", fits); err != nil {
			return err
		}
		if o.ticket != "" {
			return nil
		}
	}
	return usageErr("add: --ticket TICKET", "no ticket was given")
}

// askReason asks for the reason: in the person's editor, which keeps what they
// wrote where it must be written again, or as one line.
func (o *requestOptions) askReason(ms []policy.Match) error {
	if o.reasonSet {
		return nil
	}
	a := o.app
	template := "Why do you need " + grantsText(o.grants) + "? Lines that begin with # are left out."
	for _, m := range ms {
		if want := m.Rule.Requires.Reason; want != "" {
			if about := "The reason must match " + clean(want); !strings.Contains(template, about) {
				a.Say("%s", about)
				template += "\n" + about
			}
		}
	}
	fits := func(m policy.Match, reason string) error { return m.CheckReason(reason) }
	written := ""
	for range maxTries {
		var err error
		if a.editor() == "" {
			written, err = a.Ask("Reason:", "-r REASON")
		} else {
			written, err = a.written(written, "reason", template)
		}
		if err != nil {
			return err
		}
		if o.reason, err = o.fitting(ms, written, "reason", fits); err != nil {
			return err
		}
		if o.reason != "" {
			o.reasonSet = true
			return nil
		}
	}
	return failure(exitUsage, "reason-missing", "add: -r REASON", "no reason was given")
}

// fitting gives a text as records hold it, or nothing where it cannot stand in one
// or a rule wants another, which is said.
func (o *requestOptions) fitting(ms []policy.Match, answer, what string, fits func(policy.Match, string) error) (string, error) {
	tidy, err := tidyText(answer, what)
	if err == nil {
		err = request.CheckText(what, tidy, true)
	}
	for _, m := range ms {
		if err == nil {
			err = fits(m, tidy)
		}
	}
	if err != nil {
		o.app.Say("That does not fit: %s.", clean(err.Error()))
		return "", nil
	}
	return tidy, nil
}

// askInputs asks for the inputs that are not given; the optional ones too, for
// somebody is there who may want to give them.
func (o *requestOptions) askInputs(ms []policy.Match) error {
	for _, w := range wantedInputs(ms) {
		if _, given := o.inputs[w.name]; given {
			continue
		}
		value, err := o.app.askInput(w)
		if err != nil {
			return err
		}
		if value != "" {
			o.inputs[w.name] = value
		}
	}
	return nil
}

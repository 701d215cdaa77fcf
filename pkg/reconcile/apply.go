package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/target"
)

// faultPoint is nil but in tests, which stop the process at a named place
// between two steps that belong together.
var faultPoint func(name string)

func reach(name string) {
	if faultPoint != nil {
		faultPoint(name)
	}
}

// apply works off tasks, each target in a goroutine of its own, so that none
// waits for another. after, which may be nil, runs at the end for each target.
func (r *run) apply(ctx context.Context, tasks []task, after func(context.Context, *site)) {
	work := map[string][]task{}
	for _, t := range tasks {
		work[t.Grant.Resource] = append(work[t.Grant.Resource], t)
	}
	if after != nil {
		for name := range r.o.Config.Targets {
			work[name] = append([]task{}, work[name]...)
		}
	}
	// Grants that end in this run keep nothing alive; those that open now do.
	ending := map[string]bool{}
	r.opening = map[string]bool{}
	for _, t := range tasks {
		ending[t.Grant.ID] = ending[t.Grant.ID] || t.action == End
		r.opening[t.Grant.ID] = t.action != End && t.action != Intend && t.held == nil && t.refused == nil
	}
	var all sync.WaitGroup
	for _, name := range slices.Sorted(maps.Keys(work)) {
		s := r.site(name)
		all.Go(func() {
			for _, t := range work[name] {
				if ctx.Err() != nil {
					return // no failure of the target: the next run goes on
				}
				r.one(ctx, s, t, ending)
			}
			if after != nil && ctx.Err() == nil {
				after(ctx, s)
			}
		})
	}
	all.Wait()
}

// site gives the target of a resource, the same for the whole run.
func (r *run) site(name string) *site {
	s, ok := r.sites[name]
	if !ok {
		c, known := r.o.Config.Targets[name]
		s = &site{resource: name, config: c, known: known, kinds: r.o.Drivers, now: r.o.Now, log: r.log}
		r.sites[name] = s
	}
	return s
}

// one does one task and says what became of it.
func (r *run) one(ctx context.Context, s *site, t task, ending map[string]bool) {
	if t.action != Intend && !r.first(t.Grant.ID, t.action) {
		return
	}
	c := Change{Action: t.action, Outcome: Done, Grant: t.Grant, Request: t.Request, Driver: t.Driver, Cause: t.cause}
	c.Grant.Standing = t.standing
	quiet := false
	switch {
	case t.refused != nil:
		c.Err = t.refused
	case t.held != nil:
		c.Outcome, c.Err = Withheld, t.held
		r.report(c)
		return
	case r.o.DryRun:
		quiet = t.action == Restore && !r.gone(ctx, s, t, ending)
		c.Outcome = Planned
		if !quiet && (t.action == Open || t.action == Restore) {
			_, _, c.Err = r.mayOpen(ctx, s, t, ending, c.Grant)
		}
	case t.action == End:
		if t.adopt {
			_ = r.adopt(t) // it ends all the same, and what keeps the journal from being written is told
		}
		c.Ending, c.Err = r.end(ctx, s, t, ending)
	case t.action == Intend:
		c.Err = r.announce(s, t)
	default:
		quiet, c.Err = r.open(ctx, s, t, ending, &c.Grant)
	}
	if c.Err != nil {
		if ctx.Err() != nil {
			return // interrupted: said once, for the whole run
		}
		quiet, c.Outcome = false, Failed
		if !r.o.DryRun {
			r.remember(t, c.Err)
		}
	}
	if !quiet {
		r.report(c)
	}
}

// gone reports whether an open grant has gone from the target, or whether that
// cannot be seen.
func (r *run) gone(ctx context.Context, s *site, t task, ending map[string]bool) bool {
	d, err := s.driver(ctx, t.Driver)
	if err != nil {
		return true
	}
	g, remaining := t.Grant, r.remaining(t, ending)
	k := r.kept(g.ID)
	g.Identity = k.identity
	seen, err := ask(ctx, s, func(ctx context.Context) (target.Observation, error) {
		return d.Check(ctx, g, remaining)
	})
	return err != nil || !seen.Present || len(seen.Astray) > 0 || k.astray
}

// open opens access, or brings it back where it has gone. It reports true when
// there was nothing to do.
func (r *run) open(ctx context.Context, s *site, t task, ending map[string]bool, g *target.Grant) (nothing bool, err error) {
	d, seen, err := r.mayOpen(ctx, s, t, ending, *g)
	if err != nil {
		return false, err
	}
	check := func() (target.Observation, error) { return r.observe(ctx, s, d, t, ending, *g) }
	if len(seen.Astray) > 0 || r.kept(g.ID).astray {
		if err := r.gather(ctx, s, t, ending); err != nil {
			return false, err
		}
		if seen, err = check(); err != nil {
			return false, err
		}
		if len(seen.Astray) > 0 {
			return false, &target.Error{Reason: target.Failed, Detail: plain("it is not given anew beside what could not be ended: "+strings.Join(seen.Astray, "; "), maxDetail)}
		}
	}
	k := r.kept(t.Grant.ID)
	if k.stage == open && seen.Present {
		r.identify(event{Grant: g.ID, Identity: seen.Identity})
		return true, nil
	}
	if !g.Ends.After(r.now()) {
		return true, nil // it ended while others were worked on
	}
	if k.stage == untouched || k.stage == over {
		// What came up while it was suspended was not there before.
		g.Standing = seen.Foreign && (k.stage == untouched || k.standing)
		w := t.wish
		if err := r.record(event{Kind: intended, Grant: g.ID, Wish: &w, Standing: g.Standing, Identity: seen.Identity}); err != nil {
			return false, err
		}
		reach("intended")
	}
	wanted := *g
	if _, err := ask(ctx, s, func(ctx context.Context) (struct{}, error) { return struct{}{}, d.Grant(ctx, wanted) }); err != nil {
		return false, err
	}
	reach("granted")
	if seen, err = check(); err != nil {
		return false, err
	}
	if !seen.Present {
		return false, &target.Error{Reason: target.Failed, Detail: plain("the target took the grant, and yet the access is not there: "+seen.Detail, maxDetail)}
	}
	reach("checked")
	if t.action == Restore {
		r.identify(event{Grant: g.ID, Identity: seen.Identity})
		return false, nil
	}
	if err := r.record(event{Kind: opened, Grant: g.ID, Identity: seen.Identity}); err != nil {
		return false, fmt.Errorf("access is open, but: %w", err)
	}
	reach("opened")
	return false, nil
}

// mayOpen finds what speaks against opening access before anything is changed, in a dry
// run too, and what is there.
func (r *run) mayOpen(ctx context.Context, s *site, t task, ending map[string]bool, g target.Grant) (d target.Driver, seen target.Observation, err error) {
	if err := s.validate(t.wish); err != nil {
		return nil, seen, err
	}
	if err := Sharing(r.o.Config, r.policy, s.kinds)[s.resource]; err != nil {
		return nil, seen, err
	}
	if d, err = s.driver(ctx, t.Driver); err != nil {
		return nil, seen, err
	}
	seen, err = r.observe(ctx, s, d, t, ending, g)
	return d, seen, err
}

// observe asks a target what is there of a grant.
func (r *run) observe(ctx context.Context, s *site, d target.Driver, t task, ending map[string]bool, g target.Grant) (target.Observation, error) {
	// A verb that is left behind must find nothing that the run still changes.
	remaining := r.remaining(t, ending)
	g.Identity = r.kept(g.ID).identity
	return ask(ctx, s, func(ctx context.Context) (target.Observation, error) { return d.Check(ctx, g, remaining) })
}

// gather ends what a grant gave and is under other names by now, before it is given anew
// to whom the policy names: else two would have it. That it has begun is written down, for
// a membership that is gone does not tell whether its sessions are.
func (r *run) gather(ctx context.Context, s *site, t task, ending map[string]bool) error {
	d, err := s.driver(ctx, t.Driver)
	if err != nil {
		return err
	}
	g, remaining := t.Grant, r.remaining(t, ending)
	g.Standing, g.Identity = t.standing, r.kept(g.ID).identity
	r.identify(event{Grant: g.ID, Astray: true})
	e, err := ask(ctx, s, func(ctx context.Context) (target.Ending, error) { return d.Revoke(ctx, g, remaining) })
	if err != nil {
		return err
	}
	r.tellAstray(g, e)
	if len(e.Left) > 0 {
		r.letsIn(s.resource, "grant %s: %s", g.ID, strings.Join(e.Left, "; "))
	}
	reach("gathered")
	r.identify(event{Grant: g.ID})
	return nil
}

// identify writes down what the names of a grant stand for, where that is new. Nothing
// waits for it: what keeps the journal from being written is told.
func (r *run) identify(e event) {
	e.Kind = identified
	k := r.kept(e.Grant)
	if e.Astray == k.astray && (e.Identity == "" || e.Identity == k.identity) || k.stage == untouched || r.journal.err() != nil {
		return
	}
	if err := r.record(e); err != nil {
		r.log.Warn("what the names of the grant stand for is not in the journal", "grant", e.Grant, "error", err)
	}
}

func (r *run) tellAstray(g target.Grant, e target.Ending) {
	for _, where := range e.Astray {
		r.drift(g.Resource, "grant %s: %s, and is ended there (%d sessions closed)", g.ID, where, e.SessionsEnded)
	}
}

// end takes access away. The journal is written afterwards: a run that is
// stopped in between ends it once more, which changes nothing. For the same
// reason it does not matter here whether the journal can be written.
func (r *run) end(ctx context.Context, s *site, t task, ending map[string]bool) (target.Ending, error) {
	d, err := s.driver(ctx, t.Driver)
	if err != nil {
		return target.Ending{}, err
	}
	g := t.Grant
	g.Standing, g.Identity = t.standing, r.kept(g.ID).identity
	remaining := r.remaining(t, ending)
	reach("ending")
	e, err := ask(ctx, s, func(ctx context.Context) (target.Ending, error) {
		return d.Revoke(ctx, g, remaining)
	})
	if err != nil {
		return target.Ending{}, err
	}
	for _, id := range e.Others {
		if !ending[id] {
			e.Left = append(e.Left, "grant "+id+" lets the same in, and is not known to be open")
		}
	}
	r.tellAstray(g, e)
	e.Others, e.Astray = nil, nil
	if e.Standing && !g.Standing {
		// jit may only leave what was there before it, and this was not. It may be somebody's
		// own all the same: that is for people to judge.
		e.Standing = false
		e.Left = append(e.Left, "the same access is there by other means, and jit knows of none from before it opened it: another hand has given it since, or changed what jit had made")
	}
	for i := range e.Left {
		e.Left[i] = plain(e.Left[i], maxDetail)
	}
	reach("revoked")
	if err := r.record(event{Kind: ended, Grant: g.ID, Cause: t.cause, Ending: &e}); err != nil {
		r.mu.Lock()
		r.untoldEnds[g.ID] = true
		r.mu.Unlock()
		r.note(fmt.Errorf("the ending of grant %s is not in the journal, and the next run does it again: %w", g.ID, err))
	}
	reach("ended")
	return e, nil
}

// remaining are the other grants of the resource that rest on the same access
// rightly: those that the journal has open, and those of the ledger that are about to
// open, or that another reconciler says it has opened. What is withheld keeps nothing.
func (r *run) remaining(t task, ending map[string]bool) []target.Grant {
	var others []target.Grant
	taken := map[string]bool{t.Grant.ID: true}
	now := r.now()
	add := func(g target.Grant) {
		if g.Resource == t.Grant.Resource && !taken[g.ID] && !ending[g.ID] && g.Ends.After(now) {
			taken[g.ID] = true
			others = append(others, g)
		}
	}
	r.journal.view(func(s *journalState) {
		for _, k := range s.sorted() {
			if k.mayBeOpen() {
				add(k.grant())
			} else {
				taken[k.Grant.ID] = true // what ended here is no reason to leave access
			}
		}
	})
	for _, k := range r.recalled {
		add(k.grant())
	}
	for _, e := range r.active {
		for _, w := range wishes(e) {
			if r.opening[w.Grant.ID] || r.openElsewhere(e, w) {
				add(w.Grant)
			}
		}
	}
	return others
}

// openElsewhere reports whether another reconciler's receipts have a grant open.
func (r *run) openElsewhere(e ledger.Entry, w wish) bool {
	last := map[string]receipt.Outcome{}
	for _, p := range e.Receipts {
		rec := p.Record
		if rec.By != r.o.Config.Name && rec.Resource == w.Grant.Resource && rec.Role == w.Grant.Role && rec.Outcome != receipt.Failed {
			last[rec.By] = rec.Outcome
		}
	}
	return slices.Contains(slices.Collect(maps.Values(last)), receipt.Applied)
}

// remember writes a failure into the journal, once until it changes, so that
// there is one receipt for it and not one for each run.
func (r *run) remember(t task, cause error) {
	phase := t.action
	if phase != End {
		phase = Open
	}
	why := string(target.ReasonOf(cause))
	if why == "" {
		why = plain(cause.Error(), maxDetail)
	}
	if k := r.kept(t.Grant.ID); k.troubles[phase] == why {
		return
	}
	w := t.wish
	err := r.record(event{Kind: failed, Grant: t.Grant.ID, Wish: &w, Phase: phase, Why: why, Detail: plain(cause.Error(), maxDetail)})
	if err != nil {
		r.log.Warn("the failure is not in the journal", "grant", t.Grant.ID, "error", err)
	}
}

// maxDrift bounds what is told of one target's drift.
const maxDrift = 50

// look compares what the target lists as jit's with what is known. What the
// journal or the ledger knows to be over is ended; what nobody knows is told,
// and left.
func (r *run) look(ctx context.Context, s *site) {
	if r.lost && !r.o.DryRun {
		defer r.recognise(ctx, s)
	}
	for _, name := range r.driversOf(s) {
		d, err := s.driver(ctx, name)
		if err != nil {
			r.unseen()
			continue // told already, where it kept a task from being done
		}
		listed, err := ask(ctx, s, d.List)
		if err != nil {
			r.unseen()
			r.drift(s.resource, "what is open there could not be listed: %v", err)
			continue
		}
		told := 0
		for _, l := range listed {
			t, stray := r.unknown(s, name, l)
			switch {
			case t != nil && t.action == "":
				_ = r.adopt(*t) // what keeps the journal from being written is told
			case t != nil && !r.wasTried(l.GrantID):
				r.one(ctx, s, *t, nil)
			case t != nil:
				r.drift(s.resource, "grant %s was ended and is still listed", l.GrantID)
			case stray && told < maxDrift:
				told++
				r.drift(s.resource, "grant %q of account %q is unknown, and is left", l.GrantID, l.Account)
			}
		}
		if a, ok := d.(target.Auditor); ok {
			r.audit(ctx, s, name, a)
		}
	}
}

// audit tells what jit gave at a target and no grant gives. It is left: whose it is was
// lost with the journal, or with the name.
func (r *run) audit(ctx context.Context, s *site, driver string, a target.Auditor) {
	gives, known := r.givenAt(s, driver)
	listed, err := ask(ctx, s, func(ctx context.Context) ([]target.Listed, error) { return a.Unaccounted(ctx, gives, known) })
	if err != nil {
		r.unseen()
		r.letsIn(s.resource, "what is open there and no grant gives could not be looked for: %v", err)
		return
	}
	for i, l := range listed {
		switch {
		case i == maxDrift:
			return
		case l.GrantID != "":
			r.letsIn(s.resource, "%s: grant %s gave it, under another name", l.Detail, l.GrantID)
		case r.synced: // else the store may have it
			r.letsIn(s.resource, "%s; it is left: take it on the server, or have it asked for", l.Detail)
		}
	}
}

// givenAt gives the grants that may rightly be open at a target, whoever opens them and
// whether or not they are withheld, and, as grants, whatever else may be there of jit's.
func (r *run) givenAt(s *site, driver string) (gives, known []target.Grant) {
	taken := map[string]bool{}
	add := func(w wish, g target.Grant, open bool) {
		switch {
		case g.Resource != s.resource || w.Driver != driver || taken[g.ID]:
		case open:
			taken[g.ID] = true
			gives = append(gives, g)
		default:
			known = append(known, g)
		}
	}
	r.journal.view(func(state *journalState) {
		for _, k := range state.sorted() {
			add(k.wish, k.grant(), k.mayBeOpen())
			taken[k.Grant.ID] = taken[k.Grant.ID] || k.stage == over && !k.suspended() // what ended stays so
		}
	})
	for _, k := range r.recalled {
		add(k.wish, k.grant(), true)
	}
	for _, e := range r.active {
		for _, w := range wishes(e) {
			add(w, w.Grant, true)
		}
	}
	if p := r.policy; p != nil {
		res, _ := p.Resource(s.resource)
		for _, role := range res.Roles {
			if res.Driver == driver {
				known = append(known, target.Grant{Params: role.Parameters})
			}
		}
	}
	return gives, known
}

// letsIn is drift that lets somebody in: the run ends with the code for it.
func (r *run) letsIn(resource, format string, args ...any) {
	r.drift(resource, format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Left++
}

// driversOf names the drivers of a resource in the policy and the journal.
func (r *run) driversOf(s *site) []string {
	names := map[string]bool{}
	if p := r.policy; p != nil {
		if res, ok := p.Resource(s.resource); ok && p.Reconciles(r.o.Config.Name, s.resource) {
			names[res.Driver] = true
		}
	}
	for name := range s.drivers {
		names[name] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// unknown judges a listed grant: it is to be ended, or only written down (a task without
// an action), or stray, or as it should be.
func (r *run) unknown(s *site, driver string, l target.Listed) (t *task, stray bool) {
	request, n, ok := requestOf(l.GrantID)
	if !ok {
		return nil, true
	}
	k := r.kept(l.GrantID)
	if k.mayBeOpen() {
		return nil, false // known; if it is over, its ending was tried and told
	}
	if k.stage == over {
		return &task{wish: k.wish, action: End, cause: k.cause, standing: k.standing, adopt: true}, false
	}
	e, err := r.book.Request(request, r.now())
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		return nil, r.synced
	case err != nil || n >= len(e.Grants):
		return nil, err == nil
	}
	w, cause := wishOf(e, n), causeOf(e, l.GrantID)
	if w.Grant.Resource == s.resource && w.Driver == driver && r.reconciles(r.policy, s.resource) {
		switch {
		case cause != "" && stateOf(e, l.GrantID).Settled():
			return &task{wish: w, action: End, cause: cause, adopt: true}, false
		case r.lost && !r.o.DryRun && cause == "" && r.untold(l.GrantID):
			return &task{wish: w}, false
		}
	}
	return nil, w.Grant.Resource != s.resource
}

func (r *run) reconciles(p *policy.Policy, resource string) bool {
	return p != nil && p.Reconciles(r.o.Config.Name, resource)
}

// adopt writes down a grant that is, or may be, open, so that its ending is tried until
// it succeeds: the journal did not know of it, or somebody brought it back.
func (r *run) adopt(t task) error {
	if k := r.kept(t.Grant.ID); k.stage == over {
		r.drift(t.Grant.Resource, "grant %s had ended and was there again", t.Grant.ID)
	}
	w := t.wish
	err := r.record(event{Kind: intended, Grant: t.Grant.ID, Wish: &w, Standing: t.standing})
	if err != nil {
		r.log.Warn("the grant is not in the journal", "grant", t.Grant.ID, "error", err)
	}
	return err
}

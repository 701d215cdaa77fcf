// Package conformance owns the suite that every driver passes against the real
// thing: it opens access, uses it, ends it, and sees what a person sees.
//
// It is used by tests alone, and imports package target and nothing else of jit.
package conformance

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/target"
)

// Session is a live use of the access.
type Session interface {
	// Alive says whether it still works.
	Alive() bool
}

// Target is a driver with something real to work on. All functions but New
// may be called often; each subtest begins and ends without access.
type Target struct {
	// New makes a driver; Grants made below work on what it reaches.
	New func(t *testing.T) target.Driver
	// Grant gives a grant with an id of its own, for the same person, account
	// and role each time, which ends in an hour.
	Grant func(t *testing.T) target.Grant
	// CanUse logs in as the person and uses the access; an error means denied.
	CanUse func(t *testing.T) error
	// OpenSession logs in and stays.
	OpenSession func(t *testing.T) Session
	// AddForeign gives the same access by other means than jit, and
	// RemoveForeign takes that back.
	AddForeign, RemoveForeign func(t *testing.T)
	// Lists says whether List shows this grant.
	Lists bool
	// Crash lists ways to stop a verb midway: each gives a context for one
	// call, which ends somewhere inside it. Empty uses deadlines of a few
	// milliseconds.
	Crash []func() (context.Context, context.CancelFunc)
	// Protected are grants that the driver must refuse, with [target.Refused]
	// or as a parameter.
	Protected map[string]target.Grant
	// Hostile are grants whose accounts try to be more than a name. The driver
	// refuses them, or gives access to just that account; Unharmed looks that
	// nothing else happened.
	Hostile  map[string]target.Grant
	Unharmed func(t *testing.T)
}

// patience bounds the waiting for a session that should die.
const patience = 15 * time.Second

// Run runs the suite.
func Run(t *testing.T, x Target) {
	t.Run("Life", x.life)
	t.Run("Overlap", x.overlap)
	t.Run("Standing", x.standing)
	t.Run("Untold", x.untold)
	t.Run("Midway", x.midway)
	t.Run("Over", x.over)
	t.Run("Protected", x.protected)
	t.Run("Hostile", x.hostile)
}

func (x Target) ctx(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func (x Target) denied(t *testing.T, when string) {
	t.Helper()
	if err := x.CanUse(t); err == nil {
		t.Fatalf("%s: access is open", when)
	}
}

func (x Target) allowed(t *testing.T, when string) {
	t.Helper()
	if err := x.CanUse(t); err != nil {
		t.Fatalf("%s: access is closed: %v", when, err)
	}
}

func grant(t *testing.T, d target.Driver, g target.Grant) {
	t.Helper()
	if err := d.Grant(t.Context(), g); err != nil {
		t.Fatalf("grant %s: %v", g.ID, err)
	}
}

func revoke(t *testing.T, d target.Driver, g target.Grant, remaining ...target.Grant) target.Ending {
	t.Helper()
	e, err := d.Revoke(t.Context(), g, remaining)
	if err != nil {
		t.Fatalf("revoke %s: %v", g.ID, err)
	}
	if len(e.Left) > 0 {
		t.Fatalf("revoke %s left %q", g.ID, e.Left)
	}
	return e
}

func check(t *testing.T, d target.Driver, g target.Grant, present, foreign bool, remaining ...target.Grant) {
	t.Helper()
	seen, err := d.Check(t.Context(), g, remaining)
	if err != nil {
		t.Fatalf("check %s: %v", g.ID, err)
	}
	if seen.Present != present || seen.Foreign != foreign {
		t.Fatalf("check %s: %+v, want present %v, foreign %v", g.ID, seen, present, foreign)
	}
}

func (x Target) dies(t *testing.T, s Session) {
	t.Helper()
	for deadline := time.Now().Add(patience); s.Alive(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the session lives on")
		}
	}
}

func (x Target) lives(t *testing.T, s Session, when string) {
	t.Helper()
	if !s.Alive() {
		t.Fatalf("%s: the session was ended", when)
	}
}

func (x Target) life(t *testing.T) {
	ctx, d, g := x.ctx(t), x.New(t), x.Grant(t)
	if err := d.Ping(ctx); err != nil {
		t.Fatalf("ping: %v", err)
	}
	x.denied(t, "before the grant")
	check(t, d, g, false, false)
	grant(t, d, g)
	x.allowed(t, "after the grant")
	check(t, d, g, true, false)
	before := x.list(t, d, g)
	grant(t, d, g)
	x.allowed(t, "granted twice")
	if after := x.list(t, d, g); after != before {
		t.Fatalf("granting again changed %+v to %+v", before, after)
	}
	s := x.OpenSession(t)
	x.lives(t, s, "while open")
	if e := revoke(t, d, g); e.SessionsEnded < 1 || e.Standing {
		t.Fatalf("ending a grant in use: %+v", e)
	}
	x.dies(t, s)
	x.denied(t, "after the end")
	check(t, d, g, false, false)
	if e := revoke(t, d, g); e.SessionsEnded != 0 || e.Standing {
		t.Fatalf("ending it again: %+v", e)
	}
	x.denied(t, "ended twice")
	x.unlisted(t, d, g)
}

// list gives what List shows of g.
func (x Target) list(t *testing.T, d target.Driver, g target.Grant) target.Listed {
	t.Helper()
	listed, err := d.List(t.Context())
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	for _, l := range listed {
		if l.GrantID == g.ID {
			if !l.Ends.IsZero() && !l.Ends.Equal(g.Ends.Truncate(time.Second)) {
				t.Fatalf("%+v is listed with another end than %s", l, g.Ends)
			}
			return l
		}
	}
	if x.Lists {
		t.Fatalf("grant %s is not among %+v", g.ID, listed)
	}
	return target.Listed{}
}

func (x Target) unlisted(t *testing.T, d target.Driver, g target.Grant) {
	t.Helper()
	x.Lists = false
	if l := x.list(t, d, g); l != (target.Listed{}) {
		t.Fatalf("still listed: %+v", l)
	}
}

// overlap: two grants of one role last until the last of them ends.
func (x Target) overlap(t *testing.T) {
	d, a, b := x.New(t), x.Grant(t), x.Grant(t)
	grant(t, d, a)
	check(t, d, b, x.presentByAnother(t, d, a, b), false, a)
	grant(t, d, b)
	s := x.OpenSession(t)
	revoke(t, d, a, b)
	x.allowed(t, "the other grant is open")
	x.lives(t, s, "the other grant is open")
	check(t, d, b, true, false)
	revoke(t, d, b)
	x.dies(t, s)
	x.denied(t, "both have ended")
}

// presentByAnother: a membership is one for both grants, a line is not.
func (x Target) presentByAnother(t *testing.T, d target.Driver, a, b target.Grant) bool {
	t.Helper()
	seen, err := d.Check(t.Context(), b, []target.Grant{a})
	if err != nil {
		t.Fatal(err)
	}
	return seen.Present
}

// standing: what was there before jit is seen, and stays.
func (x Target) standing(t *testing.T) {
	d, g := x.New(t), x.Grant(t)
	x.AddForeign(t)
	defer x.RemoveForeign(t)
	seen, err := d.Check(t.Context(), g, nil)
	if err != nil || !seen.Foreign {
		t.Fatalf("standing access is not seen: %+v, %v", seen, err)
	}
	g.Standing = seen.Foreign
	grant(t, d, g)
	s := x.OpenSession(t)
	if e := revoke(t, d, g); !e.Standing || e.SessionsEnded != 0 {
		t.Fatalf("ending beside standing access: %+v", e)
	}
	x.lives(t, s, "the access stands")
	x.allowed(t, "the access stands")
	if e := revoke(t, d, g); !e.Standing {
		t.Fatalf("ending again beside standing access: %+v", e)
	}
	x.RemoveForeign(t)
	x.denied(t, "the standing access was taken")
}

// untold: what others gave is left, though the caller lost the note that it was
// standing.
func (x Target) untold(t *testing.T) {
	d, g := x.New(t), x.Grant(t)
	x.AddForeign(t)
	defer x.RemoveForeign(t)
	grant(t, d, g)
	check(t, d, g, true, true)
	if e := revoke(t, d, g); !e.Standing {
		t.Fatalf("ending: %+v", e)
	}
	x.allowed(t, "somebody else gave it")
	x.RemoveForeign(t)
	x.denied(t, "somebody else took it")
}

// midway: a verb that stops anywhere is made good by the next run.
func (x Target) midway(t *testing.T) {
	crashes := x.Crash
	if len(crashes) == 0 {
		for _, after := range []time.Duration{0, time.Millisecond, 2 * time.Millisecond, 4 * time.Millisecond, 8 * time.Millisecond, 16 * time.Millisecond} {
			crashes = append(crashes, func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(context.Background(), after)
			})
		}
	}
	d := x.New(t)
	for i, crash := range crashes {
		g := x.Grant(t)
		ctx, cancel := crash()
		first := d.Grant(ctx, g)
		cancel()
		grant(t, d, g)
		x.allowed(t, "granted by the second run")
		s := x.OpenSession(t)
		ctx, cancel = crash()
		_, second := d.Revoke(ctx, g, nil)
		cancel()
		revoke(t, d, g)
		x.dies(t, s)
		x.denied(t, "ended by the second run")
		x.unlisted(t, d, g)
		t.Logf("crash %d: grant %v, revoke %v", i, first, second)
	}
}

// over: what has ended is not opened.
func (x Target) over(t *testing.T) {
	d, g := x.New(t), x.Grant(t)
	g.Ends = time.Now().UTC().Add(-time.Second)
	if err := d.Grant(t.Context(), g); !errors.Is(err, target.ErrBadGrant) {
		t.Fatalf("a grant that has ended: %v", err)
	}
	x.denied(t, "a grant that has ended")
}

func refused(err error) bool {
	_, param := errors.AsType[*target.ParamError](err)
	return param || errors.Is(err, target.ErrRefused)
}

// protected: what is refused is refused by Check already, before the caller notes that
// access may be open: there would be something to end for good.
func (x Target) protected(t *testing.T) {
	d := x.New(t)
	for name, g := range x.Protected {
		t.Run(name, func(t *testing.T) {
			if seen, err := d.Check(t.Context(), g, nil); !refused(err) {
				t.Errorf("not refused when looked at: %+v, %v", seen, err)
			}
			if err := d.Grant(t.Context(), g); !refused(err) {
				t.Errorf("not refused: %v", err)
			}
		})
	}
}

func (x Target) hostile(t *testing.T) {
	d := x.New(t)
	for name, g := range x.Hostile {
		t.Run(name, func(t *testing.T) {
			if err := d.Grant(t.Context(), g); err == nil {
				check(t, d, g, true, false)
				revoke(t, d, g)
				check(t, d, g, false, false)
			} else if !refused(err) && !errors.Is(err, target.ErrNotFound) {
				t.Errorf("refused for another reason: %v", err)
			}
			x.Unharmed(t)
		})
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

// keptHere is what this command has signed and could not send: it waits in the spool.
type keptHere struct {
	subject string // in plain words, as the commit would say it
	id      record.ID
	kind    record.Kind // empty for a certificate
	cause   error
}

// keptView is the part of a view that says that what was signed waits on this
// machine, and counts for nobody yet.
type keptView struct {
	Waiting bool `json:"waiting"`
}

func (v *keptView) keep(waiting bool) { v.Waiting = waiting }

// keeper is a view that can say so.
type keeper interface{ keep(waiting bool) }

// keep notes that something that was signed waits, and says so.
func (a *App) keep(k keptHere) {
	a.kept = &k
	if !notAccepted(k.cause) { // else it is the error with which the command ends
		a.Warn("it could not be sent now: %v", k.cause)
	}
	a.Say("The signed record waits on this machine and goes out with the next command that reaches the store, or: jit sync")
}

// keptText writes first that what was signed only waits. What it will do is said of
// what asks or proposes alone: of what decides, that would read as done.
func (a *App) keptText(w io.Writer, text func(w io.Writer) error) error {
	k := a.kept
	id := ""
	if k.id != "" {
		id = " (" + k.id.Short() + ")"
	}
	if _, err := fmt.Fprintf(w, "kept on this machine: it counts when it is sent: %s%s\n", clean(lineOf(k.subject)), id); err != nil {
		return err
	}
	switch k.kind {
	case "", record.KindRequest, record.KindPolicy:
		return text(w)
	}
	return nil
}

// notAccepted reports whether the store answered, and what was sent is not in it.
func notAccepted(err error) bool {
	return replica.ItsOwn(err) || errors.Is(err, gitstore.ErrContention)
}

// unsent is the error of a command that is done but for sending what it signed,
// where the store answers and does not take it. What waits for a store that cannot
// be reached is no error: it goes out by itself.
func (a *App) unsent() error {
	if a.kept == nil || !notAccepted(a.kept.cause) {
		return nil
	}
	return fmt.Errorf("it is kept on this machine, and could not be sent: %w", a.kept.cause)
}

// errStuck is the error of a command that only sends.
func errStuck(stuck []replica.Stuck) error {
	if len(stuck) == 0 {
		return nil
	}
	return fmt.Errorf("%s here and cannot be sent: %w", count(len(stuck), "submission")+" "+waits(len(stuck)), stuck[0].Cause)
}

// reportWaiting names what waits although the store answers, and what to do.
func (a *App) reportWaiting(r replica.Report) {
	for i, s := range r.Stuck {
		if i == maxShown {
			a.Say("… and %d more; see: jit status", len(r.Stuck)-i)
			break
		}
		a.Warn("it waits here still, and cannot be sent: %s", s)
		if hint := a.nextFor(s.Cause); hint != "" {
			a.Say("  → %s", clean(hint))
		}
	}
	if n := r.Waiting - len(r.Stuck); n > 0 {
		a.Warn("%s here still, since: %v", count(n, "submission")+" "+waits(n), r.Cause)
	}
}

// nextFor gives what to do about an error, or "".
func (a *App) nextFor(err error) string { return a.asExit(context.Background(), err).Hint }

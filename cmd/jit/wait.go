package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
)

// The pause between two looks at the store grows from the first to the second,
// each time by a quarter more or less, so that many who wait do not come at
// once.
const (
	firstPause = 400 * time.Millisecond
	lastPause  = 4 * time.Second
)

// dropWithin bounds the signing and sending of a cancellation after a command
// has ended. It may hold a passphrase prompt.
const dropWithin = 2 * time.Minute

// endings are the signals that would end this program before it has given access back:
// all that are sent to end one, and can be caught.
var endings = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT}

// hold keeps signals from ending this program: they end its waiting, or its command.
type hold struct {
	signals chan os.Signal
	// waiting is done at the first signal, until handOver.
	waiting context.Context
	ended   context.CancelFunc
	over    chan struct{} // closed by handOver
	watched chan struct{} // closed when nobody waits for a signal in here any more
}

func newHold(ctx context.Context) *hold {
	h := &hold{signals: make(chan os.Signal, 8), over: make(chan struct{}), watched: make(chan struct{})}
	h.waiting, h.ended = context.WithCancel(ctx)
	if heard := heeded(endings); len(heard) > 0 { // for none, the package takes all there are
		signal.Notify(h.signals, heard...)
	}
	go func() {
		defer close(h.watched)
		select {
		case <-h.signals:
			h.ended()
		case <-h.over:
		case <-h.waiting.Done():
		}
	}()
	return h
}

// handOver leaves the signals to who reads them next. One that came before has ended the
// waiting.
func (h *hold) handOver() {
	close(h.over)
	<-h.watched
}

// release lets signals end this program again.
func (h *hold) release() {
	signal.Stop(h.signals)
	h.ended()
}

// held runs do, which asks for access and, where there is a command, gives it back when
// that has ended: from before the request is on its way no signal may end the program.
func (o *requestOptions) held(ctx context.Context, do func(context.Context, *hold) error) error {
	if len(o.command) == 0 {
		return do(ctx, nil)
	}
	h := newHold(ctx)
	defer h.release()
	o.app.IO.Stop = h.waiting.Done()
	err := do(h.waiting, h)
	if _, said := errors.AsType[*exitError](err); !said && h.waiting.Err() != nil && errors.Is(err, context.Canceled) {
		return failure(exitInterrupted, "interrupted", "", "interrupted")
	}
	return err
}

// follow waits until e can be used, and runs the command where there is one.
// Only what this command itself asked for, and so has a signer for, is dropped.
func (o *requestOptions) follow(ctx context.Context, d *desk, e ledger.Entry, h *hold) error {
	a := o.app
	id := e.Request.Record.ID
	if h != nil {
		e, err := o.await(ctx, d, e)
		h.handOver()
		if err == nil && ctx.Err() != nil {
			err = o.gaveUp(ctx, e)
		}
		if err == nil {
			a.Say("%s", clean(a.standingLine(e, a.Now())))
			err = runCommand(o.command, id, h.signals)
		}
		return errors.Join(o.drop(ctx, d, id, err), err)
	}
	e, err := o.await(ctx, d, e)
	if err != nil {
		return err
	}
	policies := d.rep.Ledger().Policies()
	return a.Print(o.out, viewRequest(policies, e, a.Now()), func(w io.Writer) error {
		fmt.Fprintf(w, "%s\n", clean("request "+id.Short()+" is "+a.standingLine(e, a.Now())))
		if p := judging(policies, e); p != nil {
			for _, line := range usageOf(p, openGrants(e)) {
				fields{w, a.styleOf(w)}.add("", line)
			}
		}
		return nil
	})
}

// await looks at the store again and again until e can be used: every grant has
// a reconciler's receipt. It says what it waits for whenever that changes.
func (o *requestOptions) await(ctx context.Context, d *desk, e ledger.Entry) (ledger.Entry, error) {
	a := o.app
	id := e.Request.Record.ID
	if o.patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.patience, errPatience)
		defer cancel()
	}
	said, pause, unreachable := "", firstPause, false
	for {
		if said2 := awaits(e); said2 != said && !ready(e) && !e.State.Settled() {
			said = said2
			a.Say("%s", clean(said))
		}
		switch {
		case ready(e):
			return e, nil
		case e.State.Settled():
			return e, failure(exitClosed, string(e.State), "see: jit show "+id.Short(), "request %s: %s", id.Short(), a.standingLine(e, a.Now()))
		}
		jittered := time.Duration(float64(pause) * (0.75 + rand.Float64()/2)) //nolint:gosec // it only spreads load
		pause = min(lastPause, pause*3/2)
		select {
		case <-ctx.Done():
			return e, o.gaveUp(ctx, e)
		case <-time.After(jittered):
		}
		_, err := d.rep.Sync(ctx)
		switch {
		case ctx.Err() != nil:
			return e, o.gaveUp(ctx, e)
		case isUnreachable(err):
			if !unreachable {
				a.Warn("the store cannot be reached (%v); trying again", err)
			}
			unreachable = true
		case err != nil:
			return e, err
		default:
			unreachable = false
		}
		now, err := d.entry(id)
		switch {
		case err == nil:
			e = now
		case !errors.Is(err, ledger.ErrNotFound): // not found: it still waits in the spool
			return e, err
		}
	}
}

// ready reports whether all that e asks for can be used, as far as it ever will.
func ready(e ledger.Entry) bool { return usable(e) && !comes(e.Decision) }

var errPatience = errors.New("the time to wait is over")

// gaveUp is the error for a wait that ended before the access could be used.
func (o *requestOptions) gaveUp(ctx context.Context, e ledger.Entry) error {
	short := e.Request.Record.ID.Short()
	if errors.Is(context.Cause(ctx), errPatience) {
		return failure(exitPending, "still-pending", "wait on with: jit show "+short+" --watch, or give up: jit cancel "+short,
			"request %s cannot be used after %s: %s", short, o.timeout, o.app.standingLine(e, o.app.Now()))
	}
	hint := "the request stands; to withdraw it, run: jit cancel " + short
	if len(o.command) > 0 {
		hint = ""
	}
	return failure(exitInterrupted, "interrupted", hint, "interrupted while request %s was %s", short, e.State)
}

// awaits says what is still missing before e can be used.
func awaits(e ledger.Entry) string {
	short := e.Request.Record.ID.Short()
	switch {
	case undecided(e.Decision):
		var have []string
		for _, s := range e.Decision.Approvals {
			if s.Counted || s.Why == "" {
				have = append(have, s.By)
			}
		}
		s := "waiting for " + listText(waitsFor(e.Decision), "or") + " to approve " + short
		if len(have) > 0 {
			s += " (approved by " + strings.Join(have, ", ") + ")"
		}
		return s
	case e.State == approve.Scheduled, len(unopened(e)) == 0 && comes(e.Decision):
		return "approved; waiting for the start of " + short
	}
	for _, g := range unopened(e) {
		if r := lastReceipt(e, g); r != nil && r.Outcome == receipt.Intended {
			return "approved; " + r.By + " has put on record that it opens " + g.String() + ", and waits to see that"
		}
		if r := lastReceipt(e, g); r != nil && r.Outcome == receipt.Failed {
			return "approved, but " + r.By + " could not open " + g.String() + " yet: " + r.Detail
		}
	}
	return "approved; waiting for a reconciler to open " + grantsText(unopened(e))
}

// runCommand runs the person's command on this program's own streams and passes
// signals on to it.
func runCommand(command []string, id record.ID, signals <-chan os.Signal) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "JIT_REQUEST="+string(id))
	if err := cmd.Start(); err != nil {
		return failure(exitUnexpected, "command", "", "the command did not start: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			// A terminal sends what its keys stand for to the command by itself.
			if typed := s == os.Interrupt || s == syscall.SIGQUIT; !typed || !isTerminal(os.Stdin) {
				_ = cmd.Process.Signal(s)
			}
		case err := <-done:
			return commandError(command[0], err)
		}
	}
}

// commandError passes the exit code of a command on, in the way of shells.
func commandError(name string, err error) error {
	exit, ran := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
		return nil
	case !ran:
		return err
	}
	code := exit.ExitCode()
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		code = 128 + int(ws.Signal())
	}
	return failure(code, "command-failed", "", "%s ended with exit code %d", name, code)
}

// drop gives the access back that this command asked for.
func (o *requestOptions) drop(ctx context.Context, d *desk, id record.ID, why error) error {
	a := o.app
	if d.signer == nil {
		a.Say("request %s was there before; to drop it, run: jit cancel %s", id.Short(), id.Short())
		return nil
	}
	// The person's interrupt has done its work; this must still happen.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropWithin)
	defer cancel()
	err := func() error {
		if _, err := d.rep.Sync(ctx); err != nil && !isUnreachable(err) {
			return err
		}
		e, err := d.entry(id)
		if err != nil {
			return err
		}
		if e.State.Settled() {
			return nil
		}
		comment := "the command has ended"
		if e.State != approve.Active {
			comment = "the command was not run"
		}
		head, err := d.head(record.KindCancellation)
		if err != nil {
			return err
		}
		subject := d.me + " cancels " + askedFor(e.Request.Record)
		if err := d.send(ctx, letter{head: head, record: newCancellation(head, e, comment), beside: id, subject: subject}); err != nil {
			return err
		}
		if e, err = d.entry(id); err == nil {
			if a.kept != nil {
				return a.keptText(a.IO.Err, nil)
			}
			a.Say("%s", clean(cancelledText(d.rep.Ledger(), e)))
		}
		return err
	}()
	if err == nil {
		return nil
	}
	if why != nil {
		a.Warn("the access was not dropped: %v", err)
		a.Say("run: jit cancel %s", id.Short())
		return nil // the command's own end is what counts
	}
	return failure(exitUnexpected, "not-dropped", "run: jit cancel "+id.Short(), "the command has ended, and its access was not dropped: %v", err)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/replica"
)

// replicaConfig says where this person's copy of the store lives.
func (a *App) replicaConfig(s Settings) (replica.Config, error) {
	f, err := a.folders()
	if err != nil {
		return replica.Config{}, err
	}
	if a.progress == nil {
		a.progress = a.newProgress()
	}
	return replica.Config{
		Progress: a.progress.report,
		Dir:      f.storeDir(s.Store.Identity), URL: s.Store.URL, Identity: s.Store.Identity, Branch: s.Store.Branch,
		Transport: gitstore.Transport(s.Store.Transport), Log: slog.New(slog.DiscardHandler),
	}, nil
}

// Open opens this person's copy of the store, without the network. The caller
// closes it.
func (a *App) Open(ctx context.Context) (*replica.Replica, Settings, error) {
	s, err := a.Settings()
	if err != nil {
		return nil, s, err
	}
	c, err := a.replicaConfig(s)
	if err != nil {
		return nil, s, err
	}
	rep, err := replica.Open(ctx, c)
	return rep, s, err
}

// Synced opens the copy and brings it up to date. Where the store cannot be
// reached, or --offline is given, what is known is shown with its age: the error
// stream says so. The caller closes it.
func (a *App) Synced(ctx context.Context) (*replica.Replica, Settings, error) {
	rep, s, err := a.Open(ctx)
	if err != nil {
		return nil, s, err
	}
	if a.flags.offline {
		a.Say("offline: %s", a.asOf(rep))
		return rep, s, nil
	}
	report, err := rep.Sync(ctx)
	if isUnreachable(err) && rep.Ledger().Identity() != "" {
		a.stale = err
		a.Warn("the store could not be reached (%s): %s", lineOf(err.Error()), a.asOf(rep))
		return rep, s, nil
	}
	if err != nil {
		rep.Close()
		return nil, s, err
	}
	a.reportSync(report)
	if report.Refused > 0 {
		if err := a.reportRefused(rep); err != nil {
			rep.Close()
			return nil, s, err
		}
	}
	return rep, s, nil
}

// asOf says how old what is shown is.
func (a *App) asOf(rep *replica.Replica) string {
	t := rep.Freshness()
	if t.IsZero() {
		return "the store was never read"
	}
	return "this is what was known at " + a.FormatTime(t)
}

// reportSync says what a person should know about what came in.
func (a *App) reportSync(r replica.Report) {
	a.reportHealed(r.Healed)
	if r.Sent > 0 {
		a.Say("sent %s that waited here", count(r.Sent, "submission"))
	}
	a.reportWaiting(r)
	if n := r.Aside; n > 0 {
		a.Warn("%s set aside; see: jit verify", count(n, "new record")+" "+are(n))
	}
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func waits(n int) string {
	if n == 1 {
		return "waits"
	}
	return "wait"
}

// reportRefused says which of the records that waited here the history has
// refused since.
func (a *App) reportRefused(rep *replica.Replica) error {
	refused, err := rep.Refused()
	for _, line := range refused {
		a.Warn("refused when it could be sent: %s", line)
	}
	return err
}

func are(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

func isUnreachable(err error) bool {
	return errors.Is(err, replica.ErrUnreachable) || errors.Is(err, gitstore.ErrUnreachable)
}

// replicaExit gives an error of the replica its exit code, or nil for others.
func replicaExit(err error) *exitError {
	switch {
	case errors.Is(err, replica.ErrRewritten):
		return rewrittenExit(err)
	case errors.Is(err, replica.ErrNotHealer):
		return &exitError{Exit: exitRefused, Code: "not-admin", Message: err.Error(), Err: err, Hint: "ask an admin to run: jit repair"}
	case errors.Is(err, gitstore.ErrMoved):
		return &exitError{Exit: exitUnreachable, Code: "moved", Message: err.Error(), Err: err, Hint: "nothing was pushed; look again: jit repair"}
	case errors.Is(err, replica.ErrIdentity):
		return &exitError{Exit: exitUntrusted, Code: "other-store", Message: err.Error(), Err: err,
			Hint: "compare the identity with an admin: jit status. If the address is wrong, run: jit join URL"}
	case errors.Is(err, replica.ErrForked):
		return &exitError{Exit: exitUntrusted, Code: "forked", Message: err.Error(), Err: err,
			Hint: "somebody was shown another history. Ask them for the line that their \"jit status\" prints, and join with its --at COMMIT"}
	case errors.Is(err, replica.ErrNoStore):
		return &exitError{Exit: exitUsage, Code: "empty-store", Message: err.Error(), Err: err, Hint: "to make a store there, run: jit init URL --as NAME"}
	case errors.Is(err, ledger.ErrNotFound):
		return &exitError{Exit: exitUsage, Code: "unknown-id", Message: err.Error(), Err: err, Hint: "see: jit list"}
	}
	return nil
}

// closing closes c and keeps its error where there is none yet.
func closing(c io.Closer, err *error) {
	if e := c.Close(); *err == nil {
		*err = e
	}
}

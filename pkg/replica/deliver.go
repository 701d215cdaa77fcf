package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
)

// Stuck is a submission that waits although the store answers.
type Stuck struct {
	ID record.ID
	// Subject is that of its commit.
	Subject string
	Cause   error
}

func (s Stuck) String() string { return s.Subject + ": " + s.Cause.Error() }

// maxTurnedAway bounds how often a host that turns pushes away is asked in one
// delivery. One submission that it will not take is found among some thousands with
// it; a host that takes none is not asked once for each.
const maxTurnedAway = 16

// longestDelivery is after how long a host that turned one part away is sent no further
// one: some say only after many tries that nobody had been faster.
const longestDelivery = 2 * time.Minute

// delivery is one round of sending what waits.
type delivery struct {
	r *Replica
	// sent gives the commit of each submission that is in the store by now.
	sent    map[string]gitstore.Hash
	refused []*refusedError
	// stuck are those that were not taken for a reason of their own, and what rests on
	// them; held are their submissions.
	stuck      []Stuck
	held       []submission
	turnedAway int
	begun      time.Time
}

// flush sends what waits in one commit. What the history refuses by now is put
// apart, with its reason. What cannot be sent for a reason of its own stays and
// holds back nothing but what rests on it. An error is one of the store, or of this
// machine's disk: what is neither sent nor refused waits for it.
func (r *Replica) flush(ctx context.Context, waiting []submission) (*delivery, error) {
	d := &delivery{r: r, sent: map[string]gitstore.Hash{}, begun: time.Now()}
	return d, d.send(ctx, waiting)
}

// ItsOwn reports whether an error is about what was sent, so that something else may
// get through.
func ItsOwn(err error) bool {
	return errors.Is(err, gitstore.ErrExists) || errors.Is(err, gitstore.ErrBadPath) || errors.Is(err, gitstore.ErrRefused)
}

// send sends a part of what waits, in order, or in halves where it is not taken as a
// whole: those before what is in the way, and then those behind it.
func (d *delivery) send(ctx context.Context, part []submission) error {
	for len(part) > 0 {
		commit, err := d.r.push(ctx, part)
		var bad *refusedError
		switch {
		case err == nil:
			for _, s := range part {
				d.sent[s.ID] = commit
			}
			if err := d.r.unspool(part); err != nil {
				// It is sent; that it still lies in the spool does no harm.
				d.r.config.Log.Warn("what was sent could not be taken from the spool", "error", err)
			}
			return nil
		case errors.As(err, &bad):
			i := slices.IndexFunc(part, func(s submission) bool { return s.ID == bad.id })
			if err := d.refuse(ctx, part, i, bad); err != nil {
				return err
			}
			part = slices.Delete(slices.Clone(part), i, i+1)
		case !ItsOwn(err):
			return err
		default:
			if errors.Is(err, gitstore.ErrRefused) {
				d.turnedAway++
			}
			if len(part) == 1 || d.turnedAway >= maxTurnedAway || time.Since(d.begun) > longestDelivery {
				for _, s := range part {
					d.stick(s, err)
				}
				return nil
			}
			half := len(part) / 2
			if err := d.send(ctx, part[:half]); err != nil {
				return err
			}
			part = part[half:]
		}
	}
	return nil
}

// refuse puts a submission apart that the history refuses, unless it rests on one
// that is stuck: then it waits with that.
func (d *delivery) refuse(ctx context.Context, part []submission, i int, bad *refusedError) error {
	s := part[i]
	if len(d.held) > 0 {
		before := append(files(d.held), s.before(part)...)
		if err := d.r.ledger.Try(ctx, before, s.Files); err == nil {
			d.stick(s, fmt.Errorf("it rests on another that could not be sent: %w", d.stuck[0].Cause))
			return nil
		}
	}
	if err := d.r.putApart(s, bad.cause); err != nil {
		return err
	}
	d.refused = append(d.refused, bad)
	return nil
}

func (d *delivery) stick(s submission, cause error) {
	d.held = append(d.held, s)
	d.stuck = append(d.stuck, Stuck{ID: record.ID(s.ID), Subject: s.Subject, Cause: cause})
}

// cause joins why what was refused and what is stuck is not in the store.
func (d *delivery) cause() error {
	var all []error
	for _, r := range d.refused {
		all = append(all, r)
	}
	for _, s := range d.stuck {
		all = append(all, s.Cause)
	}
	return errors.Join(all...)
}

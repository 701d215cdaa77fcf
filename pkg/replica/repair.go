package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
)

// Damage is what is wrong with the remote, and what a repair would do about it.
// The zero value is none.
type Damage struct {
	// Relation says how the remote's head lies to the checkpoint; Same where the
	// order is sound. Gone says that the branch is not there any more.
	Relation gitstore.Relation
	Gone     bool
	// Checkpoint is what this machine has verified, Remote what the remote shows.
	Checkpoint, Remote gitstore.Hash
	// Honest is where the history goes on from. It is the checkpoint, or lies
	// after it.
	Honest gitstore.Hash
	// Restored are the commits of the honest history that the remote's line has
	// not, newest first, at most maxLines of RestoredCount; Theirs are those that it
	// has instead.
	Restored, Theirs           []gitstore.Line
	RestoredCount, TheirsCount int
	// Plan is the heal that would be made; nil where none is needed.
	Plan *gitstore.HealPlan
	// Missing are the paths of what counts and is gone from the head's tree or
	// changed there. They are looked at only where the order is sound.
	Missing []string
	// Heals are those heals of somebody in good standing now that are on the
	// remote's line and are not followed, one line each.
	Heals []string

	files map[string]gitstore.Hash
}

// maxLines is how many commits of either side are listed.
const maxLines = 20

// None reports whether there is nothing to repair.
func (d Damage) None() bool {
	return !d.Gone && len(d.Missing) == 0 && (d.Relation == "" || d.Relation == gitstore.Same || d.Relation == gitstore.Ahead)
}

// Damage asks the remote and says what is wrong with it. Where nothing is wrong
// with the order, it is a Sync. The errors are those of Sync but ErrRewritten;
// ErrIdentity means that the remote holds another store by now, which no repair
// may overwrite.
func (r *Replica) Damage(ctx context.Context) (Damage, Report, error) {
	unlock, err := r.exclusive(ctx)
	if err != nil {
		return Damage{}, Report{}, err
	}
	defer unlock()
	report, err := r.sync(ctx, nil)
	var rewrite *RewriteError
	switch {
	case errors.As(err, &rewrite):
		d, err := r.displaced(ctx, rewrite)
		return d, report, err
	case err != nil:
		return Damage{}, report, err
	}
	head, _ := r.ledger.Head()
	d := Damage{Relation: gitstore.Same, Checkpoint: head, Remote: head, Honest: head}
	if d.files, err = r.ledger.Held(); err != nil {
		return d, report, err
	}
	d.Missing, err = r.store.Missing(head, d.files)
	return d, report, err
}

// displaced describes a head that does not extend the checkpoint.
func (r *Replica) displaced(ctx context.Context, rewrite *RewriteError) (d Damage, err error) {
	d = Damage{Relation: rewrite.Relation, Gone: rewrite.Tip == "", Checkpoint: rewrite.Checkpoint, Remote: rewrite.Tip, Honest: rewrite.Checkpoint}
	if err := r.foldTo(ctx, d.Checkpoint); err != nil {
		return d, err
	}
	if d.Relation == gitstore.OffChain {
		if d.Honest, err = r.store.HonestTip(d.Remote, d.Checkpoint); err != nil {
			return d, err
		}
	}
	if err := r.sameStore(ctx, d); err != nil {
		return d, err
	}
	if d.Restored, d.RestoredCount, err = r.store.Lines(d.Honest, d.Remote, maxLines); err != nil {
		return d, err
	}
	if d.Theirs, d.TheirsCount, err = r.store.Lines(d.Remote, d.Honest, maxLines); err != nil || d.Gone || d.Relation == gitstore.Behind {
		return d, err
	}
	line, err := r.line(d.Remote)
	if err != nil {
		return d, err
	}
	for _, j := range line.heals {
		if j.standing && j.refused != nil {
			d.Heals = append(d.Heals, fmt.Sprintf("%s by %s: %v", j.Hash, j.by, j.refused))
		}
	}
	plan, err := r.store.PlanHeal(ctx, d.Honest, d.Remote)
	d.Plan = &plan
	return d, err
}

// sameStore refuses a remote that holds another store: a line with a root of its
// own that begins with the first policy of one.
func (r *Replica) sameStore(ctx context.Context, d Damage) error {
	if d.Gone {
		return nil
	}
	ours, err := r.store.Root(d.Checkpoint)
	if err != nil {
		return err
	}
	theirs, err := r.store.Root(d.Remote)
	if err != nil || ours == theirs {
		return err
	}
	return r.store.Walk(ctx, "", theirs, gitstore.WalkOptions{}, func(c gitstore.Commit) error {
		var other record.StoreID
		for _, f := range c.Inserted {
			place, err := record.ParsePath(f.Path)
			if err != nil || place.Kind != record.KindPolicy || place.Signature || f.Size > record.MaxSize {
				continue
			}
			data, err := r.store.ReadBlob(f.Blob, record.MaxSize)
			if err != nil {
				return err
			}
			// Beside this store's first policy others do not make it another store: all
			// that it held may stand in the one commit.
			id := record.StoreID(record.Sum(data))
			if id == r.ledger.Identity() {
				return nil
			}
			other = id
		}
		if other != "" {
			return fmt.Errorf("%w: %s holds store %s now, and this machine has verified %s", ErrIdentity, r.store.URL(), other, r.ledger.Identity())
		}
		return nil
	})
}

// Repair does what d says, by ordinary pushes, and syncs: it pushes the honest
// history again where the remote shows an older head or none, heals where it
// shows another one, and puts files back. It is for a person who has looked at
// d. Only an admin or a reconciler may; the remote must stand where it stood, else the error is
// gitstore.ErrMoved.
func (r *Replica) Repair(ctx context.Context, d Damage, h Healer) (Report, error) {
	unlock, err := r.exclusive(ctx)
	if err != nil {
		return Report{}, err
	}
	defer unlock()
	if err := r.refresh(); err != nil {
		return Report{}, err
	}
	if err := r.mayHeal(h.Name); err != nil {
		return Report{}, err
	}
	switch {
	case d.Gone, d.Relation == gitstore.Behind:
		err = r.store.PushBack(ctx, d.Remote, d.Honest)
	case d.None():
	case len(d.Missing) > 0:
		err = r.putBack(ctx, d, h)
	default:
		var heal Healed
		heal, err = r.heal(ctx, &RewriteError{Relation: d.Relation, Checkpoint: d.Checkpoint, Tip: d.Remote}, h, true)
		r.healed = &heal
	}
	if err != nil {
		r.healed = nil
		return Report{}, err
	}
	return r.sync(ctx, nil)
}

// putBack returns the files that count to the tree of the head.
func (r *Replica) putBack(ctx context.Context, d Damage, h Healer) error {
	name, email := r.author(h.Name)
	n := len(d.Missing)
	subject := fmt.Sprintf("%s puts %d files back that were changed or deleted", h.Name, n)
	if n == 1 {
		subject = h.Name + " puts a file back that was changed or deleted"
	}
	_, err := r.store.PutBack(ctx, d.Remote, d.files, gitstore.Append{
		Message: subject + "\n\nJit-Kind: repair\nJit-By: " + h.Name + "\n", Author: name, Email: email, When: r.config.Now(),
	})
	return err
}

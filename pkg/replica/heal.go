package replica

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// Healer is who heals a history that a push has displaced: an admin or a
// reconciler.
type Healer struct {
	// Name is the healer's in the policy.
	Name string
	// Signer opens the key. It is asked only when there is something to sign, for
	// it may ask a person for a passphrase.
	Signer func(context.Context) (record.Signer, error)
}

// Healed says that the history was put back in order.
type Healed struct {
	// Commit is the heal, By who signed it.
	Commit gitstore.Hash
	By     string
	// Made says that this machine made it; else it had taken the other order, and
	// follows the heal.
	Made bool
	// Added is how many files of the other side a heal made here brings in.
	Added int
}

// maxHeals bounds the lost races of one Sync that heals.
const maxHeals = 20

// longestHealing is after how long no further one is begun: a host that shows another head
// each time would decide how long it takes.
const longestHealing = 3 * time.Minute

// SyncAndHeal is Sync for an admin or a reconciler: where a push has put what
// this machine verified on a side branch, it makes and pushes the heal, and
// goes on. Where that cannot be, the error is a RewriteError whose Cause says
// why.
func (r *Replica) SyncAndHeal(ctx context.Context, h Healer) (Report, error) {
	unlock, err := r.exclusive(ctx)
	if err != nil {
		return Report{}, err
	}
	defer unlock()
	return r.sync(ctx, &h)
}

// reach is advance with a healer, who may be nil.
func (r *Replica) reach(ctx context.Context, tip gitstore.Hash, h *Healer) (ledger.Report, error) {
	begun := time.Now()
	for try := 0; ; try++ {
		report, err := r.advance(ctx, tip)
		var rewrite *RewriteError
		if h == nil || !errors.As(err, &rewrite) || rewrite.Relation != gitstore.OffChain || time.Since(begun) > longestHealing {
			return report, err
		}
		heal, err := r.heal(ctx, rewrite, *h, false)
		switch {
		case err == nil:
			report, err := r.advance(ctx, heal.Commit)
			r.healed = &heal
			return report, err
		case errors.Is(err, gitstore.ErrMoved) && try < maxHeals:
			// Somebody was faster: perhaps with a heal.
			next, err := r.store.Fetch(ctx)
			if err != nil {
				return ledger.Report{}, err
			}
			if next.Empty {
				return ledger.Report{}, r.gone(rewrite.Checkpoint)
			}
			tip = next.Hash
		default:
			rewrite.Cause = err
			return ledger.Report{}, rewrite
		}
	}
}

// gone is the refusal of a remote whose branch is not there any more.
func (r *Replica) gone(checkpoint gitstore.Hash) error {
	return &RewriteError{Relation: gitstore.Rewritten, Checkpoint: checkpoint}
}

// known reports whether a commit is on the history that is folded here.
func (r *Replica) known(h gitstore.Hash) (bool, error) {
	at, err := r.ledger.PositionOf(h)
	return at > 0, err
}

// foldTo makes the ledger that of the checkpoint, where it is another one: it
// may have been lost, or be what is left of a heal that was interrupted.
func (r *Replica) foldTo(ctx context.Context, checkpoint gitstore.Hash) error {
	if on, err := r.known(checkpoint); err != nil || on {
		return err
	}
	if _, position := r.ledger.Head(); position > 0 {
		if err := r.remakeIndex(fmt.Errorf("the checkpoint %s is not on its history: %w", checkpoint, ledger.ErrDamaged)); err != nil {
			return err
		}
	}
	_, err := r.ledger.Fold(ctx, r.store, checkpoint)
	return err
}

// judged is a heal on the remote's line, as this machine's ledger judges it.
type judged struct {
	gitstore.Merge
	by string
	// refused says why it is not followed; nil where it is.
	refused error
	// standing says that its signer is an admin or reconciler now, whatever they
	// were at the fork.
	standing bool
}

// remoteLine is the remote's line, from its head back to the fork.
type remoteLine struct {
	// fork is the position of the newest commit that is on this machine's history
	// too; 0 where there is none.
	fork int
	// after are the commits of the line after the fork.
	after map[gitstore.Hash]bool
	// heals are those of them that are signed as heals by keys that this ledger
	// knows, newest first.
	heals []judged
}

// history is what judging a heal reads of a store.
type history interface {
	Merges(tip gitstore.Hash, known func(gitstore.Hash) (bool, error)) ([]gitstore.Merge, gitstore.Hash, error)
	CommitSignature(h gitstore.Hash) (payload, signature []byte, err error)
	Aside(side gitstore.Hash, onChain func(gitstore.Hash) (bool, error)) (gitstore.Hash, []gitstore.Hash, error)
}

// line reads the remote's line that ends in tip.
func (r *Replica) line(tip gitstore.Hash) (line remoteLine, err error) { return r.lineOf(r.store, tip) }

func (r *Replica) lineOf(h history, tip gitstore.Hash) (line remoteLine, err error) {
	line.after = map[gitstore.Hash]bool{}
	merges, at, err := h.Merges(tip, func(h gitstore.Hash) (bool, error) {
		known, err := r.known(h)
		if !known {
			line.after[h] = true
		}
		return known, err
	})
	if err != nil || at == "" {
		return line, err
	}
	if line.fork, err = r.ledger.PositionOf(at); err != nil {
		return line, err
	}
	for _, m := range merges {
		if !ledger.CallsItselfHeal(m.Message) {
			continue
		}
		payload, sig, err := h.CommitSignature(m.Hash)
		if errors.Is(err, gitstore.ErrUnsigned) {
			continue
		}
		if err != nil {
			return line, err
		}
		ring, err := r.ledger.Keyring()
		if err != nil {
			return line, err
		}
		by, err := ring.VerifyBytes(payload, sig)
		if err != nil {
			continue // whoever that is
		}
		j := judged{Merge: m}
		if j.by, err = r.ledger.MayHeal(by.Primary, 0); err == nil {
			j.standing = true
		}
		_, j.refused = r.ledger.Healer(payload, sig, line.fork)
		line.heals = append(line.heals, j)
	}
	return line, nil
}

// putAside reports whether a heal took a commit off the line: whether it can be
// reached from the other side without passing the line itself. A heal speaks for
// no others.
func (r *Replica) putAside(src history, line remoteLine, heal judged, commit gitstore.Hash) (bool, error) {
	_, aside, err := src.Aside(heal.Second, func(h gitstore.Hash) (bool, error) {
		at, err := r.ledger.PositionOf(h)
		return line.after[h] || at > 0 && at <= line.fork, err
	})
	return slices.Contains(aside, commit), err
}

// follow takes this machine over to the line of tip, where a heal on it took off
// what this machine has verified, and its signer was in good standing by all
// that is known here. ok is false where there is no such heal; why says, where
// there is one by somebody known, what speaks against it.
func (r *Replica) follow(ctx context.Context, checkpoint, tip gitstore.Hash) (report ledger.Report, ok bool, why, err error) {
	if err := r.foldTo(ctx, checkpoint); err != nil {
		return report, false, nil, err
	}
	line, err := r.line(tip)
	if err != nil {
		return report, false, nil, err
	}
	for _, j := range line.heals {
		if j.refused != nil {
			why = fmt.Errorf("the heal %s is not followed: %w", j.Hash, j.refused)
			continue
		}
		aside, err := r.putAside(r.store, line, j, checkpoint)
		if err != nil {
			return report, false, nil, err
		}
		if !aside {
			continue
		}
		report, err = r.takeOver(ctx, checkpoint, tip, line.fork)
		var loss *lossError
		if errors.As(err, &loss) {
			// However many heals there are, the line is the same.
			return ledger.Report{}, false, fmt.Errorf("the heal %s by %s is not followed: %w", j.Hash, j.by, err), nil
		}
		if err == nil {
			r.healed = &Healed{Commit: j.Hash, By: j.by}
			r.config.Log.Warn("the history was healed; this machine had taken the other order", "by", j.by, "commit", string(j.Hash))
		}
		return report, err == nil, nil, err
	}
	return report, false, why, nil
}

// takeOver folds the line of tip anew and moves the checkpoint there. On an error
// ledger and checkpoint are as before. The report is of what is new after the
// fork.
func (r *Replica) takeOver(ctx context.Context, checkpoint, tip gitstore.Hash, fork int) (ledger.Report, error) {
	report, err := r.refold(ctx, checkpoint, tip)
	if err == nil {
		err = r.store.ReplaceCheckpoint(checkpoint, tip)
	}
	if err != nil {
		return ledger.Report{}, errors.Join(err, r.foldTo(ctx, checkpoint))
	}
	_, position := r.ledger.Head()
	refs, err := r.ledger.AllRecords()
	if err != nil {
		return ledger.Report{}, err
	}
	report.Commits, report.Records = position-fork, 0
	for _, ref := range refs {
		if ref.Position > fork {
			report.Records++
		}
	}
	report.SetAside, report.Aside, err = r.ledger.AsideAfter(fork)
	return report, err
}

// lossError means that a heal would undo a change of the policy that this
// machine knows to be in force. No heal is followed so far: else one reconciler
// could bring back whom the admins have removed.
type lossError struct {
	lost record.ID
	// conflict says that the other line has changed the policy too.
	conflict bool
}

func (e *lossError) Error() string {
	if e.conflict {
		return fmt.Sprintf("both sides have changed the policy, and it would undo version %s", e.lost)
	}
	return fmt.Sprintf("it would undo policy version %s", e.lost)
}

func (r *Replica) refold(ctx context.Context, checkpoint, tip gitstore.Hash) (ledger.Report, error) {
	mine := r.ledger.Policies()
	if err := r.remakeIndex(errors.New("a heal put the history in another order")); err != nil {
		return ledger.Report{}, err
	}
	report, err := r.ledger.Fold(ctx, r.store, tip)
	if err != nil {
		return report, err
	}
	if lost := without(mine, r.ledger.Policies()); lost != "" {
		return report, &lossError{lost: lost, conflict: without(r.ledger.Policies(), mine) != ""}
	}
	away, err := r.ledger.HealedAway()
	if err != nil {
		return report, err
	}
	for _, h := range away {
		if h == checkpoint {
			return report, nil
		}
	}
	// By the line's own word its signer may not heal.
	return report, &RewriteError{Relation: gitstore.OffChain, Checkpoint: checkpoint, Tip: tip}
}

// without gives the first policy version of a that was never in force in b; ""
// when there is none.
func without(a, b policy.History) record.ID {
	for _, v := range a {
		if !slices.ContainsFunc(b, func(o policy.InForce) bool { return o.Digest() == v.Digest() }) {
			return v.ID()
		}
	}
	return ""
}

// ErrNotHealer means that the one who would heal is neither admin nor
// reconciler.
var ErrNotHealer = errors.New("only an admin or a reconciler heals")

// heal makes the heal of what rewrite refuses, and pushes it. asked says that a
// person has looked at it.
func (r *Replica) heal(ctx context.Context, rewrite *RewriteError, h Healer, asked bool) (Healed, error) {
	if err := r.foldTo(ctx, rewrite.Checkpoint); err != nil {
		return Healed{}, err
	}
	if err := r.mayHeal(h.Name); err != nil {
		return Healed{}, err
	}
	line, err := r.line(rewrite.Tip)
	if err != nil {
		return Healed{}, err
	}
	honest := rewrite.Checkpoint
	if rewrite.Relation == gitstore.OffChain {
		if honest, err = r.store.HonestTip(rewrite.Tip, rewrite.Checkpoint); err != nil {
			return Healed{}, err
		}
		// Those who wrote on the honest line after this machine last looked may have
		// changed who is who.
		if _, err := r.advance(ctx, honest); err != nil {
			return Healed{}, err
		}
		if err := r.mayHeal(h.Name); err != nil {
			return Healed{}, err
		}
	}
	var loss *lossError
	if errors.As(rewrite.Cause, &loss) && loss.conflict && !asked {
		return Healed{}, fmt.Errorf("%w; which of them holds is for the admins to say", rewrite.Cause)
	}
	signer, err := h.Signer(ctx)
	if err != nil {
		return Healed{}, err
	}
	if owner, err := r.ledger.MayHeal(signer.Fingerprint(), 0); err != nil {
		return Healed{}, err
	} else if owner != h.Name {
		return Healed{}, fmt.Errorf("key %s is %s's in the policy, not %s's", signer.Fingerprint(), owner, h.Name)
	}
	if _, err := r.ledger.MayHeal(signer.Fingerprint(), line.fork); err != nil && !asked {
		for _, j := range line.heals {
			if j.standing {
				// Two who are not known at the fork would undo each other for ever.
				return Healed{}, fmt.Errorf("%s has healed it in another order (%s), and who is right is for an admin to say: %w", j.by, j.Hash, err)
			}
		}
	}
	plan, err := r.store.PlanHeal(ctx, honest, rewrite.Tip)
	if err != nil {
		return Healed{}, err
	}
	commit, err := r.store.Heal(ctx, plan, r.healCommit(ctx, plan, h.Name, signer))
	return Healed{Commit: commit, By: h.Name, Made: true, Added: len(plan.Added)}, err
}

func (r *Replica) mayHeal(name string) error {
	p := r.ledger.Policy()
	if p == nil {
		return ErrNotHealer
	}
	if _, machine := p.Reconciler(name); !machine && !p.IsAdmin(name) {
		return fmt.Errorf("%w, and %q is neither", ErrNotHealer, name)
	}
	return nil
}

// healCommit is the commit of a plan, without its tree.
func (r *Replica) healCommit(ctx context.Context, plan gitstore.HealPlan, by string, signer record.Signer) gitstore.Append {
	var text strings.Builder
	fmt.Fprintf(&text, "A push had put commit %s\n", plan.Remote)
	fmt.Fprintf(&text, "in place of the history that ended in %s.\n", plan.Honest)
	text.WriteString("The history goes on from there. ")
	switch n := len(plan.Added); n {
	case 0:
		text.WriteString("The other side had added nothing.\n")
	case 1:
		text.WriteString("1 file of the other side counts from here.\n")
	default:
		fmt.Fprintf(&text, "%d files of the other side count from here.\n", n)
	}
	name, email := r.author(by)
	return gitstore.Append{
		Message: ledger.HealMessage(by+" puts the history back in order", text.String(), by),
		Author:  name, Email: email, When: r.config.Now(),
		Sign: func(payload []byte) ([]byte, error) { return signBytes(ctx, signer, payload) },
	}
}

// signBytes signs what is no record, and verifies the signature as everybody
// will.
func signBytes(ctx context.Context, signer record.Signer, payload []byte) ([]byte, error) {
	sig, err := signer.Sign(ctx, payload)
	if err != nil {
		return nil, err
	}
	cert, err := signer.Certificate(ctx)
	if err != nil {
		return nil, err
	}
	ring, err := record.NewKeyring(cert)
	if err != nil {
		return nil, err
	}
	if _, err := ring.VerifyBytes(payload, sig); err != nil {
		return nil, fmt.Errorf("check of the signature just made: %w", err)
	}
	return sig, nil
}

package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
)

// GateReason is why a host refuses a push. Beside these there are the ledger's own
// reasons, for which it would set aside what is pushed.
type GateReason string

// The gate's reasons.
const (
	// GateDeleted: the push deletes the store's branch.
	GateDeleted GateReason = "branch-deleted"
	// GateOlder: the branch would go back to an older head.
	GateOlder GateReason = "older-head"
	// GateRewritten: the history that stands would not be in the new one.
	GateRewritten GateReason = "not-fast-forward"
	// GateSwapped: a merge would put the history that stands on a side branch.
	GateSwapped GateReason = "history-on-a-side-branch"
	// GateMerge: a commit with several parents that is no heal by somebody who may.
	GateMerge GateReason = "merge"
	// GateOtherStore: the history is that of another store, or of none.
	GateOtherStore GateReason = "another-store"
	// GateDisplaced: the branch was moved on the host itself, past the gate, and this
	// push does not put it back.
	GateDisplaced GateReason = "branch-was-moved"
	// GateOtherHead: the push claims to follow a commit that the branch does not hold.
	GateOtherHead GateReason = "follows-another-head"
	// GateOtherRef: a ref beside the store's branch, where only that is taken.
	GateOtherRef GateReason = "other-ref"
	// GateLikeBranch: a ref in whose name the branch's whole name stands, so that git
	// may take one for the other.
	GateLikeBranch GateReason = "like-the-branch"
	// GateAlias: a ref that is another name of the branch on this host.
	GateAlias GateReason = "alias-of-the-branch"
)

// Turned is one thing for which a push is turned away.
type Turned struct {
	// Commit and Path are empty where it is about all of the push.
	Commit gitstore.Hash
	Path   string
	Reason string
	Detail string
}

// RefUpdate is one line of what git tells the hook. An empty hash means that there
// is no such ref before, or after.
type RefUpdate struct {
	Old, New gitstore.Hash
	Ref      string
}

// GateConfig says which repository a gate stands before.
type GateConfig struct {
	// Dir is the bare repository.
	Dir string
	// Env is the environment that git has given the hook.
	Env func(string) string
	// Branch is the store's, by its short name; "" is the one that HEAD names.
	Branch string
	// Identity pins the store; empty pins the one whose history is there first.
	Identity record.StoreID
	// Only turns away what is pushed to other refs.
	Only bool
	Log  *slog.Logger
	// Now is the clock of the ledger's memory of what is settled; no verdict rests on
	// it.
	Now func() time.Time
}

// Gate judges pushes to a store on the host, before they count there. It keeps a
// ledger beside the repository, in the folder "jit", which follows what git has
// taken, and never what a push only tries: what git takes is seen with the next
// push.
//
// No machine's safety rests on a gate: each judges the history by itself.
type Gate struct {
	config GateConfig
	bare   *gitstore.Bare
	ref    string
	// own is the ledger with its files. It has no copy of the store.
	own *Replica
}

// OpenGate opens the gate of a bare repository.
func OpenGate(ctx context.Context, c GateConfig) (*Gate, error) {
	bare, err := gitstore.OpenBare(c.Dir, c.Env)
	if err != nil {
		return nil, err
	}
	g := &Gate{config: c, bare: bare, ref: "refs/heads/" + c.Branch}
	if c.Branch == "" {
		if g.ref, err = bare.HeadBranch(ctx); err != nil {
			return nil, errors.Join(err, bare.Close())
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	dir := filepath.Join(bare.Dir(), "jit")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, errors.Join(err, bare.Close())
	}
	g.own = &Replica{
		config: Config{Dir: dir, Identity: c.Identity, Log: c.Log, Now: c.Now},
		lock:   filepath.Join(dir, "lock"),
	}
	return g, nil
}

// Close releases the files.
func (g *Gate) Close() error {
	err := g.bare.Close()
	if g.own.ledger != nil {
		err = errors.Join(err, g.own.ledger.Close())
	}
	return err
}

// gatePatience bounds the waiting for another push. The longest one is the first
// after the gate was set up before a store of a hundred thousand commits, which
// reads them all.
const gatePatience = 10 * time.Minute

// Judge says why a push is to be turned away; nothing where it is not. On an
// error nothing is known, and the push must be turned away too.
func (g *Gate) Judge(ctx context.Context, updates []RefUpdate) (turned []Turned, err error) {
	branch, err := g.bare.Means(ctx, g.ref)
	if err != nil {
		return nil, err
	}
	for _, u := range updates {
		if u.Ref == g.ref {
			why, err := g.branch(ctx, u)
			if err != nil {
				return nil, err
			}
			turned = append(turned, why...)
			continue
		}
		to, err := g.bare.Means(ctx, u.Ref)
		switch {
		case err != nil:
			return nil, err
		case to == branch:
			turned = append(turned, about(GateAlias, "%q is another name of the store's branch on this host: push to %q", u.Ref, g.ref))
		case g.config.Only:
			turned = append(turned, about(GateOtherRef, "%q is not the store's branch, %q", u.Ref, g.ref))
		case u.New != "" && strings.HasSuffix(u.Ref, "/"+g.ref):
			turned = append(turned, about(GateLikeBranch, "%q has the whole name of the store's branch in it, %q: give it another", u.Ref, g.ref))
		}
	}
	return turned, nil
}

func about(reason GateReason, format string, args ...any) Turned {
	return Turned{Reason: string(reason), Detail: fmt.Sprintf(format, args...)}
}

// branch judges a push to the store's branch.
func (g *Gate) branch(ctx context.Context, u RefUpdate) ([]Turned, error) {
	if u.New == "" {
		return []Turned{about(GateDeleted, "the store's branch %q is never deleted", g.ref)}, nil
	}
	waiting, cancel := context.WithTimeout(ctx, gatePatience)
	defer cancel()
	unlock, err := g.own.exclusive(waiting)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := g.own.openLedger(); err != nil {
		return nil, otherStore(err)
	}
	now, err := g.bare.Ref(ctx, g.ref)
	if err != nil {
		return nil, err
	}
	if taken, err := g.holds(now, u.Old); err != nil {
		return nil, err
	} else if !taken {
		return []Turned{about(GateOtherHead, "the push claims to follow %s, which the branch %q does not hold: fetch, and push again", u.Old, g.ref)}, nil
	}
	if err := g.catchUp(ctx, u.Old); err != nil {
		return nil, otherStore(err)
	}
	stands, _ := g.own.ledger.Head()
	if stands != u.Old && now != u.Old {
		// Others were faster, and git itself refuses what does not begin where the
		// branch stands; to those who push with jit that says: try again.
		return nil, nil
	}
	turned, err := g.judge(ctx, stands, u)
	if errors.Is(err, ErrIdentity) {
		return []Turned{about(GateOtherStore, "%v", err)}, nil
	}
	return turned, err
}

// holds reports whether a branch that stands at now holds what a push claims to
// follow: that is the word of whoever pushes, and git compares it only afterwards.
func (g *Gate) holds(now, old gitstore.Hash) (bool, error) {
	if old == "" || old == now {
		return true, nil
	}
	return g.bare.Reaches(now, old)
}

// otherStore says what to do where the repository itself holds another store than
// the pinned one.
func otherStore(err error) error {
	if errors.Is(err, ErrIdentity) {
		return fmt.Errorf("%w; the hook's --store-id is wrong, or this repository's history is", err)
	}
	return err
}

// catchUp brings the ledger to where the branch stands, which git has taken:
// along the line, or over a heal. Else the ledger stays where it is.
func (g *Gate) catchUp(ctx context.Context, old gitstore.Hash) error {
	stands, _ := g.own.ledger.Head()
	if old == "" || stands == old {
		return nil
	}
	relation, err := g.relation(stands, old)
	if err != nil {
		return err
	}
	switch relation {
	case gitstore.Ahead:
	case gitstore.OffChain:
		if healed, _, err := g.healed(ctx, stands, old); err != nil || !healed {
			return err
		}
		if err := g.own.remakeIndex(errors.New("a heal put the history in another order")); err != nil {
			return err
		}
	default:
		return nil
	}
	fold := func() error {
		g.own.ledger.Settle = g.config.Now()
		_, err := g.own.ledger.Fold(ctx, g.bare, old)
		return err
	}
	if err = fold(); errors.Is(err, ledger.ErrDamaged) {
		if err := g.own.remakeIndex(err); err != nil {
			return err
		}
		err = fold()
	}
	return err
}

// relation is the store's, where the objects of what stood once may be gone.
func (g *Gate) relation(stands, to gitstore.Hash) (gitstore.Relation, error) {
	r, err := g.bare.Relation(stands, to)
	if errors.Is(err, gitstore.ErrNotFound) {
		return gitstore.Rewritten, nil
	}
	return r, err
}

// judge compares what is pushed with the head that the ledger stands at, and judges
// each commit that is new.
func (g *Gate) judge(ctx context.Context, stands gitstore.Hash, u RefUpdate) ([]Turned, error) {
	relation, err := g.relation(stands, u.New)
	if err != nil {
		return nil, err
	}
	// What the repository has already is not this push's doing.
	isNew := func(h gitstore.Hash) (bool, error) {
		for _, from := range []gitstore.Hash{stands, u.Old} {
			if there, err := g.bare.Reaches(from, h); err != nil || there {
				return false, err
			}
		}
		return true, nil
	}
	switch relation {
	case gitstore.Same, gitstore.Ahead:
		if stands == u.Old { // all of it is, without looking
			isNew = func(gitstore.Hash) (bool, error) { return true, nil }
		}
		w := &watched{Bare: g.bare}
		report, err := g.own.ledger.Preview(ctx, w, u.New)
		if err != nil {
			return nil, err
		}
		return g.turned(report, w.merges, isNew)
	case gitstore.OffChain:
		healed, s, err := g.healed(ctx, stands, u.New)
		if err != nil {
			return nil, err
		}
		if healed {
			return g.turned(s.report, s.merges, isNew)
		}
	}
	return []Turned{g.misplaced(relation, stands, u)}, nil
}

// misplaced says what is wrong with a head that does not extend where the branch
// stood.
func (g *Gate) misplaced(relation gitstore.Relation, stands gitstore.Hash, u RefUpdate) Turned {
	switch {
	case stands != u.Old:
		return about(GateDisplaced, "the branch was moved on the host from %s to %q, and this push does not lead back: an admin puts it right with `jit repair`", stands, u.Old)
	case relation == gitstore.Behind:
		return about(GateOlder, "%s is older than where the branch stands, %s", u.New, stands)
	case relation == gitstore.OffChain:
		return about(GateSwapped, "the first parents of %s do not lead to where the branch stands, %s: fetch, rebase instead of merging, and push again", u.New, stands)
	}
	return about(GateRewritten, "%s does not contain where the branch stands, %s: fetch, rebase, and push again", u.New, stands)
}

// turned is what speaks against the commits of a report: merges that are no heals,
// and what the ledger sets aside.
func (g *Gate) turned(report ledger.Report, merges []gitstore.Hash, isNew func(gitstore.Hash) (bool, error)) (all []Turned, err error) {
	heals := map[gitstore.Hash]bool{}
	for _, h := range report.Heals {
		heals[h] = true
	}
	for _, h := range merges {
		if heals[h] {
			continue
		}
		if is, err := isNew(h); err != nil {
			return nil, err
		} else if is {
			all = append(all, Turned{Commit: h, Reason: string(GateMerge), Detail: "it has several parents and is no heal by an admin or a reconciler: rebase instead of merging, and push again"})
		}
	}
	for _, s := range report.SetAside {
		if counts(s) || heals[s.Commit] && !tampers(s) {
			continue
		}
		if is, err := isNew(s.Commit); err != nil {
			return nil, err
		} else if is {
			all = append(all, Turned{Commit: s.Commit, Path: s.Path, Reason: s.Reason, Detail: s.Detail})
		}
	}
	return all, nil
}

// counts reports whether what is listed as set aside counts all the same, since it
// takes away: no gate may stand in a revocation's way.
func counts(s ledger.SetAside) bool {
	if s.Reason == ledger.ReasonHeadNoted {
		return true
	}
	place, err := record.ParsePath(s.Path)
	return err == nil && s.Reason == ledger.ReasonHealedHead && place.Kind.TakesAway()
}

// tampers tells what not even a heal may do, from what it brings of the other side,
// good and bad, for it would not be found there any more.
func tampers(s ledger.SetAside) bool {
	return s.Reason == string(gitstore.Changed) || s.Reason == string(gitstore.Deleted)
}

// watched is a history that notes the commits with several parents.
type watched struct {
	*gitstore.Bare
	merges []gitstore.Hash
}

// Walk is that of the history.
func (w *watched) Walk(ctx context.Context, from, to gitstore.Hash, o gitstore.WalkOptions, fn func(gitstore.Commit) error) error {
	return w.Bare.Walk(ctx, from, to, o, func(c gitstore.Commit) error {
		if len(c.Parents) > 1 {
			w.merges = append(w.merges, c.Hash)
		}
		return fn(c)
	})
}

// sideLine is what a line tells that is folded from its root, aside from the
// ledger.
type sideLine struct {
	report ledger.Report
	merges []gitstore.Hash
}

// healed reports whether the line of tip holds a heal that put stands aside, as
// every machine would follow it: see [Replica.follow].
func (g *Gate) healed(ctx context.Context, stands, tip gitstore.Hash) (bool, sideLine, error) {
	line, err := g.own.lineOf(g.bare, tip)
	if err != nil {
		return false, sideLine{}, err
	}
	for _, j := range line.heals {
		if j.refused != nil {
			continue
		}
		aside, err := g.own.putAside(g.bare, line, j, stands)
		if err != nil {
			return false, sideLine{}, err
		}
		if aside {
			return g.foldAside(ctx, stands, tip)
		}
	}
	return false, sideLine{}, nil
}

// foldAside folds the line of tip in a ledger of its own, and reports whether by its
// own word too it heals stands away, and no policy version with it.
func (g *Gate) foldAside(ctx context.Context, stands, tip gitstore.Hash) (ok bool, s sideLine, err error) {
	dir, err := os.MkdirTemp(g.own.config.Dir, "heal-")
	if err != nil {
		return false, s, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	l, err := ledger.Open(filepath.Join(dir, "ledger.db"), g.own.ledger.Identity())
	if err != nil {
		return false, s, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	w := &watched{Bare: g.bare}
	if s.report, err = l.Fold(ctx, w, tip); err != nil {
		return false, s, err
	}
	s.merges = w.merges
	if without(g.own.ledger.Policies(), l.Policies()) != "" {
		return false, s, nil
	}
	away, err := l.HealedAway()
	if err != nil {
		return false, s, err
	}
	for _, h := range away {
		ok = ok || h == stands
	}
	return ok, s, nil
}

// ParseRefUpdate reads a line of a hook's standard input: "OLD NEW REF".
func ParseRefUpdate(text string) (u RefUpdate, err error) {
	parts := strings.SplitN(strings.TrimSuffix(text, "\n"), " ", 3)
	if len(parts) != 3 || parts[2] == "" {
		return u, fmt.Errorf("%q is no line of git's for a hook: OLD NEW REF", text)
	}
	u.Ref = parts[2]
	for i, to := range []*gitstore.Hash{&u.Old, &u.New} {
		if *to, err = gitstore.ParseHash(parts[i]); err != nil {
			return u, err
		}
		if strings.Trim(parts[i], "0") == "" {
			*to = ""
		}
	}
	return u, nil
}

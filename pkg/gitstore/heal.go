package gitstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/jitaccess/jit/pkg/gitstore/internal/odb"
)

// HonestTip gives the commit from which a heal takes up the history again: of
// all commits that can be reached from remoteHead, over any parents, the one
// whose first-parent chain holds the checkpoint and leads furthest from it; of
// several the one with the smallest name. It is ErrRewritten when the
// checkpoint cannot be reached. The whole history is walked.
func (s *Store) HonestTip(remoteHead, checkpoint Hash) (Hash, error) {
	children := map[Hash][]Hash{} // by first parent
	found := false
	err := s.visit(remoteHead, nil, func(h Hash, c commitObject) {
		found = found || h == checkpoint
		if len(c.parents) > 0 {
			children[c.parents[0]] = append(children[c.parents[0]], h)
		}
	})
	if err != nil {
		return "", err
	}
	if !found {
		return "", fmt.Errorf("%w: %s cannot be reached from %s", ErrRewritten, checkpoint, remoteHead)
	}
	level := []Hash{checkpoint}
	for {
		var next []Hash
		for _, h := range level {
			next = append(next, children[h]...)
		}
		if len(next) == 0 {
			return slices.Min(level), nil
		}
		level = next
	}
}

// visit calls fn for every commit that can be reached from head over any
// parents, head included, once and in no order that means anything. Where stop
// says so, a commit is passed over with all that lies behind it. head may be "".
func (s *Store) visit(head Hash, stop func(Hash) (bool, error), fn func(Hash, commitObject)) error {
	if head == "" {
		return nil
	}
	seen := map[Hash]bool{head: true}
	for queue := []Hash{head}; len(queue) > 0; {
		at := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if stop != nil {
			if skip, err := stop(at); err != nil {
				return err
			} else if skip {
				continue
			}
		}
		c, err := s.commit(at)
		if err != nil {
			return err
		}
		fn(at, c)
		for _, p := range c.parents {
			if !seen[p] {
				if len(seen) >= maxHistory {
					return errHistory
				}
				seen[p] = true
				queue = append(queue, p)
			}
		}
	}
	return nil
}

// Aside gives what a merge brings beside a chain: the commits that can be
// reached from side and not without passing the chain, sorted; and the fork, the
// newest commit of the chain that lies on side's own first-parent chain, ""
// where the two share none.
func (s *Store) Aside(side Hash, onChain func(Hash) (bool, error)) (fork Hash, aside []Hash, err error) {
	for at, n := side, 0; fork == ""; n++ {
		on, err := onChain(at)
		if err != nil {
			return "", nil, err
		}
		if on {
			fork = at
			break
		}
		if n >= maxHistory {
			return "", nil, errHistory
		}
		c, err := s.commit(at)
		if err != nil {
			return "", nil, err
		}
		if len(c.parents) == 0 {
			break
		}
		at = c.parents[0]
	}
	err = s.visit(side, onChain, func(h Hash, _ commitObject) { aside = append(aside, h) })
	slices.Sort(aside)
	return fork, aside, err
}

// Beside gives the commits that can be reached from side and not without passing one for
// which passed is true: each after its parents.
func (s *Store) Beside(side Hash, passed func(Hash) (bool, error)) (all []Hash, err error) {
	type step struct {
		at   Hash
		done bool // all that it rests on is given
	}
	seen := map[Hash]bool{}
	for stack := []step{{at: side}}; len(stack) > 0; {
		next := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if next.done {
			all = append(all, next.at)
			continue
		}
		if seen[next.at] {
			continue
		}
		if skip, err := passed(next.at); err != nil {
			return nil, err
		} else if skip {
			continue
		}
		if len(seen) >= maxHistory {
			return nil, errHistory
		}
		seen[next.at] = true
		c, err := s.commit(next.at)
		if err != nil {
			return nil, err
		}
		stack = append(stack, step{next.at, true})
		for _, p := range slices.Backward(c.parents) {
			stack = append(stack, step{at: p})
		}
	}
	return all, nil
}

// Adds gives the regular files that one commit, on the chain or beside it, adds to its
// first parent at paths that are wanted, sorted by path: as many as Walk would look at,
// all others left aside first.
func (s *Store) Adds(ctx context.Context, h Hash, wanted func(path string) bool) ([]File, error) {
	c, err := s.commit(h)
	if err != nil {
		return nil, err
	}
	var before Hash
	if len(c.parents) > 0 {
		parent, err := s.commit(c.parents[0])
		if err != nil {
			return nil, err
		}
		before = parent.tree
	}
	d := differ{s: s, ctx: ctx, limits: Limits{}.orDefault(), wanted: wanted, gone: map[string]Hash{}, trees: &treeMemo{}}
	if err := d.dir("", 1, before, c.tree); err != nil {
		return nil, fmt.Errorf("commit %s: %w", h, err)
	}
	return d.commit(h, "", c).Inserted, nil
}

// Merge is a commit with exactly two parents.
type Merge struct {
	Hash          Hash
	First, Second Hash
	Message       string // as in Commit
}

// Merges gives the commits with exactly two parents on tip's first-parent chain,
// newest first, down to the first commit for which known is true, which is
// given too: "" where the chain ends before.
func (s *Store) Merges(tip Hash, known func(Hash) (bool, error)) (merges []Merge, fork Hash, err error) {
	for at, n := tip, 0; ; n++ {
		if ok, err := known(at); err != nil {
			return nil, "", err
		} else if ok {
			return merges, at, nil
		}
		if n >= maxHistory {
			return nil, "", errHistory
		}
		c, err := s.commit(at)
		if err != nil {
			return nil, "", err
		}
		if len(c.parents) == 2 {
			merges = append(merges, Merge{Hash: at, First: c.parents[0], Second: c.parents[1], Message: c.message})
		}
		if len(c.parents) == 0 {
			return merges, "", nil
		}
		at = c.parents[0]
	}
}

// HealPlan is what a heal would do.
type HealPlan struct {
	// Honest and Remote are the parents of the heal: where the honest history
	// ends, and the remote's head. They may be unrelated.
	Honest, Remote Hash
	// Added are the files that the other side has and the honest tree lacks.
	Added []File
	// Kept are the honest tree's files that the other side deleted or changed:
	// they stay as they are.
	Kept []Violation
	// LeftOut is what the other side has and no store may hold, or has no room
	// for.
	LeftOut []Violation

	tree    Hash
	objects *newObjects
}

// maxHealChanges bounds the differences between the two sides that are looked
// at. What a heal adds is bounded as for any commit.
const maxHealChanges = 1 << 20

// PlanHeal makes a heal without pushing it: the tree of the honest tip, and
// beside it every regular file at a valid path that the remote's tree has and
// the honest one lacks.
func (s *Store) PlanHeal(ctx context.Context, honest, remote Hash) (HealPlan, error) {
	p := HealPlan{Honest: honest, Remote: remote, objects: &newObjects{}}
	ours, err := s.commit(honest)
	if err != nil {
		return p, err
	}
	theirs, err := s.commit(remote)
	if err != nil {
		return p, err
	}
	limits := Limits{}.orDefault()
	most := limits.Changes
	limits.Changes = maxHealChanges
	d := differ{s: s, ctx: ctx, limits: limits, gone: map[string]Hash{}, trees: &treeMemo{}}
	if err := d.dir("", 1, ours.tree, theirs.tree); err != nil {
		return p, fmt.Errorf("the other side's tree: %w", err)
	}
	c := d.commit(remote, honest, theirs)
	for _, v := range c.Violations {
		if v.Old != "" {
			p.Kept = append(p.Kept, v)
		} else {
			p.LeftOut = append(p.LeftOut, v)
		}
	}
	if len(c.Inserted) > most {
		p.LeftOut = append(p.LeftOut, Violation{Kind: TooMany, Detail: fmt.Sprintf("%d files beyond the first %d", len(c.Inserted)-most, most)})
		c.Inserted = c.Inserted[:most]
	}
	blobs := make(map[string]Hash, len(c.Inserted))
	for _, f := range c.Inserted {
		blobs[f.Path] = f.Blob
	}
	g := grafter{s: s, new: p.objects}
	if p.tree, err = g.graft(ours.tree, pending(blobs)); err != nil {
		return p, err
	}
	for _, f := range c.Inserted {
		if why, out := g.left[f.Path]; out {
			p.LeftOut = append(p.LeftOut, Violation{Path: f.Path, Kind: BadTree, Detail: why, Blob: f.Blob, Size: f.Size})
		} else {
			p.Added = append(p.Added, f)
		}
	}
	return p, nil
}

// Heal makes the commit of a plan, with the message, author, time and signature
// of a, and pushes it on the remote's head, which must be the plan's still: else
// it is ErrMoved, and nothing was changed. It needs no force, for the remote's
// head is one of its parents.
func (s *Store) Heal(ctx context.Context, p HealPlan, a Append) (Hash, error) {
	if p.tree == "" || p.Remote == "" {
		return "", errors.New("a heal needs a plan")
	}
	data, err := encodeCommit(a, p.tree, p.Honest, p.Remote)
	if err != nil {
		return "", err
	}
	objects := &newObjects{order: slices.Clone(p.objects.order), store: p.objects.store}
	head, err := objects.add(plumbing.CommitObject, data)
	if err != nil {
		return "", err
	}
	if objects.held, err = s.lacking(p.Honest, p.Remote); err != nil {
		return "", err
	}
	return head, s.pushFrom(ctx, p.Remote, head, objects)
}

// PushBack pushes head, a commit of this mirror, to a remote whose branch stands
// at old, from which head can be reached forwards; with old "" the branch is
// gone. ErrMoved as in Heal.
func (s *Store) PushBack(ctx context.Context, old, head Hash) error {
	if old != "" {
		if forward, err := s.reaches(head, old); err != nil {
			return err
		} else if !forward {
			return fmt.Errorf("%w: %s does not lead to %s", ErrNotForward, old, head)
		}
	}
	held, err := s.lacking(head, old)
	if err != nil {
		return err
	}
	return s.pushFrom(ctx, old, head, &newObjects{held: held})
}

// pushFrom moves the branch from old to head in one try. The mirror takes what
// was pushed.
func (s *Store) pushFrom(ctx context.Context, old, head Hash, objects *newObjects) error {
	if s.o.InMemory {
		return ErrInMemory
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	tip, err := s.fetchLocked(ctx)
	if err != nil {
		return err
	}
	if tip.Empty {
		// Else the git program would push with a lease on the branch's last place.
		if err := s.writeRef(trackedRef, ""); err != nil {
			return err
		}
	}
	moved := fmt.Errorf("%w: from %q", ErrMoved, old)
	if tip.Hash != old {
		return moved
	}
	push, err := s.remote.openPush(ctx)
	if err != nil {
		return err
	}
	defer push.close()
	if push.tip() != old {
		return moved
	}
	err = push.send(ctx, head, objects)
	switch {
	case errors.Is(err, errRaced):
		return fmt.Errorf("%w: %w", moved, err)
	case errors.Is(err, errUnsure):
		tip, fetchErr := s.fetchLocked(ctx)
		if fetchErr == nil && !tip.Empty {
			if arrived, chainErr := s.ChainContains(tip.Hash, head); chainErr == nil && arrived {
				return nil
			}
		}
		return errors.Join(err, fetchErr)
	case err != nil:
		return err
	}
	return s.adopt(head, objects)
}

// readTypes gives the types of objects as they are read by those as they are
// written.
var readTypes = map[plumbing.ObjectType]odb.Type{
	plumbing.CommitObject: odb.Commit, plumbing.TreeObject: odb.Tree, plumbing.BlobObject: odb.Blob,
}

// heldObject is an object of the mirror.
type heldObject struct {
	typ  plumbing.ObjectType
	hash Hash
}

// lacking lists what can be reached from head and is no part of the history of
// has: for each such commit, itself and what is new against its first parent,
// what is pointed to first. has may be "".
func (s *Store) lacking(head, has Hash) ([]heldObject, error) {
	if has != "" {
		if all, err := s.reaches(has, head); err != nil || all {
			return nil, err
		}
	}
	there := map[Hash]bool{}
	if err := s.visit(has, nil, func(h Hash, _ commitObject) { there[h] = true }); err != nil {
		return nil, err
	}
	var commits []commitObject
	var names []Hash
	err := s.visit(head, func(h Hash) (bool, error) { return there[h], nil }, func(h Hash, c commitObject) {
		names, commits = append(names, h), append(commits, c)
	})
	if err != nil {
		return nil, err
	}
	var held []heldObject
	seen := map[Hash]bool{}
	for i := len(commits) - 1; i >= 0; i-- {
		var before Hash
		if len(commits[i].parents) > 0 {
			parent, err := s.commit(commits[i].parents[0])
			if err != nil {
				return nil, err
			}
			before = parent.tree
		}
		if held, err = s.newInTree(held, seen, before, commits[i].tree); err != nil {
			return nil, err
		}
		held = append(held, heldObject{plumbing.CommitObject, names[i]})
	}
	return held, nil
}

// newInTree lists the objects below a folder that do not stand at the same
// place in another.
func (s *Store) newInTree(held []heldObject, seen map[Hash]bool, old, new Hash) ([]heldObject, error) {
	if old == new || seen[new] {
		return held, nil
	}
	seen[new] = true
	before, err := s.tree(old)
	if err != nil {
		return nil, err
	}
	was := make(map[string]Hash, len(before))
	for _, e := range before {
		was[e.key()] = e.object()
	}
	after, err := s.tree(new)
	if err != nil {
		return nil, err
	}
	for _, e := range after {
		h := e.object()
		switch {
		case e.mode == modeSubmodule || was[e.key()] == h:
		case e.isDir():
			if held, err = s.newInTree(held, seen, was[e.key()], h); err != nil {
				return nil, err
			}
		case !seen[h]:
			seen[h] = true
			held = append(held, heldObject{plumbing.BlobObject, h})
		}
	}
	return append(held, heldObject{plumbing.TreeObject, new}), nil
}

// modeSubmodule is the mode of an entry that names a commit of another
// repository, which is no object of this one.
const modeSubmodule = "160000"

// withHeld gives objects with those that the mirror holds read in.
func (s *Store) withHeld(objects *newObjects) (*newObjects, error) {
	if len(objects.held) == 0 {
		return objects, nil
	}
	all := &newObjects{}
	for _, o := range objects.held {
		data, err := s.object(readTypes[o.typ], o.hash, maxObject)
		if err != nil {
			return nil, err
		}
		if _, err := all.add(o.typ, data); err != nil {
			return nil, err
		}
	}
	for _, h := range objects.order {
		if all.store.HasEncodedObject(h) == nil {
			continue // a folder that is again as it was
		}
		obj, err := objects.store.EncodedObject(plumbing.AnyObject, h)
		if err != nil {
			return nil, err
		}
		if _, err := all.store.SetEncodedObject(obj); err != nil {
			return nil, err
		}
		all.order = append(all.order, h)
	}
	return all, nil
}

// CommitSignature gives the armoured signature of a commit and the bytes that it
// is over: the commit without the signature's own lines, as git-commit(1) has
// it. A commit that is not signed, or that has other headers than those that
// jit writes, is ErrUnsigned.
func (s *Store) CommitSignature(h Hash) (payload, signature []byte, err error) {
	data, err := s.object(odb.Commit, h, maxCommitBytes)
	if err != nil {
		return nil, nil, err
	}
	if _, err := parseCommit(data); err != nil {
		return nil, nil, fmt.Errorf("%w: commit %s: %w", ErrCorrupt, h, err)
	}
	payload, signature, problem := splitSigned(string(data))
	if problem != "" {
		return nil, nil, fmt.Errorf("%w: %s: %s", ErrUnsigned, h, problem)
	}
	return payload, signature, nil
}

// splitSigned takes a signed commit apart. Its headers must be exactly these, in
// this order: a tree, parents, an author, a committer and one signature.
func splitSigned(text string) (payload, signature []byte, problem string) {
	head, message, found := strings.Cut(text, "\n\n")
	if !found {
		return nil, nil, "it has no message"
	}
	lines := strings.Split(head, "\n")
	kept := 0
	for _, name := range []string{"tree ", "parent ", "author ", "committer "} {
		first := kept
		for kept < len(lines) && strings.HasPrefix(lines[kept], name) && (kept == first || name == "parent ") {
			kept++
		}
		if kept == first && name != "parent " {
			return nil, nil, "it has no " + strings.TrimSpace(name)
		}
	}
	if kept == len(lines) {
		return nil, nil, "there is no signature"
	}
	first, ok := strings.CutPrefix(lines[kept], "gpgsig ")
	if !ok {
		return nil, nil, fmt.Sprintf("an unexpected header %q", lines[kept][:min(len(lines[kept]), 32)])
	}
	sig := []string{first}
	for _, line := range lines[kept+1:] {
		rest, ok := strings.CutPrefix(line, " ")
		if !ok {
			return nil, nil, "a header follows the signature"
		}
		sig = append(sig, rest)
	}
	signature = []byte(strings.Join(sig, "\n") + "\n")
	return []byte(strings.Join(lines[:kept], "\n") + "\n\n" + message), signature, ""
}

package gitstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jitaccess/jit/pkg/gitstore/internal/odb"
)

// Relation says how a head that the remote shows lies to the checkpoint.
type Relation string

const (
	// Same means that the head is the checkpoint.
	Same Relation = "the same"
	// Ahead means that the checkpoint is on the head's first-parent chain.
	Ahead Relation = "ahead"
	// Behind means that the head is on the checkpoint's first-parent chain: an older
	// head is shown.
	Behind Relation = "behind"
	// OffChain means that the checkpoint can be reached from the head, but not along the
	// first parents: a merge swapped the past.
	OffChain Relation = "off the chain"
	// Rewritten means that the checkpoint cannot be reached from the head.
	Rewritten Relation = "a rewrite"
)

// maxHistory bounds the commits that one walk over the history visits. At one
// commit a minute it is reached after two years without a checkpoint; above it
// the walk fails instead of never ending.
const maxHistory = 1 << 20

// errHistory is the walk's refusal to go on.
var errHistory = fmt.Errorf("%w: the history is longer than %d commits", ErrBadRemote, maxHistory)

// Relation says how tip lies to checkpoint. With no checkpoint any tip is
// Ahead. A commit of tip's history that the mirror does not hold is an error; a
// checkpoint that it does not hold is Rewritten. The work is bounded by the
// length of the history, and is one step per commit between the two where tip
// extends the checkpoint.
func (s *Store) Relation(checkpoint, tip Hash) (Relation, error) {
	switch {
	case checkpoint == tip:
		return Same, nil
	case checkpoint == "":
		return Ahead, nil
	case tip == "":
		return Rewritten, nil
	}
	on, err := s.ChainContains(tip, checkpoint)
	if err != nil {
		return "", err
	}
	if on {
		return Ahead, nil
	}
	reachable, err := s.reaches(tip, checkpoint)
	if err != nil {
		return "", err
	}
	if reachable {
		return OffChain, nil
	}
	behind, err := s.ChainContains(checkpoint, tip)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", err
	}
	if behind {
		return Behind, nil
	}
	return Rewritten, nil
}

// ChainContains reports whether h is on the first-parent chain that ends in
// tip, tip itself included.
func (s *Store) ChainContains(tip, h Hash) (bool, error) {
	if h == "" || tip == "" {
		return false, nil
	}
	for at, n := tip, 0; ; n++ {
		if at == h {
			return true, nil
		}
		if n >= maxHistory {
			return false, errHistory
		}
		c, err := s.commit(at)
		if err != nil {
			return false, err
		}
		if len(c.parents) == 0 {
			return false, nil
		}
		at = c.parents[0]
	}
}

// reaches reports whether h can be reached from tip over any parents.
func (s *Store) reaches(tip, h Hash) (bool, error) {
	seen := map[Hash]bool{tip: true}
	for queue := []Hash{tip}; len(queue) > 0; {
		at := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if at == h {
			return true, nil
		}
		c, err := s.commit(at)
		if err != nil {
			return false, err
		}
		for _, p := range c.parents {
			if !seen[p] {
				if len(seen) >= maxHistory {
					return false, errHistory
				}
				seen[p] = true
				queue = append(queue, p)
			}
		}
	}
	return false, nil
}

// Count gives how many commits Walk would give, or most where there are more.
func (s *Store) Count(ctx context.Context, from, to Hash, most int) (int, error) {
	list, err := s.chain(ctx, from, to, most)
	return len(list), err
}

// chainLink is a commit of a chain: what a walk needs to know of all but the merges.
type chainLink struct {
	hash, tree odb.Name
	merge      bool
}

// chain lists the commits after from up to and with to, oldest first, along
// the first parents: the newest, where there are more than most. from = "" begins
// with the root. It is ErrRewritten when from is not on the chain.
func (s *Store) chain(ctx context.Context, from, to Hash, most int) ([]chainLink, error) {
	var list []chainLink
	for at := to; at != from && len(list) < most; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(list) >= maxHistory {
			return nil, errHistory
		}
		c, err := s.commit(at)
		if err != nil {
			return nil, err
		}
		l := chainLink{merge: len(c.parents) > 1}
		if l.hash, err = nameOf(at); err == nil {
			l.tree, err = nameOf(c.tree)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, l)
		if len(c.parents) == 0 {
			if from != "" {
				return nil, fmt.Errorf("%w: %s is not on the chain of %s", ErrRewritten, from, to)
			}
			break
		}
		at = c.parents[0]
	}
	slices.Reverse(list)
	return list, nil
}

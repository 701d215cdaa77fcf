package ledger

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
)

// A merge may leave out what its other parents hold, lay other bytes in its place, or
// bury it under more files than are looked at. Whoever may push can make one whose first
// parent is the commit before somebody's revocation, or before an agreement to a new
// policy, and that one's own commit its second. So what takes away, certificates and
// changes of the policy count at the merge whatever the merge itself holds, where a commit
// adds them that it brings beside the chain. What gives is seen in the merge or not at all.
//
// Which parent is the first is for whoever makes the merge to choose, and so is what of two
// sides seems to stand before the other. So what a merge brings is noted with the position
// from which on it stands beside the history, not after it.

// mergedSchema has the commits beside the chain that were taken, each with the position
// from which on the merge that brought it stands beside the history.
const mergedSchema = `
CREATE TABLE IF NOT EXISTS merged (
	hash BLOB PRIMARY KEY, beside INTEGER NOT NULL) WITHOUT ROWID;
`

// maxLater bounds what waits to be tried again after all else of a merge: as many as one
// commit may bring. What is beyond is tried once.
const maxLater = gitstore.MaxChanges

// merges gives the source, where it can tell about merges.
func (f *fold) merges() (MergeSource, error) {
	src, ok := f.src.(MergeSource)
	if !ok {
		return nil, fmt.Errorf("commit %s is a merge, and this source of the history knows none", f.head)
	}
	return src, nil
}

// mergeSides takes this from the commits that a merge brings beside the chain: as within
// one commit first what takes away, then certificates, then the policy, in the order in
// which the commits rest on one another. later is what did not count yet.
func (f *fold) mergeSides(c gitstore.Commit) (later []candidate, err error) {
	if len(c.Parents) < 2 {
		return nil, nil
	}
	src, err := f.merges()
	if err != nil {
		return nil, err
	}
	var sides []gitstore.Hash
	for _, side := range c.Parents[1:] {
		beside := math.MaxInt
		brought, err := src.Beside(side, func(h gitstore.Hash) (bool, error) {
			at, passed, err := f.parted(h)
			if passed {
				beside = min(beside, at)
			}
			return passed, err
		})
		if err != nil {
			return nil, err
		}
		if beside == math.MaxInt {
			beside = 1 // it shares nothing with this history
		}
		for _, h := range brought {
			if _, err := f.Exec(`INSERT INTO merged VALUES (?, ?)`, hashBytes(h), beside); err != nil {
				return nil, err
			}
		}
		if len(brought) > 0 && (f.alongside == 0 || beside < f.alongside) {
			f.alongside = beside
		}
		sides = append(sides, brought...)
	}
	for _, wanted := range []func(string) bool{takesAway, isCertificate, isOfPolicy} {
		for _, h := range sides {
			files, err := src.Adds(f.ctx, h, wanted)
			if err != nil {
				return nil, err
			}
			candidates, certs, err := f.sort(files)
			if err != nil {
				return nil, err
			}
			for _, x := range certs {
				if _, err := f.certificate(x); err != nil {
					return nil, err
				}
			}
			not, err := f.attempt(candidates)
			if err != nil {
				return nil, err
			}
			later = append(later, not[:min(len(not), maxLater-len(later))]...)
		}
		if err := f.takeRevoked(); err != nil {
			return nil, err
		}
	}
	return later, nil
}

func takesAway(path string) bool {
	place, err := record.ParsePath(path)
	return err == nil && place.Kind.TakesAway()
}

func isCertificate(path string) bool {
	_, _, err := record.ParseCertificatePath(path)
	return err == nil
}

func isOfPolicy(path string) bool {
	place, err := record.ParsePath(path)
	return err == nil && (place.Policy || place.Kind == record.KindPolicy)
}

// settleSides tries again, at the end of a merge, what did not count before. What is
// evidence of a fork is told of, and what takes away; all else only where the merge holds
// it too.
func (f *fold) settleSides(later []candidate) error {
	for _, x := range later {
		if counted, _, err := f.counted(x.path); err != nil {
			return err
		} else if counted != nil && (counted.blob == x.blob || x.blob == "") {
			continue
		}
		err := f.judge(x)
		if err == nil {
			continue
		}
		reason := reasonOf(err)
		if reason == "" {
			return fmt.Errorf("%s: %w", x.path, err)
		}
		// What the merge holds too, with these bytes, is told of with its files.
		if held, there, err := f.lay(x.path); err != nil {
			return err
		} else if there && held == x.blob {
			continue
		}
		if reason == ReasonUnknownHead {
			f.report.Forks++
		}
		// Of what takes away only that very record is one too many.
		if reason == ReasonUnknownHead || x.place.Kind.TakesAway() && reason != ReasonDuplicateID {
			if err := f.reject(x.path, err); err != nil {
				return err
			}
		}
	}
	return nil
}

// parted gives the first position of the chain that stands beside what rests on a commit
// alone. It reports false for one that is not on the chain so far, nor was merged into it.
func (f *fold) parted(h gitstore.Hash) (beside int, passed bool, err error) {
	if at, err := f.place(h); err != nil || at > 0 {
		return at + 1, at > 0, err
	}
	err = f.QueryRow(`SELECT beside FROM merged WHERE hash = ?`, hashBytes(h)).Scan(&beside)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return beside, err == nil, err
}

// unmerged drops what a merge holds that counts by now, since a commit that it brings
// beside the chain had it too.
func (f *fold) unmerged(c gitstore.Commit, files []gitstore.File) ([]gitstore.File, error) {
	if len(c.Parents) < 2 {
		return files, nil
	}
	var faults []error
	return slices.DeleteFunc(files, func(x gitstore.File) bool {
		holder, err := f.known(x.Path)
		if err == nil && holder != "" && holder != x.Blob {
			err = f.aside(x.Path, string(gitstore.Changed), "the first bytes count")
		}
		faults = append(faults, err)
		return holder != ""
	}), errors.Join(faults...)
}

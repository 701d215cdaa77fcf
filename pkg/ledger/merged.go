package ledger

import (
	"errors"
	"fmt"
	"slices"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
)

// A merge may leave out what its other parents hold, lay other bytes in its place, or
// bury it under more files than are looked at. Whoever may push can make one whose first
// parent is the commit before somebody's revocation, and the revocation's own commit its
// second. So what takes away counts at the merge whatever the merge itself holds: it is
// taken from the commits that brought it.

// mergedSchema has the commits beside the chain of which that was taken.
const mergedSchema = `
CREATE TABLE IF NOT EXISTS merged (
	hash BLOB PRIMARY KEY) WITHOUT ROWID;
`

// maxLater bounds what waits to be tried again after all else of a merge: as many as
// one commit may bring. What is beyond is tried once.
const maxLater = gitstore.MaxChanges

// merges gives the source, where it can tell about merges.
func (f *fold) merges() (MergeSource, error) {
	src, ok := f.src.(MergeSource)
	if !ok {
		return nil, fmt.Errorf("commit %s is a merge, and this source of the history knows none", f.head)
	}
	return src, nil
}

// mergeSides takes what takes away, and certificates, from the commits that a merge brings
// beside the chain, as if the merge held it. What does not count is told of only where
// the merge holds it too. later is what did not count yet.
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
		_, aside, err := src.Aside(side, f.passed)
		if err != nil {
			return nil, err
		}
		for _, h := range aside {
			if _, err := f.Exec(`INSERT INTO merged VALUES (?)`, hashBytes(h)); err != nil {
				return nil, err
			}
		}
		sides = append(sides, aside...)
	}
	// As within one commit: what takes away, then certificates, then what needed them.
	for _, certificates := range []bool{false, true} {
		for _, h := range sides {
			candidates, certs, err := f.sideOf(src, h, certificates)
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
	}
	return f.attempt(later)
}

// passed reports whether a commit is on the chain so far, or was merged into it.
func (f *fold) passed(h gitstore.Hash) (passed bool, err error) {
	if at, err := f.place(h); err != nil || at > 0 {
		return at > 0, err
	}
	err = f.QueryRow(`SELECT EXISTS (SELECT 1 FROM merged WHERE hash = ?)`, hashBytes(h)).Scan(&passed)
	return passed, err
}

// sideOf gives what one commit beside the chain adds: its certificates, or what takes
// away.
func (f *fold) sideOf(src MergeSource, h gitstore.Hash, certificates bool) ([]candidate, []certFile, error) {
	files, err := src.Adds(f.ctx, h, func(path string) bool {
		if _, _, err := record.ParseCertificatePath(path); err == nil {
			return certificates
		}
		place, err := record.ParsePath(path)
		return err == nil && place.Kind.TakesAway() && !certificates
	})
	if err != nil {
		return nil, nil, err
	}
	return f.sort(files)
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

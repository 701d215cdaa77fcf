package gitstore

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// grafter puts files whose blobs the mirror holds into a tree. Where replace is
// not set, what is there stays; else the file takes its place, and that of a name that
// differs only in case.
type grafter struct {
	s       *Store
	new     *newObjects
	replace bool
	// put lists the paths that were not there with the same bytes; left says why
	// others could not be put.
	put  []string
	left map[string]string
}

// pending sorts files as graft takes them: those of a folder together.
func pending(blobs map[string]Hash) []pendingFile {
	files := make([]pendingFile, 0, len(blobs))
	for path, blob := range blobs {
		files = append(files, pendingFile{path: path, parts: strings.Split(path, "/"), blob: blob})
	}
	slices.SortFunc(files, func(a, b pendingFile) int { return slices.Compare(a.parts, b.parts) })
	return files
}

func (g *grafter) leave(files []pendingFile, why string) {
	if g.left == nil {
		g.left = map[string]string{}
	}
	for _, f := range files {
		g.left[f.path] = why
	}
}

// graft gives the tree h with files.
func (g *grafter) graft(h Hash, files []pendingFile) (Hash, error) {
	open := g.s.openFolder
	if g.replace {
		open = g.s.openOrEmpty
	}
	into, err := open(h)
	if err != nil {
		return "", err
	}
	for len(files) > 0 {
		var name string
		var group []pendingFile
		name, group, files = nextGroup(files)
		have, there := into.at(name)
		if twin := into.twin(name); twin != "" && !g.replace {
			g.leave(group, fmt.Sprintf("%q is there too", twin))
			continue
		}
		if folder := len(group[0].parts) > 1; g.replace && (!there || have.isDir() != folder) {
			// Beside a twin what is put back would be one.
			into.drop(into.twins(name))
		}
		entry := treeEntry{mode: modeFile, name: name}
		if f := group[0]; len(f.parts) == 1 {
			// With the parts in order a file comes before what claims to lie below it.
			g.leave(group[1:], "it lies below a file")
			switch {
			case there && have.mode == modeFile && have.object() == f.blob:
				continue
			case there && !g.replace && (have.mode == modeFile || have.isDir()):
				g.leave(group[:1], "something else is there")
				continue
			}
			g.put = append(g.put, f.path)
			entry.hash = rawHash(f.blob)
		} else {
			var sub Hash
			switch {
			case there && have.isDir():
				sub = have.object()
			case there && !g.replace:
				g.leave(group, "it lies below a file")
				continue
			}
			below := make([]pendingFile, len(group))
			for i, f := range group {
				below[i] = pendingFile{path: f.path, parts: f.parts[1:], blob: f.blob}
			}
			tree, err := g.graft(sub, below)
			if err != nil {
				return "", err
			}
			if tree == sub {
				continue
			}
			entry.mode, entry.hash = modeDir, rawHash(tree)
		}
		into.set(entry)
	}
	return into.write(g.new)
}

// Missing gives those of files, by path, that the tree of head does not hold
// with the bytes of these blobs, sorted.
func (s *Store) Missing(head Hash, files map[string]Hash) ([]string, error) {
	_, g, err := s.putBack(head, files)
	if err != nil {
		return nil, err
	}
	slices.Sort(g.put)
	return g.put, nil
}

func (s *Store) putBack(head Hash, files map[string]Hash) (Hash, grafter, error) {
	g := grafter{s: s, new: &newObjects{}, replace: true}
	c, err := s.commit(head)
	if err != nil {
		return "", g, err
	}
	tree, err := g.graft(c.tree, pending(files))
	return tree, g, err
}

// PutBack makes one commit on the remote's head, which must be head still (else
// ErrMoved), in whose tree files stand with the bytes of these blobs, which the
// history holds; whatever is at those paths gives way. The rest of the tree
// stays. Message, author, time and signature are a's. Where all of them are
// there already the commit is "".
func (s *Store) PutBack(ctx context.Context, head Hash, files map[string]Hash, a Append) (Hash, error) {
	tree, g, err := s.putBack(head, files)
	if err != nil || len(g.put) == 0 {
		return "", err
	}
	data, err := encodeCommit(a, tree, head)
	if err != nil {
		return "", err
	}
	commit, err := g.new.add(plumbing.CommitObject, data)
	if err != nil {
		return "", err
	}
	return commit, s.pushFrom(ctx, head, commit, g.new)
}

// Line is a commit as a list of a history shows it.
type Line struct {
	Hash    Hash
	Message string // as in Commit
}

// Lines gives the commits of tip's first-parent chain that are not of other's,
// newest first, at most limit of them, and how many there are in all. Either
// may be "".
func (s *Store) Lines(tip, other Hash, limit int) (lines []Line, all int, err error) {
	theirs := map[Hash]bool{}
	for at := other; at != ""; {
		if len(theirs) >= maxHistory {
			return nil, 0, errHistory
		}
		theirs[at] = true
		if at, err = s.firstParent(at); err != nil {
			return nil, 0, err
		}
	}
	for at := tip; at != "" && !theirs[at]; all++ {
		if all >= maxHistory {
			return nil, 0, errHistory
		}
		c, err := s.commit(at)
		if err != nil {
			return nil, 0, err
		}
		if len(lines) < limit {
			lines = append(lines, Line{Hash: at, Message: c.message})
		}
		at = ""
		if len(c.parents) > 0 {
			at = c.parents[0]
		}
	}
	return lines, all, nil
}

// firstParent gives the first parent of a commit, "" for a root.
func (s *Store) firstParent(h Hash) (Hash, error) {
	c, err := s.commit(h)
	if err != nil || len(c.parents) == 0 {
		return "", err
	}
	return c.parents[0], nil
}

// Root gives the commit with which tip's first-parent chain begins.
func (s *Store) Root(tip Hash) (Hash, error) {
	for at, n := tip, 0; n < maxHistory; n++ {
		parent, err := s.firstParent(at)
		if err != nil || parent == "" {
			return at, err
		}
		at = parent
	}
	return "", errHistory
}

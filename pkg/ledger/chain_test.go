package ledger_test

import (
	"cmp"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/jitaccess/jit/pkg/gitstore"
)

// leaf is what stands at a path of a tree.
type leaf struct {
	mode string
	blob gitstore.Hash
}

const regular = "100644"

// chain is a store in memory, as a row of whole trees. Unlike [history] it holds
// deletions, odd modes, names and twins, and its objects can have git's own
// names, so that the same store can be made with git and compared.
type chain struct {
	blobs   map[gitstore.Hash][]byte
	commits []gitstore.Hash
	trees   []map[string]leaf
	// genuine says that commits are named as git would name them. Else their
	// names are known beforehand, and a record can name a later one.
	genuine bool
	// shuffled, where not 0, hands out what a commit adds in another order than
	// by path. The ledger must not mind.
	shuffled uint64
}

func gitObject(kind, data string) gitstore.Hash {
	sum := sha1.Sum([]byte(fmt.Sprintf("%s %d\x00%s", kind, len(data), data)))
	return gitstore.Hash(hex.EncodeToString(sum[:]))
}

func (c *chain) blob(data string) gitstore.Hash {
	h := gitObject("blob", data)
	c.blobs[h] = []byte(data)
	return h
}

// name gives the name of the i-th commit, from 0, whether it is there or not.
func (c *chain) name(i int) gitstore.Hash {
	if i < len(c.commits) {
		return c.commits[i]
	}
	return gitObject("commit", fmt.Sprint("made up ", i))
}

func (c *chain) tip() gitstore.Hash {
	if len(c.commits) == 0 {
		return ""
	}
	return c.commits[len(c.commits)-1]
}

// commit adds a commit with this tree.
func (c *chain) commit(tree map[string]leaf) {
	name := c.name(len(c.commits))
	if c.genuine {
		name = gitObject("commit", commitText(treeName(tree), c.tip()))
	}
	c.commits, c.trees = append(c.commits, name), append(c.trees, tree)
}

const committer = "eve <eve@example.com> 1 +0000"

func commitText(tree, parent gitstore.Hash) string {
	s := "tree " + string(tree) + "\n"
	if parent != "" {
		s += "parent " + string(parent) + "\n"
	}
	return s + "author " + committer + "\ncommitter " + committer + "\n\nx\n"
}

// treeName gives git's name of a tree.
func treeName(tree map[string]leaf) gitstore.Hash {
	type entry struct {
		key, text string
	}
	var entries []entry
	add := func(name, key, mode string, h gitstore.Hash) {
		raw, err := hex.DecodeString(string(h))
		if err != nil {
			panic(err)
		}
		entries = append(entries, entry{key, mode + " " + name + "\x00" + string(raw)})
	}
	folders := map[string]map[string]leaf{}
	for path, l := range tree {
		first, below, deeper := strings.Cut(path, "/")
		if !deeper {
			add(first, first, l.mode, l.blob)
			continue
		}
		if folders[first] == nil {
			folders[first] = map[string]leaf{}
		}
		folders[first][below] = l
	}
	for name, folder := range folders {
		add(name, name+"/", "40000", treeName(folder))
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	var all strings.Builder
	for _, e := range entries {
		all.WriteString(e.text)
	}
	return gitObject("tree", all.String())
}

// fastImport gives the chain in the form that "git fast-import" reads.
func (c *chain) fastImport() string {
	var s strings.Builder
	for _, tree := range c.trees {
		fmt.Fprintf(&s, "commit refs/heads/main\nauthor %s\ncommitter %s\ndata 2\nx\n\ndeleteall\n", committer, committer)
		for _, path := range slices.Sorted(maps.Keys(tree)) {
			data := c.blobs[tree[path].blob]
			fmt.Fprintf(&s, "M %s inline %s\ndata %d\n%s\n", tree[path].mode, path, len(data), data)
		}
	}
	return s.String()
}

func (c *chain) ReadBlob(h gitstore.Hash, limit int64) ([]byte, error) {
	data, ok := c.blobs[h]
	switch {
	case !ok:
		return nil, gitstore.ErrNotFound
	case int64(len(data)) > limit:
		return nil, gitstore.ErrTooLarge
	}
	return data, nil
}

// Walk tells what each commit adds and breaks, by the rules of gitstore.Walk. A
// share of the stores is walked by that too.
func (c *chain) Walk(ctx context.Context, from, to gitstore.Hash, o gitstore.WalkOptions, fn func(gitstore.Commit) error) error {
	w := walk{chain: c, known: o.Known}
	for i := slices.Index(c.commits, from) + 1; i <= slices.Index(c.commits, to); i++ {
		w.after, w.before, w.Commit = c.trees[i], nil, gitstore.Commit{Hash: c.commits[i]}
		if i > 0 {
			w.before, w.Parent = c.trees[i-1], c.commits[i-1]
		}
		if err := w.compare(); err != nil {
			return err
		}
		if c.shuffled != 0 {
			rand.New(rand.NewPCG(c.shuffled, uint64(i))).Shuffle(len(w.Inserted), func(i, j int) {
				w.Inserted[i], w.Inserted[j] = w.Inserted[j], w.Inserted[i]
			})
		}
		if err := fn(w.Commit); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// walk compares one tree after the other with the one before it.
type walk struct {
	*chain
	gitstore.Commit
	known         func(string) (gitstore.Hash, error)
	before, after map[string]leaf
}

func (w *walk) compare() error {
	reported := map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(w.after)) {
		now, had := w.after[path], w.before[path]
		if now == had {
			continue
		}
		if part, kind, new := trouble(path, w.before, w.after); kind != "" {
			if new && !reported[part] {
				reported[part] = true
				w.violation(part, kind, "", "")
			}
			continue
		}
		if err := w.file(path, now, had); err != nil {
			return err
		}
	}
	for _, path := range slices.Sorted(maps.Keys(w.before)) {
		if _, there := w.after[path]; there || w.before[path].mode != regular || unfit(path) {
			continue
		}
		first, err := w.first(path, w.before[path].blob)
		if err != nil {
			return err
		}
		w.violation(path, gitstore.Deleted, first, "")
	}
	slices.SortStableFunc(w.Violations, func(a, b gitstore.Violation) int { return strings.Compare(a.Path, b.Path) })
	return nil
}

func (w *walk) file(path string, now, had leaf) error {
	if had.mode != regular && now.mode != regular {
		w.violation(path, gitstore.BadMode, "", "")
		return nil
	}
	var first gitstore.Hash
	var err error
	if had.mode == regular {
		first, err = w.first(path, had.blob)
	} else {
		first, err = w.known(path)
	}
	switch {
	case err != nil:
		return err
	case now.mode != regular:
		w.violation(path, gitstore.BadMode, first, "")
	case first == "":
		w.Inserted = append(w.Inserted, gitstore.File{Path: path, Blob: now.blob, Size: int64(len(w.blobs[now.blob]))})
	case first != now.blob:
		w.violation(path, gitstore.Changed, first, now.blob)
	}
	return nil
}

// first gives what holds a path where a file was changed or deleted, or else what
// was there before.
func (w *walk) first(path string, before gitstore.Hash) (gitstore.Hash, error) {
	first, err := w.known(path)
	return cmp.Or(first, before), err
}

func (w *walk) violation(path string, kind gitstore.ViolationKind, old, blob gitstore.Hash) {
	w.Violations = append(w.Violations, gitstore.Violation{Path: path, Kind: kind, Old: old, Blob: blob, Size: int64(len(w.blobs[blob]))})
}

// maxDepth is how many parts a path may have.
const maxDepth = 8

// trouble gives the first part of a path, from the top, that no store may have or
// that differs only in case from another beside it, and whether this commit adds
// it. What was there before is not compared with what came beside it later.
func trouble(path string, before, after map[string]leaf) (part string, kind gitstore.ViolationKind, new bool) {
	parts := strings.Split(path, "/")
	for i, name := range parts {
		part, folder := strings.Join(parts[:i+1], "/"), i+1 < len(parts)
		new := !holds(before, part, folder)
		switch {
		case badName(name) || folder && i+1 >= maxDepth:
			return part, gitstore.BadPath, new
		case new && twin(after, part):
			return part, gitstore.CaseTwin, new
		}
	}
	return "", "", false
}

// unfit reports whether a path is one that no store may have.
func unfit(path string) bool {
	parts := strings.Split(path, "/")
	return len(parts) > maxDepth || slices.ContainsFunc(parts, badName)
}

func badName(name string) bool {
	return strings.HasPrefix(name, "-") || strings.HasSuffix(name, ".") || strings.EqualFold(name, "git~1") ||
		strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != ""
}

func holds(tree map[string]leaf, part string, folder bool) bool {
	if !folder {
		_, ok := tree[part]
		return ok
	}
	for path := range tree {
		if strings.HasPrefix(path, part+"/") {
			return true
		}
	}
	return false
}

// twin reports whether something in the same folder differs from part only in
// case.
func twin(tree map[string]leaf, part string) bool {
	for path := range tree {
		if len(path) >= len(part) && path[:len(part)] != part && (len(path) == len(part) || path[len(part)] == '/') &&
			strings.EqualFold(path[:len(part)], part) && path[:strings.LastIndex(part, "/")+1] == part[:strings.LastIndex(part, "/")+1] {
			return true
		}
	}
	return false
}

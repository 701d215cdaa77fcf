package gitstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// File is a regular file that a commit adds.
type File struct {
	Path string
	Blob Hash
	Size int64 // bytes
}

// ViolationKind says how a change breaks the rules of an append-only store.
type ViolationKind string

// The kinds of violation.
const (
	// Changed: a path that held other bytes before. Old has the first ones.
	Changed ViolationKind = "changed"
	// Deleted: a path that held a file is gone.
	Deleted ViolationKind = "deleted"
	// BadMode: a symlink, a submodule, an executable or any odd mode.
	BadMode ViolationKind = "bad mode"
	// BadPath: a name that no store file may have, or a folder too deep.
	BadPath ViolationKind = "bad path"
	// CaseTwin: a name that differs only in case from one beside it.
	CaseTwin ViolationKind = "case twin"
	// TooLarge: a file above the limit. Its bytes were not read.
	TooLarge ViolationKind = "too large"
	// TooMany: more changes in one commit than are looked at.
	TooMany ViolationKind = "too many"
	// BadTree: a folder that cannot be read: too large, or malformed.
	BadTree ViolationKind = "bad tree"
)

// Violation is a change by a commit that has no effect.
type Violation struct {
	Path   string
	Kind   ViolationKind
	Detail string
	// Old is what the path held first (Changed, Deleted); Blob is what it
	// would hold now, with its Size in bytes (Changed). Else they are empty.
	Old, Blob Hash
	Size      int64
}

// Commit is what one commit of the first-parent chain brings.
type Commit struct {
	Hash, Parent Hash   // Parent is the first one; "" at the root
	Parents      []Hash // all of them; more than one is a merge
	// Inserted are the files that it adds, sorted by path. What a merge brings
	// relative to its first parent counts at the merge.
	Inserted   []File
	Violations []Violation // sorted by path
	// Message is what the committer wrote, where it is a merge; else it is empty. It is
	// for showing, after cleaning, and never to be trusted.
	Message string
}

// Limits bounds what Walk looks at. A zero field means its default.
type Limits struct {
	File    int64 // bytes of one file; default MaxFile
	Changes int   // changed paths of one commit; default MaxChanges
	Entries int   // entries of the folders of one commit; default MaxEntries
	Depth   int   // parts of a path; default MaxDepth
	Path    int   // bytes of a path; default MaxPath
}

// The defaults of [Limits].
const (
	// MaxFile is the largest record.
	MaxFile = 4 << 20
	// MaxChanges is many times what a machine sends at once after weeks without a
	// network; an honest commit changes two to a few hundred paths.
	MaxChanges = 1 << 16
	// maxFolders is how many folders of one commit are opened for each change: each
	// file may stand in its own, and those in folders of their days.
	maxFolders = 2
	// MaxEntries bounds the work that one commit makes: a folder may hold itself over
	// and over under many names, so that few bytes stand for more entries than
	// there are seconds. An honest commit opens a handful of folders of at most some
	// thousands; this leaves room for some that others have filled with as many names
	// as can be read. It is about two seconds' work.
	MaxEntries = 1 << 22
	// MaxDepth leaves two parts beside the six of the layout.
	MaxDepth = 8
	// MaxPath is what every file system takes.
	MaxPath = 255
)

func (l Limits) orDefault() Limits {
	if l.File <= 0 {
		l.File = MaxFile
	}
	if l.Changes <= 0 {
		l.Changes = MaxChanges
	}
	if l.Entries <= 0 {
		l.Entries = MaxEntries
	}
	if l.Depth <= 0 {
		l.Depth = MaxDepth
	}
	if l.Path <= 0 {
		l.Path = MaxPath
	}
	return l
}

// WalkOptions says how Walk judges what it sees.
type WalkOptions struct {
	Limits Limits
	// Known gives the blob that holds a path in the history up to the commit
	// before the one being looked at, "" when none does: only its bytes are
	// restored without a word, and all else is added or Changed. It is asked for
	// every path that a commit adds, changes or deletes, and its word is the only
	// one, so that it makes no difference where a walk began. With nil, the first
	// blob of a path holds it, as far as this walk has seen: enough where every
	// walk begins at the root.
	Known func(path string) (Hash, error)
	// Folder reports whether anything below a folder can hold its path. One where
	// nothing can is not opened when it goes: however much was laid there, whoever
	// takes it away to have its place spends nothing of what is looked at in a commit.
	// With nil, anything can.
	Folder func(path string) bool
	// Total, where it is not nil, is told how many commits there are before the first.
	Total func(commits int)
}

// Walk calls fn for each commit after from (with "" the root included) up to
// and with to, oldest first, along the first parents. Whatever a commit does
// beside adding regular files at valid paths is a Violation, never an error.
// Errors are: from is not on the chain (ErrRewritten), the mirror lacks or
// garbles an object of the history, ctx ended, or fn's own.
func (s *Store) Walk(ctx context.Context, from, to Hash, o WalkOptions, fn func(Commit) error) error {
	o.Limits = o.Limits.orDefault()
	list, err := s.chain(ctx, from, to, math.MaxInt)
	if err != nil {
		return err
	}
	if o.Total != nil {
		o.Total(len(list))
	}
	var parentTree Hash
	if from != "" && len(list) > 0 {
		c, err := s.commit(from)
		if err != nil {
			return err
		}
		parentTree = c.tree
	}
	gone := map[string]Hash{}
	trees := &treeMemo{}
	parent := from
	for _, l := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		h := Hash(l.hash.String())
		c := commitObject{tree: Hash(l.tree.String())}
		switch {
		case l.merge:
			if c, err = s.commit(h); err != nil {
				return err
			}
		case parent != "":
			c.parents = []Hash{parent}
		}
		d := differ{s: s, ctx: ctx, limits: o.Limits, known: o.Known, folder: o.Folder, gone: gone, trees: trees}
		if err := d.dir("", 1, parentTree, c.tree); err != nil {
			return fmt.Errorf("commit %s: %w", h, err)
		}
		if err := fn(d.commit(h, parent, c)); err != nil {
			return err
		}
		parent, parentTree = h, c.tree
	}
	return nil
}

// maxRemembered is the most entries of a folder that is remembered: many times
// an honest one's, and little memory.
const maxRemembered = 4096

// treeMemo remembers the folders that were read last: what a commit makes of a
// folder is what the next one is compared with.
type treeMemo struct {
	names   [16]Hash
	entries [16][]treeEntry
	next    int
}

func (m *treeMemo) read(s *Store, h Hash) ([]treeEntry, error) { return m.readUpTo(s, h, maxTreeBytes) }

// readUpTo is read for a folder of no more bytes than limit, or one that is remembered.
func (m *treeMemo) readUpTo(s *Store, h Hash, limit int64) ([]treeEntry, error) {
	for i, name := range m.names {
		if name == h && h != "" {
			return m.entries[i], nil
		}
	}
	entries, err := s.treeUpTo(h, limit)
	if err == nil && len(entries) <= maxRemembered {
		m.names[m.next], m.entries[m.next] = h, entries
		m.next = (m.next + 1) % len(m.names)
	}
	return entries, err
}

// differ compares the trees of a commit and of its first parent. Folders with
// the same hash are not opened.
type differ struct {
	s       *Store
	ctx     context.Context
	limits  Limits
	known   func(path string) (Hash, error)
	folder  func(path string) bool
	wanted  func(path string) bool // nil for all: only such files are looked at
	gone    map[string]Hash        // without known: what this walk saw deleted or changed, with its first blob
	trees   *treeMemo
	files   []File
	bad     []Violation
	changes int
	skipped int // changes beyond the limit
	entries int // of all folders read so far
	folders int // that were opened
}

func (d *differ) commit(h, parent Hash, c commitObject) Commit {
	if d.spent() {
		d.bad = append(d.bad, Violation{Kind: TooMany, Detail: fmt.Sprintf("its folders are more than %d or have more than %d entries; the rest was not looked at",
			maxFolders*d.limits.Changes, d.limits.Entries)})
	}
	if d.skipped > 0 {
		d.bad = append(d.bad, Violation{Kind: TooMany, Detail: fmt.Sprintf("%d changes beyond the first %d", d.skipped, d.limits.Changes)})
	}
	sort.Slice(d.files, func(i, j int) bool { return d.files[i].Path < d.files[j].Path })
	sort.SliceStable(d.bad, func(i, j int) bool { return d.bad[i].Path < d.bad[j].Path })
	return Commit{Hash: h, Parent: parent, Parents: c.parents, Inserted: d.files, Violations: d.bad, Message: c.message}
}

func (d *differ) violation(path string, kind ViolationKind, detail string) {
	// A name may have as many bytes as its folder may.
	if len(path) > d.limits.Path {
		path = strings.ToValidUTF8(path[:d.limits.Path], "") + "…"
	}
	d.bad = append(d.bad, Violation{Path: path, Kind: kind, Detail: detail})
}

// spent reports that what was read of folders is too much for one commit.
func (d *differ) spent() bool {
	return d.entries > d.limits.Entries || d.folders > maxFolders*d.limits.Changes
}

// room counts a change and reports whether it is still looked at.
func (d *differ) room() bool {
	if d.changes >= d.limits.Changes {
		d.skipped++
		return false
	}
	d.changes++
	return true
}

// readTree reads a folder. One that cannot be read for what it holds is a
// violation and counts as empty; one that is missing is an error, for that is
// the mirror's fault and not the history's.
func (d *differ) readTree(path string, h Hash, report bool) ([]treeEntry, error) {
	entries, err := d.trees.read(d.s, h)
	if errors.Is(err, ErrTooLarge) || errors.Is(err, ErrCorrupt) {
		if report && d.room() {
			d.violation(path, BadTree, err.Error())
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !slices.IsSortedFunc(entries, treeEntry.compare) {
		entries = slices.Clone(entries) // others remember them as they are
		slices.SortStableFunc(entries, treeEntry.compare)
		if report && d.room() {
			d.violation(path, BadTree, "its entries are not in order")
		}
	}
	// A name that is there twice: the first counts.
	kept := entries[:0:0]
	for i, e := range entries {
		if i > 0 && e.compare(entries[i-1]) == 0 {
			if len(kept) == 0 {
				kept = append(kept, entries[:i]...)
			}
			if report && d.room() {
				d.violation(join(path, e.name), BadTree, "the name is there twice")
			}
			continue
		}
		if len(kept) > 0 {
			kept = append(kept, e)
		}
	}
	if len(kept) > 0 {
		return kept, nil
	}
	return entries, nil
}

// dir compares the folder path, whose parts below it lie at the given depth.
func (d *differ) dir(path string, depth int, old, new Hash) error {
	if old == new {
		return nil
	}
	if err := d.ctx.Err(); err != nil {
		return err
	}
	if d.folders++; d.spent() {
		return nil
	}
	before, err := d.readTree(path, old, false)
	if err != nil {
		return err
	}
	after, err := d.readTree(path, new, true)
	if err != nil {
		return err
	}
	if d.entries += len(before) + len(after); d.spent() {
		return nil
	}
	var added []treeEntry
	i, j := 0, 0
	for i < len(before) || j < len(after) {
		order := 0
		switch {
		case j == len(after):
			order = -1
		case i == len(before):
			order = +1
		case before[i] != after[j]:
			order = before[i].compare(after[j])
		}
		switch {
		case order < 0:
			if err := d.removed(path, depth, before[i]); err != nil {
				return err
			}
			i++
		case order > 0:
			added = append(added, after[j])
			j++
		default:
			if before[i].hash != after[j].hash || before[i].mode != after[j].mode {
				if err := d.changed(path, depth, before[i], after[j]); err != nil {
					return err
				}
			}
			i, j = i+1, j+1
		}
	}
	return d.added(path, depth, added, after)
}

// added looks at what is new in a folder; all is what the folder holds now.
func (d *differ) added(path string, depth int, added, all []treeEntry) error {
	if len(added) == 0 {
		return nil
	}
	twins := twinFinder(all, len(added))
	for _, e := range added {
		full := join(path, e.name)
		if problem := nameProblem(e.name); problem != "" {
			if d.room() {
				d.violation(full, BadPath, problem)
			}
			continue
		}
		if twin := twins(e.name); twin != "" {
			if d.room() {
				d.violation(full, CaseTwin, fmt.Sprintf("%q is there too", twin[:min(len(twin), d.limits.Path)]))
			}
			continue
		}
		if e.isDir() {
			if why := d.closed(full, depth); why != "" {
				if d.room() {
					d.violation(full, BadPath, why)
				}
				continue
			}
			if err := d.dir(full, depth+1, "", e.object()); err != nil {
				return err
			}
			continue
		}
		if d.wanted != nil && !d.wanted(full) || !d.room() {
			continue
		}
		if err := d.file(full, e); err != nil {
			return err
		}
	}
	return nil
}

// closed says why a folder is not opened; "" where it is.
func (d *differ) closed(path string, depth int) string {
	switch {
	case depth >= d.limits.Depth:
		return fmt.Sprintf("a folder at a depth of %d", depth)
	case len(path) > d.limits.Path:
		return d.tooLong(path)
	}
	return ""
}

func (d *differ) tooLong(path string) string {
	return fmt.Sprintf("%d bytes long, %d are allowed", len(path), d.limits.Path)
}

// file looks at a new file.
func (d *differ) file(path string, e treeEntry) error {
	if e.mode != modeFile {
		d.violation(path, BadMode, modeName(e.mode))
		return nil
	}
	if len(path) > d.limits.Path {
		d.violation(path, BadPath, d.tooLong(path))
		return nil
	}
	first, err := d.holder(path)
	if err != nil {
		return err
	}
	size, err := d.s.Size(e.object())
	if err != nil {
		return err
	}
	blob := e.object()
	if first != "" {
		if first != blob {
			d.bad = append(d.bad, Violation{Path: path, Kind: Changed, Detail: "came back with other bytes", Old: first, Blob: blob, Size: size})
		}
		// With the same bytes it is restored: nothing new, nothing wrong.
		return nil
	}
	if size > d.limits.File {
		d.bad = append(d.bad, Violation{Path: path, Kind: TooLarge, Detail: fmt.Sprintf("%d bytes, %d are allowed", size, d.limits.File), Blob: blob, Size: size})
		return nil
	}
	d.files = append(d.files, File{Path: path, Blob: blob, Size: size})
	return nil
}

// removed looks at what is gone from a folder.
func (d *differ) removed(path string, depth int, e treeEntry) error {
	full := join(path, e.name)
	if e.isDir() {
		if nameProblem(e.name) != "" || d.closed(full, depth) != "" || d.folder != nil && !d.folder(full) {
			return nil // what was in it never counted
		}
		return d.dir(full, depth+1, e.object(), "")
	}
	if e.mode != modeFile || nameProblem(e.name) != "" || len(full) > d.limits.Path || !d.room() {
		return nil
	}
	first, err := d.first(full, e.object())
	if err != nil {
		return err
	}
	d.bad = append(d.bad, Violation{Path: full, Kind: Deleted, Detail: "it counts all the same", Old: first})
	return nil
}

// changed looks at an entry that differs under the same name and type.
func (d *differ) changed(path string, depth int, old, new treeEntry) error {
	full := join(path, new.name)
	if nameProblem(new.name) != "" || len(full) > d.limits.Path {
		return nil // reported when it came
	}
	if new.isDir() {
		if d.closed(full, depth) != "" {
			return nil
		}
		return d.dir(full, depth+1, old.object(), new.object())
	}
	if !d.room() {
		return nil
	}
	switch {
	case old.mode != modeFile && new.mode == modeFile:
		return d.file(full, new)
	case old.mode != modeFile:
		d.violation(full, BadMode, modeName(new.mode))
		return nil
	}
	first, err := d.first(full, old.object())
	if err != nil {
		return err
	}
	if new.mode != modeFile {
		d.bad = append(d.bad, Violation{Path: full, Kind: BadMode, Detail: modeName(new.mode), Old: first})
		return nil
	}
	if first == new.object() {
		return nil // changed back to the first bytes
	}
	size, err := d.s.Size(new.object())
	if err != nil {
		return err
	}
	d.bad = append(d.bad, Violation{Path: full, Kind: Changed, Detail: "the first bytes count", Old: first, Blob: new.object(), Size: size})
	return nil
}

// holder gives the blob that holds a path, "" when none does.
func (d *differ) holder(path string) (Hash, error) {
	if d.known != nil {
		return d.known(path)
	}
	return d.gone[path], nil
}

// first gives the blob that holds a path at which a file was changed or deleted,
// or else the one before, which a walk without Known remembers.
func (d *differ) first(path string, before Hash) (Hash, error) {
	first, err := d.holder(path)
	if err != nil || first != "" {
		return first, err
	}
	if d.known == nil {
		d.gone[path] = before
	}
	return before, nil
}

// twinFinder gives a function that finds a name's twin among all: another name
// that differs from it only in case. For few names looking through the folder
// is cheaper than a map of it.
func twinFinder(all []treeEntry, names int) func(name string) string {
	if names <= 8 {
		return func(name string) string {
			for _, e := range all {
				if len(e.name) == len(name) && e.name != name && strings.EqualFold(e.name, name) {
					return e.name
				}
			}
			return ""
		}
	}
	// Each folded name with two different spellings, which is enough.
	spellings := make(map[string][2]string, len(all))
	for _, e := range all {
		folded := strings.ToLower(e.name)
		s := spellings[folded]
		switch s[0] {
		case "", e.name:
			s[0] = e.name
		default:
			s[1] = e.name
		}
		spellings[folded] = s
	}
	return func(name string) string {
		s := spellings[strings.ToLower(name)]
		if s[0] != name {
			return s[0]
		}
		return s[1]
	}
}

// gitBlob gives the name of a blob with these bytes.
func gitBlob(data []byte) Hash { return fromGit(plumbing.ComputeHash(plumbing.BlobObject, data)) }

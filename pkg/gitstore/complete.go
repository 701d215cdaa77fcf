package gitstore

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/jitaccess/jit/pkg/gitstore/internal/odb"
)

// trusted gives the commits whose whole history the mirror is taken to hold: the tip
// and the checkpoint. The caller holds the lock. It takes away all other refs, for git
// takes what any ref names for complete, and would not ask for it again.
func (s *Store) trusted() ([]Hash, error) {
	if s.o.InMemory {
		return s.roots(), nil
	}
	dir := filepath.Join(s.mirror, filepath.FromSlash(filepath.Dir(trackedRef)))
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the mirror: %w", err)
	}
	for _, e := range entries {
		name := filepath.Base(dir)
		// What begins with a dot is no ref: another process may be moving one.
		if name = "refs/" + name + "/" + e.Name(); name == trackedRef || name == checkpointRef || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return nil, fmt.Errorf("the mirror: %w", err)
		}
	}
	return s.roots(), nil
}

// roots is trusted for who only reads.
func (s *Store) roots() (whole []Hash) {
	for _, name := range []string{trackedRef, checkpointRef} {
		if h, err := s.readRef(name); err == nil && h != "" && !slices.Contains(whole, h) {
			whole = append(whole, h)
		}
	}
	return whole
}

// How far complete looks at files.
const (
	// shallowly: that they are there. Whatever is indexed has its right name.
	shallowly = false
	// deeply: that they can be read, as what has lain on a disk may not.
	deeply = true
)

// complete looks whether the mirror holds all that head needs: the commits from it down
// to those of the history of whole, and their folders and files, each commit's compared
// with its first parent's. It is ErrIncomplete where one is missing or damaged. Of the
// history of whole nothing is looked at but, where head does not lead to it directly, as
// many commits as of head's own.
//
// It is git's check after a fetch (rev-list --objects --not --all), but for what jit never
// reads: below a folder that is too large, or none by its bytes, nothing is looked for.
func (s *Store) complete(ctx context.Context, head Hash, whole []Hash, deep bool) error {
	w := completeness{s: s, ctx: ctx, deep: deep, passed: map[Hash]bool{}, known: map[Hash]bool{}, seed: maphash.MakeSeed(), seen: map[uint64]uint64{}}
	for _, h := range whole {
		if err := w.learn(h); err != nil {
			return err
		}
	}
	if err := w.commits(head); err != nil {
		return err
	}
	return w.contents()
}

// completeness is the work of [Store.complete].
type completeness struct {
	s    *Store
	ctx  context.Context
	deep bool

	// The commits of head's history that were looked at, and those that the whole
	// history leads to; of these, what lies behind back was not read yet. The two sides
	// are walked at the same pace, so that a head that stands beside the whole history
	// costs what lies between it and where they part, and not all that is before.
	passed, known map[Hash]bool
	back          []Hash
	list          []passedCommit // of passed, in the order in which they were read

	mu   sync.Mutex // of what follows
	done int        // commits of list whose contents were looked at

	// seen are the folders that were looked at, and beside which others: so that one that
	// is in many places costs no more than twice its bytes. They are kept by a hash of
	// their names with a seed that nobody knows, which takes a third of the memory.
	seen map[uint64]uint64
	seed maphash.Seed
}

// passedCommit is what is remembered of a commit whose contents are to be looked at.
type passedCommit struct {
	hash, first Hash // the first parent; "" for none
	tree        odb.Name
}

// commits reads the commits from head down to those of the whole history.
func (w *completeness) commits(head Hash) error {
	for queue := []Hash{head}; len(queue) > 0; {
		at := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if w.passed[at] || w.known[at] {
			continue
		}
		if len(w.passed) >= maxHistory {
			return errHistory
		}
		if err := w.ctx.Err(); err != nil {
			return err
		}
		w.passed[at] = true
		c, err := w.s.commit(at)
		if kind, ok := errors.AsType[*kindError](err); ok && at == head {
			// Nothing is damaged there or here: somebody has set the branch to it.
			return fmt.Errorf("%w: the branch names a %s, %s, and no commit", ErrBadRemote, kind.is, head)
		}
		if err != nil {
			return missing("commit", at, err)
		}
		one := passedCommit{hash: at, tree: mustName(c.tree)}
		if len(c.parents) > 0 {
			one.first = c.parents[0]
		}
		w.list = append(w.list, one)
		for _, p := range slices.Backward(c.parents) {
			queue = append(queue, p)
		}
		if err := w.stepBack(); err != nil {
			return err
		}
	}
	return nil
}

const (
	// portion is how many commits, one after the other, one processor looks at.
	portion = 256
	// connectivity is what Progress is told while a fetched history is looked through,
	// in git's own word for it.
	connectivity = "Checking connectivity"
)

// contents looks at what each commit has beside its first parent, on all processors.
func (w *completeness) contents() error {
	ctx, stop := context.WithCancelCause(w.ctx)
	defer stop(nil)
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (len(w.list)+portion-1)/portion) {
		all.Go(func() {
			look := looker{completeness: w}
			for {
				from := int(next.Add(portion)) - portion
				to := min(from+portion, len(w.list))
				if from >= to {
					return
				}
				for i := from; i < to; i++ {
					if ctx.Err() != nil {
						return
					}
					if err := look.commit(i); err != nil {
						stop(err)
						return
					}
				}
				w.passedOn(to - from)
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// passedOn tells how far it is.
func (w *completeness) passedOn(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done += n
	if w.s.o.Progress != nil {
		w.s.o.Progress(connectivity, w.done, len(w.list))
	}
}

// beside says what of a folder is still to be looked at where old is in its place: nothing,
// where looking showed already that it is whole if old is; else what is not in the folder
// that it gives, which is "" for all of it.
//
// Of a folder that is held against one, and against another later, all is looked at that
// second time: what the two have may be in neither place for the first time. That is shown
// once for each folder, in whatever order they are met; a history has a beginning, and there
// is nothing in the place of its folders.
func (w *completeness) beside(folder, old Hash) (against Hash, nothing bool) {
	hash := func(h Hash) uint64 {
		if h == "" {
			return 0
		}
		return max(1, maphash.String(w.seed, string(h)))
	}
	key, was := hash(folder), hash(old)
	w.mu.Lock()
	defer w.mu.Unlock()
	before, met := w.seen[key]
	switch {
	case met && (before == 0 || before == was):
		return "", true
	case met:
		old, was = "", 0
	}
	w.seen[key] = was
	return old, false
}

// missing makes an ErrIncomplete of what an object of the history cannot be read for.
// Where its bytes were read, and are what they are everywhere, it gives the error.
func missing(what string, h Hash, err error) error {
	if errors.Is(err, ErrNotFound) {
		return fmt.Errorf("%w: the %s %s is missing", ErrIncomplete, what, h)
	}
	if damaged(err) {
		return fmt.Errorf("%w: the %s %s is damaged: %w", ErrIncomplete, what, h, err)
	}
	return err
}

// damaged reports whether an object's bytes are not its own: a matter of the disk, never
// of the history.
func damaged(err error) bool { return errors.Is(err, odb.ErrCorrupt) }

// learn takes a commit for whole, and with it what was looked at behind it.
func (w *completeness) learn(h Hash) error {
	for stack := []Hash{h}; len(stack) > 0; {
		at := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if w.known[at] {
			continue
		}
		w.known[at] = true
		if !w.passed[at] {
			w.back = append(w.back, at)
			continue
		}
		c, err := w.s.commit(at)
		if err != nil {
			return err
		}
		stack = append(stack, c.parents...)
	}
	return nil
}

// stepBack reads one commit of the whole history. A hole there is nothing that the
// remote could fill unasked: see [Store.Mend].
func (w *completeness) stepBack() error {
	if len(w.back) == 0 {
		return nil
	}
	at := w.back[0]
	w.back = w.back[1:]
	c, err := w.s.commit(at)
	if err != nil {
		return nil //nolint:nilerr // as said above
	}
	for _, p := range c.parents {
		if err := w.learn(p); err != nil {
			return err
		}
	}
	return nil
}

// looker looks at commits one after the other: the folders of one are most often those
// of the next.
type looker struct {
	*completeness
	trees treeMemo
}

// commit looks at what the i-th commit has beside its first parent.
func (l *looker) commit(i int) error {
	c := l.list[i]
	var before Hash
	switch {
	case c.first == "":
	case i+1 < len(l.list) && l.list[i+1].hash == c.first:
		before = Hash(l.list[i+1].tree.String())
	default:
		parent, err := l.s.commit(c.first)
		if err != nil {
			return missing("commit", c.first, err)
		}
		before = parent.tree
	}
	if err := l.folder(before, Hash(c.tree.String())); err != nil {
		return fmt.Errorf("commit %s: %w", c.hash, err)
	}
	return nil
}

// How much larger than a folder the one in its place before may be, for being compared
// with it: else many small ones in the places of a large one cost more than was sent.
// Honest folders only grow.
const (
	manyTimes  = 4
	alwaysRead = 64 << 10 // bytes
)

// folder looks at a folder where old was before, which is whole; old may be "".
func (l *looker) folder(old, folder Hash) error {
	if folder == old || folder == emptyTree {
		return nil
	}
	old, nothing := l.beside(folder, old)
	if nothing {
		return nil
	}
	after, err := l.trees.read(l.s, folder)
	if err != nil {
		if err = missing("folder", folder, err); errors.Is(err, ErrTooLarge) || errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrIncomplete) {
			return nil // it counts as empty: see differ.readTree
		}
		return err
	}
	size := int64(0)
	for _, e := range after {
		size += int64(len(e.mode) + len(e.name) + len(e.hash) + 2)
	}
	// Of one that cannot be read nothing is known.
	before, _ := l.trees.readUpTo(l.s, old, min(manyTimes*size+alwaysRead, maxTreeBytes))
	j := 0
	for _, e := range after {
		for j < len(before) && before[j].compare(e) < 0 {
			j++
		}
		var was Hash
		if j < len(before) && before[j].compare(e) == 0 && kindOf(before[j].mode) == kindOf(e.mode) {
			if before[j].hash == e.hash {
				continue
			}
			was = before[j].object()
		}
		if err := l.entry(was, e); err != nil {
			return err
		}
	}
	return nil
}

// entry looks at a folder's entry that is new in its place.
func (l *looker) entry(was Hash, e treeEntry) error {
	switch kindOf(e.mode) {
	case kindCommit:
		return nil
	case kindFolder:
		return l.folder(was, e.object())
	}
	h := e.object()
	size, err := l.s.Size(h)
	if err == nil && l.deep && size <= MaxFile {
		_, err = l.s.ReadBlob(h, MaxFile)
	}
	if err = missing("file", h, err); errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrIncomplete) {
		return nil // something else than a file, which is there
	}
	return err
}

// What an entry names, by the kind in its mode, as git reads it: however many digits
// that has, and whatever it allows.
const (
	kindFile = iota
	kindFolder
	kindCommit // of another repository, and no object of this one
)

func kindOf(mode string) int {
	n, err := strconv.ParseUint(mode, 8, 32)
	if err != nil {
		return kindFile
	}
	switch n & 0o170000 {
	case 0o040000:
		return kindFolder
	case 0o160000:
		return kindCommit
	}
	return kindFile
}

// Complete looks whether the mirror holds, and can read, all that the tip and the
// checkpoint need: else it is ErrIncomplete. The whole history is walked.
func (s *Store) Complete(ctx context.Context) error {
	for i, h := range s.roots() {
		if err := s.complete(ctx, h, s.roots()[:i], deeply); err != nil {
			return err
		}
	}
	return nil
}

// CheckMirror is [Store.Complete] for the mirror in a store's folder that may be
// another's: it only reads. A folder without a mirror is none to complain of.
func CheckMirror(ctx context.Context, dir string) error {
	s := &Store{o: Options{Dir: dir}, mirror: filepath.Join(dir, "mirror.git")}
	if _, err := os.Stat(filepath.Join(s.mirror, "config")); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("the mirror: %w", err)
	}
	s.db = odb.Open(filepath.Join(s.mirror, "objects"))
	return errors.Join(s.Complete(ctx), s.db.Close())
}

// Mend looks whether the mirror holds all that it should, as [Store.Complete] does, and
// where it does not fetches the whole store again: mended says that it has. What the
// mirror has of histories that the remote does not show stays; what it lacks of the
// checkpoint's is ErrIncomplete, where the remote does not show that either.
func (s *Store) Mend(ctx context.Context) (tip Tip, mended bool, err error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return Tip{}, false, err
	}
	defer unlock()
	hole := s.Complete(ctx)
	if hole == nil || !errors.Is(hole, ErrIncomplete) {
		return Tip{}, false, hole
	}
	s.log.Warn("the mirror is fetched again", "cause", hole)
	head, err := s.remote.fetch(ctx, nil)
	if err != nil {
		return Tip{}, false, err
	}
	if tip, err = s.moveTo(head); err != nil || tip.Empty {
		return tip, false, err
	}
	return tip, true, s.Complete(ctx)
}

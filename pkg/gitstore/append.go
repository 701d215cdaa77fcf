package gitstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// NewFile is a file to be appended.
type NewFile struct {
	Path string // see CheckPath
	Data []byte
}

// Append is what one commit adds.
type Append struct {
	Files         []NewFile
	Message       string // a subject in plain words, a blank line, trailers
	Author, Email string
	When          time.Time // goes into the commit, to the second, in UTC
	// Sign makes an armoured signature of the commit; nil leaves it unsigned.
	// It is called again on every lost race.
	Sign func(payload []byte) ([]byte, error)
	// Holds tells what counts; see [Holds]. With nil all does.
	Holds Holds
}

// Holds reports whether the file at a path, or with folder set anything below it,
// counts. What does not gives way to a file that is appended: else whoever may push
// could keep a path from everybody else by laying something there first. It is
// asked about the head that is built on, after OnTip.
type Holds func(path string, folder bool) (bool, error)

// OnTip is told each head that an append will build on, under the lock and
// before anything is built: there the caller reads and verifies what is new.
// Its error stops the append, and nothing is pushed. It may call Walk,
// Relation, ReadBlob and SetCheckpoint, but neither Fetch nor Append.
type OnTip func(ctx context.Context, tip Hash) error

// Result is what became of an append.
type Result struct {
	Commit Hash // the new head; "" when every file was there already
	Parent Hash // the head that it was built on
	Tries  int  // pushes sent, 1 without contention
	// Lag is why the mirror does not hold Commit; the next fetch brings it. Nil where it does.
	Lag error
}

// Tip is the remote's branch as it is now.
type Tip struct {
	Hash  Hash
	Empty bool // the branch does not exist; Hash is ""
}

// maxTries bounds the lost races of one append. With the pauses between them
// that is several minutes, in which hundreds of writers have had their turn.
const maxTries = 400

// maxUnmoved bounds the lost races in a row that nobody has won: the branch's lock
// may be held by a push that is under way, but a server that cannot write, as
// with a full disk, says the same.
const maxUnmoved = 10

// maxUnsure bounds the pushes in a row whose answer is lost: a connection breaks once or
// twice, and what answers so each time is no connection that breaks.
const maxUnsure = 5

// longestContest is after how long no further try is begun. A remote that says each time
// that others were faster, or shows another head each time, would else be tried for as long
// as it likes, and a lock is held meanwhile. A reconciler, whose run waits for it, gives up
// sooner, and sends with its next run.
const (
	longestContest         = 15 * time.Minute
	longestContestIsolated = 3 * time.Minute
)

// giveUp is after how long an append begins no further try.
func (s *Store) giveUp() time.Duration {
	switch {
	case s.longest > 0:
		return s.longest
	case s.o.Isolated:
		return longestContestIsolated
	}
	return longestContest
}

// Fetch asks the remote for its head and brings what the mirror lacks. A
// remote whose head is the known tip costs no object. The new tip is recorded
// whatever its relation to the checkpoint is: that is the caller's to judge.
// A branch that does not exist is no error. A head that the remote sends without all
// that it needs is ErrIncomplete and ErrBadRemote: the tip does not move, and nothing of
// it is kept.
func (s *Store) Fetch(ctx context.Context) (Tip, error) {
	// Most often there is nothing new, which needs no lock.
	unlock, err := s.lock(ctx)
	if err != nil {
		return Tip{}, err
	}
	defer unlock()
	return s.fetchLocked(ctx)
}

func (s *Store) fetchLocked(ctx context.Context) (Tip, error) {
	whole, err := s.trusted()
	if err != nil {
		return Tip{}, err
	}
	head, err := s.remote.fetch(ctx, whole)
	if errors.Is(err, ErrIncomplete) && len(whole) > 0 {
		// The remote left out what it believes to be here. Where that is lost it is no
		// fault of the remote's, and will be missing for ever unless all is asked for.
		if hole := s.Complete(ctx); errors.Is(hole, ErrIncomplete) {
			s.log.Warn("the mirror is fetched again", "cause", hole)
			head, err = s.remote.fetch(ctx, nil)
		}
	}
	if err != nil {
		return Tip{}, err
	}
	return s.moveTo(head)
}

// moveTo makes a head that is complete the tip.
func (s *Store) moveTo(head Hash) (Tip, error) {
	if head == "" {
		return Tip{Empty: true}, nil
	}
	if head != s.Tip() {
		if err := s.writeRef(trackedRef, head); err != nil {
			return Tip{}, fmt.Errorf("the mirror: %w", err)
		}
	}
	return Tip{Hash: head}, s.settle(head)
}

// Append adds files in one commit on the remote's head, and pushes it so that
// the server compares and swaps. When another writer was faster it fetches,
// calls onTip and builds again, until ctx ends, or maxTries or the time for it is
// reached (ErrContention). onTip may be nil. A head that does not extend the checkpoint
// is ErrRewritten, an empty remote ErrEmpty; a file that is there with the same
// bytes is passed over, and what counts and stands in the way of one is ErrExists. When the
// server refuses, the error is ErrRefused. After any error nothing of this
// append is on the remote, unless the connection broke after it was sent and
// the remote could not be asked again: then the same append can be repeated.
func (s *Store) Append(ctx context.Context, a Append, onTip OnTip) (Result, error) {
	return s.AppendFunc(ctx, func(Hash) (Append, error) { return a, nil }, onTip)
}

// AppendFunc is Append with files that depend on the head. make is called for
// every head that is built on, after onTip, and like it under the lock.
func (s *Store) AppendFunc(ctx context.Context, make func(tip Hash) (Append, error), onTip OnTip) (Result, error) {
	waited, err := s.turns.wait(ctx)
	if err != nil {
		return Result{}, err
	}
	c := s.contest()
	result, err := s.appendLocked(ctx, make, onTip, c, waited)
	if err == nil && result.Tries > 0 && !c.queued {
		s.turns.won(c.landed(), time.Since(c.begun))
	}
	return result, err
}

// appendLocked appends under the lock. behind says that others have most likely
// appended since the remote was last asked.
func (s *Store) appendLocked(ctx context.Context, make func(tip Hash) (Append, error), onTip OnTip, c *contest, behind bool) (Result, error) {
	if s.o.InMemory {
		return Result{}, ErrInMemory
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return Result{}, err
	}
	defer unlock()
	leave, first := s.queue(ctx)
	defer func() { leave() }()
	c.queued = first
	var result Result
	var unsure Hash // a commit that was sent without an answer
	var cause error
	unmoved, unanswered, last := 0, 0, Hash("")
	for rounds := 0; result.Tries < maxTries && rounds < 2*maxTries; rounds++ {
		if rounds > 0 && time.Since(c.begun) > s.giveUp() {
			if errors.Is(cause, errUnsure) {
				return result, cause
			}
			return result, fmt.Errorf("%w: %d, in %v", ErrContention, result.Tries, time.Since(c.begun).Round(time.Second))
		}
		if cause != nil || behind {
			arrived, err := s.catchUp(ctx, unsure)
			if err != nil {
				return result, errors.Join(err, cause)
			}
			if arrived {
				result.Commit = unsure
				return result, nil
			}
			if unanswered >= maxUnsure {
				return result, cause
			}
			unsure, cause, behind = "", nil, false
			c.saw(s.Tip())
		}
		push, err := s.remote.openPush(ctx)
		if err != nil {
			return result, err
		}
		tip := push.tip()
		if tip == "" || tip != s.Tip() {
			// The session stays open meanwhile: another one would show a newer head
			// again where many write.
			if _, err := s.catchUp(ctx, ""); err != nil {
				push.close()
				return result, err
			}
		}
		c.saw(s.Tip())
		if tip != s.Tip() {
			push.close()
			if err := c.pause(ctx); err != nil {
				return result, err
			}
			continue
		}
		head, objects, err := s.prepare(ctx, tip, make, onTip)
		result.Parent = tip
		if err != nil || head == "" {
			push.close()
			return result, err
		}
		result.Tries++
		err = push.send(ctx, head, objects)
		push.close()
		switch {
		case err == nil:
			if err := s.adopt(head, objects); err != nil {
				// It is on the remote; the next fetch brings it here.
				s.log.Warn("the mirror lags behind the remote", "error", err)
				result.Lag = err
			}
			result.Commit = head
			return result, nil
		case errors.Is(err, errUnsure):
			unsure, cause, unanswered = head, err, unanswered+1
		case errors.Is(err, errRaced):
			cause, unanswered = err, 0
			if unmoved++; tip != last {
				unmoved, last = 0, tip
			}
			if refused := (*RefusedError)(nil); unmoved >= maxUnmoved && errors.As(err, &refused) {
				return result, refused
			}
		default:
			return result, err
		}
		s.log.Debug("push did not get through", "try", result.Tries, "error", err)
		if first {
			// Those behind in the queue wait too: no long pause before them.
			err = sleep(ctx, between(firstPause))
		} else {
			err = c.pause(ctx)
			leave, first = s.queue(ctx)
			c.queued = c.queued && first
		}
		if err != nil {
			return result, errors.Join(err, cause)
		}
	}
	return result, fmt.Errorf("%w: %d", ErrContention, result.Tries)
}

// catchUp fetches between two tries, and reports whether the commit unsure,
// whose push got no answer, has arrived after all.
func (s *Store) catchUp(ctx context.Context, unsure Hash) (arrived bool, err error) {
	tip, err := s.fetchLocked(ctx)
	if err != nil {
		return false, err
	}
	if tip.Empty {
		return false, fmt.Errorf("%w: %s has no branch %q", ErrEmpty, s.url.identity(), s.o.Branch)
	}
	if unsure == "" {
		return false, nil
	}
	return s.ChainContains(tip.Hash, unsure)
}

// prepare lets the caller verify tip and builds the commit on it.
func (s *Store) prepare(ctx context.Context, tip Hash, make func(tip Hash) (Append, error), onTip OnTip) (Hash, *newObjects, error) {
	if onTip != nil {
		if err := onTip(ctx, tip); err != nil {
			return "", nil, err
		}
	}
	checkpoint, err := s.Checkpoint()
	if err != nil {
		return "", nil, err
	}
	relation, err := s.Relation(checkpoint, tip)
	if err != nil {
		return "", nil, err
	}
	if relation != Same && relation != Ahead {
		return "", nil, fmt.Errorf("%w: the head %s is %s of the checkpoint %s", ErrRewritten, tip, relation, checkpoint)
	}
	a, err := make(tip)
	if err != nil {
		return "", nil, err
	}
	return s.build(a, tip)
}

// adopt takes what was pushed into the mirror and moves the tip, last.
func (s *Store) adopt(head Hash, objects *newObjects) error {
	if err := s.save(objects); err != nil {
		return err
	}
	return s.writeRef(trackedRef, head)
}

// Init makes a store: it pushes a's files as the root commit of a remote whose
// branch does not exist. Else it is ErrNotEmpty, and nothing changes. The store
// must be closed by the caller. The checkpoint is not set.
func Init(ctx context.Context, o Options, a Append) (*Store, Hash, error) {
	s, err := Open(ctx, o)
	if err != nil {
		return nil, "", err
	}
	head, err := s.init(ctx, a)
	if err != nil {
		_ = s.Close()
		return nil, "", err
	}
	return s, head, nil
}

func (s *Store) init(ctx context.Context, a Append) (Hash, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	notEmpty := fmt.Errorf("%w: %s has a branch %q", ErrNotEmpty, s.url.identity(), s.o.Branch)
	tip, err := s.fetchLocked(ctx)
	if err != nil {
		return "", err
	}
	if !tip.Empty {
		return "", notEmpty
	}
	head, objects, err := s.build(a, "")
	if err != nil {
		return "", err
	}
	if head == "" {
		return "", errors.New("a store begins with at least one file")
	}
	push, err := s.remote.openPush(ctx)
	if err != nil {
		return "", err
	}
	defer push.close()
	if push.tip() != "" {
		return "", notEmpty
	}
	if err := push.send(ctx, head, objects); err != nil {
		if errors.Is(err, errRaced) {
			// Where the branch is still not there nobody has won: a lock is in the way.
			refused := (*RefusedError)(nil)
			if tip, fetchErr := s.fetchLocked(ctx); fetchErr == nil && tip.Empty && errors.As(err, &refused) {
				return "", refused
			}
			return "", notEmpty
		}
		return "", err
	}
	return head, s.adopt(head, objects)
}

// CreateBare makes an empty bare repository in the folder path, which must not
// exist or be empty, for a store that is shared through a folder. It refuses
// forced pushes and deletions. No git program is needed.
func CreateBare(path, branch string) error {
	if branch == "" {
		branch = DefaultBranch
	}
	if entries, err := os.ReadDir(path); err == nil && len(entries) > 0 {
		return fmt.Errorf("%w: the folder %q", ErrNotEmpty, path)
	}
	for _, dir := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags", "hooks", "info"} {
		if err := os.MkdirAll(filepath.Join(path, dir), 0o755); err != nil {
			return err
		}
	}
	config := "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n" +
		"[receive]\n\tdenyNonFastForwards = true\n\tdenyDeletes = true\n\tfsckObjects = true\n"
	if err := os.WriteFile(filepath.Join(path, "config"), []byte(config), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(path, "HEAD"), []byte("ref: refs/heads/"+branch+"\n"), 0o644)
}

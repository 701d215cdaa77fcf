package ledger

import (
	"context"
	"database/sql"
	"errors"
	"hash/maphash"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/oklog/ulid/v2"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
)

// A long history is folded in bulk: signatures are verified on all processors
// ahead of the fold, what is not there is known without asking SQLite, and what
// is done is kept every now and then, so that a run that is stopped goes on from
// there. The result is that of folding commit by commit.

const (
	// bulkFrom is the least number of commits that are folded in bulk.
	bulkFrom = 1000
	// chunk is after how many commits what is done is kept: a few seconds' work.
	chunk = 20000
	// lookahead bounds the commits that are verified ahead of the fold. Those in
	// flight when a certificate arrives are verified again.
	lookahead = 256
	// aheadBytes bounds what those commits hold in memory, by the sizes of their files
	// and as much again for each as its path and outcome take. A commit that is larger
	// by itself waits until it is alone, and its records are verified one by one.
	aheadBytes = 64 << 20
	aheadFile  = 1 << 10
	// aheadPart is the unit in which these bytes are handed out.
	aheadPart = 64 << 10
)

// Counter is a source that can tell how many commits lie ahead.
type Counter interface {
	// Count gives the number of commits that Walk would give, or most where there are more.
	Count(ctx context.Context, from, to gitstore.Hash, most int) (int, error)
}

// bulk is what a long fold holds in memory. Its methods take nil, for a fold
// that holds nothing: then SQLite is asked. What there is one of for each commit or record
// holds no pointers, which the collector of garbage would follow time and again.
type bulk struct {
	positions map[[20]byte]int // by the commit's name
	total     int              // commits of this fold, from the first of them on
	// ordered says that the indices of what is open are there.
	ordered bool

	mu      sync.RWMutex // of what follows: the walk ahead asks too
	records map[ulid.ULID]struct{}
	// loose has the hashes of paths: how many there are is up to whoever may push.
	loose map[uint64]struct{}
	seed  maphash.Seed
	tx    *sql.Tx

	keyring atomic.Pointer[record.Keyring]
}

func newBulk(s state, tx *sql.Tx) (*bulk, error) {
	b := &bulk{positions: map[[20]byte]int{}, records: map[ulid.ULID]struct{}{}, loose: map[uint64]struct{}{}, seed: maphash.MakeSeed(), tx: tx}
	b.keyring.Store(s.keyring)
	x := index{tx}
	return b, errors.Join(
		x.each(`SELECT position, hash FROM commits`, func(r *sql.Rows) error {
			var n int
			var h []byte
			err := r.Scan(&n, &h)
			b.positions[commitKey(h)] = n
			return err
		}),
		x.each(`SELECT id FROM records`, func(r *sql.Rows) error {
			var id []byte
			err := r.Scan(&id)
			b.records[recordKey(id)] = struct{}{}
			return err
		}),
		x.each(`SELECT path FROM loose`, func(r *sql.Rows) error {
			var path string
			err := r.Scan(&path)
			b.loose[maphash.String(b.seed, path)] = struct{}{}
			return err
		}))
}

// commitKey gives a commit's name as it is known by; none's where it is no such name.
func commitKey(name []byte) (k [20]byte) {
	if len(name) == len(k) {
		copy(k[:], name)
	}
	return k
}

// recordKey is commitKey for the id of a record.
func recordKey(id []byte) (k ulid.ULID) {
	if len(id) == len(k) {
		copy(k[:], id)
	}
	return k
}

// positionOf gives the position of a commit; 0 when it is none of the history.
func (b *bulk) positionOf(h gitstore.Hash) int { return b.positions[commitKey(hashBytes(h))] }

func (b *bulk) sawCommit(h gitstore.Hash, position int) {
	if b != nil {
		b.positions[commitKey(hashBytes(h))] = position
	}
}

func (b *bulk) sawRecord(id record.ID) {
	if b != nil {
		b.mu.Lock()
		b.records[recordKey(idBytes(id))] = struct{}{}
		b.mu.Unlock()
	}
}

func (b *bulk) sawLoose(path string) {
	if b != nil {
		b.mu.Lock()
		b.loose[maphash.String(b.seed, path)] = struct{}{}
		b.mu.Unlock()
	}
}

// noRecord reports that no counted record has the id.
func (b *bulk) noRecord(id record.ID) bool {
	if b == nil {
		return false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	_, ok := b.records[recordKey(idBytes(id))]
	return !ok
}

// noLoose reports that nothing is remembered of the path.
func (b *bulk) noLoose(path string) bool {
	if b == nil {
		return false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	_, ok := b.loose[maphash.String(b.seed, path)]
	return !ok
}

// known is fold.known for the walk that runs ahead, as far as the fold has come:
// see stale.
func (b *bulk) known(path string) (gitstore.Hash, error) {
	if b.noLoose(path) {
		place, err := record.ParsePath(path)
		if err != nil || b.noRecord(place.ID) {
			return "", nil
		}
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	return (&fold{index: index{b.tx}}).known(path)
}

// turn ends a transaction and goes on in the next, in which the walk ahead asks
// from then on.
func (b *bulk) turn(end func() error, next func() (*sql.Tx, error)) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := end(); err != nil {
		return err
	}
	tx, err := next()
	if err == nil {
		b.tx = tx
	}
	return err
}

// verdict is a record verified ahead of the fold, with what it was verified by.
type verdict struct {
	blob, asc gitstore.Hash
	keyring   *record.Keyring
	verified  record.Verified
	err       error
}

// job is a commit on its way from the walk to the fold.
type job struct {
	commit   gitstore.Commit
	verdicts map[string]verdict
	done     chan struct{}
	parts    int  // of aheadBytes that it holds
	alone    bool // it holds all of them, and is not verified ahead
}

// weight gives how many parts of aheadBytes a commit takes, and whether that is more
// than there are.
func weight(c gitstore.Commit) (parts int, huge bool) {
	bytes := int64(aheadFile * (len(c.Inserted) + len(c.Violations)))
	for _, f := range c.Inserted {
		bytes += f.Size
	}
	const all = aheadBytes / aheadPart
	return int(min(bytes/aheadPart+1, all)), bytes/aheadPart+1 > all
}

// ahead is the walker that runs ahead of the fold.
func ahead(f *fold, to gitstore.Hash, fn func(gitstore.Commit) error) error {
	ctx, stop := context.WithCancel(f.ctx)
	tasks, queue := make(chan *job, lookahead), make(chan *job, lookahead)
	room := make(chan struct{}, aheadBytes/aheadPart)
	var all sync.WaitGroup
	var walked error
	all.Go(func() {
		defer close(queue)
		defer close(tasks)
		o := gitstore.WalkOptions{Known: f.bulk.known, Folder: record.IsFolder, Total: func(n int) { f.bulk.total = n }}
		walked = f.src.Walk(ctx, f.head, to, o, func(c gitstore.Commit) error {
			j := &job{commit: c, done: make(chan struct{})}
			j.parts, j.alone = weight(c)
			for range j.parts {
				select {
				case room <- struct{}{}:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			for _, to := range []chan *job{tasks, queue} {
				select {
				case to <- j:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	})
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for j := range tasks {
				if ctx.Err() == nil && !j.alone {
					j.verify(f.src, f.bulk)
				}
				close(j.done)
			}
		})
	}
	err := func() error {
		for j := range queue {
			<-j.done
			f.ahead = j.verdicts
			stale, err := f.stale(j.commit)
			switch {
			case err != nil:
				return err
			case stale:
				err = f.src.Walk(ctx, f.head, j.commit.Hash, gitstore.WalkOptions{Known: f.known, Folder: record.IsFolder}, fn)
			default:
				err = fn(j.commit)
			}
			if err != nil {
				return err
			}
			for range j.parts {
				<-room
			}
		}
		return nil
	}()
	stop()
	all.Wait()
	f.ahead = nil
	return errors.Join(err, unless(err != nil, walked))
}

// stale reports whether a commit that was walked ahead may have to be walked
// again, now that all before it is folded: something has come to hold a path
// since then. What holds one does so for ever; so a path that nothing holds now
// was seen rightly, and so was one that is held and is not told of at all.
func (f *fold) stale(c gitstore.Commit) (bool, error) {
	for _, v := range c.Violations {
		if v.Kind == gitstore.Changed || v.Kind == gitstore.Deleted {
			return true, nil
		}
	}
	for _, file := range c.Inserted {
		if holder, err := f.known(file.Path); err != nil || holder != "" {
			return true, err
		}
	}
	return false, nil
}

// unless gives err where not holds.
func unless(not bool, err error) error {
	if not {
		return nil
	}
	return err
}

// verify verifies the records that a commit brings whole.
func (j *job) verify(src Source, b *bulk) {
	keyring := b.keyring.Load()
	ascs := map[string]gitstore.Hash{}
	for _, f := range j.commit.Inserted {
		ascs[f.Path] = f.Blob
	}
	for _, f := range j.commit.Inserted {
		asc, ok := ascs[record.SignaturePath(f.Path)]
		if !ok {
			continue
		}
		v := verdict{blob: f.Blob, asc: asc, keyring: keyring}
		v.verified, v.err = verify(src, keyring, f.Blob, asc)
		if j.verdicts == nil {
			j.verdicts = map[string]verdict{}
		}
		j.verdicts[f.Path] = v
	}
}

// foldBulk is Fold for a long history.
func (l *Ledger) foldBulk(ctx context.Context, src Source, to gitstore.Hash) (report Report, err error) {
	tx, f, err := l.folding(ctx, src)
	if err != nil {
		return Report{}, err
	}
	f.now = l.Settle
	done := 0
	err = func() error {
		if l.position == 0 {
			// They are made anew below, or by the fold that goes on from here.
			if _, err := tx.Exec(noIndices); err != nil {
				return err
			}
		}
		if f.bulk, err = newBulk(f.state, tx); err != nil {
			return err
		}
		keep := func() error {
			if err := f.save(); err != nil {
				return err
			}
			err := f.bulk.turn(tx.Commit, func() (*sql.Tx, error) {
				l.state = f.state.clone()
				return l.begin(ctx)
			})
			if err != nil {
				return err
			}
			tx = f.bulk.tx
			f.index = index{prepare(tx)}
			return nil
		}
		return f.run(to, func(f *fold, to gitstore.Hash, fn func(gitstore.Commit) error) error {
			return ahead(f, to, func(c gitstore.Commit) error {
				if err := fn(c); err != nil {
					return err
				}
				done++
				if n := f.bulk.total; l.Progress != nil && (done%100 == 0 || done == n) {
					l.Progress(done, n)
				}
				if done%l.chunk == 0 {
					return keep()
				}
				return nil
			})
		})
	}()
	if err == nil {
		_, err = tx.Exec(indices)
	}
	if err != nil {
		err = errors.Join(damage(err), ignoreDone(tx.Rollback()))
		_, again := l.db.Exec(indices)
		return Report{}, errors.Join(err, again)
	}
	if err := tx.Commit(); err != nil {
		return Report{}, damage(err)
	}
	l.state = f.state
	return f.report, nil
}

// ignoreDone passes over a transaction that has ended already.
func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

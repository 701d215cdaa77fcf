package authorizedkeys

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

const (
	// readPatience bounds the waiting for files of processes. One takes microseconds.
	readPatience = 300 * time.Millisecond
	// maxHeld and maxHeldOfOne bound how many reads of a file may hang for one account and
	// for one session, each of which is a thread until its process ends or moves on.
	maxHeld      = 100
	maxHeldOfOne = 16
	// maxRead bounds, in bytes, what is read of one: an environment is the person's to fill.
	maxRead = 256 << 10
)

// procReads reads files of /proc for which the kernel makes a reader wait while the process
// changes its memory or begins a program: environ, and stat. A person can hold it up there
// with a file of FUSE. Such a read ends with jit, unlike one in a file system, but it would
// hold up an ending: so nobody waits for it long, it is not begun twice, and for one
// session and one account there are so many. What hangs costs what is known of its process,
// or at most of its account's.
type procReads struct {
	mu    sync.Mutex
	held  map[heldBy]bool
	slots map[slotsOf]*slots
}

// slots are there while somebody waits for one or has it.
type slots struct {
	free chan struct{}
	used int
}

// slotsOf are those of one session, or of all of the account.
type slotsOf struct {
	file         string
	uid, session int
}

// everySession is no process's number.
const everySession = -1

type heldBy struct {
	proc, file string
	pid        int
}

// reads are those of this program: drivers come and go, and what hangs stays.
var reads = newReads()

func newReads() *procReads {
	return &procReads{held: map[heldBy]bool{}, slots: map[slotsOf]*slots{}}
}

// each gives by number what find sees in a file of processes; those that cannot be read, or
// not in time, are not in it. They are given by session of the account uid.
func (r *procReads) each(proc, file string, uid int, lists map[int][]process, find func([]byte) string) map[int]string {
	var (
		all   = map[int]string{}
		mu    sync.Mutex
		limit = make(chan struct{})
		wait  sync.WaitGroup
	)
	timer := time.AfterFunc(readPatience, func() { close(limit) })
	defer timer.Stop()
	for session, list := range lists {
		wait.Go(func() {
			found := r.ofSession(proc, slotsOf{file, uid, session}, list, find, limit)
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(all, found)
		})
	}
	wait.Wait()
	return all
}

func (r *procReads) ofSession(proc string, of slotsOf, list []process, find func([]byte) string, limit <-chan struct{}) map[int]string {
	type answer struct {
		pid  int
		seen string
	}
	var (
		answers = make(chan answer, len(list)) // nobody may be left who takes them
		found   = map[int]string{}
		ofAll   = slotsOf{of.file, of.uid, everySession}
		mine    = r.use(of, maxHeldOfOne)
		account = r.use(ofAll, maxHeld)
	)
	defer r.leave(of, ofAll)
	for asked := 0; len(list) > 0 || asked > 0; {
		var free chan struct{}
		if len(list) > 0 {
			if r.hangs(heldBy{proc, of.file, list[0].pid}) {
				list = list[1:]
				continue
			}
			free = mine
		}
		select {
		case free <- struct{}{}:
			select {
			case account <- struct{}{}:
			case <-limit:
				<-mine
				return found
			}
			p := list[0]
			list = list[1:]
			key := heldBy{proc, of.file, p.pid}
			r.mark(key, true)
			asked++
			r.use(of, maxHeldOfOne)
			r.use(ofAll, maxHeld)
			go func() {
				defer r.leave(of, ofAll)
				seen := find(readSome(filepath.Join(proc, strconv.Itoa(p.pid), of.file)))
				r.mark(key, false)
				<-account
				<-mine
				answers <- answer{p.pid, seen}
			}()
		case a := <-answers:
			asked--
			if a.seen != "" {
				found[a.pid] = a.seen
			}
		case <-limit:
			return found
		}
	}
	return found
}

// use gives the slots of somebody, to be given back by leave.
func (r *procReads) use(of slotsOf, most int) chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.slots[of]
	if s == nil {
		s = &slots{free: make(chan struct{}, most)}
		r.slots[of] = s
	}
	s.used++
	return s.free
}

// leave forgets slots that nobody uses: sessions come and go, and this stays.
func (r *procReads) leave(of ...slotsOf) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range of {
		if r.slots[o].used--; r.slots[o].used == 0 {
			delete(r.slots, o)
		}
	}
}

func (r *procReads) hangs(key heldBy) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[key]
}

func (r *procReads) mark(key heldBy, held bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if held {
		r.held[key] = true
	} else {
		delete(r.held, key)
	}
}

// readSome gives what can be read: its process may be just ending.
func readSome(path string) []byte {
	h, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer h.Close()
	data, _ := io.ReadAll(io.LimitReader(h, maxRead))
	return data
}

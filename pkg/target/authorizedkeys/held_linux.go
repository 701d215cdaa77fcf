package authorizedkeys

import (
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"
)

const (
	// readPatience bounds the waiting for files of processes. One takes microseconds.
	readPatience = 300 * time.Millisecond
	// maxHeld bounds how many reads may hang for one account, each of which is a thread
	// until its process ends or moves on.
	maxHeld = 100
	// maxRead bounds, in bytes, what is read of one: an environment is the person's to fill.
	maxRead = 256 << 10
)

// procReads reads files of /proc for which the kernel makes a reader wait while the process
// changes its memory or begins a program: environ, and stat. A person can hold it up there
// with a file of FUSE. Such a read ends with jit, unlike one in a file system, but it would
// hold up an ending: so nobody waits for it long, it is not begun twice, and for one
// account there are so many. What hangs costs what is known of that process.
type procReads struct {
	mu    sync.Mutex
	held  map[heldBy]bool
	slots map[int]chan struct{} // by the account's user id
}

type heldBy struct {
	proc, file string
	pid        int
}

// reads are those of this program: drivers come and go, and what hangs stays.
var reads = newReads()

func newReads() *procReads {
	return &procReads{held: map[heldBy]bool{}, slots: map[int]chan struct{}{}}
}

// each gives by number what find sees in a file of processes of root's and below sessions
// of the account uid; those that cannot be read, or not in time, are not in it.
func (r *procReads) each(proc, file string, uid int, list []process, find func([]byte) string) map[int]string {
	type answer struct {
		pid  int
		seen string
	}
	var (
		answers = make(chan answer, len(list)) // nobody may be left who takes them
		limit   = time.NewTimer(readPatience)
		found   = map[int]string{}
	)
	defer limit.Stop()
	for asked := 0; len(list) > 0 || asked > 0; {
		var free chan struct{}
		if len(list) > 0 {
			if r.hangs(heldBy{proc, file, list[0].pid}) {
				list = list[1:]
				continue
			}
			free = r.slotsOf(list[0], uid)
		}
		select {
		case free <- struct{}{}:
			p := list[0]
			list = list[1:]
			key := heldBy{proc, file, p.pid}
			r.mark(key, true)
			asked++
			go func() {
				seen := find(readSome(filepath.Join(proc, strconv.Itoa(p.pid), file)))
				r.mark(key, false)
				<-free
				answers <- answer{p.pid, seen}
			}()
		case a := <-answers:
			asked--
			if a.seen != "" {
				found[a.pid] = a.seen
			}
		case <-limit.C:
			return found
		}
	}
	return found
}

// slotsOf: nobody can hold up what was root's from the start.
func (r *procReads) slotsOf(p process, uid int) chan struct{} {
	if p.uid == 0 {
		uid = 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.slots[uid] == nil {
		r.slots[uid] = make(chan struct{}, maxHeld)
	}
	return r.slots[uid]
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

package main

import (
	"errors"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

// What a command does must not depend on who reads what it says: `jit reconcile | head
// -1` closes its pipe between two endings, and a pipe that nobody empties keeps its writer
// waiting for ever. So a command that has something else to do writes through outlets that
// neither end it nor hold it up. One that only shows something has nothing to lose: there
// a closed pipe ends it, and a full one holds it up, as it does every other program.

const (
	// outletPatience is how long, in all, the writes to a stream wait for it to take what
	// they write. Nearly always it does at once, and what is said on two streams stands in
	// the order in which it was said.
	outletPatience = time.Second
	// lastPatience is how long a command that is done waits for what was not taken yet.
	lastPatience = 3 * time.Second
	// maxHeld bounds what is held for a stream, in bytes, but for one longer text.
	maxHeld = 1 << 20
)

// outlet is the way to one of the program's streams.
type outlet struct {
	to io.Writer

	mu sync.Mutex
	// unhindered says that the command has something to do besides writing: a write waits
	// no longer than patience, and gives no error.
	unhindered bool
	patience   time.Duration
	held       [][]byte
	size       int           // of what is held, and being written
	taken      chan struct{} // closed when all is taken; nil where nothing is under way
	lost       int           // bytes, since they were last told of
	err        error         // the first since then
}

// newOutlet gives the way to a stream. Until unhinder it is the stream itself.
func newOutlet(to io.Writer) *outlet { return &outlet{to: to} }

// unhinder makes the outlet one that does not hold up its writers.
func (o *outlet) unhinder() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unhindered, o.patience = true, outletPatience
}

// renew gives the writers their patience back, where the stream has taken all.
func (o *outlet) renew() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.taken == nil {
		o.patience = outletPatience
	}
}

// Write implements [io.Writer]. Where the command has something else to do there is no
// error: the end of the command tells of it.
func (o *outlet) Write(p []byte) (int, error) {
	o.mu.Lock()
	if !o.unhindered {
		o.mu.Unlock()
		return o.through(p)
	}
	if o.size > 0 && o.size+len(p) > maxHeld {
		o.lost += len(p)
		o.mu.Unlock()
		return len(p), nil
	}
	o.held, o.size = append(o.held, slices.Clone(p)), o.size+len(p)
	if o.taken == nil {
		o.taken = make(chan struct{})
		go o.pump(o.taken)
	}
	taken, patience := o.taken, o.patience
	o.mu.Unlock()
	if patience > 0 {
		began := time.Now()
		await(taken, patience)
		o.mu.Lock()
		o.patience -= time.Since(began)
		o.mu.Unlock()
	}
	return len(p), nil
}

// through writes to the stream itself. The runtime ends a program whose standard streams
// are closed only while nobody asks for the signal, which main does.
func (o *outlet) through(p []byte) (int, error) {
	n, err := o.to.Write(p)
	if errors.Is(err, syscall.EPIPE) {
		signal.Reset(syscall.SIGPIPE)
		n, err = o.to.Write(p) // nothing is read: the second ends the program
	}
	if err != nil {
		o.mu.Lock()
		o.fail(err, 0)
		o.mu.Unlock()
	}
	return n, err
}

// pump writes what is held until nothing is.
func (o *outlet) pump(taken chan struct{}) {
	for {
		o.mu.Lock()
		if len(o.held) == 0 {
			o.taken = nil
			close(taken)
			o.mu.Unlock()
			return
		}
		next := o.held[0]
		o.held = o.held[1:]
		o.mu.Unlock()
		n, err := o.to.Write(next)
		o.mu.Lock()
		o.size -= len(next)
		if err != nil {
			o.fail(err, len(next)-n)
		}
		o.mu.Unlock()
	}
}

// fail notes what went wrong. The lock is held.
func (o *outlet) fail(err error, lost int) {
	o.lost += lost
	if o.err == nil {
		o.err = err
	}
}

// settle waits until all is taken, at most for a while.
func (o *outlet) settle(most time.Duration) {
	o.mu.Lock()
	taken := o.taken
	o.mu.Unlock()
	if taken != nil {
		await(taken, most)
	}
}

// missed gives what was not written since it was last asked, and at the end of a command
// what is still held, as an error; nil where all was.
func (o *outlet) missed(atEnd bool) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	lost, err := o.lost, o.err
	o.lost, o.err = 0, nil
	if atEnd {
		lost += o.size
	}
	switch {
	case err != nil:
		return err
	case lost > 0:
		return fmt.Errorf("nobody reads it, and %d bytes are lost", lost)
	}
	return nil
}

// await waits for done, at most for a while.
func await(done <-chan struct{}, most time.Duration) {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}

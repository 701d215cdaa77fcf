package reconcile

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/jitaccess/jit/internal/owned"
)

// journal is what the reconciler knows of its own doing: a file of JSON lines,
// each synced to disk before the target is touched. A line carries a checksum,
// so that one that was torn by a crash or damaged later is seen, set aside and
// reported, and the others still count.
//
// Its methods may be called by several goroutines.
type journal struct {
	path string

	mu     sync.Mutex
	file   *os.File // nil when it could not be opened for writing
	broken error    // why nothing can be written any more
	// settled says that the folder is synced since the file was opened: its name is on the
	// disk too.
	settled bool
	lines   int
	state   journalState
	// damaged are the lines that were set aside when the file was read.
	damaged [][]byte
}

// sealed is a line of the file.
type sealed struct {
	// Sum is the first sixteen hexadecimal digits of the sha256 of Event.
	Sum   string          `json:"sum"`
	Event json.RawMessage `json:"event"`
}

// journalName is the file in the state folder.
const journalName = "journal.jsonl"

// maxLineBytes bounds a line: a prepared receipt is at most 64 KiB, and grows
// by a third in base 64.
const maxLineBytes = 1 << 20

// maxJournal bounds what is read of it: a million lines. A journal of what is open, and was
// lately, has some for each grant.
const maxJournal = 1 << 28

func sumOf(event []byte) string {
	sum := sha256.Sum256(event)
	return hex.EncodeToString(sum[:8])
}

// openJournal reads the journal at path and opens it for appending. It always
// gives a journal: damage is a list of what was set aside, and a journal that
// cannot be read or written says so when it is asked to record. fresh says that
// there was none, or none whose beginning can be read. Where closed says why nothing is
// recorded, nothing is written, not even the file made.
func openJournal(path string, closed error) (j *journal, fresh bool, damage []error) {
	j = &journal{path: path, state: journalState{grants: map[string]*kept{}}}
	data, err := owned.ReadFile(path, maxJournal)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		j.broken = fmt.Errorf("the journal cannot be read: %w", err)
		return j, false, []error{j.broken}
	}
	damage = j.load(data)
	fresh = len(j.state.begin) == 0
	if closed != nil {
		j.broken = closed
		return j, fresh, damage
	}
	if err := j.openFile(data); err != nil {
		j.broken = fmt.Errorf("the journal cannot be written: %w", err)
		damage = append(damage, j.broken)
	}
	return j, fresh, damage
}

func (j *journal) load(data []byte) (damage []error) {
	r := bufio.NewReader(bytes.NewReader(data))
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		line = bytes.TrimSpace(line)
		if len(line) > 0 {
			j.lines++
			if why := j.take(line); why != nil {
				j.damaged = append(j.damaged, line)
				damage = append(damage, fmt.Errorf("line %d of the journal is damaged and was set aside: %w", n, why))
			}
		}
		if err != nil {
			return damage
		}
	}
}

func (j *journal) take(line []byte) error {
	if len(line) > maxLineBytes {
		return fmt.Errorf("it has %d bytes", len(line))
	}
	var s sealed
	if err := json.Unmarshal(line, &s); err != nil {
		return err
	}
	if sumOf(s.Event) != s.Sum {
		return errors.New("its checksum does not match")
	}
	var e event
	if err := json.Unmarshal(s.Event, &e); err != nil {
		return err
	}
	return j.state.apply(e)
}

func (j *journal) openFile(data []byte) error {
	f, err := openAppend(j.path)
	if err != nil {
		return err
	}
	// A line that a crash tore off must not swallow the next.
	if len(data) > 0 && data[len(data)-1] != '\n' {
		if _, err := f.Write([]byte{'\n'}); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	j.file = f
	return nil
}

// openAppend is a variable so that a test can have a disk that takes nothing.
var openAppend = func(path string) (*os.File, error) {
	return owned.Open(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
}

// record numbers the event, writes it, and returns when it is on the disk. When
// it fails the state is as before, and nothing more can be recorded: what is in
// the file after a failed write is not known.
func (j *journal) record(e event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return j.broken
	}
	e.N = j.state.last + 1
	line, err := seal(e)
	if err != nil {
		return err
	}
	if err := j.write(line); err != nil {
		j.broken = fmt.Errorf("the journal cannot be written: %w", err)
		return j.broken
	}
	j.lines++
	return j.state.apply(e)
}

// write appends a line. The first one waits for the folder too, which may have been made
// for it; a run that records nothing does not.
func (j *journal) write(line []byte) error {
	if err := writeSynced(j.file, line); err != nil || j.settled {
		return err
	}
	err := syncFolder(filepath.Dir(j.path))
	j.settled = err == nil
	return err
}

func seal(e event) ([]byte, error) {
	data, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("write down an event: %w", err)
	}
	line, err := json.Marshal(sealed{Sum: sumOf(data), Event: data})
	if err != nil {
		return nil, fmt.Errorf("write down an event: %w", err)
	}
	return append(line, '\n'), nil
}

func writeSynced(f *os.File, data []byte) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Sync()
}

// err says why nothing can be recorded, or is nil.
func (j *journal) err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.broken
}

// view calls fn with the state, which fn must not keep.
func (j *journal) view(fn func(*journalState)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	fn(&j.state)
}

// compactAt is how many lines of grants that are done with make a rewrite of
// the file worth its while.
const compactAt = 1000

// compact rewrites the file without the grants that done says are done with,
// when there are enough of them.
func (j *journal) compact(atLeast int, done func(*kept) bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return j.broken
	}
	next := journalState{grants: map[string]*kept{}, last: j.state.last}
	var lines bytes.Buffer
	count := 0
	begin := slices.Clone(j.state.begin)
	if e := j.state.renewal; e != nil {
		begin = append(begin, *e)
	}
	for _, e := range begin {
		line, err := seal(e)
		if err != nil {
			return err
		}
		lines.Write(line)
		count++
		if err := next.apply(e); err != nil {
			return err
		}
	}
	for _, k := range j.state.sorted() {
		if done(k) {
			continue
		}
		for _, e := range k.events {
			line, err := seal(e)
			if err != nil {
				return err
			}
			lines.Write(line)
			count++
			if err := next.apply(e); err != nil {
				return err
			}
		}
	}
	if j.lines-count < atLeast {
		return nil
	}
	file, err := replaceFile(j.path, lines.Bytes())
	if err != nil {
		return fmt.Errorf("compact the journal: %w", err)
	}
	_ = j.file.Close() // the old file is no longer the journal
	j.file, j.settled, j.lines, j.state = file, true, count, next
	return nil
}

// replaceFile puts data in the place of the file at path, whole or not at all,
// and gives the new file open for appending.
func replaceFile(path string, data []byte) (_ *os.File, err error) {
	temp := path + ".new"
	f, err := owned.Open(temp, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
			_ = os.Remove(temp) // the cause is more worth telling than this
		}
	}()
	if err := writeSynced(f, data); err != nil {
		return nil, err
	}
	if err := os.Rename(temp, path); err != nil {
		return nil, err
	}
	return f, syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	f := j.file
	j.file, j.broken = nil, io.ErrClosedPipe
	return f.Close()
}

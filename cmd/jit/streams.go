package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"golang.org/x/term"
)

// Streams are the three streams of the process and what is known about them.
// Tests make their own.
type Streams struct {
	In  io.Reader
	Out io.Writer // data
	Err io.Writer // talk
	// InTTY, OutTTY and ErrTTY say which of them are terminals.
	InTTY, OutTTY, ErrTTY bool
	// Width is the number of columns of Out; 80 where it is not known.
	Width int
	// NoColor turns colour off even for a terminal.
	NoColor bool

	// Stop is closed when the person ends the program: a question then has no
	// answer. Nil never is.
	Stop <-chan struct{}

	lines    *bufio.Reader // over In, shared by all prompts
	out, err *Style
	// toOut and toErr are what Out and Err write through; nil where tests made them.
	toOut, toErr *outlet
}

// osStreams are those of this process.
func osStreams() *Streams {
	out, err := newOutlet(os.Stdout), newOutlet(os.Stderr)
	s := &Streams{
		In: os.Stdin, Out: out, Err: err, toOut: out, toErr: err,
		InTTY: isTerminal(os.Stdin), OutTTY: isTerminal(os.Stdout), ErrTTY: isTerminal(os.Stderr),
		Width: defaultColumns,
		// https://no-color.org: present and not empty.
		NoColor: os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb",
	}
	if s.OutTTY {
		s.Width = columnsOf(os.Stdout)
		s.Out = &screen{w: out, columns: func() int { return columnsOf(os.Stdout) }}
	} else if n, ok := columnsSet(); ok {
		s.Width = n
	}
	if s.ErrTTY {
		s.Err = &screen{w: err, columns: func() int { return columnsOf(os.Stderr) }}
	}
	return s
}

// unhinder makes both streams ones that neither end nor hold up who writes to them, Out
// only where something is done besides showing what it is given.
func (s *Streams) unhinder(out bool) {
	if s.toErr == nil {
		return
	}
	// The runtime ends a program that writes to a closed standard stream unless somebody
	// asks for the signal. Ignored, it would stay so in the programs that jit starts.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	s.toErr.unhinder()
	if out {
		s.toOut.unhinder()
	}
}

// renew is told that the command begins something new: its writes may wait again.
func (s *Streams) renew() {
	if s.toErr != nil {
		s.toOut.renew()
		s.toErr.renew()
	}
}

// defaultColumns is the width of a terminal that does not say its own.
const defaultColumns = 80

// columnsOf gives the width of a terminal as it is now. COLUMNS makes lines shorter,
// and never longer than the terminal is wide: it would break them itself.
func columnsOf(f *os.File) int {
	columns, _, err := term.GetSize(int(f.Fd()))
	known := err == nil && columns > 0
	if !known {
		columns = defaultColumns
	}
	if n, ok := columnsSet(); ok && (n < columns || !known) {
		return n
	}
	return columns
}

// columnsSet is the width that the environment asks for.
func columnsSet() (int, bool) {
	n, err := strconv.Atoi(os.Getenv("COLUMNS"))
	return n, err == nil && n > 20 && n < 1000
}

func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// CanAsk reports whether there is a person who sees a question and can answer.
func (s *Streams) CanAsk() bool { return s.InTTY && s.ErrTTY }

// errStopped is given where the person ended the program instead of answering.
var errStopped = errors.New("interrupted")

// orStopped runs read, which waits for a person, and gives errStopped as soon as
// Stop is closed. read may then go on waiting: nothing else may be read.
func (s *Streams) orStopped(read func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}
	select {
	case <-s.Stop:
		return "", errStopped
	default:
	}
	got := make(chan result, 1)
	go func() {
		text, err := read()
		got <- result{text, err}
	}()
	select {
	case <-s.Stop:
		return "", errStopped
	case r := <-got:
		s.renew() // somebody is there
		return r.text, r.err
	}
}

// readLine reads one line of In, without its end. At the end of input it gives
// io.EOF.
func (s *Streams) readLine() (string, error) {
	if s.lines == nil {
		s.lines = bufio.NewReader(s.In)
	}
	line, err := s.orStopped(func() (string, error) { return s.lines.ReadString('\n') })
	if err != nil && line == "" {
		return "", err
	}
	if shown, ok := s.Err.(*screen); ok {
		shown.begun() // the terminal has shown the line end that was typed
	}
	for line != "" && (line[len(line)-1] == '\n' || line[len(line)-1] == '\r') {
		line = line[:len(line)-1]
	}
	return line, nil
}

// readAll reads what is left of In, at most limit bytes and one more.
func (s *Streams) readAll(limit int64) ([]byte, error) {
	r := s.In
	if s.lines != nil {
		r = s.lines
	}
	return io.ReadAll(io.LimitReader(r, limit+1))
}

// OutStyle gives the style of Out.
func (s *Streams) OutStyle() *Style {
	if s.out == nil {
		s.out = newStyle(s.Out, s.OutTTY && !s.NoColor)
	}
	return s.out
}

// ErrStyle gives the style of Err.
func (s *Streams) ErrStyle() *Style {
	if s.err == nil {
		s.err = newStyle(s.Err, s.ErrTTY && !s.NoColor)
	}
	return s.err
}

package testenv

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// Fault is what a [Line] does to each connection.
type Fault struct {
	// Away refuses every connection.
	Away bool
	// Up and Down cut the connection after so many bytes to and from the server;
	// 0 never does.
	Up, Down int64
	// Stall keeps the connection open instead of cutting it, and sends nothing
	// more.
	Stall bool
	// Garble changes every byte from the server after Down instead of cutting.
	Garble bool
}

// Line stands between a client and a server on the loopback interface, and
// breaks as it is told. Its methods may be called by several goroutines.
type Line struct {
	// Addr is where clients connect: host:port.
	Addr string

	server string
	mu     sync.Mutex
	fault  Fault
	up     int64
	down   int64
	open   map[net.Conn]bool
	all    sync.WaitGroup
}

// StartLine listens for connections and passes them on to server, until the test
// ends.
func StartLine(t testing.TB, server string) *Line {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("a line to %s: %v", server, err)
	}
	line := &Line{Addr: l.Addr().String(), server: server, open: map[net.Conn]bool{}}
	line.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			line.all.Go(func() { line.carry(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		line.Set(Fault{Away: true})
		line.all.Wait()
	})
	return line
}

// Set changes the fault, drops what is connected, and begins to count anew.
func (l *Line) Set(f Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault, l.up, l.down = f, 0, 0
	for c := range l.open {
		_ = c.Close()
	}
}

// Carried gives how many bytes went to and from the server since Set.
func (l *Line) Carried() (up, down int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up, l.down
}

func (l *Line) keep(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[c] = true
}

func (l *Line) drop(c net.Conn) {
	_ = c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.open, c)
}

func (l *Line) carry(client net.Conn) {
	l.keep(client)
	defer l.drop(client)
	l.mu.Lock()
	away := l.fault.Away
	l.mu.Unlock()
	if away {
		return
	}
	server, err := net.Dial("tcp", l.server)
	if err != nil {
		return
	}
	l.keep(server)
	defer l.drop(server)
	var both sync.WaitGroup
	both.Go(func() { l.pass(server, client, true) })
	both.Go(func() { l.pass(client, server, false) })
	both.Wait()
}

// pass copies one direction until it ends or breaks. The bytes are counted over
// all connections, so that each place of a conversation of several can be hit.
func (l *Line) pass(to, from net.Conn, up bool) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		part, broken, f := l.take(buf[:n], up)
		if _, e := to.Write(part); e != nil && err == nil {
			err = e
		}
		if broken && f.Stall {
			_, _ = io.Copy(io.Discard, from) // until somebody gives up
		}
		if broken {
			_ = from.Close()
			_ = to.Close()
			return
		}
		if err != nil {
			if half, ok := to.(*net.TCPConn); ok && errors.Is(err, io.EOF) {
				_ = half.CloseWrite()
			}
			return
		}
	}
}

// take counts data and gives what of it still gets through.
func (l *Line) take(data []byte, up bool) (part []byte, broken bool, f Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f = l.fault
	count, limit := &l.down, f.Down
	if up {
		count, limit = &l.up, f.Up
	}
	before := *count
	*count += int64(len(data))
	if limit == 0 || *count <= limit {
		return data, false, f
	}
	whole := max(limit-before, 0)
	if f.Garble && !up {
		for i := whole; i < int64(len(data)); i++ {
			data[i] ^= 0x55
		}
		return data, false, f
	}
	return data[:whole], true, f
}

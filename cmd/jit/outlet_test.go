package main

import (
	"bytes"
	"strings"
	"testing"
)

// gate is a stream that takes nothing until it is opened.
type gate struct {
	open chan struct{}
	got  bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	return g.got.Write(p)
}

// TestOutletHoldsLittle: what nobody reads takes little memory, what is dropped is told,
// and what is held comes in the order in which it was written.
func TestOutletHoldsLittle(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	o := newOutlet(g)
	o.unhinder()
	long := strings.Repeat("x", 2*maxHeld)
	texts := []string{long, "dropped"}
	for _, text := range texts {
		if n, err := o.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatalf("write: %d, %v", n, err)
		}
	}
	if o.size != len(long) {
		t.Errorf("%d bytes are held, want the one long text", o.size)
	}
	if err := o.missed(false); err == nil || !strings.Contains(err.Error(), "7 bytes are lost") {
		t.Errorf("what was dropped is not told: %v", err)
	}
	if err := o.missed(true); err == nil || !strings.Contains(err.Error(), "2097152 bytes are lost") {
		t.Errorf("what is still held at the end is not told: %v", err)
	}
	close(g.open)
	o.settle(lastPatience)
	o.renew()
	for _, text := range []string{"one ", "two ", "three"} {
		_, _ = o.Write([]byte(text))
	}
	o.settle(lastPatience)
	if got, want := g.got.String(), long+"one two three"; got != want {
		t.Errorf("%d bytes came through, want %d in their order", len(got), len(want))
	}
	if err := o.missed(true); err != nil {
		t.Errorf("all was taken: %v", err)
	}
}

// TestOutletBound: many short texts are bounded as one is.
func TestOutletBound(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	defer close(g.open)
	o := newOutlet(g)
	o.unhinder()
	text := make([]byte, 1000)
	for range 2 * maxHeld / len(text) {
		_, _ = o.Write(text)
	}
	if o.size > maxHeld || o.lost == 0 || o.size+o.lost != 2*maxHeld/len(text)*len(text) {
		t.Errorf("%d bytes are held and %d lost", o.size, o.lost)
	}
}

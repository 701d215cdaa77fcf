package gitstore

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// Nobody hands out turns among the writers of a store: there is no server that
// could, and over ssh or http no lock that they share. But each of them sees what
// the others append. From that it estimates how many there are and how long one
// commit takes, and does two things that keep everybody's wait alike:
//
//   - Who has appended lets the others go first before it appends again. It has
//     the newest head, and would win the next race as well.
//   - Who has lost a race pauses, longer while losses are few, for then there is
//     room to spread; and shorter the more others have gone first.
//
// It is a courtesy. What is appended is right without it, by the server's compare
// and swap.
const (
	// crowd bounds how many turns a loser leaves to others, and generous how many
	// a winner does.
	crowd    = 16
	generous = 24
	// fading is how much of an estimate of the others stays after one append: a
	// crowd is forgotten slowly, for a lucky append says little about it.
	fading = 0.95
	// firstPause is about as long as a push to a folder, and the shortest pause.
	firstPause = 25 * time.Millisecond
	// lastPause keeps a waiting person's patience; lastYield is for programs, which
	// alone append again and again.
	lastPause = 10 * time.Second
	lastYield = 30 * time.Second
)

// turns is what one store's process has learnt of the other writers. The zero
// value knows of none.
type turns struct {
	mu     sync.Mutex
	others float64       // how many there seem to be
	each   time.Duration // how long a commit of one of them takes
	next   time.Time     // before it they go first
}

// wait lets the others go first, where this process was the last to append. It
// reports whether it waited.
func (t *turns) wait(ctx context.Context) (bool, error) {
	t.mu.Lock()
	left := time.Until(t.next)
	t.mu.Unlock()
	if left <= 0 {
		return false, nil
	}
	return true, sleep(ctx, left)
}

// won notes that an append is done, after landed commits of others in took.
func (t *turns) won(landed int, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.others = max(float64(landed), t.others*fading)
	// Twice the others seen, for a wait that was short has not met them all; and
	// less for a wait that was long, for it has paid already.
	leave := min(2*t.others-float64(landed)/2, generous)
	if landed > 0 {
		// Only what was waited for tells: an append that met nobody took as long as
		// a connection takes, of which many are under way at once.
		t.each = took / time.Duration(landed+1)
	}
	t.next = time.Now().Add(min(between(time.Duration(leave*float64(t.each))), lastYield))
}

// afterLoss gives the pause after a lost race, the lost-th of an append in which
// landed commits of others have gone first in took.
func afterLoss(lost, landed int, took time.Duration) time.Duration {
	landed = max(landed, 1)
	spread := crowd
	if lost < 4 {
		spread = 1 << lost
	}
	spread = max(min(spread, crowd-landed), 1)
	longest := min(max(took/time.Duration(landed)*time.Duration(spread), firstPause), lastPause)
	return rand.N(longest) + time.Millisecond //nolint:gosec // a pause between tries, no secret
}

// between draws a time between half of d and d: writers that wait alike would
// meet again.
func between(d time.Duration) time.Duration {
	if d < 2 {
		return 0
	}
	return d/2 + rand.N(d/2) //nolint:gosec // a pause between tries, no secret
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// contest is one append among those of others.
type contest struct {
	s     *Store
	begun time.Time
	// first is the head that the remote showed first, and now the last one.
	first, now Hash
	lost       int
	// queued says that those on this machine went one after another.
	queued bool
}

func (s *Store) contest() *contest {
	c := &contest{s: s, begun: time.Now()}
	if head, ok := s.peekPath(); ok {
		c.saw(head)
	}
	return c
}

func (c *contest) saw(tip Hash) {
	if c.first == "" {
		c.first = tip
	}
	c.now = tip
}

// landed counts the commits of others since the contest began, as far as is
// known and up to a number that changes nothing any more.
func (c *contest) landed() int {
	n := 0
	for at := c.now; at != c.first && n < 4*crowd; n++ {
		info, err := c.s.commit(at)
		if err != nil || len(info.parents) == 0 {
			break // not fetched yet, or another history
		}
		at = info.parents[0]
	}
	return n
}

// pause waits after a lost race.
func (c *contest) pause(ctx context.Context) error {
	c.lost++
	return sleep(ctx, afterLoss(c.lost, c.landed(), time.Since(c.begun)))
}

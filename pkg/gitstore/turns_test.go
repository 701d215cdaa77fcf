package gitstore

import (
	"testing"
	"time"
)

func TestWhoMetNobodyWaitsForNobody(t *testing.T) {
	var a turns
	for range 3 {
		a.won(0, time.Second)
	}
	if waited, err := a.wait(t.Context()); waited || err != nil {
		t.Errorf("waited: %v, %v", waited, err)
	}
}

// TestTheOthersGoFirst: the wait grows with the others, is bounded, and is less
// for who has waited already.
func TestTheOthersGoFirst(t *testing.T) {
	left := func(landed int, took time.Duration, before ...int) time.Duration {
		var a turns
		for _, n := range before {
			a.won(n, took)
		}
		begun := time.Now()
		a.won(landed, took)
		return a.next.Sub(begun)
	}
	// Each wait is drawn from half of its longest up.
	if few, many := left(1, time.Second), left(8, 9*time.Second/2); few > many {
		t.Errorf("%v for one other, %v for eight", few, many)
	}
	if d := left(1000, 1000*time.Hour); d > lastYield+time.Second {
		t.Errorf("%v for a thousand", d)
	}
	if lucky, patient := left(0, time.Second, 10), left(40, 41*time.Second, 10); patient >= 2*generous*time.Second || lucky == 0 {
		t.Errorf("lucky %v, patient %v", lucky, patient)
	}
}

// TestOldLosersPauseShorter: spread out at first, then shorter the more others
// have gone first.
func TestOldLosersPauseShorter(t *testing.T) {
	longest := func(lost, landed int) (most time.Duration) {
		for range 2000 {
			most = max(most, afterLoss(lost, landed, time.Duration(landed)*100*time.Millisecond))
		}
		return most
	}
	young, spread, old := longest(1, 1), longest(4, 4), longest(12, 30)
	if young > 201*time.Millisecond || spread < 600*time.Millisecond || spread > 1201*time.Millisecond || old > 101*time.Millisecond {
		t.Errorf("longest pauses: %v after one loss, %v after four, %v after twelve", young, spread, old)
	}
	if d := afterLoss(4, 1, time.Hour); d > lastPause+time.Millisecond {
		t.Errorf("%v", d)
	}
}

package approve

import "testing"

// TestBroughtBackOnce: however many withdrawals merges bring, a decision looks at no more
// of them than there are approvals that they take back, and only at those that stand beside
// it and were not opened on by then.
func TestBroughtBackOnce(t *testing.T) {
	const many = 100
	for name, c := range map[string]struct {
		by     string
		fork   func(tl *timeline) int
		opened bool
		looks  int
		state  State
	}{
		"after what is decided":   {by: "bob", fork: (*timeline).fork, looks: 0, state: Active},
		"beside it":               {by: "bob", fork: func(*timeline) int { return 2 }, looks: 1, state: Pending},
		"beside what was opened":  {by: "bob", fork: func(*timeline) int { return 2 }, opened: true, looks: 0, state: Active},
		"of what does not decide": {by: "carol", fork: func(*timeline) int { return 2 }, looks: 1, state: Active},
	} {
		t.Run(name, func(t *testing.T) {
			tl := newTimeline(t).request(nil, "read")
			tl.approve("carol", 5).approve("bob", 5)
			for range 3 {
				tl.approve("bob", 6)
			}
			if c.by == "bob" {
				tl.withdraw("carol", 4)
			}
			if c.opened {
				tl.opened(7)
			}
			fork := c.fork(tl)
			decided := sight{place: tl.c.Approvals[1].place(), at: at(6)}
			for range many {
				tl.merged(fork).withdraw(c.by, 300)
			}
			v := newVerdict(tl.h, tl.c, []int{0}, at(20))
			if n := len(v.takers(decided)); n != c.looks {
				t.Errorf("%d places are looked at, want %d", n, c.looks)
			}
			tl.state(20, c.state)
		})
	}
}

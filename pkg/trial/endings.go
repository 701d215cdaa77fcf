package trial

import (
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// Ending is a request that a new version ends, or whose approvals must be given
// again.
type Ending struct {
	Request record.ID       `json:"request"`
	By      string          `json:"by"`
	Grants  []request.Grant `json:"grants"`
	State   approve.State   `json:"state"`
	// Ends is when access would end without the new version; zero where it is not
	// decided.
	Ends time.Time `json:"-"`
	// Reason says why it ends, or why it is not decided any more.
	Reason string `json:"reason"`
}

// Endings are what a new version does to requests that are not settled.
type Endings struct {
	// Ended are open or decided and end; Undecided lose approvals, or would not be
	// allowed any more.
	Ended     []Ending `json:"ended"`
	Undecided []Ending `json:"undecided"`
}

// Ends decides each case again, as if the new version came into force next, at
// position, and tells what that changes.
func Ends(h policy.History, next *policy.Policy, position int, cases []approve.Case, now time.Time) Endings {
	all := Endings{Ended: []Ending{}, Undecided: []Ending{}}
	after := append(slices.Clone(h), policy.InForce{Policy: next, Position: position, Since: now, Claimed: now})
	for _, c := range cases {
		was := approve.Decide(h, c, now)
		if was.State.Settled() {
			continue
		}
		is := approve.Decide(after, c, now)
		r := c.Request.Record
		e := Ending{Request: r.ID, By: r.By, Grants: r.Grants, State: was.State, Ends: was.Ends}
		switch {
		case is.State.Settled():
			if is.EndedBy != nil {
				e.Reason = is.EndedBy.Reason
			}
			all.Ended = append(all.Ended, e)
		case was.State != is.State || counted(is) < counted(was):
			e.Reason = "its approvals must be given again"
			if err := firstRefusal(is); err != nil {
				e.Reason = err.Error()
			}
			all.Undecided = append(all.Undecided, e)
		case refused(is) && !refused(was):
			e.Reason = firstRefusal(is).Error()
			all.Undecided = append(all.Undecided, e)
		}
	}
	return all
}

func counted(d approve.Decision) (n int) {
	for _, a := range d.Approvals {
		if a.Counted {
			n++
		}
	}
	return n
}

func firstRefusal(d approve.Decision) error {
	for _, g := range d.Grants {
		if g.Refusal != nil {
			return g.Refusal
		}
	}
	return nil
}

func refused(d approve.Decision) bool { return firstRefusal(d) != nil }

package policy

import (
	"time"
)

// InForce is a policy version with the place from which it counts.
type InForce struct {
	*Policy
	// Position is the number of the commit from which it is in force; the
	// store's first commit is 1.
	Position int
	// Beside is the first position of which the signer of the record that brought it into
	// force, or the side that a merge brought that from, knew nothing; 0 where nothing lies
	// between that and its own.
	Beside int
	// Since is the time that its deciding approval claims. Claimed is the earliest that
	// anybody claims who made it: one of them alone does not choose that.
	Since, Claimed time.Time
}

// History is the succession of versions in force, oldest first. The zero value
// has none.
type History []InForce

// At gives the version in force at a position, or nil before the first.
func (h History) At(position int) *Policy {
	for i := len(h) - 1; i >= 0; i-- {
		if h[i].Position <= position {
			return h[i].Policy
		}
	}
	return nil
}

// Latest gives the newest version, or nil.
func (h History) Latest() *Policy {
	if len(h) == 0 {
		return nil
	}
	return h[len(h)-1].Policy
}

// From gives the version in force at a position, and those that came into force
// after it.
func (h History) From(position int) History {
	for i := len(h) - 1; i >= 0; i-- {
		if h[i].Position <= position {
			return h[i:]
		}
	}
	return h
}

// After gives the versions that came into force after a position.
func (h History) After(position int) History {
	for i, v := range h {
		if v.Position > position {
			return h[i:]
		}
	}
	return nil
}

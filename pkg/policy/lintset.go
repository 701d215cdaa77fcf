package policy

import "math/bits"

// set is a set of small numbers. Sets that are put together have one length.
type set []uint64

func newSet(n int) set { return make(set, (n+63)/64) }

func (s set) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s set) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

// or adds what is in t.
func (s set) or(t set) {
	for i, w := range t {
		s[i] |= w
	}
}

// and keeps what is in t too.
func (s set) and(t set) {
	for i, w := range t {
		s[i] &= w
	}
}

// without gives what is in s and not in t.
func (s set) without(t set) set {
	rest := make(set, len(s))
	for i, w := range s {
		rest[i] = w &^ t[i]
	}
	return rest
}

func (s set) empty() bool {
	for _, w := range s {
		if w != 0 {
			return false
		}
	}
	return true
}

// meets reports whether s and t have something in common.
func (s set) meets(t set) bool { return s.firstWith(t) >= 0 }

// firstWith gives the least that is in s and t; -1 where nothing is.
func (s set) firstWith(t set) int {
	for i, w := range s {
		if w &= t[i]; w != 0 {
			return 64*i + bits.TrailingZeros64(w)
		}
	}
	return -1
}

// within reports whether all of s is in t.
func (s set) within(t set) bool {
	for i, w := range s {
		if w&^t[i] != 0 {
			return false
		}
	}
	return true
}

// all gives the members, in order.
func (s set) all(yield func(int) bool) {
	for i, w := range s {
		for ; w != 0; w &= w - 1 {
			if !yield(64*i + bits.TrailingZeros64(w)) {
				return
			}
		}
	}
}

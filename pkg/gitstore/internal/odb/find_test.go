package odb

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// indexOf makes the index of a pack that holds these names, each at its rank.
func indexOf(names []Name) *pack {
	p := &pack{n: len(names), idx: make([]byte, namesAt, namesAt+len(names)*(nameSize+8))}
	for i, n := range names {
		for b := int(n[0]); b < 256; b++ {
			binary.BigEndian.PutUint32(p.idx[fanoutAt+4*b:], uint32(i+1))
		}
		p.idx = append(p.idx, n[:]...)
	}
	p.idx = append(p.idx, make([]byte, 4*len(names))...)
	for i := range names {
		p.idx = binary.BigEndian.AppendUint32(p.idx, uint32(i))
	}
	return p
}

// TestFind: every name is found where it stands and no other is, however they lie:
// evenly, as hashes do, or all but alike, as somebody may choose them.
func TestFind(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for what, fixed := range map[string]int{"even": 0, "alike in the first byte": 1, "alike in three bytes": 3, "alike in eight": 8, "alike in all but one": nameSize - 1} {
		for _, count := range []int{0, 1, 2, 31, 33, 64, 200, 5000} {
			names := map[Name]bool{}
			for range count {
				var n Name
				for i := range n {
					n[i] = 0xa5
					if i >= fixed {
						n[i] = byte(r.Uint32())
					}
				}
				names[n] = true
			}
			// And some at both ends, far from the others.
			for range count / 20 {
				n := Name{0: byte(r.Uint32() % 2 * 0xff), nameSize - 1: byte(r.Uint32())}
				names[n] = true
			}
			var list []Name
			for n := range names {
				list = append(list, n)
			}
			slices.SortFunc(list, func(a, b Name) int { return slices.Compare(a[:], b[:]) })
			p := indexOf(list)
			for i, n := range list {
				if at, ok := p.find(n); !ok || at != int64(i) {
					t.Fatalf("%s, %d names: name %d is found at %d, %v", what, count, i, at, ok)
				}
				for _, by := range []byte{1, 0xff} {
					other := n
					other[nameSize-1] += by
					if _, ok := p.find(other); ok != names[other] {
						t.Fatalf("%s, %d names: %s is found: %v", what, count, other, ok)
					}
				}
			}
		}
	}
}

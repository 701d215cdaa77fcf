package odb

import (
	"fmt"
	"sync"
)

const (
	// maxChain bounds the deltas on deltas of one object: the most that git
	// makes (pack.depth).
	maxChain = 4095
	// maxBase bounds what a delta rests on, in bytes, whatever it results in.
	// git makes no deltas of larger files than core.bigFileThreshold, which jit
	// sets to a mebibyte; folders may be larger.
	maxBase = 32 << 20
)

// unpack gives the object at a place of a pack, and remembers what others are
// likely to rest on.
func (db *DB) unpack(p *pack, at int64, limit int64) (typ Type, data []byte, err error) {
	defer guard(&err)()
	// Down the chain to something whole, then up again.
	type step struct {
		at   int64
		body []byte
		size int64
	}
	var chain []step
	for {
		if t, known := db.bases.get(p, at); known != nil {
			typ, data = t, known
			break
		}
		e, err := p.entry(at)
		if err != nil {
			return 0, nil, err
		}
		if most := max(limit, maxBase); e.size > most {
			return 0, nil, fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooLarge, e.size, limit)
		}
		if e.typ <= Tag {
			if len(chain) == 0 && e.size > limit {
				return 0, nil, fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooLarge, e.size, limit)
			}
			typ = e.typ
			if data, err = inflate(e.body, e.size); err != nil {
				return 0, nil, err
			}
			if typ != Blob {
				db.bases.put(p, at, typ, data)
			}
			break
		}
		if len(chain) >= maxChain {
			return 0, nil, fmt.Errorf("%w: more than %d deltas on each other", ErrTooLarge, maxChain)
		}
		chain = append(chain, step{at, e.body, e.size})
		if e.typ == refDelta {
			base, ok := p.find(e.name)
			if !ok {
				return 0, nil, fmt.Errorf("%w: its base %s is not in its pack", ErrCorrupt, e.name)
			}
			if base == at {
				return 0, nil, fmt.Errorf("%w: it rests on itself", ErrCorrupt)
			}
			at = base
			continue
		}
		at = e.base
	}
	for i := len(chain) - 1; i >= 0; i-- {
		s := chain[i]
		delta, err := inflate(s.body, s.size)
		if err != nil {
			return 0, nil, err
		}
		most := limit
		if i > 0 {
			most = max(limit, maxBase)
		}
		if data, err = apply(data, delta, most); err != nil {
			return 0, nil, err
		}
		if typ != Blob || i > 0 {
			db.bases.put(p, s.at, typ, data)
		}
	}
	if int64(len(data)) > limit {
		return 0, nil, fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooLarge, len(data), limit)
	}
	return typ, data, nil
}

var errDelta = fmt.Errorf("%w: a delta that leads outside of its base", ErrCorrupt)

// deltaHead reads the two sizes with which a delta begins.
func deltaHead(d []byte) (base, result int64, rest []byte, err error) {
	for _, into := range []*int64{&base, &result} {
		for shift := 0; ; shift += 7 {
			if len(d) == 0 || shift > 56 {
				return 0, 0, nil, errDelta
			}
			c := d[0]
			d = d[1:]
			*into |= int64(c&0x7f) << shift
			if c&0x80 == 0 {
				break
			}
		}
	}
	return base, result, d, nil
}

// apply makes the result of a delta (gitformat-pack(5), "Deltified
// representation"). The result is a new slice.
func apply(base, delta []byte, limit int64) ([]byte, error) {
	from, size, d, err := deltaHead(delta)
	if err != nil {
		return nil, err
	}
	if from != int64(len(base)) {
		return nil, errDelta
	}
	if size > limit {
		return nil, fmt.Errorf("%w: %d bytes, %d are allowed", ErrTooLarge, size, limit)
	}
	out := make([]byte, 0, size)
	for len(d) > 0 {
		op := d[0]
		d = d[1:]
		switch {
		case op&0x80 != 0:
			var offset, n int
			for i := range 4 {
				if op&(1<<i) != 0 {
					if len(d) == 0 {
						return nil, errDelta
					}
					offset |= int(d[0]) << (8 * i)
					d = d[1:]
				}
			}
			for i := range 3 {
				if op&(0x10<<i) != 0 {
					if len(d) == 0 {
						return nil, errDelta
					}
					n |= int(d[0]) << (8 * i)
					d = d[1:]
				}
			}
			if n == 0 {
				n = 0x10000
			}
			if offset > len(base) || n > len(base)-offset || n > int(size)-len(out) {
				return nil, errDelta
			}
			out = append(out, base[offset:offset+n]...)
		case op != 0:
			n := int(op)
			if n > len(d) || n > int(size)-len(out) {
				return nil, errDelta
			}
			out = append(out, d[:n]...)
			d = d[n:]
		default:
			return nil, errDelta
		}
	}
	if int64(len(out)) != size {
		return nil, errDelta
	}
	return out, nil
}

// cacheBytes bounds what is remembered, in bytes: the folders along the path of
// the records that are read, at several depths of their chains.
const cacheBytes = 32 << 20

// bases remembers objects on which others rest, in two generations: when the
// young one is full it becomes the old one, and what is not asked for again goes
// with the next.
type bases struct {
	mu         sync.Mutex
	young, old map[place]base
	size       int
}

type place struct {
	pack *pack
	at   int64
}

type base struct {
	typ  Type
	data []byte
}

func (b *bases) get(p *pack, at int64) (Type, []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := place{p, at}
	if x, ok := b.young[k]; ok {
		return x.typ, x.data
	}
	x, ok := b.old[k]
	if ok {
		b.add(k, x)
	}
	return x.typ, x.data
}

// put remembers data, which nobody changes any more.
func (b *bases) put(p *pack, at int64, typ Type, data []byte) {
	if len(data) > cacheBytes/8 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(place{p, at}, base{typ, data})
}

func (b *bases) add(k place, x base) {
	const overhead = 96
	if b.young == nil || b.size > cacheBytes/2 {
		b.old, b.young, b.size = b.young, make(map[place]base), 0
	}
	b.young[k] = x
	b.size += len(x.data) + overhead
}

func (b *bases) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.young, b.old, b.size = nil, nil, 0
}

package odb

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/jitaccess/jit/internal/owned"
)

// pack is a pack with its index, both mapped.
type pack struct {
	path string // without .pack and .idx
	idx  []byte
	data []byte
	n    int // objects
}

const (
	fanoutAt  = 8
	namesAt   = fanoutAt + 256*4
	nameSize  = len(Name{})
	trailer   = nameSize // checksum at the end of a pack; an index has two
	packHead  = 12
	largeFlag = 1 << 31
)

func openPack(path string) (*pack, error) {
	p := &pack{path: path}
	var err error
	if p.idx, err = mapFile(path + ".idx"); err != nil {
		return nil, err
	}
	if p.data, err = mapFile(path + ".pack"); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if err := p.check(); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: pack %q: %w", ErrCorrupt, path, err), p.close())
	}
	return p, nil
}

// open opens a file of the database, where it is one: what is no regular file is never
// waited for, and no object.
func open(path string) (*os.File, error) {
	f, err := owned.Open(path, os.O_RDONLY, 0)
	if _, irregular := errors.AsType[*owned.Error](err); irregular {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return f, err
}

// mapFile maps a file for reading.
func mapFile(path string) ([]byte, error) {
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 || info.Size() != int64(int(info.Size())) {
		return nil, fmt.Errorf("%w: %q has %d bytes", ErrCorrupt, path, info.Size())
	}
	data, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %q: %w", path, err)
	}
	return data, nil
}

func (p *pack) close() error {
	var errs []error
	for _, m := range []*[]byte{&p.idx, &p.data} {
		if *m != nil {
			errs = append(errs, unix.Munmap(*m))
			*m = nil
		}
	}
	return errors.Join(errs...)
}

// check holds the two files to their form, as far as finding an object relies
// on it.
func (p *pack) check() (err error) {
	defer guard(&err)()
	if len(p.idx) < namesAt+2*trailer || string(p.idx[:8]) != "\xfftOc\x00\x00\x00\x02" {
		return errors.New("its index is not of version 2")
	}
	before := uint32(0)
	for i := range 256 {
		n := binary.BigEndian.Uint32(p.idx[fanoutAt+4*i:])
		if n < before {
			return errors.New("its index is not in order")
		}
		before = n
	}
	p.n = int(before)
	if len(p.idx) < namesAt+p.n*(nameSize+4+4)+2*trailer {
		return errors.New("its index is cut short")
	}
	if len(p.data) < packHead+trailer || string(p.data[:4]) != "PACK" || binary.BigEndian.Uint32(p.data[8:]) != before {
		return errors.New("it is not the pack of its index")
	}
	if version := binary.BigEndian.Uint32(p.data[4:]); version != 2 {
		return fmt.Errorf("it is of version %d", version)
	}
	return nil
}

// guard makes an error of what goes wrong in a mapped file: a disk that cannot
// be read, a file that somebody has cut, or bytes that lead outside of it.
func guard(err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			*err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}
}

// find gives where an object begins in the pack.
func (p *pack) find(n Name) (at int64, ok bool) {
	var err error
	defer guard(&err)()
	lo, hi := 0, int(binary.BigEndian.Uint32(p.idx[fanoutAt+4*int(n[0]):]))
	if n[0] > 0 {
		lo = int(binary.BigEndian.Uint32(p.idx[fanoutAt+4*int(n[0]-1):]))
	}
	lo, hi = p.near(n, lo, hi)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		switch p.compare(mid, n) {
		case 0:
			return p.offset(mid), true
		case -1:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return 0, false
}

// compare says how the name at a place of the index lies to n.
func (p *pack) compare(i int, n Name) int {
	return bytes.Compare(p.idx[namesAt+i*nameSize:namesAt+(i+1)*nameSize], n[:])
}

// near gives a part of lo up to hi that holds n if they do. Names are hashes and lie as
// evenly as chance lets them: n is where its own number points to, within a few dozen names,
// which are a page of memory in place of one for each step of a search. Where somebody has
// chosen names that lie otherwise, it takes a few steps more.
func (p *pack) near(n Name, lo, hi int) (int, int) {
	at := lo + int(uint64(hi-lo)*uint64(binary.BigEndian.Uint32(n[1:]))>>32)
	for step := 32; ; step *= 2 {
		from, to := max(lo, at-step), min(hi, at+step)
		switch {
		case from > lo && p.compare(from, n) > 0:
			hi = from
		case to < hi && p.compare(to, n) <= 0:
			lo = to
		default:
			return from, to
		}
	}
}

// offset gives the place of the i-th object. A large one stands in a table of
// its own.
func (p *pack) offset(i int) int64 {
	small := namesAt + p.n*(nameSize+4)
	v := binary.BigEndian.Uint32(p.idx[small+4*i:])
	if v&largeFlag == 0 {
		return int64(v)
	}
	return int64(binary.BigEndian.Uint64(p.idx[small+4*p.n+8*int(v&^largeFlag):]))
}

// Types of entries that only packs have.
const (
	ofsDelta Type = 6
	refDelta Type = 7
)

// entry is an object's head in a pack.
type entry struct {
	typ  Type
	size int64 // of what is inflated
	base int64 // of an ofsDelta
	name Name  // of a refDelta's base
	body []byte
}

var errOutside = fmt.Errorf("%w: it leads outside of its pack", ErrCorrupt)

func (p *pack) entry(at int64) (e entry, err error) {
	end := int64(len(p.data) - trailer)
	if at < packHead || at >= end {
		return e, errOutside
	}
	b := p.data[at:end]
	c := b[0]
	e.typ, e.size = Type(c>>4&7), int64(c&15)
	i, shift := 1, 4
	for ; c&0x80 != 0; i++ {
		if i >= len(b) || shift > 56 {
			return e, errOutside
		}
		c = b[i]
		e.size |= int64(c&0x7f) << shift
		shift += 7
	}
	switch e.typ {
	case Commit, Tree, Blob, Tag:
	case ofsDelta:
		if i >= len(b) {
			return e, errOutside
		}
		c := b[i]
		i++
		back := int64(c & 0x7f)
		for c&0x80 != 0 {
			if i >= len(b) || back > 1<<48 {
				return e, errOutside
			}
			c = b[i]
			i++
			back = (back+1)<<7 | int64(c&0x7f)
		}
		if e.base = at - back; back == 0 || e.base < packHead {
			return e, errOutside
		}
	case refDelta:
		if i+nameSize > len(b) {
			return e, errOutside
		}
		copy(e.name[:], b[i:])
		i += nameSize
	default:
		return e, fmt.Errorf("%w: an entry of %s", ErrCorrupt, e.typ)
	}
	e.body = b[i:]
	return e, nil
}

// inflater is a reusable zlib reader.
type inflater struct {
	src bytes.Reader
	z   io.ReadCloser
}

var inflaters = sync.Pool{New: func() any { return &inflater{} }}

// inflate gives what body unpacks to, which must be size bytes.
func inflate(body []byte, size int64) ([]byte, error) {
	x := inflaters.Get().(*inflater)
	defer inflaters.Put(x)
	if err := x.begin(body); err != nil {
		return nil, err
	}
	out := make([]byte, size)
	if _, err := io.ReadFull(x.z, out); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	// The end brings the checksum.
	var more [1]byte
	if _, err := io.ReadFull(x.z, more[:]); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: it is longer than it says, or its checksum is wrong", ErrCorrupt)
	}
	return out, nil
}

func (x *inflater) begin(body []byte) (err error) {
	x.src.Reset(body)
	if x.z == nil {
		x.z, err = zlib.NewReader(&x.src)
	} else {
		err = x.z.(zlib.Resetter).Reset(&x.src, nil)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil
}

// size gives an object's size: of a delta, that of its result.
func (p *pack) size(at int64) (size int64, err error) {
	defer guard(&err)()
	e, err := p.entry(at)
	if err != nil || e.typ <= Tag {
		return e.size, err
	}
	x := inflaters.Get().(*inflater)
	defer inflaters.Put(x)
	if err := x.begin(e.body); err != nil {
		return 0, err
	}
	head := make([]byte, min(20, e.size))
	if _, err := io.ReadFull(x.z, head); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	_, size, _, err = deltaHead(head)
	return size, err
}

package gitstore

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/memory"
)

// errStream is a pack that ended before its end.
var errStream = errors.New("the pack broke off")

const (
	// unpackObjects: a pack with fewer is stored as single objects, as git does
	// by default (fetch.unpackLimit), so that years of small fetches do not
	// leave thousands of packs.
	unpackObjects = 100
	// unpackBytes bounds what such a pack holds in memory.
	unpackBytes = 8 << 20
	// streamBytes: a pack that holds a larger object is indexed by the git
	// program where there is one, which does not hold objects in memory.
	streamBytes = 32 << 20
	// maxObject bounds an object that is indexed in this process.
	maxObject = 256 << 20
)

// receive reads the pack that r gives. It is written to a file first, and
// looked through with little memory before anything unpacks it.
func (in *incoming) receive(wait *patience, r io.Reader) error {
	if in.s.o.InMemory {
		return in.hold(r)
	}
	b := bufio.NewReaderSize(r, 1<<16)
	head, err := b.Peek(packHeader)
	if err == nil && binary.BigEndian.Uint32(head[8:]) > maxObjects {
		return fmt.Errorf("%w: the pack has more than %d objects", ErrBadRemote, maxObjects)
	}
	if err == nil && in.s.git != "" && len(in.whole) == 0 && binary.BigEndian.Uint32(head[8:]) >= programFrom {
		// The first fetch of a large store: git indexes what comes as it comes,
		// on all processors.
		if err := in.indexByProgram(wait, io.LimitReader(b, maxPack)); err != nil {
			return fmt.Errorf("storing the pack: %w", err)
		}
		return nil
	}
	return in.receiveSmall(wait, b)
}

const (
	packHeader = 12
	// programFrom is the number of objects from which a first fetch is the git
	// program's work.
	programFrom = 10000
)

// receiveSmall is receive for what this process can look through first.
func (in *incoming) receiveSmall(wait *patience, r io.Reader) error {
	f, err := os.CreateTemp(in.s.o.Dir, ".pack-*")
	if err != nil {
		return err
	}
	defer func() { _ = f.Close(); _ = os.Remove(f.Name()) }()
	n, err := io.Copy(f, io.LimitReader(r, maxPack+1))
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errStream, err)
	case n > maxPack:
		return fmt.Errorf("%w: the pack has more than %d bytes", ErrBadRemote, maxPack)
	}
	objects, total, largest, err := surveyPack(f)
	if err != nil {
		return fmt.Errorf("%w: the pack: %w", ErrBadRemote, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	switch {
	case objects < unpackObjects && total <= unpackBytes:
		in.held = memory.NewStorage()
		err = packfile.UpdateObjectStorage(in.held, bufio.NewReader(f))
	case largest > streamBytes && in.s.git != "":
		err = in.indexByProgram(wait, f)
	case largest > maxObject:
		return fmt.Errorf("%w: the pack holds an object of %d bytes, which needs the git program", ErrBadRemote, largest)
	default:
		err = in.storePack(f)
	}
	if err != nil {
		return fmt.Errorf("storing the pack: %w", err)
	}
	return nil
}

// surveyPack reads a pack's headers: how many objects, how many bytes they make
// when unpacked (a delta counts as its result), and the largest.
func surveyPack(r io.ReadSeeker) (objects int, total, largest int64, err error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return 0, 0, 0, err
	}
	scanner := packfile.NewScanner(r)
	_, count, err := scanner.Header()
	if err != nil {
		return 0, 0, 0, err
	}
	for range count {
		h, err := scanner.NextObjectHeader()
		if err != nil {
			return 0, 0, 0, err
		}
		head := &prefix{}
		size := h.Length
		if _, _, err := scanner.NextObject(head); err != nil {
			return 0, 0, 0, err
		}
		if h.Type.IsDelta() {
			if size, err = deltaTarget(head.data); err != nil {
				return 0, 0, 0, err
			}
		}
		total += size
		largest = max(largest, size, h.Length)
	}
	return int(count), total, largest, nil
}

// prefix keeps the first bytes that are written to it.
type prefix struct{ data []byte }

func (p *prefix) Write(b []byte) (int, error) {
	if room := 32 - len(p.data); room > 0 {
		p.data = append(p.data, b[:min(room, len(b))]...)
	}
	return len(b), nil
}

// deltaTarget reads the size of a delta's result: the second of the two
// numbers with which a delta begins (gitformat-pack(5)).
func deltaTarget(delta []byte) (int64, error) {
	var n int64
	for range 2 {
		n = 0
		shift := 0
		for {
			if len(delta) == 0 || shift > 56 {
				return 0, errors.New("a delta without its sizes")
			}
			b := delta[0]
			delta = delta[1:]
			n |= int64(b&0x7f) << shift
			shift += 7
			if b&0x80 == 0 {
				break
			}
		}
	}
	return n, nil
}

// storePack stores a pack as it is, with an index made in this process.
func (in *incoming) storePack(r io.Reader) error {
	objects, err := in.objects()
	if err != nil {
		return err
	}
	into := filesystem.NewStorageWithOptions(osfs.New(filepath.Dir(objects)), cache.NewObjectLRU(cacheBytes), filesystem.Options{})
	return errors.Join(packfile.UpdateObjectStorage(into, r), into.Close())
}

// indexByProgram stores a pack by `git index-pack`, which reads large objects
// piece by piece.
func (in *incoming) indexByProgram(wait *patience, r io.Reader) error {
	objects, err := in.objects()
	if err != nil {
		return err
	}
	// Its progress shows that it is alive.
	cmd := in.s.command(wait, "--git-dir="+in.s.mirror, "-c", "core.bigFileThreshold=1m", "index-pack", "--stdin", "-v")
	cmd.Env = append(cmd.Env, "GIT_OBJECT_DIRECTORY="+objects)
	talk := &ticker{heard: wait.heard, report: in.s.o.Progress}
	cmd.Stdin, cmd.Stderr = r, talk
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("git index-pack: %w: %s", errors.Join(err, noRoom(talk.String())), plain(talk.String()))
	}
	return nil
}

// Maintenance thresholds: git's own for single objects (gc.auto) and packs
// (gc.autoPackLimit).
const (
	manyLoose = 6700
	manyPacks = 50
)

// Maintain packs the mirror's objects by the git program, when there are many
// single ones or many packs, and there is such a program. Only what is small
// beside the rest is packed again, so that it costs what is new. All objects
// stay, those of histories that the remote dropped included.
func (s *Store) Maintain(ctx context.Context) error {
	if s.git == "" || s.o.InMemory {
		return nil
	}
	// Names are spread evenly: one folder of 256 tells, as in git itself.
	loose, err := filepath.Glob(filepath.Join(s.mirror, "objects", "17", "*"))
	if err != nil {
		return err
	}
	packs, err := filepath.Glob(filepath.Join(s.mirror, "objects", "pack", "*.pack"))
	if err != nil {
		return err
	}
	if len(loose)*256 < manyLoose && len(packs) < manyPacks {
		return nil
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s.log.Info("packing the mirror", "loose", len(loose)*256, "packs", len(packs))
	cmd := s.command(ctx, "--git-dir="+s.mirror, "repack", "--geometric=2", "-d", "--quiet")
	talk := &said{}
	cmd.Stderr = talk
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("git repack: %w: %s", err, plain(talk.String()))
	}
	return s.db.Refresh()
}

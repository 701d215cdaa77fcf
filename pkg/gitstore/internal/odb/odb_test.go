package odb

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jitaccess/jit/internal/testenv"
)

// repo is a real repository.
type repo struct {
	t   testing.TB
	dir string
}

func newRepo(t testing.TB) *repo {
	r := &repo{t, filepath.Join(t.TempDir(), "r.git")}
	r.git(nil, "init", "--quiet", "--bare", r.dir)
	return r
}

func (r *repo) git(in []byte, args ...string) []byte {
	r.t.Helper()
	cmd := exec.Command(testenv.Need(r.t, "git", "git"), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GIT_DIR=" + r.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("git %v: %v", args, err)
	}
	return out
}

func (r *repo) blob(data []byte) Name {
	r.t.Helper()
	return nameFrom(r.t, string(r.git(data, "hash-object", "-w", "--stdin")))
}

func nameFrom(t testing.TB, text string) (n Name) {
	t.Helper()
	if _, err := hex.Decode(n[:], []byte(strings.TrimSpace(text))); err != nil {
		t.Fatal(err)
	}
	return n
}

func (r *repo) open() *DB {
	db := Open(filepath.Join(r.dir, "objects"))
	r.t.Cleanup(func() {
		if err := db.Close(); err != nil {
			r.t.Error(err)
		}
	})
	return db
}

// versions are files of which each changes a little of the one before, so that
// git packs them as deltas on deltas.
func versions(n int) [][]byte {
	dice := rand.New(rand.NewPCG(1, 2))
	text := make([]byte, 4000)
	for i := range text {
		text[i] = byte('a' + dice.IntN(26))
	}
	var all [][]byte
	for range n {
		text = bytes.Clone(text)
		text[dice.IntN(len(text))] = '!'
		all = append(all, text)
	}
	return all
}

func TestReadsWhatGitWrote(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	want := map[Name][]byte{}
	add := func(all [][]byte) {
		for _, data := range all {
			want[r.blob(data)] = data
		}
	}
	add(versions(60))
	add([][]byte{{}, []byte("x"), bytes.Repeat([]byte("long "), 100_000)})
	db := r.open()
	check := func(when string) {
		t.Helper()
		for n, data := range want {
			typ, got, err := db.Read(n, 1<<20)
			if err != nil || typ != Blob || !bytes.Equal(got, data) {
				t.Fatalf("%s: %s: %v, %d bytes of %d: %v", when, n, typ, len(got), len(data), err)
			}
			if size, err := db.Size(n); err != nil || size != int64(len(data)) {
				t.Fatalf("%s: %s has %d bytes, want %d: %v", when, n, size, len(data), err)
			}
		}
	}
	check("single files")
	// Folders, commits and tags too.
	var list strings.Builder
	i := 0
	for n := range want {
		fmt.Fprintf(&list, "100644 blob %s\tf%d\n", n, i)
		i++
	}
	tree := nameFrom(t, string(r.git([]byte(list.String()), "mktree")))
	commit := nameFrom(t, string(r.git(nil, "-c", "user.name=a", "-c", "user.email=b", "commit-tree", "-m", "c", tree.String())))
	r.git(nil, "update-ref", "refs/heads/main", commit.String())
	r.git(nil, "-c", "user.name=a", "-c", "user.email=b", "tag", "-m", "t", "v1", commit.String())
	tag := nameFrom(t, string(r.git(nil, "rev-parse", "refs/tags/v1")))
	for n, typ := range map[Name]Type{tree: Tree, commit: Commit, tag: Tag} {
		got, data, err := db.Read(n, 1<<20)
		if text := r.git(nil, "cat-file", typ.String(), n.String()); err != nil || got != typ || !bytes.Equal(data, text) {
			t.Errorf("%s %s: %v, %v", typ, n, got, err)
		}
	}
	// Packed while it is open: deltas, and the single files are gone.
	r.git(nil, "repack", "-a", "-d", "-f", "-q", "--depth=50", "--window=50")
	r.git(nil, "prune-packed")
	check("packed")
	deltas := 0
	for n := range want {
		_, err := db.inPack(n, func(p *pack, at int64) error {
			e, err := p.entry(at)
			if e.typ == ofsDelta {
				deltas++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if deltas < 40 {
		t.Errorf("only %d objects are deltas: the test shows too little", deltas)
	}
	// New ones beside the pack, then all in another pack.
	add(versions(70)[60:])
	check("beside a pack")
	r.git(nil, "hash-object", "-w", "--stdin")
	r.git([]byte(strings.Repeat("more", 99)), "hash-object", "-w", "--stdin")
	r.git(nil, "repack", "-a", "-d", "-q", "--keep-unreachable")
	r.git(nil, "prune-packed")
	check("in another pack")
	if _, _, err := db.Read(Name{1}, 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("what is not there: %v", err)
	}
	if _, err := db.Size(Name{1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("the size of what is not there: %v", err)
	}
	for n, data := range want {
		if len(data) < 2 {
			continue
		}
		if _, _, err := db.Read(n, int64(len(data))-1); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d bytes, one fewer allowed: %v", len(data), err)
		}
	}
}

// A byte that changed on the disk, and a file that was cut, are never passed off
// as the object, and bring nothing down.
func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	var names []Name
	for _, data := range versions(20) {
		names = append(names, r.blob(data))
	}
	single := r.blob([]byte("a single file"))
	r.git([]byte(strings.Join(text(names), "\n")+"\n"), "pack-objects", "-q", filepath.Join(r.dir, "objects/pack/pack"))
	packs, err := filepath.Glob(filepath.Join(r.dir, "objects/pack/*.pack"))
	if err != nil || len(packs) != 1 {
		t.Fatal(packs, err)
	}
	for _, n := range names {
		if err := os.Remove(loose(r, n)); err != nil {
			t.Fatal(err)
		}
	}
	idx := strings.TrimSuffix(packs[0], ".pack") + ".idx"
	dice := rand.New(rand.NewPCG(3, 4))
	for _, path := range []string{packs[0], idx, loose(r, single)} {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		refused := 0
		for i := range 300 {
			data := bytes.Clone(whole)
			if i%10 == 0 {
				data = data[:dice.IntN(len(data))]
			} else {
				data[dice.IntN(len(data))] ^= byte(1 << dice.IntN(8))
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			db := Open(filepath.Join(r.dir, "objects"))
			for _, n := range append(names, single) {
				typ, got, err := db.Read(n, 1<<20)
				switch {
				case err != nil:
					refused++
				case nameOf(typ, got) != n:
					t.Fatalf("%s: other bytes were given", n)
				}
				_, _ = db.Size(n) // a size is only a size; it must not bring anything down
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if refused == 0 {
			t.Errorf("%s: no damage was seen", filepath.Base(path))
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A pack that is cut while it is mapped is an error, not the end of the process.
func TestCutWhileMapped(t *testing.T) {
	t.Parallel()
	r := newRepo(t)
	var names []Name
	for i := range 200 {
		data := make([]byte, 2000)
		for j := range data {
			data[j] = byte(rand.IntN(256) ^ i)
		}
		names = append(names, r.blob(data))
	}
	r.git([]byte(strings.Join(text(names), "\n")+"\n"), "pack-objects", "-q", filepath.Join(r.dir, "objects/pack/pack"))
	for _, n := range names {
		if err := os.Remove(loose(r, n)); err != nil {
			t.Fatal(err)
		}
	}
	db := r.open()
	if _, _, err := db.Read(names[0], 1<<20); err != nil {
		t.Fatal(err)
	}
	packs, err := filepath.Glob(filepath.Join(r.dir, "objects/pack/*.pack"))
	if err != nil || len(packs) != 1 {
		t.Fatal(packs, err)
	}
	if err := errors.Join(os.Chmod(packs[0], 0o600), os.Truncate(packs[0], 5000)); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, n := range names {
		if _, _, err := db.Read(n, 1<<20); errors.Is(err, ErrCorrupt) {
			refused++
		} else if err != nil {
			t.Errorf("%v", err)
		}
	}
	if refused < 150 {
		t.Errorf("%d objects of 200 could not be read", refused)
	}
}

func text(names []Name) []string {
	var all []string
	for _, n := range names {
		all = append(all, n.String())
	}
	return all
}

func loose(r *repo, n Name) string {
	s := n.String()
	return filepath.Join(r.dir, "objects", s[:2], s[2:])
}

func FuzzApply(f *testing.F) {
	base := []byte("the quick brown fox")
	f.Add(base, []byte{19, 5, 0x90, 5})
	f.Add(base, []byte{19, 3, 3, 'a', 'b', 'c'})
	f.Add(base, []byte{19, 0x80, 0x80, 4, 0x80})
	f.Add(base, []byte{})
	f.Fuzz(func(t *testing.T, base, delta []byte) {
		out, err := apply(base, delta, 1<<20)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTooLarge) {
				t.Errorf("%v", err)
			}
			return
		}
		if _, size, _, err := deltaHead(delta); err != nil || size != int64(len(out)) {
			t.Errorf("%d bytes, the delta says %d: %v", len(out), size, err)
		}
	})
}

// FuzzPack reads every object of a pack whose bytes anybody chose.
func FuzzPack(f *testing.F) {
	r := newRepo(f)
	var names []Name
	for _, data := range versions(6) {
		names = append(names, r.blob(data))
	}
	r.git([]byte(strings.Join(text(names), "\n")+"\n"), "pack-objects", "-q", filepath.Join(r.dir, "objects/pack/pack"))
	packs, err := filepath.Glob(filepath.Join(r.dir, "objects/pack/*.pack"))
	if err != nil || len(packs) != 1 {
		f.Fatal(packs, err)
	}
	data, err := os.ReadFile(packs[0])
	if err != nil {
		f.Fatal(err)
	}
	idx, err := os.ReadFile(strings.TrimSuffix(packs[0], ".pack") + ".idx")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, idx)
	f.Add(data[:40], idx)
	f.Add(data, idx[:1200])
	f.Fuzz(func(t *testing.T, data, idx []byte) {
		p := &pack{data: data, idx: idx}
		if p.check() != nil {
			return
		}
		db := &DB{}
		for i := range min(p.n, 50) {
			var n Name
			copy(n[:], idx[namesAt+i*nameSize:])
			at, ok := p.find(n)
			if !ok {
				continue
			}
			if _, _, err := db.unpack(p, at, 1<<20); err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrTooLarge) {
				t.Errorf("%v", err)
			}
			_, _ = p.size(at)
		}
	})
}

// TestDamagedCopy: of an object that is there more than once, one good copy is enough,
// wherever it lies; and a pack that cannot be opened hides no other.
func TestDamagedCopy(t *testing.T) {
	r := newRepo(t)
	data := bytes.Repeat([]byte("what is kept twice\n"), 50)
	name := r.blob(data)
	loose := filepath.Join(r.dir, "objects", name.String()[:2], name.String()[2:])
	whole, err := os.ReadFile(loose)
	if err != nil {
		t.Fatal(err)
	}
	pack := func(with ...Name) string {
		var list strings.Builder
		for _, n := range with {
			fmt.Fprintln(&list, n)
		}
		id := r.git([]byte(list.String()), "pack-objects", "-q", filepath.Join(r.dir, "objects", "pack", "pack"))
		return filepath.Join(r.dir, "objects", "pack", "pack-"+strings.TrimSpace(string(id)))
	}
	packs := []string{pack(name), pack(name, r.blob([]byte("another")))}
	write := func(path string, data []byte) {
		t.Helper()
		_ = os.Chmod(path, 0o600) // it may be gone
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := func(what string) {
		t.Helper()
		db := r.open()
		if _, got, err := db.Read(name, 1<<20); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
		if size, err := db.Size(name); err != nil || size != int64(len(data)) {
			t.Errorf("%s: %d bytes, %v", what, size, err)
		}
	}
	good("all of them")
	for i, damaged := range packs {
		kept, err := os.ReadFile(damaged + ".pack")
		if err != nil {
			t.Fatal(err)
		}
		broken := bytes.Clone(kept)
		for at := packHead + 2; at < len(broken)-trailer; at++ {
			broken[at] ^= 0x55
		}
		write(loose, nil)
		write(damaged+".pack", broken)
		good(fmt.Sprintf("without the single one and that of pack %d", i))
		write(damaged+".pack", kept)
		index, err := os.ReadFile(damaged + ".idx")
		if err != nil {
			t.Fatal(err)
		}
		write(damaged+".idx", index[:20])
		good(fmt.Sprintf("without the index of pack %d", i))
		write(damaged+".idx", index)
	}
	for _, p := range packs {
		if err := errors.Join(os.Remove(p+".idx"), os.Remove(p+".pack")); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := r.open().Read(name, 1<<20); !errors.Is(err, ErrCorrupt) {
		t.Errorf("no good one: %v", err)
	}
	write(loose, whole)
	good("the single one")
}

package authorizedkeys_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/target"
)

// limit is the size of files in bytes where that is limited: the test's own log stays below.
// much is more than that, of what is not jit's.
const limit = 1 << 20

var much = strings.Repeat("# a line of somebody else's\n", limit/27) + others

// withoutRoom are ways to leave no room for a new file.
var withoutRoom = map[string]func(t *testing.T, dir string) (full, free func()){
	"the disk is full": func(t *testing.T, dir string) (full, free func()) {
		full, free, ok := testenv.SmallDisk(t, dir)
		if !ok {
			t.Log("only root can mount a small disk; with a limit on files the same is tried")
			return nil, nil
		}
		return full, free
	},
	"a limit on files": func(t *testing.T, _ string) (full, free func()) {
		var back func()
		return func() { back = testenv.SmallFiles(t, limit) }, func() { back() }
	},
}

// TestEndsOnAFullDisk: who fills the disk keeps no access. The line is made a comment where
// it stands, no byte of another line changes, and with room again it goes.
func TestEndsOnAFullDisk(t *testing.T) {
	for name, leave := range withoutRoom {
		t.Run(name, func(t *testing.T) {
			dir := folder(t)
			full, free := leave(t, dir)
			if full == nil {
				return
			}
			file := filepath.Join(dir, "keys")
			others := others
			if name == "a limit on files" {
				others = much
			}
			write(t, file, others)
			d, g := open(t, file), grantOf(ed(t), self(t))
			if err := d.Grant(t.Context(), g); err != nil {
				t.Fatal(err)
			}
			before := read(t, file)
			full()
			if err := d.Grant(t.Context(), grantOf(ed(t), self(t))); target.ReasonOf(err) != target.Full || target.HintOf(err) == "" {
				t.Errorf("opening without room: %v", err)
			}
			if got := read(t, file); got != before {
				t.Errorf("what could not be opened has changed the file: %.300q", got)
			}
			for range 2 {
				if e, err := d.Revoke(t.Context(), g, nil); err != nil || e.Standing {
					t.Fatalf("ending without room: %+v, %v", e, err)
				}
				got := read(t, file)
				if !strings.HasPrefix(got, "#jit:ended ") || len(got) != len(before) || !strings.HasSuffix(got, others) {
					t.Errorf("the file is %.300q, and was %.300q", got, before)
				}
			}
			if seen, err := d.Check(t.Context(), g, nil); err != nil || seen.Present || seen.Foreign {
				t.Errorf("%+v, %v", seen, err)
			}
			if listed, err := d.List(t.Context()); err != nil || len(listed) != 0 {
				t.Errorf("%+v, %v", listed, err)
			}
			free()
			if _, err := d.Revoke(t.Context(), g, nil); err != nil || read(t, file) != others {
				t.Errorf("with room again: %v: %.300q", err, read(t, file))
			}
		})
	}
}

// TestEndsAmongOthersOnAFullDisk: of several grants, with several keys each, one ends.
func TestEndsAmongOthersOnAFullDisk(t *testing.T) {
	dir := folder(t)
	full, free, ok := testenv.SmallDisk(t, dir)
	if !ok {
		t.Log("only root can mount a small disk")
		return
	}
	file := filepath.Join(dir, "keys")
	d := open(t, file)
	a, b, c := grantOf(ed(t)+ed(t), self(t)), grantOf(ed(t)+ed(t), self(t)), grantOf(ed(t), self(t))
	for _, g := range []target.Grant{a, b, c} {
		if err := d.Grant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	before := strings.SplitAfter(read(t, file), "\n")
	full()
	// Not even the file of the lock can be made.
	if err := os.Remove(filepath.Join(dir, ".keys.jit-lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Revoke(t.Context(), b, []target.Grant{a, c}); err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.SplitAfter(read(t, file), "\n") {
		switch want := before[i]; {
		case !strings.Contains(want, b.ID):
			if line != want {
				t.Errorf("another's line was %q and is %q", want, line)
			}
		case line != "#jit:ended "+want[len("#jit:ended "):]:
			t.Errorf("the ended line is %q", line)
		}
	}
	for g, want := range map[*target.Grant]bool{&a: true, &b: false, &c: true} {
		if seen, err := d.Check(t.Context(), *g, nil); err != nil || seen.Present != want {
			t.Errorf("%s: %+v, %v", g.ID, seen, err)
		}
	}
	free()
	if _, err := d.Revoke(t.Context(), a, nil); err != nil || read(t, file) != before[0] {
		t.Errorf("%v: %q, want %q", err, read(t, file), before[0])
	}
}

// TestCannotEvenBeStruckOut: as on a file system that writes nothing in place. It fails, says
// what to do, and changes nothing.
func TestCannotEvenBeStruckOut(t *testing.T) {
	file := filepath.Join(folder(t), "keys")
	d, g := open(t, file), grantOf(ed(t), self(t))
	if err := d.Grant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	text := much + "\n" + read(t, file)
	write(t, file, text)
	back := testenv.SmallFiles(t, limit)
	_, err := d.Revoke(t.Context(), g, nil)
	back()
	if target.ReasonOf(err) != target.Full || !strings.Contains(target.HintOf(err), "room") || !strings.Contains(err.Error(), file) {
		t.Errorf("%v", err)
	}
	if got := read(t, file); got != text {
		t.Errorf("the file is %.300q", got)
	}
}

// TestStrikesNothingUnsafe: what is refused with room is refused without.
func TestStrikesNothingUnsafe(t *testing.T) {
	for name, spoil := range map[string]func(file string) error{
		"hard link":     func(file string) error { return os.Link(file, file+"-2") },
		"symbolic link": func(file string) error { return os.Rename(file, file+"-2") },
		"others write":  func(file string) error { return os.Chmod(file, 0o666) },
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(folder(t), "keys")
			write(t, file, much)
			d, g := open(t, file), grantOf(ed(t), self(t))
			if err := d.Grant(t.Context(), g); err != nil {
				t.Fatal(err)
			}
			before := read(t, file)
			if err := spoil(file); err != nil {
				t.Fatal(err)
			}
			if name == "symbolic link" {
				if err := os.Symlink(file+"-2", file); err != nil {
					t.Fatal(err)
				}
			}
			testenv.SmallFiles(t, limit)
			if _, err := d.Revoke(t.Context(), g, nil); target.ReasonOf(err) != target.Unsafe {
				t.Errorf("%v", err)
			}
			if got := read(t, file); got != before {
				t.Errorf("the file is %.300q", got)
			}
		})
	}
}

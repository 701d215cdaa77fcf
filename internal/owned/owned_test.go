package owned

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// reason gives the reason of an error, "" for none, and what it says where it has none.
func reason(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return string(e.Reason)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// do makes what a test needs.
func do(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// TestFolder goes to a folder in a tree in which one thing is spoilt.
func TestFolder(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(t *testing.T, root string)
		at    string // below root; "" for a/b/c
		want  Reason
	}{
		"nothing":                   {func(*testing.T, string) {}, "", ""},
		"itself open":               {func(t *testing.T, root string) { do(t, os.Chmod(root+"/a/b/c", 0o770)) }, "", Writable},
		"itself open, like /tmp":    {func(t *testing.T, root string) { do(t, os.Chmod(root+"/a/b/c", os.ModeSticky|0o777)) }, "", Writable},
		"one above open":            {func(t *testing.T, root string) { do(t, os.Chmod(root+"/a", 0o702)) }, "", Writable},
		"one above open, like /tmp": {func(t *testing.T, root string) { do(t, os.Chmod(root+"/a", os.ModeSticky|0o777)) }, "", ""},
		"one above another's":       {func(t *testing.T, root string) { foreign(t, root+"/a") }, "", Foreign},
		"itself another's":          {func(t *testing.T, root string) { foreign(t, root+"/a/b/c") }, "", Foreign},
		"a file":                    {func(t *testing.T, root string) { do(t, os.WriteFile(root+"/a/f", nil, 0o600)) }, "a/f", Kind},
		"below a file":              {func(t *testing.T, root string) { do(t, os.WriteFile(root+"/a/f", nil, 0o600)) }, "a/f/c", Kind},
		"by a link":                 {func(t *testing.T, root string) { do(t, os.Symlink("a/b", root+"/l")) }, "l/c", ""},
		"by a link up":              {func(t *testing.T, root string) { do(t, os.Symlink("../a/./b", root+"/a/l")) }, "a/l/c", ""},
		"by a link from the root":   {func(t *testing.T, root string) { do(t, os.Symlink(root+"/a", root+"/l")) }, "l/b/c", ""},
		"by a link in an open one": {func(t *testing.T, root string) {
			do(t, os.Mkdir(root+"/o", 0o700), os.Symlink(root+"/a", root+"/o/l"), os.Chmod(root+"/o", 0o777))
		}, "o/l/b/c", Writable},
		"by links that meet an open": {func(t *testing.T, root string) {
			do(t, os.Mkdir(root+"/o", 0o700), os.Symlink(root+"/a", root+"/o/l"), os.Symlink("o/l", root+"/m"), os.Chmod(root+"/o", 0o777))
		}, "m/b/c", Writable},
		"by a link of another's": {func(t *testing.T, root string) {
			do(t, os.Symlink("a", root+"/l"))
			foreign(t, root+"/l")
		}, "l/b/c", Foreign},
		"by links in a circle": {func(t *testing.T, root string) { do(t, os.Symlink("m", root+"/l"), os.Symlink("l", root+"/m")) }, "l/c", Link},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.want == Foreign && os.Geteuid() != 0 {
				t.Log("not root: nothing can be given to somebody else here")
				return
			}
			root := t.TempDir()
			do(t, os.MkdirAll(root+"/a/b/c", 0o700))
			c.spoil(t, root)
			at := c.at
			if at == "" {
				at = "a/b/c"
			}
			got, err := Folder(filepath.Join(root, at))
			if reason(err) != string(c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
			if real, _ := filepath.EvalSymlinks(filepath.Join(root, at)); err == nil && got != real {
				t.Errorf("it is %q, want %q", got, real)
			}
		})
	}
	if _, err := Folder(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
}

// foreign gives something to somebody else.
func foreign(t *testing.T, path string) {
	t.Helper()
	do(t, os.Lchown(path, 65534, 65534))
}

// TestLeading does not judge what is at the end of the path.
func TestLeading(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	do(t, os.WriteFile(root+"/f", nil, 0o600), os.Chmod(root+"/f", 0o666), os.Symlink("f", root+"/l"))
	if got, err := Leading(root + "/l"); err != nil || filepath.Base(got) != "f" {
		t.Errorf("%q, %v", got, err)
	}
	do(t, os.Chmod(root, 0o772))
	if _, err := Leading(root + "/l"); reason(err) != string(Writable) {
		t.Errorf("%v", err)
	}
}

// TestOpen opens what is no file, and must neither wait for it nor follow it.
func TestOpen(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	do(t, os.WriteFile(root+"/file", []byte("twelve bytes"), 0o600), syscall.Mkfifo(root+"/pipe", 0o600), os.Symlink("file", root+"/link"),
		os.Symlink("/dev/zero", root+"/device"), os.Mkdir(root+"/folder", 0o700))
	for name, want := range map[string]string{"file": "", "pipe": string(Kind), "link": string(Link), "device": string(Link), "folder": string(Kind)} {
		for _, flag := range []int{os.O_RDONLY, os.O_RDWR | os.O_CREATE, os.O_WRONLY | os.O_APPEND | os.O_CREATE} {
			f, err := Open(root+"/"+name, flag, 0o600)
			if got := reason(err); got != want {
				t.Errorf("%s, flag %x: %v, want %q", name, flag, err, want)
			}
			if err == nil {
				do(t, f.Close())
			}
		}
	}
	if _, err := Open("/dev/zero", os.O_RDONLY, 0); reason(err) != string(Kind) {
		t.Errorf("a device: %v", err)
	}
	if _, err := ReadFile(root+"/file", 11); reason(err) != string(Large) {
		t.Errorf("%v", err)
	}
	if data, err := ReadFile(root+"/file", 12); err != nil || !strings.HasPrefix(string(data), "twelve") {
		t.Errorf("%q, %v", data, err)
	}
}

// TestLock: one at a time has it, it is waited for no longer than is asked, and what is no
// regular file is none.
func TestLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := Lock(t.Context(), path, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Lock(soon, path, time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second one: %v", err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
	if unlock, err = Lock(t.Context(), path, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	inTurn := make(chan func() error)
	go func() {
		next, err := LockInTurn(path)
		if err != nil {
			t.Error(err)
		}
		inTurn <- next
	}()
	select {
	case <-inTurn:
		t.Fatal("two have it")
	case <-time.After(50 * time.Millisecond):
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
	if err := errors.Join((<-inTurn)(), os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := LockInTurn(path); err == nil {
		t.Error("a pipe is a lock")
	}
	if _, err := Lock(t.Context(), path, time.Millisecond); err == nil {
		t.Error("a pipe is a lock")
	}
}

package authorizedkeys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/jitaccess/jit/internal/full"
	"github.com/jitaccess/jit/internal/owned"
	"github.com/jitaccess/jit/pkg/target"
)

// maxFile bounds the file, in bytes.
const maxFile = 4 << 20

// file is one managed file, by a path whose folders only root, or whoever runs
// jit, can change: that was looked at when it was made, so that nobody can put
// something else in its place.
type file struct{ dir, name string }

func unsafe(hint, format string, a ...any) error {
	return &target.Error{Reason: target.Unsafe, Detail: fmt.Sprintf(format, a...), Hint: hint}
}

// A person who can write the file could add keys for ever, and one who can
// write the folder could have root write elsewhere.
const safeHint = "keep the file in a folder of root's, such as /etc/ssh/authorized_keys.d/%u, and name it in sshd_config's AuthorizedKeysFile"

// openFolder resolves the path and looks at every folder on it.
func openFolder(path string) (file, error) {
	dir, err := owned.Folder(filepath.Dir(path))
	others, bad := errors.AsType[*owned.Error](err)
	switch {
	case bad:
		return file{}, unsafe(safeHint, "folder %q %s", others.Path, others.Detail)
	case errors.Is(err, fs.ErrNotExist):
		return file{}, &target.Error{Reason: target.NotFound, Detail: fmt.Sprintf("folder of %q", path), Hint: "make it: install -d -m 755 " + filepath.Dir(path), Err: err}
	case err != nil:
		return file{}, failed("folder of "+path, err)
	}
	return file{dir: dir, name: filepath.Base(path)}, nil
}

func failed(what string, err error) error {
	reason, hint := target.Failed, ""
	switch {
	case errors.Is(err, fs.ErrPermission):
		reason = target.Privilege
	case full.Is(err):
		reason, hint = target.Full, "make room on its file system"
	}
	return &target.Error{Reason: reason, Detail: what, Hint: hint, Err: err}
}

func (f file) path() string { return filepath.Join(f.dir, f.name) }

// open opens the file and looks at what was opened: others could not have written it, and
// it has no other name. The file is nil where there is none.
func (f file) open(flag int) (*os.File, fs.FileInfo, error) {
	h, err := owned.Open(f.path(), flag, 0)
	others, bad := errors.AsType[*owned.Error](err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil
	case bad:
		return nil, nil, unsafe("put a file in its place", "%q %s", f.path(), others.Detail)
	case err != nil:
		return nil, nil, failed("the managed file", err)
	}
	info, err := f.look(h)
	if err != nil {
		_ = h.Close() // the cause is more worth telling than this
		return nil, nil, err
	}
	return h, info, nil
}

func (f file) look(h *os.File) (fs.FileInfo, error) {
	info, err := h.Stat()
	if err != nil {
		return nil, failed("the managed file", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !owned.Ours(info):
		return nil, unsafe("chown root "+f.path(), "%q belongs to somebody else than root, who could add keys", f.path())
	case info.Mode().Perm()&0o022 != 0:
		return nil, unsafe("chmod go-w "+f.path(), "%q can be written by others (mode %s)", f.path(), info.Mode())
	case st.Nlink != 1:
		return nil, unsafe("make it a file of its own", "%q has another name elsewhere", f.path())
	}
	return info, nil
}

// read gives the lines and what describes the file; both nil where there is
// none.
func (f file) read() ([]string, fs.FileInfo, error) {
	h, info, err := f.open(os.O_RDONLY)
	if h == nil {
		return nil, nil, err
	}
	defer h.Close()
	lines, err := f.lines(h)
	if err != nil {
		return nil, nil, err
	}
	return lines, info, nil
}

func (f file) lines(h *os.File) ([]string, error) {
	data, err := io.ReadAll(io.LimitReader(h, maxFile+1))
	if err != nil {
		return nil, failed("the managed file", err)
	}
	if len(data) > maxFile {
		return nil, unsafe("", "%q is larger than %d bytes", f.path(), maxFile)
	}
	return split(data), nil
}

// lockPatience bounds the waiting for another run of jit.
const lockPatience = 20 * time.Second

// lock keeps other runs of jit away from the file, which wait meanwhile.
func (f file) lock(ctx context.Context) (unlock func() error, err error) {
	within, cancel := most(ctx, lockPatience)
	defer cancel()
	unlock, err = owned.Lock(within, f.lockPath(), 20*time.Millisecond)
	switch {
	case err == nil:
		return unlock, nil
	case within.Err() != nil && ctx.Err() == nil:
		return nil, &target.Error{
			Reason: target.Held, Detail: fmt.Sprintf("another process holds the lock of %q", f.path()),
			Hint: "see whether another run of jit hangs; the next run tries again", Err: err,
		}
	}
	return nil, failed("locking the managed file", err)
}

func (f file) lockPath() string { return filepath.Join(f.dir, "."+f.name+".jit-lock") }

// most ends after a time, and before three quarters of what ctx has left are over: who waits
// for one thing in vain still does the others.
func most(ctx context.Context, patience time.Duration) (context.Context, context.CancelFunc) {
	if end, ok := ctx.Deadline(); ok {
		patience = min(patience, time.Until(end)*3/4)
	}
	return context.WithTimeout(ctx, patience)
}

// edit replaces the lines by what change gives, whole or not at all. Equal lines leave the
// file as it is, but for lines that were struck out earlier. Where no new file can take its
// place (no room, a mount on the file, a folder that cannot be written), lines that are only
// taken out are struck out in the one that there is: that takes no room, and whoever can
// fill the disk shall not keep access by it.
func (f file) edit(ctx context.Context, change func([]string) []string) error {
	unlock, err := f.lock(ctx)
	if err == nil {
		defer func() { _ = unlock() }()
	} else if _, lerr := os.Lstat(f.lockPath()); !errors.Is(lerr, fs.ErrNotExist) {
		return err
	}
	// Where the file of the lock cannot be made nobody holds it. A new file is not
	// written then, for another could be made meanwhile.
	cause := err
	old, info, err := f.read()
	if err != nil {
		return err
	}
	kept := unstruck(old)
	lines := change(kept)
	text := strings.Join(lines, "")
	if text == strings.Join(old, "") {
		return nil
	}
	if cause == nil {
		if cause = f.replace(text, info); cause == nil {
			return nil
		}
	}
	gone, only := takenOut(kept, lines)
	switch {
	case !only:
		return cause
	case len(gone) == 0:
		return nil // nothing but lines that are struck out already
	}
	return f.strike(gone, cause)
}

// strike makes comments of lines, in place. cause is why they could not be taken out.
func (f file) strike(gone []string, cause error) error {
	h, _, err := f.open(os.O_RDWR)
	if h == nil {
		if err != nil {
			err = errors.Join(cause, err)
		}
		return err
	}
	defer h.Close()
	lines, err := f.lines(h)
	if err != nil {
		return err
	}
	var places []int64
	at := int64(0)
	for _, line := range lines {
		if slices.Contains(gone, line) {
			places = append(places, at)
		}
		at += int64(len(line))
	}
	if len(places) == 0 {
		return cause // it was replaced meanwhile
	}
	// One byte is there or not, whenever sshd reads the file and wherever a crash comes.
	if err := overwrite(h, places, struckMark[:1]); err != nil {
		err = errors.Join(cause, err)
		if full.Is(err) {
			return &target.Error{
				Reason: target.Full, Detail: fmt.Sprintf("there is no room for %q without the lines that are to go, and they could not be made comments in place", f.path()),
				Hint: "make room on its file system; the next run takes them out", Err: err,
			}
		}
		return failed(fmt.Sprintf("making comments of the lines of %q that are to go", f.path()), err)
	}
	// The rest only says that the line is jit's to take out later. Without it a comment stays.
	_ = overwrite(h, places, struckMark)
	return nil
}

// overwrite puts text over what stands at some places of a file, and waits for the disk.
func overwrite(h *os.File, places []int64, text string) error {
	for _, at := range places {
		if _, err := h.WriteAt([]byte(text), at); err != nil {
			return err
		}
	}
	return h.Sync()
}

// replace writes a new file beside the old one and renames it over it. The
// names of new files begin alike, so that what a killed run left is found.
func (f file) replace(text string, old fs.FileInfo) (err error) {
	prefix := "." + f.name + ".jit-new-"
	stale, _ := filepath.Glob(filepath.Join(f.dir, prefix+"*"))
	for _, path := range stale {
		_ = os.Remove(path)
	}
	h, err := os.CreateTemp(f.dir, prefix+"*")
	if err != nil {
		return failed("writing beside the managed file", err)
	}
	defer func() {
		if err != nil {
			h.Close()
			os.Remove(h.Name())
			err = failed("replacing the managed file", err)
		}
	}()
	if _, err := h.WriteString(text); err != nil {
		return err
	}
	// sshd reads the file as the account: root's must be readable. Public keys
	// are no secret.
	mode := fs.FileMode(0o600)
	if os.Geteuid() == 0 {
		mode = 0o644
	}
	if old != nil {
		mode = old.Mode().Perm()
		st := old.Sys().(*syscall.Stat_t)
		if err := h.Chown(int(st.Uid), int(st.Gid)); err != nil {
			return err
		}
	}
	if err := h.Chmod(mode); err != nil {
		return err
	}
	if err := h.Sync(); err != nil {
		return err
	}
	if err := h.Close(); err != nil {
		return err
	}
	if err := os.Rename(h.Name(), f.path()); err != nil {
		return err
	}
	d, err := os.Open(f.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

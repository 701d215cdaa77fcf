package authorizedkeys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"

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
	reason := target.Failed
	if errors.Is(err, fs.ErrPermission) {
		reason = target.Privilege
	}
	return &target.Error{Reason: reason, Detail: what, Err: err}
}

func (f file) path() string { return filepath.Join(f.dir, f.name) }

// read gives the lines and what describes the file; both nil where there is
// none.
func (f file) read() ([]string, fs.FileInfo, error) {
	h, err := owned.Open(f.path(), os.O_RDONLY, 0)
	others, bad := errors.AsType[*owned.Error](err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil
	case bad:
		return nil, nil, unsafe("put a file in its place", "%q %s", f.path(), others.Detail)
	case err != nil:
		return nil, nil, failed("the managed file", err)
	}
	defer h.Close()
	info, err := h.Stat()
	if err != nil {
		return nil, nil, failed("the managed file", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !owned.Ours(info):
		return nil, nil, unsafe("chown root "+f.path(), "%q belongs to somebody else than root, who could add keys", f.path())
	case info.Mode().Perm()&0o022 != 0:
		return nil, nil, unsafe("chmod go-w "+f.path(), "%q can be written by others (mode %s)", f.path(), info.Mode())
	case st.Nlink != 1:
		return nil, nil, unsafe("make it a file of its own", "%q has another name elsewhere", f.path())
	}
	data, err := io.ReadAll(io.LimitReader(h, maxFile+1))
	if err != nil {
		return nil, nil, failed("the managed file", err)
	}
	if len(data) > maxFile {
		return nil, nil, unsafe("", "%q is larger than %d bytes", f.path(), maxFile)
	}
	return split(data), info, nil
}

// lockPatience bounds the waiting for another run of jit.
const lockPatience = 20 * time.Second

// edit replaces the lines by what change gives, whole or not at all. Another
// run of jit waits meanwhile. Equal lines leave the file as it is.
func (f file) edit(ctx context.Context, change func([]string) []string) error {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	lock := flock.New(filepath.Join(f.dir, "."+f.name+".jit-lock"), flock.SetPermissions(0o600))
	if ok, err := lock.TryLockContext(ctx, 20*time.Millisecond); !ok || err != nil {
		return failed("locking the managed file", err)
	}
	defer lock.Close()
	old, info, err := f.read()
	if err != nil {
		return err
	}
	lines := change(old)
	if text := strings.Join(lines, ""); text != strings.Join(old, "") {
		return f.replace(text, info)
	}
	return nil
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

package reconcile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// UnsafeError says that somebody else may change, or has made, what the reconciler
// keeps for itself. Nothing opens then; what the journal tells to be over ends.
type UnsafeError struct {
	Path string
	// Detail says what is wrong, Hint what to do.
	Detail, Hint string
}

// Error gives the path, what is wrong and what to do.
func (e *UnsafeError) Error() string { return fmt.Sprintf("%q %s: %s", e.Path, e.Detail, e.Hint) }

// ours reports whether root, or whoever runs jit, owns what info describes.
func ours(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid())
}

// checkOwn refuses what others may write to, or have made; nil where nothing is there.
// A symbolic link is nothing that jit makes.
func checkOwn(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return &UnsafeError{Path: path, Detail: "is a symbolic link", Hint: "put what it leads to in its place"}
	case !ours(info):
		return &UnsafeError{Path: path, Detail: "belongs to somebody else than root and whom jit runs as", Hint: fmt.Sprintf("see what they wrote there; then: chown -R root %q", path)}
	case info.Mode().Perm()&0o022 != 0:
		return &UnsafeError{Path: path, Detail: fmt.Sprintf("can be changed by others (mode %04o)", info.Mode().Perm()), Hint: fmt.Sprintf("see what they wrote there; then: chmod -R go-w %q", path)}
	}
	return nil
}

// checkState closes openings where others could have written the journal, what waits
// to be sent, or the copy of the store.
func (r *run) checkState() {
	for _, name := range []string{"", journalName, "clock", "store"} {
		if err := checkOwn(filepath.Join(r.o.Config.State, name)); err != nil {
			r.problem(fmt.Errorf("nothing new opens: %w", err))
		}
	}
}

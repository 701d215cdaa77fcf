// Package owned looks at who may change a file, or put something else in its place: itself,
// and by way of the folders that lead to it. Others are all but root and whom jit runs as. It
// opens files so that nothing that others may have laid there is waited for or followed.
//
// It imports nothing of this module.
package owned

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Reason is what is wrong with a file or a folder.
type Reason string

// The reasons.
const (
	// Link: it is a symbolic link where none may be, or leads round in a circle.
	Link Reason = "link"
	// Foreign: somebody else than root and whom jit runs as owns it.
	Foreign Reason = "foreign"
	// Writable: others may change it.
	Writable Reason = "writable"
	// Kind: it is no folder, or no regular file.
	Kind Reason = "kind"
	// Large: it is larger than what it is said to be can become.
	Large Reason = "large"
)

// Error says that somebody else may change, or has made, what jit relies on.
type Error struct {
	Path   string
	Reason Reason
	// Detail says what is wrong, Hint what to do.
	Detail, Hint string
}

// Error gives the path, what is wrong and what to do.
func (e *Error) Error() string { return fmt.Sprintf("%q %s: %s", e.Path, e.Detail, e.Hint) }

// Ours reports whether root, or whoever runs jit, owns what info describes.
func Ours(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && (st.Uid == 0 || int(st.Uid) == os.Geteuid())
}

// Same reports whether two files have the same owner.
func Same(a, b fs.FileInfo) bool {
	x, ok := a.Sys().(*syscall.Stat_t)
	y, also := b.Sys().(*syscall.Stat_t)
	return ok && also && x.Uid == y.Uid
}

// othersWrite are the permissions of which one lets others change a file.
const othersWrite = 0o022

// Check refuses what others may change, or have made; nil where nothing is there. A
// symbolic link is refused as nothing that jit makes. The folders that lead to it are not
// looked at: see [Folder].
func Check(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return &Error{path, Link, "is a symbolic link", "put what it leads to in its place"}
	}
	return closed(path, info)
}

// closed refuses what others own or may change.
func closed(path string, info fs.FileInfo) error {
	switch {
	case !Ours(info):
		return &Error{path, Foreign, "belongs to somebody else than root and whom jit runs as", fmt.Sprintf("see what they wrote there; then: chown -R root %q", path)}
	case info.Mode().Perm()&othersWrite != 0:
		return &Error{path, Writable, fmt.Sprintf("can be changed by others (mode %04o)", info.Mode().Perm()), fmt.Sprintf("see what they wrote there; then: chmod -R go-w %q", path)}
	}
	return nil
}

// Folder refuses a folder that others may change, or may put another in the place of: they
// own it, may write to it, or one of those that lead to it. It gives the path without links.
func Folder(path string) (string, error) {
	resolved, info, err := walk(path)
	switch {
	case err != nil:
		return "", err
	case !info.IsDir():
		return "", &Error{resolved, Kind, "is not a folder", "put a folder in its place"}
	}
	return resolved, closed(resolved, info)
}

// Closed refuses whatever others may change, or may put something else in the place of. Links
// are followed. It gives the path without them.
func Closed(path string) (string, error) {
	resolved, info, err := walk(path)
	if err != nil {
		return "", err
	}
	return resolved, closed(resolved, info)
}

// Leading refuses a path at which others may put something else: they own or may write to
// one of the folders that lead to it, or a link on the way. What is at its end is not
// judged. It gives the path without links.
func Leading(path string) (string, error) {
	resolved, _, err := walk(path)
	return resolved, err
}

// maxLinks is how many links are followed on one path: as many as Linux does.
const maxLinks = 40

// walk goes a path from the root, judges each folder before it looks for anything in it, and
// each link before it follows it.
func walk(path string) (at string, info fs.FileInfo, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return "", nil, err
	}
	at, links := string(filepath.Separator), 0
	if info, err = os.Lstat(at); err != nil {
		return "", nil, err
	}
	for rest := split(path); len(rest) > 0; {
		if err := passable(at, info); err != nil {
			return "", nil, err
		}
		name := rest[0]
		rest = rest[1:]
		next := filepath.Join(at, name)
		if info, err = os.Lstat(next); err != nil {
			return "", nil, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", nil, &Error{path, Link, "leads from link to link", "name the file itself"}
		}
		if !Ours(info) {
			return "", nil, &Error{next, Foreign, "is a link of somebody else than root and whom jit runs as", "name the file that it should lead to"}
		}
		leads, err := os.Readlink(next)
		if err != nil {
			return "", nil, err
		}
		if filepath.IsAbs(leads) {
			at = string(filepath.Separator)
		}
		rest = append(split(leads), rest...)
		if info, err = os.Lstat(at); err != nil {
			return "", nil, err
		}
	}
	return at, info, nil
}

// split gives the names in a path. A name of two dots is kept: it is gone by from where the
// links before it have led.
func split(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == filepath.Separator })
}

// passable refuses a folder on the way in which others may put something else in the place
// of what is ours. In a folder like /tmp nobody can rename what is another's.
func passable(path string, info fs.FileInfo) error {
	if !info.IsDir() {
		return &Error{path, Kind, "is not a folder", "put a folder in its place"}
	}
	if Ours(info) && info.Mode()&fs.ModeSticky != 0 {
		return nil
	}
	err := closed(path, info)
	if e, ok := errors.AsType[*Error](err); ok {
		e.Hint = "use a folder that is reached by folders of root's, which others cannot write to, such as one in /var/lib"
	}
	return err
}

// Open opens a regular file. A link is not followed, a pipe not waited for, and a device,
// or whatever else is no file, not read: each is refused with an [*Error].
func Open(path string, flag int, perm fs.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flag|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, perm)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, err // most often what is looked for is elsewhere
		}
		if info, lerr := os.Lstat(path); lerr == nil && !info.Mode().IsRegular() {
			return nil, irregular(path, info)
		}
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = irregular(path, info)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func irregular(path string, info fs.FileInfo) error {
	if info.Mode()&fs.ModeSymlink != 0 {
		return &Error{path, Link, "is a symbolic link", "put what it leads to in its place"}
	}
	return &Error{path, Kind, fmt.Sprintf("is not a regular file (%s)", info.Mode()), "see who put it there, and remove it"}
}

// ReadFile reads a regular file of at most so many bytes: see [Open].
func ReadFile(path string, most int64) ([]byte, error) {
	f, err := Open(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = &Error{path, Large, fmt.Sprintf("is larger than %d bytes", most), "see who wrote it, and remove it"}
	}
	return data, err
}

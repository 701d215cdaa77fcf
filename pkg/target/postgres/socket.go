package postgres

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/jitaccess/jit/internal/owned"
	"github.com/jitaccess/jit/pkg/target"
)

const socketHint = "let the server have its socket in a folder of its own, such as /var/run/postgresql (unix_socket_directories in postgresql.conf), and name that as host"

func unsafeSocket(path, detail string) error {
	return &target.Error{Reason: target.Unsafe, Detail: fmt.Sprintf("the server's socket: folder %q %s", path, detail), Hint: socketHint}
}

// checkSocket refuses a folder in which others may put a socket while the server is down.
// Nothing else tells who answers on one: whoever does may ask for the password in clear, or
// say of any ending that it is done. Whom the folder belongs to is taken for the server's
// user, and so is the group that is that user's own: Debian has mode 2775, postgres and
// postgres. That user may own folders that lead there, too.
func checkSocket(folder string) error {
	at, err := owned.Leading(folder)
	others, bad := errors.AsType[*owned.Error](err)
	if bad && others.Reason == owned.Foreign {
		at, err = filepath.EvalSymlinks(folder)
	} else if bad {
		return unsafeSocket(others.Path, others.Detail)
	}
	var info fs.FileInfo
	if err == nil {
		info, err = os.Lstat(at)
	}
	if err == nil && bad && !leads(others.Path, at, info) {
		return unsafeSocket(others.Path, others.Detail)
	}
	if err != nil {
		return &target.Error{Reason: target.Unreachable, Detail: fmt.Sprintf("the folder of the server's socket, %q", folder), Hint: "look whether the server runs, and where it has its socket", Err: err}
	}
	switch mode := info.Mode().Perm(); {
	case !info.IsDir():
		return unsafeSocket(at, "is not a folder")
	case mode&0o002 != 0:
		return unsafeSocket(at, fmt.Sprintf("can be written to by everybody (mode %04o), so that anybody can answer in the server's place", mode))
	case mode&0o020 != 0 && !ownGroup(info):
		return unsafeSocket(at, fmt.Sprintf("can be written to by a group that is not its owner's own (mode %04o)", mode))
	}
	return nil
}

// leads reports whether the folders from one down to that of the socket are root's, jit's or
// of whom that belongs to, and nobody else may write to them.
func leads(from, folder string, socket fs.FileInfo) bool {
	for at := folder; at != from; {
		up := filepath.Dir(at)
		if up == at {
			return false // it is reached by a link from there
		}
		at = up
		info, err := os.Lstat(at)
		if err != nil || !owned.Ours(info) && !owned.Same(info, socket) || info.Mode().Perm()&0o022 != 0 {
			return false
		}
	}
	return from != folder
}

// ownGroup reports whether the group of a file is the one that its owner has as a user.
func ownGroup(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	owner, err := user.LookupId(strconv.FormatUint(uint64(st.Uid), 10))
	return err == nil && owner.Gid == strconv.FormatUint(uint64(st.Gid), 10)
}

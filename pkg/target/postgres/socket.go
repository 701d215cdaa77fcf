package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/jitaccess/jit/internal/owned"
	"github.com/jitaccess/jit/pkg/target"
)

const socketHint = "let the server have its socket in a folder of its own, such as /var/run/postgresql (unix_socket_directories in postgresql.conf), and name that as host"

func unsafeSocket(path, detail string) error {
	return &target.Error{Reason: target.Unsafe, Detail: fmt.Sprintf("the server's socket: folder %q %s", path, detail), Hint: socketHint}
}

// checkSocket refuses a folder in which others may put a socket while the server is down:
// whoever answers on it may ask for the password in clear, or say of any ending that it is
// done. Whom the folder belongs to is taken for the server's user, whose number it gives, and
// so is the group that is that user's own: Debian has mode 2775, postgres and postgres. That
// user may own folders that lead there, too.
func checkSocket(folder string) (owner uint32, err error) {
	at, err := owned.Leading(folder)
	others, bad := errors.AsType[*owned.Error](err)
	if bad && others.Reason == owned.Foreign {
		at, err = filepath.EvalSymlinks(folder)
	} else if bad {
		return 0, unsafeSocket(others.Path, others.Detail)
	}
	var info fs.FileInfo
	if err == nil {
		info, err = os.Lstat(at)
	}
	if err == nil && bad && !leads(others.Path, at, info) {
		return 0, unsafeSocket(others.Path, others.Detail)
	}
	first := at // of those that may be others'
	if bad {
		first = others.Path
	}
	var makeable bool
	if err == nil {
		makeable, err = anybodys(first)
	}
	if err != nil {
		return 0, &target.Error{Reason: target.Unreachable, Detail: fmt.Sprintf("the folder of the server's socket, %q", folder), Hint: "look whether the server runs, and where it has its socket", Err: err}
	}
	st, known := info.Sys().(*syscall.Stat_t)
	switch mode := info.Mode().Perm(); {
	case !info.IsDir():
		return 0, unsafeSocket(at, "is not a folder")
	case makeable:
		return 0, unsafeSocket(first, fmt.Sprintf("belongs to neither root nor whom jit runs as, and is in %q, where anybody can make one that is missing", filepath.Dir(first)))
	case mode&0o002 != 0:
		return 0, unsafeSocket(at, fmt.Sprintf("can be written to by everybody (mode %04o), so that anybody can answer in the server's place", mode))
	case !known:
		return 0, unsafeSocket(at, "does not say whom it belongs to")
	case mode&0o020 != 0 && !ownGroup(st):
		return 0, unsafeSocket(at, fmt.Sprintf("can be written to by a group that is not its owner's own (mode %04o)", mode))
	}
	return st.Uid, nil
}

// anybodys reports whether a folder is another's in one like /tmp. There nobody can rename
// what is the server's, but whoever comes first after a restart has made it.
func anybodys(folder string) (bool, error) {
	info, err := os.Lstat(folder)
	if err != nil || owned.Ours(info) {
		return false, err
	}
	above, err := os.Lstat(filepath.Dir(folder))
	return err == nil && above.Mode().Perm()&0o022 != 0, err
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

// ownGroup reports whether the group of a folder is its owner's own: the one that the owner
// has as a user, and of the same name. One like users or nogroup many have as theirs.
func ownGroup(folder *syscall.Stat_t) bool {
	gid := strconv.FormatUint(uint64(folder.Gid), 10)
	owner, err := user.LookupId(strconv.FormatUint(uint64(folder.Uid), 10))
	if err != nil || owner.Gid != gid {
		return false
	}
	group, err := user.LookupGroupId(gid)
	return err == nil && group.Name == owner.Username
}

// dialServer connects to a socket and looks who listens there before anything is said: root,
// whom jit runs as, or owner, the user of the server. Of a folder with an access list the
// mode says less than all.
func dialServer(dial pgconn.DialFunc, folder string, owner uint32) pgconn.DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		uid, known, err := listener(conn)
		if err == nil && known && uid != 0 && uid != owner && int64(uid) != int64(os.Geteuid()) {
			err = unsafeSocket(folder, fmt.Sprintf("belongs to user %d, and user %d answers there", owner, uid))
		}
		if err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return conn, nil
	}
}

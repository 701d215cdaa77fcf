package postgres

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// listener asks the kernel as which user the process ran that began to listen on a socket
// (unix(7), SO_PEERCRED).
func listener(conn net.Conn) (uid uint32, known bool, err error) {
	on, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, false, fmt.Errorf("a connection to %v is not one to a socket", conn.RemoteAddr())
	}
	raw, err := on.SyscallConn()
	if err != nil {
		return 0, false, err
	}
	var peer *unix.Ucred
	var asked error
	if err := raw.Control(func(fd uintptr) {
		peer, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, false, err
	}
	if asked != nil {
		return 0, false, fmt.Errorf("who answers on the server's socket: %w", asked)
	}
	return peer.Uid, true, nil
}

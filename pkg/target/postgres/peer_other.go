//go:build !linux

package postgres

import "net"

// listener says that this system is not asked who listens on a socket.
func listener(net.Conn) (uid uint32, known bool, err error) { return 0, false, nil }

// Package full tells an error for want of room, on a file system or under a limit on
// files, from all others.
//
// It imports nothing of this module.
package full

import (
	"errors"
	"syscall"
)

// causes are what the system says where a file can take no more: the file system is full,
// the owner's share of it is used up, or a file may be no larger (RLIMIT_FSIZE).
var causes = []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}

// Is reports whether err is for want of room.
func Is(err error) bool {
	for _, cause := range causes {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

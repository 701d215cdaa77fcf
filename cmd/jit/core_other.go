//go:build !linux

package main

import "golang.org/x/sys/unix"

// leaveNoCore keeps a crash from writing what is in memory, keys and passphrases among
// it, to the disk.
func leaveNoCore() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) }

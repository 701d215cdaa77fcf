//go:build !linux

package main

import (
	"os/exec"
	"syscall"
)

// maxResident runs a command and gives the largest resident size of its
// process, in MiB.
func maxResident(cmd *exec.Cmd) (float64, error) {
	if err := cmd.Run(); err != nil {
		return 0, err
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, nil
	}
	return float64(usage.Maxrss) / (1 << 20), nil // in bytes on macOS
}

//go:build !linux

package main

import (
	"os"
	"syscall"
)

// maxResident gives the largest resident size of an ended process, in MiB.
func maxResident(p *os.ProcessState) float64 {
	usage, ok := p.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	return float64(usage.Maxrss) / (1 << 20) // in bytes on macOS
}

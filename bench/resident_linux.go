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
	return float64(usage.Maxrss) / 1024 // getrusage(2): in kilobytes
}

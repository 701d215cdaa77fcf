package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// maxResident runs a command and gives the largest resident size of its
// process, in MiB. What the system counts for an ended child is no less than its
// parent's size when it was started, so the kernel is asked while it runs
// (proc(5), VmHWM).
func maxResident(cmd *exec.Cmd) (float64, error) {
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	most := 0.0
	for {
		if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid)); err == nil {
			if m := highWater.FindSubmatch(data); m != nil {
				if kib, err := strconv.ParseFloat(string(m[1]), 64); err == nil {
					most = kib / 1024 // of the newest image: before it was started, its parent's
				}
			}
		}
		select {
		case err := <-ended:
			return most, err
		case <-time.After(200 * time.Microsecond):
		}
	}
}

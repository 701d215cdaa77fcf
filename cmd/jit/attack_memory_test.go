package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"
)

// attackMemory is the most memory, in MiB, that jit may need for what is thrown at it,
// with the programs that it runs. Under the race detector it takes several times as
// much.
const (
	attackMemory     = 300
	attackMemoryRace = 1600
)

// attackBounded runs a program and wants its exit code, and that no more memory was in
// use at any time than an attack may take:
//
//	attack-tool bounded CODE PROGRAM ARGS...
func attackBounded(code string, args []string) error {
	want, err := strconv.Atoi(code)
	if err != nil {
		return err
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		return err
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		return fmt.Errorf("%v: exit code %d, want %d", args, got, want)
	}
	most := int64(attackMemory)
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		most = attackMemoryRace
	}
	// What the kernel has counted, for the program and those that it waited for.
	used := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss / 1024
	fmt.Printf("%d MiB at most\n", used)
	if used > most {
		return fmt.Errorf("%v needed %d MiB, more than %d", args, used, most)
	}
	return nil
}

package main

import (
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/jitaccess/jit/pkg/gitstore"
)

// kept are the variables that a reconciler does not forget: where its configuration is,
// how to show things, and how systemd is told of its state.
var kept = []string{"JIT_CONFIG", "TZ", "LANG", "TERM", "NO_COLOR", "COLUMNS", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}

// scrub makes a reconciler forget the environment that it was started with, so that
// nothing in it says what is trusted or run: no library and no driver can be told of
// other servers, certificates, time zones or programs.
func scrub() error {
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); !slices.Contains(kept, name) {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}
	if err := os.Setenv("PATH", gitstore.SafePath); err != nil {
		return err
	}
	// A core file of what it starts would hold what it was given.
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}

package authorizedkeys

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/jitaccess/jit/pkg/target"
)

// writable asks the system whether jit may make files in dir, without making
// one.
func writable(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return &target.Error{Reason: target.Privilege, Detail: fmt.Sprintf("folder %q cannot be written", dir), Hint: "run jit reconcile as its owner", Err: err}
	}
	return nil
}

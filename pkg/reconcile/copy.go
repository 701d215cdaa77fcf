package reconcile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/jitaccess/jit/internal/owned"
	"github.com/jitaccess/jit/pkg/gitstore"
)

// What a run opens in its state folder, beside the objects of the mirror. The mirror's
// configuration is never written anew but when the store has moved.
var (
	keptFolders = []string{
		"", storeName, storeName + "/spool", storeName + "/mirror.git", storeName + "/mirror.git/objects",
		storeName + "/mirror.git/objects/pack", storeName + "/mirror.git/refs/jit",
	}
	keptFiles = []string{
		journalName, clockName, lockName,
		storeName + "/checkpoint", storeName + "/checkpoint.lock", storeName + "/lock", storeName + "/replica.lock", storeName + "/fetched",
		storeName + "/ledger.db", storeName + "/ledger.db-wal", storeName + "/ledger.db-shm", storeName + "/ledger.db-journal",
		storeName + "/mirror.git/config", storeName + "/mirror.git/refs/jit/whole", storeName + "/mirror.git/refs/jit/checkpoint",
	}
)

// maxFaults bounds what is named of a folder that is not jit's at all.
const maxFaults = 20

// CheckCopy names what of the state folder a run of whoever asks could not use, so that it
// would read the store into memory and open nothing. It only reads. Whether the history is
// whole is another question: see [gitstore.CheckMirror].
func CheckCopy(ctx context.Context, c Config) (faults []error) {
	state, err := os.Lstat(c.State)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	look := func(path string, dir bool, mode uint32) {
		if err := usable(path, dir, mode, state); err != nil && len(faults) < maxFaults {
			faults = append(faults, err)
		}
	}
	for _, name := range keptFolders {
		look(filepath.Join(c.State, name), true, unix.R_OK|unix.W_OK|unix.X_OK)
	}
	for _, name := range keptFiles {
		look(filepath.Join(c.State, name), false, unix.R_OK|unix.W_OK)
	}
	mirror := filepath.Join(c.State, storeName, "mirror.git")
	for _, pattern := range []string{filepath.Join(c.State, storeName, "spool", "*.json"), filepath.Join(mirror, "objects", "??", "*"), filepath.Join(mirror, "objects", "pack", "*")} {
		names, _ := filepath.Glob(pattern) // the pattern is a good one
		for _, name := range names {
			look(name, false, unix.R_OK)
		}
	}
	s, err := gitstore.Open(ctx, gitstore.Options{Dir: filepath.Join(c.State, storeName), URL: c.Store.URL, Branch: c.Store.Branch, Isolated: true, InMemory: true})
	if err == nil {
		err = errors.Join(s.Unusable(), s.Close())
	}
	if err != nil && !slices.ContainsFunc(faults, func(f error) bool { return errors.Is(err, fs.ErrPermission) && errors.Is(f, fs.ErrPermission) }) {
		faults = append(faults, err)
	}
	return faults
}

// usable refuses what is of another kind than it should be, what may not be read or
// written, and what root passes over though whom jit runs as could not; nil where nothing
// is there.
func usable(path string, dir bool, mode uint32, state fs.FileInfo) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case dir && !info.IsDir():
		return fmt.Errorf("%q is not a folder (%s)", path, info.Mode())
	case !dir && !info.Mode().IsRegular():
		return fmt.Errorf("%q is not a regular file (%s)", path, info.Mode())
	case !owned.Same(info, state):
		return fmt.Errorf("%q belongs to another than the state folder does: chown it", path)
	}
	if err := unix.Access(path, mode); err != nil {
		return fmt.Errorf("%q may not be used by whom jit runs as (mode %04o): %w", path, info.Mode().Perm(), err)
	}
	return nil
}

package replica

import (
	"errors"
	"os"
	"path/filepath"
)

// writeSynced writes a file so that after a crash it is there whole or not at
// all: a temporary file beside it, synced, renamed, and the folder synced.
func writeSynced(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(tmp.Name()))
		}
	}()
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	if err = os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return nil // the file stands; only its folder could not be synced
	}
	_ = folder.Sync() // some file systems cannot sync a folder
	return folder.Close()
}

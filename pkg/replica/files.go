package replica

import (
	"errors"
	"os"
	"path/filepath"
)

// writeSynced puts data at path, all of it or nothing, so that it is there after a
// crash too.
func writeSynced(path string, data []byte) error {
	if err := replace(path, data, (*os.File).Sync); err != nil {
		return err
	}
	// Where the folder cannot be synced, as on some file systems, the file stands.
	if folder, err := os.Open(filepath.Dir(path)); err == nil {
		_ = folder.Sync()
		return folder.Close()
	}
	return nil
}

// writeSoon does the same for what may be lost in a crash.
func writeSoon(path string, data []byte) error {
	return replace(path, data, func(*os.File) error { return nil })
}

func replace(path string, data []byte, settle func(*os.File) error) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".new-*")
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
		err = settle(tmp)
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

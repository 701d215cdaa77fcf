// Command generate writes the vectors into a folder: go generate ./internal/vectors.
// It makes the same bytes each time, and removes what it did not make but README.md.
package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/jitaccess/jit/internal/vectors"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: generate FOLDER")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func write(folder string) error {
	files, err := vectors.Make()
	if err != nil {
		return err
	}
	for path, data := range files {
		name := filepath.Join(folder, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			return err
		}
	}
	return filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		path, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		if path = filepath.ToSlash(path); files[path] == nil && path != "README.md" {
			return os.Remove(name)
		}
		return nil
	})
}

package gitstore

import (
	"fmt"
	"strings"
)

// nameProblem says what is wrong with one part of a path; "" when nothing is.
// The letters are those that every file system and every shell takes as they
// are.
func nameProblem(name string) string {
	switch {
	case name == "" || name == "." || name == "..":
		return "a part that is empty or goes elsewhere"
	case strings.EqualFold(name, ".git") || strings.EqualFold(name, "git~1"):
		return "git's own folder"
	case strings.HasPrefix(name, "-"):
		return "a part that begins with '-'"
	case strings.HasSuffix(name, "."):
		return "a part that ends with a dot"
	}
	for i := range len(name) {
		c := name[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return fmt.Sprintf("the byte %q", c)
		}
	}
	return ""
}

// CheckPath says whether a store may hold a file at path; the error is
// ErrBadPath.
func CheckPath(path string) error {
	limits := Limits{}.orDefault()
	parts := strings.Split(path, "/")
	if len(path) > limits.Path {
		return fmt.Errorf("%w: %q: %d bytes long, %d are allowed", ErrBadPath, path, len(path), limits.Path)
	}
	if len(parts) > limits.Depth {
		return fmt.Errorf("%w: %q: %d parts, %d are allowed", ErrBadPath, path, len(parts), limits.Depth)
	}
	for _, part := range parts {
		if problem := nameProblem(part); problem != "" {
			return fmt.Errorf("%w: %q: %s", ErrBadPath, path, problem)
		}
	}
	return nil
}

func modeName(mode string) string {
	switch mode {
	case "120000":
		return "a symlink"
	case "160000":
		return "a submodule"
	case "100755":
		return "an executable"
	}
	return "mode " + mode
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

package testenv

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// SmallDisk puts an empty disk of 1 MiB in the place of a folder, and gives what fills it to
// the last byte and what makes room again. Where nobody may mount, ok is false.
func SmallDisk(t testing.TB, dir string) (fill, free func(), ok bool) {
	t.Helper()
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=0755")
	if errors.Is(err, syscall.EPERM) {
		return nil, nil, false
	}
	if err != nil {
		t.Fatalf("a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("the small disk: %v", err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	fill = func() {
		t.Helper()
		f, err := os.Create(ballast)
		for block := make([]byte, 4096); err == nil; {
			_, err = f.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("the small disk could not be filled: %v", err)
		}
		_ = f.Close()
	}
	free = func() {
		t.Helper()
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
	}
	return fill, free, true
}

// SmallFiles lets this process write no file beyond so many bytes until the test ends, or
// what it gives is called: as `ulimit -f` does.
func SmallFiles(t testing.TB, bytes uint64) (back func()) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	set := func(to syscall.Rlimit) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &to); err != nil {
			t.Fatal(err)
		}
	}
	set(syscall.Rlimit{Cur: bytes, Max: before.Max})
	t.Cleanup(func() { set(before) })
	return func() { set(before) }
}

package full

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"testing"
)

func TestIs(t *testing.T) {
	for want, causes := range map[bool][]error{
		true: {
			syscall.ENOSPC, &fs.PathError{Op: "write", Path: "x", Err: syscall.EDQUOT}, fmt.Errorf("the journal: %w", syscall.EFBIG),
			errors.Join(io.EOF, syscall.ENOSPC),
		},
		false: {nil, io.EOF, syscall.EIO, syscall.EROFS, fs.ErrPermission, errors.New("no space left on device")},
	} {
		for _, err := range causes {
			if Is(err) != want {
				t.Errorf("%v: want %v", err, want)
			}
		}
	}
}

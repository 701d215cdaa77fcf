package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/jitaccess/jit/pkg/gitstore"
)

// NewFile is a file that is not in the store yet.
type NewFile struct {
	Path string
	Data []byte
}

// Try judges files as if the next commit brought them together with those in
// before, and changes nothing. The error is the reason for which one of files,
// not of before, would be set aside: see [ReasonOf]. What is refused here would
// have no effect in any ledger.
func (l *Ledger) Try(ctx context.Context, before, files []NewFile) error {
	src := memory{}
	tx, f, err := l.folding(ctx, src)
	if err != nil {
		return err
	}
	f.refusals = map[string]error{}
	err = f.one(src.commit(0, l.head, before, files))
	for _, file := range files {
		err = errors.Join(err, f.refusals[file.Path])
	}
	return errors.Join(err, tx.Rollback())
}

// ReasonOf gives the stable code for which something is set aside, or "" where
// err is no such reason.
func ReasonOf(err error) string { return reasonOf(err) }

// memory is a source of blobs that are not in the store.
type memory map[gitstore.Hash][]byte

func (m memory) Walk(context.Context, gitstore.Hash, gitstore.Hash, gitstore.WalkOptions, func(gitstore.Commit) error) error {
	return errors.New("there is no history in memory")
}

func (m memory) ReadBlob(h gitstore.Hash, limit int64) ([]byte, error) {
	data, ok := m[h]
	if !ok {
		return nil, fmt.Errorf("%w: %s", gitstore.ErrNotFound, h)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: %d bytes", gitstore.ErrTooLarge, len(data))
	}
	return data, nil
}

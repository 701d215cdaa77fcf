package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jitaccess/jit/pkg/gitstore"
)

// Ahead makes, in a new file at path, the ledger that this one would be if further
// commits had come, each with some files. What would not count has no effect in it. This
// ledger is left as it is, and the caller closes the other one.
func (l *Ledger) Ahead(ctx context.Context, path string, commits [][]NewFile) (*Ledger, error) {
	if _, err := l.db.ExecContext(ctx, `VACUUM INTO ?`, path); err != nil {
		return nil, damage(err)
	}
	next, err := Open(path, l.identity)
	if err != nil {
		return nil, err
	}
	if err := next.take(ctx, commits); err != nil {
		return nil, errors.Join(err, next.Close())
	}
	return next, nil
}

// Include makes this ledger the one that Ahead would give. It is for one that is thrown
// away, for it is no longer that of a store.
func (l *Ledger) Include(ctx context.Context, commits [][]NewFile) error { return l.take(ctx, commits) }

// take folds commits that are in no store.
func (l *Ledger) take(ctx context.Context, commits [][]NewFile) error {
	src := memory{}
	tx, f, err := l.folding(ctx, src)
	if err != nil {
		return err
	}
	for i, files := range commits {
		if err := f.one(src.commit(i, l.head, files)); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	if err := f.save(); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return damage(err)
	}
	l.state = f.state
	return nil
}

// commit makes the nth commit that is in no store, and keeps what it brings.
func (m memory) commit(n int, parent gitstore.Hash, files ...[]NewFile) gitstore.Commit {
	c := gitstore.Commit{Hash: gitstore.Hash(fmt.Sprintf("next-%d", n)), Parent: parent}
	for i, file := range slices.Concat(files...) {
		blob := gitstore.Hash(fmt.Sprintf("next-%d-%d", n, i))
		m[blob] = file.Data
		c.Inserted = append(c.Inserted, gitstore.File{Path: file.Path, Blob: blob, Size: int64(len(file.Data))})
	}
	return c
}

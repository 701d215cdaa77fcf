package ledger

import (
	"database/sql"
	"errors"
	"slices"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/record"
)

// What stands at a path, and with an id, as far as the history is folded: what counts,
// and what does not, or not yet.

// known gives the blob that holds a path, since it is part of something that
// counts; see gitstore.WalkOptions.
func (f *fold) known(path string) (gitstore.Hash, error) {
	if r, asc, err := f.counted(path); err != nil || r != nil {
		if err != nil {
			return "", err
		}
		if asc {
			return r.asc, nil
		}
		return r.blob, nil
	}
	if f.bulk.noLoose(path) {
		return "", nil
	}
	var held string
	err := f.QueryRow(`SELECT blob FROM loose WHERE path = ? AND holds`, path).Scan(&held)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return gitstore.Hash(held), err
}

// record gives the counted records with an id: one, but where somebody who saw another's
// id before it was on the line took it too.
func (f *fold) record(id record.ID) ([]row, error) {
	if f.bulk.noRecord(id) {
		return nil, nil
	}
	return f.rows(`WHERE r.id = ?`, idBytes(id))
}

// place gives the position of a commit of the folded history; 0 when it is none.
func (f *fold) place(h gitstore.Hash) (int, error) {
	if f.bulk != nil {
		return f.bulk.positionOf(h), nil
	}
	return f.positionOf(h)
}

// counted gives the counted record whose file or signature path is.
func (f *fold) counted(path string) (*row, bool, error) {
	place, err := record.ParsePath(path)
	if err != nil {
		return nil, false, nil //nolint:nilerr // not a record's path, so no record's
	}
	rows, err := f.record(place.ID)
	asc := place.Signature
	place.Signature = false
	i := slices.IndexFunc(rows, func(r row) bool { return r.Path == place.Path() })
	if err != nil || i < 0 {
		return nil, false, err
	}
	return &rows[i], asc, nil
}

// keepLoose remembers a file that is not, or not yet, part of something counted.
func (f *fold) keepLoose(path string, blob gitstore.Hash) error {
	f.bulk.sawLoose(path)
	_, err := f.Exec(`INSERT OR REPLACE INTO loose VALUES (?, ?, 0)`, path, string(blob))
	return err
}

// hold marks a certificate's path as one that counts, with its bytes.
func (f *fold) hold(path string, blob gitstore.Hash) error {
	f.bulk.sawLoose(path)
	_, err := f.Exec(`INSERT OR REPLACE INTO loose VALUES (?, ?, 1)`, path, string(blob))
	return err
}

// lay gives the newest bytes at a path of which something is remembered.
func (f *fold) lay(path string) (blob gitstore.Hash, there bool, err error) {
	if f.bulk.noLoose(path) {
		return "", false, nil
	}
	var text string
	err = f.QueryRow(`SELECT blob FROM loose WHERE path = ?`, path).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return gitstore.Hash(text), err == nil, err
}

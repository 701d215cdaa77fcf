package ledger

import (
	"context"
	"database/sql"
	"errors"
	"strings"

	"github.com/jitaccess/jit/pkg/gitstore"
)

// InBulk makes a ledger fold histories in bulk from so many commits on, and keep
// what is done after so many.
func (l *Ledger) InBulk(from, chunk int) { l.bulkFrom, l.chunk = from, chunk }

// FoldCounting is Fold of a short history that counts how often the records of a key are
// looked through.
func (l *Ledger) FoldCounting(ctx context.Context, src Source, to gitstore.Hash) (looks int, err error) {
	tx, f, err := l.folding(ctx, src)
	if err != nil {
		return 0, err
	}
	f.index = index{lookCounter{f.querier, &looks}}
	if err := f.run(to, oneByOne); err != nil {
		return 0, errors.Join(err, tx.Rollback())
	}
	l.state = f.state
	return looks, tx.Commit()
}

type lookCounter struct {
	querier
	looks *int
}

func (c lookCounter) Query(query string, args ...any) (*sql.Rows, error) {
	if strings.Contains(query, "FROM records r WHERE r.key = ?") {
		*c.looks++
	}
	return c.querier.Query(query, args...)
}

package replica

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
)

// Ahead gives the ledger as it will be when what waits in the spool is sent, where
// something that people signed is among it, and nil where not. It is a copy, which done
// removes. A ledger in memory becomes that itself.
func (r *Replica) Ahead(ctx context.Context) (ahead *ledger.Ledger, done func() error, err error) {
	unlock, err := r.exclusive(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	waiting, err := r.spooled()
	if err != nil || !slices.ContainsFunc(waiting, submission.ofPeople) {
		return nil, nil, err
	}
	var commits [][]ledger.NewFile
	for _, s := range waiting {
		commits = append(commits, s.Files)
	}
	if r.config.InMemory {
		return nil, nil, r.ledger.Include(ctx, commits)
	}
	dir, err := os.MkdirTemp(r.config.Dir, "ahead-")
	if err != nil {
		return nil, nil, err
	}
	ahead, err = r.ledger.Ahead(ctx, filepath.Join(dir, "ledger.db"), commits)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return ahead, func() error { return errors.Join(ahead.Close(), os.RemoveAll(dir)) }, nil
}

// ofPeople reports whether people have signed it, and not this machine.
func (s submission) ofPeople() bool {
	return slices.ContainsFunc(s.Files, func(f ledger.NewFile) bool {
		p, err := record.ParsePath(f.Path)
		if err != nil {
			_, _, err = record.ParseCertificatePath(f.Path)
			return err == nil
		}
		return p.Kind != record.KindReceipt && p.Kind != record.KindHeartbeat
	})
}

// ReadSpooled gives the files in a submission that waits, as the spool of any machine
// keeps it.
func ReadSpooled(data []byte) ([]ledger.NewFile, error) {
	s, err := decodeSubmission(data)
	return s.Files, err
}

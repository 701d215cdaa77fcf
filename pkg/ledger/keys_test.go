package ledger_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"github.com/jitaccess/jit/pkg/ledger"
)

// TestDamagedCertificates: an index whose certificates cannot be read opens, for what is
// open is told without them. Nothing is judged by what is left of them: a key that seems
// unknown for it would set a good record aside for ever.
func TestDamagedCertificates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "ledger.db")
	opened := func() *ledger.Ledger {
		t.Helper()
		l, err := ledger.Open(path, w.identity)
		w.must(err)
		return l
	}
	l := opened()
	_, err := l.Fold(context.Background(), w, w.tip())
	w.must(err)
	before, _ := l.Head()
	w.must(l.Close())

	db, err := sql.Open("sqlite", path)
	w.must(err)
	_, err = db.Exec(`UPDATE certificates SET armor = x'00'`)
	w.must(errors.Join(err, db.Close()))

	w.ask()
	l = opened()
	defer func() { w.must(l.Close()) }()
	if _, err := l.Keyring(); !errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("the keys: %v", err)
	}
	if c, err := l.Certificate(w.certs["bob"].Fingerprint()); c != nil || !errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("a certificate: %v, %v", c, err)
	}
	if _, err := l.Fold(context.Background(), w, w.tip()); !errors.Is(err, ledger.ErrDamaged) {
		t.Errorf("a fold: %v", err)
	}
	if head, _ := l.Head(); head != before {
		t.Errorf("the head moved from %s to %s", before, head)
	}
}

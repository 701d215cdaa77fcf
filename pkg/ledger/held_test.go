package ledger_test

import (
	"testing"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
)

// TestReturnedBytesAreLookedAt: what never counted holds its path against nobody,
// neither for good nor for ill.
func TestReturnedBytesAreLookedAt(t *testing.T) {
	w := newWorld(t)
	r, f := w.request()
	w.refused(w.push(f[0]), ledger.ReasonNoSignature)
	w.refused(w.push(file{f[0].path, "garbage"}), ledger.ReasonNoSignature)
	w.refused(w.push(f[0]), ledger.ReasonNoSignature)
	w.counted(w.push(f[1]), 1)
	w.state(r.ID, approve.Pending)
	w.same()
	w.same(1, 2, 3)
	w.same(3)
}

package ledger

import (
	"testing"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
)

// Of receipts more may stand beside a request than of what people sign, by each key.
func TestBoundReceipts(t *testing.T) {
	all := make([]approve.Placed[receipt.Receipt], MaxReceipts)
	for i := range all {
		all[i].Key = "a"
	}
	if err := roomBeside(all[1:], record.KindReceipt, "a"); err != nil {
		t.Error(err)
	}
	if err := roomBeside(all, record.KindReceipt, "a"); policy.CodeOf(err) != policy.TooManyRecords {
		t.Error(err)
	}
	if err := roomBeside(all, record.KindReceipt, "b"); err != nil {
		t.Error(err)
	}
}

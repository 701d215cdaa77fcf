package reconcile

import (
	"context"
	"fmt"

	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

// healer is this reconciler, where it can sign and the run may change anything.
func (r *run) healer() *replica.Healer {
	if r.o.DryRun || r.signer == nil || r.keepsNothing() {
		return nil
	}
	return &replica.Healer{Name: r.o.Config.Name, Signer: func(context.Context) (record.Signer, error) { return r.signer, nil }}
}

// signAnew signs a receipt on what is verified now, and hands it over.
func (r *run) signAnew(ctx context.Context, d due) error {
	if r.signer == nil {
		return nil // the next run does
	}
	if err := r.prepare(ctx, &d); err != nil {
		r.note(fmt.Errorf("the receipt for grant %s: %w", d.Grant.ID, err))
		return nil
	}
	return r.handOver(ctx, []due{d})
}

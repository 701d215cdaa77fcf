package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
)

// due is a receipt that the journal owes, with its grant.
type due struct {
	kept
	owed
}

// writeReceipts signs what is owed and hands it over in one commit. A receipt
// is signed once: the signed bytes are in the journal before they leave, so
// that a run that is stopped hands over the same ones again, which changes
// nothing, and none is lost. None is signed or sent while a lock holds the reconciler
// back, its key is not good any more, or the state folder is that of others or takes nothing:
// they are kept.
func (r *run) writeReceipts(ctx context.Context) error {
	if r.o.DryRun || r.book == nil || r.barred != nil || r.keepsNothing() {
		r.result.ReceiptsOwed = len(r.due())
		return nil //nolint:nilerr // why nothing counts that is signed is noted already
	}
	var batch []due
	for _, d := range r.due() {
		if r.unwanted(d) {
			continue
		}
		if d.prepared == nil {
			if err := r.prepare(ctx, &d); err != nil {
				r.note(fmt.Errorf("the receipt for grant %s: %w", d.Grant.ID, err))
				continue
			}
		}
		there, err := r.book.Has(d.prepared.ID, record.Sum(d.prepared.Data))
		switch {
		case err != nil:
			r.note(fmt.Errorf("the ledger cannot be read: %w", err))
		case there:
			r.settle(d)
		default:
			batch = append(batch, d)
		}
	}
	reach("prepared")
	if len(batch) > 0 {
		err := r.handOver(ctx, batch)
		for _, d := range batch {
			if len(batch) == 1 || ledger.ReasonOf(err) == "" {
				break
			}
			// One of them would be set aside. It must not keep the others back.
			err = r.handOver(ctx, []due{d})
		}
	}
	r.result.ReceiptsOwed = len(r.due())
	return nil
}

// handOver gives receipts to the store in one commit. The error is nil but
// where one of them would be set aside, and says so.
func (r *run) handOver(ctx context.Context, batch []due) error {
	out := make([]outgoing, 0, len(batch))
	for _, d := range batch {
		out = append(out, *d.prepared)
	}
	subject, trailers := r.message(batch)
	waiting, err := r.book.Submit(ctx, subject, trailers, out)
	switch {
	case err == nil:
	case ledger.ReasonOf(err) == "":
		if r.result.SyncErr == nil {
			r.note(fmt.Errorf("the receipts could not be handed over, and are kept: %w", err))
		}
		return nil
	case len(batch) == 1 && (ledger.ReasonOf(err) == ledger.ReasonHealedHead || ledger.ReasonOf(err) == ledger.ReasonUnknownHead):
		// It was signed on a line that was healed away, or that the store has lost.
		return r.signAnew(ctx, batch[0])
	case len(batch) == 1:
		r.note(fmt.Errorf("the receipt for grant %s does not count: %w", batch[0].Grant.ID, err))
		r.settle(batch[0])
		return err
	default:
		return err
	}
	reach("submitted")
	r.result.ReceiptsWritten += len(out)
	if waiting != nil {
		r.result.ReceiptsSpooled += len(out)
		r.log.Warn("the receipts wait for the store", "count", len(out), "error", waiting)
		switch {
		case ofThisMachine(waiting):
			r.note(fmt.Errorf("the receipts: %w", waiting))
		case r.result.SyncErr == nil:
			r.result.SyncErr = waiting
		}
	}
	for _, d := range batch {
		r.announced = r.announced || d.outcome == receipt.Intended && waiting == nil
		r.settle(d)
	}
	reach("sent")
	return nil
}

// due gives the receipts that are owed, in the order of what they are about.
func (r *run) due() []due {
	var all []due
	r.journal.view(func(s *journalState) {
		for _, k := range s.sorted() {
			for _, o := range k.owed {
				all = append(all, due{*k, *o})
			}
		}
	})
	slices.SortFunc(all, func(a, b due) int { return cmp.Compare(a.event.N, b.event.N) })
	return all
}

// unwanted drops a receipt that would be set aside: the resource is not (any
// more) this reconciler's, or the store does not know the request. It reports
// true as well for one that must wait.
func (r *run) unwanted(d due) bool {
	_, err := r.book.Request(d.Request, r.now())
	switch {
	case err != nil && !errors.Is(err, ledger.ErrNotFound):
		r.note(fmt.Errorf("the ledger cannot be read: %w", err))
		return true
	case err != nil || !r.reconciles(r.policy, d.Grant.Resource):
		if r.synced {
			r.log.Warn("no receipt is written: it would not count", "grant", d.Grant.ID, "outcome", string(d.outcome))
			r.settle(d)
		}
		return true
	}
	return d.prepared == nil && r.signer == nil
}

func (r *run) settle(d due) {
	if err := r.record(event{Kind: sent, Grant: d.Grant.ID, For: []int{d.event.N}}); err != nil {
		r.log.Warn("the receipt is not struck off the journal; the next run does it", "grant", d.Grant.ID, "error", err)
	}
}

// prepare signs the receipt and writes it into the journal.
func (r *run) prepare(ctx context.Context, d *due) error {
	head, err := r.book.Head(record.KindReceipt, r.o.Config.Name, r.o.Now())
	if err != nil {
		return err
	}
	out, err := r.book.Prepare(ctx, r.signer, r.receipt(*d, head), head.Created.Time, d.Request)
	if err != nil {
		return err
	}
	if err := r.record(event{Kind: prepared, Grant: d.Grant.ID, For: []int{d.event.N}, Receipt: &out}); err != nil {
		return err
	}
	d.prepared = &out
	return nil
}

func (r *run) receipt(d due, head record.Head) receipt.Receipt {
	e := d.event
	rec := receipt.Receipt{
		Head: head, Request: d.Request, RequestDigest: d.Digest, Resource: d.Grant.Resource, Role: d.Grant.Role,
		Account: d.Grant.Who(), Outcome: d.outcome, Standing: d.standing, Ledger: r.book.Digest(),
	}
	switch d.outcome {
	case receipt.Intended, receipt.Applied:
		ends := record.At(d.Grant.Ends)
		rec.Ends = &ends
	case receipt.Ended:
		rec.Cause = e.Cause
		if e.Ending != nil {
			rec.Standing, rec.SessionsEnded, rec.Left = e.Ending.Standing, e.Ending.SessionsEnded, e.Ending.Left
		}
	case receipt.Failed:
		rec.Detail = plain(fmt.Sprintf("%s failed: %s", e.Phase, e.Detail), maxDetail)
	}
	return rec
}

// message is what git log shows of a run.
func (r *run) message(batch []due) (subject string, trailers [][2]string) {
	name := r.o.Config.Name
	words := map[receipt.Outcome]string{receipt.Intended: "is to open", receipt.Applied: "opened", receipt.Ended: "ended", receipt.Failed: "failed on"}
	count := map[receipt.Outcome]int{}
	trailers = [][2]string{{"Jit-Kind", string(record.KindReceipt)}}
	for _, d := range batch {
		count[d.outcome]++
		line := [2]string{"Jit-Request", string(d.Request)}
		if !slices.Contains(trailers, line) {
			trailers = append(trailers, line)
		}
	}
	trailers = append(trailers, [2]string{"Jit-By", name})
	if len(batch) == 1 {
		g := batch[0].Grant
		return fmt.Sprintf("%s %s %s:%s for %s", name, words[batch[0].outcome], g.Resource, g.Role, g.Person), trailers
	}
	subject = name
	for _, o := range []receipt.Outcome{receipt.Intended, receipt.Applied, receipt.Ended, receipt.Failed} {
		if n := count[o]; n > 0 {
			if subject != name {
				subject += ","
			}
			subject += fmt.Sprintf(" %s %d", words[o], n)
		}
	}
	return subject, trailers
}

package replica

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jitaccess/jit/internal/owned"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
)

// A host can say that it took a push and lose it: it crashed, was restored from a copy, or
// lies. The checkpoint is then on a commit that nobody else has, and no admin's machine can
// put that back. Where all that the store lacks was sent by this machine, nothing of others
// is lost, and it sends that again. Where the store lacks anything that others had pushed,
// the alarm is raised as ever.

// Again says that this machine sent again what the store had lost of its own commits.
type Again struct {
	// Lost is the newest of them, and Commits how many there were.
	Lost    gitstore.Hash
	Commits int
	// Moved says that others had gone on without them, so that what was in them is judged
	// at a new place; else the very commits were pushed again.
	Moved bool
}

const (
	// sentName is the file of the commits that this machine has pushed, and maxSent how many
	// of the newest are kept: a host loses what came last.
	sentName = "sent"
	maxSent  = 100
)

// sentCommits gives the commits that this machine has pushed, as far as is known. They are
// known by nothing that others could write: a commit's author and message prove nothing.
func (r *Replica) sentCommits() []gitstore.Hash {
	data, err := owned.ReadFile(filepath.Join(r.config.Dir, sentName), maxNote)
	if err != nil {
		return nil
	}
	var all []gitstore.Hash
	for _, line := range strings.Fields(string(data)) {
		if h, err := gitstore.ParseHash(line); err == nil {
			all = append(all, h)
		}
	}
	return all
}

// noteSent keeps that this machine has pushed a commit. Where it is lost the alarm is
// raised that would have been raised without it.
func (r *Replica) noteSent(h gitstore.Hash) {
	all := append(r.sentCommits(), h)
	var text strings.Builder
	for _, h := range all[max(0, len(all)-maxSent):] {
		text.WriteString(string(h) + "\n")
	}
	if err := writeSoon(filepath.Join(r.config.Dir, sentName), []byte(text.String())); err != nil {
		r.config.Log.Warn("that a commit was sent is not noted", "error", err)
	}
}

// ownLoss gives the commits that the history of tip lacks of this machine's, oldest first,
// where this machine has pushed every one of them, and the commit before them, which is on
// both. ok is false in every other case.
func (r *Replica) ownLoss(ctx context.Context, rewrite *RewriteError) (lost []gitstore.Commit, fork gitstore.Hash, ok bool, err error) {
	if rewrite.Tip == "" || rewrite.Relation != gitstore.Behind && rewrite.Relation != gitstore.Rewritten {
		return nil, "", false, nil
	}
	sent := r.sentCommits()
	if !slices.Contains(sent, rewrite.Checkpoint) {
		return nil, "", false, nil
	}
	if err := r.foldTo(ctx, rewrite.Checkpoint); err != nil {
		return nil, "", false, err
	}
	if fork, err = r.forkOf(rewrite.Tip); err != nil || fork == "" {
		return nil, "", false, err
	}
	if n, err := r.store.Count(ctx, fork, rewrite.Checkpoint); err != nil || n > maxSent {
		return nil, "", false, err
	}
	ok = true
	err = r.store.Walk(ctx, fork, rewrite.Checkpoint, gitstore.WalkOptions{}, func(c gitstore.Commit) error {
		lost = append(lost, c)
		ok = ok && len(c.Parents) == 1 && slices.Contains(sent, c.Hash)
		return nil
	})
	return lost, fork, ok, err
}

// forkOf gives the newest commit of tip's first-parent chain that is on the history that is
// folded here; "" where there is none.
func (r *Replica) forkOf(tip gitstore.Hash) (fork gitstore.Hash, err error) {
	_, fork, err = r.store.Merges(tip, r.known)
	return fork, err
}

// again sends once more what the store has lost of what this machine had sent. done is
// false where that is not all that it lost.
func (r *Replica) again(ctx context.Context, rewrite *RewriteError, h *Healer) (report ledger.Report, done bool, err error) {
	if r.config.InMemory || r.looking {
		return report, false, nil
	}
	lost, fork, ok, err := r.ownLoss(ctx, rewrite)
	if err != nil || !ok {
		return report, false, err
	}
	a := Again{Lost: rewrite.Checkpoint, Commits: len(lost), Moved: fork != rewrite.Tip}
	if a.Moved {
		report, err = r.sendAnew(ctx, rewrite, lost, fork, h)
	} else {
		report, err = r.sendBack(ctx, rewrite)
	}
	if err == nil {
		r.resent = &a
		r.config.Log.Warn("the store had lost what this machine had sent; it is sent again", "commits", a.Commits, "lost", string(a.Lost))
	}
	return report, err == nil, err
}

// sendBack pushes the lost commits as they were, where nothing has come since. That the
// host says that it took them was not enough before: it must show them.
func (r *Replica) sendBack(ctx context.Context, rewrite *RewriteError) (ledger.Report, error) {
	if err := r.store.PushBack(ctx, rewrite.Tip, rewrite.Checkpoint); err != nil {
		return ledger.Report{}, err
	}
	tip, err := r.store.Fetch(ctx)
	switch {
	case err != nil:
		return ledger.Report{}, err
	case tip.Empty:
		return ledger.Report{}, r.gone(rewrite.Checkpoint)
	case tip.Hash == rewrite.Tip:
		return ledger.Report{}, errors.New("they were this machine's own and were sent again, and the store does not show them")
	}
	return r.advance(ctx, tip.Hash)
}

// sendAnew takes the history that the store shows, and lets what was in the lost commits wait
// to be sent on top of it.
func (r *Replica) sendAnew(ctx context.Context, rewrite *RewriteError, lost []gitstore.Commit, fork gitstore.Hash, h *Healer) (report ledger.Report, err error) {
	at, err := r.ledger.PositionOf(fork)
	if err != nil {
		return report, err
	}
	mine := r.ledger.Policies()
	if err = r.remakeIndex(errors.New("the store has lost the end of the history")); err == nil {
		report, err = r.ledger.Fold(ctx, r.store, rewrite.Tip)
	}
	if version := without(mine, r.ledger.Policies()); err == nil && version != "" {
		// Nobody else may know any more that somebody was removed.
		err = &lossError{lost: version}
	}
	if err == nil {
		err = r.keepLost(ctx, lost, h)
	}
	if err == nil {
		err = r.store.ReplaceCheckpoint(rewrite.Checkpoint, rewrite.Tip)
	}
	if err != nil {
		return ledger.Report{}, errors.Join(err, r.foldTo(ctx, rewrite.Checkpoint))
	}
	_, position := r.ledger.Head()
	report.Commits = position - at
	report.SetAside, report.Aside, err = r.ledger.AsideAfter(at)
	return report, err
}

// keepLost spools what was in lost commits, before all that waits: a submission for each.
func (r *Replica) keepLost(ctx context.Context, lost []gitstore.Commit, h *Healer) error {
	waiting, err := r.spooled()
	if err != nil {
		return err
	}
	first := 0
	for _, w := range waiting {
		first = min(first, w.N)
	}
	gone := map[string]bool{}
	for _, c := range lost {
		gone[string(c.Hash)] = true
	}
	for i, c := range lost {
		s, err := r.resubmission(ctx, c, gone, h)
		if err != nil {
			return err
		}
		if len(s.Files) == 0 {
			continue
		}
		s.N = first - len(lost) + i
		if err := r.spool(&s); err != nil {
			return fmt.Errorf("what was lost could not be kept on this machine: %w", err)
		}
	}
	return nil
}

// resubmission is what a lost commit held, to be sent again. A receipt whose head was lost
// with it would not count, and is signed anew; a heartbeat like that is of no use to anybody.
func (r *Replica) resubmission(ctx context.Context, c gitstore.Commit, gone map[string]bool, h *Healer) (s submission, err error) {
	subject, rest, _ := strings.Cut(c.Message, "\n")
	s = submission{Subject: subject, When: r.config.Now().UTC()}
	for line := range strings.Lines(rest) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && strings.HasPrefix(name, "Jit-") {
			s.Trailers = append(s.Trailers, [2]string{name, value})
		}
	}
	files := map[string]ledger.NewFile{}
	for _, f := range c.Inserted {
		data, err := r.store.ReadBlob(f.Blob, record.MaxSize)
		if err != nil {
			return s, err
		}
		files[f.Path] = ledger.NewFile{Path: f.Path, Data: data}
	}
	for _, f := range c.Inserted {
		place, err := record.ParsePath(f.Path)
		if err != nil || place.Signature {
			if err != nil { // a certificate
				s.Files = append(s.Files, files[f.Path])
			}
			continue
		}
		rec, sig := files[f.Path], files[record.SignaturePath(f.Path)]
		head, err := record.DecodeHead(rec.Data)
		if err != nil {
			continue
		}
		if gone[head.Head] {
			switch head.Kind {
			case record.KindHeartbeat:
				continue
			case record.KindReceipt:
				out, err := r.receiptAnew(ctx, rec.Data, place.Request, h)
				if err != nil {
					return s, err
				}
				head, rec = out.Head, ledger.NewFile{Path: out.Path, Data: out.Data}
				sig = ledger.NewFile{Path: record.SignaturePath(out.Path), Data: out.Signature}
			}
		}
		s.Files = append(s.Files, rec)
		if sig.Path != "" {
			s.Files = append(s.Files, sig)
		}
		if s.ID == "" {
			s.ID, s.By = string(head.ID), head.By
		}
	}
	if s.ID == "" && len(s.Files) > 0 {
		head, err := r.NewHead("", "", r.config.Now())
		if err != nil {
			return s, err
		}
		s.ID = string(head.ID)
	}
	return s, nil
}

// receiptAnew signs what a receipt says once more, on what is verified now.
func (r *Replica) receiptAnew(ctx context.Context, data []byte, request record.ID, h *Healer) (Outgoing, error) {
	if h == nil {
		return Outgoing{}, errors.New("a receipt that the store has lost must be signed anew, and there is no key for that")
	}
	var rec receipt.Receipt
	if err := record.DecodeStrict(data, &rec); err != nil {
		return Outgoing{}, err
	}
	head, err := r.NewHead(record.KindReceipt, rec.By, r.config.Now())
	if err != nil {
		return Outgoing{}, err
	}
	signer, err := h.Signer(ctx)
	if err != nil {
		return Outgoing{}, err
	}
	rec.Head, rec.Ledger = head, r.ledger.Digest()
	return r.Prepare(ctx, signer, rec, head.Created.Time, request, false)
}

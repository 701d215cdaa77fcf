package replica

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
)

// A history that cannot be followed may still show that somebody has ended something, and
// while it cannot be followed nobody else can tell this machine. What takes away is the word
// of its signer wherever it stands, so it is taken as if it had been carried in by hand.
// Whoever makes such a history ends by it what a valid signature ends, and nothing more.
const (
	// maxShown bounds the commits that are looked at, the newest, and maxTakes the files of
	// them that may take away.
	maxShown = 4096
	maxTakes = 2000
	// longestShown bounds how long they are looked at.
	longestShown = time.Minute
)

// TakeShown keeps, to be sent, what takes away in a history that the store shows and that is
// refused, where this machine's own has it not; and gives a line for each. Nothing else of
// that history has any effect. What is found before an error counts.
func (r *Replica) TakeShown(ctx context.Context, rewrite *RewriteError) (subjects []string, err error) {
	if rewrite.Tip == "" || rewrite.Checkpoint == "" {
		return nil, nil
	}
	unlock, err := r.exclusive(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := r.foldTo(ctx, rewrite.Checkpoint); err != nil {
		return nil, err
	}
	waiting, err := r.spooled()
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, f := range files(waiting) {
		there[f.Path] = true
	}
	takes, err := r.shown(ctx, rewrite.Tip)
	for _, s := range takes {
		if there[s.Files[0].Path] {
			continue
		}
		switch known, lookErr := r.there(s); {
		case lookErr != nil:
			return subjects, lookErr
		case known:
			continue
		}
		kept := r.keep(ctx, waiting, &s)
		if ledger.ReasonOf(kept) != "" {
			r.config.Log.Debug("not taken from a history that cannot be followed", "path", s.Files[0].Path, "cause", kept)
			continue // it would not count
		}
		if kept != nil {
			return subjects, kept
		}
		waiting = append(waiting, s)
		subjects = append(subjects, s.Subject)
	}
	return subjects, err
}

// shown gives what may take away in the commits up to tip that are not on the history that
// is folded here.
func (r *Replica) shown(ctx context.Context, tip gitstore.Hash) (all []submission, err error) {
	n := 0
	_, from, err := r.store.Merges(tip, func(h gitstore.Hash) (bool, error) {
		n++
		if n > maxShown {
			return true, nil
		}
		return r.known(h)
	})
	if err != nil {
		return nil, err
	}
	found := map[string]gitstore.File{}
	var order []string
	within, cancel := context.WithTimeout(ctx, longestShown)
	defer cancel()
	errEnough := fmt.Errorf("more than %d files that may end something: the rest is not looked at", maxTakes)
	err = r.store.Walk(within, from, tip, gitstore.WalkOptions{Folder: record.IsFolder}, func(c gitstore.Commit) error {
		for _, f := range c.Inserted {
			if _, again := found[f.Path]; again || !mayTakeAway(f) {
				continue
			}
			if len(order) >= maxTakes {
				return errEnough
			}
			found[f.Path] = f
			order = append(order, f.Path)
		}
		return nil
	})
	if err != nil && ctx.Err() != nil {
		return nil, err
	}
	// What was found before counts all the same.
	for _, path := range order {
		s, ok, readErr := r.takingAway(found, path)
		if readErr != nil {
			return all, errors.Join(err, readErr)
		}
		if ok {
			all = append(all, s)
		}
	}
	return all, err
}

func mayTakeAway(f gitstore.File) bool {
	if place, err := record.ParsePath(f.Path); err == nil {
		return place.Kind.TakesAway() && f.Size <= record.MaxSize
	}
	_, _, err := record.ParseCertificatePath(f.Path)
	return err == nil && f.Size <= record.MaxCertificateSize
}

// takingAway reads a record with its signature, or a certificate that revokes a key that
// is known here and good.
func (r *Replica) takingAway(found map[string]gitstore.File, path string) (s submission, ok bool, err error) {
	data, err := r.store.ReadBlob(found[path].Blob, record.MaxCertificateSize)
	if err != nil {
		return s, false, err
	}
	place, err := record.ParsePath(path)
	if err != nil {
		return r.revoking(path, data)
	}
	signature, signed := found[record.SignaturePath(path)]
	head, err := record.DecodeHead(data)
	if place.Signature || !signed || err != nil {
		return s, false, nil //nolint:nilerr // it is no record
	}
	sig, err := r.store.ReadBlob(signature.Blob, record.MaxSignatureSize)
	if errors.Is(err, gitstore.ErrTooLarge) {
		return s, false, nil
	}
	s = submission{ID: string(head.ID), By: head.By, When: head.Created.Time,
		Subject:  fmt.Sprintf("%s's %s, from a history that cannot be followed", head.By, head.Kind),
		Trailers: [][2]string{{"Jit-Kind", string(head.Kind)}, {"Jit-By", head.By}},
		Files:    []ledger.NewFile{{Path: path, Data: data}, {Path: record.SignaturePath(path), Data: sig}}}
	return s, err == nil, err
}

func (r *Replica) revoking(path string, data []byte) (s submission, ok bool, err error) {
	cert, err := record.ParseCertificate(data)
	if err != nil {
		return s, false, nil //nolint:nilerr // it is none
	}
	if kind, _ := cert.Revocation(); kind == record.NotRevoked {
		return s, false, nil
	}
	ring, err := r.ledger.Keyring()
	if err != nil {
		return s, false, err
	}
	mine := ring.Lookup(cert.Fingerprint())
	if mine == nil {
		return s, false, nil
	}
	if kind, _ := mine.Revocation(); kind != record.NotRevoked {
		return s, false, nil
	}
	id, err := record.NewID(r.config.Now(), rand.Reader)
	s = submission{ID: string(id), By: "jit", When: r.config.Now().UTC(),
		Subject: fmt.Sprintf("key %s is revoked, from a history that cannot be followed", cert.Fingerprint()),
		Files:   []ledger.NewFile{{Path: path, Data: data}}}
	return s, err == nil, err
}

package reconcile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jitaccess/jit/internal/owned"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
	"github.com/jitaccess/jit/pkg/request"
)

// carriedFolder is where signed records are laid, in the state folder, that are brought
// by hand while the store cannot be reached.
const carriedFolder = "carried"

// maxCarried bounds the files that are read there in one run: nobody carries so many in
// by hand, and a folder that something else fills holds up no ending.
const maxCarried = 200

// maxCarriedSize bounds one file: a spool file holds records, each with its signature, in
// base 64.
const maxCarriedSize = 1 << 20

// CarriedReason says why a file that was carried in is not taken.
type CarriedReason string

// The reasons of this package; what the ledger refuses has its reason.
const (
	// CarriedUnreadable: it is no regular file, too large, or no record or spool file.
	CarriedUnreadable CarriedReason = "carried-unreadable"
	// CarriedUnpaired: the record's signature is not beside it, or the other way round.
	CarriedUnpaired CarriedReason = "carried-unpaired"
	// CarriedKind: it neither takes away nor asks for an emergency.
	CarriedKind CarriedReason = "carried-kind"
)

// CarriedError refuses a file that was carried in. It stays where it is.
type CarriedError struct {
	Path   string
	Reason CarriedReason
	Err    error
}

func (e *CarriedError) Error() string {
	return fmt.Sprintf("carried in, and not taken (%s): %s: %v", e.Reason, e.Path, e.Err)
}

// Unwrap gives the cause.
func (e *CarriedError) Unwrap() error { return e.Err }

// carried is one record that was brought, with the files that hold it.
type carried struct {
	outgoing
	head  record.Head
	place record.Place
	names []string
}

// carry takes the records that were brought by hand: judged as if they came next, they
// wait to be sent with what this machine signs, and have their effect from now on.
// Where nothing was brought, and all was sent, nothing is read.
func (r *run) carry(ctx context.Context) error {
	if r.book == nil || r.o.DryRun {
		return nil
	}
	taken, kept := map[string]bool{}, map[string]bool{} // the files
	for _, c := range r.broughtIn(kept) {
		subject := fmt.Sprintf("%s's %s, carried in by %s", c.head.By, c.head.Kind, r.o.Config.Name)
		trailers := [][2]string{{"Jit-Kind", string(c.head.Kind)}}
		if c.place.Request != "" {
			trailers = append(trailers, [2]string{"Jit-Request", string(c.place.Request)})
		}
		trailers = append(trailers, [2]string{"Jit-By", c.head.By})
		there, err := r.book.Has(c.ID, record.Sum(c.Data))
		var waiting error
		if err == nil && !there {
			waiting, err = r.handIn(ctx, subject, trailers, c.outgoing)
		}
		if err != nil {
			reason := CarriedReason(ledger.ReasonOf(err))
			if reason == "" {
				reason = CarriedUnreadable
			}
			r.note(&CarriedError{c.Path, reason, err})
			for _, name := range c.names {
				kept[name] = true
			}
			continue
		}
		r.waiting = r.waiting || waiting != nil
		if r.keepsNothing() && waiting != nil {
			// It waits where the next run does not find it, and is taken again.
			for _, name := range c.names {
				kept[name] = true
			}
		}
		r.result.Carried = append(r.result.Carried, subject)
		r.log.Warn(subject, "path", c.Path, "waits", waiting != nil)
		for _, name := range c.names {
			taken[name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(taken)) {
		if kept[name] {
			continue // something else in it is refused
		}
		if err := os.Remove(name); err != nil {
			r.note(fmt.Errorf("what was carried in is taken, and stays: %w", err))
		}
	}
	r.takeShown(ctx)
	r.lookAhead(ctx)
	return nil
}

// lookAhead gives what waits to be sent its effect.
func (r *run) lookAhead(ctx context.Context) {
	if r.synced && !r.waiting {
		return
	}
	err := r.book.Ahead(ctx)
	if errors.Is(err, ledger.ErrDamaged) {
		if err = r.book.Rebuild(ctx); err == nil {
			err = r.book.Ahead(ctx)
		}
	}
	if err != nil {
		r.problem(fmt.Errorf("what waits to be sent has no effect yet: %w", err))
	}
	r.policy = r.book.Policy()
}

// handIn hands in what was carried in. Where the store did not answer in this run, or did
// not take what was handed in before, it is not asked again for each file: however it
// answers, what was carried in has its effect now.
func (r *run) handIn(ctx context.Context, subject string, trailers [][2]string, out outgoing) (waiting, err error) {
	if r.result.SyncErr != nil || r.waiting {
		err := r.book.Keep(ctx, subject, trailers, []outgoing{out})
		return errWaits, err
	}
	return r.book.Submit(ctx, subject, trailers, []outgoing{out})
}

// errWaits says that something waits for what the store has already failed at.
var errWaits = errors.New("the store does not take it now")

// takeShown takes what takes away in a history that the store shows and that is refused, as
// if it had been carried in: nobody else can tell of it until that history is explained.
func (r *run) takeShown(ctx context.Context) {
	var rewrite *replica.RewriteError
	if !errors.As(r.result.SyncErr, &rewrite) {
		return
	}
	subjects, err := r.book.TakeShown(ctx, rewrite)
	if err != nil {
		r.note(fmt.Errorf("what ends access in the history that is refused: %w", err))
	}
	for _, subject := range subjects {
		r.log.Warn("taken from a history that is refused", "what", subject)
	}
	r.result.Carried = append(r.result.Carried, subjects...)
}

// broughtIn reads the folder. A file there is a spool file of a person's machine (.json),
// or stands at its path in the store. What is refused is told, and its file kept.
func (r *run) broughtIn(kept map[string]bool) (all []carried) {
	folder := filepath.Join(r.o.Config.State, carriedFolder)
	files := map[string]ledger.NewFile{} // by path in the store
	names := map[string]string{}
	refuse := func(path string, reason CarriedReason, err error) {
		kept[names[path]] = true
		r.note(&CarriedError{path, reason, err})
	}
	count := 0
	err := filepath.WalkDir(folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if count++; count > maxCarried {
			return fmt.Errorf("there are more than %d files; take some away", maxCarried)
		}
		path, err := filepath.Rel(folder, name)
		if err != nil {
			return err
		}
		data, err := owned.ReadFile(name, maxCarriedSize)
		if err != nil {
			refuse(path, CarriedUnreadable, err)
			return nil
		}
		found := []ledger.NewFile{{Path: filepath.ToSlash(path), Data: data}}
		if strings.HasSuffix(path, ".json") {
			if found, err = replica.ReadSpooled(data); err != nil {
				refuse(path, CarriedUnreadable, err)
				return nil
			}
		}
		for _, f := range found {
			files[f.Path], names[f.Path] = f, name
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		r.note(fmt.Errorf("the folder of what is carried in: %w", err))
	}
	return pairCarried(files, names, refuse)
}

// pairCarried puts records and signatures together, in the order of their ids, and
// refuses what is not for carrying in.
func pairCarried(files map[string]ledger.NewFile, names map[string]string, refuse func(string, CarriedReason, error)) (all []carried) {
	for _, path := range slices.Sorted(maps.Keys(files)) {
		place, err := record.ParsePath(path)
		if err != nil {
			refuse(path, CarriedUnreadable, err)
			continue
		}
		if place.Signature {
			place.Signature = false
			if _, ok := files[place.Path()]; !ok {
				refuse(path, CarriedUnpaired, errors.New("the record is not beside it"))
			}
			continue
		}
		data, signature := files[path].Data, files[record.SignaturePath(path)].Data
		head, err := record.DecodeHead(data)
		switch {
		case signature == nil:
			refuse(path, CarriedUnpaired, errors.New("its signature is not beside it"))
		case err != nil:
			refuse(path, CarriedUnreadable, err)
		case !head.Kind.TakesAway() && !isEmergency(head.Kind, data):
			refuse(path, CarriedKind, fmt.Errorf("a %s is not carried in: only what takes away is, and an emergency", head.Kind))
		default:
			c := carried{outgoing: outgoing{ID: head.ID, Path: path, Data: data, Signature: signature}, head: head, place: place}
			for _, p := range []string{path, record.SignaturePath(path)} {
				if !slices.Contains(c.names, names[p]) {
					c.names = append(c.names, names[p])
				}
			}
			all = append(all, c)
		}
	}
	slices.SortStableFunc(all, func(a, b carried) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// isEmergency reports whether a record says that it asks for an emergency. Whether it
// counts is judged later.
func isEmergency(kind record.Kind, data []byte) bool {
	var r request.Request
	return kind == record.KindRequest && record.DecodeStrict(data, &r) == nil && r.Emergency
}

// brought gives the emergencies that open though the store was not read: those that were
// carried in, while it does not answer.
func (r *run) brought(active []ledger.Entry) (map[record.ID]bool, error) {
	all := map[record.ID]bool{}
	if r.synced || !errors.Is(r.result.SyncErr, gitstore.ErrUnreachable) {
		return all, nil
	}
	for _, e := range active {
		rec := e.Request.Record
		if !rec.Emergency {
			continue
		}
		there, err := r.book.Has(rec.ID, e.Digest)
		if err != nil {
			return nil, err
		}
		if !there {
			all[rec.ID] = true
		}
	}
	return all, nil
}

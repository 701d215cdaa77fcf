package replica

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/internal/owned"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/record"
)

// Outgoing is a signed record that is not in the store yet.
type Outgoing struct {
	Path            string
	Data, Signature []byte
	Head            record.Head
}

// Message is what the commit says to people who read git log.
type Message struct {
	// Subject is one line in plain words; Trailers are shown below it.
	Subject  string
	Trailers [][2]string
}

// Result is what became of a submission.
type Result struct {
	// Commit is where it stands; empty while it waits.
	Commit gitstore.Hash
	// Spooled says that it waits in the spool, and Cause why.
	Spooled bool
	Cause   error
	// Refused counts those that waited before it and that the history refuses by
	// now; see [Replica.Refused].
	Refused int
}

// NewHead gives the head of a record that is about to be made: a new id, this
// store, and the newest commit that this machine has verified.
func (r *Replica) NewHead(kind record.Kind, by string, now time.Time) (record.Head, error) {
	id, err := record.NewID(now, rand.Reader)
	if err != nil {
		return record.Head{}, err
	}
	head, _ := r.ledger.Head()
	return record.Head{APIVersion: record.APIVersion, Kind: kind, ID: id, Store: r.ledger.Identity(),
		Head: string(head), Created: record.At(now), By: by}, nil
}

// Prepare encodes and signs a record, whose head NewHead made. beside is the
// request in whose folder it belongs, or the policy version where besidePolicy
// is set; empty for those two themselves.
func (r *Replica) Prepare(ctx context.Context, signer record.Signer, v any, created time.Time, beside record.ID, besidePolicy bool) (Outgoing, error) {
	data, err := record.Encode(v)
	if err != nil {
		return Outgoing{}, err
	}
	sig, verified, err := record.SignRecord(ctx, signer, data, created)
	if err != nil {
		return Outgoing{}, err
	}
	h := verified.Head()
	return Outgoing{Path: record.PathOf(h, beside, besidePolicy), Data: data, Signature: sig, Head: h}, nil
}

// submission is what the spool keeps: files that go into one commit.
type submission struct {
	ID string
	// N is its place among those that wait: what builds on another comes after it,
	// whatever the clocks said by which their ids were made.
	N        int
	Subject  string
	Trailers [][2]string
	By       string
	When     time.Time
	Files    []ledger.NewFile
	// name is the file that holds it.
	name string
}

// Submit sends records in one commit. Each is judged first as every ledger will
// judge it: what would be set aside is refused, with the reason, and nothing is
// written. What cannot be sent waits in the spool for the next Sync or Submit,
// on the disk before anything is tried.
func (r *Replica) Submit(ctx context.Context, m Message, out ...Outgoing) (Result, error) {
	if len(out) == 0 {
		return Result{}, errors.New("there is nothing to submit")
	}
	return r.submit(ctx, submissionOf(m, out))
}

func submissionOf(m Message, out []Outgoing) submission {
	s := submission{ID: string(out[0].Head.ID), Subject: m.Subject, Trailers: m.Trailers,
		By: out[0].Head.By, When: out[0].Head.Created.Time}
	for _, o := range out {
		s.Files = append(s.Files, ledger.NewFile{Path: o.Path, Data: o.Data},
			ledger.NewFile{Path: record.SignaturePath(o.Path), Data: o.Signature})
	}
	return s
}

// SubmitCertificate publishes a certificate.
func (r *Replica) SubmitCertificate(ctx context.Context, m Message, by string, cert *record.Certificate, now time.Time) (Result, error) {
	id, err := record.NewID(now, rand.Reader)
	if err != nil {
		return Result{}, err
	}
	armor := cert.Armor()
	return r.submit(ctx, submission{ID: string(id), Subject: m.Subject, Trailers: m.Trailers, By: by, When: now.UTC(),
		Files: []ledger.NewFile{{Path: record.CertificatePath(cert.Fingerprint(), armor), Data: armor}}})
}

func (r *Replica) submit(ctx context.Context, s submission) (Result, error) {
	unlock, err := r.exclusive(ctx)
	if err != nil {
		return Result{}, err
	}
	defer unlock()
	if err := r.refresh(); err != nil {
		return Result{}, err
	}
	waiting, err := r.spooled()
	if err != nil {
		return Result{}, err
	}
	if err := r.keep(ctx, waiting, &s); err != nil {
		return Result{}, err
	}
	if r.config.InMemory {
		return Result{Spooled: true, Cause: gitstore.ErrInMemory}, nil
	}
	d, err := r.flush(ctx, append(waiting, s))
	result := Result{Commit: d.sent[s.ID], Refused: len(d.refused)}
	for _, other := range d.refused {
		if other.id == s.ID {
			return Result{}, other.cause
		}
	}
	if result.Commit == "" {
		result.Spooled, result.Cause = true, err
		for _, other := range d.stuck {
			if other.ID == record.ID(s.ID) {
				result.Cause = other.Cause
			}
		}
	}
	return result, nil
}

// Keep is Submit that sends nothing: what it is given waits for the next Sync or Submit.
func (r *Replica) Keep(ctx context.Context, m Message, out ...Outgoing) error {
	if len(out) == 0 {
		return errors.New("there is nothing to keep")
	}
	unlock, err := r.exclusive(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.refresh(); err != nil {
		return err
	}
	waiting, err := r.spooled()
	if err != nil {
		return err
	}
	s := submissionOf(m, out)
	return r.keep(ctx, waiting, &s)
}

// keep judges a submission as if it came after those that wait, and lets it wait with them.
func (r *Replica) keep(ctx context.Context, waiting []submission, s *submission) error {
	if err := r.ledger.Try(ctx, files(waiting), s.Files); err != nil {
		return err
	}
	for _, w := range waiting {
		s.N = max(s.N, w.N+1)
	}
	if r.config.InMemory {
		r.waiting = append(r.waiting, *s)
		return nil
	}
	if err := r.spool(s); err != nil {
		return fmt.Errorf("nothing was sent, for what is signed could not be kept on this machine first: %w", err)
	}
	return nil
}

func files(waiting []submission) []ledger.NewFile {
	var all []ledger.NewFile
	for _, w := range waiting {
		all = append(all, w.Files...)
	}
	return all
}

// refusedError is a submission that the history, as it is now, refuses.
type refusedError struct {
	id    string
	cause error
}

func (e *refusedError) Error() string { return e.cause.Error() }
func (e *refusedError) Unwrap() error { return e.cause }

// push makes one commit of all submissions.
func (r *Replica) push(ctx context.Context, waiting []submission) (gitstore.Hash, error) {
	a := gitstore.Append{Message: commitMessage(waiting), When: waiting[len(waiting)-1].When,
		Holds: func(path string, folder bool) (bool, error) { return r.ledger.Holds(path, folder) }}
	a.Author, a.Email = r.author(waiting[0].By)
	for _, f := range files(waiting) {
		a.Files = append(a.Files, gitstore.NewFile{Path: f.Path, Data: f.Data})
	}
	result, err := r.store.Append(ctx, a, func(ctx context.Context, tip gitstore.Hash) error {
		if _, err := r.advance(ctx, tip); err != nil {
			return err
		}
		for _, s := range waiting {
			if there, err := r.there(s); err != nil || there {
				if err != nil {
					return err
				}
				continue
			}
			if err := r.ledger.Try(ctx, s.before(waiting), s.Files); ledger.ReasonOf(err) != "" {
				return &refusedError{s.ID, err}
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if result.Commit == "" {
		return result.Parent, nil // all of it was there already
	}
	r.noteFetch()
	if _, err = r.advance(ctx, result.Commit); err != nil && result.Lag != nil {
		err = fmt.Errorf("it is in the store, and the copy of the store could not be written: %w", result.Lag)
	}
	return result.Commit, err
}

// before gives the files of those that stand before s in the queue: what s
// builds on may be among them.
func (s submission) before(waiting []submission) []ledger.NewFile {
	var all []ledger.NewFile
	for _, w := range waiting {
		if w.ID == s.ID {
			break
		}
		all = append(all, w.Files...)
	}
	return all
}

// there reports whether an earlier push of s, whose answer was lost, has
// arrived: the very bytes, and not only the id, which another record may have
// taken.
func (r *Replica) there(s submission) (bool, error) {
	refs, err := r.ledger.Lookup(s.ID)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(refs, func(ref ledger.Ref) bool {
		return slices.ContainsFunc(s.Files, func(f ledger.NewFile) bool {
			return f.Path == ref.Path && record.Sum(f.Data) == ref.Digest
		})
	}), nil
}

// author gives what the commit names; nothing depends on it.
func (r *Replica) author(by string) (name, email string) {
	name, email = by, by+"@jit.invalid"
	if p := r.ledger.Policy(); p != nil {
		if person, ok := p.Person(by); ok {
			if person.Name != "" {
				name = person.Name
			}
			if person.Email != "" {
				email = person.Email
			}
		}
	}
	return name, email
}

func commitMessage(waiting []submission) string {
	var b strings.Builder
	if len(waiting) == 1 {
		b.WriteString(waiting[0].Subject + "\n")
	} else {
		fmt.Fprintf(&b, "%s, and %d more\n\n", waiting[0].Subject, len(waiting)-1)
		for _, s := range waiting {
			b.WriteString("- " + s.Subject + "\n")
		}
	}
	b.WriteString("\n")
	for _, s := range waiting {
		for _, t := range s.Trailers {
			fmt.Fprintf(&b, "%s: %s\n", t[0], t[1])
		}
	}
	return b.String()
}

func (r *Replica) spoolDir() string { return filepath.Join(r.config.Dir, "spool") }

// Spooled gives what is signed and waits to be sent, oldest first, as the
// subjects of their commits.
func (r *Replica) Spooled() ([]string, error) {
	waiting, err := r.spooled()
	var subjects []string
	for _, s := range waiting {
		subjects = append(subjects, s.Subject)
	}
	return subjects, err
}

// Refused gives what waited in the spool and was refused by the history when it
// could be sent, as subject and reason.
func (r *Replica) Refused() ([]string, error) {
	names, err := filepath.Glob(filepath.Join(r.spoolDir(), "refused", "*.reason"))
	var all []string
	for _, name := range names {
		text, readErr := owned.ReadFile(name, maxNote)
		err = errors.Join(err, readErr)
		all = append(all, strings.TrimSpace(string(text)))
	}
	return all, err
}

// maxSpoolFile bounds one file of the spool, in bytes: far more than what is signed at once
// takes.
const maxSpoolFile = 64 << 20

func (r *Replica) spooled() ([]submission, error) {
	names, err := filepath.Glob(filepath.Join(r.spoolDir(), "*.json"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var all []submission
	for _, name := range names {
		data, err := owned.ReadFile(name, maxSpoolFile)
		if errors.Is(err, os.ErrNotExist) {
			continue // another process has sent it
		}
		if err != nil {
			return nil, err
		}
		s, err := decodeSubmission(data)
		s.name = name
		if err != nil {
			return nil, fmt.Errorf("spool file %s cannot be read (%w): look at it, and move it away", name, err)
		}
		all = append(all, s)
	}
	all = append(all, r.waiting...)
	slices.SortStableFunc(all, func(a, b submission) int { return cmp.Compare(a.N, b.N) })
	return all, nil
}

func decodeSubmission(data []byte) (s submission, err error) {
	err = json.Unmarshal(data, &s)
	return s, err
}

func (r *Replica) spool(s *submission) error {
	if err := os.MkdirAll(r.spoolDir(), 0o700); err != nil {
		return err
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	s.name = filepath.Join(r.spoolDir(), s.ID+".json")
	return writeSynced(s.name, data)
}

func (r *Replica) unspool(sent []submission) error {
	var errs []error
	for _, s := range sent {
		if err := os.Remove(s.name); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// putApart keeps a refused submission where it can be looked at.
func (r *Replica) putApart(s submission, cause error) error {
	dir := filepath.Join(r.spoolDir(), "refused")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	r.config.Log.Warn("a record that waited was refused", "subject", s.Subject, "cause", cause)
	if err := writeSynced(filepath.Join(dir, s.ID+".reason"), []byte(s.Subject+": "+cause.Error()+"\n")); err != nil {
		return err
	}
	return os.Rename(s.name, filepath.Join(dir, s.ID+".json"))
}

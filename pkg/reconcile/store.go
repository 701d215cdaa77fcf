package reconcile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/replica"
)

// book is the machine's copy of the store, as far as a run needs it. The real
// one is a replica; tests put failures before it.
type book interface {
	// Sync fetches, verifies and folds, and sends what waits. With a healer it heals a
	// history that a push has displaced.
	Sync(ctx context.Context, h *replica.Healer) (replica.Report, error)
	// Policy gives the version in force, or nil.
	Policy() *policy.Policy
	// Requests gives requests, decided at now.
	Requests(f ledger.Filter, now time.Time) ([]ledger.Entry, error)
	// Cases calls fn for every request, newest first; Decide says where one
	// stands.
	Cases(fn func(approve.Case) error) error
	Decide(c approve.Case, now time.Time) ledger.Entry
	// Request gives one request; the error is ledger.ErrNotFound where there is
	// none.
	Request(id record.ID, now time.Time) (ledger.Entry, error)
	// Has reports whether the record is part of the ledger.
	Has(id record.ID, digest record.Digest) (bool, error)
	// Position gives where a record of the ledger stands; 0 for none.
	Position(id record.ID) (int, error)
	// Ahead makes what is asked of the ledger from now on be answered as if what waits
	// to be sent, and people have signed, had come.
	Ahead(ctx context.Context) error
	// Standing says why nothing counts that the reconciler signs with a key of its own;
	// nil where it does. It is ledger.ErrDamaged where that cannot be read.
	Standing(name string, key record.Fingerprint, now time.Time) error
	// Rebuild makes the ledger again from the copy of the history.
	Rebuild(ctx context.Context) error
	// Words, Sights, Seen and Evidence are the ledger's.
	Words(but string) ([]ledger.Word, error)
	Sights() ([]ledger.Sight, error)
	Seen(by record.Fingerprint) (int, error)
	Evidence(key record.Fingerprint, from, to time.Time) (ledger.Evidence, error)
	// Counts, Freshness, Spooled and Refused say how much counts and is set aside, when
	// the store was read last, and what waits to be sent or was refused.
	Counts() (records, aside int, err error)
	Freshness() time.Time
	Spooled() ([]string, error)
	Refused() ([]string, error)
	// Digest is the running digest over all records counted.
	Digest() record.Digest
	// Head gives the head of a new record.
	Head(kind record.Kind, by string, now time.Time) (record.Head, error)
	// Prepare signs a record, which stands beside a request or by itself.
	Prepare(ctx context.Context, signer record.Signer, rec any, created time.Time, beside record.ID) (outgoing, error)
	// Submit hands records over in one commit. Without an error they are in the
	// store, or wait where the next Sync finds them: then waiting says why. An
	// error for which ledger.ReasonOf has a reason is about one of out, which
	// would be set aside; then none of them is taken.
	Submit(ctx context.Context, subject string, trailers [][2]string, out []outgoing) (waiting, err error)
	// Keep is Submit that sends nothing yet.
	Keep(ctx context.Context, subject string, trailers [][2]string, out []outgoing) error
	// TakeShown keeps what takes away in a history that the store shows and that is refused.
	TakeShown(ctx context.Context, rewrite *replica.RewriteError) (subjects []string, err error)
	Close() error
}

// known gives the requests of all grants that may be open.
func known(b book, journal []*kept, now time.Time) (map[record.ID]ledger.Entry, error) {
	found := map[record.ID]ledger.Entry{}
	for _, k := range journal {
		if !k.mayBeOpen() {
			continue
		}
		e, err := b.Request(k.Request, now)
		switch {
		case errors.Is(err, ledger.ErrNotFound):
		case err != nil:
			return nil, err
		default:
			found[k.Request] = e
		}
	}
	return found, nil
}

// replicaBook is the real book.
type replicaBook struct {
	*replica.Replica
	// ahead is the ledger with what waits to be sent, and done removes it; nil where
	// nothing waits that people have signed.
	ahead *ledger.Ledger
	done  func() error
}

// view is the ledger that is asked where things stand.
func (b *replicaBook) view() *ledger.Ledger {
	if b.ahead != nil {
		return b.ahead
	}
	return b.Ledger()
}

func (b *replicaBook) Ahead(ctx context.Context) error {
	if err := b.back(); err != nil {
		return err
	}
	ahead, done, err := b.Replica.Ahead(ctx)
	if err == nil {
		b.ahead, b.done = ahead, done
	}
	return err
}

// back goes back to the ledger as it is.
func (b *replicaBook) back() (err error) {
	if b.done != nil {
		err = b.done()
	}
	b.ahead, b.done = nil, nil
	return err
}

func (b *replicaBook) Close() error { return errors.Join(b.back(), b.Replica.Close()) }

// openReplica opens the copy of the store in the state folder. It is isolated:
// git reads no configuration of the machine or the user, and sees nothing of
// this process's environment but what gitstore lets through.
func openReplica(ctx context.Context, c Config, now func() time.Time, log *slog.Logger) (book, error) {
	return openCopy(ctx, c, now, log, replica.Config{})
}

// openInMemory opens it without writing to the state folder.
func openInMemory(ctx context.Context, c Config, now func() time.Time, log *slog.Logger) (book, error) {
	return openCopy(ctx, c, now, log, replica.Config{InMemory: true})
}

// openAfresh opens one that is made of the store alone.
func openAfresh(ctx context.Context, c Config, now func() time.Time, log *slog.Logger) (book, error) {
	return openCopy(ctx, c, now, log, replica.Config{InMemory: true, Afresh: true})
}

func openCopy(ctx context.Context, c Config, now func() time.Time, log *slog.Logger, how replica.Config) (book, error) {
	ssh := gitstore.SSHOptions{IdentityFile: c.Store.IdentityFile}
	if c.Store.KnownHosts != "" {
		ssh.KnownHosts = []string{c.Store.KnownHosts}
	}
	r, err := replica.Open(ctx, replica.Config{
		Dir: filepath.Join(c.State, storeName), URL: c.Store.URL, Identity: c.Store.Identity, Branch: c.Store.Branch,
		Transport: c.Store.Transport, SSH: ssh, Isolated: true, InMemory: how.InMemory, Afresh: how.Afresh, Now: now, Log: log,
	})
	if err != nil {
		return nil, err
	}
	return &replicaBook{Replica: r}, nil
}

func (b *replicaBook) Sync(ctx context.Context, h *replica.Healer) (replica.Report, error) {
	if h == nil {
		return b.Replica.Sync(ctx)
	}
	return b.SyncAndHeal(ctx, *h)
}

func (b *replicaBook) Policy() *policy.Policy { return b.view().Policy() }

func (b *replicaBook) Digest() record.Digest { return b.Ledger().Digest() }

func (b *replicaBook) Requests(f ledger.Filter, now time.Time) ([]ledger.Entry, error) {
	return b.view().Requests(f, now)
}

func (b *replicaBook) Cases(fn func(approve.Case) error) error { return b.view().Cases(fn) }

func (b *replicaBook) Decide(c approve.Case, now time.Time) ledger.Entry {
	return b.view().Decide(c, now)
}

func (b *replicaBook) Request(id record.ID, now time.Time) (ledger.Entry, error) {
	return b.view().Request(id, now)
}

func (b *replicaBook) Has(id record.ID, digest record.Digest) (bool, error) {
	_, _, err := b.Ledger().Blobs(id, digest)
	if errors.Is(err, ledger.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (b *replicaBook) Position(id record.ID) (int, error) {
	found, err := b.Ledger().Lookup(string(id))
	if err != nil || len(found) == 0 {
		return 0, err
	}
	return found[0].Position, nil
}

func (b *replicaBook) Standing(name string, key record.Fingerprint, now time.Time) error {
	if err := b.view().Refuse(name, key); err != nil {
		return err
	}
	cert, err := b.view().Certificate(key)
	if err != nil {
		return err
	}
	if cert == nil {
		return fmt.Errorf("the store has no certificate of key %s", key)
	}
	return cert.CanSign(now)
}

func (b *replicaBook) Counts() (records, aside int, err error) { return b.Ledger().Counts() }

func (b *replicaBook) Words(but string) ([]ledger.Word, error) { return b.Ledger().Words(but) }

func (b *replicaBook) Sights() ([]ledger.Sight, error) { return b.Ledger().Sights() }

func (b *replicaBook) Seen(by record.Fingerprint) (int, error) { return b.Ledger().Seen(by) }

func (b *replicaBook) Evidence(key record.Fingerprint, from, to time.Time) (ledger.Evidence, error) {
	return b.view().Evidence(key, from, to)
}

func (b *replicaBook) Head(kind record.Kind, by string, now time.Time) (record.Head, error) {
	h, err := b.NewHead(kind, by, now)
	if err == nil && h.Head == "" {
		err = errors.New("nothing of the store is known yet")
	}
	return h, err
}

func (b *replicaBook) Prepare(ctx context.Context, signer record.Signer, rec any, created time.Time, beside record.ID) (outgoing, error) {
	out, err := b.Replica.Prepare(ctx, signer, rec, created, beside, false)
	return outgoing{ID: out.Head.ID, Path: out.Path, Data: out.Data, Signature: out.Signature}, err
}

func (b *replicaBook) Submit(ctx context.Context, subject string, trailers [][2]string, out []outgoing) (waiting, err error) {
	all, err := outgoings(out)
	if err != nil {
		return nil, err
	}
	result, err := b.Replica.Submit(ctx, replica.Message{Subject: subject, Trailers: trailers}, all...)
	if err == nil && result.Spooled {
		waiting = result.Cause
	}
	return waiting, err
}

func (b *replicaBook) Keep(ctx context.Context, subject string, trailers [][2]string, out []outgoing) error {
	all, err := outgoings(out)
	if err != nil {
		return err
	}
	return b.Replica.Keep(ctx, replica.Message{Subject: subject, Trailers: trailers}, all...)
}

func outgoings(out []outgoing) ([]replica.Outgoing, error) {
	all := make([]replica.Outgoing, 0, len(out))
	for _, o := range out {
		head, err := record.DecodeHead(o.Data)
		if err != nil {
			return nil, err
		}
		all = append(all, replica.Outgoing{Path: o.Path, Data: o.Data, Signature: o.Signature, Head: head})
	}
	return all, nil
}

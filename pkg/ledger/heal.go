package ledger

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// ReasonHealedHead means that a record's head was healed away: its signer had
// seen a history that a heal took off the line. What gives must be signed again;
// what takes away counts all the same. It is no evidence of a fork, for the fork
// is known and was settled by a signature.
const ReasonHealedHead = "healed-head"

// healSchema is the part of the index that heals need: the commits that were
// healed away, with the position of the heal.
const healSchema = `
CREATE TABLE IF NOT EXISTS healed (
	hash TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
`

// MergeSource is a Source that can tell about merges. A history that holds one is
// folded from nothing less.
type MergeSource interface {
	Source
	// CommitSignature gives a commit's signature and what it is over;
	// gitstore.ErrUnsigned where there is none.
	CommitSignature(h gitstore.Hash) (payload, signature []byte, err error)
	// Aside gives what a merge brings beside the chain; see gitstore.
	Aside(side gitstore.Hash, onChain func(gitstore.Hash) (bool, error)) (fork gitstore.Hash, aside []gitstore.Hash, err error)
	// Beside gives the commits that a merge brings, each after its parents, and Adds what
	// one commit adds; see gitstore.
	Beside(side gitstore.Hash, passed func(gitstore.Hash) (bool, error)) ([]gitstore.Hash, error)
	Adds(ctx context.Context, h gitstore.Hash, wanted func(path string) bool) ([]gitstore.File, error)
}

// healTrailer is the line by which a commit calls itself a heal.
const healTrailer = "Jit-Kind: heal"

// HealMessage is the message of a heal: a subject and text in plain words, and
// the trailers by which it is known.
func HealMessage(subject, text, by string) string {
	return subject + "\n\n" + strings.TrimRight(text, "\n") + "\n\n" + healTrailer + "\nJit-By: " + by + "\n"
}

// CallsItselfHeal reports whether a commit's message has the trailer of a heal
// in its last paragraph, and no other kind beside it. Anybody can write that;
// see [Ledger.Healer].
func CallsItselfHeal(message string) bool {
	message = strings.TrimRight(message, "\n")
	last := message[strings.LastIndex(message, "\n\n")+1:]
	kinds := 0
	found := false
	for _, line := range strings.Split(last, "\n") {
		if strings.HasPrefix(line, "Jit-Kind:") {
			kinds++
			found = line == healTrailer
		}
	}
	return found && kinds == 1
}

// mayHeal gives the name of the admin or reconciler to whom key belongs, where
// that is so in each of the policies.
func mayHeal(key record.Fingerprint, policies ...*policy.Policy) (name string, err error) {
	for _, p := range policies {
		if p == nil {
			return "", refuse(ReasonNotInPolicy, "there was no policy yet")
		}
		owner, ok := p.OwnerOf(key)
		_, machine := p.Reconciler(owner)
		switch {
		case !ok:
			return "", refuse(ReasonNotInPolicy, "key %s belongs to nobody in policy version %s", key, p.ID())
		case !p.IsAdmin(owner) && !machine:
			return "", refuse(ReasonNotInPolicy, "%s is neither admin nor reconciler in policy version %s", owner, p.ID())
		}
		name = owner
	}
	return name, nil
}

// MayHeal gives the name of the admin or reconciler whose key this is, in the
// policy in force now and, where fork is a position of the history, in the one
// in force there. Else, or where they are locked, the error says why not.
func (l *Ledger) MayHeal(key record.Fingerprint, fork int) (name string, err error) {
	policies := []*policy.Policy{l.policies.Latest()}
	if fork > 0 {
		policies = append(policies, l.policies.At(fork))
	}
	if name, err = mayHeal(key, policies...); err == nil {
		err = l.locks.Refuse(name, key)
	}
	return name, err
}

// Healer judges the signature of a heal by what this ledger knows: the key must
// not be revoked, and belong to an admin or reconciler in the policy in force at
// the fork, a position of this history, and in the one in force now. So neither
// a removed admin nor a stolen key that was revoked can move this machine.
func (l *Ledger) Healer(payload, signature []byte, fork int) (name string, err error) {
	ring, err := l.Keyring()
	if err != nil {
		return "", err
	}
	by, err := ring.VerifyBytes(payload, signature)
	if err != nil {
		return "", err
	}
	if fork <= 0 {
		return "", refuse(ReasonUnknownHead, "it shares nothing with this history")
	}
	return l.MayHeal(by.Primary, fork)
}

// PositionOf gives the position of a commit of the folded history; 0 when it is
// none. It is ErrDamaged where the index cannot be read.
func (l *Ledger) PositionOf(h gitstore.Hash) (int, error) {
	position, err := index{l.db}.positionOf(h)
	return position, damage(err)
}

// HealedAway gives the commits that heals took off the line, sorted.
func (l *Ledger) HealedAway() (all []gitstore.Hash, err error) {
	err = index{l.db}.each(`SELECT hash FROM healed ORDER BY hash`, func(r *sql.Rows) error {
		var h gitstore.Hash
		defer func() { all = append(all, h) }()
		return r.Scan(&h)
	})
	return all, err
}

// heal notes what the commit c heals away, where it is a heal by somebody in
// good standing. It is asked before the commit's records are judged, for they
// may have seen what was healed away; but with its certificates, so that a key
// revoked on the other side heals nothing.
func (f *fold) heal(c gitstore.Commit, files []gitstore.File) error {
	if len(c.Parents) != 2 || !CallsItselfHeal(c.Message) {
		return nil
	}
	src, err := f.merges()
	if err != nil {
		return err
	}
	payload, sig, err := src.CommitSignature(c.Hash)
	if errors.Is(err, gitstore.ErrUnsigned) {
		return nil
	}
	if err != nil {
		return err
	}
	ring, err := f.keyringWith(files)
	if err != nil {
		return err
	}
	by, err := ring.VerifyBytes(payload, sig)
	if err != nil {
		return ignoreRefusal(err)
	}
	if err := f.mayHealNow(by.Primary); err != nil {
		return ignoreRefusal(err)
	}
	fork, aside, err := src.Aside(c.Parents[1], func(h gitstore.Hash) (bool, error) {
		at, err := f.positionOf(h)
		return at > 0, err
	})
	if err != nil || fork == "" {
		return err
	}
	at, err := f.positionOf(fork)
	if err != nil {
		return err
	}
	if _, err := mayHeal(by.Primary, f.policies.At(at)); err != nil {
		return ignoreRefusal(err)
	}
	f.healed = by
	for _, h := range aside {
		if _, err := f.Exec(`INSERT OR IGNORE INTO healed VALUES (?, ?)`, string(h), f.position); err != nil {
			return err
		}
	}
	return nil
}

// mayHealNow judges a healer by the policy in force and the locks of now.
func (f *fold) mayHealNow(key record.Fingerprint) error {
	name, err := mayHeal(key, f.policies.Latest())
	if err == nil {
		err = f.locks.Refuse(name, key)
	}
	return err
}

// stillHealed looks again at the end of a commit that is a heal: where the
// commit itself brings what takes the healer out of office, it is none.
func (f *fold) stillHealed() error {
	by := f.healed
	f.healed = record.Signature{}
	if by.Primary == "" {
		return nil
	}
	err := f.mayHealNow(by.Primary)
	if c := f.keyring.Lookup(by.Primary); err == nil && c != nil {
		kind, _ := c.Revocation()
		revoked := slices.ContainsFunc(c.RevokedSubkeys(), func(x record.SubkeyRevocation) bool { return x.Subkey == by.Signing })
		if kind != record.NotRevoked || revoked { // by what came beside the chain
			err = refuse(string(record.ReasonKeyRevoked), "key %s is revoked", by.Signing)
		}
	}
	if reasonOf(err) == "" {
		f.report.Heals = append(f.report.Heals, f.commit.Hash)
		return err
	}
	if _, err := f.Exec(`DELETE FROM healed WHERE position = ?`, f.position); err != nil {
		return err
	}
	reason := func(path string) string {
		if place, err := record.ParsePath(path); err == nil && place.Kind.TakesAway() {
			return ReasonHeadNoted
		}
		return ReasonUnknownHead
	}
	for i := range f.report.SetAside {
		if s := &f.report.SetAside[i]; s.Position == f.position && s.Reason == ReasonHealedHead {
			s.Reason = reason(s.Path)
		}
	}
	var paths []string
	err = f.each(`SELECT path FROM aside WHERE position = ? AND reason = ?`, func(r *sql.Rows) error {
		var path string
		defer func() { paths = append(paths, path) }()
		return r.Scan(&path)
	}, f.position, ReasonHealedHead)
	for _, path := range paths {
		if err == nil {
			f.report.Forks++
			_, err = f.Exec(`UPDATE aside SET reason = ? WHERE position = ? AND path = ? AND reason = ?`, reason(path), f.position, path, ReasonHealedHead)
		}
	}
	return err
}

// ignoreRefusal drops an error that is a reason, and keeps a fault.
func ignoreRefusal(err error) error {
	if reasonOf(err) != "" {
		return nil
	}
	return err
}

// keyringWith gives the keyring with the certificates of a commit that is not
// taken yet. One that does not hold is passed over here, and set aside later.
func (f *fold) keyringWith(files []gitstore.File) (*record.Keyring, error) {
	ring := f.keyring
	for _, file := range files {
		fpr, sum, err := record.ParseCertificatePath(file.Path)
		if err != nil || !f.named(fpr) {
			continue // a stranger heals nothing
		}
		data, err := f.src.ReadBlob(file.Blob, record.MaxCertificateSize)
		if err != nil {
			if err := ignoreRefusal(err); err != nil {
				return nil, err
			}
			continue
		}
		cert, err := record.ParseCertificate(data)
		if err != nil || cert.Fingerprint() != fpr || !strings.HasPrefix(string(record.Sum(data)), sum) {
			continue
		}
		next, err := ring.With(cert)
		if err != nil {
			continue
		}
		ring = next
	}
	return ring, nil
}

// offLine says why a record whose head is not on this history before it does not
// count, unless it takes away. A change of the policy is never healed away in
// silence: who comes anew must not miss that somebody was removed, so it stays
// evidence of a fork.
func (f *fold) offLine(v record.Verified, c candidate) error {
	h := v.Head()
	var position int
	err := f.QueryRow(`SELECT position FROM healed WHERE hash = ?`, h.Head).Scan(&position)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return err
	case !f.changesPolicy(v, c):
		return refuse(ReasonHealedHead, "its signer %s had seen commit %s, which the heal at position %d took off the history: it must be signed again", h.By, h.Head, position)
	}
	return refuse(ReasonUnknownHead, "its signer %s had seen commit %s, which is not on this history before it", h.By, orNone(h.Head))
}

// noteOffLine reports what counts whatever its head is, since it takes away.
func (f *fold) noteOffLine(c candidate, reason, head string) error {
	if reason == ReasonHealedHead {
		return f.aside(c.path, ReasonHealedHead, "it counts, since it takes away; its signer had seen commit "+head+", which a heal took off the history")
	}
	f.report.Forks++
	return f.aside(c.path, ReasonHeadNoted, "it counts, since it takes away; but its signer had seen commit "+orNone(head)+", which is not on this history before it")
}

// changesPolicy reports whether a record is an admin's part of a change of the
// policy.
func (f *fold) changesPolicy(v record.Verified, c candidate) bool {
	h := v.Head()
	return (h.Kind == record.KindPolicy || c.place.Policy) && f.policies.Latest().IsAdmin(h.By)
}

// Holds reports whether the file at a path, or with folder set anything below it,
// counts.
func (l *Ledger) Holds(path string, folder bool) (bool, error) {
	if folder {
		return record.IsFolder(path), nil
	}
	blob, err := (&fold{index: index{l.db}}).known(path)
	return blob != "", damage(err)
}

// Held gives the files of everything that counts, records, their signatures and
// certificates, with the blobs that count: what the tree of an undamaged store
// holds.
func (l *Ledger) Held() (map[string]gitstore.Hash, error) {
	x := index{l.db}
	rows, err := x.rows(``)
	if err != nil {
		return nil, err
	}
	held := make(map[string]gitstore.Hash, 2*len(rows))
	for _, r := range rows {
		held[r.Path], held[record.SignaturePath(r.Path)] = r.blob, r.asc
	}
	err = x.each(`SELECT path, blob FROM loose WHERE holds`, func(r *sql.Rows) error {
		var path string
		var blob gitstore.Hash
		defer func() { held[path] = blob }()
		return r.Scan(&path, &blob)
	})
	return held, err
}

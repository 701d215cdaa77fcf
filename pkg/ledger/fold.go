package ledger

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// The ledger's own reasons for setting something aside; the others are those of
// the record, policy and gitstore packages.
const (
	ReasonForeignFile   = "foreign-file"     // no place of a record or certificate
	ReasonWrongPlace    = "wrong-place"      // the path does not fit what the record says
	ReasonDuplicateID   = "duplicate-id"     // the id stands elsewhere already
	ReasonWrongStore    = "wrong-store"      // it names another store
	ReasonUnknownHead   = "unknown-head"     // its head is not on this history before it
	ReasonNotInPolicy   = "not-in-policy"    // the key belongs to nobody in the policy in force
	ReasonWrongSigner   = "wrong-signer"     // the key belongs to another than By
	ReasonNotReconciler = "not-reconciler"   // a receipt by somebody who may not write it
	ReasonNoSuchRequest = "no-such-request"  // it stands beside nothing that counts
	ReasonNoSignature   = "sig-missing"      // there is no signature beside it
	ReasonHeadNoted     = "head-not-on-line" // counted all the same, since it takes away
)

// maxDetail bounds what is kept in words about a file that is set aside: a
// pusher chooses how many there are, and partly what the words hold.
const maxDetail = 500

// fold is the work of one Fold.
type fold struct {
	ctx context.Context
	src Source
	index
	state
	report Report
	// refusals are the reasons in this fold by path, as errors; nil where
	// nobody asks.
	refusals map[string]error

	// healed is who signed the commit as a heal; the zero value where it is none.
	healed record.Signature

	commit gitstore.Commit
	order  int // of the next record counted in this commit
	// alongside is, where the commit is a merge, the first position that its sides knew
	// nothing of: see mergeSides. unseenFrom is that of the record that is judged: see besideOf.
	alongside, unseenFrom int
	// asked counts the requests of each person in this commit, and asides what of it
	// is set aside, by reason.
	asked, asides map[string]int
	// voiding and retiring are the keys that certificates have revoked, of which what they
	// have signed is not looked through yet: see takeRevoked.
	voiding  []signingKey
	retiring map[signingKey]time.Time
	// early says that something may wait for what it names; arrived is what counts since
	// this commit from which such may take.
	early   bool
	arrived []record.ID
	// cases are the requests that this fold has changed and not written yet: one
	// with many records beside it is read and written once.
	cases map[record.ID]approve.Case
	// sights are what the records tell that this fold has counted and not written yet.
	sights map[signingKey]Sight
	claims map[signingKey][]claim
	// now is the time at which what is settled is remembered; zero for later.
	now time.Time
	// bulk is what makes the fold of a long history fast; nil for a short one.
	bulk *bulk
	// ahead are the records of this commit that were verified ahead of it.
	ahead map[string]verdict
}

// run folds the commits that walk gives, in turn, up to the last.
func (f *fold) run(to gitstore.Hash, walk walker) error {
	if err := walk(f, to, f.one); err != nil {
		return err
	}
	return f.save()
}

// walker calls fn for each commit after the fold's head up to another.
type walker func(f *fold, to gitstore.Hash, fn func(gitstore.Commit) error) error

// oneByOne walks each commit when the one before it is folded.
func oneByOne(f *fold, to gitstore.Hash, fn func(gitstore.Commit) error) error {
	return f.src.Walk(f.ctx, f.head, to, gitstore.WalkOptions{Known: f.known, Folder: record.IsFolder}, fn)
}

// setKeyring takes another set of certificates.
func (f *fold) setKeyring(k *record.Keyring) {
	f.keyring = k
	if f.bulk != nil {
		f.bulk.keyring.Store(k)
	}
}

// save writes all that is held in memory, so that the transaction can end here.
func (f *fold) save() error {
	if err := f.writeCases(); err != nil {
		return err
	}
	if err := f.writeSights(); err != nil {
		return err
	}
	return f.saveMeta(f.state)
}

// maxCases is how many changed requests are held in memory.
const maxCases = 1000

// kase gives a request as this fold has it.
func (f *fold) kase(id record.ID) (approve.Case, error) {
	c, changed := f.cases[id]
	if !changed {
		return f.index.request(id)
	}
	return f.asItStands(c)
}

// asItStands gives a case with what it prolongs as this fold has that.
func (f *fold) asItStands(c approve.Case) (approve.Case, error) {
	if c.Request.Record.Extends == "" {
		return c, nil
	}
	base, err := f.kase(c.Request.Record.Extends)
	c.Prolongs = &base
	return c, err
}

// keep takes a changed request, to be written with the others, and with those that
// prolong it: they stand with it.
func (f *fold) keep(c approve.Case) error {
	if f.cases == nil {
		f.cases = map[record.ID]approve.Case{}
	}
	f.cases[c.Request.Record.ID] = c
	for _, id := range c.Extended {
		if _, kept := f.cases[id]; kept {
			continue
		}
		next, err := f.kase(id)
		if err != nil {
			return err
		}
		if err := f.keep(next); err != nil {
			return err
		}
	}
	if len(f.cases) > maxCases {
		return f.writeCases()
	}
	return nil
}

func (f *fold) writeCases() error {
	for _, c := range f.cases {
		c, err := f.asItStands(c)
		if err != nil {
			return err
		}
		if err := f.saveRequest(c, f.policies, f.now); err != nil {
			return err
		}
	}
	clear(f.cases)
	return nil
}

// candidate is a record's file with its signature, before it is judged.
type candidate struct {
	place     record.Place
	path      string
	blob, asc gitstore.Hash
	// newBlob and newAsc say which of the two this commit brings; older that
	// something lay at one of the paths before.
	newBlob, newAsc, older bool
}

// rank is the order in which the records of one commit are taken: what takes
// away, (certificates, before any record,) policy, requests, the rest.
func (c candidate) rank() int {
	switch {
	case c.place.Kind.TakesAway():
		return 0
	case c.place.Kind == record.KindPolicy:
		return 1
	case c.place.Kind == record.KindRequest:
		return 2
	case c.place.Kind == record.KindApproval:
		return 3
	}
	return 4
}

// one folds one commit.
func (f *fold) one(c gitstore.Commit) error {
	f.commit, f.order, f.alongside, f.unseenFrom = c, 0, 0, 0
	f.asked, f.asides = nil, map[string]int{}
	f.position++
	f.head = c.Hash
	if _, err := f.Exec(`INSERT INTO commits VALUES (?, ?)`, f.position, hashBytes(c.Hash)); err != nil {
		return err
	}
	f.bulk.sawCommit(c.Hash, f.position)
	f.report.Commits++
	files := c.Inserted
	for _, v := range c.Violations {
		holder, err := f.known(v.Path)
		if err != nil {
			return err
		}
		// Garbage that was laid at a path before holds nothing.
		if v.Kind == gitstore.Changed && holder == "" && v.Blob != "" {
			files = append(files, gitstore.File{Path: v.Path, Blob: v.Blob, Size: v.Size})
			continue
		}
		if v.Kind == gitstore.Deleted && holder == "" {
			continue // garbage that is gone again; it never counted
		}
		if err := f.aside(v.Path, string(v.Kind), v.Detail); err != nil {
			return err
		}
	}
	if err := f.heal(c, files); err != nil {
		return err
	}
	later, err := f.mergeSides(c)
	if err != nil {
		return err
	}
	if files, err = f.unmerged(c, files); err != nil {
		return err
	}
	candidates, certs, err := f.sort(files)
	if err != nil {
		return err
	}
	// What takes away is taken before the certificates, so that the revocation
	// of a key does not undo what it revoked in the same commit. What does not
	// count yet is tried again after them, and after all else: it may take away
	// from what this very commit brings.
	rest := slices.IndexFunc(candidates, func(c candidate) bool { return c.rank() > 0 })
	if rest < 0 {
		rest = len(candidates)
	}
	early, err := f.attempt(candidates[:rest])
	if err != nil {
		return err
	}
	for _, x := range certs {
		refused, err := f.certificate(x)
		if refused != nil {
			err = f.reject(x.file.Path, refused)
		}
		if err != nil {
			return err
		}
	}
	if err := f.takeRevoked(); err != nil {
		return err
	}
	// One lock can let another count: by it, that one locks none who could still sign.
	if len(certs) > 0 || len(early) < rest {
		if early, err = f.attempt(early); err != nil {
			return err
		}
	}
	for _, x := range slices.Concat(candidates[rest:], early) {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		if err := f.settle(x, f.judge(x)); err != nil {
			return err
		}
	}
	if err := f.settleEarly(); err != nil {
		return err
	}
	if err := f.settleSides(later); err != nil {
		return err
	}
	if err := f.stillHealed(); err != nil {
		return err
	}
	if err := f.closeAside(); err != nil {
		return err
	}
	if f.policies.Latest() == nil {
		// What the first commit does not hold, none after it can.
		return fmt.Errorf("%w: its first commit holds no policy that could be the store's first", ErrIdentity)
	}
	return nil
}

// attempt judges candidates, and gives back those that do not count yet.
func (f *fold) attempt(candidates []candidate) (not []candidate, err error) {
	for _, x := range candidates {
		if err := f.ctx.Err(); err != nil {
			return nil, err
		}
		err := f.judge(x)
		switch {
		case err == nil:
		case reasonOf(err) == "":
			return nil, f.settle(x, err)
		default:
			not = append(not, x)
		}
	}
	return not, nil
}

// certFile is a certificate's file before it is judged.
type certFile struct {
	file gitstore.File
	fpr  record.Fingerprint
	sum  string
}

// sort picks out the certificates, pairs the records with their signatures, and
// orders them.
func (f *fold) sort(files []gitstore.File) (all []candidate, certs []certFile, err error) {
	slices.SortFunc(files, func(a, b gitstore.File) int { return cmp.Compare(a.Path, b.Path) })
	at := map[string]int{} // of each record's path in all
	for _, file := range files {
		if err := f.ctx.Err(); err != nil {
			return nil, nil, err
		}
		place, err := record.ParsePath(file.Path)
		if err != nil {
			if fpr, sum, err := record.ParseCertificatePath(file.Path); err == nil {
				certs = append(certs, certFile{file, fpr, sum})
				continue
			}
			if err := f.reject(file.Path, refuse(ReasonForeignFile, "%v", err)); err != nil {
				return nil, nil, err
			}
			continue
		}
		asc := place.Signature
		place.Signature = false
		path := place.Path()
		i, known := at[path]
		if !known {
			i = len(all)
			at[path] = i
			all = append(all, candidate{place: place, path: path})
		}
		if c := &all[i]; asc {
			c.asc, c.newAsc = file.Blob, true
		} else {
			c.blob, c.newBlob = file.Blob, true
		}
	}
	for i := range all {
		c := &all[i]
		older, there, err := f.lay(c.path)
		if err != nil {
			return nil, nil, err
		}
		olderAsc, thereAsc, err := f.lay(record.SignaturePath(c.path))
		if err != nil {
			return nil, nil, err
		}
		c.older = there || thereAsc
		if !c.newBlob {
			c.blob = older
		}
		if !c.newAsc {
			c.asc = olderAsc
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.place.ID, b.place.ID), cmp.Compare(a.path, b.path))
	})
	return all, certs, nil
}

// settle keeps a candidate's outcome: counted (no error), set aside for its
// reason, or a fault that stops the fold.
func (f *fold) settle(c candidate, err error) error {
	if err == nil {
		return nil
	}
	reason := reasonOf(err)
	if reason == "" {
		return fmt.Errorf("%s: %w", c.path, err)
	}
	if reason == ReasonUnknownHead {
		f.report.Forks++
	}
	return errors.Join(f.reject(c.path, err), f.keepParts(c))
}

// keepParts remembers the files of a candidate that does not count, for its
// other half may come later.
func (f *fold) keepParts(c candidate) (err error) {
	if c.newBlob {
		err = f.keepLoose(c.path, c.blob)
	}
	if c.newAsc {
		err = errors.Join(err, f.keepLoose(record.SignaturePath(c.path), c.asc))
	}
	return err
}

// reject sets a file aside for the reason that err is.
func (f *fold) reject(path string, err error) error {
	if f.refusals != nil {
		f.refusals[path] = err
	}
	return f.aside(path, reasonOf(err), err.Error())
}

// aside tells of what has no effect, or counts it where enough is told.
func (f *fold) aside(path, reason, detail string) error {
	if f.asides[reason]++; f.asides[reason] > MaxAside {
		f.report.Aside++
		return nil
	}
	return f.keepAside(path, reason, detail)
}

func (f *fold) keepAside(path, reason, detail string) error {
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "")
	}
	path, detail = printable(path), printable(detail)
	if reason != ReasonMoreAside {
		f.report.Aside++
	}
	if len(f.report.SetAside) < MaxReported {
		f.report.SetAside = append(f.report.SetAside, SetAside{Commit: f.commit.Hash, Position: f.position, Path: path, Reason: reason, Detail: detail})
	}
	_, err := f.Exec(`INSERT INTO aside (commit_hash, position, path, reason, detail) VALUES (?,?,?,?,?)`,
		string(f.commit.Hash), f.position, path, reason, detail)
	return err
}

// printable replaces what must not reach a screen.
func printable(s string) string {
	out := []rune{}
	for _, r := range s {
		if r != '\n' && record.CheckText(string(r)) != nil {
			r = '�'
		}
		if r == '\n' {
			r = ' '
		}
		out = append(out, r)
	}
	return string(out)
}

// misplaced is a reason of the ledger's own.
type misplaced struct{ reason, detail string }

func (m *misplaced) Error() string { return m.detail }

func refuse(reason, format string, args ...any) error {
	return &misplaced{reason, fmt.Sprintf(format, args...)}
}

// reasonOf gives the stable code of a refusal, or "" for a fault.
func reasonOf(err error) string {
	var m *misplaced
	if errors.As(err, &m) {
		return m.reason
	}
	if r := record.ReasonOf(err); r != "" {
		return string(r)
	}
	if c := policy.CodeOf(err); c != "" {
		return string(c)
	}
	if errors.Is(err, gitstore.ErrTooLarge) {
		return string(gitstore.TooLarge)
	}
	return ""
}

// count gives a judged record its place in the state.
func (f *fold) count(v record.Verified, c candidate) error {
	if err := f.insertRecord(v, c.place, c.blob, c.asc, f.position, f.order); err != nil {
		return err
	}
	f.bulk.sawRecord(c.place.ID)
	if c.place.Kind.TakesAway() {
		if err := f.notEarly(c.path); err != nil {
			return err
		}
	}
	if c.older {
		for _, path := range []string{c.path, record.SignaturePath(c.path)} {
			if _, err := f.Exec(`DELETE FROM loose WHERE path = ?`, path); err != nil {
				return err
			}
		}
	}
	f.order++
	f.report.Records++
	sum := sha256.New()
	sum.Write([]byte(f.digest))
	sum.Write([]byte(v.Digest()))
	f.digest = record.Digest(hex.EncodeToString(sum.Sum(nil)))
	return nil
}

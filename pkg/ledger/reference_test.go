package ledger_test

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/jitaccess/jit/pkg/gitstore"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// reference is the ledger as docs/store-format.md tells it, made to be read and
// not to be fast. All that it keeps are lists in the order of the history: what
// was looked at, which certificates were taken, which records count. Whatever else
// there is to know (who holds a path, the policy in force, the newest receipt, which
// keys are void) it finds by going over the lists from the beginning each time, so
// that nothing in it can be out of date.
type reference struct {
	*chain
	identity record.StoreID

	position int // of the commit that is read
	looked   []lookedAt
	taken    []takenCert
	ring     *record.Keyring // of all that was taken
	counted  []counted
	aside    []ledger.SetAside // without the words
	early    []counted         // what takes away, and came before what it names
	met      int               // of them, those that counted in the end
	again    int               // locks and ends of delegations beside one that claims a later time
	late     int               // proposals and agreements whose time was past
	kept     int               // what was signed before its signer was locked
	away     int               // or before they, or their key, were taken away
	// seenOver are the requests that the reconcilers have seen to be over for an hour when
	// their people asked for something else.
	seenOver map[record.ID]bool
}

// lookedAt is a file that a commit brought to a path that nothing held.
type lookedAt struct {
	path string
	blob gitstore.Hash
}

type takenCert struct {
	lookedAt
	cert     *record.Certificate
	position int
}

// counted is a record that counts. What it says is in value.
type counted struct {
	record.Place
	record.Verified
	value                   any
	before                  request.Before // where it is a request
	outlives                []outlives     // what its person had asked for and lost by it
	policy                  *policy.Policy // where it is a policy version
	path                    string
	blob, asc               gitstore.Hash
	position, order, headAt int
	locked                  bool // whoever signed it was, when it came
	standing
}

// read takes the next commit of the chain.
func (r *reference) read() {
	var before map[string]leaf
	if r.position > 0 {
		before = r.trees[r.position-1]
	}
	after := r.trees[r.position]
	r.position++
	files := r.files(before, after)
	r.looked = append(r.looked, files...)
	r.records(files)
}

func (r *reference) setAside(path, reason string) {
	r.aside = append(r.aside, ledger.SetAside{Commit: r.commits[r.position-1], Position: r.position, Path: path, Reason: reason})
}

// files gives what the commit brings to paths that nothing holds, by path, and
// sets aside what else it does.
func (r *reference) files(before, after map[string]leaf) (files []lookedAt) {
	reported := map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(after)) {
		now := after[path]
		if now == before[path] {
			continue
		}
		part, kind, new := trouble(path, before, after)
		holder := r.holder(path)
		switch {
		case kind != "":
			if new && !reported[part] {
				r.setAside(part, string(kind))
			}
			reported[part] = true
		case now.mode != regular:
			r.setAside(path, string(gitstore.BadMode))
		case holder == "":
			files = append(files, lookedAt{path, now.blob})
		case holder != now.blob:
			r.setAside(path, string(gitstore.Changed))
		}
	}
	for path, was := range before {
		if _, there := after[path]; !there && was.mode == regular && !unfit(path) && r.holder(path) != "" {
			r.setAside(path, string(gitstore.Deleted))
		}
	}
	return files
}

// holder gives the bytes that count at a path.
func (r *reference) holder(path string) gitstore.Hash {
	for _, c := range r.counted {
		switch path {
		case c.path:
			return c.blob
		case record.SignaturePath(c.path):
			return c.asc
		}
	}
	for _, t := range r.taken {
		if t.path == path {
			return t.blob
		}
	}
	return ""
}

// latest gives what was looked at last at a path. That it was deleted since has
// no effect.
func (r *reference) latest(path string) (blob gitstore.Hash) {
	for _, l := range r.looked {
		if l.path == path {
			blob = l.blob
		}
	}
	return blob
}

// records takes the records of a commit: what takes away; certificates; policy
// versions; requests; approvals; the rest.
func (r *reference) records(files []lookedAt) {
	var takesAway, others []record.Place
	var certs []lookedAt
	for _, f := range files {
		place, err := record.ParsePath(f.path)
		if err != nil {
			if _, _, err := record.ParseCertificatePath(f.path); err == nil {
				certs = append(certs, f)
			} else {
				r.setAside(f.path, ledger.ReasonForeignFile)
			}
			continue
		}
		place.Signature = false
		list := &others
		if place.Kind.TakesAway() {
			list = &takesAway
		}
		if !slices.Contains(*list, place) {
			*list = append(*list, place)
		}
	}
	rank := map[record.Kind]int{record.KindPolicy: 1, record.KindRequest: 2, record.KindApproval: 3, record.KindComment: 4, record.KindReceipt: 4, record.KindAcknowledgement: 4,
		record.KindUnlock: 4, record.KindHeartbeat: 4, record.KindDelegation: 4}
	order := func(a, b record.Place) int {
		return cmp.Or(cmp.Compare(rank[a.Kind], rank[b.Kind]), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Path(), b.Path()))
	}
	slices.SortFunc(takesAway, order)
	slices.SortFunc(others, order)
	// What takes away is tried again after the certificates and after all else.
	fails := func(p record.Place) bool { return r.judge(p) != "" }
	takesAway = slices.DeleteFunc(takesAway, func(p record.Place) bool { return !fails(p) })
	for _, f := range certs {
		if reason := r.certificate(f); reason != "" {
			r.setAside(f.path, reason)
		}
	}
	takesAway = slices.DeleteFunc(takesAway, func(p record.Place) bool { return !fails(p) })
	for _, p := range slices.Concat(others, takesAway) {
		if reason := r.judge(p); reason != "" {
			r.setAside(p.Path(), reason)
		}
	}
	r.meetEarly()
}

// why gives the code of a refusal by one of the packages below.
func why(err error) string {
	if err == nil {
		return ""
	}
	if errors.Is(err, gitstore.ErrTooLarge) {
		return string(gitstore.TooLarge)
	}
	if reason := record.ReasonOf(err); reason != "" {
		return string(reason)
	}
	if code := policy.CodeOf(err); code != "" {
		return string(code)
	}
	panic("an error without a code: " + err.Error())
}

func (r *reference) certificate(f lookedAt) (reason string) {
	fingerprint, sum, err := record.ParseCertificatePath(f.path)
	if err != nil {
		return why(err)
	}
	data, err := r.ReadBlob(f.blob, record.MaxCertificateSize)
	if err != nil {
		return why(err)
	}
	if !strings.HasPrefix(string(record.Sum(data)), sum) {
		return ledger.ReasonWrongPlace
	}
	cert, err := record.ParseCertificate(data)
	if err != nil {
		return why(err)
	}
	if cert.Fingerprint() != fingerprint {
		return ledger.ReasonWrongPlace
	}
	r.taken = append(r.taken, takenCert{f, cert, r.position})
	var all []*record.Certificate
	for _, t := range r.taken {
		all = append(all, t.cert)
	}
	r.ring, err = record.NewKeyring(all...)
	return why(err)
}

// judge counts a record, or says why it does not count, in the order of the
// chapter "What counts".
func (r *reference) judge(p record.Place) (reason string) {
	return r.judgeBytes(p, r.latest(p.Path()), r.latest(record.SignaturePath(p.Path())))
}

func (r *reference) judgeBytes(p record.Place, blob, asc gitstore.Hash) (reason string) {
	c := counted{Place: p, path: p.Path(), blob: blob, asc: asc, position: r.position}
	for _, other := range r.counted {
		if other.position == c.position {
			c.order++
		}
	}
	switch {
	case c.blob == "":
		return ledger.ReasonNoSuchRequest
	case c.asc == "":
		return ledger.ReasonNoSignature
	}
	data, err := r.ReadBlob(c.blob, record.MaxSize)
	if err != nil {
		return why(err)
	}
	sig, err := r.ReadBlob(c.asc, record.MaxSignatureSize)
	if err != nil {
		return why(err)
	}
	// What a key has signed that no policy has ever named says nothing.
	if issuer, _, err := record.InspectSignature(sig); err == nil && len(r.counted) > 0 {
		known := r.ring.Find(issuer)
		if len(known) > 0 && !slices.ContainsFunc(known, func(c *record.Certificate) bool { return r.named(c.Fingerprint()) }) {
			return ledger.ReasonNotInPolicy
		}
	}
	if c.Verified, err = r.ring.Verify(data, sig); err != nil {
		return why(err)
	}
	head := c.Head()
	if head.Kind != p.Kind || head.ID != p.ID {
		return ledger.ReasonWrongPlace
	}
	if len(r.counted) == 0 {
		reason = r.first(&c)
	} else if reason = r.signer(&c); reason == "" {
		if reason = r.common(&c); reason == "" {
			if reason = r.meaning(&c); reason != "" && !r.hasTarget(c) {
				r.early = append(slices.DeleteFunc(r.early, func(e counted) bool { return e.path == c.path }), c)
			}
		}
		if reason != "" && c.headAt == 0 && !c.locked {
			return ledger.ReasonUnknownHead // that shows a fork, whatever else is wrong
		}
	}
	if reason != "" {
		return reason
	}
	r.early = slices.DeleteFunc(r.early, func(e counted) bool { return e.path == c.path })
	if c.headAt == 0 && r.position > 1 {
		r.setAside(c.path, ledger.ReasonHeadNoted)
	}
	r.counted = append(r.counted, c)
	return ""
}

// first judges the policy with which a store begins.
func (r *reference) first(c *counted) (reason string) {
	head := c.Head()
	switch {
	case head.Kind != record.KindPolicy || r.position != 1:
		return ledger.ReasonNotInPolicy
	case head.Store != "" || head.Head != "" || record.StoreID(c.Digest()) != r.identity:
		return ledger.ReasonWrongStore
	}
	if reason := decodePolicy(c); reason != "" {
		return reason
	}
	if owner, _ := c.policy.OwnerOf(c.Primary()); owner != head.By || !c.policy.IsAdmin(owner) {
		return string(policy.NotAdmin)
	}
	return ""
}

func decodePolicy(c *counted) (reason string) {
	doc, err := record.Decode[policy.Document](c.Verified, record.KindPolicy)
	if err != nil {
		return why(err)
	}
	c.value = doc
	c.policy, err = policy.Compile(doc, c.Digest())
	return why(err)
}

// signer judges whose record it is, and finds its head.
func (r *reference) signer(c *counted) (reason string) {
	head, now := c.Head(), r.inForce()
	if head.Store != r.identity {
		return ledger.ReasonWrongStore
	}
	owner, known := now.OwnerOf(c.Primary())
	_, machine := now.Reconciler(owner)
	c.locked = r.isLocked(owner, c.Primary())
	switch {
	case !known:
		return ledger.ReasonNotInPolicy
	case owner != head.By:
		return ledger.ReasonWrongSigner
	case machine != (head.Kind == record.KindReceipt || head.Kind == record.KindHeartbeat):
		return ledger.ReasonNotReconciler
	case head.Kind == record.KindCancellation:
	case head.Kind == record.KindUnlock:
		u, err := revoke.DecodeUnlock(c.Verified)
		if err != nil && r.isLocked(owner, c.Primary()) || err == nil && !r.maySignUnlock(u, c.Primary()) {
			return string(policy.Locked)
		}
	case r.isLocked(owner, c.Primary()):
		return string(policy.Locked)
	}
	for i, commit := range r.commits[:r.position-1] {
		if string(commit) == head.Head {
			c.headAt = i + 1
		}
	}
	return ""
}

// common judges what else all records have in common.
func (r *reference) common(c *counted) (reason string) {
	head, now := c.Head(), r.inForce()
	owner, _ := now.OwnerOf(c.Primary())
	_, machine := now.Reconciler(owner)
	if c.headAt == 0 && !head.Kind.TakesAway() {
		return ledger.ReasonUnknownHead
	}
	for _, other := range r.counted {
		// What takes away counts beside another with its id.
		if other.ID == head.ID && (!head.Kind.TakesAway() || other.Digest() == c.Digest()) {
			return ledger.ReasonDuplicateID
		}
	}
	if head.Kind.TakesAway() || machine {
		return ""
	}
	if r.lockedAfter(c.headAt, owner, c.Primary()) {
		r.kept++
		return string(policy.HeadTooOld)
	}
	if !r.stayed(c.headAt, func(p *policy.Policy) bool { return has(p, owner, c.Primary()) }) {
		r.away++
		return string(policy.HeadTooOld)
	}
	return ""
}

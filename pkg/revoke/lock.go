package revoke

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// Lock shuts out a person, or a key, from where it stands in the history. Any one
// admin signs it: taking away needs less than giving.
type Lock struct {
	record.Head `yaml:",inline"`
	// Person is one of the people, or Key the fingerprint of a certificate: one of
	// the two.
	Person string             `yaml:"person,omitempty"`
	Key    record.Fingerprint `yaml:"key,omitempty"`
	Reason string             `yaml:"reason"`
}

// Unlock agrees to lift a lock. It takes the threshold of the admins.
type Unlock struct {
	record.Head `yaml:",inline"`
	Lock        record.ID `yaml:"lock"`
	Reason      string    `yaml:"reason"`
}

// DecodeLock gives the lock in v.
func DecodeLock(v record.Verified) (Lock, error) {
	l, err := record.Decode[Lock](v, record.KindLock)
	if err != nil {
		return Lock{}, err
	}
	if (l.Person == "") == (l.Key == "") {
		return Lock{}, &record.Refusal{Reason: record.ReasonBadValue, Detail: "it names a person or a key, one of the two"}
	}
	if len(l.Person) > record.MaxName {
		return Lock{}, &record.Refusal{Reason: record.ReasonBadValue, Detail: fmt.Sprintf("person is longer than %d bytes", record.MaxName)}
	}
	return l, request.CheckText("reason", l.Reason, true)
}

// DecodeUnlock gives the unlock in v.
func DecodeUnlock(v record.Verified) (Unlock, error) {
	u, err := record.Decode[Unlock](v, record.KindUnlock)
	if err != nil {
		return Unlock{}, err
	}
	if u.Lock == "" {
		return Unlock{}, &record.Refusal{Reason: record.ReasonBadValue, Detail: "lock is missing"}
	}
	return u, request.CheckText("reason", u.Reason, true)
}

// Held is a lock that counts, with what became of it.
type Held struct {
	// ID is what it is known by, here and to those who lift it: see [Locks.IDFor]. Record
	// is the id that it has, where that is another.
	ID     record.ID
	Record record.ID `json:",omitempty"`
	// Position and Order are its place in the history; At the time that it claims.
	Position, Order int
	At              time.Time
	By, Reason      string
	Person          string             `json:",omitempty"`
	Key             record.Fingerprint `json:",omitempty"`
	// Owner is whose Key it was in the policy in force there; empty for nobody's.
	Owner string `json:",omitempty"`
	// Signed is the certificate that signed the lock, and Subkey the subkey of it that
	// did; empty where it was the primary key.
	Signed  record.Fingerprint
	Subkey  record.Fingerprint `json:",omitempty"`
	Unlocks []Lift             `json:",omitempty"`
	// Lifted is the position from which it holds nobody any more; 0 while it does.
	Lifted int `json:",omitempty"`
}

// Lift is one admin's agreement to lift a lock.
type Lift struct {
	ID         record.ID
	Position   int
	At         time.Time
	By, Reason string
	Key        record.Fingerprint
	Subkey     record.Fingerprint `json:",omitempty"` // of Key, where that signed
	// Lost says that it counts no more, and can be given again: the admin was locked
	// after it, ceased to be one or to have the key, or the key was compromised.
	Lost bool `json:",omitempty"`
}

// Whom says in words what is locked.
func (h Held) Whom() string {
	switch {
	case h.Person != "":
		return h.Person
	case h.Owner != "":
		return "key " + string(h.Key) + " of " + h.Owner
	}
	return "key " + string(h.Key)
}

// holds reports whether it stands and names the person or the key.
func (h Held) holds(person string, key record.Fingerprint) bool {
	return h.Lifted == 0 && h.names(person, key)
}

func (h Held) names(person string, key record.Fingerprint) bool {
	return person != "" && h.Person == person || key != "" && h.Key == key
}

// Locks are all locks of a history, in its order.
type Locks []Held

// On gives the lock that holds a person, or a key, back here; nil for none.
func (l Locks) On(person string, key record.Fingerprint) *Held {
	return l.on(person, key, func(Held) bool { return false })
}

// on gives the same, without the locks of which but is true.
func (l Locks) on(person string, key record.Fingerprint, but func(Held) bool) *Held {
	return l.first(func(h Held) bool { return h.holds(person, key) && !but(h) })
}

// first gives the first lock of which something is true; nil for none.
func (l Locks) first(is func(Held) bool) *Held {
	if i := slices.IndexFunc(l, is); i >= 0 {
		return &l[i]
	}
	return nil
}

// Beside gives the other locks that stand of the same person or key as one.
func (l Locks) Beside(lock Held) (all Locks) {
	for _, h := range l {
		if h.ID != lock.ID && h.holds(lock.Person, lock.Key) {
			all = append(all, h)
		}
	}
	return all
}

// Free reports whether a person has a key under a policy with which what they sign
// counts.
func (l Locks) Free(p *policy.Policy, name string) bool {
	person, ok := p.Person(name)
	return ok && slices.ContainsFunc(person.Keys, func(k record.Fingerprint) bool { return l.On(name, k) == nil })
}

// Find gives the place of a lock in the list; -1 for none.
func (l Locks) Find(id record.ID) int {
	return slices.IndexFunc(l, func(h Held) bool { return h.ID == id })
}

// IDFor gives the id by which a lock is to be known that comes after these: its own, or
// where one of them is known by that, its time with the first eighty bits of the record's
// digest; or of the digest of that, and so on. Whoever sees a lock before it counts can
// make another with its id, and what is agreed to about the one is not about the other.
func (l Locks) IDFor(own record.ID, digest record.Digest) record.ID {
	id := own
	for l.Find(id) >= 0 {
		u, err := ulid.ParseStrict(string(own))
		sum, bad := hex.DecodeString(string(digest))
		if err != nil || bad != nil || u.SetEntropy(sum[:min(len(sum), 10)]) != nil {
			return own // neither comes from a record that was verified
		}
		id, digest = record.ID(u.String()), record.Sum(sum)
	}
	return id
}

// WithIDOf gives the other locks that have the id of one, as records.
func (l Locks) WithIDOf(lock Held) (all Locks) {
	for _, h := range l {
		if h.ID != lock.ID && cmp.Or(h.Record, h.ID) == cmp.Or(lock.Record, lock.ID) {
			all = append(all, h)
		}
	}
	return all
}

// Refuse says why nothing counts that a person signs with a key; nil where nothing
// holds them back.
func (l Locks) Refuse(person string, key record.Fingerprint) error {
	return l.On(person, key).refusal()
}

// RefuseUnseen says why nothing counts any more that a person signed with a key before
// they were locked, when they had seen the history up to a position; nil where no lock of
// theirs came after it. That the lock was lifted since changes nothing: what they had
// agreed to is lost with a lock and must be given again, also where somebody kept it
// back until all was over.
func (l Locks) RefuseUnseen(person string, key record.Fingerprint, seen int) error {
	for _, h := range l {
		if h.Position > seen && h.names(person, key) {
			return &policy.Refusal{Code: policy.HeadTooOld, Hint: "run: jit sync, and sign it again",
				Message: fmt.Sprintf("it was signed before %s was locked, by %s: %s", h.Whom(), h.By, h.Reason)}
		}
	}
	return nil
}

func (h *Held) refusal() error {
	if h == nil {
		return nil
	}
	return &policy.Refusal{Code: policy.Locked, Message: fmt.Sprintf("%s is locked, by %s: %s", h.Whom(), h.By, h.Reason),
		Hint: "the admins can lift the lock: jit unlock " + h.ID.Short() + " -r REASON"}
}

// Keys is what a history knows of certificates.
type Keys struct {
	// Known reports whether the store has one, and Signs whether it can sign what counts.
	Known, Signs func(record.Fingerprint) bool
	// Compromised reports whether the key that signed a lock was revoked as compromised.
	Compromised func(Held) bool
}

// free counts the admins who could agree to lift any lock: whom only locks hold that a
// compromised key has signed can agree to lift those, and then the others.
func (l Locks) free(p *policy.Policy, keys Keys) int {
	n := 0
	for _, name := range p.Document().Admins.People {
		person, _ := p.Person(name)
		if slices.ContainsFunc(person.Keys, func(k record.Fingerprint) bool {
			return keys.Signs(k) && l.on(name, k, keys.Compromised) == nil
		}) {
			n++
		}
	}
	return n
}

// MaxLocks is how many locks of one person or key by one admin may stand at once. One is
// enough, and a second is for one whose clock was ahead; a bound keeps an admin who dates
// back a little each time from piling them up, of which each must be lifted.
const MaxLocks = 2

// Counts gives the lock that counts of those that hold a person, or a key, at a time: the
// first that does not claim to be from after it; nil for none. One that does takes
// nothing that takes effect before that.
func (l Locks) Counts(person string, key record.Fingerprint, at time.Time) *Held {
	return l.counts(person, key, at, func(Held) bool { return false })
}

// counts gives the same, without the locks of which but is true.
func (l Locks) counts(person string, key record.Fingerprint, at time.Time, but func(Held) bool) *Held {
	return l.first(func(h Held) bool { return h.holds(person, key) && !h.At.After(at) && !but(h) })
}

// MayLock judges a lock under the policy in force at its place. Where only a lock that
// a compromised key has signed holds somebody, or one that claims to be from after this
// one, they can be locked again: else a lock dated ahead would keep out the one that takes
// what comes before its time.
func (l Locks) MayLock(p *policy.Policy, x Lock, keys Keys) error {
	refuse := func(code policy.Code, hint, format string, args ...any) error {
		return &policy.Refusal{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	if !p.IsAdmin(x.By) {
		return refuse(policy.NotAdmin, "ask one of the admins", "%s is not an admin, and only admins lock", x.By)
	}
	if x.Person != "" {
		if _, ok := p.Person(x.Person); !ok {
			return refuse(policy.UnknownPerson, "run: jit policy show", "%+q is not one of the people in the policy", x.Person)
		}
	} else if _, ok := p.OwnerOf(x.Key); !ok && !keys.Known(x.Key) {
		return refuse(policy.NoSuchKey, "give the full fingerprint, as shown by: jit whoami", "neither the policy nor the store has a key %s", x.Key)
	}
	if h := l.counts(x.Person, x.Key, x.Created.Time, keys.Compromised); h != nil {
		return refuse(policy.AlreadyLocked, "see: jit status", "%s is locked already, by %s: %s", h.Whom(), h.By, h.Reason)
	}
	mine := 0
	for _, h := range l {
		if h.holds(x.Person, x.Key) && h.By == x.By && !keys.Compromised(h) {
			mine++
		}
	}
	if mine >= MaxLocks {
		return refuse(policy.AlreadyLocked, "another admin can lock them as well; see: jit status",
			"%d locks by %s of the same stand already, and claim a later time", mine, x.By)
	}
	threshold := p.Document().Admins.Threshold
	with := append(slices.Clone(l), Held{Person: x.Person, Key: x.Key})
	if left := with.free(p, keys); left < threshold && left < l.free(p, keys) {
		return refuse(policy.LastAdmins, "let another admin be named first: jit policy edit",
			"the lock would leave %d admins who are not locked and have a key that counts, and %d must agree to lift one", left, threshold)
	}
	return nil
}

// MaySignUnlock refuses an agreement by one who is locked. A lock that a compromised key
// has signed keeps nobody, also not the locked themselves, from agreeing to lift such a
// lock: a thief of one admin's key could lock so many that the others, without that
// admin, would be too few. The lock stands all the same until as many as ever agree: if
// it fell with the key, the theft of one key would set free whom its owner had locked.
func (l Locks) MaySignUnlock(x Unlock, key record.Fingerprint, void func(Held) bool) error {
	if i := l.Find(x.Lock); i >= 0 && void(l[i]) {
		return l.on(x.By, key, void).refusal()
	}
	return l.Refuse(x.By, key)
}

// MayUnlock judges one admin's agreement, with a key, to lift a lock. void reports
// whether the key that signed a lock was revoked as compromised.
func (l Locks) MayUnlock(p *policy.Policy, x Unlock, key record.Fingerprint, void func(Held) bool) error {
	refuse := func(code policy.Code, hint, format string, args ...any) error {
		return &policy.Refusal{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	if err := l.MaySignUnlock(x, key, void); err != nil {
		return err
	}
	i := l.Find(x.Lock)
	switch {
	case !p.IsAdmin(x.By):
		return refuse(policy.NotAdmin, "ask one of the admins", "%s is not an admin, and only admins lift a lock", x.By)
	case i < 0:
		return refuse(policy.NoSuchRecord, "see: jit status", "there is no lock %s", x.Lock)
	case l[i].Lifted > 0:
		return refuse(policy.NotLocked, "see: jit status", "the lock of %s is lifted already", l[i].Whom())
	case l[i].isOf(p, x.By) && !void(l[i]):
		return refuse(policy.OwnLock, "another admin must lift it", "%s cannot lift the lock of %s", x.By, l[i].Whom())
	}
	if slices.Contains(l.Agreed(i, p, void), x.By) {
		return refuse(policy.CountedOnce, "others of the admins must agree; see: jit status", "%s has agreed already to lift the lock of %s", x.By, l[i].Whom())
	}
	return nil
}

// isOf reports whether it is a person, or a key of theirs, that is locked.
func (h Held) isOf(p *policy.Policy, name string) bool {
	owner, owned := p.OwnerOf(h.Key)
	return h.Person == name || h.Key != "" && (h.Owner == name || owned && owner == name)
}

// Agreed gives the admins of the policy in force who agree to lift the lock at i.
func (l Locks) Agreed(i int, p *policy.Policy, void func(Held) bool) []string {
	var names []string
	for _, u := range l[i].Unlocks {
		if !u.Lost && p.IsAdmin(u.By) && (void(l[i]) || !l[i].isOf(p, u.By)) && !slices.Contains(names, u.By) {
			names = append(names, u.By)
		}
	}
	return names
}

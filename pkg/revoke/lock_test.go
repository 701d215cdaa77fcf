package revoke

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

func lockKey(n int) record.Fingerprint { return record.Fingerprint(fmt.Sprintf("%040d", n)) }

// three is a policy with three admins, of whom two must agree; ann has two keys, and
// dan is no admin.
func three(t testing.TB) *policy.Policy {
	t.Helper()
	p, err := policy.Compile(policy.Document{Body: policy.Body{
		Admins: policy.Admins{People: []string{"ann", "ben", "cat"}, Threshold: 2},
		People: map[string]policy.Person{
			"ann": {Keys: []record.Fingerprint{lockKey(1), lockKey(11)}}, "ben": {Keys: []record.Fingerprint{lockKey(2)}},
			"cat": {Keys: []record.Fingerprint{lockKey(3)}}, "dan": {Keys: []record.Fingerprint{lockKey(4)}},
		},
		Resources: map[string]policy.Resource{"db": {Driver: "postgres", Roles: map[string]policy.Role{"read": {}}}},
		Rules:     []policy.Rule{{Name: "all", Resources: []string{"*"}, Roles: []string{"*"}, Requesters: []string{"*"}, MaxDuration: record.Duration{Duration: 1e12}, Approve: policy.ApproveAuto}},
	}}, "d")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func ofPerson(name string) Held { return Held{ID: record.ID("of " + name), Person: name, By: "cat"} }
func ofKey(n int, owner string) Held {
	return Held{ID: record.ID(fmt.Sprint("of ", n)), Key: lockKey(n), Owner: owner, By: "cat"}
}

// stolen is a lock that a key signed which was found to be compromised.
func stolen(h Held) Held {
	h.Signed = lockKey(66)
	return h
}

func TestMayLock(t *testing.T) {
	keys := Keys{
		Known:       func(k record.Fingerprint) bool { return k == lockKey(9) },
		Compromised: func(h Held) bool { return h.Signed == lockKey(66) },
	}
	for _, c := range []struct {
		name   string
		have   Locks
		by     string
		person string
		key    int
		want   policy.Code
		cannot int // a key that cannot sign any more
	}{
		{"a person", nil, "ann", "dan", 0, "", 0},
		{"an admin", nil, "ann", "ben", 0, "", 0},
		{"oneself", nil, "ann", "ann", 0, "", 0},
		{"a key of the policy", nil, "ann", "", 4, "", 0},
		{"a key of the store", nil, "ann", "", 9, "", 0},
		{"a key of nobody", nil, "ann", "", 8, policy.NoSuchKey, 0},
		{"a stranger", nil, "ann", "zoe", 0, policy.UnknownPerson, 0},
		{"by one who is no admin", nil, "dan", "ben", 0, policy.NotAdmin, 0},
		{"a person twice", Locks{ofPerson("dan")}, "ann", "dan", 0, policy.AlreadyLocked, 0},
		{"a key twice", Locks{ofKey(4, "dan")}, "ann", "", 4, policy.AlreadyLocked, 0},
		{"the key of one who is locked", Locks{ofPerson("dan")}, "ann", "", 4, "", 0},
		{"one whose lock was lifted", Locks{{Person: "dan", Lifted: 7}}, "ann", "dan", 0, "", 0},
		{"a second admin of three", Locks{ofPerson("ben")}, "ann", "cat", 0, policy.LastAdmins, 0},
		{"a second admin's only key", Locks{ofPerson("ben")}, "ann", "", 3, policy.LastAdmins, 0},
		{"one of a second admin's keys", Locks{ofPerson("ben")}, "cat", "", 11, "", 0},
		{"the other of a second admin's keys", Locks{ofPerson("ben"), ofKey(11, "ann")}, "cat", "", 1, policy.LastAdmins, 0},
		{"one who is no admin, where few are left", Locks{ofPerson("ben"), ofPerson("cat")}, "ann", "dan", 0, "", 0},
		{"an admin, where another's key cannot sign", nil, "ann", "ben", 0, policy.LastAdmins, 3},
		{"that other one", nil, "ann", "cat", 0, "", 3},
		{"a key, where another's cannot sign", nil, "ann", "", 2, policy.LastAdmins, 3},
		{"an admin, where one of another's keys cannot sign", nil, "cat", "ben", 0, "", 11},
		{"one who is no admin, where a key cannot sign", nil, "ann", "dan", 0, "", 3},
		{"a second admin, where a thief locked the first", Locks{stolen(ofPerson("ben"))}, "ann", "cat", 0, "", 0},
		{"again whom a thief locked", Locks{stolen(ofPerson("ben"))}, "ann", "ben", 0, "", 0},
		{"again whom a thief locked, where too few are left", Locks{stolen(ofPerson("ben")), ofPerson("cat")}, "ann", "ben", 0, policy.LastAdmins, 0},
	} {
		l := Lock{Head: record.Head{By: c.by}, Person: c.person}
		if c.key > 0 {
			l.Key = lockKey(c.key)
		}
		keys.Signs = func(k record.Fingerprint) bool { return c.cannot == 0 || k != lockKey(c.cannot) }
		if err := c.have.MayLock(three(t), l, keys); policy.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// TestMayLockBesideOneDatedAhead: a lock that claims to be from after another does not keep
// that one out, and no admin piles them up.
func TestMayLockBesideOneDatedAhead(t *testing.T) {
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	lock := func(h Held, by string, hour int) Held {
		h.By, h.At = by, noon.Add(time.Duration(hour)*time.Hour)
		return h
	}
	dan := func(by string, hour int) Held { return lock(ofPerson("dan"), by, hour) }
	keys := Keys{
		Signs:       func(record.Fingerprint) bool { return true },
		Known:       func(record.Fingerprint) bool { return false },
		Compromised: func(h Held) bool { return h.Signed == lockKey(66) },
	}
	for _, c := range []struct {
		name string
		have Locks
		want policy.Code
	}{
		{"one from before", Locks{dan("cat", -1)}, policy.AlreadyLocked},
		{"one of the same time", Locks{dan("cat", 0)}, policy.AlreadyLocked},
		{"one dated ahead", Locks{dan("cat", 1)}, ""},
		{"one dated ahead, and one from before", Locks{dan("cat", 1), dan("ben", -1)}, policy.AlreadyLocked},
		{"one dated ahead by the same", Locks{dan("ann", 1)}, ""},
		{"two dated ahead by the same", Locks{dan("ann", 2), dan("ann", 1)}, policy.AlreadyLocked},
		{"two dated ahead by another", Locks{dan("cat", 2), dan("cat", 1)}, ""},
		{"two dated ahead by the same, one with a stolen key", Locks{stolen(dan("ann", 2)), dan("ann", 1)}, ""},
		{"two dated ahead by the same, one lifted", Locks{{Person: "dan", By: "ann", At: noon.Add(time.Hour), Lifted: 3}, dan("ann", 1)}, ""},
		{"two by the same, of others", Locks{lock(ofKey(4, "dan"), "ann", 1), dan("ann", 1)}, ""},
		// Who is locked already is none the fewer.
		{"one dated ahead, of an admin where few are left", Locks{lock(ofPerson("ben"), "cat", 1), lock(ofPerson("cat"), "ann", 0)}, ""},
	} {
		x := Lock{Head: record.Head{By: "ann", Created: record.At(noon)}, Person: c.have[0].Person}
		if x.Person == "" {
			x.Person = "dan"
		}
		if err := c.have.MayLock(three(t), x, keys); policy.CodeOf(err) != c.want {
			t.Errorf("beside %s: %v, want %q", c.name, err, c.want)
		}
	}
	l := Locks{dan("cat", 2), {ID: "lifted", Person: "dan", Lifted: 4}, dan("ben", 1), ofPerson("ann")}
	l[2].ID = "second"
	for hour, want := range map[int]record.ID{0: "", 1: "second", 2: l[0].ID} {
		got := l.Counts("dan", "", noon.Add(time.Duration(hour)*time.Hour))
		if (got == nil) != (want == "") || got != nil && got.ID != want {
			t.Errorf("at %d: %+v, want %q", hour, got, want)
		}
	}
	if all := l.Beside(l[0]); len(all) != 1 || all[0].ID != "second" {
		t.Errorf("beside: %+v", all)
	}
}

func TestIDFor(t *testing.T) {
	const own, first, second = record.ID("01JGXGB810R6F3PM7Q8G4ZJ2TD"), record.ID("01JGXGB8100000000000000000"), record.ID("01JGXGB810CSM7NBFRCAYQEV4F")
	digest := record.Digest(strings.Repeat("0", 64))
	for _, c := range []struct {
		have []record.ID
		want record.ID
	}{
		{nil, own},
		{[]record.ID{first}, own},
		{[]record.ID{own}, first},
		{[]record.ID{own, first}, second},
	} {
		var l Locks
		for _, id := range c.have {
			l = append(l, Held{ID: id})
		}
		if got := l.IDFor(own, digest); got != c.want {
			t.Errorf("beside %v: %s, want %s", c.have, got, c.want)
		}
	}
	l := Locks{{ID: own}, {ID: first, Record: own}, {ID: second}}
	if all := l.WithIDOf(l[0]); len(all) != 1 || all[0].ID != first {
		t.Errorf("with the id of the first: %+v", all)
	}
	if all := l.WithIDOf(l[2]); len(all) != 0 {
		t.Errorf("with the id of the third: %+v", all)
	}
}

func TestMayUnlock(t *testing.T) {
	signed := func(h Held, by ...string) Held {
		for _, name := range by {
			h.Unlocks = append(h.Unlocks, Lift{By: name, Key: lockKey(slices.Index([]string{"", "ann", "ben", "cat"}, name))})
		}
		return h
	}
	void := func(h Held) bool { return h.Signed == lockKey(66) }
	lost := func(h Held) Held {
		h.Unlocks[len(h.Unlocks)-1].Lost = true
		return h
	}
	p := three(t)
	for _, c := range []struct {
		name string
		lock Held
		by   string
		want policy.Code
	}{
		{"an admin", ofPerson("dan"), "ann", ""},
		{"another", signed(ofPerson("dan"), "ann"), "ben", ""},
		{"one who is no admin", ofPerson("cat"), "dan", policy.NotAdmin},
		{"the same again", signed(ofPerson("dan"), "ann"), "ann", policy.CountedOnce},
		{"the same again, who had lost it", lost(signed(ofPerson("dan"), "cat")), "cat", ""},
		{"one's own", ofPerson("ann"), "ann", policy.Locked},
		{"one's own, by a thief", stolen(ofPerson("ann")), "ann", ""},
		{"that of one's key, by a thief", stolen(ofKey(1, "ann")), "ann", ""},
		{"one's own other key", ofKey(11, "ann"), "ann", policy.OwnLock},
		{"a key that is one's own by now", ofKey(11, ""), "ann", policy.OwnLock},
		{"what is lifted", Held{ID: "of dan", Person: "dan", Lifted: 3}, "ann", policy.NotLocked},
	} {
		x := Unlock{Head: record.Head{By: c.by}, Lock: c.lock.ID}
		if err := (Locks{c.lock}).MayUnlock(p, x, lockKey(slices.Index([]string{"", "ann", "ben", "cat", "dan"}, c.by)), void); policy.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	// Who is locked twice, or agrees to what no thief has locked, is locked.
	for _, locks := range []Locks{{stolen(ofPerson("ann")), ofKey(1, "ann")}, {ofPerson("dan"), stolen(ofPerson("ann"))}} {
		if err := locks.MayUnlock(p, Unlock{Head: record.Head{By: "ann"}, Lock: locks[0].ID}, lockKey(1), void); policy.CodeOf(err) != policy.Locked {
			t.Errorf("%+v: %v", locks, err)
		}
	}
	if err := (Locks{}).MayUnlock(p, Unlock{Head: record.Head{By: "ann"}, Lock: "x"}, lockKey(1), void); policy.CodeOf(err) != policy.NoSuchRecord {
		t.Errorf("none: %v", err)
	}
	for _, c := range []struct {
		locks Locks
		want  []string
	}{
		{Locks{signed(ofPerson("dan"), "ann", "ben")}, []string{"ann", "ben"}},
		{Locks{lost(signed(ofPerson("dan"), "ann", "ann", "cat"))}, []string{"ann"}},
		{Locks{signed(ofPerson("dan"), "ann", "dan")}, []string{"ann"}}, // dan is no admin
		{Locks{signed(ofPerson("ann"), "ann", "ben")}, []string{"ben"}},
		{Locks{stolen(signed(ofPerson("ann"), "ann", "ben"))}, []string{"ann", "ben"}},
	} {
		if got := c.locks.Agreed(0, p, void); !slices.Equal(got, c.want) {
			t.Errorf("%v agree, want %v", got, c.want)
		}
	}
}

func TestRefuse(t *testing.T) {
	l := Locks{ofPerson("dan"), ofKey(11, "ann"), {Person: "ben", Lifted: 2}}
	for _, c := range []struct {
		person string
		key    int
		want   bool
	}{{"dan", 4, true}, {"ann", 1, false}, {"ann", 11, true}, {"ben", 2, false}, {"zoe", 11, true}} {
		if err := l.Refuse(c.person, lockKey(c.key)); (policy.CodeOf(err) == policy.Locked) != c.want {
			t.Errorf("%s with key %d: %v", c.person, c.key, err)
		}
	}
	if l[1].Whom() != "key "+string(lockKey(11))+" of ann" || l[0].Whom() != "dan" || (Held{Key: "K"}).Whom() != "key K" {
		t.Errorf("%q, %q", l[0].Whom(), l[1].Whom())
	}
}

// FuzzDecodeLock: whatever is signed, what is taken for a lock names a person or a key,
// one of the two, and one for the lifting of one names a lock; both say why, and come
// back as they were when they are written; and what is refused has a reason.
func FuzzDecodeLock(f *testing.F) {
	for _, s := range []string{
		"person: dan\nreason: lost\n", "key: 0000000000000000000000000000000000000001\nreason: |\n  a\n  b\n",
		"lock: 01M86CT8K00C000003000000R0\nreason: found\n", "person: [dan]\n", "key: \"\"\n", "lock: 1\n", "", "reason: lost\n", "person: dan\n",
		"person: dan\nkey: 0000000000000000000000000000000000000001\nreason: lost\n", "lock: 01M86CT8K00C000003000000R0\nreason: \" \"\n",
	} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	k, err := record.GenerateKey("Ann", "ann@example.org", now.Add(-time.Hour), 0)
	if err != nil {
		f.Fatal(err)
	}
	ring, err := record.NewKeyring(k.Certificate())
	if err != nil {
		f.Fatal(err)
	}
	signer := k.Signer(func() time.Time { return now })
	verified := func(t *testing.T, kind record.Kind, fields string) (record.Verified, error) {
		data := []byte("apiVersion: jit/v1\nkind: " + string(kind) + "\nid: 01M86CT8K00C000003000000R0\ncreated: 2026-11-24T09:00:00Z\nby: ann\n" + fields)
		sig, err := signer.Sign(t.Context(), data)
		if err != nil {
			t.Fatal(err)
		}
		return ring.Verify(data, sig)
	}
	same := func(t *testing.T, x, again any, is func() bool) {
		out, err := record.Encode(x)
		if err == nil {
			err = record.DecodeStrict(out, again)
		}
		if err != nil || !is() {
			t.Errorf("%+v came back as %+v: %v", x, again, err)
		}
	}
	f.Fuzz(func(t *testing.T, fields string) {
		for _, kind := range []record.Kind{record.KindLock, record.KindUnlock} {
			v, err := verified(t, kind, fields)
			if err == nil && kind == record.KindLock {
				var l, again Lock
				if l, err = DecodeLock(v); err == nil {
					if (l.Person == "") == (l.Key == "") || strings.TrimSpace(l.Reason) == "" {
						t.Errorf("%q was taken: %+v", fields, l)
					}
					same(t, l, &again, func() bool { return l == again })
				}
			} else if err == nil {
				var u, again Unlock
				if u, err = DecodeUnlock(v); err == nil {
					if u.Lock == "" || strings.TrimSpace(u.Reason) == "" {
						t.Errorf("%q was taken: %+v", fields, u)
					}
					same(t, u, &again, func() bool { return u == again })
				}
			}
			if err != nil && record.ReasonOf(err) == "" {
				t.Errorf("no reason: %v", err)
			}
		}
	})
}

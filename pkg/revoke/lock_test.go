package revoke

import (
	"fmt"
	"slices"
	"testing"

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

func TestMayLock(t *testing.T) {
	known := func(k record.Fingerprint) bool { return k == lockKey(9) }
	for _, c := range []struct {
		name   string
		have   Locks
		by     string
		person string
		key    int
		want   policy.Code
	}{
		{"a person", nil, "ann", "dan", 0, ""},
		{"an admin", nil, "ann", "ben", 0, ""},
		{"oneself", nil, "ann", "ann", 0, ""},
		{"a key of the policy", nil, "ann", "", 4, ""},
		{"a key of the store", nil, "ann", "", 9, ""},
		{"a key of nobody", nil, "ann", "", 8, policy.NoSuchKey},
		{"a stranger", nil, "ann", "zoe", 0, policy.UnknownPerson},
		{"by one who is no admin", nil, "dan", "ben", 0, policy.NotAdmin},
		{"a person twice", Locks{ofPerson("dan")}, "ann", "dan", 0, policy.AlreadyLocked},
		{"a key twice", Locks{ofKey(4, "dan")}, "ann", "", 4, policy.AlreadyLocked},
		{"the key of one who is locked", Locks{ofPerson("dan")}, "ann", "", 4, ""},
		{"one whose lock was lifted", Locks{{Person: "dan", Lifted: 7}}, "ann", "dan", 0, ""},
		{"a second admin of three", Locks{ofPerson("ben")}, "ann", "cat", 0, policy.LastAdmins},
		{"a second admin's only key", Locks{ofPerson("ben")}, "ann", "", 3, policy.LastAdmins},
		{"one of a second admin's keys", Locks{ofPerson("ben")}, "cat", "", 11, ""},
		{"the other of a second admin's keys", Locks{ofPerson("ben"), ofKey(11, "ann")}, "cat", "", 1, policy.LastAdmins},
		{"one who is no admin, where few are left", Locks{ofPerson("ben"), ofPerson("cat")}, "ann", "dan", 0, ""},
	} {
		l := Lock{Head: record.Head{By: c.by}, Person: c.person}
		if c.key > 0 {
			l.Key = lockKey(c.key)
		}
		if err := c.have.MayLock(three(t), l, known); policy.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestMayUnlock(t *testing.T) {
	signed := func(h Held, by ...string) Held {
		for _, name := range by {
			h.Unlocks = append(h.Unlocks, Lift{By: name, Key: lockKey(slices.Index([]string{"", "ann", "ben", "cat"}, name))})
		}
		return h
	}
	void := func(k record.Fingerprint) bool { return k == lockKey(3) }
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
		{"the same again, whose key was compromised", signed(ofPerson("dan"), "cat"), "cat", ""},
		{"one's own", ofPerson("ann"), "ann", policy.OwnLock},
		{"one's own other key", ofKey(11, "ann"), "ann", policy.OwnLock},
		{"a key that is one's own by now", ofKey(11, ""), "ann", policy.OwnLock},
		{"what is lifted", Held{ID: "of dan", Person: "dan", Lifted: 3}, "ann", policy.NotLocked},
	} {
		x := Unlock{Head: record.Head{By: c.by}, Lock: c.lock.ID}
		if err := (Locks{c.lock}).MayUnlock(p, x, void); policy.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if err := (Locks{}).MayUnlock(p, Unlock{Head: record.Head{By: "ann"}, Lock: "x"}, void); policy.CodeOf(err) != policy.NoSuchRecord {
		t.Errorf("none: %v", err)
	}
	for _, c := range []struct {
		locks Locks
		want  []string
	}{
		{Locks{signed(ofPerson("dan"), "ann", "ben")}, []string{"ann", "ben"}},
		{Locks{signed(ofPerson("dan"), "ann", "ann", "cat")}, []string{"ann"}}, // cat's key is compromised
		{Locks{signed(ofPerson("dan"), "ann", "ben"), ofPerson("ben")}, []string{"ann"}},
		{Locks{signed(ofPerson("dan"), "ann", "ben"), ofKey(1, "ann")}, []string{"ben"}},
		{Locks{signed(ofPerson("ann"), "ann", "ben")}, []string{"ben"}},
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

// FuzzDecodeLock: whatever is read as a lock or as the lifting of one comes back as
// it was when it is written.
func FuzzDecodeLock(f *testing.F) {
	const head = "apiVersion: jit/v1\nkind: lock\nid: 01M86CT8K00C000003000000R0\nhead: " + "0123456789012345678901234567890123456789\ncreated: 2026-11-24T09:00:00Z\nby: ann\n"
	for _, s := range []string{
		"person: dan\nreason: lost\n", "key: 0000000000000000000000000000000000000001\nreason: |\n  a\n  b\n",
		"lock: 01M86CT8K00C000003000000R0\nreason: found\n", "person: [dan]\n", "key: \"\"\n", "lock: 1\n", "",
	} {
		f.Add([]byte(head + s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var l Lock
		var u Unlock
		for _, v := range []any{&l, &u} {
			if err := record.DecodeStrict(data, v); err != nil {
				if record.ReasonOf(err) == "" {
					t.Errorf("no reason: %v", err)
				}
				continue
			}
			out, err := record.Encode(v)
			if err != nil {
				continue // what cannot be written is refused
			}
			if l2, u2 := (Lock{}), (Unlock{}); record.DecodeStrict(out, &l2) == nil && v == any(&l) && l2 != l || record.DecodeStrict(out, &u2) == nil && v == any(&u) && u2 != u {
				t.Errorf("%q came back as %q", data, out)
			}
		}
	})
}

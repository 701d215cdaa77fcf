package approve

import (
	"fmt"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/receipt"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

var t0 = time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)

// at is so many minutes after t0.
func at(minutes int) time.Time { return t0.Add(time.Duration(minutes) * time.Minute) }

func minutes(n int) record.Duration { return record.Duration{Duration: time.Duration(n) * time.Minute} }

// key is a fingerprint; each n is another.
func key(n int) record.Fingerprint { return record.Fingerprint(fmt.Sprintf("%040X", n)) }

// The people of the tests and their keys: bob has two.
var keysOf = map[string][]record.Fingerprint{
	"alice": {key(1)}, "bob": {key(2), key(12)}, "carol": {key(3)}, "dave": {key(4)}, "erin": {key(5)},
}

// body is a policy with rules: "one" (count 1 of bob, carol, dave) for db:read,
// "two" (1 of group first, then 1 of group second) for db:write, and "auto" for
// db:look.
func body() policy.Body {
	people := map[string]policy.Person{}
	for name, keys := range keysOf {
		people[name] = policy.Person{Keys: keys}
	}
	return policy.Body{
		Admins: policy.Admins{People: []string{"erin"}, Threshold: 1},
		People: people,
		Groups: map[string][]string{"first": {"bob", "carol"}, "second": {"carol", "dave"}},
		Resources: map[string]policy.Resource{"db": {Driver: "postgres", Roles: map[string]policy.Role{
			"read": {Parameters: map[string]string{"role": "reader"}}, "write": {Parameters: map[string]string{"role": "writer"}}, "look": {},
		}}},
		Rules: []policy.Rule{
			{Name: "one", Resources: []string{"db"}, Roles: []string{"read"}, Requesters: []string{"*"}, MaxDuration: minutes(240),
				Stages: []policy.Stage{{Approvers: []string{"bob", "carol", "dave"}, Count: 1}}},
			{Name: "two", Resources: []string{"db"}, Roles: []string{"write"}, Requesters: []string{"*"}, MaxDuration: minutes(240),
				Stages: []policy.Stage{{Approvers: []string{"group:first"}, Count: 1}, {Approvers: []string{"group:second"}, Count: 1}}},
			{Name: "auto", Resources: []string{"db"}, Roles: []string{"look"}, Requesters: []string{"*"}, MaxDuration: minutes(240), Approve: policy.ApproveAuto},
		},
	}
}

// timeline builds a history as the ledger does: each record is judged at its
// place, and kept where it counts.
type timeline struct {
	t   testing.TB
	pos int
	ids int
	// beside is from which position on a merge stands beside the history that brings what
	// comes next; 0 for none.
	beside int
	h      policy.History
	c      Case
}

func newTimeline(t testing.TB, change ...func(*policy.Body)) *timeline {
	tl := &timeline{t: t}
	tl.policy(-600, change...)
	return tl
}

func (tl *timeline) head(kind record.Kind, by string, minute int) record.Head {
	tl.ids++
	id, err := record.NewID(at(minute), zeros(tl.ids))
	if err != nil {
		tl.t.Fatal(err)
	}
	return record.Head{APIVersion: record.APIVersion, Kind: kind, ID: id, Created: record.At(at(minute)), By: by}
}

// zeros reads as one number.
type zeros int

func (z zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(int(z) >> (8 * (i % 4)))
	}
	return len(p), nil
}

// policy puts the policy of the tests in force, with changes.
func (tl *timeline) policy(minute int, change ...func(*policy.Body)) *policy.Policy {
	tl.t.Helper()
	b := body()
	for _, f := range change {
		f(&b)
	}
	tl.pos++
	p, err := policy.Compile(policy.Document{Head: tl.head(record.KindPolicy, "erin", minute), Body: b}, record.Sum(fmt.Append(nil, tl.pos)))
	if err != nil {
		tl.t.Fatal(err)
	}
	tl.h = append(tl.h, policy.InForce{Policy: p, Position: tl.pos, Beside: tl.beside, Since: at(minute), Claimed: at(minute)})
	return p
}

// place puts a record into the next commit, with a head just before it.
func placed[T any](tl *timeline, r T, by string) Placed[T] {
	tl.pos++
	return Placed[T]{Record: r, Position: tl.pos, HeadAt: tl.pos - 1, Beside: tl.beside, Key: keysOf[by][0]}
}

// request makes alice's request at minute 0 for an hour, to lapse at minute 300.
func (tl *timeline) request(change func(*request.Request), roles ...string) *timeline {
	tl.t.Helper()
	r := request.Request{Head: tl.head(record.KindRequest, "alice", 0), Duration: minutes(60), Reason: "to look", Expires: record.At(at(300))}
	for _, role := range roles {
		r.Grants = append(r.Grants, request.Grant{Resource: "db", Role: role})
	}
	if change != nil {
		change(&r)
	}
	if err := r.Check(); err != nil {
		tl.t.Fatal(err)
	}
	var before request.Before
	if needed, _ := r.NeedsPast(tl.h.Latest()); needed {
		before.Past = &policy.Past{} // that of a person who has nothing
	}
	if err := r.Allowed(tl.h.Latest(), before); err != nil {
		tl.t.Fatal(err)
	}
	tl.c = Case{Request: placed(tl, r, r.By), Digest: record.Sum([]byte(r.ID)), Before: before}
	return tl
}

func startAt(minute int) func(*request.Request) {
	return func(r *request.Request) {
		s := record.At(at(minute))
		r.Start = &s
	}
}

type approvalChange = func(*Placed[Approval])

func narrow(n int) approvalChange {
	return func(a *Placed[Approval]) { a.Record.Duration = minutes(n) }
}
func withKey(k record.Fingerprint) approvalChange {
	return func(a *Placed[Approval]) { a.Key = k }
}
func withSubkey(k record.Fingerprint) approvalChange {
	return func(a *Placed[Approval]) { a.Subkey = k }
}
func headAt(position int) approvalChange { return func(a *Placed[Approval]) { a.HeadAt = position } }

// tryApprove judges an approval and keeps it where it counts.
func (tl *timeline) tryApprove(by string, minute int, change ...approvalChange) error {
	a := placed(tl, Approval{Head: tl.head(record.KindApproval, by, minute), Request: tl.c.Request.Record.ID, RequestDigest: tl.c.Digest}, by)
	for _, f := range change {
		f(&a)
	}
	err := tl.c.MayApprove(tl.h, a, nil)
	if err == nil {
		tl.c.Approvals = append(tl.c.Approvals, a)
	}
	return err
}

func (tl *timeline) approve(by string, minute int, change ...approvalChange) *timeline {
	tl.t.Helper()
	if err := tl.tryApprove(by, minute, change...); err != nil {
		tl.t.Fatalf("approval by %s at minute %d: %v", by, minute, err)
	}
	return tl
}

func (tl *timeline) deny(by string, minute int) *timeline {
	tl.t.Helper()
	if err := tl.c.MayDeny(tl.h.Latest(), revoke.Who{By: by}); err != nil {
		tl.t.Fatal(err)
	}
	tl.c.Denials = append(tl.c.Denials, placed(tl, Denial{Head: tl.head(record.KindDenial, by, minute), Reason: "no"}, by))
	return tl
}

func (tl *timeline) withdraw(by string, minute int) *timeline {
	tl.t.Helper()
	if err := tl.c.MayWithdraw(by); err != nil {
		tl.t.Fatal(err)
	}
	tl.c.Withdrawals = append(tl.c.Withdrawals, placed(tl, Withdrawal{Head: tl.head(record.KindWithdrawal, by, minute)}, by))
	return tl
}

func (tl *timeline) cancel(minute int) *timeline {
	tl.c.Cancellations = append(tl.c.Cancellations, placed(tl, revoke.Cancellation{Head: tl.head(record.KindCancellation, "alice", minute)}, "alice"))
	return tl
}

func (tl *timeline) revoke(by string, minute int) *timeline {
	tl.t.Helper()
	if err := revoke.MayRevoke(tl.h.Latest(), tl.c.Request.Record, revoke.Who{By: by}); err != nil {
		tl.t.Fatal(err)
	}
	tl.c.Revocations = append(tl.c.Revocations, placed(tl, revoke.Revocation{Head: tl.head(record.KindRevocation, by, minute), Reason: "enough"}, by))
	return tl
}

// opened notes that a reconciler has opened what was asked for.
func (tl *timeline) opened(minute int) *timeline {
	for _, g := range tl.c.Request.Record.Grants {
		x := receipt.Receipt{Head: tl.head(record.KindReceipt, "db1", minute), Resource: g.Resource, Role: g.Role, Outcome: receipt.Applied}
		tl.pos++
		tl.c.Receipts = append(tl.c.Receipts, Placed[receipt.Receipt]{Record: x, Position: tl.pos, HeadAt: tl.pos - 1})
	}
	return tl
}

// compromise revokes a key as compromised.
func (tl *timeline) compromise(k record.Fingerprint, minute int) *timeline {
	tl.pos++
	if tl.c.Void == nil {
		tl.c.Void = map[record.Fingerprint]Void{}
	}
	tl.c.Void[k] = Void{Position: tl.pos, At: at(minute)}
	return tl
}

func (tl *timeline) decide(minute int) Decision { return Decide(tl.h, tl.c, at(minute)) }

// state asserts where the request stands at a minute.
func (tl *timeline) state(minute int, want State) *timeline {
	tl.t.Helper()
	if d := tl.decide(minute); d.State != want {
		tl.t.Errorf("at minute %d: %s, want %s\n%+v", minute, d.State, want, d)
	}
	return tl
}

// window asserts when access opens and ends, in minutes.
func (tl *timeline) window(minute, opens, ends int) *timeline {
	tl.t.Helper()
	if d := tl.decide(minute); !d.Opens.Equal(at(opens)) || !d.Ends.Equal(at(ends)) {
		tl.t.Errorf("at minute %d: from %s to %s, want %s to %s", minute, d.Opens, d.Ends, at(opens), at(ends))
	}
	return tl
}

// why asserts what became of the n-th approval; "" that it counts.
func (tl *timeline) why(minute, n int, want policy.Code) *timeline {
	tl.t.Helper()
	if s := tl.decide(minute).Approvals[n]; s.Why != want || s.Counted != (want == "") {
		tl.t.Errorf("at minute %d: approval %d by %s: counted %t, %q; want %q", minute, n, s.By, s.Counted, s.Why, want)
	}
	return tl
}

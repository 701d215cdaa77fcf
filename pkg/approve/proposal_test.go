package approve

import (
	"slices"
	"testing"

	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// admins makes a policy with these admins.
func admins(threshold int, people ...string) func(*policy.Body) {
	return func(b *policy.Body) { b.Admins = policy.Admins{People: people, Threshold: threshold} }
}

// propose makes a proposal by somebody, with approvals by others a minute apart.
func propose(tl *timeline, by string, change func(*policy.Body), others ...string) Proposal {
	b := body()
	change(&b)
	doc := policy.Document{Head: tl.head(record.KindPolicy, by, 0), Replaces: tl.h.Latest().Digest(), Body: b}
	e := record.At(at(100))
	doc.Expires = &e
	p := Proposal{Policy: placed(tl, doc, by), Digest: record.Sum([]byte(doc.ID))}
	for i, other := range others {
		p.Approvals = append(p.Approvals, placed(tl, Approval{Head: tl.head(record.KindApproval, other, i+1)}, other))
	}
	return p
}

func TestDecidePolicy(t *testing.T) {
	old := admins(2, "erin", "dave", "carol")
	for name, c := range map[string]struct {
		by      string
		change  func(*policy.Body)
		others  []string
		reached bool
		changes bool
		minute  int
		oldWho  []string
	}{
		"the proposer agrees":                {by: "erin", change: old, oldWho: []string{"dave", "carol"}},
		"two of three":                       {by: "erin", change: old, others: []string{"carol"}, reached: true, minute: 1, oldWho: []string{"dave"}},
		"one admin twice":                    {by: "erin", change: old, others: []string{"erin", "erin"}, oldWho: []string{"dave", "carol"}},
		"somebody else":                      {by: "bob", change: old, others: []string{"erin", "alice"}, oldWho: []string{"dave", "carol"}},
		"by somebody else, agreed":           {by: "bob", change: old, others: []string{"erin", "dave"}, reached: true, minute: 2, oldWho: []string{"carol"}},
		"new admins agree for themselves":    {by: "bob", change: admins(2, "alice", "bob"), others: []string{"alice"}, changes: true, oldWho: []string{"erin", "dave", "carol"}},
		"the old agree, the new do not":      {by: "erin", change: admins(1, "bob"), others: []string{"dave"}, changes: true, oldWho: []string{"carol"}},
		"old and new agree":                  {by: "erin", change: admins(1, "bob"), others: []string{"dave", "bob"}, changes: true, reached: true, minute: 2, oldWho: []string{"carol"}},
		"a higher threshold needs itself":    {by: "erin", change: admins(3, "erin", "dave", "carol"), others: []string{"dave"}, changes: true, oldWho: []string{"carol"}},
		"a higher threshold, reached":        {by: "erin", change: admins(3, "erin", "dave", "carol"), others: []string{"dave", "carol"}, changes: true, reached: true, minute: 2, oldWho: nil},
		"a lower threshold needs the old":    {by: "erin", change: admins(1, "erin", "dave", "carol"), changes: true, oldWho: []string{"dave", "carol"}},
		"the order of admins is no change":   {by: "erin", change: admins(2, "carol", "erin", "dave"), others: []string{"dave"}, reached: true, minute: 1, oldWho: []string{"carol"}},
		"a threshold of nobody is not there": {by: "erin", change: admins(0, "erin"), others: []string{"dave"}, changes: true, oldWho: []string{"carol"}},
		"one admin removed by the others":    {by: "erin", change: admins(2, "erin", "dave"), others: []string{"dave"}, changes: true, reached: true, minute: 1, oldWho: []string{"carol"}},
	} {
		t.Run(name, func(t *testing.T) {
			tl := newTimeline(t, old)
			p := propose(tl, c.by, c.change, c.others...)
			d := DecidePolicy(tl.h.Latest(), p)
			if d.Reached != c.reached || d.Changes != c.changes || !slices.Equal(d.Old.Who, c.oldWho) {
				t.Errorf("%+v", d)
			}
			if c.reached && !d.At.Equal(at(c.minute)) {
				t.Errorf("reached at %s, want %s", d.At, at(c.minute))
			}
		})
	}
}

func TestCompromisedKeyAgreesToNoPolicy(t *testing.T) {
	tl := newTimeline(t, admins(2, "erin", "dave", "carol"))
	p := propose(tl, "erin", otherRule, "dave")
	if !DecidePolicy(tl.h.Latest(), p).Reached {
		t.Fatal("not reached")
	}
	p.Policy.Subkey, p.Approvals[0].Subkey = key(90), key(91)
	for _, k := range []record.Fingerprint{p.Policy.Key, p.Approvals[0].Key, key(90), key(91)} {
		p.Void = map[record.Fingerprint]Void{k: {Position: 9, At: at(9)}}
		if d := DecidePolicy(tl.h.Latest(), p); d.Reached || len(d.Old.Have) != 1 {
			t.Errorf("key %s still agrees: %+v", k, d)
		}
	}
}

func TestMayApprovePolicy(t *testing.T) {
	for name, c := range map[string]struct {
		by     string
		minute int
		change approvalChange
		other  bool // another version came into force
		want   policy.Code
	}{
		"an admin":           {by: "erin", minute: 1},
		"an admin to be":     {by: "bob", minute: 1},
		"nobody":             {by: "carol", minute: 1, want: policy.NotAdmin},
		"the last minute":    {by: "erin", minute: 99},
		"lapsed":             {by: "erin", minute: 100, want: policy.Lapsed},
		"narrower":           {by: "erin", minute: 1, change: narrow(1), want: policy.Widens},
		"had not seen it":    {by: "erin", minute: 1, change: headAt(1), want: policy.HeadTooOld},
		"replaces no longer": {by: "erin", minute: 1, other: true, want: policy.NotReplacing},
	} {
		t.Run(name, func(t *testing.T) {
			tl := newTimeline(t)
			p := propose(tl, "erin", admins(1, "erin", "bob"))
			if c.other {
				tl.policy(1)
			}
			a := placed(tl, Approval{Head: tl.head(record.KindApproval, c.by, c.minute)}, c.by)
			if c.change != nil {
				c.change(&a)
			}
			if err := p.MayApprovePolicy(tl.h.Latest(), a); policy.CodeOf(err) != c.want || (err == nil) != (c.want == "") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

package ledger_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
)

// hasKeyOf gives somebody the key of another in place of their own.
func hasKeyOf(w *world, name, other string) func(*policy.Document) {
	return func(d *policy.Document) {
		d.People = maps.Clone(d.People)
		p := d.People[name]
		p.Keys = []record.Fingerprint{w.certs[other].Fingerprint()}
		d.People[name] = p
	}
}

// TestReplacedKeys: what was signed with a key that a version takes from its owner, and
// is not decided or open by then, is lost for good, be the key given back or not.
func TestReplacedKeys(t *testing.T) {
	w := lending(t)
	body := w.body
	giveBack := func(d *policy.Document) { d.Body = body }
	w.counted(w.push(w.delegation("carol", "bob")...), 1)
	open, d := w.askedBy("zoe")
	kept := w.approval(open, d, "carol")
	w.changed(hasKeyOf(w, "carol", "mallory"))
	w.changed(giveBack)
	over := w.delegations()[0]
	if over.State != approve.DelegationOver || !strings.Contains(over.Ended.Reason, "the key that signed it from carol") || w.l.Acting("bob", w.now) != nil {
		t.Errorf("the delegation is %s: %+v", over.State, over.Ended)
	}
	w.refused(w.push(kept...), string(policy.HeadTooOld))
	w.counted(w.push(w.approval(open, d, "carol")...), 1)
	waits, d := w.askedBy("zoe")
	w.changed(hasKeyOf(w, "zoe", "mallory"))
	for range 2 {
		w.state(open.ID, approve.Active)
		w.state(waits.ID, approve.Revoked)
		w.changed(giveBack)
	}
	w.refused(w.push(w.approval(waits, d, "carol")...), string(policy.AfterEnd))
	w.same(3, 6, 9)
}

// TestAdminsWhoAreNobodyYet: a version that its new admins could never agree to is
// refused, and none waits for one who can sign nothing that counts.
func TestAdminsWhoAreNobodyYet(t *testing.T) {
	w := newWorld(t)
	admins := func(threshold int) func(*policy.Document) {
		return func(d *policy.Document) {
			d.People = maps.Clone(d.People)
			d.People["zed"] = policy.Person{Keys: []record.Fingerprint{w.certs["mallory"].Fingerprint()}}
			d.Admins = policy.Admins{People: []string{"alice", "carol", "zed"}, Threshold: threshold}
		}
	}
	_, files := w.proposal("alice", admins(3))
	w.refused(w.push(files...), string(policy.AdminsUnknown))
	doc, files := w.proposal("alice", admins(2))
	w.counted(w.push(files...), 1)
	p, err := w.l.Proposal(doc.ID, w.now)
	w.must(err)
	if p.State != approve.Proposed || !slices.Equal(p.New.Who, []string{"carol"}) {
		t.Errorf("%s, and waits for %q", p.State, p.New.Who)
	}
	w.refused(w.push(w.policyApproval(doc, files[0], "mallory")...), ledger.ReasonNotInPolicy)
	w.counted(w.push(w.policyApproval(doc, files[0], "carol")...), 1)
	if w.l.Policy().ID() != doc.ID {
		t.Error("carol was the last who must agree")
	}
}

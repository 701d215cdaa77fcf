package ledger_test

import (
	"bytes"
	"context"
	"crypto"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/ledger"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
	"github.com/jitaccess/jit/pkg/revoke"
)

// keySet is a certificate with two subkeys, all of which sign.
type keySet struct {
	secret  []byte
	cert    *record.Certificate
	primary record.Signer
	signers [3]record.Signer // the primary key's, and those of the subkeys
	now     func() time.Time
}

func pgpConfig(at time.Time) *packet.Config {
	return &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA, Curve: packet.Curve25519, DefaultHash: crypto.SHA512,
		Time: func() time.Time { return at }, NonDeterministicSignaturesViaNotation: packet.BoolPointer(false)}
}

// makeKeySet makes one that signs by a clock, made at a time and good for as long as life,
// or without end.
func makeKeySet(name string, at time.Time, life time.Duration, now func() time.Time) (*keySet, error) {
	c := pgpConfig(at)
	c.KeyLifetimeSecs = uint32(life / time.Second)
	e, err := openpgp.NewEntity(name, "", name+"@example.com", c)
	if err != nil {
		return nil, err
	}
	e.Subkeys = nil
	for range 2 {
		if err := e.AddSigningSubkey(c); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	if err := e.SerializePrivateWithoutSigning(&b, nil); err != nil {
		return nil, err
	}
	k := &keySet{secret: b.Bytes(), now: func() time.Time { return at }}
	k.primary, err = record.OpenKey(armoured(openpgp.PrivateKeyType, k.secret), func() time.Time { return k.now() })
	if err != nil {
		return nil, err
	}
	k.now = now
	k.signers[0] = k.primary
	for i, sub := range e.Subkeys {
		k.signers[1+i] = subkeySigner{k.primary, sub.PrivateKey, now}
	}
	k.cert, err = k.primary.Certificate(context.Background())
	return k, err
}

func armoured(kind string, data []byte) []byte {
	var b bytes.Buffer
	w, err := armor.Encode(&b, kind, nil)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err)
	}
	return append(b.Bytes(), '\n')
}

func (k *keySet) entity() *openpgp.Entity {
	e, err := openpgp.ReadEntity(packet.NewReader(bytes.NewReader(k.secret)))
	if err != nil {
		panic(err)
	}
	return e
}

type subkeySigner struct {
	record.Signer
	key *packet.PrivateKey
	now func() time.Time
}

func (s subkeySigner) Sign(_ context.Context, data []byte) ([]byte, error) {
	sig := &packet.Signature{Version: s.key.Version, SigType: packet.SigTypeBinary, PubKeyAlgo: s.key.PubKeyAlgo, Hash: crypto.SHA512,
		CreationTime: s.now(), IssuerKeyId: &s.key.KeyId}
	h, err := sig.PrepareSign(pgpConfig(s.now()))
	if err != nil {
		return nil, err
	}
	h.Write(data)
	if err := sig.Sign(h, s.key, pgpConfig(s.now())); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := sig.Serialize(&b); err != nil {
		return nil, err
	}
	return armoured(openpgp.SignatureType, b.Bytes()), nil
}

// subkey gives the fingerprint of subkey 1 or 2.
func (k *keySet) subkey(i int) record.Fingerprint {
	return record.Fingerprint(fmt.Sprintf("%X", k.entity().Subkeys[i-1].PublicKey.Fingerprint))
}

// revoked gives the certificate's file with a revocation of subkey 1 or 2 in it.
func (k *keySet) revoked(i int, reason packet.ReasonForRevocation, at time.Time) file {
	e := k.entity()
	if err := e.Subkeys[i-1].Revoke(reason, "over", pgpConfig(at)); err != nil {
		panic(err)
	}
	var b bytes.Buffer
	if err := e.Serialize(&b); err != nil {
		panic(err)
	}
	c, err := record.ParseCertificate(armoured(openpgp.PublicKeyType, b.Bytes()))
	if err != nil {
		panic(err)
	}
	return certFile(c.Armor())
}

// subkeys is a world in which the people have keys with subkeys: alice, carol and erin are
// the admins, all of whom must agree; carol may delegate, and bob ask in an emergency.
type subkeys struct {
	*world
	sets map[string]*keySet
}

func newSubkeys(t testing.TB) *subkeys {
	t.Helper()
	s := &subkeys{newWorld(t), map[string]*keySet{}}
	var certs []file
	for _, name := range []string{"alice", "bob", "carol", "erin", "robot"} {
		k, err := makeKeySet(name, noon.Add(-48*time.Hour), 0, func() time.Time { return s.now })
		s.must(err)
		s.sets[name], certs = k, append(certs, certFile(k.cert.Armor()))
	}
	s.push(certs...)
	s.changed(func(d *policy.Document) {
		people := map[string]policy.Person{}
		for name := range d.People {
			people[name] = policy.Person{Keys: []record.Fingerprint{s.sets[name].cert.Fingerprint()}}
		}
		d.People, d.Reconcilers = people, map[string]policy.Reconciler{"robot": {Keys: []record.Fingerprint{s.sets["robot"].cert.Fingerprint()}, Resources: []string{"db"}}}
		d.Delegation.Longest.Duration = 24 * time.Hour
		rule := d.Rules[0]
		rule.MaxTotal.Duration = 8 * time.Hour
		rule.Emergency = &policy.Emergency{Requesters: []string{"bob"}, MaxDuration: record.Duration{Duration: time.Hour}, Acknowledge: record.Duration{Duration: 24 * time.Hour}}
		d.Rules = []policy.Rule{rule}
	})
	for name, k := range s.sets {
		s.signers[name], s.certs[name] = k.primary, k.cert
	}
	s.changed(func(d *policy.Document) { d.Admins = policy.Admins{People: []string{"alice", "erin"}, Threshold: 2} })
	s.changed(func(d *policy.Document) { d.Admins.People = []string{"alice", "erin", "carol"} })
	doc, f := s.proposal("alice", func(d *policy.Document) { d.Admins.Threshold = 3 })
	s.counted(s.push(f...), 1)
	s.counted(s.push(s.policyApproval(doc, f[0], "erin")...), 1)
	s.counted(s.push(s.policyApproval(doc, f[0], "carol")...), 1)
	if s.body = doc.Body; s.l.Policy().ID() != doc.ID {
		t.Fatal("the policy did not come into force")
	}
	return s
}

// twoMustApprove changes the rule so.
func (s *subkeys) twoMustApprove() {
	s.Helper()
	doc, f := s.proposal("alice", func(d *policy.Document) {
		rule := d.Rules[0]
		rule.Stages = []policy.Stage{{Approvers: []string{"alice", "carol", "erin"}, Count: 2}}
		d.Rules = []policy.Rule{rule}
	})
	s.counted(s.push(f...), 1)
	s.counted(s.push(s.policyApproval(doc, f[0], "erin")...), 1)
	s.counted(s.push(s.policyApproval(doc, f[0], "carol")...), 1)
}

// with does something while somebody signs with their primary key, 0, or a subkey.
func (s *subkeys) with(name string, i int, do func()) {
	was := s.signers[name]
	s.signers[name] = s.sets[name].signers[i]
	do()
	s.signers[name] = was
}

// is reports whether a request is in a state.
func (s *subkeys) is(id record.ID, want approve.State) bool {
	s.Helper()
	e, err := s.l.Request(id, s.now)
	s.must(err)
	return e.State == want
}

// TestCompromisedSubkey: what was signed with a subkey that its owner then revokes as one
// that others may hold counts for nothing, as if the certificate were; what was signed
// with another key of the same certificate stays, and so does what was signed with a
// subkey that is only retired.
func TestCompromisedSubkey(t *testing.T) {
	for _, c := range []struct {
		name, by string
		// signed has somebody sign with the key that with gives them, and gives whether
		// that counts.
		signed func(s *subkeys, with func(do func())) (counts func() bool)
	}{
		{"a request that waits", "bob", func(s *subkeys, with func(func())) func() bool {
			var r request.Request
			with(func() { r, _ = s.asked() })
			return func() bool { return s.is(r.ID, approve.Pending) }
		}},
		{"a request that is open", "bob", func(s *subkeys, with func(func())) func() bool {
			var r request.Request
			with(func() { r, _ = s.approved() })
			return func() bool { return s.is(r.ID, approve.Active) }
		}},
		{"the approval of what is open", "carol", func(s *subkeys, with func(func())) func() bool {
			r, d := s.asked()
			with(func() { s.counted(s.push(s.approval(r, d, "carol")...), 1) })
			return func() bool { return s.is(r.ID, approve.Active) }
		}},
		{"the approval of what opens later", "carol", func(s *subkeys, with func(func())) func() bool {
			start := record.At(s.now.Add(time.Hour))
			r, f := s.request(func(r *request.Request) { r.Start = &start })
			s.counted(s.push(f...), 1)
			with(func() { s.counted(s.push(s.approval(r, record.Sum([]byte(f[0].data)), "carol")...), 1) })
			return func() bool { return s.is(r.ID, approve.Scheduled) }
		}},
		{"one of two approvals", "carol", func(s *subkeys, with func(func())) func() bool {
			s.twoMustApprove()
			r, d := s.asked()
			with(func() { s.counted(s.push(s.approval(r, d, "carol")...), 1) })
			return func() bool { w := s.why(r.ID); return w.Counted && w.Why == "" && s.is(r.ID, approve.Pending) }
		}},
		{"the approval of what was prolonged", "carol", func(s *subkeys, with func(func())) func() bool {
			r, d := s.asked()
			with(func() { s.counted(s.push(s.approval(r, d, "carol")...), 1) })
			more, f := s.request(func(x *request.Request) { x.Extends, x.Expires = r.ID, record.At(s.now.Add(time.Hour)) })
			s.counted(s.push(f...), 1)
			s.counted(s.push(s.approval(more, record.Sum([]byte(f[0].data)), "alice")...), 1)
			return func() bool { return s.is(more.ID, approve.Active) }
		}},
		{"a delegation", "carol", func(s *subkeys, with func(func())) func() bool {
			with(func() { s.counted(s.push(s.delegation("carol", "erin")...), 1) })
			return func() bool { return s.delegations()[0].State == approve.DelegationActive }
		}},
		{"a delegation under which something is open", "carol", func(s *subkeys, with func(func())) func() bool {
			with(func() { s.counted(s.push(s.delegation("carol", "erin")...), 1) })
			r, d := s.asked()
			s.counted(s.push(s.approval(r, d, "erin")...), 1)
			return func() bool { return s.is(r.ID, approve.Active) }
		}},
		{"a policy version that waits", "alice", func(s *subkeys, with func(func())) func() bool {
			var doc policy.Document
			with(func() {
				var f []file
				doc, f = s.proposal("alice", nil)
				s.counted(s.push(f...), 1)
			})
			return func() bool { return s.agreed(doc.ID) == 1 }
		}},
		{"an agreement to a policy version", "erin", func(s *subkeys, with func(func())) func() bool {
			doc, f := s.proposal("alice", nil)
			s.counted(s.push(f...), 1)
			with(func() { s.counted(s.push(s.policyApproval(doc, f[0], "erin")...), 1) })
			return func() bool { return s.agreed(doc.ID) == 2 }
		}},
		{"an agreement to lift a lock", "erin", func(s *subkeys, with func(func())) func() bool {
			s.counted(s.push(s.lock("alice", "bob")...), 1)
			with(func() { s.counted(s.push(s.unlock("erin")...), 1) })
			return func() bool { names, _ := s.l.Agreed(s.l.Locks()[0].ID); return len(names) == 1 }
		}},
		{"a lock, which the locked may not agree to lift", "carol", func(s *subkeys, with func(func())) func() bool {
			with(func() { s.counted(s.push(s.lockKey("carol", "mallory")...), 1) })
			u := revoke.Unlock{Head: s.head(record.KindUnlock, "carol"), Lock: s.l.Locks()[0].ID, Reason: "found"}
			u.By = "mallory"
			return func() bool {
				return policy.CodeOf(s.l.MayUnlock(u, s.certs["mallory"].Fingerprint())) == policy.Locked
			}
		}},
		{"an acknowledgement", "carol", func(s *subkeys, with func(func())) func() bool {
			r, d := s.ask(func(r *request.Request) { r.Emergency = true })
			with(func() { s.counted(s.push(s.ack(r, d, "carol")...), 1) })
			return func() bool {
				owed, err := s.l.Requests(ledger.Filter{Unacknowledged: true}, s.now)
				s.must(err)
				return len(owed) == 0
			}
		}},
		{"the time that a reconciler proves", "robot", func(s *subkeys, with func(func())) func() bool {
			r, d := s.approved()
			s.later(3 * time.Hour)
			with(func() { s.counted(s.push(s.receipt(r, d, "robot")...), 1) })
			s.later(-2 * time.Hour)
			return func() bool {
				_, f := s.request()
				return len(s.push(f...).SetAside) == 1
			}
		}},
		{"what answers a machine", "erin", func(s *subkeys, with func(func())) func() bool {
			s.approved()
			n := len(s.commits)
			with(func() { s.asked(); s.push(s.lockKey("erin", "mallory")...) })
			seen := func() int {
				at, err := s.l.Seen(s.certs["robot"].Fingerprint())
				s.must(err)
				return at
			}
			return func() bool { return seen() > n }
		}},
		{"what outlives a policy version", "alice", func(s *subkeys, with func(func())) func() bool {
			doc, f := s.proposal("carol", nil)
			s.counted(s.push(f...), 1)
			s.later(48 * time.Hour)
			s.push(s.lockKey("erin", "mallory")...)
			with(func() { s.push(s.lock("alice", "bob")...) })
			s.push(s.unlock("carol")...)
			s.later(-48 * time.Hour)
			return func() bool {
				return slices.ContainsFunc(s.push(s.policyApproval(doc, f[0], "erin")...).SetAside, func(x ledger.SetAside) bool { return x.Reason == string(policy.Lapsed) })
			}
		}},
	} {
		for _, k := range []struct {
			name   string
			key    int
			reason packet.ReasonForRevocation
			counts bool
		}{
			{"with the subkey, compromised", 1, packet.KeyCompromised, false},
			{"with the subkey, revoked without a reason", 1, packet.NoReason, false},
			{"with the subkey, retired", 1, packet.KeyRetired, true},
			{"with another subkey", 2, packet.KeyCompromised, true},
			{"with the primary key", 0, packet.KeyCompromised, true},
		} {
			t.Run(c.name+"/"+k.name, func(t *testing.T) {
				s := newSubkeys(t)
				counts := c.signed(s, func(do func()) { s.with(c.by, k.key, do) })
				if !counts() {
					t.Fatal("it does not count before anything is revoked")
				}
				s.push(s.sets[c.by].revoked(1, k.reason, s.now))
				if counts() != k.counts {
					t.Errorf("counts: %t", !k.counts)
				}
				n := len(s.commits)
				s.same(1, n-3, n-2)
			})
		}
	}
}

// agreed gives how many admins agree to a policy version that waits.
func (s *subkeys) agreed(id record.ID) int {
	s.Helper()
	p, err := s.l.Proposal(id, s.now)
	s.must(err)
	return len(p.Old.Have)
}

// TestSubkeyRevokedBefore: nothing is signed any more with a subkey of which the store
// knows that it was revoked, whatever came first; with the others it is. The old copy of
// the certificate brings nothing back.
func TestSubkeyRevokedBefore(t *testing.T) {
	for reason, want := range map[packet.ReasonForRevocation]string{packet.KeyCompromised: "key-compromised", packet.KeySuperseded: "key-revoked"} {
		s := newSubkeys(t)
		s.push(s.sets["carol"].revoked(1, reason, s.now))
		r, d := s.asked()
		s.with("carol", 1, func() { s.refused(s.push(s.approval(r, d, "carol")...), want) })
		s.push(certFile(s.certs["carol"].Armor()))
		s.with("carol", 1, func() { s.refused(s.push(s.approval(r, d, "carol")...), want) })
		s.state(r.ID, approve.Pending)
		s.with("carol", 2, func() { s.counted(s.push(s.approval(r, d, "carol")...), 1) })
		s.state(r.ID, approve.Active)
		// Both in one commit: the certificate is taken first.
		next, nd := s.asked()
		s.with("carol", 2, func() {
			report := s.push(append(s.approval(next, nd, "carol"), s.sets["carol"].revoked(2, reason, s.now))...)
			s.refused(report, want)
		})
		s.state(next.ID, approve.Pending)
		s.state(r.ID, map[string]approve.State{"key-compromised": approve.Revoked, "key-revoked": approve.Active}[want])
		s.same(3, len(s.commits)-3)
	}
}

// TestSubkeyOfAnother: who claims the subkey of another, and revokes it, voids nothing.
func TestSubkeyOfAnother(t *testing.T) {
	s := newSubkeys(t)
	r, d := s.asked()
	s.with("carol", 1, func() { s.counted(s.push(s.approval(r, d, "carol")...), 1) })
	// bob's certificate with the subkey of carol, and a revocation of it by bob's key.
	mine := s.sets["bob"].entity()
	theirs := s.sets["carol"].entity().Subkeys[0]
	config := pgpConfig(s.now)
	code := packet.KeyCompromised
	rev := &packet.Signature{Version: 4, SigType: packet.SigTypeSubkeyRevocation, PubKeyAlgo: mine.PrivateKey.PubKeyAlgo, Hash: crypto.SHA512,
		CreationTime: s.now, IssuerKeyId: &mine.PrivateKey.KeyId, RevocationReason: &code}
	s.must(rev.RevokeSubkey(theirs.PublicKey, mine.PrivateKey, config))
	theirs.Primary, theirs.Bindings, theirs.Revocations = mine, nil, []*packet.VerifiableSignature{packet.NewVerifiableSig(rev)}
	mine.Subkeys = append(mine.Subkeys, theirs)
	var b bytes.Buffer
	s.must(mine.Serialize(&b))
	c, err := record.ParseCertificate(armoured(openpgp.PublicKeyType, b.Bytes()))
	s.must(err)
	if revoked := c.RevokedSubkeys(); len(revoked) != 1 || revoked[0].Subkey != s.sets["carol"].subkey(1) {
		t.Fatalf("the certificate says %v", revoked)
	}
	s.push(certFile(c.Armor()))
	s.state(r.ID, approve.Active)
	next, nd := s.asked()
	s.with("carol", 1, func() { s.counted(s.push(s.approval(next, nd, "carol")...), 1) })
	s.state(next.ID, approve.Active)
	s.same(2, 9)
}

// TestSubkeyRetiredMeanwhile: an approval that was signed by a clock that is ahead takes
// no effect where the subkey that signed it was retired before that.
func TestSubkeyRetiredMeanwhile(t *testing.T) {
	for retired, want := range map[int]approve.State{1: approve.Pending, 2: approve.Active} {
		s := newSubkeys(t)
		r, d := s.asked()
		s.later(time.Hour)
		s.with("carol", 1, func() { s.counted(s.push(s.approval(r, d, "carol")...), 1) })
		s.later(-30 * time.Minute)
		s.push(s.sets["carol"].revoked(retired, packet.KeyRetired, s.now))
		s.later(30 * time.Minute)
		s.state(r.ID, want)
		if w := s.why(r.ID); retired == 1 && w.Why != policy.KeyRetired {
			t.Errorf("counted %t, %q", w.Counted, w.Why)
		}
		s.same(2, 5)
	}
}

// TestHealByARevokedSubkey: a heal is none where the commits that it brings beside the chain
// revoke the subkey that signed it.
func TestHealByARevokedSubkey(t *testing.T) {
	for _, c := range []struct {
		subkey int
		want   string
	}{{1, ledger.ReasonUnknownHead}, {2, ledger.ReasonHealedHead}} {
		s := newSubkeys(t)
		fork := s.tip()
		lost := []file{s.sets["alice"].revoked(1, packet.KeyCompromised, s.now)}
		s.with("alice", c.subkey, func() {
			if _, report := s.healedWith("alice", fork, lost, s.elsewhere(displaced)...); len(report.SetAside) != 1 || report.SetAside[0].Reason != c.want {
				t.Errorf("subkey 1 is revoked, and %d heals: %+v", c.subkey, report.SetAside)
			}
		})
	}
}

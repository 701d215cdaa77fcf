package ledger_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// This is the part of the maker that writes records. They are written as text:
// writing them with the codec, which reads back what it wrote, would take most of
// the time.

// id gives ids whose order is not that in which they are made.
func (m *maker) id() record.ID { return m.idOf(m.now) }

// idOf is id for a record of another time.
func (m *maker) idOf(at time.Time) record.ID {
	sum := sha256.Sum256(fmt.Append(nil, "id", len(m.ids)))
	id, err := record.NewID(at, bytes.NewReader(sum[:]))
	if err != nil {
		panic(err)
	}
	m.ids = append(m.ids, id)
	return id
}

const timeForm = "2006-01-02T15:04:05Z"

func headText(h record.Head) string {
	s := fmt.Sprintf("apiVersion: %s\nkind: %s\nid: %s\n", h.APIVersion, h.Kind, h.ID)
	if h.Store != "" {
		s += "store: " + string(h.Store) + "\n"
	}
	if h.Head != "" {
		s += "head: " + h.Head + "\n"
	}
	return s + fmt.Sprintf("created: %s\nby: %s\n", h.Created.Format(timeForm), h.By)
}

// lay writes a record, signs it and delivers it. Some have a flaw.
func (m *maker) lay(kind record.Kind, key string, beside record.ID, besidePolicy bool, what string, fields func(record.Head) string) (record.Head, record.Digest) {
	h := record.Head{APIVersion: record.APIVersion, Kind: kind, Store: m.ref.identity, Head: string(m.tip()), Created: record.At(m.now), By: m.called(key)}
	odd := 40
	if kind == record.KindReceipt {
		odd = 110 // the newest of them bounds what others may claim
	}
	if m.seldom(odd) {
		off := pick(m, -30, 30, -90, 90, -200, 200, -3000, 3000)
		h.Created = record.At(m.now.Add(time.Duration(off) * time.Minute))
		what += fmt.Sprintf(", as of %s", h.Created.Format("02 15:04"))
	}
	h.ID = m.idOf(h.Created.Time)
	if at := m.ref.lastLock(h.By, m.fingerprint(key)); at > 1 && !m.ref.isLocked(h.By, m.fingerprint(key)) && m.seldom(80) {
		h.Head = string(m.commits[at-2])
		what += fmt.Sprintf(", before they were locked at %d", at)
	} else if at := m.ref.lastAway(h.By, m.fingerprint(key)); at > 1 && m.seldom(80) {
		h.Head = string(m.commits[at-2])
		what += fmt.Sprintf(", before the policy of %d took them, or the key, away", at)
	}
	switch n := m.throw(); {
	case n < 208:
	case n < 222:
		i := m.below(len(m.commits))
		h.Head = string(m.commits[i])
		what += fmt.Sprintf(", having seen %d", i+1)
	case n < 226:
		h.Head = strings.Repeat("0", 38) + "ff"
		what += ", having seen an unknown commit"
	case n < 233 && !m.genuine:
		i := len(m.commits) + m.below(3)
		h.Head = string(m.name(i))
		what += fmt.Sprintf(", having seen %d", i+1)
	case n < 236:
		h.Head = ""
		what += ", having seen nothing"
	case n < 240:
		h.Store = record.StoreID(strings.Repeat("a", 64))
		what += ", for another store"
	case n < 241:
		h.Store = ""
		what += ", for no store"
	case n < 244:
		h.ID = pick(m, m.ids...)
		h.Created = record.At(h.ID.Time())
		what += ", with the id, and the time, of " + h.ID.Short()
	case n < 247:
		h.ID = pick(m, m.ids[0], m.idOf(m.now.AddDate(50, 0, 0)), m.idOf(time.Unix(0, 0)), m.idOf(h.Created.Add(2*time.Minute)))
		what += ", with the id " + h.ID.Short()
	case n < 253:
		key = pick(m, keyNames...)
		what += ", with the key " + key
	}
	text := headText(h) + fields(h)
	m.deliver(m.sign(text, key, record.PathOf(h, beside, besidePolicy), h.Created.Time), fmt.Sprintf("%s [%s]", what, h.ID.Short()))
	return h, record.Sum([]byte(text))
}

// called gives the name that the policy in force gives to the owner of a key, or the one
// that they began with.
func (m *maker) called(key string) string {
	if len(m.ref.counted) > 0 {
		if name, ok := m.ref.inForce().OwnerOf(m.fingerprint(key)); ok {
			return name
		}
	}
	return owner(key)
}

// about gives the fields that name a request or policy version.
func (m *maker) about(id record.ID, digest record.Digest) string {
	if m.seldom(6) {
		digest = m.first
	}
	if m.seldom(4) {
		id = pick(m, m.ids...)
	}
	return fmt.Sprintf("request: %s\nrequestDigest: %s\n", id, digest)
}

func (m *maker) ask() {
	if m.askOtherwise() {
		return
	}
	key := pick(m, "bob", "carol", "bob", "dave", "bob", "alice", "bob", "carol", "bob", "alice.2")
	key = m.asker(key)
	if m.seldom(10) {
		key = pick(m, "mallory", "robot")
	}
	grants := pick(m, []request.Grant{{Resource: "db", Role: "read"}}, []request.Grant{{Resource: "db", Role: "read"}},
		[]request.Grant{{Resource: "web", Role: "read"}}, []request.Grant{{Resource: "db", Role: "read"}, {Resource: "web", Role: "read"}},
		[]request.Grant{{Resource: "db", Role: "write"}}, []request.Grant{{Resource: "db", Role: "read"}, {Resource: "db", Role: "write"}})
	if m.seldom(6) {
		grants = []request.Grant{{Resource: "db", Role: "nothing"}}
	}
	r := request.Request{Grants: grants, Duration: record.Duration{Duration: pick[time.Duration](m, 1, 1, 1, 1, 1, 2, 4, 5) * time.Hour}, Reason: "to look"}
	what := owner(key) + " asks for"
	for _, g := range grants {
		what += " " + g.String()
	}
	var digest record.Digest
	r.Head, digest = m.lay(record.KindRequest, key, "", false, what, func(h record.Head) string {
		var s strings.Builder
		s.WriteString("grants:\n")
		for _, g := range grants {
			fmt.Fprintf(&s, "  - resource: %s\n    role: %s\n", g.Resource, g.Role)
		}
		fmt.Fprintf(&s, "duration: %s\n", r.Duration)
		if m.seldom(40) {
			start := record.At(h.Created.Add(pick[time.Duration](m, 1, 3, 8) * time.Hour))
			r.Start = &start
			fmt.Fprintf(&s, "start: %s\n", start.Format(timeForm))
		}
		r.Expires = record.At(h.Created.Add(pick[time.Duration](m, 4, 8, 20, 1, 30) * time.Hour))
		fmt.Fprintf(&s, "reason: to look\nexpires: %s\n", r.Expires.Format(timeForm))
		return s.String()
	})
	m.asked = append(m.asked, askedFor{r, digest})
}

// one gives a request that was made, rather a new one that counts.
func (m *maker) one() askedFor {
	n, count := len(m.asked), m.ref.ids(record.KindRequest)
	if len(count) > 0 && !m.seldom(24) {
		id := count[m.below(min(len(count), 3))]
		if i := slices.IndexFunc(m.asked, func(r askedFor) bool { return r.ID == id }); i >= 0 {
			return m.asked[i]
		}
	}
	return m.asked[n-1-m.below(min(n, 5))]
}

func (m *maker) approve() {
	if len(m.asked) == 0 {
		return
	}
	r, key := m.one(), pick(m, "carol", "alice", "dave", "alice.2", "carol", "alice", "dave", "carol", "alice", "bob")
	if r.Emergency && !m.seldom(32) && m.acknowledge() || m.extendOpen(r) {
		return
	}
	key, r = m.actor(key, r)
	m.lay(record.KindApproval, key, r.ID, false, owner(key)+" approves "+r.ID.Short(), func(record.Head) string {
		s := m.about(r.ID, r.digest)
		if m.seldom(40) {
			s += "duration: " + pick(m, "30m", "1h", "10h") + "\n"
		}
		return s
	})
}

// besides lays one of the records that stand beside a request.
func (m *maker) besides(kind record.Kind) {
	field := map[record.Kind]string{record.KindDenial: "reason: not now\n", record.KindRevocation: "reason: enough\n", record.KindComment: "comment: well\n"}[kind]
	if len(m.asked) == 0 || kind == record.KindComment && m.acknowledge() {
		return
	}
	r := m.one()
	if base, ok := m.prolonged(); ok && m.seldom(100) {
		r = base
	}
	key := pick(m, "carol", "alice", "dave")
	if q, ok := m.ref.request(r.ID); ok && kind == record.KindWithdrawal && len(q.Approvals) > 0 {
		key = keyOf(q.Approvals[len(q.Approvals)-1].Record.By)
	} else if kind == record.KindCancellation {
		key = keyOf(r.By)
	}
	if kind == record.KindDenial || kind == record.KindRevocation {
		key, r = m.actor(key, r)
		if at, ok := m.pastDuty(); ok && m.seldom(60) {
			now := m.now
			m.now, key = at, "bob"
			defer func() { m.now = now }()
		}
	}
	if m.seldom(24) {
		key = pick(m, keyNames...)
	}
	// The key's first or last appearance in the same commit: a record that takes away
	// is tried before the certificates and after them.
	switch f := certFile(m.certs[key].Armor()); {
	case m.ref.ring.Lookup(m.fingerprint(key)) == nil && m.seldom(128):
		m.put(f.path, f.data)
		m.say("there is the certificate of %s", key)
	case m.seldom(10):
		f = m.revocation(key, record.RevokedSoft, m.now.Truncate(time.Hour))
		m.put(f.path, f.data)
		m.say("key %s is retired", key)
	}
	m.lay(kind, key, r.ID, false, fmt.Sprintf("%s: %s of %s", owner(key), kind, r.ID.Short()), func(record.Head) string { return m.about(r.ID, r.digest) + field })
}

func (m *maker) receipt() {
	if len(m.asked) == 0 {
		return
	}
	r, key := m.one(), pick(m, "robot", "robot", "rover", "robot", "rover", "bob")
	g := r.Grants[m.below(len(r.Grants))]
	if m.seldom(16) {
		g = request.Grant{Resource: "db", Role: "write"}
	}
	m.lay(record.KindReceipt, key, r.ID, false, fmt.Sprintf("%s: receipt for %s of %s", key, g, r.ID.Short()), func(h record.Head) string {
		return m.about(r.ID, r.digest) + fmt.Sprintf("resource: %s\nrole: %s\naccount: %s\noutcome: %s\nledger: %s\n", g.Resource, g.Role, r.By,
			pick(m, "applied", "ended", "failed"), m.first)
	})
}

func (m *maker) heartbeat() {
	key := pick(m, "robot", "rover", "robot", "rover", "bob")
	beside := record.ID("")
	if m.seldom(10) {
		beside = pick(m, m.ids...)
	}
	m.lay(record.KindHeartbeat, key, beside, false, key+" was there", func(record.Head) string {
		if m.seldom(6) {
			return "comment: and waves\n"
		}
		return ""
	})
}

func (m *maker) propose() {
	key := pick(m, "alice", "dave", "alice", "alice.2", "dave", "carol", "bob")
	replaces := m.inForce()
	t, change := m.terms[replaces], changes[m.below(len(changes))]
	switch {
	case (t.gone != "" || t.oneKey) && m.seldom(100):
		change = leaving[len(leaving)-1]
	case m.seldom(50):
		change = leaving[m.below(len(leaving)-1)]
	}
	change.change(&t)
	if m.seldom(80) {
		m.keep = 2 + m.below(7)
	}
	head, digest := m.lay(record.KindPolicy, key, "", false, owner(key)+" proposes: "+change.name, func(h record.Head) string {
		s := "replaces: " + string(replaces) + "\n"
		ends := pick[time.Duration](m, 48, 48, 10, 4, 1)
		if m.seldom(6) {
			ends = 721
		}
		if !m.seldom(6) {
			s += "expires: " + h.Created.Add(ends*time.Hour).Format(timeForm) + "\n"
		}
		return s + m.body(t)
	})
	m.terms[digest] = t
	m.proposed = append(m.proposed, proposedVersion{head.ID, digest})
}

func (m *maker) agree() {
	if len(m.proposed) == 0 {
		m.propose()
		return
	}
	n := len(m.proposed)
	p := m.proposed[n-1-m.below(min(n, 3))]
	now := m.ref.inForce().Digest()
	if i := slices.IndexFunc(m.proposed, func(p proposedVersion) bool {
		v := m.ref.version(p.id)
		return v != nil && v.Digest() == p.digest && v.policy.Document().Replaces == now
	}); i >= 0 && !m.seldom(24) {
		p = m.proposed[i]
	}
	key := pick(m, "dave", "alice", "dave", "alice.2", "carol", "bob")
	var expires *record.Timestamp
	if v := m.ref.version(p.id); v != nil {
		expires = v.policy.Document().Expires
	}
	switch {
	case m.seldom(24):
		m.keep = 2 + m.below(7)
	case expires != nil && !m.now.Before(expires.Time) && m.seldom(200):
		here := m.now
		m.now = expires.Add(-time.Minute)
		key = m.admin()
		defer func() { m.now = here }()
	}
	m.lay(record.KindApproval, key, p.id, true, owner(key)+" agrees to "+p.id.Short(), func(record.Head) string {
		s := m.about(p.id, p.digest)
		if m.seldom(6) {
			s += "duration: 30m\n"
		}
		return s
	})
}

// turnRound lays what takes away before what it names.
func (m *maker) turnRound() {
	defer func() { m.keep = 0 }()
	m.keep = 1 + m.below(2)
	n := len(m.asked)
	switch way := m.below(3); {
	case way == 0:
		if m.ask(); len(m.asked) == n {
			return
		}
		r := m.asked[n]
		m.lay(record.KindRevocation, "alice", r.ID, false, "alice revokes ahead "+r.ID.Short(), func(record.Head) string { return m.about(r.ID, r.digest) + "reason: enough\n" })
	case way == 1 && n > 0:
		r, key := m.one(), pick(m, "carol", "alice", "dave")
		about := func(record.Head) string { return m.about(r.ID, r.digest) }
		m.lay(record.KindApproval, key, r.ID, false, owner(key)+" approves "+r.ID.Short(), about)
		m.lay(record.KindWithdrawal, key, r.ID, false, owner(key)+" withdraws ahead from "+r.ID.Short(), about)
	default:
		d, _ := m.lay(record.KindDelegation, "carol", "", false, "carol delegates to bob for 8h", func(h record.Head) string {
			return "to: bob\nuntil: " + h.Created.Add(8*time.Hour).Format(timeForm) + "\n"
		})
		m.lay(record.KindDelegationEnd, "carol", "", false, "carol ends ahead "+d.ID.Short(), func(record.Head) string { return fmt.Sprintf("delegation: %s\n", d.ID) })
	}
}

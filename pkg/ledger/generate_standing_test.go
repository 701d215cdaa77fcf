package ledger_test

import (
	"fmt"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/revoke"
)

// This is the part of the maker about people's standing: locks and delegations.

// standing lays one of the records that belong to no one request.
func (m *maker) standing() {
	locks := m.countedIDs(record.KindLock, func(c counted) bool { return !m.ref.lifted(c.known) })
	if m.seldom(170) && m.besideAhead() {
		return
	}
	switch n := m.throw(); {
	case len(locks) > 0 && n < 130:
		m.unlock(locks[m.below(len(locks))])
	case n < 75:
		m.lock()
	case n < 190:
		m.delegate()
	case n < 200 && len(m.ref.ids(record.KindLock)) > 0:
		m.unlock(m.ref.ids(record.KindLock)[0])
	case n < 204:
		m.unlock(pick(m, m.ids...))
	default:
		m.endDelegation()
	}
}

// countedIDs gives the ids of the counted records of a kind of which is is true.
func (m *maker) countedIDs(kind record.Kind, is func(counted) bool) (ids []record.ID) {
	for _, c := range m.ref.counted {
		if c.Kind == kind && is(c) {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// admin gives a key, mostly of an admin who is not locked.
func (m *maker) admin() string {
	var able []string
	for _, key := range []string{"alice.2", "dave", "carol"} {
		if m.ref.inForce().IsAdmin(m.called(key)) && !m.ref.isLocked(m.called(key), m.fingerprint(key)) {
			able = append(able, key)
		}
	}
	if len(able) == 0 || m.seldom(40) {
		return pick(m, "alice", "dave", "carol", "bob")
	}
	return pick(m, able...)
}

func (m *maker) lock() {
	by := m.admin()
	whom := pick(m, "bob", "carol", "bob", "dave", "alice", "carol", "nobody")
	if slices.Contains(keyNames, whom) {
		whom = m.called(whom)
	}
	field := "person: " + whom
	if m.seldom(90) {
		whom = pick(m, keyNames...)
		field = "key: " + string(m.fingerprint(whom))
		whom = "key " + whom
	}
	if m.seldom(4) {
		whom, field = "a key that nobody has", fmt.Sprintf("key: %040X", 1)
	}
	defer m.ahead(90)()
	m.layLock(by, whom, field)
}

func (m *maker) layLock(by, whom, field string) {
	m.lay(record.KindLock, by, "", false, owner(by)+" locks "+whom, func(record.Head) string { return field + "\nreason: lost\n" })
}

func (m *maker) layEnd(by string, id record.ID) {
	m.lay(record.KindDelegationEnd, by, "", false, owner(by)+" ends delegation "+id.Short(), func(record.Head) string { return fmt.Sprintf("delegation: %s\n", id) })
}

// ahead has the clock ahead, as seldom as is said, until what it gives is called.
func (m *maker) ahead(in256 int) (back func()) {
	here := m.now
	if m.seldom(in256) {
		m.now = here.Add(pick[time.Duration](m, 400, 60) * time.Minute)
	}
	return func() { m.now = here }
}

// besideAhead lays a lock, or the end of a delegation, beside one that claims a time still
// to come; it reports false where there is none.
func (m *maker) besideAhead() bool {
	for i, c := range m.ref.counted {
		switch v := c.value.(type) {
		case revoke.Lock:
			if m.ref.lifted(v.ID) || !v.Created.After(m.now) {
				continue
			}
			field, whom := "person: "+v.Person, v.Person
			if v.Key != "" {
				field, whom = "key: "+string(v.Key), "key "+string(v.Key)
			}
			m.layLock(m.admin(), whom, field)
			return true
		case approve.Delegation:
			if m.ref.over(i) && m.ref.endedAt(i).After(m.now) {
				m.layEnd(pick(m, "carol", "alice", "bob", "dave"), v.ID)
				return true
			}
		}
	}
	return false
}

func (m *maker) unlock(id record.ID) {
	by := m.admin()
	m.lay(record.KindUnlock, by, "", false, owner(by)+" agrees to lift lock "+id.Short(), func(record.Head) string {
		return fmt.Sprintf("lock: %s\nreason: found\n", id)
	})
}

func (m *maker) delegate() {
	by, to := pick(m, "alice", "carol", "alice", "dave", "carol", "alice.2", "bob"), pick(m, "bob", "bob", "bob", "bob", "carol", "alice", "dave", "nobody")
	if slices.Contains(keyNames, to) {
		to = m.called(to)
	}
	hours := time.Duration(pick(m, 20, 20, 8, 2, 60))
	m.lay(record.KindDelegation, by, "", false, fmt.Sprintf("%s delegates to %s for %dh", owner(by), to, hours), func(h record.Head) string {
		s := "to: " + to + "\n"
		begins := h.Created.Time
		if m.seldom(40) {
			begins = begins.Add(pick[time.Duration](m, 1, 3, -1) * time.Hour)
			s += "start: " + begins.Format(timeForm) + "\n"
		}
		return s + "until: " + begins.Add(hours*time.Hour).Format(timeForm) + "\n"
	})
}

func (m *maker) endDelegation() {
	ids := m.ref.ids(record.KindDelegation)
	if len(ids) == 0 {
		ids = m.ids
	}
	id := ids[m.below(min(len(ids), 3))]
	by := pick(m, "alice", "bob", "carol", "dave", "alice.2")
	defer m.ahead(130)()
	m.layEnd(by, id)
}

// actor gives, rather often, one who acts for somebody, with what another asks for
// that waits.
func (m *maker) actor(key string, r askedFor) (string, askedFor) {
	if len(m.ref.acting("bob", m.now)) == 0 || !m.seldom(180) {
		return key, r
	}
	for _, a := range slices.Backward(m.asked) {
		if c, ok := m.ref.request(a.ID); ok && a.By != "bob" && approve.Decide(m.ref.succession(), c, m.now).State == approve.Pending {
			return "bob", a
		}
	}
	return "bob", r
}

// pastDuty gives a time at which bob acted for somebody, and does not any more.
func (m *maker) pastDuty() (at time.Time, ok bool) {
	for i, c := range m.ref.counted {
		if d, is := c.value.(approve.Delegation); is && d.To == "bob" && d.Begins().Before(m.now) && m.ref.delegationState(i, m.now) != approve.DelegationActive {
			return d.Begins().Add(time.Minute), true
		}
	}
	return at, false
}

// asker gives, rather often, one for whose request somebody else is acting.
func (m *maker) asker(key string) string {
	if len(m.ref.acting("bob", m.now)) > 0 && m.seldom(180) {
		return pick(m, "dave", "carol", "dave", "alice.2")
	}
	return key
}

// standings counts what the property test must have seen of locks and delegations.
type standings struct{ lifted, locked, forOthers, over int }

func (y *standings) add(s *stand) {
	h := s.ref.succession()
	for i, c := range s.ref.counted {
		switch v := c.value.(type) {
		case revoke.Lock:
			if s.ref.lifted(v.ID) {
				y.lifted++
			}
		case approve.Delegation:
			if s.ref.over(i) {
				y.over++
			}
		}
	}
	for _, id := range s.ref.ids(record.KindRequest) {
		c, _ := s.ref.request(id)
		d := approve.Decide(h, c, s.now)
		if d.EndedBy != nil && len(d.EndedBy.Reason) > 7 && d.EndedBy.Reason[:7] == "locked:" {
			y.locked++
		}
		for _, a := range d.Approvals {
			if len(a.For) > 0 {
				y.forOthers++
			}
		}
	}
}

package ledger_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// This is the part of the maker that knows of requests that have to do with others:
// extensions, emergencies and their acknowledgement, limits and conflicts.

// family is what a policy version says of them.
type family struct {
	extends   bool // for an hour more than one window
	emergency int  // db may be taken at once; 2: whatever is owed
	open      int  // how many of a person may be open under db, or 0
	inRole    int
	cooling   bool // an hour between
	conflict  bool // db:read and db:write
	partial   bool
}

// families are those with which a store begins.
var families = []family{{}, {extends: true}, {extends: true, emergency: 1}, {extends: true, emergency: 1, open: 2}, {emergency: 2, inRole: 3, conflict: true},
	{extends: true, partial: true}, {extends: true, emergency: 1, open: 1, cooling: true, partial: true}, {conflict: true, cooling: true}}

func init() {
	changes = append(changes, []change{
		{"db may be extended, or not", func(t *terms) { t.extends = !t.extends }},
		{"other emergencies", func(t *terms) { t.emergency = (t.emergency + 1) % 3 }},
		{"one open at once, or any", func(t *terms) { t.open = 1 - min(t.open, 1) }},
		{"db:read and db:write conflict, or not", func(t *terms) { t.conflict = !t.conflict }},
	}...)
}

// write adds to a policy what f says.
func (f family) write(b *policy.Body) {
	for i := range b.Rules {
		r := &b.Rules[i]
		r.Partial = f.partial
		if f.extends {
			r.MaxTotal = record.Duration{Duration: r.MaxDuration.Duration + time.Hour}
		}
		if r.Name != "db" {
			continue
		}
		r.MaxOpen, r.MaxOpenPerRole = f.open, f.inRole
		if f.cooling {
			r.CoolingOff = record.Duration{Duration: time.Hour}
		}
		if f.emergency > 0 {
			r.Emergency = &policy.Emergency{Requesters: []string{"team:dev"}, MaxDuration: record.Duration{Duration: time.Hour},
				Acknowledge: record.Duration{Duration: 2 * time.Hour}, Acknowledgers: []string{"team:ops", "team:boss"}, Repeat: f.emergency == 2}
		}
	}
	if f.conflict {
		b.Conflicts = []policy.Conflict{{Name: "apart", Between: []string{"db:read", "db:write"}}}
	}
}

// askOtherwise makes an extension or an emergency, seldom enough; it reports whether
// it has.
func (m *maker) askOtherwise() bool {
	switch n := m.throw(); {
	case n >= 224:
		m.takeAtOnce()
		return true
	case n >= 150:
		return m.extend()
	}
	return false
}

// askText writes the fields of a request.
func askText(r request.Request) string {
	var s strings.Builder
	s.WriteString("grants:\n")
	for _, g := range r.Grants {
		fmt.Fprintf(&s, "  - resource: %s\n    role: %s\n", g.Resource, g.Role)
	}
	fmt.Fprintf(&s, "duration: %s\nreason: to look\n", r.Duration)
	if r.Emergency {
		s.WriteString("emergency: true\n")
	}
	if r.Extends != "" {
		fmt.Fprintf(&s, "extends: %s\n", r.Extends)
	}
	fmt.Fprintf(&s, "expires: %s\n", r.Expires.Format(timeForm))
	return s.String()
}

func (m *maker) takeAtOnce() {
	key := pick(m, "bob", "carol", "bob", "dave", "bob", "alice")
	if i := slices.IndexFunc(m.asked, func(a askedFor) bool { return a.Emergency }); i >= 0 && m.seldom(128) {
		key = keyOf(m.asked[i].By) // once more
	}
	r := request.Request{Grants: []request.Grant{{Resource: "db", Role: pick(m, "read", "read", "write")}}, Emergency: true,
		Duration: record.Duration{Duration: pick[time.Duration](m, 1, 1, 1, 1, 2) * time.Hour}}
	var digest record.Digest
	r.Head, digest = m.lay(record.KindRequest, key, "", false, owner(key)+" takes "+r.Grants[0].String()+" at once", func(h record.Head) string {
		r.Expires = record.At(h.Created.Add(4 * time.Hour))
		return askText(r)
	})
	m.asked = append(m.asked, askedFor{r, digest})
}

// extend asks to prolong a request, rather one that is open; false where there is none.
func (m *maker) extend() bool {
	if len(m.asked) == 0 {
		return false
	}
	base, ends := m.one(), m.now.Add(time.Hour)
	grants, open := base.Grants, false
	for _, id := range m.ref.ids(record.KindRequest) {
		c, _ := m.ref.request(id)
		d := approve.Decide(m.ref.succession(), c, m.now)
		if i := slices.IndexFunc(m.asked, func(a askedFor) bool { return a.ID == id }); i >= 0 && d.State == approve.Active {
			base, ends, grants, open = m.asked[i], d.Ends, nil, true
			for _, g := range d.Grants {
				if g.State == approve.Active {
					grants = append(grants, g.Grant)
					if g.Ends.Before(ends) {
						ends = g.Ends
					}
				}
			}
			if !m.seldom(64) {
				break // else an older one
			}
		}
	}
	if !open && !m.seldom(24) {
		return false
	}
	key := keyOf(base.By)
	if !slices.Contains(keyNames, key) || m.seldom(12) {
		key = pick(m, "bob", "carol", "dave")
	}
	r := request.Request{Grants: grants, Duration: record.Duration{Duration: pick[time.Duration](m, 60, 60, 30, 240, 120) * time.Minute}, Extends: base.ID}
	var digest record.Digest
	r.Head, digest = m.lay(record.KindRequest, key, "", false, key+" extends "+base.ID.Short(), func(h record.Head) string {
		r.Expires = record.At(ends)
		if m.seldom(12) || !ends.After(h.Created.Time) {
			r.Expires = record.At(h.Created.Add(2 * time.Hour))
		}
		return askText(r)
	})
	m.asked = append(m.asked, askedFor{r, digest})
	return true
}

// extendOpen extends a request that is open where it is asked to approve it once more.
func (m *maker) extendOpen(r askedFor) bool {
	c, ok := m.ref.request(r.ID)
	return ok && m.seldom(160) && approve.Decide(m.ref.succession(), c, m.now).State == approve.Active && m.extend()
}

// prolonged gives a request that another one prolongs.
func (m *maker) prolonged() (askedFor, bool) {
	for _, x := range slices.Backward(m.asked) {
		if i := slices.IndexFunc(m.asked, func(a askedFor) bool { return a.ID == x.Extends }); i >= 0 {
			if _, counts := m.ref.request(x.ID); counts {
				return m.asked[i], true
			}
		}
	}
	return askedFor{}, false
}

// acknowledge lays an acknowledgement, rather of an emergency; false where there is
// none, and another record is to be laid.
func (m *maker) acknowledge() bool {
	r := m.one()
	if !r.Emergency && !m.seldom(8) && !slices.ContainsFunc(m.asked, func(a askedFor) bool { return a.Emergency }) {
		return false
	}
	for _, id := range m.ref.ids(record.KindRequest) {
		if i := slices.IndexFunc(m.asked, func(a askedFor) bool { return a.ID == id && a.Emergency }); i >= 0 && !m.seldom(32) {
			r = m.asked[i]
			break
		}
	}
	key := pick(m, "alice", "dave", "carol", "dave", "alice.2", "bob")
	m.lay(record.KindAcknowledgement, key, r.ID, false, owner(key)+" acknowledges "+r.ID.Short(), func(record.Head) string { return m.about(r.ID, r.digest) })
	return true
}

// relations are how often requests had to do with others.
type relations struct{ extensions, prolonged, endedTogether, emergencies, paid, apart int }

func (n *relations) add(s *stand) {
	for _, id := range s.ref.ids(record.KindRequest) {
		c, _ := s.ref.request(id)
		r, d := c.Request.Record, approve.Decide(s.ref.succession(), c, s.now)
		if r.Emergency {
			n.emergencies++
		}
		if d.Debt != nil && d.Debt.By != "" {
			n.paid++
		}
		for _, g := range d.Grants {
			if g.State != d.State {
				n.apart++
				break
			}
		}
		if r.Extends == "" {
			continue
		}
		n.extensions++
		if !d.Opens.IsZero() {
			n.prolonged++
		}
		if d.EndedBy != nil && slices.ContainsFunc(s.ref.counted, func(x counted) bool { return x.ID == d.EndedBy.Record && x.Request == r.Extends }) {
			n.endedTogether++
		}
	}
}

// enough fails where too little of it came about.
func (n relations) enough(t *testing.T, y *tally) {
	if y.stores < 5000 {
		return // some of it comes about once in a thousand stores
	}
	if n.extensions == 0 || n.prolonged == 0 || n.endedTogether == 0 || n.emergencies == 0 || n.paid == 0 || n.apart == 0 {
		t.Errorf("too little of what has to do with other requests: %+v", n)
	}
	for _, code := range []policy.Code{policy.NotExtendable, policy.ExtendsAlready, policy.ExtendsTooLong, policy.NoEmergency, policy.EmergencyUnpaid,
		policy.AlreadyOpen, policy.TooManyOpen, policy.TooManyInRole, policy.CoolingOff, policy.ConflictingRoles} {
		if y.aside[string(code)] == 0 {
			t.Errorf("nothing was set aside as %q in %d stores", code, y.stores)
		}
	}
}

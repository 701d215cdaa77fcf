package ledger_test

import (
	"fmt"
	"slices"
	"strings"
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
	extends   bool // db may be extended to twice its window
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
	changes = append(changes, []struct {
		name   string
		change func(*terms)
	}{
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
			r.MaxTotal = record.Duration{Duration: 2 * r.MaxDuration.Duration}
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
	grants := base.Grants
	for _, id := range m.ref.ids(record.KindRequest) {
		c, _ := m.ref.request(id)
		d := approve.Decide(m.ref.succession(), c, m.now)
		if i := slices.IndexFunc(m.asked, func(a askedFor) bool { return a.ID == id }); i >= 0 && d.State == approve.Active {
			base, ends, grants = m.asked[i], d.Ends, nil
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
	key := base.By
	if !slices.Contains(keyNames, key) || m.seldom(12) {
		key = pick(m, "bob", "carol", "dave")
	}
	r := request.Request{Grants: grants, Duration: record.Duration{Duration: pick[time.Duration](m, 60, 60, 30, 120, 400) * time.Minute}, Extends: base.ID}
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

// acknowledge lays an acknowledgement, rather of an emergency; false where another
// record is to be laid.
func (m *maker) acknowledge() bool {
	if m.seldom(64) {
		return false
	}
	r := m.one()
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

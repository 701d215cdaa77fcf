package trial

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jitaccess/jit/pkg/policy"
)

// class is people whom no rule of either version tells apart when they ask.
type class struct {
	names []string
	// old and new say whether they are people of that version.
	old, new bool
}

// classes are the people of two versions.
type classes struct {
	old, new *policy.Policy
	at       time.Time
	all      []class
	// in is the classes that a list of principals means, by version and list.
	in map[inKey]set
	// named are the sets of people that have a name, largest first.
	named []namedSet
}

type inKey struct {
	p    *policy.Policy
	list string
}

type namedSet struct {
	name string
	who  map[string]bool
}

// set is a set of classes by their places.
type set []uint64

func newSet(n int) set { return make(set, (n+63)/64) }

func (s set) add(i int)      { s[i/64] |= 1 << (i % 64) }
func (s set) has(i int) bool { return s[i/64]&(1<<(i%64)) != 0 }

func (s set) empty() bool { return !slices.ContainsFunc(s, func(w uint64) bool { return w != 0 }) }

func (s set) and(t set) set {
	r := make(set, len(s))
	for i := range s {
		r[i] = s[i] & t[i]
	}
	return r
}

func (s set) without(t set) set {
	r := make(set, len(s))
	for i := range s {
		r[i] = s[i] &^ t[i]
	}
	return r
}

func (s set) key() string {
	b := make([]byte, 0, 8*len(s))
	for _, w := range s {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return string(b)
}

// newClasses sorts the people by what the rules' requesters say of them at a time.
func newClasses(old, new *policy.Policy, at time.Time) *classes {
	c := &classes{old: old, new: new, at: at, in: map[inKey]set{}}
	marks := map[string][]byte{}
	mark := func(p *policy.Policy, n int, list []string) {
		for _, name := range p.Members(list, policy.Concern{At: at}) {
			marks[name] = binary.AppendUvarint(marks[name], uint64(n)) //nolint:gosec // counted up from 0
		}
	}
	n := 0
	members := map[inKey][]string{}
	for _, p := range []*policy.Policy{old, new} {
		mark(p, n, []string{"*"})
		n++
		for _, list := range requesterLists(p) {
			key := inKey{p, strings.Join(list, " ")}
			if _, seen := members[key]; seen {
				continue
			}
			members[key] = list
			mark(p, n, list)
			n++
		}
	}
	byMark := map[string]int{}
	of := map[string]int{}
	for _, name := range slices.Sorted(maps.Keys(marks)) {
		m := string(marks[name])
		i, ok := byMark[m]
		if !ok {
			i = len(c.all)
			byMark[m] = i
			_, isOld := old.Person(name)
			_, isNew := new.Person(name)
			c.all = append(c.all, class{old: isOld, new: isNew})
		}
		c.all[i].names = append(c.all[i].names, name)
		of[name] = i
	}
	for key, list := range members {
		s := newSet(len(c.all))
		for _, name := range key.p.Members(list, policy.Concern{At: at}) {
			s.add(of[name])
		}
		c.in[key] = s
	}
	c.nameSets()
	return c
}

func requesterLists(p *policy.Policy) [][]string {
	var all [][]string
	for i := range p.Document().Rules {
		r := &p.Document().Rules[i]
		all = append(all, r.Requesters)
		if r.Emergency != nil {
			all = append(all, r.Emergency.Requesters)
		}
	}
	return all
}

// are gives the classes that a list of requesters means under a version.
func (c *classes) are(p *policy.Policy, list []string) set {
	return c.in[inKey{p, strings.Join(list, " ")}]
}

// people gives the classes that are people of a version.
func (c *classes) people(p *policy.Policy) set {
	s := newSet(len(c.all))
	for i, x := range c.all {
		if p == c.old && x.old || p == c.new && x.new {
			s.add(i)
		}
	}
	return s
}

// names gives all people of some classes, in order.
func (c *classes) names(s set) []string {
	var all []string
	for i, x := range c.all {
		if s.has(i) {
			all = append(all, x.names...)
		}
	}
	slices.Sort(all)
	return all
}

// nameSets gathers the sets of people that a policy names, those of the new
// version before those of the old.
func (c *classes) nameSets() {
	seen := map[string]bool{}
	add := func(name string, who map[string]bool) {
		if len(who) > 1 && !seen[name] {
			seen[name] = true
			c.named = append(c.named, namedSet{name, who})
		}
	}
	for _, p := range []*policy.Policy{c.new, c.old} {
		all := map[string]map[string]bool{}
		put := func(set, who string) {
			if all[set] == nil {
				all[set] = map[string]bool{}
			}
			all[set][who] = true
		}
		for who, person := range p.Document().People {
			put("everyone", who)
			for _, team := range person.Teams {
				put("team:"+team, who)
			}
			if person.Department != "" {
				put("department:"+person.Department, who)
			}
		}
		for group, list := range p.Document().Groups {
			for _, who := range list {
				put("group:"+group, who)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(all)) {
			add(name, all[name])
		}
	}
	slices.SortStableFunc(c.named, func(a, b namedSet) int { return len(b.who) - len(a.who) })
}

// few is how many people are named one by one.
const few = 6

// describe says who some people are, in a few words: by the names of the sets that
// they make up, and those left over by their own.
func (c *classes) describe(names []string) string {
	if len(names) <= 2 {
		return strings.Join(names, ", ")
	}
	if text := c.allBut(names); text != "" {
		return text
	}
	left := map[string]bool{}
	for _, n := range names {
		left[n] = true
	}
	total := len(left)
	var parts []string
	for _, s := range c.named {
		if len(s.who) > total || len(left) == 0 {
			continue
		}
		fresh := 0
		inside := true
		for who := range s.who {
			if !slicesHas(names, who) {
				inside = false
				break
			}
			if left[who] {
				fresh++
			}
		}
		if inside && fresh > 1 {
			parts = append(parts, s.name)
			for who := range s.who {
				delete(left, who)
			}
		}
	}
	rest := slices.Sorted(maps.Keys(left))
	more := len(rest) - few
	parts = append(parts, rest[:min(few, len(rest))]...)
	if more > 0 {
		parts = append(parts, countText(more, "person more", "people more"))
	}
	text := strings.Join(parts, ", ")
	if total > few {
		text += " (" + countText(total, "person", "people") + ")"
	}
	return text
}

// allBut describes people who are nearly all of a set that has a name; empty where
// they are not.
func (c *classes) allBut(names []string) string {
	const most = 3
	for _, s := range slices.Backward(c.named) { // the smallest first
		lack := len(s.who) - len(names)
		if lack < 1 || lack > most || len(names) <= most || slices.ContainsFunc(names, func(n string) bool { return !s.who[n] }) {
			continue
		}
		var but []string
		for who := range s.who {
			if !slicesHas(names, who) {
				but = append(but, who)
			}
		}
		slices.Sort(but)
		return s.name + " but " + strings.Join(but, ", ") + " (" + countText(len(names), "person", "people") + ")"
	}
	return ""
}

func slicesHas(sorted []string, s string) bool {
	_, ok := slices.BinarySearch(sorted, s)
	return ok
}

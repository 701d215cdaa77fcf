package policy

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"time"
)

// crowd is the people of a policy in kinds: those whom no rule tells apart, for
// whom the same people approve as far as rules can tell. What holds for one of a
// kind holds for all, so a policy for thousands of people is judged by some
// hundreds of kinds.
type crowd struct {
	dir   *directory
	index map[string]int // of names in dir.names
	kind  []int          // of people
	// size is how many people are of a kind, first the one whose name comes first.
	// Kinds are numbered in the order of those names.
	size, first []int
	// bosses are to whom people report, reports who reports to them directly.
	bosses  []int // -1 for nobody
	reports [][]int
	sets    map[string]set // of kinds, by principal
}

// words are those principals and exclusions of a policy that depend on who asks.
type words struct{ manager, managersManager, teamLead, owner, managers, reports bool }

// wordsOf gives the words in some rules.
func wordsOf(rules ...Rule) words {
	var w words
	for _, r := range rules {
		for _, s := range r.Stages {
			for _, principal := range s.Deciders() {
				switch principal {
				case WhoManager:
					w.manager = true
				case WhoManagersManager:
					w.managersManager = true
				case WhoTeamLead:
					w.teamLead = true
				case WhoOwner:
					w.owner = true
				}
			}
		}
		w.managers = w.managers || slices.Contains(r.Exclude, ExcludeManagers)
		w.reports = w.reports || slices.Contains(r.Exclude, ExcludeReports)
	}
	return w
}

// newCrowd sorts the people of a body that has no problem. Rosters mean whoever is
// on duty from now on.
func newCrowd(d *directory, now time.Time) *crowd {
	n := len(d.names)
	c := &crowd{dir: d, index: make(map[string]int, n), kind: make([]int, n), bosses: make([]int, n), reports: make([][]int, n), sets: map[string]set{}}
	for i, name := range d.names {
		c.index[name] = i
	}
	for i, name := range d.names {
		c.bosses[i] = -1
		if boss, ok := c.index[d.body.People[name].Manager]; ok {
			c.bosses[i] = boss
			c.reports[boss] = append(c.reports[boss], i)
		}
	}
	members := map[string][]int{}
	class := make([]int, n)
	classes := 1
	for _, principal := range principalsOf(d.body) {
		meant := c.meant(principal, now)
		members[principal] = meant
		apart := map[int]int{} // a class to that of its people who are meant
		for _, p := range meant {
			to, ok := apart[class[p]]
			if !ok {
				to = classes
				classes++
				apart[class[p]] = to
			}
			class[p] = to
		}
	}
	c.sortOut(class)
	for principal, meant := range members {
		s := newSet(len(c.size))
		for _, p := range meant {
			s.add(c.kind[p])
		}
		c.sets[principal] = s
	}
	return c
}

// principalsOf gives the principals in requesters, stages and owners that mean the
// same people whoever asks, each once.
func principalsOf(b *Body) []string {
	all := map[string]bool{}
	for _, r := range b.Rules {
		for _, principal := range r.Requesters {
			all[principal] = true
		}
		for _, s := range r.Stages {
			for _, principal := range s.Deciders() {
				all[principal] = true
			}
		}
	}
	for _, r := range b.Resources {
		for _, principal := range r.Owners {
			all[principal] = true
		}
	}
	for _, word := range concernedWords {
		delete(all, word)
	}
	return slices.Sorted(maps.Keys(all))
}

// meant gives the people whom a principal means, each once.
func (c *crowd) meant(principal string, now time.Time) []int {
	people := map[string]bool{}
	if kind, name, _ := strings.Cut(principal, ":"); kind == "roster" {
		for _, s := range c.dir.body.Rosters[name] {
			for _, person := range s.People {
				if s.Until.After(now) {
					people[person] = true
				}
			}
		}
	} else {
		c.dir.meant([]string{principal}, Concern{At: now}, people)
	}
	meant := make([]int, 0, len(people))
	for person := range people {
		meant = append(meant, c.index[person])
	}
	slices.Sort(meant)
	return meant
}

// sortOut makes kinds of the classes, by what the classes are of those who decide
// for a person.
func (c *crowd) sortOut(class []int) {
	used := wordsOf(c.dir.body.Rules...)
	kinds := map[string]int{}
	var key []byte
	for p := range c.dir.names {
		key = binary.AppendUvarint(key[:0], uint64(class[p]))
		alone := 0
		if used.reports && len(c.reports[p]) > 0 {
			alone = p + 1 // nobody else has the same reports
		}
		key = binary.AppendUvarint(key, uint64(alone))
		relatives, seen := c.relatives(p, used), map[int]int{p: 1}
		for _, r := range relatives {
			if seen[r.person] == 0 {
				seen[r.person] = len(seen) + 1
			}
			key = append(key, r.tie)
			key = binary.AppendUvarint(key, uint64(class[r.person]))
			key = binary.AppendUvarint(key, uint64(seen[r.person]))
		}
		k, ok := kinds[string(key)]
		if !ok {
			k = len(kinds)
			kinds[string(key)] = k
			c.size, c.first = append(c.size, 0), append(c.first, p)
		}
		c.kind[p] = k
		c.size[k]++
	}
}

// relative is somebody who is meant, or kept out, because of who asks.
type relative struct {
	tie    byte
	person int
}

// The ties between a relative and who asks.
const (
	tieManager byte = iota
	tieManagersManager
	tieTeamLead
	tieAbove // reported to, directly or not, and kept out
)

// relatives gives those of a person of whom the words speak. One may have several
// ties.
func (c *crowd) relatives(p int, w words) []relative {
	var all []relative
	boss := c.bosses[p]
	if w.manager && boss >= 0 {
		all = append(all, relative{tieManager, boss})
	}
	if w.managersManager && boss >= 0 && c.bosses[boss] >= 0 {
		all = append(all, relative{tieManagersManager, c.bosses[boss]})
	}
	if w.teamLead {
		leads := map[int]bool{}
		for _, team := range c.dir.body.People[c.dir.names[p]].Teams {
			for _, lead := range c.dir.body.Teams[team].Leads {
				leads[c.index[lead]] = true
			}
		}
		for _, lead := range slices.Sorted(maps.Keys(leads)) {
			all = append(all, relative{tieTeamLead, lead})
		}
	}
	if w.managers {
		for ; boss >= 0; boss = c.bosses[boss] {
			all = append(all, relative{tieAbove, boss})
		}
	}
	return all
}

// of gives the kinds whom principals mean whoever asks.
func (c *crowd) of(principals ...string) set {
	s := newSet(len(c.size))
	for _, principal := range principals {
		s.or(c.sets[principal]) // a word that depends on who asks has none
	}
	return s
}

// count is how many people are of the kinds.
func (c *crowd) count(s set) int {
	n := 0
	for k := range s.all {
		n += c.size[k]
	}
	return n
}

// name gives the name of one of a kind: the one that comes first.
func (c *crowd) name(kind int) string { return c.dir.names[c.first[kind]] }

package policy

import (
	"encoding/binary"
	"slices"
)

// chain is the stages of a rule, for resources with some owners, made ready to ask
// for whom they can be met.
type chain struct {
	crowd  *crowd
	rule   *Rule
	words  words
	stages [][][]want // by stage, by way
	// mask has for each kind the quorums that mean it whoever asks, one bit each.
	mask []uint64
	// groups are the people of one mask; group is that of a mask.
	groups []group
	group  map[uint64]int
	// ties are the quorums that mean a relative, by the tie.
	ties  [tieAbove]uint64
	known map[string]lack
}

// group is n people who are meant by the same quorums.
type group struct {
	mask uint64
	n    int
}

// want is a quorum: one bit, and how many it needs.
type want struct {
	bit uint64
	n   int
}

// lack says in which stage, from 1, how many people are missing; zeros where the
// chain can be met.
type lack struct{ stage, missing int }

// maxQuorums is how many quorums of one rule are looked at. A rule that has more
// is not judged.
const maxQuorums = 64

// newChain gives nil for a rule that is not judged.
func newChain(c *crowd, r *Rule, owners []string) *chain {
	ch := &chain{crowd: c, rule: r, words: wordsOf(*r), mask: make([]uint64, len(c.size)), group: map[uint64]int{}, known: map[string]lack{}}
	bits := 0
	for _, s := range r.Stages {
		var escalated []string
		for _, e := range s.Escalate {
			escalated = append(escalated, e.To...)
		}
		var ways [][]want
		for _, way := range s.Ways() {
			var wants []want
			for _, q := range way {
				if bits == maxQuorums {
					return nil
				}
				w := want{1 << bits, q.Count}
				bits++
				ch.meant(w.bit, slices.Concat(q.Approvers, escalated), owners)
				wants = append(wants, w)
			}
			ways = append(ways, wants)
		}
		ch.stages = append(ch.stages, ways)
	}
	for k, mask := range ch.mask {
		g, ok := ch.group[mask]
		if !ok {
			g = len(ch.groups)
			ch.group[mask] = g
			ch.groups = append(ch.groups, group{mask: mask})
		}
		ch.groups[g].n += c.size[k]
	}
	return ch
}

// meant notes whom a quorum means.
func (ch *chain) meant(bit uint64, principals, owners []string) {
	for _, principal := range principals {
		switch principal {
		case WhoManager:
			ch.ties[tieManager] |= bit
		case WhoManagersManager:
			ch.ties[tieManagersManager] |= bit
		case WhoTeamLead:
			ch.ties[tieTeamLead] |= bit
		case WhoOwner:
			ch.meant(bit, owners, nil)
		default:
			for k := range ch.crowd.sets[principal].all {
				ch.mask[k] |= bit
			}
		}
	}
}

// lackFor says what is missing for a requester of a kind. What tells kinds apart is
// in which quorums they and their relatives are, so few are worked out.
func (ch *chain) lackFor(kind int) lack {
	c := ch.crowd
	p := c.first[kind]
	if ch.words.reports && len(c.reports[p]) > 0 {
		return ch.work(p, ch.tied(p))
	}
	tied := ch.tied(p)
	key := binary.AppendUvarint(nil, ch.mask[kind])
	for _, t := range tied {
		key = binary.AppendUvarint(key, ch.mask[c.kind[t.person]])
		key = binary.AppendUvarint(key, t.mask)
		if t.out {
			key = append(key, 1)
		} else {
			key = append(key, 0)
		}
	}
	l, ok := ch.known[string(key)]
	if !ok {
		l = ch.work(p, tied)
		ch.known[string(key)] = l
	}
	return l
}

// tied is one person, by all their ties to who asks.
type tied struct {
	person int
	mask   uint64 // the quorums that mean them for it
	out    bool   // kept from approving
}

func (ch *chain) tied(p int) []tied {
	var all []tied
	for _, r := range ch.crowd.relatives(p, ch.words) {
		if r.person == p {
			continue // who asks is out anyhow
		}
		i := slices.IndexFunc(all, func(t tied) bool { return t.person == r.person })
		if i < 0 {
			i = len(all)
			all = append(all, tied{person: r.person})
		}
		if r.tie == tieAbove {
			all[i].out = true
		} else {
			all[i].mask |= ch.ties[r.tie]
		}
	}
	return all
}

// work finds out what is missing for person p.
func (ch *chain) work(p int, relatives []tied) lack {
	have := slices.Clone(ch.groups)
	apart := map[int]bool{} // taken out of their group
	takeOut := func(person int) bool {
		if apart[person] {
			return false
		}
		apart[person] = true
		have[ch.group[ch.mask[ch.crowd.kind[person]]]].n--
		return true
	}
	takeOut(p)
	if ch.words.reports {
		under := slices.Clone(ch.crowd.reports[p])
		for len(under) > 0 {
			next := under[len(under)-1]
			under = append(under[:len(under)-1], ch.crowd.reports[next]...)
			takeOut(next)
		}
	}
	for _, t := range relatives {
		if takeOut(t.person) && !t.out {
			have = append(have, group{ch.mask[ch.crowd.kind[t.person]] | t.mask, 1})
		}
	}
	tries := 0
	return ch.fill(0, nil, have, &tries)
}

// maxFillWays bounds the combinations of ways to meet several stages that are
// tried, as it is for a request.
const maxFillWays = 256

// fill goes on from a stage, the quorums before it being met.
func (ch *chain) fill(stage int, before []want, have []group, tries *int) lack {
	if stage == len(ch.stages) {
		return lack{}
	}
	var worst lack
	for _, way := range ch.stages[stage] {
		if *tries++; *tries > maxFillWays && worst.missing > 0 {
			break
		}
		wants := slices.Concat(before, way)
		l := lack{stage + 1, missing(have, wants)}
		if l.missing == 0 {
			if l = ch.fill(stage+1, wants, have, tries); l.missing == 0 {
				return lack{}
			}
		}
		if worst.missing == 0 || l.stage > worst.stage {
			worst = l
		}
	}
	return worst
}

// missing gives how many places of the quorums stay empty at best, where each person
// takes one at most: the places less the largest flow from groups to quorums.
func missing(have []group, wants []want) int {
	f := flow{have: have, wants: wants}
	for _, g := range have {
		f.free = append(f.free, g.n)
		f.placed = append(f.placed, make([]int, len(wants)))
	}
	left := 0
	for q, w := range wants {
		need := w.n
		for n := 1; need > 0 && n > 0; need -= n {
			n = f.augment(q, need)
		}
		left += need
	}
	return left
}

// flow is people of groups on their places in quorums.
type flow struct {
	have   []group
	wants  []want
	free   []int   // by group: those without a place
	placed [][]int // by group, by quorum
}

// augment puts at most n people more into quorum q, moving others along the
// shortest way, and gives how many.
func (f *flow) augment(q, n int) int {
	// leave says of a quorum that was reached which of its people would leave it,
	// and for which quorum.
	type leaving struct{ group, to int }
	leave := make([]leaving, len(f.wants))
	reached := make([]bool, len(f.wants))
	reached[q] = true
	for queue := []int{q}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		for g, have := range f.have {
			if have.mask&f.wants[at].bit == 0 {
				continue
			}
			if f.free[g] > 0 {
				n = min(n, f.free[g])
				for i := at; i != q; i = leave[i].to {
					n = min(n, f.placed[leave[i].group][i])
				}
				f.free[g] -= n
				f.placed[g][at] += n
				for i := at; i != q; i = leave[i].to {
					f.placed[leave[i].group][i] -= n
					f.placed[leave[i].group][leave[i].to] += n
				}
				return n
			}
			for other, there := range f.placed[g] {
				if there > 0 && !reached[other] {
					reached[other] = true
					leave[other] = leaving{g, at}
					queue = append(queue, other)
				}
			}
		}
	}
	return 0
}

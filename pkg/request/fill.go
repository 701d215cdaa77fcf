package request

import (
	"maps"
	"slices"

	"github.com/jitaccess/jit/pkg/policy"
)

// Seats assigns people to places, one each: a person counts once over all stages.
// The zero value has none.
type Seats struct {
	taken  map[string]int // person -> place
	places [][]string
}

// Take adds a place that one of who can have, and reports whether it could be
// filled, if need be by moving others: augmenting paths in a bipartite graph.
func (s *Seats) Take(who []string) bool {
	if s.taken == nil {
		s.taken = map[string]int{}
	}
	s.places = append(s.places, who)
	if s.assign(len(s.places)-1, map[string]bool{}) {
		return true
	}
	s.places = s.places[:len(s.places)-1]
	return false
}

func (s *Seats) assign(place int, tried map[string]bool) bool {
	for _, person := range s.places[place] {
		if _, ok := s.taken[person]; !ok {
			s.taken[person] = place
			return true
		}
	}
	for _, person := range s.places[place] {
		if tried[person] {
			continue
		}
		tried[person] = true
		if s.assign(s.taken[person], tried) {
			s.taken[person] = place
			return true
		}
	}
	return false
}

// People are those who have a place.
func (s *Seats) People() []string { return slices.Sorted(maps.Keys(s.taken)) }

// Clone gives a copy that can be filled apart.
func (s *Seats) Clone() *Seats {
	return &Seats{taken: maps.Clone(s.taken), places: slices.Clone(s.places)}
}

// maxWays bounds the combinations of ways to meet several stages that are tried.
const maxWays = 256

// Unfillable gives the first stage, from 1, for which there are not enough
// people, and how many are missing; zeros where there are. Those to whom a stage
// escalates count: in the end they may decide. Without counts nobody among those named.
func Unfillable(p *policy.Policy, rule *policy.Rule, stages []policy.Stage, c policy.Concern, without ...string) (stage, missing int) {
	tries, found := 0, make([][][]string, len(stages))
	// eligible gives who may decide quorum n of a stage, counted over all ways to meet
	// it; the same people are not looked for with each try.
	eligible := func(i, n int, q policy.Quorum) []string {
		if n == len(found[i]) {
			principals := slices.Clone(q.Approvers)
			for _, e := range stages[i].Escalate {
				principals = append(principals, e.To...)
			}
			found[i] = append(found[i], slices.DeleteFunc(p.Eligible(rule, principals, c),
				func(name string) bool { return slices.Contains(without, name) }))
		}
		return found[i][n]
	}
	var fill func(i int, s *Seats) (int, int)
	fill = func(i int, s *Seats) (int, int) {
		if i == len(stages) {
			return 0, 0
		}
		atStage, lacks, n := 0, 0, 0
		for _, way := range stages[i].Ways() {
			if tries++; tries > maxWays && lacks > 0 {
				break
			}
			with, short := s.Clone(), 0
			for _, q := range way {
				who := eligible(i, n, q)
				n++
				// A count beyond all reason costs no more than the people there are.
				possible := min(q.Count, len(who))
				short += q.Count - possible
				for range possible {
					if !with.Take(who) {
						short++
					}
				}
			}
			at, lack := i+1, short
			if short == 0 {
				if at, lack = fill(i+1, with); lack == 0 {
					return 0, 0
				}
			}
			if lacks == 0 || at > atStage {
				atStage, lacks = at, lack
			}
		}
		return atStage, lacks
	}
	return fill(0, &Seats{})
}

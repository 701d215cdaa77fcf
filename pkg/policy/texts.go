package policy

import (
	"fmt"
	"regexp"
	"slices"
	"unicode/utf8"
)

const (
	// MaxReason is the most characters of a reason or a ticket: request.MaxText.
	MaxReason = 2000
	// MaxBundle is the most entitlements of a request, and so the most rules that judge
	// it: request.MaxGrants.
	MaxBundle = 20
	// maxMatching is how many characters the patterns of a policy may look at for one
	// request, whatever it asks for and says: for each text, the steps of the patterns
	// times the most characters of the text. At the limit it takes some 50
	// milliseconds, on every machine that judges the request. Twenty rules with a
	// pattern of their own for the reason, of 60 steps, and one for the ticket, of 20,
	// take 3,200,000, and one reason of at most a thousand characters (.{20,1000})
	// 4,000,000.
	maxMatching = 4_500_000
)

// Looked is what patterns have found in the texts of a request, so that each looks at
// a text once, however many entitlements and rules it is judged for. The zero value has
// seen nothing. It must not be used by several at once.
type Looked struct {
	found      map[look]bool
	characters int
}

// look is a pattern and a text.
type look struct {
	pattern *regexp.Regexp
	text    string
}

// By gives a match that keeps in l what patterns have found.
func (m Match) By(l *Looked) Match {
	m.looked = l
	return m
}

// looks reports whether a pattern, which may be nil for none, fits a text.
func (m Match) looks(pattern *regexp.Regexp, text string) bool {
	switch l := m.looked; {
	case pattern == nil:
		return true
	case l == nil:
		return pattern.MatchString(text)
	default:
		return l.fits(look{pattern, text})
	}
}

// Characters gives how many characters patterns have looked at, each once for each text.
func (l *Looked) Characters() int { return l.characters }

func (l *Looked) fits(at look) bool {
	if fits, known := l.found[at]; known {
		return fits
	}
	if l.found == nil {
		l.found = map[look]bool{}
	}
	l.found[at] = at.pattern.MatchString(at.text)
	l.characters += utf8.RuneCountInString(at.text)
	return l.found[at]
}

// patternUse is where a pattern stands first, and what it takes to look at the longest
// text there.
type patternUse struct {
	at, pattern string
	work        int
}

// matching gathers the patterns of a policy by what they look at.
type matching struct {
	seen                   map[string]bool
	reason, ticket, inputs []patternUse
}

// add adds a pattern that was found well; the same one for the same kind of text is
// added once.
func (w *matching) add(to *[]patternUse, kind, at, expr string, steps, characters int) {
	if key := kind + expr; expr != "" && !w.seen[key] {
		w.seen[key] = true
		*to = append(*to, patternUse{at, expr, steps * characters})
	}
}

// matching bounds what the worst request could make the patterns look at: as many rules
// as a request can be judged by, and those with the costliest patterns.
func (c *checker) matching() {
	w := &matching{seen: map[string]bool{}}
	for i, r := range c.body.Rules {
		at := fmt.Sprintf("rules[%d].requires.", i)
		w.add(&w.reason, "r", at+"reason", r.Requires.Reason, c.patterns[r.Requires.Reason].steps, MaxReason)
		w.add(&w.ticket, "t", at+"ticket", r.Requires.Ticket, c.patterns[r.Requires.Ticket].steps, MaxReason)
		for name, x := range r.Requires.Inputs {
			w.add(&w.inputs, "i", at+"inputs."+name+".pattern", x.Pattern, c.patterns[x.Pattern].steps, MaxInput)
		}
	}
	var worst patternUse
	total := 0
	for _, uses := range []struct {
		all  []patternUse
		most int
	}{{w.reason, MaxBundle}, {w.ticket, MaxBundle}, {w.inputs, MaxBundle * MaxInputs}} {
		slices.SortFunc(uses.all, func(a, b patternUse) int { return costlier(a, b) })
		for _, u := range uses.all[:min(len(uses.all), uses.most)] {
			total += u.work
			if worst.pattern == "" || costlier(u, worst) < 0 {
				worst = u
			}
		}
	}
	if total > maxMatching {
		c.add(ProblemCostly, worst.at, "repeat less in it, or use the same pattern in more rules",
			"the patterns would look at %d characters for one request, more than %d; this one is the costliest: %q", total, maxMatching, worst.pattern)
	}
}

// costlier orders patterns: what takes most, and of those that take as much the one that
// stands first by its path, so that every machine names the same one.
func costlier(a, b patternUse) int {
	if a.work != b.work {
		return b.work - a.work
	}
	switch {
	case a.at < b.at:
		return -1
	case a.at > b.at:
		return 1
	}
	return 0
}

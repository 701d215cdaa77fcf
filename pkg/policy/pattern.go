package policy

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
)

const (
	// maxPatternText is the most bytes of a pattern.
	maxPatternText = 1000
	// maxPattern is the most steps of a pattern. One of a thousand characters can
	// stand for a million, by repeating what repeats, and would take every machine
	// that reads the policy seconds and much memory.
	maxPattern = 5000
	// maxPatternWork bounds the patterns of a policy together: their characters and
	// their steps, and more for what is costly to read. At the limit they take a tenth
	// of a second and some 30 MB; a thousand rules with a reason and a ticket of their
	// own, of 40 characters each, take 160,000.
	maxPatternWork = 200_000
	// A class of Unicode (\p{Greek}) is read like a thousand characters, and a span
	// (A-\x{FFFF}) that ignores case like forty thousand: it is gone through character
	// by character.
	classWork, spanWork = 1000, 40_000
)

// errPatternWork is that of the first pattern for which nothing is left.
var errPatternWork = errors.New("the patterns of the policy are too much together")

var (
	unicodeClass = regexp.MustCompile(`\\[pP]`)
	ignoresCase  = regexp.MustCompile(`\(\?[a-zA-Z-]*i`)
	// wideSpan may be the end of a span beyond ASCII.
	wideSpan = regexp.MustCompile(`-(?:[^\x00-\x7f]|\\x)`)
)

// patternWork is what is taken of maxPatternWork.
type patternWork struct{ taken int }

// take gives how many steps a pattern has when it is compiled, or why it cannot be.
// Nothing is read of a pattern for which nothing is left.
func (w *patternWork) take(expr string) (int, error) {
	if len(expr) > maxPatternText {
		return 0, fmt.Errorf("the pattern is too long, with more than %d characters", maxPatternText)
	}
	work := len(expr) + classWork*len(unicodeClass.FindAllString(expr, -1))
	if ignoresCase.MatchString(expr) {
		work += spanWork * len(wideSpan.FindAllString(expr, -1))
	}
	if w.taken += work; w.taken > maxPatternWork {
		return 0, errPatternWork
	}
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return 0, err
	}
	n := steps(re)
	if n > maxPattern {
		return 0, fmt.Errorf("the pattern has %d steps, more than %d: repeat less", n, maxPattern)
	}
	if w.taken += n; w.taken > maxPatternWork {
		return 0, errPatternWork
	}
	return n, nil
}

func steps(re *syntax.Regexp) int {
	n := 1
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpCharClass:
		n += len(re.Rune) / 32 // a large class needs the memory of many steps
	}
	for _, sub := range re.Sub {
		n += steps(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(1, re.Min+1, re.Max)
	}
	return n
}

// pattern is one that was checked, and compiled where it can be.
type pattern struct {
	*regexp.Regexp
	steps int
	err   error
}

// pattern checks a pattern; each is compiled once.
func (c *checker) pattern(at, expr string) {
	p, known := c.patterns[expr]
	if !known {
		if p.steps, p.err = c.work.take(expr); p.err == nil {
			p.Regexp, p.err = compilePattern(expr)
		}
		c.patterns[expr] = p
	}
	switch {
	case p.err == nil:
	case errors.Is(p.err, errPatternWork):
		c.tooMany(at, "use the same pattern in more places, or repeat less in each", "%v", p.err)
	default:
		c.add(ProblemPattern, at, "RE2 syntax; at most 1000 characters", "%v", p.err)
	}
}

// compilePattern gives nil for an empty expression.
func compilePattern(expr string) (*regexp.Regexp, error) {
	if expr == "" {
		return nil, nil //nolint:nilnil // no expression, no pattern
	}
	// By itself first: "a)|(b" is no expression, and would undo the anchors.
	if _, err := syntax.Parse(expr, syntax.Perl); err != nil {
		return nil, err
	}
	return regexp.Compile(`^(?:` + expr + `)$`)
}

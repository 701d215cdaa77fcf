package policy

import (
	"fmt"
	"regexp/syntax"
)

// maxPattern is the most steps of a pattern. One of a thousand characters can
// stand for a million, by repeating what repeats, and would take every machine
// that reads the policy seconds and much memory.
const maxPattern = 5000

// patternSize gives about how many steps a pattern has when it is compiled, or why
// it cannot be.
func patternSize(expr string) (int, error) {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return 0, err
	}
	n := steps(re)
	if n > maxPattern {
		return 0, fmt.Errorf("the pattern has %d steps, more than %d: repeat less", n, maxPattern)
	}
	return n, nil
}

func steps(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n += steps(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(1, re.Min+1, re.Max)
	}
	return n
}

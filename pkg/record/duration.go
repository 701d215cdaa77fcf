package record

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// MaxDuration is the longest duration that is read: ten years. Longer ones are
// mistakes, and a bound keeps sums of times far from overflow.
const MaxDuration = 10 * 365 * 24 * time.Hour

// Duration is a length of time in whole seconds, written with units from the
// longest to the shortest: 90m, 1h30m, 2d, 1w. A day is 24 hours. A number
// without a unit, a fraction, a sign and zero are refused.
type Duration struct{ time.Duration }

var durationUnits = []struct {
	name byte
	size time.Duration
}{
	{'w', 7 * 24 * time.Hour},
	{'d', 24 * time.Hour},
	{'h', time.Hour},
	{'m', time.Minute},
	{'s', time.Second},
}

// ParseDuration reads a duration as a person writes it.
func ParseDuration(s string) (Duration, error) {
	bad := func(why string) (Duration, error) {
		return Duration{}, fmt.Errorf("duration %q: %s (write it like 90m, 1h30m, 2d or 1w)", s, why)
	}
	if s == "" {
		return bad("is empty")
	}
	var total time.Duration
	next, rest := 0, s
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 {
			return bad("does not begin with a number")
		}
		if digits == len(rest) {
			return bad("has no unit")
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 32)
		if err != nil {
			return bad("is too long")
		}
		unit := rest[digits]
		for next < len(durationUnits) && durationUnits[next].name != unit {
			next++
		}
		if next == len(durationUnits) {
			return bad("has an unknown, repeated or misplaced unit")
		}
		// Compared before it is multiplied: the product may not fit, and then mean
		// another duration than what is read.
		if time.Duration(n) > (MaxDuration-total)/durationUnits[next].size {
			return bad("is longer than ten years")
		}
		total += time.Duration(n) * durationUnits[next].size
		next++
		rest = rest[digits+1:]
	}
	if total == 0 {
		return bad("is zero")
	}
	return Duration{total}, nil
}

// String writes d with the fewest units, in days and below: 36h is 1d12h. The
// zero value is 0s.
func (d Duration) String() string {
	if d.Duration <= 0 {
		return "0s"
	}
	var b strings.Builder
	rest := d.Truncate(time.Second)
	for _, u := range durationUnits[1:] {
		if n := rest / u.size; n > 0 {
			fmt.Fprintf(&b, "%d%c", n, u.name)
			rest -= n * u.size
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}

// IsZero reports whether d is not set; a zero duration is left out of YAML.
func (d Duration) IsZero() bool { return d.Duration == 0 }

// MarshalYAML writes d as [Duration.String] does.
func (d Duration) MarshalYAML() (any, error) { return d.String(), nil }

// UnmarshalYAML reads what [ParseDuration] reads.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode {
		return &Refusal{Reason: "bad-value", Line: n.Line, Column: n.Column, Detail: "a duration is one word, like 2h"}
	}
	v, err := ParseDuration(n.Value)
	if err != nil {
		return &Refusal{Reason: "bad-value", Line: n.Line, Column: n.Column, Detail: err.Error()}
	}
	*d = v
	return nil
}

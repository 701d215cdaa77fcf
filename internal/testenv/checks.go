package testenv

import (
	"flag"
	"fmt"
)

// RapidChecks sets how many cases a property test tries where -rapid.checks does not
// say: plain, or raced under the race detector, which makes each ten times as dear. It
// gives what sets the number back. With few cases not everything comes about that a test
// wants to have seen at least once: it asks for that where [Raced] is false only.
func RapidChecks(plain, raced int) (back func()) {
	const name = "rapid.checks"
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	if given {
		return func() {}
	}
	n, before := plain, flag.Lookup(name).Value.String()
	if Raced {
		n = raced
	}
	set := func(to string) {
		if err := flag.Set(name, to); err != nil {
			panic(err) // the flag takes any number, and has been looked up
		}
	}
	set(fmt.Sprint(n))
	return func() { set(before) }
}

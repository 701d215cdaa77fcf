package policy

import (
	"regexp"
	"strings"
	"testing"
)

// FuzzGlob compares a policy's globs with the regular expressions that say the same.
func FuzzGlob(f *testing.F) {
	for _, g := range []string{"*", "db-*", "*-db", "a*b*c", "**", "a.b", "", "[a]", `\*`} {
		f.Add(g, "db-1")
		f.Add(g, "aXbXc")
		f.Add(g, g)
	}
	f.Fuzz(func(t *testing.T, glob, name string) {
		if checkGlob(glob) != nil || checkGlob(name) != nil || strings.Contains(name, "*") {
			return // neither is in a policy
		}
		want := regexp.MustCompile(`^` + strings.ReplaceAll(regexp.QuoteMeta(glob), `\*`, `.*`) + `$`).MatchString(name)
		if got := matchGlob(glob, name); got != want {
			t.Errorf("%q and %q: %v, want %v", glob, name, got, want)
		}
	})
}

// FuzzPattern compiles a policy's patterns: none costs more than its bound, and none
// gets out of the anchors.
func FuzzPattern(f *testing.F) {
	for _, p := range []string{".+", "[A-Z]+-[0-9]+", "a)|(b", "(a{1000}){1000}", "((a{2}){2}){2}", "(?i)x", `\z`, "^a$", "a|b", "", "(?m)^", "\xff"} {
		f.Add(p, "ABC-1")
		f.Add(p, "a\nb")
	}
	f.Fuzz(func(t *testing.T, expr, text string) {
		c := newChecker(&Body{})
		c.pattern("x", expr)
		if len(c.problems) > 0 {
			return
		}
		re, err := compilePattern(expr)
		if err != nil {
			t.Fatalf("the check took %q, which does not compile: %v", expr, err)
		}
		if re == nil || !re.MatchString(text) {
			return
		}
		if at := re.FindStringIndex(text); at[0] != 0 || at[1] != len(text) {
			t.Errorf("%q matches a part of %q only", expr, text)
		}
	})
}

// FuzzHours: a span of hours is within two days, and begins before it ends.
func FuzzHours(f *testing.F) {
	for _, s := range []string{"08:00-18:00", "22:00-06:00", "00:00-24:00", "24:00-01:00", "8:00-9:00", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if s, ok := parseHours(text); ok && (s.begin < 0 || s.begin >= dayMinutes || s.end <= s.begin || s.end > s.begin+dayMinutes) {
			t.Errorf("%q is %+v", text, s)
		}
	})
}

package request

import "testing"

// FuzzParseGrant: what is read as an entitlement is written as it was.
func FuzzParseGrant(f *testing.F) {
	for _, s := range []string{"db:read", "db", ":", "a:b:c", "db:", "\x00:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if g, err := ParseGrant(s); err == nil && (g.String() != s || g.Resource == "" || g.Role == "") {
			t.Errorf("%q is read as %q", s, g)
		}
	})
}

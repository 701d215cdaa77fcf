package postgres

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzMark reads a login's comment. What is read as jit's means the same when it is
// written again, and its text cannot end the string that it is written into.
func FuzzMark(f *testing.F) {
	for _, s := range []string{
		"jit: made for nobody", "jit: made for 01JDZZZZZZZZZZZZZZZZZZZZZA-0 until 2026-11-24T10:00:00Z",
		"jit: made for 01JDZZZZZZZZZZZZZZZZZZZZZA-0 until 2026-11-24T10:00:00+02:00, 01JDZZZZZZZZZZZZZZZZZZZZZA-1 until 2026-11-24T10:00:00.5Z",
		"jit: made for ", "jit: made for '; DROP ROLE x; -- until 2026-11-24T10:00:00Z", "",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, comment string) {
		holders, made := parseMark(comment)
		if !made {
			if holders != nil {
				t.Errorf("%q: %v", comment, holders)
			}
			return
		}
		out := formatMark(holders)
		if strings.ContainsAny(out, `'\`) {
			t.Errorf("%q is written as %q", comment, out)
		}
		again, made := parseMark(out)
		if !made || formatMark(again) != out || !slices.EqualFunc(again, holders, func(a, b holder) bool { return a.id == b.id && a.ends.Unix() == b.ends.Unix() }) {
			t.Errorf("%q came back as %v: %v", comment, again, made)
		}
	})
}

// FuzzParams reads a role's parameters: PostgreSQL's own roles are granted by name
// only, and every name is one that the server takes whole.
func FuzzParams(f *testing.F) {
	for _, s := range []string{"readers", "pg_read_all_data", "public", `a"b`, strings.Repeat("ä", 32), "a\x00b", ""} {
		f.Add(s, "true", "pg_read_all_data, pg_monitor", "ann")
		f.Add(s, "yes", "", s)
	}
	f.Fuzz(func(t *testing.T, grant, login, predefined, account string) {
		given := map[string]string{paramGrant: grant, paramLogin: login, paramPredefined: predefined}
		if Validate(given, account) != nil {
			return
		}
		p, err := parseParams(given)
		if err != nil || p.grant != grant || p.login != (login == "true") {
			t.Fatalf("%+v %v", p, err)
		}
		if strings.HasPrefix(grant, "pg_") && !slices.Contains(p.predefined, grant) {
			t.Errorf("%q is granted", grant)
		}
		for _, name := range []string{grant, account} {
			if len(name) > maxName || !utf8.ValidString(name) || strings.ContainsRune(name, 0) || strings.Count(ident(name), `"`)%2 != 0 {
				t.Errorf("%q was taken", name)
			}
		}
	})
}

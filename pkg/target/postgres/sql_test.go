package postgres

import "testing"

func TestGrantSQL(t *testing.T) {
	for version, want := range map[int]string{
		150018: `GRANT "r" TO "a""b"`,
		160000: `GRANT "r" TO "a""b" WITH INHERIT TRUE, SET TRUE, ADMIN FALSE`,
	} {
		if got := grantSQL(version, "r", `a"b`); got != want {
			t.Errorf("%d: %s, want %s", version, got, want)
		}
	}
}

func TestMark(t *testing.T) {
	for comment, n := range map[string]int{
		"jit: made for nobody": 0,
		"jit: made for 01JD0000000000000000000001-0 until 2026-11-24T10:00:00Z, 01JD0000000000000000000001-1 until 2026-11-24T11:00:00Z": 2,
	} {
		holders, made := parseMark(comment)
		if !made || len(holders) != n || formatMark(holders) != comment {
			t.Errorf("%q: %v, %v", comment, holders, made)
		}
	}
	for _, comment := range []string{"", "alice's login", "jit: made for", "jit: made for you", "jit: made for 01JD0000000000000000000001-0 until noon"} {
		if holders, made := parseMark(comment); made {
			t.Errorf("%q is taken for jit's: %v", comment, holders)
		}
	}
}

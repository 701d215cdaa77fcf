package authorizedkeys_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/pkg/target"
)

// TestLineWithoutItsMark: a line of jit's whose mark somebody took away is known by the
// grant's key and its end. It ends with the grant, and is not taken for what was there
// before.
func TestLineWithoutItsMark(t *testing.T) {
	file := filepath.Join(folder(t), "keys")
	write(t, file, others)
	d, a := open(t, file), grantOf(ed(t), self(t))
	if err := d.Grant(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	for name, mark := range map[string]string{"gone": "", "another comment": " me@home", "commented over": " jit:x"} {
		text := strings.Replace(read(t, file), " jit:"+a.ID+":alice", mark, 1)
		write(t, file, text)
		seen, err := d.Check(t.Context(), a, nil)
		if err != nil || seen.Present || seen.Foreign {
			t.Errorf("%s: %+v, %v", name, seen, err)
		}
		// It is no other access of the person's for another grant of the same key either.
		b := grantOf(a.Account, self(t))
		b.Ends = b.Ends.Add(time.Hour)
		if seen, err := d.Check(t.Context(), b, []target.Grant{a}); err != nil || seen.Foreign {
			t.Errorf("%s, by another grant: %+v, %v", name, seen, err)
		}
		if err := d.Grant(t.Context(), a); err != nil || strings.Count(read(t, file), strings.Fields(a.Account)[1]) != 1 {
			t.Errorf("%s: %v: %q", name, err, read(t, file))
		}
		write(t, file, text)
		if e, err := d.Revoke(t.Context(), a, nil); err != nil || e.Standing || read(t, file) != others {
			t.Errorf("%s: %+v, %v: %q", name, e, err, read(t, file))
		}
		if err := d.Grant(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLineThatMayBeAnothers: one that lets the key in for longer, or for ever, may be the
// person's own. It is left.
func TestLineThatMayBeAnothers(t *testing.T) {
	for name, options := range map[string]string{"for ever": "", "for longer": `expiry-time="20990101000000Z" `, "as a comment": "# "} {
		file := filepath.Join(folder(t), "keys")
		d, g := open(t, file), grantOf(ed(t), self(t))
		own := options + strings.TrimSpace(g.Account) + " me@home\n"
		write(t, file, own)
		if seen, err := d.Check(t.Context(), g, nil); err != nil || seen.Foreign != (name != "as a comment") {
			t.Errorf("%s: %+v, %v", name, seen, err)
		}
		if err := d.Grant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
		if e, err := d.Revoke(t.Context(), g, nil); err != nil || e.Standing != (name != "as a comment") || read(t, file) != own {
			t.Errorf("%s: %+v, %v: %q", name, e, err, read(t, file))
		}
	}
}

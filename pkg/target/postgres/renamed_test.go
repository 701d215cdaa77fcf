package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/target"
)

// known is g as the caller knows it after opening: with what Check saw.
func (h held) known(g target.Grant) target.Grant {
	h.Helper()
	h.opened(g)
	seen, err := h.d.Check(h.Context(), g, nil)
	if err != nil || !seen.Present || seen.Identity == "" {
		h.Fatalf("%+v, %v", seen, err)
	}
	g.Identity = seen.Identity
	return g
}

// nobody looks that jit's login has given a role to nobody but the named.
func (h held) nobody(but ...string) {
	h.Helper()
	h.s.Exec(fmt.Sprintf(`do $$ declare m text; begin
		select string_agg(pg_get_userbyid(member) || ' in ' || pg_get_userbyid(roleid), ', ') into m
			from pg_auth_members where pg_get_userbyid(grantor) = 'jit' and not pg_get_userbyid(member) = any(string_to_array('%s', ','));
		if m is not null then raise exception 'by jit: %%', m; end if; end $$`, strings.Join(but, ",")))
}

// TestRenamed: a grant ends wherever what it gave is by now, with the sessions, and says
// where it was found.
func TestRenamed(t *testing.T) {
	s := testenv.StartPostgres(t)
	s.Exec(setup + `CREATE ROLE eve LOGIN`)
	for name, try := range map[string]func(held){
		"own login": func(h held) {
			g := h.known(grantOf("bob", readonly))
			live := h.does("bob", "set role orders_readonly")
			s.Exec(`alter role bob rename to bobby`)
			defer s.Exec(`alter role bobby rename to bob`)
			if e := h.ends(g); e.SessionsEnded != 1 || len(e.Left) > 0 || len(e.Astray) != 1 || !strings.Contains(e.Astray[0], `"bobby"`) || !dead(live) {
				h.Errorf("%+v", e)
			}
			if e := h.ends(g); e.SessionsEnded > 0 || len(e.Left)+len(e.Astray) > 0 {
				h.Errorf("ending it again: %+v", e)
			}
		},
		"own login, twice": func(h held) {
			g := h.known(grantOf("bob", readonly))
			s.Exec(`alter role bob rename to bobby; alter role bobby rename to robert; create role bob login`)
			defer s.Exec(`drop role bob; alter role robert rename to bob`)
			live, other := h.does("robert", "set role orders_readonly"), h.does("bob", "select 1")
			if e := h.ends(g); e.SessionsEnded != 1 || len(e.Left) > 0 || !dead(live) {
				h.Errorf("%+v", e)
			}
			if err := other.Ping(t.Context()); err != nil {
				h.Error("the session of one was ended who had got nothing")
			}
		},
		"own login, and back": func(h held) {
			g := h.known(grantOf("bob", readonly))
			s.Exec(`alter role bob rename to bobby; alter role bobby rename to bob`)
			if e := h.ends(g); len(e.Left)+len(e.Astray) > 0 {
				h.Errorf("%+v", e)
			}
		},
		"own login, and its number is not known": func(h held) {
			g := h.opened(grantOf("bob", readonly))
			s.Exec(`alter role bob rename to bobby`)
			defer s.Exec(`alter role bobby rename to bob; revoke orders_readonly from bob granted by jit`)
			if e := h.ends(g); len(e.Left) != 1 || !strings.Contains(e.Left[0], `"bobby"`) {
				h.Errorf("%+v", e)
			}
			g.Identity = "1/2/3" // of another server
			if e := h.ends(g); len(e.Left) != 1 {
				h.Errorf("%+v", e)
			}
		},
		"swapped": func(h held) {
			g := h.known(grantOf("bob", readonly))
			live := h.does("bob", "set role orders_readonly")
			swap := `alter role bob rename to x; alter role eve rename to bob; alter role x rename to eve`
			s.Exec(swap)
			defer s.Exec(swap)
			if seen, err := h.d.Check(t.Context(), g, nil); err != nil || seen.Present || len(seen.Astray) != 1 {
				h.Errorf("%+v, %v", seen, err)
			}
			if e := h.ends(g); e.SessionsEnded != 1 || len(e.Left) > 0 || !dead(live) {
				h.Errorf("%+v", e)
			}
		},
		"swapped, and both have it": func(h held) {
			b, e := h.known(grantOf("bob", readonly)), h.known(grantOf("eve", readonly))
			swap := `alter role bob rename to x; alter role eve rename to bob; alter role x rename to eve`
			s.Exec(swap)
			defer s.Exec(swap)
			if seen, err := h.d.Check(t.Context(), b, []target.Grant{e}); err != nil || !seen.Present || len(seen.Astray) > 0 {
				h.Errorf("%+v, %v", seen, err)
			}
			h.ends(b, e)
			h.nobody("eve")
			if read(s, "eve") != nil || read(s, "bob") == nil {
				h.Error("the ending was another's")
			}
			h.ends(e)
		},
		"role, and another has its name": func(h held) {
			g := h.known(grantOf("bob", readonly))
			live := h.does("bob", "set role orders_readonly")
			s.Exec(`alter role orders_readonly rename to old; create role orders_readonly`)
			defer s.Exec(`drop role orders_readonly; alter role old rename to orders_readonly`)
			if e := h.ends(g); e.SessionsEnded != 1 || len(e.Left) > 0 || len(e.Astray) != 1 || !strings.Contains(e.Astray[0], `"old"`) || !dead(live) {
				h.Errorf("%+v", e)
			}
		},
		"role, and dropped": func(h held) {
			s.Exec(`create role gone`)
			g := h.known(grantOf("bob", map[string]string{"grant": "gone"}))
			live := h.does("bob", "set role gone")
			s.Exec(`alter role gone rename to gone2; drop role gone2; create role gone`)
			defer s.Exec(`drop role gone`)
			if e := h.ends(g); e.SessionsEnded != 1 || len(e.Left) > 0 || !dead(live) {
				h.Errorf("%+v", e)
			}
		},
		"login that jit made": func(h held) {
			g := h.known(grantOf("carol", madeReadonly))
			live := h.does("carol", "set role orders_readonly")
			s.Exec(`alter role carol rename to caro`)
			g.Identity = "" // the mark is enough
			if seen, err := h.d.Check(t.Context(), g, nil); err != nil || seen.Present || len(seen.Astray) != 1 {
				h.Errorf("%+v, %v", seen, err)
			}
			if e := h.ends(g); e.SessionsEnded != 1 || len(e.Left) > 0 || !dead(live) {
				h.Errorf("%+v", e)
			}
			h.gone("caro")
		},
		"login that jit made, and a second beside it": func(h held) {
			g := h.known(grantOf("carol", madeReadonly))
			s.Exec(`alter role carol rename to caro`)
			h.opened(g)
			h.ends(g)
			h.gone("caro")
			h.gone("carol")
		},
		"login that jit made, for two": func(h held) {
			a, b := h.known(grantOf("carol", madeReadonly)), h.known(grantOf("carol", madeReadonly))
			s.Exec(`alter role carol rename to caro`)
			h.ends(a, b)
			h.nobody()
			if read(s, "caro") == nil {
				h.Error("caro reads by a name that the policy does not have")
			}
			h.ends(b)
			h.gone("caro")
		},
		"own login, dropped": func(h held) {
			s.Exec(`create role zoe login`)
			g := h.known(grantOf("zoe", readonly))
			live := h.does("zoe", "set role orders_readonly")
			s.Exec(`drop role zoe`)
			h.endsDropped(g, live)
		},
		"own login, dropped, and another has its name": func(h held) {
			s.Exec(`create role zoe login`)
			g := h.known(grantOf("zoe", readonly))
			live := h.does("zoe", "set role orders_readonly")
			s.Exec(`drop role zoe; create role zoe login`)
			defer s.Exec(`drop role zoe`)
			h.endsDropped(g, live)
		},
		"own login, dropped, and others have a session by its name": func(h held) {
			s.Exec(`create role zoe login`)
			g := h.known(grantOf("zoe", readonly))
			live := h.does("zoe", "set role orders_readonly")
			s.Exec(`drop role zoe; create role zoe login`)
			defer s.Exec(`drop role zoe`)
			other := h.does("zoe", "select 1")
			h.endsDropped(g, live)
			if err := other.Ping(t.Context()); err != nil {
				h.Error("the session of one was ended who had got nothing")
			}
		},
		"own login, dropped, and who has its name is given the same": func(h held) {
			s.Exec(`create role zoe login`)
			g := h.known(grantOf("zoe", readonly))
			s.Exec(`drop role zoe; create role zoe login`)
			defer s.Exec(`drop role zoe`)
			live := h.does("zoe", "select 1")
			h.opened(g) // and the new number is not known yet
			if e := h.ends(g); e.SessionsEnded != 1 || len(e.Left)+len(e.Astray) > 0 || !dead(live) {
				h.Errorf("%+v", e)
			}
		},
		"login that jit made, dropped with the role": func(h held) {
			s.Exec(`create role gone`)
			g := h.known(grantOf("carol", map[string]string{"grant": "gone", "create-login": "true"}))
			live := h.does("carol", "set role gone")
			s.Exec(`drop role carol; drop role gone; create role gone`)
			defer s.Exec(`drop role gone`)
			h.endsDropped(g, live)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := held{t, s, open(t, s, "jit")}
			defer h.nobody()
			try(h)
		})
	}
}

// endsDropped looks that the sessions of a login that was dropped are told of, and end.
func (h held) endsDropped(g target.Grant, live *pgx.Conn) {
	h.Helper()
	seen, err := h.d.Check(h.Context(), g, nil)
	if err != nil || len(seen.Astray) != 1 || !strings.Contains(seen.Astray[0], "dropped") {
		h.Errorf("%+v, %v", seen, err)
	}
	e := h.ends(g)
	if err := live.Ping(h.Context()); err == nil || e.SessionsEnded != 1 || len(e.Left) > 0 || len(e.Astray) != 1 {
		h.Errorf("%+v, %v", e, err)
	}
	if e := h.ends(g); e.SessionsEnded > 0 || len(e.Left)+len(e.Astray) > 0 {
		h.Errorf("ending it again: %+v", e)
	}
}

// TestUnaccounted: what jit gave and no open grant gives is told, of the roles that are
// asked about and no others.
func TestUnaccounted(t *testing.T) {
	s := testenv.StartPostgres(t)
	s.Exec(setup + `create role other; create role eve login`)
	h := held{t, s, open(t, s, "jit")}
	a := h.known(grantOf("alice", readonly))
	b := h.known(grantOf("bob", readonly))
	h.known(grantOf("eve", map[string]string{"grant": "other"}))
	s.Exec(`grant orders_readonly to eve`)
	ask := func(open ...target.Grant) []target.Listed {
		t.Helper()
		listed, err := h.d.(target.Auditor).Unaccounted(t.Context(), open, []target.Grant{{Params: readonly}})
		if err != nil {
			t.Fatal(err)
		}
		return listed
	}
	if listed := ask(a, b); len(listed) > 0 {
		t.Errorf("all is as it should be: %+v", listed)
	}
	if listed := ask(a); len(listed) != 1 || listed[0].Account != "bob" || listed[0].GrantID != "" {
		t.Errorf("%+v", listed)
	}
	s.Exec(`alter role bob rename to bobby; alter role orders_readonly rename to old`)
	if listed := ask(b); len(listed) != 2 || listed[1].Account != "bobby" || listed[1].GrantID != b.ID {
		t.Errorf("under other names: %+v", listed)
	}
}

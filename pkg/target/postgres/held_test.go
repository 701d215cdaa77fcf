package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/target"
)

var madeReadonly = map[string]string{"grant": "orders_readonly", "create-login": "true"}

// held is a server, and people on it who hold what they can.
type held struct {
	*testing.T
	s *testenv.Postgres
	d target.Driver
}

func (h held) opened(g target.Grant) target.Grant {
	h.Helper()
	if err := h.d.Grant(h.Context(), g); err != nil {
		h.Fatal(err)
	}
	return g
}

// does opens a session that runs statements and stays.
func (h held) does(user string, statements ...string) *pgx.Conn {
	h.Helper()
	conn, err := connect(h.s, user, "postgres")
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { conn.Close(context.Background()) })
	for _, sql := range statements {
		if _, err := conn.Exec(h.Context(), sql); err != nil {
			h.Fatalf("%s: %v", sql, err)
		}
	}
	return conn
}

// ends ends g within the time that a target may have.
func (h held) ends(g target.Grant, remaining ...target.Grant) target.Ending {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.Context(), 20*time.Second)
	defer cancel()
	e, err := h.d.Revoke(ctx, g, remaining)
	if err != nil {
		h.Fatalf("ending: %v", err)
	}
	return e
}

// gone looks that nothing of a login that jit made is there.
func (h held) gone(login string) {
	h.Helper()
	h.s.Exec(fmt.Sprintf(`do $$ begin if exists (select from pg_roles where rolname = '%s') then raise exception 'the login is there'; end if; end $$`, login))
}

func dead(conn *pgx.Conn) bool { return !session{conn}.Alive() }

// TestNothingHeldKeepsAnEnding: whatever a person, or any login, can hold on the server,
// the ending is done.
func TestNothingHeldKeepsAnEnding(t *testing.T) {
	s := testenv.StartPostgres(t, "max_prepared_transactions=4")
	s.Exec(setup + `CREATE ROLE mallory LOGIN; CREATE ROLE admin2 LOGIN CREATEROLE;`)
	for name, try := range map[string]func(held){
		"row of one's own login": func(h held) {
			g := h.opened(grantOf("carol", madeReadonly))
			live := h.does("carol", "begin", "alter role carol password 'x'", "set role orders_readonly")
			if e := h.ends(g); len(e.Left) > 0 || e.SessionsEnded != 1 || !dead(live) {
				h.Errorf("%+v", e)
			}
			h.gone("carol")
		},
		"rows taken again and again": func(h held) {
			g := h.opened(grantOf("dora", map[string]string{"grant": "orders_readonly", "create-login": "true", "connection-limit": "20"}))
			release := swarm(h, "dora")
			h.ends(g)
			if _, err := connect(h.s, "dora", "postgres"); err == nil {
				h.Error("dora can log in")
			}
			release()
			h.ends(g) // what was in the way of dropping it has gone
			h.gone("dora")
		},
		"while another grant is open": func(h held) {
			a, b := h.opened(grantOf("emma", madeReadonly)), h.opened(grantOf("emma", madeReadonly))
			h.does("emma", "begin", "alter role emma password 'x'")
			if e := h.ends(a, b); len(e.Left) > 0 {
				h.Errorf("%+v", e)
			}
			if err := read(h.s, "emma"); err != nil {
				h.Errorf("the other grant is open: %v", err)
			}
			h.ends(b)
			h.gone("emma")
		},
		"prepared transaction": func(h held) {
			g := h.opened(grantOf("fay", madeReadonly))
			h.does("fay", "begin", "alter role fay password 'x'", "prepare transaction 'it''s'")
			if e := h.ends(g); len(e.Left) > 0 {
				h.Errorf("%+v", e)
			}
			h.gone("fay")
		},
		"prepared while another grant is open": func(h held) {
			a, b := h.opened(grantOf("gina", madeReadonly)), h.opened(grantOf("gina", madeReadonly))
			h.does("gina", "begin", "alter role gina password 'x'", "prepare transaction 'g'")
			h.ends(a, b)
			h.ends(b)
			h.gone("gina")
			h.s.Exec(`do $$ begin if exists (select from pg_auth_members m join pg_roles r on r.oid = m.member where r.rolname = 'jit' and pg_get_userbyid(m.roleid) <> 'pg_signal_backend') then raise exception 'jit kept a membership'; end if; end $$`)
		},
		"prepared by a login of their own": func(h held) {
			g := h.opened(grantOf("alice", readonly))
			h.does("alice", "begin", "create temporary table x(i int)", "drop table x", "select * from orders")
			h.does("alice", "begin", "select * from orders", "prepare transaction 'later'")
			e := h.ends(g)
			if len(e.Left) != 1 || !strings.Contains(e.Left[0], `"later"`) {
				h.Errorf("what can still be committed is not told: %+v", e)
			}
			h.s.Exec("rollback prepared 'later'")
		},
		"advisory locks": func(h held) {
			hash := fnv.New64a()
			hash.Write([]byte("jit account bob"))
			holder := h.does("mallory", fmt.Sprintf("select pg_advisory_lock(%d)", int64(hash.Sum64())))
			h.ends(h.opened(grantOf("bob", readonly)))
			if err := holder.Ping(h.Context()); err != nil {
				h.Errorf("a lock that is anybody's was in the way: %v", err)
			}
			if read(h.s, "bob") == nil {
				h.Error("bob can read")
			}
		},
		"named in a stranger's transaction": func(h held) {
			g := h.opened(grantOf("hana", madeReadonly))
			h.does("mallory", "begin", "create temporary table x(i int)", "grant select on x to hana")
			e := h.ends(g)
			if len(e.Left) != 1 || !strings.Contains(e.Left[0], "may not log in") {
				h.Errorf("%+v", e)
			}
			if _, err := connect(h.s, "hana", "postgres"); err == nil {
				h.Error("hana can log in")
			}
		},
		"an administrator who went to lunch": func(h held) {
			g := h.opened(grantOf("ines", madeReadonly))
			idle := h.does("admin2", "begin", "alter role ines connection limit 3")
			h.ends(g)
			if !dead(idle) {
				h.Error("the administrator's transaction lives on")
			}
			h.gone("ines")
		},
		"through a member of the login": func(h held) {
			g := h.opened(grantOf("jane", madeReadonly))
			h.s.Exec("create role kim login; create role lena login; grant jane to kim, lena; grant orders_readonly to lena")
			kim, lena := h.does("kim", "set role orders_readonly"), h.does("lena", "set role orders_readonly")
			if e := h.ends(g); e.SessionsEnded != 1 || !dead(kim) {
				h.Errorf("a session that came by way of the login reads on: %+v", e)
			}
			if dead(lena) {
				h.Error("a session with the role of its own was ended")
			}
		},
		"by a superuser, whom jit cannot end":   superuserHolds,
		"by another run":                        twoAtOnce,
		"by jit's own login, which got nothing": ownLogin,
	} {
		t.Run(name, func(t *testing.T) { try(held{t, s, open(t, s, "jit")}) })
	}
}

// swarm keeps up sessions that take the row of a login, by itself and by an administrator,
// in transactions that stay open and in short ones, and begin anew when they are ended.
func swarm(h held, login string) (release func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	up := make(chan bool, 64)
	for i := range 6 {
		all.Go(func() {
			for ctx.Err() == nil {
				user := login
				if i%3 == 0 {
					user = "admin2"
				}
				conn, err := pgx.Connect(ctx, h.s.DSN(user, "postgres"))
				if err != nil {
					continue
				}
				sql := "begin; alter role " + login + " password 'x'; select pg_sleep(60)"
				if i%2 == 0 {
					sql = "do $$ begin for i in 1..1000 loop begin execute 'alter role " + login + " password ''x'''; commit; exception when others then end; end loop; end $$"
				}
				select {
				case up <- true:
				default:
				}
				_, _ = conn.Exec(ctx, sql)
				_ = conn.Close(context.Background())
			}
		})
	}
	for range 6 {
		<-up
	}
	return func() { cancel(); all.Wait() }
}

// superuserHolds: a superuser's transaction cannot be ended. The access is taken all the
// same, and the ending says who is in its way.
func superuserHolds(h held) {
	t, s := h.T, h.s
	g := h.opened(grantOf("carol", madeReadonly))
	live := login(t, s, "carol")
	super := h.does(s.SuperUser, "begin", "alter role carol connection limit 3")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	_, err := h.d.Revoke(ctx, g, nil)
	if target.ReasonOf(err) != target.Held || !strings.Contains(err.Error(), `of login "admin"`) || ctx.Err() != nil {
		t.Errorf("ending: %v", err)
	}
	if live.Alive() || read(s, "carol") == nil {
		t.Error("carol reads on")
	}
	if err := h.d.Grant(t.Context(), grantOf("carol", madeReadonly)); target.ReasonOf(err) != target.Held {
		t.Errorf("opening: %v", err)
	}
	if _, err := super.Exec(t.Context(), "rollback"); err != nil {
		t.Fatal(err)
	}
	h.ends(g)
	h.gone("carol")
}

func TestConnections(t *testing.T) {
	s := testenv.StartPostgres(t)
	s.Exec(setup)
	h := held{t, s, open(t, s, "jit")}
	limit := func(want int) {
		t.Helper()
		s.Exec(fmt.Sprintf(`do $$ begin if (select rolconnlimit from pg_roles where rolname = 'carol') <> %d then raise exception 'another limit'; end if; end $$`, want))
	}
	// A login that jit made cannot fill the server.
	a := h.opened(grantOf("carol", madeReadonly))
	limit(10)
	var refused *pgconn.PgError
	for range 40 {
		conn, err := connect(s, "carol", "postgres")
		if errors.As(err, &refused) {
			break
		}
		defer conn.Close(context.Background())
	}
	if refused == nil || refused.Code != "53300" {
		t.Fatalf("carol may have any number of connections: %v", refused)
	}
	// The most generous of its grants counts, while there is one.
	b := h.opened(grantOf("carol", map[string]string{"grant": "orders_readonly", "create-login": "true", "connection-limit": "12"}))
	limit(12)
	c := h.opened(grantOf("carol", madeReadonly))
	limit(12)
	h.ends(a, b, c)
	h.ends(b, c)
	h.ends(c)
	h.gone("carol")

	// Another can. jit says so in time, and what keeps it out.
	g := h.opened(grantOf("bob", readonly))
	var conns []*pgx.Conn
	defer func() { // until then they are somebody's: a connection that is nobody's is closed with the garbage
		for _, conn := range conns {
			_ = conn.Close(context.Background())
		}
	}()
	for {
		conn, err := connect(s, "bob", "postgres")
		if err != nil {
			break
		}
		conns = append(conns, conn)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := h.d.Revoke(ctx, g, nil); target.ReasonOf(err) != target.Full || !strings.Contains(target.HintOf(err), "targets.md") || ctx.Err() != nil {
		t.Errorf("ending on a full server: %v", err)
	}
	// A place that gets free while it tries is enough.
	time.AfterFunc(100*time.Millisecond, func() { _ = conns[0].Close(context.Background()) })
	if e := h.ends(g); e.SessionsEnded < len(conns)-1 {
		t.Errorf("%+v of %d", e, len(conns))
	}
}

// twoAtOnce: runs that change the mark of one login at the same time lose nothing of each
// other's, and none waits for another for long.
func twoAtOnce(h held) {
	t := h.T
	first := grantOf("carol", madeReadonly)
	h.opened(first)
	grants := make([]target.Grant, 4)
	var all sync.WaitGroup
	for i := range grants {
		grants[i] = grantOf("carol", madeReadonly)
		all.Go(func() {
			if err := h.d.Grant(t.Context(), grants[i]); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	listed, err := h.d.List(t.Context())
	if err != nil || len(listed) != 5 {
		t.Errorf("%d grants are listed: %+v, %v", len(listed), listed, err)
	}
	for i := range grants {
		all.Go(func() {
			if _, err := h.d.Revoke(t.Context(), grants[i], []target.Grant{first}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if listed, err = h.d.List(t.Context()); err != nil || len(listed) != 1 || listed[0].GrantID != first.ID {
		t.Errorf("%+v, %v", listed, err)
	}
	for range 2 {
		all.Go(func() {
			if e, err := h.d.Revoke(t.Context(), first, nil); err != nil || len(e.Left) > 0 {
				t.Errorf("%+v, %v", e, err)
			}
		})
	}
	all.Wait()
	h.gone("carol")
}

// ownLogin: nothing is opened for jit's own login, so that there is nothing to end.
func ownLogin(h held) {
	t, s, d := h.T, h.s, h.d
	e, err := d.Revoke(t.Context(), grantOf("jit", readonly), nil)
	if err != nil || e.Standing || e.SessionsEnded > 0 || len(e.Left) > 0 {
		t.Errorf("%+v, %v", e, err)
	}
	s.Exec("GRANT orders_readonly TO jit")
	if e, err = d.Revoke(t.Context(), grantOf("jit", readonly), nil); err != nil || !e.Standing {
		t.Errorf("what somebody gave to jit's login is not told: %+v, %v", e, err)
	}
	s.Exec("REVOKE orders_readonly FROM jit")
}

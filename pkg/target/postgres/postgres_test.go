package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/target"
	"github.com/jitaccess/jit/pkg/target/conformance"
	"github.com/jitaccess/jit/pkg/target/postgres"
)

// setup is what docs/targets.md tells an administrator to run, and something
// to protect.
const setup = `
	CREATE ROLE jit LOGIN CREATEROLE;
	GRANT pg_signal_backend TO jit;
	CREATE ROLE orders_readonly;
	CREATE TABLE orders (id int);
	GRANT SELECT ON orders TO orders_readonly;
	CREATE ROLE alice LOGIN;
	CREATE ROLE bob LOGIN;
	CREATE ROLE team;
	CREATE ROLE dba SUPERUSER LOGIN;
	CREATE ROLE via_dba; GRANT dba TO via_dba;
	CREATE ROLE monitors; GRANT pg_monitor TO monitors;
	CREATE ROLE ops; GRANT pg_signal_backend TO ops; CREATE ROLE olga LOGIN; GRANT ops TO olga;
	CREATE ROLE app LOGIN; CREATE ROLE via_app; GRANT app TO via_app;
	CREATE ROLE giver; GRANT orders_readonly TO giver WITH ADMIN OPTION; CREATE ROLE via_giver; GRANT giver TO via_giver;
	CREATE ROLE "alice""; DROP TABLE orders; --" LOGIN;
	CREATE ROLE "-rf" LOGIN;
	CREATE ROLE "Alice" LOGIN;`

func open(t *testing.T, s *testenv.Postgres, user string) target.Driver {
	t.Helper()
	d, err := postgres.New(t.Context(), target.Config{Resource: "orders-db", Settings: map[string]string{
		"host": s.SocketDir, "port": strconv.Itoa(s.Port), "user": user,
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

var ids = struct {
	sync.Mutex
	n int
}{}

func grantOf(account string, params map[string]string) target.Grant {
	ids.Lock()
	defer ids.Unlock()
	ids.n++
	now := time.Now().UTC()
	return target.Grant{
		ID: fmt.Sprintf("01JD%022d-0", ids.n), Resource: "orders-db", Role: "readonly",
		Params: params, Person: "person", Account: account, Opens: now, Ends: now.Add(time.Hour),
	}
}

var readonly = map[string]string{"grant": "orders_readonly"}

func connect(s *testenv.Postgres, user, database string) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return pgx.Connect(ctx, s.DSN(user, database))
}

func read(s *testenv.Postgres, user string) error {
	conn, err := connect(s, user, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	_, err = conn.Exec(context.Background(), "SELECT * FROM orders")
	return err
}

type session struct{ conn *pgx.Conn }

func (s session) Alive() bool {
	_, err := s.conn.Exec(context.Background(), "SELECT * FROM orders")
	return err == nil
}

// login opens a session that has taken the role on, and so keeps reading after
// a mere REVOKE.
func login(t *testing.T, s *testenv.Postgres, user string) session {
	t.Helper()
	conn, err := connect(s, user, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), "SET ROLE orders_readonly"); err != nil {
		t.Fatal(err)
	}
	return session{conn}
}

func TestConformance(t *testing.T) {
	s := testenv.StartPostgres(t)
	s.Exec(setup)
	made := map[string]string{"grant": "orders_readonly", "create-login": "true"}
	super := map[string]string{"grant": "via_dba"}
	for name, c := range map[string]struct {
		account string
		params  map[string]string
	}{
		"existing login": {"alice", readonly},
		"hostile login":  {`alice"; DROP TABLE orders; --`, readonly},
		"made login":     {"carol", made},
	} {
		t.Run(name, func(t *testing.T) {
			lists := c.params["create-login"] != ""
			conformance.Run(t, conformance.Target{
				New:         func(t *testing.T) target.Driver { return open(t, s, "jit") },
				Grant:       func(*testing.T) target.Grant { return grantOf(c.account, c.params) },
				CanUse:      func(*testing.T) error { return read(s, c.account) },
				OpenSession: func(t *testing.T) conformance.Session { return login(t, s, c.account) },
				AddForeign: func(*testing.T) {
					if lists {
						s.Exec("CREATE ROLE carol LOGIN")
					}
					s.Exec("GRANT orders_readonly TO " + pgx.Identifier{c.account}.Sanitize())
				},
				RemoveForeign: func(*testing.T) {
					if lists {
						s.Exec("DROP ROLE IF EXISTS carol")
						return
					}
					s.Exec("REVOKE orders_readonly FROM " + pgx.Identifier{c.account}.Sanitize())
				},
				Lists: lists,
				Protected: map[string]target.Grant{
					"superuser login":        grantOf("dba", readonly),
					"superuser role":         grantOf("alice", map[string]string{"grant": "dba"}),
					"role leads to one":      grantOf("alice", super),
					"predefined role":        grantOf("alice", map[string]string{"grant": "pg_read_all_data"}),
					"leads to predefined":    grantOf("alice", map[string]string{"grant": "monitors"}),
					"jit's own login":        grantOf("jit", readonly),
					"jit's own, all flags":   grantOf("jit", map[string]string{"grant": "orders_readonly", "allow-superuser": "true"}),
					"jit's own as role":      grantOf("alice", map[string]string{"grant": "jit", "allow-superuser": "true", "allow-predefined": "pg_signal_backend"}),
					"a group":                grantOf("team", readonly),
					"ends sessions":          grantOf("alice", map[string]string{"grant": "pg_signal_backend", "allow-predefined": "pg_signal_backend"}),
					"leads to ending them":   grantOf("alice", map[string]string{"grant": "ops", "allow-predefined": "pg_signal_backend", "allow-superuser": "true"}),
					"login that ends them":   grantOf("olga", map[string]string{"grant": "orders_readonly", "allow-predefined": "pg_signal_backend"}),
					"role that logs in":      grantOf("alice", map[string]string{"grant": "app"}),
					"leads to one that does": grantOf("alice", map[string]string{"grant": "via_app"}),
					"superuser that does":    grantOf("alice", map[string]string{"grant": "dba", "allow-superuser": "true"}),
					"gives on":               grantOf("alice", map[string]string{"grant": "giver"}),
					"leads to giving on":     grantOf("alice", map[string]string{"grant": "via_giver"}),
				},
				Hostile: map[string]target.Grant{
					"everybody": grantOf("public", readonly), "option": grantOf("-rf", readonly), "path": grantOf("../../etc/passwd", made),
					"quote": grantOf(`x" SUPERUSER; --`, made), "apostrophe": grantOf("x'; DROP TABLE orders; --", made), "zero byte": grantOf("a\x00b", made),
					"long": grantOf(strings.Repeat("a", 64), made), "dn": grantOf("cn=admin,dc=x", made), "case": grantOf("Alice", readonly),
					"missing": grantOf("nobody-here", readonly), "newline": grantOf("a\nb", made), "predefined": grantOf("pg_monitor", made),
				},
				Unharmed: func(t *testing.T) {
					s.Exec("SELECT * FROM orders")
					if err := read(s, "bob"); err == nil {
						t.Error("bob can read")
					}
				},
			})
		})
	}
}

// TestLeastPrivileges: a login that may hand on the managed role and end sessions, and
// nothing else, is enough where it makes no logins; it reaches no other role.
func TestLeastPrivileges(t *testing.T) {
	s := testenv.StartPostgres(t)
	s.Exec(setup + `
		CREATE ROLE least LOGIN NOSUPERUSER NOCREATEROLE NOCREATEDB NOREPLICATION NOBYPASSRLS;
		GRANT pg_signal_backend TO least;
		GRANT orders_readonly TO least WITH ADMIN OPTION;
		CREATE ROLE payroll;`)
	d := open(t, s, "least")
	if err := d.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	g := grantOf("alice", readonly)
	for range 2 {
		if err := d.Grant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	live := login(t, s, "alice")
	seen, err := d.Check(t.Context(), g, nil)
	if err != nil || !seen.Present || seen.Foreign {
		t.Errorf("after opening: %+v, %v", seen, err)
	}
	e, err := d.Revoke(t.Context(), g, nil)
	if err != nil || e.SessionsEnded != 1 || len(e.Left) > 0 || live.Alive() {
		t.Errorf("ending: %+v, %v", e, err)
	}
	if read(s, "alice") == nil {
		t.Error("alice can still read")
	}
	for what, g := range map[string]target.Grant{
		"another role": grantOf("alice", map[string]string{"grant": "payroll"}),
		"a new login":  grantOf("carol", map[string]string{"grant": "orders_readonly", "create-login": "true"}),
	} {
		if err := d.Grant(t.Context(), g); target.ReasonOf(err) != target.Privilege {
			t.Errorf("%s: %v", what, err)
		}
	}
	// The login of the other tests is no superuser either.
	for _, user := range []string{"jit", "least"} {
		conn, err := connect(s, user, "postgres")
		if err != nil {
			t.Fatal(err)
		}
		var more bool
		if err := conn.QueryRow(t.Context(), "select rolsuper or rolcreatedb or rolreplication or rolbypassrls from pg_roles where rolname = current_user").Scan(&more); err != nil || more {
			t.Errorf("%s may do more than it needs: %v", user, err)
		}
		_ = conn.Close(t.Context())
	}
}

func TestMadeLogin(t *testing.T) {
	s := testenv.StartPostgres(t)
	s.Exec(setup)
	d := open(t, s, "jit")
	made := map[string]string{"grant": "orders_readonly", "create-login": "true"}
	one := func(sql string) (v string) {
		conn, err := connect(s, s.SuperUser, "postgres")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return v
	}
	a, b := grantOf("carol", made), grantOf("carol", made)
	b.Ends = a.Ends.Add(time.Hour)
	for _, g := range []target.Grant{a, b} {
		if err := d.Grant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	until := "select to_char(rolvaliduntil at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') from pg_roles where rolname = 'carol'"
	if got := one(until); got != b.Ends.Format(time.RFC3339) {
		t.Errorf("valid until %s, want the later end %s", got, b.Ends)
	}
	if _, err := d.Revoke(t.Context(), b, []target.Grant{a}); err != nil {
		t.Fatal(err)
	}
	if got := one(until); got != a.Ends.Format(time.RFC3339) {
		t.Errorf("valid until %s, want the end that is left, %s", got, a.Ends)
	}
	// What a person owns is not dropped, and the login is closed all the same.
	s.Exec("GRANT CREATE ON SCHEMA public TO orders_readonly; GRANT CREATE ON SCHEMA public TO carol; SET ROLE carol; CREATE TABLE hers (id int); RESET ROLE")
	e, err := d.Revoke(t.Context(), a, nil)
	if err != nil || len(e.Left) != 1 || !strings.Contains(e.Left[0], "owns objects") {
		t.Fatalf("ending a login that owns a table: %+v, %v", e, err)
	}
	if err := read(s, "carol"); err == nil {
		t.Error("carol can still log in")
	}
	// The next grant wakes it.
	c := grantOf("carol", made)
	if err := d.Grant(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	if err := read(s, "carol"); err != nil {
		t.Error(err)
	}
}

// TestOwnBesideStanding: what jit gives to one who had the access already goes with the
// grant, so that nothing is left when what was there before is taken away.
func TestOwnBesideStanding(t *testing.T) {
	s := testenv.StartPostgres(t)
	s.Exec(setup + `; GRANT orders_readonly TO team; GRANT team TO alice`)
	d := open(t, s, "jit")
	g := grantOf("alice", readonly)
	g.Standing = true
	if err := d.Grant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	if e, err := d.Revoke(t.Context(), g, nil); err != nil || !e.Standing || len(e.Left) > 0 {
		t.Fatalf("%+v, %v", e, err)
	}
	if err := read(s, "alice"); err != nil {
		t.Errorf("what was there before: %v", err)
	}
	s.Exec("REVOKE team FROM alice")
	if err := read(s, "alice"); err == nil {
		t.Error("a membership of jit's own was left")
	}
}

func TestIndirectMembershipStands(t *testing.T) {
	s := testenv.StartPostgres(t)
	s.Exec(setup + `; GRANT orders_readonly TO team; GRANT team TO alice`)
	d := open(t, s, "jit")
	g := grantOf("alice", readonly)
	seen, err := d.Check(t.Context(), g, nil)
	if err != nil || !seen.Present || !seen.Foreign {
		t.Fatalf("membership through a group: %+v, %v", seen, err)
	}
	if err := d.Grant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	live := login(t, s, "alice")
	e, err := d.Revoke(t.Context(), g, nil)
	if err != nil || !e.Standing || !live.Alive() {
		t.Fatalf("ending beside a membership through a group: %+v, %v", e, err)
	}
	// The same road, but made by another open grant of jit, is no standing access.
	s.Exec("REVOKE team FROM alice")
	other := grantOf("alice", map[string]string{"grant": "team"})
	for _, g := range []target.Grant{other, g} {
		if err := d.Grant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	e, err = d.Revoke(t.Context(), g, []target.Grant{other})
	if err != nil || e.Standing || e.SessionsEnded != 0 {
		t.Fatalf("ending beside another grant that leads there: %+v, %v", e, err)
	}
	e, err = d.Revoke(t.Context(), other, nil)
	if err != nil || e.Standing || e.SessionsEnded != 1 || live.Alive() {
		t.Fatalf("ending the last: %+v, %v", e, err)
	}
}

// Sessions in every database end, and nobody else's do.
func TestEndsSessionsOfOneAccountOnly(t *testing.T) {
	s := testenv.StartPostgres(t)
	s.Exec(setup)
	s.Exec("CREATE DATABASE other")
	d := open(t, s, "jit")
	g, h := grantOf("alice", readonly), grantOf("bob", readonly)
	for _, g := range []target.Grant{g, h} {
		if err := d.Grant(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := connect(s, "alice", "other")
	if err != nil {
		t.Fatal(err)
	}
	bobs := login(t, s, "bob")
	e, err := d.Revoke(t.Context(), g, []target.Grant{h})
	if err != nil || e.SessionsEnded != 1 {
		t.Fatalf("%+v, %v", e, err)
	}
	if conn.Ping(t.Context()) == nil {
		t.Error("alice's session in the other database lives on")
	}
	if !bobs.Alive() {
		t.Error("bob's session was ended")
	}
}

func TestPing(t *testing.T) {
	s := testenv.StartPostgres(t)
	s.Exec(setup + `; CREATE ROLE nosignal LOGIN CREATEROLE`)
	for user, want := range map[string]target.Reason{"jit": "", "alice": target.Privilege, "nosignal": target.Privilege, "missing": target.Unreachable} {
		err := open(t, s, user).Ping(t.Context())
		if got := target.ReasonOf(err); got != want {
			t.Errorf("ping as %s: %q (%v), want %q", user, got, err, want)
		}
		if want == target.Privilege && !strings.Contains(target.HintOf(err), `"`+user+`"`) {
			t.Errorf("ping as %s: the hint %q does not say what to run", user, target.HintOf(err))
		}
	}
}

func TestSettings(t *testing.T) {
	dir := t.TempDir()
	loose := filepath.Join(dir, "loose")
	if err := os.WriteFile(loose, []byte("hunter2\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// What the environment says must not decide anything.
	t.Setenv("PGPASSWORD", "hunter3")
	t.Setenv("PGHOST", "elsewhere.example")
	t.Setenv("PGSSLMODE", "prefer")
	for name, c := range map[string]struct {
		settings map[string]string
		want     string
	}{
		"unknown":   {map[string]string{"host": dir, "user": "jit", "pasword": "x"}, `"pasword": is not known`},
		"no host":   {map[string]string{"user": "jit"}, "setting host: is missing"},
		"no user":   {map[string]string{"host": dir}, "setting user: is missing"},
		"port":      {map[string]string{"host": dir, "user": "jit", "port": "70000"}, "not a port"},
		"weak tls":  {map[string]string{"host": "db", "user": "jit", "sslmode": "prefer"}, "none of verify-full"},
		"two hosts": {map[string]string{"host": "a,b", "user": "jit"}, "more than one host"},
	} {
		_, err := postgres.New(t.Context(), target.Config{Settings: c.settings})
		if target.ReasonOf(err) != target.BadSetting || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	d, err := postgres.New(t.Context(), target.Config{Settings: map[string]string{"host": dir, "user": "jit", "password-file": loose}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Ping(t.Context()); target.ReasonOf(err) != target.BadSetting || strings.Contains(err.Error(), "hunter") {
		t.Errorf("a password file that others can read: %v", err)
	}
	if err := os.Chmod(loose, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Ping(t.Context()); target.ReasonOf(err) != target.Unreachable || strings.Contains(err.Error(), "hunter") || !strings.Contains(err.Error(), dir) {
		t.Errorf("no server: %v", err)
	}
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct {
		params  map[string]string
		account string
		param   string
	}{
		"good":           {readonly, "alice", ""},
		"no grant":       {map[string]string{}, "", "grant"},
		"unknown":        {map[string]string{"grant": "x", "grants": "y"}, "", `"grants"`},
		"flag":           {map[string]string{"grant": "x", "create-login": "yes"}, "", "create-login"},
		"limit":          {map[string]string{"grant": "x", "create-login": "true", "connection-limit": "3"}, "", ""},
		"no limit":       {map[string]string{"grant": "x", "create-login": "true", "connection-limit": "-1"}, "", "connection-limit"},
		"high limit":     {map[string]string{"grant": "x", "create-login": "true", "connection-limit": "1001"}, "", "connection-limit"},
		"odd limit":      {map[string]string{"grant": "x", "create-login": "true", "connection-limit": "+3"}, "", "connection-limit"},
		"limit for none": {map[string]string{"grant": "x", "connection-limit": "3"}, "", "connection-limit"},
		"predefined":     {map[string]string{"grant": "pg_monitor"}, "", "grant"},
		"named":          {map[string]string{"grant": "pg_monitor", "allow-predefined": "pg_monitor, pg_read_all_stats"}, "", ""},
		"signals":        {map[string]string{"grant": "x", "allow-predefined": "pg_monitor, pg_signal_backend"}, "", "allow-predefined"},
		"not predefined": {map[string]string{"grant": "x", "allow-predefined": "dba"}, "", "allow-predefined"},
		"everybody":      {readonly, "public", target.ParamAccount},
		"63 bytes":       {readonly, strings.Repeat("a", 63), ""},
		"64 bytes":       {readonly, strings.Repeat("a", 64), target.ParamAccount},
		"not utf-8":      {readonly, "a\xff", target.ParamAccount},
	} {
		err := postgres.Validate(c.params, c.account)
		if c.param == "" && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var p *target.ParamError
		if errors.As(err, &p); c.param != "" && (p == nil || p.Param != c.param) {
			t.Errorf("%s: %v, want %s refused", name, err, c.param)
		}
	}
}

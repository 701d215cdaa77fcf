package postgres

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/target"
)

// TestBeginning: a session that took the role on as it began, and is not shown as one yet
// when the membership goes, ends with the others.
func TestBeginning(t *testing.T) {
	s := testenv.StartPostgres(t)
	s.Exec("CREATE ROLE jit LOGIN CREATEROLE; GRANT pg_signal_backend TO jit; CREATE ROLE readers; CREATE ROLE bob LOGIN")
	made, err := New(t.Context(), target.Config{Settings: map[string]string{"host": s.SocketDir, "port": strconv.Itoa(s.Port), "user": "jit"}})
	if err != nil {
		t.Fatal(err)
	}
	d := made.(*driver)
	now := time.Now().UTC()
	g := target.Grant{ID: "01JD0000000000000000000001-0", Params: map[string]string{"grant": "readers"}, Account: "bob", Opens: now, Ends: now.Add(time.Hour)}
	if err := d.Grant(t.Context(), g); err != nil {
		t.Fatal(err)
	}
	dial := func(user string) *pgx.Conn {
		config, err := pgx.ParseConfig(s.DSN(user, "postgres"))
		if err != nil {
			t.Fatal(err)
		}
		if user == "bob" {
			config.RuntimeParams["role"] = "readers"
		}
		conn, err := pgx.ConnectConfig(context.Background(), config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
		return conn
	}
	// The settings of logins are read last, so that whoever begins waits there.
	super := dial(s.SuperUser)
	var bob *pgx.Conn
	began, released := make(chan struct{}), make(chan struct{})
	err = d.session(t.Context(), func(ctx context.Context, conn *pgx.Conn) error {
		account, err := lookup(ctx, conn, "bob")
		if err != nil {
			return err
		}
		if _, err := super.Exec(ctx, "BEGIN; LOCK TABLE pg_db_role_setting"); err != nil {
			return err
		}
		go func() { defer close(began); bob = dial("bob") }()
		for {
			pids, err := beginning(ctx, conn)
			if err != nil {
				return err
			}
			if len(pids) > 0 {
				break
			}
			pause(ctx)
		}
		go func() {
			defer close(released)
			time.Sleep(100 * time.Millisecond)
			_, _ = super.Exec(context.Background(), "COMMIT")
		}()
		var ending target.Ending
		if err := d.endSessions(ctx, conn, []uint32{account.oid}, &ending); err != nil {
			return err
		}
		if ending.SessionsEnded != 1 {
			t.Errorf("%+v", ending)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	<-began
	<-released
	if _, err := bob.Exec(t.Context(), "SELECT 1"); err == nil {
		t.Error("the session lives on")
	}
}

func TestSelfSQL(t *testing.T) {
	for version, want := range map[int]string{
		150018: `GRANT "a""b" TO "jit"`,
		160000: `GRANT "a""b" TO "jit" WITH INHERIT FALSE, SET TRUE`,
	} {
		if got := selfSQL(version, `a"b`, "jit"); got != want {
			t.Errorf("%d: %s, want %s", version, got, want)
		}
	}
}

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

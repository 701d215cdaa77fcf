package postgres_test

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/target"
	"github.com/jitaccess/jit/pkg/target/postgres"
)

// TestOutlast: a role by which its members could keep something is refused, with what to do;
// one that becomes so while it is open is told of, and ends.
func TestOutlast(t *testing.T) {
	s := testenv.StartPostgres(t)
	s.Exec(setup)
	var log bytes.Buffer
	d, err := postgres.New(t.Context(), target.Config{
		Settings: map[string]string{"host": s.SocketDir, "port": strconv.Itoa(s.Port), "user": "jit"},
		Log:      slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	h := held{t, s, d}
	for name, c := range map[string]struct {
		given        map[string]string
		detail, hint string
	}{
		"password":             {map[string]string{"grant": "app"}, `role "app" may log in`, `ALTER ROLE "app" NOLOGIN`},
		"password, by another": {map[string]string{"grant": "via_app"}, `role "via_app" belongs to "app", which may log in`, `ALTER ROLE "app" NOLOGIN`},
		"given on":             {map[string]string{"grant": "giver"}, `role "giver" has ADMIN OPTION on "orders_readonly"`, `REVOKE ADMIN OPTION FOR "orders_readonly" FROM "giver"`},
		"given on, by another": {map[string]string{"grant": "via_giver"}, `role "via_giver" belongs to "giver", which has ADMIN OPTION`, `REVOKE ADMIN OPTION`},
		"signals":              {map[string]string{"grant": "ops", "allow-predefined": "pg_signal_backend"}, `belongs to "pg_signal_backend", which lets its members end jit's own sessions`, "nothing allows it"},
	} {
		err := d.Grant(t.Context(), grantOf("alice", c.given))
		if target.ReasonOf(err) != target.Refused || !strings.Contains(err.Error(), c.detail) || !strings.Contains(target.HintOf(err), c.hint) {
			t.Errorf("%s: %v (%s)", name, err, target.HintOf(err))
		}
	}
	h.nobody()
	for name, change := range map[string][2]string{
		"LOGIN":             {"alter role orders_readonly login", "alter role orders_readonly nologin"},
		"ADMIN OPTION":      {"grant team to orders_readonly with admin option", "revoke team from orders_readonly"},
		"pg_signal_backend": {"grant pg_signal_backend to orders_readonly", "revoke pg_signal_backend from orders_readonly"},
	} {
		g := h.known(grantOf("alice", map[string]string{"grant": "orders_readonly", "allow-predefined": "pg_signal_backend"}))
		if log.Len() > 0 {
			t.Errorf("before: %s", &log)
		}
		s.Exec(change[0])
		if seen, err := d.Check(t.Context(), g, nil); err != nil || !seen.Present || !strings.Contains(log.String(), "would be refused now") {
			t.Errorf("%s: %+v, %v: %s", name, seen, err, &log)
		}
		if e := h.ends(g); len(e.Left) > 0 {
			t.Errorf("%s: %+v", name, e)
		}
		h.nobody()
		s.Exec(change[1])
		log.Reset()
	}
}

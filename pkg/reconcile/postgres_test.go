package reconcile

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/storetest"
	"github.com/jitaccess/jit/internal/testenv"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/target/builtin"
)

func TestPostgres(t *testing.T) {
	t.Parallel()
	server := testenv.StartPostgres(t)
	server.Exec(`create role bob login; create role readers`)
	admin := server.SuperUser // the driver's own login, for which it opens nothing
	member := func(want bool) {
		t.Helper()
		server.Exec(fmt.Sprintf(`do $$ begin if pg_has_role('bob', 'readers', 'member') <> %v then raise exception 'membership is not as wanted'; end if; end $$`, want))
	}
	now := time.Now()
	store := storetest.New(t, now, func(b *policy.Body) {
		b.Resources["orders-db"] = policy.Resource{Driver: "postgres", Roles: map[string]policy.Role{"readonly": {Parameters: map[string]string{"grant": "readers"}}}}
		r := b.Reconcilers[storetest.Reconciler]
		r.Resources = []string{"orders-db"}
		b.Reconcilers[storetest.Reconciler] = r
		carol := b.People["carol"]
		carol.Accounts = map[string]string{"postgres": admin}
		b.People["carol"] = carol
	})
	o := Options{
		Config: Config{
			Name: storetest.Reconciler, State: filepath.Join(t.TempDir(), "state"), Store: StoreConfig{URL: store.URL, Identity: store.Identity},
			Targets: map[string]TargetConfig{"orders-db": {Settings: map[string]string{"host": server.SocketDir, "port": fmt.Sprint(server.Port), "user": server.SuperUser}}},
		},
		Drivers: builtin.Drivers(), Now: store.Now, Signer: store.Signer(storetest.Reconciler),
	}
	runs := func(code int) Result {
		t.Helper()
		res, err := Run(t.Context(), o)
		if err != nil || res.ExitCode() != code {
			t.Fatalf("%+v, %v", res, err)
		}
		return res
	}
	run := func() { t.Helper(); runs(0) }
	// What was refused was never open, and so has no end that could fail.
	never := store.Granted("carol", time.Hour, "orders-db:readonly")
	runs(6)
	runs(6)
	store.Cancel("carol", never.ID)
	if res := runs(0); res.Ended != 0 {
		t.Errorf("what was never open was ended: %+v", res)
	}
	store.Granted("bob", time.Hour, "orders-db:readonly")
	store.Set(now.Add(30 * time.Minute))
	store.Granted("bob", time.Hour, "orders-db:readonly")
	run()
	member(true)
	store.Set(now.Add(time.Hour))
	run()
	member(true)
	store.Set(now.Add(90 * time.Minute))
	run()
	member(false)
}

// TestPostgresRenamed: what was given ends where it is, whatever it is called by then, and
// a run that comes in between leaves it with nobody but whom the policy names.
func TestPostgresRenamed(t *testing.T) {
	t.Parallel()
	server := testenv.StartPostgres(t)
	server.Exec(`create role jit login createrole; grant pg_signal_backend to jit; create role bob login; create role eve login; create role readers`)
	store := storetest.New(t, time.Now(), func(b *policy.Body) {
		b.Resources["orders-db"] = policy.Resource{Driver: "postgres", Roles: map[string]policy.Role{
			"own":  {Parameters: map[string]string{"grant": "readers"}},
			"made": {Parameters: map[string]string{"grant": "readers", "create-login": "true"}},
		}}
		r := b.Reconcilers[storetest.Reconciler]
		r.Resources = []string{"orders-db"}
		b.Reconcilers[storetest.Reconciler] = r
	})
	o := Options{
		Config: Config{
			Name: storetest.Reconciler, State: filepath.Join(t.TempDir(), "state"), Store: StoreConfig{URL: store.URL, Identity: store.Identity},
			Targets: map[string]TargetConfig{"orders-db": {Settings: map[string]string{"host": server.SocketDir, "port": fmt.Sprint(server.Port), "user": "jit"}}},
		},
		Drivers: builtin.Drivers(), Now: store.Now, Signer: store.Signer(storetest.Reconciler),
	}
	// run runs, and looks who is a member by jit then ("bob in readers"), and what was told.
	run := func(code int, members string, drift ...string) Result {
		t.Helper()
		res, err := Run(t.Context(), o)
		if err != nil || res.ExitCode() != code {
			t.Fatalf("%+v, %v", res, err)
		}
		server.Exec(fmt.Sprintf(`do $$ declare m text; begin
			select coalesce(string_agg(pg_get_userbyid(member) || ' in ' || pg_get_userbyid(roleid), ', ' order by 1), '') into m
				from pg_auth_members where pg_get_userbyid(grantor) = 'jit';
			if m <> '%s' then raise exception 'members are: %%', m; end if; end $$`, members))
		if len(res.Drift) != len(drift) {
			t.Fatalf("drift: %q, want %q", res.Drift, drift)
		}
		for i, want := range drift {
			if !strings.Contains(res.Drift[i], want) {
				t.Errorf("drift: %q, want %q", res.Drift[i], want)
			}
		}
		return res
	}
	clean := func(res Result) {
		t.Helper()
		for _, c := range res.Changes {
			if len(c.Ending.Left) > 0 {
				t.Errorf("left: %q", c.Ending.Left)
			}
		}
	}
	logins := func(want string) {
		t.Helper()
		server.Exec(fmt.Sprintf(`do $$ begin if (select string_agg(rolname, ',' order by 1) from pg_roles where rolname like 'carol%%') is distinct from %s then raise exception 'other logins'; end if; end $$`, want))
	}

	// The login is renamed, and no run comes in between.
	a := store.Granted("bob", time.Hour, "orders-db:own")
	run(0, "bob in readers")
	server.Exec(`alter role bob rename to bobby`)
	store.Revoke("alice", a.ID)
	clean(run(0, "", `"bobby"`))
	run(0, "")
	server.Exec(`alter role bobby rename to bob`)

	// A run comes in between. It gives nothing to a name that is not there, and what was
	// given does not stay either.
	a = store.Granted("bob", time.Hour, "orders-db:own")
	run(0, "bob in readers")
	server.Exec(`alter role bob rename to bobby`)
	run(6, "", `"bobby"`)
	server.Exec(`alter role bobby rename to bob`)
	run(0, "bob in readers")

	// Two change their names with each other: the access is who bears the name's.
	swap := `alter role bob rename to x; alter role eve rename to bob; alter role x rename to eve`
	server.Exec(swap)
	run(0, "bob in readers", `"eve"`)
	run(0, "bob in readers")
	server.Exec(swap)
	store.Revoke("alice", a.ID)
	clean(run(0, "", `"eve"`))

	// The role is renamed, and another has its name.
	a = store.Granted("bob", time.Hour, "orders-db:own")
	run(0, "bob in readers")
	server.Exec(`alter role readers rename to old; create role readers`)
	run(0, "bob in readers", `"old"`)
	server.Exec(`drop role readers; alter role old rename to readers`)
	run(0, "bob in readers")
	server.Exec(`alter role readers rename to old; create role readers`)
	store.Revoke("alice", a.ID)
	clean(run(0, "", `"old"`))
	run(0, "")

	// A login that jit made: no second one holds the role beside it.
	a = store.Granted("carol", time.Hour, "orders-db:made")
	run(0, "carol in readers")
	server.Exec(`alter role carol rename to carolina`)
	run(0, "carol in readers", `"carolina"`)
	logins(`'carol'`)
	server.Exec(`alter role carol rename to caro; alter role caro rename to carolina`)
	store.Revoke("alice", a.ID)
	clean(run(0, "", `"carolina"`))
	logins("null")

	// The journal is lost, so that nothing tells by what number it was given.
	a = store.Granted("bob", time.Hour, "orders-db:own")
	run(0, "bob in readers")
	server.Exec(`alter role bob rename to bobby`)
	store.Revoke("alice", a.ID)
	if err := os.Remove(filepath.Join(o.Config.State, journalName)); err != nil {
		t.Fatal(err)
	}
	res := run(6, "bobby in readers", `"bobby"`)
	if len(res.Changes) != 1 || len(res.Changes[0].Ending.Left) != 1 {
		t.Errorf("what may be open is not told: %+v", res.Changes)
	}
	run(6, "bobby in readers", `"bobby"`)
	server.Exec(`revoke readers from bobby granted by jit`)
	run(0, "")
}

package reconcile

import (
	"fmt"
	"path/filepath"
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

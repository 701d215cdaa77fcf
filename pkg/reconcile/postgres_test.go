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
	})
	o := Options{
		Config: Config{
			Name: storetest.Reconciler, State: filepath.Join(t.TempDir(), "state"), Store: StoreConfig{URL: store.URL, Identity: store.Identity},
			Targets: map[string]TargetConfig{"orders-db": {Settings: map[string]string{"host": server.SocketDir, "port": fmt.Sprint(server.Port), "user": server.SuperUser}}},
		},
		Drivers: builtin.Drivers(), Now: store.Now, Signer: store.Signer(storetest.Reconciler),
	}
	run := func() {
		t.Helper()
		res, err := Run(t.Context(), o)
		if err != nil || res.ExitCode() != 0 {
			t.Fatalf("%+v, %v", res, err)
		}
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

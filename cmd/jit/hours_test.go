package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jitaccess/jit/internal/testenv"
)

const hoursPolicy = `admins:
  people: [alice]
  threshold: 1
people:
  alice: {keys: [%[1]s]}
  bob: {keys: [%[2]s], manager: carol, accounts: {postgres: bob}}
  carol: {keys: [%[3]s]}
  dave: {keys: [%[4]s]}
  erin: {keys: [%[5]s]}
schedules:
  office:
    zone: Europe/Berlin
    days: [mon, tue, wed, thu, fri]
    hours: ["08:00-17:00"]
reconcilers:
  db1: {keys: [%[6]s], resources: [orders-db]}
resources:
  orders-db:
    driver: postgres
    owners: [erin]
    roles:
      readonly: {parameters: {grant: orders_readonly}}
rules:
  - name: manager-then-owner
    resources: ["*"]
    roles: ["*"]
    requesters: ["*"]
    maxDuration: 4h
    useDuring: office
    stages:
      - approvers: [manager]
        count: 1
        escalate:
          - {after: 30m, to: [dave]}
      - approvers: [owner]
        count: 1
`

// at sets the clock of the commands that follow.
func (s *company) at(t time.Time) { s.env = []string{scriptAhead + "=" + time.Until(t).String()} }

// newHours makes a store of people with key files, and a reconciler beside pg.
func newHours(t *testing.T, pg *testenv.Postgres, begin time.Time) *company {
	bin, err := exec.LookPath("jit") // the one of the scripts: see TestMain
	if err != nil {
		t.Fatal(err)
	}
	s := &company{t: t, dir: t.TempDir(), bin: bin, people: map[string]*member{}}
	s.at(begin)
	s.store = filepath.Join(s.dir, "access.git")
	names := []string{"alice", "bob", "carol", "dave", "erin", "db1"}
	keys := []any{}
	var pin statusSeen
	for i, name := range names {
		s.people[name] = &member{home: filepath.Join(s.dir, name)}
		if i == 0 {
			s.jit(name, "init", s.store, "--as", name, "--generate-key")
			pin = s.status(name)
		} else {
			s.jit(name, "join", s.store, "--as", name, "--generate-key", "--store-id", pin.Store)
		}
		var who struct{ Key string }
		if err := json.Unmarshal([]byte(s.jit(name, "whoami", "-o", "json")), &who); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, who.Key)
	}
	s.jit("alice", "policy", "propose", "--yes", s.write("policy.yaml", fmt.Sprintf(hoursPolicy, keys...)))
	files, err := filepath.Glob(filepath.Join(s.people["db1"].home, "keys", "*.asc"))
	if err != nil || len(files) != 1 {
		t.Fatalf("the reconciler's key: %v %v", files, err)
	}
	s.config = s.write("reconcile.yaml", fmt.Sprintf(`name: db1
key: %s
state: %s
store: {url: %s, identity: %s}
targets:
  orders-db:
    settings: {host: %s, port: "%d", database: postgres, user: jit}
`, files[0], filepath.Join(s.dir, "state"), s.store, pin.Store, pg.SocketDir, pg.Port))
	return s
}

// TestChainAndHours: a manager is silent, the stage escalates, the owner agrees,
// access opens on PostgreSQL, and closes when the office does, before its window is
// over.
func TestChainAndHours(t *testing.T) {
	pg := testenv.StartPostgres(t)
	pg.Exec(`CREATE ROLE jit LOGIN CREATEROLE; GRANT pg_signal_backend TO jit;
		CREATE ROLE orders_readonly; CREATE TABLE orders (id int); INSERT INTO orders VALUES (7);
		GRANT SELECT ON orders TO orders_readonly; CREATE ROLE bob LOGIN;`)
	monday := time.Date(2030, 1, 14, 14, 0, 0, 0, time.UTC) // 15:00 in Berlin
	s := newHours(t, pg, monday)
	reads := func() bool {
		out, _, code := s.run("", "psql", "-X", "-A", "-t", "-d", pg.DSN("bob", "postgres"), "-c", "SELECT id FROM orders")
		return code == 0 && strings.TrimSpace(out) == "7"
	}
	machine := func(after time.Duration, open bool) {
		t.Helper()
		s.at(monday.Add(after))
		if text, code := s.reconcile(); code != 0 {
			t.Fatalf("after %s, reconcile: exit %d\n%s", after, code, text)
		}
		if reads() != open {
			t.Fatalf("after %s, bob reads: %t, want %t", after, !open, open)
		}
	}

	s.jit("bob", "request", "orders-db:readonly", "--for", "3h", "-r", "look at order 7")
	var list []struct{ ID string }
	if err := json.Unmarshal([]byte(s.jit("bob", "list", "-o", "json")), &list); err != nil || len(list) != 1 {
		t.Fatalf("list: %v %v", list, err)
	}
	id := list[0].ID
	// Neither the owner, whose stage has not begun, nor dave, to whom nothing has
	// escalated, can decide yet.
	for _, early := range []string{"erin", "dave"} {
		if _, text, code := s.run(early, s.bin, "approve", id, "--yes"); code != exitRefused {
			t.Fatalf("%s approves before their turn: exit %d\n%s", early, code, text)
		}
	}
	machine(time.Minute, false)
	s.at(monday.Add(31 * time.Minute))
	s.jit("dave", "approve", id, "--yes")
	machine(32*time.Minute, false)
	s.at(monday.Add(40 * time.Minute))
	s.jit("erin", "approve", id, "--yes")
	machine(41*time.Minute, true)
	machine(2*time.Hour-time.Minute, true)
	machine(2*time.Hour+time.Second, false) // 17:00 in Berlin
	if state := s.jit("bob", "show", id, "--json", "state"); !strings.Contains(state, "expired") {
		t.Errorf("state: %s", state)
	}
}

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jitaccess/jit/internal/testenv"
)

const unitFile = "../../packaging/systemd/jit-reconcile.service"

// maxExposure is what `systemd-analyze security` may at most say of the shipped unit,
// in tenths: what is above 2.8 would be a setting that went missing.
const maxExposure = 30

// TestUnitExposure holds the shipped unit to what docs/reconcile.md says of it.
func TestUnitExposure(t *testing.T) {
	analyze := testenv.Need(t, "systemd-analyze", "systemd")
	out, err := exec.Command(analyze, "security", "--offline=true", "--no-pager", unitFile).CombinedOutput()
	if err != nil {
		t.Fatalf("systemd-analyze: %v\n%s", err, out)
	}
	m := regexp.MustCompile(`Overall exposure level for jit-reconcile.service: (\d+)\.(\d)`).FindSubmatch(out)
	if m == nil {
		t.Fatalf("systemd-analyze says no level:\n%s", out)
	}
	got, err := strconv.Atoi(string(m[1]) + string(m[2]))
	if err != nil || got >= maxExposure {
		t.Errorf("the exposure is %s.%s, and must be below %.1f:\n%s", m[1], m[2], float64(maxExposure)/10, out)
	}
}

// unitSetting gives the value of a setting of the unit.
func unitSetting(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + `=(.*)$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("the unit has no %s", name)
	}
	return string(m[1])
}

// TestReconcileUnderTheUnit runs the reconciler with what the unit leaves it, made by
// stock programs: its capabilities and no new privileges, and where this machine allows
// a file system of its own, read-only but for the same places, with another /tmp.
func TestReconcileUnderTheUnit(t *testing.T) {
	setpriv, unshare := testenv.Need(t, "setpriv", "util-linux"), testenv.Need(t, "unshare", "util-linux")
	testenv.Need(t, "mount", "mount")
	if os.Geteuid() != 0 {
		t.Log("not root: no capabilities are taken away here")
	}
	pg := testenv.StartPostgres(t)
	pg.Exec(`CREATE ROLE one; CREATE ROLE bob LOGIN; CREATE ROLE jit LOGIN CREATEROLE; GRANT pg_signal_backend TO jit`)
	// The private /tmp must not hide what is looked at.
	dir, err := os.MkdirTemp("/var/tmp", "jitunit")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := unitCompany(t, dir, pg)
	id := s.ask("one")
	s.jit("alice", "approve", id, "--yes")

	caps := "-all"
	for _, c := range strings.Fields(unitSetting(t, "CapabilityBoundingSet")) {
		caps += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	script := "exec "
	if os.Geteuid() == 0 {
		script += setpriv + " --no-new-privs --inh-caps=-all --bounding-set=" + caps + " "
	} else {
		script += setpriv + " --no-new-privs "
	}
	script += `"$@"`
	wrap := []string{"/bin/sh", "-c", script, "sh"}
	if out, err := exec.Command(unshare, "-m", "/bin/true").CombinedOutput(); err != nil {
		t.Logf("no mounts of its own on this machine: %s", out)
	} else {
		mounts := `set -e
mount --make-rprivate /
mount --bind "$RW" "$RW"
mount --bind "$SOCKET" "$SOCKET"
mount --rbind / /mnt
mount -o remount,bind,ro /mnt
cd /mnt
mount -t tmpfs tmpfs /mnt/tmp
mkdir -p "/mnt$SOCKET"
mount --bind "$SOCKET" "/mnt$SOCKET"
mount -o remount,bind,ro "/mnt$SOCKET"
`
		wrap = []string{unshare, "-m", "/bin/sh", "-c", mounts + `exec chroot /mnt /bin/sh -c '` + script + `' sh "$@"`, "sh"}
		// What holds must hold within: nothing but the state can be written.
		probe := append(append([]string{}, wrap[1:]...), "/bin/sh", "-c", `! touch /etc/jit-unit-test 2>/dev/null && ! touch "$SOCKET/x" 2>/dev/null && touch "$RW/probe"`)
		s.env = append(s.env, "RW="+dir, "SOCKET="+pg.SocketDir)
		if out, said, code := s.run("", wrap[0], probe...); code != 0 {
			t.Fatalf("the restrictions do not hold: %s%s", out, said)
		}
	}
	reconcile := func(want string) {
		t.Helper()
		args := append(append([]string{}, wrap[1:]...), s.bin, "reconcile", "--config", s.config)
		out, said, code := s.run("", wrap[0], args...)
		if code != 0 || !strings.Contains(out, want) {
			t.Fatalf("under the unit: exit %d, want %q:\n%s%s", code, want, out, said)
		}
	}
	reconcile("opened db:one for bob")
	s.jit("bob", "cancel", id)
	reconcile("ended db:one for bob: cancelled")
}

// unitCompany is alice, bob and a reconciler beside a database, in dir.
func unitCompany(t *testing.T, dir string, pg *testenv.Postgres) *company {
	t.Helper()
	s := &company{t: t, dir: dir, bin: builtJit(t), people: map[string]*member{}}
	moved := filepath.Join(dir, "jit")
	data, err := os.ReadFile(s.bin)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(moved, data, 0o755); err != nil {
		t.Fatal(err)
	}
	s.bin, s.store = moved, filepath.Join(dir, "access.git")
	for _, name := range []string{"alice", "bob", "db1"} {
		s.people[name] = &member{home: filepath.Join(dir, name)}
	}
	key := func(name string) string {
		return strings.TrimSpace(s.jit(name, "whoami", "--template", "{{.key}}"))
	}
	s.jit("alice", "init", s.store, "--as", "alice", "--generate-key")
	pin := s.status("alice")
	for _, name := range []string{"bob", "db1"} {
		s.jit(name, "join", s.store, "--as", name, "--generate-key", "--store-id", pin.Store)
	}
	s.jit("alice", "policy", "propose", "--yes", s.write("policy.yaml", `admins: {people: [alice], threshold: 1}
people:
  alice: {keys: [`+key("alice")+`]}
  bob: {keys: [`+key("bob")+`]}
reconcilers:
  db1: {keys: [`+key("db1")+`], resources: [db]}
resources:
  db: {driver: postgres, roles: {one: {parameters: {grant: one}}}}
rules:
  - {name: all, resources: [db], roles: ["*"], requesters: ["*"], maxDuration: 4h, stages: [{approvers: [alice], count: 1}]}
`))
	s.config = s.write("reconcile.yaml", "name: db1\nkey: "+filepath.Join(s.people["db1"].home, "keys", key("db1")+".asc")+
		"\nstate: "+filepath.Join(dir, "state")+"\nstore: {url: "+s.store+", identity: "+pin.Store+"}\n"+
		"targets: {db: {settings: {host: "+pg.SocketDir+", port: \""+strconv.Itoa(pg.Port)+"\", user: jit}}}\n")
	return s
}

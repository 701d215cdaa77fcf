package testenv

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// postgresPatience bounds the waiting for a server to start or to stop.
const postgresPatience = 30 * time.Second

// Postgres is a running PostgreSQL server that is reached over a unix socket
// alone. Every login of the machine that runs the test may log in as any role.
type Postgres struct {
	SocketDir string // what psql takes as host
	Port      int
	SuperUser string
	Pid       int

	t    testing.TB
	psql string
	log  *logBuffer
}

// StartPostgres starts a server with a new cluster in a temporary folder, and
// stops it when the test ends. settings, such as max_prepared_transactions=4, are
// added to its own. Where root runs the test, the server runs as
// the user postgres, or else nobody: it refuses to run as root.
func StartPostgres(t testing.TB, settings ...string) *Postgres {
	t.Helper()
	initdb := Need(t, "initdb", "postgresql")
	server := Need(t, "postgres", "postgresql")
	psql := Need(t, "psql", "postgresql-client")
	// A socket's path must be short: t.TempDir holds the test's name. In /tmp itself no
	// folder of another user's is believed to be the server's.
	above, err := os.MkdirTemp("/tmp", "jitpg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(above) })
	dir := filepath.Join(above, "s")
	for _, err := range []error{os.Chmod(above, 0o755), os.Mkdir(dir, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	attr := unprivileged(t, dir)
	s := &Postgres{SocketDir: dir, Port: 5432, SuperUser: "admin", t: t, psql: psql, log: &logBuffer{}}
	data := filepath.Join(dir, "data")
	env := []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "TZ=UTC"}

	create := exec.Command(initdb, "-D", data, "-U", s.SuperUser, "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions")
	create.Dir, create.Env, create.SysProcAttr = dir, env, attr
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	run := exec.Command(server, "-D", data, "-k", dir, "-p", strconv.Itoa(s.Port),
		"-c", "listen_addresses=", "-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum=off",
		"-c", "shared_buffers=16MB", "-c", "max_connections=40", "-c", "dynamic_shared_memory_type=mmap")
	for _, setting := range settings {
		run.Args = append(run.Args, "-c", setting)
	}
	run.Dir, run.Env, run.SysProcAttr, run.Stderr, run.Stdout = dir, env, attr, s.log, s.log
	if err := run.Start(); err != nil {
		t.Fatalf("starting postgres: %v", err)
	}
	s.Pid = run.Process.Pid
	ended := make(chan struct{})
	go func() { _ = run.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = syscall.Kill(s.Pid, syscall.SIGINT) // fast shutdown
		select {
		case <-ended:
		case <-time.After(postgresPatience):
			_ = syscall.Kill(s.Pid, syscall.SIGQUIT)
			<-ended
		}
	})
	for deadline := time.Now().Add(postgresPatience); ; {
		err := s.run("SELECT 1")
		if err == nil {
			return s
		}
		select {
		case <-ended:
			t.Fatalf("postgres did not start:\n%s", s.log)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("postgres does not answer: %v\n%s", err, s.log)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// unprivileged gives the folder to the user that the server runs as, where
// that is another than the one who runs the test.
func unprivileged(t testing.TB, dir string) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		t.Fatalf("postgres does not run as root, and there is no user postgres or nobody: %v", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err1 != nil || err2 != nil {
		t.Fatalf("user %q has the ids %q and %q", u.Username, u.Uid, u.Gid)
	}
	if err := os.Chown(dir, int(uid), int(gid)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// DSN is a connection string that pgx and psql take.
func (s *Postgres) DSN(user, database string) string {
	quote := func(v string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + "'"
	}
	return fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=disable", quote(s.SocketDir), s.Port, quote(user), quote(database))
}

// Exec runs SQL statements as the superuser, in the database postgres.
func (s *Postgres) Exec(sql string) {
	s.t.Helper()
	if err := s.run(sql); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

func (s *Postgres) run(sql string) error {
	cmd := exec.Command(s.psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", s.DSN(s.SuperUser, "postgres"))
	cmd.Stdin = strings.NewReader(sql)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "PGCLIENTENCODING=UTF8"}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("psql: %w\n%s", err, out)
	}
	return nil
}

// Log gives what the server has written so far.
func (s *Postgres) Log() string { return s.log.String() }

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// serverPatience bounds the start and the stop of the demo's server.
const serverPatience = 20 * time.Second

// databaseScene is a database on a server of the demo's own, which listens on a
// socket in the demo's folder and nowhere else.
type databaseScene struct {
	bin    string // PostgreSQL's programs
	attr   *syscall.SysProcAttr
	server *exec.Cmd
	ended  chan struct{}
	client string // "psql -h FOLDER"
}

// serverPrograms finds the folder of initdb and postgres: on the PATH, or where
// Debian and its like put them, the newest first.
func serverPrograms() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if resolved, err := filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(resolved), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", usageErr("install postgresql; or run: jit demo", "PostgreSQL's programs initdb and postgres are not on this machine")
	}
	slices.SortFunc(found, func(a, b string) int {
		version := func(p string) int {
			n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(p))))
			return n
		}
		return version(b) - version(a)
	})
	return filepath.Dir(found[0]), nil
}

func (c *databaseScene) prepare(ctx context.Context, s *stage) (sceneParts, error) {
	var err error
	if c.bin, err = serverPrograms(); err != nil {
		return sceneParts{}, err
	}
	if _, err := exec.LookPath("psql"); err != nil {
		return sceneParts{}, usageErr("install postgresql-client", "the demo needs psql: %v", err)
	}
	s.chapter("A database server of the demo's own, on a socket in its folder")
	if err := c.start(ctx, s); err != nil {
		return sceneParts{}, err
	}
	c.client = "psql -X -q -h " + s.path("pg")
	const setup = `CREATE TABLE orders (id int, state text);
INSERT INTO orders VALUES (4711, 'stuck');
CREATE ROLE orders_readonly;
GRANT SELECT ON orders TO orders_readonly;
CREATE ROLE alice LOGIN;
CREATE ROLE jit LOGIN CREATEROLE;
GRANT pg_signal_backend TO jit;
DO $$ BEGIN IF current_setting('server_version_num')::int >= 160000 THEN
  EXECUTE 'GRANT orders_readonly TO jit WITH ADMIN TRUE, INHERIT FALSE, SET FALSE';
END IF; END $$;
`
	if err := s.write("setup.sql", setup, 0o644); err != nil {
		return sceneParts{}, err
	}
	for _, line := range []string{"cat setup.sql", c.client + " -U admin -v ON_ERROR_STOP=1 -f setup.sql postgres"} {
		if err := s.as(ctx, "carol", line); err != nil {
			return sceneParts{}, err
		}
	}
	return sceneParts{
		resource: "orders-db", role: "readonly", reason: "look into order 4711",
		policy: fmt.Sprintf(`orders-db:
    driver: postgres
    roles:
      readonly:
        usage: psql -h %s postgres
        parameters:
          grant: orders_readonly`, s.path("pg")),
		settings: "host: " + s.path("pg") + "\n      user: jit",
	}, nil
}

// start makes a cluster and runs its server: as another user where root plays
// the demo, since PostgreSQL refuses root.
func (c *databaseScene) start(ctx context.Context, s *stage) error {
	dir := s.path("pg")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	// A process group of its own: an interrupt at the terminal reaches the
	// server through close alone.
	c.attr = &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 {
		if err := c.unprivileged(dir); err != nil {
			return err
		}
	}
	data := filepath.Join(dir, "data")
	initdb := []string{filepath.Join(c.bin, "initdb"), "-D", data, "-U", "admin", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-instructions"}
	s.prompt("carol", "initdb -D pg/data -U admin -A trust --no-sync")
	if out, err := c.command(ctx, dir, initdb).CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	s.prompt("carol", "postgres -D pg/data -k "+dir+" -c listen_addresses= &")
	log, err := os.Create(s.path("postgres.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	// Not bound to ctx: the server ends in close, after everything that uses it.
	c.server = c.command(context.WithoutCancel(ctx), dir, []string{filepath.Join(c.bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off"})
	c.server.Stdout, c.server.Stderr = log, log
	if err := c.server.Start(); err != nil {
		return fmt.Errorf("postgres: %w", err)
	}
	c.ended = make(chan struct{})
	go func() { _ = c.server.Wait(); close(c.ended) }()
	return c.awaitServer(ctx, s)
}

func (c *databaseScene) command(ctx context.Context, dir string, argv []string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.SysProcAttr = dir, c.attr
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8"}
	return cmd
}

// awaitServer waits until the server answers.
func (c *databaseScene) awaitServer(ctx context.Context, s *stage) error {
	ctx, cancel := context.WithTimeout(ctx, serverPatience)
	defer cancel()
	for {
		_, err := s.quiet(ctx, "carol", "psql -X -q -h "+s.path("pg")+" -U admin -c 'SELECT 1' postgres")
		if err == nil {
			return nil
		}
		select {
		case <-c.ended:
			log, _ := os.ReadFile(s.path("postgres.log"))
			return fmt.Errorf("postgres did not start:\n%s", log)
		case <-ctx.Done():
			return fmt.Errorf("postgres does not answer: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// unprivileged has the server run as postgres, or else nobody.
func (c *databaseScene) unprivileged(dir string) error {
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return fmt.Errorf("PostgreSQL does not run as root, and there is no user postgres or nobody: %w", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("user %q: %w", u.Username, err)
	}
	c.attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(dir, int(uid), int(gid))
}

// try reads the table as alice.
func (c *databaseScene) try(ctx context.Context, s *stage, open bool) error {
	line := c.client + " -U alice -c 'SELECT * FROM orders' postgres"
	if open {
		return s.as(ctx, "alice", line)
	}
	return s.refused(ctx, "alice", line)
}

// close stops the server.
func (c *databaseScene) close(*stage) error {
	if c.server == nil || c.server.Process == nil || c.ended == nil {
		return nil
	}
	_ = c.server.Process.Signal(syscall.SIGINT) // fast shutdown
	select {
	case <-c.ended:
		return nil
	case <-time.After(serverPatience):
		_ = c.server.Process.Signal(syscall.SIGQUIT)
		<-c.ended
		return errors.New("postgres had to be stopped the hard way")
	}
}

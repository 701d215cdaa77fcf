// Package postgres owns the driver that opens access to PostgreSQL (12 to 17):
// a role of the policy is the membership of a group role, granted to a person's
// login and taken away again, with the sessions that use it.
//
// It imports packages target and owned, and nothing else of jit.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/jitaccess/jit/pkg/target"
)

// Bounds on a server that hangs.
const (
	connectTimeout = 10 * time.Second
	verbTimeout    = time.Minute
)

type driver struct {
	now      func() time.Time
	log      *slog.Logger
	config   *pgx.ConnConfig
	password string // the file that holds it, or ""
}

// New makes a driver for one server. It does not connect.
func New(_ context.Context, c target.Config) (target.Driver, error) {
	c = c.WithDefaults()
	if err := target.CheckSettings(Describe().Settings, c.Settings); err != nil {
		return nil, err
	}
	config, err := connConfig(c.Settings)
	if err != nil {
		return nil, err
	}
	return &driver{now: c.Now, log: c.Log.With("driver", "postgres", "resource", c.Resource), config: config, password: c.Settings[settingPassword]}, nil
}

func badSetting(name, format string, a ...any) error {
	return &target.Error{Reason: target.BadSetting, Detail: "setting " + name + ": " + fmt.Sprintf(format, a...)}
}

// connConfig says every value that the library would else take from PG…
// variables or from the home of whoever runs jit.
func connConfig(s map[string]string) (*pgx.ConnConfig, error) {
	value := func(name, otherwise string) string {
		if s[name] != "" {
			return s[name]
		}
		return otherwise
	}
	host := s[settingHost]
	if strings.Contains(host, ",") {
		return nil, badSetting(settingHost, "%q names more than one host", host)
	}
	port, err := strconv.ParseUint(value(settingPort, "5432"), 10, 16)
	if err != nil || port == 0 {
		return nil, badSetting(settingPort, "%q is not a port", s[settingPort])
	}
	mode := value(settingSSLMode, "verify-full")
	switch mode {
	case "verify-full", "verify-ca", "require", "disable":
	default:
		return nil, badSetting(settingSSLMode, "%q is none of verify-full, verify-ca, require and disable", mode)
	}
	root := s[settingSSLRoot]
	if onSocket(host) {
		mode, root = "disable", ""
	}
	quote := func(v string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(v) + "'"
	}
	var text strings.Builder
	for _, kv := range [][2]string{
		{"host", host}, {"port", strconv.FormatUint(port, 10)},
		{"dbname", value(settingDatabase, "postgres")}, {"user", s[settingUser]},
		{"password", ""}, {"passfile", "/dev/null"}, {"servicefile", "/dev/null"},
		{"sslmode", mode}, {"sslrootcert", root}, {"sslcert", ""}, {"sslkey", ""}, {"sslpassword", ""},
		{"target_session_attrs", "any"}, {"min_protocol_version", "3.0"}, {"max_protocol_version", "3.0"},
		{"connect_timeout", strconv.Itoa(int(connectTimeout / time.Second))},
	} {
		fmt.Fprintf(&text, "%s=%s ", kv[0], quote(kv[1]))
	}
	config, err := pgx.ParseConfig(text.String())
	if err != nil {
		return nil, &target.Error{Reason: target.BadSetting, Detail: "the server's address cannot be used", Err: err}
	}
	config.Fallbacks = nil
	config.RuntimeParams = map[string]string{
		"application_name":                    "jit",
		"search_path":                         "pg_catalog",
		"statement_timeout":                   "20s",
		"lock_timeout":                        milliseconds(lockPatience),
		"idle_in_transaction_session_timeout": "10s",
		// What the owner of the database may have set for it.
		"default_transaction_read_only": "off",
		"default_transaction_isolation": "read committed",
		"standard_conforming_strings":   "on",
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	return config, nil
}

// onSocket says that host is the folder of a socket, and not a name.
func onSocket(host string) bool { return strings.HasPrefix(host, "/") }

func milliseconds(d time.Duration) string {
	return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
}

// maxPassword bounds what is read from the password file, in bytes.
const maxPassword = 4096

func readPassword(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", badSetting(settingPassword, "%v", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", badSetting(settingPassword, "%v", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		return "", &target.Error{
			Reason: target.BadSetting,
			Detail: fmt.Sprintf("setting %s: %q is not a file that only its owner can read (mode %s)", settingPassword, path, info.Mode()),
			Hint:   "chmod 600 " + path,
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPassword+1))
	if err != nil {
		return "", badSetting(settingPassword, "%v", err)
	}
	word := strings.TrimRight(string(data), "\r\n")
	if word == "" || len(word) > maxPassword || strings.ContainsAny(word, "\n\x00") {
		return "", badSetting(settingPassword, "%q does not hold one line with a password", path)
	}
	return word, nil
}

// session runs do on a connection of its own. A run is short and rare, so that
// nothing is gained by keeping one open between runs.
func (d *driver) session(ctx context.Context, do func(context.Context, *pgx.Conn) error) error {
	return d.sessionIn(ctx, d.config.Database, do)
}

func (d *driver) sessionIn(ctx context.Context, database string, do func(context.Context, *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(ctx, verbTimeout)
	defer cancel()
	config := d.config.Copy()
	config.Database = database
	if onSocket(config.Host) {
		owner, err := checkSocket(config.Host)
		if err != nil {
			return err
		}
		config.DialFunc = dialServer(config.DialFunc, config.Host, owner)
	}
	if d.password != "" {
		word, err := readPassword(d.password)
		if err != nil {
			return err
		}
		config.Password = word
	}
	conn, err := connect(ctx, config)
	if err != nil {
		return err
	}
	defer func() {
		closing, done := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer done()
		_ = conn.Close(closing)
	}()
	return explain(do(ctx, conn))
}

// connect logs in. Where the server is full it tries again for a while: of many sessions
// that come and go, one leaves a place.
func connect(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	for deadline := time.Now().Add(share(ctx)); ; {
		conn, err := pgx.ConnectConfig(ctx, config)
		if err == nil {
			return conn, nil
		}
		if unsafe, ok := errors.AsType[*target.Error](err); ok {
			return nil, unsafe // of dialServer
		}
		refusal := &target.Error{
			Reason: target.Unreachable,
			Detail: fmt.Sprintf("cannot log in to PostgreSQL at %q as %q", config.Host, config.User),
			Hint:   "look whether the server runs and whether its pg_hba.conf lets this login in",
			Err:    err,
		}
		if pg, ok := errors.AsType[*pgconn.PgError](err); !ok || pg.Code != "53300" { // too_many_connections
			return nil, refusal
		}
		if time.Now().After(deadline) || !pause(ctx) {
			refusal.Reason = target.Full
			refusal.Hint = "end sessions as an administrator of the server, and keep connections free for jit: docs/targets.md says how"
			return nil, refusal
		}
	}
}

// explain gives a server's error jit's reason.
func explain(err error) error {
	if err == nil || target.ReasonOf(err) != "" {
		return err
	}
	if _, ok := errors.AsType[*target.ParamError](err); ok {
		return err
	}
	reason := target.Unreachable
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		reason = target.Failed
		switch pg.Code {
		case "42501": // insufficient_privilege
			reason = target.Privilege
		case "42704": // undefined_object
			reason = target.NotFound
		}
	}
	return &target.Error{Reason: reason, Detail: "PostgreSQL", Err: err}
}

func (d *driver) Describe() target.Description { return Describe() }

func (d *driver) Validate(given map[string]string, account string) error {
	return Validate(given, account)
}

// Close does nothing: no connection outlives a verb.
func (d *driver) Close() error { return nil }

// oldest is the oldest server that is known to work, as server_version_num.
const oldest = 120000

// Ping logs in and looks whether the driver's login may do what it must.
func (d *driver) Ping(ctx context.Context) error {
	return d.session(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		self, err := whoami(ctx, conn)
		if err != nil {
			return err
		}
		switch {
		case self.version < oldest:
			return &target.Error{Reason: target.Failed, Detail: fmt.Sprintf("the server's version %d is older than PostgreSQL 12", self.version/10000)}
		case self.super:
			d.log.Warn("jit's login is a superuser, which is more than it needs", "login", self.name)
		case !self.createRole && !self.admin:
			return self.lacks("CREATEROLE", fmt.Sprintf("ALTER ROLE %s CREATEROLE", ident(self.name)))
		case !self.signal:
			return self.lacks("pg_signal_backend, with which sessions are ended", fmt.Sprintf("GRANT pg_signal_backend TO %s", ident(self.name)))
		}
		return nil
	})
}

// self is the driver's own login.
type self struct {
	version int
	oid     uint32
	name    string
	// cluster is the server's own number, which its copies share; "0" where it may not be
	// asked for.
	cluster                   string
	super, createRole, signal bool
	// admin says that it may hand on at least one role, which is enough where it makes
	// no logins.
	admin bool
}

func (s self) lacks(what, sql string) error {
	return &target.Error{Reason: target.Privilege, Detail: fmt.Sprintf("jit's login %q lacks %s", s.name, what), Hint: "as an administrator of the server: " + sql}
}

func whoami(ctx context.Context, q querier) (self, error) {
	var s self
	err := q.QueryRow(ctx, `select current_setting('server_version_num')::int, oid, rolname::text, rolsuper, rolcreaterole,
		pg_has_role(oid, 'pg_signal_backend', 'USAGE'),
		exists (select from pg_auth_members where member = r.oid and admin_option) from pg_roles r where rolname = current_user`).
		Scan(&s.version, &s.oid, &s.name, &s.super, &s.createRole, &s.signal, &s.admin)
	if err != nil {
		return s, err
	}
	// Apart: a function that may not be called fails even where its value is not asked for.
	s.cluster = "0"
	var may bool
	if err := q.QueryRow(ctx, `select has_function_privilege('pg_control_system()', 'execute')`).Scan(&may); err != nil || !may {
		return s, err
	}
	err = q.QueryRow(ctx, `select system_identifier::text from pg_control_system()`).Scan(&s.cluster)
	return s, err
}

// grantor is the role under which the server records what jit grants. (A superuser's grants
// are all recorded under one name since PostgreSQL 16, which is a reason not to run jit as
// one.)
func (s self) grantor() uint32 {
	if s.shared() {
		return 10 // BOOTSTRAP_SUPERUSERID
	}
	return s.oid
}

// shared says that the grants of others are recorded under the same role as jit's.
func (s self) shared() bool { return s.super && s.version >= 160000 }

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// ident quotes a role's name.
func ident(name string) string { return pgx.Identifier{name}.Sanitize() }

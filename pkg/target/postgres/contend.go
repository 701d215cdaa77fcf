package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/jitaccess/jit/pkg/target"
)

// No lock that others can take stands between jit and an ending. Advisory locks are
// anybody's, so none is used. What a person can hold is the row of their own login (ALTER
// ROLE of oneself, in an open transaction), and jit's changes to a login that it made
// wait for that row. So endings take the membership first, which needs no lock that a
// person could hold, and then change the login with [driver.push], which ends whoever is
// in the way.
//
// Two runs of jit are kept apart by the same row: whoever changes the mark of a login has
// locked it with [hold] before reading the mark. Memberships need no lock: to give or to
// take one twice is the same as once, and the loser of a race tries again.

// Bounds on the waiting for what others hold.
const (
	// lockPatience bounds one waiting for a lock: jit's own transactions, the only
	// ones that are worth waiting for, take a few milliseconds.
	lockPatience = 500 * time.Millisecond
	// patience bounds the trying again, sessions that are to end, and a server without
	// a free connection. It is cut to a share of the verb's own time, so that a verb
	// says what is in its way before it is given up with the whole target.
	patience = 10 * time.Second
	poll     = 25 * time.Millisecond
)

// share is patience, or less where the verb has less time left: a third of it, for
// there may be three such waits in one verb.
func share(ctx context.Context) time.Duration {
	if end, ok := ctx.Deadline(); ok {
		return min(patience, time.Until(end)/3)
	}
	return patience
}

// pause waits for a moment, and reports false when ctx ended meanwhile.
func pause(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(poll):
		return true
	}
}

// hold locks the row of a login that jit made, until the transaction ends. Only the login
// itself, and those who administer it, can do the same.
func hold(ctx context.Context, tx pgx.Tx, login string) error {
	_, err := tx.Exec(ctx, "ALTER ROLE "+ident(login))
	return err
}

// holdOid is hold for a login that may be called otherwise by now, and gives it as it is.
func holdOid(ctx context.Context, tx pgx.Tx, oid uint32) (role, error) {
	account, err := lookupOid(ctx, tx, oid)
	for held := ""; err == nil && account.exists && account.name != held; {
		held = account.name
		if err = hold(ctx, tx, held); err == nil {
			account, err = lookupOid(ctx, tx, oid)
		}
	}
	return account, err
}

// contended reports whether the server says that somebody else holds what was to be
// changed, or was quicker.
func contended(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	if !ok {
		return false
	}
	switch pg.Code {
	case "55P03", // lock_not_available
		"40P01", // deadlock_detected
		"40001", // serialization_failure
		"42710", // duplicate_object: made meanwhile
		"23505", // unique_violation: the same, at the same instant
		"42704": // undefined_object: dropped meanwhile, for it was looked up before
		return true
	case "XX000": // internal_error, whose text is never translated
		return strings.HasPrefix(pg.Message, "tuple concurrently ")
	}
	return false
}

// attempts bounds the trying again of an opening. It waits for nobody but other runs.
const attempts = 5

// try runs do in a transaction, and again where another run of jit was quicker.
func try(ctx context.Context, conn *pgx.Conn, do func(pgx.Tx) error) (err error) {
	for range attempts {
		if err = pgx.BeginFunc(ctx, conn, do); !contended(err) || isLockTimeout(err) {
			break
		}
	}
	return heldUp(err, nil)
}

func isLockTimeout(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "55P03"
}

func heldUp(err error, by []string) error {
	if !contended(err) {
		return err
	}
	detail := "somebody on the server holds the login or the role that is to be changed"
	if len(by) > 0 {
		detail += ": " + strings.Join(by, ", ")
	}
	return &target.Error{Reason: target.Held, Detail: detail, Hint: "end that session as an administrator of the server; the next run tries again", Err: err}
}

// push runs do in a transaction for an ending, and again until it is through: whoever
// keeps it waiting is ended meanwhile over a second connection, and between two attempts
// so is every session of the logins in closing, which would change their row again and again.
func (d *driver) push(ctx context.Context, conn *pgx.Conn, account string, closing []uint32, do func(pgx.Tx) error) error {
	err := pgx.BeginFunc(ctx, conn, do)
	if !contended(err) {
		return err
	}
	stop := d.clear(ctx, conn.PgConn().PID(), account)
	for deadline := time.Now().Add(share(ctx)); contended(err) && time.Now().Before(deadline); {
		if len(closing) > 0 {
			if _, err := conn.Exec(ctx, `select pg_terminate_backend(a.pid) from pg_stat_activity a join pg_roles r on r.oid = a.usesysid
				where a.usesysid = any($1) and not r.rolsuper and a.pid <> pg_backend_pid()`, closing); err != nil {
				d.log.Warn("sessions could not be ended", "account", account, "error", err)
			}
		}
		err = pgx.BeginFunc(ctx, conn, do)
	}
	return heldUp(err, stop())
}

// clear ends, until stop is called, whoever keeps jit's session pid waiting. stop says who
// could not be ended.
func (d *driver) clear(ctx context.Context, pid uint32, account string) (stop func() []string) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan []string, 1)
	go func() {
		stubborn := map[string]bool{}
		err := d.session(ctx, func(ctx context.Context, conn *pgx.Conn) error {
			for {
				if err := d.endBlockers(ctx, conn, pid, account, stubborn); err != nil {
					return err
				}
				if !pause(ctx) {
					return nil
				}
			}
		})
		if err != nil && ctx.Err() == nil {
			// The attempts go on without it.
			d.log.Warn("whoever holds up an ending cannot be looked for", "account", account, "error", err)
		}
		var names []string
		for name := range stubborn {
			names = append(names, name)
		}
		done <- names
	}()
	return func() []string { cancel(); return <-done }
}

// blocker keeps a session of jit's waiting.
type blocker struct {
	living
	Ours bool
}

func (d *driver) endBlockers(ctx context.Context, conn *pgx.Conn, pid uint32, account string, stubborn map[string]bool) error {
	rows, err := conn.Query(ctx, `select b, coalesce(a.usesysid, 0), coalesce(a.usename::text, ''), a.usename is not distinct from current_user
		from (select distinct unnest(pg_blocking_pids($1)) b) w left join pg_stat_activity a on a.pid = b`, int32(pid))
	if err != nil {
		return err
	}
	blockers, err := pgx.CollectRows(rows, pgx.RowToStructByPos[blocker])
	if err != nil {
		return err
	}
	for _, b := range blockers {
		name := b.String()
		switch {
		case b.Pid == 0: // a prepared transaction
			name = "a prepared transaction"
			err = d.rollBack(ctx, account)
		case b.Ours: // another run, which is soon over
			continue
		default:
			// Asked for by both: the number may be another's by now.
			_, err = conn.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and usesysid = $2`, b.Pid, b.Oid)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case err == nil:
			d.log.Warn("held up the ending of an access, and was ended", "account", account, "who", name)
		case !stubborn[name]:
			stubborn[name] = true
			d.log.Warn("holds up the ending of an access, and cannot be ended", "account", account, "who", name, "error", err)
		}
	}
	return nil
}

// prepared is a transaction that waits for COMMIT PREPARED, without a session.
type prepared struct{ ID, Database string }

// preparedBy lists the transactions that a login prepared after a time.
func preparedBy(ctx context.Context, q querier, login string, after time.Time) ([]prepared, error) {
	rows, err := q.Query(ctx, `select gid, database::text from pg_prepared_xacts where owner = $1 and prepared >= $2`, login, after)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[prepared])
}

// rollBack rolls back what a login that jit made has prepared, which would hold the login
// for good. Only its owner may, and only in its own database: jit takes the owner's role
// on for it, which no more than ROLLBACK PREPARED is done with.
func (d *driver) rollBack(ctx context.Context, login string) error {
	return d.session(ctx, func(ctx context.Context, conn *pgx.Conn) (err error) {
		all, err := preparedBy(ctx, conn, login, time.Time{})
		if err != nil || len(all) == 0 {
			return err
		}
		s, err := whoami(ctx, conn)
		if err != nil {
			return err
		}
		if !s.super {
			if _, err := conn.Exec(ctx, selfSQL(s.version, login, s.name)); err != nil {
				return err
			}
			defer func() {
				// Done also when the ending got through meanwhile, and ctx is over.
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lockPatience)
				defer cancel()
				_, e := conn.Exec(ctx, fmt.Sprintf("REVOKE %s FROM %s", ident(login), ident(s.name)))
				err = errors.Join(err, e)
			}()
		}
		for _, p := range all {
			if err := d.rollBackOne(ctx, login, p); err != nil {
				return err
			}
			d.log.Warn("a prepared transaction was rolled back", "account", login, "transaction", p.ID, "database", p.Database)
		}
		return nil
	})
}

// selfSQL names the options where the server has them.
func selfSQL(version int, login, self string) string {
	sql := fmt.Sprintf("GRANT %s TO %s", ident(login), ident(self))
	if version >= 160000 {
		sql += " WITH INHERIT FALSE, SET TRUE"
	}
	return sql
}

func (d *driver) rollBackOne(ctx context.Context, login string, p prepared) error {
	return d.sessionIn(ctx, p.Database, func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, "SET ROLE "+ident(login)); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, "ROLLBACK PREPARED "+literal(p.ID))
		return err
	})
}

// literal quotes a text. Backslashes mean themselves: standard_conforming_strings is on.
func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }

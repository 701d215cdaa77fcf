package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/jitaccess/jit/pkg/target"
)

// users are the logins whose sessions can have used the access: the account, and those
// that may take the account on and do not reach the granted role without it. A superuser
// reaches all.
func users(ctx context.Context, q querier, s self, account, granted role) ([]uint32, error) {
	// A membership says since PostgreSQL 16 whether it can be used at all.
	rows, err := q.Query(ctx, `
		with recursive usable as (
			select m.roleid, m.member from pg_auth_members m
			where coalesce((to_jsonb(m) ->> 'set_option')::bool, true) or coalesce((to_jsonb(m) ->> 'inherit_option')::bool, true)
		), below(role) as (
			select $1::oid
			union
			select m.member from usable m join below b on m.roleid = b.role
		), reach(login, role) as (
			select role, role from below where role <> $1
			union
			select r.login, m.roleid from usable m join reach r on m.member = r.role where m.roleid <> $1)
		select b.role from below b join pg_roles p on p.oid = b.role
		where b.role = $1 or b.role <> $3 and not p.rolsuper
			and not exists (select from reach r where r.login = b.role and r.role = $2)`, account.oid, granted.oid, s.oid)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[uint32])
}

// beginningPatience bounds the waiting for sessions that are just beginning. One takes
// some milliseconds from looking at its memberships to being shown; the rest may be
// strangers who have not said yet who they are, and those need not be waited for.
const beginningPatience = time.Second

// beginning lists the server's processes that are about to become sessions: they are in a
// transaction already, and not shown as sessions yet.
func beginning(ctx context.Context, q querier) (pids []int32, err error) {
	err = q.QueryRow(ctx, `select coalesce(array_agg(distinct pid), '{}') from pg_locks l
		where locktype = 'virtualxid' and mode = 'ExclusiveLock' and pid is not null
			and not exists (select from pg_stat_activity a where a.pid = l.pid)`).Scan(&pids)
	return pids, err
}

// settle waits until the sessions that were beginning can be seen: they may have found the
// account a member, or allowed to log in, just before it no longer was.
func settle(ctx context.Context, conn *pgx.Conn) error {
	first, err := beginning(ctx, conn)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(min(beginningPatience, share(ctx))); len(first) > 0 && time.Now().Before(deadline); {
		if !pause(ctx) {
			return ctx.Err()
		}
		now, err := beginning(ctx, conn)
		if err != nil {
			return err
		}
		first = slices.DeleteFunc(first, func(pid int32) bool { return !slices.Contains(now, pid) })
	}
	return nil
}

// living is a session that is to end.
type living struct {
	Pid   int32
	Oid   uint32
	Login string
}

func (l living) String() string { return fmt.Sprintf("session %d of login %q", l.Pid, l.Login) }

func sessionsOf(ctx context.Context, q querier, logins []uint32) ([]living, error) {
	rows, err := q.Query(ctx, `select pid, usesysid, coalesce(usename::text, '') from pg_stat_activity where usesysid = any($1) and pid <> pg_backend_pid()`, logins)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[living])
}

// endSessions ends every session of the logins, in any database, and waits until they are
// gone.
func (d *driver) endSessions(ctx context.Context, conn *pgx.Conn, logins []uint32, ending *target.Ending) error {
	if err := settle(ctx, conn); err != nil {
		return err
	}
	sessions, err := sessionsOf(ctx, conn, logins)
	if err != nil {
		return err
	}
	var told []living
	for _, l := range sessions {
		// The login is asked for again: the number may be another's by now.
		_, err := conn.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and usesysid = $2`, l.Pid, l.Oid)
		if err != nil && ctx.Err() != nil {
			return err
		}
		if err != nil {
			d.log.Warn("a session could not be ended", "session", l.String(), "error", err)
			ending.Left = append(ending.Left, fmt.Sprintf("%s could not be ended: %v", l, err))
			continue
		}
		told = append(told, l)
	}
	return await(ctx, conn, logins, told, ending)
}

// await waits until the sessions are gone. One that stays is an error, so that the ending
// is done again.
func await(ctx context.Context, conn *pgx.Conn, logins []uint32, told []living, ending *target.Ending) error {
	alive := slices.Clone(told)
	for deadline := time.Now().Add(share(ctx)); len(alive) > 0; {
		there, err := sessionsOf(ctx, conn, logins)
		if err != nil {
			return err
		}
		alive = slices.DeleteFunc(alive, func(l living) bool { return !slices.Contains(there, l) })
		if len(alive) == 0 || time.Now().After(deadline) {
			break
		}
		if !pause(ctx) {
			return ctx.Err()
		}
	}
	ending.SessionsEnded += len(told) - len(alive)
	if len(alive) == 0 {
		return nil
	}
	var names []string
	for _, l := range alive {
		names = append(names, l.String())
	}
	return &target.Error{Reason: target.Held, Detail: strings.Join(names, ", ") + " was told to end and has not", Hint: "end it as an administrator of the server; the next run tries again"}
}

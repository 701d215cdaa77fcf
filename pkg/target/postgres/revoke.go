package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/jitaccess/jit/pkg/target"
)

// Revoke takes the membership, then ends the account's sessions, then looks.
// The order matters: a session that had taken the role on with SET ROLE keeps
// it after REVOKE, and one that begins after the commit cannot take it on.
func (d *driver) Revoke(ctx context.Context, g target.Grant, remaining []target.Grant) (target.Ending, error) {
	var ending target.Ending
	p, err := judge(g)
	if err != nil {
		return ending, err
	}
	err = d.session(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		s, err := whoami(ctx, conn)
		if err != nil {
			return err
		}
		var r revocation
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) (err error) {
			r, err = d.take(ctx, tx, s, g, p, remaining)
			return err
		})
		if err != nil {
			return err
		}
		ending.Standing, ending.Left = r.standing, r.left
		if r.cut {
			if err := d.endSessions(ctx, conn, r.account, &ending); err != nil {
				return err
			}
		}
		if r.drop && len(ending.Left) == 0 {
			left, err := d.dropLogin(ctx, conn, s, r.account.name)
			if err != nil {
				return err
			}
			if left != "" {
				ending.Left = append(ending.Left, left)
			}
		}
		return nil
	})
	return ending, err
}

// revocation is what remains to be done once the membership is settled.
type revocation struct {
	account             role
	standing, cut, drop bool
	left                []string
}

func (d *driver) take(ctx context.Context, tx pgx.Tx, s self, g target.Grant, p params, remaining []target.Grant) (r revocation, err error) {
	if err := lock(ctx, tx, g.Who()); err != nil {
		return r, err
	}
	if r.account, err = lookup(ctx, tx, g.Who()); err != nil || !r.account.exists {
		return r, err
	}
	if r.account.oid == s.oid {
		return r, &target.Error{Reason: target.Refused, Detail: fmt.Sprintf("%q is the login that jit itself uses", s.name)}
	}
	if r.drop, err = d.releaseLogin(ctx, tx, r.account, g); err != nil {
		return r, err
	}
	granted, err := lookup(ctx, tx, p.grant)
	if err != nil {
		return r, err
	}
	if !granted.exists {
		// The server took the memberships with the role; sessions that had
		// taken it on are not known to have ended.
		r.cut = true
		return r, nil
	}
	others := othersRoles(g, remaining)
	shared := slices.Contains(others, p.grant)
	m, err := memberships(ctx, tx, s, r.account, granted)
	if err != nil {
		return r, err
	}
	if m.ours && !shared && !g.Standing {
		if _, err := tx.Exec(ctx, fmt.Sprintf("REVOKE %s FROM %s", ident(granted.name), ident(r.account.name))); err != nil {
			return r, err
		}
		if m, err = memberships(ctx, tx, s, r.account, granted); err != nil {
			return r, err
		}
		if m.ours {
			r.left = append(r.left, fmt.Sprintf("login %q is still a member of %q", r.account.name, granted.name))
		}
	}
	rest := m.without(others)
	r.standing = rest.foreign || len(rest.through) > 0 || g.Standing && rest.ours
	lives := r.standing || shared || len(m.through) > len(rest.through)
	r.cut = !lives || r.drop
	return r, nil
}

// Bounds on the waiting for sessions to end.
const (
	sessionsPatience = 10 * time.Second
	sessionsPoll     = 25 * time.Millisecond
)

// endSessions ends every session of the account that there is now, in any
// database, and waits until they are gone.
func (d *driver) endSessions(ctx context.Context, conn *pgx.Conn, account role, ending *target.Ending) error {
	rows, err := conn.Query(ctx, `select pid from pg_stat_activity where usesysid = $1 and pid <> pg_backend_pid()`, account.oid)
	if err != nil {
		return err
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int32])
	if err != nil {
		return err
	}
	ended := pids[:0:0]
	for _, pid := range pids {
		// The account is asked for again: the number may be another's by now.
		_, err := conn.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity where pid = $1 and usesysid = $2`, pid, account.oid)
		if err != nil && ctx.Err() != nil {
			return err
		}
		if err != nil {
			d.log.Warn("a session could not be ended", "account", account.name, "pid", pid, "error", err)
			ending.Left = append(ending.Left, fmt.Sprintf("session %d of login %q could not be ended: %v", pid, account.name, err))
			continue
		}
		ended = append(ended, pid)
	}
	deadline := time.Now().Add(sessionsPatience)
	for len(ended) > 0 {
		var alive []int32
		err := conn.QueryRow(ctx, `select coalesce(array_agg(pid), '{}') from pg_stat_activity where pid = any($1) and usesysid = $2`, ended, account.oid).Scan(&alive)
		if err != nil {
			return err
		}
		if len(alive) == 0 {
			break
		}
		if time.Now().After(deadline) {
			ending.Left = append(ending.Left, fmt.Sprintf("sessions %v of login %q were told to end and have not", alive, account.name))
			ending.SessionsEnded = len(ended) - len(alive)
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(sessionsPoll):
		}
	}
	ending.SessionsEnded = len(ended)
	return nil
}

package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/jitaccess/jit/pkg/target"
)

// A login that jit made is told from others by its comment:
//
//	jit: made for 01J…-0 until 2026-11-24T10:00:00Z, 01J…-1 until …
//
// Nobody but an administrator of the server's roles can write it, so that it
// may be believed. Without holders it is "jit: made for nobody".
const (
	markPrefix = "jit: made for "
	markNobody = "nobody"
)

// holder is a grant for which a login was made.
type holder struct {
	id   string
	ends time.Time
}

// parseMark reads a login's comment; made is false when it is not jit's.
func parseMark(comment string) (holders []holder, made bool) {
	text, made := strings.CutPrefix(comment, markPrefix)
	if !made || text == markNobody {
		return nil, made
	}
	for part := range strings.SplitSeq(text, ", ") {
		id, at, _ := strings.Cut(part, " until ")
		ends, err := time.Parse(time.RFC3339, at)
		if err != nil || target.CheckID(id) != nil {
			return nil, false
		}
		holders = append(holders, holder{id, ends})
	}
	return holders, true
}

func formatMark(holders []holder) string {
	if len(holders) == 0 {
		return markPrefix + markNobody
	}
	parts := make([]string, len(holders))
	for i, h := range holders {
		parts[i] = h.id + " until " + h.ends.UTC().Format(time.RFC3339)
	}
	return markPrefix + strings.Join(parts, ", ")
}

// without leaves out a grant, and those that have ended.
func without(holders []holder, id string, now time.Time) []holder {
	return slices.DeleteFunc(slices.Clone(holders), func(h holder) bool { return h.id == id || !h.ends.After(now) })
}

// holdLogin makes the login, or wakes one that jit made before, for g. The login may
// have as many connections as the most generous of its grants gives.
func (d *driver) holdLogin(ctx context.Context, tx pgx.Tx, account role, g target.Grant, limit int) (role, error) {
	holders, _ := parseMark(account.comment)
	mine := holder{g.ID, g.Ends.UTC().Truncate(time.Second)}
	if slices.Contains(holders, mine) && account.canLogin && account.limit >= limit {
		return account, nil
	}
	verb := "CREATE"
	if account.exists {
		verb = "ALTER"
		if err := hold(ctx, tx, account.name); err != nil {
			return account, err
		}
		var err error
		if account, err = lookup(ctx, tx, account.name); err != nil {
			return account, err
		}
		holders, _ = parseMark(account.comment)
	}
	holders = without(holders, g.ID, d.now())
	if len(holders) > 0 {
		limit = max(limit, account.limit)
	}
	if err := setLogin(ctx, tx, verb, g.Who(), fmt.Sprintf("CONNECTION LIMIT %d", limit), append(holders, mine)); err != nil {
		return account, err
	}
	return lookup(ctx, tx, g.Who())
}

// setLogin writes down who holds a login that jit made. VALID UNTIL is the
// server's own backstop: it ends logins by password, and only those.
func setLogin(ctx context.Context, tx pgx.Tx, verb, name, options string, holders []holder) error {
	attributes := "NOLOGIN"
	if len(holders) > 0 {
		last := slices.MaxFunc(holders, func(a, b holder) int { return a.ends.Compare(b.ends) })
		attributes = fmt.Sprintf("LOGIN VALID UNTIL '%s'", last.ends.UTC().Format("2006-01-02 15:04:05+00"))
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf("%s ROLE %s %s %s", verb, ident(name), attributes, options)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, fmt.Sprintf("COMMENT ON ROLE %s IS '%s'", ident(name), formatMark(holders)))
	return err
}

// releaseLogin takes g off a login that jit made. closed says that nobody holds
// it any more; it may then not log in.
func (d *driver) releaseLogin(ctx context.Context, tx pgx.Tx, g target.Grant, login uint32) (closed bool, err error) {
	account, err := holdOid(ctx, tx, login)
	if err != nil || !account.exists { // another run has dropped it
		return false, err
	}
	holders, made := parseMark(account.comment)
	left := without(holders, g.ID, d.now())
	switch {
	case !made, len(left) == len(holders) && len(left) > 0:
		return false, nil
	case len(left) == 0 && len(holders) == 0 && !account.canLogin:
		return true, nil
	}
	return len(left) == 0, setLogin(ctx, tx, "ALTER", account.name, "", left)
}

// dropLogin removes a login that jit made and nobody holds. What stands in the
// way is said: jit drops nothing that a person owns, and no membership that
// somebody else granted.
func (d *driver) dropLogin(ctx context.Context, conn *pgx.Conn, s self, login role) (left string, err error) {
	name := login.name
	err = try(ctx, conn, func(tx pgx.Tx) error {
		account, err := holdOid(ctx, tx, login.oid)
		if err != nil {
			return err
		}
		// Another run may have opened it again meanwhile.
		if holders, made := parseMark(account.comment); !account.exists || !made || len(holders) > 0 {
			return nil
		}
		var others int
		err = tx.QueryRow(ctx, `select count(*) from pg_auth_members where member = $1 and grantor <> $2`, account.oid, s.oid).Scan(&others)
		if err != nil {
			return err
		}
		if others > 0 {
			left = fmt.Sprintf("login %q, which jit made, was given other roles by somebody else: it may not log in any more, but is not dropped", name)
			return nil
		}
		_, err = tx.Exec(ctx, "DROP ROLE "+ident(account.name))
		return err
	})
	pg, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case ok && pg.Code == "2BP01": // dependent_objects_still_exist
		return fmt.Sprintf("login %q, which jit made, owns objects or was given privileges: it may not log in any more, but is not dropped", name), nil
	case ok && pg.Code == "42704": // another run dropped it
		return "", nil
	case contended(err):
		// Anybody can name the login in a transaction that they leave open.
		return fmt.Sprintf("login %q, which jit made, is named in a transaction of somebody else: it may not log in any more, but is not dropped", name), nil
	}
	return left, err
}

// List returns the logins that jit made. A membership carries no mark.
func (d *driver) List(ctx context.Context) ([]target.Listed, error) {
	var listed []target.Listed
	err := d.session(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, `select rolname::text, shobj_description(oid, 'pg_authid') from pg_roles
			where shobj_description(oid, 'pg_authid') like 'jit: made for %' order by 1`)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name, comment string
			if err := rows.Scan(&name, &comment); err != nil {
				return err
			}
			holders, _ := parseMark(comment)
			for _, h := range holders {
				listed = append(listed, target.Listed{GrantID: h.id, Account: name, Ends: h.ends, Detail: "login that jit made"})
			}
		}
		return rows.Err()
	})
	return listed, err
}

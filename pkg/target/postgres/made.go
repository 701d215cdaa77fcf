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

// holdLogin makes the login, or wakes one that jit made before, for g.
func (d *driver) holdLogin(ctx context.Context, tx pgx.Tx, account role, g target.Grant) (role, error) {
	holders, _ := parseMark(account.comment)
	ends := g.Ends.UTC().Truncate(time.Second)
	if slices.Contains(holders, holder{g.ID, ends}) && account.canLogin {
		return account, nil
	}
	holders = slices.DeleteFunc(holders, func(h holder) bool { return h.id == g.ID || !h.ends.After(d.now()) })
	holders = append(holders, holder{g.ID, ends})
	verb := "ALTER"
	if !account.exists {
		verb = "CREATE"
	}
	if err := setLogin(ctx, tx, verb, g.Who(), holders); err != nil {
		return account, err
	}
	return lookup(ctx, tx, g.Who())
}

// setLogin writes down who holds a login that jit made. VALID UNTIL is the
// server's own backstop: it ends logins by password, and only those.
func setLogin(ctx context.Context, tx pgx.Tx, verb, name string, holders []holder) error {
	attributes := "NOLOGIN"
	if len(holders) > 0 {
		last := slices.MaxFunc(holders, func(a, b holder) int { return a.ends.Compare(b.ends) })
		attributes = fmt.Sprintf("LOGIN VALID UNTIL '%s'", last.ends.UTC().Format("2006-01-02 15:04:05+00"))
	}
	if _, err := tx.Exec(ctx, fmt.Sprintf("%s ROLE %s %s", verb, ident(name), attributes)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, fmt.Sprintf("COMMENT ON ROLE %s IS '%s'", ident(name), formatMark(holders)))
	return err
}

// releaseLogin takes g off a login that jit made. closed says that nobody holds
// it any more; it may then not log in.
func (d *driver) releaseLogin(ctx context.Context, tx pgx.Tx, account role, g target.Grant) (closed bool, err error) {
	holders, made := parseMark(account.comment)
	if !made {
		return false, nil
	}
	left := slices.DeleteFunc(slices.Clone(holders), func(h holder) bool { return h.id == g.ID || !h.ends.After(d.now()) })
	if len(left) == len(holders) && len(left) > 0 {
		return false, nil
	}
	return len(left) == 0, setLogin(ctx, tx, "ALTER", account.name, left)
}

// dropLogin removes a login that jit made and nobody holds. What stands in the
// way is said: jit drops nothing that a person owns, and no membership that
// somebody else granted.
func (d *driver) dropLogin(ctx context.Context, conn *pgx.Conn, s self, name string) (left string, err error) {
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := lock(ctx, tx, name); err != nil {
			return err
		}
		account, err := lookup(ctx, tx, name)
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
		_, err = tx.Exec(ctx, "DROP ROLE "+ident(name))
		return err
	})
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.Code == "2BP01" { // dependent_objects_still_exist
		return fmt.Sprintf("login %q, which jit made, owns objects or was given privileges: it may not log in any more, but is not dropped", name), nil
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

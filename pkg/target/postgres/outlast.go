package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/jitaccess/jit/pkg/target"
)

// outlast refuses a granted role whose members could make themselves a way in that is there
// after the end: that can log in itself, for which they need but set its password, or that may
// give other roles on. What it is a member of counts as well. A holder that may make roles
// was judged as such.
func outlast(ctx context.Context, q querier, granted role) error {
	rows, err := q.Query(ctx, `
		with recursive reach(role) as (
			select $1::oid
			union
			select m.roleid from pg_auth_members m join reach on m.member = reach.role)
		select r.rolname::text, ''
		from pg_roles r join reach on r.oid = reach.role where r.rolcanlogin
		union all
		select r.rolname::text, g.rolname::text
		from pg_auth_members m join reach on m.member = reach.role join pg_roles r on r.oid = m.member join pg_roles g on g.oid = m.roleid
		where m.admin_option and not r.rolsuper and not r.rolcreaterole
		order by 1, 2 limit 1`, granted.oid)
	if err != nil {
		return err
	}
	type way struct{ Through, Admin string }
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[way])
	if err != nil || len(found) == 0 {
		return err
	}
	w := found[0]
	refusal := &target.Error{
		Reason: target.Refused,
		Detail: "may log in: whoever has it can set its password and use that after the end",
		Hint:   fmt.Sprintf("on the server: ALTER ROLE %s NOLOGIN; or grant a role that is a group alone", ident(w.Through)),
	}
	if w.Admin != "" {
		refusal.Detail = fmt.Sprintf("has ADMIN OPTION on %q: whoever has it can give that on, and keep it after the end", w.Admin)
		refusal.Hint = fmt.Sprintf("on the server: REVOKE ADMIN OPTION FOR %s FROM %s; or grant another role", ident(w.Admin), ident(w.Through))
	}
	if w.Through == granted.name {
		refusal.Detail = fmt.Sprintf("role %q ", granted.name) + refusal.Detail
	} else {
		refusal.Detail = fmt.Sprintf("role %q belongs to %q, which ", granted.name, w.Through) + refusal.Detail
	}
	return refusal
}

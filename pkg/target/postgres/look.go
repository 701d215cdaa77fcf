package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/jitaccess/jit/pkg/target"
)

// role is what the server says of one.
type role struct {
	exists   bool
	oid      uint32
	name     string
	canLogin bool
	limit    int // of connections; -1 for none
	comment  string
}

const roleColumns = `select oid, rolname::text, rolcanlogin, rolconnlimit, coalesce(shobj_description(oid, 'pg_authid'), '') from pg_roles `

func scanRole(row pgx.Row) (r role, err error) {
	err = row.Scan(&r.oid, &r.name, &r.canLogin, &r.limit, &r.comment)
	r.exists = err == nil
	return r, err
}

func lookup(ctx context.Context, q querier, name string) (role, error) {
	r, err := scanRole(q.QueryRow(ctx, roleColumns+`where rolname = $1`, name))
	if errors.Is(err, pgx.ErrNoRows) {
		return role{name: name}, nil
	}
	return r, err
}

// lookupOid finds a role whatever it is called now.
func lookupOid(ctx context.Context, q querier, oid uint32) (role, error) {
	r, err := scanRole(q.QueryRow(ctx, roleColumns+`where oid = $1`, oid))
	if errors.Is(err, pgx.ErrNoRows) {
		return role{oid: oid}, nil
	}
	return r, err
}

// again looks a role up once more that was there before.
func (r role) again(ctx context.Context, q querier) (role, error) {
	if !r.exists {
		return r, nil
	}
	now, err := lookupOid(ctx, q, r.oid)
	if !now.exists {
		now.name = r.name
	}
	return now, err
}

// membership is how an account comes to a granted role.
type membership struct {
	ours    bool // granted by the driver's own login
	foreign bool // granted to the account itself by somebody else
	through []string
}

func (m membership) any() bool { return m.ours || m.foreign || len(m.through) > 0 }

// memberships looks how account belongs to granted. Which of an account's
// memberships are jit's is told by who granted them: the driver's login is used
// by nothing else.
func memberships(ctx context.Context, q querier, s self, account, granted role) (membership, error) {
	var m membership
	rows, err := q.Query(ctx, `
		with recursive above(role) as (
			select $2::oid
			union
			select m.member from pg_auth_members m join above a on m.roleid = a.role)
		select r.rolname::text, m.roleid = $2, m.grantor = $3
		from pg_auth_members m join above a on m.roleid = a.role join pg_roles r on r.oid = m.roleid
		where m.member = $1 order by 1`, account.oid, granted.oid, s.grantor())
	if err != nil {
		return m, err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var direct, ours bool
		if err := rows.Scan(&name, &direct, &ours); err != nil {
			return m, err
		}
		switch {
		case direct && ours:
			m.ours = true
		case direct:
			m.foreign = true
		default:
			m.through = append(m.through, name)
		}
	}
	return m, rows.Err()
}

// without leaves out the roles through which other open grants of jit lead.
func (m membership) without(roles []string) membership {
	m.through = slices.DeleteFunc(slices.Clone(m.through), func(n string) bool { return slices.Contains(roles, n) })
	return m
}

// dangerous are predefined roles that lead to the server's own account.
var dangerous = []string{"pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"}

// signaller is a predefined role that no policy can allow: who has it can end jit's sessions
// as often as they begin, and so keep what they have, and what all others have.
const signaller = "pg_signal_backend"

const whySignaller = "lets its members end jit's own sessions, and so keep any access from ending"

// power is a role of which another is a member, and that can do more than read
// and write what it was given.
type power struct {
	name                                 string
	super, createRole, replicate, bypass bool
}

func (p power) why() string {
	switch {
	case p.name == signaller:
		return whySignaller
	case p.super:
		return "is a superuser"
	case p.bypass:
		return "bypasses row security"
	case p.replicate:
		return "may replicate"
	case p.createRole:
		return "may make roles"
	}
	return "is one of PostgreSQL's own roles"
}

// powers lists the protected roles that r is or can become. For an account,
// the memberships that jit itself granted are left out: they were judged when
// they were.
func powers(ctx context.Context, q querier, r role, skipGrantor uint32) ([]power, error) {
	rows, err := q.Query(ctx, `
		with recursive reach(role) as (
			select $1::oid
			union
			select m.roleid from pg_auth_members m join reach on m.member = reach.role
			where not (m.member = $1 and m.grantor = $2))
		select rolname::text, rolsuper, rolcreaterole, rolreplication, rolbypassrls
		from pg_roles join reach on oid = role
		where rolsuper or rolcreaterole or rolreplication or rolbypassrls or rolname like 'pg\_%'
		order by 1`, r.oid, skipGrantor)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (p power, err error) {
		err = row.Scan(&p.name, &p.super, &p.createRole, &p.replicate, &p.bypass)
		return p, err
	})
}

// protect refuses a granted role, or an account, that can do more than the
// policy says by name.
func protect(ctx context.Context, q querier, s self, p params, account, granted role) error {
	if granted.oid == s.oid || account.exists && account.oid == s.oid {
		return &target.Error{Reason: target.Refused, Detail: fmt.Sprintf("%q is the login that jit itself uses", s.name)}
	}
	check := func(r role, what string, skip uint32) error {
		found, err := powers(ctx, q, r, skip)
		if err != nil {
			return err
		}
		for _, f := range found {
			predefined := strings.HasPrefix(f.name, "pg_") && !f.super && !f.createRole && !f.replicate && !f.bypass
			hint := fmt.Sprintf("where it is meant, the role's parameters must say %s: \"true\"", paramSuperuser)
			switch {
			case f.name == signaller:
				hint = fmt.Sprintf("nothing allows it; take %s away on the server, or grant another role", signaller)
			case !predefined && p.superuser:
				continue
			case predefined && slices.Contains(p.predefined, f.name):
				continue
			case predefined && what == "account" && !slices.Contains(dangerous, f.name):
				continue
			case predefined:
				hint = fmt.Sprintf("where it is meant, the role's parameters must name it: %s: %q", paramPredefined, f.name)
			}
			detail := fmt.Sprintf("%s %q %s", what, r.name, f.why())
			if f.name != r.name {
				detail = fmt.Sprintf("%s %q belongs to %q, which %s", what, r.name, f.name, f.why())
			}
			return &target.Error{Reason: target.Refused, Detail: detail, Hint: hint}
		}
		return nil
	}
	if err := check(granted, "role", 0); err != nil {
		return err
	}
	if !account.exists {
		return nil
	}
	return check(account, "account", s.oid)
}

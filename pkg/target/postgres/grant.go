package postgres

import (
	"context"
	"fmt"
	"hash/fnv"

	"github.com/jackc/pgx/v5"

	"github.com/jitaccess/jit/pkg/target"
)

// judge is what every verb does first with what it was told.
func judge(g target.Grant) (params, error) {
	if err := target.CheckID(g.ID); err != nil {
		return params{}, err
	}
	p, err := parseParams(g.Params)
	if err != nil {
		return p, err
	}
	return p, checkAccount(g.Who())
}

// lock keeps other runs of jit off this account until the transaction ends.
func lock(ctx context.Context, tx pgx.Tx, account string) error {
	h := fnv.New64a()
	h.Write([]byte("jit account " + account))
	_, err := tx.Exec(ctx, `select pg_advisory_xact_lock($1)`, int64(h.Sum64()))
	return err
}

func notFound(what, name, hint string) error {
	return &target.Error{Reason: target.NotFound, Detail: fmt.Sprintf("%s %q is not there", what, name), Hint: hint}
}

// Grant makes the account a member of the role, and the account itself where
// the policy says so; all in one transaction.
func (d *driver) Grant(ctx context.Context, g target.Grant) error {
	p, err := judge(g)
	if err != nil {
		return err
	}
	if !g.Ends.After(d.now()) {
		return &target.Error{Reason: target.BadGrant, Detail: fmt.Sprintf("grant %s has ended", g.ID)}
	}
	return d.session(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return d.grant(ctx, tx, g, p) })
	})
}

func (d *driver) grant(ctx context.Context, tx pgx.Tx, g target.Grant, p params) error {
	if err := lock(ctx, tx, g.Who()); err != nil {
		return err
	}
	s, err := whoami(ctx, tx)
	if err != nil {
		return err
	}
	granted, err := lookup(ctx, tx, p.grant)
	if err != nil {
		return err
	}
	if !granted.exists {
		return notFound("role", p.grant, "make it on the server, or mend the role's parameters in the policy")
	}
	account, err := lookup(ctx, tx, g.Who())
	if err != nil {
		return err
	}
	if err := protect(ctx, tx, s, p, account, granted); err != nil {
		return err
	}
	switch _, made := parseMark(account.comment); {
	case !account.exists && !p.login:
		return notFound("login", g.Who(), fmt.Sprintf("make it on the server, or let jit make it: %s: \"true\"", paramLogin))
	case !account.exists, made && p.login:
		if account, err = d.holdLogin(ctx, tx, account, g); err != nil {
			return err
		}
	case !account.canLogin:
		// A group: access would go to all its members.
		return &target.Error{Reason: target.Refused, Detail: fmt.Sprintf("account %q may not log in, so it is not a person's", g.Who())}
	}
	m, err := memberships(ctx, tx, s, account, granted)
	if err != nil || m.ours || m.foreign {
		return err
	}
	_, err = tx.Exec(ctx, grantSQL(s.version, granted.name, account.name))
	return err
}

// grantSQL names the options where the server has them: else an account made
// NOINHERIT, or a role's default, would decide.
func grantSQL(version int, granted, account string) string {
	sql := fmt.Sprintf("GRANT %s TO %s", ident(granted), ident(account))
	if version >= 160000 {
		sql += " WITH INHERIT TRUE, SET TRUE, ADMIN FALSE"
	}
	return sql
}

// Check looks whether the account belongs to the role now.
func (d *driver) Check(ctx context.Context, g target.Grant, remaining []target.Grant) (target.Observation, error) {
	var seen target.Observation
	p, err := judge(g)
	if err != nil {
		return seen, err
	}
	err = d.session(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		s, err := whoami(ctx, conn)
		if err != nil {
			return err
		}
		granted, err := lookup(ctx, conn, p.grant)
		if err != nil {
			return err
		}
		account, err := lookup(ctx, conn, g.Who())
		if err != nil {
			return err
		}
		switch {
		case !granted.exists:
			seen.Detail = fmt.Sprintf("role %q is not there", p.grant)
			return nil
		case !account.exists:
			seen.Detail = fmt.Sprintf("login %q is not there", g.Who())
			return nil
		}
		m, err := memberships(ctx, conn, s, account, granted)
		if err != nil {
			return err
		}
		seen.Present = m.any() && account.canLogin
		m = m.without(othersRoles(g, remaining))
		seen.Foreign = g.Standing && m.any() || m.foreign || len(m.through) > 0
		seen.Detail = m.words(account.canLogin)
		return nil
	})
	return seen, err
}

func (m membership) words(canLogin bool) string {
	switch {
	case m.any() && !canLogin:
		return "the account may not log in"
	case m.foreign:
		return "the membership was granted by somebody else than jit"
	case len(m.through) > 0:
		return fmt.Sprintf("the account belongs to the role through %q", m.through)
	}
	return ""
}

// othersRoles are the roles that other open grants give to g's account.
func othersRoles(g target.Grant, remaining []target.Grant) []string {
	var roles []string
	for _, o := range remaining {
		if o.ID != g.ID && o.Who() == g.Who() {
			roles = append(roles, o.Params[paramGrant])
		}
	}
	return roles
}

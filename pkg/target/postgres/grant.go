package postgres

import (
	"context"
	"errors"
	"fmt"

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
		return try(ctx, conn, func(tx pgx.Tx) error { return d.grant(ctx, tx, g, p) })
	})
}

func (d *driver) grant(ctx context.Context, tx pgx.Tx, g target.Grant, p params) error {
	s, err := whoami(ctx, tx)
	if err != nil {
		return err
	}
	account, granted, err := parties(ctx, tx, g, p)
	if err != nil {
		return err
	}
	if err := refuse(ctx, tx, s, p, account, granted); err != nil {
		return err
	}
	if _, made := parseMark(account.comment); p.login && (made || !account.exists) {
		if account, err = d.holdLogin(ctx, tx, account, g, p.limit); err != nil {
			return err
		}
	}
	m, err := memberships(ctx, tx, s, account, granted)
	if err != nil || m.ours || m.foreign {
		return err
	}
	_, err = tx.Exec(ctx, grantSQL(s.version, granted.name, account.name))
	return err
}

// parties looks up the two roles of a grant.
func parties(ctx context.Context, q querier, g target.Grant, p params) (account, granted role, err error) {
	if granted, err = lookup(ctx, q, p.grant); err != nil {
		return account, granted, err
	}
	account, err = lookup(ctx, q, g.Who())
	return account, granted, err
}

// refuse says why the account is not given the role, or is nil.
func refuse(ctx context.Context, q querier, s self, p params, account, granted role) error {
	if !granted.exists {
		return notFound("role", p.grant, "make it on the server, or mend the role's parameters in the policy")
	}
	if err := protect(ctx, q, s, p, account, granted); err != nil {
		return err
	}
	if err := outlast(ctx, q, granted); err != nil {
		return err
	}
	switch _, made := parseMark(account.comment); {
	case !account.exists && !p.login:
		return notFound("login", account.name, fmt.Sprintf("make it on the server, or let jit make it: %s: \"true\"", paramLogin))
	case account.exists && !account.canLogin && !(made && p.login):
		// A group: access would go to all its members.
		return &target.Error{Reason: target.Refused, Detail: fmt.Sprintf("account %q may not log in, so it is not a person's", account.name)}
	}
	return nil
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

// Check looks whether the account belongs to the role now. Where it does not, what Grant
// would refuse is refused here already: then nothing was opened, and there will be
// nothing to end.
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
		account, granted, err := parties(ctx, conn, g, p)
		if err != nil {
			return err
		}
		var m membership
		if account.exists && granted.exists {
			if m, err = memberships(ctx, conn, s, account, granted); err != nil {
				return err
			}
		}
		if seen.Astray, err = astray(ctx, conn, s, g, p, remaining); err != nil {
			return err
		}
		if account.exists && granted.exists {
			seen.Identity = identity{s.cluster, granted.oid, account.oid}.String()
		}
		// What is astray was opened, and is to be ended before anything is refused. What is
		// open may have become what is refused: it stays until its end.
		err = refuse(ctx, conn, s, p, account, granted)
		switch {
		case err != nil && m.ours && errors.Is(err, target.ErrRefused):
			d.log.Warn("would be refused now, and is open", "grant", g.ID, "account", g.Who(), "reason", err)
		case err != nil && (m.ours || len(seen.Astray) == 0):
			return err
		}
		if !account.exists {
			seen.Detail = fmt.Sprintf("login %q is not there", g.Who())
			return nil
		}
		seen.Present = m.any() && account.canLogin
		m = m.without(rolesOf(remaining, g.ID, g.Who()))
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

// rolesOf are the roles that open grants, but for one, give to who is called account now.
func rolesOf(open []target.Grant, but, account string) []string {
	var roles []string
	for _, o := range open {
		if o.ID != but && o.Who() == account {
			roles = append(roles, o.Params[paramGrant])
		}
	}
	return roles
}

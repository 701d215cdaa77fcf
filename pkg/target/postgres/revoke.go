package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/jitaccess/jit/pkg/target"
)

// Revoke takes the membership, then ends the account's sessions, then closes a login that
// jit made and ends what began meanwhile. The order matters: a session that had taken the
// role on with SET ROLE keeps it after REVOKE, and one that begins after the commit cannot
// take it on. And the membership goes in a transaction of its own, which nothing that
// the person holds can keep waiting, as they can keep a change of their login.
func (d *driver) Revoke(ctx context.Context, g target.Grant, remaining []target.Grant) (target.Ending, error) {
	var ending target.Ending
	p, err := judge(g)
	if err != nil {
		return ending, err
	}
	err = d.session(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		var r revocation
		err := d.push(ctx, conn, g.Who(), nil, func(tx pgx.Tx) (err error) {
			r, err = d.take(ctx, tx, g, p, remaining)
			return err
		})
		if err != nil {
			return err
		}
		ending.Standing, ending.Left = r.standing, r.left
		// What cannot be ended keeps nothing else from being ended.
		err = d.cut(ctx, conn, g, r, &ending)
		if r.made {
			err = errors.Join(err, d.release(ctx, conn, g, r, &ending))
		}
		return err
	})
	return ending, err
}

// revocation is what remains to be done once the membership is settled.
type revocation struct {
	self             self
	account, granted role
	// logins are those whose sessions can have used the access.
	logins   []uint32
	standing bool
	// cut: the sessions end.
	cut bool
	// made: jit made the login, and closes it where closing says that nobody else
	// seems to hold it.
	made, closing bool
	left          []string
}

func (d *driver) take(ctx context.Context, tx pgx.Tx, g target.Grant, p params, remaining []target.Grant) (r revocation, err error) {
	s, err := whoami(ctx, tx)
	if err != nil {
		return r, err
	}
	r.self = s
	if r.account, r.granted, err = parties(ctx, tx, g, p); err != nil || !r.account.exists {
		return r, err
	}
	if r.account.oid == s.oid {
		// Grant and Check refuse it, so that nothing was opened.
		m, err := memberships(ctx, tx, s, r.account, r.granted)
		r.standing = m.any()
		return r, err
	}
	if r.logins, err = users(ctx, tx, s, r.account, r.granted); err != nil {
		return r, err
	}
	holders, made := parseMark(r.account.comment)
	r.made = made
	r.closing = made && len(without(holders, g.ID, d.now())) == 0
	if !r.granted.exists {
		// The server took the memberships with the role; sessions that had
		// taken it on are not known to have ended.
		r.cut = true
		return r, nil
	}
	others := othersRoles(g, remaining)
	shared := slices.Contains(others, p.grant)
	m, err := memberships(ctx, tx, s, r.account, r.granted)
	if err != nil {
		return r, err
	}
	if m.ours && !shared {
		if _, err := tx.Exec(ctx, fmt.Sprintf("REVOKE %s FROM %s", ident(r.granted.name), ident(r.account.name))); err != nil {
			return r, err
		}
		if m, err = memberships(ctx, tx, s, r.account, r.granted); err != nil {
			return r, err
		}
		if m.ours {
			r.left = append(r.left, fmt.Sprintf("login %q is still a member of %q", r.account.name, r.granted.name))
		}
	}
	rest := m.without(others)
	r.standing = rest.foreign || len(rest.through) > 0 || g.Standing && rest.ours
	lives := r.standing || shared || len(m.through) > len(rest.through)
	r.cut = !lives || r.closing
	return r, nil
}

// cut ends the sessions that may still use the access, and looks at what was prepared in
// them.
func (d *driver) cut(ctx context.Context, conn *pgx.Conn, g target.Grant, r revocation, ending *target.Ending) error {
	if !r.cut {
		return nil
	}
	err := d.endSessions(ctx, conn, r.logins, ending)
	if r.closing {
		return errors.Join(err, d.rollBack(ctx, r.account.name))
	}
	waiting, lookErr := preparedBy(ctx, conn, r.account.name, g.Opens)
	for _, p := range waiting {
		ending.Left = append(ending.Left, fmt.Sprintf("transaction %q in database %q, which login %q prepared meanwhile, can still be committed", p.ID, p.Database, r.account.name))
	}
	return errors.Join(err, lookErr)
}

// release takes the grant off a login that jit made, and drops it where that was the last.
func (d *driver) release(ctx context.Context, conn *pgx.Conn, g target.Grant, r revocation, ending *target.Ending) error {
	var closing []uint32
	if r.closing {
		closing = []uint32{r.account.oid}
	}
	var closed bool
	err := d.push(ctx, conn, r.account.name, closing, func(tx pgx.Tx) (err error) {
		closed, err = d.releaseLogin(ctx, tx, g)
		return err
	})
	if err != nil || !closed {
		return err
	}
	if err := d.endSessions(ctx, conn, r.logins, ending); err != nil {
		return err
	}
	if len(ending.Left) > 0 {
		return nil
	}
	left, err := d.dropLogin(ctx, conn, r.self, r.account.name)
	if left != "" {
		ending.Left = append(ending.Left, left)
	}
	return err
}

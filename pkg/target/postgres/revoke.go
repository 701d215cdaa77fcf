package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

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
		s, err := whoami(ctx, conn)
		if err != nil {
			return err
		}
		where, err := places(ctx, conn, s, g, p)
		if err != nil {
			return err
		}
		// What cannot be ended keeps nothing else from being ended.
		var taken []revocation
		var errs []error
		for _, at := range where {
			var r revocation
			err := d.push(ctx, conn, at.account.name, nil, func(tx pgx.Tx) (err error) {
				r, err = d.take(ctx, tx, s, g, at, remaining)
				return err
			})
			if err != nil {
				errs = append(errs, err)
				continue
			}
			taken = append(taken, r)
		}
		found := s.knows(g.Identity)
		for _, r := range taken {
			found = found || r.found || r.standing
			errs = append(errs, d.finish(ctx, conn, g, r, &ending))
		}
		if err := errors.Join(errs...); err != nil || found {
			return err
		}
		left, err := unfound(ctx, conn, s, g, remaining)
		ending.Left = append(ending.Left, left...)
		return err
	})
	return ending, err
}

// finish does what remains at one place, and adds what came of it.
func (d *driver) finish(ctx context.Context, conn *pgx.Conn, g target.Grant, r revocation, all *target.Ending) error {
	here := target.Ending{Left: r.left}
	err := d.cut(ctx, conn, g, r, &here)
	if r.made {
		err = errors.Join(err, d.release(ctx, conn, g, r, &here))
	}
	if r.found && !r.named || r.dropped() && here.SessionsEnded > 0 {
		all.Astray = append(all.Astray, r.place.String())
	}
	all.SessionsEnded += here.SessionsEnded
	all.Left = append(all.Left, here.Left...)
	all.Standing = all.Standing || r.standing
	return err
}

// revocation is what remains to be done once the membership is settled.
type revocation struct {
	place
	self self
	// found: there was something of this grant's.
	found bool
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

// take settles the membership at one place.
func (d *driver) take(ctx context.Context, tx pgx.Tx, s self, g target.Grant, at place, remaining []target.Grant) (r revocation, err error) {
	r = revocation{place: at, self: s}
	if r.account, err = at.account.again(ctx, tx); err != nil {
		return r, err
	}
	if !r.account.exists {
		// The memberships went with the login; its sessions did not.
		if r.dropped() {
			r.logins, r.cut = []uint32{r.account.oid}, true
		}
		return r, nil
	}
	if r.granted, err = at.granted.again(ctx, tx); err != nil {
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
	r.mark(g, d.now())
	if !r.granted.exists {
		// The server took the memberships with the role; sessions that had
		// taken it on are not known to have ended.
		r.cut = true
		return r, nil
	}
	others := rolesOf(remaining, g.ID, r.account.name)
	shared := slices.Contains(others, r.granted.name)
	m, err := memberships(ctx, tx, s, r.account, r.granted)
	if err != nil {
		return r, err
	}
	// Who bears the name now and was given nothing keeps the sessions.
	stranger := at.strange && !m.ours && !r.found
	r.found = r.found || m.ours && !shared
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
	r.cut = !lives && !stranger || r.closing
	return r, nil
}

// mark reads whether jit made the login, and whether for g.
func (r *revocation) mark(g target.Grant, now time.Time) {
	holders, made := parseMark(r.account.comment)
	mine := r.account.heldBy(g.ID)
	// Under another name it may have become the login of other grants.
	r.made = made && (r.named || mine || len(holders) == 0)
	r.closing = r.made && len(without(holders, g.ID, now)) == 0
	r.found = mine
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
		closed, err = d.releaseLogin(ctx, tx, g, r.account.oid)
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
	left, err := d.dropLogin(ctx, conn, r.self, r.account)
	if left != "" {
		ending.Left = append(ending.Left, left)
	}
	return err
}

package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/jitaccess/jit/pkg/target"
)

// Whoever administers the server may rename logins and roles, and give their names to
// others. A membership goes with the two numbers, not with the names. So what a grant gave
// is found by the numbers that Check saw, and by the mark of a login that jit made; and
// what is found so counts as rightly there only where an open grant gives it under the names
// that it has now: it is by their names that people log in. Of a login that was dropped the
// number alone is left, and the sessions, which keep the role that they took on.

// identity is a membership by the numbers of its two roles on one server.
type identity struct {
	cluster         string
	granted, member uint32
}

func (i identity) String() string { return fmt.Sprintf("%s/%d/%d", i.cluster, i.granted, i.member) }

// identify reads an identity. One of another server says nothing here.
func (s self) identify(text string) (i identity, ok bool) {
	var cluster uint64
	_, err := fmt.Sscanf(text, "%d/%d/%d", &cluster, &i.granted, &i.member)
	i.cluster = fmt.Sprint(cluster)
	return i, err == nil && i.cluster == s.cluster && i.String() == text
}

func (s self) knows(text string) bool {
	_, ok := s.identify(text)
	return ok
}

// place is where something of a grant's may be: a login, and a role of which it may be a
// member. Of a login that was dropped only the number is known.
type place struct {
	account, granted role
	// named: the grant's own names lead here.
	named bool
	// strange: they do, but to another login than the grant was given to, which is elsewhere
	// now or was dropped.
	strange bool
}

// dropped says that the login had a number, and is no more.
func (p place) dropped() bool { return !p.account.exists && p.account.oid != 0 }

func (p place) String() string {
	if p.dropped() {
		return fmt.Sprintf("what it gave was found with sessions of the login of number %d, which was dropped on the server", p.account.oid)
	}
	return fmt.Sprintf("what it gave was found with login %q and role %q: a name was changed on the server", p.account.name, p.granted.name)
}

// places gives the place that the grant's names lead to, and then the others.
func places(ctx context.Context, q querier, s self, g target.Grant, p params) ([]place, error) {
	account, granted, err := parties(ctx, q, g, p)
	if err != nil {
		return nil, err
	}
	all := []place{{account: account, granted: granted, named: true}}
	add := func(account, granted role) {
		if account.exists && account.oid != s.oid && !slices.ContainsFunc(all, func(o place) bool {
			return o.account.oid == account.oid && o.granted.oid == granted.oid
		}) {
			all = append(all, place{account: account, granted: granted})
		}
	}
	id, known := s.identify(g.Identity)
	before := role{}
	if known {
		if before, err = lookupOid(ctx, q, id.granted); err != nil {
			return nil, err
		}
		login, err := lookupOid(ctx, q, id.member)
		if err != nil {
			return nil, err
		}
		all[0].strange = id.member != account.oid
		if add(login, before); !login.exists {
			all = append(all, place{account: login, granted: before})
		}
	}
	marked, err := markedFor(ctx, q, g.ID)
	for _, login := range marked {
		add(login, granted)
		if before.exists {
			add(login, before)
		}
	}
	return all, err
}

// markedFor lists the logins that jit made for a grant, whatever they are called now.
func markedFor(ctx context.Context, q querier, id string) ([]role, error) {
	rows, err := q.Query(ctx, roleColumns+`where strpos(shobj_description(oid, 'pg_authid'), $1) > 0 order by oid`, id+" until ")
	if err != nil {
		return nil, err
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (role, error) { return scanRole(row) })
	return slices.DeleteFunc(all, func(r role) bool { return !r.heldBy(id) }), err
}

// heldBy reports whether jit made the login for a grant.
func (r role) heldBy(id string) bool {
	holders, _ := parseMark(r.comment)
	return slices.ContainsFunc(holders, func(h holder) bool { return h.id == id })
}

// astray says what the grant gave and is not where its names lead now.
func astray(ctx context.Context, q querier, s self, g target.Grant, p params, remaining []target.Grant) (words []string, err error) {
	where, err := places(ctx, q, s, g, p)
	if err != nil {
		return nil, err
	}
	for _, at := range where[1:] {
		away := at.account.name != g.Who() && at.account.heldBy(g.ID)
		if !away && at.granted.exists && !slices.Contains(rolesOf(remaining, g.ID, at.account.name), at.granted.name) {
			m, err := memberships(ctx, q, s, at.account, at.granted)
			if err != nil {
				return nil, err
			}
			away = m.ours
		}
		if at.dropped() {
			living, err := sessionsOf(ctx, q, []uint32{at.account.oid})
			if err != nil {
				return nil, err
			}
			away = len(living) > 0
		}
		if away {
			words = append(words, at.String())
		}
	}
	return words, nil
}

// unfound says what jit gave of a grant's role and no other accounts for, where nothing
// of the grant's was found and its numbers are not known: it may be this one's, under
// another name.
func unfound(ctx context.Context, q querier, s self, g target.Grant, remaining []target.Grant) (left []string, err error) {
	listed, err := unaccounted(ctx, q, s, remaining, []target.Grant{g})
	for _, l := range listed {
		left = append(left, l.Detail+"; whether it was this one is not known")
	}
	return left, err
}

// Unaccounted looks through the members of the roles that are open or known, and leaves the
// other roles alone: other resources, and other reconcilers, grant those with the same login.
func (d *driver) Unaccounted(ctx context.Context, open, known []target.Grant) (listed []target.Listed, err error) {
	err = d.session(ctx, func(ctx context.Context, conn *pgx.Conn) error {
		s, err := whoami(ctx, conn)
		if err == nil {
			listed, err = unaccounted(ctx, conn, s, open, known)
		}
		return err
	})
	return listed, err
}

func unaccounted(ctx context.Context, q querier, s self, open, known []target.Grant) ([]target.Listed, error) {
	if s.shared() {
		return nil, nil // it cannot be told what is jit's
	}
	names, numbers, gave := []string{}, []uint32{}, map[identity]string{}
	for _, g := range slices.Concat(known, open) {
		names = append(names, g.Params[paramGrant])
		if id, ok := s.identify(g.Identity); ok {
			numbers = append(numbers, id.granted)
		}
	}
	for _, g := range open {
		if id, ok := s.identify(g.Identity); ok {
			gave[id] = g.ID
		}
	}
	rows, err := q.Query(ctx, `select m.roleid, r.rolname::text, m.member, a.rolname::text
		from pg_auth_members m join pg_roles r on r.oid = m.roleid join pg_roles a on a.oid = m.member
		where m.grantor = $1 and m.member <> $1 and (r.rolname = any($2) or r.oid = any($3)) order by 2, 4`, s.grantor(), names, numbers)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var listed []target.Listed
	for rows.Next() {
		id := identity{cluster: s.cluster}
		var granted, account string
		if err := rows.Scan(&id.granted, &granted, &id.member, &account); err != nil {
			return nil, err
		}
		if !slices.Contains(rolesOf(open, "", account), granted) {
			listed = append(listed, target.Listed{
				GrantID: gave[id], Account: account,
				Detail: fmt.Sprintf("login %q is a member of %q by jit, and no open grant accounts for it", account, granted),
			})
		}
	}
	return listed, rows.Err()
}

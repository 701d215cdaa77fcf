// Package authorizedkeys owns the driver that opens access to a Unix account
// over OpenSSH: one line a grant and key in an authorized_keys file, with the
// end as its expiry-time, and the sshd sessions that the key opened.
//
// It imports package target, and nothing else of jit.
package authorizedkeys

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jitaccess/jit/pkg/target"
)

type driver struct {
	now     func() time.Time
	log     *slog.Logger
	pattern string // the managed file, with %u for the account
	proc    string // where the system shows its processes
	// lookup gives an account's user id, -1 where it is not there.
	lookup func(account string) (int, error)
	waited atomic.Int64 // in nanoseconds, for logins under way
}

// New makes a driver for the accounts of this machine. It touches no file.
func New(_ context.Context, c target.Config) (target.Driver, error) {
	c = c.WithDefaults()
	if err := target.CheckSettings(Describe().Settings, c.Settings); err != nil {
		return nil, err
	}
	path := c.Settings[settingFile]
	if !filepath.IsAbs(path) || filepath.Clean(path) != path || strings.Contains(strings.ReplaceAll(path, "%u", ""), "%") {
		return nil, &target.Error{Reason: target.BadSetting, Detail: fmt.Sprintf("setting %s: %q is not an absolute path in which %%u stands for the account", settingFile, path)}
	}
	return &driver{now: c.Now, log: c.Log.With("driver", "authorized-keys", "resource", c.Resource), pattern: path, proc: "/proc", lookup: uidOf}, nil
}

func (d *driver) Describe() target.Description { return Describe() }

func (d *driver) Validate(given map[string]string, account string) error {
	return Validate(given, account)
}

// Close does nothing: nothing is held between verbs.
func (d *driver) Close() error { return nil }

// place is what a grant means on this machine.
type place struct {
	params params
	keys   []string
	uid    int // -1 where the account is not there
	file   file
}

// judge is find for what is to be opened: access as root is refused where the policy does
// not mean it.
func (d *driver) judge(g target.Grant) (place, error) {
	pl, err := d.find(g)
	if err == nil && pl.uid == 0 && !pl.params.root {
		err = &target.Error{
			Reason: target.Refused, Detail: fmt.Sprintf("account %q has the user id 0", pl.params.account),
			Hint: fmt.Sprintf("where it is meant, the role's parameters must say %s: \"true\"", paramRoot),
		}
	}
	return pl, err
}

// find says where a grant's lines stand. It ends there too, whatever has become of the
// account since.
func (d *driver) find(g target.Grant) (place, error) {
	pl, err := d.mean(g)
	if err != nil {
		return pl, err
	}
	pl.file, err = d.fileOf(pl)
	return pl, err
}

// mean is find without a look at the file.
func (d *driver) mean(g target.Grant) (place, error) {
	var pl place
	err := target.CheckID(g.ID)
	if err != nil {
		return pl, err
	}
	if pl.params, err = parseParams(g.Params); err != nil {
		return pl, err
	}
	if pl.keys, err = parseKeys(g.Account); err != nil {
		return pl, err
	}
	pl.uid, err = d.lookup(pl.params.account)
	return pl, err
}

func (d *driver) fileOf(pl place) (file, error) {
	return openFolder(pathOf(d.pattern, pl.params.account))
}

func uidOf(account string) (int, error) {
	u, err := user.Lookup(account)
	if _, ok := errors.AsType[user.UnknownUserError](err); ok {
		return -1, nil
	}
	if err != nil {
		return -1, failed("looking up the account", err)
	}
	return strconv.Atoi(u.Uid)
}

// Grant writes the grant's lines.
func (d *driver) Grant(ctx context.Context, g target.Grant) error {
	if !g.Ends.After(d.now()) {
		return &target.Error{Reason: target.BadGrant, Detail: fmt.Sprintf("grant %s has ended", g.ID)}
	}
	pl, err := d.judge(g)
	if err != nil {
		return err
	}
	if pl.uid < 0 {
		return &target.Error{Reason: target.NotFound, Detail: fmt.Sprintf("account %q is not on this machine", pl.params.account), Hint: "make it, or mend the role's parameters in the policy"}
	}
	mine := wanted(g, pl.params, pl.keys)
	return pl.file.edit(ctx, func(lines []string) []string {
		if strings.Join(of(lines, g.ID), "") == strings.Join(mine, "") {
			return lines
		}
		return with(lines, g, pl.keys, mine)
	})
}

// Revoke removes the grant's lines, and ends the sessions that its keys opened
// unless another line still lets them in. Sessions end whatever came of the lines.
func (d *driver) Revoke(ctx context.Context, g target.Grant, remaining []target.Grant) (target.Ending, error) {
	var ending target.Ending
	pl, err := d.mean(g)
	if err != nil {
		return ending, err
	}
	after, read, err := d.takeOut(ctx, pl, g)
	var gone []string
	for _, key := range pl.keys {
		if !read {
			// What cannot be read, or is not safe to rely on, keeps no session: what was
			// there before jit and what is open now do.
			if !g.Standing && !d.sharedBy(pl, key, remaining) {
				gone = append(gone, key)
			}
			continue
		}
		foreign, shared, stray := d.others(after, g, key, remaining)
		for _, id := range stray {
			if !slices.Contains(ending.Others, id) {
				ending.Others = append(ending.Others, id)
			}
		}
		switch {
		case foreign:
			ending.Standing = true
		case !shared:
			gone = append(gone, key)
		}
	}
	return ending, errors.Join(err, d.endThose(ctx, g, pl, gone, remaining, &ending))
}

// endThose ends the sessions of the account that keys opened, and of the user id that the
// account had when it was last checked: its name may be gone by now, or another's.
func (d *driver) endThose(ctx context.Context, g target.Grant, pl place, keys []string, remaining []target.Grant, ending *target.Ending) error {
	if len(keys) == 0 {
		return nil
	}
	var err error
	if pl.uid >= 0 {
		err = d.endSessions(ctx, pl.params.account, pl.uid, keys, ending)
	}
	earlier, aerr := strconv.Atoi(g.Identity)
	switch {
	case aerr == nil && earlier >= 0 && earlier != pl.uid:
		keys = slices.DeleteFunc(keys, func(key string) bool { return d.sharedAs(earlier, key, remaining) })
		if len(keys) > 0 {
			err = errors.Join(err, d.endSessions(ctx, pl.params.account, earlier, keys, ending))
		}
	case pl.uid < 0:
		ending.Left = append(ending.Left, fmt.Sprintf("account %q is not on this machine, and which user id it had is not known: its sessions that the key opened were not looked for", pl.params.account))
	}
	return err
}

// takeOut takes the grant's lines out of its file. It gives the others, and whether they
// could be read, also where the lines could not be taken.
func (d *driver) takeOut(ctx context.Context, pl place, g target.Grant) (after []string, read bool, err error) {
	f, err := d.fileOf(pl)
	if err != nil {
		return nil, false, err
	}
	err = f.edit(ctx, func(lines []string) []string {
		after, read = without(lines, g, pl.keys), true
		return after
	})
	if err != nil && !read {
		// Another run has the lock. Who only looks needs none.
		if lines, _, rerr := f.read(); rerr == nil {
			after, read = without(unstruck(lines), g, pl.keys), true
		}
	}
	return after, read, err
}

// sharedBy reports whether an open grant lets the key in to the same account.
func (d *driver) sharedBy(pl place, key string, remaining []target.Grant) bool {
	return d.shared(key, remaining, func(account string) bool { return account == pl.params.account })
}

// sharedAs reports whether an open grant lets the key in to an account with the user id.
func (d *driver) sharedAs(uid int, key string, remaining []target.Grant) bool {
	return d.shared(key, remaining, func(account string) bool {
		found, err := d.lookup(account)
		return err == nil && found == uid
	})
}

func (d *driver) shared(key string, remaining []target.Grant, account func(string) bool) bool {
	return slices.ContainsFunc(remaining, func(r target.Grant) bool {
		params, err := parseParams(r.Params)
		if err != nil || !account(params.account) {
			return false
		}
		keys, err := parseKeys(r.Account)
		return err == nil && slices.Contains(keys, key)
	})
}

// others says whether other lines let key in: ones that are not jit's, and ones of the
// open grants in remaining; stray are grants that are not open and have a line all the
// same. It was not there before jit, and is no reason to leave a session.
func (d *driver) others(lines []string, g target.Grant, key string, remaining []target.Grant) (foreign, shared bool, stray []string) {
	open := map[string]bool{}
	for _, r := range remaining {
		open[r.ID] = true
	}
	isUnmarked := func(line string) bool {
		return slices.ContainsFunc(remaining, func(r target.Grant) bool { return unmarked(line, r, []string{key}) })
	}
	for _, line := range lines {
		other := idOf(line)
		switch {
		case other == g.ID || !holds(line, key) || unmarked(line, g, []string{key}):
		case other != "" && !expiryOf(line).After(d.now()):
		case open[other], isUnmarked(line):
			shared = true
		case other == "":
			foreign = true
		default:
			stray = append(stray, other)
		}
	}
	return foreign, shared, stray
}

// Check looks whether the grant's lines are there, whole and in time.
func (d *driver) Check(_ context.Context, g target.Grant, remaining []target.Grant) (target.Observation, error) {
	var seen target.Observation
	pl, err := d.judge(g)
	if err != nil {
		return seen, err
	}
	lines, _, err := pl.file.read()
	if err != nil {
		return seen, err
	}
	if pl.uid >= 0 {
		seen.Identity = strconv.Itoa(pl.uid)
	}
	found := of(lines, g.ID)
	intact := strings.Join(found, "") == strings.Join(wanted(g, pl.params, pl.keys), "")
	seen.Present = intact && g.Ends.After(d.now()) && pl.uid >= 0
	switch {
	case len(found) > 0 && !intact:
		seen.Detail = "the grant's lines were changed"
	case len(found) > 0 && !seen.Present:
		seen.Detail = "the grant's lines have expired"
	}
	for _, key := range pl.keys {
		if foreign, _, _ := d.others(lines, g, key, remaining); foreign {
			seen.Foreign = true
			seen.Detail = strings.TrimPrefix(seen.Detail+"; the key stands in a line that is not this grant's", "; ")
		}
	}
	return seen, nil
}

// files are the managed files that there are.
func (d *driver) files() ([]file, error) {
	glob := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(d.pattern)
	paths, err := filepath.Glob(strings.ReplaceAll(glob, "%u", "*"))
	if err != nil {
		return nil, failed("looking for managed files", err)
	}
	var files []file
	for _, path := range paths {
		if strings.HasPrefix(filepath.Base(path), ".") && strings.Contains(path, ".jit-") {
			continue
		}
		f, err := openFolder(path)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// List returns all lines that carry a grant's id, in all managed files.
func (d *driver) List(context.Context) ([]target.Listed, error) {
	files, err := d.files()
	if err != nil {
		return nil, err
	}
	var listed []target.Listed
	for _, f := range files {
		lines, _, err := f.read()
		if err != nil {
			return nil, err
		}
		for _, line := range lines {
			if id := idOf(line); id != "" {
				listed = append(listed, target.Listed{GrantID: id, Account: f.name, Ends: expiryOf(line), Detail: f.path()})
			}
		}
	}
	return listed, nil
}

// Ping looks whether the managed folder is there, safe, and can be written.
func (d *driver) Ping(context.Context) error {
	before, _, _ := strings.Cut(d.pattern, "%u")
	if before == d.pattern {
		f, err := openFolder(d.pattern)
		if err != nil {
			return err
		}
		if _, _, err = f.read(); err != nil {
			return err
		}
		return writable(f.dir)
	}
	// Whatever stands before the account's name is the same for all.
	f, err := openFolder(before + "x")
	if err != nil {
		return err
	}
	if _, err := d.files(); err != nil {
		return err
	}
	return writable(f.dir)
}

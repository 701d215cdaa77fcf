package ledger

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/record"
)

// Whoever may push can put a revocation before its request, by force over a head that
// others have not seen yet. Most signers had seen the request in the history, so that
// their head shows the fork: but a machine that has a checkpoint goes on, and who takes
// back what they signed while the store was away names a head before both. So what takes
// away and comes before what it names waits for that, in whichever order they come, and
// counts in the commit that brings it.

// earlySchema has what takes away and waits for what it names, with its bytes: a ledger
// may be folded on with records that are in no store.
const earlySchema = `
CREATE TABLE IF NOT EXISTS early (
	path TEXT PRIMARY KEY, names BLOB NOT NULL, signer TEXT NOT NULL, position INTEGER NOT NULL,
	blob TEXT NOT NULL, asc TEXT NOT NULL, data BLOB NOT NULL, signature BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS early_names ON early (names, position, path);
`

// names gives the request or delegation that a record takes from, where that, or the
// approval that is withdrawn, does not count yet; "" for none. A lock names no record.
func (f *fold) names(v record.Verified, place record.Place) (record.ID, error) {
	switch h := v.Head(); {
	case h.Kind == record.KindDelegationEnd:
		x, err := approve.DecodeDelegationEnd(v)
		if err != nil {
			return "", ignoreRefusal(err)
		}
		all, err := f.delegations(`WHERE id = ?`, idBytes(x.Delegation))
		if len(all) > 0 {
			return "", err
		}
		return x.Delegation, err
	case place.Request == "" || place.Policy || !h.Kind.TakesAway():
		return "", nil
	default:
		c, err := f.kase(place.Request)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return "", err
		}
		if err == nil && (h.Kind != record.KindWithdrawal || c.MayWithdraw(h.By) == nil) {
			return "", nil
		}
		return place.Request, nil
	}
}

// waitFor notes what came before what it names, if that is why it does not count.
func (f *fold) waitFor(v record.Verified, c candidate) error {
	id, err := f.names(v, c.place)
	if err != nil || id == "" {
		return err
	}
	data, err := f.src.ReadBlob(c.blob, record.MaxSize)
	if err != nil {
		return err
	}
	signature, err := f.src.ReadBlob(c.asc, record.MaxSignatureSize)
	if err != nil {
		return err
	}
	f.early = true
	_, err = f.Exec(`INSERT OR REPLACE INTO early VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		c.path, idBytes(id), v.Head().By, f.position, string(c.blob), string(c.asc), data, signature)
	return err
}

// came notes that something counts from which what waits may take.
func (f *fold) came(id record.ID) {
	if f.early {
		f.arrived = append(f.arrived, id)
	}
}

// tooEarly is what takes away and waits for what it names.
type tooEarly struct {
	candidate
	signer          string
	position        int
	data, signature []byte
}

// settleEarly judges, at the end of a commit, what had waited for what it brought: once,
// with the policy in force here. What does not count even now is not told of again.
func (f *fold) settleEarly() error {
	slices.Sort(f.arrived)
	for _, id := range slices.Compact(f.arrived) {
		var all []tooEarly
		err := f.each(`SELECT path, signer, position, blob, asc, data, signature FROM early WHERE names = ? ORDER BY position, path`, func(r *sql.Rows) error {
			var w tooEarly
			err := r.Scan(&w.path, &w.signer, &w.position, &w.blob, &w.asc, &w.data, &w.signature)
			all = append(all, w)
			return err
		}, idBytes(id))
		if err != nil {
			return err
		}
		for _, w := range all {
			if err := f.judgeEarly(id, w); err != nil {
				return fmt.Errorf("%s: %w", w.path, err)
			}
		}
	}
	f.arrived = f.arrived[:0]
	return nil
}

func (f *fold) judgeEarly(id record.ID, w tooEarly) (err error) {
	if w.place, err = record.ParsePath(w.path); err != nil {
		return err
	}
	if w.place.Kind == record.KindWithdrawal {
		// Who approves with their withdrawal in sight means the approval.
		c, err := f.kase(id)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(c.Approvals, func(a approve.Placed[approve.Approval]) bool {
			return a.Record.By == w.signer && a.HeadAt < w.position
		}) {
			return nil
		}
	}
	if err := f.notEarly(w.path); err != nil {
		return err
	}
	w.older = true // its files are among those that may yet count
	verified := verdict{blob: w.blob, asc: w.asc, keyring: f.keyring}
	verified.verified, verified.err = f.keyring.Verify(w.data, w.signature)
	defer func(was map[string]verdict) { f.ahead = was }(f.ahead)
	f.ahead = map[string]verdict{w.path: verified}
	return ignoreRefusal(f.judge(w.candidate))
}

// notEarly drops what waits no more.
func (f *fold) notEarly(path string) error {
	if !f.early {
		return nil
	}
	_, err := f.Exec(`DELETE FROM early WHERE path = ?`, path)
	return err
}

// shows says of a refused record, whose head is not on this history before it, what the
// head shows. Whether the record would count does not matter to that: who lays it before
// what it names must not hide that its signer had seen another history.
func shows(unseen, refused error) error {
	if reasonOf(unseen) != ReasonUnknownHead {
		return refused
	}
	return refuse(ReasonUnknownHead, "%v; and where it stands it does not count: %v", unseen, refused)
}

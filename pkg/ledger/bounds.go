package ledger

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jitaccess/jit/pkg/approve"
	"github.com/jitaccess/jit/pkg/policy"
	"github.com/jitaccess/jit/pkg/record"
	"github.com/jitaccess/jit/pkg/request"
)

// What one of the people may leave in a store is bounded, so that nobody makes the
// reading of it slow for the others; docs/limits.md has all bounds. None keeps
// anything from being taken away.
const (
	// MaxWaiting is how many requests of one person may be open or wait at once. A
	// request under a rule with limits or conditions is judged by all that are; a
	// person has a handful, a machine that asks by itself some dozens.
	MaxWaiting = 256
	// MaxAsked is how many requests of one person one commit may bring: each is judged
	// by what is open, whether it is then allowed or not. The commands write one.
	MaxAsked = 256
	// MaxBeside is how many records of one kind one key may lay beside one request,
	// receipts apart: with each, all before it are read again.
	MaxBeside = 64
	// MaxReceipts is the same for receipts: a lease that is lost and won again every
	// quarter of an hour writes as many in three weeks.
	MaxReceipts = 4096
	// MaxProposals is how many policy versions of one person may wait at once: each is
	// as large as a policy, and compiled when it comes.
	MaxProposals = 64
	// MaxDelegations is how many delegations one person may have given that are not
	// over: each is looked at whenever the other decides something.
	MaxDelegations = 64
	// MaxAside is how many files of one commit are told of one by one for one reason;
	// of the others their number is kept. Reasons are counted apart, so that junk
	// hides no tampering.
	MaxAside = 1000
	// MaxReported is how many of these a report of a fold holds in memory.
	MaxReported = 1000
)

// ReasonMoreAside stands for files that were set aside and are not told of one by one.
const ReasonMoreAside = "more-aside"

// waitingSchema keeps whose requests may be open, and until when.
const waitingSchema = `
CREATE TABLE IF NOT EXISTS waiting (
	id BLOB PRIMARY KEY, person TEXT NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waiting_person ON waiting (person, until);
`

// proven gives the time that the reconcilers have seen here: no person can claim it
// away. It is zero where none has written anything.
func (f *fold) proven() time.Time {
	return f.floor(f.policies.Latest(), slices.Collect(maps.Keys(f.floors))...)
}

// roomToAsk refuses a request of somebody who has too many.
func (f *fold) roomToAsk(r request.Request) error {
	if f.asked == nil {
		f.asked = map[string]int{}
	}
	if f.asked[r.By]++; f.asked[r.By] > MaxAsked {
		return &policy.Refusal{Code: policy.TooManyWaiting, Message: fmt.Sprintf("one commit brings more than %d requests of %s", MaxAsked, r.By)}
	}
	now := f.proven().Add(-approve.Skew).Unix() // a clock may have been as far behind
	if _, err := f.Exec(`DELETE FROM waiting WHERE person = ? AND until <= ?`, r.By, now); err != nil {
		return err
	}
	full, err := f.atLeast(MaxWaiting, `SELECT 1 FROM waiting WHERE person = ?`, r.By)
	if err != nil || !full {
		return err
	}
	return &policy.Refusal{Code: policy.TooManyWaiting, Hint: "cancel what is not needed: jit cancel ID; see: jit list --mine",
		Message: fmt.Sprintf("%s has %d requests that wait or are open", r.By, MaxWaiting)}
}

// atLeast reports whether a query gives as many rows.
func (x index) atLeast(n int, query string, args ...any) (bool, error) {
	var found int
	err := x.QueryRow(`SELECT count(*) FROM (`+query+` LIMIT ?)`, append(args, n)...).Scan(&found)
	return found >= n, err
}

// wait notes that a request may be open for a while.
func (f *fold) wait(r request.Request) error {
	_, err := f.Exec(`INSERT OR REPLACE INTO waiting VALUES (?, ?, ?)`, idBytes(r.ID), r.By, latestEnd(r).Unix())
	return err
}

// over notes that a request waits no more.
func (f *fold) over(id record.ID) error {
	_, err := f.Exec(`DELETE FROM waiting WHERE id = ?`, idBytes(id))
	return err
}

// roomBeside refuses one more record of a kind by a key beside a request.
func roomBeside[T any](list []approve.Placed[T], kind record.Kind, key record.Fingerprint) error {
	most := MaxBeside
	if kind == record.KindReceipt {
		most = MaxReceipts
	}
	n := 0
	for _, x := range list {
		if x.Key == key {
			n++
		}
	}
	if n < most {
		return nil
	}
	return &policy.Refusal{Code: policy.TooManyRecords, Message: fmt.Sprintf("key %s has laid %d records of kind %s there already", key, most, kind)}
}

// roomToPropose refuses a policy version of somebody of whom too many wait.
func (f *fold) roomToPropose(by string) error {
	full, err := f.atLeast(MaxProposals, `SELECT 1 FROM proposals WHERE person = ? AND forced = 0 AND expires > ? AND replaces = ?`,
		by, f.proven().Unix(), string(f.policies.Latest().Digest()))
	if err != nil || !full {
		return err
	}
	return &policy.Refusal{Code: policy.TooManyProposals, Hint: "approve one of them, or let another admin propose it",
		Message: fmt.Sprintf("%d policy versions that %s proposed wait already", MaxProposals, by)}
}

// roomToDelegate refuses a delegation of somebody who has given too many.
func (f *fold) roomToDelegate(by string) error {
	full, err := f.atLeast(MaxDelegations, `SELECT 1 FROM delegations WHERE giver = ? AND NOT ended AND until > ?`, by, f.proven().Unix())
	if err != nil || !full {
		return err
	}
	return &policy.Refusal{Code: policy.TooManyDelegations, Hint: "end one of them: jit delegate --end ID",
		Message: fmt.Sprintf("%s has given %d delegations that are not over", by, MaxDelegations)}
}

// closeAside tells how many files of the commit were set aside beyond those that are
// told of one by one.
func (f *fold) closeAside() error {
	for _, reason := range slices.Sorted(maps.Keys(f.asides)) {
		if more := f.asides[reason] - MaxAside; more > 0 {
			if err := f.keepAside("", ReasonMoreAside, fmt.Sprintf("%d more of this commit: %s", more, reason)); err != nil {
				return err
			}
		}
	}
	return nil
}
